//! Made by tests/bindings.rs from src/sys/shim.h; do not edit.

#[repr(C)]
#[derive(Copy, Clone)]
pub struct ggml_context {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ggml_cgraph {
    _unused: [u8; 0],
}
pub mod ggml_type {
    pub type Type = ::core::ffi::c_uint;
    pub const GGML_TYPE_F32: Type = 0;
    pub const GGML_TYPE_F16: Type = 1;
    pub const GGML_TYPE_Q4_0: Type = 2;
    pub const GGML_TYPE_Q4_1: Type = 3;
    pub const GGML_TYPE_Q5_0: Type = 6;
    pub const GGML_TYPE_Q5_1: Type = 7;
    pub const GGML_TYPE_Q8_0: Type = 8;
    pub const GGML_TYPE_Q8_1: Type = 9;
    pub const GGML_TYPE_Q2_K: Type = 10;
    pub const GGML_TYPE_Q3_K: Type = 11;
    pub const GGML_TYPE_Q4_K: Type = 12;
    pub const GGML_TYPE_Q5_K: Type = 13;
    pub const GGML_TYPE_Q6_K: Type = 14;
    pub const GGML_TYPE_Q8_K: Type = 15;
    pub const GGML_TYPE_IQ2_XXS: Type = 16;
    pub const GGML_TYPE_IQ2_XS: Type = 17;
    pub const GGML_TYPE_IQ3_XXS: Type = 18;
    pub const GGML_TYPE_IQ1_S: Type = 19;
    pub const GGML_TYPE_IQ4_NL: Type = 20;
    pub const GGML_TYPE_IQ3_S: Type = 21;
    pub const GGML_TYPE_IQ2_S: Type = 22;
    pub const GGML_TYPE_IQ4_XS: Type = 23;
    pub const GGML_TYPE_I8: Type = 24;
    pub const GGML_TYPE_I16: Type = 25;
    pub const GGML_TYPE_I32: Type = 26;
    pub const GGML_TYPE_I64: Type = 27;
    pub const GGML_TYPE_F64: Type = 28;
    pub const GGML_TYPE_IQ1_M: Type = 29;
    pub const GGML_TYPE_BF16: Type = 30;
    pub const GGML_TYPE_TQ1_0: Type = 34;
    pub const GGML_TYPE_TQ2_0: Type = 35;
    pub const GGML_TYPE_MXFP4: Type = 39;
    pub const GGML_TYPE_NVFP4: Type = 40;
    pub const GGML_TYPE_Q1_0: Type = 41;
    pub const GGML_TYPE_Q2_0: Type = 42;
    pub const GGML_TYPE_COUNT: Type = 43;
}
pub mod ggml_op {
    pub type Type = ::core::ffi::c_uint;
    pub const GGML_OP_NONE: Type = 0;
    pub const GGML_OP_DUP: Type = 1;
    pub const GGML_OP_ADD: Type = 2;
    pub const GGML_OP_ADD_ID: Type = 3;
    pub const GGML_OP_ADD1: Type = 4;
    pub const GGML_OP_ACC: Type = 5;
    pub const GGML_OP_SUB: Type = 6;
    pub const GGML_OP_MUL: Type = 7;
    pub const GGML_OP_DIV: Type = 8;
    pub const GGML_OP_SQR: Type = 9;
    pub const GGML_OP_SQRT: Type = 10;
    pub const GGML_OP_LOG: Type = 11;
    pub const GGML_OP_SIN: Type = 12;
    pub const GGML_OP_COS: Type = 13;
    pub const GGML_OP_SUM: Type = 14;
    pub const GGML_OP_SUM_ROWS: Type = 15;
    pub const GGML_OP_CUMSUM: Type = 16;
    pub const GGML_OP_MEAN: Type = 17;
    pub const GGML_OP_ARGMAX: Type = 18;
    pub const GGML_OP_COUNT_EQUAL: Type = 19;
    pub const GGML_OP_REPEAT: Type = 20;
    pub const GGML_OP_REPEAT_BACK: Type = 21;
    pub const GGML_OP_CONCAT: Type = 22;
    pub const GGML_OP_SILU_BACK: Type = 23;
    pub const GGML_OP_NORM: Type = 24;
    pub const GGML_OP_RMS_NORM: Type = 25;
    pub const GGML_OP_RMS_NORM_BACK: Type = 26;
    pub const GGML_OP_GROUP_NORM: Type = 27;
    pub const GGML_OP_L2_NORM: Type = 28;
    pub const GGML_OP_MUL_MAT: Type = 29;
    pub const GGML_OP_MUL_MAT_ID: Type = 30;
    pub const GGML_OP_OUT_PROD: Type = 31;
    pub const GGML_OP_SCALE: Type = 32;
    pub const GGML_OP_SET: Type = 33;
    pub const GGML_OP_CPY: Type = 34;
    pub const GGML_OP_CONT: Type = 35;
    pub const GGML_OP_RESHAPE: Type = 36;
    pub const GGML_OP_VIEW: Type = 37;
    pub const GGML_OP_PERMUTE: Type = 38;
    pub const GGML_OP_TRANSPOSE: Type = 39;
    pub const GGML_OP_GET_ROWS: Type = 40;
    pub const GGML_OP_GET_ROWS_BACK: Type = 41;
    pub const GGML_OP_SET_ROWS: Type = 42;
    pub const GGML_OP_DIAG: Type = 43;
    pub const GGML_OP_DIAG_MASK_INF: Type = 44;
    pub const GGML_OP_DIAG_MASK_ZERO: Type = 45;
    pub const GGML_OP_SOFT_MAX: Type = 46;
    pub const GGML_OP_SOFT_MAX_BACK: Type = 47;
    pub const GGML_OP_ROPE: Type = 48;
    pub const GGML_OP_ROPE_BACK: Type = 49;
    pub const GGML_OP_CLAMP: Type = 50;
    pub const GGML_OP_CONV_TRANSPOSE_1D: Type = 51;
    pub const GGML_OP_IM2COL: Type = 52;
    pub const GGML_OP_IM2COL_BACK: Type = 53;
    pub const GGML_OP_IM2COL_3D: Type = 54;
    pub const GGML_OP_COL2IM_1D: Type = 55;
    pub const GGML_OP_CONV_2D: Type = 56;
    pub const GGML_OP_CONV_3D: Type = 57;
    pub const GGML_OP_CONV_2D_DW: Type = 58;
    pub const GGML_OP_CONV_TRANSPOSE_2D: Type = 59;
    pub const GGML_OP_POOL_1D: Type = 60;
    pub const GGML_OP_POOL_2D: Type = 61;
    pub const GGML_OP_POOL_2D_BACK: Type = 62;
    pub const GGML_OP_UPSCALE: Type = 63;
    pub const GGML_OP_PAD: Type = 64;
    pub const GGML_OP_PAD_REFLECT_1D: Type = 65;
    pub const GGML_OP_ROLL: Type = 66;
    pub const GGML_OP_ARANGE: Type = 67;
    pub const GGML_OP_TIMESTEP_EMBEDDING: Type = 68;
    pub const GGML_OP_ARGSORT: Type = 69;
    pub const GGML_OP_TOP_K: Type = 70;
    pub const GGML_OP_LEAKY_RELU: Type = 71;
    pub const GGML_OP_TRI: Type = 72;
    pub const GGML_OP_FILL: Type = 73;
    pub const GGML_OP_FLASH_ATTN_EXT: Type = 74;
    pub const GGML_OP_FLASH_ATTN_BACK: Type = 75;
    pub const GGML_OP_SSM_CONV: Type = 76;
    pub const GGML_OP_SSM_SCAN: Type = 77;
    pub const GGML_OP_WIN_PART: Type = 78;
    pub const GGML_OP_WIN_UNPART: Type = 79;
    pub const GGML_OP_GET_REL_POS: Type = 80;
    pub const GGML_OP_ADD_REL_POS: Type = 81;
    pub const GGML_OP_RWKV_WKV6: Type = 82;
    pub const GGML_OP_GATED_LINEAR_ATTN: Type = 83;
    pub const GGML_OP_RWKV_WKV7: Type = 84;
    pub const GGML_OP_SOLVE_TRI: Type = 85;
    pub const GGML_OP_GATED_DELTA_NET: Type = 86;
    pub const GGML_OP_LIGHTNING_INDEXER: Type = 87;
    pub const GGML_OP_DSV4_HC_COMB: Type = 88;
    pub const GGML_OP_DSV4_HC_PRE: Type = 89;
    pub const GGML_OP_DSV4_HC_POST: Type = 90;
    pub const GGML_OP_UNARY: Type = 91;
    pub const GGML_OP_MAP_CUSTOM1: Type = 92;
    pub const GGML_OP_MAP_CUSTOM2: Type = 93;
    pub const GGML_OP_MAP_CUSTOM3: Type = 94;
    pub const GGML_OP_CUSTOM: Type = 95;
    pub const GGML_OP_CROSS_ENTROPY_LOSS: Type = 96;
    pub const GGML_OP_CROSS_ENTROPY_LOSS_BACK: Type = 97;
    pub const GGML_OP_OPT_STEP_ADAMW: Type = 98;
    pub const GGML_OP_OPT_STEP_SGD: Type = 99;
    pub const GGML_OP_GLU: Type = 100;
    pub const GGML_OP_COUNT: Type = 101;
}
pub mod ggml_log_level {
    pub type Type = ::core::ffi::c_uint;
    pub const GGML_LOG_LEVEL_NONE: Type = 0;
    pub const GGML_LOG_LEVEL_DEBUG: Type = 1;
    pub const GGML_LOG_LEVEL_INFO: Type = 2;
    pub const GGML_LOG_LEVEL_WARN: Type = 3;
    pub const GGML_LOG_LEVEL_ERROR: Type = 4;
    pub const GGML_LOG_LEVEL_CONT: Type = 5;
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ggml_tensor {
    pub type_: ggml_type::Type,
    pub buffer: *mut ggml_backend_buffer,
    pub ne: [i64; 4usize],
    pub nb: [usize; 4usize],
    pub op: ggml_op::Type,
    pub op_params: [i32; 16usize],
    pub flags: i32,
    pub src: [*mut ggml_tensor; 10usize],
    pub view_src: *mut ggml_tensor,
    pub view_offs: usize,
    pub data: *mut ::core::ffi::c_void,
    pub name: [::core::ffi::c_char; 64usize],
    pub extra: *mut ::core::ffi::c_void,
    pub padding: [::core::ffi::c_char; 8usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ggml_tensor"][::core::mem::size_of::<ggml_tensor>() - 336usize];
    ["Alignment of ggml_tensor"][::core::mem::align_of::<ggml_tensor>() - 8usize];
    ["Offset of field: ggml_tensor::type_"][::core::mem::offset_of!(ggml_tensor, type_) - 0usize];
    ["Offset of field: ggml_tensor::buffer"][::core::mem::offset_of!(ggml_tensor, buffer) - 8usize];
    ["Offset of field: ggml_tensor::ne"][::core::mem::offset_of!(ggml_tensor, ne) - 16usize];
    ["Offset of field: ggml_tensor::nb"][::core::mem::offset_of!(ggml_tensor, nb) - 48usize];
    ["Offset of field: ggml_tensor::op"][::core::mem::offset_of!(ggml_tensor, op) - 80usize];
    ["Offset of field: ggml_tensor::op_params"][::core::mem::offset_of!(ggml_tensor, op_params) - 84usize];
    ["Offset of field: ggml_tensor::flags"][::core::mem::offset_of!(ggml_tensor, flags) - 148usize];
    ["Offset of field: ggml_tensor::src"][::core::mem::offset_of!(ggml_tensor, src) - 152usize];
    ["Offset of field: ggml_tensor::view_src"][::core::mem::offset_of!(ggml_tensor, view_src) - 232usize];
    ["Offset of field: ggml_tensor::view_offs"][::core::mem::offset_of!(ggml_tensor, view_offs) - 240usize];
    ["Offset of field: ggml_tensor::data"][::core::mem::offset_of!(ggml_tensor, data) - 248usize];
    ["Offset of field: ggml_tensor::name"][::core::mem::offset_of!(ggml_tensor, name) - 256usize];
    ["Offset of field: ggml_tensor::extra"][::core::mem::offset_of!(ggml_tensor, extra) - 320usize];
    ["Offset of field: ggml_tensor::padding"][::core::mem::offset_of!(ggml_tensor, padding) - 328usize];
};
pub type ggml_abort_callback =
    ::core::option::Option<unsafe extern "C" fn(data: *mut ::core::ffi::c_void) -> bool>;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ggml_backend_buffer_type {
    _unused: [u8; 0],
}
pub type ggml_backend_buffer_type_t = *mut ggml_backend_buffer_type;
pub mod ggml_device_location {
    pub type Type = ::core::ffi::c_uint;
    pub const GGML_DEVICE_LOCATION_UNKNOWN: Type = 0;
    pub const GGML_DEVICE_LOCATION_BUILT_IN: Type = 1;
    pub const GGML_DEVICE_LOCATION_SLOT: Type = 2;
    pub const GGML_DEVICE_LOCATION_EXTERNAL: Type = 3;
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ggml_device_profile {
    pub name: [::core::ffi::c_char; 128usize],
    pub registry_id: u64,
    pub location: ggml_device_location::Type,
    pub low_power: bool,
    pub removable: bool,
    pub headless: bool,
    pub unified_memory: bool,
    pub max_buffer_size: u64,
    pub max_working_set: u64,
    pub threadgroup_memory: u32,
    pub simdgroup_width: u32,
    pub simdgroup_width_known: bool,
    pub simdgroup_reduction: bool,
    pub simdgroup_matrix: bool,
    pub bfloat: bool,
    pub family_apple: u32,
    pub family_mac: u32,
    pub family_common: u32,
    pub family_metal: u32,
    pub lost: bool,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ggml_device_profile"][::core::mem::size_of::<ggml_device_profile>() - 192usize];
    ["Alignment of ggml_device_profile"][::core::mem::align_of::<ggml_device_profile>() - 8usize];
    ["Offset of field: ggml_device_profile::name"]
        [::core::mem::offset_of!(ggml_device_profile, name) - 0usize];
    ["Offset of field: ggml_device_profile::registry_id"]
        [::core::mem::offset_of!(ggml_device_profile, registry_id) - 128usize];
    ["Offset of field: ggml_device_profile::location"]
        [::core::mem::offset_of!(ggml_device_profile, location) - 136usize];
    ["Offset of field: ggml_device_profile::low_power"]
        [::core::mem::offset_of!(ggml_device_profile, low_power) - 140usize];
    ["Offset of field: ggml_device_profile::removable"]
        [::core::mem::offset_of!(ggml_device_profile, removable) - 141usize];
    ["Offset of field: ggml_device_profile::headless"]
        [::core::mem::offset_of!(ggml_device_profile, headless) - 142usize];
    ["Offset of field: ggml_device_profile::unified_memory"]
        [::core::mem::offset_of!(ggml_device_profile, unified_memory) - 143usize];
    ["Offset of field: ggml_device_profile::max_buffer_size"]
        [::core::mem::offset_of!(ggml_device_profile, max_buffer_size) - 144usize];
    ["Offset of field: ggml_device_profile::max_working_set"]
        [::core::mem::offset_of!(ggml_device_profile, max_working_set) - 152usize];
    ["Offset of field: ggml_device_profile::threadgroup_memory"]
        [::core::mem::offset_of!(ggml_device_profile, threadgroup_memory) - 160usize];
    ["Offset of field: ggml_device_profile::simdgroup_width"]
        [::core::mem::offset_of!(ggml_device_profile, simdgroup_width) - 164usize];
    ["Offset of field: ggml_device_profile::simdgroup_width_known"]
        [::core::mem::offset_of!(ggml_device_profile, simdgroup_width_known) - 168usize];
    ["Offset of field: ggml_device_profile::simdgroup_reduction"]
        [::core::mem::offset_of!(ggml_device_profile, simdgroup_reduction) - 169usize];
    ["Offset of field: ggml_device_profile::simdgroup_matrix"]
        [::core::mem::offset_of!(ggml_device_profile, simdgroup_matrix) - 170usize];
    ["Offset of field: ggml_device_profile::bfloat"]
        [::core::mem::offset_of!(ggml_device_profile, bfloat) - 171usize];
    ["Offset of field: ggml_device_profile::family_apple"]
        [::core::mem::offset_of!(ggml_device_profile, family_apple) - 172usize];
    ["Offset of field: ggml_device_profile::family_mac"]
        [::core::mem::offset_of!(ggml_device_profile, family_mac) - 176usize];
    ["Offset of field: ggml_device_profile::family_common"]
        [::core::mem::offset_of!(ggml_device_profile, family_common) - 180usize];
    ["Offset of field: ggml_device_profile::family_metal"]
        [::core::mem::offset_of!(ggml_device_profile, family_metal) - 184usize];
    ["Offset of field: ggml_device_profile::lost"]
        [::core::mem::offset_of!(ggml_device_profile, lost) - 188usize];
};
pub mod ggml_device_buffers {
    pub type Type = ::core::ffi::c_uint;
    pub const GGML_DEVICE_BUFFERS_SHARED: Type = 0;
    pub const GGML_DEVICE_BUFFERS_MANAGED: Type = 1;
    pub const GGML_DEVICE_BUFFERS_PRIVATE: Type = 2;
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ggml_device_plan {
    pub concurrent: bool,
    pub buffers: ggml_device_buffers::Type,
    pub map_host_memory: bool,
    pub staging: u32,
    pub block: u64,
    pub command_buffers: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ggml_device_plan"][::core::mem::size_of::<ggml_device_plan>() - 32usize];
    ["Alignment of ggml_device_plan"][::core::mem::align_of::<ggml_device_plan>() - 8usize];
    ["Offset of field: ggml_device_plan::concurrent"]
        [::core::mem::offset_of!(ggml_device_plan, concurrent) - 0usize];
    ["Offset of field: ggml_device_plan::buffers"]
        [::core::mem::offset_of!(ggml_device_plan, buffers) - 4usize];
    ["Offset of field: ggml_device_plan::map_host_memory"]
        [::core::mem::offset_of!(ggml_device_plan, map_host_memory) - 8usize];
    ["Offset of field: ggml_device_plan::staging"]
        [::core::mem::offset_of!(ggml_device_plan, staging) - 12usize];
    ["Offset of field: ggml_device_plan::block"][::core::mem::offset_of!(ggml_device_plan, block) - 16usize];
    ["Offset of field: ggml_device_plan::command_buffers"]
        [::core::mem::offset_of!(ggml_device_plan, command_buffers) - 24usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ggml_backend_device {
    _unused: [u8; 0],
}
pub type ggml_backend_dev_t = *mut ggml_backend_device;
pub mod ggml_backend_dev_type {
    pub type Type = ::core::ffi::c_uint;
    pub const GGML_BACKEND_DEVICE_TYPE_CPU: Type = 0;
    pub const GGML_BACKEND_DEVICE_TYPE_GPU: Type = 1;
    pub const GGML_BACKEND_DEVICE_TYPE_IGPU: Type = 2;
    pub const GGML_BACKEND_DEVICE_TYPE_ACCEL: Type = 3;
    pub const GGML_BACKEND_DEVICE_TYPE_META: Type = 4;
}
pub type ggml_backend_sched_eval_callback = ::core::option::Option<
    unsafe extern "C" fn(t: *mut ggml_tensor, ask: bool, user_data: *mut ::core::ffi::c_void) -> bool,
>;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_vocab {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_model {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_context {
    _unused: [u8; 0],
}
pub type llama_pos = i32;
pub type llama_token = i32;
pub type llama_seq_id = i32;
pub mod llama_vocab_type {
    pub type Type = ::core::ffi::c_uint;
    pub const LLAMA_VOCAB_TYPE_NONE: Type = 0;
    pub const LLAMA_VOCAB_TYPE_SPM: Type = 1;
    pub const LLAMA_VOCAB_TYPE_BPE: Type = 2;
    pub const LLAMA_VOCAB_TYPE_WPM: Type = 3;
    pub const LLAMA_VOCAB_TYPE_UGM: Type = 4;
    pub const LLAMA_VOCAB_TYPE_RWKV: Type = 5;
    pub const LLAMA_VOCAB_TYPE_PLAMO2: Type = 6;
    pub const LLAMA_VOCAB_TYPE_TEST: Type = 7;
}
pub mod llama_rope_scaling_type {
    pub type Type = ::core::ffi::c_int;
    pub const LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED: Type = -1;
    pub const LLAMA_ROPE_SCALING_TYPE_NONE: Type = 0;
    pub const LLAMA_ROPE_SCALING_TYPE_LINEAR: Type = 1;
    pub const LLAMA_ROPE_SCALING_TYPE_YARN: Type = 2;
    pub const LLAMA_ROPE_SCALING_TYPE_LONGROPE: Type = 3;
    pub const LLAMA_ROPE_SCALING_TYPE_MAX_VALUE: Type = 3;
}
pub mod llama_pooling_type {
    pub type Type = ::core::ffi::c_int;
    pub const LLAMA_POOLING_TYPE_UNSPECIFIED: Type = -1;
    pub const LLAMA_POOLING_TYPE_NONE: Type = 0;
    pub const LLAMA_POOLING_TYPE_MEAN: Type = 1;
    pub const LLAMA_POOLING_TYPE_CLS: Type = 2;
    pub const LLAMA_POOLING_TYPE_LAST: Type = 3;
    pub const LLAMA_POOLING_TYPE_RANK: Type = 4;
}
pub mod llama_attention_type {
    pub type Type = ::core::ffi::c_int;
    pub const LLAMA_ATTENTION_TYPE_UNSPECIFIED: Type = -1;
    pub const LLAMA_ATTENTION_TYPE_CAUSAL: Type = 0;
    pub const LLAMA_ATTENTION_TYPE_NON_CAUSAL: Type = 1;
}
pub mod llama_flash_attn_type {
    pub type Type = ::core::ffi::c_int;
    pub const LLAMA_FLASH_ATTN_TYPE_AUTO: Type = -1;
    pub const LLAMA_FLASH_ATTN_TYPE_DISABLED: Type = 0;
    pub const LLAMA_FLASH_ATTN_TYPE_ENABLED: Type = 1;
}
pub mod llama_split_mode {
    pub type Type = ::core::ffi::c_uint;
    pub const LLAMA_SPLIT_MODE_NONE: Type = 0;
    pub const LLAMA_SPLIT_MODE_LAYER: Type = 1;
    pub const LLAMA_SPLIT_MODE_ROW: Type = 2;
    pub const LLAMA_SPLIT_MODE_TENSOR: Type = 3;
}
pub mod llama_load_mode {
    pub type Type = ::core::ffi::c_int;
    pub const LLAMA_LOAD_MODE_AUTO: Type = -1;
    pub const LLAMA_LOAD_MODE_NONE: Type = 0;
    pub const LLAMA_LOAD_MODE_MMAP: Type = 1;
    pub const LLAMA_LOAD_MODE_MLOCK: Type = 2;
    pub const LLAMA_LOAD_MODE_MMAP_MLOCK: Type = 3;
    pub const LLAMA_LOAD_MODE_DIRECT_IO: Type = 4;
}
pub mod llama_lazy_mode {
    pub type Type = ::core::ffi::c_uint;
    pub const LLAMA_LAZY_MODE_OFF: Type = 0;
    pub const LLAMA_LAZY_MODE_AUTO: Type = 1;
    pub const LLAMA_LAZY_MODE_ON: Type = 2;
}
pub mod llama_context_type {
    pub type Type = ::core::ffi::c_uint;
    pub const LLAMA_CONTEXT_TYPE_DEFAULT: Type = 0;
    pub const LLAMA_CONTEXT_TYPE_MTP: Type = 1;
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_token_data {
    pub id: llama_token,
    pub logit: f32,
    pub p: f32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_token_data"][::core::mem::size_of::<llama_token_data>() - 12usize];
    ["Alignment of llama_token_data"][::core::mem::align_of::<llama_token_data>() - 4usize];
    ["Offset of field: llama_token_data::id"][::core::mem::offset_of!(llama_token_data, id) - 0usize];
    ["Offset of field: llama_token_data::logit"][::core::mem::offset_of!(llama_token_data, logit) - 4usize];
    ["Offset of field: llama_token_data::p"][::core::mem::offset_of!(llama_token_data, p) - 8usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_token_data_array {
    pub data: *mut llama_token_data,
    pub size: usize,
    pub selected: i64,
    pub sorted: bool,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_token_data_array"][::core::mem::size_of::<llama_token_data_array>() - 32usize];
    ["Alignment of llama_token_data_array"][::core::mem::align_of::<llama_token_data_array>() - 8usize];
    ["Offset of field: llama_token_data_array::data"]
        [::core::mem::offset_of!(llama_token_data_array, data) - 0usize];
    ["Offset of field: llama_token_data_array::size"]
        [::core::mem::offset_of!(llama_token_data_array, size) - 8usize];
    ["Offset of field: llama_token_data_array::selected"]
        [::core::mem::offset_of!(llama_token_data_array, selected) - 16usize];
    ["Offset of field: llama_token_data_array::sorted"]
        [::core::mem::offset_of!(llama_token_data_array, sorted) - 24usize];
};
pub type llama_progress_callback =
    ::core::option::Option<unsafe extern "C" fn(progress: f32, user_data: *mut ::core::ffi::c_void) -> bool>;
pub mod llama_model_kv_override_type {
    pub type Type = ::core::ffi::c_uint;
    pub const LLAMA_KV_OVERRIDE_TYPE_INT: Type = 0;
    pub const LLAMA_KV_OVERRIDE_TYPE_FLOAT: Type = 1;
    pub const LLAMA_KV_OVERRIDE_TYPE_BOOL: Type = 2;
    pub const LLAMA_KV_OVERRIDE_TYPE_STR: Type = 3;
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_model_kv_override {
    pub tag: llama_model_kv_override_type::Type,
    pub key: [::core::ffi::c_char; 128usize],
    pub __bindgen_anon_1: llama_model_kv_override__bindgen_ty_1,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union llama_model_kv_override__bindgen_ty_1 {
    pub val_i64: i64,
    pub val_f64: f64,
    pub val_bool: bool,
    pub val_str: [::core::ffi::c_char; 128usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_model_kv_override__bindgen_ty_1"]
        [::core::mem::size_of::<llama_model_kv_override__bindgen_ty_1>() - 128usize];
    ["Alignment of llama_model_kv_override__bindgen_ty_1"]
        [::core::mem::align_of::<llama_model_kv_override__bindgen_ty_1>() - 8usize];
    ["Offset of field: llama_model_kv_override__bindgen_ty_1::val_i64"]
        [::core::mem::offset_of!(llama_model_kv_override__bindgen_ty_1, val_i64) - 0usize];
    ["Offset of field: llama_model_kv_override__bindgen_ty_1::val_f64"]
        [::core::mem::offset_of!(llama_model_kv_override__bindgen_ty_1, val_f64) - 0usize];
    ["Offset of field: llama_model_kv_override__bindgen_ty_1::val_bool"]
        [::core::mem::offset_of!(llama_model_kv_override__bindgen_ty_1, val_bool) - 0usize];
    ["Offset of field: llama_model_kv_override__bindgen_ty_1::val_str"]
        [::core::mem::offset_of!(llama_model_kv_override__bindgen_ty_1, val_str) - 0usize];
};
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_model_kv_override"][::core::mem::size_of::<llama_model_kv_override>() - 264usize];
    ["Alignment of llama_model_kv_override"][::core::mem::align_of::<llama_model_kv_override>() - 8usize];
    ["Offset of field: llama_model_kv_override::tag"]
        [::core::mem::offset_of!(llama_model_kv_override, tag) - 0usize];
    ["Offset of field: llama_model_kv_override::key"]
        [::core::mem::offset_of!(llama_model_kv_override, key) - 4usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_model_tensor_buft_override {
    pub pattern: *const ::core::ffi::c_char,
    pub buft: ggml_backend_buffer_type_t,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_model_tensor_buft_override"]
        [::core::mem::size_of::<llama_model_tensor_buft_override>() - 16usize];
    ["Alignment of llama_model_tensor_buft_override"]
        [::core::mem::align_of::<llama_model_tensor_buft_override>() - 8usize];
    ["Offset of field: llama_model_tensor_buft_override::pattern"]
        [::core::mem::offset_of!(llama_model_tensor_buft_override, pattern) - 0usize];
    ["Offset of field: llama_model_tensor_buft_override::buft"]
        [::core::mem::offset_of!(llama_model_tensor_buft_override, buft) - 8usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_model_params {
    pub devices: *mut ggml_backend_dev_t,
    pub tensor_buft_overrides: *const llama_model_tensor_buft_override,
    pub n_gpu_layers: i32,
    pub split_mode: llama_split_mode::Type,
    pub load_mode: llama_load_mode::Type,
    pub lazy_mode: llama_lazy_mode::Type,
    pub main_gpu: i32,
    pub tensor_split: *const f32,
    pub progress_callback: llama_progress_callback,
    pub progress_callback_user_data: *mut ::core::ffi::c_void,
    pub kv_overrides: *const llama_model_kv_override,
    pub vocab_only: bool,
    pub check_tensors: bool,
    pub use_extra_bufts: bool,
    pub no_host: bool,
    pub no_alloc: bool,
    pub load_mtp: bool,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_model_params"][::core::mem::size_of::<llama_model_params>() - 80usize];
    ["Alignment of llama_model_params"][::core::mem::align_of::<llama_model_params>() - 8usize];
    ["Offset of field: llama_model_params::devices"]
        [::core::mem::offset_of!(llama_model_params, devices) - 0usize];
    ["Offset of field: llama_model_params::tensor_buft_overrides"]
        [::core::mem::offset_of!(llama_model_params, tensor_buft_overrides) - 8usize];
    ["Offset of field: llama_model_params::n_gpu_layers"]
        [::core::mem::offset_of!(llama_model_params, n_gpu_layers) - 16usize];
    ["Offset of field: llama_model_params::split_mode"]
        [::core::mem::offset_of!(llama_model_params, split_mode) - 20usize];
    ["Offset of field: llama_model_params::load_mode"]
        [::core::mem::offset_of!(llama_model_params, load_mode) - 24usize];
    ["Offset of field: llama_model_params::lazy_mode"]
        [::core::mem::offset_of!(llama_model_params, lazy_mode) - 28usize];
    ["Offset of field: llama_model_params::main_gpu"]
        [::core::mem::offset_of!(llama_model_params, main_gpu) - 32usize];
    ["Offset of field: llama_model_params::tensor_split"]
        [::core::mem::offset_of!(llama_model_params, tensor_split) - 40usize];
    ["Offset of field: llama_model_params::progress_callback"]
        [::core::mem::offset_of!(llama_model_params, progress_callback) - 48usize];
    ["Offset of field: llama_model_params::progress_callback_user_data"]
        [::core::mem::offset_of!(llama_model_params, progress_callback_user_data) - 56usize];
    ["Offset of field: llama_model_params::kv_overrides"]
        [::core::mem::offset_of!(llama_model_params, kv_overrides) - 64usize];
    ["Offset of field: llama_model_params::vocab_only"]
        [::core::mem::offset_of!(llama_model_params, vocab_only) - 72usize];
    ["Offset of field: llama_model_params::check_tensors"]
        [::core::mem::offset_of!(llama_model_params, check_tensors) - 73usize];
    ["Offset of field: llama_model_params::use_extra_bufts"]
        [::core::mem::offset_of!(llama_model_params, use_extra_bufts) - 74usize];
    ["Offset of field: llama_model_params::no_host"]
        [::core::mem::offset_of!(llama_model_params, no_host) - 75usize];
    ["Offset of field: llama_model_params::no_alloc"]
        [::core::mem::offset_of!(llama_model_params, no_alloc) - 76usize];
    ["Offset of field: llama_model_params::load_mtp"]
        [::core::mem::offset_of!(llama_model_params, load_mtp) - 77usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_sampler_seq_config {
    pub seq_id: llama_seq_id,
    pub sampler: *mut llama_sampler,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_sampler_seq_config"][::core::mem::size_of::<llama_sampler_seq_config>() - 16usize];
    ["Alignment of llama_sampler_seq_config"][::core::mem::align_of::<llama_sampler_seq_config>() - 8usize];
    ["Offset of field: llama_sampler_seq_config::seq_id"]
        [::core::mem::offset_of!(llama_sampler_seq_config, seq_id) - 0usize];
    ["Offset of field: llama_sampler_seq_config::sampler"]
        [::core::mem::offset_of!(llama_sampler_seq_config, sampler) - 8usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_context_params {
    pub n_ctx: u32,
    pub n_batch: u32,
    pub n_ubatch: u32,
    pub n_seq_max: u32,
    pub n_rs_seq: u32,
    pub n_outputs_max: u32,
    pub n_outputs_max_per_seq: u32,
    pub n_threads: i32,
    pub n_threads_batch: i32,
    pub ctx_type: llama_context_type::Type,
    pub rope_scaling_type: llama_rope_scaling_type::Type,
    pub pooling_type: llama_pooling_type::Type,
    pub attention_type: llama_attention_type::Type,
    pub flash_attn_type: llama_flash_attn_type::Type,
    pub rope_freq_base: f32,
    pub rope_freq_scale: f32,
    pub yarn_ext_factor: f32,
    pub yarn_attn_factor: f32,
    pub yarn_beta_fast: f32,
    pub yarn_beta_slow: f32,
    pub yarn_orig_ctx: u32,
    pub defrag_thold: f32,
    pub cb_eval: ggml_backend_sched_eval_callback,
    pub cb_eval_user_data: *mut ::core::ffi::c_void,
    pub type_k: ggml_type::Type,
    pub type_v: ggml_type::Type,
    pub abort_callback: ggml_abort_callback,
    pub abort_callback_data: *mut ::core::ffi::c_void,
    pub embeddings: bool,
    pub offload_kqv: bool,
    pub no_perf: bool,
    pub op_offload: bool,
    pub swa_full: bool,
    pub kv_unified: bool,
    pub samplers: *mut llama_sampler_seq_config,
    pub n_samplers: usize,
    pub ctx_other: *mut llama_context,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_context_params"][::core::mem::size_of::<llama_context_params>() - 160usize];
    ["Alignment of llama_context_params"][::core::mem::align_of::<llama_context_params>() - 8usize];
    ["Offset of field: llama_context_params::n_ctx"]
        [::core::mem::offset_of!(llama_context_params, n_ctx) - 0usize];
    ["Offset of field: llama_context_params::n_batch"]
        [::core::mem::offset_of!(llama_context_params, n_batch) - 4usize];
    ["Offset of field: llama_context_params::n_ubatch"]
        [::core::mem::offset_of!(llama_context_params, n_ubatch) - 8usize];
    ["Offset of field: llama_context_params::n_seq_max"]
        [::core::mem::offset_of!(llama_context_params, n_seq_max) - 12usize];
    ["Offset of field: llama_context_params::n_rs_seq"]
        [::core::mem::offset_of!(llama_context_params, n_rs_seq) - 16usize];
    ["Offset of field: llama_context_params::n_outputs_max"]
        [::core::mem::offset_of!(llama_context_params, n_outputs_max) - 20usize];
    ["Offset of field: llama_context_params::n_outputs_max_per_seq"]
        [::core::mem::offset_of!(llama_context_params, n_outputs_max_per_seq) - 24usize];
    ["Offset of field: llama_context_params::n_threads"]
        [::core::mem::offset_of!(llama_context_params, n_threads) - 28usize];
    ["Offset of field: llama_context_params::n_threads_batch"]
        [::core::mem::offset_of!(llama_context_params, n_threads_batch) - 32usize];
    ["Offset of field: llama_context_params::ctx_type"]
        [::core::mem::offset_of!(llama_context_params, ctx_type) - 36usize];
    ["Offset of field: llama_context_params::rope_scaling_type"]
        [::core::mem::offset_of!(llama_context_params, rope_scaling_type) - 40usize];
    ["Offset of field: llama_context_params::pooling_type"]
        [::core::mem::offset_of!(llama_context_params, pooling_type) - 44usize];
    ["Offset of field: llama_context_params::attention_type"]
        [::core::mem::offset_of!(llama_context_params, attention_type) - 48usize];
    ["Offset of field: llama_context_params::flash_attn_type"]
        [::core::mem::offset_of!(llama_context_params, flash_attn_type) - 52usize];
    ["Offset of field: llama_context_params::rope_freq_base"]
        [::core::mem::offset_of!(llama_context_params, rope_freq_base) - 56usize];
    ["Offset of field: llama_context_params::rope_freq_scale"]
        [::core::mem::offset_of!(llama_context_params, rope_freq_scale) - 60usize];
    ["Offset of field: llama_context_params::yarn_ext_factor"]
        [::core::mem::offset_of!(llama_context_params, yarn_ext_factor) - 64usize];
    ["Offset of field: llama_context_params::yarn_attn_factor"]
        [::core::mem::offset_of!(llama_context_params, yarn_attn_factor) - 68usize];
    ["Offset of field: llama_context_params::yarn_beta_fast"]
        [::core::mem::offset_of!(llama_context_params, yarn_beta_fast) - 72usize];
    ["Offset of field: llama_context_params::yarn_beta_slow"]
        [::core::mem::offset_of!(llama_context_params, yarn_beta_slow) - 76usize];
    ["Offset of field: llama_context_params::yarn_orig_ctx"]
        [::core::mem::offset_of!(llama_context_params, yarn_orig_ctx) - 80usize];
    ["Offset of field: llama_context_params::defrag_thold"]
        [::core::mem::offset_of!(llama_context_params, defrag_thold) - 84usize];
    ["Offset of field: llama_context_params::cb_eval"]
        [::core::mem::offset_of!(llama_context_params, cb_eval) - 88usize];
    ["Offset of field: llama_context_params::cb_eval_user_data"]
        [::core::mem::offset_of!(llama_context_params, cb_eval_user_data) - 96usize];
    ["Offset of field: llama_context_params::type_k"]
        [::core::mem::offset_of!(llama_context_params, type_k) - 104usize];
    ["Offset of field: llama_context_params::type_v"]
        [::core::mem::offset_of!(llama_context_params, type_v) - 108usize];
    ["Offset of field: llama_context_params::abort_callback"]
        [::core::mem::offset_of!(llama_context_params, abort_callback) - 112usize];
    ["Offset of field: llama_context_params::abort_callback_data"]
        [::core::mem::offset_of!(llama_context_params, abort_callback_data) - 120usize];
    ["Offset of field: llama_context_params::embeddings"]
        [::core::mem::offset_of!(llama_context_params, embeddings) - 128usize];
    ["Offset of field: llama_context_params::offload_kqv"]
        [::core::mem::offset_of!(llama_context_params, offload_kqv) - 129usize];
    ["Offset of field: llama_context_params::no_perf"]
        [::core::mem::offset_of!(llama_context_params, no_perf) - 130usize];
    ["Offset of field: llama_context_params::op_offload"]
        [::core::mem::offset_of!(llama_context_params, op_offload) - 131usize];
    ["Offset of field: llama_context_params::swa_full"]
        [::core::mem::offset_of!(llama_context_params, swa_full) - 132usize];
    ["Offset of field: llama_context_params::kv_unified"]
        [::core::mem::offset_of!(llama_context_params, kv_unified) - 133usize];
    ["Offset of field: llama_context_params::samplers"]
        [::core::mem::offset_of!(llama_context_params, samplers) - 136usize];
    ["Offset of field: llama_context_params::n_samplers"]
        [::core::mem::offset_of!(llama_context_params, n_samplers) - 144usize];
    ["Offset of field: llama_context_params::ctx_other"]
        [::core::mem::offset_of!(llama_context_params, ctx_other) - 152usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_logit_bias {
    pub token: llama_token,
    pub bias: f32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_logit_bias"][::core::mem::size_of::<llama_logit_bias>() - 8usize];
    ["Alignment of llama_logit_bias"][::core::mem::align_of::<llama_logit_bias>() - 4usize];
    ["Offset of field: llama_logit_bias::token"][::core::mem::offset_of!(llama_logit_bias, token) - 0usize];
    ["Offset of field: llama_logit_bias::bias"][::core::mem::offset_of!(llama_logit_bias, bias) - 4usize];
};
pub type llama_sampler_context_t = *mut ::core::ffi::c_void;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_sampler_data {
    pub logits: *mut ggml_tensor,
    pub probs: *mut ggml_tensor,
    pub sampled: *mut ggml_tensor,
    pub candidates: *mut ggml_tensor,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_sampler_data"][::core::mem::size_of::<llama_sampler_data>() - 32usize];
    ["Alignment of llama_sampler_data"][::core::mem::align_of::<llama_sampler_data>() - 8usize];
    ["Offset of field: llama_sampler_data::logits"]
        [::core::mem::offset_of!(llama_sampler_data, logits) - 0usize];
    ["Offset of field: llama_sampler_data::probs"]
        [::core::mem::offset_of!(llama_sampler_data, probs) - 8usize];
    ["Offset of field: llama_sampler_data::sampled"]
        [::core::mem::offset_of!(llama_sampler_data, sampled) - 16usize];
    ["Offset of field: llama_sampler_data::candidates"]
        [::core::mem::offset_of!(llama_sampler_data, candidates) - 24usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_sampler_i {
    pub name: ::core::option::Option<
        unsafe extern "C" fn(smpl: *const llama_sampler) -> *const ::core::ffi::c_char,
    >,
    pub accept: ::core::option::Option<unsafe extern "C" fn(smpl: *mut llama_sampler, token: llama_token)>,
    pub apply: ::core::option::Option<
        unsafe extern "C" fn(smpl: *mut llama_sampler, cur_p: *mut llama_token_data_array),
    >,
    pub reset: ::core::option::Option<unsafe extern "C" fn(smpl: *mut llama_sampler)>,
    pub clone: ::core::option::Option<unsafe extern "C" fn(smpl: *const llama_sampler) -> *mut llama_sampler>,
    pub free: ::core::option::Option<unsafe extern "C" fn(smpl: *mut llama_sampler)>,
    pub backend_init: ::core::option::Option<
        unsafe extern "C" fn(
            smpl: *mut llama_sampler,
            buft: ggml_backend_buffer_type_t,
            n_outputs_max_per_seq: u32,
        ) -> bool,
    >,
    pub backend_accept: ::core::option::Option<
        unsafe extern "C" fn(
            smpl: *mut llama_sampler,
            ctx: *mut ggml_context,
            gf: *mut ggml_cgraph,
            selected_token: *mut ggml_tensor,
        ),
    >,
    pub backend_apply: ::core::option::Option<
        unsafe extern "C" fn(
            smpl: *mut llama_sampler,
            ctx: *mut ggml_context,
            gf: *mut ggml_cgraph,
            data: *mut llama_sampler_data,
        ),
    >,
    pub backend_set_input: ::core::option::Option<unsafe extern "C" fn(smpl: *mut llama_sampler)>,
    pub backend_reset: ::core::option::Option<unsafe extern "C" fn(smpl: *mut llama_sampler)>,
    pub copy_state:
        ::core::option::Option<unsafe extern "C" fn(src: *const llama_sampler, dst: *mut llama_sampler)>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_sampler_i"][::core::mem::size_of::<llama_sampler_i>() - 96usize];
    ["Alignment of llama_sampler_i"][::core::mem::align_of::<llama_sampler_i>() - 8usize];
    ["Offset of field: llama_sampler_i::name"][::core::mem::offset_of!(llama_sampler_i, name) - 0usize];
    ["Offset of field: llama_sampler_i::accept"][::core::mem::offset_of!(llama_sampler_i, accept) - 8usize];
    ["Offset of field: llama_sampler_i::apply"][::core::mem::offset_of!(llama_sampler_i, apply) - 16usize];
    ["Offset of field: llama_sampler_i::reset"][::core::mem::offset_of!(llama_sampler_i, reset) - 24usize];
    ["Offset of field: llama_sampler_i::clone"][::core::mem::offset_of!(llama_sampler_i, clone) - 32usize];
    ["Offset of field: llama_sampler_i::free"][::core::mem::offset_of!(llama_sampler_i, free) - 40usize];
    ["Offset of field: llama_sampler_i::backend_init"]
        [::core::mem::offset_of!(llama_sampler_i, backend_init) - 48usize];
    ["Offset of field: llama_sampler_i::backend_accept"]
        [::core::mem::offset_of!(llama_sampler_i, backend_accept) - 56usize];
    ["Offset of field: llama_sampler_i::backend_apply"]
        [::core::mem::offset_of!(llama_sampler_i, backend_apply) - 64usize];
    ["Offset of field: llama_sampler_i::backend_set_input"]
        [::core::mem::offset_of!(llama_sampler_i, backend_set_input) - 72usize];
    ["Offset of field: llama_sampler_i::backend_reset"]
        [::core::mem::offset_of!(llama_sampler_i, backend_reset) - 80usize];
    ["Offset of field: llama_sampler_i::copy_state"]
        [::core::mem::offset_of!(llama_sampler_i, copy_state) - 88usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct llama_sampler {
    pub iface: *mut llama_sampler_i,
    pub ctx: llama_sampler_context_t,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of llama_sampler"][::core::mem::size_of::<llama_sampler>() - 16usize];
    ["Alignment of llama_sampler"][::core::mem::align_of::<llama_sampler>() - 8usize];
    ["Offset of field: llama_sampler::iface"][::core::mem::offset_of!(llama_sampler, iface) - 0usize];
    ["Offset of field: llama_sampler::ctx"][::core::mem::offset_of!(llama_sampler, ctx) - 8usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ggml_product_shape {
    pub type_: u32,
    pub row_length: u32,
    pub rows: u32,
    pub columns: u32,
    pub experts: u32,
    pub simdgroups: u16,
    pub rows_per_simdgroup: u16,
    pub threads_per_row: u16,
    pub columns_per_threadgroup: u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ggml_product_shape"][::core::mem::size_of::<ggml_product_shape>() - 28usize];
    ["Alignment of ggml_product_shape"][::core::mem::align_of::<ggml_product_shape>() - 4usize];
    ["Offset of field: ggml_product_shape::type_"]
        [::core::mem::offset_of!(ggml_product_shape, type_) - 0usize];
    ["Offset of field: ggml_product_shape::row_length"]
        [::core::mem::offset_of!(ggml_product_shape, row_length) - 4usize];
    ["Offset of field: ggml_product_shape::rows"][::core::mem::offset_of!(ggml_product_shape, rows) - 8usize];
    ["Offset of field: ggml_product_shape::columns"]
        [::core::mem::offset_of!(ggml_product_shape, columns) - 12usize];
    ["Offset of field: ggml_product_shape::experts"]
        [::core::mem::offset_of!(ggml_product_shape, experts) - 16usize];
    ["Offset of field: ggml_product_shape::simdgroups"]
        [::core::mem::offset_of!(ggml_product_shape, simdgroups) - 20usize];
    ["Offset of field: ggml_product_shape::rows_per_simdgroup"]
        [::core::mem::offset_of!(ggml_product_shape, rows_per_simdgroup) - 22usize];
    ["Offset of field: ggml_product_shape::threads_per_row"]
        [::core::mem::offset_of!(ggml_product_shape, threads_per_row) - 24usize];
    ["Offset of field: ggml_product_shape::columns_per_threadgroup"]
        [::core::mem::offset_of!(ggml_product_shape, columns_per_threadgroup) - 26usize];
};
pub mod inf_status {
    pub type Type = ::core::ffi::c_uint;
    pub const INF_OK: Type = 0;
    pub const INF_EXCEPTION: Type = 1;
    pub const INF_ASSERTION: Type = 2;
    pub const INF_OUT_OF_MEMORY: Type = 3;
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct inf_error {
    pub message: [::core::ffi::c_char; 2048usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of inf_error"][::core::mem::size_of::<inf_error>() - 2048usize];
    ["Alignment of inf_error"][::core::mem::align_of::<inf_error>() - 1usize];
    ["Offset of field: inf_error::message"][::core::mem::offset_of!(inf_error, message) - 0usize];
};
pub type inf_log_fn = ::core::option::Option<
    unsafe extern "C" fn(level: ggml_log_level::Type, text: *const ::core::ffi::c_char),
>;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct inf_memory {
    pub device: *const ::core::ffi::c_char,
    pub weights: usize,
    pub cache: usize,
    pub compute: usize,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of inf_memory"][::core::mem::size_of::<inf_memory>() - 32usize];
    ["Alignment of inf_memory"][::core::mem::align_of::<inf_memory>() - 8usize];
    ["Offset of field: inf_memory::device"][::core::mem::offset_of!(inf_memory, device) - 0usize];
    ["Offset of field: inf_memory::weights"][::core::mem::offset_of!(inf_memory, weights) - 8usize];
    ["Offset of field: inf_memory::cache"][::core::mem::offset_of!(inf_memory, cache) - 16usize];
    ["Offset of field: inf_memory::compute"][::core::mem::offset_of!(inf_memory, compute) - 24usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct inf_selftest {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct inf_selftest_options {
    pub seed: u64,
    pub type_k: ggml_type::Type,
    pub type_v: ggml_type::Type,
    pub flash_attention: bool,
    pub threads: i32,
    pub columns: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of inf_selftest_options"][::core::mem::size_of::<inf_selftest_options>() - 32usize];
    ["Alignment of inf_selftest_options"][::core::mem::align_of::<inf_selftest_options>() - 8usize];
    ["Offset of field: inf_selftest_options::seed"]
        [::core::mem::offset_of!(inf_selftest_options, seed) - 0usize];
    ["Offset of field: inf_selftest_options::type_k"]
        [::core::mem::offset_of!(inf_selftest_options, type_k) - 8usize];
    ["Offset of field: inf_selftest_options::type_v"]
        [::core::mem::offset_of!(inf_selftest_options, type_v) - 12usize];
    ["Offset of field: inf_selftest_options::flash_attention"]
        [::core::mem::offset_of!(inf_selftest_options, flash_attention) - 16usize];
    ["Offset of field: inf_selftest_options::threads"]
        [::core::mem::offset_of!(inf_selftest_options, threads) - 20usize];
    ["Offset of field: inf_selftest_options::columns"]
        [::core::mem::offset_of!(inf_selftest_options, columns) - 24usize];
};
pub mod inf_verdict {
    pub type Type = ::core::ffi::c_uint;
    pub const INF_VERDICT_RIGHT: Type = 0;
    pub const INF_VERDICT_WRONG: Type = 1;
    pub const INF_VERDICT_FAILED: Type = 2;
    pub const INF_VERDICT_ON_CPU: Type = 3;
    pub const INF_VERDICT_UNJUDGED: Type = 4;
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct inf_check {
    pub name: *const ::core::ffi::c_char,
    pub what: *const ::core::ffi::c_char,
    pub reason: *const ::core::ffi::c_char,
    pub verdict: inf_verdict::Type,
    pub error: f64,
    pub limit: f64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of inf_check"][::core::mem::size_of::<inf_check>() - 48usize];
    ["Alignment of inf_check"][::core::mem::align_of::<inf_check>() - 8usize];
    ["Offset of field: inf_check::name"][::core::mem::offset_of!(inf_check, name) - 0usize];
    ["Offset of field: inf_check::what"][::core::mem::offset_of!(inf_check, what) - 8usize];
    ["Offset of field: inf_check::reason"][::core::mem::offset_of!(inf_check, reason) - 16usize];
    ["Offset of field: inf_check::verdict"][::core::mem::offset_of!(inf_check, verdict) - 24usize];
    ["Offset of field: inf_check::error"][::core::mem::offset_of!(inf_check, error) - 32usize];
    ["Offset of field: inf_check::limit"][::core::mem::offset_of!(inf_check, limit) - 40usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct inf_copies {
    pub to_device: f64,
    pub from_device: f64,
    pub same: bool,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of inf_copies"][::core::mem::size_of::<inf_copies>() - 24usize];
    ["Alignment of inf_copies"][::core::mem::align_of::<inf_copies>() - 8usize];
    ["Offset of field: inf_copies::to_device"][::core::mem::offset_of!(inf_copies, to_device) - 0usize];
    ["Offset of field: inf_copies::from_device"][::core::mem::offset_of!(inf_copies, from_device) - 8usize];
    ["Offset of field: inf_copies::same"][::core::mem::offset_of!(inf_copies, same) - 16usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct inf_product {
    pub type_: ggml_type::Type,
    pub row_length: i64,
    pub rows: i64,
    pub columns: i64,
    pub experts: i64,
    pub used: i64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of inf_product"][::core::mem::size_of::<inf_product>() - 48usize];
    ["Alignment of inf_product"][::core::mem::align_of::<inf_product>() - 8usize];
    ["Offset of field: inf_product::type_"][::core::mem::offset_of!(inf_product, type_) - 0usize];
    ["Offset of field: inf_product::row_length"][::core::mem::offset_of!(inf_product, row_length) - 8usize];
    ["Offset of field: inf_product::rows"][::core::mem::offset_of!(inf_product, rows) - 16usize];
    ["Offset of field: inf_product::columns"][::core::mem::offset_of!(inf_product, columns) - 24usize];
    ["Offset of field: inf_product::experts"][::core::mem::offset_of!(inf_product, experts) - 32usize];
    ["Offset of field: inf_product::used"][::core::mem::offset_of!(inf_product, used) - 40usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct inf_product_cost {
    pub supported: bool,
    pub error: f64,
    pub seconds: [f64; 7usize],
    pub bytes: u64,
    pub host_bytes: u64,
    pub threadgroups: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of inf_product_cost"][::core::mem::size_of::<inf_product_cost>() - 96usize];
    ["Alignment of inf_product_cost"][::core::mem::align_of::<inf_product_cost>() - 8usize];
    ["Offset of field: inf_product_cost::supported"]
        [::core::mem::offset_of!(inf_product_cost, supported) - 0usize];
    ["Offset of field: inf_product_cost::error"][::core::mem::offset_of!(inf_product_cost, error) - 8usize];
    ["Offset of field: inf_product_cost::seconds"]
        [::core::mem::offset_of!(inf_product_cost, seconds) - 16usize];
    ["Offset of field: inf_product_cost::bytes"][::core::mem::offset_of!(inf_product_cost, bytes) - 72usize];
    ["Offset of field: inf_product_cost::host_bytes"]
        [::core::mem::offset_of!(inf_product_cost, host_bytes) - 80usize];
    ["Offset of field: inf_product_cost::threadgroups"]
        [::core::mem::offset_of!(inf_product_cost, threadgroups) - 88usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ggml_backend_buffer {
    pub _address: u8,
}
unsafe extern "C" {
    pub fn ggml_backend_dev_name(device: ggml_backend_dev_t) -> *const ::core::ffi::c_char;
    pub fn ggml_backend_dev_description(device: ggml_backend_dev_t) -> *const ::core::ffi::c_char;
    pub fn ggml_backend_dev_memory(device: ggml_backend_dev_t, free: *mut usize, total: *mut usize);
    pub fn ggml_backend_dev_type(device: ggml_backend_dev_t) -> ggml_backend_dev_type::Type;
    pub fn ggml_backend_dev_count() -> usize;
    pub fn ggml_backend_dev_get(index: usize) -> ggml_backend_dev_t;
    pub fn llama_model_default_params() -> llama_model_params;
    pub fn llama_context_default_params() -> llama_context_params;
    pub fn llama_max_devices() -> usize;
    pub fn llama_model_get_vocab(model: *const llama_model) -> *const llama_vocab;
    pub fn llama_model_n_ctx_train(model: *const llama_model) -> i32;
    pub fn llama_model_n_embd_out(model: *const llama_model) -> i32;
    pub fn llama_model_n_swa(model: *const llama_model) -> i32;
    pub fn llama_vocab_type(vocab: *const llama_vocab) -> llama_vocab_type::Type;
    pub fn llama_vocab_n_tokens(vocab: *const llama_vocab) -> i32;
    pub fn llama_model_desc(model: *const llama_model, buf: *mut ::core::ffi::c_char, buf_size: usize)
    -> i32;
    pub fn llama_model_size(model: *const llama_model) -> u64;
    pub fn llama_model_n_params(model: *const llama_model) -> u64;
    pub fn llama_model_has_encoder(model: *const llama_model) -> bool;
    pub fn llama_model_has_decoder(model: *const llama_model) -> bool;
    pub fn llama_model_is_recurrent(model: *const llama_model) -> bool;
    pub fn llama_model_is_hybrid(model: *const llama_model) -> bool;
    pub fn llama_vocab_is_eog(vocab: *const llama_vocab, token: llama_token) -> bool;
    pub fn llama_vocab_is_control(vocab: *const llama_vocab, token: llama_token) -> bool;
    pub fn llama_vocab_bos(vocab: *const llama_vocab) -> llama_token;
    pub fn llama_vocab_eos(vocab: *const llama_vocab) -> llama_token;
    pub fn llama_vocab_get_add_bos(vocab: *const llama_vocab) -> bool;
    pub fn llama_vocab_get_suppress_tokens(
        vocab: *const llama_vocab,
        n_suppress_tokens: *mut i32,
    ) -> *const llama_token;
    pub fn llama_sampler_free(smpl: *mut llama_sampler);
    pub fn inf_device_profile(device: ggml_backend_dev_t, profile: *mut ggml_device_profile) -> bool;
    pub fn inf_device_set_plan(device: ggml_backend_dev_t, plan: *const ggml_device_plan) -> bool;
    pub fn inf_device_set_product_shapes(
        device: ggml_backend_dev_t,
        shapes: *const ggml_product_shape,
        count: usize,
    ) -> bool;
    pub fn inf_cpu_weight_layout() -> *const ::core::ffi::c_char;
    pub fn inf_init(log: inf_log_fn, error: *mut inf_error) -> inf_status::Type;
    pub fn inf_model_load(
        path: *const ::core::ffi::c_char,
        params: *const llama_model_params,
        model: *mut *mut llama_model,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_model_free(model: *mut llama_model, error: *mut inf_error) -> inf_status::Type;
    pub fn inf_context_new(
        model: *mut llama_model,
        params: *const llama_context_params,
        context: *mut *mut llama_context,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_context_free(context: *mut llama_context, error: *mut inf_error) -> inf_status::Type;
    pub fn inf_decode(
        context: *mut llama_context,
        n: i32,
        tokens: *const llama_token,
        pos: *const llama_pos,
        seq: *const llama_seq_id,
        output: *const i8,
        result: *mut i32,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_logits(
        context: *mut llama_context,
        i: i32,
        logits: *mut *const f32,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_embedding(
        context: *mut llama_context,
        i: i32,
        embedding: *mut *const f32,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_seq_rm(
        context: *mut llama_context,
        seq: llama_seq_id,
        from: llama_pos,
        to: llama_pos,
        removed: *mut bool,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_seq_cp(
        context: *mut llama_context,
        from: llama_seq_id,
        into: llama_seq_id,
        to: llama_pos,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_seq_add(
        context: *mut llama_context,
        seq: llama_seq_id,
        from: llama_pos,
        delta: llama_pos,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_seq_range(
        context: *mut llama_context,
        seq: llama_seq_id,
        least: *mut llama_pos,
        most: *mut llama_pos,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_can_shift(
        context: *mut llama_context,
        can: *mut bool,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_context_memory(
        context: *mut llama_context,
        parts: *mut inf_memory,
        n: usize,
        count: *mut usize,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_state_size(
        context: *mut llama_context,
        size: *mut usize,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_state_get(
        context: *mut llama_context,
        data: *mut u8,
        size: usize,
        written: *mut usize,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_state_set(
        context: *mut llama_context,
        data: *const u8,
        size: usize,
        read: *mut usize,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_tokenize(
        vocab: *const llama_vocab,
        text: *const ::core::ffi::c_char,
        length: i32,
        tokens: *mut llama_token,
        max_tokens: i32,
        add_special: bool,
        parse_special: bool,
        result: *mut i32,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_token_to_piece(
        vocab: *const llama_vocab,
        token: llama_token,
        piece: *mut ::core::ffi::c_char,
        length: i32,
        special: bool,
        result: *mut i32,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_sampler_chain_new(chain: *mut *mut llama_sampler, error: *mut inf_error) -> inf_status::Type;
    pub fn inf_sampler_add_dry(
        chain: *mut llama_sampler,
        vocab: *const llama_vocab,
        multiplier: f32,
        base: f32,
        allowed_length: i32,
        penalty_last_n: i32,
        breakers: *mut *const ::core::ffi::c_char,
        n_breakers: usize,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_sampler_add_logit_bias(
        chain: *mut llama_sampler,
        n_vocab: i32,
        n: i32,
        biases: *const llama_logit_bias,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_sampler_add_penalties(
        chain: *mut llama_sampler,
        n_vocab: i32,
        last_n: i32,
        repeat: f32,
        frequency: f32,
        presence: f32,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_sampler_add_mirostat(
        chain: *mut llama_sampler,
        n_vocab: i32,
        seed: u32,
        tau: f32,
        eta: f32,
        m: i32,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_sampler_add_mirostat_v2(
        chain: *mut llama_sampler,
        seed: u32,
        tau: f32,
        eta: f32,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_sampler_add_top_k(
        chain: *mut llama_sampler,
        k: i32,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_sampler_add_top_p(
        chain: *mut llama_sampler,
        p: f32,
        min_keep: usize,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_sampler_add_min_p(
        chain: *mut llama_sampler,
        p: f32,
        min_keep: usize,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_sampler_add_typical(
        chain: *mut llama_sampler,
        p: f32,
        min_keep: usize,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_sampler_add_top_n_sigma(
        chain: *mut llama_sampler,
        n: f32,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_sampler_add_xtc(
        chain: *mut llama_sampler,
        probability: f32,
        threshold: f32,
        min_keep: usize,
        seed: u32,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_sampler_add_temperature(
        chain: *mut llama_sampler,
        temperature: f32,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_sampler_add_greedy(chain: *mut llama_sampler, error: *mut inf_error) -> inf_status::Type;
    pub fn inf_sampler_add_dist(
        chain: *mut llama_sampler,
        seed: u32,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_sample(
        chain: *mut llama_sampler,
        context: *mut llama_context,
        i: i32,
        token: *mut llama_token,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_sampler_accept(
        chain: *mut llama_sampler,
        token: llama_token,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_node_work(
        node: *const ggml_tensor,
        operation: *mut *const ::core::ffi::c_char,
        device: *mut *const ::core::ffi::c_char,
    ) -> bool;
    pub fn inf_selftest_new(
        path: *const ::core::ffi::c_char,
        options: *const inf_selftest_options,
        test: *mut *mut inf_selftest,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_selftest_run(
        test: *mut inf_selftest,
        device: ggml_backend_dev_t,
        block: u64,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_selftest_checks(test: *const inf_selftest, checks: *mut *const inf_check) -> usize;
    pub fn inf_selftest_work(test: *const inf_selftest) -> f64;
    pub fn inf_selftest_free(test: *mut inf_selftest, error: *mut inf_error) -> inf_status::Type;
    pub fn inf_probe_copies(
        device: ggml_backend_dev_t,
        bytes: usize,
        copies: *mut inf_copies,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_probe_memory(
        device: ggml_backend_dev_t,
        bytes: usize,
        given: *mut bool,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_probe_begin();
    pub fn inf_probe_product(
        device: ggml_backend_dev_t,
        product: *const inf_product,
        cost: *mut inf_product_cost,
        error: *mut inf_error,
    ) -> inf_status::Type;
    pub fn inf_system(text: *mut ::core::ffi::c_char, size: usize);
    pub fn inf_trim_memory();
    pub fn inf_keep_little_memory();
    pub fn inf_fail(how: i32, error: *mut inf_error) -> inf_status::Type;
}
