//! The backends of ggml: initialised once per process, and the devices they found.

use super::{bindings as ffi, call::Failure, call::call, log};
use std::{
    collections::BTreeMap,
    ffi::{CStr, c_char},
    mem::MaybeUninit,
    sync::{Condvar, Mutex, OnceLock, PoisonError},
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

/// Gives memory that was freed back to the system, where the C library keeps it.
#[cfg(feature = "server")]
pub(crate) fn trim_memory() {
    // SAFETY: takes nothing; the allocator locks for itself.
    unsafe { ffi::inf_trim_memory() }
}

/// From now on the C library keeps little of what is freed.
#[cfg(feature = "server")]
pub(crate) fn keep_little_memory() {
    // SAFETY: takes nothing; the allocator locks for itself.
    unsafe { ffi::inf_keep_little_memory() }
}

/// What sort of device ggml says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    Cpu,
    Gpu,
    IntegratedGpu,
    Accelerator,
}

/// Where a device sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum DeviceLocation {
    #[default]
    Unknown,
    BuiltIn,
    Slot,
    External,
}

/// What a backend says of a device: `ggml_device_profile`, in which the members are explained.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "the struct of the header")]
pub(crate) struct DeviceProfile {
    pub(crate) name: String,
    pub(crate) registry_id: u64,
    pub(crate) location: DeviceLocation,
    pub(crate) low_power: bool,
    pub(crate) removable: bool,
    pub(crate) headless: bool,
    pub(crate) unified_memory: bool,
    pub(crate) max_buffer_size: u64,
    pub(crate) max_working_set: u64,
    pub(crate) threadgroup_memory: u32,
    pub(crate) simdgroup_width: Option<u32>,
    pub(crate) simdgroup_width_probed: bool,
    pub(crate) simdgroup_reduction: bool,
    pub(crate) simdgroup_matrix: bool,
    pub(crate) bfloat: bool,
    pub(crate) family_apple: u32,
    pub(crate) family_mac: u32,
    pub(crate) family_common: u32,
    pub(crate) family_metal: u32,
    pub(crate) lost: bool,
}

/// Where a device's buffers lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceBuffers {
    Shared,
    Managed,
    Private,
}

/// How a product is divided: `ggml_product_shape`, in which the members are explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProductShape {
    pub(crate) kind: u32,
    pub(crate) row_length: u32,
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    pub(crate) experts: u32,
    pub(crate) simdgroups: u16,
    pub(crate) rows_per_simdgroup: u16,
    pub(crate) threads_per_row: u16,
    pub(crate) columns_per_threadgroup: u16,
}

impl ProductShape {
    fn native(&self) -> ffi::ggml_product_shape {
        ffi::ggml_product_shape {
            type_: self.kind,
            row_length: self.row_length,
            rows: self.rows,
            columns: self.columns,
            experts: self.experts,
            simdgroups: self.simdgroups,
            rows_per_simdgroup: self.rows_per_simdgroup,
            threads_per_row: self.threads_per_row,
            columns_per_threadgroup: self.columns_per_threadgroup,
        }
    }
}

/// How a device is used: `ggml_device_plan`, in which the members are explained, and the shapes of its products.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DevicePlan {
    pub(crate) shapes: Vec<ProductShape>,
    pub(crate) concurrent: bool,
    pub(crate) buffers: DeviceBuffers,
    pub(crate) map_host_memory: bool,
    pub(crate) staging: u32,
    pub(crate) block: u64,
    pub(crate) command_buffers: u32,
}

/// Held while plans are in effect: the backend has one for each device, and takes it when buffers and contexts are made.
#[derive(Debug)]
pub(super) struct InEffect(());

/// How many hold plans in effect, and which ones.
static PLANS: Mutex<(usize, BTreeMap<usize, DevicePlan>)> = Mutex::new((0, BTreeMap::new()));
static PLANS_CHANGED: Condvar = Condvar::new();

