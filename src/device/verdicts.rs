//! Verdicts that were reached before, one file each, in the user's cache directory.
//!
//! A file counts only for the same device, system, build, model and plan. One that cannot be read, or is damaged, counts
//! as none; so does a directory that cannot be written.

use super::Verdict;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
};

/// What a verdict holds for. All of it is compared, not only its hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Key {
    /// The device, by the name that its vendor gives it, and its facts but for those that a restart changes.
    pub(super) device: String,
    /// The operating system, which brings the drivers.
    pub(super) system: String,
    /// The version of this package and of what is below.
    pub(super) build: String,
    /// A hash of the model's header.
    pub(super) model: String,
    /// How the device is used.
    pub(super) plan: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    key: Key,
    verdict: Verdict,
}

/// A verdict file is some ten KiB; one that is larger is not one.
const MAX_BYTES: u64 = 4 << 20;

/// The user's cache directory for verdicts, where the system has one.
pub(super) fn directory() -> Option<PathBuf> {
    cache("self-test")
}

/// A directory of this package's in the user's cache directory, where the system has one.
pub(super) fn cache(name: &str) -> Option<PathBuf> {
    let variable =
        |name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else {
        let otherwise = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
        variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(otherwise)))
    };
    Some(base?.join("inferno").join(name))
}

/// The name of the file for a key.
pub(super) fn file_name(key: &impl Serialize) -> String {
    let text = serde_json::to_string(key).expect("strings alone");
    let hash = Sha256::digest(text.as_bytes());
    let name: String = hash.iter().take(12).map(|b| format!("{b:02x}")).collect();
    format!("{name}.json")
}

/// What a file holds; none where it cannot be read, or is damaged.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    if fs::metadata(path).ok()?.len() > MAX_BYTES {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Writes all of it or nothing.
pub(super) fn write(path: &Path, value: &impl Serialize) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut temporary = tempfile::NamedTempFile::new_in(directory)?;
    serde_json::to_writer(&mut temporary, value)?;
    temporary.flush()?;
    temporary.persist(path).map_err(|e| e.error)?;
    Ok(())
}

fn file(directory: &Path, key: &Key) -> PathBuf {
    directory.join(file_name(key))
}

/// The verdict for this key, if there is one.
pub(super) fn find(directory: &Path, key: &Key) -> Option<Verdict> {
    read::<Entry>(&file(directory, key)).filter(|e| e.key == *key).map(|e| e.verdict)
}

/// The latest verdict for this device, with any model and plan.
pub(super) fn latest(directory: &Path, device: &str, system: &str, build: &str) -> Option<Verdict> {
    let files = fs::read_dir(directory).ok()?.flatten().map(|e| e.path());
    files
        .filter(|path| path.extension().is_some_and(|x| x == "json"))
        .filter_map(|path| read::<Entry>(&path))
        .filter(|e| e.key.device == device && e.key.system == system && e.key.build == build)
        .map(|e| e.verdict)
        .max_by_key(|verdict| verdict.at)
}

/// Keeps a verdict. All or nothing is written.
pub(super) fn keep(directory: &Path, key: &Key, verdict: &Verdict) -> std::io::Result<()> {
    write(&file(directory, key), &Entry { key: key.clone(), verdict: verdict.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(plan: &str) -> Key {
        let text = |t: &str| t.to_owned();
        Key { device: text("GPU"), system: text("S"), build: text("1"), model: text("m"), plan: text(plan) }
    }

    fn verdict(at: u64) -> Verdict {
        Verdict {
            passed: true,
            model: "llama".into(),
            plan: "serial".into(),
            checks: vec![],
            multiplications: 1.0,
            seconds: 0.5,
            at,
        }
    }

    #[test]
    fn a_verdict_is_found_for_its_key_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(find(dir.path(), &key("a")), None);
        keep(dir.path(), &key("a"), &verdict(1)).unwrap();
        keep(dir.path(), &key("b"), &verdict(2)).unwrap();
        assert_eq!(find(dir.path(), &key("a")), Some(verdict(1)));
        assert_eq!(find(dir.path(), &key("c")), None);
        assert_eq!(latest(dir.path(), "GPU", "S", "1"), Some(verdict(2)));
        assert_eq!(latest(dir.path(), "GPU", "another", "1"), None);
        keep(dir.path(), &key("a"), &verdict(3)).unwrap();
        assert_eq!(find(dir.path(), &key("a")), Some(verdict(3)));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing temporary is left");
    }

    #[test]
    fn a_damaged_file_counts_as_none() {
        let dir = tempfile::tempdir().unwrap();
        keep(dir.path(), &key("a"), &verdict(1)).unwrap();
        let path = file(dir.path(), &key("a"));
        let whole = fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() / 2], b"", b"{}", b"\xff\xfe"] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(find(dir.path(), &key("a")), None);
            assert_eq!(latest(dir.path(), "GPU", "S", "1"), None);
        }
        // one that belongs to another key, under this name
        keep(dir.path(), &key("b"), &verdict(2)).unwrap();
        fs::copy(file(dir.path(), &key("b")), &path).unwrap();
        assert_eq!(find(dir.path(), &key("a")), None);
        keep(dir.path(), &key("a"), &verdict(4)).unwrap();
        assert_eq!(find(dir.path(), &key("a")), Some(verdict(4)));
    }
}
