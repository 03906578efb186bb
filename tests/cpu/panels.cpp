// Holds the kernels for weights in panels against sums in double precision and against ggml's own kernels, and times them.
//
//   panels check        every instruction set of this CPU, every type, random shapes and odd sizes; ends with 1 on a failure
//   panels graph        MUL_MAT and MUL_MAT_ID through ggml's graphs and the buffer type: the same bits for any number of threads
//   panels time [N K]   one thread, weights larger than the caches: GGUF bytes and products a second, by rows of activations
//
// With AMX_IN_SOFTWARE the AMX kernels are tested on a CPU that has all that they need but AMX, in fewer rounds.
#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"
#include "panel/panel-cpu.h"
#include "panel/panel-kernels.h"
#include "panel/panel-pack.h"
#include "panel/panel.h"
#include "report.h"

#if defined(__linux__)
#    include <sys/mman.h>
#endif

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#if defined(AMX_IN_SOFTWARE)
// panel-amx.cpp and panel-amx-int8.cpp with tests/cpu/amx-in-software.h, which stand in front of this CPU's kernels
extern const panel_kernels panel_kernels_amx_in_software;
extern const panel_kernels panel_kernels_amx_int8_in_software;

const panel_kernels * const * panel_kernels_of_this_cpu(void) {
    static const panel_kernels * const all[] = { &panel_kernels_amx_in_software, &panel_kernels_amx_int8_in_software, &panel_kernels_avx512,
                                                 &panel_kernels_avx2, nullptr };
    return all;
}
const panel_reach panel_ahead = { 3072, 3072 };
constexpr int STEP = 3;
#else
constexpr int STEP = 1;
#endif

namespace {

const ggml_type TYPES[] = { GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0 };

// A quantised matrix of n rows, its panels, and what its values are.
struct matrix {
    ggml_type            type;
    int64_t              k, n;
    std::vector<uint8_t> gguf, panels;
    std::vector<float>   values;

    matrix(ggml_type type, int64_t k, int64_t n) : type(type), k(k), n(n), gguf(n * ggml_row_size(type, k)), values(k * n) {
        // rows of several sizes, as a model has them, and values that are not centred
        auto source = normal(k * n, 0.02f);
        for (int64_t r = 0; r < n; ++r) {
            const float scale = std::exp2(float(uniform(-3, 3))), shift = 0.01f * uniform(-1, 1);
            for (int64_t i = 0; i < k; ++i) {
                source[r * k + i] = source[r * k + i] * scale + shift;
            }
        }
        ggml_quantize_chunk(type, source.data(), gguf.data(), 0, n, k, nullptr);
        finish();
    }

    // Any bytes are a matrix, where the halves are finite: all values of nibbles, scales and high bits come up.
    void randomise() {
        const size_t         block = ggml_type_size(type);
        std::vector<size_t>  halves = type == GGML_TYPE_Q6_K ? std::vector<size_t>{ 208 } : std::vector<size_t>{ 0 };
        if (type == GGML_TYPE_Q4_K || type == GGML_TYPE_Q5_K) {
            halves.push_back(2);
        }
        for (size_t i = 0; i < gguf.size(); ++i) {
            gguf[i] = uint8_t(rng());
        }
        for (size_t b = 0; b < gguf.size(); b += block) {
            for (size_t at : halves) {
                const ggml_fp16_t d = ggml_fp32_to_fp16(0.001f * uniform(-9, 9));
                memcpy(&gguf[b + at], &d, 2);
            }
        }
        finish();
    }

    void finish() {
        const size_t stride = panel_bytes(type, k), row = ggml_row_size(type, k);
        panels.assign((n + 15) / 16 * stride, 0xee);
        for (int64_t r = 0; r < n; r += 16) {
            panel_pack(type, &gguf[r * row], k, &panels[r / 16 * stride], 0, int(std::min<int64_t>(16, n - r)), 16);
        }
        ggml_get_type_traits(type)->to_float(gguf.data(), values.data(), k * n);
    }
};

// Activations, quantised for a matrix.
struct activations {
    std::vector<float>           x;
    std::vector<uint8_t>         bytes;
    std::vector<const uint8_t *> rows;

