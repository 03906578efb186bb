//! Log-probabilities as OpenAI's answers carry them.

use crate::engine::{TokenLogprob, TokenLogprobs};
use serde_json::{Map, Value, json};

/// What OpenAI writes for a token that could not come: JSON has no infinity.
const IMPOSSIBLE: f32 = -9999.0;

fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { IMPOSSIBLE }
}

/// The text of a token; a part of a character is shown as U+FFFD, its bytes tell.
fn text(token: &TokenLogprob) -> String {
    String::from_utf8_lossy(&token.bytes).into_owned()
}

/// `logprobs` of a chat's choice.
pub(super) fn chat(tokens: &[TokenLogprobs]) -> Value {
    let one = |token: &TokenLogprob| json!({"token": text(token), "logprob": finite(token.logprob), "bytes": token.bytes});
    let content: Vec<Value> = tokens
        .iter()
        .map(|token| {
            let mut entry = one(&token.chosen);
            entry["top_logprobs"] = token.top.iter().map(one).collect();
            entry
        })
        .collect();
    json!({"content": content, "refusal": null})
}

/// `logprobs` of a completion's choice. `offset` is where its text stands after what came before, in characters, and is
/// moved on.
pub(super) fn completion(tokens: &[TokenLogprobs], offset: &mut usize) -> Value {
    let (mut texts, mut logprobs, mut tops, mut offsets) = (vec![], vec![], vec![], vec![]);
    for token in tokens {
        let text_of_token = text(&token.chosen);
        offsets.push(*offset);
        *offset += text_of_token.chars().count();
        texts.push(text_of_token);
        logprobs.push(finite(token.chosen.logprob));
        let mut top = Map::new();
        for token in &token.top {
            // tokens that look the same: the more probable one was first
            top.entry(text(token)).or_insert_with(|| json!(finite(token.logprob)));
        }
        tops.push(Value::Object(top));
    }
    json!({"tokens": texts, "token_logprobs": logprobs, "top_logprobs": tops, "text_offset": offsets})
}
