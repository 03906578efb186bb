//! Reads and checks a GGUF header. At least as strict as `gguf_init_from_reader` (gguf.cpp) of the
//! pinned tree: what passes here meets none of its errors and none of its assertions.

use std::fmt::Display;
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::hints;
use super::tensor::{Dims, TensorInfo, TensorType, tensor_bytes};
use super::value::{Array, Strings, Value};
use super::{Entry, Gguf};
use crate::error::{Error, Result};

/// `GGUF_DEFAULT_ALIGNMENT` (gguf.h).
pub(super) const DEFAULT_ALIGNMENT: u32 = 32;
/// `GGML_MAX_NAME` (ggml.h): names are shorter.
pub(super) const MAX_NAME: usize = 64;
/// The longest key that the GGUF specification allows, in bytes.
pub(super) const MAX_KEY: u64 = 65_535;
/// `GGUF_MAX_STRING_LENGTH` and `GGUF_MAX_ARRAY_ELEMENTS` (gguf.cpp).
const MAX_LEN: u64 = 1 << 30;
/// The largest header that we read. Real ones are below 50 MB; without a limit a sparse file could
/// make us hold gigabytes.
const MAX_HEADER: u64 = 512 << 20;
/// The smallest entries: a key of one byte with a bool; a tensor without a name and dimensions.
const MIN_KV_BYTES: u64 = 8 + 1 + 4 + 1;
const MIN_TENSOR_BYTES: u64 = 8 + 4 + 4 + 8;
/// Names what is being read, for errors; formatted only when there is one.
type What<'a> = &'a dyn Display;

/// How much is read at once into a growing array.
const CHUNK: usize = 16 * 1024;

/// What a well-known key has to hold.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Str,
    U16,
    U32,
    I32,
    F32,
    Bool,
    /// An array of strings.
    Strs,
    /// An array of i32.
    I32s,
    /// An array of f32 or i32.
    Scores,
    /// A u32, or an array with one i32, u32 or bool per layer.
    PerLayer,
}

impl Kind {
    pub(super) fn admits(self, v: &Value) -> bool {
        match self {
            Kind::Str => v.as_str().is_some(),
            Kind::U16 => matches!(v, Value::U16(_)),
            Kind::U32 => matches!(v, Value::U32(_)),
            Kind::I32 => matches!(v, Value::I32(_)),
            Kind::F32 => matches!(v, Value::F32(_)),
            Kind::Bool => matches!(v, Value::Bool(_)),
            Kind::Strs => matches!(v, Value::Array(Array::String(_))),
            Kind::I32s => matches!(v, Value::Array(Array::I32(_))),
            Kind::Scores => matches!(v, Value::Array(Array::F32(_) | Array::I32(_))),
            Kind::PerLayer => {
                matches!(v, Value::U32(_) | Value::Array(Array::U32(_) | Array::I32(_) | Array::Bool(_)))
            }
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Str => "a UTF-8 str",
            Kind::U16 => "u16",
            Kind::U32 => "u32",
            Kind::I32 => "i32",
            Kind::F32 => "f32",
            Kind::Bool => "bool",
            Kind::Strs => "arr[str]",
            Kind::I32s => "arr[i32]",
            Kind::Scores => "arr[f32] or arr[i32]",
            Kind::PerLayer => "u32, or arr[u32] or arr[i32] with one element per layer",
        }
    }
}

