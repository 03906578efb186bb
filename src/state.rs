//! The file format of a saved session: versioned, keyed by model and cache types, checked, written atomically.
//!
//! Layout, little-endian: the magic `INFSTATE`, a u32 version, a u32 length and that many bytes of JSON (the key, the
//! number of tokens and of state bytes), the tokens as i32, the state, and a SHA-256 over all before it.

use crate::{
    error::{Error, Result},
    model::Token,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{fs, io::Write, path::Path};

const MAGIC: &[u8; 8] = b"INFSTATE";
const VERSION: u32 = 1;
const DIGEST: usize = 32;

/// What a state must agree in with the session that it is restored to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateKey {
    pub(crate) model: String,
    pub(crate) cache_type_k: String,
    pub(crate) cache_type_v: String,
    pub(crate) engine: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    key: StateKey,
    tokens: usize,
    bytes: usize,
}

/// Writes a state beside its final place, then renames it: a reader finds the old file or the new one, never a part.
pub(crate) fn write(path: &Path, key: &StateKey, tokens: &[Token], data: &[u8]) -> Result<()> {
    let fail = |e| Error::io("write", path, e);
    let header = Header { key: key.clone(), tokens: tokens.len(), bytes: data.len() };
    let header = serde_json::to_vec(&header).map_err(|e| fail(e.into()))?;
    let length = u32::try_from(header.len()).expect("a few hundred bytes");

    let mut head = MAGIC.to_vec();
    head.extend(VERSION.to_le_bytes());
    head.extend(length.to_le_bytes());
    head.extend(header);
    head.extend(tokens.iter().flat_map(|t| t.to_le_bytes()));
    let mut hash = Sha256::new();
    hash.update(&head);
    hash.update(data);

    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new().prefix(".inferno-state-").tempfile_in(dir).map_err(fail)?;
    file.write_all(&head).map_err(fail)?;
    file.write_all(data).map_err(fail)?;
    file.write_all(&hash.finalize()).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

/// Reads a state back: its tokens and the engine's data.
pub(crate) fn read(path: &Path, expected: &StateKey) -> Result<(Vec<Token>, Vec<u8>)> {
    let invalid = |what: String| Error::InvalidState { path: path.into(), what };
    let file = fs::read(path).map_err(|e| Error::io("read", path, e))?;
    if !file.starts_with(MAGIC) {
        return Err(invalid("it is no saved session".into()));
    }
    let number =
        |at: usize| -> Option<u32> { Some(u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?)) };
    match number(8) {
        Some(VERSION) => {}
        Some(version) => return Err(invalid(format!("its version is {version}, this is version {VERSION}"))),
        None => return Err(invalid("it is cut short".into())),
    }
    // before the checksum, so that a file of another model says so rather than "damaged"
    let parsed = (|| {
        let end = 16 + number(12)? as usize;
        let header: Header = serde_json::from_slice(file.get(16..end)?).ok()?;
        let data = end.checked_add(header.tokens.checked_mul(4)?)?;
        let sum = data.checked_add(header.bytes)?;
        (sum.checked_add(DIGEST)? == file.len()).then_some((header, end, data, sum))
    })();
    let Some((header, tokens_at, data_at, sum_at)) = parsed else {
        return Err(invalid("it is cut short or damaged".into()));
    };
    if *Sha256::digest(&file[..sum_at]) != file[sum_at..] {
        return Err(invalid("its checksum is wrong: the file is damaged".into()));
    }
    let key = &header.key;
    for (what, got, want) in [
        ("model", &key.model, &expected.model),
        ("K cache type", &key.cache_type_k, &expected.cache_type_k),
        ("V cache type", &key.cache_type_v, &expected.cache_type_v),
        ("engine", &key.engine, &expected.engine),
    ] {
        if got != want {
            return Err(invalid(format!(
                "it was saved with another {what}: {got:?}, this session has {want:?}"
            )));
        }
    }
    let tokens = file[tokens_at..data_at]
        .chunks_exact(4)
        .map(|b| Token::from_le_bytes(b.try_into().expect("chunks of four")))
        .collect();
    Ok((tokens, file[data_at..sum_at].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> StateKey {
        StateKey {
            model: "m".into(),
            cache_type_k: "F16".into(),
            cache_type_v: "F16".into(),
            engine: "e".into(),
        }
    }

    #[test]
    fn round_trip_and_every_kind_of_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        write(&path, &key(), &[1, 2, 3], b"state").unwrap();
        assert_eq!(read(&path, &key()).unwrap(), (vec![1, 2, 3], b"state".to_vec()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");

        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(matches!(read(&path, &key()), Err(Error::InvalidState { .. })), "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 0x10;
            fs::write(&path, &bad).unwrap();
            assert!(read(&path, &key()).is_err(), "flipped at {at}");
        }
        fs::write(&path, &whole).unwrap();
        let other = StateKey { cache_type_v: "Q8_0".into(), ..key() };
        let error = read(&path, &other).unwrap_err().to_string();
        assert!(error.contains("V cache type") && error.contains("Q8_0"), "{error}");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let error = write(Path::new("/nonexistent/dir/s"), &key(), &[], b"").unwrap_err().to_string();
        assert!(error.contains("/nonexistent/dir/s"), "{error}");
    }
}
