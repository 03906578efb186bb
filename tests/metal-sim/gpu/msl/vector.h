// Vectors of 2, 3 and 4 elements, and the packed ones.
//
// Kernels read them from addresses that are aligned to their elements only, so they ask for no more alignment. Where
// the compiler has a vector of the element type, operations use it: that is quicker to compile than loops.
#pragma once

#include "scalar.h"

namespace metal {

template <class T, int N> struct vec;

} // namespace metal

namespace msl {

template <class T> concept wide = plain<T> && !metal::is_same_v<T, bool>;

template <class T, int N, bool Wide> struct lanes_of { struct type {}; };
template <class T, int N> struct lanes_of<T, N, true> {
    typedef T natural __attribute__((ext_vector_type(N)));
    typedef natural type __attribute__((aligned(sizeof(T))));
};

template <class T, int N> struct vec_storage;
template <class T> struct vec_storage<T, 2> {
    union {
        T e[2];
        struct { T x, y; };
        struct { T r, g; };
        typename lanes_of<T, 2, wide<T>>::type v;
    };
};
template <class T> struct vec_storage<T, 3> {
    union {
        T e[4];
        struct { T x, y, z; };
        struct { T r, g, b; };
        metal::vec<T, 2> xy;
        typename lanes_of<T, 3, wide<T>>::type v;
    };
};
template <class T> struct vec_storage<T, 4> {
    union {
        T e[4];
        struct { T x, y, z, w; };
        struct { T r, g, b, a; };
        struct { metal::vec<T, 2> xy, zw; };
        struct { metal::vec<T, 2> lo, hi; };
        metal::vec<T, 3> xyz;
        typename lanes_of<T, 4, wide<T>>::type v;
    };
};

} // namespace msl