/// Keys whose type llama.cpp asserts or throws on, whatever the architecture.
const WELL_KNOWN: &[(&str, Kind)] = &[
    ("general.alignment", Kind::U32),
    ("general.architecture", Kind::Str),
    ("general.file_type", Kind::U32),
    ("general.name", Kind::Str),
    ("general.quantization_version", Kind::U32),
    ("general.type", Kind::Str),
    ("split.count", Kind::U16),
    ("split.no", Kind::U16),
    ("split.tensors.count", Kind::I32),
    ("tokenizer.chat_template", Kind::Str),
    ("tokenizer.ggml.add_bos_token", Kind::Bool),
    ("tokenizer.ggml.add_eos_token", Kind::Bool),
    ("tokenizer.ggml.add_sep_token", Kind::Bool),
    ("tokenizer.ggml.add_space_prefix", Kind::Bool),
    ("tokenizer.ggml.bos_token_id", Kind::U32),
    ("tokenizer.ggml.cls_token_id", Kind::U32),
    ("tokenizer.ggml.eom_token_id", Kind::U32),
    ("tokenizer.ggml.eos_token_id", Kind::U32),
    ("tokenizer.ggml.eot_token_id", Kind::U32),
    ("tokenizer.ggml.fim_mid_token_id", Kind::U32),
    ("tokenizer.ggml.fim_pad_token_id", Kind::U32),
    ("tokenizer.ggml.fim_pre_token_id", Kind::U32),
    ("tokenizer.ggml.fim_rep_token_id", Kind::U32),
    ("tokenizer.ggml.fim_sep_token_id", Kind::U32),
    ("tokenizer.ggml.fim_suf_token_id", Kind::U32),
    ("tokenizer.ggml.mask_token_id", Kind::U32),
    ("tokenizer.ggml.merges", Kind::Strs),
    ("tokenizer.ggml.middle_token_id", Kind::U32),
    ("tokenizer.ggml.model", Kind::Str),
    ("tokenizer.ggml.padding_token_id", Kind::U32),
    ("tokenizer.ggml.pre", Kind::Str),
    ("tokenizer.ggml.prefix_token_id", Kind::U32),
    ("tokenizer.ggml.remove_extra_whitespaces", Kind::Bool),
    ("tokenizer.ggml.scores", Kind::Scores),
    ("tokenizer.ggml.seperator_token_id", Kind::U32),
    ("tokenizer.ggml.suffix_token_id", Kind::U32),
    ("tokenizer.ggml.suppress_tokens", Kind::I32s),
    ("tokenizer.ggml.token_type", Kind::I32s),
    ("tokenizer.ggml.token_type_count", Kind::U32),
    ("tokenizer.ggml.tokens", Kind::Strs),
    ("tokenizer.ggml.unknown_token_id", Kind::U32),
];

/// The header as a stream with a position, that cannot be read beyond the length of the file.
struct Source<'a, R> {
    inner: R,
    pos: u64,
    len: u64,
    path: &'a Path,
}

macro_rules! read_le {
    ($($name:ident -> $t:ty),*) => {$(
        fn $name(&mut self, what: What<'_>) -> Result<$t> {
            let mut b = [0; size_of::<$t>()];
            self.fill(&mut b, what)?;
            Ok(<$t>::from_le_bytes(b))
        }
    )*};
}

/// Reads an array of little-endian numbers in chunks, so that nothing is allocated for elements
/// that the file does not have.
macro_rules! read_array {
    ($src:expr, $n:expr, $what:expr, $t:ty) => {{
        let mut out: Vec<$t> = Vec::new();
        let mut chunk = [0u8; CHUNK];
        let mut left = $src.array_bytes($n, size_of::<$t>() as u64, $what)?;
        while left > 0 {
            let n = left.min(CHUNK);
            $src.fill(&mut chunk[..n], $what)?;
            out.extend(
                chunk[..n]
                    .chunks_exact(size_of::<$t>())
                    .map(|b| <$t>::from_le_bytes(b.try_into().expect("chunks_exact gives whole elements"))),
            );
            left -= n;
        }
        out.shrink_to_fit();
        out
    }};
}

