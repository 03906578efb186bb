// Copies that may fail: through memory of our own where a pointer cannot be wrapped, and what becomes of an error.
#pragma once

#include "ggml-metal-device.h"

#ifdef __cplusplus
extern "C" {
#endif

// Copies between host memory and a Metal buffer in pieces, and waits. Ordered after what the device's queue holds.
void ggml_metal_copy_to  (ggml_metal_device_t dev, struct ggml_metal_buffer_id dst, const void * data, size_t size);
void ggml_metal_copy_from(ggml_metal_device_t dev, struct ggml_metal_buffer_id src, void * data, size_t size);

// Notes an error when a command buffer is nil or has failed; it has ended before.
void ggml_metal_copy_check(ggml_metal_device_t dev, ggml_metal_cmd_buf_t cmd_buf, const char * what);

// Copies have no way to return an error: the next graph does. Which is told once.
void ggml_metal_copy_failed(ggml_metal_device_t dev, const char * what);
bool ggml_metal_copy_take_failure(ggml_metal_device_t dev);

#ifdef __cplusplus
}
#endif
