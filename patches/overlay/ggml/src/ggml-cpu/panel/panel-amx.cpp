// Products of many tokens with AMX: weights become bf16, four panels at a time, and stay in the nearest caches while the
// tokens pass. bf16 and not int8, because scales change every 32 k or sooner: int8 would take a sum out of the tiles and
// scale it that often, bf16 takes scales and mins while it unpacks.
//
// A tile of weights holds 32 k of 16 rows, pairs of k beside each other; a tile of activations 16 tokens of 32 k, so that
// the sums come out in the order of the result. All tiles stand in memory as they are loaded, one stream of lines: rows that
// are a page apart would be fetched by nobody before they are needed.
#include "panel-drive.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && defined(__AVX512VBMI__) && defined(__AVX512BF16__) && defined(__AMX_TILE__) && defined(__AMX_BF16__)

#include "panel-amx.h"
#include "panel-avx512.h"

namespace {

// What is unpacked before the tokens pass: DEPTH k of WIDTH panels, 64 KiB. More panels read the activations fewer times, more k
// the sums.
constexpr int DEPTH = 512, WIDTH = 4;
// Panels whose products are made before the next DEPTH k are taken up: those k of all tokens are 512 KiB, and come from the
// second-level cache: they are fetched while the DEPTH k before are multiplied. The sums are 512 KiB.
constexpr int CHUNK = 16;
// Enough to make up for the unpacking
constexpr int TOKENS = 512;
// Tokens that are multiplied at once, and whose activations form a block
constexpr int BLOCK = 32;
// So that all pairs of a chunk together fetch a block's next DEPTH k.
constexpr int LINES_A_STEP = (2 * BLOCK * DEPTH / 64) / (CHUNK / 2 * (DEPTH / 32));

// What belongs to a row, twice: of the rows 0 to 7, and of 8 to 15, as the pairs of a tile's line come.
struct by_pairs {
    __m512 half[2];

    INLINE by_pairs(__m512 rows) {
        const __m512i low = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
        half[0] = _mm512_permutexvar_ps(low, rows);
        half[1] = _mm512_permutexvar_ps(_mm512_add_epi32(low, _mm512_set1_epi32(8)), rows);
    }
};

// scale * v - min for four unsigned bytes a lane, to two lines of a tile. A byte goes to where its pair is before it becomes a
// float, so that the halves need no order afterwards.
INLINE void unpack_4(__m512i v, const by_pairs & scale, const by_pairs & min, uint8_t * line) {
    const __mmask64 lowest = 0x1111111111111111;
    // the bytes 0 and 1 of the lanes 0 to 7, each to a lane of its own
    const __m512i pairs = _mm512_set_epi32(29, 28, 25, 24, 21, 20, 17, 16, 13, 12, 9, 8, 5, 4, 1, 0);
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
        __m512 f[2];
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half) {
            const __m512i bytes = _mm512_maskz_permutexvar_epi8(lowest, _mm512_add_epi32(pairs, _mm512_set1_epi32(2 * i + 32 * half)), v);
            f[half] = _mm512_fmsub_ps(_mm512_cvtepi32_ps(bytes), scale.half[half], min.half[half]);
        }
        _mm512_store_si512(line + 64 * i, (__m512i) _mm512_cvtne2ps_pbh(f[1], f[0]));
    }
}

struct q4_k {
    static constexpr int k_step = 256, bytes = 2304, head = 0;

    static INLINE void unpack(const uint8_t * w, const uint8_t *, uint8_t * out) {
        const __m512i       b4 = _mm512_set1_epi8(0x0f);
        const packed_scales x = scales_of(w + 2048);
        const __m512        d = halves(w + 2240), dmin = halves(w + 2272);
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
            const by_pairs s0 = _mm512_mul_ps(d, byte_of_lanes(x.scales[j / 2], 2 * j % 4)), s1 = _mm512_mul_ps(d, byte_of_lanes(x.scales[j / 2], 2 * j % 4 + 1));
            const by_pairs m0 = _mm512_mul_ps(dmin, byte_of_lanes(x.mins[j / 2], 2 * j % 4)), m1 = _mm512_mul_ps(dmin, byte_of_lanes(x.mins[j / 2], 2 * j % 4 + 1));
            for (int i = 0; i < 8; ++i) {
                const __m512i q = load(w + 512 * j + 64 * i);
                unpack_4(_mm512_and_si512(q, b4), s0, m0, out + 2048 * j + 128 * i);
                unpack_4(_mm512_and_si512(_mm512_srli_epi16(q, 4), b4), s1, m1, out + 2048 * j + 1024 + 128 * i);
            }
        }
    }
};

struct q5_k {
    static constexpr int k_step = 256, bytes = 2816, head = 0;

