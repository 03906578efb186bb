//! The cases: what is changed in which model. Names of keys, tensors and tokenizers come from the pinned sources.

use super::{
    drive::How,
    model::{Data, Model, Rng},
    spark,
};
use inferno::{
    Error, LoadOptions, LoadedModel,
    gguf::{Array, Strings, TensorType, Value},
};
use std::{
    collections::{BTreeSet, HashMap},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
};

const STAGED: &str = env!("NATIVE_STAGED_TREE");

/// Number of cases per architecture: the completed model itself, then mutations of it.
const ARCH_BASES: &str = include_str!("../../../src/gguf/archs.rs");

fn source(file: &str) -> String {
    std::fs::read_to_string(Path::new(STAGED).join(file)).unwrap()
}

/// The strings in `text` between `before` and the next `"`.
fn quoted(text: &str, before: &str) -> Vec<String> {
    let found: BTreeSet<&str> =
        text.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect();
    found.into_iter().map(String::from).collect()
}

struct Names {
    archs: Vec<String>,
    /// After `{arch}.`.
    keys: Vec<String>,
    /// Of layers, after `blk.N.`, without `.weight`.
    layer_tensors: Vec<String>,
    pres: Vec<String>,
}

fn names() -> &'static Names {
    static NAMES: OnceLock<Names> = OnceLock::new();
    NAMES.get_or_init(|| {
        let arch = source("src/llama-arch.cpp");
        let names = Names {
            archs: quoted(ARCH_BASES, "arch(\""),
            keys: quoted(&arch, "\"%s."),
            layer_tensors: quoted(&arch, "\"blk.%d."),
            pres: quoted(&source("src/llama-vocab.cpp"), "tokenizer_pre == \""),
        };
        assert!(names.archs.len() > 100 && names.keys.len() > 100, "the sources were not understood");
        assert!(names.layer_tensors.len() > 100 && names.pres.len() > 50, "the sources were not understood");
        names
    })
}

const KINDS: &[&str] =
    &["llama", "bert", "gpt2", "hybriddna", "whitespace", "t5", "rwkv", "plamo2", "gemma4", "test", "none"];

const U32S: &[u32] = &[
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    15,
    16,
    31,
    32,
    33,
    64,
    100,
    128,
    255,
    256,
    512,
    513,
    1024,
    65_535,
    65_536,
    1 << 24,
    1 << 30,
    i32::MAX as u32,
    1 << 31,
    u32::MAX - 1,
    u32::MAX,
];
const F32S: &[f32] = &[
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1e-30,
    1e30,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
];

/// Parts of keys that `llama` reads though the tiny model does not have them.
const LLAMA_READS: &[&str] =
    &["expert", "rope", "attention.key", "attention.value", "vocab_size", "logit", "scale"];

type Change = Arc<dyn Fn(&mut Model) + Send + Sync>;

fn change(f: impl Fn(&mut Model) + Send + Sync + 'static) -> Change {
    Arc::new(f)
}

/// The tiny llama that most cases start from.
pub(crate) fn tiny(dir: &Path) -> Model {
    completed("llama", dir).0
}

/// Every change on its own.
pub(crate) fn systematic(dir: &Path, i: usize) -> Option<(String, Model, How)> {
    static ALL: OnceLock<Vec<(String, Change)>> = OnceLock::new();
    let all = ALL.get_or_init(|| changes(&tiny(dir)));
    let (name, change) = all.get(i)?;
    let mut model = tiny(dir);
    change(&mut model);
    Some((name.clone(), model, How::Drawn(Rng::new(i as u64).next())))
}

