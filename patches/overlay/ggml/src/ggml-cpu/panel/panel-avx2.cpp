// Kernels for AVX2, FMA and F16C: `pmaddubsw` multiplies unsigned weights by signed activations into 16-bit sums.
//
// The sums stay inside 16 bits: activations are at most 127 in magnitude, so that eight products of pairs of nibbles are
// at most 8 * 2 * 15 * 127 = 30480, four of pairs of 5-bit values 31496, and eight signed 6-bit values (from -32) 32512.
#include "panel-drive.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <immintrin.h>

#define INLINE inline __attribute__((always_inline))

namespace {

// Activations for Q4_K and Q5_K: 256 values, their scale, and the sums of each 32 as pairs of 16 bits in the order in
// which the bytes of the mins come: (0, 2), (1, 3), (4, 6), (5, 7).
constexpr int BLOCK_MIN = 256 + 16 + 16;
// For Q6_K: 256 values, their scale, and for each 16 values -32 times the sums of those with k % 4 < 2 and >= 2.
constexpr int BLOCK_Q6 = 256 + 16 + 64;
// For Q4_0 and Q8_0: 32 values, their scale, and for Q4_0 -8 times the sums of those with k % 4 < 2 and >= 2.
constexpr int BLOCK_32 = 32 + 4 + 4;

INLINE __m256i load(const void * p) {
    return _mm256_loadu_si256((const __m256i *) p);
}

// four bytes in every lane
INLINE __m256i lanes(const void * p) {
    int v;
    memcpy(&v, p, 4);
    return _mm256_set1_epi32(v);
}

INLINE float scalar(const void * p) {
    float v;
    memcpy(&v, p, 4);
    return v;
}

INLINE __m256 halves(const void * p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) p));
}

INLINE void fetch(const uint8_t * p, int ahead) {
    if (ahead) {
        _mm_prefetch((const char *) p + ahead, _MM_HINT_T1);
    }
}

// c += a * b for eight rows
INLINE void add_to(float * c, __m256 a, __m256 b) {
    _mm256_storeu_ps(c, _mm256_fmadd_ps(a, b, _mm256_loadu_ps(c)));
}

// Byte `n` of each lane, twice, as 16-bit numbers.
INLINE __m256i byte_of_lanes(__m256i v, int n) {
    const __m256i select = _mm256_add_epi32(
        _mm256_setr_epi32(0, 0x00040004, 0x00080008, 0x000c000c, 0, 0x00040004, 0x00080008, 0x000c000c),
        _mm256_set1_epi32((int) (0x80008000u | n * 0x00010001)));
    return _mm256_shuffle_epi8(v, select);
}

// The end of a tile of Q4_K and Q5_K for eight rows: c += da (d sum - dmin mins), sum being scaled already.
template <int T>
INLINE void add_with_mins(const uint8_t * s, const uint8_t * const * act, const __m256i * sum, int half, float (*c)[16]) {
    const __m256i b6 = _mm256_set1_epi8(0x3f), b2 = _mm256_set1_epi8(3), low = _mm256_set1_epi16(0xff);
    const __m256i l0 = load(s + 32 * half), l1 = load(s + 64 + 32 * half), l2 = load(s + 128 + 32 * half);
    const __m256i m0 = _mm256_and_si256(l2, b6);
    const __m256i m1 = _mm256_or_si256(
        _mm256_and_si256(_mm256_srli_epi16(l0, 6), b2),
        _mm256_or_si256(_mm256_slli_epi16(_mm256_and_si256(_mm256_srli_epi16(l1, 6), b2), 2),
                        _mm256_slli_epi16(_mm256_and_si256(_mm256_srli_epi16(l2, 6), b2), 4)));
    const __m256i m02 = _mm256_and_si256(m0, low), m13 = _mm256_srli_epi16(m0, 8);
    const __m256i m46 = _mm256_and_si256(m1, low), m57 = _mm256_srli_epi16(m1, 8);
    const __m256 d = halves(s + 192 + 16 * half), dmin = halves(s + 224 + 16 * half);
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
        const uint8_t * b = act[t] + 272;
        const __m256i mins = _mm256_add_epi32(
            _mm256_add_epi32(_mm256_madd_epi16(m02, lanes(b)), _mm256_madd_epi16(m13, lanes(b + 4))),
            _mm256_add_epi32(_mm256_madd_epi16(m46, lanes(b + 8)), _mm256_madd_epi16(m57, lanes(b + 12))));
        const __m256 x = _mm256_fnmadd_ps(dmin, _mm256_cvtepi32_ps(mins), _mm256_mul_ps(d, _mm256_cvtepi32_ps(sum[t])));
        add_to(c[t] + 8 * half, x, _mm256_set1_ps(scalar(act[t] + 256)));
    }
}

