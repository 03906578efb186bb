//! Jobs: `POST /execute`, which answers with events, and `POST /cancel`.

use super::{MAX_ID, Worker};
use crate::{
    engine::{Event, Request},
    error::Error,
    server::{
        answer::{Answer, Events, events, json as answer},
        app::App,
        choices::Choices,
        fields::Fields,
        problem::Problem,
        request::RequestId,
    },
};
use axum::{http::StatusCode, response::IntoResponse};
use serde_json::{Map, Value, json};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};
use tokio::sync::watch;
use tracing::Instrument;

/// An error in the contract's words.
#[derive(Debug)]
pub(in crate::server) struct Refusal(Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Answer {
        let mut given = answer(self.0.status, &fault(&self.0));
        given.extensions_mut().insert(self.0);
        given
    }
}

/// `{code, message, retriable}`.
fn fault(problem: &Problem) -> Value {
    let code = match problem.code {
        Some("timeout") => "INFERENCE_TIMEOUT",
        Some("out_of_memory") => "VRAM_OOM",
        Some("model_does_not_fit") => "INSUFFICIENT_VRAM",
        Some("model_load_failed") => "MODEL_LOAD_FAILED",
        Some("cancelled" | "model_unloaded") => "CANCELLED",
        _ if problem.status.is_client_error() && problem.status != StatusCode::TOO_MANY_REQUESTS => {
            "INVALID_REQUEST"
        }
        _ => "INTERNAL",
    };
    let retriable = problem.status.is_server_error() || problem.status == StatusCode::TOO_MANY_REQUESTS;
    json!({"code": code, "message": problem.message, "retriable": retriable && code != "CANCELLED"})
}

/// A job among those at work, until it is dropped.
struct Job {
    app: Arc<App>,
    id: String,
    cancelled: watch::Receiver<bool>,
    began: Instant,
    /// Its place in [`super::OUTCOMES`].
    outcome: usize,
}

impl Job {
    fn begin(app: &Arc<App>, id: &str) -> Result<Self, Problem> {
        let mut jobs = worker(app).jobs();
        if jobs.contains_key(id) {
            return Err(Problem::field("job_id", format!("{id:?} runs already")));
        }
        let sender = watch::Sender::new(false);
        let cancelled = sender.subscribe();
        jobs.insert(id.to_owned(), sender);
        drop(jobs);
        // a client that goes away has cancelled it
        Ok(Self { app: Arc::clone(app), id: id.to_owned(), cancelled, began: Instant::now(), outcome: 1 })
    }

    /// Completes when the manager cancels it.
    async fn cancelled(&mut self) {
        let _ = self.cancelled.wait_for(|cancelled| *cancelled).await;
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let worker = worker(&self.app);
        worker.jobs().remove(&self.id);
        worker.ended[self.outcome].fetch_add(1, Ordering::Relaxed);
        worker.duration.record(self.began.elapsed());
    }
}

fn worker(app: &App) -> &Worker {
    app.worker.as_ref().expect("only a worker has these paths")
}

fn job_id<'a>(fields: &Fields<'a>) -> Result<&'a str, Problem> {
    let id =
        fields.string("job_id")?.ok_or_else(|| fields.wrong("job_id", "is missing: a string is needed"))?;
    match (1..=MAX_ID).contains(&id.len()) {
        true => Ok(id),
        false => Err(fields.wrong("job_id", format!("1 to {MAX_ID} bytes are needed"))),
    }
}

