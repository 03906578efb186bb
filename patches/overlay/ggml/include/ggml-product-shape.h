// How the kernels for products with few columns divide their work, where a device was measured.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// A matrix, the number of columns that it is multiplied with, and how that is divided. A choice of 0 is the backend's own.
struct ggml_product_shape {
    uint32_t type;       // of the matrix: a ggml_type
    uint32_t row_length; // elements of one of its rows
    uint32_t rows;
    uint32_t columns;    // of the other operand; this holds for more than half as many, up to this number
    uint32_t experts;    // 0: a plain product; else there are so many such matrices, of which each column chooses some

    uint16_t simdgroups;              // in a threadgroup
    uint16_t rows_per_simdgroup;      // with one column, and of experts
    uint16_t threads_per_row;         // with more
    uint16_t columns_per_threadgroup; // with more
};

#ifdef __cplusplus
}
#endif