// H halves of 8 rows at once: both where there are registers for it
template <int T> constexpr int HALVES = T <= 2 ? 2 : 1;

struct q4_k {
    static constexpr int k_step = 256, act_block = BLOCK_MIN, bytes = 2304, head = 0, group = 4;

    template <int T>
    static INLINE void tile(const uint8_t * w, const uint8_t *, const uint8_t * const * act, float (*c)[16], int ahead) {
        constexpr int H = HALVES<T>;
        const __m256i b4 = _mm256_set1_epi8(0x0f), b6 = _mm256_set1_epi8(0x3f);
        for (int first = 0; first < 2; first += H) {
            __m256i sum[H][T];
#pragma GCC unroll 2
            for (int h = 0; h < H; ++h) {
#pragma GCC unroll 4
                for (int t = 0; t < T; ++t) {
                    sum[h][t] = _mm256_setzero_si256();
                }
            }
            for (int j = 0; j < 4; ++j) {
                const uint8_t * p = w + 512 * j + 32 * first;
                __m256i lo[H][T], hi[H][T];
#pragma GCC unroll 2
                for (int h = 0; h < H; ++h) {
#pragma GCC unroll 4
                    for (int t = 0; t < T; ++t) {
                        lo[h][t] = hi[h][t] = _mm256_setzero_si256();
                    }
                }
#pragma GCC unroll 8
                for (int i = 0; i < 8; ++i) {
                    if (first == 0) {
                        fetch(p + 64 * i, ahead);
                    }
#pragma GCC unroll 2
                    for (int h = 0; h < H; ++h) {
                        const __m256i q = load(p + 64 * i + 32 * h);
                        const __m256i l = _mm256_and_si256(q, b4), u = _mm256_and_si256(_mm256_srli_epi16(q, 4), b4);
#pragma GCC unroll 4
                        for (int t = 0; t < T; ++t) {
                            const uint8_t * a = act[t] + 64 * j + 4 * i;
                            lo[h][t] = _mm256_add_epi16(lo[h][t], _mm256_maddubs_epi16(l, lanes(a)));
                            hi[h][t] = _mm256_add_epi16(hi[h][t], _mm256_maddubs_epi16(u, lanes(a + 32)));
                        }
                    }
                }
#pragma GCC unroll 2
                for (int h = 0; h < H; ++h) {
                    const __m256i s = _mm256_and_si256(load(w + 2048 + 64 * (j / 2) + 32 * (first + h)), b6);
                    const __m256i s0 = byte_of_lanes(s, 2 * j % 4), s1 = byte_of_lanes(s, 2 * j % 4 + 1);
#pragma GCC unroll 4
                    for (int t = 0; t < T; ++t) {
                        sum[h][t] = _mm256_add_epi32(sum[h][t], _mm256_add_epi32(_mm256_madd_epi16(lo[h][t], s0),
                                                                                 _mm256_madd_epi16(hi[h][t], s1)));
                    }
                }
            }
            if (first == 0) {
                for (int i = 0; i < 4; ++i) {
                    fetch(w + 2048 + 64 * i, ahead);
                }
            }
#pragma GCC unroll 2
            for (int h = 0; h < H; ++h) {
                add_with_mins<T>(w + 2048, act, sum[h], first + h, c);
            }
        }
    }
};

