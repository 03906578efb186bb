#include "ledger.h"

#include "settings.h"
#include "trace.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <regex>
#include <set>
#include <thread>
#include <unistd.h>

namespace metal_sim::ledger {

namespace {

struct Living {
    std::atomic<int64_t> count{0};
    std::atomic<int64_t> bytes{0};
};

Living living[2];

std::atomic<uint64_t> errors{0};

std::atomic<int> at_work{0};

Living & of(Kind kind) { return living[static_cast<size_t>(kind)]; }

constexpr int exit_status = 70; // EX_SOFTWARE

// A destructor function of the executable runs after everything that was registered with atexit, so after the backend
// has freed its devices.
__attribute__((destructor)) void report() {
    // a thread that is in a kernel is not waited for longer than this; one that lets go of its last command buffer may
    // have to wait for a core
    for (int i = 0; i < 10'000 && at_work > 0; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    trace::finish();
    bool leaks = false;
    const auto tell = [&](Kind kind, const char * what, bool bytes) {
        const Living & of_kind = of(kind);
        if (of_kind.count > 0) {
            leaks = true;
            fprintf(stderr, "metal-sim: not released: %s: %lld", what, static_cast<long long>(of_kind.count));
            if (bytes) {
                fprintf(stderr, " (%lld bytes)", static_cast<long long>(of_kind.bytes));
            }
            fprintf(stderr, "\n");
        }
    };
    tell(Kind::buffer, "buffers", true);
    tell(Kind::command_buffer, "command buffers", false);
    if (errors > 0) {
        fprintf(stderr, "metal-sim: errors: %llu\n", static_cast<unsigned long long>(errors));
    }
    if ((leaks || errors > 0) && settings().strict) {
        fflush(nullptr);
        _exit(exit_status);
    }
}

} // namespace

void born(Kind kind, uint64_t bytes) {
    of(kind).count += 1;
    of(kind).bytes += static_cast<int64_t>(bytes);
}

void died(Kind kind, uint64_t bytes) {
    of(kind).count -= 1;
    of(kind).bytes -= static_cast<int64_t>(bytes);
}

void begin_work() { at_work += 1; }

void end_work() { at_work -= 1; }

void error(const std::string & text) {
    static std::mutex mutex;
    static auto told = new std::set<std::string>;
    errors += 1;
    std::lock_guard guard(mutex);
    if (told->insert(without_numbers(text)).second) {
        fprintf(stderr, "metal-sim: %s\n", text.c_str());
    }
}

std::string without_numbers(const std::string & text) {
    static const std::regex number("\\b(0x[0-9a-f]+|[0-9]+)\\b");
    return std::regex_replace(text, number, "#");
}

} // namespace metal_sim::ledger
