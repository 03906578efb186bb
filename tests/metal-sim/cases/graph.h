// One small graph on one backend: inputs by value, outputs as floats.
#pragma once

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-cpp.h"
#include "ggml.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

using Floats = std::vector<float>;

inline Floats normal(size_t n, float deviation, unsigned seed) {
    std::mt19937 engine(seed);
    std::normal_distribution<float> draw(0.0f, deviation);
    Floats values(n);
    for (float & value : values) {
        value = draw(engine);
    }
    return values;
}

// The bytes of `values` as a tensor of that type holds them, in rows of `columns`.
inline std::vector<uint8_t> encoded(ggml_type type, const Floats & values, int64_t columns) {
    const int64_t rows = (int64_t) values.size() / columns;
    std::vector<uint8_t> bytes(rows * ggml_row_size(type, columns));
    if (type == GGML_TYPE_F32) {
        memcpy(bytes.data(), values.data(), bytes.size());
    } else if (type == GGML_TYPE_F16) {
        ggml_fp32_to_fp16_row(values.data(), (ggml_fp16_t *) bytes.data(), (int64_t) values.size());
    } else if (type == GGML_TYPE_BF16) {
        ggml_fp32_to_bf16_row(values.data(), (ggml_bf16_t *) bytes.data(), (int64_t) values.size());
    } else {
        ggml_quantize_chunk(type, values.data(), bytes.data(), 0, rows, columns, nullptr);
    }
    return bytes;
}

// What a tensor of that type holds when it was given `values`.
inline Floats decoded(ggml_type type, const std::vector<uint8_t> & bytes, size_t n) {
    Floats values(n);
    if (type == GGML_TYPE_F32) {
        memcpy(values.data(), bytes.data(), n * sizeof(float));
    } else if (type == GGML_TYPE_I32) {
        std::vector<int32_t> integers(n);
        memcpy(integers.data(), bytes.data(), n * sizeof(int32_t));
        values.assign(integers.begin(), integers.end());
    } else {
        ggml_get_type_traits(type)->to_float(bytes.data(), values.data(), (int64_t) n);
    }
    return values;
}

// Makes the tensors of a graph and remembers what goes into its inputs.
struct Maker {
    ggml_context * context;
    std::vector<std::pair<ggml_tensor *, std::vector<uint8_t>>> inputs;

    ggml_tensor * input(ggml_type type, std::vector<int64_t> shape, const Floats & values) {
        ggml_tensor * tensor = ggml_new_tensor(context, type, (int) shape.size(), shape.data());
        inputs.emplace_back(tensor, encoded(type, values, shape[0]));
        return tensor;
    }

    ggml_tensor * integers(std::vector<int64_t> shape, const std::vector<int32_t> & values) {
        ggml_tensor * tensor = ggml_new_tensor(context, GGML_TYPE_I32, (int) shape.size(), shape.data());
        const auto * bytes = (const uint8_t *) values.data();
        inputs.emplace_back(tensor, std::vector<uint8_t>(bytes, bytes + values.size() * sizeof(int32_t)));
        return tensor;
    }
};

using Build = std::function<ggml_tensor *(Maker &)>;

struct Result {
    ggml_status status = GGML_STATUS_FAILED;
    bool supported = false; // by the backend's device
    Floats values;          // of the last node; empty unless the status is success
};

// Computes what `build` returns. All memory of the graph is filled with `fill` before the inputs are written.
inline Result compute(ggml_backend_t backend, const Build & build, uint8_t fill = 0) {
    Result result;
    ggml_context_ptr context(ggml_init({ggml_tensor_overhead() * 256 + ggml_graph_overhead(), nullptr, true}));
    Maker maker{context.get(), {}};
    ggml_tensor * out = build(maker);
    result.supported = ggml_backend_supports_op(backend, out);
    if (!result.supported) {
        return result;
    }
    ggml_cgraph * graph = ggml_new_graph(context.get());
    ggml_build_forward_expand(graph, out);
    ggml_backend_buffer_ptr buffer(ggml_backend_alloc_ctx_tensors(context.get(), backend));
    if (!buffer) {
        result.status = GGML_STATUS_ALLOC_FAILED;
        return result;
    }
    ggml_backend_buffer_clear(buffer.get(), fill);
    for (const auto & [tensor, bytes] : maker.inputs) {
        ggml_backend_tensor_set(tensor, bytes.data(), 0, bytes.size());
    }
    result.status = ggml_backend_graph_compute(backend, graph);
    if (result.status == GGML_STATUS_SUCCESS) {
        std::vector<uint8_t> bytes(ggml_nbytes(out));
        ggml_backend_tensor_get(out, bytes.data(), 0, bytes.size());
        result.values = decoded(out->type, bytes, ggml_nelements(out));
    }
    return result;
}

// The mean square of the difference over the mean square of the reference; NaN where either holds one.
inline double error_of(const Floats & values, const Floats & reference) {
    double difference = 0, size = 0;
    if (values.size() != reference.size()) {
        return NAN;
    }
    for (size_t i = 0; i < values.size(); ++i) {
        difference += std::pow((double) values[i] - reference[i], 2);
        size += std::pow((double) reference[i], 2);
    }
    return size == 0 ? difference : difference / size;
}
