#include "panel-cpu.h"

#include <string.h>

#if defined(__x86_64__)
#    include <cpuid.h>
#    if defined(__linux__)
#        include <sys/syscall.h>
#        include <unistd.h>
#    endif
#elif defined(__aarch64__) && defined(__linux__)
#    include <sys/auxv.h>
#endif

namespace {

#if defined(__x86_64__)
bool has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
}

// The CPU's word (leaf 7: bits 22, 24 and 25 of edx) and the system's leave: Linux enlarges a thread's state on request.
bool has_amx() {
#    if defined(__linux__)
    unsigned a, b, c, d;
    const unsigned bf16 = 1u << 22, tiles = 1u << 24, int8 = 1u << 25;
    if (!has_avx512() || !__builtin_cpu_supports("avx512vbmi") || !__builtin_cpu_supports("avx512bf16") || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & (bf16 | tiles | int8)) != (bf16 | tiles | int8)) {
        return false;
    }
    const int request_permission = 0x1023, tile_data = 18;
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#    else
    return false;
#    endif
}
#elif defined(__aarch64__)
// Where ggml is compiled for dot products, it has packed layouts and kernels for them itself, and ours are not known to be
// faster. Compiled for any CPU, it has neither.
bool is_better_than_ggml() {
#    if defined(__linux__) && !defined(__ARM_FEATURE_DOTPROD)
    const unsigned long dot_products = 1ul << 20;    // HWCAP_ASIMDDP
    return (getauxval(AT_HWCAP) & dot_products) != 0;
#    else
    return false;
#    endif
}
#endif

// Into the second-level cache, as the first one's few buffers are busy with what is read now, and so far that memory answers in
// time: two threads of a Xeon (Emerald Rapids) pass Q4_K at 24.0 GB/s so, at 21.2 with 3072 bytes into the first level, at 14.6
// without, of 28 that can be read; the hardware stops at the end of each 4096. One thread of a Zen 4 makes 330 GFLOP/s of Q4_K and
// four tokens so, 303 with 3072 bytes into the first level, 195 without; of Q5_K 280, 170 and 98. But of a single token every prefetch
// takes one of the buffers that the hardware's own would have there: Q8_0 passes at 26 GB/s with them, at 32 without, of 32.
panel_reach reach_of_this_cpu() {
#if defined(__x86_64__)
    unsigned most, vendor[3];
    const unsigned amd[3] = { 0x68747541, 0x444d4163, 0x69746e65 };    // "Auth", "cAMD", "enti" in ebx, ecx, edx
    if (__get_cpuid(0, &most, &vendor[0], &vendor[1], &vendor[2]) && memcmp(vendor, amd, sizeof(amd)) == 0) {
        return { 0, 8192 };
    }
    return { 8192, 8192 };
#else
    return { 3072, 3072 };
#endif
}

struct list {
    const panel_kernels * kernels[5] = {};

    list() {
#if defined(__x86_64__)
        __builtin_cpu_init();
        const struct {
            bool there;
            const panel_kernels * kernels;
        } all[] = { { has_amx(), &panel_kernels_amx }, { has_amx(), &panel_kernels_amx_int8 }, { has_avx512(), &panel_kernels_avx512 }, { has_avx2(), &panel_kernels_avx2 } };
        int n = 0;
        for (const auto & one : all) {
            if (one.there && one.kernels->name) {
                kernels[n++] = one.kernels;
            }
        }
        // the last ones must do for a single token
        if (n > 0 && kernels[n - 1]->worth_tokens > 1) {
            kernels[0] = nullptr;
        }
#elif defined(__aarch64__)
        if (is_better_than_ggml() && panel_kernels_dotprod.name) {
            kernels[0] = &panel_kernels_dotprod;
        }
#endif
    }
};

}  // namespace

const panel_reach panel_ahead = reach_of_this_cpu();

const panel_kernels * const * panel_kernels_of_this_cpu(void) {
    static const list all;
    return all.kernels;
}
