//! Run large language models on the GPU you already have.
//!
//! ```no_run
//! # async fn example() -> inferno::Result<()> {
//! use inferno::{Event, Model, SampleOptions};
//!
//! let model = Model::builder("qwen3-4b-q4_k_m.gguf").with_context(8192).load().await?;
//! let mut events = model.stream("Rust is", SampleOptions::default().with_max_tokens(64));
//! while let Some(event) = events.next().await {
//!     match event? {
//!         Event::Text(text) => print!("{text}"),
//!         Event::Done(usage) => eprintln!("{:.1} t/s", usage.decode_tps()),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Model`] is a cheap handle to share between tasks; each request gets a context of its own and runs on a thread that
//! may block. [`blocking`] is the same for programs without an async runtime, [`LoadedModel`] and [`Session`] are the
//! floor below for those who run the token loop themselves.
//!
//! Nothing is written to stderr: the library, and llama.cpp below it, log through `tracing`.

pub mod blocking;
#[cfg(feature = "builtin-model")]
mod builtin;
mod chain;
pub mod config;
mod device;
pub mod doctor;
mod embedding;
mod engine;
mod error;
pub mod gguf;
mod model;
pub mod sampling;
mod sequences;
#[cfg(feature = "server")]
pub mod server;
mod session;
mod state;
#[expect(unsafe_code, reason = "the floor where Rust calls into C")]
mod sys;
mod template;
pub mod text;
pub mod tune;
mod version;

pub use device::{
    Buffers, BuffersCost, Check, Choice, CpuWeights, Device, DeviceKind, DevicePlan, DeviceSelect, Encoder,
    Facts, Fallback, Families, Finding, Location, Plan, Product, ProductShape, Provenance, TunedProduct,
    Tuning, Vendor, Verdict, cpu_weights, devices,
};
pub use engine::{
    BatchOptions, CancelHandle, Chat, Completion, DeviceMemory, Embeddings, Engine, EngineOptions, Event,
    EventStream, FinishReason, LoadEvent, LoadProgress, Loading, Model, ModelBuilder, ModelEntry, ModelState,
    ModelStats, ModelStatus, Outcomes, Prompt, Registry, RegistryBuilder, Reply, Request, SessionSlot,
    TokenLogprob, TokenLogprobs, Usage,
};
pub use error::{Error, Result};
pub use model::{LoadOptions, LoadedModel, Token, Tokenize};
pub use sampling::SampleOptions;
pub use session::{
    CacheType, ContextOptions, DEFAULT_CONTEXT, FlashAttention, OperationCount, Session, StopHandle,
};
pub use template::{ChatTemplate, Message, Role};
pub use version::{NativeVersion, native_version};

/// Runs the examples of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
