//! How the weights that a CPU computes with lie in its memory: packed for its kernels, or as the file has them.

use serde::Serialize;
use std::fmt;

/// What was chosen, and why. Weights of types that the layout has no kernels for stay as the file has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CpuWeights {
    /// The layout that weights are packed into while they load; `None`: as the file has them.
    pub layout: Option<String>,
    /// Whether weights that are not packed are the mapped file, not a copy of it.
    pub mapped: bool,
    /// Why.
    pub reason: &'static str,
}

impl CpuWeights {
    /// `layout` is what the CPU's backend offers; `repack` and `mmap` are the settings.
    pub(crate) fn choose(layout: Option<&str>, repack: bool, mmap: bool) -> Self {
        let (layout, reason) = match (layout, repack) {
            (Some(layout), true) => (Some(layout.to_owned()), "the fastest kernels of this CPU need it"),
            (Some(_), false) => (None, "repack is off"),
            (None, _) => (None, "there are no kernels for packed weights on this CPU"),
        };
        Self { layout, mapped: mmap, reason }
    }
}

impl fmt::Display for CpuWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.layout {
            Some(layout) => write!(f, "packed as {layout}: {}", self.reason),
            None => write!(f, "{}: {}", if self.mapped { "mapped" } else { "read" }, self.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_packed_where_there_are_kernels_and_it_is_wished() {
        let text = |layout, repack, mmap| CpuWeights::choose(layout, repack, mmap).to_string();
        assert_eq!(
            text(Some("PANEL"), true, true),
            "packed as PANEL: the fastest kernels of this CPU need it"
        );
        assert_eq!(text(Some("PANEL"), false, true), "mapped: repack is off");
        assert_eq!(text(None, true, false), "read: there are no kernels for packed weights on this CPU");
    }
}
