//! The asynchronous floor: shared models, admitted requests, streams of events. The only bridge between async callers
//! and the blocking native engine.

mod admission;
mod answer;
mod batching;
mod chat;
mod deadline;
mod embedding;
mod generation;
mod loading;
mod model;
mod registry;
mod request;
mod scheduler;
mod stats;
mod stream;

pub use admission::{Engine, EngineOptions};
pub use batching::BatchOptions;
pub use chat::{Chat, Reply};
pub use embedding::Embeddings;
pub use loading::{LoadEvent, LoadProgress, Loading, ModelBuilder};
pub use model::{Model, SessionSlot};
pub use registry::{ModelEntry, ModelState, ModelStatus, Registry, RegistryBuilder};
pub use request::{Event, FinishReason, Prompt, Request, TokenLogprob, TokenLogprobs, Usage};
#[cfg(feature = "server")]
pub(crate) use stats::Outcome;
pub use stats::{DeviceMemory, ModelStats, Outcomes};
pub use stream::{CancelHandle, Completion, EventStream};

pub(crate) use admission::Permit;
pub(crate) use generation::Generation;
pub(crate) use stream::collect;

use std::future::Future;

/// Runs a future to its end somewhere else: on the caller's tokio runtime, or on a thread where there is none.
fn start(work: impl Future<Output = ()> + Send + 'static) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn(work)),
        Err(_) => drop(std::thread::spawn(|| pollster::block_on(work))),
    }
}

/// Runs work that blocks, away from the threads that poll futures.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => match runtime.spawn_blocking(work).await {
            Ok(value) => value,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // a runtime that shuts down drops blocking work that has not begun; its awaiting task goes first
                Err(_) => std::future::pending().await,
            },
        },
        // on the thread that start() made for this request
        Err(_) => work(),
    }
}
