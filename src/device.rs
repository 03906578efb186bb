//! The devices that a model can run on, and which of them it is given.

mod facts;
mod profile;
mod select;
mod split;

pub use facts::{Facts, Families, Location, Vendor};
pub use select::DeviceSelect;

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
            let facts = d.profile.as_ref().map(Facts::new);
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
            }
        })
        .collect())
}

/// The first of these devices that is gone, as an error; for a failure that this explains.
pub(crate) fn lost(names: &[String]) -> Option<Error> {
    let all = devices().ok()?;
    let gone = all.into_iter().find(|d| d.is_lost() && names.contains(&d.name))?;
    Some(Error::DeviceLost { device: gone.name })
}

/// Where a model goes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Placement {
    /// At least one.
    pub(crate) names: Vec<String>,
    /// Native indices of the graphics devices; none for the CPU alone.
    pub(crate) devices: Vec<usize>,
    /// How many layers each of them holds; only where there are several.
    pub(crate) layers: Vec<u32>,
    /// -1 for all.
    pub(crate) gpu_layers: i32,
}

impl DeviceSelect {
    /// Chooses the devices, and checks that the weights can fit their memory.
    pub(crate) fn place(&self, gguf: &Gguf) -> Result<Placement> {
        let all = devices()?;
        let chosen = self.choose(&all)?;
        let names: Vec<String> = chosen.iter().map(|d| d.name.clone()).collect();
        let needed = gguf.tensor_bytes();
        // free memory moves; what exceeds all of it cannot ever fit
        let total: u64 = chosen.iter().map(|d| d.memory_total).sum();
        if chosen.iter().all(|d| d.memory_total > 0) && needed > total {
            return Err(Error::OutOfMemory {
                device: names.join(", "),
                needed,
                free: Some(chosen.iter().map(|d| d.memory_free).sum()),
            });
        }
        let graphics: Vec<&Device> = chosen
            .iter()
            .copied()
            .filter(|d| matches!(d.kind, DeviceKind::Gpu | DeviceKind::IntegratedGpu))
            .collect();
        Ok(Placement {
            names,
            devices: graphics.iter().map(|d| d.index).collect(),
            layers: if graphics.len() > 1 { split::layers(&graphics, gguf) } else { vec![] },
            gpu_layers: if graphics.is_empty() { 0 } else { -1 },
        })
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
            facts: (kind != DeviceKind::Cpu).then_some(facts),
        }
    }

    #[test]
    fn this_machine_has_a_cpu() {
        assert!(devices().unwrap().iter().any(|d| d.kind == DeviceKind::Cpu && d.memory_total > 0));
    }
}
