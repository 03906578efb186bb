// Operations that llama.cpp's own tests do not have, on the device against the CPU or against doubles.
//
// usage: cases NAME…    exit status 0: all passed; 1: one failed; 2: no such case or no device
#include "graph.h"

#include "ggml-guard.h"
#include "ggml-kernels.h"
#include "ggml-product-shape.h"

#include <cstdarg>
#include <map>
#include <set>
#include <tuple>

static ggml_backend_t device;
static ggml_backend_t cpu;

// Says what was found and returns whether it is so.
static bool check(bool holds, const char * format, ...) __attribute__((format(printf, 2, 3)));
static bool check(bool holds, const char * format, ...) {
    va_list list;
    va_start(list, format);
    printf("  %s ", holds ? "ok  " : "FAIL");
    vprintf(format, list);
    printf("\n");
    va_end(list);
    return holds;
}

static bool agrees_with_cpu(const char * what, const Build & build, double limit, uint8_t fill = 0) {
    const Result ours = compute(device, build, fill);
    if (!ours.supported) {
        return check(false, "%s: not supported", what);
    }
    const double error = error_of(ours.values, compute(cpu, build).values);
    return check(ours.status == GGML_STATUS_SUCCESS && error <= limit, "%s: error %.3g, limit %.3g", what, error, limit);
}

// --- memory

static bool memset_range() {
    bool passed = true;
    ggml_context_ptr context(ggml_init({ggml_tensor_overhead() * 3, nullptr, true}));
    ggml_tensor * tensors[3];
    for (ggml_tensor *& tensor : tensors) {
        tensor = ggml_new_tensor_1d(context.get(), GGML_TYPE_I8, 256);
    }
    ggml_backend_buffer_ptr buffer(ggml_backend_alloc_ctx_tensors(context.get(), device));
    ggml_backend_buffer_clear(buffer.get(), 1);
    ggml_backend_tensor_memset(tensors[1], 7, 64, 32);
    for (int t = 0; t < 3; ++t) {
        uint8_t bytes[256];
        ggml_backend_tensor_get(tensors[t], bytes, 0, sizeof bytes);
        int wrong = 0;
        for (int i = 0; i < 256; ++i) {
            wrong += bytes[i] != (t == 1 && i >= 64 && i < 96 ? 7 : 1);
        }
        passed &= check(wrong == 0, "tensor %d: %d bytes are wrong", t, wrong);
    }
    return passed;
}

// A graph, and a part of a tensor that is written and read back, under every plan of where buffers lie and how they are
// reached. A staging buffer of a page makes each copy one of many pieces, which do not divide it.
static bool plans() {
    const ggml_backend_dev_t dev = ggml_backend_get_device(device);
    const auto set_plan = (ggml_backend_dev_set_plan_t) ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(dev), "ggml_backend_dev_set_plan");
    if (!check(set_plan != nullptr, "the backend takes plans")) {
        return false;
    }
    const Build build = [](Maker & m) {
        auto * weights = m.input(GGML_TYPE_F32, {256, 301}, normal(256 * 301, 1.0f, 21));
        auto * input = m.input(GGML_TYPE_F32, {256, 3}, normal(256 * 3, 1.0f, 22));
        auto * bias = m.input(GGML_TYPE_F32, {301}, normal(301, 1.0f, 23));
        return ggml_add(m.context, ggml_mul_mat(m.context, weights, input), bias);
    };
    const Floats expected = compute(cpu, build).values;
    bool passed = true;
    for (const auto buffers :
         {GGML_DEVICE_BUFFERS_SHARED, GGML_DEVICE_BUFFERS_MANAGED, GGML_DEVICE_BUFFERS_PRIVATE}) {
        for (const uint32_t staging : {0u, 4096u, 16u << 20}) {
            for (const uint32_t parts : {1u, 7u}) {
                const ggml_device_plan plan = {false, buffers, false, staging, 64 << 10, parts};
                set_plan(dev, &plan);
                const ggml_backend_ptr planned(ggml_backend_dev_init(dev, nullptr));
                const double error = error_of(compute(planned.get(), build, 0x55).values, expected);
                passed &= check(error <= 1e-10, "buffers %d, staging %u, parts %u: error %.3g", buffers, staging, parts,
                                error);

                ggml_context_ptr context(ggml_init({ggml_tensor_overhead(), nullptr, true}));
                ggml_tensor * tensor = ggml_new_tensor_1d(context.get(), GGML_TYPE_I8, 10000);
                ggml_backend_buffer_ptr buffer(ggml_backend_alloc_ctx_tensors(context.get(), planned.get()));
                ggml_backend_buffer_clear(buffer.get(), 1);
                const std::vector<uint8_t> sent(5001, 9);
                ggml_backend_tensor_set(tensor, sent.data(), 77, sent.size());
                ggml_backend_tensor_memset(tensor, 7, 90, 10);
                std::vector<uint8_t> bytes(9990);
                ggml_backend_tensor_get(tensor, bytes.data(), 10, bytes.size());
                int wrong = 0;
                for (int i = 10; i < 10000; ++i) {
                    const int right = i >= 90 && i < 100 ? 7 : i >= 77 && i < 77 + 5001 ? 9 : 1;
                    wrong += bytes[i - 10] != right;
                }
                passed &= check(wrong == 0, "buffers %d, staging %u: %d bytes are wrong", buffers, staging, wrong);
            }
        }
    }
    set_plan(dev, nullptr);
    return passed;
}

