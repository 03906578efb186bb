//! Ends requests when their time is over: one thread for all, which exists while there is something to wait for.

use super::stream::CancelHandle;
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

static TIMER: Timer = Timer { waiting: Mutex::new(Waiting::new()), sooner: Condvar::new() };

struct Timer {
    waiting: Mutex<Waiting>,
    sooner: Condvar,
}

struct Waiting {
    entries: BinaryHeap<Reverse<Entry>>,
    runs: bool,
    /// So many entries make the next addition look for those whose request has ended.
    crowd: usize,
}

impl Waiting {
    const fn new() -> Self {
        Self { entries: BinaryHeap::new(), runs: false, crowd: 1024 }
    }
}

struct Entry {
    at: Instant,
    after: Duration,
    request: CancelHandle,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

/// Ends the request after so long, counted from `from`, unless it has ended by then. A time beyond what the clock can
/// tell is never.
pub(super) fn set(request: &CancelHandle, from: Instant, after: Duration) {
    let Some(at) = from.checked_add(after) else { return };
    let mut waiting = TIMER.waiting.lock().unwrap_or_else(PoisonError::into_inner);
    if waiting.entries.len() >= waiting.crowd {
        waiting.entries.retain(|Reverse(entry)| !entry.request.is_over());
        waiting.crowd = 1024.max(waiting.entries.len() * 2);
    }
    waiting.entries.push(Reverse(Entry { at, after, request: request.clone() }));
    if !waiting.runs {
        let thread = thread::Builder::new().name("inferno-deadline".into()).spawn(run);
        waiting.runs = thread.is_ok();
        if let Err(error) = thread {
            // the next request tries again, and the new thread finds this one's entry
            tracing::error!("no thread for deadlines: {error}");
        }
    }
    TIMER.sooner.notify_one();
}

fn run() {
    let mut waiting = TIMER.waiting.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some(Reverse(next)) = waiting.entries.peek() {
        let left = next.at.saturating_duration_since(Instant::now());
        if !left.is_zero() && !next.request.is_over() {
            let woken = TIMER.sooner.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        let entry = waiting.entries.pop();
        // others may set deadlines while this one wakes whom it must
        drop(waiting);
        if let Some(Reverse(entry)) = entry {
            entry.request.expire(entry.after);
        }
        waiting = TIMER.waiting.lock().unwrap_or_else(PoisonError::into_inner);
    }
    waiting.runs = false;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn the_nearest_ends_first_and_an_ended_one_not_at_all() {
        let (late, soon, over) = (CancelHandle::default(), CancelHandle::default(), CancelHandle::default());
        let now = Instant::now();
        set(&late, now, Duration::from_secs(3600));
        set(&over, now, Duration::from_millis(20));
        set(&soon, now, Duration::from_millis(30));
        set(&late, now, Duration::MAX);
        over.finished();
        while !soon.is_cancelled() {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(now.elapsed() >= Duration::from_millis(30));
        assert!(matches!(soon.reason(), Error::DeadlineExceeded { after } if after.as_millis() == 30));
        assert!(!late.is_cancelled() && !over.is_cancelled());
        late.finished();
    }
}
