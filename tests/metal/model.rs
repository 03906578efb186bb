//! The built-in model as a whole on simulated GPUs: what is computed where, and that it is right.

use super::{command, events, text};
use std::collections::BTreeSet;

/// What ran on the CPU in a run on this GPU, by operation.
fn left_to_the_cpu(gpu: &str, arguments: &[&str]) -> BTreeSet<String> {
    let run = [
        "run",
        "Once upon a time",
        "--max-tokens",
        "4",
        "--temperature",
        "0",
        "--json",
        "--operations",
        "--quiet",
    ];
    let account =
        events(&mut command(Some(gpu), &[&run as &[&str], &["--device", "MTL0"], arguments].concat()))
            .pop()
            .unwrap();
    let operations = account["operations"].as_array().unwrap();
    assert!(operations.iter().any(|o| o["operation"] == "MUL_MAT" && o["device"] == "MTL0"), "{account}");
    operations
        .iter()
        .filter(|o| o["device"] == "CPU")
        .map(|o| o["operation"].as_str().unwrap().to_owned())
        .collect()
}

/// llama.cpp keeps the token embeddings in the host's memory and looks them up there, on every backend.
fn only_the_embedding() -> BTreeSet<String> {
    BTreeSet::from(["GET_ROWS".to_owned()])
}

#[test]
fn a_quantised_cache_stays_on_a_gpu_without_matrix_units() {
    for cache in ["f16", "q8_0", "q4_0"] {
        let arguments = ["--cache-type-k", cache, "--cache-type-v", cache];
        assert_eq!(left_to_the_cpu("amd-rdna1", &arguments), only_the_embedding(), "{cache}");
    }
    assert_eq!(left_to_the_cpu("intel-uhd630", &[]), only_the_embedding());
    assert_eq!(left_to_the_cpu("apple-m1", &[]), only_the_embedding());
}

#[test]
fn every_profile_tells_the_same_story() {
    let run = ["run", "Once upon a time", "--max-tokens", "6", "--temperature", "0", "--quiet", "--device"];
    let expected = text(&mut command(None, &[&run as &[&str], &["cpu"]].concat()));
    for gpu in [
        "amd-gcn1",
        "amd-gcn4",
        "amd-gcn5",
        "amd-rdna1",
        "amd-rdna2",
        "apple-m1",
        "apple-m4",
        "intel-uhd630",
        "macbook-pro-16-2019",
        "nvidia-kepler",
    ] {
        let mut command = command(Some(gpu), &[&run as &[&str], &["MTL0"]].concat());
        // errors of a kernel and what is not released make the end a failure
        command.env("INFERNO_METAL_SIM_STRICT", "1").env("INFERNO_METAL_SIM_FAULTS", "profile");
        assert_eq!(text(&mut command), expected, "{gpu}");
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
