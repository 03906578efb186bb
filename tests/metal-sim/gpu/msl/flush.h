// Half arithmetic of a device that knows no subnormals: they are 0 as operands and as results.
//
// The kernel is compiled without F16C. The compiler then calls these for every conversion between half and float, and all
// its arithmetic on half is such a conversion, the arithmetic, and one back. Only on x86-64: other processors have the
// conversions in their base instruction set.
#pragma once

#include "rendezvous.h"

#define MSL_CALLBACK extern "C" MSL_UNHOOKED __attribute__((visibility("hidden"), used))

MSL_CALLBACK float __extendhfsf2(_Float16 x) {
    const uint16_t h = __builtin_bit_cast(uint16_t, x);
    const uint32_t sign = uint32_t(h & 0x8000) << 16;
    const uint32_t exponent = h >> 10 & 31;
    const uint32_t fraction = h & 0x3ff;
    if (exponent == 0) {
        return __builtin_bit_cast(float, sign);
    }
    return __builtin_bit_cast(float, sign | (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13);
}

MSL_CALLBACK _Float16 __truncsfhf2(float x) {
    const uint32_t u = __builtin_bit_cast(uint32_t, x);
    const uint16_t sign = u >> 16 & 0x8000;
    const uint32_t magnitude = u & 0x7fffffff;
    uint16_t bits;
    if (magnitude > 0x7f800000) {
        bits = 0x7e00;
    } else if (magnitude >= 0x477ff000) {
        bits = 0x7c00; // 65520 and more round to infinity
    } else if (magnitude < 0x38800000) {
        bits = 0;      // less than the least normal half
    } else {
        bits = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
    }
    return __builtin_bit_cast(_Float16, uint16_t(sign | bits));
}

MSL_CALLBACK _Float16 __truncdfhf2(double x) { return __truncsfhf2(float(x)); }
MSL_CALLBACK double __extendhfdf2(_Float16 x) { return __extendhfsf2(x); }

#undef MSL_CALLBACK
