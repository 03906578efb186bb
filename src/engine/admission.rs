//! How many requests run at once, and how many may wait.

use crate::error::{Error, Result};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Limits of an [`Engine`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineOptions {
    /// Requests that run at once. Each has a context of its own: memory for a KV cache, and a share of the device.
    pub max_concurrent_requests: usize,
    /// Requests that may wait for a place; the next one gets [`Error::QueueFull`].
    pub max_queued_requests: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { max_concurrent_requests: 4, max_queued_requests: 64 }
    }
}

/// The limit that requests share, in the order in which they come. Cheap to clone; each model has one of its own unless
/// [`ModelBuilder::with_engine`](crate::ModelBuilder::with_engine) gives it another's.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    places: Arc<Semaphore>,
    queued: AtomicUsize,
    options: EngineOptions,
}

impl Engine {
    /// An engine with these limits.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] where no request could ever run.
    pub fn new(options: EngineOptions) -> Result<Self> {
        let most = options.max_concurrent_requests;
        if most == 0 || most > Semaphore::MAX_PERMITS {
            return Err(Error::request("max_concurrent_requests", format!("{most}: at least 1 must run")));
        }
        let places = Arc::new(Semaphore::new(most));
        Ok(Self(Arc::new(Shared { places, queued: AtomicUsize::new(0), options })))
    }

    /// The limits.
    pub fn options(&self) -> &EngineOptions {
        &self.0.options
    }

    /// Requests running now.
    pub fn running(&self) -> usize {
        self.0.options.max_concurrent_requests - self.0.places.available_permits()
    }

    /// Requests waiting now.
    pub fn queued(&self) -> usize {
        self.0.queued.load(Ordering::Relaxed)
    }

    /// Waits for a place, first come first served. The place is given back when the permit is dropped.
    pub(crate) async fn admit(&self) -> Result<Permit> {
        let shared = &self.0;
        if let Ok(permit) = Arc::clone(&shared.places).try_acquire_owned() {
            return Ok(Permit(permit));
        }
        let most = shared.options.max_queued_requests;
        let waits =
            shared.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < most).then_some(n + 1));
        if let Err(queued) = waits {
            return Err(Error::QueueFull { running: self.running(), queued });
        }
        let _waiting = Waiting(shared);
        Arc::clone(&shared.places).acquire_owned().await.map(Permit).map_err(|_| Error::ShutDown)
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self::new(EngineOptions::default()).expect("the defaults let requests run")
    }
}

/// A place among the running requests, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// One in the queue, also where its future is dropped.
struct Waiting<'a>(&'a Shared);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_queue_has_an_end() {
        let engine =
            Engine::new(EngineOptions { max_concurrent_requests: 1, max_queued_requests: 1 }).unwrap();
        let first = engine.admit().await.unwrap();
        let waiting = tokio::spawn({
            let engine = engine.clone();
            async move { engine.admit().await.map(drop) }
        });
        while engine.queued() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(engine.admit().await, Err(Error::QueueFull { running: 1, queued: 1 })));
        drop(first);
        waiting.await.unwrap().unwrap();
        assert_eq!((engine.running(), engine.queued()), (0, 0));
    }

    #[tokio::test]
    async fn one_that_leaves_the_queue_makes_room() {
        let engine =
            Engine::new(EngineOptions { max_concurrent_requests: 1, max_queued_requests: 1 }).unwrap();
        let _first = engine.admit().await.unwrap();
        let gone = tokio::time::timeout(std::time::Duration::from_millis(5), engine.admit()).await;
        assert!(gone.is_err());
        assert_eq!(engine.queued(), 0);
    }

    #[test]
    fn an_engine_that_can_run_nothing_is_refused() {
        assert!(Engine::new(EngineOptions { max_concurrent_requests: 0, max_queued_requests: 1 }).is_err());
    }
}
