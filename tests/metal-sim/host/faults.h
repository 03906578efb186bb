// What a device is made to do wrong, beyond what its profile says.
#pragma once

#include "profile.h"

#include <cstdint>
#include <optional>
#include <string>

namespace metal_sim {

// Of one device.
struct DeviceFaults {
    // inside a concurrent compute encoder
    bool shuffle = false;     // dispatches between two barriers run in an order drawn from the seed, as Metal allows
    bool reorder = false;     // barriers order nothing: all dispatches run in an order drawn from the seed
    bool interleave = false;  // barriers order nothing: dispatches run at once, their threadgroups by turns
    bool stale_reads = false; // no dispatch sees what another one of the encoder wrote

    // inside kernels
    bool simd_max_half = false;
    bool unaligned_loads = false;
    bool flush_half = false;
    bool division_by_zero = false; // is an error

    // in the creation of buffers
    bool large_buffers = false;     // one of 4 GiB or more is nil
    bool no_copy_alignment = false; // one without copy is nil unless it is whole pages

    bool operator==(const DeviceFaults &) const = default;
};

// Of the process.
struct Faults {
    DeviceFaults everywhere;
    bool profile = false; // also what the profile of the device says of its hardware

    std::optional<uint64_t> nil_buffer_number; // from 1: this creation of a buffer gives nil
    std::optional<uint64_t> nil_buffer_bytes;  // so does every one of this size or more
    std::optional<std::string> nil_pipeline;   // pattern of the shell over kernel names: these pipelines are nil
    std::optional<std::string> nil_library;    // the same: a library that has such a kernel is nil
    std::optional<std::string> unfinished;     // of kernels that match, the last threadgroup does not run
    std::optional<uint64_t> exception;         // from 1: while this dispatch is encoded, an exception is thrown
    std::optional<uint64_t> timeout;           // from 1: this command buffer is stopped half-way
    std::optional<uint64_t> unplug;            // from 1: with this command buffer its device is gone

    DeviceFaults of(const Profile & profile) const;

    // Reads a list as INFERNO_METAL_SIM_FAULTS has it; a message where it cannot.
    static std::optional<Faults> parse(const std::string & list, std::string & error);
};

} // namespace metal_sim
