//! Each Metal patch on simulated GPUs: a case that fails without it and passes with it.
//!
//! Operations are those of `tests/metal-sim/cases`, a program of its own: a device is chosen once in a process. It is
//! linked with the native code that this package was built with.

use super::{command, text};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn staged() -> &'static Path {
    Path::new(env!("NATIVE_STAGED_TREE"))
}

/// The program of `tests/metal-sim/cases`, compiled once.
fn cases() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("metal-cases");
        let compiler = std::env::var("INFERNO_CLANG").unwrap_or_else(|_| "clang++-19".into());
        let status = Command::new(compiler)
            .args(["-std=c++20", "-O2", "-Wall", "-Wno-bitwise-instead-of-logical", "-rdynamic"])
            .arg(format!("-I{}", staged().join("ggml/include").display()))
            .arg(root().join("tests/metal-sim/cases/cases.cpp"))
            .arg(staged().parent().unwrap().join("libinferno_llama.a"))
            .args(["-lpthread", "-ldl", "-lm", "-o"])
            .arg(&program)
            .status()
            .unwrap();
        assert!(status.success());
        program
    })
}

/// A run of cases on a device, with settings of the simulator: `[("FAULTS", "reorder")]`.
fn run(device: &str, settings: &[(&str, &str)], names: &[&str]) -> Output {
    let mut command = Command::new(cases());
    // the reference is computed on the CPU: threads that spin would take the time of the simulated GPU
    command.args(names).env("INFERNO_METAL_SIM", device);
    for (name, value) in settings {
        command.env(format!("INFERNO_METAL_SIM_{name}"), value);
    }
    command.output().unwrap()
}

