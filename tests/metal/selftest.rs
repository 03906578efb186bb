//! The self-test: every fault of the simulator is noticed or harmless, and what was noticed is told.

use super::{command, text};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const RUN: [&str; 7] =
    ["run", "Once upon a time", "--max-tokens", "6", "--temperature", "0", "--log-level=debug"];

/// The command with the self-test on, and a cache of its own.
fn tested(gpu: &str, faults: &str, seed: &str, cache: &Path, arguments: &[&str]) -> Command {
    let mut command = command(Some(gpu), arguments);
    command.env_remove("INFERNO_BACKEND_SELF_TEST").env("XDG_CACHE_HOME", cache);
    command.env("INFERNO_METAL_SIM_FAULTS", faults).env("INFERNO_METAL_SIM_SEED", seed);
    command
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// What the CPU says.
fn expected() -> &'static str {
    static TEXT: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    TEXT.get_or_init(|| text(&mut command(None, &[&RUN[..6], &["--quiet", "--device", "cpu"]].concat())))
}

/// Holds that the text is the CPU's, and returns what was logged.
#[track_caller]
fn right(gpu: &str, faults: &str, seed: &str) -> String {
    let cache = tempfile::tempdir().unwrap();
    let arguments = [&RUN[..], &["--device", "MTL0"]].concat();
    let output = tested(gpu, faults, seed, cache.path(), &arguments).output().unwrap();
    let (text, log) = said(&output);
    assert!(output.status.success(), "{gpu} {faults} {seed}: {}\n{log}", output.status);
    assert_eq!(text.trim_end(), expected().trim_end(), "{gpu} {faults} {seed}:\n{log}");
    log
}

#[test]
fn barriers_that_order_nothing_are_noticed_where_an_encoder_is_concurrent() {
    for fault in ["reorder", "interleave", "stale-reads"] {
        for seed in if fault == "reorder" { &["1", "2"][..] } else { &["1"] } {
            let log = right("apple-m1", fault, seed);
            assert!(log.contains("MTL0 failed its self-test"), "{fault} {seed}: {log}");
            assert!(log.contains("tried in its place: a serial encoder"), "{fault} {seed}: {log}");
            assert!(!log.contains("the CPU does everything"), "{fault} {seed}: {log}");
        }
    }
    let log = right("apple-m1", "shuffle", "3");
    assert!(!log.contains("failed its self-test"), "{log}");
}

#[test]
fn what_a_serial_encoder_or_a_patch_cures_is_harmless() {
    for fault in [
        "reorder,interleave",
        "stale-reads",
        "simd-max-half",
        "profile",
        "large-buffers",
        "no-copy-alignment",
    ] {
        let log = right("amd-rdna1", fault, "1");
        assert!(!log.contains("failed its self-test"), "{fault}: {log}");
    }
    // noticed or not: the text is right
    right("apple-m1", "no-copy-alignment", "1");
    right("intel-uhd630", "reorder,flush-half", "1");
}

#[test]
fn what_fails_ends_on_the_cpu_or_in_a_safer_plan() {
    for fault in [
        "unaligned-loads",
        "nil-buffer=3",
        "nil-pipeline=kernel_flash_*",
        "nil-pipeline=kernel_mul_m*",
        "timeout=5",
    ] {
        right("amd-rdna1", fault, "1");
    }
    let log = right("amd-rdna1", "nil-buffer=8MiB", "1");
    assert!(log.contains("the device refused a buffer") && log.contains("the CPU does everything"), "{log}");
}

#[test]
fn what_comes_after_the_self_test_is_a_typed_error() {
    for (gpu, fault, says) in [
        ("amd-rdna2-egpu", "unplug=3", "the device MTL0 is gone"),
        ("amd-rdna2-egpu", "unplug=900", "the device MTL0 is gone"),
        ("amd-rdna1", "timeout=900", "failed"),
    ] {
        let cache = tempfile::tempdir().unwrap();
        let arguments =
            [&RUN[..2], &["--max-tokens", "200", "--ignore-eos", "--temperature", "0", "--device", "MTL0"]]
                .concat();
        let output = tested(gpu, fault, "1", cache.path(), &arguments).output().unwrap();
        let (_, log) = said(&output);
        assert_eq!(output.status.code(), Some(1), "{fault}: {log}");
        assert!(log.contains(says), "{fault}: {log}");
    }
}

#[test]
fn a_verdict_is_kept_and_a_damaged_one_is_not_believed() {
    let cache = tempfile::tempdir().unwrap();
    let run = |more: &[&str]| {
        let arguments = [&RUN[..], &["--device", "MTL0"], more].concat();
        said(&tested("amd-rdna1", "", "1", cache.path(), &arguments).output().unwrap()).1
    };
    let (now, before) = ("self-test device=MTL0 passed=true", "the self-test was done before");
    let log = run(&["--no-self-test"]);
    assert!(!log.contains(now) && !log.contains(before), "{log}");
    let log = run(&[]);
    assert!(log.contains(now), "{log}");
    let log = run(&[]);
    assert!(!log.contains(now) && log.contains(before), "{log}");
    let dir = cache.path().join("inferno/self-test");
    let file = fs::read_dir(&dir).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let log = run(&[]);
    assert!(log.contains(now), "{log}");
}

#[test]
fn the_doctor_says_what_is_well_and_what_to_do() {
    let cache = tempfile::tempdir().unwrap();
    let report = cache.path().join("report.md");
    let arguments = ["doctor", "--device", "MTL0", "--json", "--report", report.to_str().unwrap()];
    let output = tested("amd-rdna1", "", "1", cache.path(), &arguments).output().unwrap();
    let (json, log) = said(&output);
    assert_eq!(output.status.code(), Some(0), "{json}\n{log}");
    let found: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(found["well"], true);
    let device = &found["devices"][0];
    assert_eq!(
        (device["simulated"].as_bool(), device["model"]["done"]["text_is_right"].as_bool()),
        (Some(true), Some(true))
    );
    let checks = device["self_test"]["done"]["checks"].as_array().unwrap();
    for operation in ["MUL_MAT", "FLASH_ATTN_EXT", "SET_ROWS", "ROPE", "CHAIN", "COPIES", "MEMORY"] {
        let ours: Vec<_> = checks.iter().filter(|c| c["operation"] == operation).collect();
        assert!(!ours.is_empty() && ours.iter().all(|c| c["finding"] == "right"), "{operation}: {ours:?}");
    }
    let report = fs::read_to_string(report).unwrap();
    assert!(report.contains("simulated") && report.contains("Radeon Pro 5300M"));
    let home = std::env::var("HOME").unwrap_or_default();
    assert!(!report.contains(&std::env::temp_dir().display().to_string()));
    assert!(home.len() < 2 || !report.contains(&home), "the report names {home}");

    let output =
        tested("apple-m1", "reorder", "1", cache.path(), &["doctor", "--device", "MTL0"]).output().unwrap();
    let (text, log) = said(&output);
    assert_eq!(output.status.code(), Some(5), "{text}\n{log}");
    assert!(text.contains("its self-test failed") && text.contains("a serial encoder"), "{text}");
}
