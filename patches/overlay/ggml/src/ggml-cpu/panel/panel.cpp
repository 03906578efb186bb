// The buffer type that packs quantised weights into panels, and the products with them.
#include "panel.h"

#include "ggml-backend-impl.h"
#include "ggml-cpu-impl.h"
#include "ggml-cpu.h"
#include "ggml-impl.h"
#include "panel-cpu.h"
#include "panel-kernels.h"
#include "panel-pack.h"
#include "traits.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__)
#    include <sys/mman.h>
#endif

namespace {

constexpr size_t LINE = 64;
#if defined(__linux__)
// Pages of 64 KiB, which some aarch64 systems have, are multiples of smaller ones.
constexpr size_t PAGE = 64 << 10;
constexpr size_t HUGE_PAGE = 2 << 20;
#endif

// The fastest kernels of this CPU for so many tokens.
const panel_kernels * kernels_for(int64_t tokens) {
    const panel_kernels * const * kernels = panel_kernels_of_this_cpu();
    while ((*kernels)->worth_tokens > std::max<int64_t>(1, tokens)) {
        ++kernels;
    }
    return *kernels;
}

// --- packing

int64_t panels_of(int64_t n_rows) {
    return (n_rows + PANEL_ROWS - 1) / PANEL_ROWS;
}

// bytes of all panels of one matrix
size_t matrix_bytes(const ggml_tensor * w) {
    return panels_of(w->ne[1]) * panel_bytes(w->type, w->ne[0]);
}

// Calls body(first, last) for parts of 0..n on all cores, where there is enough work for it.
template <class Body> void in_parallel(int64_t n, size_t bytes, const Body & body) {
    const size_t worth_a_thread = 1 << 20;
    const size_t cores          = std::max(1u, std::thread::hardware_concurrency());
    const int64_t parts = std::max<int64_t>(1, std::min({ n, int64_t(cores), int64_t(bytes / worth_a_thread) }));
    std::vector<std::thread> threads;
    for (int64_t i = 1; i < parts; ++i) {
        try {
            threads.emplace_back([&, i] { body(n * i / parts, n * (i + 1) / parts); });
        } catch (const std::system_error &) {
            // no thread is to be had: the caller does this part too
            body(n * i / parts, n * (i + 1) / parts);
        }
    }
    body(0, n / parts);
    for (auto & thread : threads) {
        thread.join();
    }
}

// Calls one(panel, lanes that have a row, lanes first to last, where the row of the first begins) for the panels of the rows
// that [offset, offset + size) of the tensor's GGUF bytes covers. A panel is one thread's, so that no two write to one line.
template <class One> void for_panels(const ggml_tensor * w, size_t offset, size_t size, const One & one) {
    const size_t row_size = ggml_row_size(w->type, w->ne[0]);
    GGML_ASSERT(offset % row_size == 0 && size % row_size == 0 && "weights in panels are written and read by whole rows");
    const int64_t rows = w->ne[1], panels = panels_of(rows);
    const int64_t begin = offset / row_size, end = begin + size / row_size;
    const auto    panel_of = [&](int64_t row) { return row / rows * panels + row % rows / PANEL_ROWS; };
    if (begin == end) {
        return;
    }
    const int64_t p0 = panel_of(begin), p1 = panel_of(end - 1) + 1;
    in_parallel(p1 - p0, size, [&](int64_t from, int64_t to) {
        for (int64_t p = p0 + from; p < p0 + to; ++p) {
            const int64_t row0 = p / panels * rows + p % panels * PANEL_ROWS;
            const int64_t there = std::min<int64_t>(PANEL_ROWS, rows - p % panels * PANEL_ROWS);
            const int64_t first = std::max<int64_t>(0, begin - row0), last = std::min(there, end - row0);
            one(static_cast<uint8_t *>(w->data) + p * panel_bytes(w->type, w->ne[0]), there, int(first), int(last),
                (row0 + first - begin) * row_size);
        }
    });
}

// --- products

// What a thread shares with the others of an operation: quantised rows, then for MUL_MAT_ID the rows of each expert.
struct product {
    const ggml_tensor *   w;
    const ggml_tensor *   x;
    const ggml_tensor *   ids;        // null but for MUL_MAT_ID
    ggml_tensor *         dst;
    const panel_kernels * kernels;
    size_t                act;        // bytes of a quantised row
    int64_t               panels;     // of one matrix