fn changes(base: &Model) -> Vec<(String, Change)> {
    let mut all: Vec<(String, Change)> = vec![];
    let mut add = |name: String, c: Change| all.push((name, c));
    for key in &names().keys {
        let key = format!("llama.{key}");
        let now = base.get(&key).cloned();
        if now.is_some() {
            let k = key.clone();
            add(format!("{key} removed"), change(move |m| m.remove(&k)));
        }
        let mut values: Vec<Value> = vec![];
        let floats = matches!(now, Some(Value::F32(_))) || floating(&key);
        match floats {
            true => values.extend(F32S.iter().map(|&v| Value::F32(v))),
            false => values.extend(U32S.iter().map(|&v| Value::U32(v))),
        }
        values.extend([
            Value::Bool(true),
            Value::Bool(false),
            "yarn".into(),
            vec![1u32, 1].into(),
            vec![0i32, 2].into(),
            vec![-1i32, -1].into(),
            vec![f32::NAN; 2].into(),
            vec![i32::MAX; 4].into(),
            vec![3u32; 600].into(),
            Vec::<u32>::new().into(),
            Strings::from_iter(["a"]).into(),
        ]);
        // llama does not read most of them: a few values each show that
        let step = if now.is_some() || LLAMA_READS.iter().any(|word| key.contains(word)) { 1 } else { 9 };
        for value in values.into_iter().step_by(step) {
            let k = key.clone();
            add(format!("{key} = {}", short(&value)), change(move |m| m.set(&k, value.clone())));
        }
    }
    for kind in KINDS {
        for pre in names().pres.iter().map(String::as_str).chain(["", "default", "nonsense"]) {
            // the kinds other than BPE do not look at it
            if *kind != "gpt2" && pre != "default" && pre != "llama-bpe" {
                continue;
            }
            let pre = pre.to_owned();
            let name = format!("tokenizer {kind} {pre}");
            add(name, change(move |m| m.tokenizer(kind, &pre)));
        }
        for (name, c) in vocabulary(kind) {
            add(format!("tokenizer {kind}: {name}"), c);
        }
    }
    for scaling in ["none", "linear", "yarn", "longrope", "su", ""] {
        for factor in F32S {
            add(
                format!("rope scaling {scaling} by {factor}"),
                change(move |m| {
                    m.set("llama.rope.scaling.type", scaling);
                    m.set("llama.rope.scaling.factor", *factor);
                    m.set("llama.rope.scaling.original_context_length", 64u32);
                }),
            );
        }
    }
    for t in base.tensors.clone() {
        for &kind in TensorType::ALL {
            let n = t.name.clone();
            add(format!("{n} as {kind}"), change(move |m| retype(m, &n, kind)));
        }
        let n = t.name.clone();
        add(format!("{n} removed"), change(move |m| m.tensors.retain(|t| t.name != n)));
        for (what, f) in SHAPES {
            let n = t.name.clone();
            let f = *f;
            add(
                format!("{n} {what}"),
                change(move |m| {
                    if let Some(t) = m.tensor(&n) {
                        f(&mut t.dims);
                    }
                }),
            );
        }
        for (what, data) in datas() {
            let n = t.name.clone();
            add(
                format!("{n} of {what}"),
                change(move |m| {
                    if let Some(t) = m.tensor(&n) {
                        t.data = data.clone();
                    }
                }),
            );
        }
    }
    for &kind in TensorType::ALL {
        for (what, data) in datas() {
            add(
                format!("all matrices {kind} of {what}"),
                change(move |m| {
                    for name in m.tensors.iter().map(|t| t.name.clone()).collect::<Vec<_>>() {
                        if m.tensor(&name).is_some_and(|t| t.dims.len() == 2) {
                            retype(m, &name, kind);
                            if let Some(t) = m.tensor(&name) {
                                t.data = data.clone();
                            }
                        }
                    }
                }),
            );
        }
    }
    for name in &names().layer_tensors {
        for suffix in ["weight", "bias", "scale"] {
            for (dims, kind) in [
                (vec![64u64], TensorType::F32),
                (vec![64], TensorType::Q8_0),
                (vec![64], TensorType::F16),
                (vec![1], TensorType::F32),
                (vec![64, 64], TensorType::F32),
            ] {
                let tensor = format!("blk.0.{name}.{suffix}");
                if base.tensors.iter().any(|t| t.name == tensor) {
                    continue;
                }
                add(format!("extra {tensor} {dims:?} {kind}"), change(move |m| m.put(&tensor, kind, &dims)));
            }
        }
    }
    for (tensor, n) in [
        ("rope_freqs.weight", 8),
        ("blk.0.rope_freqs.weight", 8),
        ("rope_factors_long.weight", 8),
        ("rope_factors_short.weight", 8),
        ("output_norm.bias", 64),
        ("output.bias", 300),
        ("token_types.weight", 64),
        ("token_embd_norm.weight", 64),
        ("position_embd.weight", 64),
        ("cls.weight", 64),
    ] {
        for &kind in TensorType::ALL {
            for (what, data) in datas() {
                add(
                    format!("extra {tensor} {kind} of {what}"),
                    change(move |m| {
                        m.put(tensor, kind, &[n]);
                        if let Some(t) = m.tensor(tensor) {
                            t.data = data.clone();
                        }
                    }),
                );
            }
        }
    }
    for cut in [1, 31, 32, 33, 1000, 10_000] {
        add(format!("{cut} bytes cut off"), change(move |m| m.cut = cut));
    }
    for (what, template) in [
        ("no Jinja", "{% for %}"),
        ("endless", "{% for i in range(100000000) %}{{ i }}{% endfor %}"),
        ("deep", "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}"),
        ("wide", "{{ 'a' * 1000000000 }}"),
        (
            "doubling",
            "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
        ),
        ("raising", "{{ raise_exception('no') }}"),
        ("empty", ""),
    ] {
        add(format!("chat template {what}"), change(move |m| m.set("tokenizer.chat_template", template)));
    }
    let nested = "{{ ".to_owned() + &"(".repeat(100_000) + "1" + &")".repeat(100_000) + " }}";
    add("chat template nested".into(), change(move |m| m.set("tokenizer.chat_template", nested.as_str())));
    all
}

