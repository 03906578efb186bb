// The tile instructions of AMX as plain code, so that the kernels that use them are tested on CPUs without: this header is
// included in front of panel-amx.cpp. Numbers are treated as the manual of the instructions says, including that subnormal
// bf16 values and results count as zero.
#pragma once

#include <immintrin.h>

#include <stdint.h>
#include <string.h>

namespace amx_in_software {

struct tile {
    int     rows, bytes;
    uint8_t data[16][64];
};

inline thread_local tile tiles[8];

inline void configure(const void * config) {
    const uint8_t * bytes = static_cast<const uint8_t *>(config);
    for (int i = 0; i < 8; ++i) {
        uint16_t row_bytes;
        memcpy(&row_bytes, bytes + 16 + 2 * i, 2);
        tiles[i].bytes = row_bytes;
        tiles[i].rows  = bytes[48 + i];
        memset(tiles[i].data, 0, sizeof(tiles[i].data));
    }
}

inline void load(tile & t, const void * from, size_t stride) {
    memset(t.data, 0, sizeof(t.data));
    for (int r = 0; r < t.rows; ++r) {
        memcpy(t.data[r], static_cast<const uint8_t *>(from) + r * stride, t.bytes);
    }
}

inline void store(const tile & t, void * to, size_t stride) {
    for (int r = 0; r < t.rows; ++r) {
        memcpy(static_cast<uint8_t *>(to) + r * stride, t.data[r], t.bytes);
    }
}

template <class T> T at(const tile & t, int row, int i) {
    T v;
    memcpy(&v, t.data[row] + i * sizeof(T), sizeof(T));
    return v;
}

inline float subnormal_is_zero(float v) {
    return v < 1.17549435e-38f && v > -1.17549435e-38f ? 0 : v;
}

inline float bf16(const tile & t, int row, int i) {
    const uint32_t bits = uint32_t(at<uint16_t>(t, row, i)) << 16;
    float          v;
    memcpy(&v, &bits, 4);
    return subnormal_is_zero(v);
}

inline void multiply_bf16(tile & c, const tile & a, const tile & b) {
    for (int m = 0; m < c.rows; ++m) {
        for (int k = 0; k < a.bytes / 4; ++k) {
            for (int n = 0; n < c.bytes / 4; ++n) {
                float sum = at<float>(c, m, n);
                sum = subnormal_is_zero(__builtin_fmaf(bf16(a, m, 2 * k), bf16(b, k, 2 * n), sum));
                sum = subnormal_is_zero(__builtin_fmaf(bf16(a, m, 2 * k + 1), bf16(b, k, 2 * n + 1), sum));
                memcpy(c.data[m] + 4 * n, &sum, 4);
            }
        }
    }
}

// Signed bytes of a by unsigned bytes of b.
inline void multiply_signed_unsigned(tile & c, const tile & a, const tile & b) {
    for (int m = 0; m < c.rows; ++m) {
        for (int k = 0; k < a.bytes / 4; ++k) {
            for (int n = 0; n < c.bytes / 4; ++n) {
                int32_t sum = at<int32_t>(c, m, n);
                for (int i = 0; i < 4; ++i) {
                    sum += int32_t(at<int8_t>(a, m, 4 * k + i)) * at<uint8_t>(b, k, 4 * n + i);
                }
                memcpy(c.data[m] + 4 * n, &sum, 4);
            }
        }
    }
}

}  // namespace amx_in_software

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#undef _tile_dpbsud
#define _tile_loadconfig(config) amx_in_software::configure(config)
#define _tile_release() ((void) 0)
#define _tile_zero(t) memset(amx_in_software::tiles[t].data, 0, sizeof(amx_in_software::tiles[t].data))
#define _tile_loadd(t, from, stride) amx_in_software::load(amx_in_software::tiles[t], from, stride)
#define _tile_stored(t, to, stride) amx_in_software::store(amx_in_software::tiles[t], to, stride)
#define _tile_dpbf16ps(c, a, b) amx_in_software::multiply_bf16(amx_in_software::tiles[c], amx_in_software::tiles[a], amx_in_software::tiles[b])
#define _tile_dpbsud(c, a, b) \
    amx_in_software::multiply_signed_unsigned(amx_in_software::tiles[c], amx_in_software::tiles[a], amx_in_software::tiles[b])
