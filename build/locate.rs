//! Finds the pinned llama.cpp source tree on this machine, or has cargo fetch it.
//!
//! In this order, first hit wins:
//! 1. `INFERNO_LLAMA_CPP_DIR`, taken as it is;
//! 2. a sibling of our own package directory (inferno and the pin both in the registry, or both vendored);
//! 3. `$CARGO_HOME/registry/src/*/`;
//! 4. cargo itself, through a throw-away package in `OUT_DIR` that depends on the pin alone: offline first, then online.
//!    `cargo metadata` on our own manifest would not do: it does not see the vendor directory of the outer project.

use crate::pin::Pin;
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};
use tinyjson::JsonValue;

pub(crate) fn find(pin: &Pin, here: &Path, out: &Path) -> Result<PathBuf, String> {
    for name in ["INFERNO_LLAMA_CPP_DIR", "CARGO_HOME"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    if let Some(dir) = env::var_os("INFERNO_LLAMA_CPP_DIR").map(PathBuf::from) {
        if !is_tree(&dir) {
            return Err(format!(
                "INFERNO_LLAMA_CPP_DIR={} is not a llama.cpp tree (include/llama.h is missing)",
                dir.display()
            ));
        }
        println!(
            "cargo::warning=llama.cpp is taken from INFERNO_LLAMA_CPP_DIR; its checksum is not verified"
        );
        return Ok(dir);
    }
    let package = match known_place(pin, here)? {
        Some(dir) => dir,
        None => ask_cargo(pin, out)?,
    };
    verify(pin, &package)?;
    Ok(package.join(pin.get("tree")?))
}

fn is_tree(dir: &Path) -> bool {
    dir.join("include/llama.h").is_file() && dir.join("ggml/src/ggml.c").is_file()
}

/// A package directory where cargo keeps sources, without running cargo.
fn known_place(pin: &Pin, here: &Path) -> Result<Option<PathBuf>, String> {
    let (name, version) = (pin.get("crate")?, pin.get("crate_version")?);
    let full = format!("{name}-{version}");
    let siblings = here.parent().into_iter().flat_map(|up| [up.join(&full), up.join(name)]);
    // .cargo-ok is written last: without it the unpacked tree may be partial
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let registries = cargo_home.map(|home| home.join("registry/src"));
    let unpacked = registries
        .iter()
        .filter_map(|src| fs::read_dir(src).ok())
        .flat_map(|entries| entries.flatten())
        .map(|entry| entry.path().join(&full))
        .filter(|dir| dir.join(".cargo-ok").is_file());
    Ok(siblings.chain(unpacked).find(|dir| {
        let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
        manifest.contains(&format!("version = \"{version}\"")) && is_tree(&dir.join("llama.cpp"))
    }))
}

fn ask_cargo(pin: &Pin, out: &Path) -> Result<PathBuf, String> {
    let (name, version) = (pin.get("crate")?, pin.get("crate_version")?);
    // In OUT_DIR, so that the outer project's .cargo/config.toml applies (source replacement, net.offline).
    let dir = out.join("pin");
    let write = |path: PathBuf, text: &str| {
        fs::create_dir_all(path.parent().expect("has a parent"))
            .and_then(|()| fs::write(&path, text))
            .map_err(|e| format!("{}: {e}", path.display()))
    };
    write(dir.join("src/lib.rs"), "")?;
    write(
        dir.join("Cargo.toml"),
        &format!(
            "[package]\nname = \"inferno-pin\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
             [target.'cfg(any())'.dependencies]\n{name} = {{ version = \"={version}\", default-features = false }}\n"
        ),
    )?;
    let mut errors = String::new();
    for extra in [&["--offline"][..], &[]] {
        let _ = fs::remove_file(dir.join("Cargo.lock"));
        match metadata(&dir, extra, name, version) {
            Ok(package) => return Ok(package),
            Err(e) => errors.push_str(&e),
        }
    }
    Err(format!(
        "the llama.cpp source ({name} {version}) was not found.\nRun `cargo fetch` while online, or set \
         INFERNO_LLAMA_CPP_DIR to the llama.cpp directory inside that package.\n{errors}"
    ))
}

fn metadata(dir: &Path, extra: &[&str], name: &str, version: &str) -> Result<PathBuf, String> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--format-version", "1"]).args(extra).current_dir(dir);
    // what is meant for the outer build must not leak into this one
    for key in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_MAKEFLAGS",
        "MAKEFLAGS",
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "TARGET",
        "CARGO_BUILD_TARGET",
    ] {
        cargo.env_remove(key);
    }
    let output = cargo.output().map_err(|e| format!("cargo metadata: {e}\n"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let json: JsonValue =
        String::from_utf8_lossy(&output.stdout).parse().map_err(|e| format!("cargo metadata: {e}\n"))?;
    member(&json, "packages")
        .and_then(|packages| packages.get::<Vec<JsonValue>>())
        .into_iter()
        .flatten()
        .find(|p| text(p, "name") == Some(name) && text(p, "version") == Some(version))
        .and_then(|p| Path::new(text(p, "manifest_path")?).parent())
        .filter(|dir| is_tree(&dir.join("llama.cpp")))
        .map(Path::to_path_buf)
        .ok_or_else(|| format!("cargo metadata does not list {name} {version}\n"))
}

fn member<'a>(object: &'a JsonValue, name: &str) -> Option<&'a JsonValue> {
    object.get::<HashMap<String, JsonValue>>()?.get(name)
}

fn text<'a>(object: &'a JsonValue, name: &str) -> Option<&'a str> {
    member(object, name)?.get::<String>().map(String::as_str)
}

/// Compares with the pinned checksum in the form that the place offers: the vendored package's checksum file, or the
/// archive that cargo keeps beside the unpacked registry sources. Where neither is there cargo has verified the
/// archive when it unpacked it.
fn verify(pin: &Pin, package: &Path) -> Result<(), String> {
    let expected = pin.get("sha256")?;
    let mismatch = |what: &Path, got: &str| {
        Err(format!("{}: checksum {got}, the pin says {expected}: not the pinned llama.cpp", what.display()))
    };
    let vendored = package.join(".cargo-checksum.json");
    if let Ok(checksums) = fs::read_to_string(&vendored) {
        let json: JsonValue = checksums.parse().map_err(|e| format!("{}: {e}", vendored.display()))?;
        return match text(&json, "package") {
            Some(sum) if sum != expected => mismatch(&vendored, sum),
            _ => Ok(()),
        };
    }
    // registry/src/HOST/NAME-VERSION → registry/cache/HOST/NAME-VERSION.crate
    let archive = (|| {
        let (host, registry) = (package.parent()?, package.parent()?.parent()?.parent()?);
        let file = format!("{}.crate", package.file_name()?.to_str()?);
        Some(registry.join("cache").join(host.file_name()?).join(file))
    })();
    if let Some((path, bytes)) = archive.and_then(|path| Some((path.clone(), fs::read(path).ok()?))) {
        let sum: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        if sum != expected {
            return mismatch(&path, &sum);
        }
    }
    Ok(())
}
