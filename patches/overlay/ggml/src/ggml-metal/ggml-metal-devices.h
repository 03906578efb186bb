// The GPUs of this machine: upstream knows the one that the system gives by default.
#pragma once

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

// How many devices to list: those there are, or as many stand-ins for the default one as GGML_METAL_DEVICES says. At
// least 1, and at most n_max.
int ggml_metal_devices_count(int n_max);

// Whether the devices are stand-ins.
bool ggml_metal_devices_virtual(void);

// The i-th GPU as an id<MTLDevice> that the caller releases, nil where there is none. The default one is the first, the
// others follow in Metal's order.
void * ggml_metal_devices_new(int i);

#ifdef __cplusplus
}
#endif
