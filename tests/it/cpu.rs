//! The CPU's packed weights: chosen where there are kernels, as exact as ggml's, and the same for any number of threads.

use inferno::{ContextOptions, LoadOptions, LoadedModel, Session, Tokenize};
use std::{
    env, fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

/// Whether this CPU has kernels for packed weights.
fn has_kernels() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c");
    #[cfg(target_arch = "aarch64")]
    return cfg!(target_os = "linux")
        && std::arch::is_aarch64_feature_detected!("dotprod")
        && inferno::native_version().flags.starts_with("baseline");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// The built-in model.
const SPARK: &str = "models/spark-7m-q8_0.gguf";

fn load(file: &Path, repack: bool) -> Arc<LoadedModel> {
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

/// What was packed leaves the mapped file: of the file, only what is used as it stands there is resident.
#[test]
#[cfg(target_os = "linux")]
fn weights_are_in_memory_once() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("spark-in-memory-once.gguf");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(SPARK), &file).unwrap();
    let resident = || {
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut of_file = false;
        maps.lines().fold(0, |sum, line| {
            if line.split_whitespace().next().is_some_and(|range| range.contains('-')) {
                of_file = line.ends_with("spark-in-memory-once.gguf");
            }
            let kib = line
                .strip_prefix("Rss:")
                .filter(|_| of_file)
                .and_then(|rest| rest.trim().strip_suffix(" kB"));
            sum + kib.map_or(0, |kib| kib.parse::<u64>().unwrap() * 1024)
        })
    };
    let of_layers: u64 = inferno::gguf::Gguf::open(&file)
        .unwrap()
        .tensors()
        .iter()
        .filter(|tensor| tensor.name.starts_with("blk.") && tensor.dims.len() > 1)
        .map(|tensor| tensor.size_bytes)
        .sum();
    let size = fs::metadata(&file).unwrap().len();
    let mapped = load(&file, false);
    assert!(resident() >= of_layers, "{} of {of_layers} bytes of a mapped file's layers", resident());
    drop(mapped);
    let packed = load(&file, true);
    if has_kernels() {
        // and the page in which a tensor begins or ends
        let most = size - of_layers + 4096 * 2 * 100;
        assert!(resident() <= most, "{} of {size} bytes, of which {of_layers} were packed", resident());
    }
    drop(packed);
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
    let program = compiled("requantise", "requantise", &["-O1"]);
    for kind in ["q4_k_m", "q5_k_m", "q6_k", "q8_0", "q4_0"] {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("spark-{kind}.gguf"));
        let made = Command::new(&program)
            .args([Path::new(env!("CARGO_MANIFEST_DIR")).join(SPARK).as_path(), &file])
            .arg(kind)
            .output()
            .unwrap();
        assert!(made.status.success(), "{kind}: {}", String::from_utf8_lossy(&made.stderr));
        let packed = load(&file, true);
        let (with, without) = (nats(&packed, 2), nats(&load(&file, false), 2));
        // 200 tokens; both round activations to eight bits, ggml their scales to halves as well
        assert!((with - without).abs() < 1e-2, "{kind}: nats a token: {with} packed, {without} not");
        assert_eq!(with.to_bits(), nats(&packed, 1).to_bits(), "{kind}: one thread and two");
    }
}

/// Compiles a program of `tests/cpu` against the staged sources and the library.
fn compiled(name: &str, program: &str, arguments: &[&str]) -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(program);
    let library = Path::new(env!("NATIVE_STAGED_TREE")).parent().unwrap().join("libinferno_llama.a");
    compile(&[&format!("tests/cpu/{name}.cpp"), "-o", path(&program)], arguments, &{
        let mut linked = vec![path(&library)];
        if inferno::native_version().flags.contains("OpenMP") {
            linked.push("-lgomp");
        }
        linked.extend(if cfg!(target_os = "macos") {
            &["-framework", "Accelerate"][..]
        } else {
            &["-lm", "-lpthread", "-ldl"]
        });
        linked
    });
    program
}

fn compile(what: &[&str], arguments: &[&str], after: &[&str]) {
    let tree = Path::new(env!("NATIVE_STAGED_TREE"));
    let includes = ["include", "ggml/include", "ggml/src", "ggml/src/ggml-cpu"];
    let compiled = Command::new(env::var_os("CXX").unwrap_or_else(|| "c++".into()))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["-std=c++17", "-w"])
        .args(includes.map(|dir| format!("-I{}", tree.join(dir).display())))
        .args(arguments)
        .args(what)
        .args(after)
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
}

fn path(path: &Path) -> &str {
    path.to_str().expect("the target directory is UTF-8")
}

/// Runs a program of `tests/cpu`, which must say that all holds, or that this CPU has no kernels.
fn all_hold(program: &Path, mode: &str) {
    let ran = Command::new(program).arg(mode).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{mode}: {:?}\n{said}", ran.status);
    assert!(said.contains(if has_kernels() { "all hold" } else { "no kernels" }), "{said}");
}

/// Every kernel against sums in double precision, and the graphs with one to eight threads: tests/cpu/panels.cpp.
#[test]
fn panel_kernels_are_as_exact_as_ggmls() {
    let program = compiled("panels", "panels", &["-O1"]);
    all_hold(&program, "check");
    all_hold(&program, "graph");
}

/// The kernels for AMX, on a CPU without: their tile instructions are replaced by tests/cpu/amx-in-software.h.
#[test]
#[cfg(target_arch = "x86_64")]
fn amx_kernels_are_as_exact_as_ggmls() {
    if !std::arch::is_x86_feature_detected!("avx512bf16")
        || !std::arch::is_x86_feature_detected!("avx512vbmi")
        || !std::arch::is_x86_feature_detected!("avx512vnni")
    {
        return;
    }
    let mut flags = vec!["-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq"];
    flags.extend(["-mavx512vnni", "-mavx512vbmi", "-mavx512bf16", "-mamx-tile", "-mamx-int8", "-mamx-bf16"]);
    flags.extend(["-O2", "-c", "-include", "tests/cpu/amx-in-software.h"]);
    flags.push("-Dpanel_kernels_amx=panel_kernels_amx_in_software");
    flags.push("-Dpanel_kernels_amx_int8=panel_kernels_amx_int8_in_software");
    let objects = ["panel-amx", "panel-amx-int8"].map(|name| {
        let sources = Path::new(env!("NATIVE_STAGED_TREE")).join("ggml/src/ggml-cpu/panel");
        let object = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.o"));
        compile(&[path(&sources.join(format!("{name}.cpp"))), "-o", path(&object)], &flags, &[]);
        object
    });
    let arguments = ["-O1", "-DAMX_IN_SOFTWARE", path(&objects[0]), path(&objects[1])];
    let program = compiled("panels", "panels-amx", &arguments);
    all_hold(&program, "check");
    all_hold(&program, "graph");
}

/// Attention over a prompt against sums in double precision, with one to eight threads: tests/cpu/attention.cpp.
#[test]
fn attention_is_as_exact_as_ggmls() {
    if has_kernels() {
        all_hold(&compiled("attention", "attention", &["-O1"]), "check");
    }
}
