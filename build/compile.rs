//! Compiles the staged tree and the shim with the `cc` crate alone, and tells cargo what to link.
//!
//! Always optimised, whatever the cargo profile, and once per content: every object is kept in a cache directory
//! under a hash of its source, all headers, the flags and the compiler. The directory is shared between profiles
//! (`INFERNO_BUILD_CACHE`, or `inferno-native` in cargo's target directory), so that a second profile only links.

use crate::{pin::Pin, target::Target};
use sha2::{Digest, Sha256};
use std::{
    env, fs,
    path::{Path, PathBuf},
    rc::Rc,
};

/// Number of model files compiled as one translation unit: they are small, and share their headers' cost.
const MODELS_PER_UNIT: usize = 16;

pub(crate) fn native(
    target: &Target,
    pin: &Pin,
    staged: &Path,
    here: &Path,
    out: &Path,
) -> Result<(), String> {
    let cache = Cache::open(out, staged)?;
    let for_cpu_cache = cache.with_headers(&staged.join("ggml/src/ggml-cpu"))?;
    let for_llama_cache = cache.with_headers(&staged.join("src"))?;
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

    let mut files = in_dir(&cpu, &["ggml-cpu.c", "quants.c"]);
    files.push(arch.join("quants.c"));
    objects.extend(for_cpu_cache.compile(for_cpu(false), files)?);

    let mut llama = base(true);
    llama.include(staged.join("src")).define("GGML_USE_CPU", None);
    let mut files = units(&staged.join("src/models"), &out.join("units"))?;
    files.extend(sources(&staged.join("src"))?);
    // not ggml.cpp: all it does is to replace the host's std::terminate handler by one that prints a backtrace
    files.extend(in_dir(
        &src,
        &["ggml-backend.cpp", "ggml-backend-meta.cpp", "ggml-opt.cpp", "ggml-threading.cpp"],
    ));
    files.extend(in_dir(&src, &["gguf.cpp", "ggml-backend-reg.cpp", "ggml-backend-dl.cpp"]));
    objects.extend(for_llama_cache.compile(llama, files)?);
    objects
        .extend(cache.compile(threaded(false), in_dir(&src, &["ggml.c", "ggml-quants.c", "ggml-alloc.c"]))?);

    let sys = here.join("src/sys");
    let mut shim = base(true);
    shim.include(&sys);
    objects.extend(cache.with_headers(&sys)?.compile(shim, vec![sys.join("shim.cpp")])?);

    let mut archive = cc::Build::new();
    archive
        .cpp(true)
        .objects(&objects)
        .try_compile("inferno_llama")
        .map_err(|e| format!("archiving: {e}"))?;
    link(target);
    Ok(())
}

fn base(target: &Target, staged: &Path, pin: &Pin, cpp: bool) -> cc::Build {
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
    build
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
}

/// The `.cpp` files directly in a directory, sorted.
fn sources(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut files: Vec<_> =
        entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|x| x == "cpp")).collect();
    files.sort();
    Ok(files)
}

