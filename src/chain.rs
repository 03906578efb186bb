//! Builds the native sampler chain from the stages that `sampling.rs` plans.

use crate::{
    error::Result,
    model::{LoadedModel, Token},
    sampling::{SampleOptions, Stage},
    sys::{self, engine},
};
use std::sync::Arc;

/// The chain for these options, which must be valid for the model's vocabulary.
pub(crate) fn build(model: &LoadedModel, options: &SampleOptions, seed: u32) -> Result<sys::Sampler> {
    let native = || -> Result<sys::Sampler, sys::Failure> {
        let mut chain = sys::Sampler::new(Arc::clone(model.native()))?;
        let suppressed = model.native().suppressed();
        if !suppressed.is_empty() {
            let never: Vec<_> = suppressed.iter().map(|t| (*t, f32::NEG_INFINITY)).collect();
            chain.add_logit_bias(&never)?;
        }
        for stage in options.plan(seed) {
            add(&mut chain, model, stage)?;
        }
        Ok(chain)
    };
    native().map_err(|failure| engine("sampler", &failure))
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
