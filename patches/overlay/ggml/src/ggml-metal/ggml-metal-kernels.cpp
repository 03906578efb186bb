#include "ggml-metal-kernels.h"

#include "ggml-metal-probe.h"

namespace {

struct listener {
    void (*each)(const char * name, void * data);
    void * data;
};

}

static thread_local const listener * t_listener = nullptr;

void ggml_metal_kernels_note(const char * name) {
    if (t_listener) {
        t_listener->each(name, t_listener->data);
    }
}

void ggml_metal_device_kernels(
        ggml_metal_device_t dev, const ggml_tensor * op, void (*each)(const char * name, void * data), void * data) {
    const listener it = { each, data };

    // also where an assertion is thrown
    struct listening {
        listening(const listener * it) { t_listener = it; }
        ~listening() { t_listener = nullptr; }
    } listening(&it);

    ggml_metal_device_encodes(dev, op);
}