type Reshape = fn(&mut Vec<u64>);

const SHAPES: &[(&str, Reshape)] = &[
    ("halved", |d| d[0] /= 2),
    ("doubled", |d| d[0] *= 2),
    ("transposed", |d| d.reverse()),
    ("with a dimension more", |d| d.push(2)),
    ("with dimensions of one", |d| d.extend([1, 1])),
    ("flat", |d| *d = vec![d.iter().product()]),
    ("of one", |d| *d = vec![1]),
    ("one row more", |d| *d.last_mut().unwrap() += 1),
];

fn datas() -> Vec<(&'static str, Data)> {
    let words = |v: f32| Data::Bytes(Arc::new(v.to_le_bytes().to_vec()));
    let mut rng = Rng::new(7);
    let noise: Vec<u8> = (0..4096).map(|_| u8::try_from(rng.next() & 0xff).unwrap()).collect();
    vec![
        ("zeroes", words(0.0)),
        ("NaN", words(f32::NAN)),
        ("infinity", words(f32::INFINITY)),
        ("the largest", words(f32::MAX)),
        ("ones in all bits", Data::Bytes(Arc::new(vec![0xff]))),
        ("noise", Data::Bytes(Arc::new(noise))),
    ]
}

fn retype(model: &mut Model, name: &str, kind: TensorType) {
    if let Some(t) = model.tensor(name) {
        t.kind = kind;
        t.data = Data::Weights;
        // a width that whole blocks make, where the type needs one
        if !t.dims[0].is_multiple_of(kind.block_len()) {
            t.dims[0] = kind.block_len();
        }
    }
}

