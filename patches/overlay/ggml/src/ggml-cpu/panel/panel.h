// The buffer type for weights in panels.
#pragma once

#include "ggml-backend.h"

// Null where the CPU has none of the instruction sets that there are kernels for.
ggml_backend_buffer_type_t ggml_backend_cpu_panel_buffer_type(void);
