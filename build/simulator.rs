//! Compiles the simulated Metal of the feature `metal-sim`: `tests/metal-sim` in place of the framework and the GPU.
//!
//! Objective-C for Apple's runtime, blocks and Objective-C++ need clang; GCC's Objective-C is of another kind.

use crate::{cache::Cache, compile, pin::Pin, profiles, target::Target};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The clang that the simulator is tested with; `INFERNO_CLANG` names another.
const CLANG: &str = "clang++-19";

pub(crate) struct Simulator {
    clang: String,
    /// `tests/metal-sim`.
    dir: PathBuf,
    /// The facts about devices that it follows.
    profiles: PathBuf,
}

impl Simulator {
    pub(crate) fn find(here: &Path) -> Result<Self, String> {
        println!("cargo::rerun-if-env-changed=INFERNO_CLANG");
        let dir = here.join("tests/metal-sim");
        if !dir.is_dir() {
            return Err(
                "the feature metal-sim needs the simulator, which is in inferno's repository and not in the \
                        published package: depend on the repository, or build without the feature"
                    .into(),
            );
        }
        println!("cargo::rerun-if-changed=tests/metal-sim");
        let clang = env::var("INFERNO_CLANG").unwrap_or_else(|_| CLANG.to_owned());
        let version = Command::new(&clang).arg("--version").stdout(Stdio::piped()).output();
        let says = version.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
        if !says.contains("clang version") {
            return Err(format!(
                "the feature metal-sim needs clang's C++ compiler, and `{clang}` is none: install clang-19, lld-19 and \
                 libblocksruntime-dev, or name another clang++ in INFERNO_CLANG"
            ));
        }
        Ok(Self { clang, dir, profiles: here.join("src/device/profiles") })
    }

    /// The directory that stands for the system's frameworks.
    pub(crate) fn framework(&self) -> PathBuf {
        self.dir.join("host/include")
    }

    /// Makes a build one for the simulated macOS, which is that of an Intel Mac on any machine (TargetConditionals.h).
    /// Residency sets are compiled out there, as upstream has it: they change when memory is paged, not what is computed.
    pub(crate) fn dress(&self, mut build: cc::Build) -> cc::Build {
        build
            .compiler(&self.clang)
            .include(self.framework())
            // the code that clang makes for Apple's runtime, which host/ implements
            .flag("-fobjc-runtime=macosx-10.15")
            .flag("-fblocks")
            // exceptions pass through, but none is Objective-C's
            .flag("-fno-objc-exceptions");
        build
    }

    /// Compiles the simulator itself.
    pub(crate) fn objects(
        &self,
        target: &Target,
        staged: &Path,
        pin: &Pin,
        out: &Path,
        cache: &Cache,
    ) -> Result<Vec<PathBuf>, String> {
        let (gpu, host) = (self.dir.join("gpu"), self.dir.join("host"));
        // with those in msl/: kernels and the executor share what they say of each other
        let for_gpu = cache.with_headers(&gpu, true)?;
        let for_host = for_gpu.with_headers(&host, true)?;
        let build = |cpp: bool| {
            let mut build = self.dress(compile::base(target, staged, pin, cpp));
            build
                .include(&gpu)
                .include(&host)
                // where the compiler of kernels finds its translator and its headers at run time
                .define("INFERNO_METAL_SIM_DIR", quoted(&gpu.display().to_string()).as_str());
            if cpp {
                build.std("c++20");
            }
            build
        };
        let table = out.join("metal-sim-profiles.cpp");
        fs::write(&table, profiles::table(&self.profiles)?)
            .map_err(|e| format!("{}: {e}", table.display()))?;
        let mut objects = for_host.compile(build(true), vec![table])?;
        for dir in directories(&gpu)? {
            objects.extend(for_gpu.compile(build(true), compile::sources(&dir, &["cpp"])?)?);
        }
        for dir in directories(&host)? {
            objects.extend(for_host.compile(build(true), compile::sources(&dir, &["cpp", "mm"])?)?);
            objects.extend(for_host.compile(build(false), compile::sources(&dir, &["m"])?)?);
        }
        Ok(objects)
    }
}

pub(crate) fn link() {}

/// A string for a macro.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The directory and all below it.
fn directories(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = vec![dir.to_owned()];
    let entries = fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut below: Vec<_> = entries.flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect();
    below.sort();
    for dir in below {
        found.extend(directories(&dir)?);
    }
    Ok(found)
}