// --- attention

struct Attention {
    int64_t dk = 128, dv = 128, heads = 2, kv_heads = 1, cache = 256, queries = 1;
    ggml_type type = GGML_TYPE_F16;
    float max_bias = 0, softcap = 0;
    bool sinks = false;
    std::function<bool(int64_t query, int64_t item)> visible; // which cache items a query sees; none: no mask
    int most_visible = 0; // what the operation is told about the number of these; 0: nothing
};

// With ALiBi an entry is a distance, so that the slopes have something to multiply.
static float mask_of(const Attention & a, int64_t query, int64_t item) {
    const float seen = a.max_bias > 0 ? -0.01f * std::abs((float) (item - query)) : 0.0f;
    return a.visible(query, item) ? seen : -INFINITY;
}

static Build build_of(const Attention & a) {
    return [a](Maker & m) {
        auto * q = m.input(GGML_TYPE_F32, {a.dk, a.queries, a.heads}, normal(a.dk * a.queries * a.heads, 1.0f, 1));
        auto * k = m.input(a.type, {a.dk, a.cache, a.kv_heads}, normal(a.dk * a.cache * a.kv_heads, 1.0f, 2));
        auto * v = m.input(a.type, {a.dv, a.cache, a.kv_heads}, normal(a.dv * a.cache * a.kv_heads, 1.0f, 3));
        ggml_tensor * mask = nullptr;
        if (a.visible) {
            Floats values;
            for (int64_t query = 0; query < a.queries; ++query) {
                for (int64_t item = 0; item < a.cache; ++item) {
                    values.push_back(mask_of(a, query, item));
                }
            }
            mask = m.input(GGML_TYPE_F16, {a.cache, a.queries}, values);
        }
        auto * out = ggml_flash_attn_ext(m.context, q, k, v, mask, 1.0f / std::sqrt((float) a.dk), a.max_bias, a.softcap);
        if (a.most_visible > 0) {
            ggml_flash_attn_ext_set_n_kv_max(out, a.most_visible);
        }
        if (a.sinks) {
            ggml_flash_attn_ext_add_sinks(out, m.input(GGML_TYPE_F32, {a.heads}, normal(a.heads, 1.0f, 4)));
        }
        return out;
    };
}

// The same in doubles, from the values that the tensors hold.
static Floats reference_of(const Attention & a) {
    const Floats q = normal(a.dk * a.queries * a.heads, 1.0f, 1);
    const auto held = [&](int64_t size, unsigned seed) {
        const Floats values = normal(size * a.cache * a.kv_heads, 1.0f, seed);
        return decoded(a.type, encoded(a.type, values, size), values.size());
    };
    const Floats k = held(a.dk, 2), v = held(a.dv, 3), sinks = normal(a.heads, 1.0f, 4);
    const int64_t first = 1 << (int) std::floor(std::log2((double) a.heads)); // heads with ALiBi's first base
    Floats out(a.dv * a.heads * a.queries);
    for (int64_t query = 0; query < a.queries; ++query) {
        for (int64_t head = 0; head < a.heads; ++head) {
            const int64_t kv = head / (a.heads / a.kv_heads);
            const double slope = a.max_bias == 0 ? 1 :
                head < first ? std::pow(std::exp2(-a.max_bias / first), head + 1)
                             : std::pow(std::exp2(-a.max_bias / 2 / first), 2 * (head - first) + 1);
            std::vector<double> scores;
            double largest = a.sinks ? sinks[head] : -INFINITY;
            for (int64_t item = 0; item < a.cache; ++item) {
                double score = 0;
                for (int64_t i = 0; i < a.dk; ++i) {
                    score += (double) q[(head * a.queries + query) * a.dk + i] * k[(kv * a.cache + item) * a.dk + i];
                }
                score /= std::sqrt((double) a.dk);
                if (a.softcap != 0) {
                    score = a.softcap * std::tanh(score / a.softcap);
                }
                if (a.visible) {
                    score += slope * ggml_fp16_to_fp32(ggml_fp32_to_fp16(mask_of(a, query, item)));
                }
                scores.push_back(score);
                largest = std::max(largest, score);
            }
            double sum = a.sinks ? std::exp(sinks[head] - largest) : 0;
            std::vector<double> row(a.dv, 0.0);
            for (int64_t item = 0; item < a.cache; ++item) {
                const double weight = std::isinf(scores[item]) ? 0 : std::exp(scores[item] - largest);
                sum += weight;
                for (int64_t i = 0; i < a.dv; ++i) {
                    row[i] += weight * v[(kv * a.cache + item) * a.dv + i];
                }
            }
            for (int64_t i = 0; i < a.dv; ++i) {
                // a row that sees nothing is zero
                out[(query * a.heads + head) * a.dv + i] = sum == 0 ? 0.0f : (float) (row[i] / sum);
            }
        }
    }
    return out;
}

static bool attends(const std::string & what, const Attention & a, double limit = 1e-6) {
    const Result ours = compute(device, build_of(a));
    if (!ours.supported) {
        return check(false, "%s: not supported", what.c_str());
    }
    const double error = error_of(ours.values, reference_of(a));
    return check(error <= limit, "%s: status %d, error %.3g, limit %.3g", what.c_str(), ours.status, error, limit);
}

