// Linked before ggml_quantize_chunk in llama.cpp's test-backend-ops: what that quantises is random, and of some cases so
// much that this took most of the time. Of a long run of blocks the first ones are quantised, and each of the others is
// one of those, drawn at random: no two rows or matrices are alike, and a case that reads the wrong one still fails.
#include <cstring>

#include "ggml.h"

extern "C" {

size_t __real_ggml_quantize_chunk(ggml_type type, const float * src, void * dst, int64_t start, int64_t rows,
                                  int64_t row, const float * imatrix);

size_t __wrap_ggml_quantize_chunk(ggml_type type, const float * src, void * dst, int64_t start, int64_t rows,
                                  int64_t row, const float * imatrix) {
    constexpr int64_t most = 8192;
    const size_t size = ggml_row_size(type, row);
    const int64_t quantised = rows < most ? rows : most;
    __real_ggml_quantize_chunk(type, src, dst, start, quantised, row, imatrix);
    char * first = static_cast<char *>(dst) + start / row * size;
    uint64_t random = start;
    for (int64_t i = quantised; i < rows; ++i) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        memcpy(first + i * size, first + (random >> 33) % quantised * size, size);
    }
    return rows * size;
}

} // extern "C"
