//! What a request has said so far: tokens chosen, turned into text, searched for stop strings, and told as events.

use super::request::{Event, FinishReason, Prompt, TokenLogprob, TokenLogprobs, Usage};
use crate::{
    chain::{self, Chooser},
    error::{Error, Result},
    model::{LoadedModel, Token, Tokenize},
    sampling::{SampleOptions, log_softmax_at, top_log_probs},
    sys,
    template::ChatTemplate,
    text::{StopMatcher, Stopped, Utf8Buffer},
};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// The prompt's tokens: rendered, tokenised and checked.
pub(super) fn prompt_tokens(
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
    for token in &tokens {
        model.check_token(*token)?;
    }
    Ok(tokens)
}

/// Checks that a prompt fits: at least one token of output must, and all of them where their number is asked for,
/// unless the context may be shifted.
pub(super) fn check_room(prompt: usize, options: &SampleOptions, shift: bool, limit: usize) -> Result<()> {
    let output = if shift { 1 } else { options.max_tokens.unwrap_or(1) };
    let needed = prompt.saturating_add(output);
    if needed > limit {
        return Err(Error::ContextOverflow { needed, limit });
    }
    Ok(())
}

/// The tokens to forget when a context of so many is full: the older half of what comes after the first token of a model
/// that begins every text with the same one.
pub(super) fn to_forget(model: &LoadedModel, held: usize) -> std::ops::Range<usize> {
    let keep = usize::from(model.adds_bos());
    keep..keep + (held - keep).div_ceil(2)
}

/// The answer of one request, while it grows.
#[derive(Debug)]
pub(crate) struct Answer {
    model: Arc<LoadedModel>,
    chooser: Chooser,
    options: SampleOptions,
    seed: u32,
    prompt_tokens: usize,
    cached: usize,
    read: usize,
    text: Utf8Buffer,
    stop: StopMatcher,
    ready: VecDeque<Event>,
    generated: usize,
    last: Token,
    over: bool,
    times: Times,
}

#[derive(Debug)]
struct Times {
    asked: Instant,
    began: Instant,
    ready: Instant,
    prefilled: Instant,
    first: Option<Instant>,
}

impl Answer {
    /// Checks the options and prepares the choice of tokens after this prompt. `asked` is when the caller made the
    /// request.
    pub(crate) fn new(
        model: &Arc<LoadedModel>,
        options: &SampleOptions,
        prompt: &[Token],
        asked: Instant,
    ) -> Result<Self> {
        options.validate_for_vocabulary(u32::try_from(model.vocab_size()).unwrap_or(u32::MAX))?;
        let seed = options.seed_or_random();
        let mut chooser = chain::build(model, options, seed)?;
        for &token in prompt {
            chooser.accept(token)?;
        }
        let now = Instant::now();
        Ok(Self {
            model: Arc::clone(model),
            chooser,
            options: options.clone(),
            seed,
            prompt_tokens: prompt.len(),
            cached: 0,
            read: 0,
            text: Utf8Buffer::default(),
            stop: StopMatcher::new(&options.stop)?,
            ready: VecDeque::new(),
            generated: 0,
            last: 0,
            over: false,
            times: Times { asked, began: now, ready: now, prefilled: now, first: None },
        })
    }

    /// The work begins; it was taken up at `began`.
    pub(crate) fn begin(&mut self, began: Instant) {
        self.times.began = began;
        self.times.ready = Instant::now();
        self.times.prefilled = self.times.ready;
    }

    /// So many more tokens of the prompt were found in the cache.
    pub(crate) fn found(&mut self, cached: usize) {
        self.cached += cached;
    }

    /// Tokens of the prompt that were found in the cache.
    pub(crate) fn cached(&self) -> usize {
        self.cached
    }

    /// So much of the prompt was read. A report that nobody has taken yet is replaced; what was read before does not
    /// count.
    pub(crate) fn read(&mut self, done: usize) {
        if done <= self.read {
            return;
        }
        self.read = done;
        let total = self.prompt_tokens;
        if let Some(Event::Prefill { done: earlier, .. }) = self.ready.back_mut() {
            *earlier = done;
        } else {
            self.ready.push_back(Event::Prefill { done, total });
        }
        if done == total {
            self.times.prefilled = Instant::now();
            if self.options.max_tokens == Some(0) {
                self.end(FinishReason::MaxTokens);
            }
        }
    }

    /// Chooses the next token from the logits of the i-th token of the last decode, -1 for the last output, and turns it
    /// into events. The token is [`Answer::last`] then.
    pub(crate) fn choose(&mut self, context: &mut sys::Context, i: i32) -> Result<()> {
        let logprobs = match self.options.logprobs {
            Some(n) => Some((chain::logits(context, i)?.to_vec(), n)),
            None => None,
        };
        let token = self.chooser.choose(context, i, &self.model)?;
        self.times.first.get_or_insert_with(Instant::now);
        self.generated += 1;
        self.last = token;
        if let Some((logits, n)) = logprobs {
            self.ready.push_back(Event::Token(self.logprobs(&logits, token, n)?));
        }
        if self.model.is_end(token) && !self.options.ignore_eos {
            self.finish(FinishReason::EndOfText);
            return Ok(());
        }
        let text = self.text.push(&self.model.token_bytes(token, false)?);
        if self.emit(&text) {
            return Ok(());
        }
        if self.options.max_tokens.is_some_and(|most| self.generated >= most) {
            self.finish(FinishReason::MaxTokens);
        }
        Ok(())
    }

    /// The token chosen last.
    pub(crate) fn last(&self) -> Token {
        self.last
    }

    /// Tokens generated.
    pub(crate) fn generated(&self) -> usize {
        self.generated
    }

    /// Whether the end was reached; there may be events left to tell.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// The next event to tell.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// Takes back an event that could not be told.
    pub(crate) fn put_back(&mut self, event: Event) {
        self.ready.push_front(event);
    }

    /// The end without a stop string: what was held back comes out first.
    pub(crate) fn finish(&mut self, reason: FinishReason) {
        let rest = self.text.flush();
        if self.emit(&rest) {
            return;
        }
        let held = self.stop.flush();
        if !self.hand_on(held) {
            self.end(reason);
        }
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

    fn end(&mut self, finish: FinishReason) {
        let now = Instant::now();
        let times = &self.times;
        self.ready.push_back(Event::Done(Usage {
            finish,
            prompt_tokens: self.prompt_tokens,
            cached_tokens: self.cached,
            completion_tokens: self.generated,
            seed: self.seed,
            queued: times.began - times.asked,
            setup: times.ready - times.began,
            prefill: times.prefilled.saturating_duration_since(times.ready),
            first_token: times.first.map_or(Duration::ZERO, |first| first - times.asked),
            decode: times.first.map_or(Duration::ZERO, |first| now - first),
        }));
        self.over = true;
    }

    fn logprobs(&self, logits: &[f32], token: Token, n: usize) -> Result<TokenLogprobs> {
        let one = |token: Token, logprob| {
            Ok(TokenLogprob { token, bytes: self.model.token_bytes(token, true)?, logprob })
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
