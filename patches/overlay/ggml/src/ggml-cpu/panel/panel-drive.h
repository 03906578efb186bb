// The loops around a kernel's tiles, the same for every instruction set.
//
// A kernel is a struct with `k_step`, `act_block` (bytes of a tile's activations), `bytes`, `head`, `group` (the most
// tokens that it multiplies at once) and
//   template <int T> static void tile(const uint8_t * w, const uint8_t * d, const uint8_t * const * act, float (*c)[16], int ahead)
// which adds a tile's products with T rows of activations to c, and prefetches `ahead` bytes in front of w where that
// is not 0. Each token's sums are made in the same order whatever the group, so that results do not depend on it.
#pragma once

#include "panel-kernels.h"

#include <string.h>

// Tokens that pass while a tile of weights stays in the first-level cache.
#define PANEL_TOKENS 64

namespace {

// The sums of one token, of the rows that a panel has.
static inline void panel_store(float * out, const float * sums, int64_t rows) {
    if (rows >= PANEL_ROWS) {
        memcpy(out, sums, PANEL_ROWS * sizeof(float));
    } else {
        memcpy(out, sums, rows * sizeof(float));
    }
}

template <class Kernel, int T> struct panel_group {
    static inline void run(int n, const uint8_t * w, const uint8_t * d, const uint8_t * const * act, float (*c)[16],
                           int ahead) {
        if (n == T) {
            Kernel::template tile<T>(w, d, act, c, ahead);
        } else {
            panel_group<Kernel, T - 1>::run(n, w, d, act, c, ahead);
        }
    }
};

template <class Kernel> struct panel_group<Kernel, 0> {
    static inline void run(int, const uint8_t *, const uint8_t *, const uint8_t * const *, float (*)[16], int) {}
};

template <class Kernel>
void panel_mul(const uint8_t * panels, size_t stride, int64_t k, int64_t n_rows, int64_t p0, int64_t p1,
               const uint8_t * const * act, float * const * out, int n) {
    const int64_t tiles = k / Kernel::k_step;
    const int far = n > 1 ? panel_ahead.more : panel_ahead.one;
    for (int64_t p = p0; p < p1; ++p) {
        const uint8_t * d = panels + p * stride;
        const uint8_t * w = d + PANEL_LINES(tiles * Kernel::head);
        for (int64_t i = 0; i < tiles * Kernel::head; i += 64) {
            __builtin_prefetch(d + i);
        }
        alignas(64) float c[PANEL_TOKENS][16];
        const uint8_t * a[PANEL_TOKENS];
        memset(c, 0, n * sizeof(c[0]));
        memcpy(a, act, n * sizeof(a[0]));
        for (int64_t b = 0; b < tiles; ++b, w += Kernel::bytes, d += Kernel::head) {
            int ahead = far;
            for (int t = 0; t < n; t += Kernel::group) {
                const int group = n - t < Kernel::group ? n - t : Kernel::group;
                panel_group<Kernel, Kernel::group>::run(group, w, d, a + t, c + t, ahead);
                ahead = 0;
            }
            for (int t = 0; t < n; ++t) {
                a[t] += Kernel::act_block;
            }
        }
        for (int t = 0; t < n; ++t) {
            panel_store(out[t] + p * PANEL_ROWS, c[t], n_rows - p * PANEL_ROWS);
        }
    }
}

}  // namespace
