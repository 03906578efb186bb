//! Requests at their extremes, on a small sound model.

use super::{
    drive::{How, Outcome},
    model::Model,
    mutate::tiny,
};
use inferno::{
    CacheType, ContextOptions, Error, FlashAttention, Prompt, SampleOptions, Tokenize, blocking,
    sampling::{MAX_LAST_N, MAX_MAGNITUDE, MIN_TEMPERATURE, Mirostat},
};
use std::{path::Path, sync::OnceLock};

#[derive(Debug, Clone)]
pub(crate) enum Request {
    /// A text for the tokenizer, this piece so many times.
    Text(&'static str, usize),
    Tokens(Vec<i32>),
    Sample(Box<SampleOptions>),
    Context(ContextOptions),
}

/// The values of `tokenizer.ggml.pre` whose words `std::regex` splits, one for each set of patterns, and two others.
const PRES: &[&str] = &[
    "jais-2",
    "deepseek-llm",
    "deepseek-v3",
    "youtu",
    "deepseek-coder",
    "falcon",
    "poro-chat",
    "viking",
    "tekken",
    "gpt-4o",
    "tiny_aya",
    "superbpe",
    "bailingmoe",
    "seed-coder",
    "a.x-4.0",
    "afmoe",
    "exaone-moe",
    "minicpm5",
    "default",
    "llama-bpe",
    "qwen2",
];
const PIECES: &[&str] =
    &["a", " ", "0", "\n", "!", "\u{4e2d}", "<|im_start|>", "\u{301}", "aA 1\r\n", "\u{2581}"];
const KINDS: &[&str] = &["llama", "bert", "t5", "rwkv", "plamo2", "gemma4", "whitespace", "hybriddna"];

fn all() -> &'static [(String, &'static str, &'static str, Request)] {
    static ALL: OnceLock<Vec<(String, &'static str, &'static str, Request)>> = OnceLock::new();
    ALL.get_or_init(|| {
        let long = std::env::var_os("INFERNO_FUZZ_CASES").is_some();
        let bytes = if long { 1_000_000 } else { 50_000 };
        let mut all = vec![];
        for (i, piece) in PIECES.iter().enumerate() {
            let kinds = KINDS.iter().map(|kind| (*kind, "default"));
            for (j, (kind, pre)) in PRES.iter().map(|pre| ("gpt2", *pre)).chain(kinds).enumerate() {
                // all of them in a long run; without it each vocabulary gets a few pieces
                if !long && (i + j) % 5 != 0 {
                    continue;
                }
                // its patterns look from every 512th space to the end of the spaces: 190 s for 1 MB
                let bytes = if pre == "jais-2" { bytes.min(50_000) } else { bytes };
                let name = format!("{bytes} bytes of {piece:?} for {kind} {pre}");
                all.push((name, kind, pre, Request::Text(piece, bytes / piece.len())));
            }
        }
        // quadratic without their patches: minutes, and over half a minute
        let name = "50 KB of digits for gpt2 superbpe".to_owned();
        all.push((name, "gpt2", "superbpe", Request::Text("0", 50_000)));
        let name = "1 MB of byte tokens for llama default".to_owned();
        all.push((name, "llama", "default", Request::Text("\u{4e2d}", 333_333)));
        for tokens in [
            vec![],
            vec![-1],
            vec![300],
            vec![i32::MAX],
            vec![i32::MIN, 0],
            vec![0; 65],
            vec![0; 100_000],
            vec![257; 20],
        ] {
            let name = format!("{} tokens from {:?}", tokens.len(), tokens.first());
            all.push((name, "gpt2", "gpt-2", Request::Tokens(tokens)));
        }
        for (name, options) in samples() {
            all.push((name, "gpt2", "gpt-2", Request::Sample(Box::new(options))));
        }
        for (name, options) in contexts() {
            all.push((name, "gpt2", "gpt-2", Request::Context(options)));
        }
        all
    })
}

pub(crate) fn requests(dir: &Path, i: usize) -> Option<(String, Model, How)> {
    let (name, kind, pre, request) = all().get(i)?;
    let mut model = tiny(dir);
    model.tokenizer(kind, pre);
    Some((name.clone(), model, How::Asked(request.clone())))
}