fn vocabulary(kind: &'static str) -> Vec<(String, Change)> {
    let mut all: Vec<(String, Change)> = vec![];
    let mut add = |name: String, f: Box<dyn Fn(&mut Model) + Send + Sync>| {
        all.push((
            name,
            change(move |m| {
                m.tokenizer(kind, "default");
                f(m);
            }),
        ));
    };
    let strings = |m: &Model, key: &str| -> Vec<Vec<u8>> {
        let list = m.get(key).and_then(Value::as_array).and_then(Array::as_strings).unwrap();
        list.iter().map(<[u8]>::to_vec).collect()
    };
    let tokens = move |m: &mut Model, f: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut list = strings(m, "tokenizer.ggml.tokens");
        f(&mut list);
        m.set("tokenizer.ggml.tokens", list.iter().collect::<Strings>());
    };
    for name in [
        "bos",
        "eos",
        "unknown",
        "seperator",
        "padding",
        "cls",
        "mask",
        "eot",
        "eom",
        "fim_pre",
        "fim_suf",
        "fim_mid",
        "fim_pad",
        "fim_rep",
        "fim_sep",
        "prefix",
        "suffix",
        "middle",
    ] {
        for id in [0u32, 1, 97, 256, 299, 300, 1 << 30, i32::MAX as u32, 1 << 31, u32::MAX] {
            add(
                format!("{name} = {id}"),
                Box::new(move |m| m.set(&format!("tokenizer.ggml.{name}_token_id"), id)),
            );
        }
        add(format!("no {name}"), Box::new(move |m| m.remove(&format!("tokenizer.ggml.{name}_token_id"))));
    }
    for name in [
        "add_bos_token",
        "add_eos_token",
        "add_sep_token",
        "add_space_prefix",
        "remove_extra_whitespaces",
        "escape_whitespaces",
        "treat_whitespace_as_suffix",
    ] {
        for on in [true, false] {
            add(
                format!("{name} {on}"),
                Box::new(move |m| {
                    m.set(&format!("tokenizer.ggml.{name}"), on);
                }),
            );
        }
    }
    add(
        "no ids and all added".into(),
        Box::new(|m| {
            m.kv.retain(|(k, _)| !k.ends_with("_token_id"));
            for name in ["bos", "eos", "sep"] {
                m.set(&format!("tokenizer.ggml.add_{name}_token"), true);
            }
        }),
    );
    for t in [-1, 0, 1, 2, 3, 4, 5, 6, 7, 1 << 20, i32::MAX, i32::MIN] {
        add(format!("types {t}"), Box::new(move |m| m.set("tokenizer.ggml.token_type", vec![t; 300])));
    }
    for s in F32S {
        add(format!("scores {s}"), Box::new(move |m| m.set("tokenizer.ggml.scores", vec![*s; 300])));
    }
    for key in ["token_type", "scores", "merges"] {
        add(format!("no {key}"), Box::new(move |m| m.remove(&format!("tokenizer.ggml.{key}"))));
    }
    add("scores of i32".into(), Box::new(|m| m.set("tokenizer.ggml.scores", vec![1i32; 300])));
    for (name, merges) in [
        ("none", vec![]),
        ("empty parts", vec!["a ", " b", "  ", " a b"]),
        ("loops", vec!["a a", "aa aa", "a aa", "aa a", "aaaa aaaa"]),
        ("unknown parts", vec!["zzz yyy", "\u{fffd} \u{ffff}", "a b c d"]),
        ("doubles", vec!["a b", "a b", "a b"]),
    ] {
        add(
            format!("merges: {name}"),
            Box::new(move |m| m.set("tokenizer.ggml.merges", merges.iter().collect::<Strings>())),
        );
    }
    add(
        "tokens without bytes".into(),
        Box::new(move |m| {
            tokens(m, &|l| {
                for (i, t) in l.iter_mut().enumerate().take(256) {
                    *t = format!("tok{i}").into_bytes();
                }
            })
        }),
    );
    add("empty tokens".into(), Box::new(move |m| tokens(m, &|l| l[260..].iter_mut().for_each(Vec::clear))));
    add("all tokens empty".into(), Box::new(move |m| tokens(m, &|l| l.iter_mut().for_each(Vec::clear))));
    add(
        "tokens that are no UTF-8".into(),
        Box::new(move |m| {
            tokens(m, &|l| {
                for (i, t) in l.iter_mut().enumerate() {
                    t.insert(i % (t.len() + 1), [0xff, 0xc3, 0xe2, 0xf0, 0x80][i % 5]);
                }
            })
        }),
    );
    add(
        "control tokens that are no UTF-8".into(),
        Box::new(move |m| {
            tokens(m, &|l| {
                for (i, t) in l.iter_mut().enumerate().skip(256).take(7) {
                    *t = vec![0xf0, u8::try_from(i & 0xff).unwrap(), 0xe2];
                }
            })
        }),
    );
    add("a token of 1 MB".into(), Box::new(move |m| tokens(m, &|l| l[299] = vec![b'a'; 1_000_000])));
    add("control token of 1 MB".into(), Box::new(move |m| tokens(m, &|l| l[258] = vec![b'<'; 1_000_000])));
    add(
        "control tokens of one letter".into(),
        Box::new(move |m| {
            tokens(m, &|l| {
                for (i, t) in l.iter_mut().enumerate().skip(256).take(7) {
                    *t = vec![b'0' + u8::try_from(i - 256).unwrap()];
                }
            })
        }),
    );
    for n in [1usize, 2, 11, 12, 256, 257, 299] {
        add(
            format!("{n} tokens"),
            Box::new(move |m| {
                tokens(m, &|l| l.truncate(n));
                let rows = n as u64;
                for name in ["token_embd.weight", "output.weight"] {
                    if let Some(t) = m.tensor(name) {
                        t.dims[1] = rows;
                    }
                }
                m.kv.retain(|(k, _)| !k.ends_with("_token_id"));
            }),
        );
    }
    for suppressed in [vec![0], vec![-1], vec![i32::MAX], vec![299; 1000], (0..300).collect::<Vec<i32>>()] {
        add(
            format!("suppress {}", suppressed.len()),
            Box::new(move |m| m.set("tokenizer.ggml.suppress_tokens", suppressed.clone())),
        );
    }
    // the precompiled map of T5's normaliser: a length, a trie, strings
    for seed in 0..40u64 {
        add(
            format!("charsmap {seed}"),
            Box::new(move |m| {
                let mut rng = Rng::new(seed);
                let n = [0, 1, 3, 4, 5, 8, 64, 4096][rng.below(8)];
                let mut map: Vec<u8> = (0..n).map(|_| u8::try_from(rng.next() & 0xff).unwrap()).collect();
                if n >= 4 {
                    let size = u32::try_from([0, 1, 4, n / 2, n - 4, n, n * 4][rng.below(7)]).unwrap();
                    map[..4].copy_from_slice(&size.to_le_bytes());
                }
                m.set("tokenizer.ggml.precompiled_charsmap", map);
            }),
        );
    }
    for (name, v) in [
        ("of i8", Value::from(vec![1i8; 64])),
        ("of u32", vec![u32::MAX; 64].into()),
        ("a string", "x".into()),
    ] {
        add(
            format!("charsmap {name}"),
            Box::new(move |m| m.set("tokenizer.ggml.precompiled_charsmap", v.clone())),
        );
    }
    if kind == "rwkv" {
        for (i, bad) in ["", "'", "b'", "b'\\x", "b'\\x4", "'\\", "\\", "'\\x'", "b'\\xzz'", "x", "\"\\"]
            .into_iter()
            .enumerate()
        {
            add(format!("rwkv escape {i}"), Box::new(move |m| tokens(m, &|l| l[299] = bad.into())));
        }
    }
    if matches!(kind, "llama" | "plamo2" | "gemma4") {
        for bad in ["<0x", "<0xZZ>", "<0x1>", "", "a", "<0x100>", "<0x00", "\u{2581}"] {
            add(format!("byte token {bad:?}"), Box::new(move |m| tokens(m, &|l| l[65] = bad.into())));
        }
    }
    all
}

