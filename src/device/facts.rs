//! What a graphics device is: as its driver says, and what is known of its kind.

use super::profile::{self, Profile};
use crate::sys;
use serde::Serialize;

/// Who made a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are all there is to say")]
pub enum Vendor {
    Amd,
    Apple,
    Intel,
    Nvidia,
    Unknown,
}

/// Where a GPU sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Location {
    /// A part of the machine.
    BuiltIn,
    /// A card.
    Slot,
    /// In a case of its own, at the end of a cable.
    External,
    /// The driver does not say.
    Unknown,
}

/// The highest member of each family of Metal features that a GPU has; 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are Metal's")]
pub struct Families {
    pub apple: u32,
    pub mac: u32,
    pub common: u32,
    pub metal: u32,
}

/// Where a fact comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Provenance {
    /// The fact, by its name in [`Facts`].
    pub fact: &'static str,
    /// Who says so.
    pub source: String,
}

/// What a graphics device is. All of it is asked of the driver when devices are listed, but for what is marked as known
/// of the profile: that is data of this package, with its sources in `src/device/profiles`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Facts {
    /// The system's number of this very device. It does not change with the order of the list, but with a restart.
    pub registry_id: u64,
    /// Where it sits.
    pub location: Location,
    /// Its maker, as its name says.
    pub vendor: Vendor,
    /// Its generation; known of the profile.
    pub architecture: Option<String>,
    /// The one of several that saves energy, and the slower one.
    pub low_power: bool,
    /// It can be unplugged.
    pub removable: bool,
    /// No display hangs on it.
    pub headless: bool,
    /// Whether it has one memory with the CPU.
    pub unified_memory: bool,
    /// Bytes between it and its memory in a second; known of the profile, and only for the very card.
    pub memory_bandwidth: Option<u64>,
    /// The most bytes of one buffer.
    pub max_buffer_size: u64,
    /// The most bytes that it uses without being slowed down.
    pub max_working_set: u64,
    /// Bytes that a threadgroup shares.
    pub threadgroup_memory: u32,
    /// Threads of a simdgroup.
    pub simdgroup_width: Option<u32>,
    /// Whether the width was seen on a pipeline made for the question, rather than known of the maker's whole range.
    pub simdgroup_width_probed: bool,
    /// Whether kernels sum and compare over a simdgroup.
    pub simdgroup_reduction: bool,
    /// Whether kernels multiply matrices over a simdgroup.
    pub simdgroup_matrix: bool,
    /// Whether the type bfloat exists.
    pub bfloat: bool,
    /// Families of features.
    pub families: Families,
    /// The profile that is taken for it, by its name; none where nothing is known of its kind.
    pub profile: Option<&'static str>,
    /// Whether it is gone since the process began.
    pub lost: bool,
}

impl Facts {
    pub(super) fn new(native: &sys::DeviceProfile) -> Self {
        let known = profile::of_name(&native.name);
        let card = known.filter(|p| p.name.value == native.name);
        Self {
            registry_id: native.registry_id,
            location: match native.location {
                sys::DeviceLocation::BuiltIn => Location::BuiltIn,
                sys::DeviceLocation::Slot => Location::Slot,
                sys::DeviceLocation::External => Location::External,
                sys::DeviceLocation::Unknown => Location::Unknown,
            },
            vendor: Vendor::of_name(&native.name),
            architecture: known.map(|p| p.architecture.value.clone()),
            low_power: native.low_power,
            removable: native.removable,
            headless: native.headless,
            unified_memory: native.unified_memory,
            memory_bandwidth: card.map(|p| p.memory_bandwidth.value),
            max_buffer_size: native.max_buffer_size,
            max_working_set: native.max_working_set,
            threadgroup_memory: native.threadgroup_memory,
            simdgroup_width: native.simdgroup_width,
            simdgroup_width_probed: native.simdgroup_width_probed,
            simdgroup_reduction: native.simdgroup_reduction,
            simdgroup_matrix: native.simdgroup_matrix,
            bfloat: native.bfloat,
            families: Families {
                apple: native.family_apple,
                mac: native.family_mac,
                common: native.family_common,
                metal: native.family_metal,
            },
            profile: known.map(|p| p.id),
            lost: native.lost,
        }
    }

