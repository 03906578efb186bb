// Which kernels are right on a GPU whose simdgroups are not 32 threads wide.
#pragma once

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

// whether a kernel computes the same at this threadExecutionWidth as at 32; base is its name in the library
bool ggml_metal_kernel_runs_at_width(const char * base, int width);

#ifdef __cplusplus
}
#endif
