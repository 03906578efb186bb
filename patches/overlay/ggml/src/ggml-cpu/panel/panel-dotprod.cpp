// Kernels for 64-bit Arm with dot products (`sdot`): a lane of 32 bits gets the products of four weights and four
// activations, which are taken from one lane of a vector, as the panels have it. All sums of a tile are whole numbers.
#include "panel-drive.h"

#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)

#include <arm_neon.h>

#define INLINE inline __attribute__((always_inline))

namespace {

// Activations for Q4_K and Q5_K: 256 values, their scale, and the sums of each 32: first what is left of a multiple of 128,
// from -64 to 63, then the multiple. For Q6_K: 256 values, their scale, and -32 times the sums of each 16. For Q4_0 and
// Q8_0: 32 values, their scale, and -8 times their sum.
constexpr int BLOCK_MIN = 256 + 16 + 16;
constexpr int BLOCK_Q6  = 256 + 16 + 64;
constexpr int BLOCK_32  = 32 + 4 + 4;

// Columns of four rows that are computed together, so that enough sums are under way at once
template <int T> constexpr int COLUMNS = T == 1 ? 4 : T == 2 ? 2 : 1;

INLINE void fetch(const uint8_t * p, int ahead) {
    if (ahead) {
        __builtin_prefetch(p + ahead);
    }
}

INLINE uint8x16_t load(const uint8_t * p) {
    return vld1q_u8(p);
}

INLINE int8x16_t activations(const uint8_t * p) {
    return vreinterpretq_s8_u8(load(p));
}

INLINE int32x4_t everywhere(const uint8_t * p) {
    int32_t v;
    memcpy(&v, p, 4);
    return vdupq_n_s32(v);
}

INLINE float scalar(const uint8_t * p) {
    float v;
    memcpy(&v, p, 4);
    return v;
}

// Four halves
INLINE float32x4_t halves(const uint8_t * p) {
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}

// A column of four lines: 16 values of k of four rows
struct four_lines {
    uint8x16_t v[4];
};

INLINE int32x4_t dot(int32x4_t sum, const four_lines & w, int8x16_t a) {
    sum = vdotq_laneq_s32(sum, vreinterpretq_s8_u8(w.v[0]), a, 0);
    sum = vdotq_laneq_s32(sum, vreinterpretq_s8_u8(w.v[1]), a, 1);
    sum = vdotq_laneq_s32(sum, vreinterpretq_s8_u8(w.v[2]), a, 2);
    return vdotq_laneq_s32(sum, vreinterpretq_s8_u8(w.v[3]), a, 3);
}

INLINE four_lines lines(const uint8_t * p) {
    return { { load(p), load(p + 64), load(p + 128), load(p + 192) } };
}

INLINE four_lines low_of(const four_lines & q) {
    const uint8x16_t b4 = vdupq_n_u8(0x0f);
    return { { vandq_u8(q.v[0], b4), vandq_u8(q.v[1], b4), vandq_u8(q.v[2], b4), vandq_u8(q.v[3], b4) } };
}

INLINE four_lines high_of(const four_lines & q) {
    return { { vshrq_n_u8(q.v[0], 4), vshrq_n_u8(q.v[1], 4), vshrq_n_u8(q.v[2], 4), vshrq_n_u8(q.v[3], 4) } };
}

// Byte `n` of each lane.
INLINE int32x4_t byte_of_lanes(uint8x16_t v, int n) {
    const uint32x4_t shifted = vshlq_u32(vreinterpretq_u32_u8(v), vdupq_n_s32(-8 * n));
    return vreinterpretq_s32_u32(vandq_u32(shifted, vdupq_n_u32(255)));
}

// c += da (d sum - dmin mins): the end of a tile of Q4_K and Q5_K, whose last four lines begin at s, for column i.
template <int T> INLINE void add_with_mins(const uint8_t * s, const uint8_t * const * act, const int32x4_t * sum, int i, float (*c)[16]) {
    const uint8x16_t b2 = vdupq_n_u8(3), b6 = vdupq_n_u8(0x3f);
    const uint8x16_t l0 = load(s + 16 * i), l1 = load(s + 64 + 16 * i), l2 = load(s + 128 + 16 * i);
    const uint8x16_t first  = vandq_u8(l2, b6);
    const uint8x16_t second = vorrq_u8(vandq_u8(vshrq_n_u8(l0, 6), b2), vorrq_u8(vshlq_n_u8(vshrq_n_u8(l1, 6), 2), vshlq_n_u8(vshrq_n_u8(l2, 6), 4)));
    const float32x4_t d = halves(s + 192 + 8 * i), dmin = halves(s + 224 + 8 * i);
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
        const int8x16_t sums = activations(act[t] + 272);
        int32x4_t rest = vdotq_laneq_s32(vdupq_n_s32(0), vreinterpretq_s8_u8(first), sums, 0);
        int32x4_t many = vdotq_laneq_s32(vdupq_n_s32(0), vreinterpretq_s8_u8(first), sums, 2);
        rest = vdotq_laneq_s32(rest, vreinterpretq_s8_u8(second), sums, 1);
        many = vdotq_laneq_s32(many, vreinterpretq_s8_u8(second), sums, 3);
        const float32x4_t mins = vcvtq_f32_s32(vaddq_s32(rest, vshlq_n_s32(many, 7)));
        const float32x4_t v = vfmsq_f32(vmulq_f32(d, vcvtq_f32_s32(sum[t])), dmin, mins);
        vst1q_f32(c[t] + 4 * i, vfmaq_n_f32(vld1q_f32(c[t] + 4 * i), v, scalar(act[t] + 256)));
    }
}

