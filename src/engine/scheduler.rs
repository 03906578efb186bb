//! Runs the requests of one model together in one context, on a thread of its own.

mod inbox;
mod job;
mod prefixes;
mod runner;
#[cfg(test)]
mod tests;

pub(super) use inbox::Inbox;
pub(super) use job::Job;

use super::{admission::EngineOptions, batching::BatchOptions, stats::Counters};
use crate::{
    error::{Error, Result},
    model::LoadedModel,
    session::ContextOptions,
};
use inbox::Place;
use runner::Runner;
use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

/// The way to the thread that runs a model's requests. Dropping it ends the thread, which nobody waits for then.
#[derive(Debug)]
pub(super) struct Scheduler {
    inbox: Arc<Inbox>,
    thread: Mutex<Option<JoinHandle<()>>>,
    limit: usize,
    max_sequences: usize,
}

impl Scheduler {
    /// Makes the context and starts the thread.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] for settings that do not fit each other or the model; as
    /// [`Session::new`](crate::Session::new) where the context cannot be made.
    pub(super) fn new(
        model: &Arc<LoadedModel>,
        context: &ContextOptions,
        batching: &BatchOptions,
        counters: &Arc<Counters>,
    ) -> Result<Self> {
        let limit = context.context_for(model);
        batching.check_context(limit)?;
        let inbox = Arc::new(Inbox::default());
        let runner = Runner::new(&inbox, model, context, batching, counters)?;
        let max_sequences = runner.max_sequences();
        let thread = thread::Builder::new()
            .name("inferno-batch".into())
            .spawn(move || runner.run())
            .map_err(|error| Error::Engine { call: "start thread", what: error.to_string() })?;
        Ok(Self { inbox, thread: Mutex::new(Some(thread)), limit, max_sequences })
    }

    /// Tokens that one request's context holds.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Counts a request in, before its prompt is prepared.
    ///
    /// # Errors
    /// [`Error::QueueFull`].
    pub(super) fn enter(&self, options: &EngineOptions) -> Result<Place> {
        self.inbox.enter(self.max_sequences, options.max_queued_requests)
    }

    /// Where requests are handed over that are ready to run, and cancellation and readers wake the thread.
    pub(super) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// Ends the thread and frees the context. Blocks.
    pub(super) fn close(&self) {
        self.inbox.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // a panic there was told where it happened
            let _ = thread.join();
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.inbox.close();
    }
}
