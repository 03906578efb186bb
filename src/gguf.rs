//! GGUF files in pure Rust: a reader that checks a file completely before C++ sees it, what can be
//! told about a model from its header, and a writer.
//!
//! [`Gguf::open`] reads the header only (metadata and tensor descriptions) and checks it against
//! the length of the file; [`Gguf::validate_for_llama`] checks what llama.cpp would assert on when
//! it loads the model. What a header costs in memory is a small multiple of its size in the file
//! ([`Gguf::heap_bytes`]), whatever the header claims.
//!
//! ```
//! use inferno::gguf::{Gguf, TensorType, Writer};
//! # fn main() -> inferno::Result<()> {
//! let mut writer = Writer::new();
//! writer.set("general.architecture", "llama")?;
//! writer.tensor("output_norm.weight", TensorType::F32, &[2], |out| out.write_all(&[0; 8]))?;
//! let mut file = Vec::new();
//! writer.write_to(&mut file, "memory".as_ref())?;
//!
//! let model = Gguf::from_bytes(&file, "memory")?;
//! assert_eq!(model.architecture(), Some("llama"));
//! assert_eq!(model.tensors()[0].size_bytes, 8);
//! # Ok(())
//! # }
//! ```

mod archs;
mod hints;
mod llama;
mod reader;
mod tensor;
mod value;
mod writer;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

pub use tensor::{Dims, TensorInfo, TensorType};
pub use value::{Array, Strings, Value};
pub use writer::Writer;

use crate::error::{Error, Result};

/// The header of a GGUF file that passed all checks of its form.
#[derive(Debug, Clone)]
pub struct Gguf {
    path: PathBuf,
    version: u32,
    alignment: u32,
    file_bytes: u64,
    data_offset: u64,
    entries: Vec<Entry>,
    /// Positions in `entries`, ordered by key.
    by_key: Vec<u32>,
    tensors: Vec<TensorInfo>,
    /// Positions in `tensors`, ordered by name.
    by_name: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Entry {
    key: Box<str>,
    value: Value,
    /// Where the entry starts in the file.
    offset: u64,
}

/// A number that a model has once for all layers, or one per layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PerLayer {
    /// The same for every layer.
    Same(u64),
    /// One per layer, in order.
    Each(Vec<u64>),
}

impl PerLayer {
    /// The number of one layer; `None` past the end of a list.
    pub fn get(&self, layer: usize) -> Option<u64> {
        match self {
            PerLayer::Same(v) => Some(*v),
            PerLayer::Each(v) => v.get(layer).copied(),
        }
    }

    /// The largest number; 0 for an empty list.
    pub fn max(&self) -> u64 {
        match self {
            PerLayer::Same(v) => *v,
            PerLayer::Each(v) => v.iter().copied().max().unwrap_or(0),
        }
    }
}

/// The place of a file in a model that is split into several (`split.no`, `split.count`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// Which file this is, from 0.
    pub index: u16,
    /// How many files there are.
    pub count: u16,
}

