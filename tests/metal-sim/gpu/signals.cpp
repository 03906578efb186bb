#include "signals.h"

#include "worker.h"

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <ucontext.h>

namespace gpu {

namespace {

struct sigaction previous_segv;
struct sigaction previous_bus;
struct sigaction previous_fpe;
struct sigaction previous_trap;

// What the compiler's trap instruction raises.
#if defined(__x86_64__)
constexpr int trap = SIGILL;
#else
constexpr int trap = SIGTRAP;
#endif

void pass_on(int signal, siginfo_t * info, void * context, const struct sigaction & previous) {
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(signal, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(signal);
    } else {
        // The instruction runs again, and ends the process as it would have without us.
        sigaction(signal, &previous, nullptr);
    }
}

bool on_fibre(const Worker & worker, uintptr_t sp) {
    return (sp & ~(msl::area_size - 1)) == reinterpret_cast<uintptr_t>(&const_cast<Worker &>(worker).state());
}

void on_bad_address(int signal, siginfo_t * info, void * context) {
    Worker * worker = Worker::active();
    if (worker) {
        worker->fault(reinterpret_cast<uintptr_t>(info->si_addr));
    }
    pass_on(signal, info, context, signal == SIGBUS ? previous_bus : previous_segv);
}

// The only traps that kernels are compiled with are those of divisors.
void on_trap(int signal, siginfo_t * info, void * context) {
    if (Worker * worker = Worker::active()) {
        worker->divided_by_zero();
    }
    pass_on(signal, info, context, previous_trap);
}

#if defined(__x86_64__)
// GPUs give some value for a division by zero and go on: here quotient and remainder are 0, where it is not made an error.
// (aarch64 does not trap.)
void on_bad_division(int signal, siginfo_t * info, void * context) {
    auto * registers = static_cast<ucontext_t *>(context)->uc_mcontext.gregs;
    const Worker * worker = Worker::active();
    const auto * at = reinterpret_cast<const uint8_t *>(registers[REG_RIP]);
    while (*at == 0x66 || (*at & 0xf0) == 0x40) {
        ++at; // operand size and REX prefixes
    }
    if (!worker || !on_fibre(*worker, registers[REG_RSP]) || (*at != 0xf6 && *at != 0xf7)) {
        pass_on(signal, info, context, previous_fpe);
        return;
    }
    const bool bytes = *at == 0xf6;
    ++at;
    const unsigned mode = *at >> 6;
    const unsigned operand = *at & 7;
    ++at;
    if (mode != 3) {
        if (operand == 4) {
            const unsigned base = *at & 7;
            ++at;
            at += mode == 0 && base == 5 ? 4 : 0;
        } else if (mode == 0 && operand == 5) {
            at += 4;
        }
        at += mode == 1 ? 1 : mode == 2 ? 4 : 0;
    }
    registers[REG_RIP] = reinterpret_cast<greg_t>(at);
    registers[REG_RAX] = 0;
    if (!bytes) {
        registers[REG_RDX] = 0;
    }
}
#endif

void install(int signal, void (*handler)(int, siginfo_t *, void *), struct sigaction & previous) {
    struct sigaction action = {};
    action.sa_sigaction = handler;
    // A kernel's fault is left with a jump that does not restore the mask, so the signal must not be masked.
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(signal, &action, &previous);
}

// A thread's own stack for handlers, given back when the thread ends.
struct SignalStack {
    static constexpr size_t size = 64 * 1024;
    std::unique_ptr<char[]> memory;

    SignalStack() {
        stack_t current = {};
        sigaltstack(nullptr, &current);
        if (current.ss_flags & SS_DISABLE) {
            memory.reset(new char[size]);
            stack_t own = {};
            own.ss_sp = memory.get();
            own.ss_size = size;
            sigaltstack(&own, nullptr);
        }
    }
    ~SignalStack() {
        if (memory) {
            stack_t none = {};
            none.ss_flags = SS_DISABLE;
            sigaltstack(&none, nullptr);
        }
    }
};

} // namespace

void handle_signals() {
    static std::once_flag once;
    std::call_once(once, [] {
        install(SIGSEGV, on_bad_address, previous_segv);
        install(SIGBUS, on_bad_address, previous_bus);
        install(trap, on_trap, previous_trap);
#if defined(__x86_64__)
        install(SIGFPE, on_bad_division, previous_fpe);
#endif
    });
}

void provide_signal_stack() { static thread_local SignalStack stack; }

} // namespace gpu