struct q5_k {
    static constexpr int k_step = 256, act_block = BLOCK_MIN, bytes = 2816, head = 0, group = 4;

    template <int T>
    static INLINE void tile(const uint8_t * w, const uint8_t *, const uint8_t * const * act, float (*c)[16], int ahead) {
        constexpr int H = HALVES<T>;
        const __m256i b4 = _mm256_set1_epi8(0x0f), b5 = _mm256_set1_epi8(0x10), b6 = _mm256_set1_epi8(0x3f);
        for (int first = 0; first < 2; first += H) {
            __m256i sum[H][T];
#pragma GCC unroll 2
            for (int h = 0; h < H; ++h) {
#pragma GCC unroll 4
                for (int t = 0; t < T; ++t) {
                    sum[h][t] = _mm256_setzero_si256();
                }
            }
            for (int j = 0; j < 4; ++j) {
                const uint8_t * p = w + 640 * j + 32 * first;
                __m256i s0[H], s1[H];
#pragma GCC unroll 2
                for (int h = 0; h < H; ++h) {
                    const __m256i s = _mm256_and_si256(load(w + 2560 + 64 * (j / 2) + 32 * (first + h)), b6);
                    s0[h] = byte_of_lanes(s, 2 * j % 4);
                    s1[h] = byte_of_lanes(s, 2 * j % 4 + 1);
                }
                for (int u = 0; u < 2; ++u) {
                    __m256i lo[H][T], hi[H][T], fifth[H];
                    if (first == 0) {
                        fetch(p + 512 + 64 * u, ahead);
                    }
#pragma GCC unroll 2
                    for (int h = 0; h < H; ++h) {
                        fifth[h] = load(p + 512 + 64 * u + 32 * h);
#pragma GCC unroll 4
                        for (int t = 0; t < T; ++t) {
                            lo[h][t] = hi[h][t] = _mm256_setzero_si256();
                        }
                    }
#pragma GCC unroll 4
                    for (int i = 0; i < 4; ++i) {
                        if (first == 0) {
                            fetch(p + 256 * u + 64 * i, ahead);
                        }
#pragma GCC unroll 2
                        for (int h = 0; h < H; ++h) {
                            const __m256i q = load(p + 256 * u + 64 * i + 32 * h);
                            // bits 2 i and 2 i + 1 go to bit 4
                            const __m256i f0 = i < 2 ? _mm256_slli_epi16(fifth[h], 4 - 2 * i) : _mm256_srli_epi16(fifth[h], 2 * i - 4);
                            const __m256i f1 = i < 2 ? _mm256_slli_epi16(fifth[h], 3 - 2 * i) : _mm256_srli_epi16(fifth[h], 2 * i - 3);
                            const __m256i l = _mm256_or_si256(_mm256_and_si256(q, b4), _mm256_and_si256(f0, b5));
                            const __m256i v = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(q, 4), b4), _mm256_and_si256(f1, b5));
#pragma GCC unroll 4
                            for (int t = 0; t < T; ++t) {
                                const uint8_t * a = act[t] + 64 * j + 16 * u + 4 * i;
                                lo[h][t] = _mm256_add_epi16(lo[h][t], _mm256_maddubs_epi16(l, lanes(a)));
                                hi[h][t] = _mm256_add_epi16(hi[h][t], _mm256_maddubs_epi16(v, lanes(a + 32)));
                            }
                        }
                    }
#pragma GCC unroll 2
                    for (int h = 0; h < H; ++h) {
#pragma GCC unroll 4
                        for (int t = 0; t < T; ++t) {
                            sum[h][t] = _mm256_add_epi32(sum[h][t], _mm256_add_epi32(_mm256_madd_epi16(lo[h][t], s0[h]),
                                                                                     _mm256_madd_epi16(hi[h][t], s1[h])));
                        }
                    }
                }
            }
            if (first == 0) {
                for (int i = 0; i < 4; ++i) {
                    fetch(w + 2560 + 64 * i, ahead);
                }
            }
#pragma GCC unroll 2
            for (int h = 0; h < H; ++h) {
                add_with_mins<T>(w + 2560, act, sum[h], first + h, c);
            }
        }
    }
};