impl<R: Read> Source<'_, R> {
    fn error_at(&self, offset: u64, what: impl Into<String>) -> Error {
        Error::InvalidGguf { path: self.path.into(), what: what.into(), offset }
    }

    fn error(&self, what: impl Into<String>) -> Error {
        self.error_at(self.pos, what)
    }

    fn remaining(&self) -> u64 {
        self.len.saturating_sub(self.pos)
    }

    /// Fails unless `bytes` more bytes may be read.
    fn need(&self, bytes: u64, what: What<'_>) -> Result<()> {
        if bytes > self.remaining() {
            return Err(self.error(format!(
                "the file ends inside {what}: {bytes} bytes are needed and {} are left (an unfinished download?)",
                self.remaining()
            )));
        }
        if self.pos + bytes > MAX_HEADER {
            return Err(
                self.error(format!("{what} would end beyond {MAX_HEADER} bytes, the limit for a header"))
            );
        }
        Ok(())
    }

    fn io(&self, e: std::io::Error, what: What<'_>) -> Error {
        if e.kind() == ErrorKind::UnexpectedEof {
            self.error(format!(
                "the file ends inside {what}, before its reported length of {} bytes",
                self.len
            ))
        } else {
            Error::io("read", self.path, e)
        }
    }

    fn fill(&mut self, buf: &mut [u8], what: What<'_>) -> Result<()> {
        self.need(buf.len() as u64, what)?;
        self.inner.read_exact(buf).map_err(|e| self.io(e, what))?;
        self.pos += buf.len() as u64;
        Ok(())
    }

    read_le!(u8 -> u8, u16 -> u16, u32 -> u32, u64 -> u64, i8 -> i8, i16 -> i16, i32 -> i32, i64 -> i64,
        f32 -> f32, f64 -> f64);

    /// Appends a string to `out`; its length is limited by what is left of the file.
    fn string_into(&mut self, out: &mut Vec<u8>, what: What<'_>) -> Result<()> {
        let at = self.pos;
        let n = self.u64(what)?;
        if n > MAX_LEN {
            return Err(self.error_at(at, format!("the length of {what} is {n}, the limit is {MAX_LEN}")));
        }
        self.need(n, what)?;
        let before = out.len();
        (&mut self.inner).take(n).read_to_end(out).map_err(|e| self.io(e, what))?;
        if (out.len() - before) as u64 != n {
            return Err(self.io(ErrorKind::UnexpectedEof.into(), what));
        }
        self.pos += n;
        Ok(())
    }

    fn string(&mut self, what: What<'_>) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.string_into(&mut out, what)?;
        Ok(out)
    }

    /// Bytes of an array of `n` elements, checked against what is left.
    fn array_bytes(&self, n: u64, size: u64, what: What<'_>) -> Result<usize> {
        if n > MAX_LEN {
            return Err(self.error(format!("the length of {what} is {n}, the limit is {MAX_LEN}")));
        }
        let bytes = n * size; // at most 2^33
        self.need(bytes, what)?;
        usize::try_from(bytes).map_err(|_| self.error(format!("{what} does not fit the address space")))
    }

    fn bool_of(&self, b: u8, at: u64, what: What<'_>) -> Result<bool> {
        match b {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.error_at(at, format!("{what} is a bool with the value {b}; 0 and 1 are valid"))),
        }
    }

    fn value(&mut self, key: &str) -> Result<Value> {
        let what: What<'_> = &format_args!("the value of {key}");
        let at = self.pos;
        let tag = self.i32(what)?;
        Ok(match tag {
            0 => Value::U8(self.u8(what)?),
            1 => Value::I8(self.i8(what)?),
            2 => Value::U16(self.u16(what)?),
            3 => Value::I16(self.i16(what)?),
            4 => Value::U32(self.u32(what)?),
            5 => Value::I32(self.i32(what)?),
            6 => Value::F32(self.f32(what)?),
            7 => {
                let (at, b) = (self.pos, self.u8(what)?);
                Value::Bool(self.bool_of(b, at, what)?)
            }
            8 => Value::String(self.string(what)?.into_boxed_slice()),
            9 => Value::Array(self.array(key, what)?),
            10 => Value::U64(self.u64(what)?),
            11 => Value::I64(self.i64(what)?),
            12 => Value::F64(self.f64(what)?),
            _ => return Err(self.error_at(at, format!("{what} has type {tag}; the types are 0 to 12"))),
        })
    }

    fn array(&mut self, key: &str, what: What<'_>) -> Result<Array> {
        let at = self.pos;
        let tag = self.i32(what)?;
        let n = self.u64(what)?;
        Ok(match tag {
            0 => Array::U8(read_array!(self, n, what, u8)),
            1 => Array::I8(read_array!(self, n, what, i8)),
            2 => Array::U16(read_array!(self, n, what, u16)),
            3 => Array::I16(read_array!(self, n, what, i16)),
            4 => Array::U32(read_array!(self, n, what, u32)),
            5 => Array::I32(read_array!(self, n, what, i32)),
            6 => Array::F32(read_array!(self, n, what, f32)),
            7 => {
                let start = self.pos;
                let bytes = read_array!(self, n, what, u8);
                let mut out = Vec::new();
                for (i, &b) in bytes.iter().enumerate() {
                    out.push(self.bool_of(b, start + i as u64, what)?);
                }
                out.shrink_to_fit();
                Array::Bool(out)
            }
            8 => {
                self.array_bytes(n, 8, what)?;
                let mut out = Strings::new();
                for i in 0..n {
                    self.string_into(out.bytes_mut(), &format_args!("string {i} of {key}"))?;
                    out.close();
                }
                out.shrink();
                Array::String(out)
            }
            10 => Array::U64(read_array!(self, n, what, u64)),
            11 => Array::I64(read_array!(self, n, what, i64)),
            12 => Array::F64(read_array!(self, n, what, f64)),
            9 => {
                return Err(
                    self.error_at(at, format!("{what} is an array of arrays, which llama.cpp does not read"))
                );
            }
            _ => {
                return Err(
                    self.error_at(at, format!("{what} is an array of type {tag}; the types are 0 to 12"))
                );
            }
        })
    }
}

