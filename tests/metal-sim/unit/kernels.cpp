// Kernels of llama.cpp against plain C++.
#include "harness.h"
#include "upstream.h"

#include <cmath>
#include <ctime>

#ifdef WITH_UPSTREAM
#include "ggml-metal-impl.h"

using half = _Float16;

static std::shared_ptr<gpu::Library> upstream(const std::string & name) {
    if (upstream_libraries().empty()) {
        printf("the variable INFERNO_LLAMA_CPP does not name a source tree of llama.cpp\n");
        exit(2);
    }
    std::string error;
    const auto result = gpu::library_from_source(
        upstream_source(name), {{"GGML_METAL_HAS_BF16", "1"}, {"GGML_METAL_EMBED_LIBRARY", "1"}}, error);
    if (!result) {
        printf("  %s: %s\n", name.c_str(), error.c_str());
        ++failures();
    }
    return result;
}

static std::vector<float> numbers(size_t n, uint32_t seed) {
    std::vector<float> v(n);
    for (float & x : v) {
        seed = seed * 1664525u + 1013904223u;
        x = float(int32_t(seed)) / 2147483648.0f;
    }
    return v;
}

// Root of the squared error relative to the expected values.
static double error_against(const std::vector<float> & got, const std::vector<double> & expected) {
    double error = 0, size = 0;
    for (size_t i = 0; i < got.size(); ++i) {
        error += (got[i] - expected[i]) * (got[i] - expected[i]);
        size += expected[i] * expected[i];
    }
    return std::sqrt(error / size);
}

template <class T> gpu::Binding bind_struct(T & t) { return {&t, sizeof t}; }

