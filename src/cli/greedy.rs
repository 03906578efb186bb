//! The most probable continuation, computed with a session alone: what `bench` and `eval` compare.

use inferno::{Result, Session, Token, sampling::log_softmax_at};
use std::ops::ControlFlow;

/// The continuation of a prompt, at most so many tokens; it ends before an end token and with the context.
pub(crate) fn continuation(session: &mut Session, prompt: &[Token], most: usize) -> Result<Vec<Token>> {
    let shared = session.reuse_prefix(prompt)?;
    session.prefill(&prompt[shared..], |_| ControlFlow::Continue(()))?;
    let mut output = vec![];
    while output.len() < most {
        let token = most_probable(session.logits()?);
        if session.model().is_end(token) {
            break;
        }
        output.push(token);
        if session.tokens().len() == session.limit() {
            break;
        }
        session.decode(token)?;
    }
    Ok(output)
}

/// The token with the highest logit, the lowest id among equals.
fn most_probable(logits: &[f32]) -> Token {
    let mut best = (0, f32::NEG_INFINITY);
    for (token, &logit) in (0..).zip(logits) {
        if logit > best.1 {
            best = (token, logit);
        }
    }
    best.0
}

/// The sum of the negative log-likelihoods of `tokens[1..]`, each given those before it, in nats.
pub(crate) fn surprise(session: &mut Session, tokens: &[Token]) -> Result<f64> {
    session.rewind(0)?;
    let mut sum = 0.0;
    for pair in tokens.windows(2) {
        session.decode(pair[0])?;
        let next = u32::try_from(pair[1]).expect("the tokenizer's tokens are rows of the vocabulary");
        sum -= f64::from(log_softmax_at(session.logits()?, next));
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_first_of_equals_is_taken() {
        assert_eq!(super::most_probable(&[0.0, 2.0, 1.0, 2.0]), 1);
    }
}
