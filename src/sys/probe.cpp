// Probes of a device as it is planned now: how fast copies are, how large a buffer may be.

#include "guard.h"

#include "ggml-cpp.h"

#include <chrono>
#include <stdexcept>
#include <vector>

namespace {

ggml_backend_ptr start(ggml_backend_dev_t device) {
    ggml_backend_ptr backend(ggml_backend_dev_init(device, nullptr));
    if (!backend) {
        throw std::runtime_error("the backend cannot be started");
    }
    return backend;
}

// Bytes a second of the fastest of some runs.
template <typename F> double rate(size_t bytes, ggml_backend_t backend, F && copy) {
    double best = 0;
    for (int run = 0; run < 4; ++run) {
        const auto began = std::chrono::steady_clock::now();
        copy();
        ggml_backend_synchronize(backend);
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
        best = std::max(best, (double) bytes / std::max(1e-9, took.count()));
    }
    return best;
}

} // namespace

inf_status inf_probe_copies(ggml_backend_dev_t device, size_t bytes, inf_copies * copies, inf_error * error) {
    *copies = {};
    return inf::guard(error, [&] {
        ggml_backend_ptr        backend = start(device);
        ggml_context_ptr        context(ggml_init({ggml_tensor_overhead() * 2, nullptr, true}));
        ggml_tensor *           tensor = ggml_new_tensor_1d(context.get(), GGML_TYPE_I8, (int64_t) bytes);
        ggml_backend_buffer_ptr buffer(ggml_backend_alloc_ctx_tensors(context.get(), backend.get()));
        if (!buffer) {
            throw std::bad_alloc();
        }
        std::vector<uint8_t> sent(bytes), back(bytes);
        for (size_t i = 0; i < bytes; ++i) {
            sent[i] = (uint8_t) (i * 2654435761u >> 13);
        }
        copies->to_device = rate(bytes, backend.get(), [&] { ggml_backend_tensor_set(tensor, sent.data(), 0, bytes); });
        copies->from_device = rate(bytes, backend.get(), [&] { ggml_backend_tensor_get(tensor, back.data(), 0, bytes); });
        copies->same = sent == back;
    });
}

inf_status inf_probe_memory(ggml_backend_dev_t device, size_t bytes, bool * given, inf_error * error) {
    *given = false;
    return inf::guard(error, [&] {
        ggml_backend_ptr        backend = start(device);
        ggml_backend_buffer_ptr buffer(ggml_backend_alloc_buffer(backend.get(), bytes));
        *given = buffer != nullptr;
    });
}
