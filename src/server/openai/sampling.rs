//! How a request wants to be sampled: OpenAI's fields, and llama-server's beyond them, under their names.

use crate::{
    engine::Request,
    sampling::{Mirostat, SampleOptions},
    server::{
        fields::{Fields, integer},
        problem::Problem,
    },
};
use serde_json::Value;

/// The most choices of one request, over all its prompts; OpenAI's limit.
const MAX_CHOICES: usize = 128;

/// What the fields say, with the settings' defaults where they say nothing.
#[derive(Debug, Clone)]
pub(super) struct Sampling {
    pub(super) options: SampleOptions,
    /// The field that asked for the number of tokens.
    pub(super) max_tokens_field: Option<&'static str>,
    /// Choices for each prompt.
    pub(super) choices: usize,
    context_shift: bool,
    cache_prompt: bool,
    isolated: bool,
}

impl Sampling {
    /// Reads all fields but those of log-probabilities, in which the endpoints differ. `context` is what -1 stands for
    /// where llama-server means the whole context.
    pub(super) fn read(
        fields: &Fields<'_>,
        defaults: &SampleOptions,
        context: usize,
    ) -> Result<Self, Problem> {
        let mut options = defaults.clone();
        options.logprobs = None;
        numbers(fields, &mut options)?;
        look_back(fields, &mut options, context)?;
        refuse_unsupported(fields)?;

        let max_tokens_field = max_tokens(fields, &mut options)?;
        if let Some(seed) = fields.integer("seed")? {
            options.seed = seed_of(seed);
        }
        if let Some(stop) = fields.strings("stop")? {
            options.stop = stop;
        }
        if let Some(breakers) = fields.strings("dry_sequence_breakers")? {
            options.dry_sequence_breakers = breakers;
        }
        if let Some(version) = fields.small_count("mirostat")? {
            let version = u8::try_from(version).unwrap_or(u8::MAX);
            options.mirostat = Mirostat::try_from(version).map_err(|what| fields.wrong("mirostat", what))?;
        }
        if let Some(ignore) = fields.boolean("ignore_eos")? {
            options.ignore_eos = ignore;
        }
        if let Some(biases) = fields.get("logit_bias") {
            options.logit_bias = logit_bias(fields, biases)?;
        }
        options.validate()?;

        let choices = fields.count("n")?.unwrap_or(1);
        check_choices(fields, "n", choices)?;
        let flag = |name, default| Ok::<_, Problem>(fields.boolean(name)?.unwrap_or(default));
        Ok(Self {
            options,
            max_tokens_field,
            choices,
            context_shift: flag("context_shift", false)?,
            cache_prompt: flag("cache_prompt", true)?,
            isolated: flag("isolated", false)?,
        })
    }

    /// The request for the choice of this number, from 0. A seed that was given belongs to the first choice; the others
    /// have those after it, so that they differ, and each can be asked for alone.
    pub(super) fn request(
        &self,
        mut request: Request,
        choice: usize,
        deadline: std::time::Duration,
    ) -> Request {
        request.options = self.options.clone();
        request.options.seed = request.options.seed.map(|seed| {
            let choice = u32::try_from(choice).expect("MAX_CHOICES is small");
            // u32::MAX is no seed
            u32::try_from((u64::from(seed) + u64::from(choice)) % u64::from(u32::MAX))
                .expect("a remainder of it")
        });
        request
            .with_deadline(deadline)
            .with_context_shift(self.context_shift)
            .with_cache_prompt(self.cache_prompt)
            .with_isolated(self.isolated)
    }

