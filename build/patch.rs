//! Applies `patches/series` to the staged tree, exactly: a hunk that does not fit its place is an error that names the patch.
//!
//! Also used by `tests/patches.rs`, which includes this file.

use diffy::patch_set::{FileOperation, ParseOptions, PatchSet};
use std::{fs, path::Path};

/// The names in `patches/series`, in order.
pub(crate) fn series(patches: &Path) -> Result<Vec<String>, String> {
    let path = patches.join("series");
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(str::to_owned)
        .collect())
}

/// Applies every patch of the series but those to leave out, each with the files of `patches/overlay` that its header
/// names. Returns the names of those applied, without `.patch`.
///
/// `leave_out` holds names without `.patch`, or beginnings of names with a `*` behind them, separated by commas.
pub(crate) fn apply_series(patches: &Path, tree: &Path, leave_out: &str) -> Result<Vec<String>, String> {
    let mut names = series(patches)?;
    for pattern in leave_out.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let matches = |name: &String| {
            let name = name.trim_end_matches(".patch");
            pattern.strip_suffix('*').map_or(name == pattern, |start| name.starts_with(start))
        };
        if !names.iter().any(matches) {
            return Err(format!(
                "there is no patch {pattern} to leave out; patches/series lists those there are"
            ));
        }
        names.retain(|name| !matches(name));
    }
    for name in &names {
        let path = patches.join(name);
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        for file in overlay(&text) {
            copy_new(&patches.join("overlay").join(file), &tree.join(file))?;
        }
        apply(tree, name, &text)?;
    }
    Ok(names.iter().map(|n| n.trim_end_matches(".patch").to_owned()).collect())
}

/// Applies one patch file (a git diff, paths with one leading component) to the tree.
pub(crate) fn apply(tree: &Path, name: &str, text: &str) -> Result<(), String> {
    let fail = |file: &str, what: String| format!("patch {name} does not apply to {file}: {what}");
    let mut files = 0;
    for file_patch in PatchSet::parse(text, ParseOptions::gitdiff()) {
        let file_patch = file_patch.map_err(|e| fail("(unreadable)", e.to_string()))?;
        let patch = file_patch.patch().as_text().ok_or_else(|| fail("(binary)", "binary patch".into()))?;
        let edit = |from: &str, to: &str| -> Result<(), String> {
            let old = fs::read_to_string(tree.join(from)).map_err(|e| fail(from, e.to_string()))?;
            let new = diffy::apply(&old, patch).map_err(|e| fail(from, e.to_string()))?;
            fs::write(tree.join(to), new).map_err(|e| fail(to, e.to_string()))
        };
        match file_patch.operation().strip_prefix(1) {
            FileOperation::Modify { original, modified } => edit(&original, &modified)?,
            // whole new files belong in patches/overlay, and nothing of upstream's is moved or removed
            _ => return Err(fail("(operation)", "only modifications are allowed in a patch".into())),
        }
        files += 1;
    }
    if files == 0 {
        return Err(fail("(nothing)", "it holds no diff".into()));
    }
    Ok(())
}

/// The whole new files that a patch brings: `X-Overlay` in its header, separated by spaces.
pub(crate) fn overlay(text: &str) -> impl Iterator<Item = &str> {
    let header = text.lines().take_while(|line| !line.starts_with("diff --git "));
    header.filter_map(|line| line.strip_prefix("X-Overlay: ")).flat_map(str::split_whitespace)
}

fn copy_new(from: &Path, to: &Path) -> Result<(), String> {
    if to.exists() {
        return Err(format!("{} would overwrite an upstream file; use a patch", from.display()));
    }
    let fail = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    let dir = to.parent().expect("it is below the tree");
    fs::create_dir_all(dir).map_err(|e| fail(dir, e))?;
    // by content: cargo may keep files read-only
    let text = fs::read(from).map_err(|e| fail(from, e))?;
    fs::write(to, text).map_err(|e| fail(to, e))
}
