//! `inferno tune`: measured on simulated GPUs by bytes and threadgroups, kept, used, and forgotten.

use super::{command, text, tiny};
use serde_json::Value;
use std::{fs, path::Path, process::Command};

/// The command on this device, with a cache of its own.
fn on(gpu: &str, cache: &Path, arguments: &[&str]) -> Command {
    let mut command = command(Some(gpu), &[arguments, &["--device", "MTL0"]].concat());
    command.env("XDG_CACHE_HOME", cache);
    // the self-test is to run with what was measured, and counts load no faster for lanes that keep step
    command.env_remove("INFERNO_BACKEND_SELF_TEST").env("INFERNO_METAL_SIM_MODE", "free");
    command
}

fn json(command: &mut Command) -> Value {
    serde_json::from_str(&text(command)).unwrap()
}

/// The plan of the built-in model.
fn plan(gpu: &str, cache: &Path) -> Value {
    let mut command = command(Some(gpu), &["devices", "--json"]);
    let all = json(command.env("XDG_CACHE_HOME", cache).env("INFERNO_METAL_SIM_MODE", "free"));
    all.as_array().unwrap().iter().find(|d| d["name"] == "MTL0").unwrap()["plan"]["devices"][0].clone()
}

/// The best for each product with so many columns.
fn best(found: &Value, columns: u64) -> Vec<&Value> {
    let products = found["devices"][0]["products"].as_array().unwrap();
    products.iter().filter(|p| p["columns"] == columns).map(|p| &p["best"]).collect()
}

const RUN: [&str; 7] = ["run", "Once upon a time", "--max-tokens", "3", "--temperature", "0", "--quiet"];

#[test]
fn what_costs_less_is_found_kept_used_and_forgotten() {
    let expected = text(&mut command(None, &[&RUN[..], &["--device", "cpu"]].concat()));
    for (gpu, own_memory) in [("amd-rdna1", true), ("amd-gcn5", true), ("apple-m1", false)] {
        let cache = tempfile::tempdir().unwrap();
        let found = json(&mut on(gpu, cache.path(), &["tune", "--json"]));
        assert_eq!(found["devices"][0]["tuning"]["simulated"], true);
        for product in found["devices"][0]["products"].as_array().unwrap() {
            assert_eq!(
                (&product["skipped"], &product["discarded"]),
                (&Value::Null, &0.into()),
                "{gpu}: {product}"
            );
        }
        // upstream's two rows of a simdgroup, of which four share a row's sum, read the other operand more often
        for best in best(&found, 1) {
            assert_eq!(best["rows_per_simdgroup"], 4, "{gpu}: {best}");
            assert!(best["before"].as_f64().unwrap() > best["after"].as_f64().unwrap(), "{gpu}: {best}");
        }
        let buffers = &found["devices"][0]["tuning"]["buffers"];
        if own_memory {
            assert_eq!(
                (&buffers[0]["buffers"], &buffers[0]["cost"]),
                (&"private".into(), &0.0.into()),
                "{gpu}"
            );
            let shared = buffers.as_array().unwrap().iter().find(|b| b["buffers"] == "shared").unwrap();
            assert!(shared["cost"].as_f64().unwrap() > 0.0, "{gpu}: {buffers}");
        } else {
            assert_eq!(buffers, &Value::Array(vec![]), "{gpu}");
        }

        let plan_then = plan(gpu, cache.path());
        assert!(plan_then["shapes"]["reason"].as_str().unwrap().contains("simulated"), "{gpu}: {plan_then}");
        assert!(!plan_then["shapes"]["value"].as_array().unwrap().is_empty(), "{gpu}");
        let file = cache.path().join("trace");
        let mut run = on(gpu, cache.path(), &RUN);
        let said = text(run.env("INFERNO_METAL_SIM_TRACE", &file));
        assert_eq!(said.trim_end(), expected.trim_end(), "{gpu}");
        let used = fs::read_to_string(&file).unwrap();
        assert!(used.contains("kernel_mul_mv_q8_0_f32_r0_4"), "{gpu}: the shapes are not used");
        let verdicts = fs::read_dir(cache.path().join("inferno/self-test")).unwrap().flatten();
        let verdicts: Vec<_> = verdicts.map(|f| fs::read_to_string(f.path()).unwrap()).collect();
        assert!(
            verdicts.iter().any(|v| v.contains("measured shapes") && v.contains("\"passed\":true")),
            "{gpu}"
        );

        text(&mut on(gpu, cache.path(), &["tune", "--reset"]));
        let plan = plan(gpu, cache.path());
        assert_eq!(plan["shapes"]["value"], Value::Array(vec![]), "{gpu}");
        assert!(plan["shapes"]["reason"].as_str().unwrap().contains("inferno tune"), "{gpu}: {plan}");
    }
}

