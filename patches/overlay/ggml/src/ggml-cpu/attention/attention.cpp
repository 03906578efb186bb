// Divides an attention into tasks: some queries of all heads that read the same keys and values.
#include "attention.h"

#include "attention-kernels.h"
#include "common.h"
#include "ggml-cpu-impl.h"
#include "ggml-impl.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace {

// Fewer queries than this are computed one by one, each with the keys that it sees, wherever they stand: what a token gets is not to
// depend on what is decoded with it.
constexpr int64_t MANY_QUERIES = GGML_FA_TILE_Q;

const attention_kernels * find_kernels() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (attention_kernels_avx512.name && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
        return &attention_kernels_avx512;
    }
    if (attention_kernels_avx2.name && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) {
        return &attention_kernels_avx2;
    }
#endif
    return nullptr;
}

bool is_width(int64_t n) {
    return n > 0 && n <= ATTENTION_WIDTH && n % 16 == 0;
}

attention_cells cells_of(const ggml_tensor * t, int64_t head, int64_t batch) {
    return { t->type == GGML_TYPE_F16 ? ATTENTION_F16 : t->type == GGML_TYPE_F32 ? ATTENTION_F32 : ATTENTION_OTHER,
             int(t->ne[0]),
             static_cast<const char *>(t->data) + head * t->nb[2] + batch * t->nb[3],
             t->nb[1],
             ggml_get_type_traits(t->type)->to_float };
}

bool is_readable(const ggml_tensor * t) {
    const bool known = t->type == GGML_TYPE_F16 || t->type == GGML_TYPE_F32 || ggml_get_type_traits(t->type)->to_float;
    return known && is_width(t->ne[0]) && t->nb[0] == ggml_type_size(t->type);
}

// As in ggml: the first power of two of heads take every slope of m0, the others every second one of m1.
void slopes_of(float max_bias, int64_t n_heads, int64_t first, int n, float * slopes) {
    const uint32_t log2 = 1u << uint32_t(std::floor(std::log2(n_heads)));
    const float    m0 = std::pow(2.0f, -max_bias / log2), m1 = std::pow(2.0f, -max_bias / 2 / log2);
    for (int i = 0; i < n; ++i) {
        const int64_t h = first + i;
        slopes[i] = max_bias <= 0 ? 1 : h < log2 ? std::pow(m0, float(h + 1)) : std::pow(m1, float(2 * (h - log2) + 1));
    }
}

// Null where there are none for the operation.
const attention_kernels * kernels_for(const ggml_tensor * op) {
    static const attention_kernels * const kernels = find_kernels();
    const ggml_tensor * q = op->src[0], * k = op->src[1], * v = op->src[2], * mask = op->src[3];
    if (q->type != GGML_TYPE_F32 || !is_readable(k) || !is_readable(v) || k->ne[2] != v->ne[2] ||
        k->ne[3] != v->ne[3]) {
        return nullptr;
    }
    // one row for each conversion of keys is no gain
    if (q->ne[1] < MANY_QUERIES && q->ne[2] == k->ne[2]) {
        return nullptr;
    }
    return mask && (mask->type != GGML_TYPE_F16 || mask->ne[2] != 1) ? nullptr : kernels;
}

constexpr size_t LINE = 64, SCRATCH = GGML_PAD(sizeof(attention_scratch), LINE);
// Bytes of sums that threads may leave for each other.
constexpr size_t MOST_SUMS = 16 << 20;

// How an operation is divided into tasks.
struct division {
    int64_t heads;      // of a task: all that share keys, or a part of them
    int64_t queries;    // of a task
    int64_t query_parts, groups, tasks;
    bool    gathered;
    int64_t slices;     // of the keys of a gathered task
    size_t  part;       // floats of the sums of a part of the keys
    size_t  sums;       // floats of those of a task

    division(const ggml_tensor * op, int nth) {
        const ggml_tensor * q = op->src[0], * k = op->src[1], * v = op->src[2];
        const int64_t sharing = q->ne[2] / k->ne[2];
        heads = std::min<int64_t>(sharing, 32);
        while (sharing % heads != 0) {
            --heads;
        }
        gathered    = q->ne[1] < MANY_QUERIES;
        queries     = gathered ? 1 : ATTENTION_ROWS / heads;
        query_parts = (q->ne[1] + queries - 1) / queries;
        groups      = q->ne[2] / heads;
        tasks       = query_parts * groups * q->ne[3];
        part        = heads * ATTENTION_SUMS(v->ne[0]);
        sums        = (k->ne[1] + ATTENTION_PART - 1) / ATTENTION_PART * part;
        const bool few = gathered && tasks < 2 * nth && k->ne[1] > ATTENTION_PART && tasks * sums * sizeof(float) <= MOST_SUMS;
        slices      = few ? nth : 1;
    }

