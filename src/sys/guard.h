// The guard: what C++ code throws, and what ggml asserts, ends here as a status.
//
// ggml_abort() calls its callback before it aborts. Inside a guarded call the callback throws, and the exception unwinds
// through ggml's C frames (compiled with -fexceptions) to the guard. Two places are out of its reach: worker threads of a
// parallel region, where unwinding would end in std::terminate, and noexcept functions. What can fail there is checked
// in Rust before the call. The Metal backend's threads that encode a graph guard each operation (ggml-guard.h).
#pragma once

#include "shim.h"

#include <cstdint>
#include <cstdio>
#include <exception>
#include <new>
#include <string>

namespace inf {

struct assertion_failed : std::exception {
    explicit assertion_failed(const char * message) : message(message) {}
    const char * what() const noexcept override { return message.c_str(); }
    std::string message;
};

// > 0 while this thread is inside guard(); worker threads never are
inline thread_local int guarded = 0;

inline void say(inf_error * error, const char * message) {
    snprintf(error->message, sizeof(error->message), "%s", message);
}

template <typename F> inf_status guard(inf_error * error, F && body) {
    struct scope {
        scope() { ++guarded; }
        ~scope() { --guarded; }
    } inside;
    error->message[0] = '\0';
    try {
        body();
        return INF_OK;
    } catch (const assertion_failed & e) {
        say(error, e.what());
        return INF_ASSERTION;
    } catch (const std::bad_alloc & e) {
        say(error, e.what());
        return INF_OUT_OF_MEMORY;
    } catch (const std::exception & e) {
        say(error, e.what());
        return INF_EXCEPTION;
    } catch (...) {
        say(error, "an exception that is not a std::exception");
        return INF_EXCEPTION;
    }
}

// How often commands of any device have failed since the process began, as far as its backend tells. Some backends wait for
// nothing when they compute: who has waited asks whether this has grown meanwhile.
uint64_t failures();

} // namespace inf
