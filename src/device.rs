//! The devices that a model can run on, and which of them it is given.

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
    /// A graphics card with memory of its own.
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
}

/// Lists the devices of this machine that this build can use.
///
/// # Errors
/// [`Error::Engine`] where a backend fails to start.
pub fn devices() -> Result<Vec<Device>> {
    let native = sys::devices().map_err(|failure| engine("devices", &failure))?;
    Ok(native
        .into_iter()
        .map(|d| Device {
            index: d.index,
            name: d.name,
            description: d.description,
            kind: match d.kind {
                sys::DeviceKind::Cpu => DeviceKind::Cpu,
                sys::DeviceKind::Gpu => DeviceKind::Gpu,
                sys::DeviceKind::IntegratedGpu => DeviceKind::IntegratedGpu,
                sys::DeviceKind::Accelerator => DeviceKind::Accelerator,
            },
            memory_free: d.memory_free,
            memory_total: d.memory_total,
        })
        .collect())
}

/// Which device a model runs on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DeviceSelect {
    /// The first graphics card, else the CPU. A graphics unit that its driver calls integrated is never chosen by
    /// itself: it is often slower than the CPU beside it.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The device of this name (case does not matter) or with this index.
    Named(String),
}

impl std::str::FromStr for DeviceSelect {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "auto" => DeviceSelect::Auto,
            "cpu" => DeviceSelect::Cpu,
            _ => DeviceSelect::Named(text.into()),
        })
    }
}

/// Where a model goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) name: String,
    /// Native indices of the graphics devices; none for the CPU alone.
    pub(crate) devices: Vec<usize>,
    /// -1 for all.
    pub(crate) gpu_layers: i32,
}

impl DeviceSelect {
    /// Chooses the device, and checks that the weights can fit its memory.
    pub(crate) fn place(&self, gguf: &Gguf) -> Result<Placement> {
        let all = devices()?;
        let device = self.choose(&all)?;
        let needed = gguf.tensor_bytes();
        // free memory moves; what exceeds all of it cannot ever fit
        if device.memory_total > 0 && needed > device.memory_total {
            return Err(Error::OutOfMemory {
                device: device.name.clone(),
                needed,
                free: Some(device.memory_free),
            });
        }
        Ok(match device.kind {
            DeviceKind::Gpu | DeviceKind::IntegratedGpu => {
                Placement { name: device.name.clone(), devices: vec![device.index], gpu_layers: -1 }
            }
            _ => Placement { name: device.name.clone(), devices: vec![], gpu_layers: 0 },
        })
    }

    fn choose<'a>(&self, all: &'a [Device]) -> Result<&'a Device> {
        let of_kind = |kind| all.iter().find(move |d| d.kind == kind);
        let found = match self {
            DeviceSelect::Auto => of_kind(DeviceKind::Gpu).or_else(|| of_kind(DeviceKind::Cpu)),
            DeviceSelect::Cpu => of_kind(DeviceKind::Cpu),
            DeviceSelect::Named(name) => {
                all.iter().find(|d| d.name.eq_ignore_ascii_case(name) || name.parse() == Ok(d.index))
            }
        };
        found.ok_or_else(|| {
            let known: Vec<_> = all.iter().map(|d| d.name.as_str()).collect();
            let asked = match self {
                DeviceSelect::Auto => "any device",
                DeviceSelect::Cpu => "CPU",
                DeviceSelect::Named(name) => name,
            };
            Error::request(
                "device",
                format!("there is no {asked:?}; this machine has: auto, {}", known.join(", ")),
            )
        })
    }
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

    fn device(index: usize, name: &str, kind: DeviceKind) -> Device {
        Device { index, name: name.into(), description: String::new(), kind, memory_free: 0, memory_total: 0 }
    }

    #[test]
    fn the_card_comes_first_and_the_integrated_unit_only_by_name() {
        let mut all = vec![device(0, "CPU", DeviceKind::Cpu), device(1, "MTL0", DeviceKind::IntegratedGpu)];
        let pick = |all: &[Device], select: &str| {
            select.parse::<DeviceSelect>().unwrap().choose(all).map(|d| d.name.clone())
        };
        assert_eq!(pick(&all, "auto").unwrap(), "CPU");
        all.push(device(2, "MTL1", DeviceKind::Gpu));
        assert_eq!(pick(&all, "auto").unwrap(), "MTL1");
        assert_eq!(pick(&all, "cpu").unwrap(), "CPU");
        assert_eq!(pick(&all, "mtl0").unwrap(), "MTL0");
        assert_eq!(pick(&all, "2").unwrap(), "MTL1");
        let error = pick(&all, "cuda0").unwrap_err().to_string();
        assert!(error.contains("cuda0") && error.contains("CPU, MTL0, MTL1"), "{error}");
    }

    #[test]
    fn this_machine_has_a_cpu() {
        assert!(devices().unwrap().iter().any(|d| d.kind == DeviceKind::Cpu && d.memory_total > 0));
    }
}
