// Matrices of C columns and R rows, stored by column.
#pragma once

#include "vector.h"

namespace metal {

template <class T, int C, int R> struct matrix {
    vec<T, R> c[C];

    matrix() = default;
    template <scalar S> explicit matrix(S s) {
        for (int i = 0; i < C; ++i) {
            for (int j = 0; j < R; ++j) {
                c[i][j] = i == j ? T(s) : T(0);
            }
        }
    }
    template <class U> requires(!is_same_v<U, T>) explicit matrix(const matrix<U, C, R> & o) {
        for (int i = 0; i < C; ++i) {
            c[i] = vec<T, R>(o.c[i]);
        }
    }
    matrix(vec<T, R> a, vec<T, R> b) requires(C == 2) : c{a, b} {}
    matrix(vec<T, R> a, vec<T, R> b, vec<T, R> d) requires(C == 3) : c{a, b, d} {}
    matrix(vec<T, R> a, vec<T, R> b, vec<T, R> d, vec<T, R> f) requires(C == 4) : c{a, b, d, f} {}

    vec<T, R> & operator[](int i) { return c[i]; }
    const vec<T, R> & operator[](int i) const { return c[i]; }

    friend matrix operator+(matrix a, matrix b) {
        for (int i = 0; i < C; ++i) {
            a.c[i] += b.c[i];
        }
        return a;
    }
    friend matrix operator-(matrix a, matrix b) {
        for (int i = 0; i < C; ++i) {
            a.c[i] -= b.c[i];
        }
        return a;
    }
    friend matrix operator*(matrix a, T b) {
        for (int i = 0; i < C; ++i) {
            a.c[i] *= vec<T, R>(b);
        }
        return a;
    }
    friend matrix operator*(T b, matrix a) { return a * b; }
    friend vec<T, R> operator*(matrix a, vec<T, C> v) {
        vec<T, R> r(0);
        for (int i = 0; i < C; ++i) {
            r += a.c[i] * vec<T, R>(v[i]);
        }
        return r;
    }
};

#define MSL_MATRICES(T)                                                                                                \
    typedef matrix<T, 2, 2> T##2x2;                                                                                    \
    typedef matrix<T, 2, 3> T##2x3;                                                                                    \
    typedef matrix<T, 2, 4> T##2x4;                                                                                    \
    typedef matrix<T, 3, 2> T##3x2;                                                                                    \
    typedef matrix<T, 3, 3> T##3x3;                                                                                    \
    typedef matrix<T, 3, 4> T##3x4;                                                                                    \
    typedef matrix<T, 4, 2> T##4x2;                                                                                    \
    typedef matrix<T, 4, 3> T##4x3;                                                                                    \
    typedef matrix<T, 4, 4> T##4x4;
MSL_MATRICES(float)
MSL_MATRICES(half)
#undef MSL_MATRICES

} // namespace metal
