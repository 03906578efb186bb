// GGUF rows to panels and back. The layout is described in panel-kernels.h.
#pragma once

#include "panel-kernels.h"

// Writes the lane `row` (0 to 15) of a panel from a row of k values. A null row writes zeros.
void panel_pack_row(enum ggml_type type, const void * src, int64_t k, uint8_t * panel, int row);

// The inverse, byte for byte.
void panel_unpack_row(enum ggml_type type, const uint8_t * panel, int row, int64_t k, void * dst);