// The backend's own choice of queries and cache items per simdgroup, set aside for the length of a case.
static bool with_vec_layout(int queries, int items, const std::function<bool()> & body) {
    auto * reg = ggml_backend_dev_backend_reg(ggml_backend_get_device(device));
    auto * set = (void (*)(int, int)) ggml_backend_reg_get_proc_address(reg, "ggml_backend_metal_tuning_set_fa_vec_override");
    auto * clear = (void (*)()) ggml_backend_reg_get_proc_address(reg, "ggml_backend_metal_tuning_clear_fa_vec_override");
    set(queries, items);
    const bool passed = body();
    clear();
    return passed;
}

static bool attention_vec() {
    bool passed = true;
    for (int items : {1, 2, 4}) {
        passed &= with_vec_layout(1, items, [&] {
            return attends("heads of 128, " + std::to_string(items) + " cache items per simdgroup", {});
        });
    }
    return passed;
}

// Caches for which a threadgroup has two simdgroups and four, which then merge what they have.
static bool attention_vec_long() {
    bool passed = true;
    for (int64_t cache : {4096, 8200}) {
        passed &= attends("cache " + std::to_string(cache), {.dk = 64, .dv = 64, .cache = cache});
    }
    return passed;
}

// Masks of which the operation is told that they leave half of the cache at most: it goes by a list of what is left, for
// few queries in 32 threadgroups, for many in one, and in both cases a simdgroup reads several blocks of the list.
static bool attention_vec_listed() {
    bool passed = true;
    for (const auto & [queries, cache] : {std::pair<int64_t, int64_t>{2, 4352}, {33, 1024}}) {
        passed &= attends("queries " + std::to_string(queries),
                          {.cache = cache,
                           .queries = queries,
                           .visible = [](int64_t q, int64_t i) { return (q + i) % 2 == 0; },
                           .most_visible = (int) cache / 2});
    }
    return passed;
}

static bool attention_no_mask() {
    bool passed = true;
    for (ggml_type type : {GGML_TYPE_F16, GGML_TYPE_Q8_0}) {
        for (int64_t dk : {64, 128}) {
            for (int64_t queries : {1, 3, 32}) {
                for (int64_t cache : {113, 256}) {
                    const std::string what = std::string(ggml_type_name(type)) + ", heads of " + std::to_string(dk) +
                        ", queries " + std::to_string(queries) + ", cache " + std::to_string(cache);
                    passed &= attends(what, {.dk = dk, .dv = dk, .cache = cache, .queries = queries, .type = type});
                }
            }
        }
    }
    return passed;
}

// Masks in which whole blocks, and whole rows, hide everything.
static bool attention_masks() {
    bool passed = true;
    for (int64_t queries : {1, 5, 32, 67}) {
        const int64_t cache = 512;
        const std::pair<const char *, std::function<bool(int64_t, int64_t)>> masks[] = {
            {"causal at the cache's start", [=](int64_t q, int64_t i) { return i <= q + 3; }},
            {"causal at its end", [=](int64_t q, int64_t i) { return i <= cache - queries + q; }},
            {"sliding window of 40", [=](int64_t q, int64_t i) { return i <= 300 + q && i > 260 + q; }},
            {"every other block of 32", [=](int64_t, int64_t i) { return i / 32 % 2 == 1; }},
            {"one item", [=](int64_t q, int64_t i) { return i == 200 + q; }},
            {"nothing for two queries of three", [=](int64_t q, int64_t i) { return q % 3 == 2 && i > 100; }},
        };
        for (const auto & [name, visible] : masks) {
            passed &= attends(std::string(name) + ", queries " + std::to_string(queries),
                              {.cache = cache, .queries = queries, .visible = visible});
        }
    }
    return passed;
}

// The same cache for one query and for 64, to compare what is read.
static bool attention_one() {
    return attends("one query", {.cache = 512});
}
static bool attention_prompt() {
    return attends("64 queries", {.cache = 512, .queries = 64});
}

// Every pair of head sizes and every type, for a token and for a prompt, with a cache that is no whole number of blocks.
// Whether the device has the type at all; the smallest operation tells.
static bool has_bf16() {
    return compute(device, [](Maker & m) {
        return ggml_get_rows(m.context, m.input(GGML_TYPE_BF16, {32, 2}, normal(64, 1.0f, 1)), m.integers({1}, {1}));
    }).supported;
}

static bool attention_shapes() {
    bool passed = true;
    const std::pair<int64_t, int64_t> sizes[] = {
        {32, 32},   {40, 40},   {48, 48},   {64, 64},   {72, 72},   {80, 80},   {96, 96},   {96, 64},   {112, 112},
        {128, 128}, {192, 192}, {192, 128}, {256, 256}, {320, 256}, {512, 512}, {576, 512},
    };
    const ggml_type types[] = {GGML_TYPE_F32,  GGML_TYPE_F16,  GGML_TYPE_BF16, GGML_TYPE_Q4_0,
                               GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1, GGML_TYPE_Q8_0};
    for (auto [dk, dv] : sizes) {
        for (ggml_type type : types) {
            // all types with two sizes, and one of the types with each
            const bool all = dk == 64 || dk == 576;
            if ((!all && type != GGML_TYPE_F16 && type != GGML_TYPE_Q8_0) || dk % ggml_blck_size(type) || dv % ggml_blck_size(type)) {
                continue;
            }
            if (type == GGML_TYPE_BF16 && !has_bf16()) {
                continue;
            }
            for (int64_t queries : {1, 33}) {
                const auto visible = [=](int64_t q, int64_t i) { return i <= 42 + q; };
                const std::string what = std::string(ggml_type_name(type)) + ", heads " + std::to_string(dk) + " and " +
                    std::to_string(dv) + ", queries " + std::to_string(queries);
                passed &= attends(what, {.dk = dk, .dv = dv, .cache = 75, .queries = queries, .type = type, .visible = visible});
            }
        }
    }
    return passed;
}

