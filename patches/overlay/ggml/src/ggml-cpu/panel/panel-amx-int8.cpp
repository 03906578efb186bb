// Products of 16 to 63 tokens with AMX on 8-bit activations, for Q4_K and Q5_K: the same whole-numbered sums as with
// `vpdpbusd`, scaled in the same order, so that a token's products are those of the AVX-512 kernels, bit for bit.
//
// A line of a panel is what a row of a tile of weights is: four k of 16 rows. The 32 k between two scales are a product of
// tiles by itself, whose sums leave the tiles to be scaled, one vector for each token. With 16 k between scales (Q6_K), or
// where the activations have a scale for each 32 k as well (Q8_0, Q4_0), that costs more than the tiles save.
#include "panel-drive.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && defined(__AVX512VNNI__) && defined(__AMX_TILE__) && defined(__AMX_INT8__)

#include "panel-amx.h"
#include "panel-avx512.h"

namespace {

// Tokens of a tile
constexpr int GROUP = 16;

// What lies between two scales: eight parts of 32 k
constexpr int PARTS = 8, DEPTH = 32;

// The whole-numbered sums of a part: 16 tokens of 16 rows.
typedef int32_t part_sums[GROUP][PANEL_ROWS];

INLINE __m512 sums_of(const part_sums & part, int t) {
    return _mm512_cvtepi32_ps(_mm512_load_si512(part[t]));
}

// `unpack` writes the lines of unsigned bytes of each part.
struct q4_k {
    static constexpr int k_step = 256, act_block = BLOCK_MIN, bytes = 2304;

    static INLINE void unpack(const uint8_t * w, uint8_t * out) {
        const __m512i b4 = _mm512_set1_epi8(0x0f), b4_8 = _mm512_set1_epi8((char) 0xf0);
        for (int j = 0; j < 4; ++j) {
#pragma GCC unroll 8
            for (int i = 0; i < 8; ++i) {
                const __m512i q = load(w + 512 * j + 64 * i);
                _mm512_store_si512(out + 1024 * j + 64 * i, _mm512_and_si512(q, b4));
                // 16 times too large
                _mm512_store_si512(out + 1024 * j + 512 + 64 * i, _mm512_and_si512(q, b4_8));
            }
        }
    }

    static INLINE void scale(const uint8_t * w, const part_sums * x, const uint8_t * const * act, float (*c)[16]) {
        const __m512 sixteenth = _mm512_set1_ps(1.0f / 16);
        const packed_scales all = scales_of(w + 2048);
        __m512 s[8];
#pragma GCC unroll 8
        for (int j = 0; j < 8; ++j) {
            s[j] = byte_of_lanes(all.scales[j / 4], j % 4);
            s[j] = j % 2 ? _mm512_mul_ps(s[j], sixteenth) : s[j];
        }
        scale_with_mins(s, w + 2048, x, act, c);
    }

    static INLINE void scale_with_mins(const __m512 * s, const uint8_t * scales, const part_sums * x, const uint8_t * const * act, float (*c)[16]) {
        for (int t0 = 0; t0 < GROUP; t0 += 8) {
            __m512 sum[8];
#pragma GCC unroll 8
            for (int t = 0; t < 8; ++t) {
                sum[t] = _mm512_setzero_ps();
#pragma GCC unroll 8
                for (int j = 0; j < 8; ++j) {
                    sum[t] = _mm512_fmadd_ps(sums_of(x[j], t0 + t), s[j], sum[t]);
                }
            }
            add_with_mins<8>(scales, act + t0, sum, c + t0);
        }
    }
};

struct q5_k {
    static constexpr int k_step = 256, act_block = BLOCK_MIN, bytes = 2816;

    static INLINE void unpack(const uint8_t * w, uint8_t * out) {
        for (int j = 0; j < 4; ++j) {
#pragma GCC unroll 8
            for (int i = 0; i < 8; ++i) {
                const five_bits q = fives_of(load(w + 640 * j + 64 * i), load(w + 640 * j + 512 + 64 * (i / 4)), i % 4);
                _mm512_store_si512(out + 1024 * j + 64 * i, q.low);
                _mm512_store_si512(out + 1024 * j + 512 + 64 * i, q.high);
            }
        }
    }

