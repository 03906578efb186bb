//! What is compiled for: operating system, architecture, instruction set, threading library.

use std::env;

pub(crate) struct Target {
    pub(crate) os: String,
    pub(crate) arch: String,
    /// Flags that choose the instruction set, `-march=native` unless told otherwise.
    pub(crate) march: Vec<String>,
    pub(crate) openmp: bool,
    pub(crate) metal: Metal,
}

/// What the Metal backend is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metal {
    Absent,
    /// The system's Metal.
    Framework,
    /// The simulated GPU of `tests/metal-sim`.
    Simulated,
}

impl Target {
    pub(crate) fn from_env() -> Result<Self, String> {
        let get = |name: &str| env::var(name).map_err(|_| format!("{name} is not set: run through cargo"));
        let (os, arch) = (get("CARGO_CFG_TARGET_OS")?, get("CARGO_CFG_TARGET_ARCH")?);
        let cross = get("HOST")? != get("TARGET")?;
        let march = march(&arch, cross)?;
        // ggml's own threads wait as one of our patches has it: ARCHITECTURE.md compares them with OpenMP's
        let openmp = switch("INFERNO_OPENMP")?.unwrap_or(false);
        let metal = metal(&os)?;
        Ok(Self { os, arch, march, openmp, metal })
    }

    /// One line for `inferno --version`.
    pub(crate) fn description(&self) -> String {
        let march = if self.march.is_empty() { "baseline".to_owned() } else { self.march.join(" ") };
        let threads = if self.openmp { "OpenMP" } else { "ggml threads" };
        let metal = match self.metal {
            Metal::Absent => "",
            Metal::Framework => ", Metal",
            Metal::Simulated => ", simulated Metal",
        };
        format!("{march}, {threads}{metal}")
    }
}

/// `INFERNO_MARCH` names the instruction set for the compiler's `-march` (x86) or `-mcpu` (Arm): "native", "x86-64-v3",
/// "apple-m1", "baseline" for the compiler's default. Anything but native is announced: prompts were seen 70 to 90
/// times slower without the vector instructions of the machine.
fn march(arch: &str, cross: bool) -> Result<Vec<String>, String> {
    println!("cargo::rerun-if-env-changed=INFERNO_MARCH");
    let flag = if arch == "aarch64" { "-mcpu" } else { "-march" };
    let chosen = match env::var("INFERNO_MARCH") {
        Ok(value) if value.trim().is_empty() => {
            return Err("INFERNO_MARCH is empty: name an instruction set, \"native\" or \"baseline\"".into());
        }
        Ok(value) => value.trim().to_owned(),
        Err(_) if cross => "baseline".to_owned(),
        Err(_) => "native".to_owned(),
    };
    if chosen != "native" {
        println!(
            "cargo::warning=inferno's native code is built for `{chosen}`, not for this machine's CPU: inference on \
             the CPU can be tens of times slower. Unset INFERNO_MARCH, and do not cross-compile, for a native build."
        );
    }
    Ok(if chosen == "baseline" { vec![] } else { vec![format!("{flag}={chosen}")] })
}

/// Metal on macOS, unless `INFERNO_METAL=0`; the simulated one with the feature `metal-sim`.
fn metal(os: &str) -> Result<Metal, String> {
    let wanted = switch("INFERNO_METAL")?;
    if cfg!(feature = "metal-sim") {
        return match os {
            "linux" => Ok(Metal::Simulated),
            _ => Err(format!(
                "the feature metal-sim simulates Metal on Linux; the target is {os}: build without it"
            )),
        };
    }
    match (os, wanted) {
        ("macos", None | Some(true)) => Ok(Metal::Framework),
        (_, Some(true)) => Err(format!("INFERNO_METAL=1: there is no Metal on {os}")),
        _ => Ok(Metal::Absent),
    }
}

/// A variable that is 0 or 1.
pub(crate) fn switch(name: &str) -> Result<Option<bool>, String> {
    println!("cargo::rerun-if-env-changed={name}");
    match env::var(name).as_deref() {
        Ok("1") => Ok(Some(true)),
        Ok("0") => Ok(Some(false)),
        Ok(other) => Err(format!("{name}={other:?}: must be 0 or 1")),
        Err(_) => Ok(None),
    }
}
