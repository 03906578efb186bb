//! A model that can be changed before it is written: metadata and tensors with their data.

use inferno::gguf::{Gguf, Strings, TensorType, Value, Writer};
use std::{collections::HashSet, io::Write, path::Path, sync::Arc};

/// Beyond this a mutated tensor is not written: the harness looks for crashes, not for full disks.
const MOST_BYTES: u64 = 64 << 20;

/// xorshift64*: the same cases on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng(0x9e37_79b9_7f4a_7c15 ^ (seed + 1).wrapping_mul(0xd134_2543_de82_ef95));
        rng.next();
        rng
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from((self.next() >> 16) % (n.max(1) as u64)).unwrap()
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// What the bytes of a tensor are.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    /// These, over and over.
    Bytes(Arc<Vec<u8>>),
    /// About N(0, 0.05) where the type is f32; blocks whose scales are small where it is not.
    Weights,
}

#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) kind: TensorType,
    pub(crate) dims: Vec<u64>,
    pub(crate) data: Data,
}

#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) kv: Vec<(String, Value)>,
    pub(crate) tensors: Vec<Tensor>,
    /// Bytes cut off the end of the file.
    pub(crate) cut: usize,
}

impl Model {
    pub(crate) fn open(path: &Path) -> Model {
        let gguf = Gguf::open(path).unwrap();
        let bytes = std::fs::read(path).unwrap();
        let at = |n: u64| usize::try_from(n).unwrap();
        Model {
            kv: gguf.metadata().map(|(k, v)| (k.to_owned(), v.clone())).collect(),
            tensors: gguf
                .tensors()
                .iter()
                .map(|t| Tensor {
                    name: t.name.clone(),
                    kind: t.kind,
                    dims: t.dims.to_vec(),
                    data: Data::Bytes(Arc::new(bytes[at(t.offset)..at(t.offset + t.size_bytes)].to_vec())),
                })
                .collect(),
            cut: 0,
        }
    }

    /// Two layers, a width of 64, four heads and 300 tokens, of which the first 256 are bytes; without tensors.
    pub(crate) fn bare(arch: &str) -> Model {
        let mut model = Model { kv: vec![], tensors: vec![], cut: 0 };
        model.set("general.architecture", arch);
        for (suffix, value) in [
            ("block_count", 2u32),
            ("context_length", 256),
            ("embedding_length", 64),
            ("feed_forward_length", 96),
            ("attention.head_count", 4),
            ("attention.head_count_kv", 2),
        ] {
            model.set(&format!("{arch}.{suffix}"), value);
        }
        model.set(&format!("{arch}.attention.layer_norm_rms_epsilon"), 1e-5f32);
        model.set(&format!("{arch}.attention.layer_norm_epsilon"), 1e-5f32);
        model.tokenizer("gpt2", "gpt-2");
        model
    }

