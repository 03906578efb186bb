//! The CPU's packed weights: chosen where there are kernels, as exact as ggml's, and the same for any number of threads.

use inferno::{ContextOptions, LoadOptions, LoadedModel, Session, Tokenize};
use std::{env, fs, ops::ControlFlow, path::Path, process::Command, sync::Arc};

/// Whether this CPU has kernels for packed weights.
fn has_kernels() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

fn load(repack: bool) -> Arc<LoadedModel> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/spark-7m-q8_0.gguf");
    let mut options = LoadOptions::default();
    options.repack = repack;
    LoadedModel::load(file, &options, |_| ControlFlow::Continue(())).unwrap()
}

#[test]
fn weights_are_packed_into_panels() {
    let packed = inferno::cpu_weights(true, true).unwrap();
    let panels = packed.layout.as_deref().is_some_and(|layout| layout.starts_with("CPU_PANEL_"));
    assert_eq!(panels, has_kernels(), "{packed}");
    assert_eq!(inferno::cpu_weights(false, true).unwrap().layout, None);
}

/// The negative log-probability of a held-out text, in nats a token.
fn nats(model: &Arc<LoadedModel>, threads: usize) -> f64 {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/eval/heldout.txt")).unwrap();
    let text: String = text.chars().take(2000).collect();
    let tokens = model.tokenize(&text, Tokenize { add_special: true, parse_special: false }).unwrap();
    let mut options = ContextOptions::default();
    options.threads = Some(threads);
    options.context_size = Some(512);
    let mut session = Session::new(model, &options).unwrap();
    let tokens = &tokens[..tokens.len().min(200)];
    let mut sum = 0.0;
    for (token, next) in tokens.iter().zip(&tokens[1..]) {
        session.decode(*token).unwrap();
        let logits = session.logits().unwrap();
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let all: f64 = logits.iter().map(|x| f64::from(x - most).exp()).sum();
        sum += all.ln() - f64::from(logits[usize::try_from(*next).unwrap()] - most);
    }
    sum / (tokens.len() - 1) as f64
}

#[test]
fn packed_weights_predict_as_those_of_the_file() {
    let packed = load(true);
    let (with, without) = (nats(&packed, 2), nats(&load(false), 2));
    // 200 tokens; both round activations to eight bits, ggml their scales to halves as well
    assert!((with - without).abs() < 1e-2, "nats a token: {with} packed, {without} as the file has them");
    assert_eq!(with.to_bits(), nats(&packed, 1).to_bits(), "one thread and two");
}

/// Every kernel against sums in double precision, and the graphs with one to eight threads: tests/cpu/panels.cpp.
#[test]
fn panel_kernels_are_as_exact_as_ggmls() {
    let tree = Path::new(env!("NATIVE_STAGED_TREE"));
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("panels");
    let flags = inferno::native_version().flags;
    let compiled = Command::new(env::var_os("CXX").unwrap_or_else(|| "c++".into()))
        .args(["-std=c++17", "-O1", "-w", "-o"])
        .arg(&program)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cpu/panels.cpp"))
        .args(
            ["ggml/include", "ggml/src", "ggml/src/ggml-cpu"]
                .map(|dir| format!("-I{}", tree.join(dir).display())),
        )
        .arg(tree.parent().unwrap().join("libinferno_llama.a"))
        .args(flags.contains("OpenMP").then_some("-lgomp"))
        .args(if cfg!(target_os = "macos") {
            &["-framework", "Accelerate"][..]
        } else {
            &["-lm", "-lpthread", "-ldl"]
        })
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    for mode in ["check", "graph"] {
        let ran = Command::new(&program).arg(mode).env("OMP_WAIT_POLICY", "passive").output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{mode}: {:?}\n{said}", ran.status);
        assert!(said.contains(if has_kernels() { "all hold" } else { "no kernels" }), "{said}");
    }
}
