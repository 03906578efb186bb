// Which kernels a device runs for an operation.
#pragma once

#include "ggml-backend.h"

#ifdef __cplusplus
extern "C" {
#endif

// Names each kernel that the device would run for this operation alone, and how it is specialised; what has the same name
// runs the same instructions. Nothing runs, and the operation needs no data; kernels that the backend compiles on demand are
// compiled. Registries answer through the proc address "ggml_backend_dev_kernels".
typedef void (*ggml_backend_dev_kernels_t)(
        ggml_backend_dev_t dev, const struct ggml_tensor * op, void (*each)(const char * name, void * data), void * data);

#ifdef __cplusplus
}
#endif
