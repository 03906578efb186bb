// Kernels for AVX-512 with VNNI: `vpdpbusd` multiplies unsigned weights by signed activations into 32-bit sums, and takes
// the activations as a broadcast from memory.
#include "panel-drive.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && defined(__AVX512VNNI__)

#include "panel-avx512.h"

namespace {

INLINE void fetch(const uint8_t * p, int ahead) {
    if (ahead) {
        _mm_prefetch((const char *) p + ahead, _MM_HINT_T1);
    }
}

struct q4_k {
    static constexpr int k_step = 256, act_block = BLOCK_MIN, bytes = 2304, head = 0, group = 8;

    template <int T>
    static INLINE void tile(const uint8_t * w, const uint8_t *, const uint8_t * const * act, float (*c)[16], int ahead) {
        const __m512i b4 = _mm512_set1_epi8(0x0f), b4_8 = _mm512_set1_epi8((char) 0xf0), b6 = _mm512_set1_epi8(0x3f);
        // high nibbles stay where they are: their sums are 16 times too large
        const __m512 sixteenth = _mm512_set1_ps(1.0f / 16);
        __m512 sum[T];
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
            sum[t] = _mm512_setzero_ps();
        }
        for (int j = 0; j < 4; ++j) {
            const uint8_t * p = w + 512 * j;
            __m512i lo[T], hi[T];
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) {
                lo[t] = hi[t] = _mm512_setzero_si512();
            }
#pragma GCC unroll 8
            for (int i = 0; i < 8; ++i) {
                fetch(p + 64 * i, ahead);
                const __m512i q = load(p + 64 * i), l = _mm512_and_si512(q, b4), u = _mm512_and_si512(q, b4_8);
#pragma GCC unroll 8
                for (int t = 0; t < T; ++t) {
                    const uint8_t * a = act[t] + 64 * j + 4 * i;
                    lo[t] = _mm512_dpbusd_epi32(lo[t], l, lanes(a));
                    hi[t] = _mm512_dpbusd_epi32(hi[t], u, lanes(a + 32));
                }
            }
            const __m512i s = _mm512_and_si512(load(w + 2048 + 64 * (j / 2)), b6);
            const __m512 s0 = byte_of_lanes(s, 2 * j % 4), s1 = _mm512_mul_ps(byte_of_lanes(s, 2 * j % 4 + 1), sixteenth);
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) {
                sum[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(lo[t]), s0, sum[t]);
                sum[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(hi[t]), s1, sum[t]);
            }
        }
        for (int i = 0; i < 4; ++i) {
            fetch(w + 2048 + 64 * i, ahead);
        }
        add_with_mins<T>(w + 2048, act, sum, c);
    }
};

struct q5_k {
    static constexpr int k_step = 256, act_block = BLOCK_MIN, bytes = 2816, head = 0, group = 8;

    template <int T>
    static INLINE void tile(const uint8_t * w, const uint8_t *, const uint8_t * const * act, float (*c)[16], int ahead) {
        const __m512i b6 = _mm512_set1_epi8(0x3f);
        __m512 sum[T];
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
            sum[t] = _mm512_setzero_ps();
        }
        for (int j = 0; j < 4; ++j) {
            const uint8_t * p = w + 640 * j;
            __m512i lo[T], hi[T];
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) {
                lo[t] = hi[t] = _mm512_setzero_si512();
            }
            for (int u = 0; u < 2; ++u) {
                fetch(p + 512 + 64 * u, ahead);
                const __m512i fifth = load(p + 512 + 64 * u);
#pragma GCC unroll 4
                for (int i = 0; i < 4; ++i) {
                    fetch(p + 256 * u + 64 * i, ahead);
                    const five_bits q = fives_of(load(p + 256 * u + 64 * i), fifth, i);
#pragma GCC unroll 8
                    for (int t = 0; t < T; ++t) {
                        const uint8_t * a = act[t] + 64 * j + 16 * u + 4 * i;
                        lo[t] = _mm512_dpbusd_epi32(lo[t], q.low, lanes(a));
                        hi[t] = _mm512_dpbusd_epi32(hi[t], q.high, lanes(a + 32));
                    }
                }
            }
            const __m512i s = _mm512_and_si512(load(w + 2560 + 64 * (j / 2)), b6);
            const __m512 s0 = byte_of_lanes(s, 2 * j % 4), s1 = byte_of_lanes(s, 2 * j % 4 + 1);
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) {
                sum[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(lo[t]), s0, sum[t]);
                sum[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(hi[t]), s1, sum[t]);
            }
        }
        for (int i = 0; i < 4; ++i) {
            fetch(w + 2560 + 64 * i, ahead);
        }
        add_with_mins<T>(w + 2560, act, sum, c);
    }
};

struct q6_k {
    static constexpr int k_step = 256, act_block = BLOCK_Q6, bytes = 3328, head = 32, group = 8;

    template <int T>
    static INLINE void tile(const uint8_t * w, const uint8_t * d, const uint8_t * const * act, float (*c)[16], int ahead) {
        __m512 sum[T];
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
            sum[t] = _mm512_setzero_ps();
        }
        for (int i = 0; i < 4; ++i) {
            fetch(w + 64 * i, ahead);
        }
#pragma GCC unroll 2
        for (int g = 0; g < 16; ++g) {
            const uint8_t * p = w + 256 + 192 * g;
            fetch(p, ahead);
            fetch(p + 64, ahead);
            fetch(p + 128, ahead);
            const six_bits q = sixes_of(p);
            const __m512 s = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *) (w + 16 * g))));
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) {
                const uint8_t * a = act[t] + 16 * g;
                __m512i x = _mm512_dpbusd_epi32(lanes(act[t] + 272 + 4 * g), q.v[0], lanes(a));
                x = _mm512_dpbusd_epi32(x, q.v[1], lanes(a + 4));
                x = _mm512_dpbusd_epi32(x, q.v[2], lanes(a + 8));
                x = _mm512_dpbusd_epi32(x, q.v[3], lanes(a + 12));
                sum[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(x), s, sum[t]);
            }
        }
        const __m512 dw = halves(d);
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
            const __m512 both = _mm512_mul_ps(dw, everywhere(act[t] + 256));
            _mm512_store_ps(c[t], _mm512_fmadd_ps(sum[t], both, _mm512_load_ps(c[t])));
        }
    }
};