    /// A vocabulary of 300 tokens for a kind of tokenizer.
    pub(crate) fn tokenizer(&mut self, kind: &str, pre: &str) {
        let mut tokens: Vec<Vec<u8>> = vec![];
        for byte in 0..=255u8 {
            tokens.push(match kind {
                "llama" | "plamo2" | "gemma4" => format!("<0x{byte:02X}>").into_bytes(),
                "rwkv" => format!("\\x{byte:02x}").into_bytes(),
                _ => byte_char(byte).to_string().into_bytes(),
            });
        }
        for special in ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "[CLS]", "[SEP]"] {
            tokens.push(special.as_bytes().to_vec());
        }
        for i in tokens.len()..300 {
            let a = char::from(b'a' + u8::try_from(i % 26).unwrap());
            let b = char::from(b'a' + u8::try_from(i / 26).unwrap());
            tokens.push(match kind {
                "llama" | "t5" | "bert" => format!("\u{2581}{a}{b}").into_bytes(),
                _ => format!("{a}{b}").into_bytes(),
            });
        }
        let types: Vec<i32> = (0..300)
            .map(|i| match i {
                0..256 if matches!(kind, "llama" | "plamo2" | "gemma4") => 6,
                256 => 2,
                257..263 => 3,
                _ => 1,
            })
            .collect();
        self.set("tokenizer.ggml.model", kind);
        self.set("tokenizer.ggml.pre", pre);
        self.set("tokenizer.ggml.merges", Strings::from_iter(["a b", "c d", "ab cd"]));
        self.set("tokenizer.ggml.tokens", tokens.iter().collect::<Strings>());
        self.set("tokenizer.ggml.token_type", types);
        self.set("tokenizer.ggml.scores", (0..300u16).map(|i| -f32::from(i)).collect::<Vec<_>>());
        for (name, id) in [("unknown", 256u32), ("bos", 257), ("eos", 258), ("cls", 261), ("seperator", 262)]
        {
            self.set(&format!("tokenizer.ggml.{name}_token_id"), id);
        }
    }

    pub(crate) fn arch(&self) -> String {
        match self.get("general.architecture") {
            Some(v) => v.as_str().unwrap_or_default().to_owned(),
            None => String::new(),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.kv.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    pub(crate) fn set(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        match self.kv.iter_mut().find(|(k, _)| k == key) {
            Some((_, v)) => *v = value,
            None => self.kv.push((key.to_owned(), value)),
        }
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.kv.retain(|(k, _)| k != key);
    }

    pub(crate) fn tensor(&mut self, name: &str) -> Option<&mut Tensor> {
        self.tensors.iter_mut().find(|t| t.name == name)
    }

    pub(crate) fn put(&mut self, name: &str, kind: TensorType, dims: &[u64]) {
        self.tensors.retain(|t| t.name != name);
        self.tensors.push(Tensor { name: name.into(), kind, dims: dims.into(), data: Data::Weights });
    }

    /// Writes the file. False where it would be absurdly large or our own writer refuses it.
    pub(crate) fn write(&self, path: &Path) -> bool {
        let mut writer = Writer::new();
        let mut keys = HashSet::new();
        for (key, value) in &self.kv {
            if keys.insert(key) && writer.set(key, value.clone()).is_err() {
                return false;
            }
        }
        let mut total = 0u64;
        for (i, t) in self.tensors.iter().enumerate() {
            let elements = t.dims.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
            let Some(size) = elements.map(|n| n / t.kind.block_len() * t.kind.block_bytes()) else {
                return false;
            };
            total = total.saturating_add(size);
            if total > MOST_BYTES {
                return false;
            }
            let (data, kind) = (t.data.clone(), t.kind);
            let fill = move |out: &mut dyn Write| fill(out, &data, kind, size, i as u64);
            if writer.tensor(&t.name, t.kind, &t.dims, fill).is_err() {
                return false;
            }
        }
        let mut out = vec![];
        if writer.write_to(&mut out, path).is_err() {
            return false;
        }
        out.truncate(out.len().saturating_sub(self.cut));
        std::fs::write(path, out).unwrap();
        true
    }
}

/// GPT-2's printable character for a byte.
fn byte_char(byte: u8) -> char {
    let printable = |b: u8| matches!(b, 33..=126 | 161..=172 | 174..=255);
    if printable(byte) {
        return char::from(byte);
    }
    let rank = (0..byte).filter(|&b| !printable(b)).count();
    char::from_u32(256 + u32::try_from(rank).unwrap()).unwrap()
}

fn fill(out: &mut dyn Write, data: &Data, kind: TensorType, size: u64, seed: u64) -> std::io::Result<()> {
    let size = usize::try_from(size).unwrap();
    let mut bytes = Vec::with_capacity(size + 256);
    match data {
        Data::Bytes(piece) if piece.is_empty() => bytes.resize(size, 0),
        Data::Bytes(piece) => {
            while bytes.len() < size {
                let n = piece.len().min(size - bytes.len());
                bytes.extend_from_slice(&piece[..n]);
            }
        }
        Data::Weights => {
            let mut rng = Rng::new(seed);
            while bytes.len() < size {
                let small = f32::from(i8::try_from(rng.next() & 0x7f).unwrap() - 63) / 1000.0;
                match kind {
                    TensorType::F32 => bytes.extend(small.to_le_bytes()),
                    // a half below 2^-8 in every other byte pair keeps scales small, wherever a block has them
                    _ => bytes.extend([u8::try_from(rng.next() & 0xff).unwrap(), 0x1c]),
                }
            }
        }
    }
    bytes.truncate(size);
    out.write_all(&bytes)
}