static bool attention_options() {
    bool passed = true;
    for (int64_t queries : {1, 21}) {
        const auto visible = [=](int64_t q, int64_t i) { return i <= 60 + q && i >= 4 * q; };
        const std::string what = ", queries " + std::to_string(queries);
        const Attention plain = {.dk = 64, .dv = 64, .heads = 6, .kv_heads = 2, .cache = 100, .queries = queries, .visible = visible};
        Attention sinks = plain, bias = plain, softcap = plain;
        sinks.sinks = true;
        bias.max_bias = 8;
        softcap.softcap = 10;
        passed &= attends("three heads share a cache" + what, plain) & attends("sinks" + what, sinks) &
                  attends("ALiBi" + what, bias) & attends("soft-cap" + what, softcap);
        Attention everything = sinks;
        everything.max_bias = 8;
        everything.softcap = 10;
        passed &= attends("all of these" + what, everything);
    }
    return passed;
}

// --- quantised weights

// A product of `rows` rows of weights of that deviation with `columns` vectors, against doubles and the exact decoding.
static double product_error(ggml_type type, float deviation, int64_t inner, int64_t rows, int64_t columns) {
    const Floats weights = normal(inner * rows, deviation, 5), input = normal(inner * columns, 1.0f, 6);
    const Result ours = compute(device, [&](Maker & m) {
        return ggml_mul_mat(m.context, m.input(type, {inner, rows}, weights), m.input(GGML_TYPE_F32, {inner, columns}, input));
    });
    const Floats exact = decoded(type, encoded(type, weights, inner), weights.size());
    Floats reference;
    for (int64_t column = 0; column < columns; ++column) {
        for (int64_t row = 0; row < rows; ++row) {
            double sum = 0;
            for (int64_t i = 0; i < inner; ++i) {
                sum += (double) exact[row * inner + i] * input[column * inner + i];
            }
            reference.push_back((float) sum);
        }
    }
    return error_of(ours.values, reference);
}

// A deviation of 0.005 makes K-quants' scales subnormal halves; with 0.1 they are normal and their sixteenths are not.
static bool small_weights() {
    bool passed = true;
    const std::tuple<ggml_type, float, float> made[] = {
        {GGML_TYPE_Q4_K, 0.005f, 0.005f}, {GGML_TYPE_Q4_K, 0.1f, 0.1f},     {GGML_TYPE_Q4_0, 0.0005f, 0.1f},
        {GGML_TYPE_Q4_1, 0.0005f, 0.1f},  {GGML_TYPE_Q5_0, 0.0010f, 0.1f},
    };
    for (auto [type, deviation, of_q5_k] : made) {
        for (int64_t columns : {4, 8}) {
            const double error = product_error(type, deviation, 256, 64, columns);
            const double q5_k = product_error(GGML_TYPE_Q5_K, of_q5_k, 256, 64, columns);
            passed &= check(error <= 4 * q5_k + 1e-12, "%s, deviation %g, %d columns: error %.3g; q5_K %.3g",
                            ggml_type_name(type), deviation, (int) columns, error, q5_k);
        }
    }
    return passed;
}

// Every type, for numbers of columns that the kernels divide evenly and that they do not.
static bool products() {
    bool passed = true;
    for (ggml_type type : {GGML_TYPE_F32,  GGML_TYPE_F16,  GGML_TYPE_BF16, GGML_TYPE_Q4_0,   GGML_TYPE_Q4_1,  GGML_TYPE_Q5_0,
                           GGML_TYPE_Q5_1, GGML_TYPE_Q8_0, GGML_TYPE_Q2_K, GGML_TYPE_Q3_K,   GGML_TYPE_Q4_K,  GGML_TYPE_Q5_K,
                           GGML_TYPE_Q6_K, GGML_TYPE_IQ4_NL, GGML_TYPE_IQ4_XS, GGML_TYPE_MXFP4}) {
        for (int64_t columns : {9, 31, 33, 130}) {
            const double error = product_error(type, 1.0f, 512, 150, columns);
            passed &= check(error <= 1e-10, "%s, %d columns: error %.3g", ggml_type_name(type), (int) columns, error);
        }
    }
    return passed;
}

// 512 tokens and a tenth of the largest matrix of a model of 1.5e9 weights, to count threadgroups and bytes.
static bool prompt_product() {
    const double error = product_error(GGML_TYPE_Q4_K, 1.0f, 256, 896, 512);
    return check(error <= 1e-10, "error %.3g", error);
}

static bool few_columns() {
    const double error = product_error(GGML_TYPE_Q4_K, 1.0f, 256, 896, 20);
    return check(error <= 1e-10, "error %.3g", error);
}

