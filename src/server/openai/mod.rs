//! OpenAI's HTTP interface.

pub(super) mod chat;
pub(super) mod completions;
pub(super) mod embeddings;
pub(super) mod models;

mod logprobs;
mod prompts;
mod sampling;

use super::{answer::Events, choices::Choices, fields::Fields, problem::Problem};
use crate::engine::{FinishReason, TokenLogprobs, Usage};
use sampling::Sampling;
use serde_json::{Value, json};

/// How a client wants the answer.
#[derive(Debug, Clone, Copy)]
struct Delivery {
    stream: bool,
    include_usage: bool,
}

impl Delivery {
    fn read(fields: &Fields<'_>) -> Result<Self, Problem> {
        let stream = fields.boolean("stream")?.unwrap_or(false);
        let options = fields.object("stream_options")?;
        if options.is_some() && !stream {
            return Err(fields.wrong("stream_options", "needs stream to be true"));
        }
        let include_usage = match options {
            Some(options) => options.boolean("include_usage")?.unwrap_or(false),
            None => false,
        };
        Ok(Self { stream, include_usage })
    }
}

/// OpenAI's word for why a generation ended.
fn finish_reason(finish: &FinishReason) -> &'static str {
    match finish {
        FinishReason::MaxTokens | FinishReason::ContextFull => "length",
        _ => "stop",
    }
}

/// What distinguishes one build's answers from another's.
fn fingerprint() -> String {
    format!("inferno-{}-llama.cpp-{}", env!("CARGO_PKG_VERSION"), crate::native_version().llama_cpp)
}

/// What a request took, over all its choices: a prompt counts once, however many choices it has.
#[derive(Debug, Default)]
struct Total {
    prompt: usize,
    cached: usize,
    completion: usize,
}

impl Total {
    /// Adds a choice that has ended; `first` of its prompt.
    fn add(&mut self, usage: &Usage, first: bool) {
        if first {
            self.prompt += usage.prompt_tokens;
            self.cached += usage.cached_tokens;
        }
        self.completion += usage.completion_tokens;
    }

    fn json(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        })
    }
}

/// A choice of an answer that is not streamed.
#[derive(Debug, Default, Clone)]
struct Gathered {
    text: String,
    tokens: Vec<TokenLogprobs>,
    finish: &'static str,
}

/// Reads all choices to their ends.
async fn gather(
    mut choices: Choices,
    count: usize,
    per_prompt: usize,
) -> Result<(Vec<Gathered>, Total), Problem> {
    use crate::engine::Event;
    let mut gathered = vec![Gathered::default(); count];
    let mut total = Total::default();
    while let Some((index, event)) = choices.next().await {
        match event? {
            Event::Text(text) => gathered[index].text.push_str(&text),
            Event::Token(token) => gathered[index].tokens.push(token),
            Event::Done(usage) => {
                gathered[index].finish = finish_reason(&usage.finish);
                total.add(&usage, index % per_prompt == 0);
            }
            Event::Prefill { .. } => {}
        }
    }
    Ok((gathered, total))
}

/// Ends a stream: with its usage and the last word, or with what went wrong.
async fn end_stream(events: &Events, ended: Result<Option<Value>, Problem>) {
    match ended {
        Ok(usage) => {
            if let Some(chunk) = usage
                && !events.data(&chunk).await
            {
                return;
            }
            events.done().await;
        }
        // the status is sent already; the clients look for this
        Err(problem) => {
            events.data(&problem.body_json()).await;
        }
    }
}
