//! The integration tests: one binary, one module per subject. `cfg(test)` makes the lints see tests.

#[cfg(all(feature = "cli", feature = "builtin-model"))]
#[cfg(test)]
mod cli;
#[cfg(test)]
mod cpu;
#[cfg(test)]
mod embedding;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod gguf;
#[cfg(test)]
mod gguf_fuzz;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod memories;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod scheduler;
