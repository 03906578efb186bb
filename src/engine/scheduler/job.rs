//! One request on its way through the scheduler.

use super::inbox::Place;
use crate::{
    engine::{
        answer::Answer,
        model::Active,
        request::Event,
        stats::{Outcome, Running},
        stream::{Offer, Sink},
    },
    error::Error,
    model::Token,
};
use std::time::Instant;

/// A request with its prompt prepared, and all that is needed to go on with it at any time.
#[derive(Debug)]
pub(crate) struct Job {
    /// The prompt, and what was generated after it.
    pub(crate) tokens: Vec<Token>,
    /// How many of them are the prompt.
    pub(crate) prompt: usize,
    pub(crate) answer: Answer,
    pub(crate) sink: Sink,
    pub(crate) active: Active,
    pub(crate) place: Place,
    /// Whether it may share cells with others.
    pub(crate) cache: bool,
    /// Whether it goes on where its context is full.
    pub(crate) shift: bool,
    /// Among those that run, from the first time on.
    pub(crate) running: Option<Running>,
    /// Since when its reader keeps it waiting.
    pub(crate) waits_since: Option<Instant>,
}

/// How the telling of events went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// All of them.
    All,
    /// The reader has no room.
    Waits,
    /// There is no reader.
    Gone,
}

impl Job {
    /// Ends it with an error.
    pub(crate) fn fail(self, error: Error) {
        let Self { sink, active, running, place, .. } = self;
        let begun = running.is_some();
        drop((place, running));
        active.fail(&sink, error, begun);
    }

    /// Ends it because it was cancelled, or its deadline passed.
    pub(super) fn cancelled(self) {
        let reason = self.sink.cancel_handle().reason();
        self.fail(reason);
    }

    /// Ends it with the scheduler: as what it was before that, where it was cancelled.
    pub(super) fn shut_down(self) {
        if self.is_cancelled() { self.cancelled() } else { self.fail(Error::ShutDown) }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.sink.cancel_handle().is_cancelled()
    }

    /// Tells what there is to tell.
    pub(super) fn tell(&mut self) -> Told {
        let told = tell(&mut self.answer, &self.sink);
        match told {
            Told::Waits => _ = self.waits_since.get_or_insert_with(Instant::now),
            Told::All | Told::Gone => self.waits_since = None,
        }
        told
    }

    /// The answer is complete: gives back all but what is needed to tell its end.
    pub(super) fn finish(self) -> Ending {
        let Self { answer, sink, active, running, place, .. } = self;
        active.ended(Outcome::Done);
        drop((place, running, active));
        Ending { answer, sink }
    }
}

/// A complete answer whose end is not told yet.
#[derive(Debug)]
pub(super) struct Ending {
    answer: Answer,
    sink: Sink,
}

impl Ending {
    /// Tells what there is to tell.
    pub(super) fn tell(&mut self) -> Told {
        tell(&mut self.answer, &self.sink)
    }
}

fn tell(answer: &mut Answer, sink: &Sink) -> Told {
    while let Some(event) = answer.next_event() {
        // progress is for those who look: it does not hold up the work
        let skippable = matches!(event, Event::Prefill { .. });
        match sink.offer(event) {
            Offer::Taken => {}
            Offer::Full(_) if skippable => {}
            Offer::Full(event) => {
                answer.put_back(event);
                return Told::Waits;
            }
            Offer::Gone => return Told::Gone,
        }
    }
    Told::All
}
