//! `POST /v1/chat/completions`.

use super::{Delivery, Gathered, Sampling, Total, end_stream, fingerprint, gather, logprobs};
use crate::{
    engine::{Event, Model, Request, TokenLogprobs},
    sampling::SampleOptions,
    server::{
        answer::{Answer, Events, events, json as answer},
        app::{App, unix_time},
        choices::Choices,
        fields::Fields,
        problem::Problem,
        request::RequestId,
    },
    template::{Message, Role},
};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tracing::Instrument;

/// The most alternatives per token; OpenAI's limit.
const MAX_TOP_LOGPROBS: usize = 20;

/// Answers a conversation.
pub(in crate::server) async fn answer_chat(
    app: Arc<App>,
    id: &RequestId,
    body: &Map<String, Value>,
) -> Result<Answer, Problem> {
    let fields = Fields::new(body);
    let name = fields.string("model")?;
    let delivery = Delivery::read(&fields)?;
    let messages = read_messages(&fields)?;
    // what is wrong with the request should not cost a load
    Sampling::read(&fields, &app.options.sampling, 0)?;
    let work = app.begin()?;
    let (name, model) = app.model(name).await?;
    let context = model.context_options().context_for(&*model.loaded()?);
    let mut sampling = Sampling::read(&fields, &app.options.sampling, context)?;
    read_logprobs(&fields, &mut sampling.options)?;

    let count = sampling.choices;
    let request = Request::new(messages);
    let deadline = app.options.request_timeout;
    let requests = (0..count).map(|choice| sampling.request(request.clone(), choice, deadline)).collect();
    let choices = Choices::begin(work, model.clone(), requests)
        .await
        .map_err(|problem| problem.in_field(sampling.overflowing_field("messages", context)))?;

    let reply = Reply {
        id: format!("chatcmpl-{id}"),
        created: unix_time(),
        model: name,
        logprobs: sampling.options.logprobs.is_some(),
        ends: Ends::of(&model, &sampling.options),
        delivery,
    };
    if delivery.stream {
        let span = tracing::Span::current();
        return Ok(events(move |events| {
            async move { reply.stream(&events, choices, count).await }.instrument(span)
        }));
    }
    let (gathered, total) = gather(choices, count, count).await?;
    Ok(answer(StatusCode::OK, &reply.whole(&gathered, &total)))
}

/// Tokens that end a text: they have log-probabilities and no place in an answer.
#[derive(Debug)]
pub(super) struct Ends(Option<Model>);

impl Ends {
    pub(super) fn of(model: &Model, options: &SampleOptions) -> Self {
        Self((!options.ignore_eos).then(|| model.clone()))
    }

    pub(super) fn is_end(&self, token: &TokenLogprobs) -> bool {
        let loaded = self.0.as_ref().and_then(|model| model.loaded().ok());
        loaded.is_some_and(|model| model.is_end(token.chosen.token))
    }
}

fn read_logprobs(fields: &Fields<'_>, options: &mut SampleOptions) -> Result<(), Problem> {
    let wanted = fields.boolean("logprobs")?.unwrap_or(false);
    let top = fields.count("top_logprobs")?;
    if let Some(top) = top
        && top > MAX_TOP_LOGPROBS
    {
        return Err(fields.wrong("top_logprobs", format!("{top} is out of range: 0 to {MAX_TOP_LOGPROBS}")));
    }
    if top.is_some_and(|top| top > 0) && !wanted {
        return Err(fields.wrong("top_logprobs", "needs logprobs to be true"));
    }
    options.logprobs = wanted.then_some(top.unwrap_or(0));
    Ok(())
}

fn read_messages(fields: &Fields<'_>) -> Result<Vec<Message>, Problem> {
    let list = fields
        .array("messages")?
        .ok_or_else(|| fields.wrong("messages", "is missing: an array of messages is needed"))?;
    if list.is_empty() {
        return Err(fields.wrong("messages", "is empty: at least one message is needed"));
    }
    list.iter().enumerate().map(|(index, message)| read_message(message, index)).collect()
}

