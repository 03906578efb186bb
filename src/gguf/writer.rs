//! Writes GGUF files, version 3. Tensor data is streamed, so that size costs no memory.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use super::reader::{DEFAULT_ALIGNMENT, key_problem, name_problem};
use super::tensor::{Dims, TensorType, tensor_bytes};
use super::value::{Array, Value};
use crate::error::{Error, Result};

type Fill<'a> = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + 'a>;

/// Collects metadata and tensors, then writes them as one file.
pub struct Writer<'a> {
    entries: Vec<(String, Value)>,
    keys: HashSet<String>,
    tensors: Vec<Tensor<'a>>,
    names: HashSet<String>,
}

struct Tensor<'a> {
    name: String,
    kind: TensorType,
    dims: Dims,
    bytes: u64,
    fill: Fill<'a>,
}

impl<'a> Writer<'a> {
    /// A file with nothing in it.
    pub fn new() -> Writer<'a> {
        Writer { entries: Vec::new(), keys: HashSet::new(), tensors: Vec::new(), names: HashSet::new() }
    }

    /// Appends a metadata entry. `general.alignment` (u32) also sets the alignment of the tensors.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] for a key that is malformed or already set, and for an alignment
    /// that is no power of two.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) -> Result<&mut Self> {
        let value = value.into();
        if let Some(what) = key_problem(key) {
            return Err(Error::request("metadata", what));
        }
        if key == "general.alignment" && !matches!(value, Value::U32(a) if a.is_power_of_two()) {
            return Err(Error::request(
                "metadata",
                format!("{key} is {value:?}; it must be a u32 and a power of two"),
            ));
        }
        if !self.keys.insert(key.into()) {
            return Err(Error::request("metadata", format!("the key {key} is set twice")));
        }
        self.entries.push((key.into(), value));
        Ok(self)
    }

    /// Appends a tensor. `fill` is called when the file is written, in the order of the tensors, and
    /// has to write exactly the bytes that `kind` and `dims` make.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] for a name that is malformed or taken, more than four dimensions,
    /// rows that are not whole blocks, and sizes beyond 64 bits.
    pub fn tensor(
        &mut self,
        name: &str,
        kind: TensorType,
        dims: &[u64],
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()> + 'a,
    ) -> Result<&mut Self> {
        let wrong = |what: String| Error::request("tensor", format!("{name:?}: {what}"));
        if let Some(what) = name_problem(name) {
            return Err(wrong(what));
        }
        let shape =
            Dims::new(dims).ok_or_else(|| wrong(format!("{} dimensions; the limit is 4", dims.len())))?;
        let bytes = tensor_bytes(kind, &shape).map_err(wrong)?;
        if !self.names.insert(name.into()) {
            return Err(wrong("the name is taken".into()));
        }
        self.tensors.push(Tensor { name: name.into(), kind, dims: shape, bytes, fill: Box::new(fill) });
        Ok(self)
    }

    /// As [`Writer::tensor`], with the data read to the end of `from`.
    ///
    /// # Errors
    /// As [`Writer::tensor`].
    pub fn tensor_from(
        &mut self,
        name: &str,
        kind: TensorType,
        dims: &[u64],
        mut from: impl Read + 'a,
    ) -> Result<&mut Self> {
        self.tensor(name, kind, dims, move |out| io::copy(&mut from, out).map(drop))
    }

    /// Creates the file, or replaces it, and writes everything. A failure leaves a partial file.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::InvalidRequest`] when the data of a tensor has another size than
    /// its shape says.
    pub fn write_file(self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let file = File::create(path).map_err(|e| Error::io("create", path, e))?;
        self.write_to(BufWriter::with_capacity(1 << 20, file), path)
    }

    /// Writes everything to `out`; `path` names the destination in errors.
    ///
    /// # Errors
    /// As [`Writer::write_file`].
    pub fn write_to(self, out: impl Write, path: &Path) -> Result<()> {
        let io = |e| Error::io("write", path, e);
        let alignment = self.entries.iter().find(|(k, _)| k == "general.alignment");
        let alignment = alignment.and_then(|(_, v)| v.as_u64()).unwrap_or(DEFAULT_ALIGNMENT.into());
        let mut out = Counted { out, written: 0 };

        out.write_all(b"GGUF").map_err(io)?;
        out.write_all(&3u32.to_le_bytes()).map_err(io)?;
        out.write_all(&(self.tensors.len() as u64).to_le_bytes()).map_err(io)?;
        out.write_all(&(self.entries.len() as u64).to_le_bytes()).map_err(io)?;
        for (key, value) in &self.entries {
            string(&mut out, key.as_bytes()).and_then(|()| write_value(&mut out, value)).map_err(io)?;
        }
        let mut offset = 0u64;
        for t in &self.tensors {
            describe(&mut out, t, offset).map_err(io)?;
            offset =
                t.bytes.checked_next_multiple_of(alignment).and_then(|b| offset.checked_add(b)).ok_or_else(
                    || Error::request("tensor", "all tensors together take more than 2^64 bytes"),
                )?;
        }
        for t in self.tensors {
            pad(&mut out, alignment).map_err(io)?;
            let before = out.written;
            (t.fill)(&mut out).map_err(io)?;
            if out.written - before != t.bytes {
                let what =
                    format!("{:?} got {} bytes; its shape takes {}", t.name, out.written - before, t.bytes);
                return Err(Error::request("tensor data", what));
            }
        }
        pad(&mut out, alignment).map_err(io)?;
        out.flush().map_err(io)
    }
}

