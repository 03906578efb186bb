#include "ggml-metal-guard.h"

#include <atomic>

static std::atomic<ggml_guard_t> g_guard{nullptr};

void ggml_metal_guard_set(ggml_guard_t guard) {
    g_guard = guard;
}

int ggml_metal_guard_encode(ggml_metal_op_t ctx, int idx) {
    const ggml_guard_t guard = g_guard;
    if (!guard) {
        return ggml_metal_op_encode(ctx, idx);
    }

    struct encoding {
        ggml_metal_op_t ctx;
        int             idx;
        int             nodes;
    } it = { ctx, idx, 0 };

    const bool good = guard([](void * data) {
        encoding * it = (encoding *) data;
        it->nodes = ggml_metal_op_encode(it->ctx, it->idx);
    }, &it);

    return good ? it.nodes : -1;
}