    activations(const panel_kernels & kernels, const matrix & w, std::vector<float> values) : x(std::move(values)) {
        const int    m    = int(x.size() / w.k);
        const size_t size = kernels.act_bytes(w.type, w.k);
        bytes.resize((m + kernels.block - 1) / kernels.block * kernels.block * size);
        for (int t = 0; t < m; ++t) {
            uint8_t * row = &bytes[t / kernels.block * kernels.block * size] + 64 * (t % kernels.block);
            if (kernels.block == 1) {
                row = &bytes[t * size];
            }
            kernels.quantise(w.type, &x[t * w.k], w.k, row);
            rows.push_back(row);
        }
    }
};

// What a call of `mul` borrows.
void * lent() {
    alignas(64) static uint8_t scratch[1 << 20];
    return scratch;
}

std::vector<float> multiply(const panel_kernels & kernels, const matrix & w, const activations & a, int first, int m) {
    std::vector<float>   y(m * w.n, std::numeric_limits<float>::quiet_NaN());
    std::vector<float *> out;
    for (int t = 0; t < m; ++t) {
        out.push_back(&y[t * w.n]);
    }
    const int64_t panels = (w.n + 15) / 16, middle = panels / 2;
    kernels.mul(w.type, w.panels.data(), w.k, w.n, 0, middle, &a.rows[first], out.data(), m, lent());
    kernels.mul(w.type, w.panels.data(), w.k, w.n, middle, panels, &a.rows[first], out.data(), m, lent());
    return y;
}

// Squares of errors and of results, summed over many products.
struct deviation {
    double error = 0, all = 0;

    void add(const matrix & w, const std::vector<float> & x, const std::vector<float> & y) {
        for (size_t t = 0; t * w.n < y.size(); ++t) {
            for (int64_t r = 0; r < w.n; ++r) {
                double sum = 0;
                for (int64_t i = 0; i < w.k; ++i) {
                    sum += double(w.values[r * w.k + i]) * x[t * w.k + i];
                }
                error += (y[t * w.n + r] - sum) * (y[t * w.n + r] - sum);
                all += sum * sum;
            }
        }
    }