// The error of a product that is computed in this shape: of 302 rows, which nothing divides.
static double error_in_shape(ggml_product_shape shape) {
    const ggml_backend_dev_t dev = ggml_backend_get_device(device);
    const auto set_shapes = (void (*)(ggml_backend_dev_t, const ggml_product_shape *, size_t)) ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(dev), "ggml_backend_dev_set_product_shapes");
    if (!set_shapes) {
        return NAN;
    }
    shape.row_length = 512;
    shape.rows = 302;
    set_shapes(dev, &shape, 1);
    const ggml_backend_t own = device;
    device = ggml_backend_dev_init(dev, nullptr);
    const double error = product_error((ggml_type) shape.type, 1.0f, 512, 302, shape.columns);
    ggml_backend_free(device);
    device = own;
    set_shapes(dev, nullptr, 0);
    return error;
}

static bool shapes_of(ggml_type type, uint32_t columns) {
    bool passed = true;
    if (columns == 1) {
        for (const uint16_t rows : {1, 2, 4}) {
            const uint16_t simdgroups = rows == 2 ? 4 : 1;
            const double error = error_in_shape({(uint32_t) type, 0, 0, 1, 0, simdgroups, rows, 0, 0});
            passed &= check(error <= 1e-10, "%s, %d rows: error %.3g", ggml_type_name(type), rows, error);
        }
        return passed;
    }
    for (const uint16_t threads : {4, 16}) {
        const uint16_t simdgroups = threads == 4 ? 1 : 4, shared = threads == 4 ? 2 : 5;
        const double error = error_in_shape({(uint32_t) type, 0, 0, columns, 0, simdgroups, 0, threads, shared});
        passed &= check(error <= 1e-10, "%s, %d threads: error %.3g", ggml_type_name(type), threads, error);
    }
    return passed;
}

// Other numbers of rows, simdgroups, threads and columns.
static bool shapes() {
    bool passed = true;
    for (ggml_type type : {GGML_TYPE_F16, GGML_TYPE_Q4_0, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K}) {
        passed &= shapes_of(type, 1) & shapes_of(type, 7);
    }
    return passed;
}

// The kernels with another number of rows of all other types.
static bool more_shapes() {
    bool passed = true;
    for (ggml_type type : {GGML_TYPE_F32, GGML_TYPE_BF16, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1, GGML_TYPE_Q2_K, GGML_TYPE_Q3_K,
                           GGML_TYPE_Q5_K, GGML_TYPE_Q6_K, GGML_TYPE_IQ4_NL, GGML_TYPE_IQ4_XS, GGML_TYPE_MXFP4}) {
        passed &= shapes_of(type, 1);
    }
    return passed;
}

// Three tokens that choose 2 of 4 experts with 302 rows each.
static bool expert_shapes() {
    const ggml_backend_dev_t dev = ggml_backend_get_device(device);
    const auto set_shapes = (void (*)(ggml_backend_dev_t, const ggml_product_shape *, size_t)) ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(dev), "ggml_backend_dev_set_product_shapes");
    bool passed = true;
    for (ggml_type type : {GGML_TYPE_BF16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K, GGML_TYPE_Q5_K}) {
        const Build build = [=](Maker & m) {
            auto * experts = m.input(type, {256, 302, 4}, normal(256 * 302 * 4, 1.0f, 31));
            auto * input = m.input(GGML_TYPE_F32, {256, 1, 3}, normal(256 * 3, 1.0f, 32));
            return ggml_mul_mat_id(m.context, experts, input, m.integers({2, 3}, {3, 0, 1, 2, 2, 0}));
        };
        for (const uint16_t rows : {1, 2, 4}) {
            const ggml_product_shape shape = {(uint32_t) type, 256, 302, 4, 4, 1, rows, 0, 0};
            set_shapes(dev, &shape, 1);
            const ggml_backend_t own = device;
            device = ggml_backend_dev_init(dev, nullptr);
            passed &= agrees_with_cpu((std::string(ggml_type_name(type)) + ", " + std::to_string(rows) + " rows").c_str(), build, 5e-4);
            ggml_backend_free(device);
            device = own;
            set_shapes(dev, nullptr, 0);
        }
    }
    return passed;
}

static bool shaped_product() {
    const double error = error_in_shape({GGML_TYPE_Q4_K, 0, 0, 1, 0, 1, 4, 0, 0});
    return check(error <= 1e-10, "error %.3g", error);
}

// The kernels of a product with a matrix of 256 columns in q8_0, which has no data.
static std::string kernels_of(int64_t rows, int64_t columns) {
    const ggml_backend_dev_t dev = ggml_backend_get_device(device);
    const auto name_kernels = (ggml_backend_dev_kernels_t) ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(dev), "ggml_backend_dev_kernels");
    ggml_context_ptr context(ggml_init({ggml_tensor_overhead() * 3, nullptr, true}));
    std::set<std::string> names;
    if (name_kernels) {
        ggml_tensor * matrix = ggml_new_tensor_2d(context.get(), GGML_TYPE_Q8_0, 256, rows);
        ggml_tensor * vectors = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, 256, columns);
        name_kernels(dev, ggml_mul_mat(context.get(), matrix, vectors),
                     [](const char * name, void * names) { ((std::set<std::string> *) names)->insert(name); }, &names);
    }
    std::string text;
    for (const std::string & name : names) {
        text += (text.empty() ? "" : " ") + name;
    }
    return text;
}

