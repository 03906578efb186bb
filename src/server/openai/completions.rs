//! `POST /v1/completions`.

use super::{
    Delivery, Gathered, Total,
    chat::Ends,
    end_stream, fingerprint, gather, logprobs,
    prompts::read_prompts,
    sampling::{Sampling, check_choices},
};
use crate::{
    engine::{Event, Model, Prompt, Request, TokenLogprobs},
    sampling::MAX_TOP_LOGPROBS,
    server::{
        answer::{Answer, Events, events, json as answer},
        app::{App, unix_time},
        choices::Choices,
        fields::Fields,
        problem::Problem,
        request::RequestId,
    },
};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tracing::Instrument;

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
    let count = requests.len();
    let choices = Choices::begin(work, model.clone(), requests)
        .await
        .map_err(|problem| problem.in_field(sampling.overflowing_field("prompt", context)))?;

    let reply = Reply {
        id: format!("cmpl-{id}"),
        created: unix_time(),
        model: name,
        logprobs: logprobs.is_some(),
        ends: Ends::of(&model, &sampling.options),
        echoes,
        per_prompt,
        delivery,
    };
    if delivery.stream {
        let span = tracing::Span::current();
        return Ok(events(move |events| {
            async move { reply.stream(&events, choices).await }.instrument(span)
        }));
    }
    let (gathered, total) = gather(choices, count, per_prompt).await?;
    Ok(answer(StatusCode::OK, &reply.whole(&gathered, &total)))
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

/// What all parts of an answer carry.
#[derive(Debug)]
struct Reply {
    id: String,
    created: u64,
    model: String,
    logprobs: bool,
    ends: Ends,
    /// What the text of each choice begins with.
    echoes: Vec<String>,
    /// Choices of one prompt.
    per_prompt: usize,
    delivery: Delivery,
}

impl Reply {
    fn body(&self, choices: Value) -> Value {
        json!({
            "id": self.id, "object": "text_completion", "created": self.created, "model": self.model,
            "choices": choices, "system_fingerprint": fingerprint(),
        })
    }

    fn whole(&self, gathered: &[Gathered], total: &Total) -> Value {
        let choices: Vec<Value> = gathered
            .iter()
            .zip(&self.echoes)
            .enumerate()
            .map(|(index, (choice, echo))| {
                let tokens: Vec<_> =
                    choice.tokens.iter().filter(|token| !self.ends.is_end(token)).cloned().collect();
                json!({
                    "index": index,
                    "text": format!("{echo}{}", choice.text),
                    "logprobs": self.logprobs.then(|| logprobs::completion(&tokens, &mut 0)),
                    "finish_reason": choice.finish,
                })
            })
            .collect();
        let mut body = self.body(choices.into());
        body["usage"] = total.json();
        body
    }

    async fn stream(&self, events: &Events, choices: Choices) {
        let ended = match self.parts(events, choices).await {
            Ok(None) => return,
            Ok(Some(total)) => Ok(self.delivery.include_usage.then(|| {
                let mut chunk = self.body(json!([]));
                chunk["usage"] = total.json();
                chunk
            })),
            Err(problem) => Err(problem),
        };
        end_stream(events, ended).await;
    }

    /// Writes the parts of all choices as they come; `None` where nobody reads any more.
    async fn parts(&self, events: &Events, mut choices: Choices) -> Result<Option<Total>, Problem> {
        let mut total = Total::default();
        let mut tokens: Vec<Vec<TokenLogprobs>> = vec![vec![]; self.echoes.len()];
        let mut offsets = vec![0; self.echoes.len()];
        for (index, echo) in self.echoes.iter().enumerate() {
            if !echo.is_empty() && !events.data(&self.part(index, echo, None, None)).await {
                return Ok(None);
            }
        }
        while let Some((index, event)) = choices.next().await {
            let (text, finish) = match event? {
                Event::Prefill { .. } => continue,
                Event::Token(token) => {
                    if !self.ends.is_end(&token) {
                        tokens[index].push(token);
                    }
                    continue;
                }
                Event::Text(text) => (text, None),
                Event::Done(usage) => {
                    total.add(&usage, index % self.per_prompt == 0);
                    (String::new(), Some(super::finish_reason(&usage.finish)))
                }
            };
            let tokens = std::mem::take(&mut tokens[index]);
            let logprobs = (self.logprobs && !tokens.is_empty())
                .then(|| logprobs::completion(&tokens, &mut offsets[index]));
            if !events.data(&self.part(index, &text, logprobs, finish)).await {
                return Ok(None);
            }
        }
        Ok(Some(total))
    }

    fn part(&self, index: usize, text: &str, logprobs: Option<Value>, finish: Option<&str>) -> Value {
        let choice = json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish});
        let mut chunk = self.body(json!([choice]));
        if self.delivery.include_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }
}
