// What a device is, as its backend knows it, and how it is to be used, as the application decides from that.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ggml_device_location {
    GGML_DEVICE_LOCATION_UNKNOWN  = 0,
    GGML_DEVICE_LOCATION_BUILT_IN = 1,
    GGML_DEVICE_LOCATION_SLOT     = 2,
    GGML_DEVICE_LOCATION_EXTERNAL = 3,
};

struct ggml_device_profile {
    char name[128]; // the maker's name for it

    uint64_t registry_id; // the system's number for this very device, until the next start; 0: it has none
    enum ggml_device_location location;

    bool low_power; // the one of several that saves energy
    bool removable; // can be unplugged
    bool headless;  // no display hangs on it

    bool     unified_memory;      // one memory with the host
    uint64_t max_buffer_size;     // bytes in one buffer
    uint64_t max_working_set;     // bytes that it can use at once without being slowed down
    uint32_t threadgroup_memory;  // bytes that a threadgroup shares
    uint32_t simdgroup_width;     // threads, as a pipeline made for the question says; 0: none could be made
    bool     simdgroup_width_known; // the width needed no such pipeline: it is the same on all of the maker's devices

    bool simdgroup_reduction; // sums and maxima over a simdgroup are used
    bool simdgroup_matrix;    // products of small matrices over a simdgroup are used
    bool bfloat;              // the type exists

    // the highest member of each family of features; 0: none
    uint32_t family_apple;
    uint32_t family_mac;
    uint32_t family_common;
    uint32_t family_metal;

    bool lost; // it is gone since the backend started, and all that was on it
};

enum ggml_device_buffers {
    GGML_DEVICE_BUFFERS_SHARED  = 0, // the host's memory, that the device reads
    GGML_DEVICE_BUFFERS_MANAGED = 1, // one copy on each side, kept equal by the driver
    GGML_DEVICE_BUFFERS_PRIVATE = 2, // the device's memory, that the host does not see
};

struct ggml_device_plan {
    bool     concurrent;      // operations that do not depend on each other may overlap; barriers order the others
    enum ggml_device_buffers buffers;
    bool     map_host_memory; // weights may stay where the host has mapped their file
    uint32_t staging;         // bytes of the buffer that is kept for copies to the device and back; 0: none is kept
    uint64_t block;           // bytes of one allocation, but for a tensor that is larger
    uint32_t command_buffers; // parts that a graph is cut into, beside its beginning
};

#ifdef __cplusplus
}
#endif
