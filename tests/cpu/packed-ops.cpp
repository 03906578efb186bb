// Linked with llama.cpp's test-backend-ops: its weights go to the panel buffer type wherever that supports the operation.
//
// The program allocates a whole case on the backend under test, then a copy of it on the reference. This stands before the
// first of both (ld --wrap), and tells at the end how many weights were packed.
#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "panel/panel.h"

#include <cstdio>
#include <cstdlib>

extern "C" ggml_backend_buffer_t __real_ggml_backend_alloc_ctx_tensors(ggml_context * ctx, ggml_backend_t backend);

namespace {

int packed = 0;

void pack(ggml_tensor * op, ggml_backend_t backend) {
    ggml_tensor * w = op->src[0];
    if ((op->op != GGML_OP_MUL_MAT && op->op != GGML_OP_MUL_MAT_ID) || w->op != GGML_OP_NONE || w->data || w->view_src) {
        return;
    }
    ggml_backend_buffer_type_t type   = ggml_backend_cpu_panel_buffer_type();
    ggml_backend_buffer_t      buffer = ggml_backend_buft_alloc_buffer(type, ggml_backend_buft_get_alloc_size(type, w));
    w->buffer = buffer;
    const bool supported = ggml_backend_supports_op(backend, op);
    w->buffer = nullptr;
    if (!supported) {
        return ggml_backend_buffer_free(buffer);
    }
    // the few bytes of a case live as long as the process
    ggml_backend_tensor_alloc(buffer, w, ggml_backend_buffer_get_base(buffer));
    if (packed++ == 0) {
        atexit([] { printf("%d weights were packed\n", packed); });
    }
}

}  // namespace

extern "C" ggml_backend_buffer_t __wrap_ggml_backend_alloc_ctx_tensors(ggml_context * ctx, ggml_backend_t backend) {
    static const ggml_backend_t tested = backend;
    if (backend == tested) {
        for (ggml_tensor * t = ggml_get_first_tensor(ctx); t; t = ggml_get_next_tensor(ctx, t)) {
            pack(t, backend);
        }
    }
    return __real_ggml_backend_alloc_ctx_tensors(ctx, backend);
}
