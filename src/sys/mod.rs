//! The only floor with `unsafe`: owning handles on llama.cpp's objects, and the calls that cross into C.
//!
//! Every call that can throw or assert goes through `shim.cpp`, which turns both into a status. The rest are getters
//! that llama.cpp cannot fail. Handles own, through [`Arc`](std::sync::Arc), all that the C side borrows.

mod backend;
#[expect(dead_code, nonstandard_style, unreachable_pub, clippy::allow_attributes, reason = "made by bindgen")]
mod bindings;
mod call;
mod context;
mod log;
mod model;
mod probe;
mod sampler;
mod selftest;

pub(crate) use backend::{
    DeviceBuffers, DeviceKind, DeviceLocation, DevicePlan, DeviceProfile, ProductShape, cpu_weight_layout,
    devices,
};
#[cfg(feature = "server")]
pub(crate) use backend::{keep_little_memory, trim_memory};
pub(crate) use call::{Failure, engine};
pub(crate) use context::{Batch, CacheKind, Context, ContextParams, Decoded, FlashAttention, Memory};
pub(crate) use model::{Model, ModelParams};
pub(crate) use probe::{
    Counted, Product, ProductCost, probe_begin, probe_copies, probe_memory, probe_product,
};
pub(crate) use sampler::Sampler;
pub(crate) use selftest::{Finding, NativeCheck, SelfTest, SelfTestOptions, system};
