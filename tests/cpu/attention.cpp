// Holds attention against sums in double precision and against ggml's own kernel, and times it.
//
//   attention check     random shapes, masks, types; the same bits for any number of threads and of queries; ends with 1 on a failure
//   attention time      the attention of a prompt of 512 tokens, and of one and four tokens after 1,024, one thread: ours and ggml's
//                       reference
#include "attention/attention-kernels.h"
#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"
#include "report.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

namespace {

const float MINUS_INFINITY = -std::numeric_limits<float>::infinity();

// Values are [batch][head][row][width]; the mask is [batch][query][key].
struct attention {
    int64_t   dk, dv, heads, kv_heads, queries, keys, batches;
    ggml_type type;
    float     scale, bias, softcap;
    bool      has_mask, has_sinks;
    std::vector<float> q, k, v, mask, sinks;

    void fill() {
        q     = normal(dk * heads * queries * batches, 1);
        k     = normal(dk * kv_heads * keys * batches, 1);
        v     = normal(dv * kv_heads * keys * batches, 1);
        sinks = normal(heads, 1);
        mask.assign(queries * keys * batches, 0);
        const int kind = uniform(0, 2);
        for (int64_t b = 0; b < batches; ++b) {
            for (int64_t i = 0; i < queries; ++i) {
                for (int64_t j = 0; j < keys; ++j) {
                    // what came before, a window of it, or anything; some see nothing
                    const int64_t at = j - (keys - queries);
                    const bool    seen = kind == 0 ? at <= i : kind == 1 ? at <= i && at > i - 40 : uniform(0, 3) != 0 && i % 17 != 3;
                    mask[(b * queries + i) * keys + j] = seen ? bias > 0 ? float(-std::abs(at - i)) : 0 : MINUS_INFINITY;
                }
            }
        }
        // as the cache rounds them
        for (auto * x : { &k, &v }) {
            const int64_t        width = x == &k ? dk : dv, rows = x->size() / width;
            std::vector<uint8_t> bytes(rows * ggml_row_size(type, width));
            ggml_quantize_chunk(type, x->data(), bytes.data(), 0, rows, width, nullptr);
            if (type == GGML_TYPE_F32) {
                continue;
            }
            ggml_get_type_traits(type)->to_float(bytes.data(), x->data(), x->size());
        }
    }

    // The same keys with others among them that nobody may see. For one batch.
    attention apart() const {
        attention        wide = *this;
        std::vector<int64_t> at;
        for (int64_t j = 0, to = 0; j < keys; ++j, ++to) {
            to += uniform(0, 9) == 0 ? uniform(1, 150) : 0;
            at.push_back(to);
        }
        wide.keys = at.back() + 1;
        const auto moved = [&](const std::vector<float> & x, int64_t rows, int64_t width, float other) {
            std::vector<float> y(rows * wide.keys * width, other);
            for (int64_t r = 0; r < rows; ++r) {
                for (int64_t j = 0; j < keys; ++j) {
                    std::copy_n(&x[(r * keys + j) * width], width, &y[(r * wide.keys + at[j]) * width]);
                }
            }
            return y;
        };
        wide.k    = moved(k, kv_heads, dk, 1);
        wide.v    = moved(v, kv_heads, dv, 1);
        wide.mask = moved(mask, queries, 1, MINUS_INFINITY);
        return wide;
    }

    std::string name() const {
        char text[200];
        snprintf(text, sizeof(text), "%s widths %d %d heads %d of %d queries %d keys %d batches %d bias %g softcap %g mask %d sinks %d", ggml_type_name(type),
                 int(dk), int(dv), int(heads), int(kv_heads), int(queries), int(keys), int(batches), bias, softcap, has_mask, has_sinks);
        return text;
    }

    double slope(int64_t h) const {
        const int log2 = 1 << int(std::floor(std::log2(double(heads))));
        return bias <= 0 ? 1 : h < log2 ? std::pow(2.0, -bias / log2 * (h + 1)) : std::pow(2.0, -bias / 2 / log2 * (2 * (h - log2) + 1));
    }