impl Gguf {
    /// Reads and checks the header of a file.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::InvalidGguf`] with the place and the reason
    /// when it is not a well-formed GGUF file, [`Error::UnsupportedModel`] for a version, a byte
    /// order or a tensor type that llama.cpp does not read (any more).
    pub fn open(path: impl AsRef<Path>) -> Result<Gguf> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
        let meta = file.metadata().map_err(|e| Error::io("read", path, e))?;
        if !meta.is_file() {
            let what = if meta.is_dir() { "it is a directory" } else { "it is not a regular file" };
            return Err(Error::InvalidGguf { path: path.into(), what: what.into(), offset: 0 });
        }
        Gguf::parse(BufReader::with_capacity(64 * 1024, file), meta.len(), path)
    }

    /// Reads and checks a header from the start of `reader`; `len` is the length of the whole file
    /// in bytes, and `path` names it in errors.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn parse(reader: impl Read, len: u64, path: impl AsRef<Path>) -> Result<Gguf> {
        reader::read(reader, len, path.as_ref())
    }

    /// Reads and checks a header from a file in memory; `name` stands for the path in errors.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn from_bytes(bytes: &[u8], name: impl AsRef<Path>) -> Result<Gguf> {
        Gguf::parse(bytes, bytes.len() as u64, name)
    }

    /// The path it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The length of the file in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Where the tensor data starts, in bytes from the start of the file.
    pub fn data_offset(&self) -> u64 {
        self.data_offset
    }

    /// The metadata in the order of the file.
    pub fn metadata(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|e| (&*e.key, &e.value))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entry(key).map(|e| &e.value)
    }

    /// The value of a key that holds any integer type and is not negative.
    pub fn get_u64(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_u64()
    }

    /// The value of a key that holds either floating-point type.
    pub fn get_f64(&self, key: &str) -> Option<f64> {
        self.get(key)?.as_f64()
    }

    /// The value of a key that holds a bool.
    pub fn get_bool(&self, key: &str) -> Option<bool> {
        self.get(key)?.as_bool()
    }

    /// The value of a key that holds UTF-8 text.
    pub fn get_str(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// The value of a key that holds an array.
    pub fn get_array(&self, key: &str) -> Option<&Array> {
        self.get(key)?.as_array()
    }

    /// The tensors in the order of the file. Their data lies inside the file and does not overlap.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor with this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        find(&self.tensors, &self.by_name, name, |t| &t.name)
    }

    /// `general.architecture`: `llama`, `qwen3` … `None` only for the second and later files of a
    /// split model and for importance matrices.
    pub fn architecture(&self) -> Option<&str> {
        self.get_str("general.architecture")
    }

    /// `general.name`.
    pub fn name(&self) -> Option<&str> {
        self.get_str("general.name")
    }

    /// The number of elements of all tensors in this file.
    pub fn parameter_count(&self) -> u64 {
        self.tensors.iter().fold(0, |n, t| n.saturating_add(t.elements()))
    }

    /// Bytes of all tensors in this file, without padding.
    pub fn tensor_bytes(&self) -> u64 {
        self.tensors.iter().map(|t| t.size_bytes).sum() // at most the length of the file
    }

    /// The quantisation by its usual name, for example `Q4_K_M`: from `general.file_type`
    /// (`enum llama_ftype`, llama.h), else the type that takes the most bytes.
    /// `None` when the file holds neither.
    pub fn quantisation(&self) -> Option<String> {
        if let Some(name) = self.get_u64("general.file_type").and_then(file_type_name) {
            return Some(name.into());
        }
        let bytes = |kind| self.tensors.iter().filter(|t| t.kind == kind).map(|t| t.size_bytes).sum::<u64>();
        let (bytes, kind) = TensorType::ALL.iter().map(|&k| (bytes(k), k)).max_by_key(|&(b, _)| b)?;
        (bytes > 0).then(|| kind.name().to_uppercase())
    }

    /// The context that the model was trained for, in tokens.
    pub fn context_length(&self) -> Option<u64> {
        self.arch_u64("context_length")
    }

    /// The width of the residual stream.
    pub fn embedding_length(&self) -> Option<u64> {
        self.arch_u64("embedding_length")
    }

    /// The number of layers, those for multi-token prediction included.
    pub fn block_count(&self) -> Option<u64> {
        self.arch_u64("block_count")
    }

    /// The number of attention heads.
    pub fn head_count(&self) -> Option<PerLayer> {
        self.arch_per_layer("attention.head_count")
    }

    /// The number of key-value heads; where the file has none, that of the attention heads, as in
    /// llama.cpp. 0 in layers without attention.
    pub fn head_count_kv(&self) -> Option<PerLayer> {
        self.arch_per_layer("attention.head_count_kv").or_else(|| self.head_count())
    }

    /// The number of tokens in the vocabulary: of `tokenizer.ggml.tokens`, else `{arch}.vocab_size`.
    pub fn vocab_size(&self) -> Option<u64> {
        match self.get_array("tokenizer.ggml.tokens") {
            Some(tokens) => Some(tokens.len() as u64),
            None => self.arch_u64("vocab_size"),
        }
    }

    /// The chat template (Jinja), where the model brings one.
    pub fn chat_template(&self) -> Option<&str> {
        self.get_str("tokenizer.chat_template")
    }

    /// Which part of a split model this is; `None` for a model in one file.
    pub fn split(&self) -> Option<Split> {
        let number = |key| u16::try_from(self.get_u64(key)?).ok();
        let count = number("split.count").filter(|&n| n > 1)?;
        Some(Split { index: number("split.no").unwrap_or(0), count })
    }

    /// An estimate of the KV cache for one sequence of `n_ctx` tokens, in bytes.
    ///
    /// The formula of `llama_kv_cache` (llama-kv-cache.cpp): per layer, `n_ctx` rows of
    /// `head_count_kv · key_length` elements of `type_k` and of `head_count_kv · value_length` of
    /// `type_v`; `n_ctx` is rounded up to 256 as in `llama_context`. Lengths default to
    /// `embedding_length / head_count` of the first layer. With multi-head latent attention
    /// (`key_length_mla`) there is no V. An upper estimate: sliding windows are ignored, as are
    /// layers that share a cache, and hybrid models are seen as such only when their
    /// `head_count_kv` is 0 in the recurrent layers. The state of recurrent layers is not counted.
    ///
    /// `None` when the header lacks a number, a row is not whole blocks of its type, there are
    /// more layers than llama.cpp allows (512), or the size does not fit 64 bits.
    pub fn kv_cache_bytes(&self, n_ctx: u64, type_k: TensorType, type_v: TensorType) -> Option<u64> {
        let layers = self.block_count().filter(|&n| n <= llama::MAX_LAYERS)?;
        let heads_kv = self.head_count_kv()?;
        let head_len = || match self.head_count()?.get(0)? {
            0 => Some(0),
            heads => Some(self.embedding_length()? / heads),
        };
        let key_len = self.arch_u64("attention.key_length").or_else(head_len)?;
        let value_len = match self.arch_u64("attention.key_length_mla") {
            Some(_) => 0,
            None => self.arch_u64("attention.value_length").or_else(head_len)?,
        };
        let n_ctx = n_ctx.checked_next_multiple_of(256)?;
        let mut total = 0u64;
        for layer in 0..usize::try_from(layers).ok()? {
            let heads = heads_kv.get(layer)?;
            let row = type_k
                .row_bytes(heads.checked_mul(key_len)?)?
                .checked_add(type_v.row_bytes(heads.checked_mul(value_len)?)?)?;
            total = total.checked_add(row.checked_mul(n_ctx)?)?;
        }
        Some(total)
    }

    /// Bytes that this value holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.path.capacity()
            + self.entries.capacity() * size_of::<Entry>()
            + self.entries.iter().map(|e| e.key.len() + e.value.heap_bytes()).sum::<usize>()
            + self.tensors.capacity() * size_of::<TensorInfo>()
            + self.tensors.iter().map(|t| t.name.capacity()).sum::<usize>()
            + (self.by_key.capacity() + self.by_name.capacity()) * size_of::<u32>()
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        find(&self.entries, &self.by_key, key, |e| &e.key)
    }

    fn arch_key(&self, suffix: &str) -> Option<String> {
        Some(format!("{}.{suffix}", self.architecture()?))
    }

    fn arch_u64(&self, suffix: &str) -> Option<u64> {
        self.get_u64(&self.arch_key(suffix)?)
    }

    fn arch_per_layer(&self, suffix: &str) -> Option<PerLayer> {
        match self.get(&self.arch_key(suffix)?)? {
            Value::Array(a) => {
                let each: Option<Vec<u64>> = (0..a.len()).map(|i| a.get_u64(i)).collect();
                Some(PerLayer::Each(each?))
            }
            v => v.as_u64().map(PerLayer::Same),
        }
    }
}

