//! What a caller hands in and gets back: requests, events, usage.

use crate::{model::Token, sampling::SampleOptions, template::Message};
use serde::Serialize;
use std::time::Duration;

/// What the model is to continue.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Prompt {
    /// Text as it stands. Control tokens in it are plain text.
    Text(String),
    /// A conversation, rendered by the model's own template.
    Chat(Vec<Message>),
    /// Tokens as they stand; nothing is added.
    Tokens(Vec<Token>),
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Prompt::Text(text.into())
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Prompt::Text(text)
    }
}

impl From<Vec<Message>> for Prompt {
    fn from(messages: Vec<Message>) -> Self {
        Prompt::Chat(messages)
    }
}

impl From<Vec<Token>> for Prompt {
    fn from(tokens: Vec<Token>) -> Self {
        Prompt::Tokens(tokens)
    }
}

/// One request: a prompt, how to continue it, and how to treat it beside others.
///
/// ```
/// # use inferno::{Request, SampleOptions};
/// # use std::time::Duration;
/// let request = Request::new("Once upon a time")
///     .with_options(SampleOptions::default().with_max_tokens(64))
///     .with_deadline(Duration::from_secs(30));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// What to continue.
    pub prompt: Prompt,
    /// How to choose tokens, and when to stop.
    pub options: SampleOptions,
    /// Whether it gets a context of its own also where the model batches requests
    /// ([`ModelBuilder::with_batching`](crate::ModelBuilder::with_batching)). Nothing of it is shared then, and the place
    /// that it takes is one of the [`Engine`](crate::Engine)'s.
    pub isolated: bool,
    /// How long it may take from [`Model::submit`](crate::Model::submit) to its end, the wait in the queue included. It
    /// ends with [`Error::DeadlineExceeded`](crate::Error::DeadlineExceeded) then. `None`: as long as it takes.
    pub deadline: Option<Duration>,
    /// What happens when the context is full: `false` ends the text with
    /// [`FinishReason::ContextFull`]; `true` forgets the older half of what comes after the model's first token, moves the
    /// rest down and goes on. The prompt must fit in any case.
    pub context_shift: bool,
    /// Whether it may use KV cells that earlier requests with the same beginning computed, and leave its own to later
    /// ones. It has no effect on a request with a context of its own.
    pub cache_prompt: bool,
}

impl Request {
    /// A request with the default options: batched where the model batches, no deadline, no context shift, cached.
    pub fn new(prompt: impl Into<Prompt>) -> Self {
        Self {
            prompt: prompt.into(),
            options: SampleOptions::default(),
            isolated: false,
            deadline: None,
            context_shift: false,
            cache_prompt: true,
        }
    }

    /// Sets [`options`](Self::options).
    pub fn with_options(mut self, options: SampleOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets [`isolated`](Self::isolated).
    pub fn with_isolated(mut self, isolated: bool) -> Self {
        self.isolated = isolated;
        self
    }

    /// Sets [`deadline`](Self::deadline).
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets [`context_shift`](Self::context_shift).
    pub fn with_context_shift(mut self, shift: bool) -> Self {
        self.context_shift = shift;
        self
    }

    /// Sets [`cache_prompt`](Self::cache_prompt).
    pub fn with_cache_prompt(mut self, cache: bool) -> Self {
        self.cache_prompt = cache;
        self
    }
}

/// What happens while a request runs, in this order: [`Prefill`](Event::Prefill)s, then texts and tokens, then one
/// [`Done`](Event::Done). After an error or `Done` the stream ends.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A part of the prompt was read.
    Prefill {
        /// Tokens of the prompt read so far, those reused from an earlier request included.
        done: usize,
        /// Tokens of the prompt.
        total: usize,
    },
    /// More of the answer: whole characters, never a part of a stop string.
    Text(String),
    /// The log-probabilities of one token, where [`SampleOptions::logprobs`] asks for them. It comes before the text
    /// that the token completes.
    Token(TokenLogprobs),
    /// The end.
    Done(Usage),
}

/// A token and its log-probability before any sampling stage: the model's own opinion.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenLogprob {
    /// The token.
    pub token: Token,
    /// Its bytes, which need not be whole characters.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability.
    pub logprob: f32,
}

/// The chosen token and the most probable ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenLogprobs {
    /// The token that was chosen.
    #[serde(flatten)]
    pub chosen: TokenLogprob,
    /// The most probable tokens, the first one first: as many as were asked for.
    pub top: Vec<TokenLogprob>,
}

/// Why generation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// The model ended its text or its turn.
    EndOfText,
    /// This stop string came up; it is not part of the text.
    Stop(String),
    /// `max_tokens` were generated.
    MaxTokens,
    /// The context is full.
    ContextFull,
}

/// What a request took.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Usage {
    /// Why it ended.
    pub finish: FinishReason,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, tokens that were in the KV cache already.
    pub cached_tokens: usize,
    /// Tokens generated, the one that ended the text included.
    pub completion_tokens: usize,
    /// The seed that was used: asking again with it gives the same text.
    pub seed: u32,
    /// From the request to the start of its work.
    #[serde(serialize_with = "seconds")]
    pub queued: Duration,
    /// Making the context and preparing the prompt.
    #[serde(serialize_with = "seconds")]
    pub setup: Duration,
    /// Reading the prompt.
    #[serde(serialize_with = "seconds")]
    pub prefill: Duration,
    /// From the request to the first token (TTFT).
    #[serde(serialize_with = "seconds")]
    pub first_token: Duration,
    /// From the first token to the last.
    #[serde(serialize_with = "seconds")]
    pub decode: Duration,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

impl Usage {
    /// Tokens a second while reading the prompt; cached tokens do not count.
    pub fn prefill_tps(&self) -> f64 {
        rate(self.prompt_tokens - self.cached_tokens, self.prefill)
    }

    /// Tokens a second while generating. The first token belongs to the prefill.
    pub fn decode_tps(&self) -> f64 {
        rate(self.completion_tokens.saturating_sub(1), self.decode)
    }
}

fn rate(tokens: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { tokens as f64 / time.as_secs_f64() }
}
