//! OpenAI's HTTP interface.

pub(super) mod chat;
pub(super) mod completions;
pub(super) mod embeddings;
pub(super) mod models;

mod logprobs;
mod prompts;
mod reply;
mod sampling;

use super::{fields::Fields, problem::Problem};
use sampling::Sampling;

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
