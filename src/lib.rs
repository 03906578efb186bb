//! Run large language models on the GPU a person already has.
mod error;
pub mod gguf;
pub mod text;

pub use error::{Error, Result};
