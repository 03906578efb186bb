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

/// Copies `patches/overlay` into the tree, then applies every patch of the series but those to leave out. Returns the
/// names of those applied, without `.patch`.
///
/// `leave_out` holds names without `.patch`, or beginnings of names with a `*` behind them, separated by commas.
pub(crate) fn apply_series(patches: &Path, tree: &Path, leave_out: &str) -> Result<Vec<String>, String> {
    let overlay = patches.join("overlay");
    if overlay.is_dir() {
        copy_new(&overlay, tree)?;
    }
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

fn copy_new(from: &Path, to: &Path) -> Result<(), String> {
    for entry in fs::read_dir(from).map_err(|e| format!("{}: {e}", from.display()))?.flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&target).map_err(|e| format!("{}: {e}", target.display()))?;
            copy_new(&entry.path(), &target)?;
        } else if target.exists() {
            return Err(format!("{} would overwrite an upstream file; use a patch", entry.path().display()));
        } else {
            let text = fs::read(entry.path()).map_err(|e| format!("{}: {e}", entry.path().display()))?;
            fs::write(&target, text).map_err(|e| format!("{}: {e}", target.display()))?;
        }
    }
    Ok(())
}
