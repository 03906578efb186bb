//! The command on simulated GPUs: the feature `metal-sim`. Each run is a process, as a GPU is chosen once in each.

#![expect(clippy::unwrap_used, reason = "tests")]

mod devices;
mod model;
mod patches;
mod plan;
mod selftest;
mod tiny;
mod tune;

use serde_json::Value;
use std::{
    path::PathBuf,
    process::{Command, Output},
};

/// Where the simulator keeps compiled kernels: as the caller says, or by default.
fn kernels() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    variable("INFERNO_METAL_SIM_CACHE").or_else(|| {
        let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
        Some(cache?.join("inferno/metal-sim"))
    })
}

/// The command with this simulated GPU, or none, and no other settings of the caller's.
fn command(gpu: Option<&str>, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inferno"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("INFERNO_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).current_dir(env!("CARGO_TARGET_TMPDIR"));
    // also for runs with a cache of their own, which would compile each kernel anew
    if let Some(kernels) = kernels() {
        command.env("INFERNO_METAL_SIM_CACHE", kernels);
    }
    // its own tests switch it on, with a cache of their own
    command.env("INFERNO_BACKEND_SELF_TEST", "false");
    if let Some(gpu) = gpu {
        command.env("INFERNO_METAL_SIM", gpu);
    }
    command
}

/// What it printed, after success.
fn text(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{command:?}: {status}\n{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// The lines of `--json`.
fn events(command: &mut Command) -> Vec<Value> {
    text(command).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