// c += both sum, for column i
INLINE void add(float * c, int i, int32x4_t sum, float32x4_t both) {
    vst1q_f32(c + 4 * i, vfmaq_f32(vld1q_f32(c + 4 * i), vcvtq_f32_s32(sum), both));
}

// Q4_K, and with fifth bits Q5_K, which has them in two lines behind each eight of nibbles
template <bool FIFTH> struct nibbles_with_mins {
    static constexpr int k_step = 256, act_block = BLOCK_MIN, head = 0, group = 4;
    static constexpr int quarter = FIFTH ? 640 : 512; // bytes of 64 values of k
    static constexpr int bytes = 4 * quarter + 256;

    // The fifth bits, one bit higher for each of the four lines, at bit 4: those of the low nibbles, or of the high ones
    static INLINE four_lines with_fifth(const four_lines & q, uint8x16_t f) {
        const uint8x16_t b5 = vdupq_n_u8(0x10);
        return { { vorrq_u8(q.v[0], vandq_u8(vshlq_n_u8(f, 4), b5)), vorrq_u8(q.v[1], vandq_u8(vshlq_n_u8(f, 2), b5)),
                   vorrq_u8(q.v[2], vandq_u8(f, b5)), vorrq_u8(q.v[3], vandq_u8(vshrq_n_u8(f, 2), b5)) } };
    }

    template <int T>
    static INLINE void tile(const uint8_t * w, const uint8_t *, const uint8_t * const * act, float (*c)[16], int ahead) {
        constexpr int C = COLUMNS<T>;
        for (int first = 0; first < 4; first += C) {
            int32x4_t sum[C][T] = {};
            for (int j = 0; j < 4; ++j) {
                const uint8_t * p = w + quarter * j + 16 * first;
                int32x4_t lo[C][T] = {}, hi[C][T] = {};
#pragma GCC unroll 2
                for (int u = 0; u < 2; ++u) {
                    if (first == 0) {
                        for (int i = 0; i < 4; ++i) {
                            fetch(p + 256 * u + 64 * i, ahead);
                        }
                        if (FIFTH) {
                            fetch(p + 512 + 64 * u, ahead);
                        }
                    }
#pragma GCC unroll 4
                    for (int i = 0; i < C; ++i) {
                        const four_lines q = lines(p + 256 * u + 16 * i);
                        four_lines l = low_of(q), h = high_of(q);
                        if (FIFTH) {
                            const uint8x16_t f = load(p + 512 + 64 * u + 16 * i);
                            l = with_fifth(l, f);
                            h = with_fifth(h, vshrq_n_u8(f, 1));
                        }
#pragma GCC unroll 4
                        for (int t = 0; t < T; ++t) {
                            const uint8_t * a = act[t] + 64 * j + 16 * u;
                            lo[i][t] = dot(lo[i][t], l, activations(a));
                            hi[i][t] = dot(hi[i][t], h, activations(a + 32));
                        }
                    }
                }
#pragma GCC unroll 4
                for (int i = 0; i < C; ++i) {
                    const uint8x16_t s = vandq_u8(load(w + 4 * quarter + 64 * (j / 2) + 16 * (first + i)), vdupq_n_u8(0x3f));
                    const int32x4_t s0 = byte_of_lanes(s, 2 * j % 4), s1 = byte_of_lanes(s, 2 * j % 4 + 1);
#pragma GCC unroll 4
                    for (int t = 0; t < T; ++t) {
                        sum[i][t] = vmlaq_s32(vmlaq_s32(sum[i][t], lo[i][t], s0), hi[i][t], s1);
                    }
                }
            }
            for (int i = 0; i < 4 && first == 0; ++i) {
                fetch(w + 4 * quarter + 64 * i, ahead);
            }
#pragma GCC unroll 4
            for (int i = 0; i < C; ++i) {
                add_with_mins<T>(w + 4 * quarter, act, sum[i], first + i, c);
            }
        }
    }
};

