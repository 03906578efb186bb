#include "settings.h"

#include "memory.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace metal_sim {

namespace {

const Profile * profile_named(const std::string & id) {
    for (size_t i = 0; i < profile_count; ++i) {
        if (id == profiles[i].id) {
            return &profiles[i];
        }
    }
    return nullptr;
}

const Machine * machine_named(const std::string & id) {
    for (size_t i = 0; i < machine_count; ++i) {
        if (id == machines[i].id) {
            return &machines[i];
        }
    }
    return nullptr;
}

std::string device_names() {
    std::string names;
    for (size_t i = 0; i < profile_count; ++i) {
        names += std::string(names.empty() ? "" : ", ") + profiles[i].id;
    }
    for (size_t i = 0; i < machine_count; ++i) {
        names += std::string(", ") + machines[i].id;
    }
    return names;
}

// Each reads one value into the settings and gives what is allowed, or nothing where the value is good.
std::string read_devices(const std::string & value, Settings & settings) {
    if (const Profile * profile = profile_named(value)) {
        settings.devices = {profile};
        return "";
    }
    if (const Machine * machine = machine_named(value)) {
        for (const char * id : machine->devices) {
            if (id) {
                if (strcmp(id, machine->default_device) == 0) {
                    settings.default_device = settings.devices.size();
                }
                settings.devices.push_back(profile_named(id));
            }
        }
        return "";
    }
    return device_names();
}

std::string read_mode(const std::string & value, Settings & settings) {
    if (value == "lockstep") {
        settings.gpu.mode = gpu::Mode::lockstep;
    } else if (value == "free") {
        settings.gpu.mode = gpu::Mode::free;
    } else {
        return "lockstep, free";
    }
    return "";
}

bool is_number(const std::string & value) {
    return !value.empty() && value.size() <= 18 && value.find_first_not_of("0123456789") == std::string::npos;
}

std::string read_seed(const std::string & value, Settings & settings) {
    settings.gpu.seed = strtoull(value.c_str(), nullptr, 10);
    return is_number(value) ? "" : "a whole number";
}

// One width for all kernels, or several, of which each kernel gets one by its name.
std::string read_width(const std::string & value, Settings & settings) {
    for (size_t start = 0; start <= value.size();) {
        const size_t end = std::min(value.find(',', start), value.size());
        const std::string part = value.substr(start, end - start);
        if (part != "8" && part != "16" && part != "32" && part != "64") {
            return "8, 16, 32, 64, or a list of these with commas";
        }
        settings.widths.push_back(static_cast<unsigned>(strtoul(part.c_str(), nullptr, 10)));
        start = end + 1;
    }
    return "";
}

std::string read_workers(const std::string & value, Settings & settings) {
    settings.gpu.workers = static_cast<unsigned>(strtoul(value.c_str(), nullptr, 10));
    return is_number(value) && settings.gpu.workers <= 1024 ? "" : "threads, from 0 (one a core) to 1024";
}

std::string read_switch(const std::string & value, bool & flag) {
    flag = value == "1";
    return value == "1" || value == "0" ? "" : "0, 1";
}

std::string read_count_bytes(const std::string & value, Settings & settings) {
    return read_switch(value, settings.gpu.count_bytes);
}

std::string read_strict(const std::string & value, Settings & settings) {
    return read_switch(value, settings.strict);
}

std::string read_timed(const std::string & value, Settings & settings) {
    return read_switch(value, settings.timed);
}

std::string read_trace(const std::string & value, Settings & settings) {
    settings.trace = value;
    return value.empty() ? "a file, -" : "";
}

std::string read_faults(const std::string & value, Settings & settings) {
    std::string error;
    if (auto faults = Faults::parse(value, error)) {
        settings.faults = *faults;
    }
    return error;
}

struct Variable {
    const char * name;
    std::string (*read)(const std::string & value, Settings & settings);
};

const Variable variables[] = {
    {"INFERNO_METAL_SIM", read_devices},
    {"INFERNO_METAL_SIM_WIDTH", read_width},
    {"INFERNO_METAL_SIM_MODE", read_mode},
    {"INFERNO_METAL_SIM_SEED", read_seed},
    {"INFERNO_METAL_SIM_WORKERS", read_workers},
    {"INFERNO_METAL_SIM_FAULTS", read_faults},
    {"INFERNO_METAL_SIM_TRACE", read_trace},
    {"INFERNO_METAL_SIM_COUNT_BYTES", read_count_bytes},
    {"INFERNO_METAL_SIM_STRICT", read_strict},
    {"INFERNO_METAL_SIM_TIMED", read_timed},
};

Settings read() {
    Settings settings;
    bool good = true;
    for (const Variable & variable : variables) {
        const char * value = getenv(variable.name);
        if (!value || !*value) {
            continue;
        }
        const std::string allowed = variable.read(value, settings);
        if (!allowed.empty()) {
            fprintf(stderr, "metal-sim: %s=%s is not allowed; allowed: %s. There is no Metal device.\n", variable.name,
                    value, allowed.c_str());
            good = false;
        }
    }
    if (!good) {
        settings = Settings();
    }
    if (!settings.devices.empty()) {
        // before the GPU, which has to see wrong accesses of its kernels first
        tell_wrong_accesses();
        gpu::configure(settings.gpu);
    }
    return settings;
}

} // namespace

const Settings & settings() {
    // never destroyed: threads may still run when the process exits
    static const Settings * settings = new Settings(read());
    return *settings;
}

} // namespace metal_sim
