// Libraries of kernels that are compiled when one of their kernels is asked for, and not when the device starts.
#pragma once

#include "ggml-metal-device.h"

#ifdef __cplusplus
extern "C" {
#endif

// Whether a library waits on this device: nothing that is known of the device makes its kernels likely.
bool ggml_metal_library_waits(const struct ggml_metal_device_props * props, const char * library);

// Whether kernels of this name are in that library, as far as is known: where to look first.
bool ggml_metal_library_names(const char * library, const char * kernel);

#ifdef __cplusplus
}
#endif
