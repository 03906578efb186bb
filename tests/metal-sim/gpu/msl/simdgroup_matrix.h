// 8×8 matrices spread over the 32 lanes of a simdgroup, two elements a lane, laid out as on Apple's GPUs.
#pragma once

#include "simdgroup.h"

namespace msl {

// Row and first column of a lane's two elements.
MSL_UNHOOKED MSL_INLINE void matrix_place(unsigned lane, unsigned & row, unsigned & column) {
    const unsigned quad = lane / 4;
    row = (quad & 4) + lane / 2 % 4;
    column = (quad & 2) * 2 + lane % 2 * 2;
}

struct multiply_arguments {
    float a[2];
    float b[2];
    float c[2];
};

MSL_UNHOOKED __attribute__((noinline, unused)) static void multiply_accumulate(simdgroup * g, uint64_t mask) {
    float a[8][8] = {};
    float b[8][8] = {};
    float d[8][8] = {};
    for (uint64_t m = mask; m; m &= m - 1) {
        unsigned row, column;
        matrix_place(lowest(m), row, column);
        const auto & x = in<multiply_arguments>(g, lowest(m));
        for (int k = 0; k < 2; ++k) {
            a[row][column + k] = x.a[k];
            b[row][column + k] = x.b[k];
            d[row][column + k] = x.c[k];
        }
    }
    for (int i = 0; i < 8; ++i) {
        for (int k = 0; k < 8; ++k) {
            for (int j = 0; j < 8; ++j) {
                d[i][j] = __builtin_fmaf(a[i][k], b[k][j], d[i][j]);
            }
        }
    }
    for (uint64_t m = mask; m; m &= m - 1) {
        unsigned row, column;
        matrix_place(lowest(m), row, column);
        float * o = &out<float>(g, lowest(m));
        o[0] = d[row][column];
        o[1] = d[row][column + 1];
    }
}

} // namespace msl

namespace metal {

template <class T, int C = 8, int R = C> struct simdgroup_matrix {
    vec<T, 2> te;

    simdgroup_matrix() = default;
    explicit simdgroup_matrix(T diagonal) {
        unsigned row, column;
        msl::matrix_place(msl::this_lane(), row, column);
        te[0] = row == column ? diagonal : T(0);
        te[1] = row == column + 1 ? diagonal : T(0);
    }
    vec<T, 2> & thread_elements() { return te; }
    const vec<T, 2> & thread_elements() const { return te; }
};
typedef simdgroup_matrix<float> simdgroup_float8x8;
typedef simdgroup_matrix<half> simdgroup_half8x8;
typedef simdgroup_matrix<bfloat> simdgroup_bfloat8x8;

template <class T, int C, int R = C> inline simdgroup_matrix<T, C, R> make_filled_simdgroup_matrix(T v) {
    simdgroup_matrix<T, C, R> m;
    m.te = vec<T, 2>(v);
    return m;
}

template <class D, class A, class B, class C>
MSL_INLINE void simdgroup_multiply_accumulate(simdgroup_matrix<D> & d, const simdgroup_matrix<A> & a,
                                              const simdgroup_matrix<B> & b, const simdgroup_matrix<C> & c) {
    msl::multiply_arguments arguments = {
        {float(a.te[0]), float(a.te[1])}, {float(b.te[0]), float(b.te[1])}, {float(c.te[0]), float(c.te[1])}};
    float result[2];
    msl::meet(&msl::multiply_accumulate, &arguments, result);
    d.te[0] = D(result[0]);
    d.te[1] = D(result[1]);
}
template <class D, class A, class B>
MSL_INLINE void simdgroup_multiply(simdgroup_matrix<D> & d, const simdgroup_matrix<A> & a,
                                   const simdgroup_matrix<B> & b) {
    simdgroup_matrix<D> zero;
    zero.te = vec<D, 2>(0);
    simdgroup_multiply_accumulate(d, a, b, zero);
}

// Offset of the first of a lane's two elements, and the step to the second.
MSL_INLINE ulong matrix_offset(ulong stride, ulong2 origin, bool transpose, ulong & step) {
    unsigned row, column;
    msl::matrix_place(msl::this_lane(), row, column);
    step = transpose ? stride : 1;
    const ulong y = (transpose ? column : row) + origin[1];
    const ulong x = (transpose ? row : column) + origin[0];
    return y * stride + x;
}
template <class T, class P>
MSL_INLINE void simdgroup_load(simdgroup_matrix<T> & m, const P * p, ulong stride = 8, ulong2 origin = 0,
                               bool transpose = false) {
    static_assert(is_same_v<T, P>, "the elements in memory have the type of the matrix");
    ulong step;
    const ulong at = matrix_offset(stride, origin, transpose, step);
    m.te[0] = p[at];
    m.te[1] = p[at + step];
}
template <class T, class P>
MSL_INLINE void simdgroup_store(const simdgroup_matrix<T> & m, P * p, ulong stride = 8, ulong2 origin = 0,
                                bool transpose = false) {
    static_assert(is_same_v<T, P>, "the elements in memory have the type of the matrix");
    ulong step;
    const ulong at = matrix_offset(stride, origin, transpose, step);
    p[at] = m.te[0];
    p[at + step] = m.te[1];
}

} // namespace metal
