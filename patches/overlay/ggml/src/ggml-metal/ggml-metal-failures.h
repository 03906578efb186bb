// How often command buffers of a device have failed.
#pragma once

#include "ggml-metal-device.h"

#ifdef __cplusplus
extern "C" {
#endif

void ggml_metal_device_note_failure(ggml_metal_device_t dev);

uint64_t ggml_metal_device_failures(ggml_metal_device_t dev);

#ifdef __cplusplus
}
#endif