using q4_k = nibbles_with_mins<false>;
using q5_k = nibbles_with_mins<true>;

struct q6_k {
    static constexpr int k_step = 256, act_block = BLOCK_Q6, bytes = 3328, head = 32, group = 4;

    template <int T>
    static INLINE void tile(const uint8_t * w, const uint8_t * d, const uint8_t * const * act, float (*c)[16], int ahead) {
        constexpr int C = COLUMNS<T>;
        const uint8x16_t b6 = vdupq_n_u8(0x3f);
        for (int first = 0; first < 4; first += C) {
            int32x4_t sum[C][T] = {};
            for (int i = 0; i < 4 && first == 0; ++i) {
                fetch(w + 64 * i, ahead);
            }
            for (int g = 0; g < 16; ++g) {
                const uint8_t * p = w + 256 + 192 * g + 16 * first;
                if (first == 0) {
                    fetch(p, ahead);
                    fetch(p + 64, ahead);
                    fetch(p + 128, ahead);
                }
#pragma GCC unroll 4
                for (int i = 0; i < C; ++i) {
                    const uint8x16_t l0 = load(p + 16 * i), l1 = load(p + 64 + 16 * i), l2 = load(p + 128 + 16 * i);
                    const uint8x16_t l3 = vorrq_u8(vshrq_n_u8(l0, 6), vorrq_u8(vshlq_n_u8(vshrq_n_u8(l1, 6), 2), vshlq_n_u8(vshrq_n_u8(l2, 6), 4)));
                    const four_lines q = { { vandq_u8(l0, b6), vandq_u8(l1, b6), vandq_u8(l2, b6), l3 } };
                    int32_t scales;
                    memcpy(&scales, w + 16 * g + 4 * (first + i), 4);
                    const int32x4_t s = vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(scales)))));
#pragma GCC unroll 4
                    for (int t = 0; t < T; ++t) {
                        const int32x4_t x = dot(everywhere(act[t] + 272 + 4 * g), q, activations(act[t] + 16 * g));
                        sum[i][t] = vmlaq_s32(sum[i][t], x, s);
                    }
                }
            }
#pragma GCC unroll 4
            for (int i = 0; i < C; ++i) {
                const float32x4_t dw = halves(d + 8 * (first + i));
#pragma GCC unroll 4
                for (int t = 0; t < T; ++t) {
                    add(c[t], first + i, sum[i][t], vmulq_n_f32(dw, scalar(act[t] + 256)));
                }
            }
        }
    }
};

struct q4_0 {
    static constexpr int k_step = 32, act_block = BLOCK_32, bytes = 288, head = 0, group = 4;

