// Attention with AVX2, FMA and F16C.
#include "attention-drive.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <immintrin.h>

namespace {

struct vector {
    typedef __m256 type;
    // of a product that are made at once: 12 sums of 16 registers
    static constexpr int lanes = 8, vectors = 2;

    static INLINE type load(const float * p) { return _mm256_loadu_ps(p); }
    static INLINE type load_from(const float * p) { return load(p); }
    static INLINE type load_from(const uint16_t * p) { return halves((const char *) p); }
    static INLINE void store(float * p, type v) { _mm256_storeu_ps(p, v); }
    static INLINE type halves(const char * p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) p)); }
    static INLINE type all(float v) { return _mm256_set1_ps(v); }
    static INLINE type add(type a, type b) { return _mm256_add_ps(a, b); }
    static INLINE type sub(type a, type b) { return _mm256_sub_ps(a, b); }
    static INLINE type mul(type a, type b) { return _mm256_mul_ps(a, b); }
    static INLINE type div(type a, type b) { return _mm256_div_ps(a, b); }
    static INLINE type fma(type a, type b, type c) { return _mm256_fmadd_ps(a, b, c); }
    static INLINE type max(type a, type b) { return _mm256_max_ps(a, b); }
    static INLINE type min(type a, type b) { return _mm256_min_ps(a, b); }
    static INLINE type round(type v) { return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
    // n from -126 to 127
    static INLINE type times_power_of_2(type v, type n) {
        return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(v), _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23)));
    }
    static INLINE type zero_below(type v, type x, type limit) { return _mm256_andnot_ps(_mm256_cmp_ps(x, limit, _CMP_LT_OQ), v); }
    static INLINE float first(type v) { return _mm256_cvtss_f32(v); }
    static INLINE float total(type v) {
        __m128 h = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
        h = _mm_add_ps(h, _mm_movehl_ps(h, h));
        return _mm_cvtss_f32(_mm_add_ss(h, _mm_movehdup_ps(h)));
    }
    static INLINE float largest(type v) {
        __m128 h = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
        h = _mm_max_ps(h, _mm_movehl_ps(h, h));
        return _mm_cvtss_f32(_mm_max_ss(h, _mm_movehdup_ps(h)));
    }

    // 8 rows of 8 to as many columns
    template <class From> static INLINE void transpose(const From * const * rows, int column, float * to, size_t to_stride) {
        __m256 a[8], b[8];
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i) {
            a[i] = load_from(rows[i] + column);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 8; i += 2) {
            b[i]     = _mm256_unpacklo_ps(a[i], a[i + 1]);
            b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
        }
#pragma GCC unroll 2
        for (int i = 0; i < 8; i += 4) {
            a[i]     = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
            a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
            a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
            a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
        }
#pragma GCC unroll 4
        for (int c = 0; c < 4; ++c) {
            store(to + c * to_stride, _mm256_permute2f128_ps(a[c], a[4 + c], 0x20));
            store(to + (4 + c) * to_stride, _mm256_permute2f128_ps(a[c], a[4 + c], 0x31));
        }
    }
};

}  // namespace

const attention_kernels attention_kernels_avx2 = { "AVX2", run_attention<vector>, finish_attention<vector> };

#else
const attention_kernels attention_kernels_avx2 = {};
#endif
