// Copies between the host and a device with memory of its own, through one buffer that is kept.
#pragma once

#include "ggml-metal-device.h"

#ifdef __cplusplus
extern "C" {
#endif

// Copies, and waits. Ordered after what the device's queue holds. A buffer of `staging` bytes is made the first time;
// half of it is filled while the other half is copied from. False where there is no such buffer: nothing was copied.
bool ggml_metal_staging_to  (ggml_metal_device_t dev, size_t staging, struct ggml_metal_buffer_id dst, const void * data, size_t size);
bool ggml_metal_staging_from(ggml_metal_device_t dev, size_t staging, struct ggml_metal_buffer_id src, void * data, size_t size);

void ggml_metal_staging_free(ggml_metal_device_t dev);

#ifdef __cplusplus
}
#endif