impl Default for Writer<'_> {
    fn default() -> Self {
        Writer::new()
    }
}

impl fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("metadata", &self.entries.len())
            .field("tensors", &self.tensors.len())
            .finish()
    }
}

struct Counted<W> {
    out: W,
    written: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.out.write(buf)?;
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn pad(out: &mut Counted<impl Write>, alignment: u64) -> io::Result<()> {
    let n = out.written.next_multiple_of(alignment) - out.written;
    io::copy(&mut io::repeat(0).take(n), out).map(drop)
}

fn string(out: &mut impl Write, s: &[u8]) -> io::Result<()> {
    out.write_all(&(s.len() as u64).to_le_bytes())?;
    out.write_all(s)
}

fn describe(out: &mut impl Write, t: &Tensor<'_>, offset: u64) -> io::Result<()> {
    string(out, t.name.as_bytes())?;
    out.write_all(&u32::try_from(t.dims.len()).expect("a shape has at most four dimensions").to_le_bytes())?;
    for d in t.dims.iter() {
        out.write_all(&d.to_le_bytes())?;
    }
    out.write_all(&t.kind.id().to_le_bytes())?;
    out.write_all(&offset.to_le_bytes())
}

fn write_value(out: &mut impl Write, v: &Value) -> io::Result<()> {
    let mut scalar = |tag: u32, bytes: &[u8]| {
        out.write_all(&tag.to_le_bytes())?;
        out.write_all(bytes)
    };
    match v {
        Value::U8(x) => scalar(0, &x.to_le_bytes()),
        Value::I8(x) => scalar(1, &x.to_le_bytes()),
        Value::U16(x) => scalar(2, &x.to_le_bytes()),
        Value::I16(x) => scalar(3, &x.to_le_bytes()),
        Value::U32(x) => scalar(4, &x.to_le_bytes()),
        Value::I32(x) => scalar(5, &x.to_le_bytes()),
        Value::F32(x) => scalar(6, &x.to_le_bytes()),
        Value::Bool(x) => scalar(7, &[u8::from(*x)]),
        Value::String(s) => {
            scalar(8, &[])?;
            string(out, s)
        }
        Value::Array(a) => {
            scalar(9, &[])?;
            array(out, a)
        }
        Value::U64(x) => scalar(10, &x.to_le_bytes()),
        Value::I64(x) => scalar(11, &x.to_le_bytes()),
        Value::F64(x) => scalar(12, &x.to_le_bytes()),
    }
}

fn array(out: &mut impl Write, a: &Array) -> io::Result<()> {
    fn numbers<const N: usize>(
        out: &mut impl Write,
        tag: u32,
        len: usize,
        numbers: impl Iterator<Item = [u8; N]>,
    ) -> io::Result<()> {
        out.write_all(&tag.to_le_bytes())?;
        out.write_all(&(len as u64).to_le_bytes())?;
        for n in numbers {
            out.write_all(&n)?;
        }
        Ok(())
    }
    match a {
        Array::U8(v) => numbers(out, 0, v.len(), v.iter().map(|x| x.to_le_bytes())),
        Array::I8(v) => numbers(out, 1, v.len(), v.iter().map(|x| x.to_le_bytes())),
        Array::U16(v) => numbers(out, 2, v.len(), v.iter().map(|x| x.to_le_bytes())),
        Array::I16(v) => numbers(out, 3, v.len(), v.iter().map(|x| x.to_le_bytes())),
        Array::U32(v) => numbers(out, 4, v.len(), v.iter().map(|x| x.to_le_bytes())),
        Array::I32(v) => numbers(out, 5, v.len(), v.iter().map(|x| x.to_le_bytes())),
        Array::F32(v) => numbers(out, 6, v.len(), v.iter().map(|x| x.to_le_bytes())),
        Array::Bool(v) => numbers(out, 7, v.len(), v.iter().map(|&x| [u8::from(x)])),
        Array::String(v) => {
            numbers(out, 8, v.len(), std::iter::empty::<[u8; 0]>())?;
            v.iter().try_for_each(|s| string(out, s))
        }
        Array::U64(v) => numbers(out, 10, v.len(), v.iter().map(|x| x.to_le_bytes())),
        Array::I64(v) => numbers(out, 11, v.len(), v.iter().map(|x| x.to_le_bytes())),
        Array::F64(v) => numbers(out, 12, v.len(), v.iter().map(|x| x.to_le_bytes())),
    }
}
