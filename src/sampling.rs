//! How the next token is chosen: one validated plain-data type, its plan of stages, and log-probabilities.
//!
//! # The chain
//! The stages run in the order in which llama.cpp's `common_sampler_init` adds them by default
//! (`common/sampling.cpp` and `common_params_sampling` in `common/common.h` of the pinned tree). Each
//! narrows or reshapes what the one before it left; a stage whose option is off is left out.
//!
//! | stage | options | off at |
//! |---|---|---|
//! | logit bias | `logit_bias`, `ignore_eos` | none given |
//! | penalties | `repeat_penalty`, `frequency_penalty`, `presence_penalty`, `repeat_last_n` | 1, 0 and 0, or 0 tokens |
//! | DRY | `dry_*` | multiplier 0 or 0 tokens |
//! | top-n-sigma | `top_n_sigma` | 0 |
//! | top-k | `top_k` | 0 |
//! | locally typical | `typical_p` | 1 |
//! | top-p | `top_p` | 1 |
//! | min-p | `min_p` | 0 |
//! | XTC | `xtc_probability`, `xtc_threshold` | probability 0 |
//! | temperature | `temperature` | 1 |
//! | choice | `seed` | – |
//!
//! With `temperature` 0 the choice is *greedy*: the most probable token that is left, the lowest id among
//! equals. Top-n-sigma, top-k, top-p and min-p always keep the most probable token, so they are left out
//! unless typical or XTC, which may remove it, are on.
//!
//! With `mirostat` the chain is logit bias, temperature, mirostat: llama.cpp ignores every stage between.
//! Here nothing is ignored in silence: an option of an ignored stage that is neither at its default nor off is an
//! error, and so is `temperature` 0, with which mirostat would have nothing left to control.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::hash::{BuildHasher, Hasher, RandomState};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How many stop strings a request may have.
pub const MAX_STOP_STRINGS: usize = 64;
/// How long a stop string may be, in bytes.
pub const MAX_STOP_BYTES: usize = 1024;
/// How many alternatives per token [`SampleOptions::logprobs`] may ask for.
pub const MAX_TOP_LOGPROBS: usize = 100;
/// How far back the penalties and DRY may look, in tokens: they allocate as much.
pub const MAX_LAST_N: u32 = 1 << 20;
/// How many DRY sequence breakers there may be: each is compared with the whole vocabulary.
pub const MAX_DRY_BREAKERS: usize = 64;
/// How long a DRY sequence breaker may be, in bytes: llama.cpp cuts longer ones off.
pub const MAX_DRY_BREAKER_BYTES: usize = 40;
/// The lowest temperature that is not greedy: below it, logits divided by it may leave the range of `f32`.
pub const MIN_TEMPERATURE: f32 = 1e-6;
/// The bound on biases, penalties and the temperature, so that logits stay in the range of `f32`.
pub const MAX_MAGNITUDE: f32 = 1e6;
/// The highest target entropy of mirostat, in bits: a token of a 32-bit vocabulary holds no more.
pub const MAX_MIROSTAT_TAU: f32 = 32.0;

/// llama.cpp's default for the samplers' `min_keep`: no candidates are kept beyond what the stage keeps.
const MIN_KEEP: usize = 0;
/// How many of the most probable tokens mirostat 1 estimates from; the constant of `common_sampler_init`.
const MIROSTAT_M: i32 = 100;

/// Which version of mirostat controls the surprise of the text; written as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Mirostat {
    /// 0: not used.
    #[default]
    Off,
    /// 1: Mirostat, <https://arxiv.org/abs/2007.14966>.
    V1,
    /// 2: Mirostat 2.0, from the same paper; simpler and faster.
    V2,
}

impl TryFrom<u8> for Mirostat {
    type Error = String;

    fn try_from(version: u8) -> Result<Self, String> {
        match version {
            0 => Ok(Mirostat::Off),
            1 => Ok(Mirostat::V1),
            2 => Ok(Mirostat::V2),
            other => Err(format!("mirostat version {other} does not exist: 0 (off), 1 or 2 is needed")),
        }
    }
}

impl From<Mirostat> for u8 {
    fn from(version: Mirostat) -> u8 {
        match version {
            Mirostat::Off => 0,
            Mirostat::V1 => 1,
            Mirostat::V2 => 2,
        }
    }
}

