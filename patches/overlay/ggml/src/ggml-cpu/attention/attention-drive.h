// An attention task, the same for every instruction set, in single precision.
//
// `V` is a vector of floats: `lanes`, a `type`, and the functions that are used below. All rows of a task see a tile of 64
// keys, converted once, before the next one. Each row's sums are made in one order, whatever rows are beside it: a tile that
// is skipped because nobody may see it, and one that is not, leave the same bits. The tiles of many queries are those of the cache;
// a single query's hold what it sees.
#pragma once

#include "attention-kernels.h"

#include <string.h>

#define INLINE inline __attribute__((always_inline))

namespace {

constexpr int KEYS = ATTENTION_KEYS, ROWS = ATTENTION_ROWS, GROUP = ATTENTION_GROUP;

const float MINUS_INFINITY = -__builtin_inff();
// Of a half: minus infinity, and what is not its sign
const uint16_t MASKED = 0xfc00, MAGNITUDE = 0x7fff;

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

// c[R][N vectors] = a[R][depth] * b[depth][N vectors], added to c times the row's factor where there are factors.
template <class V, int R, int N>
INLINE void multiply(const float * const * a, const float * b, size_t b_stride, int depth, float * const * c, int column, const float * factors) {
    typename V::type sum[R][N];
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int i = 0; i < N; ++i) {
            sum[r][i] = factors ? V::mul(V::load(c[r] + column + i * V::lanes), V::all(factors[r])) : V::all(0);
        }
    }
    for (int k = 0; k < depth; ++k) {
        typename V::type x[N];
#pragma GCC unroll 4
        for (int i = 0; i < N; ++i) {
            x[i] = V::load(b + k * b_stride + column + i * V::lanes);
        }
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) {
            const auto y = V::all(a[r][k]);
#pragma GCC unroll 4
            for (int i = 0; i < N; ++i) {
                sum[r][i] = V::fma(x[i], y, sum[r][i]);
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int i = 0; i < N; ++i) {
            V::store(c[r] + column + i * V::lanes, sum[r][i]);
        }
    }
}

// The same for n rows, at most R, and `width` columns, a multiple of 16. A row's sums do not depend on how many there are.
template <class V, int R> struct rows_of {
    static void multiply_all(int n, const float * const * a, const float * b, size_t b_stride, int depth, float * const * c,
                             const float * factors, int width) {
        if (n < R) {
            return rows_of<V, R - 1>::multiply_all(n, a, b, b_stride, depth, c, factors, width);
        }
        constexpr int most = V::vectors * V::lanes;
        int i = 0;
        for (; i + most <= width; i += most) {
            multiply<V, R, V::vectors>(a, b, b_stride, depth, c, i, factors);
        }
        for (; i < width; i += V::lanes) {
            multiply<V, R, 1>(a, b, b_stride, depth, c, i, factors);
        }
    }
};

template <class V> struct rows_of<V, 0> {
    static void multiply_all(int, const float * const *, const float *, size_t, int, float * const *, const float *, int) {}
};

// A tile: where its keys and values stand.
struct tile {
    int     n;
    int32_t cells[KEYS];
};

const char * row_of(const attention_cells & cells, const tile & of, int i) {
    return cells.data + of.cells[i] * cells.stride;
}

