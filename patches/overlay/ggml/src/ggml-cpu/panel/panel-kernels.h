// The kernels for weights in panels: what each instruction set provides, and the layout that they agree on.
//
// A panel holds 16 rows of the matrix. Its bytes are those of the GGUF, in another order: a vector of 64 bytes has one
// row in each 32-bit lane, four consecutive values of k a lane, so that a product needs no shuffle and no horizontal
// sum, and a thread reads one linear stream. Rows beyond the matrix are zero.
//
//   Q4_K  a tile of 256 k, 2304 bytes: 32 lines of nibbles, three lines of 6-bit scales and mins, one of d and dmin.
//         Line 8 j + i holds k = 64 j + 4 i in its low nibbles and k = 64 j + 32 + 4 i in its high ones. The scale
//         lines hold the scales 0-3, the scales 4-7, the mins 0-3, and two bits of the mins 4-7 above each.
//   Q5_K  2816 bytes: for each j eight lines of nibbles as above and two of fifth bits; then the same four lines. Of
//         the line of fifth bits u, bits 2 t and 2 t + 1 belong to the low and high nibbles of line 4 u + t.
//   Q6_K  3328 bytes: 16 scales of 16 rows; then three lines for each 16 k, six bits of the groups of four 0, 1 and 2, and two
//         bits of group 3 above each. The panel begins with its halves d, 32 bytes a tile: the hardware reads ahead of one
//         stream, and waits for each line of another beside it (a third of the time on Zen 4).
//   Q4_0  288 bytes for 32 k: four lines, line i with k = 4 i in its low nibbles and 16 + 4 i in its high ones, then 16
//         halves d.
//   Q8_0  544 bytes for 32 k: eight lines, line i with k = 4 i, then 16 halves d.
//
// Files that implement kernels are compiled for an instruction set that the machine may lack: they include no header
// with inline functions, whose copies the linker could pick for everyone.
#pragma once

#include "ggml.h"

#include <stddef.h>
#include <stdint.h>

#define PANEL_ROWS 16
// so many bytes, up to the next line
#define PANEL_LINES(bytes) (((bytes) + 63) / 64 * 64)
// most tokens (rows of activations) that a call of any `mul` takes
#define PANEL_MOST_TOKENS 512

struct panel_shape {
    int    k_step;      // values of k in a tile
    size_t tile;        // bytes of a tile
    size_t head;        // bytes a tile in front of the panel's tiles, which begin at a line
};

// k_step is 0 for types without kernels
static inline panel_shape panel_shape_of(enum ggml_type type) {
    switch (type) {
        case GGML_TYPE_Q4_K: return { 256, 2304,  0 };
        case GGML_TYPE_Q5_K: return { 256, 2816,  0 };
        case GGML_TYPE_Q6_K: return { 256, 3328, 32 };
        case GGML_TYPE_Q4_0: return {  32,  288,  0 };
        case GGML_TYPE_Q8_0: return {  32,  544,  0 };
        default:             return {   0,    0,  0 };
    }
}

static inline size_t panel_bytes(enum ggml_type type, int64_t k) {
    const panel_shape shape = panel_shape_of(type);
    const size_t tiles = (size_t) (k / shape.k_step);
    return PANEL_LINES(tiles * shape.head) + PANEL_LINES(tiles * shape.tile);
}

// How far `mul` reads ahead of the stream of weights, in bytes, with one token and with more; 0 where the hardware does so better.
struct panel_reach {
    int one, more;
};

extern const panel_reach panel_ahead;

struct panel_kernels {
    const char * name;
    // fewest tokens that they are meant for: below that, the next ones in the list are faster
    int worth_tokens;
    // most tokens that one call of `mul` takes
    int tokens;
    // bytes that each thread lends to `mul`, at the beginning of a line. Not thread_local: that is carved from every thread's stack.
    size_t scratch;
    // panels of one call: as many as stay in the second-level cache where this is 0
    int panels;
    // 1, or how many rows of activations form a block: row r begins 64 * (r % block) bytes into block r / block, a block
    // being block * act_bytes long, and `mul` takes the rows from the beginning of a block on, the last of which it reads whole
    int block;
    // bytes of one row of k activations, quantised for weights of this type; where rows stand by themselves, those of two parts of
    // a row add up to the row's
    size_t (*act_bytes)(enum ggml_type type, int64_t k);
    // writes act_bytes(type, k) bytes, in a block 64 of them every 64 * block bytes
    void (*quantise)(enum ggml_type type, const float * x, int64_t k, uint8_t * act);
    // The products of the panels p0 to p1 with n <= tokens rows of activations. Row r of the matrix goes to
    // out[t][r], for all r below n_rows.
    void (*mul)(enum ggml_type type, const uint8_t * panels, int64_t k, int64_t n_rows, int64_t p0, int64_t p1,
                const uint8_t * const * act, float * const * out, int n, void * scratch);
};

// Without a name where the compiler does not know the instructions. x86-64:
extern const panel_kernels panel_kernels_avx2;
extern const panel_kernels panel_kernels_avx512;
extern const panel_kernels panel_kernels_amx_int8;
extern const panel_kernels panel_kernels_amx;
// aarch64:
extern const panel_kernels panel_kernels_dotprod;