namespace metal {

template <class T, int N> struct vec : msl::vec_storage<T, N> {
    using msl::vec_storage<T, N>::e;
    using msl::vec_storage<T, N>::v;
    static constexpr bool wide = msl::wide<T>;

    vec() = default;
    template <scalar S> vec(S s) {
        const T t = T(s);
        for (int i = 0; i < N; ++i) {
            e[i] = t;
        }
    }
    template <class U> requires(!is_same_v<U, T>) explicit vec(const vec<U, N> & o) {
        for (int i = 0; i < N; ++i) {
            e[i] = T(o.e[i]);
        }
    }
    template <scalar A, scalar B> requires(N == 2) vec(A a, B b) {
        e[0] = T(a);
        e[1] = T(b);
    }
    template <scalar A, scalar B, scalar C> requires(N == 3) vec(A a, B b, C c) {
        e[0] = T(a);
        e[1] = T(b);
        e[2] = T(c);
    }
    template <scalar A, scalar B, scalar C, scalar D> requires(N == 4) vec(A a, B b, C c, D d) {
        e[0] = T(a);
        e[1] = T(b);
        e[2] = T(c);
        e[3] = T(d);
    }
    template <scalar C> requires(N == 3) vec(vec<T, 2> a, C c) : vec(a.e[0], a.e[1], c) {}
    template <scalar A> requires(N == 3) vec(A a, vec<T, 2> b) : vec(a, b.e[0], b.e[1]) {}
    vec(vec<T, 2> a, vec<T, 2> b) requires(N == 4) : vec(a.e[0], a.e[1], b.e[0], b.e[1]) {}
    template <scalar C, scalar D> requires(N == 4) vec(vec<T, 2> a, C c, D d) : vec(a.e[0], a.e[1], c, d) {}
    template <scalar D> requires(N == 4) vec(vec<T, 3> a, D d) : vec(a.e[0], a.e[1], a.e[2], d) {}
    template <scalar A> requires(N == 4) vec(A a, vec<T, 3> b) : vec(a, b.e[0], b.e[1], b.e[2]) {}

    T & operator[](int i) { return e[i]; }
    const T & operator[](int i) const { return e[i]; }

#define MSL_OPERATOR(op)                                                                                               \
    friend vec operator op(vec a, vec b) {                                                                             \
        if constexpr (wide) {                                                                                          \
            a.v = a.v op b.v;                                                                                          \
        } else {                                                                                                       \
            for (int i = 0; i < N; ++i) {                                                                              \
                a.e[i] = T(a.e[i] op b.e[i]);                                                                          \
            }                                                                                                          \
        }                                                                                                              \
        return a;                                                                                                      \
    }                                                                                                                  \
    vec & operator op##=(vec b) { return *this = *this op b; }
    MSL_OPERATOR(+)
    MSL_OPERATOR(-)
    MSL_OPERATOR(*)
#undef MSL_OPERATOR
    // Integers are divided one by one, so that a zero is one lane's affair.
#define MSL_OPERATOR(op)                                                                                               \
    friend vec operator op(vec a, vec b) {                                                                             \
        for (int i = 0; i < N; ++i) {                                                                                  \
            a.e[i] = T(a.e[i] op b.e[i]);                                                                              \
        }                                                                                                              \
        return a;                                                                                                      \
    }                                                                                                                  \
    vec & operator op##=(vec b) { return *this = *this op b; }
    MSL_OPERATOR(/)
#undef MSL_OPERATOR
#define MSL_OPERATOR(op)                                                                                               \
    friend vec operator op(vec a, vec b) requires(__is_integral(T)) {                                                  \
        for (int i = 0; i < N; ++i) {                                                                                  \
            a.e[i] = T(a.e[i] op b.e[i]);                                                                              \
        }                                                                                                              \
        return a;                                                                                                      \
    }                                                                                                                  \
    vec & operator op##=(vec b) requires(__is_integral(T)) { return *this = *this op b; }
    MSL_OPERATOR(&)
    MSL_OPERATOR(|)
    MSL_OPERATOR(^)
    MSL_OPERATOR(<<)
    MSL_OPERATOR(>>)
    MSL_OPERATOR(%)
#undef MSL_OPERATOR
#define MSL_OPERATOR(op)                                                                                               \
    friend vec<bool, N> operator op(vec a, vec b) {                                                                    \
        vec<bool, N> r;                                                                                                \
        for (int i = 0; i < N; ++i) {                                                                                  \
            r.e[i] = a.e[i] op b.e[i];                                                                                 \
        }                                                                                                              \
        return r;                                                                                                      \
    }
    MSL_OPERATOR(<)
    MSL_OPERATOR(>)
    MSL_OPERATOR(<=)
    MSL_OPERATOR(>=)
    MSL_OPERATOR(==)
    MSL_OPERATOR(!=)
#undef MSL_OPERATOR
    vec operator-() const {
        vec r;
        for (int i = 0; i < N; ++i) {
            r.e[i] = -e[i];
        }
        return r;
    }
    vec operator~() const requires(__is_integral(T)) {
        vec r;
        for (int i = 0; i < N; ++i) {
            r.e[i] = ~e[i];
        }
        return r;
    }
};

template <class T, int N> struct __attribute__((packed)) packed_vec {
    T e[N];

    packed_vec() = default;
    packed_vec(vec<T, N> o) {
        for (int i = 0; i < N; ++i) {
            e[i] = o.e[i];
        }
    }
    T & operator[](int i) { return e[i]; }
    const T & operator[](int i) const { return e[i]; }
    operator vec<T, N>() const {
        vec<T, N> r;
        for (int i = 0; i < N; ++i) {
            r.e[i] = e[i];
        }
        return r;
    }
    template <class U> requires(!is_same_v<T, U>) explicit operator vec<U, N>() const {
        return vec<U, N>(vec<T, N>(*this));
    }
};

#define MSL_VECTORS(T)                                                                                                 \
    typedef vec<T, 2> T##2;                                                                                            \
    typedef vec<T, 3> T##3;                                                                                            \
    typedef vec<T, 4> T##4;                                                                                            \
    typedef packed_vec<T, 2> packed_##T##2;                                                                            \
    typedef packed_vec<T, 3> packed_##T##3;                                                                            \
    typedef packed_vec<T, 4> packed_##T##4;
MSL_VECTORS(float)
MSL_VECTORS(half)
MSL_VECTORS(bfloat)
MSL_VECTORS(char)
MSL_VECTORS(uchar)
MSL_VECTORS(short)
MSL_VECTORS(ushort)
MSL_VECTORS(int)
MSL_VECTORS(uint)
MSL_VECTORS(long)
MSL_VECTORS(ulong)
MSL_VECTORS(bool)
#undef MSL_VECTORS

// The bits of a value as another type.
template <class D, class S> D as_type(const S & s) {
    static_assert(sizeof(D) == sizeof(S), "as_type needs types of one size");
    D d;
    __builtin_memcpy(&d, &s, sizeof d);
    return d;
}

} // namespace metal