fn floating(key: &str) -> bool {
    [
        "scale",
        "eps",
        "freq",
        "factor",
        "alpha",
        "bias",
        "clamp",
        "softcapping",
        "bound",
        "beta",
        "temperature",
        "log_mul",
        "theta",
        "norm_rms",
    ]
    .iter()
    .any(|word| key.contains(word))
        && !["freqs", "groups", "count"].iter().any(|word| key.contains(word))
}

fn short(value: &Value) -> String {
    let text = format!("{value:?}");
    text.chars().take(60).collect()
}

/// A few changes at once, of the tiny model or of the built-in one.
pub(crate) fn random(dir: &Path, i: usize) -> Option<(String, Model, How)> {
    static SPARK: OnceLock<Model> = OnceLock::new();
    let mut rng = Rng::new(i as u64);
    let mut model =
        if rng.below(16) == 0 { SPARK.get_or_init(|| Model::open(&spark())).clone() } else { tiny(dir) };
    let name = mutate(&mut model, &mut rng);
    Some((name, model, How::Drawn(rng.next())))
}

/// One or two changes of whatever model.
fn mutate(model: &mut Model, rng: &mut Rng) -> String {
    let mut done = vec![];
    for _ in 0..=rng.below(2) {
        let arch = model.arch();
        match rng.below(10) {
            0..4 => {
                // what the model has, or what some architecture reads
                let own: Vec<String> = model
                    .kv
                    .iter()
                    .map(|(k, _)| k.clone())
                    .filter(|k| k.starts_with(&format!("{arch}.")))
                    .collect();
                let key = if rng.below(3) > 0 && !own.is_empty() {
                    rng.pick(&own).clone()
                } else {
                    format!("{arch}.{}", rng.pick(&names().keys))
                };
                let value = match model.get(&key) {
                    Some(Value::F32(_)) => Value::F32(*rng.pick(F32S)),
                    Some(Value::Bool(v)) => Value::Bool(!v),
                    Some(Value::String(_)) => "linear".into(),
                    Some(Value::Array(Array::I32(v))) => {
                        let mut v = v.clone();
                        if !v.is_empty() {
                            let at = rng.below(v.len());
                            v[at] = *rng.pick(&[0, 1, 2, 3, 8, 64, 1 << 20, -1, i32::MAX]);
                        }
                        v.into()
                    }
                    _ if floating(&key) => Value::F32(*rng.pick(F32S)),
                    _ if rng.below(4) == 0 => {
                        let layers = 2 + rng.below(2);
                        let v: Vec<u32> = (0..layers).map(|_| *rng.pick(&U32S[..18])).collect();
                        v.into()
                    }
                    Some(Value::U32(v)) if rng.below(2) == 0 => Value::U32(match rng.below(5) {
                        0 => v / 2,
                        1 => v.saturating_mul(2),
                        2 => v.saturating_add(1),
                        3 => v.saturating_sub(1),
                        _ => v.saturating_mul(3),
                    }),
                    _ => Value::U32(*rng.pick(U32S)),
                };
                done.push(format!("{key} = {}", short(&value)));
                model.set(&key, value);
            }
            4 => {
                let key = rng.pick(&model.kv).0.clone();
                if key != "general.architecture" {
                    done.push(format!("{key} removed"));
                    model.remove(&key);
                }
            }
            5 | 6 if !model.tensors.is_empty() => {
                let name = rng.pick(&model.tensors).name.clone();
                let kind = *rng.pick(TensorType::ALL);
                let width = model.tensor(&name).unwrap().dims[0];
                if width.is_multiple_of(kind.block_len()) {
                    done.push(format!("{name} as {kind}"));
                    retype(model, &name, kind);
                }
            }
            7 if !model.tensors.is_empty() => {
                let name = rng.pick(&model.tensors).name.clone();
                let datas = datas();
                let (what, data) = rng.pick(&datas);
                done.push(format!("{name} of {what}"));
                model.tensor(&name).unwrap().data = data.clone();
            }
            8 => {
                let name = format!(
                    "blk.{}.{}.{}",
                    rng.below(2),
                    rng.pick(&names().layer_tensors),
                    rng.pick(&["weight", "bias", "scale"])
                );
                let dims = rng
                    .pick(&[vec![64u64], vec![16], vec![1], vec![64, 64], vec![300], vec![64, 96]])
                    .clone();
                let kind = *rng.pick(&[
                    TensorType::F32,
                    TensorType::F32,
                    TensorType::F16,
                    TensorType::BF16,
                    TensorType::I32,
                ]);
                done.push(format!("extra {name} {dims:?} {kind}"));
                model.put(&name, kind, &dims);
            }
            _ => {
                let kind = rng.pick(KINDS);
                let all = vocabulary(kind);
                let (name, change) = rng.pick(&all);
                done.push(format!("tokenizer {kind}: {name}"));
                change(model);
            }
        }
    }
    done.join(" and ")
}

