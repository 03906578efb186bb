#include "ggml-metal-probe.h"

#include "ggml-impl.h"
#include "ggml-metal-ops.h"

#include <mutex>
#include <string>
#include <unordered_map>

// What decides which pipelines an operation takes, and nothing else of it.
static void describe(std::string & key, const ggml_tensor * tensor) {
    const auto add = [&](const void * data, size_t size) { key.append((const char *) data, size); };
    add(&tensor->type, sizeof(tensor->type));
    add(tensor->ne, sizeof(tensor->ne));
    add(tensor->nb, sizeof(tensor->nb));
}

static std::string key_of(ggml_metal_device_t dev, const ggml_tensor * op) {
    std::string key((const char *) &dev, sizeof(dev));
    key.append((const char *) &op->op, sizeof(op->op));
    key.append((const char *) op->op_params, sizeof(op->op_params));
    describe(key, op);
    for (const ggml_tensor * src : op->src) {
        key.push_back(src != nullptr);
        if (src) {
            describe(key, src);
        }
    }
    return key;
}

// A tensor without memory: what is asked about may lie anywhere, or nowhere yet.
static ggml_tensor detached(const ggml_tensor * tensor) {
    ggml_tensor copy = *tensor;
    copy.buffer   = nullptr;
    copy.data     = nullptr;
    copy.view_src = nullptr;
    return copy;
}

bool ggml_metal_device_encodes(ggml_metal_device_t dev, const ggml_tensor * op) {
    ggml_tensor node = detached(op);
    ggml_tensor srcs[GGML_MAX_SRC];
    for (int i = 0; i < GGML_MAX_SRC; ++i) {
        if (op->src[i]) {
            srcs[i] = detached(op->src[i]);
            node.src[i] = &srcs[i];
        }
    }
    node.flags |= GGML_TENSOR_FLAG_COMPUTE;

    ggml_tensor * nodes[1] = { &node };
    ggml_cgraph graph = {};
    graph.size    = 1;
    graph.n_nodes = 1;
    graph.nodes   = nodes;

    ggml_metal_op_t ctx = ggml_metal_op_init(dev, nullptr, &graph, ggml_metal_device_get_fusion_info(dev), 0, 1, false, false, 0);
    if (ggml_metal_op_n_nodes(ctx) > 0) {
        ggml_metal_op_encode(ctx, 0);
    }
    const bool res = !ggml_metal_op_failed(ctx);
    ggml_metal_op_free(ctx);

    return res;
}

bool ggml_metal_device_can_encode(ggml_metal_device_t dev, const ggml_tensor * op) {
    if (ggml_metal_device_get_props(dev)->gpu_family > 0 || ggml_op_is_empty(op->op) || ggml_is_empty(op)) {
        return true;
    }

    // shapes follow the length of the cache, so their number grows slowly and without end
    static constexpr size_t n_max = 16384;

    static std::mutex mutex;
    static std::unordered_map<std::string, bool> known;

    std::string key = key_of(dev, op);
    {
        const std::lock_guard<std::mutex> lock(mutex);
        const auto it = known.find(key);
        if (it != known.end()) {
            return it->second;
        }
    }

    const ggml_metal_lanes lanes = ggml_metal_device_get_props(dev)->lanes;

    bool res = ggml_metal_device_encodes(dev, op);
    if (!res && ggml_metal_device_get_props(dev)->lanes != lanes) {
        // one of its kernels turned out to be of another width than the probe: now there is a form for that
        res = ggml_metal_device_encodes(dev, op);
    }
    if (!res) {
        GGML_LOG_DEBUG("%s: %s has no pipeline on this device\n", __func__, ggml_op_desc(op));
    }

    const std::lock_guard<std::mutex> lock(mutex);
    if (known.size() >= n_max) {
        known.clear();
    }
    known.emplace(std::move(key), res);

    return res;
}
