// Attention over a prompt with kernels of the CPU's instruction set, in place of ggml's tiles.
#pragma once

struct ggml_compute_params;
struct ggml_tensor;

// Computes FLASH_ATTN_EXT as one of params->nth threads. False where there are no kernels for it, on all threads.
bool ggml_cpu_attention(const struct ggml_compute_params * params, struct ggml_tensor * op);