/// All architectures in turn: first as they are, then mutated.
pub(crate) fn archs(dir: &Path, i: usize) -> Option<(String, Model, How)> {
    let archs = &names().archs;
    let (arch, n) = (&archs[i % archs.len()], i / archs.len());
    let (mut model, problem) = completed(arch, dir);
    let mut rng = Rng::new(i as u64);
    if n == 0 {
        return Some((
            format!("{arch} {}", problem.map_or("complete".into(), |p| format!("incomplete: {p}"))),
            model,
            How::Drawn(0),
        ));
    }
    let name = mutate(&mut model, &mut rng);
    Some((format!("{arch}: {name}"), model, How::Drawn(rng.next())))
}

/// The smallest model of an architecture that llama.cpp loads, found by asking it: what it misses is added until it
/// misses nothing. With the last complaint where there is no end to them.
pub(crate) fn completed(arch: &str, dir: &Path) -> (Model, Option<String>) {
    type Completed = HashMap<String, (Model, Option<String>)>;
    static DONE: OnceLock<Mutex<Completed>> = OnceLock::new();
    let done = DONE.get_or_init(Mutex::default);
    if let Some(found) = done.lock().unwrap().get(arch) {
        return found.clone();
    }
    let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("hostile-seeds").join(format!("{arch}.gguf"));
    let result =
        if kept.exists() { (Model::open(&kept), None) } else { complete(arch, &dir.join("seed.gguf")) };
    if result.1.is_none() && !kept.exists() {
        std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
        // whole or not at all: other children look for it
        let part = kept.with_extension(format!("{}", std::process::id()));
        result.0.write(&part);
        std::fs::rename(&part, &kept).unwrap();
    }
    done.lock().unwrap().insert(arch.into(), result.clone());
    result
}

