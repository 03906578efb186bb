// An attention task, the same for every instruction set, in single precision.
//
// `V` is a vector of floats: `lanes`, a `type`, and the functions that are used below. All rows of a task see a tile of 64
// keys, converted once, before the next one. Each row's sums are made in one order, whatever rows are beside it: a tile that
// is skipped because nobody may see it, and one that is not, leave the same bits.
#pragma once

#include "attention-kernels.h"

#include <string.h>

#define INLINE inline __attribute__((always_inline))

namespace {

constexpr int KEYS = ATTENTION_KEYS, ROWS = ATTENTION_ROWS, GROUP = ATTENTION_GROUP;

const float MINUS_INFINITY = -__builtin_inff();

// e^x for x <= 88, to within two units in the last place; 0 below -87.
template <class V> INLINE typename V::type exponential(typename V::type x) {
    const auto lowest = V::all(-87);
    // what is no number stays none: the second operand is taken then
    const auto bounded = V::max(lowest, x);
    const auto n = V::round(V::mul(bounded, V::all(1.44269504f)));
    // ln 2 in two parts, the first with zeros at its end, so that n times it is exact
    auto r = V::fma(n, V::all(-0.693359375f), bounded);
    r = V::fma(n, V::all(2.12194440e-4f), r);
    auto p = V::all(1.0f / 5040);
    p = V::fma(p, r, V::all(1.0f / 720));
    p = V::fma(p, r, V::all(1.0f / 120));
    p = V::fma(p, r, V::all(1.0f / 24));
    p = V::fma(p, r, V::all(1.0f / 6));
    p = V::fma(p, r, V::all(0.5f));
    p = V::fma(p, r, V::all(1));
    p = V::fma(p, r, V::all(1));
    return V::zero_below(V::times_power_of_2(p, n), x, lowest);
}

// cap * tanh(x), by tanh x = 1 - 2 / (e^2x + 1)
template <class V> INLINE typename V::type capped(typename V::type x, float cap) {
    const auto e = exponential<V>(V::min(V::all(60), V::add(x, x)));
    return V::mul(V::all(cap), V::sub(V::all(1), V::div(V::all(2), V::add(e, V::all(1)))));
}

// c[GROUP][N vectors] = a[GROUP][depth] * b[depth][N vectors], added to c times the row's factor where there are factors.
template <class V, int N>
INLINE void multiply(const float * a, size_t a_stride, const float * b, size_t b_stride, int depth, float * c, size_t c_stride,
                     const float * factors) {
    typename V::type sum[GROUP][N];
#pragma GCC unroll 6
    for (int r = 0; r < GROUP; ++r) {
#pragma GCC unroll 4
        for (int i = 0; i < N; ++i) {
            sum[r][i] = factors ? V::mul(V::load(c + r * c_stride + i * V::lanes), V::all(factors[r])) : V::all(0);
        }
    }
    for (int k = 0; k < depth; ++k) {
        typename V::type x[N];
#pragma GCC unroll 4
        for (int i = 0; i < N; ++i) {
            x[i] = V::load(b + k * b_stride + i * V::lanes);
        }
#pragma GCC unroll 6
        for (int r = 0; r < GROUP; ++r) {
            const auto y = V::all(a[r * a_stride + k]);
#pragma GCC unroll 4
            for (int i = 0; i < N; ++i) {
                sum[r][i] = V::fma(x[i], y, sum[r][i]);
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < GROUP; ++r) {
#pragma GCC unroll 4
        for (int i = 0; i < N; ++i) {
            V::store(c + r * c_stride + i * V::lanes, sum[r][i]);
        }
    }
}

// The same for `width` columns, a multiple of 16.
template <class V>
void multiply_all(const float * a, size_t a_stride, const float * b, size_t b_stride, int depth, float * c, size_t c_stride,
                  const float * factors, int width) {
    constexpr int most = V::vectors * V::lanes;
    int i = 0;
    for (; i + most <= width; i += most) {
        multiply<V, V::vectors>(a, a_stride, b + i, b_stride, depth, c + i, c_stride, factors);
    }
    for (; i < width; i += V::lanes) {
        multiply<V, 1>(a, a_stride, b + i, b_stride, depth, c + i, c_stride, factors);
    }
}

template <class V> void to_floats(const attention_cells & cells, int64_t first, int n, float * out) {
    for (int i = 0; i < n; ++i, out += cells.width) {
        const char * row = cells.data + (first + i) * cells.stride;
        switch (cells.type) {
            case ATTENTION_F16:
                for (int d = 0; d < cells.width; d += V::lanes) {
                    V::store(out + d, V::halves(row + 2 * d));
                }
                break;
            case ATTENTION_F32: memcpy(out, row, cells.width * sizeof(float)); break;
            case ATTENTION_OTHER: cells.to_float(row, out, cells.width); break;
        }
    }
    memset(out, 0, (KEYS - n) * cells.width * sizeof(float));
}

// What a query may see of a tile of keys.
enum sight { NOTHING, SOMETHING, EVERYTHING };

sight sight_of(const char * mask, int n) {
    uint16_t halves[KEYS], unhidden = 0, uneven = 0;
    const uint16_t minus_infinity = 0xfc00, magnitude = 0x7fff;
    for (int i = 0; i < KEYS; ++i) {
        halves[i] = minus_infinity;
    }
    memcpy(halves, mask, 2 * n);
    for (int i = 0; i < KEYS; ++i) {
        unhidden |= halves[i] ^ minus_infinity;
        uneven |= halves[i] & magnitude;
    }
    return uneven == 0 ? EVERYTHING : unhidden ? SOMETHING : NOTHING;
}

// One row's weights of n keys, from their scores: e^(score - most), where `most` is the largest so far. Returns what the
// row's earlier sums are to be multiplied by.
template <class V> INLINE float weigh(float * scores, int n, const char * mask, float slope, float softcap, float & most, float & sum) {
    typename V::type s[KEYS / V::lanes];
    auto largest = V::all(MINUS_INFINITY);
#pragma GCC unroll 8
    for (int i = 0; i < KEYS / V::lanes; ++i) {
        s[i] = V::load(scores + i * V::lanes);
        if (softcap != 0) {
            s[i] = capped<V>(s[i], softcap);
        }
    }
    if (n < KEYS) {
        alignas(64) float beyond[KEYS];
        for (int i = 0; i < KEYS; ++i) {
            beyond[i] = i < n ? 0 : MINUS_INFINITY;
        }
#pragma GCC unroll 8
        for (int i = 0; i < KEYS / V::lanes; ++i) {
            s[i] = V::add(s[i], V::load(beyond + i * V::lanes));
        }
    }
    if (mask) {
        // a row of the mask may end where the keys do
        uint16_t halves[KEYS] = {};
        memcpy(halves, mask, 2 * n);
#pragma GCC unroll 8
        for (int i = 0; i < KEYS / V::lanes; ++i) {
            s[i] = V::fma(V::halves((const char *) (halves + i * V::lanes)), V::all(slope), s[i]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < KEYS / V::lanes; ++i) {
        largest = V::max(s[i], largest);
    }
    float now = V::largest(largest);
    now = now > most ? now : most;
    // who has seen nothing yet has no largest
    const float  base = now == MINUS_INFINITY ? 0 : now;
    const float  factor = most == now ? 1 : V::first(exponential<V>(V::all(most - base)));
    auto         total = V::all(0);
#pragma GCC unroll 8
    for (int i = 0; i < KEYS / V::lanes; ++i) {
        s[i] = exponential<V>(V::sub(s[i], V::all(base)));
        V::store(scores + i * V::lanes, s[i]);
        total = V::add(total, s[i]);
    }
    sum = sum * factor + V::total(total);
    most = now;
    return factor;
}

// The keys' columns from their rows.
template <class V> void transpose(const float * rows, int width, float (*columns)[KEYS]) {
    for (int d = 0; d < width; d += V::lanes) {
        for (int i = 0; i < KEYS; i += V::lanes) {
            V::transpose(rows + i * width + d, width, &columns[d][i], KEYS);
        }
    }
}

template <class V> void run_attention(const attention_task * task, attention_scratch * scratch) {
    attention_scratch & s = *scratch;
    const attention_task & t = *task;
    const int dk = t.keys.width, dv = t.values.width, rows = t.queries * t.heads, padded = (rows + GROUP - 1) / GROUP * GROUP;
    float * const q = s.q[0], * const out = s.out[0], * const values = s.values[0];

    memset(q + rows * dk, 0, (padded - rows) * dk * sizeof(float));
    memset(out, 0, padded * dv * sizeof(float));
    for (int r = 0; r < padded; ++r) {
        s.most[r] = MINUS_INFINITY;
        s.sum[r]  = 0;
    }
    for (int r = 0; r < rows; ++r) {
        const float * from = (const float *) (t.q + r / t.heads * t.q_query + r % t.heads * t.q_head);
        for (int d = 0; d < dk; d += V::lanes) {
            V::store(q + r * dk + d, V::mul(V::load(from + d), V::all(t.scale)));
        }
    }

    for (int64_t first = 0; first < t.n_keys; first += KEYS) {
        const int n = t.n_keys - first < KEYS ? int(t.n_keys - first) : KEYS;
        sight     seen[ROWS];
        bool      any = false;
        for (int i = 0; i < t.queries; ++i) {
            seen[i] = t.mask ? sight_of(t.mask + i * t.mask_query + 2 * first, n) : EVERYTHING;
            any |= seen[i] != NOTHING;
        }
        if (!any) {
            continue;
        }
        to_floats<V>(t.keys, first, n, s.plain[0]);
        transpose<V>(s.plain[0], dk, s.keys);
        to_floats<V>(t.values, first, n, values);

        for (int r0 = 0; r0 < padded; r0 += GROUP) {
            const int last = r0 + GROUP < rows ? r0 + GROUP : rows;
            bool      needed = false;
            for (int i = r0 / t.heads; i <= (last - 1) / t.heads; ++i) {
                needed |= seen[i] != NOTHING;
            }
            if (!needed) {
                continue;
            }
            multiply_all<V>(q + r0 * dk, dk, s.keys[0], KEYS, dk, s.weights[0], KEYS, nullptr, KEYS);
            float factors[GROUP];
            for (int r = 0; r < GROUP; ++r) {
                const int    row = r0 + r, i = row < rows ? row / t.heads : 0;
                const char * mask = t.mask && row < rows && seen[i] != EVERYTHING ? t.mask + i * t.mask_query + 2 * first : nullptr;
                factors[r] = weigh<V>(s.weights[r], n, mask, t.slopes[row % t.heads], t.softcap, s.most[row], s.sum[row]);
            }
            multiply_all<V>(s.weights[0], KEYS, values, dv, KEYS, out + r0 * dv, dv, factors, dv);
        }
    }

    for (int r = 0; r < rows; ++r) {
        float factor = 1;
        if (t.sinks) {
            // one more key, without a value
            const float sink = t.sinks[r % t.heads], most = sink > s.most[r] ? sink : s.most[r];
            factor   = V::first(exponential<V>(V::all(s.most[r] - most)));
            s.sum[r] = s.sum[r] * factor + V::first(exponential<V>(V::all(sink - most)));
        }
        factor = s.sum[r] == 0 ? 0 : factor / s.sum[r];
        float * to = (float *) (t.out + r / t.heads * t.out_query + r % t.heads * t.out_head);
        for (int d = 0; d < dv; d += V::lanes) {
            V::store(to + d, V::mul(V::load(out + r * dv + d), V::all(factor)));
        }
    }
}

}  // namespace