    explicit product(ggml_tensor * op) :
        w(op->src[0]),
        x(op->src[1]),
        ids(op->op == GGML_OP_MUL_MAT_ID ? op->src[2] : nullptr),
        dst(op),
        kernels(kernels_for(ids ? ggml_nelements(ids) / w->ne[2] : ggml_nrows(x))),
        act(GGML_PAD(kernels->act_bytes(w->type, w->ne[0]), kernels->block > 1 ? LINE : 16)),
        panels(panels_of(w->ne[1])) {}

    int64_t n_rows() const { return ggml_nrows(x); }

    // Rows are quantised once for each expert that takes them where an expert's rows must stand in blocks.
    bool is_sorted() const { return ids && kernels->block > 1; }

    size_t act_size() const {
        const int64_t routed = ids ? ggml_nelements(ids) : 0;
        // each expert's rows begin a block
        const int64_t rows = is_sorted() ? routed + std::min(routed, w->ne[2]) * (kernels->block - 1) : n_rows();
        return GGML_PAD(rows, kernels->block) * act;
    }

    // What the kernels borrow of each thread
    size_t scratch() const { return GGML_PAD(kernels->scratch, LINE); }

    // The work memory by whole lines: an operand of AMX that straddles two is loaded at half the speed. First what each thread lends.
    uint8_t * lent(const ggml_compute_params * params) const {
        return reinterpret_cast<uint8_t *>(GGML_PAD(reinterpret_cast<uintptr_t>(params->wdata), LINE)) + params->ith * scratch();
    }

    // The quantised rows behind it
    uint8_t * acts(const ggml_compute_params * params) const { return lent(params) + (params->nth - params->ith) * scratch(); }

    // Where row r of the quantised ones begins.
    size_t place(int64_t r) const {
        const int64_t in_block = r % kernels->block;
        return (r - in_block) * act + 64 * in_block;
    }

    const float * row_of_x(int64_t r) const {
        const int64_t i1 = r % x->ne[1], i2 = r / x->ne[1] % x->ne[2], i3 = r / (x->ne[1] * x->ne[2]);
        return reinterpret_cast<const float *>(static_cast<const char *>(x->data) + i1 * x->nb[1] + i2 * x->nb[2] + i3 * x->nb[3]);
    }

    float * row_of_dst(int64_t i1, int64_t i2, int64_t i3) const {
        return reinterpret_cast<float *>(static_cast<char *>(dst->data) + i1 * dst->nb[1] + i2 * dst->nb[2] + i3 * dst->nb[3]);
    }

    void quantise(int64_t r, uint8_t * to) const { kernels->quantise(w->type, row_of_x(r), w->ne[0], to); }

    // The tiles t0 to t1 of a row that stands by itself
    void quantise(int64_t r, int64_t t0, int64_t t1, uint8_t * to) const {
        const int64_t k_step = panel_shape_of(w->type).k_step;
        kernels->quantise(w->type, row_of_x(r) + t0 * k_step, (t1 - t0) * k_step, to + kernels->act_bytes(w->type, t0 * k_step));
    }

