// What the AVX-512 and the AMX kernels share: how a panel's bits become bytes.
#pragma once

#include <immintrin.h>
#include <stdint.h>

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

}  // namespace
