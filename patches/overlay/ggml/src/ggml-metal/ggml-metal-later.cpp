#include "ggml-metal-later.h"

#include <cstring>

namespace {

// who has no use for it
enum unused_by { NOBODY_TUNED, MATRIX_UNITS, NO_MATRIX_UNITS, SHARED_LANES };

struct entry {
    const char * library;
    unused_by    by;
    const char * prefix; // of the names of its kernels
};

const entry entries[] = {
    { "mul_mv_rows",   NOBODY_TUNED,    "kernel_mul_mv_" },
    { "fa_scalar",     MATRIX_UNITS,    "kernel_flash_attn_ext_scalar_" },
    { "mul_mm_scalar", MATRIX_UNITS,    "kernel_mul_mm_scalar" },
    // has the lists of experts, too, which all need
    { "mul_mm",        NO_MATRIX_UNITS, "kernel_mul_mm_" },
    { "mul_mv_mma",    NO_MATRIX_UNITS, "kernel_mul_mv_mma_" },
    { "fa_f16",        NO_MATRIX_UNITS, "kernel_flash_attn_ext_f16_" },
    { "fa_f32",        NO_MATRIX_UNITS, "kernel_flash_attn_ext_f32_" },
    { "fa_q4_0",       NO_MATRIX_UNITS, "kernel_flash_attn_ext_q4_0_" },
    { "fa_q4_1",       NO_MATRIX_UNITS, "kernel_flash_attn_ext_q4_1_" },
    { "fa_q5_0",       NO_MATRIX_UNITS, "kernel_flash_attn_ext_q5_0_" },
    { "fa_q5_1",       NO_MATRIX_UNITS, "kernel_flash_attn_ext_q5_1_" },
    { "fa_q8_0",       NO_MATRIX_UNITS, "kernel_flash_attn_ext_q8_0_" },
    { "fa_vec_f16",    SHARED_LANES,    "kernel_flash_attn_ext_vec_f16_" },
    { "fa_vec_f32",    SHARED_LANES,    "kernel_flash_attn_ext_vec_f32_" },
    { "fa_vec_q4_0",   SHARED_LANES,    "kernel_flash_attn_ext_vec_q4_0_" },
    { "fa_vec_q4_1",   SHARED_LANES,    "kernel_flash_attn_ext_vec_q4_1_" },
    { "fa_vec_q5_0",   SHARED_LANES,    "kernel_flash_attn_ext_vec_q5_0_" },
    { "fa_vec_q5_1",   SHARED_LANES,    "kernel_flash_attn_ext_vec_q5_1_" },
    { "fa_vec_q8_0",   SHARED_LANES,    "kernel_flash_attn_ext_vec_q8_0_" },
};

const entry * find(const char * library) {
    for (const entry & it : entries) {
        if (strcmp(it.library, library) == 0) {
            return &it;
        }
    }
    return nullptr;
}

}

bool ggml_metal_library_waits(const ggml_metal_device_props * props, const char * library) {
    const entry * it = find(library);
    if (!it) {
        return false;
    }
    switch (it->by) {
        case NOBODY_TUNED:    return true;
        case MATRIX_UNITS:    return props->has_simdgroup_mm;
        case NO_MATRIX_UNITS: return !props->has_simdgroup_mm;
        case SHARED_LANES:    return props->lanes == GGML_METAL_LANES_SHARED;
    }
    return false;
}

bool ggml_metal_library_names(const char * library, const char * kernel) {
    const entry * it = find(library);
    return it && strncmp(kernel, it->prefix, strlen(it->prefix)) == 0;
}