    void multiply(int64_t matrix, int64_t p0, int64_t p1, const uint8_t * const * acts, float * const * out, int n, void * lent) const {
        const uint8_t * panels = static_cast<const uint8_t *>(w->data) + matrix * matrix_bytes(w);
        kernels->mul(w->type, panels, w->ne[0], w->ne[1], p0, p1, acts, out, n, lent);
    }
};

// A matrix of few bytes and its few activations: what it takes to deal it out is a good part of what it takes to multiply,
// so every thread quantises all of them for itself, needs no barrier, and has its panels beforehand.
constexpr size_t  SMALL_MATRIX = 1 << 20;
constexpr int64_t SMALL_INPUT  = 16384;

bool is_small(const product & of) {
    return of.kernels->block == 1 && of.n_rows() <= of.kernels->tokens && of.n_rows() * of.w->ne[0] <= SMALL_INPUT &&
           matrix_bytes(of.w) <= SMALL_MATRIX;
}

// Below this, weights come from memory as fast as they are multiplied: each thread reads one stream of them.
constexpr int64_t FEW_TOKENS = 16;

// Panels that a thread takes at once: they stay in the second-level cache while the tokens pass.
int64_t panels_at_once(const product & of, int nth, int64_t matrices) {
    const int64_t cached = std::max<int64_t>(1, (192 << 10) / panel_bytes(of.w->type, of.w->ne[0]));
    const int64_t most   = of.kernels->panels ? of.kernels->panels : cached;
    const int64_t step   = std::clamp<int64_t>(of.panels * matrices / (4 * nth), 1, most);
    // AMX takes four together
    return of.kernels->panels ? (step + 3) / 4 * 4 : step;
}

// How the panels of one matrix are dealt out: to each thread its first ones, and the rest to who comes.
struct deal {
    int64_t panels, nth, first, step;

    deal(const product & of, int nth, int64_t tokens) : panels(of.panels), nth(nth) {
        step = first = panels_at_once(of, nth, 1);
        if (tokens < FEW_TOKENS) {
            // one stream for most of the time, and little to wait for at the end, however fast each core is
            first = nth == 1 ? panels : panels * 3 / (4 * nth);
            step  = std::max<int64_t>(1, (panels - nth * first) / (4 * nth));
        }
    }

    int64_t begin(int64_t part) const { return std::min(panels, part < nth ? part * first : nth * first + (part - nth) * step); }
};

void mul_mat(const ggml_compute_params * params, const product & of) {
    const int     ith = params->ith, nth = params->nth;
    const int64_t n = of.n_rows();
    uint8_t *     acts = of.acts(params);
    const auto    run = [&](int64_t p0, int64_t p1) {
        for (int64_t t0 = 0; t0 < n; t0 += of.kernels->tokens) {
            const int       m = int(std::min<int64_t>(of.kernels->tokens, n - t0));
            const uint8_t * act[PANEL_MOST_TOKENS];
            float *         out[PANEL_MOST_TOKENS];
            for (int t = 0; t < m; ++t) {
                const int64_t r = t0 + t;
                act[t] = acts + of.place(r);
                out[t] = of.row_of_dst(r % of.x->ne[1], r / of.x->ne[1] % of.x->ne[2], r / (of.x->ne[1] * of.x->ne[2]));
            }
            of.multiply(0, p0, p1, act, out, m, of.lent(params));
        }
    };

    if (is_small(of)) {
        acts += ith * n * of.act;
        for (int64_t r = 0; r < n; ++r) {
            of.quantise(r, acts + r * of.act);
        }
        return run(of.panels * ith / nth, of.panels * (ith + 1) / nth);
    }

    // few rows are quantised in parts, but not those in blocks
    const int64_t tiles = of.w->ne[0] / panel_shape_of(of.w->type).k_step;
    const int64_t parts = of.kernels->block > 1 || n >= nth ? 1 : std::min<int64_t>(nth, tiles);
    for (int64_t i = ith; i < n * parts; i += nth) {
        const int64_t r = i / parts, part = i % parts;
        if (parts == 1) {
            of.quantise(r, acts + of.place(r));
        } else {
            of.quantise(r, tiles * part / parts, tiles * (part + 1) / parts, acts + of.place(r));
        }
    }
    if (ith == 0) {
        ggml_threadpool_chunk_set(params->threadpool, nth);
    }
    ggml_barrier(params->threadpool);
    const deal by(of, nth, n);
    for (int64_t part = ith; by.begin(part) < of.panels; part = ggml_threadpool_chunk_add(params->threadpool, 1)) {
        run(by.begin(part), by.begin(part + 1));
    }
}

// A row of dst[:, slot, token], of those that an expert computes.
struct routed {
    int32_t slot, token;
};

// Behind the quantised rows: where each expert's rows begin (one more than experts), where its quantised rows do, the rows.
struct routes {
    int64_t * begin;
    int64_t * acts;
    routed *  rows;

