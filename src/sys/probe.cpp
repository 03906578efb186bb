// Probes of a device as it is planned now: how fast copies are, how large a buffer may be, what a product costs.

#include "guard.h"

#include "ggml-cpp.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

#ifdef __linux__
// Of tests/metal-sim, where that is linked: what all dispatches came to since the first call. False where it is to be timed
// as a real device is.
extern "C" __attribute__((weak)) bool metal_sim_count(uint64_t * bytes, uint64_t * host_bytes, uint64_t * threadgroups);
#endif

namespace {

struct Counts {
    uint64_t bytes = 0, host_bytes = 0, threadgroups = 0;
};

// False where no device is simulated.
bool count(Counts & counts) {
#ifdef __linux__
    if (metal_sim_count) {
        return metal_sim_count(&counts.bytes, &counts.host_bytes, &counts.threadgroups);
    }
#endif
    (void) counts;
    return false;
}

// Distinct rows of a weight; the others repeat them, so that they need not be computed on the CPU.
constexpr int64_t DISTINCT = 32;
// Weights are read from memory in a model, not from a cache: as many copies are read as make so many bytes, up to a number.
constexpr size_t  SPREAD   = 64 << 20;
constexpr int64_t COPIES   = 16;
constexpr int     PRODUCTS = 16;
constexpr int     RUNS     = std::size(inf_product_cost{}.seconds);

// The weights and the other operand, with the result that they should have.
struct Operands {
    std::vector<uint8_t> weights;
    std::vector<float>   columns, expected;

    explicit Operands(const inf_product & p) : columns(p.row_length * p.columns), expected(p.rows * p.columns * slots(p)) {
        std::mt19937 engine(1);
        const auto   draw = [&](float scale) { return scale * ((float) engine() / 2147483648.0f - 1.0f); };
        const int64_t distinct = std::min(p.rows, DISTINCT);
        std::vector<float> values(distinct * p.row_length);
        const float scale = std::sqrt(3.0f / (float) p.row_length);
        std::generate(values.begin(), values.end(), [&] { return draw(scale); });
        std::generate(columns.begin(), columns.end(), [&] { return draw(1.0f); });

        const size_t row = ggml_row_size(p.type, p.row_length);
        const std::vector<float> importance(p.row_length, 1.0f);
        weights.resize(row * p.rows * std::max<int64_t>(1, p.experts));
        ggml_quantize_chunk(p.type, values.data(), weights.data(), 0, distinct, p.row_length, importance.data());
        // each expert begins with another one of the distinct rows
        const std::vector<uint8_t> first(weights.begin(), weights.begin() + (ptrdiff_t) (row * distinct));
        for (int64_t i = 0; i < (int64_t) (weights.size() / row); ++i) {
            memcpy(weights.data() + row * i, first.data() + row * row_of(p, i / p.rows, i % p.rows), row);
        }
        if (p.type != GGML_TYPE_F32) {
            ggml_get_type_traits(p.type)->to_float(weights.data(), values.data(), (int64_t) values.size());
        }
        for (int64_t c = 0; c < p.columns; ++c) {
            std::vector<float> sums;
            for (int64_t r = 0; r < distinct; ++r) {
                double sum = 0;
                for (int64_t i = 0; i < p.row_length; ++i) {
                    sum += (double) values[r * p.row_length + i] * columns[c * p.row_length + i];
                }
                sums.push_back((float) sum);
            }
            for (int64_t slot = 0; slot < slots(p); ++slot) {
                for (int64_t r = 0; r < p.rows; ++r) {
                    expected[(c * slots(p) + slot) * p.rows + r] = sums[row_of(p, expert_of(p, c, slot), r)];
                }
            }
        }
    }

    // Results of a column.
    static int64_t slots(const inf_product & p) { return p.experts > 0 ? p.used : 1; }

    static int64_t expert_of(const inf_product & p, int64_t column, int64_t slot) {
        return p.experts > 0 ? (5 * column + slot) % p.experts : 0;
    }

    // Which of the distinct rows is this one of an expert.
    static int64_t row_of(const inf_product & p, int64_t expert, int64_t row) {
        return (7 * expert + row) % std::min(p.rows, DISTINCT);
    }