fn complete(arch: &str, path: &Path) -> (Model, Option<String>) {
    let mut model = Model::bare(arch);
    let mut options = LoadOptions::default();
    options.mmap = Some(false);
    options.repack = false;
    let mut before = String::new();
    for _ in 0..600 {
        assert!(model.write(path), "{arch} cannot be written");
        let error = match LoadedModel::load(path, &options, |_| ControlFlow::Continue(())) {
            Ok(_) => return (model, None),
            Err(Error::ModelLoadFailed { what, .. }) => what,
            Err(Error::InvalidGguf { what, .. } | Error::UnsupportedModel { what, .. }) => what,
            Err(other) => other.to_string(),
        };
        if error == before || !amend(&mut model, arch, &error) {
            return (model, Some(error));
        }
        before = error;
    }
    (model, Some(format!("no end: {before}")))
}

/// Adds what the error says is missing. False where it is not understood.
fn amend(model: &mut Model, arch: &str, error: &str) -> bool {
    let error = error.split("; llama_model_load_from_file").next().unwrap_or_default();
    let between = |from: &str, to: &str| -> Option<String> {
        let rest = error.split_once(from)?.1;
        Some(rest.split_once(to).map_or(rest, |(inside, _)| inside).trim().to_owned())
    };
    if let Some(name) = between("missing tensor '", "'")
        .or_else(|| between("tensor '", "' not found").filter(|n| !n.contains('\'')))
    {
        match name.as_str() {
            "token_embd.weight" => model.put(&name, TensorType::F32, &[64, 300]),
            _ => model.put(&name, TensorType::F32, &[1]),
        };
        return true;
    }
    if let (Some(name), Some(shape)) =
        (between("tensor '", "' has wrong shape"), between("expected ", ", got"))
    {
        let dims: Option<Vec<u64>> = shape.split(',').map(|n| n.trim().parse().ok()).collect();
        if let Some(dims) = dims {
            model.put(&name, TensorType::F32, &dims);
            return true;
        }
    }
    if error.contains(", with no elements") || error.contains("zero experts") || error.contains("must be > 0")
    {
        let more: &[(&str, u32)] = match () {
            () if error.contains("exp") || error.contains("ffn_gate_inp") => {
                &[("expert_count", 4), ("expert_used_count", 2), ("expert_feed_forward_length", 32)]
            }
            () if error.contains("token_types") => &[],
            () => &[
                ("attention.q_lora_rank", 32),
                ("attention.kv_lora_rank", 32),
                ("attention.key_length_mla", 24),
                ("attention.value_length_mla", 16),
                ("attention.gate_lora_rank", 16),
                ("attention.decay_lora_rank", 16),
                ("attention.iclr_lora_rank", 16),
                ("attention.value_residual_mix_lora_rank", 16),
            ],
        };
        for (suffix, value) in more {
            model.set(&format!("{arch}.{suffix}"), *value);
        }
        if more.is_empty() {
            model.set("tokenizer.ggml.token_type_count", 2u32);
        }
        // their shapes were asked for before the keys were there
        model.tensors.retain(|t| !t.dims.contains(&0));
        return true;
    }
    if error.contains("token type count") {
        model.set("tokenizer.ggml.token_type_count", 2u32);
        return true;
    }
    if error.contains("requires MLA") || error.contains("n_embd_head_qk_nope") {
        for (suffix, value) in [
            ("attention.key_length", 40u32),
            ("attention.value_length", 32),
            ("attention.key_length_mla", 24),
            ("attention.value_length_mla", 16),
            ("attention.kv_lora_rank", 32),
            ("attention.head_count_kv", 1),
            ("rope.dimension_count", 8),
        ] {
            model.set(&format!("{arch}.{suffix}"), value);
        }
        return true;
    }
    if error.contains("wrong number of tensors") {
        let n = model.tensors.len();
        // the one that was put there so that layer 0 has a tensor
        model.tensors.retain(|t| t.name != "blk.0.attn_norm.weight");
        return n > model.tensors.len();
    }
    if error.contains("time_mix_lerp") {
        for layer in 0..2 {
            model.put(&format!("blk.{layer}.time_mix_lerp_fused.weight"), TensorType::F32, &[64, 1, 1, 5]);
        }
        return true;
    }
    if error.contains("rows; 4 or") {
        for layer in 0..2 {
            model.put(&format!("blk.{layer}.attn_gate.weight"), TensorType::F32, &[64, 4]);
        }
        return true;
    }
    if error.contains("there are no tensors of layers") {
        model.put("blk.0.attn_norm.weight", TensorType::F32, &[64]);
        return true;
    }
    let key = between("key not found in model: ", "\n")
        .or_else(|| between("array key not found in model: ", "\n"))
        .or_else(|| error.split_once(" is missing; it must be").map(|(k, _)| k.to_owned()))
        .or_else(|| error.split_once(" is ").filter(|(k, _)| k.starts_with(arch)).map(|(k, _)| k.to_owned()));
    if let Some(key) = key {
        let suffix = key.strip_prefix(&format!("{arch}.")).unwrap_or(&key);
        let value = match guess(suffix) {
            Some(value) => value,
            None if error.contains("it must be ") => {
                let must = between("it must be ", "\0").unwrap_or_default();
                match must.split([' ', ',', ';']).find_map(|w| w.parse::<u32>().ok()) {
                    Some(n) => Value::U32(n),
                    None if must.starts_with("true") => Value::Bool(true),
                    None => return false,
                }
            }
            None if floating(suffix) => Value::F32(1.0),
            None => Value::U32(2),
        };
        model.set(&key, value);
        return true;
    }
    if let (Some(key), Some(kind)) = (between("key ", " has wrong type"), between("expected type ", "\n")) {
        let value: Value = match kind.split_whitespace().next().unwrap_or_default() {
            "f32" => 1.0f32.into(),
            "bool" => true.into(),
            "str" => "x".into(),
            "i32" => 1i32.into(),
            "u32" => 2u32.into(),
            _ => return false,
        };
        model.set(&key, value);
        return true;
    }
    false
}

