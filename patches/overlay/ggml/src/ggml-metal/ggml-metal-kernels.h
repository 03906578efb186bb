// Which pipelines an operation takes.
#pragma once

#include "ggml-metal-device.h"

#ifdef __cplusplus
extern "C" {
#endif

void ggml_metal_device_kernels(
        ggml_metal_device_t dev, const struct ggml_tensor * op, void (*each)(const char * name, void * data), void * data);

// To be called with the name of each pipeline that is asked for.
void ggml_metal_kernels_note(const char * name);

#ifdef __cplusplus
}
#endif
