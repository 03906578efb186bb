//! `POST /v1/embeddings`.

use super::prompts::read_prompts;
use crate::{
    engine::Prompt,
    server::{
        answer::{Answer, json as answer},
        app::App,
        fields::Fields,
        problem::Problem,
    },
};
use axum::http::StatusCode;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The most texts of one request; OpenAI's limit.
const MAX_TEXTS: usize = 2048;

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Float,
    /// Of the 32-bit floats, little-endian.
    Base64,
}

/// Turns texts into vectors.
pub(in crate::server) async fn answer_embeddings(
    app: Arc<App>,
    body: &Map<String, Value>,
) -> Result<Answer, Problem> {
    let fields = Fields::new(body);
    let name = fields.string("model")?;
    let texts = read_prompts(&fields, "input")?;
    if texts.len() > MAX_TEXTS {
        return Err(fields.wrong("input", format!("{} texts are too many: up to {MAX_TEXTS}", texts.len())));
    }
    if texts.iter().any(|text| matches!(text, Prompt::Text(text) if text.is_empty())) {
        return Err(fields.wrong("input", "holds an empty text"));
    }
    let encoding = match fields.string("encoding_format")? {
        None | Some("float") => Encoding::Float,
        Some("base64") => Encoding::Base64,
        Some(other) => {
            return Err(
                fields.wrong("encoding_format", format!("{other:?} is not known: float and base64 are"))
            );
        }
    };
    let dimensions = fields.count("dimensions")?;
    if dimensions == Some(0) {
        return Err(fields.wrong("dimensions", "0 is too few: at least 1 is needed"));
    }

    let mut work = app.begin()?;
    let (name, model) = app.model(name).await?;
    let limit = app.options.request_timeout;
    let embeddings = tokio::select! {
        embeddings = tokio::time::timeout(limit, model.embed(texts)) => match embeddings {
            Ok(embeddings) => embeddings.map_err(|error| Problem::from(error).in_field("input"))?,
            Err(_) => return Err(crate::error::Error::DeadlineExceeded { after: limit }.into()),
        },
        () = work.stopped() => return Err(Problem::unavailable("the server is shutting down", "draining")),
    };
    let embeddings = match dimensions {
        Some(dimensions) => embeddings.shortened(dimensions)?,
        None => embeddings,
    };
    let data: Vec<Value> = embeddings
        .vectors
        .iter()
        .enumerate()
        .map(|(index, vector)| {
            let vector = match encoding {
                Encoding::Float => json!(vector),
                Encoding::Base64 => {
                    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                    json!(BASE64_STANDARD.encode(bytes))
                }
            };
            json!({"object": "embedding", "index": index, "embedding": vector})
        })
        .collect();
    let tokens = embeddings.prompt_tokens;
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    Ok(answer(StatusCode::OK, &json!({"object": "list", "data": data, "model": name, "usage": usage})))
}
