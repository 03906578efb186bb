//! `POST /v1/completions`.

use super::{
    Delivery, logprobs,
    prompts::read_prompts,
    reply::{Count, Form, Reply},
    sampling::{Sampling, check_choices},
};
use crate::{
    engine::{Model, Prompt, Request, TokenLogprobs},
    sampling::MAX_TOP_LOGPROBS,
    server::{
        answer::Answer, app::App, choices::Choices, fields::Fields, problem::Problem, request::RequestId,
    },
};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Continues texts.
pub(in crate::server) async fn answer_completion(
    app: Arc<App>,
    id: &RequestId,
    body: &Map<String, Value>,
) -> Result<Answer, Problem> {
    let fields = Fields::new(body);
    let name = fields.string("model")?;
    let delivery = Delivery::read(&fields)?;
    let prompts = read_prompts(&fields, "prompt")?;
    let sampling = Sampling::read(&fields, &app.options.sampling, 0)?;
    check_choices(&fields, "prompt", prompts.len().saturating_mul(sampling.choices))?;
    let logprobs = read_logprobs(&fields)?;
    let echo = fields.boolean("echo")?.unwrap_or(false);
    if echo && logprobs.is_some() {
        return Err(fields.wrong("echo", "cannot be combined with logprobs: prompts have none here"));
    }
    if let Some(best_of) = fields.count("best_of")?
        && best_of != sampling.choices
    {
        return Err(fields.wrong("best_of", "is not supported: leave it out, or give n the same value"));
    }
    let work = app.begin()?;
    let (name, model) = app.model(name).await?;
    let context = model.context_options().context_for(&*model.loaded()?);
    let mut sampling = Sampling::read(&fields, &app.options.sampling, context)?;
    sampling.options.logprobs = logprobs;

    let per_prompt = sampling.choices;
    let mut echoes = vec![];
    let mut requests = vec![];
    for prompt in prompts {
        let text = if echo { echo_of(&model, &prompt)? } else { String::new() };
        for choice in 0..per_prompt {
            let request = Request::new(prompt.clone());
            requests.push(sampling.request(request, choice, app.options.request_timeout));
            echoes.push(text.clone());
        }
    }
    let count = Count { all: requests.len(), per_prompt };
    let choices = Choices::begin(work, model.clone(), requests)
        .await
        .map_err(|problem| problem.in_field(sampling.overflowing_field("prompt", context)))?;

    Reply::new(format!("cmpl-{id}"), (name, &model), &sampling.options, delivery, Completion { echoes })
        .answer(choices, count)
        .await
}

/// OpenAI's `logprobs`, or llama-server's `n_probs`, of which 0 is none.
fn read_logprobs(fields: &Fields<'_>) -> Result<Option<usize>, Problem> {
    let (name, top) = match fields.count("logprobs")? {
        Some(top) => ("logprobs", Some(top)),
        None => ("n_probs", fields.count("n_probs")?.filter(|top| *top > 0)),
    };
    match top {
        Some(top) if top > MAX_TOP_LOGPROBS => {
            Err(fields.wrong(name, format!("{top} is out of range: 0 to {MAX_TOP_LOGPROBS}")))
        }
        top => Ok(top),
    }
}

/// The text of a prompt, for an answer that begins with it.
fn echo_of(model: &Model, prompt: &Prompt) -> Result<String, Problem> {
    Ok(match prompt {
        Prompt::Text(text) => text.clone(),
        Prompt::Tokens(tokens) => model.loaded()?.detokenize(tokens, false)?,
        Prompt::Chat(_) => String::new(),
    })
}

/// How a prompt is continued.
#[derive(Debug)]
struct Completion {
    /// What the text of each choice begins with.
    echoes: Vec<String>,
}

impl Form for Completion {
    const WHOLE: &'static str = "text_completion";
    const PART: &'static str = "text_completion";

    fn beginning(&self, index: usize) -> Option<(&'static str, Value)> {
        let echo = &self.echoes[index];
        (!echo.is_empty()).then(|| ("text", json!(echo)))
    }

    fn more(&self, text: Option<String>) -> (&'static str, Value) {
        ("text", text.unwrap_or_default().into())
    }

    fn whole(&self, index: usize, text: &str) -> (&'static str, Value) {
        ("text", format!("{}{text}", self.echoes[index]).into())
    }

    fn logprobs(tokens: &[TokenLogprobs], at: &mut usize) -> Value {
        logprobs::completion(tokens, at)
    }
}
