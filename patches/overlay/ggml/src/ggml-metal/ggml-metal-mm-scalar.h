// Matrix products of many columns on GPUs without matrix units: kernels/mul_mm_scalar.metal.
#pragma once

#include "ggml-metal-device.h"

#ifdef __cplusplus
extern "C" {
#endif

// whether the product (MUL_MAT or MUL_MAT_ID) runs the tiled kernel
bool ggml_metal_mm_scalar_use(const struct ggml_metal_device_props * props, const struct ggml_tensor * op);

void ggml_metal_mm_scalar_encode(
        ggml_metal_library_t lib,
        ggml_metal_encoder_t enc,
        const struct ggml_tensor * op,
        struct ggml_metal_buffer_id src0,
        struct ggml_metal_buffer_id src1,
        struct ggml_metal_buffer_id dst);

// dst is followed by the memory that ggml_metal_op_mul_mat_id_extra_* ask for
void ggml_metal_mm_scalar_encode_id(
        ggml_metal_library_t lib,
        ggml_metal_encoder_t enc,
        const struct ggml_tensor * op,
        struct ggml_metal_buffer_id src0,
        struct ggml_metal_buffer_id src1,
        struct ggml_metal_buffer_id ids,
        struct ggml_metal_buffer_id dst);

#ifdef __cplusplus
}
#endif