/// How text is sampled. The defaults are llama.cpp's; the [module](self) states the order of the stages.
///
/// ```
/// # use inferno::SampleOptions;
/// let options = SampleOptions::default().with_max_tokens(64).with_temperature(0.7).with_seed(1);
/// options.validate()?;
/// assert!(options.with_top_p(1.5).validate().is_err());
/// # Ok::<(), inferno::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SampleOptions {
    /// At most so many tokens are generated; `None`: until the end of the text or of the context.
    pub max_tokens: Option<usize>,
    /// The same seed gives the same text; `None`: a random one for each request. `u32::MAX` is not a
    /// seed: llama.cpp reads it as "random".
    pub seed: Option<u32>,
    /// Divides the logits: below 1 more predictable, above 1 more varied, 0 greedy.
    /// 0, or [`MIN_TEMPERATURE`] to [`MAX_MAGNITUDE`].
    pub temperature: f32,
    /// Keeps the k most probable tokens; 0 is off.
    pub top_k: u32,
    /// Keeps the most probable tokens that together reach this probability (nucleus). (0, 1], 1 is off.
    pub top_p: f32,
    /// Keeps tokens with at least this share of the highest probability. \[0, 1), 0 is off.
    pub min_p: f32,
    /// Keeps the tokens whose surprise is nearest to the entropy, up to this probability
    /// (locally typical sampling, <https://arxiv.org/abs/2202.00666>). (0, 1], 1 is off.
    pub typical_p: f32,
    /// Keeps logits within so many standard deviations of the highest
    /// (<https://arxiv.org/abs/2411.07641>). At least 0, 0 is off (llama.cpp writes −1).
    pub top_n_sigma: f32,
    /// XTC: how often the most probable tokens are removed. \[0, 1], 0 is off.
    pub xtc_probability: f32,
    /// XTC: all tokens of at least this probability but the least probable of them are removed.
    /// (0, 0.5]: above one half no two tokens could reach it.
    pub xtc_threshold: f32,
    /// DRY: the size of the penalty on tokens that would extend a repetition. At least 0, 0 is off.
    pub dry_multiplier: f32,
    /// DRY: the penalty is `multiplier * base ^ (length of the repetition − allowed length)`. At least 1.
    pub dry_base: f32,
    /// DRY: repetitions up to this length, in tokens, are free.
    pub dry_allowed_length: u32,
    /// DRY: how far back it looks, in tokens; 0 is off. Up to [`MAX_LAST_N`].
    pub dry_penalty_last_n: u32,
    /// DRY: strings that end a repetition. Up to [`MAX_DRY_BREAKERS`] of [`MAX_DRY_BREAKER_BYTES`] bytes.
    pub dry_sequence_breakers: Vec<String>,
    /// Mirostat instead of the stages from the penalties to XTC.
    pub mirostat: Mirostat,
    /// Mirostat: the surprise to aim at, in bits per token. (0, [`MAX_MIROSTAT_TAU`]].
    pub mirostat_tau: f32,
    /// Mirostat: its learning rate. (0, 1].
    pub mirostat_eta: f32,
    /// Divides the positive, multiplies the negative logits of tokens seen lately. Positive, 1 is off.
    pub repeat_penalty: f32,
    /// How far back the three penalties look, in tokens; 0 is off. Up to [`MAX_LAST_N`].
    pub repeat_last_n: u32,
    /// Subtracted from the logit of a token seen lately. 0 is off; negative values favour repetition.
    pub presence_penalty: f32,
    /// Subtracted from the logit of a token once for each time it was seen lately. 0 is off.
    pub frequency_penalty: f32,
    /// Added to the logits of tokens, by token id; negative infinity (written `false`) forbids a token.
    #[serde(with = "bias_map")]
    pub logit_bias: BTreeMap<u32, f32>,
    /// Generation ends before the first of these in the text. Up to [`MAX_STOP_STRINGS`], none empty.
    pub stop: Vec<String>,
    /// Report the natural logarithm of the probability of each chosen token, and of so many of the most
    /// probable ones: of the model's own distribution, before any stage. Up to [`MAX_TOP_LOGPROBS`].
    pub logprobs: Option<usize>,
    /// Forbids the tokens with which the model ends its text.
    pub ignore_eos: bool,
}

impl Default for SampleOptions {
    /// The defaults of llama.cpp's `common_params_sampling`.
    fn default() -> Self {
        SampleOptions {
            max_tokens: None,
            seed: None,
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            typical_p: 1.0,
            top_n_sigma: 0.0,
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            dry_multiplier: 0.0,
            dry_base: 1.75,
            dry_allowed_length: 2,
            dry_penalty_last_n: 64,
            dry_sequence_breakers: ["\n", ":", "\"", "*"].map(String::from).to_vec(),
            mirostat: Mirostat::Off,
            mirostat_tau: 5.0,
            mirostat_eta: 0.1,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: BTreeMap::new(),
            stop: Vec::new(),
            logprobs: None,
            ignore_eos: false,
        }
    }
}

/// Writes the builder methods, each of which sets the field of its name.
macro_rules! setters {
    ($($method:ident sets $field:ident: $type:ty = $value:expr;)*) => {
        impl SampleOptions {$(
            #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
            #[must_use]
            pub fn $method(mut self, $field: $type) -> Self {
                self.$field = $value;
                self
            }
        )*}
    };
}

setters! {
    with_max_tokens sets max_tokens: usize = Some(max_tokens);
    with_seed sets seed: u32 = Some(seed);
    with_temperature sets temperature: f32 = temperature;
    with_top_k sets top_k: u32 = top_k;
    with_top_p sets top_p: f32 = top_p;
    with_min_p sets min_p: f32 = min_p;
    with_typical_p sets typical_p: f32 = typical_p;
    with_top_n_sigma sets top_n_sigma: f32 = top_n_sigma;
    with_xtc_probability sets xtc_probability: f32 = xtc_probability;
    with_xtc_threshold sets xtc_threshold: f32 = xtc_threshold;
    with_dry_multiplier sets dry_multiplier: f32 = dry_multiplier;
    with_dry_base sets dry_base: f32 = dry_base;
    with_dry_allowed_length sets dry_allowed_length: u32 = dry_allowed_length;
    with_dry_penalty_last_n sets dry_penalty_last_n: u32 = dry_penalty_last_n;
    with_dry_sequence_breakers sets dry_sequence_breakers: impl IntoIterator<Item: Into<String>> =
        dry_sequence_breakers.into_iter().map(Into::into).collect();
    with_mirostat sets mirostat: Mirostat = mirostat;
    with_mirostat_tau sets mirostat_tau: f32 = mirostat_tau;
    with_mirostat_eta sets mirostat_eta: f32 = mirostat_eta;
    with_repeat_penalty sets repeat_penalty: f32 = repeat_penalty;
    with_repeat_last_n sets repeat_last_n: u32 = repeat_last_n;
    with_presence_penalty sets presence_penalty: f32 = presence_penalty;
    with_frequency_penalty sets frequency_penalty: f32 = frequency_penalty;
    with_logit_bias sets logit_bias: impl IntoIterator<Item = (u32, f32)> = logit_bias.into_iter().collect();
    with_stop sets stop: impl IntoIterator<Item: Into<String>> = stop.into_iter().map(Into::into).collect();
    with_logprobs sets logprobs: usize = Some(logprobs);
    with_ignore_eos sets ignore_eos: bool = ignore_eos;
}

impl SampleOptions {
    /// Checks every option against its range, and the combinations that contradict each other.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] with the option, its value and the range, for the first that is wrong.
    pub fn validate(&self) -> Result<()> {
        self.check().map_err(Problem::into_request_error)
    }

