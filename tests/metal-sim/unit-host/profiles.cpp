// Devices made for these tests, in place of those of src/device/profiles.
#include "../host/profile.h"

namespace metal_sim {

constexpr Profile discrete = {
    .id = "test-discrete",
    .name = "Discrete",
    .vendor = "Test",
    .architecture = "test",
    .simdgroup_width = 32,
    .simdgroup_reduction = true,
    .simdgroup_matrix = false,
    .bfloat = Bfloat::none,
    .threadgroup_memory = 32768,
    .max_threads = 1024,
    .unified_memory = false,
    .memory = 1 << 30,
    .max_buffer_length = 1 << 28,
    .recommended_max_working_set = 1 << 30,
    .residency_sets = false,
    .location = Location::slot,
    .low_power = false,
    .removable = false,
    .headless = true,
    .registry_id = 17,
    .family_apple = 0,
    .family_mac = 2,
    .family_common = 3,
    .family_metal = 3,
    .quirks = {.concurrent_barriers_do_not_order = true},
};

constexpr Profile unified = {
    .id = "test-unified",
    .name = "Unified",
    .vendor = "Test",
    .architecture = "test",
    .simdgroup_width = 32,
    .simdgroup_reduction = true,
    .simdgroup_matrix = true,
    .bfloat = Bfloat::native,
    .threadgroup_memory = 32768,
    .max_threads = 1024,
    .unified_memory = true,
    .memory = 1 << 30,
    .max_buffer_length = 1 << 28,
    .recommended_max_working_set = 1 << 29,
    .residency_sets = true,
    .location = Location::built_in,
    .low_power = true,
    .removable = false,
    .headless = false,
    .registry_id = 18,
    .family_apple = 7,
    .family_mac = 0,
    .family_common = 3,
    .family_metal = 0,
    .quirks = {},
};

const Profile profiles[] = {discrete, unified};
const size_t profile_count = 2;

const Machine machines[] = {{
    .id = "test-machine",
    .name = "Both",
    .devices = {"test-unified", "test-discrete"},
    .default_device = "test-discrete",
}};
const size_t machine_count = 1;

} // namespace metal_sim
