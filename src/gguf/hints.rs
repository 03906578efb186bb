//! Tells what a file is that is not GGUF, from its first bytes, so that the message can help.

use std::io::{self, Cursor, Read};

/// The first bytes of a stream, to be read again.
pub(super) struct Head(Cursor<Vec<u8>>);

impl Head {
    pub(super) fn chain<R: Read>(self, rest: R) -> impl Read {
        self.0.chain(rest)
    }
}

impl std::ops::Deref for Head {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0.get_ref()
    }
}

/// Takes up to 512 bytes.
pub(super) fn head(inner: &mut impl Read) -> io::Result<Head> {
    let mut bytes = Vec::new();
    inner.take(512).read_to_end(&mut bytes)?;
    Ok(Head(Cursor::new(bytes)))
}

/// What a file of `len` bytes is that starts with `head` and not with the magic of GGUF.
pub(super) fn what_is_it(head: &[u8], len: u64) -> String {
    if head.is_empty() {
        return "the file is empty".into();
    }
    let text = String::from_utf8_lossy(head);
    let start = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).to_ascii_lowercase();
    if start.starts_with("version https://git-lfs") {
        return "it is a git-lfs pointer, not the model itself: run `git lfs pull`".into();
    }
    if start.starts_with("<!doctype") || start.starts_with("<html") || start.starts_with("<?xml") {
        return "it is a web page: the download brought a page and not the model".into();
    }
    for (magic, what) in MAGICS {
        if head.starts_with(magic) {
            return (*what).into();
        }
    }
    if let Some(header) = head.first_chunk().map(|b| u64::from_le_bytes(*b))
        && head.get(8) == Some(&b'{')
        && (2..len.max(3)).contains(&header)
    {
        return "it is a safetensors file: convert it with convert_hf_to_gguf.py, or get the GGUF file of the model"
            .into();
    }
    if head.get(257..262) == Some(b"ustar") {
        return "it is a tar archive: unpack it".into();
    }
    if head.iter().all(|&b| b == 0) {
        return "it starts with zeros: an unfinished download or a damaged copy".into();
    }
    if b"GGUF".starts_with(head) {
        return format!("it ends after {} bytes, inside the magic", head.len());
    }
    let printable = |c: char| !c.is_control() || c.is_whitespace();
    // A code point may be cut at the end of what was read.
    let whole = std::str::from_utf8(head)
        .map_or_else(|e| if e.error_len().is_none() { e.valid_up_to() } else { 0 }, str::len);
    if whole > 0 && text.chars().all(|c| printable(c) || c == '\u{fffd}') {
        let line: String =
            text.trim().chars().take(40).map(|c| if c.is_control() { ' ' } else { c }).collect();
        return format!("it is a text file, it starts with {line:?}");
    }
    let hex: Vec<String> = head.iter().take(4).map(|b| format!("{b:02x}")).collect();
    format!("it starts with the bytes {}, and a GGUF file with 47 47 55 46 (\"GGUF\")", hex.join(" "))
}

const OLD: &str = "it is a model in a format before GGUF (August 2023), which llama.cpp no longer reads; \
                   convert the original model again";

const MAGICS: &[(&[u8], &str)] = &[
    // The old magics were numbers, so their letters are reversed in the file.
    (b"tjgg", OLD),
    (b"ggjt", OLD),
    (b"fmgg", OLD),
    (b"ggmf", OLD),
    (b"lmgg", OLD),
    (b"ggml", OLD),
    (b"algg", "it is an adapter in the old GGLA format, which llama.cpp no longer reads"),
    (b"ggla", "it is an adapter in the old GGLA format, which llama.cpp no longer reads"),
    (b"FUGG", "it is a GGUF file whose bytes are swapped"),
    (
        b"PK\x03\x04",
        "it is a ZIP archive, perhaps a PyTorch checkpoint: unpack it, or convert it with convert_hf_to_gguf.py",
    ),
    (b"PK\x05\x06", "it is an empty ZIP archive"),
    (b"\x80\x02", "it is a PyTorch or Python pickle file: convert it with convert_hf_to_gguf.py"),
    (b"\x80\x04", "it is a PyTorch or Python pickle file: convert it with convert_hf_to_gguf.py"),
    (b"\x1f\x8b", "it is compressed with gzip: unpack it"),
    (b"\x28\xb5\x2f\xfd", "it is compressed with zstd: unpack it"),
    (b"\xfd7zXZ\x00", "it is compressed with xz: unpack it"),
    (b"BZh", "it is compressed with bzip2: unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive: unpack it"),
    (b"Rar!", "it is a RAR archive: unpack it"),
    (b"\x89HDF", "it is an HDF5 (Keras) file, not GGUF"),
    (b"\x7fELF", "it is a program, not a model"),
    (b"MZ", "it is a program, not a model"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_it_sees() {
        let long = |head: &[u8], n: usize| [head, &vec![0; n]].concat();
        let mut tar = vec![b'a'; 100];
        tar.resize(257, 0);
        tar.extend_from_slice(b"ustar\0");
        let cases: &[(&[u8], &str)] = &[
            (b"", "empty"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
            (b"  <!DOCTYPE html><html>", "web page"),
            (b"\xef\xbb\xbf<html>", "web page"),
            (&long(b"tjgg\x03\0\0\0", 9), "before GGUF"),
            (&long(b"PK\x03\x04", 9), "ZIP"),
            (&long(b"\x80\x02\x8a", 9), "pickle"),
            (b"\x10\0\0\0\0\0\0\0{\"__metadata__\":{", "safetensors"),
            (&tar, "tar archive"),
            (&[0; 64], "zeros"),
            (b"GG", "ends after 2 bytes"),
            (b"Invalid username or password.", "text file, it starts with \"Invalid username"),
            ("Zugriff verweigert: ü".as_bytes(), "text file"),
            (b"\x01\x02\xff\xfe\x00", "01 02 ff fe"),
        ];
        for (bytes, want) in cases {
            let got = what_is_it(bytes, bytes.len() as u64);
            assert!(got.contains(want), "{bytes:?}: {got}");
        }
    }
}