    /// What can be said of a device whose backend answers no questions: by its name and kind, and the least where
    /// neither tells.
    pub(super) fn of_name(name: &str, integrated: bool, memory: u64) -> Self {
        let vendor = Vendor::of_name(name);
        let unified_memory = integrated || vendor == Vendor::Apple;
        Self {
            registry_id: 0,
            location: Location::Unknown,
            vendor,
            architecture: profile::of_name(name).map(|p| p.architecture.value.clone()),
            low_power: false,
            removable: false,
            headless: false,
            unified_memory,
            memory_bandwidth: None,
            max_buffer_size: memory,
            max_working_set: memory,
            threadgroup_memory: 0,
            simdgroup_width: None,
            simdgroup_width_probed: false,
            simdgroup_reduction: false,
            simdgroup_matrix: false,
            bfloat: false,
            families: Families { apple: 0, mac: 0, common: 0, metal: 0 },
            profile: profile::of_name(name).map(|p| p.id),
            lost: false,
        }
    }

    /// Whether it is a part of the processor that is often slower than the cores beside it. Apple's GPUs are parts of
    /// the processor too, and are not meant.
    pub(super) fn is_integrated(&self) -> bool {
        self.low_power || (self.unified_memory && self.vendor != Vendor::Apple)
    }

    /// Who says what: for each fact, as it is named in JSON, its source.
    pub fn provenance(&self) -> Vec<Provenance> {
        let known = profile::all().iter().find(|p| Some(p.id) == self.profile);
        let of_profile = |fact: &'static str, what: fn(&Profile) -> (&str, Option<&str>)| {
            let known = known?;
            let (source, note) = what(known);
            let note = note.map(|note| format!(" ({note})")).unwrap_or_default();
            Some(Provenance { fact, source: format!("profile {}: {source}{note}", known.id) })
        };
        let mut all = vec![Provenance { fact: "vendor", source: "the device's name".into() }];
        all.extend(of_profile("architecture", |p| p.architecture.says()));
        if self.memory_bandwidth.is_some() {
            all.extend(of_profile("memory_bandwidth", |p| p.memory_bandwidth.says()));
        }
        let width = match (self.simdgroup_width_probed, self.simdgroup_width) {
            (false, _) => "Apple feature tables: the same on all of Apple's GPUs",
            (true, Some(_)) => "a pipeline made for the question",
            (true, None) => "nobody: the pipeline made for the question failed",
        };
        all.push(Provenance { fact: "simdgroup_width", source: width.into() });
        const DRIVER: [&str; 13] = [
            "registry_id",
            "location",
            "low_power",
            "removable",
            "headless",
            "unified_memory",
            "max_buffer_size",
            "max_working_set",
            "threadgroup_memory",
            "simdgroup_reduction",
            "simdgroup_matrix",
            "bfloat",
            "families",
        ];
        all.extend(DRIVER.map(|fact| Provenance { fact, source: "the driver".into() }));
        all
    }
}

impl Vendor {
    /// Metal has no number for the maker: the name tells.
    pub(super) fn of_name(name: &str) -> Self {
        const NAMES: [(&str, Vendor); 7] = [
            ("Apple", Vendor::Apple),
            ("Intel", Vendor::Intel),
            ("NVIDIA", Vendor::Nvidia),
            ("GeForce", Vendor::Nvidia),
            ("AMD", Vendor::Amd),
            ("Radeon", Vendor::Amd),
            ("FirePro", Vendor::Amd),
        ];
        NAMES.iter().find(|(word, _)| name.contains(word)).map_or(Vendor::Unknown, |(_, vendor)| *vendor)
    }
}