fn samples() -> Vec<(String, SampleOptions)> {
    let base = || SampleOptions::default().with_seed(1).with_logprobs(3);
    let mut all: Vec<(String, SampleOptions)> = vec![];
    let mut add = |name: &str, options: SampleOptions| all.push((name.into(), options));
    for t in [MIN_TEMPERATURE, 1e-5, 1.0, MAX_MAGNITUDE, 0.0] {
        add(&format!("temperature {t}"), base().with_temperature(t));
        add(
            &format!("temperature {t}, nothing cut"),
            base().with_temperature(t).with_top_k(0).with_top_p(1.0).with_min_p(0.0),
        );
    }
    for bias in [MAX_MAGNITUDE, -MAX_MAGNITUDE, f32::NEG_INFINITY] {
        add(&format!("all but one at {bias}"), base().with_logit_bias((1..300).map(|i| (i, bias))));
        add(
            &format!("half at {bias}"),
            base().with_logit_bias((0..150).map(|i| (i, bias))).with_temperature(0.0),
        );
        add(&format!("all at {bias}"), base().with_logit_bias((0..300).map(|i| (i, bias))));
        add(
            &format!("mirostat, all but one at {bias}"),
            base().with_mirostat(Mirostat::V1).with_logit_bias((1..300).map(|i| (i, bias))),
        );
        add(
            &format!("mirostat 2, all but one at {bias}"),
            base().with_mirostat(Mirostat::V2).with_logit_bias((1..300).map(|i| (i, bias))),
        );
        add(
            &format!("typical, all but one at {bias}"),
            base().with_typical_p(0.5).with_logit_bias((1..300).map(|i| (i, bias))),
        );
        add(
            &format!("sigma, all but one at {bias}"),
            base().with_top_n_sigma(1.0).with_logit_bias((1..300).map(|i| (i, bias))),
        );
        add(
            &format!("xtc, all but one at {bias}"),
            base().with_xtc_probability(1.0).with_logit_bias((1..300).map(|i| (i, bias))),
        );
    }
    for k in [1, 2, i32::MAX as u32] {
        add(&format!("top_k {k}"), base().with_top_k(k));
    }
    add("min_p 0.999", base().with_min_p(0.999));
    add("min_p alone", base().with_min_p(0.999_999).with_top_k(0).with_top_p(1.0));
    for p in [f32::MIN_POSITIVE, 1e-7, 0.5] {
        add(&format!("top_p {p}"), base().with_top_p(p).with_top_k(0));
        add(&format!("typical_p {p}"), base().with_typical_p(p).with_top_k(0));
    }
    for sigma in [f32::MIN_POSITIVE, 1e-3, MAX_MAGNITUDE] {
        add(&format!("top_n_sigma {sigma}"), base().with_top_n_sigma(sigma));
    }
    for threshold in [f32::MIN_POSITIVE, 0.5] {
        add(
            &format!("xtc {threshold}"),
            base().with_xtc_probability(1.0).with_xtc_threshold(threshold).with_top_k(0),
        );
    }
    for (multiplier, base_of, length, last) in [
        (MAX_MAGNITUDE, MAX_MAGNITUDE, 0, MAX_LAST_N),
        (1.0, 1.0, MAX_LAST_N, MAX_LAST_N),
        (f32::MIN_POSITIVE, 1e6, 1, 1),
        (0.8, 1.75, 2, 64),
    ] {
        let options =
            base().with_dry_multiplier(multiplier).with_dry_base(base_of).with_dry_allowed_length(length);
        let options = options.with_dry_penalty_last_n(last);
        add(&format!("DRY {multiplier} {base_of} {length} {last}"), options.clone());
        let breakers: Vec<String> =
            (0..64u8).map(|i| char::from(b'0' + i % 64).to_string().repeat(40)).collect();
        add(&format!("DRY {multiplier} with breakers"), options.clone().with_dry_sequence_breakers(breakers));
        add(
            &format!("DRY {multiplier} without breakers"),
            options.with_dry_sequence_breakers(Vec::<String>::new()),
        );
    }
    for penalty in [MAX_MAGNITUDE, f32::MIN_POSITIVE, 1e-6] {
        let options = base().with_repeat_penalty(penalty).with_repeat_last_n(MAX_LAST_N);
        add(&format!("repeat {penalty}"), options.clone());
        let options = options.with_frequency_penalty(-MAX_MAGNITUDE).with_presence_penalty(MAX_MAGNITUDE);
        add(&format!("all penalties {penalty}"), options);
    }
    for version in [Mirostat::V1, Mirostat::V2] {
        for (tau, eta) in [(f32::MIN_POSITIVE, 1.0), (32.0, 1.0), (32.0, f32::MIN_POSITIVE), (1e-3, 1e-3)] {
            for t in [MIN_TEMPERATURE, 1.0, MAX_MAGNITUDE] {
                let options = base().with_mirostat(version).with_mirostat_tau(tau).with_mirostat_eta(eta);
                add(&format!("mirostat {version:?} {tau} {eta} at {t}"), options.with_temperature(t));
            }
        }
    }
    add("no tokens", base().with_max_tokens(0));
    add("all that fit", base().with_ignore_eos(true));
    add("usize::MAX tokens", base().with_max_tokens(usize::MAX));
    all
}