/// Binary search through an index of positions.
fn find<'a, T>(items: &'a [T], order: &[u32], name: &str, name_of: impl Fn(&T) -> &str) -> Option<&'a T> {
    let item = |i: &u32| items.get(usize::try_from(*i).ok()?);
    let found =
        order.binary_search_by(|i| item(i).map_or(std::cmp::Ordering::Less, |t| name_of(t).cmp(name)));
    item(order.get(found.ok()?)?)
}

/// `enum llama_ftype` (llama.h) of the pinned tree, by the names that file names use.
fn file_type_name(id: u64) -> Option<&'static str> {
    Some(match id {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        19 => "IQ2_XXS",
        20 => "IQ2_XS",
        21 => "Q2_K_S",
        22 => "IQ3_XS",
        23 => "IQ3_XXS",
        24 => "IQ1_S",
        25 => "IQ4_NL",
        26 => "IQ3_S",
        27 => "IQ3_M",
        28 => "IQ2_S",
        29 => "IQ2_M",
        30 => "IQ4_XS",
        31 => "IQ1_M",
        32 => "BF16",
        36 => "TQ1_0",
        37 => "TQ2_0",
        38 => "MXFP4_MOE",
        39 => "NVFP4",
        40 => "Q1_0",
        41 => "Q2_0",
        _ => return None,
    })
}
