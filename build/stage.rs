//! Copies the parts of the upstream tree that are built into a disposable staged tree; upstream stays pristine.

use crate::pin::Pin;
use std::{fs, io, path::Path};

pub(crate) fn copy(pin: &Pin, upstream: &Path, staged: &Path) -> Result<(), String> {
    let fail = |what: &str, e: io::Error| format!("staging {what}: {e}");
    if staged.exists() {
        fs::remove_dir_all(staged).map_err(|e| fail("(clearing)", e))?;
    }
    for dir in pin.list("directories")? {
        copy_dir(&upstream.join(dir), &staged.join(dir), true).map_err(|e| fail(dir, e))?;
    }
    for dir in pin.list("flat")? {
        copy_dir(&upstream.join(dir), &staged.join(dir), false).map_err(|e| fail(dir, e))?;
    }
    write_version(&staged.join("include/llama-version.h"), "LLAMA", pin.get("llama_version")?)
        .and_then(|()| {
            write_version(
                &staged.join("ggml/include/ggml-version.h"),
                "GGML",
                pin.get("ggml_version").unwrap_or(""),
            )
        })
        .map_err(|e| fail("version headers", e))
}

fn copy_dir(from: &Path, to: &Path, recursive: bool) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_file() {
            // by content: the mode of a registry file may be read-only
            fs::write(target, fs::read(entry.path())?)?;
        } else if recursive {
            copy_dir(&entry.path(), &target, true)?;
        }
    }
    Ok(())
}

/// The headers that upstream's cmake would generate.
fn write_version(path: &Path, prefix: &str, version: &str) -> io::Result<()> {
    let text = format!(
        "#pragma once\n#define {prefix}_VERSION \"{version}\"\n#define {prefix}_COMMIT \"inferno\"\n"
    );
    fs::write(path, text)
}