    /// [`validate`](Self::validate), with the wrong fields as data.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        self.check_numbers()?;
        self.check_lists()?;
        self.check_mirostat()
    }

    /// Checks what depends on the model: that every biased token exists and that one can still be chosen.
    pub(crate) fn validate_for_vocabulary(&self, n_tokens: u32) -> Result<()> {
        if let Some(id) = self.logit_bias.keys().find(|&&id| id >= n_tokens) {
            let last = n_tokens.saturating_sub(1);
            return Err(Error::request(
                "logit_bias",
                format!("the model has no token {id}: 0 to {last} exist"),
            ));
        }
        let forbidden = self.logit_bias.values().filter(|bias| **bias == f32::NEG_INFINITY).count();
        if u32::try_from(forbidden).is_ok_and(|forbidden| forbidden >= n_tokens) {
            return Err(Error::request("logit_bias", "forbids every token of the model: one must be left"));
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), Problem> {
        let from_zero = |value: &f32| (0.0..=MAX_MAGNITUDE).contains(value);
        let signed = |value: &f32| (-MAX_MAGNITUDE..=MAX_MAGNITUDE).contains(value);
        let up_to = |most: f32| move |value: &f32| *value > 0.0 && *value <= most;

        let seed = self.seed.unwrap_or(0);
        in_range(
            "seed",
            seed,
            |seed| *seed != u32::MAX,
            "0 to 4294967294 (llama.cpp reads the last as random)",
        )?;
        let temperature = |t: &f32| *t == 0.0 || (MIN_TEMPERATURE..=MAX_MAGNITUDE).contains(t);
        let range = format_args!("0 (greedy), or {MIN_TEMPERATURE} to {MAX_MAGNITUDE}");
        in_range("temperature", self.temperature, temperature, range)?;
        let top_k = |k: &u32| i32::try_from(*k).is_ok();
        in_range("top_k", self.top_k, top_k, format_args!("0 (off) to {}", i32::MAX))?;
        in_range("top_p", self.top_p, up_to(1.0), "above 0, up to 1 (off)")?;
        in_range("min_p", self.min_p, |p| (0.0..1.0).contains(p), "0 (off) or more, below 1")?;
        in_range("typical_p", self.typical_p, up_to(1.0), "above 0, up to 1 (off)")?;
        let from_off = format_args!("0 (off) to {MAX_MAGNITUDE}");
        in_range("top_n_sigma", self.top_n_sigma, from_zero, from_off)?;
        in_range("xtc_probability", self.xtc_probability, |p| (0.0..=1.0).contains(p), "0 (off) to 1")?;
        in_range("xtc_threshold", self.xtc_threshold, up_to(0.5), "above 0, up to 0.5")?;
        in_range("dry_multiplier", self.dry_multiplier, from_zero, from_off)?;
        let base = |base: &f32| (1.0..=MAX_MAGNITUDE).contains(base);
        in_range("dry_base", self.dry_base, base, format_args!("1 to {MAX_MAGNITUDE}"))?;
        for (field, tokens) in [
            ("dry_allowed_length", self.dry_allowed_length),
            ("dry_penalty_last_n", self.dry_penalty_last_n),
            ("repeat_last_n", self.repeat_last_n),
        ] {
            in_range(field, tokens, |n| *n <= MAX_LAST_N, format_args!("0 to {MAX_LAST_N} tokens"))?;
        }
        let range = format_args!("above 0, up to {MAX_MIROSTAT_TAU} bits");
        in_range("mirostat_tau", self.mirostat_tau, up_to(MAX_MIROSTAT_TAU), range)?;
        in_range("mirostat_eta", self.mirostat_eta, up_to(1.0), "above 0, up to 1")?;
        // As in llama.cpp the inverse has to be finite too.
        let repeat = |penalty: &f32| up_to(MAX_MAGNITUDE)(penalty) && penalty.recip().is_finite();
        let range = format_args!("above 0, up to {MAX_MAGNITUDE}, 1 is off");
        in_range("repeat_penalty", self.repeat_penalty, repeat, range)?;
        let range = format_args!("-{MAX_MAGNITUDE} to {MAX_MAGNITUDE}, 0 is off");
        in_range("presence_penalty", self.presence_penalty, signed, range)?;
        in_range("frequency_penalty", self.frequency_penalty, signed, range)
    }

    fn check_lists(&self) -> Result<(), Problem> {
        for (id, bias) in &self.logit_bias {
            if *bias != f32::NEG_INFINITY && !(-MAX_MAGNITUDE..=MAX_MAGNITUDE).contains(bias) {
                let range = format!("-{MAX_MAGNITUDE} to {MAX_MAGNITUDE}, or false to forbid the token");
                return Err(Problem::new("logit_bias", format!("token {id} has {bias}, not {range}")));
            }
            if i32::try_from(*id).is_err() {
                return Err(Problem::new("logit_bias", format!("{id} is no token id: 0 to {}", i32::MAX)));
            }
        }
        strings("stop", "stop strings", &self.stop, MAX_STOP_STRINGS, MAX_STOP_BYTES)?;
        let breakers = &self.dry_sequence_breakers;
        strings("dry_sequence_breakers", "breakers", breakers, MAX_DRY_BREAKERS, MAX_DRY_BREAKER_BYTES)?;
        if let Some(breaker) = breakers.iter().find(|breaker| breaker.contains('\0')) {
            let what = format!("{breaker:?} has a zero byte, which a breaker cannot hold");
            return Err(Problem::new("dry_sequence_breakers", what));
        }
        if let Some(n) = self.logprobs {
            in_range("logprobs", n, |n| *n <= MAX_TOP_LOGPROBS, format_args!("0 to {MAX_TOP_LOGPROBS}"))?;
        }
        Ok(())
    }

    /// With mirostat llama.cpp skips the stages before it; refuse the options that would be ignored.
    fn check_mirostat(&self) -> Result<(), Problem> {
        if self.mirostat == Mirostat::Off {
            return Ok(());
        }
        let conflict = |field, what: String| Err(Problem { field, other: Some("mirostat"), what });
        if self.temperature == 0.0 {
            let what = "0 (greedy) leaves mirostat nothing to control: raise it, or set mirostat = 0";
            return conflict("temperature", what.to_owned());
        }
        let default = SampleOptions::default();
        if self.top_k != default.top_k && self.top_k != 0 {
            return conflict("top_k", ignored(0.0));
        }
        for (field, value, default, off) in [
            ("repeat_penalty", self.repeat_penalty, default.repeat_penalty, 1.0),
            ("presence_penalty", self.presence_penalty, default.presence_penalty, 0.0),
            ("frequency_penalty", self.frequency_penalty, default.frequency_penalty, 0.0),
            ("dry_multiplier", self.dry_multiplier, default.dry_multiplier, 0.0),
            ("top_n_sigma", self.top_n_sigma, default.top_n_sigma, 0.0),
            ("typical_p", self.typical_p, default.typical_p, 1.0),
            ("top_p", self.top_p, default.top_p, 1.0),
            ("min_p", self.min_p, default.min_p, 0.0),
            ("xtc_probability", self.xtc_probability, default.xtc_probability, 0.0),
        ] {
            if value != default && value != off {
                return conflict(field, ignored(off));
            }
        }
        Ok(())
    }

    /// The seed of these options, or a random one; to be drawn once per request, so that it can be reported.
    pub(crate) fn seed_or_random(&self) -> u32 {
        // RandomState's keys come from the operating system; an empty hash mixes them.
        let random = || RandomState::new().build_hasher().finish() % u64::from(u32::MAX);
        self.seed.unwrap_or_else(|| u32::try_from(random()).expect("a remainder of u32::MAX fits into u32"))
    }

    /// The stages in order, without those that are off. For options that [`validate`](Self::validate) accepts.
    pub(crate) fn plan(&self, seed: u32) -> Vec<Stage> {
        let mut stages = Vec::new();
        if !self.logit_bias.is_empty() || self.ignore_eos {
            let biases = self.logit_bias.iter().map(|(id, bias)| (*id, *bias)).collect();
            stages.push(Stage::LogitBias { biases, forbid_end: self.ignore_eos });
        }
        match self.mirostat {
            Mirostat::Off => self.plan_chain(seed, &mut stages),
            version => {
                let (tau, eta) = (self.mirostat_tau, self.mirostat_eta);
                self.plan_temperature(&mut stages);
                stages.push(match version {
                    Mirostat::V1 => Stage::Mirostat1 { seed, tau, eta, m: MIROSTAT_M },
                    _ => Stage::Mirostat2 { seed, tau, eta },
                });
            }
        }
        stages
    }

    fn plan_chain(&self, seed: u32, stages: &mut Vec<Stage>) {
        let signed = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        let (repeat, frequency, presence) =
            (self.repeat_penalty, self.frequency_penalty, self.presence_penalty);
        if self.repeat_last_n > 0 && (repeat != 1.0 || frequency != 0.0 || presence != 0.0) {
            stages.push(Stage::Penalties { last_n: signed(self.repeat_last_n), repeat, frequency, presence });
        }
        if self.dry_multiplier != 0.0 && self.dry_penalty_last_n > 0 {
            stages.push(Stage::Dry {
                multiplier: self.dry_multiplier,
                base: self.dry_base,
                allowed_length: signed(self.dry_allowed_length),
                last_n: signed(self.dry_penalty_last_n),
                breakers: self.dry_sequence_breakers.clone(),
            });
        }

        let greedy = self.temperature == 0.0;
        let typical = self.typical_p < 1.0;
        let xtc = self.xtc_probability > 0.0;
        // The other truncations keep the most probable token, which is all that greedy looks at.
        let truncate = !greedy || typical || xtc;
        if truncate && self.top_n_sigma > 0.0 {
            stages.push(Stage::TopNSigma(self.top_n_sigma));
        }
        if truncate && self.top_k > 0 {
            stages.push(Stage::TopK(signed(self.top_k)));
        }
        if typical {
            stages.push(Stage::Typical { p: self.typical_p, min_keep: MIN_KEEP });
        }
        if truncate && self.top_p < 1.0 {
            stages.push(Stage::TopP { p: self.top_p, min_keep: MIN_KEEP });
        }
        if truncate && self.min_p > 0.0 {
            stages.push(Stage::MinP { p: self.min_p, min_keep: MIN_KEEP });
        }
        if xtc {
            let (probability, threshold) = (self.xtc_probability, self.xtc_threshold);
            stages.push(Stage::Xtc { probability, threshold, min_keep: MIN_KEEP, seed });
        }
        if greedy {
            stages.push(Stage::Greedy);
        } else {
            self.plan_temperature(stages);
            stages.push(Stage::Dist { seed });
        }
    }

    fn plan_temperature(&self, stages: &mut Vec<Stage>) {
        if self.temperature != 1.0 {
            stages.push(Stage::Temperature(self.temperature));
        }
    }
}

