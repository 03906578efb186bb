#include "ggml-metal-refused.h"

#include <mutex>
#include <set>
#include <utility>

static std::mutex g_mutex;
static std::set<std::pair<ggml_metal_device_t, const ggml_metal_fusion *>> g_refused;

void ggml_metal_device_refuse_fusion(ggml_metal_device_t dev, const ggml_metal_fusion * fusion) {
    const std::lock_guard<std::mutex> lock(g_mutex);
    g_refused.emplace(dev, fusion);
}

bool ggml_metal_device_refuses_fusion(ggml_metal_device_t dev, const ggml_metal_fusion * fusion) {
    const std::lock_guard<std::mutex> lock(g_mutex);
    return g_refused.count({ dev, fusion }) > 0;
}
