//! `POST /v1/chat/completions`.

use super::{
    Delivery, Sampling, logprobs,
    reply::{Count, Form, Reply},
};
use crate::{
    engine::{Request, TokenLogprobs},
    sampling::SampleOptions,
    server::{
        answer::Answer, app::App, choices::Choices, fields::Fields, problem::Problem, request::RequestId,
    },
    template::{Message, Role},
};
use serde_json::{Map, Value, json};
use std::sync::Arc;

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

    let count = Count { all: count, per_prompt: count };
    Reply::new(format!("chatcmpl-{id}"), (name, &model), &sampling.options, delivery, Chat)
        .answer(choices, count)
        .await
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

/// How a conversation is answered.
#[derive(Debug)]
struct Chat;

impl Form for Chat {
    const WHOLE: &'static str = "chat.completion";
    const PART: &'static str = "chat.completion.chunk";

    fn beginning(&self, _: usize) -> Option<(&'static str, Value)> {
        Some(("delta", json!({"role": "assistant", "content": ""})))
    }

    fn more(&self, text: Option<String>) -> (&'static str, Value) {
        ("delta", text.map_or_else(|| json!({}), |text| json!({"content": text})))
    }

    fn whole(&self, _: usize, text: &str) -> (&'static str, Value) {
        ("message", json!({"role": "assistant", "content": text, "refusal": null}))
    }

    fn logprobs(tokens: &[TokenLogprobs], _: &mut usize) -> Value {
        logprobs::chat(tokens)
    }
}