    static INLINE void unpack(const uint8_t * w, const uint8_t *, uint8_t * out) {
        const packed_scales x = scales_of(w + 2560);
        const __m512        d = halves(w + 2752), dmin = halves(w + 2784);
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
            const by_pairs s0 = _mm512_mul_ps(d, byte_of_lanes(x.scales[j / 2], 2 * j % 4)), s1 = _mm512_mul_ps(d, byte_of_lanes(x.scales[j / 2], 2 * j % 4 + 1));
            const by_pairs m0 = _mm512_mul_ps(dmin, byte_of_lanes(x.mins[j / 2], 2 * j % 4)), m1 = _mm512_mul_ps(dmin, byte_of_lanes(x.mins[j / 2], 2 * j % 4 + 1));
#pragma GCC unroll 8
            for (int i = 0; i < 8; ++i) {
                const five_bits q = fives_of(load(w + 640 * j + 64 * i), load(w + 640 * j + 512 + 64 * (i / 4)), i % 4);
                unpack_4(q.low, s0, m0, out + 2048 * j + 128 * i);
                unpack_4(q.high, s1, m1, out + 2048 * j + 1024 + 128 * i);
            }
        }
    }
};

struct q6_k {
    static constexpr int k_step = 256, bytes = 3328, head = 32;

    static INLINE void unpack(const uint8_t * w, const uint8_t * d, uint8_t * out) {
        const __m512 dw = halves(d);
        for (int g = 0; g < 16; ++g) {
            const six_bits q = sixes_of(w + 256 + 192 * g);
            const __m512   s = _mm512_mul_ps(dw, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *) (w + 16 * g)))));
            const by_pairs scale = s, min = _mm512_mul_ps(s, _mm512_set1_ps(32));
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) {
                unpack_4(q.v[i], scale, min, out + 512 * g + 128 * i);
            }
        }
    }
};

struct q4_0 {
    static constexpr int k_step = 32, bytes = 288, head = 0;

    static INLINE void unpack(const uint8_t * w, const uint8_t *, uint8_t * out) {
        const __m512i b4 = _mm512_set1_epi8(0x0f);
        const __m512  s = halves(w + 256);
        const by_pairs scale = s, min = _mm512_mul_ps(s, _mm512_set1_ps(8));
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            const __m512i q = load(w + 64 * i);
            unpack_4(_mm512_and_si512(q, b4), scale, min, out + 128 * i);
            unpack_4(_mm512_and_si512(_mm512_srli_epi16(q, 4), b4), scale, min, out + 512 + 128 * i);
        }
    }
};

struct q8_0 {
    static constexpr int k_step = 32, bytes = 544, head = 0;

    static INLINE void unpack(const uint8_t * w, const uint8_t *, uint8_t * out) {
        const __m512i sign = _mm512_set1_epi8((char) 0x80);
        const __m512  s = halves(w + 512);
        const by_pairs scale = s, min = _mm512_mul_ps(s, _mm512_set1_ps(128));
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i) {
            unpack_4(_mm512_xor_si512(load(w + 64 * i), sign), scale, min, out + 128 * i);
        }
    }
};

// A tile of sums: 16 tokens of 16 rows.
typedef float tile_sums[16][PANEL_ROWS];

// c[two panels][two halves of 32 tokens] += a * b over steps * 32 k; the panels of b are `panel` bytes apart. Meanwhile lines of
// activations from `next` on come to the second-level cache.
INLINE void multiply(const uint8_t * a, const uint8_t * b, size_t panel, tile_sums (*c)[2], int steps, bool first, const uint8_t * next) {
    if (first) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, c[0][0], 64);
        _tile_loadd(1, c[1][0], 64);
        _tile_loadd(2, c[0][1], 64);
        _tile_loadd(3, c[1][1], 64);
    }
    for (int s = 0; s < steps; ++s) {
        for (int i = 0; i < LINES_A_STEP; ++i) {
            _mm_prefetch((const char *) next + 64 * (LINES_A_STEP * s + i), _MM_HINT_T1);
        }
        _tile_loadd(4, a + 2048 * s, 64);
        _tile_loadd(6, b + 1024 * s, 64);
        _tile_loadd(7, b + panel + 1024 * s, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + 2048 * s + 1024, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c[0][0], 64);
    _tile_stored(1, c[1][0], 64);
    _tile_stored(2, c[0][1], 64);
    _tile_stored(3, c[1][1], 64);
}

// The lines between keep the two operands from the same places of the caches, which makes loads of
// tiles four times slower.
struct alignas(64) scratch {
    uint8_t   weights[WIDTH][DEPTH * 32 + 64];
    tile_sums sums[CHUNK / WIDTH][TOKENS / BLOCK][WIDTH][2];
};

