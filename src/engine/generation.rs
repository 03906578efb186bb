//! One request's work on a thread that may block: prefill, then token by token. An iterator of events.

use super::{
    request::{Event, FinishReason, Prompt, Request, TokenLogprob, TokenLogprobs, Usage},
    stats::{Cells, Counters, DeviceMemory},
};
use crate::{
    chain::{self, Chooser},
    error::{Error, Result},
    model::{LoadedModel, Token, Tokenize},
    sampling::{SampleOptions, log_softmax_at, top_log_probs},
    session::Session,
    template::ChatTemplate,
    text::{StopMatcher, Stopped, Utf8Buffer},
};
use std::{
    collections::VecDeque,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

/// The prompt's tokens: rendered, tokenised and checked.
pub(crate) fn prompt_tokens(
    model: &LoadedModel,
    template: &ChatTemplate,
    prompt: &Prompt,
) -> Result<Vec<Token>> {
    let tokens = match prompt {
        Prompt::Text(text) => model.tokenize(text, Tokenize { add_special: true, parse_special: false })?,
        Prompt::Chat(messages) => {
            let text = template.render(messages, true)?;
            let add_special = !template.begins_with_bos(&text);
            model.tokenize(&text, Tokenize { add_special, parse_special: true })?
        }
        Prompt::Tokens(tokens) => tokens.clone(),
    };
    if tokens.is_empty() {
        return Err(Error::request("prompt", "it is empty, and this model adds no token before a text"));
    }
    Ok(tokens)
}

/// What a session takes beside its model's weights, and these.
fn memory(session: &Session) -> Vec<DeviceMemory> {
    let model = session.model();
    vec![DeviceMemory {
        device: model.devices().join(", "),
        weights: model.tensor_bytes(),
        kv_cache: session.cache_bytes().unwrap_or(0),
        compute: 0,
    }]
}

/// A running request.
#[derive(Debug)]
pub(crate) struct Generation {
    session: Session,
    chooser: Chooser,
    options: SampleOptions,
    seed: u32,
    prompt: Vec<Token>,
    cached: usize,
    state: State,
    text: Utf8Buffer,
    stop: StopMatcher,
    ready: VecDeque<Event>,
    generated: usize,
    last: Token,
    times: Times,
    counters: Arc<Counters>,
    cells: Cells,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Prefill,
    Decode,
    Ended,
}

#[derive(Debug)]
struct Times {
    asked: Instant,
    began: Instant,
    ready: Instant,
    prefilled: Instant,
    first: Option<Instant>,
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
        let options = request.options.clone();
        options.validate_for_vocabulary(u32::try_from(model.vocab_size()).unwrap_or(u32::MAX))?;
        let prompt = prompt_tokens(&model, template, &request.prompt)?;
        // at least one token of output must fit, and all of them where their number is asked for
        let needed = prompt.len().saturating_add(options.max_tokens.unwrap_or(1));
        if needed > session.limit() {
            return Err(Error::ContextOverflow { needed, limit: session.limit() });
        }
        session.resume();
        let cached = session.reuse_prefix(&prompt)?;
        let seed = options.seed_or_random();
        let mut chooser = chain::build(&model, &options, seed)?;
        for &token in &prompt {
            chooser.accept(token)?;
        }
        let stop = StopMatcher::new(&options.stop)?;
        counters.looked_up(cached);
        let cells = counters.context(session.limit(), memory(&session));
        Ok(Self {
            session,
            chooser,
            options,
            seed,
            prompt,
            cached,
            state: State::Prefill,
            text: Utf8Buffer::default(),
            stop,
            ready: VecDeque::new(),
            generated: 0,
            last: 0,
            times: Times { asked, began, ready: Instant::now(), prefilled: began, first: None },
            counters: Arc::clone(counters),
            cells,
        })
    }

    /// The session, for a next turn that shares its prefix.
    pub(crate) fn into_session(self) -> Session {
        self.session
    }

    /// Reads the prompt, telling `progress` after each ubatch.
    fn prefill(&mut self) -> Result<()> {
        let (cached, total) = (self.cached, self.prompt.len());
        let ready = &mut self.ready;
        // one ubatch a call of next(), so that its caller sees the progress and can drop us
        let done = self.session.tokens().len();
        let chunk = self.session.chunk().min(total - done);
        let began = Instant::now();
        self.session.prefill(&self.prompt[done..done + chunk], |n| {
            ready.push_back(Event::Prefill { done: done + n, total });
            ControlFlow::Continue(())
        })?;
        debug_assert!(done >= cached);
        self.counters.prefilled(chunk, began.elapsed());
        self.cells.used(done + chunk);
        if done + chunk == total {
            self.times.prefilled = Instant::now();
            self.state = if self.options.max_tokens == Some(0) {
                self.end(FinishReason::MaxTokens);
                State::Ended
            } else {
                State::Decode
            };
        }
        Ok(())
    }

    /// Chooses the next token and turns it into events.
    fn step(&mut self) -> Result<()> {
        let began = Instant::now();
        if self.generated > 0 {
            if self.session.tokens().len() == self.session.limit() {
                self.finish(FinishReason::ContextFull);
                return Ok(());
            }
            self.session.decode(self.last)?;
            self.cells.used(self.session.tokens().len());
        }
        let logprobs = match self.options.logprobs {
            Some(n) => Some((self.session.logits()?.to_vec(), n)),
            None => None,
        };
        let token = self.session.sample(&mut self.chooser)?;
        self.times.first.get_or_insert_with(Instant::now);
        self.generated += 1;
        self.counters.decoded(1, began.elapsed());
        self.last = token;
        if let Some((logits, n)) = logprobs {
            self.ready.push_back(Event::Token(self.logprobs(&logits, token, n)?));
        }
        let model = self.session.model();
        if model.is_end(token) && !self.options.ignore_eos {
            self.finish(FinishReason::EndOfText);
            return Ok(());
        }
        let text = self.text.push(&model.token_bytes(token, false)?);
        if self.emit(&text) {
            return Ok(());
        }
        if self.options.max_tokens.is_some_and(|most| self.generated >= most) {
            self.finish(FinishReason::MaxTokens);
        }
        Ok(())
    }

    /// Passes text through the stop strings; true where one of them ended the generation.
    fn emit(&mut self, text: &str) -> bool {
        let passed = self.stop.push(text);
        self.hand_on(passed)
    }

    fn hand_on(&mut self, passed: Result<String, Stopped>) -> bool {
        let (text, stop) = match passed {
            Ok(text) => (text, None),
            Err(stopped) => (stopped.text, Some(stopped.stop)),
        };
        if !text.is_empty() {
            self.ready.push_back(Event::Text(text));
        }
        if let Some(stop) = stop {
            let stop = self.options.stop[stop].clone();
            self.end(FinishReason::Stop(stop));
            return true;
        }
        false
    }

    /// The end without a stop string: what was held back comes out first.
    fn finish(&mut self, reason: FinishReason) {
        let rest = self.text.flush();
        if self.emit(&rest) {
            return;
        }
        let held = self.stop.flush();
        if !self.hand_on(held) {
            self.end(reason);
        }
    }

    fn end(&mut self, finish: FinishReason) {
        let now = Instant::now();
        let times = &self.times;
        self.ready.push_back(Event::Done(Usage {
            finish,
            prompt_tokens: self.prompt.len(),
            cached_tokens: self.cached,
            completion_tokens: self.generated,
            seed: self.seed,
            queued: times.began - times.asked,
            setup: times.ready - times.began,
            prefill: times.prefilled.saturating_duration_since(times.ready),
            first_token: times.first.map_or(Duration::ZERO, |first| first - times.asked),
            decode: times.first.map_or(Duration::ZERO, |first| now - first),
        }));
        self.state = State::Ended;
    }

    fn logprobs(&self, logits: &[f32], token: Token, n: usize) -> Result<TokenLogprobs> {
        let model = self.session.model();
        let one = |token: Token, logprob| {
            Ok(TokenLogprob { token, bytes: model.token_bytes(token, true)?, logprob })
        };
        let id = |token: Token| u32::try_from(token).expect("the sampler's token was checked");
        Ok(TokenLogprobs {
            chosen: one(token, log_softmax_at(logits, id(token)))?,
            top: top_log_probs(logits, n)
                .into_iter()
                .map(|(token, logprob)| {
                    one(Token::try_from(token).expect("below the vocabulary's size"), logprob)
                })
                .collect::<Result<_>>()?,
        })
    }
}

impl Iterator for Generation {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
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