#[track_caller]
fn passes(device: &str, settings: &[(&str, &str)], names: &[&str]) {
    let output = run(device, settings, names);
    assert!(
        output.status.success(),
        "{device} {settings:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What a kernel did in one dispatch.
#[derive(Debug, PartialEq)]
struct Dispatch {
    kernel: String,
    threadgroups: u64,
    /// Bytes that it loaded, by index of the buffer.
    read: Vec<u64>,
}

/// The dispatches of a case that passes.
#[track_caller]
fn dispatches(device: &str, settings: &[(&str, &str)], name: &str) -> Vec<Dispatch> {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{device}-{name}.trace"));
    let trace = [("TRACE", file.to_str().unwrap()), ("COUNT_BYTES", "1")];
    passes(device, &[&trace, settings].concat(), &[name]);
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    fs::read_to_string(file)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|event| event["event"] == "dispatch" && event["kernel"] != "kernel_simdgroup_probe")
        .map(|event| Dispatch {
            kernel: event["kernel"].as_str().unwrap().into(),
            threadgroups: event["threadgroups"].as_array().unwrap().iter().map(number).product(),
            read: event["bytes_read_of"].as_array().unwrap().iter().map(number).collect(),
        })
        .collect()
}

// metal-memset-fills-only-its-range

#[test]
fn memset_tensor_fills_only_its_range() {
    passes("amd-rdna1", &[], &["memset_range"]);
    passes("apple-m1", &[], &["memset_range"]);
}

// metal-follows-a-plan

#[test]
fn every_plan_computes_the_same() {
    for device in ["amd-rdna1", "apple-m1"] {
        passes(device, &[("STRICT", "1")], &["plans"]);
    }
    passes("amd-rdna1", &[("FAULTS", "no-copy-alignment")], &["plans"]);
}

// metal-fa-vec-stays-inside-its-threadgroup-memory, metal-fa-vec-reads-p-before-it-is-reused,
// metal-fa-vec-keeps-sums-in-registers, metal-fa-vec-reads-indices-before-the-next-ones

#[test]
fn flash_attention_vec_stays_inside_its_threadgroup_memory() {
    passes("apple-m1", &[], &["attention_vec"]);
}

#[test]
fn flash_attention_vec_needs_no_lockstep() {
    for seed in ["1", "2", "3"] {
        passes("apple-m1", &[("MODE", "free"), ("SEED", seed)], &["attention_vec"]);
    }
}

#[test]
fn flash_attention_vec_merges_simdgroups_without_lockstep() {
    for device in ["apple-m1", "amd-gcn4"] {
        for seed in ["1", "2", "3"] {
            passes(device, &[("MODE", "free"), ("SEED", seed)], &["attention_vec_long"]);
        }
    }
}

#[test]
fn flash_attention_vec_reads_indices_without_lockstep() {
    for seed in ["1", "2", "3"] {
        passes("apple-m1", &[("MODE", "free"), ("SEED", seed)], &["attention_vec_listed"]);
    }
}

// metal-solve-tri-reads-only-what-is-solved

#[test]
fn solve_tri_reads_only_what_is_solved() {
    for device in ["apple-m1", "amd-rdna1"] {
        passes(device, &[], &["solve_tri"]);
        passes(device, &[("MODE", "free"), ("SEED", "1")], &["solve_tri"]);
    }
}

// metal-block-scales-are-divided-in-float

#[test]
fn q4_k_is_as_exact_as_q5_k_with_small_weights() {
    for device in ["apple-m1", "amd-rdna1"] {
        passes(device, &[], &["small_weights"]);
        passes(device, &[("FAULTS", "flush-half")], &["small_weights"]);
    }
}

// metal-fa-without-a-mask-divides-by-one

/// Of the three kinds of kernels the one for Apple's tensor units is not simulated; it is given the same.
#[test]
fn flash_attention_without_a_mask_divides_by_nothing() {
    for device in ["apple-m1", "amd-rdna1"] {
        passes(device, &[("FAULTS", "division-by-zero")], &["attention_no_mask"]);
    }
}

// metal-maxima-of-half-go-through-float

#[test]
fn attention_skips_only_blocks_that_are_wholly_masked() {
    for device in ["apple-m1", "amd-rdna1"] {
        passes(device, &[("FAULTS", "simd-max-half")], &["attention_masks"]);
    }
}

// metal-simdgroups-show-what-they-can-do

#[test]
fn intel_takes_what_its_simdgroups_can_do() {
    passes("intel-uhd630", &[], &["reductions"]);
}

/// The probe has 32 threads, and the first kernel after it has 8.
#[test]
fn a_kernel_of_another_width_than_the_probe_is_noticed() {
    for widths in ["32,8", "8,32"] {
        passes("intel-uhd630", &[("WIDTH", widths)], &["reductions"]);
    }
}

/// Its command buffer is the first: what is not known to work is done without.
#[test]
fn a_probe_that_fails_leaves_threadgroup_memory() {
    passes("amd-rdna1", &[("FAULTS", "timeout=1")], &["reductions"]);
    passes("amd-rdna1", &[("FAULTS", "nil-pipeline=kernel_simdgroup_probe")], &["reductions"]);
}

// metal-nil-pipelines-are-answered

#[test]
fn an_operation_without_a_pipeline_goes_to_the_cpu() {
    let faults = [("FAULTS", "nil-pipeline=kernel_soft_max*")];
    passes("amd-rdna1", &faults, &["nil_pipeline"]);
    // Apple's GPUs are not asked before: there it is an error of the graph
    passes("apple-m1", &faults, &["nil_pipeline_later"]);
}

// metal-refused-fusions-run-one-by-one

#[test]
fn operations_whose_fusion_is_refused_run_one_by_one() {
    for device in ["amd-rdna1", "apple-m1"] {
        let kernels = |settings: &[(&str, &str)]| -> Vec<String> {
            dispatches(device, settings, "fused").into_iter().map(|d| d.kernel).collect()
        };
        let fused = "kernel_rms_norm_mul_f32_4";
        assert_eq!(kernels(&[]), [fused; 4], "{device}");
        let apart = kernels(&[("FAULTS", "nil-pipeline=kernel_rms_norm_mul*")]);
        assert!(apart.len() == 8 && !apart.iter().any(|kernel| kernel == fused), "{device}: {apart:?}");
    }
}

// metal-a-library-that-does-not-compile-is-missed-alone

#[test]
fn a_library_that_does_not_compile_is_missed_alone() {
    passes("amd-rdna1", &[("FAULTS", "nil-library=kernel_soft_max*")], &["nil_pipeline"]);
    // without any there is no device
    let output = run("amd-rdna1", &[("FAULTS", "nil-library=*")], &["fused"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

// metal-failures-of-memory-and-commands-are-errors

#[test]
fn failures_of_memory_and_commands_are_errors() {
    passes("amd-rdna1", &[("FAULTS", "no-copy-alignment")], &["copies"]);
    // the first buffer is the probe's, and so is the first command buffer
    passes("amd-rdna1", &[("FAULTS", "nil-buffer=2")], &["nil_map"]);
    // fill, two inputs, and the two command buffers of the graph
    for number in 2..=6 {
        passes("amd-rdna1", &[("FAULTS", &format!("timeout={number}"))], &["timeout"]);
    }
}

// metal-scalar-flash-attention

#[test]
fn flash_attention_runs_without_matrix_units() {
    let names = ["attention_shapes", "attention_options", "attention_masks", "attention_no_mask"];
    passes("amd-rdna1", &[], &names);
    // 32 KiB of threadgroup memory, also with simdgroups of 64
    passes("intel-uhd630", &[], &names);
    passes("amd-gcn1", &[], &names);
    // a missing barrier shows where simdgroups do not keep step
    for seed in ["1", "2"] {
        passes("amd-rdna1", &[("MODE", "free"), ("SEED", seed)], &names);
    }
}

#[test]
fn a_prompt_shares_the_cache_between_queries() {
    const K: usize = 2;
    const V: usize = 3;
    let one = &dispatches("amd-rdna1", &[], "attention_one")[0];
    let prompt = &dispatches("amd-rdna1", &[], "attention_prompt")[0];
    assert_eq!(prompt.kernel, "kernel_flash_attn_ext_scalar_f16_nv2");
    // 64 queries, and each part of the cache is read for 16 of them at once
    assert_eq!(16 * (prompt.read[K] + prompt.read[V]) / 64, one.read[K] + one.read[V]);
}

// metal-mul-mv-ext-for-any-number-of-columns, metal-tiled-products-without-matrix-units

#[test]
fn a_few_columns_share_the_weights() {
    passes("amd-rdna1", &[], &["products"]);
    // 896 rows and 20 columns; the mat-vec kernel has 4480 threadgroups
    let [product] = &dispatches("amd-rdna1", &[], "few_columns")[..] else { panic!("one dispatch") };
    assert_eq!(product.kernel, "kernel_mul_mv_ext_q4_K_f32_r1_5");
    assert_eq!(product.threadgroups, 448);
}

#[test]
fn a_prompt_shares_the_weights_between_columns() {
    passes("amd-rdna1", &[], &["products", "expert_products"]);
    passes("amd-rdna1", &[("MODE", "free"), ("SEED", "1")], &["products", "expert_products"]);
    // 896 rows and 512 columns; the mat-vec kernel has 114688 threadgroups and reads 186 kB of weights for a token
    let [product] = &dispatches("amd-rdna1", &[], "prompt_product")[..] else { panic!("one dispatch") };
    assert_eq!(product.threadgroups, 112);
    assert!(product.read[1] / 512 < 6000, "{product:?}");
}

// metal-expert-products-scale-only-tiles-of-half

#[test]
fn expert_products_run_on_any_simdgroup() {
    // of 64 lanes, and without reductions
    for device in ["amd-gcn1", "nvidia-kepler"] {
        passes(device, &[], &["expert_products"]);
    }
}

// metal-serial-encoder-without-unified-memory

/// The built-in model's greedy continuation, on a simulated GPU or on the CPU.
fn story(gpu: Option<&str>, settings: &[(&str, &str)]) -> String {
    let device = if gpu.is_some() { "MTL0" } else { "cpu" };
    let run =
        ["run", "Once upon a time", "--max-tokens", "8", "--temperature", "0", "--quiet", "--device", device];
    let mut command = command(gpu, &run);
    for (name, value) in settings {
        command.env(format!("INFERNO_METAL_SIM_{name}"), value);
    }
    text(&mut command)
}

#[test]
fn text_survives_barriers_that_order_nothing() {
    let cpu = story(None, &[]);
    for seed in ["1", "2", "3", "4", "5"] {
        assert_eq!(story(Some("amd-rdna1"), &[("FAULTS", "reorder"), ("SEED", seed)]), cpu, "seed {seed}");
    }
}

// metal-groups-of-32-lanes-in-any-simdgroup

#[test]
fn groups_of_32_lanes_are_made_of_any_simdgroup() {
    let names = ["lanes", "vectors"];
    passes("amd-gcn5", &[], &names);
    passes("nvidia-kepler", &[], &names);
    for width in ["8", "16", "64"] {
        passes("intel-uhd630", &[("WIDTH", width)], &["lanes"]);
    }
    // a missing barrier shows where simdgroups do not keep step
    passes("intel-uhd630", &[("WIDTH", "8"), ("MODE", "free"), ("SEED", "1")], &["lanes"]);
    passes("amd-gcn5", &[("MODE", "free"), ("SEED", "1")], &["lanes"]);
}

// metal-unaligned-words-are-read-in-halves

#[test]
fn no_word_is_read_across_its_alignment() {
    passes("amd-gcn4", &[("FAULTS", "unaligned-loads")], &["words"]);
}

// metal-assertions-fail-the-graph

#[test]
fn an_exception_while_encoding_blocks_nothing() {
    // this many were encoded before: of the first graph those of this thread, of a thread of the backend, and of the second
    for dispatch in ["40", "120", "190", "240"] {
        passes("amd-rdna1", &[("FAULTS", &format!("exception={dispatch}"))], &["exception_while_encoding"]);
    }
    passes("apple-m1", &[("FAULTS", "exception=190")], &["exception_while_encoding"]);
}

// metal-products-take-a-measured-shape

#[test]
fn products_take_the_shape_that_was_measured() {
    for (gpu, settings) in
        [("amd-rdna1", &[][..]), ("amd-gcn5", &[]), ("apple-m1", &[]), ("intel-uhd630", &[("WIDTH", "8")])]
    {
        passes(gpu, settings, &["shapes"]);
    }
    passes("amd-rdna1", &[], &["more_shapes", "expert_shapes"]);
    // 302 rows, four of them a threadgroup, where upstream has two in each of two simdgroups
    let [product] = &dispatches("amd-rdna1", &[], "shaped_product")[..] else { panic!("one dispatch") };
    assert_eq!(product.kernel, "kernel_mul_mv_q4_K_f32_r0_4");
    assert_eq!(product.threadgroups, 76);
}

// metal-names-the-kernels-of-an-operation

#[test]
fn an_operation_names_its_kernels() {
    passes("amd-rdna1", &[], &["kernel_names"]);
}

// metal-libraries-wait-until-they-are-needed

/// The libraries of kernels that a run compiles.
fn libraries(gpu: &str, settings: &[(&str, &str)]) -> BTreeSet<String> {
    let run = ["run", "Once", "--max-tokens", "2", "--device", "MTL0", "--log-level=trace"];
    let mut command = command(Some(gpu), &run);
    for (name, value) in settings {
        command.env(format!("INFERNO_METAL_SIM_{name}"), value);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{gpu}: {output:?}");
    let log = String::from_utf8(output.stderr).unwrap();
    let name =
        |line: &str| Some(line.split_once(": compiled '")?.1.split_once("' library in ")?.0.to_owned());
    log.lines().filter_map(name).collect()
}

#[test]
fn a_device_starts_with_the_kernels_that_it_uses() {
    let has = |all: &BTreeSet<String>, name: &str| all.contains(name);
    // Apple's GPUs compile what they do without the patches, and nothing of what stands in for matrix units
    let apple = libraries("apple-m1", &[]);
    let all = ["mul_mv", "mul_mv_mma", "mul_mm", "fa_f16", "fa_q8_0", "fa_vec_f16", "softmax", "wkv"];
    assert!(all.iter().all(|name| has(&apple, name)), "{apple:?}");
    assert!(!["fa_scalar", "mul_mm_scalar", "mul_mv_rows"].iter().any(|name| has(&apple, name)), "{apple:?}");
    assert_eq!(apple.len(), 35);
    // and without these units the other way round
    let rdna = libraries("amd-rdna1", &[]);
    assert!(["fa_scalar", "mul_mm_scalar", "fa_vec_f16"].iter().all(|name| has(&rdna, name)), "{rdna:?}");
    let matrix = ["mul_mv_mma", "mul_mm", "fa_f16", "fa_f32", "fa_q8_0", "mul_mv_rows"];
    assert!(!matrix.iter().any(|name| has(&rdna, name)), "{rdna:?}");
    // attention for one query is another kernel where groups meet in threadgroup memory
    let kepler = libraries("nvidia-kepler", &[]);
    assert!(!has(&kepler, "fa_vec_f16") && has(&kepler, "fa_scalar"), "{kepler:?}");
}