/// One stage of the chain, with the arguments of the llama.cpp sampler of the same name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stage {
    /// Biases by token id; with `forbid_end` also negative infinity for the model's end-of-generation tokens.
    LogitBias { biases: Vec<(u32, f32)>, forbid_end: bool },
    /// Repetition, frequency and presence penalties over the last `last_n` tokens.
    Penalties { last_n: i32, repeat: f32, frequency: f32, presence: f32 },
    /// The DRY repetition penalty.
    Dry { multiplier: f32, base: f32, allowed_length: i32, last_n: i32, breakers: Vec<String> },
    /// Logits within so many standard deviations of the highest.
    TopNSigma(f32),
    /// The k most probable tokens.
    TopK(i32),
    /// Locally typical sampling.
    Typical { p: f32, min_keep: usize },
    /// Nucleus sampling.
    TopP { p: f32, min_keep: usize },
    /// A share of the highest probability.
    MinP { p: f32, min_keep: usize },
    /// Exclude top choices.
    Xtc { probability: f32, threshold: f32, min_keep: usize, seed: u32 },
    /// Divides the logits.
    Temperature(f32),
    /// Chooses a token; mirostat 1.
    Mirostat1 { seed: u32, tau: f32, eta: f32, m: i32 },
    /// Chooses a token; mirostat 2.
    Mirostat2 { seed: u32, tau: f32, eta: f32 },
    /// Chooses the most probable token.
    Greedy,
    /// Chooses a token at random, by its probability.
    Dist { seed: u32 },
}

/// A wrong option, before it is known whether it came from a request or from a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The option.
    pub(crate) field: &'static str,
    /// The option that it contradicts, where that is the problem.
    pub(crate) other: Option<&'static str>,
    /// What is wrong with the value, and what would be right.
    pub(crate) what: String,
}

impl Problem {
    /// A problem with one option alone.
    pub(crate) fn new(field: &'static str, what: impl Into<String>) -> Self {
        Problem { field, other: None, what: what.into() }
    }

