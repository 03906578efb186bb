// How a device is used: as the application has decided, else as upstream does.
#pragma once

#include "ggml-metal-device.h"

#include "ggml-device-profile.h"

#ifdef __cplusplus
extern "C" {
#endif

// Holds for what is made from now on: buffers, and contexts. With NULL the backend decides again by itself.
void ggml_metal_plan_set(ggml_metal_device_t dev, const struct ggml_device_plan * plan);

struct ggml_device_plan ggml_metal_plan_get(ggml_metal_device_t dev);

#ifdef __cplusplus
}
#endif
