//! Probes of a device: how fast copies are, how large a buffer may be, what a product costs.

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
pub(crate) fn probe_copies(
    device: usize,
    plan: Option<&DevicePlan>,
    bytes: usize,
) -> Result<Copies, Failure> {
    let _plans =
        backend::put_into_effect(&plan.map(|plan| (device, plan.clone())).into_iter().collect::<Vec<_>>());
    let native = handle(device)?;
    let mut copies = ffi::inf_copies { to_device: 0.0, from_device: 0.0, same: false };
    // SAFETY: the device is one of the registry, and copies a place for the result.
    call(|error| unsafe { ffi::inf_probe_copies(native, bytes, &raw mut copies, error) })?;
    Ok(Copies { to_device: copies.to_device, from_device: copies.from_device, same: copies.same })
}

/// Whether the device gives a buffer of this size.
pub(crate) fn probe_memory(device: usize, plan: Option<&DevicePlan>, bytes: usize) -> Result<bool, Failure> {
    let _plans =
        backend::put_into_effect(&plan.map(|plan| (device, plan.clone())).into_iter().collect::<Vec<_>>());
    let native = handle(device)?;
    let mut given = false;
    // SAFETY: the device is one of the registry, and given a place for the result.
    call(|error| unsafe { ffi::inf_probe_memory(native, bytes, &raw mut given, error) })?;
    Ok(given)
}

/// What a product came to: `inf_product_cost`, in which the members are explained.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProductCost {
    pub(crate) error: f64,
    /// Of each run.
    pub(crate) seconds: [f64; 7],
    /// None but of simulated devices.
    pub(crate) counted: Option<Counted>,
}

/// What a simulated device did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) bytes: u64,
    pub(crate) host_bytes: u64,
    pub(crate) threadgroups: u64,
}

/// To be called before the first product is computed, and what else makes kernels: simulated devices count from here on.
pub(crate) fn probe_begin() {
    // SAFETY: takes nothing.
    unsafe { ffi::inf_probe_begin() }
}

/// `inf_product`, in which the members are explained.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product {
    pub(crate) kind: u32,
    pub(crate) row_length: u64,
    pub(crate) rows: u64,
    pub(crate) columns: u64,
    pub(crate) experts: u64,
    pub(crate) used: u64,
}

/// Computes a product, and holds it against the CPU's sums.
/// None where the device does not support it.
pub(crate) fn probe_product(
    device: usize,
    plan: &DevicePlan,
    asked: &Product,
) -> Result<Option<ProductCost>, Failure> {
    let _plans = backend::put_into_effect(&[(device, plan.clone())]);
    let native = handle(device)?;
    let signed =
        |n: u64| i64::try_from(n).map_err(|_| Failure::Refused(format!("{n} is no size of a matrix")));
    let product = ffi::inf_product {
        type_: asked.kind,
        row_length: signed(asked.row_length)?,
        rows: signed(asked.rows)?,
        columns: signed(asked.columns)?,
        experts: signed(asked.experts)?,
        used: signed(asked.used)?,
    };
    let mut cost = ffi::inf_product_cost {
        supported: false,
        error: 0.0,
        seconds: [0.0; 7],
        bytes: 0,
        host_bytes: 0,
        threadgroups: 0,
    };
    // SAFETY: the device is one of the registry; the product outlives the call, and cost is a place for the result.
    call(|error| unsafe { ffi::inf_probe_product(native, &raw const product, &raw mut cost, error) })?;
    let counted = (cost.threadgroups > 0).then_some(Counted {
        bytes: cost.bytes,
        host_bytes: cost.host_bytes,
        threadgroups: cost.threadgroups,
    });
    Ok(cost.supported.then_some(ProductCost { error: cost.error, seconds: cost.seconds, counted }))
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
