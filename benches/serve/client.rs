//! One streamed request to `/v1/completions`, and when its parts came.

use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{
    fmt,
    str::FromStr,
    time::{Duration, Instant},
};

/// Where a server listens.
#[derive(Debug, Clone)]
pub(crate) struct Address(String);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest =
            text.strip_prefix("http://").ok_or_else(|| format!("{text}: expected http://HOST:PORT"))?;
        let host = rest.trim_end_matches('/');
        if host.contains('/') || !host.contains(':') {
            return Err(format!("{text}: expected http://HOST:PORT"));
        }
        Ok(Self(host.into()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

/// An answer: how long it took, and its size.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// From the request to each part of the text.
    pub(crate) parts: Vec<Duration>,
    /// Tokens of the answer, as the server counts them.
    pub(crate) tokens: u64,
}

/// What is sent.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) prompt: Vec<u32>,
    pub(crate) output: usize,
}

/// Asks, and reads the answer to its end.
pub(crate) async fn ask(address: &Address, model: &str, question: &Question) -> Result<Answer, String> {
    let body = json!({
        "model": model,
        "prompt": question.prompt,
        "max_tokens": question.output,
        "temperature": 0,
        "ignore_eos": true,
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    let asked = Instant::now();
    let text = |error: &dyn fmt::Display| error.to_string();
    let stream = tokio::net::TcpStream::connect(&address.0).await.map_err(|error| text(&error))?;
    stream.set_nodelay(true).map_err(|error| text(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    let connection = tokio::spawn(connection);
    let request = Request::post("/v1/completions")
        .header(header::HOST, &address.0)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .map_err(|error| text(&error))?;
    let mut response = sender.send_request(request).await.map_err(|error| text(&error))?;
    if !response.status().is_success() {
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| text(&error))?.to_bytes();
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body)));
    }

    let mut answer = Answer { parts: vec![], tokens: 0 };
    let mut pending = Vec::new();
    let mut done = false;
    while let Some(frame) = response.frame().await {
        let frame = frame.map_err(|error| text(&error))?;
        let Some(data) = frame.data_ref() else { continue };
        pending.extend_from_slice(data);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let Some(event) = line.strip_prefix(b"data: ") else { continue };
            if event.starts_with(b"[DONE]") {
                done = true;
            } else {
                let event: Value = serde_json::from_slice(event).map_err(|error| text(&error))?;
                take(&mut answer, &event, asked.elapsed())?;
            }
        }
    }
    connection.abort();
    match (done, answer.tokens) {
        (false, _) => Err("the stream ended without [DONE]".into()),
        (true, 0) => Err("the answer has no usage".into()),
        (true, _) => Ok(answer),
    }
}

fn take(answer: &mut Answer, event: &Value, now: Duration) -> Result<(), String> {
    if let Some(error) = event.get("error").filter(|error| !error.is_null()) {
        return Err(error.to_string());
    }
    if event["choices"][0]["text"].as_str().is_some_and(|text| !text.is_empty()) {
        answer.parts.push(now);
    }
    if let Some(tokens) = event["usage"]["completion_tokens"].as_u64() {
        answer.tokens = tokens;
    }
    Ok(())
}
