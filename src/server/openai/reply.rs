//! Choices as an answer: gathered to a whole, or in parts as they come. What chat and completions have in common.

use super::Delivery;
use crate::{
    engine::{Event, FinishReason, Model, TokenLogprobs, Usage},
    sampling::SampleOptions,
    server::{
        answer::{Answer, Events, events, json as answer},
        app::unix_time,
        choices::Choices,
        problem::Problem,
    },
};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use tracing::Instrument;

/// What distinguishes the answers of one path from those of another. A choice's own field comes as its name and value.
pub(super) trait Form: Send + Sync + 'static {
    /// The `object` of an answer, and of a part of one.
    const WHOLE: &'static str;
    const PART: &'static str;

    /// What a choice begins with, before any text.
    fn beginning(&self, index: usize) -> Option<(&'static str, Value)>;
    /// More text of a choice; none at its end.
    fn more(&self, text: Option<String>) -> (&'static str, Value);
    /// A choice's text.
    fn whole(&self, index: usize, text: &str) -> (&'static str, Value);
    /// The log-probabilities of these tokens, which stand at this place of the choice's text; moves it behind them.
    fn logprobs(tokens: &[TokenLogprobs], at: &mut usize) -> Value;
}

/// What all parts of an answer carry.
#[derive(Debug)]
pub(super) struct Reply<F> {
    id: String,
    created: u64,
    model: String,
    logprobs: bool,
    /// The model whose ends are left out, where texts end by them.
    ends: Option<Model>,
    delivery: Delivery,
    form: F,
}

/// How many choices there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    pub(super) all: usize,
    pub(super) per_prompt: usize,
}

impl<F: Form> Reply<F> {
    pub(super) fn new(
        id: String,
        (name, model): (String, &Model),
        options: &SampleOptions,
        delivery: Delivery,
        form: F,
    ) -> Self {
        let logprobs = options.logprobs.is_some();
        let ends = (!options.ignore_eos).then(|| model.clone());
        Self { id, created: unix_time(), model: name, logprobs, ends, delivery, form }
    }

    /// Answers with these choices, as the client wants it.
    pub(super) async fn answer(self, choices: Choices, count: Count) -> Result<Answer, Problem> {
        if self.delivery.stream {
            let span = tracing::Span::current();
            return Ok(events(move |events| {
                async move { self.stream(&events, choices, count).await }.instrument(span)
            }));
        }
        Ok(answer(StatusCode::OK, &self.whole(choices, count).await?))
    }

    /// Reads all choices to their ends.
    async fn whole(&self, mut choices: Choices, count: Count) -> Result<Value, Problem> {
        let mut gathered = vec![Gathered::default(); count.all];
        let mut total = Total::default();
        while let Some((index, event)) = choices.next().await {
            match event? {
                Event::Text(text) => gathered[index].text.push_str(&text),
                Event::Token(token) => gathered[index].tokens.extend(self.visible(token)),
                Event::Done(usage) => {
                    gathered[index].finish = finish_reason(&usage.finish);
                    total.add(&usage, index % count.per_prompt == 0);
                }
                Event::Prefill { .. } => {}
            }
        }
        let choices = gathered.iter().enumerate().map(|(index, choice)| {
            let logprobs = self.logprobs.then(|| F::logprobs(&choice.tokens, &mut 0));
            choice_json(index, self.form.whole(index, &choice.text), logprobs, Some(choice.finish))
        });
        let mut body = self.body(F::WHOLE, choices.collect());
        body["usage"] = total.json();
        Ok(body)
    }

    /// Ends with the usage and the last word, or with what went wrong.
    async fn stream(&self, events: &Events, choices: Choices, count: Count) {
        match self.parts(events, choices, count).await {
            Ok(None) => {}
            Ok(Some(total)) => {
                if self.delivery.include_usage {
                    let mut last = self.chunk(vec![]);
                    last["usage"] = total.json();
                    if !events.data(&last).await {
                        return;
                    }
                }
                events.done().await;
            }
            // the status is sent already; the clients look for this
            Err(problem) => _ = events.data(&problem.body_json()).await,
        }
    }

    /// Writes the parts of all choices as they come; `None` where nobody reads any more.
    async fn parts(
        &self,
        events: &Events,
        mut choices: Choices,
        count: Count,
    ) -> Result<Option<Total>, Problem> {
        let mut total = Total::default();
        // log-probabilities come before the text that they belong to
        let mut tokens: Vec<Vec<TokenLogprobs>> = vec![vec![]; count.all];
        let mut places = vec![0; count.all];
        for index in 0..count.all {
            if let Some(beginning) = self.form.beginning(index)
                && !events.data(&self.chunk(vec![choice_json(index, beginning, None, None)])).await
            {
                return Ok(None);
            }
        }
        while let Some((index, event)) = choices.next().await {
            let (text, finish) = match event? {
                Event::Prefill { .. } => continue,
                Event::Token(token) => {
                    tokens[index].extend(self.visible(token));
                    continue;
                }
                Event::Text(text) => (Some(text), None),
                Event::Done(usage) => {
                    total.add(&usage, index % count.per_prompt == 0);
                    (None, Some(finish_reason(&usage.finish)))
                }
            };
            let tokens = std::mem::take(&mut tokens[index]);
            let logprobs =
                (self.logprobs && !tokens.is_empty()).then(|| F::logprobs(&tokens, &mut places[index]));
            let choice = choice_json(index, self.form.more(text), logprobs, finish);
            if !events.data(&self.chunk(vec![choice])).await {
                return Ok(None);
            }
        }
        Ok(Some(total))
    }

    /// A token that has a place in an answer: one that ends the text has log-probabilities only.
    fn visible(&self, token: TokenLogprobs) -> Option<TokenLogprobs> {
        let loaded = self.ends.as_ref().and_then(|model| model.loaded().ok());
        (!loaded.is_some_and(|model| model.is_end(token.chosen.token))).then_some(token)
    }

    fn chunk(&self, choices: Vec<Value>) -> Value {
        let mut chunk = self.body(F::PART, choices);
        if self.delivery.include_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    fn body(&self, object: &str, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id, "object": object, "created": self.created, "model": self.model, "choices": choices,
            "system_fingerprint": fingerprint(),
        })
    }
}

fn choice_json(
    index: usize,
    (name, value): (&str, Value),
    logprobs: Option<Value>,
    finish: Option<&str>,
) -> Value {
    let mut choice = Map::new();
    choice.insert("index".into(), index.into());
    choice.insert(name.into(), value);
    choice.insert("logprobs".into(), logprobs.into());
    choice.insert("finish_reason".into(), finish.into());
    choice.into()
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

/// A choice of an answer that is not streamed.
#[derive(Debug, Default, Clone)]
struct Gathered {
    text: String,
    tokens: Vec<TokenLogprobs>,
    finish: &'static str,
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
