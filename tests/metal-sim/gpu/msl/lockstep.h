// The hook that -fsanitize-coverage=trace-pc calls at every basic block: no lane enters a block before all have left
// the one before.
#pragma once

#include "rendezvous.h"

extern "C" MSL_UNHOOKED __attribute__((visibility("hidden"))) void __sanitizer_cov_trace_pc() {
    msl::worker * w = msl::this_worker();
    msl::arrive(w, w->group, __builtin_return_address(0), nullptr, nullptr, nullptr);
}
