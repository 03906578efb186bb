//! Compiles the staged tree and the shim with the `cc` crate alone, and tells cargo what to link.
//!
//! Always optimised, whatever the cargo profile, and once per content: `cache.rs` keeps every object.

use crate::{
    cache::Cache,
    metal,
    pin::Pin,
    target::{Metal, Target},
};
use sha2::{Digest, Sha256};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Number of model files compiled as one translation unit: they are small, and share their headers' cost.
const MODELS_PER_UNIT: usize = 16;

/// The sources of packed weights and of attention, and the kernels of an architecture, each with the flags for instructions
/// that its file is compiled with beyond those before it. A compiler that does not know them leaves the file's kernels out.
type Kernels = &'static [(&'static str, &'static [&'static str])];
const AVX2: &[&str] = &["-mavx2", "-mfma", "-mf16c"];
const PANELS: &[&str] = &["panel/panel.cpp", "panel/panel-cpu.cpp", "panel/panel-pack.cpp"];
const PANEL_KERNELS_X86: Kernels = &[
    ("panel/panel-avx2.cpp", AVX2),
    ("panel/panel-avx512.cpp", &["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni"]),
    ("panel/panel-amx.cpp", &["-mavx512vbmi", "-mavx512bf16", "-mamx-tile", "-mamx-bf16"]),
    ("panel/panel-amx-int8.cpp", &["-mamx-int8"]),
];
const PANEL_KERNELS_ARM: Kernels = &[("panel/panel-dotprod.cpp", &["-march=armv8.2-a+dotprod"])];
const ATTENTION: &[&str] = &["attention/attention.cpp"];
const ATTENTION_KERNELS_X86: Kernels = &[
    ("attention/attention-avx2.cpp", AVX2),
    ("attention/attention-avx512.cpp", &["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq"]),
];

pub(crate) fn native(
    target: &Target,
    pin: &Pin,
    staged: &Path,
    here: &Path,
    out: &Path,
) -> Result<(), String> {
    let cache = Cache::open(out, staged)?;
    let for_cpu_cache = cache.with_headers(&staged.join("ggml/src/ggml-cpu"), true)?;
    let for_llama_cache = cache.with_headers(&staged.join("src"), true)?;
    let src = staged.join("ggml/src");
    let cpu = src.join("ggml-cpu");
    let arch = cpu.join("arch").join(match target.arch.as_str() {
        "x86_64" => "x86",
        "aarch64" => "arm",
        other => return Err(format!("the architecture {other} is not supported (x86_64, aarch64)")),
    });
    let in_dir = |dir: &Path, names: &[&str]| names.iter().map(|n| dir.join(n)).collect::<Vec<_>>();

    let base = |cpp: bool| base(target, staged, pin, cpp);
    let threaded = |cpp: bool| {
        let mut build = base(cpp);
        if target.openmp {
            build.define("GGML_USE_OPENMP", None).flag("-fopenmp");
        }
        build
    };
    let for_cpu = |cpp: bool| {
        let mut build = threaded(cpp);
        build.include(&cpu).define("GGML_USE_LLAMAFILE", None).define("GGML_USE_CPU_REPACK", None);
        for flag in &target.march {
            build.flag(flag);
        }
        if target.os == "macos" {
            build.define("GGML_USE_ACCELERATE", None).define("ACCELERATE_NEW_LAPACK", None);
            build.define("ACCELERATE_LAPACK_ILP64", None);
        }
        build
    };

    let mut objects = vec![];
    // the slowest translation units stand first
    let mut files = in_dir(
        &cpu,
        &["ops.cpp", "llamafile/sgemm.cpp", "binary-ops.cpp", "unary-ops.cpp", "repack.cpp", "amx/mmq.cpp"],
    );
    files.extend(in_dir(&cpu, &["ggml-cpu.cpp", "hbm.cpp", "traits.cpp", "amx/amx.cpp", "tiled/tiled.cpp"]));
    files.extend(in_dir(&cpu, &["tiled/tiled-kernel.cpp", "vec.cpp"]));
    files.push(arch.join("repack.cpp"));
    objects.extend(for_cpu_cache.compile(for_cpu(true), files)?);

    // kernels for instruction sets that are looked for at run time; absent where their patch is left out
    let kernels = match target.arch.as_str() {
        "x86_64" => [(PANELS, PANEL_KERNELS_X86), (ATTENTION, ATTENTION_KERNELS_X86)],
        _ => [(PANELS, PANEL_KERNELS_ARM), (ATTENTION, &[])],
    };
    for (files, kernels) in kernels {
        if !cpu.join(files[0]).is_file() {
            continue;
        }
        objects.extend(for_cpu_cache.compile(for_cpu(true), in_dir(&cpu, files))?);
        let mut build = for_cpu(true);
        for (file, flags) in kernels {
            for flag in *flags {
                build.flag_if_supported(flag);
            }
            objects.extend(for_cpu_cache.compile(build.clone(), in_dir(&cpu, &[file]))?);
        }
    }

    let mut files = in_dir(&cpu, &["ggml-cpu.c", "quants.c"]);
    files.push(arch.join("quants.c"));
    objects.extend(for_cpu_cache.compile(for_cpu(false), files)?);

    let mut llama = base(true);
    llama.include(staged.join("src")).define("GGML_USE_CPU", None);
    let mut files = units(&staged.join("src/models"), &out.join("units"))?;
    files.extend(sources(&staged.join("src"), &["cpp"])?);
    // not ggml.cpp: all it does is to replace the host's std::terminate handler by one that prints a backtrace
    files.extend(in_dir(
        &src,
        &["ggml-backend.cpp", "ggml-backend-meta.cpp", "ggml-opt.cpp", "ggml-threading.cpp"],
    ));
    files.extend(in_dir(&src, &["gguf.cpp", "ggml-backend-dl.cpp"]));
    objects.extend(for_llama_cache.compile(llama.clone(), files)?);
    // the one source that asks which backends there are, so that all others are the same with and without one
    if target.metal != Metal::Absent {
        llama.define("GGML_USE_METAL", None);
        objects.extend(metal::objects(target, pin, staged, here, out, &cache)?);
    }
    objects.extend(for_llama_cache.compile(llama, in_dir(&src, &["ggml-backend-reg.cpp"]))?);
    objects
        .extend(cache.compile(threaded(false), in_dir(&src, &["ggml.c", "ggml-quants.c", "ggml-alloc.c"]))?);

    let sys = here.join("src/sys");
    let mut shim = base(true);
    // llama-ext.h, which takes graphs down and tells what a context takes, is beside the sources
    shim.include(&sys).include(staged.join("src"));
    let files = in_dir(&sys, &["probe.cpp", "selftest.cpp", "shim.cpp"]);
    objects.extend(for_llama_cache.with_headers(&sys, true)?.compile(shim, files)?);

    let mut archive = cc::Build::new();
    println!("cargo::rustc-env=NATIVE_OBJECTS={}", hash_of(&objects));
    archive
        .cpp(true)
        .objects(&objects)
        .try_compile("inferno_llama")
        .map_err(|e| format!("archiving: {e}"))?;
    link(target);
    Ok(())
}

