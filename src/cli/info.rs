//! `inferno info`: what a model file holds and needs, from its header alone.

use super::{args::InfoArgs, failure::Failure, numbers, output};
use inferno::{
    DEFAULT_CONTEXT,
    gguf::{Gguf, PerLayer},
};
use serde_json::json;

/// How much of a chat template is shown, in characters.
const EXCERPT: usize = 160;

pub(crate) fn run(args: &InfoArgs) -> Result<(), Failure> {
    let gguf = Gguf::open(&args.path).map_err(Failure::model)?;
    let problem = gguf.validate_for_llama().err().map(|error| error.to_string());
    let trained = gguf.context_length();
    let context = match args.context_size {
        Some(0) => return Err(Failure::usage("--context-size: 0 is out of range: at least 1")),
        Some(n) => u64::from(n),
        None => trained.unwrap_or(u64::MAX).min(DEFAULT_CONTEXT as u64),
    };
    let (k, v) = (args.cache_type_k.unwrap_or_default(), args.cache_type_v.unwrap_or_default());
    let cache = gguf.kv_cache_bytes(context, k.tensor_type(), v.tensor_type());
    let weights = gguf.tensor_bytes();
    let needed = cache.map(|cache| weights.saturating_add(cache));
    let heads = gguf.head_count();
    let heads_kv = gguf.head_count_kv();
    let template = gguf.chat_template();

    if args.json {
        return output::json(&json!({
            "path": args.path,
            "name": gguf.name(),
            "architecture": gguf.architecture(),
            "parameters": gguf.parameter_count(),
            "quantisation": gguf.quantisation(),
            "file_bytes": gguf.file_bytes(),
            "gguf_version": gguf.version(),
            "split": gguf.split().map(|s| json!({"index": s.index, "count": s.count})),
            "context_length": trained,
            "embedding_length": gguf.embedding_length(),
            "layers": gguf.block_count(),
            "heads": heads.as_ref().map(per_layer),
            "heads_kv": heads_kv.as_ref().map(per_layer),
            "vocabulary": gguf.vocab_size(),
            "chat_template": template,
            "memory": {"context": context, "weights": weights, "kv_cache": cache, "needed": needed},
            "supported": problem.is_none(),
            "problem": problem,
        }));
    }

    let unknown = || "not stated".to_owned();
    let number = |n: Option<u64>| n.map_or_else(unknown, |n| n.to_string());
    let mut rows = vec![
        (
            "file",
            format!("{}, {}", output::tame(&args.path.to_string_lossy()), numbers::bytes(gguf.file_bytes())),
        ),
        ("name", gguf.name().map_or_else(unknown, output::tame)),
        ("architecture", gguf.architecture().map_or_else(unknown, output::tame)),
        ("parameters", numbers::parameters(gguf.parameter_count())),
        ("quantisation", gguf.quantisation().unwrap_or_else(unknown)),
        ("context", trained.map_or_else(unknown, |n| format!("{n} tokens"))),
        ("layers", number(gguf.block_count())),
        ("width", number(gguf.embedding_length())),
        (
            "heads",
            format!(
                "{}, {} for keys and values",
                heads.as_ref().map_or_else(unknown, range),
                heads_kv.as_ref().map_or_else(unknown, range),
            ),
        ),
        ("vocabulary", gguf.vocab_size().map_or_else(unknown, |n| format!("{n} tokens"))),
        ("chat template", template.map_or_else(|| "none; ChatML is used".into(), excerpt)),
        (
            "memory",
            match (cache, needed) {
                (Some(cache), Some(needed)) => format!(
                    "{}: {} of weights and {} of KV cache for {context} tokens",
                    numbers::bytes(needed),
                    numbers::bytes(weights),
                    numbers::bytes(cache)
                ),
                _ => format!("{} of weights; the KV cache cannot be estimated", numbers::bytes(weights)),
            },
        ),
    ];
    if let Some(split) = gguf.split() {
        rows.insert(
            1,
            ("part", format!("{} of {}; sizes are those of this file", split.index + 1, split.count)),
        );
    }
    rows.push((
        "runs here",
        problem.map_or_else(|| "yes".into(), |what| format!("no: {}", output::tame(&what))),
    ));
    let mut text = String::new();
    for (key, value) in rows {
        text.push_str(&format!("{key:14} {value}\n"));
    }
    output::print(&text)
}

fn per_layer(heads: &PerLayer) -> serde_json::Value {
    match heads {
        PerLayer::Same(n) => json!(n),
        PerLayer::Each(each) => json!(each),
    }
}

fn range(heads: &PerLayer) -> String {
    match heads {
        PerLayer::Same(n) => n.to_string(),
        PerLayer::Each(each) => {
            format!("{} to {}", each.iter().min().copied().unwrap_or(0), heads.max())
        }
    }
}

fn excerpt(template: &str) -> String {
    let text = output::tame(template);
    let mut short: String = text.chars().take(EXCERPT).collect();
    if short.len() < text.len() {
        short.push_str(" …");
    }
    format!("yes, {} characters: {short}", template.chars().count())
}