    routes(const product & of, uint8_t * quantised) {
        begin = reinterpret_cast<int64_t *>(quantised + of.act_size());
        acts  = begin + of.w->ne[2] + 1;
        rows  = reinterpret_cast<routed *>(acts + of.w->ne[2]);
    }

    static size_t bytes(const product & of) {
        return (2 * of.w->ne[2] + 1) * sizeof(int64_t) + ggml_nelements(of.ids) * sizeof(routed);
    }

    // A counting sort of all (slot, token) by their expert.
    void find(const product & of) const {
        const int64_t n_experts = of.w->ne[2];
        const auto    for_all = [&](const auto & body) {
            for (int64_t token = 0; token < of.ids->ne[1]; ++token) {
                for (int64_t slot = 0; slot < of.ids->ne[0]; ++slot) {
                    const char *  at = static_cast<const char *>(of.ids->data) + slot * of.ids->nb[0] + token * of.ids->nb[1];
                    const int32_t expert = *reinterpret_cast<const int32_t *>(at);
                    GGML_ASSERT(expert >= 0 && expert < n_experts);
                    body(expert, slot, token);
                }
            }
        };
        std::fill_n(begin, n_experts + 1, 0);
        for_all([&](int32_t e, int64_t, int64_t) { begin[e + 1]++; });
        for (int64_t e = 0; e < n_experts; ++e) {
            begin[e + 1] += begin[e];
        }
        // each begin moves up to the next expert's while the rows are placed
        for_all([&](int32_t e, int64_t slot, int64_t token) { rows[begin[e]++] = { int32_t(slot), int32_t(token) }; });
        for (int64_t e = n_experts; e > 0; --e) {
            begin[e] = begin[e - 1];
        }
        begin[0] = 0;
        for (int64_t e = 0, next = 0; e < n_experts; ++e) {
            acts[e] = next;
            next += GGML_PAD(begin[e + 1] - begin[e], of.kernels->block);
        }
    }
};

void mul_mat_id(const ggml_compute_params * params, const product & of) {
    const int     ith = params->ith, nth = params->nth;
    const int64_t n_experts = of.w->ne[2], n_routed = ggml_nelements(of.ids);
    uint8_t *     acts = of.acts(params);
    const routes  to(of, acts);
    const auto    row_of = [&](routed at) { return at.token % of.x->ne[2] * of.x->ne[1] + at.slot % of.x->ne[1]; };

    if (ith == 0) {
        to.find(of);
        ggml_threadpool_chunk_set(params->threadpool, nth);
    }
    if (of.is_sorted()) {
        ggml_barrier(params->threadpool);
        for (int64_t i = ith, e = 0; i < n_routed; i += nth) {
            while (i >= to.begin[e + 1]) {
                ++e;
            }
            of.quantise(row_of(to.rows[i]), acts + of.place(to.acts[e] + i - to.begin[e]));
        }
    } else {
        for (int64_t r = ith; r < of.n_rows(); r += nth) {
            of.quantise(r, acts + of.place(r));
        }
    }
    ggml_barrier(params->threadpool);

    const int64_t step   = panels_at_once(of, nth, std::min(n_experts, n_routed));
    const int64_t chunks = (of.panels + step - 1) / step;
    // chunks are numbered through the experts that have rows
    int64_t passed = 0, e = 0;
    for (int64_t chunk = ith;; chunk = ggml_threadpool_chunk_add(params->threadpool, 1)) {
        while (e < n_experts && (to.begin[e] == to.begin[e + 1] || chunk >= passed + chunks)) {
            passed += to.begin[e] == to.begin[e + 1] ? 0 : chunks;
            ++e;
        }
        if (e == n_experts) {
            return;
        }
        const int64_t p0 = (chunk - passed) * step, p1 = std::min(of.panels, p0 + step);
        for (int64_t i0 = to.begin[e]; i0 < to.begin[e + 1]; i0 += of.kernels->tokens) {
            const int       m = int(std::min<int64_t>(of.kernels->tokens, to.begin[e + 1] - i0));
            const uint8_t * act[PANEL_MOST_TOKENS];
            float *         out[PANEL_MOST_TOKENS];
            for (int t = 0; t < m; ++t) {
                const routed at = to.rows[i0 + t];
                act[t] = acts + of.place(of.is_sorted() ? to.acts[e] + i0 - to.begin[e] + t : row_of(at));
                out[t] = of.row_of_dst(at.slot, at.token, 0);
            }
            of.multiply(e, p0, p1, act, out, m, of.lent(params));
        }
    }
}

class traits : public ggml::cpu::tensor_traits {
    bool work_size(int n_threads, const ggml_tensor * op, size_t & size) override {
        const product of(const_cast<ggml_tensor *>(op));
        size = of.act_size();
        if (of.ids) {
            size += routes::bytes(of);
        } else if (is_small(of)) {
            size *= n_threads;
        }
        size += LINE + n_threads * of.scratch();
        return true;
    }