template <class V> void to_floats(const attention_cells & cells, const tile & of, float * out) {
    for (int i = 0; i < of.n; ++i, out += cells.width) {
        const char * row = row_of(cells, of, i);
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
    memset(out, 0, (KEYS - of.n) * cells.width * sizeof(float));
}

// What a query may see of a tile of keys.
enum sight { NOTHING, SOMETHING, EVERYTHING };

sight sight_of(const char * mask, int n) {
    uint16_t halves[KEYS], unhidden = 0, uneven = 0;
    for (int i = 0; i < KEYS; ++i) {
        halves[i] = MASKED;
    }
    memcpy(halves, mask, 2 * n);
    for (int i = 0; i < KEYS; ++i) {
        unhidden |= halves[i] ^ MASKED;
        uneven |= halves[i] & MAGNITUDE;
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

// The keys' columns from their rows, floats or halves.
template <class V, class From> void transpose(const From * const * rows, int width, float (*columns)[KEYS]) {
    for (int i = 0; i < KEYS; i += V::lanes) {
        for (int d = 0; d < width; d += V::lanes) {
            V::transpose(rows + i, d, &columns[d][i], KEYS);
        }
    }
}

template <class V> void to_columns(const attention_cells & cells, const tile & of, attention_scratch & s) {
    if (cells.type == ATTENTION_F16 && of.n == KEYS) {
        const uint16_t * rows[KEYS];
        for (int i = 0; i < KEYS; ++i) {
            rows[i] = (const uint16_t *) row_of(cells, of, i);
        }
        return transpose<V>(rows, cells.width, s.keys);
    }
    const float * rows[KEYS];
    for (int i = 0; i < KEYS; ++i) {
        rows[i] = s.plain[0] + i * cells.width;
    }
    to_floats<V>(cells, of, s.plain[0]);
    transpose<V>(rows, cells.width, s.keys);
}

// Adds the sums of a part to those of the parts before it.
template <class V> INLINE void add_part(float * all, const float * out, float most, float sum, int width) {
    if (sum == 0) {
        return;    // nothing was seen
    }
    const float largest = most > all[0] ? most : all[0];
    // what is no number has no largest
    const float base = largest == MINUS_INFINITY ? 0 : largest;
    const float before = all[0] == largest ? 1 : V::first(exponential<V>(V::all(all[0] - base)));
    const float now = most == largest ? 1 : V::first(exponential<V>(V::all(most - base)));
    all[0] = largest;
    all[1] = all[1] * before + sum * now;
    for (int d = 0; d < width; d += V::lanes) {
        V::store(all + 2 + d, V::fma(V::load(all + 2 + d), V::all(before), V::mul(V::load(out + d), V::all(now))));
    }
}

INLINE void clear(float * all, int width) {
    memset(all, 0, ATTENTION_SUMS(width) * sizeof(float));
    all[0] = MINUS_INFINITY;
}

// The result of a row from the sums of all keys.
template <class V> INLINE void finish_row(const attention_task & t, int row, float largest, float sum, const float * out) {
    float factor = 1;
    if (t.sinks) {
        // one more key, without a value
        const float sink = t.sinks[row % t.heads], most = sink > largest ? sink : largest;
        factor = V::first(exponential<V>(V::all(largest - most)));
        sum    = sum * factor + V::first(exponential<V>(V::all(sink - most)));
    }
    factor = sum == 0 ? 0 : factor / sum;
    float * to = (float *) (t.out + row / t.heads * t.out_query + row % t.heads * t.out_head);
    for (int d = 0; d < t.values.width; d += V::lanes) {
        V::store(to + d, V::mul(V::load(out + d), V::all(factor)));
    }
}

// A tile's rows: who sees it, and the halves that mask its keys for them, null where all are seen alike.
struct viewers {
    int          n;
    int16_t      rows[ROWS];
    const char * masks[ROWS];
};

template <class V> void add_tile(const attention_task & t, attention_scratch & s, const tile & of, const viewers & by) {
    const int dk = t.keys.width, dv = t.values.width;
    float * const values = s.values[0];
    to_columns<V>(t.keys, of, s);
    to_floats<V>(t.values, of, values);
    for (int r0 = 0; r0 < by.n; r0 += GROUP) {
        const int     some = by.n - r0 < GROUP ? by.n - r0 : GROUP;
        const float * q[GROUP];
        const float * known[GROUP];
        float *       weights[GROUP];
        float *       out[GROUP];
        float         factors[GROUP];
        for (int r = 0; r < some; ++r) {
            q[r]       = s.q[0] + by.rows[r0 + r] * dk;
            out[r]     = s.out[0] + by.rows[r0 + r] * dv;
            known[r]   = s.weights[r];
            weights[r] = s.weights[r];
        }
        rows_of<V, GROUP>::multiply_all(some, q, s.keys[0], KEYS, dk, weights, nullptr, KEYS);
        for (int r = 0; r < some; ++r) {
            const int row = by.rows[r0 + r];
            factors[r] = weigh<V>(s.weights[r], of.n, by.masks[r0 + r], t.slopes[row % t.heads], t.softcap, s.most[row], s.sum[row]);
        }
        rows_of<V, GROUP>::multiply_all(some, known, values, dv, KEYS, out, factors, dv);
    }
}

// All keys, in tiles as they stand.
template <class V> void add_tiles(const attention_task & t, attention_scratch & s) {
    for (int64_t first = 0; first < t.n_keys; first += KEYS) {
        tile    of = { t.n_keys - first < KEYS ? int(t.n_keys - first) : KEYS, {} };
        viewers by = {};
        for (int i = 0; i < of.n; ++i) {
            of.cells[i] = int32_t(first + i);
        }
        for (int i = 0; i < t.queries; ++i) {
            const char * mask = t.mask ? t.mask + i * t.mask_query + 2 * first : nullptr;
            const sight  seen = mask ? sight_of(mask, of.n) : EVERYTHING;
            for (int h = 0; seen != NOTHING && h < t.heads; ++h) {
                by.rows[by.n]    = int16_t(i * t.heads + h);
                by.masks[by.n++] = seen == EVERYTHING ? nullptr : mask;
            }
        }
        if (by.n > 0) {
            add_tile<V>(t, s, of, by);
        }
    }
}

// Goes over the keys that the first query sees.
struct gatherer {
    const attention_task & t;
    int64_t                at = 0;

    uint16_t mask() const {
        uint16_t half = 0;
        if (t.mask) {
            memcpy(&half, t.mask + 2 * at, 2);
        }
        return half;
    }

    // Of the keys from here to the next multiple of KEYS
    int seen() const {
        const int n = block();
        int       count = n;
        if (t.mask) {
            uint16_t halves[KEYS];
            memcpy(halves, t.mask + 2 * at, 2 * n);
            count = 0;
            for (int i = 0; i < n; ++i) {
                count += halves[i] != MASKED;
            }
        }
        return count;
    }

    int block() const {
        const int64_t end = (at / KEYS + 1) * KEYS;
        return int((end < t.n_keys ? end : t.n_keys) - at);
    }

    // How many are passed, at most n
    int64_t skip(int64_t n) {
        int64_t passed = 0;
        while (passed < n && at < t.n_keys) {
            const int count = seen();
            if (count <= n - passed) {
                passed += count;
                at += block();
            } else {
                passed += mask() != MASKED;
                ++at;
            }
        }
        return passed;
    }

    // The next ones, and their masks; whether all are seen alike
    bool next(tile & of, uint16_t * masks) {
        uint16_t uneven = 0;
        of.n = 0;
        while (of.n < KEYS && at < t.n_keys) {
            if (at % KEYS == 0 && seen() == 0) {
                at += block();
                continue;
            }
            const uint16_t half = mask();
            if (half != MASKED) {
                of.cells[of.n] = int32_t(at);
                masks[of.n++]  = half;
                uneven |= half & MAGNITUDE;
            }
            ++at;
        }
        return uneven == 0;
    }
};

int64_t parts_of(const attention_task & t) {
    return (gatherer{ t }.skip(t.n_keys) + ATTENTION_PART - 1) / ATTENTION_PART;
}

INLINE void begin_sums(attention_scratch & s, int rows, int width) {
    memset(s.out, 0, rows * width * sizeof(float));
    for (int r = 0; r < rows; ++r) {
        s.most[r] = MINUS_INFINITY;
        s.sum[r]  = 0;
    }
}

// The keys that one query sees, by parts, which go to t.sums or are added up.
template <class V> void add_gathered(const attention_task & t, attention_scratch & s) {
    const int     dv = t.values.width, sums = ATTENTION_SUMS(dv);
    const int64_t parts = parts_of(t), last = parts * (t.slice + 1) / t.slices;
    int64_t       part = parts * t.slice / t.slices;
    gatherer      keys{ t };
    keys.skip(part * ATTENTION_PART);
    for (; part < last; ++part) {
        begin_sums(s, t.heads, dv);
        for (int done = 0; done < ATTENTION_PART; done += KEYS) {
            tile       of;
            uint16_t   masks[KEYS];
            const bool alike = keys.next(of, masks);
            viewers    by;
            by.n = t.heads;
            for (int r = 0; r < t.heads; ++r) {
                by.rows[r]  = int16_t(r);
                by.masks[r] = alike ? nullptr : (const char *) masks;
            }
            if (of.n > 0) {
                add_tile<V>(t, s, of, by);
            }
        }
        for (int r = 0; r < t.heads; ++r) {
            const float * out = s.out[0] + r * dv;
            if (t.sums) {
                float * to = t.sums + part * t.part_stride + r * sums;
                to[0] = s.most[r];
                to[1] = s.sum[r];
                memcpy(to + 2, out, dv * sizeof(float));
            } else {
                add_part<V>(s.all[r], out, s.most[r], s.sum[r], dv);
            }
        }
    }
}

template <class V> void run_attention(const attention_task * task, attention_scratch * scratch) {
    attention_scratch & s = *scratch;
    const attention_task & t = *task;
    const int dk = t.keys.width, dv = t.values.width, rows = t.queries * t.heads;
    for (int r = 0; r < rows; ++r) {
        const float * from = (const float *) (t.q + r / t.heads * t.q_query + r % t.heads * t.q_head);
        for (int d = 0; d < dk; d += V::lanes) {
            V::store(s.q[0] + r * dk + d, V::mul(V::load(from + d), V::all(t.scale)));
        }
    }
    if (t.gathered) {
        for (int r = 0; r < rows; ++r) {
            clear(s.all[r], dv);
        }
        add_gathered<V>(t, s);
        for (int r = 0; r < rows && !t.sums; ++r) {
            finish_row<V>(t, r, s.all[r][0], s.all[r][1], s.all[r] + 2);
        }
        return;
    }
    begin_sums(s, rows, dv);
    add_tiles<V>(t, s);
    for (int r = 0; r < rows; ++r) {
        finish_row<V>(t, r, s.most[r], s.sum[r], s.out[0] + r * dv);
    }
}

template <class V> void finish_attention(const attention_task * task, attention_scratch * scratch) {
    const attention_task & t = *task;
    const int     dv = t.values.width, sums = ATTENTION_SUMS(dv);
    const int64_t parts = parts_of(t);
    float * const all = scratch->all[0];
    for (int r = 0; r < t.heads; ++r) {
        clear(all, dv);
        for (int64_t part = 0; part < parts; ++part) {
            const float * from = t.sums + part * t.part_stride + r * sums;
            add_part<V>(all, from + 2, from[0], from[1], dv);
        }
        finish_row<V>(t, r, all[0], all[1], all + 2);
    }
}

}  // namespace