// On a device without matrix units.
static bool kernel_names() {
    bool passed = true;
    for (const auto & [rows, columns, kernel] : {
             std::tuple{64, 1, "kernel_mul_mv_q8_0_f32_nsg="},
             std::tuple{64, 5, "kernel_mul_mv_ext_q8_0_f32_r1_5_nsg="},
             std::tuple{64, 512, "kernel_mul_mm_scalar_q8_0_e64"},
             std::tuple{2048, 40, "kernel_mul_mm_scalar_q8_0_e64"},
             std::tuple{2048, 512, "kernel_mul_mm_scalar_q8_0_e128"},
         }) {
        const std::string names = kernels_of(rows, columns);
        passed &= check(names.starts_with(kernel), "%d rows, %d columns: '%s'", rows, columns, names.c_str());
    }
    return passed;
}

// 40 tokens that choose 4 of 8 experts.
static bool expert_products() {
    bool passed = true;
    for (ggml_type type : {GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K}) {
        for (int64_t slots : {1, 4}) {
            const Build build = [=](Maker & m) {
                std::vector<int32_t> ids;
                for (int token = 0; token < 40; ++token) {
                    for (int slot = 0; slot < 4; ++slot) {
                        ids.push_back((token * 3 + slot * 2 + token / 7) % 8);
                    }
                }
                auto * experts = m.input(type, {256, 100, 8}, normal(256 * 100 * 8, 1.0f, 11));
                auto * input = m.input(GGML_TYPE_F32, {256, slots, 40}, normal(256 * slots * 40, 1.0f, 12));
                auto * product = ggml_mul_mat_id(m.context, experts, input, m.integers({4, 40}, ids));
                if (slots == 1) {
                    ggml_prec_set_src(product, GGML_PREC_F32, 1);
                }
                return product;
            };
            // the CPU quantises the vectors
            passed &= agrees_with_cpu((std::string(ggml_type_name(type)) + ", slots " + std::to_string(slots)).c_str(), build, 5e-4);
        }
    }
    return passed;
}

// --- solve_tri

static bool solve_tri() {
    bool passed = true;
    for (int64_t n : {5, 31, 47, 64}) {
        const int64_t k = 7;
        Floats lower = normal(n * n, 0.1f, 7);
        for (int64_t row = 0; row < n; ++row) {
            lower[row * n + row] += 2.0f;
            std::fill(lower.begin() + row * n + row + 1, lower.begin() + (row + 1) * n, 0.0f);
        }
        const Build build = [&](Maker & m) {
            auto * a = m.input(GGML_TYPE_F32, {n, n}, lower);
            return ggml_solve_tri(m.context, a, m.input(GGML_TYPE_F32, {k, n}, normal(k * n, 1.0f, 8)), true, true, false);
        };
        // all bytes 0xFF: memory that was not written is NaN
        passed &= agrees_with_cpu(("rows " + std::to_string(n)).c_str(), build, 1e-7, 0xFF);
    }
    return passed;
}

// --- what a device can be asked

static const Build soft_max = [](Maker & m) {
    return ggml_soft_max(m.context, m.input(GGML_TYPE_F32, {100, 7}, normal(700, 1.0f, 9)));
};
static const Build rms_norm = [](Maker & m) {
    return ggml_rms_norm(m.context, m.input(GGML_TYPE_F32, {100, 7}, normal(700, 1.0f, 9)), 1e-5f);
};
static const Build product = [](Maker & m) {
    return ggml_mul_mat(m.context, m.input(GGML_TYPE_Q4_0, {256, 48}, normal(256 * 48, 1.0f, 9)),
                        m.input(GGML_TYPE_F32, {256, 1}, normal(256, 1.0f, 10)));
};
static const Build sum = [](Maker & m) {
    auto * a = m.input(GGML_TYPE_F32, {100, 7}, normal(700, 1.0f, 9));
    return ggml_add(m.context, a, m.input(GGML_TYPE_F32, {100, 7}, normal(700, 1.0f, 10)));
};

static bool supports(const char * what, const Build & build, bool expected) {
    const bool supported = compute(device, build).supported;
    return check(supported == expected, "%s is %ssupported", what, supported ? "" : "not ");
}

// The least that a model needs of a simdgroup.
static bool reductions() {
    return agrees_with_cpu("soft_max", soft_max, 1e-10) & agrees_with_cpu("rms_norm", rms_norm, 1e-10) &
           agrees_with_cpu("mul_mat", product, 5e-4); // the CPU quantises the vector
}