/// Runs a job; its events are the answer.
pub(in crate::server) async fn execute(
    app: Arc<App>,
    id: &RequestId,
    body: &Map<String, Value>,
) -> Result<Answer, Refusal> {
    let fields = Fields::new(body);
    let job_id = job_id(&fields)?;
    let prompt =
        fields.string("prompt")?.ok_or_else(|| fields.wrong("prompt", "is missing: a string is needed"))?;
    let mut options = app.options.sampling.clone();
    options.logprobs = None;
    if let Some(tokens) = fields.count("max_tokens")? {
        options.max_tokens = Some(tokens);
    }
    if let Some(temperature) = fields.number("temperature")? {
        options.temperature = temperature;
    }
    if let Some(seed) = fields.small_count("seed")? {
        options.seed = Some(seed);
    }
    options.validate().map_err(Problem::from)?;

    let work = app.begin()?;
    let job = Job::begin(&app, job_id)?;
    let (model_name, model) = app.model(None).await.map_err(Problem::of_loading)?;
    let request = Request::new(prompt).with_options(options).with_deadline(app.options.request_timeout);
    let started = json!({"job_id": job_id, "model": model_name, "request_id": id.to_string()});
    let span = tracing::info_span!("job", id = job_id);
    Ok(events(move |events| {
        let mut job = job;
        let run = async move {
            if !events.named("started", &started).await {
                return;
            }
            let begun = tokio::select! {
                begun = Choices::begin(work, model, vec![request]) => begun,
                // it may wait for others for long
                () = job.cancelled() => Err(Error::Cancelled.into()),
            };
            // what is wrong with the job is told as its event: it has begun for the manager
            match begun {
                Ok(choices) => run(job, choices, &events).await,
                Err(problem) => fail(job, &problem, &events).await,
            }
        };
        run.instrument(span)
    }))
}

async fn fail(mut job: Job, problem: &Problem, events: &Events) {
    let fault = fault(problem);
    job.outcome = if fault["code"] == "CANCELLED" { 1 } else { 2 };
    // who reads the end may start the job anew at once
    drop(job);
    events.named("error", &fault).await;
}

async fn run(mut job: Job, mut choices: Choices, events: &Events) {
    let began = Instant::now();
    let mut index = 0;
    loop {
        let next = tokio::select! {
            next = choices.next() => next,
            () = job.cancelled() => Some((0, Err(Problem::from(Error::Cancelled)))),
        };
        let event = match next {
            Some((_, Ok(event))) => event,
            Some((_, Err(problem))) => {
                drop(choices);
                return fail(job, &problem, events).await;
            }
            None => return,
        };
        match event {
            Event::Text(text) => {
                if !events.named("token", &json!({"t": text, "i": index})).await {
                    return;
                }
                index += 1;
            }
            Event::Done(usage) => {
                let worker = worker(&job.app);
                worker.tokens_in.fetch_add(usage.prompt_tokens as u64, Ordering::Relaxed);
                worker.tokens_generated.fetch_add(usage.completion_tokens as u64, Ordering::Relaxed);
                job.outcome = 0;
                let end = json!({
                    "tokens_out": usage.completion_tokens,
                    "decode_time_ms": u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                });
                // its counts and its place are given back before the end is told
                while choices.next().await.is_some() {}
                drop((job, choices));
                events.named("end", &end).await;
                return;
            }
            Event::Prefill { .. } | Event::Token(_) => {}
        }
    }
}

/// Cancels a job. One that has ended, or never was, is no error: the manager may ask twice.
pub(in crate::server) fn cancel(app: &App, body: &Map<String, Value>) -> Result<Answer, Refusal> {
    let id = job_id(&Fields::new(body))?;
    let running = worker(app).jobs().get(id).map(|job| job.send_replace(true)).is_some();
    Ok(answer(StatusCode::ACCEPTED, &json!({"job_id": id, "running": running})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_lacks_has_a_code_for_the_model_and_one_for_a_job() {
        let problem =
            || Problem::from(Error::OutOfMemory { device: "MTL0".into(), needed: 2, free: Some(1) });
        assert_eq!(fault(&problem().of_loading())["code"], "INSUFFICIENT_VRAM");
        assert_eq!(fault(&problem())["code"], "VRAM_OOM");
        assert_eq!(fault(&problem())["retriable"], true);
        // what is no lack of memory is what it was
        let other = Problem::from(Error::ShutDown);
        assert_eq!(fault(&other.clone().of_loading()), fault(&other));
    }
}