fn contexts() -> Vec<(String, ContextOptions)> {
    let kinds = [
        CacheType::F32,
        CacheType::F16,
        CacheType::Bf16,
        CacheType::Q8_0,
        CacheType::Q5_1,
        CacheType::Q5_0,
        CacheType::Q4_1,
        CacheType::Q4_0,
        CacheType::Iq4Nl,
    ];
    let mut all: Vec<(String, ContextOptions)> = vec![];
    for flash in [FlashAttention::Auto, FlashAttention::On, FlashAttention::Off] {
        for k in kinds {
            for v in kinds {
                let mut options = ContextOptions::default();
                options.context_size = Some(64);
                options.flash_attention = flash;
                options.cache_type_k = k;
                options.cache_type_v = v;
                all.push((format!("flash attention {flash:?}, K {k:?}, V {v:?}"), options));
            }
        }
    }
    for (context, batch, ubatch, threads) in [
        (1, 1, 1, 1),
        (2, 1, 1, 2),
        (3, 7, 5, 3),
        (64, 1, 1, 64),
        (64, 64, 64, 16),
        (255, 257, 33, 7),
        (257, 3, 2, 5),
        (100_000, 2048, 512, 64),
        (1 << 30, 1 << 30, 1 << 30, 512),
    ] {
        let mut options = ContextOptions::default();
        options.context_size = Some(context);
        options.batch_size = batch;
        options.ubatch_size = ubatch;
        options.threads = Some(threads);
        all.push((format!("context {context}, batch {batch}, ubatch {ubatch}, threads {threads}"), options));
    }
    all
}

pub(crate) fn drive(path: &Path, request: &Request) -> Outcome {
    match run(path, request) {
        Ok(()) => Outcome { stage: "ok", what: String::new() },
        Err(error) => Outcome { stage: "run", what: error.to_string() },
    }
}

fn run(path: &Path, request: &Request) -> Result<(), Error> {
    let mut context = ContextOptions::default();
    context.context_size = Some(64);
    context.threads = Some(2);
    if let Request::Context(options) = request {
        context = options.clone();
    }
    let model = blocking::Model::load(inferno::Model::builder(path).with_context_options(context))?;
    let greedy = SampleOptions::default().with_temperature(0.0).with_max_tokens(4);
    let answer = match request {
        Request::Text(piece, times) => {
            let text = piece.repeat(*times);
            let loaded = model.inner().loaded()?;
            // on a thread as small as a blocking one of tokio
            std::thread::scope(|scope| {
                let thread = std::thread::Builder::new().stack_size(2 << 20);
                let work = || {
                    for (add_special, parse_special) in [(true, true), (false, false)] {
                        for text in [&text[..], text.get(..1020).unwrap_or_default()] {
                            let tokens = loaded.tokenize(text, Tokenize { add_special, parse_special })?;
                            loaded.detokenize(&tokens[..tokens.len().min(1000)], true)?;
                        }
                    }
                    Ok::<(), Error>(())
                };
                thread.spawn_scoped(scope, work).unwrap().join().unwrap()
            })?;
            model.generate(text.as_str(), greedy)
        }
        Request::Tokens(tokens) => model.generate(Prompt::Tokens(tokens.clone()), greedy),
        Request::Sample(options) => {
            let options = match options.max_tokens {
                None if !options.ignore_eos => options.as_ref().clone().with_max_tokens(8),
                _ => options.as_ref().clone(),
            };
            options.validate()?;
            model.generate("Once upon", options)
        }
        Request::Context(_) => model.generate("Once upon", greedy),
    };
    answer.map(drop)
}
