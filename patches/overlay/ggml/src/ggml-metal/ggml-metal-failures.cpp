#include "ggml-metal-failures.h"

#include <map>
#include <mutex>

static std::mutex g_mutex;
static std::map<ggml_metal_device_t, uint64_t> g_failures;

void ggml_metal_device_note_failure(ggml_metal_device_t dev) {
    const std::lock_guard<std::mutex> lock(g_mutex);
    ++g_failures[dev];
}

uint64_t ggml_metal_device_failures(ggml_metal_device_t dev) {
    const std::lock_guard<std::mutex> lock(g_mutex);
    return g_failures[dev];
}
