// The host threads that threadgroups are spread over.
#pragma once

#include "worker.h"

#include <functional>

namespace gpu {

// Calls `work` on this thread, and at the same time on up to `helpers` threads of the pool, each with a worker of its
// own. Returns when all have returned.
void on_workers(unsigned helpers, const std::function<void(Worker &)> & work);

// Threads that on_workers can use besides the caller.
unsigned available_helpers();

} // namespace gpu