struct q4_0 {
    static constexpr int k_step = 32, act_block = BLOCK_32, bytes = 288, head = 0, group = 8;

    template <int T>
    static INLINE void tile(const uint8_t * w, const uint8_t *, const uint8_t * const * act, float (*c)[16], int ahead) {
        const __m512i b4 = _mm512_set1_epi8(0x0f);
        __m512i x[T];
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
            x[t] = lanes(act[t] + 36);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            fetch(w + 64 * i, ahead);
            const __m512i q = load(w + 64 * i), l = _mm512_and_si512(q, b4), u = _mm512_and_si512(_mm512_srli_epi16(q, 4), b4);
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) {
                const uint8_t * a = act[t] + 4 * i;
                x[t] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(x[t], l, lanes(a)), u, lanes(a + 16));
            }
        }
        fetch(w + 256, ahead);
        const __m512 dw = halves(w + 256);
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
            const __m512 both = _mm512_mul_ps(dw, everywhere(act[t] + 32));
            _mm512_store_ps(c[t], _mm512_fmadd_ps(_mm512_cvtepi32_ps(x[t]), both, _mm512_load_ps(c[t])));
        }
    }
};

struct q8_0 {
    static constexpr int k_step = 32, act_block = BLOCK_32, bytes = 544, head = 0, group = 8;

    template <int T>
    static INLINE void tile(const uint8_t * w, const uint8_t *, const uint8_t * const * act, float (*c)[16], int ahead) {
        const __m512i sign = _mm512_set1_epi8((char) 0x80);
        __m512i x[T];
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
            x[t] = lanes(act[t] + 36);
        }
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i) {
            fetch(w + 64 * i, ahead);
            // weights and 128, which the sum in the activations takes back
            const __m512i q = _mm512_xor_si512(load(w + 64 * i), sign);
#pragma GCC unroll 8
            for (int t = 0; t < T; ++t) {
                x[t] = _mm512_dpbusd_epi32(x[t], q, lanes(act[t] + 4 * i));
            }
        }
        fetch(w + 512, ahead);
        const __m512 dw = halves(w + 512);
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
            const __m512 both = _mm512_mul_ps(dw, everywhere(act[t] + 32));
            _mm512_store_ps(c[t], _mm512_fmadd_ps(_mm512_cvtepi32_ps(x[t]), both, _mm512_load_ps(c[t])));
        }
    }
};

// The scale that takes n values to -127..127, and its inverse. A value that is no number makes the scale one, so that it
// shows in the result; values whose inverse scale is no number are zero to within 1e-36.
INLINE float scale_of(const float * x, int n, float & inverse) {
    __m512i most = _mm512_setzero_si512();
    for (int i = 0; i < n; i += 16) {
        most = _mm512_max_epi32(most, _mm512_and_si512(load(x + i), _mm512_set1_epi32(0x7fffffff)));
    }
    const int bits = _mm512_reduce_max_epi32(most);
    float largest;
    memcpy(&largest, &bits, 4);
    inverse = largest > 1e-36f ? 127.0f / largest : 0.0f;
    return largest > 1e-36f || largest != largest ? largest / 127.0f : 0.0f;
}

// 16 values, stored and returned. What is no number would come as the least of all, which sums must not get.
INLINE __m512i quantise_16(const float * x, float inverse, uint8_t * q) {
    const __m512i v = _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(inverse))), _mm512_set1_epi32(-127));
    _mm_storeu_si128((__m128i *) q, _mm512_cvtsepi32_epi8(v));
    return v;
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
    float inverse;
    if (type == GGML_TYPE_Q4_0 || type == GGML_TYPE_Q8_0) {
        for (int64_t b = 0; b < k / 32; ++b, x += 32, act += BLOCK_32) {
            const float   d = scale_of(x, 32, inverse);
            const __m512i v = _mm512_add_epi32(quantise_16(x, inverse, act), quantise_16(x + 16, inverse, act + 16));
            const int     c = (type == GGML_TYPE_Q4_0 ? -8 : -128) * _mm512_reduce_add_epi32(v);
            memcpy(act + 32, &d, 4);
            memcpy(act + 36, &c, 4);
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
            const __m512i v0 = quantise_16(x + 32 * i, inverse, act + 32 * i), v1 = quantise_16(x + 32 * i + 16, inverse, act + 32 * i + 16);
            if (mins) {
                const int16_t c = (int16_t) _mm512_reduce_add_epi32(_mm512_add_epi32(v0, v1));
                memcpy(act + 272 + 2 * place[i], &c, 2);
            } else {
                const int c[2] = { -32 * _mm512_reduce_add_epi32(v0), -32 * _mm512_reduce_add_epi32(v1) };
                memcpy(act + 272 + 8 * i, c, 8);
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

const panel_kernels panel_kernels_avx512 = { "AVX512_VNNI", 1, PANEL_TOKENS, 0, 0, 1, act_bytes, quantise, mul };

#else
const panel_kernels panel_kernels_avx512 = {};
#endif
