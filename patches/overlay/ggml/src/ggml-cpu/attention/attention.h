// Attention with kernels of the CPU's instruction set, in place of ggml's.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ggml_compute_params;
struct ggml_tensor;

// Computes FLASH_ATTN_EXT as one of params->nth threads. False where there are no kernels for it, on all threads.
bool ggml_cpu_attention(const struct ggml_compute_params * params, struct ggml_tensor * op);

// Bytes of work memory that it needs, 0 where it has no kernels for the operation.
size_t ggml_cpu_attention_work_size(int n_threads, const struct ggml_tensor * op);

#ifdef __cplusplus
}
#endif