/// Puts plans into effect, by the index of the device, until the result is dropped. Waits while others hold other plans
/// for one of these devices.
pub(super) fn put_into_effect(plans: &[(usize, DevicePlan)]) -> InEffect {
    let state = PLANS.lock().unwrap_or_else(PoisonError::into_inner);
    let in_the_way = |state: &mut (usize, BTreeMap<usize, DevicePlan>)| {
        state.0 > 0 && plans.iter().any(|(index, plan)| state.1.get(index).is_some_and(|other| other != plan))
    };
    let mut state = PLANS_CHANGED.wait_while(state, in_the_way).unwrap_or_else(PoisonError::into_inner);
    state.0 += 1;
    state.1.extend(plans.iter().cloned());
    for (index, plan) in plans {
        let native = ffi::ggml_device_plan {
            concurrent: plan.concurrent,
            buffers: match plan.buffers {
                DeviceBuffers::Shared => ffi::ggml_device_buffers::GGML_DEVICE_BUFFERS_SHARED,
                DeviceBuffers::Managed => ffi::ggml_device_buffers::GGML_DEVICE_BUFFERS_MANAGED,
                DeviceBuffers::Private => ffi::ggml_device_buffers::GGML_DEVICE_BUFFERS_PRIVATE,
            },
            map_host_memory: plan.map_host_memory,
            staging: plan.staging,
            block: plan.block,
            command_buffers: plan.command_buffers,
        };
        // SAFETY: takes nothing; devices live as long as the process.
        let count = unsafe { ffi::ggml_backend_dev_count() };
        assert!(*index < count, "plans are made for devices that are listed");
        // SAFETY: the index was just checked.
        let device = unsafe { ffi::ggml_backend_dev_get(*index) };
        // SAFETY: a device of the registry and a plan that outlives the call. A backend without plans says no, and stays
        // as it is.
        let _ = unsafe { ffi::inf_device_set_plan(device, &raw const native) };
        let shapes: Vec<_> = plan.shapes.iter().map(ProductShape::native).collect();
        // SAFETY: a device of the registry, and as many shapes as it says, which are copied.
        let _ = unsafe { ffi::inf_device_set_product_shapes(device, shapes.as_ptr(), shapes.len()) };
    }
    InEffect(())
}

impl Drop for InEffect {
    fn drop(&mut self) {
        PLANS.lock().unwrap_or_else(PoisonError::into_inner).0 -= 1;
        PLANS_CHANGED.notify_all();
    }
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
    /// Where the backend has one to give.
    pub(crate) profile: Option<DeviceProfile>,
}

/// All devices, in ggml's order. The free memory is that of the moment.
pub(crate) fn devices() -> Result<Vec<NativeDevice>, Failure> {
    init()?;
    // SAFETY: the registry is filled by init() and not changed afterwards.
    let count = unsafe { ffi::ggml_backend_dev_count() };
    Ok((0..count).map(device).collect())
}

/// The layout that the CPU's backend packs weights into, where it has one.
pub(crate) fn cpu_weight_layout() -> Result<Option<String>, Failure> {
    init()?;
    // SAFETY: the registry is filled by init() and not changed afterwards; the string is static.
    let name = unsafe { ffi::inf_cpu_weight_layout() };
    Ok(Some(text(name)).filter(|name| !name.is_empty()))
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
        profile: profile(dev),
    }
}

fn profile(dev: ffi::ggml_backend_dev_t) -> Option<DeviceProfile> {
    let mut native = MaybeUninit::<ffi::ggml_device_profile>::zeroed();
    // SAFETY: dev is a device of the registry, and the pointer is to room for one profile.
    if !unsafe { ffi::inf_device_profile(dev, native.as_mut_ptr()) } {
        return None;
    }
    // SAFETY: all zeroes is a valid profile, and the backend has filled it in.
    let native = unsafe { native.assume_init_ref() };
    let location = match native.location {
        ffi::ggml_device_location::GGML_DEVICE_LOCATION_BUILT_IN => DeviceLocation::BuiltIn,
        ffi::ggml_device_location::GGML_DEVICE_LOCATION_SLOT => DeviceLocation::Slot,
        ffi::ggml_device_location::GGML_DEVICE_LOCATION_EXTERNAL => DeviceLocation::External,
        _ => DeviceLocation::Unknown,
    };
    Some(DeviceProfile {
        name: text(native.name.as_ptr()).trim().to_owned(),
        registry_id: native.registry_id,
        location,
        low_power: native.low_power,
        removable: native.removable,
        headless: native.headless,
        unified_memory: native.unified_memory,
        max_buffer_size: native.max_buffer_size,
        max_working_set: native.max_working_set,
        threadgroup_memory: native.threadgroup_memory,
        simdgroup_width: Some(native.simdgroup_width).filter(|width| *width > 0),
        simdgroup_width_probed: !native.simdgroup_width_known,
        simdgroup_reduction: native.simdgroup_reduction,
        simdgroup_matrix: native.simdgroup_matrix,
        bfloat: native.bfloat,
        family_apple: native.family_apple,
        family_mac: native.family_mac,
        family_common: native.family_common,
        family_metal: native.family_metal,
        lost: native.lost,
    })
}

fn text(chars: *const c_char) -> String {
    if chars.is_null() {
        return String::new();
    }
    // SAFETY: a terminated string that outlives this call.
    unsafe { CStr::from_ptr(chars) }.to_string_lossy().into_owned()
}