    /// The field to blame where the context is too small: that of the tokens to generate where they alone are more than
    /// the context holds, else the prompt's.
    pub(super) fn overflowing_field(&self, prompt: &'static str, context: usize) -> &'static str {
        match (self.max_tokens_field, self.options.max_tokens) {
            (Some(field), Some(most)) if most >= context => field,
            _ => prompt,
        }
    }
}

/// Whether so many choices can be asked for.
pub(super) fn check_choices(fields: &Fields<'_>, field: &str, choices: usize) -> Result<(), Problem> {
    match (1..=MAX_CHOICES).contains(&choices) {
        true => Ok(()),
        false => Err(fields.wrong(field, format!("{choices} is out of range: 1 to {MAX_CHOICES} choices"))),
    }
}

fn numbers(fields: &Fields<'_>, options: &mut SampleOptions) -> Result<(), Problem> {
    let set = |name: &str, option: &mut f32| {
        if let Some(number) = fields.number(name)? {
            *option = number;
        }
        Ok::<_, Problem>(())
    };
    set("temperature", &mut options.temperature)?;
    set("top_p", &mut options.top_p)?;
    if options.top_p == 0.0 {
        // to OpenAI, 0 is the most probable token alone; here the least share above nothing is
        options.top_p = f32::MIN_POSITIVE;
    }
    set("min_p", &mut options.min_p)?;
    set("typical_p", &mut options.typical_p)?;
    set("xtc_probability", &mut options.xtc_probability)?;
    set("xtc_threshold", &mut options.xtc_threshold)?;
    set("dry_multiplier", &mut options.dry_multiplier)?;
    set("dry_base", &mut options.dry_base)?;
    set("mirostat_tau", &mut options.mirostat_tau)?;
    set("mirostat_eta", &mut options.mirostat_eta)?;
    set("repeat_penalty", &mut options.repeat_penalty)?;
    set("presence_penalty", &mut options.presence_penalty)?;
    set("frequency_penalty", &mut options.frequency_penalty)?;
    set("top_n_sigma", &mut options.top_n_sigma)?;
    if options.top_n_sigma == -1.0 {
        // how llama-server writes off
        options.top_n_sigma = 0.0;
    }
    if let Some(top_k) = fields.integer("top_k")? {
        // 0 and below is off to llama-server
        options.top_k = u32::try_from(top_k.max(0)).map_err(|_| {
            fields.wrong("top_k", format!("{top_k} is out of range: 0 (off) to {}", i32::MAX))
        })?;
    }
    if let Some(length) = fields.small_count("dry_allowed_length")? {
        options.dry_allowed_length = length;
    }
    Ok(())
}

fn look_back(fields: &Fields<'_>, options: &mut SampleOptions, context: usize) -> Result<(), Problem> {
    let whole = u32::try_from(context).unwrap_or(u32::MAX);
    let set = |name: &str, option: &mut u32| {
        if let Some(tokens) = fields.integer(name)? {
            *option = match tokens {
                -1 => whole,
                tokens => u32::try_from(tokens).map_err(|_| {
                    fields.wrong(name, format!("{tokens} is no number of tokens; -1 is the context"))
                })?,
            };
        }
        Ok::<_, Problem>(())
    };
    set("repeat_last_n", &mut options.repeat_last_n)?;
    set("dry_penalty_last_n", &mut options.dry_penalty_last_n)
}

/// The most tokens, under any of their names, of which OpenAI's newest wins; the name.
fn max_tokens(fields: &Fields<'_>, options: &mut SampleOptions) -> Result<Option<&'static str>, Problem> {
    let mut named = None;
    for name in ["n_predict", "max_tokens", "max_completion_tokens"] {
        match fields.integer(name)? {
            None => {}
            // llama-server's word for no limit
            Some(-1) => {
                options.max_tokens = None;
                named = None;
            }
            Some(tokens) => {
                let tokens = usize::try_from(tokens).map_err(|_| {
                    fields.wrong(name, format!("{tokens} is no number of tokens; -1 is no limit"))
                })?;
                options.max_tokens = Some(tokens);
                named = Some(name);
            }
        }
    }
    Ok(named)
}

/// What would change the answer and cannot be done must not be ignored.
fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), Problem> {
    if let Some(format) = fields.object("response_format")? {
        match format.string("type")? {
            Some("text") => {}
            Some(other) => {
                return Err(format.wrong("type", format!("{other:?} is not supported yet: \"text\" is")));
            }
            None => return Err(format.wrong("type", "is missing: \"text\" is supported")),
        }
    }
    let empty = |value: &Value| match value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(on) => !on,
        Value::Null => true,
    };
    for name in [
        "tools",
        "functions",
        "audio",
        "prediction",
        "web_search_options",
        "grammar",
        "json_schema",
        "suffix",
        "samplers",
        "dynatemp_range",
        "min_keep",
        "lora",
    ] {
        if fields.get(name).is_some_and(|value| !empty(value)) {
            return Err(fields.wrong(name, "is not supported: leave it out"));
        }
    }
    if let Some(modalities) = fields.strings("modalities")?
        && modalities.iter().any(|modality| modality != "text")
    {
        return Err(fields.wrong("modalities", "this server has text only"));
    }
    Ok(())
}

/// The seed as the engine takes it. Negative ones are random, as is llama-server's 4294967295; those beyond 32 bits are
/// folded, so that each still stands for one text.
fn seed_of(seed: i64) -> Option<u32> {
    let seed = u64::try_from(seed).ok()?;
    match u32::try_from(seed) {
        Ok(u32::MAX) => None,
        Ok(seed) => Some(seed),
        Err(_) => {
            let folded = (seed >> 32 ^ seed) % u64::from(u32::MAX);
            Some(u32::try_from(folded).expect("a remainder of u32::MAX fits"))
        }
    }
}

