#include "ggml-metal-plan.h"

#include <cstdlib>
#include <map>
#include <mutex>

static std::mutex g_mutex;
static std::map<ggml_metal_device_t, ggml_device_plan> g_plans;

void ggml_metal_plan_set(ggml_metal_device_t dev, const ggml_device_plan * plan) {
    const std::lock_guard<std::mutex> lock(g_mutex);
    if (plan) {
        g_plans[dev] = *plan;
    } else {
        g_plans.erase(dev);
    }
}

ggml_device_plan ggml_metal_plan_get(ggml_metal_device_t dev) {
    {
        const std::lock_guard<std::mutex> lock(g_mutex);
        const auto it = g_plans.find(dev);
        if (it != g_plans.end()) {
            return it->second;
        }
    }

    const ggml_metal_device_props * props = ggml_metal_device_get_props(dev);

    ggml_device_plan plan = {};
    // without unified memory the drivers do not order memory on the barriers of a concurrent encoder
    plan.concurrent      = props->has_unified_memory && getenv("GGML_METAL_CONCURRENCY_DISABLE") == nullptr;
    plan.buffers         = props->use_shared_buffers ? GGML_DEVICE_BUFFERS_SHARED : GGML_DEVICE_BUFFERS_PRIVATE;
    plan.map_host_memory = true;
    plan.staging         = 0;
    plan.block           = props->max_buffer_size;
    plan.command_buffers = 1;
    return plan;
}