/// What is wrong with a key, if anything. gguf.cpp takes any key that is not empty; the
/// specification limits the length; a NUL would make two keys equal to C code that compares them.
pub(super) fn key_problem(key: &str) -> Option<String> {
    if key.is_empty() {
        return Some("the key is empty".into());
    }
    if key.len() as u64 > MAX_KEY {
        return Some(format!("the key has {} bytes, the limit is {MAX_KEY}", key.len()));
    }
    key.chars().any(char::is_control).then(|| format!("the key {key:?} contains a control character"))
}

/// What is wrong with the name of a tensor, if anything.
pub(super) fn name_problem(name: &str) -> Option<String> {
    if name.len() >= MAX_NAME {
        return Some(format!(
            "the tensor name {name:?} has {} bytes, the limit is {}",
            name.len(),
            MAX_NAME - 1
        ));
    }
    name.chars()
        .any(char::is_control)
        .then(|| format!("the tensor name {name:?} contains a control character"))
}

/// The positions of `items` in the order of their names, and the later one of two that are equal.
fn index<T>(items: &[T], name: impl Fn(&T) -> &str) -> (Vec<u32>, Option<usize>) {
    let mut order: Vec<u32> = (0u32..).take(items.len()).collect();
    let at = |i: u32| usize::try_from(i).expect("a u32 fits a usize on every target of llama.cpp");
    order.sort_unstable_by(|&a, &b| name(&items[at(a)]).cmp(name(&items[at(b)])).then(a.cmp(&b)));
    let double =
        order.windows(2).find(|w| name(&items[at(w[0])]) == name(&items[at(w[1])])).map(|w| at(w[1]));
    (order, double)
}

