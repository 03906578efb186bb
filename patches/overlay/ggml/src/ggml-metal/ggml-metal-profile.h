// What Metal says of a device, for whoever chooses one.
#pragma once

#include "ggml-metal-device.h"

#include "ggml-device-profile.h"

#ifdef __cplusplus
extern "C" {
#endif

void ggml_metal_device_get_profile(ggml_metal_device_t dev, struct ggml_device_profile * profile);

#ifdef __cplusplus
}
#endif