// What adds up, compares or shuffles over a simdgroup. Rows of 3 and 100 leave the last group of a threadgroup without
// some of its lanes, those of 3000 have more than one group.
static bool lanes() {
    bool passed = true;
    using Op = std::function<ggml_tensor *(ggml_context *, ggml_tensor *)>;
    const std::pair<const char *, Op> of_rows[] = {
        {"soft_max", [](auto * c, auto * a) { return ggml_soft_max(c, a); }},
        {"norm", [](auto * c, auto * a) { return ggml_norm(c, a, 1e-5f); }},
        {"rms_norm", [](auto * c, auto * a) { return ggml_rms_norm(c, a, 1e-5f); }},
        {"l2_norm", [](auto * c, auto * a) { return ggml_l2_norm(c, a, 1e-5f); }},
        {"sum_rows", [](auto * c, auto * a) { return ggml_sum_rows(c, a); }},
        {"mean", [](auto * c, auto * a) { return ggml_mean(c, a); }},
        {"sum", [](auto * c, auto * a) { return ggml_sum(c, a); }},
        {"cumsum", [](auto * c, auto * a) { return ggml_cumsum(c, a); }},
        {"argmax", [](auto * c, auto * a) { return ggml_argmax(c, a); }},
    };
    for (const auto & [name, op] : of_rows) {
        for (int64_t columns : {3, 100, 3000}) {
            const Build build = [&](Maker & m) {
                return op(m.context, m.input(GGML_TYPE_F32, {columns, 5}, normal(columns * 5, 1.0f, 13)));
            };
            passed &= agrees_with_cpu((std::string(name) + ", columns " + std::to_string(columns)).c_str(), build, 1e-9);
        }
    }
    const Build groups = [](Maker & m) {
        return ggml_group_norm(m.context, m.input(GGML_TYPE_F32, {9, 7, 12}, normal(9 * 7 * 12, 1.0f, 14)), 3, 1e-5f);
    };
    const Build hadamard = [](Maker & m) {
        Floats signs(128 * 128);
        for (int i = 0; i < 128 * 128; ++i) {
            signs[i] = (__builtin_popcount(i / 128 & i % 128) % 2 ? -1.0f : 1.0f) / sqrtf(128.0f);
        }
        auto * product = ggml_mul_mat(m.context, m.input(GGML_TYPE_F32, {128, 128}, signs),
                                      m.input(GGML_TYPE_F32, {128, 3}, normal(384, 1.0f, 15)));
        ggml_mul_mat_set_hint(product, GGML_HINT_SRC0_IS_HADAMARD);
        return product;
    };
    return passed & agrees_with_cpu("group_norm", groups, 1e-9) & agrees_with_cpu("hadamard", hadamard, 1e-7);
}

// A type of each way in which a row's blocks are divided among 32 lanes, for the mat-vec kernel and for mul_mv_ext.
static bool vectors() {
    bool passed = true;
    for (ggml_type type : {GGML_TYPE_F16, GGML_TYPE_Q4_0, GGML_TYPE_Q8_0, GGML_TYPE_Q2_K, GGML_TYPE_Q3_K, GGML_TYPE_Q4_K,
                           GGML_TYPE_Q6_K, GGML_TYPE_IQ4_NL}) {
        for (int64_t columns : {1, 4}) {
            const double error = product_error(type, 1.0f, 768, 21, columns);
            passed &= check(error <= 1e-10, "%s, %d columns: error %.3g", ggml_type_name(type), (int) columns, error);
        }
    }
    return passed;
}

// Where a block has no even number of words: rows, products by every kernel, and a cache.
static bool words() {
    bool passed = true;
    for (const ggml_type type : {GGML_TYPE_Q5_0, GGML_TYPE_Q8_0}) {
        const Build rows = [type](Maker & m) {
            return ggml_get_rows(m.context, m.input(type, {64, 9}, normal(64 * 9, 1.0f, 16)), m.integers({3}, {1, 0, 7}));
        };
        const Build cast = [type](Maker & m) {
            return ggml_cast(m.context, m.input(type, {64, 9}, normal(64 * 9, 1.0f, 16)), GGML_TYPE_F32);
        };
        passed &= agrees_with_cpu((std::string("get_rows ") + ggml_type_name(type)).c_str(), rows, 1e-10);
        passed &= agrees_with_cpu((std::string("cast ") + ggml_type_name(type)).c_str(), cast, 1e-10);
    }
    for (int64_t columns : {1, 4, 40}) {
        const double error = product_error(GGML_TYPE_Q5_0, 1.0f, 256, 21, columns);
        passed &= check(error <= 1e-10, "%d columns: error %.3g", (int) columns, error);
    }
    for (int64_t queries : {1, 33}) {
        passed &= attends("queries " + std::to_string(queries),
                          {.dk = 64, .dv = 64, .cache = 75, .queries = queries, .type = GGML_TYPE_Q5_0});
    }
    return passed;
}

// With the pipelines of soft_max made nil.
static bool nil_pipeline() {
    return supports("soft_max", soft_max, false) & agrees_with_cpu("rms_norm", rms_norm, 1e-10);
}

// The same on a GPU that is believed without being asked: an error, and what comes after is right.
static bool nil_pipeline_later() {
    const Result result = compute(device, soft_max);
    return check(result.status == GGML_STATUS_FAILED, "soft_max: status %d", result.status) &
           agrees_with_cpu("rms_norm", rms_norm, 1e-10);
}

// A group that the backend fuses, twice, as it is to be refused once.
static bool fused() {
    const Build norm = [](Maker & m) {
        auto * input = m.input(GGML_TYPE_F32, {128, 7}, normal(128 * 7, 1.0f, 9));
        auto * weight = m.input(GGML_TYPE_F32, {128}, normal(128, 1.0f, 10));
        auto * product = ggml_mul(m.context, ggml_rms_norm(m.context, input, 1e-5f), weight);
        auto * other = m.input(GGML_TYPE_F32, {128}, normal(128, 1.0f, 11));
        return ggml_mul(m.context, ggml_rms_norm(m.context, product, 1e-5f), other);
    };
    return agrees_with_cpu("rms_norm", norm, 1e-10) & agrees_with_cpu("rms_norm again", norm, 1e-10);
}