    double error_of(const std::vector<float> & values) const {
        double difference = 0, size = 0;
        for (size_t i = 0; i < expected.size(); ++i) {
            difference += std::pow((double) values[i] - expected[i], 2);
            size += std::pow((double) expected[i], 2);
        }
        return std::isfinite(difference) ? difference / size : INFINITY;
    }
};

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

void inf_probe_begin(void) {
    Counts none;
    count(none);
}

inf_status inf_probe_product(ggml_backend_dev_t device, const inf_product * product, inf_product_cost * cost,
                             inf_error * error) {
    *cost = {};
    return inf::guard(error, [&] {
        const inf_product & p = *product;
        Counts before;
        const bool    simulated = count(before);
        const int64_t matrices  = std::max<int64_t>(1, p.experts);
        const size_t  bytes     = ggml_row_size(p.type, p.row_length) * p.rows * matrices;
        const int64_t copies    = simulated ? 1 : std::clamp<int64_t>((int64_t) (SPREAD / bytes), 1, COPIES);
        const int     products  = simulated ? 1 : PRODUCTS;

        ggml_backend_ptr backend = start(device);
        ggml_context_ptr context(ggml_init({ggml_tensor_overhead() * (COPIES + PRODUCTS + 2) + ggml_graph_overhead() + 4096, nullptr, true}));
        std::vector<ggml_tensor *> weights, results;
        for (int64_t i = 0; i < copies; ++i) {
            weights.push_back(ggml_new_tensor_3d(context.get(), p.type, p.row_length, p.rows, matrices));
        }
        ggml_tensor * columns = p.experts > 0 ? ggml_new_tensor_3d(context.get(), GGML_TYPE_F32, p.row_length, 1, p.columns)
                                              : ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, p.row_length, p.columns);
        ggml_tensor * choices = p.experts > 0 ? ggml_new_tensor_2d(context.get(), GGML_TYPE_I32, p.used, p.columns) : nullptr;
        ggml_cgraph * graph   = ggml_new_graph(context.get());
        for (int i = 0; i < products; ++i) {
            results.push_back(choices ? ggml_mul_mat_id(context.get(), weights[i % copies], columns, choices)
                                      : ggml_mul_mat(context.get(), weights[i % copies], columns));
            ggml_build_forward_expand(graph, results.back());
        }
        if (!ggml_backend_supports_op(backend.get(), results[0])) {
            return;
        }
        ggml_backend_buffer_ptr buffer(ggml_backend_alloc_ctx_tensors(context.get(), backend.get()));
        if (!buffer) {
            throw std::bad_alloc();
        }
        ggml_backend_buffer_clear(buffer.get(), 0xff);
        const Operands operands(p);
        for (ggml_tensor * tensor : weights) {
            ggml_backend_tensor_set(tensor, operands.weights.data(), 0, operands.weights.size());
        }
        ggml_backend_tensor_set(columns, operands.columns.data(), 0, operands.columns.size() * sizeof(float));
        if (choices) {
            std::vector<int32_t> chosen;
            for (int64_t i = 0; i < p.columns * p.used; ++i) {
                chosen.push_back((int32_t) Operands::expert_of(p, i / p.used, i % p.used));
            }
            ggml_backend_tensor_set(choices, chosen.data(), 0, chosen.size() * sizeof(int32_t));
        }
        const auto run = [&] {
            const uint64_t before = inf::failures();
            const auto     began  = std::chrono::steady_clock::now();
            if (ggml_backend_graph_compute(backend.get(), graph) != GGML_STATUS_SUCCESS || inf::failures() != before) {
                throw std::runtime_error("the device ended a product with an error");
            }
            const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
            return took.count() / products;
        };

        count(before);
        run(); // makes the kernels, and brings the weights to where they are read
        for (int i = 0; i < RUNS && !simulated; ++i) {
            cost->seconds[i] = run();
        }
        Counts after = before;
        count(after);
        cost->bytes        = after.bytes - before.bytes;
        cost->host_bytes   = after.host_bytes - before.host_bytes;
        cost->threadgroups = after.threadgroups - before.threadgroups;

        for (ggml_tensor * result : results) {
            std::vector<float> values(operands.expected.size());
            ggml_backend_tensor_get(result, values.data(), 0, values.size() * sizeof(float));
            cost->error = std::max(cost->error, operands.error_of(values));
        }
        cost->supported = true;
    });
}
