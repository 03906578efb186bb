//! The generations of one request, one for each choice, as one stream of events: measured, and ended together.

use super::{app::Work, problem::Problem};
use crate::engine::{Event, EventStream, Model, Outcome, Request, Usage};
use futures_core::Stream;
use std::{future::poll_fn, pin::Pin, task::Poll, time::Instant};

/// The running generations. Dropping it cancels them.
#[derive(Debug)]
pub(super) struct Choices {
    streams: Vec<Option<EventStream>>,
    /// Whose turn it is, so that none starves another.
    turn: usize,
    /// What came while [`Choices::begin`] waited.
    first: Option<(usize, Event)>,
    work: Work,
    asked: Instant,
    outcome: Outcome,
    prompt_tokens: usize,
    cached_tokens: usize,
    completion_tokens: usize,
    /// Kept so that the model counts as used.
    _model: Model,
}

impl Choices {
    /// Starts the requests, and waits for the first sign of life of any of them: what is wrong with a request is known
    /// then, and can still become the answer's status.
    pub(super) async fn begin(work: Work, model: Model, requests: Vec<Request>) -> Result<Self, Problem> {
        let streams = requests.into_iter().map(|request| Some(model.submit(request))).collect();
        let mut choices = Self {
            streams,
            turn: 0,
            first: None,
            work,
            asked: Instant::now(),
            outcome: Outcome::Cancelled,
            prompt_tokens: 0,
            cached_tokens: 0,
            completion_tokens: 0,
            _model: model,
        };
        match choices.next().await {
            Some((index, event)) => choices.first = Some((index, event?)),
            None => return Err(Problem::internal("the request has no choices")),
        }
        Ok(choices)
    }

    /// The next event and the choice it belongs to; `None` after the end of all. An error ends all.
    pub(super) async fn next(&mut self) -> Option<(usize, Result<Event, Problem>)> {
        if let Some((index, event)) = self.first.take() {
            return Some((index, Ok(event)));
        }
        let (streams, turn) = (&mut self.streams, &mut self.turn);
        let events = poll_fn(|context| {
            let count = streams.len();
            let mut running = false;
            for index in (0..count).map(|n| (*turn + n) % count) {
                let Some(stream) = &mut streams[index] else { continue };
                match Pin::new(stream).poll_next(context) {
                    Poll::Ready(Some(event)) => {
                        *turn = index + 1;
                        return Poll::Ready(Some((index, event)));
                    }
                    Poll::Ready(None) => streams[index] = None,
                    Poll::Pending => running = true,
                }
            }
            if running { Poll::Pending } else { Poll::Ready(None) }
        });
        let next = tokio::select! {
            next = events => next,
            () = self.work.stopped() => {
                let problem = Problem::unavailable("the server is shutting down", "draining");
                self.streams.clear();
                return Some((0, Err(problem)));
            }
        };
        match next {
            None => {
                self.outcome = Outcome::Done;
                None
            }
            Some((index, Ok(event))) => {
                if let Event::Done(usage) = &event {
                    self.ended(usage);
                }
                Some((index, Ok(event)))
            }
            Some((index, Err(error))) => {
                self.outcome = Outcome::of(&error, false);
                self.streams.clear();
                Some((index, Err(error.into())))
            }
        }
    }

    fn ended(&mut self, usage: &Usage) {
        self.prompt_tokens += usage.prompt_tokens;
        self.cached_tokens += usage.cached_tokens;
        self.completion_tokens += usage.completion_tokens;
        let app = &self.work.app;
        if usage.completion_tokens > 0 {
            app.metrics.first_token.record(usage.first_token);
            app.history.first_token(usage.first_token);
        }
    }
}

impl Drop for Choices {
    fn drop(&mut self) {
        let took = self.asked.elapsed();
        let metrics = &self.work.app.metrics;
        metrics.ended(self.outcome);
        metrics.duration.record(took);
        tracing::info!(
            outcome = self.outcome.name(),
            prompt_tokens = self.prompt_tokens,
            cached_tokens = self.cached_tokens,
            completion_tokens = self.completion_tokens,
            seconds = took.as_secs_f64(),
            "generation ended"
        );
    }
}