fn read_message(message: &Value, index: usize) -> Result<Message, Problem> {
    let fields = Fields::of(message, format!("messages[{index}]"))?;
    let role = match fields.string("role")? {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool" | "function") => Role::Tool,
        Some(other) => {
            let what = format!("{other:?} is no role: system, developer, user, assistant and tool are");
            return Err(fields.wrong("role", what));
        }
        None => return Err(fields.wrong("role", "is missing: system, user or assistant is needed")),
    };
    for name in ["tool_calls", "function_call", "audio"] {
        if fields.get(name).is_some_and(|value| value.as_array().is_none_or(|calls| !calls.is_empty())) {
            return Err(fields.wrong(name, "is not supported: leave it out"));
        }
    }
    let content = match fields.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let mut text = String::new();
            for (number, part) in parts.iter().enumerate() {
                let part = Fields::of(part, format!("messages[{index}].content[{number}]"))?;
                match part.string("type")? {
                    Some("text") => {}
                    Some(other) => {
                        return Err(part.wrong("type", format!("{other:?} is not supported: \"text\" is")));
                    }
                    None => return Err(part.wrong("type", "is missing: \"text\" is supported")),
                }
                let part_text = part.string("text")?;
                text.push_str(part_text.ok_or_else(|| part.wrong("text", "is missing"))?);
            }
            text
        }
        Some(_) => return Err(fields.wrong("content", "a string or an array of parts is needed")),
        None => return Err(fields.wrong("content", "is missing: a string is needed")),
    };
    Ok(Message::new(role, content))
}

/// What all parts of an answer carry.
#[derive(Debug)]
struct Reply {
    id: String,
    created: u64,
    model: String,
    logprobs: bool,
    ends: Ends,
    delivery: Delivery,
}

impl Reply {
    fn whole(&self, gathered: &[Gathered], total: &Total) -> Value {
        let choices: Vec<Value> = gathered
            .iter()
            .enumerate()
            .map(|(index, choice)| {
                let tokens: Vec<_> =
                    choice.tokens.iter().filter(|token| !self.ends.is_end(token)).cloned().collect();
                json!({
                    "index": index,
                    "message": {"role": "assistant", "content": choice.text, "refusal": null},
                    "logprobs": self.logprobs.then(|| logprobs::chat(&tokens)),
                    "finish_reason": choice.finish,
                })
            })
            .collect();
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": choices, "usage": total.json(), "system_fingerprint": fingerprint(),
        })
    }

    fn chunk(&self, choices: Value) -> Value {
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "choices": choices, "system_fingerprint": fingerprint(),
        });
        if self.delivery.include_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    fn part(&self, index: usize, delta: Value, tokens: &[TokenLogprobs], finish: Option<&str>) -> Value {
        let logprobs = (self.logprobs && !tokens.is_empty()).then(|| logprobs::chat(tokens));
        self.chunk(json!([{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}]))
    }

    async fn stream(&self, events: &Events, choices: Choices, count: usize) {
        let ended = match self.parts(events, choices, count).await {
            Ok(None) => return,
            Ok(Some(total)) => Ok(self.delivery.include_usage.then(|| {
                let mut chunk = self.chunk(json!([]));
                chunk["usage"] = total.json();
                chunk
            })),
            Err(problem) => Err(problem),
        };
        end_stream(events, ended).await;
    }

    /// Writes the parts of all choices as they come; `None` where nobody reads any more.
    async fn parts(
        &self,
        events: &Events,
        mut choices: Choices,
        count: usize,
    ) -> Result<Option<Total>, Problem> {
        let mut total = Total::default();
        // log-probabilities come before the text that they belong to
        let mut tokens: Vec<Vec<TokenLogprobs>> = vec![vec![]; count];
        for index in 0..count {
            let begin = self.part(index, json!({"role": "assistant", "content": ""}), &[], None);
            if !events.data(&begin).await {
                return Ok(None);
            }
        }
        while let Some((index, event)) = choices.next().await {
            let part = match event? {
                Event::Prefill { .. } => continue,
                Event::Token(token) => {
                    if !self.ends.is_end(&token) {
                        tokens[index].push(token);
                    }
                    continue;
                }
                Event::Text(text) => {
                    self.part(index, json!({"content": text}), &std::mem::take(&mut tokens[index]), None)
                }
                Event::Done(usage) => {
                    total.add(&usage, index == 0);
                    let finish = super::finish_reason(&usage.finish);
                    self.part(index, json!({}), &std::mem::take(&mut tokens[index]), Some(finish))
                }
            };
            if !events.data(&part).await {
                return Ok(None);
            }
        }
        Ok(Some(total))
    }
}