    template <int T>
    static INLINE void tile(const uint8_t * w, const uint8_t *, const uint8_t * const * act, float (*c)[16], int ahead) {
        for (int i = 0; i < 4; ++i) {
            fetch(w + 64 * i, ahead);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            const four_lines q = lines(w + 16 * i), l = low_of(q), h = high_of(q);
            const float32x4_t dw = halves(w + 256 + 8 * i);
#pragma GCC unroll 4
            for (int t = 0; t < T; ++t) {
                const int32x4_t x = dot(everywhere(act[t] + 36), l, activations(act[t]));
                const int32x4_t y = dot(vdupq_n_s32(0), h, activations(act[t] + 16));
                add(c[t], i, vaddq_s32(x, y), vmulq_n_f32(dw, scalar(act[t] + 32)));
            }
        }
    }
};

struct q8_0 {
    static constexpr int k_step = 32, act_block = BLOCK_32, bytes = 544, head = 0, group = 4;

    template <int T>
    static INLINE void tile(const uint8_t * w, const uint8_t *, const uint8_t * const * act, float (*c)[16], int ahead) {
        for (int i = 0; i < 8; ++i) {
            fetch(w + 64 * i, ahead);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            const four_lines q0 = lines(w + 16 * i), q1 = lines(w + 256 + 16 * i);
            const float32x4_t dw = halves(w + 512 + 8 * i);
#pragma GCC unroll 4
            for (int t = 0; t < T; ++t) {
                const int32x4_t x = dot(vdupq_n_s32(0), q0, activations(act[t]));
                const int32x4_t y = dot(vdupq_n_s32(0), q1, activations(act[t] + 16));
                add(c[t], i, vaddq_s32(x, y), vmulq_n_f32(dw, scalar(act[t] + 32)));
            }
        }
    }
};

// The scale that takes n values to -127..127, and its inverse. A value that is no number makes the scale one, so that it
// shows in the result; values whose inverse scale is no number are zero to within 1e-36.
INLINE float scale_of(const float * x, int n, float & inverse) {
    uint32x4_t most = vdupq_n_u32(0);
    for (int i = 0; i < n; i += 4) {
        most = vmaxq_u32(most, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + i)), vdupq_n_u32(0x7fffffff)));
    }
    const uint32_t bits = vmaxvq_u32(most);
    float largest;
    memcpy(&largest, &bits, 4);
    inverse = largest > 1e-36f ? 127.0f / largest : 0.0f;
    return largest > 1e-36f || largest != largest ? largest / 127.0f : 0.0f;
}

// 16 values; returns their sum.
INLINE int quantise_16(const float * x, float inverse, uint8_t * q) {
    int32x4_t v[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        v[i] = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4 * i), inverse));
    }
    const int16x8_t low = vcombine_s16(vqmovn_s32(v[0]), vqmovn_s32(v[1])), high = vcombine_s16(vqmovn_s32(v[2]), vqmovn_s32(v[3]));
    const int8x16_t all = vcombine_s8(vqmovn_s16(low), vqmovn_s16(high));
    vst1q_u8(q, vreinterpretq_u8_s8(all));
    return vaddlvq_s8(all);
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
            const int32_t c = -8 * (quantise_16(x, inverse, act) + quantise_16(x + 16, inverse, act + 16));
            memcpy(act + 32, &d, 4);
            memcpy(act + 36, &c, 4);
        }
        return;
    }
    const bool mins = type != GGML_TYPE_Q6_K;
    for (int64_t b = 0; b < k / 256; ++b, x += 256, act += mins ? BLOCK_MIN : BLOCK_Q6) {
        const float d = scale_of(x, 256, inverse);
        memcpy(act + 256, &d, 4);
        for (int i = 0; i < 8; ++i) {
            const int s0 = quantise_16(x + 32 * i, inverse, act + 32 * i), s1 = quantise_16(x + 32 * i + 16, inverse, act + 32 * i + 16);
            if (mins) {
                const int sum = s0 + s1, many = (sum + 64) >> 7;
                act[272 + i] = (uint8_t) (sum - 128 * many);
                act[280 + i] = (uint8_t) many;
            } else {
                const int32_t c[2] = { -32 * s0, -32 * s1 };
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

const panel_kernels panel_kernels_dotprod = { "DOTPROD", 1, PANEL_TOKENS, 0, 0, 1, act_bytes, quantise, mul };

#else
const panel_kernels panel_kernels_dotprod = {};
#endif
