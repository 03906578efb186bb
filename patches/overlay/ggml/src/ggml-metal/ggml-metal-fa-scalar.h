// Flash attention on GPUs without matrix units: kernels/fa_scalar.metal where the vec kernels do not serve.
#pragma once

#include "ggml-metal-device.h"

#ifdef __cplusplus
extern "C" {
#endif

// whether the device can run the operation at all without matrix units, by either kind of kernel;
// types and head sizes that no kernel knows are sorted out before
bool ggml_metal_fa_scalar_supports(const struct ggml_metal_device_props * props, const struct ggml_tensor * op);

// whether it runs the scalar kernel
bool ggml_metal_fa_scalar_use(const struct ggml_metal_device_props * props, const struct ggml_tensor * op);

void ggml_metal_fa_scalar_encode(
        ggml_metal_library_t lib,
        ggml_metal_encoder_t enc,
        const struct ggml_tensor * op,
        struct ggml_metal_buffer_id q,
        struct ggml_metal_buffer_id k,
        struct ggml_metal_buffer_id v,
        struct ggml_metal_buffer_id mask,
        struct ggml_metal_buffer_id sinks,
        struct ggml_metal_buffer_id dst);

#ifdef __cplusplus
}
#endif
