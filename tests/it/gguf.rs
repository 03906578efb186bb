//! The GGUF reader, its checks and the writer, seen from outside.

use std::fs;

use inferno::gguf::{Array, Gguf, PerLayer, Split, Strings, TensorType, Value, Writer};
use inferno::{Error, Result};
use proptest::prelude::*;

/// A file made byte by byte, independent of `Writer`, so that it can be wrong.
#[derive(Clone)]
pub(crate) struct Raw {
    magic: [u8; 4],
    version: u32,
    counts: Option<(u64, u64)>,
    kvs: Vec<(Vec<u8>, Vec<u8>)>,
    tensors: Vec<RawTensor>,
    alignment: usize,
    data: usize,
}

#[derive(Clone)]
struct RawTensor {
    name: Vec<u8>,
    n_dims: u32,
    dims: Vec<u64>,
    kind: u32,
    offset: u64,
}

pub(crate) fn text(s: &[u8]) -> Vec<u8> {
    [&(s.len() as u64).to_le_bytes(), s].concat()
}

fn u32s(v: &[u32]) -> Vec<u8> {
    v.iter().flat_map(|x| x.to_le_bytes()).collect()
}

impl Raw {
    /// Version 3, an architecture, two tensors of 12 and 64 bytes.
    pub(crate) fn valid() -> Raw {
        let mut raw = Raw {
            magic: *b"GGUF",
            version: 3,
            counts: None,
            kvs: Vec::new(),
            tensors: Vec::new(),
            alignment: 32,
            data: 96,
        };
        raw.kv("general.architecture", 8, &text(b"llama"));
        raw.tensor(b"a", &[3], 0, 0);
        raw.tensor(b"b", &[4, 4], 0, 32);
        raw
    }

    pub(crate) fn kv(&mut self, key: impl AsRef<[u8]>, tag: u32, payload: &[u8]) -> &mut Raw {
        self.kvs.push((key.as_ref().into(), [&tag.to_le_bytes(), payload].concat()));
        self
    }

    fn tensor(&mut self, name: &[u8], dims: &[u64], kind: u32, offset: u64) -> &mut Raw {
        let n_dims = u32::try_from(dims.len()).unwrap();
        self.tensors.push(RawTensor { name: name.into(), n_dims, dims: dims.into(), kind, offset });
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let (n_tensors, n_kv) = self.counts.unwrap_or((self.tensors.len() as u64, self.kvs.len() as u64));
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(n_tensors.to_le_bytes());
        out.extend(n_kv.to_le_bytes());
        for (key, value) in &self.kvs {
            out.extend(text(key));
            out.extend(value);
        }
        for t in &self.tensors {
            out.extend(text(&t.name));
            out.extend(t.n_dims.to_le_bytes());
            t.dims.iter().for_each(|d| out.extend(d.to_le_bytes()));
            out.extend(t.kind.to_le_bytes());
            out.extend(t.offset.to_le_bytes());
        }
        out.resize(out.len().next_multiple_of(self.alignment) + self.data, 0);
        out
    }
}

fn message(bytes: &[u8]) -> String {
    match Gguf::from_bytes(bytes, "test.gguf") {
        Ok(_) => "accepted".into(),
        Err(e) => e.to_string(),
    }
}

#[test]
fn a_valid_file_is_read_as_it_is() {
    let mut raw = Raw::valid();
    raw.version = 2;
    raw.kv("n", 10, &7u64.to_le_bytes()).kv(
        "scalar",
        9,
        &[&u32s(&[6, 1, 0])[..], &1.5f32.to_le_bytes()].concat(),
    );
    raw.tensor(b"point", &[], 24, 96);
    raw.data = 97;
    let g = Gguf::from_bytes(&raw.bytes(), "test.gguf").unwrap();
    assert_eq!((g.version(), g.architecture(), g.name()), (2, Some("llama"), None));
    assert_eq!(g.get("n"), Some(&Value::U64(7)));
    assert_eq!(g.get("scalar"), Some(&Value::Array(Array::F32(vec![1.5]))));
    assert_eq!(g.get("N"), None);
    let keys: Vec<&str> = g.metadata().map(|(k, _)| k).collect();
    assert_eq!(keys, ["general.architecture", "n", "scalar"], "the order is that of the file");
    let b = g.tensor("b").unwrap();
    assert_eq!((&b.dims[..], b.kind, b.size_bytes), (&[4u64, 4][..], TensorType::F32, 64));
    assert_eq!((b.offset, g.tensors()[0].offset), (g.data_offset() + 32, g.data_offset()));
    assert_eq!(g.data_offset() % 32, 0);
    assert_eq!((g.tensors()[2].elements(), g.tensors()[2].size_bytes), (1, 1), "no dimensions: one element");
    assert_eq!((g.parameter_count(), g.tensor_bytes()), (3 + 16 + 1, 12 + 64 + 1));
    assert!(g.tensor("c").is_none());
}

