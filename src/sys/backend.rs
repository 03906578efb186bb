//! The backends of ggml: initialised once per process, and the devices they found.

use super::{bindings as ffi, call::Failure, call::call, log};
use std::{
    ffi::{CStr, c_char},
    sync::OnceLock,
};

/// Installs the hooks and starts the backends, once; later calls return the first result.
pub(crate) fn init() -> Result<(), Failure> {
    static DONE: OnceLock<Result<(), Failure>> = OnceLock::new();
    DONE.get_or_init(|| {
        // SAFETY: on_line is an extern "C" function that does not unwind and lives forever.
        call(|error| unsafe { ffi::inf_init(Some(log::on_line), error) })
    })
    .clone()
}

/// What sort of device ggml says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    Cpu,
    Gpu,
    IntegratedGpu,
    Accelerator,
}

/// One device of ggml's registry; devices live as long as the process.
#[derive(Debug, Clone)]
pub(crate) struct NativeDevice {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) kind: DeviceKind,
    pub(crate) memory_free: u64,
    pub(crate) memory_total: u64,
}

/// All devices, in ggml's order. The free memory is that of the moment.
pub(crate) fn devices() -> Result<Vec<NativeDevice>, Failure> {
    init()?;
    // SAFETY: the registry is filled by init() and not changed afterwards.
    let count = unsafe { ffi::ggml_backend_dev_count() };
    Ok((0..count).map(device).collect())
}

fn device(index: usize) -> NativeDevice {
    // SAFETY: index is below ggml_backend_dev_count().
    let dev = unsafe { ffi::ggml_backend_dev_get(index) };
    // SAFETY: dev is a device of the registry.
    let kind = unsafe { ffi::ggml_backend_dev_type(dev) };
    let (mut memory_free, mut memory_total) = (0usize, 0usize);
    // SAFETY: dev is a device of the registry, and both pointers are to live integers.
    unsafe { ffi::ggml_backend_dev_memory(dev, &raw mut memory_free, &raw mut memory_total) };
    // SAFETY: dev is a device of the registry; the string is its own and static.
    let name = unsafe { ffi::ggml_backend_dev_name(dev) };
    // SAFETY: as above.
    let description = unsafe { ffi::ggml_backend_dev_description(dev) };
    NativeDevice {
        index,
        name: text(name),
        description: text(description).trim().to_owned(),
        kind: match kind {
            ffi::ggml_backend_dev_type::GGML_BACKEND_DEVICE_TYPE_CPU => DeviceKind::Cpu,
            ffi::ggml_backend_dev_type::GGML_BACKEND_DEVICE_TYPE_GPU => DeviceKind::Gpu,
            ffi::ggml_backend_dev_type::GGML_BACKEND_DEVICE_TYPE_IGPU => DeviceKind::IntegratedGpu,
            _ => DeviceKind::Accelerator,
        },
        memory_free: memory_free as u64,
        memory_total: memory_total as u64,
    }
}

fn text(chars: *const c_char) -> String {
    if chars.is_null() {
        return String::new();
    }
    // SAFETY: ggml's names are terminated strings that live as long as the process.
    unsafe { CStr::from_ptr(chars) }.to_string_lossy().into_owned()
}