    // [batch][query][head][width]
    std::vector<double> exact() const {
        std::vector<double> out(dv * heads * queries * batches);
        std::vector<double> s(keys);
        for (int64_t b = 0; b < batches; ++b) {
            for (int64_t h = 0; h < heads; ++h) {
                const int64_t g = b * kv_heads + h / (heads / kv_heads);
                for (int64_t i = 0; i < queries; ++i) {
                    double most = has_sinks ? sinks[h] : -std::numeric_limits<double>::infinity(), sum = 0;
                    for (int64_t j = 0; j < keys; ++j) {
                        s[j] = 0;
                        for (int64_t d = 0; d < dk; ++d) {
                            s[j] += double(q[((b * heads + h) * queries + i) * dk + d]) * k[(g * keys + j) * dk + d];
                        }
                        s[j] *= scale;
                        s[j] = softcap != 0 ? softcap * std::tanh(s[j] / softcap) : s[j];
                        s[j] += has_mask ? slope(h) * mask[(b * queries + i) * keys + j] : 0;
                        most = std::max(most, s[j]);
                    }
                    if (std::isinf(most)) {
                        continue;
                    }
                    for (int64_t j = 0; j < keys; ++j) {
                        s[j] = std::exp(s[j] - most);
                        sum += s[j];
                    }
                    sum += has_sinks ? std::exp(sinks[h] - most) : 0;
                    for (int64_t j = 0; j < keys; ++j) {
                        for (int64_t d = 0; d < dv; ++d) {
                            out[((b * queries + i) * heads + h) * dv + d] += s[j] / sum * v[(g * keys + j) * dv + d];
                        }
                    }
                }
            }
        }
        return out;
    }