#[test]
fn the_padding_after_the_last_tensor_may_be_missing_and_anything_may_follow() {
    let mut raw = Raw::valid();
    raw.tensors[1].dims = vec![3, 3];
    raw.data = 32 + 36;
    assert_eq!(message(&raw.bytes()), "accepted");
    raw.data = 32 + 35;
    assert!(message(&raw.bytes()).contains("tensor \"b\": 1 bytes of it are missing"));
    raw.data = 1000;
    assert_eq!(message(&raw.bytes()), "accepted");
}

/// One malformed file per line: what is done to a valid one, and a part of the message.
#[test]
fn malformed_files_are_rejected_with_the_reason() {
    type Edit = fn(&mut Raw);
    let cases: &[(Edit, &str)] = &[
        (|r| r.magic = *b"gguf", "47 47 55 46"),
        (|r| r.version = 0, "version 0 does not exist"),
        (|r| r.version = 1, "GGUF version 1, which llama.cpp no longer reads"),
        (|r| r.version = 4, "GGUF version 4; this build reads versions 2 and 3"),
        (|r| r.version = 3 << 24, "big-endian GGUF file (version 3)"),
        (|r| r.version = 0x1234_5678, "does not exist"),
        (|r| r.counts = Some((u64::MAX, 1)), "18446744073709551615 tensors"),
        (|r| r.counts = Some((2, u64::MAX)), "18446744073709551615 metadata entries"),
        (|r| r.counts = Some((2, 1 << 40)), "take at least"),
        (|r| r.counts = Some((2, 2)), "is not a valid GGUF file"),
        (|r| _ = r.kv("", 4, &[0; 4]), "the key is empty"),
        (|r| _ = r.kv("a\0b", 4, &[0; 4]), "control character"),
        (|r| _ = r.kv([0xff], 4, &[0; 4]), "is not UTF-8"),
        (|r| _ = r.kv(vec![b'k'; 65_536], 4, &[0; 4]), "the limit is 65535"),
        (|r| _ = r.kv("k", 4, &[0; 4]).kv("k", 4, &[0; 4]), "the key k occurs twice"),
        (|r| _ = r.kv("k", 13, &[0; 8]), "the value of k has type 13"),
        (|r| _ = r.kv("k", u32::MAX, &[0; 8]), "has type -1"),
        (|r| _ = r.kv("k", 7, &[2]), "bool with the value 2"),
        (|r| _ = r.kv("k", 9, &[&u32s(&[7, 2, 0])[..], &[1, 255]].concat()), "bool with the value 255"),
        (
            |r| _ = r.kv("k", 9, &[0; 12]).kv("l", 9, &u32s(&[9, 1, 0])),
            "the value of l is an array of arrays",
        ),
        (|r| _ = r.kv("k", 9, &u32s(&[13, 0, 0])), "array of type 13"),
        (|r| _ = r.kv("k", 9, &u32s(&[4, 0, 1])), "4294967296, the limit is 1073741824"),
        (|r| _ = r.kv("k", 9, &u32s(&[12, 1 << 30, 0])), "8589934592 bytes are needed"),
        (|r| _ = r.kv("k", 9, &u32s(&[8, 1 << 30, 0])), "8589934592 bytes are needed"),
        (|r| _ = r.kv("k", 8, &u32s(&[0, 1])), "the limit is 1073741824"),
        (|r| _ = r.kv("k", 8, &u32s(&[1 << 30, 0])), "1073741824 bytes are needed"),
        (|r| r.kvs.clear(), "general.architecture is missing"),
        (|r| r.kvs[0].1 = [&u32s(&[8])[..], &text(b"")].concat(), "general.architecture is empty"),
        (|r| r.kvs[0].1 = u32s(&[4, 1]), "general.architecture has type u32; it must be a UTF-8 str"),
        (|r| r.kvs[0].1 = [&u32s(&[8])[..], &text(b"\xff")].concat(), "general.architecture has type str"),
        (|r| _ = r.kv("general.alignment", 10, &32u64.to_le_bytes()), "general.alignment has type u64"),
        (|r| _ = r.kv("general.alignment", 4, &u32s(&[0])), "no power of two"),
        (|r| _ = r.kv("general.alignment", 4, &u32s(&[48])), "no power of two"),
        (|r| _ = r.kv("general.alignment", 4, &u32s(&[64])), "tensor \"b\" starts at 32 of the data section"),
        (|r| _ = r.kv("general.file_type", 8, &text(b"x")), "general.file_type has type str; it must be u32"),
        (|r| _ = r.kv("split.no", 4, &u32s(&[0])), "split.no has type u32; it must be u16"),
        (
            |r| _ = r.kv("tokenizer.ggml.tokens", 9, &u32s(&[4, 0, 0])),
            "tokens has type arr[u32]; it must be arr[str]",
        ),
        (|r| r.tensors[1].name = b"a".to_vec(), "the tensor name \"a\" occurs twice"),
        (|r| r.tensors[1].name = vec![b'x'; 64], "has 64 bytes, the limit is 63"),
        (|r| r.tensors[1].name = b"b\0".to_vec(), "control character"),
        (|r| r.tensors[1].name = vec![0xc3], "the name of tensor 1 is not UTF-8"),
        (|r| r.tensors[1].n_dims = 5, "has 5 dimensions; the limit is 4"),
        (|r| r.tensors[1].n_dims = u32::MAX, "has 4294967295 dimensions"),
        (|r| r.tensors[1].dims = vec![1 << 62, 2], "more elements than 2^63"),
        (|r| r.tensors[1].dims = vec![0, u64::MAX], "more elements than 2^63"),
        (|r| r.tensors[1].dims = vec![1 << 60, 2], "ends before the data of tensor \"b\""),
        (|r| r.tensors[1].kind = 4, "Q4_2, which was removed"),
        (|r| r.tensors[1].kind = 31, "Q4_0_4_4, which was removed from ggml: take the Q4_0 file"),
        (|r| r.tensors[1].kind = 43, "type 43, which this build does not know"),
        (|r| r.tensors[1].kind = u32::MAX, "type 4294967295"),
        (|r| r.tensors[1].kind = 2, "rows of 4 elements are not whole blocks of 32"),
        (|r| r.tensors[1].offset = 0, "starts at 0 of the data section"),
        (|r| r.tensors[1].offset = 64, "it has to start at 32"),
        (|r| r.tensors[1].offset = 33, "it has to start at 32"),
        (|r| r.data = 0, "ends before the data of tensor \"a\": 12 bytes of it are missing, and about 96"),
    ];
    for (i, (edit, want)) in cases.iter().enumerate() {
        let mut raw = Raw::valid();
        edit(&mut raw);
        let got = message(&raw.bytes());
        assert!(want.split('|').any(|w| got.contains(w)), "case {i}: wanted {want:?}, got {got:?}");
        assert!(got.contains("test.gguf"), "{got}");
    }
}

