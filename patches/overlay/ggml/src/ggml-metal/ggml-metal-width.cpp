#include "ggml-metal-width.h"

#include <cstring>

// Kernels that neither reduce nor shuffle over a simdgroup, nor ask for a thread's place in one. Their threads work each
// for itself, or meet at threadgroup barriers (argsort, the tiled convolutions, ssm_conv, wkv).
//
// All others take N_SIMDWIDTH = 32 for granted: they divide rows among 32 lanes, keep one partial result for each 32
// threads, or shuffle by 16. At width 64 a row is added up twice and at 16 in halves, without any error. A kernel that is
// not named here counts as one of those, so that a new one is refused until somebody has looked at it.
static const char * const k_any_width[] = {
    "kernel_add_id",
    "kernel_arange_",
    "kernel_argsort_",
    "kernel_bin_fuse_",
    "kernel_col2im_",
    "kernel_concat_",
    "kernel_conv_",
    "kernel_cpy_",
    "kernel_geglu_",
    "kernel_get_rows_",
    "kernel_im2col_",
    "kernel_memset_",
    "kernel_moe_reduce_",
    "kernel_opt_step_",
    "kernel_pad_",
    "kernel_pool_",
    "kernel_reglu_",
    "kernel_repeat_",
    "kernel_roll_",
    "kernel_rope_",
    "kernel_rwkv_wkv6_",
    "kernel_rwkv_wkv7_",
    "kernel_set_rows_",
    "kernel_silu_back_",
    "kernel_snake_",
    "kernel_ssm_conv_",
    "kernel_swiglu_",
    "kernel_timestep_embedding_",
    "kernel_top_k_",
    "kernel_tri_",
    "kernel_unary_",
    "kernel_upscale_",
};

bool ggml_metal_kernel_runs_at_width(const char * base, int width) {
    if (width == 32) {
        return true;
    }
    for (const char * prefix : k_any_width) {
        if (strncmp(base, prefix, strlen(prefix)) == 0) {
            return true;
        }
    }
    return false;
}
