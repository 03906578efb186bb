#include "panel-cpu.h"

namespace {

struct list {
    const panel_kernels * kernels[3] = {};

    list() {
#if defined(__x86_64__)
        int n = 0;
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) {
            kernels[n++] = &panel_kernels_avx2;
        }
#endif
    }
};

}  // namespace

const panel_kernels * const * panel_kernels_of_this_cpu(void) {
    static const list all;
    return all.kernels;
}