    size_t sum_bytes() const { return slices > 1 ? tasks * sums * sizeof(float) : 0; }
};

}  // namespace

size_t ggml_cpu_attention_work_size(int n_threads, const ggml_tensor * op) {
    if (!kernels_for(op)) {
        return 0;
    }
    const division by(op, n_threads);
    return LINE + n_threads * SCRATCH + by.sum_bytes();
}

bool ggml_cpu_attention(const ggml_compute_params * params, ggml_tensor * op) {
    const attention_kernels * const kernels = kernels_for(op);
    const ggml_tensor * q = op->src[0], * k = op->src[1], * v = op->src[2], * mask = op->src[3], * sinks = op->src[4];
    if (!kernels || params->use_ref) {
        return false;
    }
    const int  ith = params->ith, nth = params->nth;
    auto *     memory = reinterpret_cast<uint8_t *>(GGML_PAD(reinterpret_cast<uintptr_t>(params->wdata), LINE));
    auto *     scratch = reinterpret_cast<attention_scratch *>(memory + ith * SCRATCH);
    auto *     sums = reinterpret_cast<float *>(memory + nth * SCRATCH);
    GGML_ASSERT(q->nb[0] == sizeof(float) && op->nb[0] == sizeof(float));
    float scale, max_bias, softcap;
    memcpy(&scale, op->op_params, sizeof(float));
    memcpy(&max_bias, op->op_params + 1, sizeof(float));
    memcpy(&softcap, op->op_params + 2, sizeof(float));

    const division by(op, nth);
    const int64_t  sharing = q->ne[2] / k->ne[2], batches = q->ne[3] / k->ne[3];
    // calls `one` with a slice of task n
    const auto with_task = [&](int64_t n, int64_t slice, auto one) {
        // the last queries first: they see the most keys
        const int64_t i1 = (by.query_parts - 1 - n / (by.groups * q->ne[3])) * by.queries, i2 = n % by.groups * by.heads, i3 = n / by.groups % q->ne[3];
        float         slopes[32];
        slopes_of(max_bias, q->ne[2], i2, int(by.heads), slopes);
        attention_task task;
        task.keys        = cells_of(k, i2 / sharing, i3 / batches);
        task.values      = cells_of(v, i2 / sharing, i3 / batches);
        task.n_keys      = k->ne[1];
        task.queries     = int(std::min(by.queries, q->ne[1] - i1));
        task.heads       = int(by.heads);
        task.gathered    = by.gathered;
        task.slice       = int(slice);
        task.slices      = int(by.slices);
        task.q           = static_cast<const char *>(q->data) + i1 * q->nb[1] + i2 * q->nb[2] + i3 * q->nb[3];
        task.q_query     = q->nb[1];
        task.q_head      = q->nb[2];
        task.mask        = mask ? static_cast<const char *>(mask->data) + i1 * mask->nb[1] + i3 % mask->ne[3] * mask->nb[3] : nullptr;
        task.mask_query  = mask ? mask->nb[1] : 0;
        // the result has heads and queries the other way round
        task.out         = static_cast<char *>(op->data) + ((i3 * op->ne[2] + i1) * op->ne[1] + i2) * op->nb[1];
        task.out_query   = op->ne[1] * op->nb[1];
        task.out_head    = op->nb[1];
        task.slopes      = slopes;
        task.sinks       = sinks ? static_cast<const float *>(sinks->data) + i2 : nullptr;
        task.scale       = softcap == 0 ? scale : scale / softcap;
        task.softcap     = softcap;
        task.sums        = by.slices > 1 ? sums + n * by.sums : nullptr;
        task.part_stride = by.part;
        one(&task, scratch);
    };

    if (ith == 0) {
        ggml_threadpool_chunk_set(params->threadpool, nth);
    }
    ggml_barrier(params->threadpool);
    for (int64_t n = ith; n < by.tasks * by.slices; n = ggml_threadpool_chunk_add(params->threadpool, 1)) {
        with_task(n / by.slices, n % by.slices, kernels->run);
    }
    if (by.slices > 1) {
        ggml_barrier(params->threadpool);
        for (int64_t n = ith; n < by.tasks; n += nth) {
            with_task(n, 0, kernels->finish);
        }
    }
    return true;
}