/// Reads the header of a file of `len` bytes from `inner`, which stands at its start.
pub(super) fn read(mut inner: impl Read, len: u64, path: &Path) -> Result<Gguf> {
    let head = hints::head(&mut inner).map_err(|e| Error::io("read", path, e))?;
    let invalid = |what: String| Error::InvalidGguf { path: path.into(), what, offset: 0 };
    if head.get(..4) != Some(b"GGUF") {
        return Err(invalid(hints::what_is_it(&head, len)));
    }
    let mut src = Source { inner: head.chain(inner), pos: 0, len, path };
    let magic = src.u32(&"the magic")?;
    debug_assert_eq!(magic.to_le_bytes(), *b"GGUF");
    let version = version(&mut src)?;

    let at = src.pos;
    let n_tensors = src.u64(&"the number of tensors")?;
    let n_kv = src.u64(&"the number of metadata entries")?;
    let least =
        u128::from(n_tensors) * u128::from(MIN_TENSOR_BYTES) + u128::from(n_kv) * u128::from(MIN_KV_BYTES);
    if least > u128::from(src.remaining()) {
        return Err(src.error_at(
            at,
            format!(
                "{n_tensors} tensors and {n_kv} metadata entries take at least {least} bytes, and {} are left",
                src.remaining()
            ),
        ));
    }

    let mut entries: Vec<Entry> = Vec::new();
    for i in 0..n_kv {
        let at = src.pos;
        let key = String::from_utf8(src.string(&format_args!("the key of metadata entry {i}"))?)
            .map_err(|e| src.error_at(at, format!("the key of metadata entry {i} is not UTF-8: {e}")))?;
        if let Some(what) = key_problem(&key) {
            return Err(src.error_at(at, format!("metadata entry {i}: {what}")));
        }
        let value = src.value(&key)?;
        if let Ok(k) = WELL_KNOWN.binary_search_by(|(k, _)| (*k).cmp(&key)).map(|i| WELL_KNOWN[i].1)
            && !k.admits(&value)
        {
            return Err(
                src.error_at(at, format!("{key} has type {}; it must be {}", value.type_name(), k.name()))
            );
        }
        entries.push(Entry { key: key.into_boxed_str(), value, offset: at });
    }
    entries.shrink_to_fit();
    let (by_key, double) = index(&entries, |e| &e.key);
    if let Some(i) = double {
        return Err(src.error_at(entries[i].offset, format!("the key {} occurs twice", entries[i].key)));
    }
    let mut gguf = Gguf {
        path: path.into(),
        version,
        alignment: DEFAULT_ALIGNMENT,
        file_bytes: len,
        data_offset: 0,
        entries,
        by_key,
        tensors: Vec::new(),
        by_name: Vec::new(),
    };
    check_general(&mut gguf, &src)?;
    tensors(&mut gguf, &mut src, n_tensors)?;
    Ok(gguf)
}

fn version(src: &mut Source<'_, impl Read>) -> Result<u32> {
    let at = src.pos;
    let version = src.u32(&"the version")?;
    let unsupported = |what: String| Err(Error::UnsupportedModel { path: src.path.into(), what });
    match version {
        2 | 3 => Ok(version),
        0 => Err(src.error_at(at, "version 0 does not exist")),
        1 => unsupported(
            "it is GGUF version 1, which llama.cpp no longer reads; convert the model again".into(),
        ),
        _ if matches!(version.swap_bytes(), 1..=255) => unsupported(format!(
            "it is a big-endian GGUF file (version {}), made for a machine of the other byte order; \
             convert it with gguf_convert_endian.py",
            version.swap_bytes()
        )),
        4..=255 => unsupported(format!("it is GGUF version {version}; this build reads versions 2 and 3")),
        _ => Err(src.error_at(at, format!("version {version} does not exist"))),
    }
}

/// The entries without which a header means nothing: architecture and alignment.
fn check_general(gguf: &mut Gguf, src: &Source<'_, impl Read>) -> Result<()> {
    if let Some(e) = gguf.entry("general.alignment") {
        let alignment = e.value.as_u64().and_then(|a| u32::try_from(a).ok()).unwrap_or(0);
        if !alignment.is_power_of_two() {
            return Err(
                src.error_at(e.offset, format!("general.alignment is {alignment}, which is no power of two"))
            );
        }
        gguf.alignment = alignment;
    }
    // Only the first file of a split model carries the metadata of the model.
    let later_split = gguf.get_u64("split.no").is_some_and(|n| n > 0);
    // An importance matrix has none either, and is told apart by its type.
    let no_model = gguf.get_str("general.type") == Some("imatrix");
    match gguf.architecture() {
        None if !later_split && !no_model => Err(src.error("general.architecture is missing")),
        Some("") => Err(src.error("general.architecture is empty")),
        _ => Ok(()),
    }
}

