//! The built-in model as a whole on simulated GPUs: what is computed where, and that it is right.

use super::{command, events, text};
use std::collections::BTreeSet;

/// What a run on this GPU says, and what of it ran on the CPU, by operation. Of the simulator's settings: `[("WIDTH", "8")]`.
fn run_on(gpu: &str, settings: &[(&str, &str)], arguments: &[&str]) -> (String, BTreeSet<String>) {
    let run = [
        "run",
        "Once upon a time",
        "--max-tokens",
        "6",
        "--temperature",
        "0",
        "--json",
        "--operations",
        "--quiet",
        "--device",
        "MTL0",
    ];
    let mut command = command(Some(gpu), &[&run as &[&str], arguments].concat());
    // errors of a kernel and what is not released make the end a failure
    command.env("INFERNO_METAL_SIM_STRICT", "1").env("INFERNO_METAL_SIM_FAULTS", "profile");
    for (name, value) in settings {
        command.env(format!("INFERNO_METAL_SIM_{name}"), value);
    }
    let events = events(&mut command);
    let said = events.iter().filter_map(|event| event["text"].as_str()).collect();
    let operations = events.last().unwrap()["operations"].as_array().unwrap();
    assert!(
        operations.iter().any(|o| o["operation"] == "MUL_MAT" && o["device"] == "MTL0"),
        "{operations:?}"
    );
    let on_cpu = operations.iter().filter(|o| o["device"] == "CPU");
    (said, on_cpu.map(|o| o["operation"].as_str().unwrap().to_owned()).collect())
}

/// llama.cpp keeps the token embeddings in the host's memory and looks them up there, on every backend.
fn only_the_embedding() -> BTreeSet<String> {
    BTreeSet::from(["GET_ROWS".to_owned()])
}

#[test]
fn a_quantised_cache_stays_on_a_gpu_without_matrix_units() {
    for (gpu, cache) in
        [("amd-rdna1", "q8_0"), ("amd-rdna1", "q4_0"), ("amd-gcn4", "q5_0"), ("nvidia-kepler", "q8_0")]
    {
        let (_, on_cpu) = run_on(gpu, &[], &["--cache-type-k", cache, "--cache-type-v", cache]);
        assert_eq!(on_cpu, only_the_embedding(), "{gpu} {cache}");
    }
}

#[test]
fn every_profile_tells_the_same_story() {
    let run =
        ["run", "Once upon a time", "--max-tokens", "6", "--temperature", "0", "--quiet", "--device", "cpu"];
    let expected = text(&mut command(None, &run));
    for (gpu, widths) in [
        ("amd-gcn1", ""),
        ("amd-gcn4", ""),
        ("amd-gcn5", ""),
        ("amd-rdna1", ""),
        ("amd-rdna2", ""),
        ("amd-rdna2-egpu", ""),
        ("apple-m1", ""),
        ("apple-m4", ""),
        ("intel-uhd630", ""),
        ("intel-uhd630", "8"),
        ("intel-uhd630", "16"),
        ("intel-uhd630", "8,16,32"),
        ("macbook-pro-16-2019", ""),
        ("nvidia-kepler", ""),
    ] {
        let (said, on_cpu) = run_on(gpu, &[("WIDTH", widths)], &[]);
        assert_eq!(said.trim_end(), expected.trim_end(), "{gpu} {widths}");
        assert_eq!(on_cpu, only_the_embedding(), "{gpu} {widths}");
    }
}

#[test]
fn a_gpu_is_as_often_right_as_the_cpu() {
    let report = |gpu, device| {
        let run = ["eval", "--limit", "1", "--json", "--quiet", "--device", device];
        let mut command = command(gpu, &run);
        // lanes that run one after the other take half the time
        events(command.env("INFERNO_METAL_SIM_MODE", "free")).pop().unwrap()
    };
    let expected = report(None, "cpu");
    for gpu in ["apple-m1", "amd-rdna1"] {
        let ours = report(Some(gpu), "MTL0");
        assert_eq!(ours["tasks"], expected["tasks"], "{gpu}");
        let perplexity = |report: &serde_json::Value| report["perplexity"].as_f64().unwrap();
        // the CPU rounds activations to 8 bits where the weights have 8, Metal's kernels do not
        assert!((perplexity(&ours) / perplexity(&expected) - 1.0).abs() < 0.01, "{gpu}: {ours} {expected}");
    }
}
