//! Builds the native sampler chain from the stages that `sampling.rs` plans.

use crate::{
    error::{Error, Result},
    model::{LoadedModel, Token},
    sampling::{SampleOptions, Stage},
    sys::{self, engine},
};
use std::sync::Arc;

/// What chooses the next token.
#[derive(Debug)]
pub(crate) enum Chooser {
    /// The most probable token, the first of equals: one pass over the logits, where the native chain first copies them
    /// into a list of candidates (1 % of a token's time on a vocabulary of 150,000).
    Greedy,
    /// Everything else.
    Chain(sys::Sampler),
}

impl Chooser {
    /// Tells the chooser of a token that it did not choose itself, such as one of the prompt.
    pub(crate) fn accept(&mut self, token: Token) -> Result<()> {
        match self {
            Chooser::Greedy => Ok(()),
            Chooser::Chain(chain) => chain.accept(token).map_err(|failure| engine("sampler", &failure)),
        }
    }

    /// Picks the next token from the logits of the i-th token of the last decode, -1 for the last output.
    pub(crate) fn choose(
        &mut self,
        context: &mut sys::Context,
        i: i32,
        model: &LoadedModel,
    ) -> Result<Token> {
        let token = match self {
            Chooser::Greedy => {
                let best = highest(raw_logits(context, i)?).ok_or_else(no_numbers)?;
                Token::try_from(best).expect("below the vocabulary's size")
            }
            Chooser::Chain(chain) => {
                logits(context, i)?; // checks that they are numbers
                chain.sample(context, i).map_err(|failure| engine("sample", &failure))?
            }
        };
        model.check_token(token)?;
        Ok(token)
    }
}

/// The chooser for these options, which must be valid for the model's vocabulary.
pub(crate) fn build(model: &LoadedModel, options: &SampleOptions, seed: u32) -> Result<Chooser> {
    let stages = options.plan(seed);
    if stages == [Stage::Greedy] && model.native().suppressed().is_empty() {
        return Ok(Chooser::Greedy);
    }
    let native = || -> Result<sys::Sampler, sys::Failure> {
        let mut chain = sys::Sampler::new(Arc::clone(model.native()))?;
        let suppressed = model.native().suppressed();
        if !suppressed.is_empty() {
            let never: Vec<_> = suppressed.iter().map(|t| (*t, f32::NEG_INFINITY)).collect();
            chain.add_logit_bias(&never)?;
        }
        for stage in stages {
            add(&mut chain, model, stage)?;
        }
        Ok(chain)
    };
    native().map(Chooser::Chain).map_err(|failure| engine("sampler", &failure))
}

/// The logits of the i-th token of the last decode, -1 for the last output, if all of them are numbers.
pub(crate) fn logits(context: &mut sys::Context, i: i32) -> Result<&[f32]> {
    let logits = raw_logits(context, i)?;
    // without a branch in the loop, so that it becomes vector code
    if logits.iter().fold(false, |found, l| found | l.is_nan()) {
        return Err(no_numbers());
    }
    Ok(logits)
}

fn raw_logits(context: &mut sys::Context, i: i32) -> Result<&[f32]> {
    context.logits(i).map_err(|failure| engine("logits", &failure))
}

fn no_numbers() -> Error {
    Error::Engine { call: "decode", what: "the logits are not numbers".into() }
}

/// The index of the highest logit, the first of equals; none where there are no logits or one is not a number.
pub(crate) fn highest(logits: &[f32]) -> Option<usize> {
    // lanes that do not depend on each other become vector code, which a single running maximum does not
    const LANES: usize = 16;
    let mut most = [f32::NEG_INFINITY; LANES];
    let mut nan = [false; LANES];
    let (rows, rest) = logits.as_chunks::<LANES>();
    let tail = rest.iter().enumerate();
    for (i, l) in rows.iter().flat_map(|row| row.iter().enumerate()).chain(tail) {
        most[i] = if *l > most[i] { *l } else { most[i] };
        nan[i] |= l.is_nan();
    }
    if nan.contains(&true) {
        return None;
    }
    let most = most.into_iter().fold(f32::NEG_INFINITY, f32::max);
    logits.iter().position(|l| *l == most)
}

fn add(chain: &mut sys::Sampler, model: &LoadedModel, stage: Stage) -> Result<(), sys::Failure> {
    match stage {
        Stage::LogitBias { biases, forbid_end } => {
            let mut all: Vec<(Token, f32)> = biases
                .into_iter()
                .map(|(token, bias)| (Token::try_from(token).expect("checked against the vocabulary"), bias))
                .collect();
            if forbid_end {
                let last = Token::try_from(model.vocab_size()).unwrap_or(Token::MAX);
                all.extend((0..last).filter(|t| model.is_end(*t)).map(|t| (t, f32::NEG_INFINITY)));
            }
            chain.add_logit_bias(&all)
        }
        Stage::Penalties { last_n, repeat, frequency, presence } => {
            chain.add_penalties(last_n, repeat, frequency, presence)
        }
        Stage::Dry { multiplier, base, allowed_length, last_n, breakers } => {
            chain.add_dry(multiplier, base, allowed_length, last_n, &breakers)
        }
        Stage::TopNSigma(n) => chain.add_top_n_sigma(n),
        Stage::TopK(k) => chain.add_top_k(k),
        Stage::Typical { p, min_keep } => chain.add_typical(p, min_keep),
        Stage::TopP { p, min_keep } => chain.add_top_p(p, min_keep),
        Stage::MinP { p, min_keep } => chain.add_min_p(p, min_keep),
        Stage::Xtc { probability, threshold, min_keep, seed } => {
            chain.add_xtc(probability, threshold, min_keep, seed)
        }
        Stage::Temperature(temperature) => chain.add_temperature(temperature),
        Stage::Mirostat1 { seed, tau, eta, m } => chain.add_mirostat(seed, tau, eta, m),
        Stage::Mirostat2 { seed, tau, eta } => chain.add_mirostat_v2(seed, tau, eta),
        Stage::Greedy => chain.add_greedy(),
        Stage::Dist { seed } => chain.add_dist(seed),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_highest_is_the_first_of_equals() {
        assert_eq!(super::highest(&[0.0, 3.0, -1.0, 3.0]), Some(1));
        assert_eq!(super::highest(&[f32::NEG_INFINITY, f32::NEG_INFINITY]), Some(0));
        assert_eq!(super::highest(&[f32::NEG_INFINITY, -5.0]), Some(1));
        let mut many: Vec<f32> = (0..100u8).map(|i| f32::from(i % 37)).collect();
        assert_eq!(super::highest(&many), Some(36));
        many[99] = f32::INFINITY;
        assert_eq!(super::highest(&many), Some(99));
    }

    #[test]
    fn what_is_not_a_number_is_found_wherever_it_is() {
        assert_eq!(super::highest(&[]), None);
        for i in 0..40 {
            let mut logits = [1.0; 40];
            logits[i] = f32::NAN;
            assert_eq!(super::highest(&logits), None, "{i}");
        }
    }
}
