//! The devices that a model can run on, and which of them it is given.

mod facts;
mod policy;
mod profile;
mod select;
mod selftest;
mod split;
mod tuning;
mod verdict;
mod verdicts;
mod weights;

pub use facts::{Facts, Families, Location, Provenance, Vendor};
pub(crate) use policy::{Attention, Matrix, ModelFacts, Wishes, plan};
pub use policy::{Buffers, Choice, DevicePlan, Encoder, Plan};
pub use select::DeviceSelect;
pub(crate) use selftest::{Test, attend, keep_tuning, settle, system, verdict as test};
pub use tuning::{BuffersCost, Product, ProductShape, TunedProduct, Tuning};
pub use verdict::{Check, Fallback, Finding, Verdict};
pub use weights::CpuWeights;

use crate::{
    error::{Error, Result},
    gguf::Gguf,
    sys::{self, engine},
};
use serde::Serialize;

/// What sort of device it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeviceKind {
    /// The CPU with its host memory.
    Cpu,
    /// A graphics card with memory of its own, or a GPU of Apple's.
    Gpu,
    /// A graphics unit that shares the host's memory.
    IntegratedGpu,
    /// Something else that speeds up matrix products, such as a BLAS library.
    Accelerator,
}

/// A device, as its driver describes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Device {
    /// Position in the list, from 0.
    pub index: usize,
    /// Short name, unique in the list: `CPU`, `MTL0`.
    pub name: String,
    /// What the vendor calls it.
    pub description: String,
    /// What sort of device it is.
    pub kind: DeviceKind,
    /// Memory free at the moment, in bytes.
    pub memory_free: u64,
    /// Memory in all, in bytes.
    pub memory_total: u64,
    /// What else is known of a graphics device.
    pub facts: Option<Facts>,
    /// What the latest self-test came to that was kept, with any model and plan; none where there was none with this
    /// version, system and device.
    pub verdict: Option<Verdict>,
    /// What `inferno tune` measured, with this version, system and device.
    pub tuning: Option<Tuning>,
}

impl Device {
    /// Whether it is gone since the process began.
    pub(crate) fn is_lost(&self) -> bool {
        self.facts.as_ref().is_some_and(|facts| facts.lost)
    }
}

/// Lists the devices of this machine that this build can use.
///
/// # Errors
/// [`Error::Engine`] where a backend fails to start.
pub fn devices() -> Result<Vec<Device>> {
    let native = sys::devices().map_err(|failure| engine("devices", &failure))?;
    Ok(native
        .into_iter()
        .map(|d| {
            let facts = match (&d.profile, d.kind) {
                (Some(profile), _) => Some(Facts::new(profile)),
                (None, sys::DeviceKind::Gpu) => Some(Facts::of_name(&d.description, false, d.memory_total)),
                (None, sys::DeviceKind::IntegratedGpu) => {
                    Some(Facts::of_name(&d.description, true, d.memory_total))
                }
                (None, _) => None,
            };
            Device {
                index: d.index,
                name: d.name,
                description: d.description,
                kind: match (d.kind, &facts) {
                    (sys::DeviceKind::Gpu, Some(facts)) if facts.is_integrated() => DeviceKind::IntegratedGpu,
                    (sys::DeviceKind::Cpu, _) => DeviceKind::Cpu,
                    (sys::DeviceKind::Gpu, _) => DeviceKind::Gpu,
                    (sys::DeviceKind::IntegratedGpu, _) => DeviceKind::IntegratedGpu,
                    (sys::DeviceKind::Accelerator, _) => DeviceKind::Accelerator,
                },
                memory_free: d.memory_free,
                memory_total: d.memory_total,
                facts,
                verdict: None,
                tuning: None,
            }
        })
        .map(|device| Device {
            verdict: selftest::latest(&device),
            tuning: selftest::tuned(&device),
            ..device
        })
        .collect())
}

/// How a CPU of this machine would hold weights that are loaded with these settings.
///
/// # Errors
/// [`Error::Engine`] where a backend fails to start.
pub fn cpu_weights(repack: bool, mmap: bool) -> Result<CpuWeights> {
    let layout = sys::cpu_weight_layout().map_err(|failure| engine("devices", &failure))?;
    Ok(CpuWeights::choose(layout.as_deref(), repack, mmap))
}

/// The first of these devices that is gone, as an error; for a failure that this explains.
pub(crate) fn lost(names: &[String]) -> Option<Error> {
    let all = devices().ok()?;
    let gone = all.into_iter().find(|d| d.is_lost() && names.contains(&d.name))?;
    Some(Error::DeviceLost { device: gone.name })
}

/// Where a model goes, and how it runs there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Placement {
    /// The devices that were chosen, at least one.
    pub(crate) chosen: Vec<Device>,
    /// How they are used. It may leave them out, for the CPU.
    pub(crate) plan: Plan,
}

impl Placement {
    /// The devices that the plan uses, by name; at least one.
    pub(crate) fn names(&self) -> Vec<String> {
        match &self.plan.devices[..] {
            [] => {
                let cpu = self.chosen.iter().find(|d| d.facts.is_none());
                vec![cpu.map_or("CPU", |d| d.name.as_str()).to_owned()]
            }
            devices => devices.iter().map(|d| d.device.clone()).collect(),
        }
    }

