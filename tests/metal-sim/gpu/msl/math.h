// Functions of scalars and vectors. Those of half and bfloat work in float and round the result.
#pragma once

#include "vector.h"

namespace msl {

inline float rsqrt_of(float x) { return 1.0f / __builtin_sqrtf(x); }
inline float sign_of(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : x; }
inline float fract_of(float x) { return x - __builtin_floorf(x); }
inline float exp10_of(float x) { return __builtin_powf(10.0f, x); }

// Bodies of constant trip count keep compile time down where a lambda would not.
template <class T, int N, class F> inline metal::vec<T, N> each(metal::vec<T, N> x, F f) {
    for (int i = 0; i < N; ++i) {
        x.e[i] = f(x.e[i]);
    }
    return x;
}

} // namespace msl

namespace metal {

#define MSL_FUNCTION(name, impl)                                                                                       \
    inline float name(float x) { return impl(x); }                                                                     \
    inline half name(half x) { return half(impl(float(x))); }                                                          \
    inline bfloat name(bfloat x) { return bfloat(impl(float(x))); }                                                    \
    inline float name(double x) { return impl(float(x)); }                                                             \
    template <class T> requires(__is_integral(T)) inline float name(T x) { return impl(float(x)); }                    \
    template <class T, int N> inline vec<T, N> name(vec<T, N> x) {                                                     \
        for (int i = 0; i < N; ++i) {                                                                                  \
            x.e[i] = name(x.e[i]);                                                                                     \
        }                                                                                                              \
        return x;                                                                                                      \
    }
MSL_FUNCTION(exp, __builtin_expf)
MSL_FUNCTION(exp2, __builtin_exp2f)
MSL_FUNCTION(exp10, msl::exp10_of)
MSL_FUNCTION(log, __builtin_logf)
MSL_FUNCTION(log2, __builtin_log2f)
MSL_FUNCTION(log10, __builtin_log10f)
MSL_FUNCTION(sqrt, __builtin_sqrtf)
MSL_FUNCTION(rsqrt, msl::rsqrt_of)
MSL_FUNCTION(sin, __builtin_sinf)
MSL_FUNCTION(cos, __builtin_cosf)
MSL_FUNCTION(tan, __builtin_tanf)
MSL_FUNCTION(asin, __builtin_asinf)
MSL_FUNCTION(acos, __builtin_acosf)
MSL_FUNCTION(atan, __builtin_atanf)
MSL_FUNCTION(sinh, __builtin_sinhf)
MSL_FUNCTION(cosh, __builtin_coshf)
MSL_FUNCTION(tanh, __builtin_tanhf)
MSL_FUNCTION(asinh, __builtin_asinhf)
MSL_FUNCTION(acosh, __builtin_acoshf)
MSL_FUNCTION(atanh, __builtin_atanhf)
MSL_FUNCTION(fabs, __builtin_fabsf)
MSL_FUNCTION(floor, __builtin_floorf)
MSL_FUNCTION(ceil, __builtin_ceilf)
MSL_FUNCTION(round, __builtin_roundf)
MSL_FUNCTION(rint, __builtin_rintf)
MSL_FUNCTION(trunc, __builtin_truncf)
MSL_FUNCTION(sign, msl::sign_of)
MSL_FUNCTION(fract, msl::fract_of)
#undef MSL_FUNCTION

template <scalar T> inline T abs(T x) { return x < T(0) ? T(-x) : x; }
template <class T, int N> inline vec<T, N> abs(vec<T, N> x) {
    for (int i = 0; i < N; ++i) {
        x.e[i] = abs(x.e[i]);
    }
    return x;
}

#define MSL_FUNCTION(name, expression)                                                                                 \
    template <scalar A, scalar B> inline common_t<A, B> name(A first, B second) {                                      \
        typedef common_t<A, B> R;                                                                                      \
        const R a = R(first);                                                                                          \
        const R b = R(second);                                                                                         \
        return expression;                                                                                             \
    }                                                                                                                  \
    template <class T, int N> inline vec<T, N> name(vec<T, N> a, vec<T, N> b) {                                        \
        for (int i = 0; i < N; ++i) {                                                                                  \
            a.e[i] = name(a.e[i], b.e[i]);                                                                             \
        }                                                                                                              \
        return a;                                                                                                      \
    }                                                                                                                  \
    template <class T, int N, scalar S> inline vec<T, N> name(vec<T, N> a, S b) { return name(a, vec<T, N>(b)); }      \
    template <class T, int N, scalar S> inline vec<T, N> name(S a, vec<T, N> b) { return name(vec<T, N>(a), b); }
MSL_FUNCTION(max, b > a ? b : a)
MSL_FUNCTION(min, b < a ? b : a)
MSL_FUNCTION(fmax, R(__builtin_fmaxf(float(a), float(b))))
MSL_FUNCTION(fmin, R(__builtin_fminf(float(a), float(b))))
MSL_FUNCTION(pow, R(__builtin_powf(float(a), float(b))))
MSL_FUNCTION(powr, R(__builtin_powf(float(a), float(b))))
MSL_FUNCTION(fmod, R(__builtin_fmodf(float(a), float(b))))
MSL_FUNCTION(atan2, R(__builtin_atan2f(float(a), float(b))))
MSL_FUNCTION(copysign, R(__builtin_copysignf(float(a), float(b))))
MSL_FUNCTION(step, b < a ? R(0) : R(1))
MSL_FUNCTION(absdiff, a > b ? R(a - b) : R(b - a))
#undef MSL_FUNCTION

template <class T, class A, class B> inline T clamp(T x, A low, B high) { return min(max(x, T(low)), T(high)); }
template <class T> inline T saturate(T x) { return clamp(x, 0, 1); }

inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline half fma(half a, half b, half c) { return half(__builtin_fmaf(float(a), float(b), float(c))); }
template <class T, int N> inline vec<T, N> fma(vec<T, N> a, vec<T, N> b, vec<T, N> c) {
    for (int i = 0; i < N; ++i) {
        a.e[i] = fma(a.e[i], b.e[i], c.e[i]);
    }
    return a;
}
template <class T> inline T mad(T a, T b, T c) { return a * b + c; }

inline bool isnan(float x) { return __builtin_isnan(x); }
inline bool isinf(float x) { return __builtin_isinf(x); }
inline bool isfinite(float x) { return __builtin_isfinite(x); }

template <class T, int N> inline T dot(vec<T, N> a, vec<T, N> b) {
    T r = T(a.e[0] * b.e[0]);
    for (int i = 1; i < N; ++i) {
        r = T(r + a.e[i] * b.e[i]);
    }
    return r;
}
template <class T, int N> inline T length(vec<T, N> a) { return sqrt(dot(a, a)); }
template <class T, int N> inline vec<T, N> normalize(vec<T, N> a) { return a / vec<T, N>(length(a)); }

template <scalar A, scalar B> inline common_t<A, B> select(A a, B b, bool c) { return c ? b : a; }
template <class T, int N> inline vec<T, N> select(vec<T, N> a, vec<T, N> b, vec<bool, N> c) {
    for (int i = 0; i < N; ++i) {
        a.e[i] = c.e[i] ? b.e[i] : a.e[i];
    }
    return a;
}
template <class T, int N> inline vec<T, N> select(vec<T, N> a, vec<T, N> b, bool c) { return c ? b : a; }
template <class T, class S> inline T mix(T a, T b, S t) { return a + (b - a) * T(t); }

template <int N> inline bool any(vec<bool, N> v) {
    bool r = false;
    for (int i = 0; i < N; ++i) {
        r |= v.e[i];
    }
    return r;
}
template <int N> inline bool all(vec<bool, N> v) {
    bool r = true;
    for (int i = 0; i < N; ++i) {
        r &= v.e[i];
    }
    return r;
}

template <class T> inline T popcount(T x) {
    return T(__builtin_popcountll(uint64_t(x) & (~uint64_t(0) >> (64 - 8 * sizeof(T)))));
}
inline uint clz(uint x) { return x ? __builtin_clz(x) : 32; }
inline uint ctz(uint x) { return x ? __builtin_ctz(x) : 32; }
inline uint extract_bits(uint x, uint offset, uint bits) {
    return x >> offset & (bits >= 32 ? ~0u : (1u << bits) - 1);
}
template <class T> inline T rotate(T a, T b) {
    const int bits = sizeof(T) * 8;
    b &= bits - 1;
    return b ? T(a << b | a >> (bits - b)) : a;
}
inline int mul24(int a, int b) { return a * b; }
inline int mulhi(int a, int b) { return int(int64_t(a) * b >> 32); }
inline uint mulhi(uint a, uint b) { return uint(uint64_t(a) * b >> 32); }

namespace precise {
using namespace metal;
}
namespace fast {
using namespace metal;
}

} // namespace metal