struct q6_k {
    static constexpr int k_step = 256, act_block = BLOCK_Q6, bytes = 3328, head = 32, group = 4;

    template <int T>
    static INLINE void tile(const uint8_t * w, const uint8_t * d, const uint8_t * const * act, float (*c)[16], int ahead) {
        constexpr int H = HALVES<T>;
        const __m256i b6 = _mm256_set1_epi8(0x3f), b2 = _mm256_set1_epi8(3), b2_4 = _mm256_set1_epi8(12), b4_6 = _mm256_set1_epi8(48);
        for (int first = 0; first < 2; first += H) {
            __m256i sum[H][T];
#pragma GCC unroll 2
            for (int h = 0; h < H; ++h) {
#pragma GCC unroll 4
                for (int t = 0; t < T; ++t) {
                    sum[h][t] = _mm256_setzero_si256();
                }
            }
            if (first == 0) {
                for (int i = 0; i < 4; ++i) {
                    fetch(w + 64 * i, ahead);
                }
            }
#pragma GCC unroll 2
            for (int g = 0; g < 16; ++g) {
                const uint8_t * p = w + 256 + 192 * g + 32 * first;
                if (first == 0) {
                    fetch(p, ahead);
                    fetch(p + 64, ahead);
                    fetch(p + 128, ahead);
                }
#pragma GCC unroll 2
                for (int h = 0; h < H; ++h) {
                    const __m256i l0 = load(p + 32 * h), l1 = load(p + 64 + 32 * h), l2 = load(p + 128 + 32 * h);
                    const __m256i v0 = _mm256_and_si256(l0, b6), v1 = _mm256_and_si256(l1, b6), v2 = _mm256_and_si256(l2, b6);
                    const __m256i v3 = _mm256_or_si256(
                        _mm256_and_si256(_mm256_srli_epi16(l0, 6), b2),
                        _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(l1, 4), b2_4), _mm256_and_si256(_mm256_srli_epi16(l2, 2), b4_6)));
                    const __m128i s8 = _mm_loadl_epi64((const __m128i *) (w + 16 * g + 8 * (first + h)));
                    const __m256i s = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(s8, s8));
#pragma GCC unroll 4
                    for (int t = 0; t < T; ++t) {
                        const uint8_t * a = act[t] + 16 * g;
                        __m256i x = _mm256_add_epi16(_mm256_maddubs_epi16(v0, lanes(a)), lanes(act[t] + 272 + 4 * g));
                        x = _mm256_add_epi16(x, _mm256_maddubs_epi16(v1, lanes(a + 4)));
                        x = _mm256_add_epi16(x, _mm256_add_epi16(_mm256_maddubs_epi16(v2, lanes(a + 8)),
                                                                 _mm256_maddubs_epi16(v3, lanes(a + 12))));
                        sum[h][t] = _mm256_add_epi32(sum[h][t], _mm256_madd_epi16(x, s));
                    }
                }
            }
#pragma GCC unroll 2
            for (int h = 0; h < H; ++h) {
                const __m256 dw = halves(d + 16 * (first + h));
#pragma GCC unroll 4
                for (int t = 0; t < T; ++t) {
                    add_to(c[t] + 8 * (first + h), _mm256_cvtepi32_ps(sum[h][t]),
                           _mm256_mul_ps(dw, _mm256_set1_ps(scalar(act[t] + 256))));
                }
            }
        }
    }
};

struct q4_0 {
    static constexpr int k_step = 32, act_block = BLOCK_32, bytes = 288, head = 0, group = 4;

