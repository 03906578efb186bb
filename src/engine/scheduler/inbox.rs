//! What the other threads tell the scheduler's: new requests, cancellations, readers that have read.

use super::job::Job;
use crate::{
    engine::stream::CancelHandle,
    error::{Error, Result},
    session::StopHandle,
};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The scheduler's mailbox.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
    /// Requests counted in: running, waiting, and those whose prompt is being prepared.
    places: AtomicUsize,
    step: Mutex<Option<Step>>,
    /// What the next step fails with.
    #[cfg(test)]
    pub(crate) fault: Mutex<Option<crate::sys::Failure>>,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    woken: bool,
    closed: bool,
}

/// The step that is being computed: how to stop it, and for whom it is.
#[derive(Debug)]
struct Step {
    stop: StopHandle,
    requests: Vec<CancelHandle>,
}

/// One request among those counted in, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Inbox>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Inbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request in, where so many may run and so many may wait.
    pub(super) fn enter(self: &Arc<Self>, running: usize, queued: usize) -> Result<Place> {
        let most = running.saturating_add(queued);
        let enter = |n| (n < most).then_some(n + 1);
        match self.places.fetch_update(Ordering::SeqCst, Ordering::SeqCst, enter) {
            Ok(_) => Ok(Place(Arc::clone(self))),
            Err(n) => Err(Error::QueueFull { running: n.min(running), queued: n.saturating_sub(running) }),
        }
    }

    /// Hands over a request. After the end it is failed.
    pub(crate) fn push(&self, job: Job) {
        let mut state = self.state();
        if state.closed {
            drop(state);
            return job.shut_down();
        }
        state.jobs.push_back(job);
        state.woken = true;
        self.changed.notify_one();
    }

    /// A reader has made room, or something else is to be looked at.
    pub(crate) fn wake(&self) {
        self.state().woken = true;
        self.changed.notify_one();
    }

    /// A request was cancelled. A step that is for nobody any more is stopped.
    pub(crate) fn cancelled(&self) {
        if let Some(step) = self.step().as_ref()
            && step.requests.iter().all(CancelHandle::is_cancelled)
        {
            step.stop.stop();
        }
        self.wake();
    }

    /// No more requests: the thread is to end.
    pub(super) fn close(&self) {
        self.state().closed = true;
        if let Some(step) = self.step().as_ref() {
            step.stop.stop();
        }
        self.wake();
    }

    /// Ends the requests that nobody will take any more.
    pub(super) fn fail_all(&self) {
        let jobs = std::mem::take(&mut self.state().jobs);
        for job in jobs {
            job.shut_down();
        }
    }

    /// Takes the new requests; waits for news where `wait` says so, at most so long. False after the end.
    pub(super) fn take(&self, into: &mut VecDeque<Job>, wait: Option<Duration>) -> bool {
        let mut state = self.state();
        if let Some(most) = wait {
            let nothing_new = |state: &mut State| !state.woken && !state.closed;
            let waited = self.changed.wait_timeout_while(state, most, nothing_new);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.woken = false;
        into.append(&mut state.jobs);
        !state.closed
    }

    /// A step begins, for these requests. It is stopped at once where nobody wants it.
    pub(super) fn begin_step(&self, stop: StopHandle, requests: Vec<CancelHandle>) {
        let closed = self.state().closed;
        if closed || requests.iter().all(CancelHandle::is_cancelled) {
            stop.stop();
        }
        *self.step() = Some(Step { stop, requests });
        // what came between the look and the note
        if let Some(step) = self.step().as_ref()
            && (self.state().closed || step.requests.iter().all(CancelHandle::is_cancelled))
        {
            step.stop.stop();
        }
    }

    /// The step has ended.
    pub(super) fn end_step(&self) {
        *self.step() = None;
    }

    #[cfg(test)]
    pub(super) fn take_fault(&self) -> Option<crate::sys::Failure> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn step(&self) -> MutexGuard<'_, Option<Step>> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
