//! Builds the pinned, patched llama.cpp and links it: locate → stage → patch → compile → link.
//!
//! The work is in `build/`. Nothing but a C and a C++ compiler is needed.

#[path = "build/cache.rs"]
mod cache;
#[path = "build/compile.rs"]
mod compile;
#[path = "build/locate.rs"]
mod locate;
#[path = "build/metal.rs"]
mod metal;
#[path = "build/patch.rs"]
mod patch;
#[path = "build/pin.rs"]
mod pin;
#[cfg(feature = "metal-sim")]
#[path = "build/profiles.rs"]
mod profiles;
#[cfg(feature = "metal-sim")]
#[path = "build/simulator.rs"]
mod simulator;
#[path = "build/stage.rs"]
mod stage;
#[path = "build/target.rs"]
mod target;

use std::{env, path::PathBuf, process::ExitCode};

#[expect(clippy::print_stderr, reason = "cargo shows the standard error of a build script that fails")]
fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("\ninferno: {message}\n");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    for path in ["build.rs", "build", "patches", "vendor"] {
        println!("cargo::rerun-if-changed={path}");
    }
    for file in ["guard.h", "probe.cpp", "selftest.cpp", "shim.cpp", "shim.h"] {
        println!("cargo::rerun-if-changed=src/sys/{file}");
    }

    let pin = pin::Pin::read(&here.join("vendor/llama.cpp.pin"))?;
    let upstream = locate::find(&pin, &here, &out)?;
    let staged = out.join("llama.cpp");
    stage::copy(&pin, &upstream, &staged)?;
    println!("cargo::rerun-if-env-changed=INFERNO_WITHOUT_PATCHES");
    let leave_out = env::var("INFERNO_WITHOUT_PATCHES").unwrap_or_default();
    if !leave_out.is_empty() {
        // to see a patch's test fail without it: scripts/prove-patches
        println!("cargo::warning=INFERNO_WITHOUT_PATCHES: this build lacks {leave_out}, and is wrong");
    }
    let patches = patch::apply_series(&here.join("patches"), &staged, &leave_out)?;

    let target = target::Target::from_env()?;
    if target.metal != target::Metal::Absent {
        metal::embed(&target, &staged, &out)?;
    }
    if target::switch("INFERNO_STAGE_ONLY")? == Some(true) {
        // for `cargo check` on a target that there is no compiler for: nothing that needs linking can follow
        println!("cargo::warning=INFERNO_STAGE_ONLY: the native code is not compiled");
        println!("cargo::rustc-env=NATIVE_OBJECTS=none");
    } else {
        compile::native(&target, &pin, &staged, &here, &out)?;
    }

    // not INFERNO_…: cargo sets them for doctests too, and such variables are settings
    println!("cargo::rustc-env=NATIVE_LLAMA_VERSION={}", pin.get("llama_version")?);
    println!("cargo::rustc-env=NATIVE_GGML_VERSION={}", pin.get("ggml_version")?);
    println!("cargo::rustc-env=NATIVE_PATCHES={}", patches.join(" "));
    println!("cargo::rustc-env=NATIVE_FLAGS={}", target.description());
    println!("cargo::rustc-env=NATIVE_STAGED_TREE={}", staged.display());
    Ok(())
}