    template <int T>
    static INLINE void tile(const uint8_t * w, const uint8_t *, const uint8_t * const * act, float (*c)[16], int ahead) {
        const __m256i b4 = _mm256_set1_epi8(0x0f), one = _mm256_set1_epi16(1);
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half) {
            __m256i x[T];
#pragma GCC unroll 4
            for (int t = 0; t < T; ++t) {
                x[t] = lanes(act[t] + 36);
            }
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) {
                if (half == 0) {
                    fetch(w + 64 * i, ahead);
                }
                const __m256i q = load(w + 64 * i + 32 * half);
                const __m256i l = _mm256_and_si256(q, b4), u = _mm256_and_si256(_mm256_srli_epi16(q, 4), b4);
#pragma GCC unroll 4
                for (int t = 0; t < T; ++t) {
                    const uint8_t * a = act[t] + 4 * i;
                    x[t] = _mm256_add_epi16(x[t], _mm256_add_epi16(_mm256_maddubs_epi16(l, lanes(a)), _mm256_maddubs_epi16(u, lanes(a + 16))));
                }
            }
            if (half == 0) {
                fetch(w + 256, ahead);
            }
            const __m256 dw = halves(w + 256 + 16 * half);
#pragma GCC unroll 4
            for (int t = 0; t < T; ++t) {
                add_to(c[t] + 8 * half, _mm256_cvtepi32_ps(_mm256_madd_epi16(x[t], one)), _mm256_mul_ps(dw, _mm256_set1_ps(scalar(act[t] + 32))));
            }
        }
    }
};

struct q8_0 {
    static constexpr int k_step = 32, act_block = BLOCK_32, bytes = 544, head = 0, group = 4;

    template <int T>
    static INLINE void tile(const uint8_t * w, const uint8_t *, const uint8_t * const * act, float (*c)[16], int ahead) {
        const __m256i one = _mm256_set1_epi16(1);
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half) {
            __m256i x[T];
#pragma GCC unroll 4
            for (int t = 0; t < T; ++t) {
                x[t] = _mm256_setzero_si256();
            }
#pragma GCC unroll 8
            for (int i = 0; i < 8; ++i) {
                if (half == 0) {
                    fetch(w + 64 * i, ahead);
                }
                // the weights' signs go to the activations; 128 * 127 * 2 fits, where a weight is -128
                const __m256i q = load(w + 64 * i + 32 * half), magnitude = _mm256_abs_epi8(q);
#pragma GCC unroll 4
                for (int t = 0; t < T; ++t) {
                    const __m256i a = _mm256_sign_epi8(lanes(act[t] + 4 * i), q);
                    x[t] = _mm256_add_epi32(x[t], _mm256_madd_epi16(_mm256_maddubs_epi16(magnitude, a), one));
                }
            }
            if (half == 0) {
                fetch(w + 512, ahead);
            }
            const __m256 dw = halves(w + 512 + 16 * half);
#pragma GCC unroll 4
            for (int t = 0; t < T; ++t) {
                add_to(c[t] + 8 * half, _mm256_cvtepi32_ps(x[t]), _mm256_mul_ps(dw, _mm256_set1_ps(scalar(act[t] + 32))));
            }
        }
    }
};

// The scale that takes n values to -127..127, and its inverse. A value that is no number makes the scale one, so that it
// shows in the result; values whose inverse scale is no number are zero to within 1e-36.
INLINE float scale_of(const float * x, int n, float & inverse) {
    const __m256i sign = _mm256_set1_epi32(0x7fffffff);
    __m256i most = _mm256_setzero_si256();
    for (int i = 0; i < n; i += 8) {
        most = _mm256_max_epi32(most, _mm256_and_si256(load(x + i), sign));
    }
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
    const float largest = _mm_cvtss_f32(_mm_castsi128_ps(m));
    inverse = largest > 1e-36f ? 127.0f / largest : 0.0f;
    return largest > 1e-36f || largest != largest ? largest / 127.0f : 0.0f;
}

// 32 values, stored and returned.
INLINE __m256i quantise_32(const float * x, float inverse, uint8_t * q) {
    const __m256 s = _mm256_set1_ps(inverse);
    __m256i v[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        v[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), s));
    }
    __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    packed = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *) q, packed);
    return packed;
}

