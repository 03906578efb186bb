#include "faults.h"

#include <algorithm>
#include <cstdlib>
#include <map>

namespace metal_sim {

namespace {

const std::map<std::string, bool DeviceFaults::*> flags = {
    {"shuffle", &DeviceFaults::shuffle},
    {"reorder", &DeviceFaults::reorder},
    {"interleave", &DeviceFaults::interleave},
    {"stale-reads", &DeviceFaults::stale_reads},
    {"simd-max-half", &DeviceFaults::simd_max_half},
    {"unaligned-loads", &DeviceFaults::unaligned_loads},
    {"flush-half", &DeviceFaults::flush_half},
    {"division-by-zero", &DeviceFaults::division_by_zero},
    {"large-buffers", &DeviceFaults::large_buffers},
    {"no-copy-alignment", &DeviceFaults::no_copy_alignment},
};

// A number from 1, or nothing.
std::optional<uint64_t> number(const std::string & text) {
    if (text.empty() || text.find_first_not_of("0123456789") != std::string::npos) {
        return std::nullopt;
    }
    const uint64_t value = strtoull(text.c_str(), nullptr, 10);
    return value > 0 ? std::optional(value) : std::nullopt;
}

// Bytes with one of the units KiB, MiB, GiB, or nothing.
std::optional<uint64_t> bytes(const std::string & text) {
    static const std::map<std::string, unsigned> units = {{"KiB", 10}, {"MiB", 20}, {"GiB", 30}};
    for (const auto & [unit, shift] : units) {
        if (text.size() > unit.size() && text.ends_with(unit)) {
            const auto value = number(text.substr(0, text.size() - unit.size()));
            return value ? std::optional(*value << shift) : std::nullopt;
        }
    }
    return std::nullopt;
}

std::string allowed() {
    std::string names = "profile";
    for (const auto & [name, flag] : flags) {
        names += ", " + name;
    }
    return names + ", nil-buffer=<number of the creation, or size such as 64MiB>, "
                   "nil-pipeline=<pattern of kernel names>, nil-library=<the same>, unfinished=<pattern of kernel names>, "
                   "exception=<number of the dispatch>, timeout=<number of the command buffer>, unplug=<number of the command buffer>";
}

} // namespace

DeviceFaults Faults::of(const Profile & device) const {
    DeviceFaults faults = everywhere;
    if (profile) {
        const Quirks & quirks = device.quirks;
        faults.reorder |= quirks.concurrent_barriers_do_not_order;
        faults.stale_reads |= quirks.stale_reads_in_concurrent_encoders;
        faults.simd_max_half |= quirks.simd_max_half_wrong_at_infinity;
        faults.unaligned_loads |= quirks.unaligned_loads_wrong;
        faults.flush_half |= quirks.half_subnormals_flushed;
        faults.large_buffers |= quirks.large_buffers_refused;
        faults.no_copy_alignment |= quirks.no_copy_needs_page_alignment;
    }
    return faults;
}

std::optional<Faults> Faults::parse(const std::string & list, std::string & error) {
    Faults faults;
    for (size_t start = 0; start <= list.size();) {
        const size_t end = std::min(list.find(',', start), list.size());
        const std::string item = list.substr(start, end - start);
        start = end + 1;
        if (item.empty()) {
            continue;
        }
        const size_t equals = item.find('=');
        const std::string name = item.substr(0, equals);
        const std::string value = equals == std::string::npos ? "" : item.substr(equals + 1);

        bool good = true;
        if (auto flag = flags.find(name); flag != flags.end() && equals == std::string::npos) {
            faults.everywhere.*flag->second = true;
        } else if (item == "profile") {
            faults.profile = true;
        } else if (name == "nil-buffer") {
            faults.nil_buffer_number = number(value);
            faults.nil_buffer_bytes = bytes(value);
            good = faults.nil_buffer_number || faults.nil_buffer_bytes;
        } else if (name == "nil-pipeline") {
            faults.nil_pipeline = value;
            good = !value.empty();
        } else if (name == "nil-library") {
            faults.nil_library = value;
            good = !value.empty();
        } else if (name == "unfinished") {
            faults.unfinished = value;
            good = !value.empty();
        } else if (name == "exception") {
            faults.exception = number(value);
            good = faults.exception.has_value();
        } else if (name == "timeout") {
            faults.timeout = number(value);
            good = faults.timeout.has_value();
        } else if (name == "unplug") {
            faults.unplug = number(value);
            good = faults.unplug.has_value();
        } else {
            good = false;
        }
        if (!good) {
            error = "'" + item + "' is not a fault; allowed are " + allowed();
            return std::nullopt;
        }
    }
    return faults;
}

} // namespace metal_sim