    bool compute_forward(ggml_compute_params * params, ggml_tensor * op) override {
        const product of(op);
        op->op == GGML_OP_MUL_MAT ? mul_mat(params, of) : mul_mat_id(params, of);
        return true;
    }
};

bool is_packed(const ggml_tensor * w) {
    return w->buffer && w->buffer->buft == ggml_backend_cpu_panel_buffer_type();
}

class buffer_type : public ggml::cpu::extra_buffer_type {
    bool supports_op(ggml_backend_dev_t, const ggml_tensor * op) override {
        if ((op->op != GGML_OP_MUL_MAT && op->op != GGML_OP_MUL_MAT_ID) || !is_packed(op->src[0])) {
            return false;
        }
        const ggml_tensor * w = op->src[0];
        const ggml_tensor * x = op->src[1];
        const int           k_step = panel_shape_of(w->type).k_step;
        if (k_step == 0 || w->ne[0] % k_step != 0 || !ggml_is_contiguous(w) || w->view_src) {
            return false;
        }
        // experts are the third dimension of MUL_MAT_ID alone
        if (w->ne[3] != 1 || (op->op == GGML_OP_MUL_MAT ? w->ne[2] != 1 : x->ne[3] != 1)) {
            return false;
        }
        return x->type == GGML_TYPE_F32 && x->nb[0] == sizeof(float) && op->type == GGML_TYPE_F32 &&
               (!x->buffer || ggml_backend_buft_is_host(x->buffer->buft));
    }

