//! The self-test: every fault of the simulator is noticed or harmless, and what was noticed is told.

use super::{command, text};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const RUN: [&str; 7] =
    ["run", "Once upon a time", "--max-tokens", "3", "--temperature", "0", "--log-level=debug"];

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
fn right(gpu: &str, faults: &str, seed: &str, settings: &[&str]) -> String {
    let cache = tempfile::tempdir().unwrap();
    let arguments = [&RUN[..], &["--device", "MTL0"], settings].concat();
    let output = tested(gpu, faults, seed, cache.path(), &arguments).output().unwrap();
    let (text, log) = said(&output);
    assert!(output.status.success(), "{gpu} {faults} {seed}: {}\n{log}", output.status);
    assert_eq!(text.trim_end(), expected().trim_end(), "{gpu} {faults} {seed}:\n{log}");
    log
}

/// What a fault does on a device, as it is said.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Comes {
    /// Nothing is said: the patches or the plan keep it off.
    Harmless,
    /// The device is used in another way, which this names.
    Otherwise(&'static str),
    /// The CPU does everything.
    OnCpu,
    /// Any of these. The text is right in each case.
    Any,
}

/// One fault, and what it comes to on Apple's GPUs and on the others.
const FAULTS: [(&str, Comes, Comes); 8] = [
    // a concurrent encoder is used on Apple's alone
    ("reorder", Comes::Otherwise("a serial encoder"), Comes::Harmless),
    ("interleave", Comes::Otherwise("a serial encoder"), Comes::Harmless),
    ("stale-reads", Comes::Otherwise("a serial encoder"), Comes::Harmless),
    // what the drivers and the arithmetic of some do, all of it together
    ("shuffle,simd-max-half,flush-half,large-buffers,no-copy-alignment", Comes::Any, Comes::Harmless),
    // kernels that are wrong, by kind: attention can be left out, products cannot
    (
        "unfinished=kernel_flash_*",
        Comes::Otherwise("no flash attention"),
        Comes::Otherwise("no flash attention"),
    ),
    ("unfinished=kernel_mul_m*", Comes::OnCpu, Comes::OnCpu),
    // kernels that do not compile: operations go to the CPU one by one, or the device is not used
    ("nil-pipeline=kernel_mul_m*", Comes::Any, Comes::Any),
    ("timeout=5,nil-buffer=9", Comes::Any, Comes::Any),
];

#[track_caller]
fn holds_on(gpus: &[&str]) {
    for gpu in gpus {
        for (fault, on_apple, elsewhere) in FAULTS {
            let log = right(gpu, fault, "1", &[]);
            let failed = log.contains("MTL0 failed its self-test");
            match if gpu.starts_with("apple") { on_apple } else { elsewhere } {
                Comes::Harmless => assert!(!failed, "{gpu} {fault}: {log}"),
                Comes::Otherwise(way) => {
                    assert!(
                        failed && log.contains(&format!("tried in its place: {way}")),
                        "{gpu} {fault}: {log}"
                    );
                    assert!(!log.contains("the CPU does everything"), "{gpu} {fault}: {log}");
                }
                Comes::OnCpu => assert!(log.contains("the CPU does everything"), "{gpu} {fault}: {log}"),
                Comes::Any => {}
            }
        }
    }
}

// every profile, in parts that run side by side

#[test]
fn faults_are_noticed_or_harmless_on_apple_and_intel() {
    holds_on(&["apple-m1", "apple-m4", "intel-uhd630"]);
}

#[test]
fn faults_are_noticed_or_harmless_on_gcn() {
    holds_on(&["amd-gcn1", "amd-gcn4", "amd-gcn5"]);
}

#[test]
fn faults_are_noticed_or_harmless_on_rdna_and_kepler() {
    holds_on(&["amd-rdna1", "amd-rdna2", "amd-rdna2-egpu", "nvidia-kepler"]);
}

#[test]
fn the_rest_of_the_faults_ends_in_the_right_text() {
    let log = right("amd-rdna1", "reorder,profile", "2", &[]);
    assert!(!log.contains("failed its self-test"), "{log}");
    for fault in ["unaligned-loads", "nil-buffer=3", "exception=60"] {
        right("amd-rdna1", fault, "1", &[]);
    }
    let log = right("amd-rdna1", "nil-buffer=8MiB", "1", &[]);
    assert!(log.contains("the device refused a buffer") && log.contains("the CPU does everything"), "{log}");
}

#[test]
fn what_the_settings_ask_of_attention_is_tested_and_not_given_up() {
    let wrong = "unfinished=kernel_flash_*";
    // what nobody asks for is left out, and the device computes the rest
    for (asked, on_cpu) in [
        (&["--cache-type-k", "q8_0"][..], false),
        (&["--flash-attention", "off"], false),
        // a quantised V cache has no other way
        (&["--cache-type-k", "q8_0", "--cache-type-v", "q8_0"], true),
        (&["--flash-attention", "on"], true),
    ] {
        let log = right("amd-rdna1", wrong, "1", asked);
        assert_eq!(log.contains("the CPU does everything"), on_cpu, "{asked:?}: {log}");
    }
    // kernels of the default cache are right, and those that the settings need are not
    let log = right("amd-rdna1", "unfinished=kernel_set_rows_*_q8_0", "1", &[]);
    assert!(!log.contains("failed its self-test"), "{log}");
    // what moves positions turns all keys, which half precision has a kernel of its own for
    let log = right("amd-rdna1", "unfinished=kernel_rope_*_f16*", "1", &[]);
    assert!(log.contains("ROPE (f16") && log.contains("the CPU does everything"), "{log}");
    let log = right("amd-rdna1", "unfinished=kernel_set_rows_*_q8_0", "1", &["--cache-type-k", "q8_0"]);
    assert!(log.contains("SET_ROWS") && log.contains("the CPU does everything"), "{log}");
    // none to be had: what is computed in its place is tested as well
    let log = right("amd-rdna1", "nil-pipeline=kernel_flash_*,unfinished=kernel_soft_max*", "1", &[]);
    assert!(log.contains("SOFT_MAX"), "{log}");
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
