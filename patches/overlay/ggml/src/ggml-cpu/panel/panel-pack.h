// GGUF rows to panels and back. The layout is described in panel-kernels.h.
#pragma once

#include "panel-kernels.h"

// Writes the lanes first to last of a panel, at most 16, from as many rows of k values, and zeros to those from last to end.
void panel_pack(enum ggml_type type, const void * rows, int64_t k, uint8_t * panel, int first, int last, int end);

// The inverse, byte for byte.
void panel_unpack(enum ggml_type type, const uint8_t * panel, int64_t k, void * rows, int first, int last);