fn tensors(gguf: &mut Gguf, src: &mut Source<'_, impl Read>, n: u64) -> Result<()> {
    let alignment = u64::from(gguf.alignment);
    let mut tensors: Vec<TensorInfo> = Vec::new();
    let mut offsets: Vec<u64> = Vec::new();
    let mut next = 0u64; // where the next tensor has to start, relative to the data section
    for i in 0..n {
        let at = src.pos;
        offsets.push(at);
        let name = String::from_utf8(src.string(&format_args!("the name of tensor {i}"))?)
            .map_err(|e| src.error_at(at, format!("the name of tensor {i} is not UTF-8: {e}")))?;
        if let Some(what) = name_problem(&name) {
            return Err(src.error_at(at, what));
        }
        let what = &format!("the description of tensor {name:?}");
        let dims_at = src.pos;
        let n_dims = src.u32(what)?;
        let mut dims = [1u64; 4];
        let used = usize::try_from(n_dims).ok().and_then(|n| dims.get_mut(..n)).ok_or_else(|| {
            src.error_at(dims_at, format!("tensor {name:?} has {n_dims} dimensions; the limit is 4"))
        })?;
        for d in used.iter_mut() {
            *d = src.u64(what)?;
        }
        let dims = Dims::new(used).expect("at most four dimensions were read");
        let kind_at = src.pos;
        let id = src.u32(what)?;
        let kind = TensorType::from_id(id).ok_or_else(|| match TensorType::removed(id) {
            Some(removed) => Error::UnsupportedModel {
                path: src.path.into(),
                what: format!("tensor {name:?} has type {id}, {removed}"),
            },
            None => src.error_at(
                kind_at,
                format!(
                    "tensor {name:?} has type {id}, which this build does not know; it knows types up to 42"
                ),
            ),
        })?;
        let size_bytes = tensor_bytes(kind, &dims)
            .map_err(|what| src.error_at(dims_at, format!("tensor {name:?}: {what}")))?;
        let offset_at = src.pos;
        let offset = src.u64(what)?;
        if offset != next {
            return Err(src.error_at(
                offset_at,
                format!(
                    "the data of tensor {name:?} starts at {offset} of the data section; \
                     after the tensors before it, it has to start at {next}"
                ),
            ));
        }
        next = size_bytes
            .checked_next_multiple_of(alignment)
            .and_then(|padded| next.checked_add(padded))
            .ok_or_else(|| {
                src.error_at(dims_at, format!("the tensors up to {name:?} take more than 2^64 bytes"))
            })?;
        tensors.push(TensorInfo { name, dims, kind, offset, size_bytes });
    }
    tensors.shrink_to_fit();
    let (by_name, double) = index(&tensors, |t| &t.name);
    if let Some(i) = double {
        return Err(src.error_at(offsets[i], format!("the tensor name {:?} occurs twice", tensors[i].name)));
    }
    drop(offsets);

    let end = src.pos;
    let data = if n == 0 { end } else { end.next_multiple_of(alignment) };
    for t in &mut tensors {
        let fits =
            data.checked_add(t.offset).and_then(|start| Some((start, start.checked_add(t.size_bytes)?)));
        let Some((start, _)) = fits.filter(|&(_, stop)| stop <= src.len) else {
            let missing = (u128::from(data) + u128::from(t.offset) + u128::from(t.size_bytes))
                .saturating_sub(u128::from(src.len));
            let total = (u128::from(data) + u128::from(next)).saturating_sub(u128::from(src.len));
            return Err(src.error_at(
                src.len,
                format!(
                    "the file ends before the data of tensor {:?}: {missing} bytes of it are missing, and about \
                     {total} bytes of the whole file (an unfinished download?)",
                    t.name
                ),
            ));
        };
        t.offset = start;
    }
    if data > src.len {
        return Err(src.error("the file ends before the data section"));
    }
    gguf.data_offset = data;
    gguf.tensors = tensors;
    gguf.by_name = by_name;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_keys_can_be_searched() {
        assert!(WELL_KNOWN.is_sorted_by_key(|(k, _)| *k));
    }

    #[test]
    fn an_index_finds_the_later_double() {
        assert_eq!(index(&["b", "a", "c"], |s| s), (vec![1, 0, 2], None));
        assert_eq!(index(&["b", "a", "b"], |s| s).1, Some(2));
    }
}