    /// The error for a library caller.
    pub(crate) fn into_request_error(self) -> Error {
        Error::request(self.field, self.what)
    }
}

/// The natural logarithm of the softmax of `logits` at `id`.
///
/// Computed in `f64` relative to the highest logit. NaN counts as an impossible token; negative infinity is
/// the answer for those, and for an `id` that does not exist. Logits of positive infinity share the whole.
pub fn log_softmax_at(logits: &[f32], id: u32) -> f32 {
    let logit = usize::try_from(id).ok().and_then(|index| logits.get(index));
    logit.map_or(f32::NEG_INFINITY, |logit| Normalizer::of(logits).log_prob(*logit))
}

/// The `n` most probable tokens with the natural logarithms of their probabilities, most probable first,
/// lower ids first among equals; fewer where `logits` has fewer.
pub fn top_log_probs(logits: &[f32], n: usize) -> Vec<(u32, f32)> {
    let number = |logit: f32| if logit.is_nan() { f32::NEG_INFINITY } else { logit };
    let mut tokens: Vec<(u32, f32)> = (0u32..).zip(logits.iter().copied().map(number)).collect();
    let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    // total_cmp would tell 0 and -0 apart.
    for token in &mut tokens {
        token.1 += 0.0;
    }
    if n == 0 {
        return Vec::new();
    }
    if n < tokens.len() {
        tokens.select_nth_unstable_by(n - 1, order);
        tokens.truncate(n);
    }
    tokens.sort_unstable_by(order);
    let normalizer = Normalizer::of(logits);
    for token in &mut tokens {
        token.1 = normalizer.log_prob(token.1);
    }
    tokens
}

/// What turns a logit into a log-probability: the highest logit and the logarithm of the sum above it.
struct Normalizer {
    highest: f64,
    log_sum: f64,
}

impl Normalizer {
    fn of(logits: &[f32]) -> Self {
        // f32::max ignores NaN.
        let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = logits.iter().map(|logit| Self::relative(*logit, highest).exp()).sum();
        Normalizer { highest, log_sum: sum.ln() }
    }

    /// The logit minus the highest, with equal infinities at 0 and NaN at negative infinity.
    fn relative(logit: f32, highest: f64) -> f64 {
        let logit = f64::from(logit);
        if logit.is_nan() || logit == f64::NEG_INFINITY {
            f64::NEG_INFINITY
        } else if logit == highest {
            0.0
        } else {
            logit - highest
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the result is wanted in the precision of the logits"
    )]
    fn log_prob(&self, logit: f32) -> f32 {
        match Self::relative(logit, self.highest) {
            f64::NEG_INFINITY => f32::NEG_INFINITY,
            relative => (relative - self.log_sum) as f32,
        }
    }
}

/// An error that names the value and the right range, unless the value is in it.
fn in_range<T: Display>(
    field: &'static str,
    value: T,
    contains: impl Fn(&T) -> bool,
    range: impl Display,
) -> Result<(), Problem> {
    if contains(&value) {
        return Ok(());
    }
    Err(Problem::new(field, format!("{value} is out of range: {range}")))
}

/// The text for an option whose stage mirostat replaces.
fn ignored(off: f32) -> String {
    format!(
        "would be ignored, mirostat replaces this stage: leave it out or at {off} (off), or set mirostat = 0"
    )
}

/// Checks a list of strings: how many, how long, none empty.
fn strings(
    field: &'static str,
    noun: &str,
    list: &[String],
    most: usize,
    longest: usize,
) -> Result<(), Problem> {
    if list.len() > most {
        return Err(Problem::new(
            field,
            format!("{} {noun} are too many: up to {most} are taken", list.len()),
        ));
    }
    for (index, string) in list.iter().enumerate() {
        let what = match string.len() {
            0 => "is empty: at least one character is needed".to_owned(),
            bytes if bytes > longest => format!("has {bytes} bytes: up to {longest} are taken"),
            _ => continue,
        };
        return Err(Problem::new(field, format!("number {} of the {noun} {what}", index + 1)));
    }
    Ok(())
}

