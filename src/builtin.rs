//! The model that is built into the crate, so that everything can be tried at once.

/// The GGUF file. Not a constant, of which the crate's metadata would have a copy for each use.
pub(crate) static MODEL: &[u8] = include_bytes!("../models/spark-7m-q8_0.gguf");

/// Stands for its path.
pub(crate) const NAME: &str = "(built-in model spark)";
