// Operations are encoded so that an assertion which fails meanwhile leaves no command buffer behind that is never committed.
#pragma once

#include "ggml-guard.h"
#include "ggml-metal-ops.h"

#ifdef __cplusplus
extern "C" {
#endif

// NULL: assertions do what the application's abort callback does.
void ggml_metal_guard_set(ggml_guard_t guard);

// As ggml_metal_op_encode; -1 where an assertion failed.
int ggml_metal_guard_encode(ggml_metal_op_t ctx, int idx);

#ifdef __cplusplus
}
#endif
