// What the AVX-512 and the AMX kernels share: how a panel's bits become bytes, and the layout of 8-bit activations.
#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define INLINE inline __attribute__((always_inline))

namespace {

INLINE __m512i load(const void * p) {
    return _mm512_loadu_si512(p);
}

INLINE __m512 halves(const void * p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) p));
}

// Byte `n` of each lane.
INLINE __m512 byte_of_lanes(__m512i v, int n) {
    return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(v, 8 * n), _mm512_set1_epi32(255)));
}

// Eight scales and eight mins of 16 rows: four to a vector, a byte each.
struct packed_scales {
    __m512i scales[2], mins[2];
};

INLINE packed_scales scales_of(const uint8_t * s) {
    const __m512i b6 = _mm512_set1_epi8(0x3f), b2 = _mm512_set1_epi8(3), b4 = _mm512_set1_epi8(0x0f);
    const __m512i l0 = load(s), l1 = load(s + 64), l2 = load(s + 128);
    // the bits of the mask from the first, the others from the second: 0xca is a ? b : c
    const __m512i low = _mm512_ternarylogic_epi32(b2, _mm512_srli_epi16(l0, 6), _mm512_srli_epi16(l1, 4), 0xca);
    const __m512i all = _mm512_ternarylogic_epi32(b4, low, _mm512_srli_epi16(l2, 2), 0xca);
    return { { _mm512_and_si512(l0, b6), _mm512_and_si512(l1, b6) }, { _mm512_and_si512(l2, b6), _mm512_and_si512(all, b6) } };
}

// The low and high halves of a line of Q5_K with their fifth bits, which are bits 2 i and 2 i + 1 of `fifth`.
struct five_bits {
    __m512i low, high;
};

INLINE five_bits fives_of(__m512i q, __m512i fifth, int i) {
    const __m512i b4 = _mm512_set1_epi8(0x0f), b5 = _mm512_set1_epi8(0x10);
    const __m512i f0 = i < 2 ? _mm512_slli_epi16(fifth, 4 - 2 * i) : _mm512_srli_epi16(fifth, 2 * i - 4);
    const __m512i f1 = i < 2 ? _mm512_slli_epi16(fifth, 3 - 2 * i) : _mm512_srli_epi16(fifth, 2 * i - 3);
    return { _mm512_or_si512(_mm512_and_si512(q, b4), _mm512_and_si512(f0, b5)),
             _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(q, 4), b4), _mm512_and_si512(f1, b5)) };
}

// Sixteen values of k of Q6_K, from 0 to 63.
struct six_bits {
    __m512i v[4];
};

INLINE six_bits sixes_of(const uint8_t * p) {
    const __m512i b6 = _mm512_set1_epi8(0x3f), b2 = _mm512_set1_epi8(3), b4 = _mm512_set1_epi8(0x0f);
    const __m512i l0 = load(p), l1 = load(p + 64), l2 = load(p + 128);
    const __m512i low = _mm512_ternarylogic_epi32(b2, _mm512_srli_epi16(l0, 6), _mm512_srli_epi16(l1, 4), 0xca);
    const __m512i all = _mm512_ternarylogic_epi32(b4, low, _mm512_srli_epi16(l2, 2), 0xca);
    return { { _mm512_and_si512(l0, b6), _mm512_and_si512(l1, b6), _mm512_and_si512(l2, b6), _mm512_and_si512(all, b6) } };
}

// Activations for Q4_K and Q5_K: 256 values, their scale, and the sums of each 32 as pairs of 16 bits in the order in
// which the bytes of the mins come: (0, 2), (1, 3), (4, 6), (5, 7).
constexpr int BLOCK_MIN = 256 + 16 + 16;
// For Q6_K: 256 values, their scale, and -32 times the sums of each 16.
constexpr int BLOCK_Q6 = 256 + 16 + 64;
// For Q4_0 and Q8_0: 32 values, their scale, and -8 or -128 times their sum.
constexpr int BLOCK_32 = 32 + 4 + 4;

// four bytes in every lane
INLINE __m512i lanes(const void * p) {
    int v;
    memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
}

INLINE __m512 everywhere(const void * p) {
    float v;
    memcpy(&v, p, 4);
    return _mm512_set1_ps(v);
}

// The end of a tile of Q4_K and Q5_K: c += da (d sum - dmin mins), sum being scaled already.
template <int T> INLINE void add_with_mins(const uint8_t * s, const uint8_t * const * act, const __m512 * sum, float (*c)[16]) {
    const __m512i low = _mm512_set1_epi16(0xff);
    const packed_scales x = scales_of(s);
    const __m512i m02 = _mm512_and_si512(x.mins[0], low), m13 = _mm512_srli_epi16(x.mins[0], 8);
    const __m512i m46 = _mm512_and_si512(x.mins[1], low), m57 = _mm512_srli_epi16(x.mins[1], 8);
    const __m512 d = halves(s + 192), dmin = halves(s + 224);
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) {
        const uint8_t * b = act[t] + 272;
        __m512i mins = _mm512_madd_epi16(m02, lanes(b));
        mins = _mm512_dpwssd_epi32(mins, m13, lanes(b + 4));
        mins = _mm512_dpwssd_epi32(mins, m46, lanes(b + 8));
        mins = _mm512_dpwssd_epi32(mins, m57, lanes(b + 12));
        const __m512 v = _mm512_fnmadd_ps(dmin, _mm512_cvtepi32_ps(mins), _mm512_mul_ps(d, sum[t]));
        _mm512_store_ps(c[t], _mm512_fmadd_ps(v, everywhere(act[t] + 256), _mm512_load_ps(c[t])));
    }
}

}  // namespace