/// Token ids are text where a format has only text for keys; negative infinity is written as `false`.
pub(crate) mod bias_map {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged, expecting = "a bias is a number, or false to forbid the token")]
    enum Bias {
        Allowed(bool),
        Number(f32),
    }

    #[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
    #[serde(try_from = "String")]
    struct TokenId(u32);

    impl TryFrom<String> for TokenId {
        type Error = String;

        fn try_from(text: String) -> Result<Self, String> {
            match text.parse::<u32>() {
                Ok(id) if id.to_string() == text => Ok(TokenId(id)),
                _ => Err(format!("{text:?} is not a token id: a whole number is needed")),
            }
        }
    }

    pub(super) fn serialize<S: Serializer>(map: &BTreeMap<u32, f32>, to: S) -> Result<S::Ok, S::Error> {
        let bias =
            |bias: f32| if bias == f32::NEG_INFINITY { Bias::Allowed(false) } else { Bias::Number(bias) };
        to.collect_map(map.iter().map(|(id, value)| (id.to_string(), bias(*value))))
    }

    /// [`serialize`] for a map that may be absent, to be skipped where it is.
    pub(crate) fn serialize_some<S: Serializer>(
        map: &Option<BTreeMap<u32, f32>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match map {
            Some(map) => serialize(map, to),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<u32, f32>, D::Error> {
        BTreeMap::<TokenId, Bias>::deserialize(from)?
            .into_iter()
            .map(|(id, bias)| match bias {
                Bias::Number(bias) => Ok((id.0, bias)),
                Bias::Allowed(false) => Ok((id.0, f32::NEG_INFINITY)),
                Bias::Allowed(true) => {
                    Err(D::Error::custom("a bias is a number, or false to forbid the token"))
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn options() -> SampleOptions {
        SampleOptions::default()
    }

    /// The field and the text of the error that `options` give.
    fn error(options: SampleOptions) -> (&'static str, String) {
        match options.validate() {
            Err(Error::InvalidRequest { field, what }) => (field, what),
            other => panic!("expected an invalid request, got {other:?}"),
        }
    }

    #[test]
    fn the_defaults_are_valid_and_plan_llama_cpps_default_chain() {
        options().validate().unwrap();
        assert_eq!(
            options().plan(7),
            [
                Stage::TopK(40),
                Stage::TopP { p: 0.95, min_keep: 0 },
                Stage::MinP { p: 0.05, min_keep: 0 },
                Stage::Temperature(0.8),
                Stage::Dist { seed: 7 },
            ]
        );
    }

    #[test]
    fn everything_on_is_planned_in_the_documented_order() {
        let all = options()
            .with_logit_bias([(3, 1.5), (1, f32::NEG_INFINITY)])
            .with_ignore_eos(true)
            .with_repeat_penalty(1.1)
            .with_repeat_last_n(32)
            .with_presence_penalty(0.5)
            .with_frequency_penalty(0.25)
            .with_dry_multiplier(0.8)
            .with_dry_sequence_breakers(["\n"])
            .with_top_n_sigma(1.0)
            .with_typical_p(0.9)
            .with_xtc_probability(0.5);
        all.validate().unwrap();
        assert_eq!(
            all.plan(1),
            [
                Stage::LogitBias { biases: vec![(1, f32::NEG_INFINITY), (3, 1.5)], forbid_end: true },
                Stage::Penalties { last_n: 32, repeat: 1.1, frequency: 0.25, presence: 0.5 },
                Stage::Dry {
                    multiplier: 0.8,
                    base: 1.75,
                    allowed_length: 2,
                    last_n: 64,
                    breakers: vec!["\n".to_owned()]
                },
                Stage::TopNSigma(1.0),
                Stage::TopK(40),
                Stage::Typical { p: 0.9, min_keep: 0 },
                Stage::TopP { p: 0.95, min_keep: 0 },
                Stage::MinP { p: 0.05, min_keep: 0 },
                Stage::Xtc { probability: 0.5, threshold: 0.1, min_keep: 0, seed: 1 },
                Stage::Temperature(0.8),
                Stage::Dist { seed: 1 },
            ]
        );
    }

    #[test]
    fn everything_off_leaves_the_draw() {
        let off = options().with_top_k(0).with_top_p(1.0).with_min_p(0.0).with_temperature(1.0);
        assert_eq!(off.plan(2), [Stage::Dist { seed: 2 }]);
        let no_window = off.with_repeat_penalty(1.3).with_repeat_last_n(0).with_dry_multiplier(1.0);
        assert_eq!(no_window.with_dry_penalty_last_n(0).plan(2), [Stage::Dist { seed: 2 }]);
    }

    #[test]
    fn greedy_keeps_only_the_stages_that_can_change_the_most_probable_token() {
        let greedy = options().with_temperature(0.0);
        assert_eq!(greedy.plan(1), [Stage::Greedy]);
        let penalised = greedy.clone().with_repeat_penalty(1.1).plan(1);
        assert!(matches!(penalised[..], [Stage::Penalties { .. }, Stage::Greedy]));
        let typical = greedy.clone().with_typical_p(0.5).plan(1);
        assert!(matches!(
            typical[..],
            [Stage::TopK(_), Stage::Typical { .. }, Stage::TopP { .. }, Stage::MinP { .. }, Stage::Greedy]
        ));
        let xtc = greedy.with_xtc_probability(1.0).plan(1);
        assert!(matches!(xtc[..], [_, _, _, Stage::Xtc { .. }, Stage::Greedy]));
    }

    #[test]
    fn mirostat_is_temperature_and_mirostat_alone() {
        let one = options().with_mirostat(Mirostat::V1).with_logit_bias([(0, 1.0)]);
        one.validate().unwrap();
        assert_eq!(
            one.plan(3),
            [
                Stage::LogitBias { biases: vec![(0, 1.0)], forbid_end: false },
                Stage::Temperature(0.8),
                Stage::Mirostat1 { seed: 3, tau: 5.0, eta: 0.1, m: 100 },
            ]
        );
        let two = options().with_mirostat(Mirostat::V2).with_temperature(1.0);
        assert_eq!(two.plan(3), [Stage::Mirostat2 { seed: 3, tau: 5.0, eta: 0.1 }]);
    }

    #[test]
    fn mirostat_refuses_what_it_would_ignore() {
        let mirostat = || options().with_mirostat(Mirostat::V2);
        for (field, wrong) in [
            ("top_k", mirostat().with_top_k(20)),
            ("top_p", mirostat().with_top_p(0.5)),
            ("min_p", mirostat().with_min_p(0.5)),
            ("typical_p", mirostat().with_typical_p(0.5)),
            ("top_n_sigma", mirostat().with_top_n_sigma(1.0)),
            ("xtc_probability", mirostat().with_xtc_probability(0.5)),
            ("dry_multiplier", mirostat().with_dry_multiplier(0.5)),
            ("repeat_penalty", mirostat().with_repeat_penalty(1.1)),
            ("presence_penalty", mirostat().with_presence_penalty(0.1)),
            ("frequency_penalty", mirostat().with_frequency_penalty(0.1)),
            ("temperature", mirostat().with_temperature(0.0)),
        ] {
            let (named, what) = error(wrong);
            assert_eq!(named, field);
            assert!(what.contains("mirostat"), "{what}");
        }
        mirostat().with_top_k(0).with_top_p(1.0).with_min_p(0.0).validate().unwrap();
    }

    #[test]
    fn each_value_out_of_range_is_an_error_that_names_field_value_and_range() {
        let nan = f32::NAN;
        let inf = f32::INFINITY;
        let long = "x".repeat(MAX_STOP_BYTES + 1);
        for (field, value, wrong) in [
            ("seed", "4294967295", options().with_seed(u32::MAX)),
            ("temperature", "NaN", options().with_temperature(nan)),
            ("temperature", "-0.1", options().with_temperature(-0.1)),
            ("temperature", "inf", options().with_temperature(inf)),
            ("temperature", "0.0000000001", options().with_temperature(1e-10)),
            ("top_k", "4294967295", options().with_top_k(u32::MAX)),
            ("top_p", "1.5", options().with_top_p(1.5)),
            ("top_p", "0 ", options().with_top_p(0.0)),
            ("top_p", "NaN", options().with_top_p(nan)),
            ("min_p", "1 ", options().with_min_p(1.0)),
            ("min_p", "-0.1", options().with_min_p(-0.1)),
            ("min_p", "NaN", options().with_min_p(nan)),
            ("typical_p", "0 ", options().with_typical_p(0.0)),
            ("typical_p", "NaN", options().with_typical_p(nan)),
            ("top_n_sigma", "-1", options().with_top_n_sigma(-1.0)),
            ("top_n_sigma", "NaN", options().with_top_n_sigma(nan)),
            ("xtc_probability", "1.1", options().with_xtc_probability(1.1)),
            ("xtc_threshold", "0.6", options().with_xtc_threshold(0.6)),
            ("xtc_threshold", "0 ", options().with_xtc_threshold(0.0)),
            ("dry_multiplier", "-1", options().with_dry_multiplier(-1.0)),
            ("dry_base", "0.5", options().with_dry_base(0.5)),
            ("dry_base", "inf", options().with_dry_base(inf)),
            ("dry_allowed_length", "2000000", options().with_dry_allowed_length(2_000_000)),
            ("dry_penalty_last_n", "2000000", options().with_dry_penalty_last_n(2_000_000)),
            ("dry_sequence_breakers", "number 2", options().with_dry_sequence_breakers(["a", ""])),
            ("dry_sequence_breakers", "41 bytes", options().with_dry_sequence_breakers(["a".repeat(41)])),
            ("dry_sequence_breakers", "zero byte", options().with_dry_sequence_breakers(["a\0b"])),
            ("dry_sequence_breakers", "65", options().with_dry_sequence_breakers(vec!["a"; 65])),
            ("mirostat_tau", "0 ", options().with_mirostat_tau(0.0)),
            ("mirostat_tau", "33", options().with_mirostat_tau(33.0)),
            ("mirostat_eta", "NaN", options().with_mirostat_eta(nan)),
            ("repeat_penalty", "0 ", options().with_repeat_penalty(0.0)),
            ("repeat_penalty", "-1", options().with_repeat_penalty(-1.0)),
            ("repeat_penalty", "out of range", options().with_repeat_penalty(1e-45)),
            ("repeat_last_n", "4294967295", options().with_repeat_last_n(u32::MAX)),
            ("presence_penalty", "inf", options().with_presence_penalty(inf)),
            ("frequency_penalty", "NaN", options().with_frequency_penalty(nan)),
            ("logit_bias", "token 5 has NaN", options().with_logit_bias([(5, nan)])),
            ("logit_bias", "token 5 has inf", options().with_logit_bias([(5, inf)])),
            ("logit_bias", "4294967295", options().with_logit_bias([(u32::MAX, 1.0)])),
            ("stop", "number 1", options().with_stop([""])),
            ("stop", "1025 bytes", options().with_stop([long])),
            ("stop", "65", options().with_stop(vec!["a"; 65])),
            ("logprobs", "101", options().with_logprobs(101)),
        ] {
            let (named, what) = error(wrong);
            assert_eq!(named, field);
            assert!(what.contains(value), "{field}: {what:?} does not name {value:?}");
        }
    }

    #[test]
    fn the_edges_of_the_ranges_are_valid() {
        let edges = options()
            .with_max_tokens(0)
            .with_seed(u32::MAX - 1)
            .with_temperature(MIN_TEMPERATURE)
            .with_top_p(1.0)
            .with_min_p(0.0)
            .with_xtc_probability(1.0)
            .with_xtc_threshold(0.5)
            .with_dry_base(1.0)
            .with_logprobs(0)
            .with_stop(vec!["a"; MAX_STOP_STRINGS])
            .with_logit_bias([(0, f32::NEG_INFINITY)]);
        edges.validate().unwrap();
    }

    #[test]
    fn biases_are_checked_against_the_vocabulary() {
        let biased = options().with_logit_bias([(0, f32::NEG_INFINITY), (9, 1.0)]);
        biased.validate_for_vocabulary(10).unwrap();
        let error = biased.validate_for_vocabulary(9).unwrap_err().to_string();
        assert_eq!(error, "logit_bias: the model has no token 9: 0 to 8 exist");
        let all = options().with_logit_bias((0..4).map(|id| (id, f32::NEG_INFINITY)));
        assert!(all.validate_for_vocabulary(4).unwrap_err().to_string().contains("every token"));
        all.validate_for_vocabulary(5).unwrap();
    }

    #[test]
    fn a_seed_is_kept_and_a_random_one_is_never_the_reserved_one() {
        assert_eq!(options().with_seed(5).seed_or_random(), 5);
        let seeds: std::collections::BTreeSet<u32> = (0..100).map(|_| options().seed_or_random()).collect();
        assert!(seeds.len() > 90 && !seeds.contains(&u32::MAX));
    }

    #[test]
    fn serde_round_trips_and_refuses_unknown_fields() {
        let some = options().with_seed(1).with_mirostat(Mirostat::V1).with_stop(["x"]);
        let some = some.with_logit_bias([(7, 1.5), (10, f32::NEG_INFINITY)]);
        let json = serde_json::to_string(&some).unwrap();
        assert!(json.contains(r#""logit_bias":{"7":1.5,"10":false}"#), "{json}");
        assert_eq!(serde_json::from_str::<SampleOptions>(&json).unwrap(), some);
        let text = toml::to_string(&some).unwrap();
        assert_eq!(toml::from_str::<SampleOptions>(&text).unwrap(), some);

        assert_eq!(serde_json::from_str::<SampleOptions>("{}").unwrap(), options());
        let refused = |json: &str| serde_json::from_str::<SampleOptions>(json).unwrap_err().to_string();
        assert!(refused(r#"{"temprature": 1}"#).contains("temprature"));
        assert!(refused(r#"{"mirostat": 3}"#).contains("version 3"));
        assert!(refused(r#"{"max_tokens": -1}"#).contains("-1"));
        assert!(refused(r#"{"logit_bias": {"x": 1}}"#).contains("\"x\" is not a token id"));
        assert!(refused(r#"{"logit_bias": {"01": 1}}"#).contains("not a token id"));
        assert!(refused(r#"{"logit_bias": {"1": true}}"#).contains("false to forbid"));
        assert!(refused(r#"{"logit_bias": {"1": "a"}}"#).contains("false to forbid"));
    }

    #[test]
    fn log_softmax_agrees_with_values_computed_by_hand() {
        let near = |a: f32, b: f32| assert!((a - b).abs() < 1e-6, "{a} is not {b}");
        // e^0 + e^1 + e^2 = 11.107337927389695, its logarithm 2.4076059644443806.
        let logits = [0.0, 1.0, 2.0];
        near(log_softmax_at(&logits, 0), -2.407_606);
        near(log_softmax_at(&logits, 1), -1.407_606);
        near(log_softmax_at(&logits, 2), -0.407_606);
        // Four equal tokens: ln(1/4). The shift to 1e30 changes nothing.
        near(log_softmax_at(&[5.0; 4], 3), -1.386_294_4);
        near(log_softmax_at(&[1e30; 4], 3), -1.386_294_4);
        // Far apart: the sum is 1 + e^-100, which f32 could not hold.
        near(log_softmax_at(&[100.0, 0.0], 1), -100.0);
        assert_eq!(log_softmax_at(&[100.0, 0.0], 0), 0.0);
        // Three quarters and a quarter: logits ln 3 and 0.
        near(log_softmax_at(&[3.0_f32.ln(), 0.0], 0), -0.287_682_07);
    }

    #[test]
    fn log_softmax_takes_nan_infinity_and_missing_ids() {
        let none = f32::NEG_INFINITY;
        assert_eq!(log_softmax_at(&[f32::NAN, 0.0], 1), 0.0);
        assert_eq!(log_softmax_at(&[f32::NAN, 0.0], 0), none);
        assert_eq!(log_softmax_at(&[none, 0.0], 0), none);
        assert_eq!(log_softmax_at(&[none, none], 0), none);
        assert_eq!(log_softmax_at(&[f32::INFINITY, 0.0], 0), 0.0);
        assert_eq!(log_softmax_at(&[f32::INFINITY, 0.0], 1), none);
        assert!((log_softmax_at(&[f32::INFINITY, f32::INFINITY], 1) + std::f32::consts::LN_2).abs() < 1e-6);
        assert_eq!(log_softmax_at(&[0.0], 1), none);
        assert_eq!(log_softmax_at(&[], 0), none);
    }

    #[test]
    fn top_log_probs_are_sorted_with_lower_ids_first_among_equals() {
        let ids =
            |logits: &[f32], n| top_log_probs(logits, n).iter().map(|token| token.0).collect::<Vec<_>>();
        assert_eq!(ids(&[1.0, 3.0, 2.0, 3.0, 3.0], 3), [1, 3, 4]);
        assert_eq!(ids(&[0.0, -0.0, 0.0], 2), [0, 1]);
        assert_eq!(ids(&[f32::NAN, 1.0, f32::NAN], 3), [1, 0, 2]);
        assert_eq!(ids(&[1.0, 2.0], 9), [1, 0]);
        assert_eq!(ids(&[1.0, 2.0], 0), [0u32; 0]);
        assert_eq!(ids(&[], 3), [0u32; 0]);
        let top = top_log_probs(&[0.0, 1.0, 2.0], 1);
        assert!((top[0].1 + 0.407_606).abs() < 1e-6);
    }

    fn any_float() -> impl Strategy<Value = f32> {
        prop_oneof![any::<f32>(), 0.0f32..1.0, Just(0.0f32), Just(1.0f32)]
    }

    prop_compose! {
        fn any_options()(
            f in proptest::array::uniform14(any_float()),
            n in proptest::array::uniform4(any::<u32>()),
            small in proptest::array::uniform4(0u32..100),
            version in 0u8..3,
            max_tokens in any::<Option<usize>>(),
            seed in any::<Option<u32>>(),
            logprobs in proptest::option::of(0usize..200),
            logit_bias in proptest::collection::btree_map(any::<u32>(), any::<f32>(), 0..4),
            stop in proptest::collection::vec(any::<String>(), 0..4),
            breakers in proptest::collection::vec(any::<String>(), 0..4),
            ignore_eos in any::<bool>(),
            wild in any::<bool>(),
        ) -> SampleOptions {
            let n = if wild { n } else { small };
            SampleOptions {
                max_tokens, seed, logprobs, logit_bias, stop, ignore_eos,
                temperature: f[0], top_p: f[1], min_p: f[2], typical_p: f[3], top_n_sigma: f[4],
                xtc_probability: f[5], xtc_threshold: f[6] / 2.0, dry_multiplier: f[7], dry_base: 1.0 + f[8],
                mirostat_tau: f[9], mirostat_eta: f[10], repeat_penalty: f[11], presence_penalty: f[12],
                frequency_penalty: f[13], top_k: n[0], dry_allowed_length: n[1], dry_penalty_last_n: n[2],
                repeat_last_n: n[3], dry_sequence_breakers: breakers,
                mirostat: Mirostat::try_from(version).unwrap(),
            }
        }
    }

    proptest! {
        #[test]
        fn any_options_validate_or_give_an_error(options in any_options()) {
            let valid = options.validate();
            let plan = options.plan(1);
            let choices = plan.iter().filter(|stage| matches!(
                stage,
                Stage::Greedy | Stage::Dist { .. } | Stage::Mirostat1 { .. } | Stage::Mirostat2 { .. }
            )).count();
            prop_assert_eq!(choices, 1, "one stage chooses, and it is the last");
            if valid.is_ok() {
                prop_assert!(options.temperature.is_finite() && options.top_p <= 1.0);
                let text = toml::to_string(&options).unwrap();
                prop_assert_eq!(toml::from_str::<SampleOptions>(&text).unwrap(), options);
            }
        }

        #[test]
        fn log_probabilities_are_never_nan_and_sum_to_one(
            logits in proptest::collection::vec(prop_oneof![8 => -50.0f32..50.0, 1 => any::<f32>()], 1..50),
        ) {
            let all = top_log_probs(&logits, logits.len());
            prop_assert_eq!(all.len(), logits.len());
            prop_assert!(all.windows(2).all(|pair| pair[0].1 >= pair[1].1));
            prop_assert!(all.iter().all(|token| token.1 <= 0.0 && token.1 == log_softmax_at(&logits, token.0)));
            let sum: f64 = all.iter().map(|token| f64::from(token.1).exp()).sum();
            prop_assert!((sum - 1.0).abs() < 1e-4 || all[0].1 == f32::NEG_INFINITY);
        }
    }
}
