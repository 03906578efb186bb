//! What the self-test of a device came to.

use super::{Choice, DevicePlan, Plan};
use crate::sys;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What one check of the self-test found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// The device gives what the CPU gives.
    Right,
    /// It gives something else.
    Wrong,
    /// It gives an error.
    Failed,
    /// It cannot do this, and says so: the CPU does.
    OnCpu,
    /// The CPU's own result is not finite, so that there is nothing to compare with.
    Unjudged,
}

/// One check of the self-test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Check {
    /// The operation, by ggml's name; or `CHAIN` for the model's first layers as a whole, `COPIES` for parts of buffers
    /// that are written, filled and read, `MEMORY` for a large buffer.
    pub operation: String,
    /// Types and shapes.
    pub what: String,
    /// What was found.
    pub finding: Finding,
    /// Why it is not right; empty where it is.
    pub reason: String,
    /// The mean square of the difference from the CPU's result, divided by that of the result; none where it is not finite.
    pub error: Option<f64>,
    /// The most that this may be.
    pub limit: f64,
}

impl Check {
    pub(super) fn new(native: sys::NativeCheck) -> Self {
        Self {
            operation: native.name,
            what: native.what,
            finding: match native.finding {
                sys::Finding::Right => Finding::Right,
                sys::Finding::Wrong => Finding::Wrong,
                sys::Finding::Failed => Finding::Failed,
                sys::Finding::OnCpu => Finding::OnCpu,
                sys::Finding::Unjudged => Finding::Unjudged,
            },
            reason: native.reason,
            error: native.error.is_finite().then_some(native.error),
            limit: native.limit,
        }
    }

    /// Whether the device must not be trusted with this.
    pub fn is_failure(&self) -> bool {
        matches!(self.finding, Finding::Wrong | Finding::Failed)
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.operation, self.what)?;
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        match self.error {
            Some(error) if self.finding == Finding::Wrong && self.limit > 0.0 => {
                write!(f, " (error {error:.1e}, limit {:.0e})", self.limit)
            }
            _ => Ok(()),
        }
    }
}

/// What the self-test of one device with one model and one plan came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Verdict {
    /// Whether nothing was wrong.
    pub passed: bool,
    /// The model, by its architecture and quantisation.
    pub model: String,
    /// The plan, in a few words.
    pub plan: String,
    /// All checks, in their order. The test ends with the first error of the device.
    pub checks: Vec<Check>,
    /// About how many multiplications it was.
    pub multiplications: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// When it was, in seconds since 1970.
    pub at: u64,
}

impl Verdict {
    /// What was wrong.
    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.is_failure())
    }

    /// What was wrong first, and how much more, in one line; empty where it passed.
    pub fn reason(&self) -> String {
        let mut failures = self.failures();
        let Some(first) = failures.next() else { return String::new() };
        match failures.count() {
            0 => first.to_string(),
            more => format!("{first}; and {more} more"),
        }
    }
}

/// What was decided otherwise than planned, as a device failed its self-test.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Fallback {
    /// The device that failed, by its short name.
    pub device: String,
    /// What failed.
    pub reason: String,
    /// What is done in its place.
    pub then: String,
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed its self-test: {}; {}", self.device, self.reason, self.then)
    }
}

impl Plan {
    /// How a device is used, in a few words.
    pub(super) fn in_words(&self, device: &DevicePlan) -> String {
        let mut words =
            vec![format!("{} encoder", device.encoder.value), format!("{} buffers", device.buffers.value)];
        if device.maps_file.value {
            words.push("mapped file".into());
        }
        if self.flash_attention.value {
            words.push("flash attention".into());
        }
        if !device.shapes.value.is_empty() {
            words.push("measured shapes".into());
        }
        words.push(format!("blocks of {} MiB", device.block.value >> 20));
        words.join(", ")
    }

    /// The same without flash attention.
    pub(super) fn without_flash_attention(&self, reason: &str) -> Plan {
        Plan { flash_attention: Choice::new(false, reason), ..self.clone() }
    }
}
