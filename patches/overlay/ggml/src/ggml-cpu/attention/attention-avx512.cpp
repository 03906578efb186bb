// Attention with AVX-512.
#include "attention-drive.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)

#include <immintrin.h>

namespace {

struct vector {
    typedef __m512 type;
    // of a product that are made at once: 24 sums of 32 registers
    static constexpr int lanes = 16, vectors = 4;

    static INLINE type load(const float * p) { return _mm512_loadu_ps(p); }
    static INLINE type load_from(const float * p) { return load(p); }
    static INLINE type load_from(const uint16_t * p) { return halves((const char *) p); }
    static INLINE void store(float * p, type v) { _mm512_storeu_ps(p, v); }
    static INLINE type halves(const char * p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) p)); }
    static INLINE type all(float v) { return _mm512_set1_ps(v); }
    static INLINE type add(type a, type b) { return _mm512_add_ps(a, b); }
    static INLINE type sub(type a, type b) { return _mm512_sub_ps(a, b); }
    static INLINE type mul(type a, type b) { return _mm512_mul_ps(a, b); }
    static INLINE type div(type a, type b) { return _mm512_div_ps(a, b); }
    static INLINE type fma(type a, type b, type c) { return _mm512_fmadd_ps(a, b, c); }
    static INLINE type max(type a, type b) { return _mm512_max_ps(a, b); }
    static INLINE type min(type a, type b) { return _mm512_min_ps(a, b); }
    static INLINE type round(type v) { return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
    static INLINE type times_power_of_2(type v, type n) { return _mm512_scalef_ps(v, n); }
    static INLINE type zero_below(type v, type x, type limit) {
        return _mm512_mask_mov_ps(v, _mm512_cmp_ps_mask(x, limit, _CMP_LT_OQ), _mm512_setzero_ps());
    }
    static INLINE float first(type v) { return _mm512_cvtss_f32(v); }
    static INLINE float total(type v) { return _mm512_reduce_add_ps(v); }
    static INLINE float largest(type v) { return _mm512_reduce_max_ps(v); }

    // 16 rows of 16 to as many columns: pairs, quarters, halves of the vectors change places
    template <class From> static INLINE void transpose(const From * const * rows, int column, float * to, size_t to_stride) {
        __m512 a[16], b[16];
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) {
            a[i] = load_from(rows[i] + column);
        }
#pragma GCC unroll 8
        for (int i = 0; i < 16; i += 2) {
            b[i]     = _mm512_unpacklo_ps(a[i], a[i + 1]);
            b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 16; i += 4) {
            a[i]     = _mm512_shuffle_ps(b[i], b[i + 2], 0x44);
            a[i + 1] = _mm512_shuffle_ps(b[i], b[i + 2], 0xee);
            a[i + 2] = _mm512_shuffle_ps(b[i + 1], b[i + 3], 0x44);
            a[i + 3] = _mm512_shuffle_ps(b[i + 1], b[i + 3], 0xee);
        }
        // a[4 j + c] has column c of each group of four, of the rows 4 j to 4 j + 3
#pragma GCC unroll 4
        for (int c = 0; c < 4; ++c) {
            const __m512 even_low = _mm512_shuffle_f32x4(a[c], a[4 + c], 0x88), odd_low = _mm512_shuffle_f32x4(a[c], a[4 + c], 0xdd);
            const __m512 even_high = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0x88), odd_high = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0xdd);
            store(to + c * to_stride, _mm512_shuffle_f32x4(even_low, even_high, 0x88));
            store(to + (4 + c) * to_stride, _mm512_shuffle_f32x4(odd_low, odd_high, 0x88));
            store(to + (8 + c) * to_stride, _mm512_shuffle_f32x4(even_low, even_high, 0xdd));
            store(to + (12 + c) * to_stride, _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd));
        }
    }
};

}  // namespace

const attention_kernels attention_kernels_avx512 = { "AVX512", run_attention<vector>, finish_attention<vector> };

#else
const attention_kernels attention_kernels_avx512 = {};
#endif
