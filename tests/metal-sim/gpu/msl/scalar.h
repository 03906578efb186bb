// Scalar types: half, bfloat, the names of the integers, and limits.
//
// Kernels are compiled so that a literal without a suffix is a float (-cl-single-precision-constant).
#pragma once

#include <stdint.h>

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;

namespace metal {

template <bool B, class T = void> struct enable_if {};
template <class T> struct enable_if<true, T> { typedef T type; };
template <bool B, class T = void> using enable_if_t = typename enable_if<B, T>::type;

template <class A, class B> struct is_same { static constexpr bool value = false; };
template <class A> struct is_same<A, A> { static constexpr bool value = true; };
template <class A, class B> constexpr bool is_same_v = is_same<A, B>::value;

template <bool B, class T, class F> struct conditional { typedef T type; };
template <class T, class F> struct conditional<false, T, F> { typedef F type; };
template <bool B, class T, class F> using conditional_t = typename conditional<B, T, F>::type;

template <class T> struct remove_cvref { typedef T type; };
template <class T> struct remove_cvref<const T> { typedef T type; };
template <class T> struct remove_cvref<T &> { typedef typename remove_cvref<T>::type type; };

} // namespace metal

namespace msl {

template <class T> concept plain = __is_arithmetic(T) || metal::is_same_v<T, _Float16>;

} // namespace msl

typedef _Float16 half;

// The upper half of a float. Arithmetic of two bfloats is rounded to 16 bits, as is arithmetic with an integer;
// arithmetic with a float or a half is float.
struct bfloat {
    uint16_t bits;

    static constexpr uint16_t pack(float x) {
        const uint32_t u = __builtin_bit_cast(uint32_t, x);
        if ((u & 0x7fffffff) > 0x7f800000) {
            return u >> 16 | 0x40; // a NaN stays one
        }
        return (u + 0x7fff + (u >> 16 & 1)) >> 16;
    }

    bfloat() = default;
    template <msl::plain S> constexpr bfloat(S x) : bits(pack(float(x))) {}

    // Templates, so that no conversion goes through float to another type unasked.
    template <class T> requires(metal::is_same_v<T, float>) constexpr operator T() const {
        return __builtin_bit_cast(float, uint32_t(bits) << 16);
    }
    template <msl::plain T> requires(!metal::is_same_v<T, float>) constexpr explicit operator T() const {
        return T(float(*this));
    }

    constexpr bfloat operator-() const {
        bfloat r = *this;
        r.bits ^= 0x8000;
        return r;
    }
    template <class S> constexpr bfloat & operator+=(S x) { return *this = bfloat(float(*this) + float(x)); }
    template <class S> constexpr bfloat & operator-=(S x) { return *this = bfloat(float(*this) - float(x)); }
    template <class S> constexpr bfloat & operator*=(S x) { return *this = bfloat(float(*this) * float(x)); }
    template <class S> constexpr bfloat & operator/=(S x) { return *this = bfloat(float(*this) / float(x)); }

#define MSL_ARITHMETIC(op)                                                                                             \
    friend constexpr bfloat operator op(bfloat a, bfloat b) { return bfloat(float(a) op float(b)); }                   \
    template <msl::plain S> friend constexpr auto operator op(bfloat a, S b) {                                         \
        return metal::conditional_t<__is_integral(S), bfloat, float>(float(a) op float(b));                            \
    }                                                                                                                  \
    template <msl::plain S> friend constexpr auto operator op(S a, bfloat b) {                                         \
        return metal::conditional_t<__is_integral(S), bfloat, float>(float(a) op float(b));                            \
    }
#define MSL_COMPARISON(op)                                                                                             \
    friend constexpr bool operator op(bfloat a, bfloat b) { return float(a) op float(b); }                             \
    template <msl::plain S> friend constexpr bool operator op(bfloat a, S b) { return float(a) op float(b); }          \
    template <msl::plain S> friend constexpr bool operator op(S a, bfloat b) { return float(a) op float(b); }
    MSL_ARITHMETIC(+)
    MSL_ARITHMETIC(-)
    MSL_ARITHMETIC(*)
    MSL_ARITHMETIC(/)
    MSL_COMPARISON(<)
    MSL_COMPARISON(>)
    MSL_COMPARISON(<=)
    MSL_COMPARISON(>=)
    MSL_COMPARISON(==)
    MSL_COMPARISON(!=)
#undef MSL_ARITHMETIC
#undef MSL_COMPARISON
};

constexpr half operator""h(long double x) { return half(float(x)); }
constexpr half operator""h(unsigned long long x) { return half(float(x)); }

#define INFINITY __builtin_inff()
#define HUGE_VALF __builtin_inff()
#define HUGE_VALH ((half) __builtin_inff())
#define NAN __builtin_nanf("")
#define MAXFLOAT 3.402823466e+38f
#define FLT_MAX 3.402823466e+38f
#define FLT_MIN 1.175494351e-38f
#define FLT_EPSILON 1.1920928955078125e-7f
#define MAXHALF ((half) 65504.0f)
#define HALF_MAX ((half) 65504.0f)
#define HALF_MIN ((half) 6.103515625e-5f)
#define CHAR_MAX 127
#define CHAR_MIN (-128)
#define UCHAR_MAX 255
#define SHRT_MAX 32767
#define SHRT_MIN (-32768)
#define USHRT_MAX 65535
#define INT_MAX 2147483647
#define INT_MIN (-2147483647 - 1)
#define UINT_MAX 4294967295u
#define M_PI_F 3.14159265358979323846f
#define M_PI_2_F 1.57079632679489661923f
#define M_E_F 2.71828182845904523536f
#define M_LOG2E_F 1.44269504088896340736f
#define M_LN2_F 0.69314718055994530942f
#define M_SQRT2_F 1.41421356237309504880f

namespace metal {

template <class T> concept scalar = msl::plain<T> || is_same_v<T, half> || is_same_v<T, bfloat>;
template <class T> concept floating = __is_floating_point(T) || is_same_v<T, half> || is_same_v<T, bfloat>;

// The type that a function of two scalars works in.
template <class A, class B> struct common { typedef decltype(A() + B()) type; };
template <class A> struct common<A, A> { typedef A type; };
template <class A, class B> using common_t = typename common<A, B>::type;

template <class T> struct numeric_limits;
template <> struct numeric_limits<float> {
    static constexpr float max() { return FLT_MAX; }
    static constexpr float lowest() { return -FLT_MAX; }
    static constexpr float min() { return FLT_MIN; }
    static constexpr float infinity() { return INFINITY; }
};
template <> struct numeric_limits<half> {
    static constexpr half max() { return HALF_MAX; }
    static constexpr half lowest() { return -HALF_MAX; }
    static constexpr half min() { return HALF_MIN; }
    static constexpr half infinity() { return half(INFINITY); }
};

} // namespace metal