/// One hash for what was compiled: the cache names each object by the hash of all that it is made of.
fn hash_of(objects: &[PathBuf]) -> String {
    let mut names: Vec<_> = objects.iter().filter_map(|path| path.file_name()).collect();
    names.sort();
    let mut hash = Sha256::new();
    for name in names {
        hash.update(name.as_encoded_bytes());
    }
    hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect()
}

/// What all sources are compiled with.
pub(crate) fn base(target: &Target, staged: &Path, pin: &Pin, cpp: bool) -> cc::Build {
    let mut build = cc::Build::new();
    build
        .cpp(cpp)
        .std(if cpp { "c++17" } else { "c11" })
        .opt_level(3)
        .debug(false)
        .warnings(false)
        .extra_warnings(false)
        .pic(true)
        .define("NDEBUG", None)
        .define("GGML_SCHED_MAX_COPIES", "4")
        .define("_XOPEN_SOURCE", "600")
        .include(staged.join("ggml/include"))
        .include(staged.join("include"))
        .include(staged.join("ggml/src"))
        // an assertion that fails is thrown through C frames to the shim (see src/sys/shim.cpp)
        .flag_if_supported("-fexceptions")
        // no path of the build machine in the objects
        .flag_if_supported(format!(
            "-ffile-prefix-map={}=llama.cpp-{}",
            staged.display(),
            pin.get("llama_version").unwrap_or("")
        ));
    match target.os.as_str() {
        "macos" | "ios" => build.define("_DARWIN_C_SOURCE", None),
        _ => build.define("_GNU_SOURCE", None),
    };
    if let Some(version) = oldest_macos(target) {
        build.flag(format!("-mmacosx-version-min={version}"));
    }
    build
}

/// The oldest macOS that runs the result, where `MACOSX_DEPLOYMENT_TARGET` does not say: else `cc` would take the one of
/// the SDK, and every check for a newer system at run time would be compiled away. std::filesystem needs 10.15.
fn oldest_macos(target: &Target) -> Option<&'static str> {
    println!("cargo::rerun-if-env-changed=MACOSX_DEPLOYMENT_TARGET");
    (target.os == "macos" && env::var_os("MACOSX_DEPLOYMENT_TARGET").is_none())
        .then_some(if target.arch == "aarch64" { "11.0" } else { "10.15" })
}

fn link(target: &Target) {
    if target.openmp {
        println!("cargo::rustc-link-lib=gomp");
    }
    match target.os.as_str() {
        "linux" => ["m", "pthread", "dl"].iter().for_each(|lib| println!("cargo::rustc-link-lib={lib}")),
        "macos" => println!("cargo::rustc-link-lib=framework=Accelerate"),
        _ => {}
    }
    metal::link(target);
}

/// The files directly in a directory whose names end so, sorted.
pub(crate) fn sources(dir: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let wanted = |path: &PathBuf| path.extension().is_some_and(|x| extensions.iter().any(|e| x == *e));
    let mut files: Vec<_> = entries.flatten().map(|e| e.path()).filter(wanted).collect();
    files.sort();
    Ok(files)
}

/// Translation units that each include several of the directory's files.
fn units(dir: &Path, out: &Path) -> Result<Vec<PathBuf>, String> {
    fs::create_dir_all(out).map_err(|e| format!("{}: {e}", out.display()))?;
    let mut units = vec![];
    for (i, chunk) in sources(dir, &["cpp"])?.chunks(MODELS_PER_UNIT).enumerate() {
        let unit = out.join(format!("models-{i}.cpp"));
        let text: String = chunk
            .iter()
            .map(|file| format!("#include \"models/{}\"\n", file.file_name().expect("a file").display()))
            .collect();
        fs::write(&unit, text).map_err(|e| format!("{}: {e}", unit.display()))?;
        units.push(unit);
    }
    Ok(units)
}
