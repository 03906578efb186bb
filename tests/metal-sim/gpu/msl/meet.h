// The places where a lane gives way, for compiled kernels: simdgroup functions, barriers, and the hook that
// -fsanitize-coverage=trace-pc calls at every basic block.
//
// Each is a stub that saves the registers, asks which lane goes on, and restores that one's.
#pragma once

#include "rendezvous.h"

#define MSL_CALLED_BY_STUB extern "C" MSL_UNHOOKED __attribute__((visibility("hidden"), used))

MSL_CALLED_BY_STUB void * msl_arrive(void * sp, const void * site) {
    return msl::arrive(msl::this_worker(), site, sp, nullptr, nullptr, nullptr);
}

MSL_CALLED_BY_STUB void * msl_meet(void * sp, const void * site, msl::rendezvous fn, void * in, void * out) {
    return msl::arrive(msl::this_worker(), site, sp, fn, in, out);
}

MSL_CALLED_BY_STUB void * msl_barrier(void * sp, const void * site) {
    msl::worker * w = msl::this_worker();
    return w->barrier(w, site, sp);
}

#undef MSL_CALLED_BY_STUB

#if defined(__x86_64__)
#define MSL_STUB(function, arguments)                                                                                  \
    asm(MSL_SAVE arguments "movq %rsp, %rdi\n\t"                                                                       \
                           "movq 48(%rsp), %rsi\n\t"                                                                   \
                           "subq $8, %rsp\n\t"                                                                         \
                           "callq " function "\n\t"                                                                    \
                           "movq %rax, %rsp\n\t" MSL_RESTORE)
#define MSL_THREE_ARGUMENTS                                                                                            \
    "movq %rdx, %r8\n\t"                                                                                               \
    "movq %rsi, %rcx\n\t"                                                                                              \
    "movq %rdi, %rdx\n\t"
#elif defined(__aarch64__)
#define MSL_STUB(function, arguments)                                                                                  \
    asm(MSL_SAVE arguments "mov x0, sp\n\t"                                                                            \
                           "mov x1, x30\n\t"                                                                           \
                           "bl " function "\n\t"                                                                       \
                           "mov sp, x0\n\t" MSL_RESTORE)
#define MSL_THREE_ARGUMENTS                                                                                            \
    "mov x4, x2\n\t"                                                                                                   \
    "mov x3, x1\n\t"                                                                                                   \
    "mov x2, x0\n\t"
#endif

extern "C" MSL_UNHOOKED __attribute__((naked, visibility("hidden"), unused)) void __sanitizer_cov_trace_pc() {
    MSL_STUB("msl_arrive", "");
}

namespace msl {

// Does `fn` together with the other lanes of the simdgroup.
__attribute__((naked, noinline, convergent, unused)) MSL_UNHOOKED static void meet(rendezvous fn, void * in, void * out) {
    MSL_STUB("msl_meet", MSL_THREE_ARGUMENTS);
}

// Waits for the rest of the threadgroup.
__attribute__((naked, noinline, convergent, unused)) MSL_UNHOOKED static void wait_for_threadgroup() {
    MSL_STUB("msl_barrier", "");
}

} // namespace msl

#undef MSL_STUB
#undef MSL_THREE_ARGUMENTS
