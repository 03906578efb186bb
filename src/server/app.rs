//! What all requests share: the models, the limits, the state of the server and what it has counted.

use super::{history::History, metrics::Metrics, options::Options, problem::Problem, worker::Worker};
use crate::engine::{Model, Registry};
use serde::Serialize;
use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::watch;

/// Where the server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// It listens, and loads its model.
    Starting,
    /// It serves.
    Ready,
    /// It ends what runs and takes no new work.
    Draining,
}

/// The shared state.
#[derive(Debug)]
pub(super) struct App {
    pub(super) registry: Registry,
    pub(super) options: Options,
    /// Whether only this machine can reach the server.
    pub(super) loopback: bool,
    pub(super) metrics: Metrics,
    pub(super) history: History,
    pub(super) worker: Option<Worker>,
    pub(super) started: Instant,
    /// The same in seconds since 1970.
    pub(super) created: u64,
    phase: watch::Sender<Phase>,
    /// Requests at work.
    work: watch::Sender<usize>,
    /// Set when the time to drain is over.
    stop: watch::Sender<bool>,
}

impl App {
    pub(super) fn new(registry: Registry, options: Options, loopback: bool, worker: Option<Worker>) -> Self {
        Self {
            registry,
            options,
            loopback,
            metrics: Metrics::default(),
            history: History::default(),
            worker,
            started: Instant::now(),
            created: unix_time(),
            phase: watch::Sender::new(Phase::Starting),
            work: watch::Sender::new(0),
            stop: watch::Sender::new(false),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// The model is loaded; a server that drains already stays so.
    pub(super) fn ready(&self) {
        self.phase.send_if_modified(|phase| {
            let starting = *phase == Phase::Starting;
            if starting {
                *phase = Phase::Ready;
            }
            starting
        });
    }

    /// From now on no work is taken.
    pub(super) fn drain(&self) {
        self.phase.send_replace(Phase::Draining);
    }

    /// Ends what runs.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Completes when nothing runs.
    pub(super) async fn idle(&self) {
        let _ = self.work.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Requests at work.
    pub(super) fn at_work(&self) -> usize {
        *self.work.borrow()
    }

    /// Takes work in, unless the server drains.
    pub(super) fn begin(self: &Arc<Self>) -> Result<Work, Problem> {
        // counted first: who drains looks at the count after it has changed the phase
        self.work.send_modify(|count| *count += 1);
        let work = Work { app: Arc::clone(self), stop: self.stop.subscribe() };
        match self.phase() {
            Phase::Draining => Err(Problem::unavailable("the server is shutting down", "draining")),
            _ => Ok(work),
        }
    }

    /// The model of this name, loaded if need be.
    pub(super) async fn model(&self, name: Option<&str>) -> Result<(String, Model), Problem> {
        let name = match name {
            None | Some("") => "default",
            Some(name) => name,
        };
        let own = self.registry.resolve(name)?.to_owned();
        let model = self.registry.get(&own).await?;
        Ok((own, model))
    }
}

/// A request at work, until it is dropped.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) app: Arc<App>,
    stop: watch::Receiver<bool>,
}

impl Work {
    /// Completes when the work must end at once.
    pub(super) async fn stopped(&mut self) {
        // the sender lives in the app, which is ours
        let _ = self.stop.wait_for(|stop| *stop).await;
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.app.work.send_modify(|count| *count -= 1);
    }
}

/// Seconds since 1970.
pub(super) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
