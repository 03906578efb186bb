// Runs the items of a command buffer on the simulated GPU, under the faults of its device.
#pragma once

#include "commands.h"
#include "faults.h"

#include <cstdint>
#include <string>
#include <vector>

namespace metal_sim {

enum class Failure {
    none,
    timeout,    // that the fault of this name asked for
    unplugged,  // its device is gone, which the fault of this name asked for
    stuck,      // it waits for an event that nobody signals
    page_fault, // a kernel did something wrong
    invalid,    // a call that Metal refuses
};

struct Execution {
    Failure failure = Failure::none;
    std::string error; // empty where all went well
    std::string trace; // lines of what was run
};

// `number` is the place of the command buffer among all of the process, from 1: orders are drawn from it and the seed.
Execution execute(const std::vector<Item> & items, const DeviceFaults & faults, uint64_t number, bool times_out);

} // namespace metal_sim
