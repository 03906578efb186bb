//! The command on simulated GPUs: the feature `metal-sim`. Each run is a process, as a GPU is chosen once in each.

#![expect(clippy::unwrap_used, reason = "tests")]

mod devices;
mod model;
mod patches;
mod plan;
mod selftest;

use serde_json::Value;
use std::process::{Command, Output};

/// The command with this simulated GPU, or none, and no other settings of the caller's.
fn command(gpu: Option<&str>, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inferno"));
    for (name, _) in std::env::vars_os() {
        // where compiled kernels are kept may be shared
        if name.to_string_lossy().starts_with("INFERNO_") && name != "INFERNO_METAL_SIM_CACHE" {
            command.env_remove(name);
        }
    }
    command.args(arguments).current_dir(env!("CARGO_TARGET_TMPDIR"));
    // threads of the CPU's part that spin would take the time of the simulated GPU
    command.env("OMP_WAIT_POLICY", "passive");
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