#[test]
fn what_is_wrong_is_discarded_and_a_dry_run_keeps_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let mut tune = on("amd-rdna1", cache.path(), &["tune", "--json", "--dry-run"]);
    // kernels with four rows are wrong, and those with one do not compile
    tune.env(
        "INFERNO_METAL_SIM_FAULTS",
        "unfinished=kernel_mul_mv_q8_0_f32_r0_4,nil-pipeline=kernel_mul_mv_q8_0_f32_r0_1",
    );
    let found = json(&mut tune);
    assert_eq!(found["kept"], false);
    for product in found["devices"][0]["products"].as_array().unwrap().iter().filter(|p| p["columns"] == 1) {
        assert_eq!((&product["tried"], &product["discarded"]), (&9.into(), &6.into()), "{product}");
    }
    for best in best(&found, 1) {
        assert!(best.is_null() || best["rows_per_simdgroup"] == 2, "{best}");
    }
    assert!(!cache.path().join("inferno/tuning").exists());
}

#[test]
fn experts_are_measured_and_run_in_their_shapes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("experts.gguf");
    tiny::experts(&file);
    let model = ["--model", file.to_str().unwrap()];
    for gpu in ["amd-rdna1", "apple-m1"] {
        let cache = tempfile::tempdir().unwrap();
        let found = json(&mut on(gpu, cache.path(), &[&["tune", "--json"][..], &model].concat()));
        let products = found["devices"][0]["products"].as_array().unwrap();
        let experts: Vec<_> = products.iter().filter(|p| p["experts"] == 4).collect();
        assert_eq!(experts.len(), 2 * 3, "{gpu}: two kinds of matrices, and three numbers of columns");
        for product in products {
            assert_eq!(
                (&product["skipped"], &product["discarded"]),
                (&Value::Null, &0.into()),
                "{gpu}: {product}"
            );
        }
        for product in experts {
            assert_eq!((&product["matrix"], &product["tried"]), (&"bf16".into(), &9.into()), "{gpu}");
            assert_eq!(product["best"]["rows_per_simdgroup"], 4, "{gpu}: {product}");
        }
        let trace = cache.path().join("trace");
        let mut run = on(gpu, cache.path(), &[&RUN[..], &model].concat());
        text(run.env("INFERNO_METAL_SIM_TRACE", &trace));
        let used = fs::read_to_string(&trace).unwrap();
        for kernel in ["kernel_mul_mv_id_bf16_f32_4_r0_4", "kernel_mul_mv_bf16_f32_4_r0_4"] {
            assert!(used.contains(kernel), "{gpu}: {kernel} is not used");
        }
    }
}

/// The way that real devices are measured. What the time is of a simulated one says nothing, but that it is measured.
#[test]
fn time_is_measured_where_nothing_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("small.gguf");
    tiny::small(&file);
    let arguments = ["tune", "--json", "--dry-run", "--model", file.to_str().unwrap()];
    let mut tune = on("apple-m1", dir.path(), &arguments);
    let found = json(tune.env("INFERNO_METAL_SIM_TIMED", "1"));
    let device = &found["devices"][0];
    assert_eq!(device["tuning"]["simulated"], false);
    for product in device["products"].as_array().unwrap() {
        assert_eq!((&product["skipped"], &product["discarded"]), (&Value::Null, &0.into()), "{product}");
        if !product["best"].is_null() {
            let cost = |name: &str| product["best"][name].as_f64().unwrap();
            assert!(
                0.0 < cost("after") && cost("after") < cost("before") && cost("before") < 60.0,
                "{product}"
            );
        }
    }
}