#[test]
fn errors_say_where() {
    let mut raw = Raw::valid();
    raw.kv("k", 7, &[9]);
    let bytes = raw.bytes();
    let key = bytes.windows(1).position(|w| w == b"k").unwrap();
    match Gguf::from_bytes(&bytes, "t") {
        Err(Error::InvalidGguf { offset, .. }) => assert_eq!(offset, key as u64 + 5, "the byte of the bool"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_that_is_no_model_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    let open = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Gguf::open(&path).unwrap_err().to_string()
    };
    assert!(open(b"").contains("the file is empty"));
    assert!(open(b"<html><body>404</body></html>").contains("web page"));
    assert!(
        open(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n").contains("git lfs pull")
    );
    assert!(open(b"GGUF").contains("ends inside the version"));
    let e = Gguf::open(dir.path()).unwrap_err();
    assert!(e.to_string().contains("it is a directory"), "{e}");
    assert!(matches!(Gguf::open(dir.path().join("none")), Err(Error::Io { action: "open", .. })));
}

#[test]
fn a_reader_that_ends_before_the_reported_length_is_an_error() {
    let bytes = Raw::valid().bytes();
    let e = Gguf::parse(&bytes[..40], bytes.len() as u64, "t").unwrap_err();
    assert!(e.to_string().contains("before its reported length"), "{e}");
}

#[test]
fn a_later_file_of_a_split_needs_no_architecture() {
    let mut raw = Raw::valid();
    raw.kvs.clear();
    raw.kv("split.no", 2, &[1, 0]).kv("split.count", 2, &[3, 0]);
    let g = Gguf::from_bytes(&raw.bytes(), "t").unwrap();
    assert_eq!(g.split(), Some(Split { index: 1, count: 3 }));
    let e = g.validate_for_llama().unwrap_err().to_string();
    assert!(e.contains("file 2 of 3") && e.contains("00001-of-00003.gguf"), "{e}");
}

/// The metadata of a small llama that llama.cpp would load.
pub(crate) fn llama() -> Vec<(String, Value)> {
    let tokens: Strings = (0..40).map(|i| format!("t{i}")).collect();
    [
        ("general.architecture", Value::from("llama")),
        ("general.name", "Tiny".into()),
        ("general.file_type", 15u32.into()),
        ("llama.block_count", 2u32.into()),
        ("llama.context_length", 512u32.into()),
        ("llama.embedding_length", 256u32.into()),
        ("llama.feed_forward_length", 512u32.into()),
        ("llama.attention.head_count", 8u32.into()),
        ("llama.attention.head_count_kv", 2u32.into()),
        ("llama.attention.layer_norm_rms_epsilon", 1e-5f32.into()),
        ("llama.rope.dimension_count", 32u32.into()),
        ("tokenizer.ggml.model", "gpt2".into()),
        ("tokenizer.ggml.tokens", tokens.into()),
        ("tokenizer.ggml.token_type", vec![1i32; 40].into()),
        ("tokenizer.ggml.scores", vec![0f32; 40].into()),
        ("tokenizer.ggml.merges", Strings::from_iter(["a b", "c d"]).into()),
        ("tokenizer.ggml.bos_token_id", 1u32.into()),
        ("tokenizer.ggml.eos_token_id", 2u32.into()),
        ("tokenizer.chat_template", "{{ messages }}".into()),
    ]
    .map(|(k, v)| (k.to_string(), v))
    .into()
}

pub(crate) fn file(metadata: &[(String, Value)], tensors: &[(&str, TensorType, &[u64])]) -> Vec<u8> {
    let mut w = Writer::new();
    for (k, v) in metadata {
        w.set(k, v.clone()).unwrap();
    }
    for &(name, kind, dims) in tensors {
        let size = dims.iter().product::<u64>() / kind.block_len() * kind.block_bytes();
        w.tensor_from(name, kind, dims, std::io::repeat(1).take_exact(size)).unwrap();
    }
    let mut out = Vec::new();
    w.write_to(&mut out, "memory".as_ref()).unwrap();
    out
}

trait TakeExact {
    fn take_exact(self, n: u64) -> std::io::Take<std::io::Repeat>;
}

impl TakeExact for std::io::Repeat {
    fn take_exact(self, n: u64) -> std::io::Take<std::io::Repeat> {
        std::io::Read::take(self, n)
    }
}

pub(crate) const LLAMA_TENSORS: &[(&str, TensorType, &[u64])] = &[
    ("token_embd.weight", TensorType::Q4_K, &[256, 40]),
    ("blk.0.attn_norm.weight", TensorType::F32, &[256]),
    ("blk.1.ffn_down.weight", TensorType::Q6_K, &[512, 256]),
];

fn checked(metadata: &[(String, Value)]) -> Result<()> {
    Gguf::from_bytes(&file(metadata, LLAMA_TENSORS), "test.gguf").and_then(|g| g.validate_for_llama())
}

#[test]
fn what_a_header_tells() {
    let g = Gguf::from_bytes(&file(&llama(), LLAMA_TENSORS), "test.gguf").unwrap();
    g.validate_for_llama().unwrap();
    assert_eq!(g.name(), Some("Tiny"));
    assert_eq!(g.quantisation().as_deref(), Some("Q4_K_M"));
    assert_eq!((g.context_length(), g.embedding_length(), g.block_count()), (Some(512), Some(256), Some(2)));
    assert_eq!((g.head_count(), g.head_count_kv()), (Some(PerLayer::Same(8)), Some(PerLayer::Same(2))));
    assert_eq!((g.vocab_size(), g.chat_template(), g.split()), (Some(40), Some("{{ messages }}"), None));
    // 2 layers · 512 tokens · 2 heads · 32 elements · (2 + 2 bytes); 300 tokens are rounded to 512.
    assert_eq!(g.kv_cache_bytes(300, TensorType::F16, TensorType::F16), Some(2 * 512 * 2 * 32 * 4));
    assert_eq!(g.kv_cache_bytes(512, TensorType::Q8_0, TensorType::F16), Some(2 * 512 * (2 * 34 + 2 * 64)));
    assert_eq!(
        g.kv_cache_bytes(512, TensorType::Q4_K, TensorType::F16),
        None,
        "64 elements are no whole block"
    );
    assert_eq!(g.kv_cache_bytes(u64::MAX, TensorType::F16, TensorType::F16), None);
}

#[test]
fn heads_per_layer_and_the_dominant_type() {
    let mut kv = llama();
    kv.retain(|(k, _)| k != "general.file_type");
    for (k, v) in &mut kv {
        if k.ends_with("head_count_kv") {
            *v = vec![4i32, 0].into();
        }
    }
    let g = Gguf::from_bytes(&file(&kv, LLAMA_TENSORS), "t").unwrap();
    assert_eq!(g.quantisation().as_deref(), Some("Q6_K"));
    assert_eq!(g.head_count_kv(), Some(PerLayer::Each(vec![4, 0])));
    assert_eq!(
        g.kv_cache_bytes(256, TensorType::F16, TensorType::F16),
        Some(256 * 4 * 32 * 4),
        "one layer has none"
    );
    g.validate_for_llama().unwrap();
}

#[test]
fn what_llama_would_assert_on_is_an_error_that_names_the_key() {
    let empty_twice =
        Strings::from_iter((0..40).map(|i| if i < 2 { String::new() } else { format!("t{i}") }));
    let cut = Strings::from_iter((0..40).map(|i| if i < 2 { format!("x\0{i}") } else { format!("t{i}") }));
    let collision = Strings::from_iter((0..40).map(|i| match i {
        0 => "".into(),
        1 => "[EMPTY_0]".into(),
        i => format!("t{i}"),
    }));
    let cases: Vec<(&str, Option<Value>, &str)> = vec![
        (
            "general.architecture",
            Some("lama".into()),
            "architecture \"lama\" is not known; the nearest that is: \"llama\"",
        ),
        ("general.architecture", Some("clip".into()), "mmproj"),
        ("general.architecture", Some("eagle3".into()), "draft model"),
        ("general.type", Some("adapter".into()), "LoRA adapter"),
        ("llama.block_count", None, "llama.block_count is missing; it must be 1 to 512"),
        ("llama.block_count", Some(0u32.into()), "llama.block_count is 0"),
        ("llama.block_count", Some(513u32.into()), "llama.block_count is 513; it must be 1 to 512"),
        ("llama.block_count", Some(1u32.into()), "tensor \"blk.1.ffn_down.weight\" belongs to no layer"),
        ("llama.block_count", Some(2u64.into()), "llama.block_count has type u64; it must be u32"),
        ("llama.block_count", Some("2".into()), "llama.block_count has type str"),
        ("llama.context_length", Some(0u32.into()), "llama.context_length is 0"),
        ("llama.embedding_length", Some(0u32.into()), "llama.embedding_length is 0"),
        ("llama.embedding_length", Some(255u32.into()), "a multiple of attention.head_count, 8"),
        ("llama.nextn_predict_layers", Some(3u32.into()), "at most block_count, 2"),
        ("llama.attention.head_count", None, "llama.attention.head_count is missing"),
        ("llama.attention.head_count", Some(0u32.into()), "more than 0"),
        ("llama.attention.head_count", Some(vec![8u32; 3].into()), "has 3 elements for 2 layers"),
        ("llama.attention.head_count", Some(vec![8i32, -1].into()), "negative"),
        (
            "llama.attention.head_count_kv",
            Some(3u32.into()),
            "a divisor of attention.head_count, 8 in layer 0",
        ),
        ("llama.attention.key_length", Some(0u32.into()), "key_length is 0"),
        ("llama.attention.value_length", Some(64u32.into()), "equal to the key length, 32"),
        ("llama.attention.key_length_mla", Some(64u32.into()), "present exactly when"),
        ("llama.rope.dimension_count", Some(31u32.into()), "even and at most the key length, 32"),
        ("llama.rope.dimension_count", Some(64u32.into()), "even and at most the key length, 32"),
        ("llama.rope.dimension_count", Some(16u32.into()), "equal to the length of a head, 32"),
        ("llama.rope.dimension_sections", Some(vec![0i32; 4].into()), "not all 0"),
        ("llama.rope.scaling.type", Some("su".into()), "none, linear, yarn, longrope"),
        ("llama.rope.freq_base", Some(f32::NAN.into()), "finite"),
        ("llama.attention.layer_norm_rms_epsilon", Some(f32::NAN.into()), "a finite f32 above 0"),
        ("llama.attention.layer_norm_rms_epsilon", Some((-1f32).into()), "a finite f32 above 0"),
        ("llama.attention.layer_norm_rms_epsilon", Some(1e-5f64.into()), "a finite f32 above 0"),
        ("llama.expert_count", Some(1025u32.into()), "at most 1024"),
        ("llama.expert_count", Some(8u32.into()), "expert_used_count is missing; it must be 1 to 8"),
        ("llama.expert_used_count", Some(2u32.into()), "at most expert_count, 0"),
        ("llama.expert_group_count", Some(2u32.into()), "0 without experts"),
        ("llama.full_attention_interval", Some(0u32.into()), "more than 0"),
        ("tokenizer.ggml.model", None, "tokenizer.ggml.model is missing"),
        ("tokenizer.ggml.model", Some("sentence".into()), "tokenizer \"sentence\" is not known"),
        ("tokenizer.ggml.tokens", None, "tokenizer.ggml.tokens is missing"),
        ("tokenizer.ggml.tokens", Some(Strings::new().into()), "has 0 elements"),
        ("tokenizer.ggml.tokens", Some(Strings::from_iter(["a"; 40]).into()), "token 1, \"a\", occurs twice"),
        ("tokenizer.ggml.tokens", Some(empty_twice.into()), "accepted"),
        ("tokenizer.ggml.tokens", Some(cut.into()), "occurs twice"),
        ("tokenizer.ggml.tokens", Some(collision.into()), "[EMPTY_0]"),
        ("tokenizer.ggml.token_type", Some(vec![1i32; 39].into()), "token_type has fewer elements"),
        ("tokenizer.ggml.scores", Some(vec![1f32; 39].into()), "scores has fewer elements"),
        ("tokenizer.ggml.scores", Some(vec![1f32; 41].into()), "accepted"),
        ("tokenizer.ggml.merges", None, "tokenizer.ggml.merges is missing"),
        (
            "tokenizer.ggml.merges",
            Some(Strings::from_iter(["a b", " b"]).into()),
            "element 1 of tokenizer.ggml.merges",
        ),
        (
            "tokenizer.ggml.bos_token_id",
            Some(40u32.into()),
            "bos_token_id is 40; the vocabulary has 40 tokens",
        ),
        ("tokenizer.ggml.eos_token_id", Some(u32::MAX.into()), "accepted"),
        ("tokenizer.ggml.padding_token_id", Some(40u32.into()), "accepted"),
        ("tokenizer.ggml.bos_token_id", Some(1i32.into()), "bos_token_id has type i32; it must be u32"),
        ("general.alignment", Some(8u32.into()), "accepted|ggml needs multiples of 32"),
    ];
    for (key, value, want) in cases {
        let mut kv = llama();
        kv.retain(|(k, _)| k != key);
        kv.extend(value.clone().map(|v| (key.to_string(), v)));
        let got = checked(&kv).map_or_else(|e| e.to_string(), |()| "accepted".into());
        assert!(want.split('|').any(|w| got.contains(w)), "{key} = {value:?}: wanted {want:?}, got {got:?}");
    }
}

#[test]
fn several_contradictions() {
    let with = |more: &[(&str, Value)]| {
        let mut kv = llama();
        kv.retain(|(k, _)| more.iter().all(|(m, _)| m != k));
        kv.extend(more.iter().map(|(k, v)| (k.to_string(), v.clone())));
        checked(&kv).map_or_else(|e| e.to_string(), |()| "accepted".into())
    };
    let experts = |groups: u32, used: u32| {
        with(&[
            ("llama.expert_count", 8u32.into()),
            ("llama.expert_used_count", 2u32.into()),
            ("llama.expert_group_count", groups.into()),
            ("llama.expert_group_used_count", used.into()),
        ])
    };
    assert_eq!(experts(4, 2), "accepted");
    assert!(experts(8, 2).contains("less than expert_count, 8"));
    assert!(experts(3, 2).contains("a divisor of 8"));
    assert!(experts(4, 4).contains("less than expert_group_count, 4"));
    // A tokenizer that adds a token which does not exist: tokenize() would abort.
    let bert =
        |more: &[(&str, Value)]| with(&[&[("tokenizer.ggml.model", Value::from("bert"))], more].concat());
    assert!(bert(&[]).contains("seperator_token_id is missing"), "{}", bert(&[]));
    assert_eq!(bert(&[("tokenizer.ggml.seperator_token_id", 3u32.into())]), "accepted");
    // A vocabulary of dummies must not be larger than the embedding: llama.cpp allocates it.
    let none = |n: u32| with(&[("tokenizer.ggml.model", "none".into()), ("llama.vocab_size", n.into())]);
    assert_eq!(none(40), "accepted");
    assert!(none(u32::MAX).contains("llama.vocab_size is 4294967295; it must be at most 40"));
}

#[test]
fn tensors_that_contradict_the_metadata() {
    let check = |tensors: &[(&str, TensorType, &[u64])]| {
        let g = Gguf::from_bytes(&file(&llama(), tensors), "t").unwrap();
        g.validate_for_llama().map_or_else(|e| e.to_string(), |()| "accepted".into())
    };
    assert!(
        check(&[("token_embd.weight", TensorType::F32, &[256, 41]), ("blk.0.x", TensorType::F32, &[1])])
            .contains("token_embd.weight has 41 rows for 40 tokens")
    );
    assert!(check(&[("blk.x.y", TensorType::F32, &[1])]).contains("belongs to no layer"));
    assert!(check(&[("output.weight", TensorType::F32, &[1])]).contains("no tensors of layers"));
    assert!(check(&[("blk.0.x", TensorType::F32, &[0, 4])]).contains("no elements"));
    assert_eq!(check(&[]), "accepted", "a file may hold a vocabulary only");
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let mut w = Writer::new();
    assert!(w.set("", 1u32).unwrap_err().to_string().contains("empty"));
    w.set("k", 1u32).unwrap();
    assert!(w.set("k", 2u32).unwrap_err().to_string().contains("twice"));
    assert!(w.set("general.alignment", 24u32).is_err());
    assert!(w.set("general.alignment", 32u64).is_err());
    assert!(w.tensor("t", TensorType::Q4_K, &[255], |_| Ok(())).is_err());
    assert!(w.tensor("t", TensorType::F32, &[1; 5], |_| Ok(())).is_err());
    assert!(w.tensor(&"n".repeat(64), TensorType::F32, &[1], |_| Ok(())).is_err());
    w.tensor("t", TensorType::F32, &[1], |out| out.write_all(&[0; 3])).unwrap();
    assert!(w.tensor("t", TensorType::F32, &[1], |_| Ok(())).is_err());
    let e = w.write_to(std::io::sink(), "out.gguf".as_ref()).unwrap_err();
    assert_eq!(e.to_string(), "tensor data: \"t\" got 3 bytes; its shape takes 4");
}

#[test]
fn a_file_on_disk_holds_the_data_at_the_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    let mut w = Writer::new();
    w.set("general.architecture", "llama").unwrap().set("general.alignment", 256u32).unwrap();
    w.tensor("a", TensorType::I8, &[5], |out| out.write_all(b"hello")).unwrap();
    w.tensor_from("b", TensorType::I8, &[6], &b"tensor"[..]).unwrap();
    w.write_file(&path).unwrap();
    let (g, bytes) = (Gguf::open(&path).unwrap(), fs::read(&path).unwrap());
    for (name, want) in [("a", &b"hello"[..]), ("b", b"tensor")] {
        let at = usize::try_from(g.tensor(name).unwrap().offset).unwrap();
        assert_eq!(&bytes[at..at + want.len()], want);
        assert_eq!(at % 256, 0);
    }
    assert_eq!(g.path(), path);
}

fn values() -> impl Strategy<Value = Value> {
    use proptest::collection::vec;
    let scalar = prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        any::<f32>().prop_map(Value::F32),
        any::<bool>().prop_map(Value::Bool),
        vec(any::<u8>(), 0..40).prop_map(|s| Value::String(s.into())),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        any::<f64>().prop_map(Value::F64),
    ];
    let array = prop_oneof![
        vec(any::<u8>(), 0..9).prop_map(Value::from),
        vec(any::<i8>(), 0..9).prop_map(Value::from),
        vec(any::<u16>(), 0..9).prop_map(Value::from),
        vec(any::<i16>(), 0..9).prop_map(Value::from),
        vec(any::<u32>(), 0..9).prop_map(Value::from),
        vec(any::<i32>(), 0..9).prop_map(Value::from),
        vec(any::<f32>(), 0..9000).prop_map(Value::from),
        vec(any::<bool>(), 0..9).prop_map(Value::from),
        vec(vec(any::<u8>(), 0..9), 0..9).prop_map(|s| Value::from(Strings::from_iter(s))),
        vec(any::<u64>(), 0..9).prop_map(Value::from),
        vec(any::<i64>(), 0..9).prop_map(Value::from),
        vec(any::<f64>(), 0..9).prop_map(Value::from),
    ];
    prop_oneof![scalar, array]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_written_is_read(
        metadata in proptest::collection::btree_map("[a-z][a-z0-9_.]{0,20}", values(), 0..12),
        tensors in proptest::collection::btree_map(
            "[a-z]{1,63}",
            (proptest::sample::select(TensorType::ALL), 0u64..4, proptest::collection::vec(0u64..4, 0..4)),
            0..6,
        ),
        alignment in proptest::option::of(0u32..12),
    ) {
        let mut w = Writer::new();
        w.set("general.architecture", "llama").unwrap();
        if let Some(bits) = alignment {
            w.set("general.alignment", 1u32 << bits).unwrap();
        }
        for (k, v) in &metadata {
            w.set(k, v.clone()).unwrap();
        }
        let mut data = Vec::new();
        for (i, (name, (kind, blocks, more))) in tensors.iter().enumerate() {
            let dims: Vec<u64> = std::iter::once(blocks * kind.block_len()).chain(more.iter().copied()).collect();
            let size = blocks * kind.block_bytes() * more.iter().product::<u64>();
            let fill = vec![u8::try_from(i + 1).unwrap(); usize::try_from(size).unwrap()];
            data.push((name.clone(), *kind, dims.clone(), fill.clone()));
            w.tensor(name, *kind, &dims, move |out| out.write_all(&fill)).unwrap();
        }
        let mut bytes = Vec::new();
        w.write_to(&mut bytes, "memory".as_ref()).unwrap();
        let g = Gguf::from_bytes(&bytes, "memory").unwrap();
        for (k, v) in &metadata {
            // Debug, as NaN is not equal to itself; the bits of floats come through as text.
            prop_assert_eq!(format!("{:?}", g.get(k)), format!("{:?}", Some(v)));
        }
        prop_assert_eq!(g.metadata().len(), metadata.len() + 1 + usize::from(alignment.is_some()));
        prop_assert_eq!(g.tensors().len(), data.len());
        for (t, (name, kind, dims, fill)) in g.tensors().iter().zip(&data) {
            prop_assert_eq!((&t.name, t.kind, &t.dims[..]), (name, *kind, &dims[..]));
            let at = usize::try_from(t.offset).unwrap();
            prop_assert_eq!(&bytes[at..at + fill.len()], &fill[..]);
            prop_assert_eq!(t.size_bytes, fill.len() as u64);
        }
    }
}
