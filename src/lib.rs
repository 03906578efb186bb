//! Run large language models on the GPU a person already has.
mod error;

pub use error::{Error, Result};
