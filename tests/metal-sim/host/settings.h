// What the environment says about the simulation; read once. README.md has the table of variables.
#pragma once

#include "../gpu/gpu.h"
#include "faults.h"
#include "profile.h"

#include <string>
#include <vector>

namespace metal_sim {

struct Settings {
    std::vector<const Profile *> devices; // in the order of MTLCopyAllDevices; none: there is no Metal device
    size_t default_device = 0;            // position in `devices`

    std::vector<unsigned> widths;         // threads of a simdgroup, by kernel; empty: as the profiles say

    gpu::Settings gpu;
    Faults faults;
    std::string trace;   // file, or "-" for standard error; empty: no trace
    bool strict = false; // errors and leaks make the exit status 70
    bool timed = false;  // `inferno tune` measures time, as on a real device, and not what kernels do
};

// The settings of the process. The first call reads them, and configures the GPU where there is a device. A value that
// is not allowed is told on standard error, and then there is no device.
const Settings & settings();

} // namespace metal_sim
