// The switch from one fibre to another.
//
// A fibre that waits has the registers that a call preserves on top of its stack, and below them the address where it
// goes on. MSL_SAVE and MSL_RESTORE push and pop them; between the two the stack pointer can be exchanged.
#pragma once

namespace msl {

#if defined(__x86_64__)
#define MSL_SAVE                                                                                                       \
    "pushq %rbp\n\t"                                                                                                   \
    "pushq %rbx\n\t"                                                                                                   \
    "pushq %r12\n\t"                                                                                                   \
    "pushq %r13\n\t"                                                                                                   \
    "pushq %r14\n\t"                                                                                                   \
    "pushq %r15\n\t"
// With a jump and not a return: a return would be predicted to go where the last call came from, and that is where the
// lane waits now, one site after the next lane's.
#define MSL_RESTORE                                                                                                    \
    "popq %r15\n\t"                                                                                                    \
    "popq %r14\n\t"                                                                                                    \
    "popq %r13\n\t"                                                                                                    \
    "popq %r12\n\t"                                                                                                    \
    "popq %rbx\n\t"                                                                                                    \
    "popq %rbp\n\t"                                                                                                    \
    "popq %rcx\n\t"                                                                                                    \
    "jmpq *%rcx\n\t"

constexpr unsigned saved_words = 7; // that a fibre's stack holds while it waits
constexpr unsigned return_word = 6; // the one with the address where it goes on

// Stores the stack pointer of the caller in *save and goes on where the fibre with the stack pointer `to` left off.
__attribute__((naked, noinline, unused)) static void switch_fibre(void ** save, void * to) {
    asm(MSL_SAVE "movq %rsp, (%rdi)\n\t"
                 "movq %rsi, %rsp\n\t" MSL_RESTORE);
}
#elif defined(__aarch64__)
#define MSL_SAVE                                                                                                       \
    "sub sp, sp, #160\n\t"                                                                                             \
    "stp x19, x20, [sp, #0]\n\t"                                                                                       \
    "stp x21, x22, [sp, #16]\n\t"                                                                                      \
    "stp x23, x24, [sp, #32]\n\t"                                                                                      \
    "stp x25, x26, [sp, #48]\n\t"                                                                                      \
    "stp x27, x28, [sp, #64]\n\t"                                                                                      \
    "stp x29, x30, [sp, #80]\n\t"                                                                                      \
    "stp d8, d9, [sp, #96]\n\t"                                                                                        \
    "stp d10, d11, [sp, #112]\n\t"                                                                                     \
    "stp d12, d13, [sp, #128]\n\t"                                                                                     \
    "stp d14, d15, [sp, #144]\n\t"
#define MSL_RESTORE                                                                                                    \
    "ldp x19, x20, [sp, #0]\n\t"                                                                                       \
    "ldp x21, x22, [sp, #16]\n\t"                                                                                      \
    "ldp x23, x24, [sp, #32]\n\t"                                                                                      \
    "ldp x25, x26, [sp, #48]\n\t"                                                                                      \
    "ldp x27, x28, [sp, #64]\n\t"                                                                                      \
    "ldp x29, x30, [sp, #80]\n\t"                                                                                      \
    "ldp d8, d9, [sp, #96]\n\t"                                                                                        \
    "ldp d10, d11, [sp, #112]\n\t"                                                                                     \
    "ldp d12, d13, [sp, #128]\n\t"                                                                                     \
    "ldp d14, d15, [sp, #144]\n\t"                                                                                     \
    "add sp, sp, #160\n\t"                                                                                             \
    "br x30\n\t"

constexpr unsigned saved_words = 20;
constexpr unsigned return_word = 11;

__attribute__((naked, noinline, unused)) static void switch_fibre(void ** save, void * to) {
    asm(MSL_SAVE "mov x9, sp\n\t"
                 "str x9, [x0]\n\t"
                 "mov sp, x1\n\t" MSL_RESTORE);
}
#endif

} // namespace msl