    /// The graphics devices of the plan by their native indices, and how each is used; none for the CPU alone.
    pub(crate) fn native(&self) -> Vec<(usize, sys::DevicePlan)> {
        let index = |name: &str| self.chosen.iter().find(|d| d.name == name).map(|d| d.index);
        self.plan.devices.iter().filter_map(|d| Some((index(&d.device)?, d.native()))).collect()
    }
}

impl DeviceSelect {
    /// Chooses the devices, checks that there is memory for the weights, and decides how they are used.
    pub(crate) fn place(&self, gguf: &Gguf, wishes: Wishes) -> Result<Placement> {
        let all = devices()?;
        let chosen = self.choose(&all)?;
        let names: Vec<String> = chosen.iter().map(|d| d.name.clone()).collect();
        let needed = gguf.tensor_bytes();
        // free memory moves; what exceeds all of it, and that of the CPU, cannot ever fit
        let cpu = all.iter().find(|d| d.kind == DeviceKind::Cpu && !names.contains(&d.name));
        let memory: Vec<&Device> = chosen.iter().copied().chain(cpu).collect();
        let total: u64 = memory.iter().map(|d| d.memory_total).sum();
        if memory.iter().all(|d| d.memory_total > 0) && needed > total {
            return Err(Error::OutOfMemory {
                device: names.join(", "),
                needed,
                free: Some(memory.iter().map(|d| d.memory_free).sum()),
            });
        }
        let plan = policy::plan(&chosen, &ModelFacts::of(gguf), wishes);
        Ok(Placement { chosen: chosen.into_iter().cloned().collect(), plan })
    }
}

/// Gives memory that was freed back to the system. The C library keeps much of it otherwise, above all what many threads
/// freed; it takes milliseconds, and blocks.
#[cfg(feature = "server")]
pub(crate) fn trim_memory() {
    sys::trim_memory();
}

/// For programs that serve for a long time: from now on glibc keeps little of the memory that is freed, for the whole process.
/// By default it keeps up to 64 MiB for each of many arenas, as one large request after the other teaches it to.
#[cfg(feature = "server")]
pub fn keep_little_memory() {
    sys::keep_little_memory();
}

/// The devices with their free memory; of the host's, what new allocations can have where the system tells.
#[cfg(feature = "server")]
pub(crate) fn devices_now() -> Vec<Device> {
    // a backend that fails to start has failed at the load already
    let mut all = devices().unwrap_or_default();
    for device in all.iter_mut().filter(|device| device.kind == DeviceKind::Cpu) {
        device.memory_free = host_memory_available().unwrap_or(device.memory_free);
    }
    all
}

/// Memory that new allocations can have without swapping, in bytes, where the system tells (Linux).
pub(crate) fn host_memory_available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device with 4 GiB, whose full name is "the GPU NAME"; a graphics device has facts, with this registry id.
    pub(super) fn device(index: usize, name: &str, kind: DeviceKind, registry_id: u64) -> Device {
        let facts = Facts::new(&sys::DeviceProfile { registry_id, ..sys::DeviceProfile::default() });
        Device {
            index,
            name: name.into(),
            description: format!("the GPU {name}"),
            kind,
            memory_free: 4 << 30,
            memory_total: 4 << 30,
            verdict: None,
            tuning: None,
            facts: (kind != DeviceKind::Cpu).then_some(facts),
        }
    }

    /// A device as its profile describes it.
    pub(super) fn of_profile(index: usize, id: &str) -> Device {
        let path = format!("{}/src/device/profiles/{id}.toml", env!("CARGO_MANIFEST_DIR"));
        let table: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
        let number = |key: &str| u64::try_from(table[key]["value"].as_integer().unwrap()).unwrap();
        let small = |key: &str| u32::try_from(number(key)).unwrap();
        let flag = |key: &str| table[key]["value"].as_bool().unwrap();
        let facts = Facts::new(&sys::DeviceProfile {
            name: table["name"]["value"].as_str().unwrap().into(),
            registry_id: number("registry_id"),
            location: match table["location"]["value"].as_str().unwrap() {
                "external" => sys::DeviceLocation::External,
                "slot" => sys::DeviceLocation::Slot,
                _ => sys::DeviceLocation::BuiltIn,
            },
            low_power: flag("low_power"),
            removable: flag("removable"),
            headless: flag("headless"),
            unified_memory: flag("unified_memory"),
            max_buffer_size: number("max_buffer_length"),
            max_working_set: number("recommended_max_working_set"),
            threadgroup_memory: small("threadgroup_memory"),
            simdgroup_width: Some(small("simdgroup_width")),
            simdgroup_width_probed: true,
            simdgroup_reduction: flag("simdgroup_reduction"),
            simdgroup_matrix: flag("simdgroup_matrix"),
            bfloat: table["bfloat"]["value"].as_str().unwrap() != "none",
            family_apple: small("family_apple"),
            family_mac: small("family_mac"),
            family_common: small("family_common"),
            family_metal: small("family_metal"),
            lost: false,
        });
        Device {
            index,
            name: format!("MTL{index}"),
            description: table["name"]["value"].as_str().unwrap().into(),
            kind: if facts.is_integrated() { DeviceKind::IntegratedGpu } else { DeviceKind::Gpu },
            memory_free: facts.max_working_set,
            memory_total: facts.max_working_set,
            facts: Some(facts),
            verdict: None,
            tuning: None,
        }
    }

    #[test]
    fn this_machine_has_a_cpu() {
        assert!(devices().unwrap().iter().any(|d| d.kind == DeviceKind::Cpu && d.memory_total > 0));
    }
}
