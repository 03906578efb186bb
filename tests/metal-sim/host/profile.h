// What a simulated device is like: one Profile for each src/device/profiles/*.toml, one Machine for each of
// src/device/profiles/machines/*.toml.
//
// build.rs writes the tables from those files; the names of the members are the keys there. Where the values come
// from is said in the files only.
#pragma once

#include <cstddef>
#include <cstdint>

namespace metal_sim {

enum class Location : uint8_t { built_in, slot, external };

enum class Bfloat : uint8_t { none, emulated, native };

// What a device does wrong; see src/device/profiles/README.md for each.
struct Quirks {
    bool concurrent_barriers_do_not_order;
    bool stale_reads_in_concurrent_encoders;
    bool simd_max_half_wrong_at_infinity;
    bool unaligned_loads_wrong;
    bool half_subnormals_flushed;
    bool short_index_miscompiled;
    bool shift64_slow;
    bool large_buffers_refused;
    bool no_copy_needs_page_alignment;
};

struct Profile {
    const char * id;   // name of the file, without .toml
    const char * name; // as Metal reports it
    const char * vendor;
    const char * architecture;

    uint32_t simdgroup_width; // threads
    bool simdgroup_reduction; // simd_sum, simd_max, simd_shuffle, … exist
    bool simdgroup_matrix;    // simdgroup_multiply_accumulate exists
    Bfloat bfloat;
    uint32_t threadgroup_memory; // bytes a threadgroup can have
    uint32_t max_threads;        // threads a threadgroup can have

    bool unified_memory;
    uint64_t memory;                      // bytes; of the whole machine where memory is unified
    uint64_t memory_bandwidth;            // bytes a second
    uint64_t max_buffer_length;           // bytes
    uint64_t recommended_max_working_set; // bytes
    bool residency_sets;

    Location location;
    bool low_power;
    bool removable;
    bool headless;
    uint64_t registry_id;

    // the highest member of each MTLGPUFamily that the device supports; 0: none
    uint32_t family_apple;
    uint32_t family_mac;
    uint32_t family_common;
    uint32_t family_metal;

    Quirks quirks;
};

constexpr size_t max_devices = 4;

struct Machine {
    const char * id;                   // name of the file, without .toml
    const char * name;
    const char * devices[max_devices]; // ids of profiles, in the order of MTLCopyAllDevices; null after the last
    const char * default_device;       // id of the one that MTLCreateSystemDefaultDevice gives
};

extern const Profile profiles[];
extern const size_t profile_count;
extern const Machine machines[];
extern const size_t machine_count;

} // namespace metal_sim
