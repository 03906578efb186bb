//! Probes of a device: how fast copies are, how large a buffer may be.

use super::{
    backend::{self, DevicePlan},
    bindings as ffi,
    call::{Failure, call},
};

/// What copies came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copies {
    /// Bytes a second.
    pub(crate) to_device: f64,
    /// Bytes a second.
    pub(crate) from_device: f64,
    /// Whether what came back is what was sent.
    pub(crate) same: bool,
}

/// Copies so many bytes to the device and back, a few times; the fastest counts.
pub(crate) fn probe_copies(device: usize, plan: Option<DevicePlan>, bytes: usize) -> Result<Copies, Failure> {
    let _plans = backend::put_into_effect(&plan.map(|plan| (device, plan)).into_iter().collect::<Vec<_>>());
    let native = handle(device)?;
    let mut copies = ffi::inf_copies { to_device: 0.0, from_device: 0.0, same: false };
    // SAFETY: the device is one of the registry, and copies a place for the result.
    call(|error| unsafe { ffi::inf_probe_copies(native, bytes, &raw mut copies, error) })?;
    Ok(Copies { to_device: copies.to_device, from_device: copies.from_device, same: copies.same })
}

/// Whether the device gives a buffer of this size.
pub(crate) fn probe_memory(device: usize, plan: Option<DevicePlan>, bytes: usize) -> Result<bool, Failure> {
    let _plans = backend::put_into_effect(&plan.map(|plan| (device, plan)).into_iter().collect::<Vec<_>>());
    let native = handle(device)?;
    let mut given = false;
    // SAFETY: the device is one of the registry, and given a place for the result.
    call(|error| unsafe { ffi::inf_probe_memory(native, bytes, &raw mut given, error) })?;
    Ok(given)
}

fn handle(device: usize) -> Result<ffi::ggml_backend_dev_t, Failure> {
    backend::init()?;
    // SAFETY: takes nothing; devices live as long as the process.
    let count = unsafe { ffi::ggml_backend_dev_count() };
    if device >= count {
        return Err(Failure::Refused(format!("there is no device {device}")));
    }
    // SAFETY: the index was just checked.
    Ok(unsafe { ffi::ggml_backend_dev_get(device) })
}