// Of bf16, and a line, without which the blocks would be whole powers of two apart: the same k of 16 of them would fall to the same
// places of the second-level cache and fill those.
size_t act_bytes(enum ggml_type, int64_t k) {
    return k * 2 + 64;
}

template <class Kernel>
void products(const uint8_t * panels, size_t stride, int64_t k, int64_t n_rows, int64_t p0, int64_t p1, const uint8_t * act,
              float * const * out, int n, scratch & s) {
    const size_t  panel = sizeof(s.weights[0]), block = BLOCK * act_bytes(GGML_TYPE_F32, k);
    const int64_t tiles = k / Kernel::k_step;
    // all of 16 rows of 64 bytes
    configure({ { { 16, 64 }, { 16, 64 }, { 16, 64 }, { 16, 64 }, { 16, 64 }, { 16, 64 }, { 16, 64 }, { 16, 64 } } });
    for (int64_t pc = p0; pc < p1; pc += CHUNK) {
        const int chunk = p1 - pc < CHUNK ? int(p1 - pc) : CHUNK;
        for (int64_t k0 = 0; k0 < k; k0 += DEPTH) {
            const int     depth = k - k0 < DEPTH ? int(k - k0) : DEPTH;
            const int64_t next  = k0 + depth < k ? k0 + depth : 0;
            for (int g = 0; g < chunk; g += WIDTH) {
                const int width = chunk - g < WIDTH ? chunk - g : WIDTH;
                for (int i = 0; i < width; ++i) {
                    const uint8_t * d = panels + (pc + g + i) * stride;
                    const uint8_t * w = d + PANEL_LINES(tiles * Kernel::head);
                    for (int64_t b = k0 / Kernel::k_step; b * Kernel::k_step < k0 + depth; ++b) {
                        Kernel::unpack(w + b * Kernel::bytes, d + b * Kernel::head, s.weights[i] + (b * Kernel::k_step - k0) * 32);
                    }
                }
                // the second panel of an odd pair holds what was there before: its sums are not used
                for (int t = 0; t * BLOCK < n; ++t) {
                    const uint8_t * const a = act + t * block;
                    for (int i = 0; i < width; i += 2) {
                        const int pair = (g + i) / 2;
                        multiply(a + k0 * 2 * BLOCK, s.weights[i], panel, s.sums[g / WIDTH][t] + i, depth / 32, k0 == 0,
                                 a + next * 2 * BLOCK + pair * (DEPTH / 32 * LINES_A_STEP * 64));
                    }
                }
            }
        }
        // token by token: the rows of a result may be pages apart
        for (int t = 0; t < n; ++t) {
            for (int i = 0; i < chunk; ++i) {
                const int64_t r = (pc + i) * PANEL_ROWS;
                panel_store(out[t] + r, s.sums[i / WIDTH][t / BLOCK][i % WIDTH][t % BLOCK / 16][t % 16], n_rows - r);
            }
        }
    }
    _tile_release();
}

void quantise(enum ggml_type, const float * x, int64_t k, uint8_t * act) {
    for (int64_t i = 0; i < k; i += 32, act += 64 * BLOCK) {
        _mm512_storeu_si512(act, (__m512i) _mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + i + 16), _mm512_loadu_ps(x + i)));
    }
}

void mul(enum ggml_type type, const uint8_t * panels, int64_t k, int64_t n_rows, int64_t p0, int64_t p1,
         const uint8_t * const * act, float * const * out, int n, void * lent) {
    scratch &    s = *static_cast<scratch *>(lent);
    const size_t stride = panel_bytes(type, k);
    switch (type) {
        case GGML_TYPE_Q4_K: return products<q4_k>(panels, stride, k, n_rows, p0, p1, act[0], out, n, s);
        case GGML_TYPE_Q5_K: return products<q5_k>(panels, stride, k, n_rows, p0, p1, act[0], out, n, s);
        case GGML_TYPE_Q6_K: return products<q6_k>(panels, stride, k, n_rows, p0, p1, act[0], out, n, s);
        case GGML_TYPE_Q4_0: return products<q4_0>(panels, stride, k, n_rows, p0, p1, act[0], out, n, s);
        case GGML_TYPE_Q8_0: return products<q8_0>(panels, stride, k, n_rows, p0, p1, act[0], out, n, s);
        default:             return;
    }
}

}  // namespace

// From 64 tokens on: bf16 rounds otherwise than the 8-bit activations of the other kernels, and tokens that are decoded
// together, which are fewer, shall get what each gets alone.
const panel_kernels panel_kernels_amx = { "AMX_BF16", 64, TOKENS, sizeof(scratch), CHUNK, BLOCK, act_bytes, quantise, mul };

#else
const panel_kernels panel_kernels_amx = {};
#endif