    double relative() const { return std::sqrt(error / all); }
};

std::vector<float> by_ggml(const matrix & w, const std::vector<float> & x) {
    const auto *         traits = ggml_get_type_traits_cpu(w.type);
    const size_t         m      = x.size() / w.k;
    std::vector<uint8_t> q(ggml_row_size(traits->vec_dot_type, w.k));
    std::vector<float>   y(m * w.n);
    for (size_t t = 0; t < m; ++t) {
        ggml_get_type_traits_cpu(traits->vec_dot_type)->from_float(&x[t * w.k], q.data(), w.k);
        for (int64_t r = 0; r < w.n; ++r) {
            traits->vec_dot(w.k, &y[t * w.n + r], 0, &w.gguf[r * ggml_row_size(w.type, w.k)], 0, q.data(), 0, 1);
        }
    }
    return y;
}

void check_layout(const matrix & w) {
    const size_t row = ggml_row_size(w.type, w.k), stride = panel_bytes(w.type, w.k);
    expect(stride * 100 <= 16 * row * 101 || w.k % 64 != 0, std::string("panels within 1 % of the GGUF: ") + ggml_type_name(w.type));
    std::vector<uint8_t> back(row);
    for (int64_t r = 0; r < w.n; ++r) {
        panel_unpack(w.type, &w.panels[r / 16 * stride], w.k, back.data(), r % 16, r % 16 + 1);
        if (memcmp(back.data(), &w.gguf[r * row], row) != 0) {
            return expect(false, std::string("rows come back byte for byte: ") + ggml_type_name(w.type));
        }
    }
}

void check_special(const panel_kernels & kernels, ggml_type type) {
    const std::string name = std::string(kernels.name) + " " + ggml_type_name(type);
    const matrix      w(type, 512, 20);
    const float       nan = std::numeric_limits<float>::quiet_NaN(), infinite = std::numeric_limits<float>::infinity();
    auto              x = normal(512 * 4, 1);
    x[3] = nan, x[512 + 300] = infinite, x[512 + 301] = -infinite;
    std::fill_n(&x[1024], 512, 0.0f);
    std::fill_n(&x[1536], 512, 1e-40f);
    const auto y = multiply(kernels, w, activations(kernels, w, x), 0, 4);
    for (int r = 0; r < 20; ++r) {
        expect(std::isnan(y[r]), name + ": a value that is no number shows");
        expect(!std::isfinite(y[20 + r]), name + ": an infinite value shows");
        expect(y[40 + r] == 0, name + ": nothing of nothing");
        expect(std::fabs(y[60 + r]) < 1e-30f, name + ": subnormal values are as good as nothing");
    }
}

void check(const panel_kernels & kernels) {
    for (ggml_type type : TYPES) {
        const std::string name = std::string(kernels.name) + " " + ggml_type_name(type);
        const int         step = panel_shape_of(type).k_step;
        deviation         ours, ggmls;
        for (int round = 0; round < 40; round += STEP) {
            const int64_t k = step * (round == 0 ? 1 : step == 256 ? uniform(1, 9) : uniform(1, 72)), n = uniform(1, 70);
            const int     m = round < 20 ? round + 1 : uniform(1, std::min(kernels.tokens, 64 + 30 * (round == 39)));
            matrix        w(type, k, n);
            if (round % 4 == 3) {
                w.randomise();
            }
            check_layout(w);
            // activations have outliers
            auto x = normal(k * m, 1);
            x[uniform(0, int(k * m) - 1)] *= 20;
            const activations a(kernels, w, x);
            const auto        y = multiply(kernels, w, a, 0, m);
            ours.add(w, a.x, y);
            ggmls.add(w, a.x, by_ggml(w, a.x));
            bool same = true;
            for (int t = 0; t < m; ++t) {
                // a block is multiplied from its beginning on
                const activations row(kernels, w, std::vector<float>(x.begin() + t * k, x.begin() + (t + 1) * k));
                const auto        alone = multiply(kernels, w, row, 0, 1);
                same &= memcmp(alone.data(), &y[t * n], n * sizeof(float)) == 0;
            }
            expect(same, name + ": a token's products do not depend on its neighbours");
        }
        const double ratio = ours.relative() / ggmls.relative();
        printf("%-12s relative error %.3e, ggml's %.3e: %.3f\n", name.c_str(), ours.relative(), ggmls.relative(), ratio);
        expect(ratio < 1.02, name + ": the relative error is no worse than ggml's");
        check_special(kernels, type);
    }
}

struct graph_case {
    ggml_type type;
    int64_t   k, n, m, experts, used;
};

std::vector<float> run_graph(const graph_case & c, const matrix & w, const std::vector<float> & x, const std::vector<int32_t> & ids,
                             ggml_backend_buffer_type_t buft, int threads) {
    ggml_init_params params = { 16 * ggml_tensor_overhead() + ggml_graph_overhead(), nullptr, true };
    ggml_context *   weights = ggml_init(params), * others = ggml_init(params), * work = ggml_init(params);
    ggml_tensor *    wt = ggml_new_tensor_3d(weights, c.type, c.k, c.n, std::max<int64_t>(1, c.experts));
    ggml_tensor *    xt = c.experts ? ggml_new_tensor_3d(others, GGML_TYPE_F32, c.k, c.used % 2 ? 1 : c.used, c.m)
                                    : ggml_new_tensor_3d(others, GGML_TYPE_F32, c.k, c.m, 1);
    ggml_tensor *    it = c.experts ? ggml_new_tensor_2d(others, GGML_TYPE_I32, c.used, c.m) : nullptr;
    ggml_tensor *    y  = c.experts ? ggml_mul_mat_id(work, wt, xt, it) : ggml_mul_mat(work, wt, xt);
    ggml_cgraph *    graph = ggml_new_graph(work);
    ggml_build_forward_expand(graph, y);

    ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors_from_buft(weights, buft);
    ggml_backend_buffer_t rest   = ggml_backend_alloc_ctx_tensors_from_buft(others, ggml_backend_cpu_buffer_type());
    ggml_backend_t        cpu    = ggml_backend_cpu_init();
    ggml_backend_cpu_set_n_threads(cpu, threads);
    ggml_gallocr_t allocator = ggml_gallocr_new(ggml_backend_cpu_buffer_type());
    ggml_gallocr_alloc_graph(allocator, graph);

    expect(ggml_backend_dev_supports_op(ggml_backend_get_device(cpu), y), "the product is supported");
    // in two parts that meet inside a panel
    const size_t row = ggml_row_size(c.type, c.k), part = w.gguf.size() / row / 3 * row;
    ggml_backend_tensor_set(wt, w.gguf.data() + part, part, w.gguf.size() - part);
    ggml_backend_tensor_set(wt, w.gguf.data(), 0, part);
    std::vector<uint8_t> back(w.gguf.size());
    ggml_backend_tensor_get(wt, back.data(), 0, back.size());
    expect(back == w.gguf, "the buffer gives back what was put in");
    ggml_backend_tensor_set(xt, x.data(), 0, ggml_nbytes(xt));
    if (it) {
        ggml_backend_tensor_set(it, ids.data(), 0, ggml_nbytes(it));
    }
    ggml_backend_graph_compute(cpu, graph);
    std::vector<float> out(ggml_nelements(y));
    ggml_backend_tensor_get(y, out.data(), 0, ggml_nbytes(y));

    ggml_gallocr_free(allocator);
    ggml_backend_buffer_free(buffer);
    ggml_backend_buffer_free(rest);
    ggml_backend_free(cpu);
    for (ggml_context * context : { weights, others, work }) {
        ggml_free(context);
    }
    return out;
}

// Tokens that are decoded together get what each gets alone, up to the number from which other kernels take over.
void check_rows() {
    for (ggml_type type : TYPES) {
        const matrix w(type, 512, 75);
        for (int m : { 2, 3, 4, 5, 8, 13, 16, 33, 40, 63 }) {
            const auto x = normal(512 * m, 1);
            const auto together = run_graph({ type, 512, 75, m, 0, 0 }, w, x, {}, ggml_backend_cpu_panel_buffer_type(), 2);
            for (int t : { 0, m / 2, m - 1 }) {
                const std::vector<float> row(x.begin() + 512 * t, x.begin() + 512 * (t + 1));
                const auto alone = run_graph({ type, 512, 75, 1, 0, 0 }, w, row, {}, ggml_backend_cpu_panel_buffer_type(), 2);
                expect(memcmp(alone.data(), &together[75 * t], 75 * sizeof(float)) == 0,
                       std::string(ggml_type_name(type)) + ": a row alone and among " + std::to_string(m));
            }
        }
    }
    printf("rows alone and among 2 to 63\n");
}

void check_graphs() {
    for (int round = 0; round < 60; ++round) {
        const ggml_type type = TYPES[round % 5];
        const int       step = panel_shape_of(type).k_step;
        const int       experts = round % 2 ? uniform(1, 9) : 0;
        const graph_case c = { type, step * (int64_t) uniform(1, step == 256 ? 5 : 40), uniform(1, 200), uniform(1, round % 3 ? 9 : 150),
                               experts, experts ? uniform(1, experts) : 0 };
        const matrix       w(type, c.k, c.n * std::max<int64_t>(1, experts));
        const auto         x = normal(c.k * c.m * std::max<int64_t>(1, c.used), 1);
        std::vector<int32_t> ids;
        for (int64_t t = 0; t < c.m; ++t) {
            std::vector<int32_t> all(std::max(1, experts));
            for (size_t e = 0; e < all.size(); ++e) {
                all[e] = int32_t(e);
            }
            std::shuffle(all.begin(), all.end(), rng);
            ids.insert(ids.end(), all.begin(), all.begin() + c.used);
        }
        const auto one   = run_graph(c, w, x, ids, ggml_backend_cpu_panel_buffer_type(), 1);
        const auto plain = run_graph(c, w, x, ids, ggml_backend_cpu_buffer_type(), 2);
        double     error = 0, all = 0;
        for (size_t i = 0; i < one.size(); ++i) {
            error += std::pow(double(one[i]) - plain[i], 2);
            all += std::pow(plain[i], 2);
        }
        const std::string name = std::string(ggml_type_name(type)) + " k " + std::to_string(c.k) + " n " + std::to_string(c.n) + " m " +
                                 std::to_string(c.m) + " experts " + std::to_string(experts);
        expect(error <= 4e-4 * all, name + ": as ggml's kernels");
        for (int threads : { 2, 3, 8 }) {
            const auto many = run_graph(c, w, x, ids, ggml_backend_cpu_panel_buffer_type(), threads);
            expect(memcmp(one.data(), many.data(), one.size() * sizeof(float)) == 0, name + ": the same bits with more threads");
        }
    }
    printf("60 graphs, with 1, 2, 3 and 8 threads\n");
    check_rows();
}

double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void time(const panel_kernels & kernels, int64_t n, int64_t k) {
    for (ggml_type type : TYPES) {
        const matrix w(type, k, n);
        const int    copies = int(std::max<size_t>(1, (400 << 20) / w.panels.size()));
        void *       memory = nullptr;
        if (posix_memalign(&memory, 2 << 20, copies * w.panels.size()) != 0) {
            return expect(false, "memory for the weights");
        }
#if defined(__linux__)
        (void) madvise(memory, copies * w.panels.size(), MADV_HUGEPAGE);
#endif
        for (int i = 0; i < copies; ++i) {
            memcpy((char *) memory + i * w.panels.size(), w.panels.data(), w.panels.size());
        }
        printf("%-8s %-5s", kernels.name, ggml_type_name(type));
        for (int m : { 1, 2, 4, 8, 16, 64, 512 }) {
            if (m < kernels.worth_tokens || m > kernels.tokens) {
                continue;
            }
            const activations a(kernels, w, normal(k * m, 1));
            std::vector<float> y(m * n);
            std::vector<float *> out;
            for (int t = 0; t < m; ++t) {
                out.push_back(&y[t * n]);
            }
            const int times = std::max(1, m == 1 ? copies : copies / m);
            double best = 1e9;
            for (int round = 0; round < 3; ++round) {
                const double start = seconds();
                for (int i = 0; i < times; ++i) {
                    kernels.mul(type, (const uint8_t *) memory + i * w.panels.size(), k, n, 0, (n + 15) / 16, a.rows.data(), out.data(), m, lent());
                }
                best = std::min(best, seconds() - start);
            }
            printf("  m %-2d %5.1f GB/s %6.1f GFLOP/s", m, w.gguf.size() * times / best / 1e9, 2e-9 * n * k * m * times / best);
        }
        printf("\n");
        free(memory);
    }
}

}  // namespace

int main(int argc, char ** argv) {
    const std::string mode = argc > 1 ? argv[1] : "";
    ggml_cpu_init();
    const auto all = panel_kernels_of_this_cpu();
    if (!all[0]) {
        printf("no kernels for this CPU\n");
        return 0;
    }
    if (mode == "check") {
        for (auto * kernels = all; *kernels; ++kernels) {
            check(**kernels);
        }
    } else if (mode == "graph") {
        check_graphs();
    } else if (mode == "time") {
        for (auto * kernels = all; *kernels; ++kernels) {
            time(**kernels, argc > 3 ? atoll(argv[2]) : 5632, argc > 3 ? atoll(argv[3]) : 2048);
        }
    } else {
        fprintf(stderr, "usage: panels check|graph|time [N K]\n");
        return 2;
    }
    return reported();
}
