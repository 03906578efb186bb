//! Run large language models on the GPU a person already has.
pub mod config;
mod error;
#[cfg_attr(not(test), expect(dead_code, reason = "session will call plan and the log-probabilities"))]
pub mod sampling;

pub use error::{Error, Result};
pub use sampling::SampleOptions;
