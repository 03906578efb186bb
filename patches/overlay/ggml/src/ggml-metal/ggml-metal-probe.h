// Whether an operation can be encoded: every pipeline that it needs exists on this device.
#pragma once

#include "ggml-metal-device.h"

#ifdef __cplusplus
extern "C" {
#endif

// On GPUs of Apple's own this says yes without a look: all kernels are made for them. Elsewhere a driver may refuse to
// compile one, or compile it for another simdgroup width. Answers are kept, so that asking again is cheap.
bool ggml_metal_device_can_encode(ggml_metal_device_t dev, const struct ggml_tensor * op);

// Encodes the operation alone, into no command buffer: messages to nil do nothing, and the pipelines are made. False where
// one is missing.
bool ggml_metal_device_encodes(ggml_metal_device_t dev, const struct ggml_tensor * op);

#ifdef __cplusplus
}
#endif
