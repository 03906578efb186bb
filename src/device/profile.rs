//! What is known of GPUs by their kind: `src/device/profiles/*.toml`, each fact with its source.

use serde::Deserialize;
use std::sync::LazyLock;

/// A fact of a profile and who says so.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Fact<T> {
    pub(crate) value: T,
    /// One of the sources that `profiles/README.md` lists.
    pub(crate) source: String,
    pub(crate) note: Option<String>,
}

impl<T> Fact<T> {
    /// The source, and what is to be known of it.
    pub(super) fn says(&self) -> (&str, Option<&str>) {
        (&self.source, self.note.as_deref())
    }
}

/// What is known of one kind of GPU, as far as this crate uses it. The files hold more, for the simulator.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Profile {
    /// The name of the file, without `.toml`.
    #[serde(skip)]
    pub(crate) id: &'static str,
    pub(crate) name: Fact<String>,
    pub(crate) architecture: Fact<String>,
    pub(crate) memory_bandwidth: Fact<u64>,
}

/// The files, and what names of GPUs hold that are of the same kind: all words of one line. Names of AMD's are those of
/// Apple's machines and of cards that macOS has drivers for.
const FILES: [(&str, &str, &[&[&str]]); 10] = [
    ("amd-gcn1", include_str!("profiles/amd-gcn1.toml"), &[&["FirePro D"], &["Radeon HD 7"], &["R9 280"]]),
    (
        "amd-gcn4",
        include_str!("profiles/amd-gcn4.toml"),
        &[&["Radeon RX 4"], &["Radeon RX 5", "0"], &["Radeon Pro 4"], &["Radeon Pro 5"], &["Radeon Pro WX"]],
    ),
    ("amd-gcn5", include_str!("profiles/amd-gcn5.toml"), &[&["Vega"], &["Radeon VII"]]),
    (
        "amd-rdna1",
        include_str!("profiles/amd-rdna1.toml"),
        &[
            &["Radeon Pro 5300"],
            &["Radeon Pro 5500"],
            &["Radeon Pro 5600"],
            &["Radeon Pro 5700"],
            &["Radeon RX 5500"],
            &["Radeon RX 5600"],
            &["Radeon RX 5700"],
            &["Radeon Pro W5"],
        ],
    ),
    ("amd-rdna2", include_str!("profiles/amd-rdna2.toml"), &[&["Radeon RX 6"], &["Radeon Pro W6"]]),
    ("amd-rdna2-egpu", include_str!("profiles/amd-rdna2-egpu.toml"), &[]),
    ("apple-m1", include_str!("profiles/apple-m1.toml"), &[&["Apple M1"], &["Apple M2"]]),
    ("apple-m4", include_str!("profiles/apple-m4.toml"), &[&["Apple M"], &["Apple A"]]),
    ("intel-uhd630", include_str!("profiles/intel-uhd630.toml"), &[&["Intel", "Graphics"]]),
    ("nvidia-kepler", include_str!("profiles/nvidia-kepler.toml"), &[&["GeForce GT"], &["Quadro K"]]),
];

/// All profiles.
pub(crate) fn all() -> &'static [Profile] {
    static ALL: LazyLock<Vec<Profile>> = LazyLock::new(|| {
        FILES
            .iter()
            .map(|(id, text, _)| {
                let profile: Profile = toml::from_str(text).expect("a test reads all of them");
                Profile { id, ..profile }
            })
            .collect()
    });
    &ALL
}

/// The profile of the GPU of this name: its own, else that of its kind.
pub(crate) fn of_name(name: &str) -> Option<&'static Profile> {
    // the longest words win: a Radeon Pro 5300M is no Radeon Pro 5
    let of_kind = || {
        let matches = |(_, _, kinds): &(&str, &str, &[&[&str]])| {
            let length = |words: &&[&str]| words.iter().map(|word| word.len()).sum::<usize>();
            kinds.iter().filter(|words| words.iter().all(|word| name.contains(word))).map(length).max()
        };
        let (id, _) = FILES
            .iter()
            .filter_map(|file| Some((file.0, matches(file)?)))
            .max_by_key(|(_, length)| *length)?;
        all().iter().find(|p| p.id == id)
    };
    all().iter().find(|p| p.name.value == name).or_else(of_kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_read() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/device/profiles");
        let mut files: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .filter_map(|e| e.unwrap().file_name().to_str()?.strip_suffix(".toml").map(str::to_owned))
            .collect();
        files.sort();
        assert_eq!(files, all().iter().map(|p| p.id).collect::<Vec<_>>());
        assert!(all().iter().all(|p| !p.name.source.is_empty() && p.memory_bandwidth.value > 0));
    }

    #[test]
    fn a_gpu_is_of_the_kind_that_its_name_says() {
        for (name, kind) in [
            ("AMD Radeon Pro 5300M", Some("amd-rdna1")),
            ("AMD Radeon Pro 5500M", Some("amd-rdna1")),
            ("AMD Radeon RX 5700 XT", Some("amd-rdna1")),
            ("AMD Radeon RX 580", Some("amd-gcn4")),
            ("AMD Radeon RX 6800", Some("amd-rdna2-egpu")),
            ("AMD Radeon RX 6900 XT", Some("amd-rdna2")),
            ("AMD Radeon Pro W6900X", Some("amd-rdna2")),
            ("AMD Radeon Pro 560X", Some("amd-gcn4")),
            ("AMD Radeon RX Vega 56", Some("amd-gcn5")),
            ("Radeon Pro Vega 20", Some("amd-gcn5")),
            ("AMD Radeon VII", Some("amd-gcn5")),
            ("AMD FirePro D300", Some("amd-gcn1")),
            ("Apple M1 Max", Some("apple-m1")),
            ("Apple M4 Pro", Some("apple-m4")),
            ("Intel(R) Iris(TM) Plus Graphics 655", Some("intel-uhd630")),
            ("NVIDIA GeForce GT 650M", Some("nvidia-kepler")),
            ("Voodoo 2", None),
        ] {
            assert_eq!(of_name(name).map(|p| p.id), kind, "{name}");
        }
    }
}