// `factor` times the sums of eight pairs of 16 bits, of those at even places and of those at odd ones.
INLINE void store_pair_sums(__m128i pairs, int shift, uint8_t * out) {
    pairs = _mm_add_epi16(pairs, _mm_shuffle_epi32(pairs, 0x4e));
    pairs = _mm_add_epi16(pairs, _mm_shuffle_epi32(pairs, 0xb1));
    const int v = _mm_cvtsi128_si32(_mm_slli_epi16(_mm_sub_epi16(_mm_setzero_si128(), pairs), shift));
    memcpy(out, &v, 4);
}

size_t act_bytes(enum ggml_type type, int64_t k) {
    switch (type) {
        case GGML_TYPE_Q4_K:
        case GGML_TYPE_Q5_K: return k / 256 * BLOCK_MIN;
        case GGML_TYPE_Q6_K: return k / 256 * BLOCK_Q6;
        default:             return k / 32 * BLOCK_32;
    }
}

void quantise(enum ggml_type type, const float * x, int64_t k, uint8_t * act) {
    const __m256i ones8 = _mm256_set1_epi8(1), ones16 = _mm256_set1_epi16(1);
    float inverse;
    if (type == GGML_TYPE_Q4_0 || type == GGML_TYPE_Q8_0) {
        for (int64_t b = 0; b < k / 32; ++b, x += 32, act += BLOCK_32) {
            const float   d = scale_of(x, 32, inverse);
            const __m256i pairs = _mm256_maddubs_epi16(ones8, quantise_32(x, inverse, act));
            memcpy(act + 32, &d, 4);
            store_pair_sums(_mm_add_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1)), 3, act + 36);
        }
        return;
    }
    const bool mins = type != GGML_TYPE_Q6_K;
    // where the sum of each 32 values stands among the pairs
    static const int place[8] = { 0, 2, 1, 3, 4, 6, 5, 7 };
    for (int64_t b = 0; b < k / 256; ++b, x += 256, act += mins ? BLOCK_MIN : BLOCK_Q6) {
        const float d = scale_of(x, 256, inverse);
        memcpy(act + 256, &d, 4);
        for (int i = 0; i < 8; ++i) {
            const __m256i pairs = _mm256_maddubs_epi16(ones8, quantise_32(x + 32 * i, inverse, act + 32 * i));
            if (mins) {
                const __m256i fours = _mm256_madd_epi16(pairs, ones16);
                __m128i s = _mm_add_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1));
                s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
                s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
                const int16_t v = (int16_t) _mm_cvtsi128_si32(s);
                memcpy(act + 272 + 2 * place[i], &v, 2);
            } else {
                store_pair_sums(_mm256_castsi256_si128(pairs), 5, act + 272 + 8 * i);
                store_pair_sums(_mm256_extracti128_si256(pairs, 1), 5, act + 276 + 8 * i);
            }
        }
    }
}

void mul(enum ggml_type type, const uint8_t * panels, int64_t k, int64_t n_rows, int64_t p0, int64_t p1,
         const uint8_t * const * act, float * const * out, int n, void *) {
    const size_t stride = panel_bytes(type, k);
    switch (type) {
        case GGML_TYPE_Q4_K: return panel_mul<q4_k>(panels, stride, k, n_rows, p0, p1, act, out, n);
        case GGML_TYPE_Q5_K: return panel_mul<q5_k>(panels, stride, k, n_rows, p0, p1, act, out, n);
        case GGML_TYPE_Q6_K: return panel_mul<q6_k>(panels, stride, k, n_rows, p0, p1, act, out, n);
        case GGML_TYPE_Q4_0: return panel_mul<q4_0>(panels, stride, k, n_rows, p0, p1, act, out, n);
        case GGML_TYPE_Q8_0: return panel_mul<q8_0>(panels, stride, k, n_rows, p0, p1, act, out, n);
        default:             return;
    }
}

}  // namespace

const panel_kernels panel_kernels_avx2 = { "AVX2", 1, PANEL_TOKENS, 0, 0, 1, act_bytes, quantise, mul };

#else
const panel_kernels panel_kernels_avx2 = {};
#endif
