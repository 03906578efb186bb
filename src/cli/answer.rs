//! Shows the events of a request as they come, for `run` and `chat`.

use super::{
    failure::Failure,
    interrupt::Interrupt,
    numbers,
    output::{self, Waiting},
};
use inferno::{Error, Event, EventStream, LoadedModel, Tokenize, Usage};
use serde_json::json;
use std::time::{Duration, Instant};

/// How often a spinner moves.
const TICK: Duration = Duration::from_millis(100);

/// How an answer is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Show {
    /// As events in JSON rather than as text.
    pub(crate) json: bool,
    /// Without a spinner.
    pub(crate) quiet: bool,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) end: End,
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum End {
    /// By itself.
    Done(Usage),
    /// By Ctrl-C.
    Interrupted { prompt: Option<usize>, first: Option<Duration>, took: Duration },
}

impl Answer {
    /// What it took, in one line.
    pub(crate) fn statistics(&self, model: &LoadedModel) -> String {
        match &self.end {
            End::Done(usage) => numbers::usage(usage),
            End::Interrupted { prompt, first, took } => {
                let mut parts = vec![];
                parts.extend(prompt.map(|n| format!("prompt: {}", numbers::tokens(n))));
                parts.extend(first.map(|first| format!("first text after {}", numbers::time(first))));
                // the request did not live to count its tokens; the text's own are nearly the same
                let plain = Tokenize { add_special: false, parse_special: false };
                let tokens = model.tokenize(&self.text, plain).map_or(0, |tokens| tokens.len());
                parts.push(format!("generated: about {}", numbers::tokens(tokens)));
                format!("interrupted after {}; {}", numbers::time(*took), parts.join("; "))
            }
        }
    }
}

/// Prints the stream to its end. Ctrl-C ends the request, not the program.
pub(crate) async fn show(
    mut stream: EventStream,
    show: Show,
    interrupt: &Interrupt,
) -> Result<Answer, Failure> {
    let began = Instant::now();
    let mut text = String::new();
    let (mut prompt, mut first) = (None, None);
    let mut waiting = Waiting::spinner("reading the prompt".into(), show.quiet);
    let mut ticks = tokio::time::interval(TICK);
    loop {
        let event = tokio::select! {
            biased;
            () = interrupt.pressed() => {
                waiting.clear();
                stream.cancel_handle().cancel();
                // what it had ready is not wanted any more; its end is
                while stream.next().await.is_some() {}
                let end = End::Interrupted { prompt, first, took: began.elapsed() };
                return Ok(Answer { text, end });
            }
            event = stream.next() => event,
            _ = ticks.tick(), if first.is_none() => {
                waiting.tick();
                continue;
            }
        };
        let event = event.unwrap_or(Err(Error::ShutDown)).inspect_err(|_| waiting.clear())?;
        match event {
            Event::Prefill { done, total } => {
                prompt = Some(total);
                waiting.says(format!("reading the prompt, {done} of {total} tokens"));
                if show.json {
                    output::json(&json!({"event": "prefill", "done": done, "total": total}))?;
                }
            }
            Event::Text(part) => {
                waiting.clear();
                first.get_or_insert_with(|| began.elapsed());
                if show.json {
                    output::json(&json!({"event": "text", "text": part}))?;
                } else {
                    output::print(&part)?;
                }
                text.push_str(&part);
            }
            Event::Token(token) => {
                waiting.clear();
                first.get_or_insert_with(|| began.elapsed());
                if show.json {
                    output::json(&tagged("token", &token))?;
                }
            }
            Event::Done(usage) => {
                waiting.clear();
                if show.json {
                    let mut event = tagged("done", &usage);
                    event["prefill_tps"] = usage.prefill_tps().into();
                    event["decode_tps"] = usage.decode_tps().into();
                    output::json(&event)?;
                }
                return Ok(Answer { text, end: End::Done(usage) });
            }
            _ => {}
        }
    }
}

/// The value with the name of its event before it.
fn tagged(event: &str, value: &impl serde::Serialize) -> serde_json::Value {
    let mut object = json!({ "event": event });
    if let (Some(object), Ok(serde_json::Value::Object(fields))) =
        (object.as_object_mut(), serde_json::to_value(value))
    {
        object.extend(fields);
    }
    object
}
