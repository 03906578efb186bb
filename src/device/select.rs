//! Which devices a model is given: by the caller's choice, or the best by itself.

use super::{Device, DeviceKind};
use crate::error::{Error, Result};

/// Which device a model runs on, or which devices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DeviceSelect {
    /// The first graphics card, else the CPU; Apple's GPUs count as graphics cards. An integrated graphics unit of
    /// another maker is never chosen by itself: it is often slower than the CPU beside it.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The device with this short name (`MTL0`), full name (`AMD Radeon Pro 5300M`), registry id (in decimal, or in
    /// hexadecimal after `0x`) or index. Case does not matter.
    Named(String),
    /// These graphics devices together, named as in [`Named`](Self::Named): each holds a part of the model's layers.
    Together(Vec<String>),
}

impl std::str::FromStr for DeviceSelect {
    type Err = std::convert::Infallible;

    /// `auto`, `cpu`, a device, or several devices with commas between.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.trim().to_ascii_lowercase().as_str() {
            "auto" => DeviceSelect::Auto,
            "cpu" => DeviceSelect::Cpu,
            _ if text.contains(',') => {
                DeviceSelect::Together(text.split(',').map(|name| name.trim().to_owned()).collect())
            }
            _ => DeviceSelect::Named(text.trim().into()),
        })
    }
}

impl DeviceSelect {
    /// The devices of this machine that are meant, by their short names; at least one.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] where there is no such device, [`Error::DeviceLost`] where it is gone.
    pub fn names(&self) -> Result<Vec<String>> {
        let all = super::devices()?;
        Ok(self.choose(&all)?.into_iter().map(|d| d.name.clone()).collect())
    }

    /// The devices that are meant, at least one.
    pub(crate) fn choose<'a>(&self, all: &'a [Device]) -> Result<Vec<&'a Device>> {
        let of_kind = |kind| all.iter().find(move |d| d.kind == kind && !d.is_lost());
        let one =
            |found: Option<&'a Device>, asked| found.map(|d| vec![d]).ok_or_else(|| missing(asked, all));
        match self {
            DeviceSelect::Auto => {
                one(of_kind(DeviceKind::Gpu).or_else(|| of_kind(DeviceKind::Cpu)), "any device")
            }
            DeviceSelect::Cpu => one(of_kind(DeviceKind::Cpu), "CPU"),
            DeviceSelect::Named(name) => Ok(vec![named(name, all)?]),
            DeviceSelect::Together(names) => together(names, all),
        }
    }
}

fn together<'a>(names: &[String], all: &'a [Device]) -> Result<Vec<&'a Device>> {
    let mut chosen: Vec<&Device> = vec![];
    for name in names {
        let device = named(name, all)?;
        if device.facts.is_none() {
            return Err(Error::request(
                "device",
                format!("{} cannot be one of several: only graphics devices share a model", device.name),
            ));
        }
        if chosen.iter().any(|d| d.index == device.index) {
            return Err(Error::request("device", format!("{} is named twice", device.name)));
        }
        chosen.push(device);
    }
    if chosen.is_empty() { Err(missing("", all)) } else { Ok(chosen) }
}

fn named<'a>(name: &str, all: &'a [Device]) -> Result<&'a Device> {
    let number = match name.strip_prefix("0x").or_else(|| name.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => name.parse().ok(),
    };
    let registry_id = |d: &Device| d.facts.as_ref().map(|f| f.registry_id);
    let is_meant = |d: &&Device| {
        d.name.eq_ignore_ascii_case(name)
            || d.description.eq_ignore_ascii_case(name)
            || number.is_some_and(|n| registry_id(d) == Some(n) || d.index as u64 == n)
    };
    let mut found = all.iter().filter(is_meant);
    let device = found.next().ok_or_else(|| missing(name, all))?;
    if found.next().is_some() {
        let names: Vec<_> = all.iter().filter(is_meant).map(|d| d.name.as_str()).collect();
        return Err(Error::request(
            "device",
            format!("{name:?} is the name of several devices: {}; say which", names.join(", ")),
        ));
    }
    if device.is_lost() {
        return Err(Error::DeviceLost { device: device.name.clone() });
    }
    Ok(device)
}

fn missing(asked: &str, all: &[Device]) -> Error {
    let known: Vec<_> = all.iter().map(|d| d.name.as_str()).collect();
    Error::request("device", format!("there is no {asked:?}; this machine has: auto, {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::{super::tests::device, *};

    fn pick(all: &[Device], select: &str) -> Result<String> {
        let devices = select.parse::<DeviceSelect>().unwrap().choose(all)?;
        Ok(devices.iter().map(|d| d.name.as_str()).collect::<Vec<_>>().join("+"))
    }

    #[test]
    fn the_card_comes_first_and_the_integrated_unit_only_by_name() {
        let mut all =
            vec![device(0, "CPU", DeviceKind::Cpu, 0), device(1, "MTL0", DeviceKind::IntegratedGpu, 70)];
        assert_eq!(pick(&all, "auto").unwrap(), "CPU");
        all.push(device(2, "MTL1", DeviceKind::Gpu, 0x1_0000_0380));
        assert_eq!(pick(&all, "auto").unwrap(), "MTL1");
        assert_eq!(pick(&all, "cpu").unwrap(), "CPU");
        assert_eq!(pick(&all, "mtl0").unwrap(), "MTL0");
        assert_eq!(pick(&all, "2").unwrap(), "MTL1");
        assert_eq!(pick(&all, "70").unwrap(), "MTL0");
        assert_eq!(pick(&all, "4294968192").unwrap(), "MTL1");
        assert_eq!(pick(&all, "0x100000380").unwrap(), "MTL1");
        assert_eq!(pick(&all, "the GPU mtl0").unwrap(), "MTL0");
        assert_eq!(pick(&all, "MTL1, 70").unwrap(), "MTL1+MTL0");
        for (wrong, says) in [
            ("cuda0", "\"cuda0\"; this machine has: auto, CPU, MTL0, MTL1"),
            ("0xzz", "\"0xzz\""),
            ("MTL0,", "\"\""),
            ("MTL0,mtl0", "MTL0 is named twice"),
            ("MTL0,CPU", "CPU cannot be one of several"),
        ] {
            let error = pick(&all, wrong).unwrap_err().to_string();
            assert!(error.contains(says), "{wrong}: {error}");
        }
    }

    #[test]
    fn one_name_for_two_cards_and_a_card_that_is_gone_are_errors() {
        let mut all = vec![device(0, "MTL0", DeviceKind::Gpu, 5), device(1, "MTL1", DeviceKind::Gpu, 6)];
        all[1].description = all[0].description.clone();
        let error = pick(&all, "the GPU MTL0").unwrap_err().to_string();
        assert!(error.contains("several devices: MTL0, MTL1"), "{error}");
        all[0].facts.as_mut().unwrap().lost = true;
        assert_eq!(pick(&all, "auto").unwrap(), "MTL1");
        assert!(matches!(pick(&all, "MTL0"), Err(Error::DeviceLost { device }) if device == "MTL0"));
    }
}
