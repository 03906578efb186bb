// What the tests of the simulated GPU share: checks, and short ways to make a pipeline and run it.
#pragma once

#include "../gpu/gpu.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

struct Test {
    const char * name;
    void (*body)();
};

inline std::vector<Test> & all_tests() {
    static std::vector<Test> tests;
    return tests;
}

inline int & failures() {
    static int n = 0;
    return n;
}

struct Registration {
    Registration(const char * name, void (*body)()) { all_tests().push_back({name, body}); }
};

#define TEST(name)                                                                                                     \
    static void name();                                                                                                \
    static const Registration name##_registration(#name, name);                                                        \
    static void name()

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("  %s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                           \
            ++failures();                                                                                              \
        }                                                                                                              \
    } while (0)

#define CHECK_EQUAL(a, b)                                                                                              \
    do {                                                                                                               \
        const auto left = (a);                                                                                         \
        const auto right = (b);                                                                                        \
        if (!(left == right)) {                                                                                        \
            printf("  %s:%d: %s is %s, %s is %s\n", __FILE__, __LINE__, #a, std::to_string(left).c_str(), #b,          \
                   std::to_string(right).c_str());                                                                     \
            ++failures();                                                                                              \
        }                                                                                                              \
    } while (0)

inline bool contains(const std::string & text, const std::string & part) {
    return text.find(part) != std::string::npos;
}

inline std::shared_ptr<gpu::Library> library(const std::string & source) {
    std::string error;
    auto result = gpu::library_from_source("#include <metal_stdlib>\nusing namespace metal;\n" + source, {}, error);
    if (!result) {
        printf("  %s\n", error.c_str());
        ++failures();
    }
    return result;
}

inline std::shared_ptr<gpu::Pipeline> pipeline(const std::shared_ptr<gpu::Library> & library, const std::string & name,
                                               const gpu::Device & device = {},
                                               const std::vector<gpu::Constant> & constants = {}) {
    std::string error;
    auto result = library ? gpu::make_pipeline(library, name, constants, device, error) : nullptr;
    if (!result) {
        printf("  %s\n", error.c_str());
        ++failures();
    }
    return result;
}

template <class T> gpu::Binding bind(std::vector<T> & v) { return {v.data(), v.size() * sizeof(T)}; }

inline gpu::Dispatch dispatch(const std::shared_ptr<gpu::Pipeline> & pipeline, unsigned threadgroups, unsigned threads,
                              const std::vector<gpu::Binding> & buffers, uint32_t memory = 0) {
    gpu::Dispatch d;
    d.pipeline = pipeline;
    d.threadgroups[0] = threadgroups;
    d.threads[0] = threads;
    for (size_t i = 0; i < buffers.size(); ++i) {
        d.buffers[i] = buffers[i];
    }
    d.threadgroup_memory[0] = memory;
    return d;
}

// Runs a dispatch that has to end well.
inline gpu::Counts run_well(const gpu::Dispatch & d) {
    if (!d.pipeline) {
        return {};
    }
    const gpu::Outcome outcome = gpu::run(d);
    if (!outcome.error.empty()) {
        printf("  error: %s\n", outcome.error.c_str());
        ++failures();
    }
    return outcome.counts;
}

// The error of a dispatch that has to end badly.
inline std::string error_of(const gpu::Dispatch & d) {
    if (!d.pipeline) {
        return {};
    }
    const std::string error = gpu::run(d).error;
    if (error.empty()) {
        printf("  no error from %s\n", d.pipeline->name().c_str());
        ++failures();
    }
    return error;
}

inline gpu::Device of_width(unsigned width) {
    gpu::Device device;
    device.simdgroup_width = width;
    device.simdgroup_matrix = width == 32;
    return device;
}
