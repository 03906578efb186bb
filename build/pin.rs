//! Reads `vendor/llama.cpp.pin`: which llama.cpp, from which package, and which of its paths are staged.

use std::{collections::BTreeMap, fs, path::Path};

pub(crate) struct Pin(BTreeMap<String, String>);

impl Pin {
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut map = BTreeMap::new();
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let (key, value) =
                line.split_once('=').ok_or_else(|| format!("{}: no `=` in {line:?}", path.display()))?;
            map.insert(key.trim().to_owned(), value.trim().to_owned());
        }
        Ok(Self(map))
    }

    pub(crate) fn get(&self, key: &str) -> Result<&str, String> {
        self.0.get(key).map(String::as_str).ok_or_else(|| format!("vendor/llama.cpp.pin has no {key:?}"))
    }

    pub(crate) fn list(&self, key: &str) -> Result<impl Iterator<Item = &str>, String> {
        Ok(self.get(key)?.split_whitespace())
    }
}
