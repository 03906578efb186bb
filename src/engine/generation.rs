//! One request's work in a context of its own, on a thread that may block: prefill, then token by token. An iterator of
//! events.

use super::{
    answer::{self, Answer},
    request::{Event, FinishReason, Request},
    stats::{self, Cells, Counters},
};
use crate::{error::Result, model::Token, session::Session, template::ChatTemplate};
use std::{ops::ControlFlow, sync::Arc, time::Instant};

/// A running request.
#[derive(Debug)]
pub(crate) struct Generation {
    session: Session,
    answer: Answer,
    prompt: Vec<Token>,
    shift: bool,
    state: State,
    counters: Arc<Counters>,
    cells: Cells,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Prefill,
    Decode,
    Ended,
}

impl Generation {
    /// Checks the request against the session and prepares it; nothing is computed yet. `asked` is when the caller
    /// made the request, `began` when its work started.
    pub(crate) fn new(
        mut session: Session,
        template: &ChatTemplate,
        counters: &Arc<Counters>,
        request: &Request,
        asked: Instant,
        began: Instant,
    ) -> Result<Self> {
        let model = Arc::clone(session.model());
        let prompt = answer::prompt_tokens(&model, template, &request.prompt)?;
        answer::check_room(prompt.len(), &request.options, request.context_shift, session.limit())?;
        let mut answer = Answer::new(&model, &request.options, &prompt, asked)?;
        session.resume();
        let cached = session.reuse_prefix(&prompt)?;
        answer.begin(began);
        answer.found(cached);
        counters.looked_up(cached);
        let cells = counters.context(session.limit(), stats::memory(&session.memory()?));
        Ok(Self {
            session,
            answer,
            prompt,
            shift: request.context_shift,
            state: State::Prefill,
            counters: Arc::clone(counters),
            cells,
        })
    }

    /// The session, for a next turn that shares its prefix.
    pub(crate) fn into_session(self) -> Session {
        self.session
    }

    /// Reads the prompt, one ubatch a call, so that the caller sees the progress and can drop us.
    fn prefill(&mut self) -> Result<()> {
        let total = self.prompt.len();
        let done = self.session.tokens().len();
        let chunk = self.session.chunk().min(total - done);
        let began = Instant::now();
        self.session.prefill(&self.prompt[done..done + chunk], |_| ControlFlow::Continue(()))?;
        self.counters.prefilled(chunk, began.elapsed());
        self.cells.used(done + chunk);
        self.answer.read(done + chunk);
        if done + chunk == total {
            self.state = State::Decode;
        }
        Ok(())
    }

    /// Chooses the next token and turns it into events.
    fn step(&mut self) -> Result<()> {
        let began = Instant::now();
        if self.answer.generated() > 0 {
            let held = self.session.tokens().len();
            if held == self.session.limit() {
                if !self.shift {
                    self.answer.finish(FinishReason::ContextFull);
                    return Ok(());
                }
                let forget = answer::to_forget(self.session.model(), held);
                self.session.shift(forget)?;
            }
            self.session.decode(self.answer.last())?;
            self.cells.used(self.session.tokens().len());
        }
        self.answer.choose(self.session.context(), -1)?;
        self.counters.generated();
        self.counters.decoded(began.elapsed());
        Ok(())
    }
}

impl Iterator for Generation {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.answer.next_event() {
                return Some(Ok(event));
            }
            if self.answer.is_over() {
                self.state = State::Ended;
            }
            let result = match self.state {
                State::Prefill => self.prefill(),
                State::Decode => self.step(),
                State::Ended => return None,
            };
            if let Err(error) = result {
                self.state = State::Ended;
                return Some(Err(error));
            }
        }
    }
}
