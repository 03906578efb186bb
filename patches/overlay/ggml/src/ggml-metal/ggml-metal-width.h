// How kernels that divide their work among groups of 32 lanes get these groups: kernels/simdgroup.h.
#pragma once

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ggml_metal_lanes {
    GGML_METAL_LANES_WHOLE,  // a simdgroup has 32 threads
    GGML_METAL_LANES_HALVES, // it has 64, and is two groups
    GGML_METAL_LANES_SHARED, // groups of 32 threads that meet in threadgroup memory, whatever simdgroups there are
};

// Runs a kernel that reduces and shuffles, and compares with what the host makes of it. `device` is an id<MTLDevice>,
// `queue` one of its id<MTLCommandQueue>. What does not compile, does not complete or is wrong gives SHARED, which needs
// nothing of simdgroups. `width` gets the threadExecutionWidth of that kernel, of one that does neither where it cannot be
// made, or 0.
enum ggml_metal_lanes ggml_metal_lanes_probe(void * device, void * queue, int * width);

// whether a pipeline of this threadExecutionWidth has the groups that its source was compiled for
bool ggml_metal_lanes_fit(enum ggml_metal_lanes lanes, int width);

// whether the kernel of that name in the library has a form for groups of this kind
bool ggml_metal_lanes_has_kernel(enum ggml_metal_lanes lanes, const char * base);

// the macro that chooses the form when a library is compiled; NULL: none
const char * ggml_metal_lanes_macro(enum ggml_metal_lanes lanes);

#ifdef __cplusplus
}
#endif