    ggml::cpu::tensor_traits * get_tensor_traits(const ggml_tensor * op) override {
        static traits all;
        return (op->op == GGML_OP_MUL_MAT || op->op == GGML_OP_MUL_MAT_ID) && is_packed(op->src[0]) ? &all : nullptr;
    }
};

// --- the buffer

#if defined(__linux__)
// Pages of the system's, from which a heap would keep some when the model is gone; from where a huge one begins, as they leave fewer
// entries of the translation cache to look for: a stream of weights goes through each once.
void * allocate(size_t size) {
    const size_t    pages = GGML_PAD(std::max<size_t>(size, 1), PAGE);
    uint8_t * const all = static_cast<uint8_t *>(mmap(nullptr, pages + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (all == MAP_FAILED) {
        return nullptr;
    }
    const size_t before = GGML_PAD(reinterpret_cast<uintptr_t>(all), HUGE_PAGE) - reinterpret_cast<uintptr_t>(all);
    if (before > 0) {
        munmap(all, before);
    }
    munmap(all + before + pages, HUGE_PAGE - before);
    // a wish: where the system refuses it, small pages serve
    (void) madvise(all + before, pages, MADV_HUGEPAGE);
    return all + before;
}

void release(void * data, size_t size) {
    munmap(data, GGML_PAD(std::max<size_t>(size, 1), PAGE));
}
#else
void * allocate(size_t size) {
    void * data = nullptr;
    return posix_memalign(&data, LINE, std::max<size_t>(size, 1)) == 0 ? data : nullptr;
}

void release(void * data, size_t) {
    free(data);
}
#endif

void buffer_free(ggml_backend_buffer_t buffer) {
    release(buffer->context, buffer->size);
}

void * buffer_base(ggml_backend_buffer_t buffer) {
    return buffer->context;
}

void buffer_set(ggml_backend_buffer_t, ggml_tensor * w, const void * data, size_t offset, size_t size) {
    for_panels(w, offset, size, [&](uint8_t * panel, int64_t there, int first, int last, size_t at) {
        // with the last row come the lanes that have none
        panel_pack(w->type, static_cast<const uint8_t *>(data) + at, w->ne[0], panel, first, last, last == there ? PANEL_ROWS : last);
    });
}

void buffer_get(ggml_backend_buffer_t, const ggml_tensor * w, void * data, size_t offset, size_t size) {
    for_panels(w, offset, size, [&](const uint8_t * panel, int64_t, int first, int last, size_t at) {
        panel_unpack(w->type, panel, w->ne[0], static_cast<uint8_t *>(data) + at, first, last);
    });
}

void buffer_clear(ggml_backend_buffer_t buffer, uint8_t value) {
    memset(buffer->context, value, buffer->size);
}

const ggml_backend_buffer_i buffer_interface = {
    /* .free_buffer     = */ buffer_free,
    /* .get_base        = */ buffer_base,
    /* .init_tensor     = */ nullptr,
    /* .memset_tensor   = */ nullptr,
    /* .set_tensor      = */ buffer_set,
    /* .get_tensor      = */ buffer_get,
    /* .set_tensor_2d   = */ nullptr,
    /* .get_tensor_2d   = */ nullptr,
    /* .cpy_tensor      = */ nullptr,
    /* .clear           = */ buffer_clear,
    /* .reset           = */ nullptr,
};

const char * type_name(ggml_backend_buffer_type_t) {
    static const std::string name = std::string("CPU_PANEL_") + panel_kernels_of_this_cpu()[0]->name;
    return name.c_str();
}

ggml_backend_buffer_t type_alloc(ggml_backend_buffer_type_t buft, size_t size) {
    void * data = allocate(size);
    if (!data) {
        GGML_LOG_ERROR("%s: failed to allocate %zu bytes\n", __func__, size);
        return nullptr;
    }
    return ggml_backend_buffer_init(buft, buffer_interface, data, size);
}

size_t type_alignment(ggml_backend_buffer_type_t) {
    return LINE;
}

size_t type_alloc_size(ggml_backend_buffer_type_t, const ggml_tensor * w) {
    // the loader asks for the size of tensors that it then puts elsewhere
    const int k_step = panel_shape_of(w->type).k_step;
    return k_step && w->ne[0] % k_step == 0 ? matrix_bytes(w) * w->ne[2] * w->ne[3] : ggml_nbytes(w);
}

}  // namespace

ggml_backend_buffer_type_t ggml_backend_cpu_panel_buffer_type(void) {
    static ggml_backend_buffer_type type = {
        /* .iface   = */ {
            /* .get_name         = */ type_name,
            /* .alloc_buffer     = */ type_alloc,
            /* .alloc_buffer_n   = */ nullptr,
            /* .get_alignment    = */ type_alignment,
            /* .get_max_size     = */ nullptr,
            /* .get_alloc_size   = */ type_alloc_size,
            /* .get_alloc_size_n = */ nullptr,
            /* .is_host          = */ nullptr,
        },
        /* .device  = */ ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0),
        /* .context = */ new buffer_type(),
    };
    return panel_kernels_of_this_cpu()[0] ? &type : nullptr;
}