// Through memory that Metal does not wrap: an odd length at an odd address, and one of several pieces.
static bool copies() {
    bool passed = true;
    for (int64_t size : {7, 4099, 20 << 20}) {
        ggml_context_ptr context(ggml_init({ggml_tensor_overhead(), nullptr, true}));
        ggml_tensor * tensor = ggml_new_tensor_1d(context.get(), GGML_TYPE_I8, size);
        ggml_backend_buffer_ptr buffer(ggml_backend_alloc_ctx_tensors(context.get(), device));
        std::vector<uint8_t> in(size + 1), out(size + 1), async(size + 1);
        for (int64_t i = 0; i <= size; ++i) {
            in[i] = (uint8_t) (i * 7 + i / 255);
        }
        ggml_backend_tensor_set(tensor, in.data() + 1, 0, size);
        ggml_backend_tensor_get(tensor, out.data() + 1, 0, size);
        passed &= check(memcmp(in.data() + 1, out.data() + 1, size) == 0, "%d bytes come back", (int) size);
        ggml_backend_tensor_set_async(device, tensor, in.data() + 1, 0, size);
        ggml_backend_tensor_get_async(device, tensor, async.data() + 1, 0, size);
        ggml_backend_synchronize(device);
        passed &= check(memcmp(in.data() + 1, async.data() + 1, size) == 0, "%d bytes come back later", (int) size);
    }
    return passed;
}

// With one of the command buffers stopped, whichever: the graph that needed it says so.
static bool timeout() {
    const Result result = compute(device, sum);
    return check(result.status == GGML_STATUS_FAILED, "status %d", result.status);
}

// With an exception while one of the dispatches is encoded, whichever, on this thread or on one of the backend's: the graph
// that needed it says so, and what comes after is right.
static bool exception_while_encoding() {
    const auto set_guard = (ggml_backend_set_guard_t) ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(ggml_backend_get_device(device)), "ggml_backend_set_guard");
    if (!check(set_guard != nullptr, "the backend takes a guard")) {
        return false;
    }
    set_guard([](void (*body)(void *), void * data) {
        try {
            body(data);
            return true;
        } catch (...) {
            return false;
        }
    });
    // more nodes than one thread encodes; soft_max is fused with nothing
    const Build chain = [](Maker & m) {
        ggml_tensor * out = m.input(GGML_TYPE_F32, {64, 3}, normal(64 * 3, 1.0f, 24));
        for (int i = 0; i < 100; ++i) {
            out = ggml_scale(m.context, ggml_soft_max(m.context, out), 32.0f);
        }
        return out;
    };
    const Floats expected = compute(cpu, chain).values;
    int failed = 0;
    bool passed = true;
    for (int i = 0; i < 2; ++i) {
        const ggml_backend_ptr other(ggml_backend_dev_init(ggml_backend_get_device(device), nullptr));
        const Result result = compute(other.get(), chain);
        failed += result.status == GGML_STATUS_FAILED;
        passed &= result.status == GGML_STATUS_FAILED || error_of(result.values, expected) <= 1e-10;
    }
    set_guard(nullptr);
    return check(passed && failed == 1, "%d of 2 graphs failed, the others are right", failed);
}

// With the first buffer nil: memory of the host that cannot be mapped is no buffer.
static bool nil_map() {
    static uint8_t memory[65536] __attribute__((aligned(65536)));
    ggml_backend_buffer_t buffer =
        ggml_backend_dev_buffer_from_host_ptr(ggml_backend_get_device(device), memory, sizeof memory, sizeof memory);
    return check(buffer == nullptr, "there is %s buffer", buffer ? "a" : "no");
}

static const std::map<std::string, bool (*)()> cases = {
    {"memset_range", memset_range},
    {"plans", plans},
    {"attention_vec", attention_vec},
    {"attention_vec_long", attention_vec_long},
    {"attention_vec_listed", attention_vec_listed},
    {"attention_no_mask", attention_no_mask},
    {"attention_masks", attention_masks},
    {"attention_one", attention_one},
    {"attention_prompt", attention_prompt},
    {"attention_shapes", attention_shapes},
    {"attention_options", attention_options},
    {"small_weights", small_weights},
    {"products", products},
    {"few_columns", few_columns},
    {"prompt_product", prompt_product},
    {"shapes", shapes},
    {"more_shapes", more_shapes},
    {"expert_shapes", expert_shapes},
    {"shaped_product", shaped_product},
    {"kernel_names", kernel_names},
    {"expert_products", expert_products},
    {"solve_tri", solve_tri},
    {"reductions", reductions},
    {"lanes", lanes},
    {"vectors", vectors},
    {"words", words},
    {"nil_pipeline", nil_pipeline},
    {"nil_pipeline_later", nil_pipeline_later},
    {"fused", fused},
    {"copies", copies},
    {"timeout", timeout},
    {"exception_while_encoding", exception_while_encoding},
    {"nil_map", nil_map},
};

int main(int count, char ** words) {
    ggml_log_set([](ggml_log_level level, const char * text, void *) {
        if (level == GGML_LOG_LEVEL_ERROR) {
            fputs(text, stderr);
        }
    }, nullptr);
    device = ggml_backend_init_by_name("MTL0", nullptr);
    cpu = ggml_backend_init_by_name("CPU", nullptr);
    if (!device || !cpu || count < 2) {
        fprintf(stderr, "usage: cases NAME…, with a Metal device\n");
        return 2;
    }
    bool passed = true;
    for (int i = 1; i < count; ++i) {
        const auto found = cases.find(words[i]);
        if (found == cases.end()) {
            fprintf(stderr, "no case %s\n", words[i]);
            return 2;
        }
        printf("%s\n", words[i]);
        passed &= found->second();
    }
    ggml_backend_free(device);
    ggml_backend_free(cpu);
    return passed ? 0 : 1;
}