static double cpu_seconds() {
    timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

// The least CPU time of a dispatch that is repeated, all threads together.
static void measure(const char * what, const gpu::Dispatch & d) {
    double least = 1e9, total = 0;
    for (int times = 0; total < 0.1 || times < 5; ++times) {
        const double start = cpu_seconds();
        gpu::run(d);
        const double seconds = cpu_seconds() - start;
        least = std::min(least, seconds);
        total += seconds;
    }
    printf("  %s: %.1f us a dispatch\n", what, least * 1e6);
}

TEST(upstream_rms_norm) {
    const int n = 512, rows = 7;
    std::vector<float> x = numbers(n * rows, 1), w = numbers(n, 2), y(n * rows);
    ggml_metal_kargs_norm args = {};
    args.ne00 = n;
    args.ne00_t = n / 4;
    args.nb1 = n * 4;
    args.nb2 = args.nb3 = n * rows * 4;
    args.eps = 1e-5f;
    for (int i = 0; i < 3; ++i) {
        args.nef1[i] = args.nef2[i] = args.nef3[i] = 1;
        args.nbf1[i] = n * 4;
        args.nbf2[i] = args.nbf3[i] = n * rows * 4;
    }
    args.nef1[0] = rows;
    std::vector<double> expected(n * rows);
    for (int r = 0; r < rows; ++r) {
        double sum = 0;
        for (int i = 0; i < n; ++i) {
            sum += double(x[r * n + i]) * x[r * n + i];
        }
        for (int i = 0; i < n; ++i) {
            expected[r * n + i] = x[r * n + i] / std::sqrt(sum / n + 1e-5) * w[i];
        }
    }
    for (gpu::Mode mode : {gpu::Mode::lockstep, gpu::Mode::free}) {
        gpu::configure({.mode = mode, .seed = 3});
        for (unsigned width : {32u, 64u}) {
            const gpu::Dispatch d = dispatch(pipeline(upstream("norm"), "kernel_rms_norm_mul_f32_4", of_width(width)), rows,
                                             128, {bind_struct(args), bind(x), bind(w), bind(w), bind(y)}, 64 * 4);
            run_well(d);
            CHECK(error_against(y, expected) < 1e-6);
            measure("rms_norm 512x7", d);
        }
    }
}

struct block_q8_0 {
    half d;
    int8_t qs[32];
};

struct block_q4_K {
    half d;
    half dmin;
    uint8_t scales[12];
    uint8_t qs[128];

    float value(int i) const {
        const int j = i / 32;
        int scale, least;
        if (j < 4) {
            scale = scales[j] & 63;
            least = scales[j + 4] & 63;
        } else {
            scale = (scales[j + 4] & 15) | scales[j - 4] >> 6 << 4;
            least = scales[j + 4] >> 4 | scales[j] >> 6 << 4;
        }
        const int quant = qs[i / 64 * 32 + i % 32] >> (j % 2 * 4) & 15;
        return float(d) * scale * quant - float(dmin) * least;
    }
};

template <class Block, int Size, class Value>
static void matrix_times_vector(const char * kernel, const std::vector<Block> & weights, int rows, int columns, int simdgroups,
                                int rows_each, bool rows_shared, Value value) {
    std::vector<float> x = numbers(columns, 5), y(rows);
    std::vector<double> expected(rows);
    for (int r = 0; r < rows; ++r) {
        for (int i = 0; i < columns; ++i) {
            expected[r] += double(value(weights[(r * columns + i) / Size], i % Size)) * x[i];
        }
    }
    ggml_metal_kargs_mul_mv args = {};
    args.ne00 = columns;
    args.ne01 = rows;
    args.ne02 = 1;
    args.nb00 = sizeof(Block);
    args.nb01 = columns / Size * sizeof(Block);
    args.nb02 = args.nb03 = args.nb01 * rows;
    args.ne10 = columns;
    args.ne11 = args.ne12 = 1;
    args.nb10 = 4;
    args.nb11 = args.nb12 = args.nb13 = columns * 4;
    args.ne0 = rows;
    args.ne1 = 1;
    args.nr0 = rows_each;
    args.r2 = args.r3 = 1;
    const std::vector<gpu::Constant> constants = {{FC_MUL_MV + 0, 2, uint64_t(simdgroups)}, {FC_MUL_MV + 2, 2, 1},
                                                  {FC_MUL_MV + 3, 2, 1}, {FC_MUL_MV + 4, 2, 1}};
    const int rows_a_threadgroup = rows_each * (rows_shared ? 1 : simdgroups);
    gpu::Dispatch d = dispatch(pipeline(upstream("mul_mv"), kernel, {}, constants),
                               (rows + rows_a_threadgroup - 1) / rows_a_threadgroup, 32,
                               {bind_struct(args), {const_cast<Block *>(weights.data()), weights.size() * sizeof(Block)},
                                bind(x), bind(y)},
                               32 * 4 * rows_each);
    d.threads[1] = simdgroups;
    run_well(d);
    CHECK(error_against(y, expected) < 1e-5);
    printf("  %s %dx%d:", kernel, rows, columns);
    measure("", d);
}

TEST(upstream_mul_mv) {
    const int rows = 301, columns = 512;
    const std::vector<float> r = numbers(rows * columns, 8);
    std::vector<block_q8_0> q8(rows * columns / 32);
    for (size_t i = 0; i < q8.size(); ++i) {
        q8[i].d = half(0.01f + 0.001f * (i % 7));
        for (int j = 0; j < 32; ++j) {
            q8[i].qs[j] = int8_t(r[i * 32 + j] * 127);
        }
    }
    std::vector<block_q4_K> q4(rows * columns / 256);
    for (size_t i = 0; i < q4.size(); ++i) {
        q4[i].d = half(0.02f);
        q4[i].dmin = half(0.03f);
        for (int j = 0; j < 12; ++j) {
            q4[i].scales[j] = uint8_t(r[i * 256 + j] * 255);
        }
        for (int j = 0; j < 128; ++j) {
            q4[i].qs[j] = uint8_t(r[i * 256 + 100 + j] * 255);
        }
    }
    for (gpu::Mode mode : {gpu::Mode::lockstep, gpu::Mode::free}) {
        gpu::configure({.mode = mode, .seed = 4});
        matrix_times_vector<block_q8_0, 32>("kernel_mul_mv_q8_0_f32", q8, rows, columns, N_SG_Q8_0, N_R0_Q8_0, true,
                                            [](const block_q8_0 & b, int i) { return float(b.d) * b.qs[i]; });
        matrix_times_vector<block_q4_K, 256>("kernel_mul_mv_q4_K_f32", q4, rows, columns, N_SG_Q4_K, N_R0_Q4_K, false,
                                             [](const block_q4_K & b, int i) { return b.value(i); });
    }
}

// Every lane reads its 8 weights of a block and the block's scale, and the same 8 values of the vector for two rows.
TEST(upstream_mul_mv_bytes) {
    gpu::configure({.count_bytes = true});
    const int rows = 300, columns = 512, blocks = rows * columns / 32;
    std::vector<block_q8_0> weights(blocks);
    std::vector<float> x(columns, 1.0f), y(rows);
    ggml_metal_kargs_mul_mv args = {};
    args.ne00 = columns;
    args.ne01 = args.ne0 = rows;
    args.nb01 = columns / 32 * sizeof(block_q8_0);
    args.ne1 = args.ne12 = 1;
    const auto p = pipeline(upstream("mul_mv"), "kernel_mul_mv_q8_0_f32", {},
                            {{FC_MUL_MV + 0, 2, 4}, {FC_MUL_MV + 2, 2, 1}, {FC_MUL_MV + 3, 2, 1}, {FC_MUL_MV + 4, 2, 1}});
    gpu::Dispatch d = dispatch(p, rows / 2, 32, {bind_struct(args), bind(weights), bind(x), bind(y)}, 256);
    d.threads[1] = 4;
    const gpu::Counts counts = run_well(d);
    CHECK_EQUAL(counts.bytes_read_of[1], uint64_t(blocks) * (32 + 4 * 2));
    CHECK_EQUAL(counts.bytes_read_of[2], uint64_t(rows / 2) * columns * 4);
    CHECK_EQUAL(counts.bytes_written_of[3], uint64_t(rows) * 4);
    CHECK_EQUAL(counts.bytes_written, uint64_t(rows) * 4);
}

TEST(upstream_flash_attention) {
    const int head = 128, heads = 4, length = 96;
    const std::vector<float> source = numbers(2 * head * heads * length, 6);
    std::vector<float> q = numbers(head * heads, 7), out(head * heads);
    std::vector<half> k(head * heads * length), v(k.size()), mask(length);
    for (size_t i = 0; i < k.size(); ++i) {
        k[i] = half(source[i]);
        v[i] = half(source[k.size() + i]);
    }
    for (int i = 0; i < length; ++i) {
        mask[i] = i >= 10 && i < 90 ? half(0.0f) : half(-INFINITY);
    }
    const float scale = 1 / std::sqrt(float(head));
    std::vector<double> expected(head * heads);
    for (int h = 0; h < heads; ++h) {
        std::vector<double> weight(length);
        double sum = 0;
        for (int i = 10; i < 90; ++i) {
            double score = 0;
            for (int j = 0; j < head; ++j) {
                score += double(float(half(q[h * head + j]))) * float(k[(h * length + i) * head + j]);
            }
            weight[i] = std::exp(score * scale);
            sum += weight[i];
        }
        for (int i = 10; i < 90; ++i) {
            for (int j = 0; j < head; ++j) {
                expected[h * head + j] += weight[i] / sum * float(v[(h * length + i) * head + j]);
            }
        }
    }
    ggml_metal_kargs_flash_attn_ext_vec args = {};
    args.ne01 = 1;
    args.ne02 = heads;
    args.ne03 = 1;
    args.nb01 = args.nb02 = head * 4;
    args.nb03 = head * heads * 4;
    args.ne11 = length;
    args.ne_12_2 = heads;
    args.ne_12_3 = 1;
    args.ns10 = args.ns20 = head;
    args.nb11 = args.nb21 = head * 2;
    args.nb12 = args.nb22 = head * length * 2;
    args.nb13 = args.nb23 = head * length * heads * 2;
    args.ne31 = args.ne32 = args.ne33 = 1;
    args.nb31 = args.nb32 = args.nb33 = length * 2;
    args.ne1 = heads;
    args.ne2 = 1;
    args.ne3 = 1;
    args.scale = scale;
    const int fc = FC_FLASH_ATTN_EXT_VEC;
    const auto lib = upstream("fa_vec_f16");
    for (uint64_t simdgroups : {1, 2}) {
        const auto p = pipeline(lib, "kernel_flash_attn_ext_vec_f16_dk128_dv128", {},
                                {{fc + 0, 1, 1}, {fc + 20, 4, head}, {fc + 21, 4, head}, {fc + 22, 4, simdgroups}, {fc + 23, 4, 1}});
        const uint32_t memory = (simdgroups * head + simdgroups * 4 * OP_FLASH_ATTN_EXT_VEC_NCPSG + 2 * simdgroups * head) * 2;
        gpu::Dispatch d = dispatch(p, 1, 32, {bind_struct(args), bind(q), bind(k), bind(v), bind(mask), bind(q), bind(q),
                                              bind(out), bind(q)}, memory);
        d.threadgroups[1] = heads;
        d.threads[1] = simdgroups;
        run_well(d);
        CHECK(error_against(out, expected) < 2e-3);
        measure("flash attention 128x4x96", d);
    }
}

TEST(upstream_rope) {
    const int head = 64, heads = 3, tokens = 5;
    std::vector<float> x = numbers(head * heads * tokens, 9), y(x.size());
    std::vector<int32_t> positions = {0, 1, 7, 100, 3000};
    ggml_metal_kargs_rope args = {};
    args.ne00 = args.ne0 = head;
    args.ne01 = args.ne1 = heads;
    args.ne02 = args.ne2 = tokens;
    args.ne03 = args.ne3 = 1;
    args.nb00 = args.nb0 = 4;
    args.nb01 = args.nb1 = head * 4;
    args.nb02 = args.nb2 = head * heads * 4;
    args.nb03 = args.nb3 = head * heads * tokens * 4;
    args.n_dims = head;
    args.n_ctx_orig = 4096;
    args.freq_base = 10000;
    args.freq_scale = 1;
    args.attn_factor = 1;
    args.beta_fast = 32;
    args.beta_slow = 1;
    gpu::Dispatch d = dispatch(pipeline(upstream("rope"), "kernel_rope_norm_f32"), heads, 32,
                               {bind_struct(args), bind(x), bind(positions), bind(x), bind(y)});
    d.threadgroups[1] = tokens;
    run_well(d);
    std::vector<double> expected(x.size());
    for (size_t i = 0; i < x.size(); i += 2) {
        const int pair = i % head;
        const double angle = positions[i / head / heads] * std::pow(10000.0, -pair / double(head));
        expected[i] = x[i] * std::cos(angle) - x[i + 1] * std::sin(angle);
        expected[i + 1] = x[i] * std::sin(angle) + x[i + 1] * std::cos(angle);
    }
    CHECK(error_against(y, expected) < 1e-3);
    measure("rope 64x3x5", d);
}

// Every kernel of every library is translated; one of each is compiled.
TEST(upstream_libraries_are_translated) {
    size_t kernels = 0;
    for (const std::string & name : upstream_libraries()) {
        const auto lib = upstream(name);
        if (!lib) {
            continue;
        }
        CHECK(!lib->names().empty());
        kernels += lib->names().size();
        CHECK(pipeline(lib, lib->names().back()) != nullptr);
    }
    printf("  %zu kernels\n", kernels);
    CHECK(kernels > 1000);
}
#endif