/// Values that fit the width of 64 and its four heads.
fn guess(suffix: &str) -> Option<Value> {
    Some(match suffix {
        "attention.layer_norm_epsilon"
        | "attention.layer_norm_rms_epsilon"
        | "attention.group_norm_epsilon" => 1e-5f32.into(),
        "attention.group_norm_groups" => 8u32.into(),
        "attention.key_length"
        | "attention.value_length"
        | "attention.key_length_mla"
        | "attention.value_length_mla" => 16u32.into(),
        "attention.key_length_swa" | "attention.value_length_swa" => 16u32.into(),
        "attention.causal" => true.into(),
        "attention.sliding_window" => 32u32.into(),
        "attention.sliding_window_pattern" => vec![true, false].into(),
        "attention.kv_lora_rank" | "attention.q_lora_rank" => 32u32.into(),
        "attention.compress_ratios" => vec![4u32, 4].into(),
        "rope.dimension_count" => 8u32.into(),
        "rope.dimension_sections" => vec![2i32, 2, 2, 2].into(),
        "expert_count" => 4u32.into(),
        "expert_used_count" => 2u32.into(),
        "expert_feed_forward_length" | "expert_shared_feed_forward_length" => 32u32.into(),
        "expert_weights_norm" => true.into(),
        "hyper_connection.count" => 4u32.into(),
        "attention.indexer.kpool" => 2u32.into(),
        "attention.indexer.top_k" => 8u32.into(),
        "leading_dense_block_count" | "expert_shared_count" | "interleave_moe_layer_step" => 1u32.into(),
        "ssm.inner_size" => 128u32.into(),
        "ssm.conv_kernel" => 4u32.into(),
        "ssm.state_size" => 16u32.into(),
        "ssm.time_step_rank" => 4u32.into(),
        "ssm.group_count" => 1u32.into(),
        "wkv.head_size" => 64u32.into(),
        "kda.head_dim" => 16u32.into(),
        "shortconv.l_cache" => 3u32.into(),
        "vocab_size" => 300u32.into(),
        "full_attention_interval" => 2u32.into(),
        "kda.safe_gate" => true.into(),
        "attention.output_group_count" => 2u32.into(),
        "experts_per_group" => 2u32.into(),
        "hrm.layers_per_stack" | "hrm.h_cycles" | "hrm.l_cycles" => 1u32.into(),
        "attention.indexer.block_size" => 8u32.into(),
        "attention.indexer.types" => vec![1u32, 1].into(),
        "adapters.token_ids_activate" => vec![1i32, 2].into(),
        "kda.gate_lower_bound" => Value::F32(-5.0),
        _ => return None,
    })
}