/// Translation units that each include several of the directory's files.
fn units(dir: &Path, out: &Path) -> Result<Vec<PathBuf>, String> {
    fs::create_dir_all(out).map_err(|e| format!("{}: {e}", out.display()))?;
    let mut units = vec![];
    for (i, chunk) in sources(dir)?.chunks(MODELS_PER_UNIT).enumerate() {
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

/// Objects by the hash of everything that goes into them.
struct Cache {
    dir: PathBuf,
    /// Hash over the headers in the directories that the sources include from.
    headers: Vec<u8>,
    /// Sources that units include, by their path relative to `src`.
    models: PathBuf,
    /// Held until the build script ends, so that two builds do not compile the same objects twice.
    _lock: Rc<fs::File>,
}

impl Cache {
    fn open(out: &Path, staged: &Path) -> Result<Self, String> {
        println!("cargo::rerun-if-env-changed=INFERNO_BUILD_CACHE");
        let dir = match env::var_os("INFERNO_BUILD_CACHE") {
            Some(dir) => PathBuf::from(dir),
            // the root of cargo's target directory: it keeps facts about rustc there, and CACHEDIR.TAG where it made
            // the directory itself
            None => out
                .ancestors()
                .find(|dir| [".rustc_info.json", "CACHEDIR.TAG"].iter().any(|name| dir.join(name).is_file()))
                .unwrap_or(out)
                .join("inferno-native"),
        };
        let fail = |e: std::io::Error| format!("{}: {e}", dir.display());
        fs::create_dir_all(&dir).map_err(fail)?;
        let lock = fs::File::create(dir.join("lock")).map_err(fail)?;
        lock.lock().map_err(fail)?;

        // ggml's and llama.cpp's public headers, and ggml's own, which lie directly in ggml/src
        let public = [("ggml/include", true), ("include", true), ("ggml/src", false)];
        let mut headers = vec![];
        for (dir, recursive) in public {
            headers.extend(hash_headers(&staged.join(dir), recursive).map_err(fail)?);
        }
        Ok(Self { dir, headers, models: staged.join("src"), _lock: Rc::new(lock) })
    }

    /// The same cache for sources that also include headers of this directory.
    fn with_headers(&self, dir: &Path) -> Result<Self, String> {
        let more = hash_headers(dir, true).map_err(|e| format!("{}: {e}", dir.display()))?;
        let headers = [self.headers.clone(), more].concat();
        Ok(Self {
            dir: self.dir.clone(),
            headers,
            models: self.models.clone(),
            _lock: Rc::clone(&self._lock),
        })
    }

    /// The objects of these files, compiled now where the cache does not hold them.
    fn compile(&self, mut build: cc::Build, files: Vec<PathBuf>) -> Result<Vec<PathBuf>, String> {
        let compiler = build.get_compiler();
        let mut common = Sha256::new();
        common.update(&self.headers);
        common.update(version_of(&compiler));
        for arg in compiler.args() {
            // flags that hold paths of one checkout do not change the code
            let text = arg.to_string_lossy();
            if !text.starts_with("-ffile-prefix-map") && !Path::new(arg).is_absolute() {
                common.update(text.as_bytes());
                common.update([0]);
            }
        }
        let mut objects = Vec::with_capacity(files.len());
        let mut missing = vec![];
        for file in files {
            let mut hash = common.clone();
            self.hash_source(&file, &mut hash)?;
            let key: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
            let object = self.dir.join(format!("{key}.o"));
            if !object.is_file() {
                missing.push((file, object.clone()));
            }
            objects.push(object);
        }
        if !missing.is_empty() {
            let made = build
                .files(missing.iter().map(|(file, _)| file))
                .try_compile_intermediates()
                .map_err(|e| format!("compiling llama.cpp: {e}"))?;
            for (made, (_, object)) in made.iter().zip(&missing) {
                // moved in one step: a build that is killed leaves no half object behind
                let partial = object.with_extension("partial");
                fs::copy(made, &partial)
                    .and_then(|_| fs::rename(&partial, object))
                    .map_err(|e| format!("{}: {e}", object.display()))?;
            }
        }
        Ok(objects)
    }

    fn hash_source(&self, file: &Path, hash: &mut Sha256) -> Result<(), String> {
        let text = fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
        for line in text.split(|b| *b == b'\n') {
            let included = line.strip_prefix(b"#include \"models/").and_then(|l| l.strip_suffix(b"\""));
            if let Some(name) = included.and_then(|n| std::str::from_utf8(n).ok()) {
                let path = self.models.join("models").join(name);
                hash.update(fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?);
            }
        }
        hash.update(&text);
        Ok(())
    }
}

fn version_of(compiler: &cc::Tool) -> Vec<u8> {
    let output = compiler.to_command().arg("--version").output();
    // -march=native means another thing on another machine
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpu.lines().find(|l| l.starts_with("flags") || l.starts_with("Features")).unwrap_or("");
    let mut version = output.map(|o| o.stdout).unwrap_or_default();
    version.extend(flags.as_bytes());
    version
}

fn hash_headers(root: &Path, recursive: bool) -> std::io::Result<Vec<u8>> {
    let mut headers = vec![];
    collect_headers(root, recursive, &mut headers)?;
    headers.sort();
    let mut hash = Sha256::new();
    for path in headers {
        hash.update(path.file_name().expect("a file").as_encoded_bytes());
        hash.update(fs::read(&path)?);
    }
    Ok(hash.finalize().to_vec())
}

fn collect_headers(dir: &Path, recursive: bool, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            if recursive {
                collect_headers(&path, true, into)?;
            }
        } else if path.extension().is_some_and(|x| x == "h" || x == "hpp" || x == "inc") {
            into.push(path);
        }
    }
    Ok(())
}