/// OpenAI's `{"id": bias}`, or llama-server's `[[id, bias], …]` with `false` for a token that must not come.
fn logit_bias(fields: &Fields<'_>, biases: &Value) -> Result<std::collections::BTreeMap<u32, f32>, Problem> {
    let wrong = |what: String| fields.wrong("logit_bias", what);
    let id = |id: Option<i64>, text: &dyn std::fmt::Display| {
        id.and_then(|id| u32::try_from(id).ok()).ok_or_else(|| wrong(format!("{text} is no token id")))
    };
    let bias = |value: &Value| match value {
        Value::Bool(false) => Ok(f32::NEG_INFINITY),
        // OpenAI's word for never, and for always
        value => match value.as_f64() {
            Some(bias) if bias.abs() <= 1e6 => {
                #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
                let bias = bias as f32;
                Ok(bias)
            }
            _ => Err(wrong(format!("{value} is no bias: a number, or false to forbid the token, is one"))),
        },
    };
    match biases {
        Value::Object(map) => {
            map.iter().map(|(key, value)| Ok((id(key.parse().ok(), key)?, bias(value)?))).collect()
        }
        Value::Array(pairs) => pairs
            .iter()
            .map(|pair| match pair.as_array().map(Vec::as_slice) {
                Some([key, value]) => Ok((id(integer(key), key)?, bias(value)?)),
                _ => Err(wrong(format!("{pair} is no pair of a token id and a bias"))),
            })
            .collect(),
        _ => Err(wrong("an object of token ids and biases is needed".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value) -> Result<Sampling, Problem> {
        let Value::Object(map) = body else { panic!("no object") };
        Sampling::read(&Fields::new(&map), &SampleOptions::default(), 512)
    }

    #[test]
    fn fields_become_options() {
        let sampling = read(json!({
            "temperature": 0, "top_p": 0, "top_k": -1, "min_p": 0.1, "repeat_last_n": -1, "seed": 7, "stop": "END",
            "max_tokens": 5, "max_completion_tokens": 6, "logit_bias": {"3": -100, "4": false}, "n": 2, "unknown": [1],
            "presence_penalty": null, "response_format": {"type": "text"}, "tools": [], "cache_prompt": false,
        }))
        .unwrap();
        let options = &sampling.options;
        assert_eq!((options.temperature, options.top_k, options.repeat_last_n), (0.0, 0, 512));
        assert!(options.top_p > 0.0 && options.top_p < 1e-30);
        assert_eq!((options.seed, options.max_tokens), (Some(7), Some(6)));
        assert_eq!(options.stop, ["END"]);
        assert_eq!(options.logit_bias[&3], -100.0);
        assert_eq!(options.logit_bias[&4], f32::NEG_INFINITY);
        assert_eq!(sampling.max_tokens_field, Some("max_completion_tokens"));
        let request = sampling.request(Request::new("x"), 1, std::time::Duration::from_secs(1));
        assert_eq!(request.options.seed, Some(8));
        assert!(!request.cache_prompt && !request.context_shift && !request.isolated);
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (body, param) in [
            (json!({"temperature": "hot"}), "temperature"),
            (json!({"temperature": -1}), "temperature"),
            (json!({"top_p": 1.5}), "top_p"),
            (json!({"max_tokens": -2}), "max_tokens"),
            (json!({"max_tokens": 1.5}), "max_tokens"),
            (json!({"n": 0}), "n"),
            (json!({"n": 129}), "n"),
            (json!({"stop": [1]}), "stop"),
            (json!({"stop": vec!["x"; 10_000]}), "stop"),
            (json!({"seed": "7"}), "seed"),
            (json!({"logit_bias": {"x": 1}}), "logit_bias"),
            (json!({"logit_bias": {"-1": 1}}), "logit_bias"),
            (json!({"logit_bias": [[1]]}), "logit_bias"),
            (json!({"logit_bias": {"1": true}}), "logit_bias"),
            (json!({"mirostat": 3}), "mirostat"),
            (json!({"response_format": {"type": "json_object"}}), "response_format.type"),
            (json!({"response_format": "text"}), "response_format"),
            (json!({"tools": [{"type": "function"}]}), "tools"),
            (json!({"grammar": "root ::= x"}), "grammar"),
            (json!({"repeat_last_n": -2}), "repeat_last_n"),
            (json!({"modalities": ["text", "audio"]}), "modalities"),
        ] {
            assert_eq!(read(body.clone()).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
    }

    #[test]
    fn every_seed_is_a_seed() {
        assert_eq!(seed_of(0), Some(0));
        assert_eq!(seed_of(-1), None);
        assert_eq!(seed_of(4_294_967_295), None);
        assert!(seed_of(i64::MAX).is_some());
        assert_ne!(seed_of(1 << 40), seed_of(1 << 41));
    }
}