    std::vector<float> run(int threads, bool reference, int times = 1, double * seconds = nullptr) const {
        ggml_init_params params = { 16 * ggml_tensor_overhead() + ggml_graph_overhead(), nullptr, true };
        ggml_context *   inputs = ggml_init(params), * work = ggml_init(params);
        ggml_tensor *    tq = ggml_new_tensor_4d(inputs, GGML_TYPE_F32, dk, queries, heads, batches);
        ggml_tensor *    tk = ggml_new_tensor_4d(inputs, type, dk, keys, kv_heads, batches);
        ggml_tensor *    tv = ggml_new_tensor_4d(inputs, type, dv, keys, kv_heads, batches);
        ggml_tensor *    tm = has_mask ? ggml_new_tensor_4d(inputs, GGML_TYPE_F16, keys, queries, 1, batches) : nullptr;
        ggml_tensor *    ts = has_sinks ? ggml_new_tensor_1d(inputs, GGML_TYPE_F32, heads) : nullptr;
        ggml_tensor *    y  = ggml_flash_attn_ext(work, tq, tk, tv, tm, scale, bias, softcap);
        ggml_flash_attn_ext_add_sinks(y, ts);
        ggml_cgraph *    graph = ggml_new_graph(work);
        ggml_build_forward_expand(graph, y);

        ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors_from_buft(inputs, ggml_backend_cpu_buffer_type());
        ggml_backend_t        cpu    = ggml_backend_cpu_init();
        ggml_backend_cpu_set_n_threads(cpu, threads);
        ggml_backend_cpu_set_use_ref(cpu, reference);
        ggml_gallocr_t allocator = ggml_gallocr_new(ggml_backend_cpu_buffer_type());
        ggml_gallocr_alloc_graph(allocator, graph);

        set(tq, q);
        set(tk, k);
        set(tv, v);
        if (tm) {
            set(tm, mask);
        }
        if (ts) {
            set(ts, sinks);
        }
        for (int i = 0; i < times; ++i) {
            const auto start = std::chrono::steady_clock::now();
            ggml_backend_graph_compute(cpu, graph);
            if (seconds) {
                *seconds = std::min(*seconds, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
            }
        }
        std::vector<float> out(ggml_nelements(y));
        ggml_backend_tensor_get(y, out.data(), 0, ggml_nbytes(y));

        ggml_gallocr_free(allocator);
        ggml_backend_buffer_free(buffer);
        ggml_backend_free(cpu);
        ggml_free(inputs);
        ggml_free(work);
        return out;
    }

    static void set(ggml_tensor * t, const std::vector<float> & x) {
        std::vector<uint8_t> bytes(ggml_nbytes(t));
        ggml_quantize_chunk(t->type, x.data(), bytes.data(), 0, ggml_nrows(t), t->ne[0], nullptr);
        ggml_backend_tensor_set(t, t->type == GGML_TYPE_F32 ? (const void *) x.data() : bytes.data(), 0, bytes.size());
    }
};

double relative(const std::vector<float> & x, const std::vector<double> & exact) {
    double error = 0, all = 0;
    for (size_t i = 0; i < x.size(); ++i) {
        error += (x[i] - exact[i]) * (x[i] - exact[i]);
        all += exact[i] * exact[i];
    }
    return std::sqrt(error / all);
}

attention random_attention(int round) {
    const int widths[] = { 16, 64, 80, 96, 128, 192, 256 };
    attention a;
    a.dk = widths[uniform(0, 6)], a.dv = round % 4 ? a.dk : widths[uniform(0, 6)];
    a.type = round % 7 == 5 ? GGML_TYPE_F32 : GGML_TYPE_F16;
    if (round % 7 == 6) {
        a.type = GGML_TYPE_Q8_0, a.dk = a.dv = 64;
    }
    a.kv_heads  = uniform(1, 3);
    a.heads     = a.kv_heads * uniform(1, round % 5 ? 9 : 35);
    // 64 and more are many
    a.queries   = round % 2 ? uniform(1, 9) : uniform(1, round % 5 ? 150 : 70);
    a.keys      = a.queries + uniform(0, round % 3 ? 20 : 900);
    a.batches   = round % 6 == 0 ? 2 : 1;
    a.scale     = 1 / std::sqrt(float(a.dk));
    a.bias      = round % 8 == 3 ? 8 : 0;
    a.softcap   = round % 8 == 5 ? 3 : 0;
    a.has_mask  = round % 9 != 4 || a.bias > 0;
    a.has_sinks = round % 5 == 2;
    a.fill();
    return a;
}

void check() {
    for (int round = 0; round < 48; ++round) {
        const attention a = random_attention(round);
        const auto      exact = a.exact();
        const auto      one = a.run(1, false);
        const double    ours = relative(one, exact), ggmls = relative(a.run(2, true), exact);
        if (round % 8 == 0) {
            printf("%s: relative error %.2e, ggml's %.2e\n", a.name().c_str(), ours, ggmls);
        }
        // few queries of heads that share no keys are ggml's
        const bool many = a.queries >= 64, theirs = !many && a.heads == a.kv_heads;
        expect(ours < (theirs ? 1e-2 : 2e-6), a.name() + ": as sums in double precision");
        if (theirs) {
            continue;
        }
        for (int threads : { 2, 3, 8 }) {
            const auto shared = a.run(threads, false);
            expect(memcmp(one.data(), shared.data(), one.size() * sizeof(float)) == 0, a.name() + ": the same bits with more threads");
        }
        if (a.batches == 1) {
            // the first queries by themselves
            for (const int64_t n : { many ? int64_t(64) : int64_t(1), many ? a.queries - 1 : a.queries / 2 }) {
                if (n == 0 || (n >= 64) != many) {
                    continue;
                }
                attention few = a;
                few.queries = n;
                few.q.clear();
                few.mask.resize(n * a.keys);
                for (int64_t h = 0; h < a.heads; ++h) {
                    few.q.insert(few.q.end(), a.q.begin() + h * a.queries * a.dk, a.q.begin() + (h * a.queries + n) * a.dk);
                }
                const auto alone = few.run(2, false);
                expect(memcmp(one.data(), alone.data(), alone.size() * sizeof(float)) == 0, a.name() + ": a query does not depend on the others");
            }
            if (!many && a.has_mask) {
                const auto elsewhere = a.apart().run(2, false);
                expect(memcmp(one.data(), elsewhere.data(), one.size() * sizeof(float)) == 0, a.name() + ": it does not matter where keys stand");
            }
        }
    }
    printf("48 attentions, with 1, 2, 3 and 8 threads\n");

    attention a = random_attention(1);
    while (a.queries < 2) {
        a = random_attention(1);
    }
    a.q[5] = std::numeric_limits<float>::quiet_NaN();
    const auto y = a.run(1, false);
    expect(std::isnan(y[0]), "a value that is no number shows");
    expect(!std::isnan(y[a.heads * a.dv]), "and only in its row");
}

void time() {
    for (const auto & [heads, kv_heads, width] : { std::array<int, 3>{ 32, 4, 64 }, { 12, 2, 128 }, { 16, 16, 64 }, { 32, 32, 128 } }) {
        for (const auto & [queries, keys] : { std::array<int, 2>{ 512, 512 }, { 4, 1024 }, { 1, 1024 }, { 1, 128 } }) {
            for (const ggml_type type : { GGML_TYPE_F16, GGML_TYPE_Q8_0 }) {
                attention a{ width, width, heads, kv_heads, queries, keys, 1, type, 0.1f, 0, 0, true, false, {}, {}, {}, {}, {} };
                a.fill();
                for (int64_t i = 0; i < queries; ++i) {
                    for (int64_t j = 0; j < keys; ++j) {
                        a.mask[i * keys + j] = j - (keys - queries) <= i ? 0 : MINUS_INFINITY;    // what came before
                    }
                }
                double ours = 1e9, ggmls = 1e9;
                a.run(1, false, queries > 4 ? 10 : 100, &ours);
                a.run(1, true, queries > 4 ? 2 : 100, &ggmls);
                printf("%d heads of %d, width %d, %s, %d tokens of %d: %.3f ms; ggml's reference %.3f ms, %.2f times\n", heads, kv_heads, width,
                       ggml_type_name(type), queries, keys, 1e3 * ours, 1e3 * ggmls, ggmls / ours);
            }
        }
    }
}

}  // namespace

int main(int argc, char ** argv) {
    const std::string mode = argc > 1 ? argv[1] : "";
    ggml_cpu_init();
    if (mode == "check") {
        check();
    } else if (mode == "time") {
        time();
    } else {
        fprintf(stderr, "usage: attention check|time\n");
        return 2;
    }
    return reported();
}