    static INLINE void scale(const uint8_t * w, const part_sums * x, const uint8_t * const * act, float (*c)[16]) {
        const packed_scales all = scales_of(w + 2560);
        __m512 s[8];
#pragma GCC unroll 8
        for (int j = 0; j < 8; ++j) {
            s[j] = byte_of_lanes(all.scales[j / 4], j % 4);
        }
        q4_k::scale_with_mins(s, w + 2560, x, act, c);
    }
};

// Two panels' bytes and sums.
struct alignas(64) scratch {
    uint8_t   weights[2][PARTS * DEPTH * PANEL_ROWS + 64];
    part_sums sums[2][PARTS];
};

// The products of all parts of two panels with the tokens whose activations begin at a.
INLINE void multiply(const uint8_t * a, size_t stride, scratch & s) {
    constexpr int lines = DEPTH * PANEL_ROWS;
    for (int i = 0; i < PARTS; i += 2) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_loadd(4, a + DEPTH * i, stride);
        _tile_loadd(6, s.weights[0] + lines * i, 64);
        _tile_loadd(7, s.weights[1] + lines * i, 64);
        _tile_dpbsud(0, 4, 6);
        _tile_dpbsud(1, 4, 7);
        _tile_stored(0, s.sums[0][i], 64);
        _tile_stored(1, s.sums[1][i], 64);
        _tile_zero(2);
        _tile_zero(3);
        _tile_loadd(5, a + DEPTH * (i + 1), stride);
        _tile_loadd(6, s.weights[0] + lines * (i + 1), 64);
        _tile_loadd(7, s.weights[1] + lines * (i + 1), 64);
        _tile_dpbsud(2, 5, 6);
        _tile_dpbsud(3, 5, 7);
        _tile_stored(2, s.sums[0][i + 1], 64);
        _tile_stored(3, s.sums[1][i + 1], 64);
    }
}

template <class Kernel>
void products(const uint8_t * panels, size_t stride, int64_t k, int64_t n_rows, int64_t p0, int64_t p1, const uint8_t * const * act,
              float * const * out, int n, scratch & s) {
    const int64_t tiles = k / Kernel::k_step;
    const int     groups = (n + GROUP - 1) / GROUP;
    const size_t  row = act[1] - act[0];
    // sums, activations, weights
    configure({ { { 16, 64 }, { 16, 64 }, { 16, 64 }, { 16, 64 }, { 16, DEPTH }, { 16, DEPTH }, { DEPTH / 4, 64 }, { DEPTH / 4, 64 } } });
    for (int64_t p = p0; p < p1; p += 2) {
        const int width = p1 - p < 2 ? 1 : 2;
        alignas(64) float c[2][PANEL_TOKENS][16];
        memset(c, 0, sizeof(c));
        for (int64_t b = 0; b < tiles; ++b) {
            for (int i = 0; i < width; ++i) {
                Kernel::unpack(panels + (p + i) * stride + b * Kernel::bytes, s.weights[i]);
            }
            for (int g = 0; g < groups; ++g) {
                // the last group may have some of the tokens before it once more
                const int       t0 = g < groups - 1 ? g * GROUP : n - GROUP;
                const uint8_t * a[GROUP];
                for (int t = 0; t < GROUP; ++t) {
                    a[t] = act[t0 + t] + b * Kernel::act_block;
                }
                // the second panel of an odd pair holds what was there before: its sums are not used
                multiply(a[0], row, s);
                for (int i = 0; i < width; ++i) {
                    const uint8_t * w = panels + (p + i) * stride;
                    Kernel::scale(w + b * Kernel::bytes, s.sums[i], a, c[i] + g * GROUP);
                }
            }
        }
        for (int t = 0; t < n; ++t) {
            const int g = t < (groups - 1) * GROUP ? t / GROUP : groups - 1, t0 = g < groups - 1 ? g * GROUP : n - GROUP;
            for (int i = 0; i < width; ++i) {
                const int64_t r = (p + i) * PANEL_ROWS;
                panel_store(out[t] + r, c[i][g * GROUP + t - t0], n_rows - r);
            }
        }
    }
    _tile_release();
}

size_t act_bytes(enum ggml_type type, int64_t k) {
    return panel_kernels_avx512.act_bytes(type, k);
}

void quantise(enum ggml_type type, const float * x, int64_t k, uint8_t * act) {
    panel_kernels_avx512.quantise(type, x, k, act);
}

void mul(enum ggml_type type, const uint8_t * panels, int64_t k, int64_t n_rows, int64_t p0, int64_t p1,
         const uint8_t * const * act, float * const * out, int n, void * lent) {
    // an expert may have few tokens, and any
    bool is_ours = n >= GROUP && (type == GGML_TYPE_Q4_K || type == GGML_TYPE_Q5_K);
    for (int t = 2; is_ours && t < n; ++t) {
        is_ours = act[t] - act[t - 1] == act[1] - act[0];
    }
    if (!is_ours) {
        return panel_kernels_avx512.mul(type, panels, k, n_rows, p0, p1, act, out, n, nullptr);
    }
    scratch &    s = *static_cast<scratch *>(lent);
    const size_t stride = panel_bytes(type, k);
    return type == GGML_TYPE_Q4_K ? products<q4_k>(panels, stride, k, n_rows, p0, p1, act, out, n, s)
                                  : products<q5_k>(panels, stride, k, n_rows, p0, p1, act, out, n, s);
}

}  // namespace

const panel_kernels panel_kernels_amx_int8 = { "AMX_INT8", GROUP, PANEL_TOKENS, sizeof(scratch), 0, 1, act_bytes, quantise, mul };

#else
const panel_kernels panel_kernels_amx_int8 = {};
#endif
