// The calls from Rust into llama.cpp: each ends in a status, whatever is thrown below (guard.h).

#include "shim.h"
#include "llama-ext.h"

#include "ggml-guard.h"
#include "guard.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/utsname.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

using inf::guard;

namespace {

inf_log_fn log_line = nullptr;

void on_log(ggml_log_level level, const char * text, void *) {
    if (log_line && text) {
        log_line(level, text);
    }
}

void on_abort(const char * message) {
    if (inf::guarded > 0) {
        throw inf::assertion_failed(message);
    }
    // about to abort: leave a trace where the host's log goes
    on_log(GGML_LOG_LEVEL_ERROR, message, nullptr);
    on_log(GGML_LOG_LEVEL_ERROR, "\n", nullptr);
}

// For threads of a backend that are not inside guard().
bool run_guarded(void (*body)(void *), void * data) {
    inf_error  error;
    const bool good = guard(&error, [&] { body(data); }) == INF_OK;
    if (!good) {
        on_log(GGML_LOG_LEVEL_ERROR, error.message, nullptr);
        on_log(GGML_LOG_LEVEL_ERROR, "\n", nullptr);
    }
    return good;
}

inf_status add(llama_sampler * chain, inf_error * error, llama_sampler * (*make)(const void *), const void * data) {
    return guard(error, [&] {
        llama_sampler * sampler = make(data);
        if (!sampler) {
            throw std::runtime_error("the sampler was refused");
        }
        llama_sampler_chain_add(chain, sampler);
    });
}

template <typename F> inf_status add(llama_sampler * chain, inf_error * error, const F & make) {
    return add(chain, error, [](const void * f) { return (*static_cast<const F *>(f))(); }, &make);
}

const char * device_name(ggml_backend_buffer_type_t type) {
    ggml_backend_dev_t dev = type ? ggml_backend_buft_get_device(type) : nullptr;
    if (!dev) {
        // the CPU's own buffers do not say whose they are
        dev = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    }
    return ggml_backend_dev_name(dev);
}

} // namespace

inf_status inf_init(inf_log_fn log, inf_error * error) {
    return guard(error, [&] {
        log_line = log;
        llama_log_set(on_log, nullptr);
        ggml_set_abort_callback(on_abort);
        llama_backend_init();
        for (size_t i = 0; i < ggml_backend_reg_count(); ++i) {
            const auto set_guard = reinterpret_cast<ggml_backend_set_guard_t>(
                ggml_backend_reg_get_proc_address(ggml_backend_reg_get(i), "ggml_backend_set_guard"));
            if (set_guard) {
                set_guard(run_guarded);
            }
        }
    });
}

bool inf_device_profile(ggml_backend_dev_t device, ggml_device_profile * profile) {
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(device);
    const auto get = reinterpret_cast<ggml_backend_dev_get_profile_t>(
        ggml_backend_reg_get_proc_address(reg, "ggml_backend_dev_get_profile"));
    if (!get) {
        return false;
    }
    get(device, profile);
    return true;
}

bool inf_device_set_plan(ggml_backend_dev_t device, const ggml_device_plan * plan) {
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(device);
    const auto set = reinterpret_cast<ggml_backend_dev_set_plan_t>(
        ggml_backend_reg_get_proc_address(reg, "ggml_backend_dev_set_plan"));
    if (!set) {
        return false;
    }
    set(device, plan);
    return true;
}

bool inf_device_set_product_shapes(ggml_backend_dev_t device, const ggml_product_shape * shapes, size_t count) {
    using set_shapes_t = void (*)(ggml_backend_dev_t, const ggml_product_shape *, size_t);
    const auto set = reinterpret_cast<set_shapes_t>(ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(device), "ggml_backend_dev_set_product_shapes"));
    if (!set) {
        return false;
    }
    set(device, shapes, count);
    return true;
}

const char * inf_cpu_weight_layout(void) {
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (!cpu) {
        return nullptr;
    }
    const auto get = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(
        ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(cpu), "ggml_backend_dev_get_extra_bufts"));
    ggml_backend_buffer_type_t * types = get ? get(cpu) : nullptr;
    return types && *types ? ggml_backend_buft_name(*types) : nullptr;
}

inf_status inf_model_load(const char * path, const llama_model_params * params, llama_model ** model,
                          inf_error * error) {
    *model = nullptr;
    return guard(error, [&] { *model = llama_model_load_from_file(path, *params); });
}

inf_status inf_model_free(llama_model * model, inf_error * error) {
    return guard(error, [&] { llama_model_free(model); });
}

inf_status inf_context_new(llama_model * model, const llama_context_params * params, llama_context ** context,
                           inf_error * error) {
    *context = nullptr;
    return guard(error, [&] { *context = llama_init_from_model(model, *params); });
}

inf_status inf_context_free(llama_context * context, inf_error * error) {
    return guard(error, [&] { llama_free(context); });
}

uint64_t inf::failures() {
    using failures_t = uint64_t (*)(ggml_backend_dev_t);
    uint64_t sum = 0;
    for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
        const ggml_backend_dev_t device = ggml_backend_dev_get(i);
        const auto of = reinterpret_cast<failures_t>(
            ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), "ggml_backend_dev_failures"));
        sum += of ? of(device) : 0;
    }
    return sum;
}

inf_status inf_decode(llama_context * context, int32_t n, const llama_token * tokens, const llama_pos * pos,
                      const llama_seq_id * seq, const int8_t * output, int32_t * result, inf_error * error) {
    return guard(error, [&] {
        std::vector<int32_t>        counts(n, 1);
        std::vector<llama_seq_id *> sequences(n);
        for (int32_t i = 0; i < n; i++) {
            sequences[i] = const_cast<llama_seq_id *>(seq + i);
        }
        llama_batch batch = {};
        batch.n_tokens    = n;
        batch.token       = const_cast<llama_token *>(tokens);
        batch.pos         = const_cast<llama_pos *>(pos);
        batch.n_seq_id    = counts.data();
        batch.seq_id      = sequences.data();
        batch.logits      = const_cast<int8_t *>(output);
        const uint64_t before = inf::failures();
        *result = llama_decode(context, batch);
        if (*result == 0) {
            // the outputs are copied asynchronously: errors of the device surface here, inside the guard
            llama_synchronize(context);
            if (inf::failures() != before) {
                *result = -3; // as where the graph itself fails
            }
        }
    });
}

inf_status inf_logits(llama_context * context, int32_t i, const float ** logits, inf_error * error) {
    *logits = nullptr;
    return guard(error, [&] { *logits = llama_get_logits_ith(context, i); });
}

inf_status inf_embedding(llama_context * context, int32_t i, const float ** embedding, inf_error * error) {
    *embedding = nullptr;
    return guard(error, [&] { *embedding = llama_get_embeddings_ith(context, i); });
}

inf_status inf_seq_rm(llama_context * context, llama_seq_id seq, llama_pos from, llama_pos to, bool * removed,
                      inf_error * error) {
    return guard(error, [&] { *removed = llama_memory_seq_rm(llama_get_memory(context), seq, from, to); });
}

inf_status inf_seq_cp(llama_context * context, llama_seq_id from, llama_seq_id into, llama_pos to, inf_error * error) {
    return guard(error, [&] { llama_memory_seq_cp(llama_get_memory(context), from, into, 0, to); });
}

inf_status inf_seq_add(llama_context * context, llama_seq_id seq, llama_pos from, llama_pos delta, inf_error * error) {
    return guard(error, [&] { llama_memory_seq_add(llama_get_memory(context), seq, from, -1, delta); });
}

inf_status inf_seq_range(llama_context * context, llama_seq_id seq, llama_pos * least, llama_pos * most,
                         inf_error * error) {
    return guard(error, [&] {
        *least = llama_memory_seq_pos_min(llama_get_memory(context), seq);
        *most  = llama_memory_seq_pos_max(llama_get_memory(context), seq);
    });
}

inf_status inf_can_shift(llama_context * context, bool * can, inf_error * error) {
    return guard(error, [&] { *can = llama_memory_can_shift(llama_get_memory(context)); });
}

inf_status inf_context_memory(llama_context * context, inf_memory * parts, size_t n, size_t * count,
                              inf_error * error) {
    *count = 0;
    return guard(error, [&] {
        for (const auto & [type, bytes] : llama_get_memory_breakdown(context)) {
            if (*count < n) {
                parts[*count] = { device_name(type), bytes.model, bytes.context, bytes.compute };
            }
            ++*count;
        }
    });
}

inf_status inf_state_size(llama_context * context, size_t * size, inf_error * error) {
    return guard(error, [&] { *size = llama_state_seq_get_size(context, 0); });
}

inf_status inf_state_get(llama_context * context, uint8_t * data, size_t size, size_t * written, inf_error * error) {
    return guard(error, [&] { *written = llama_state_seq_get_data(context, data, size, 0); });
}

inf_status inf_state_set(llama_context * context, const uint8_t * data, size_t size, size_t * read,
                         inf_error * error) {
    return guard(error, [&] { *read = llama_state_seq_set_data(context, data, size, 0); });
}

inf_status inf_tokenize(const llama_vocab * vocab, const char * text, int32_t length, llama_token * tokens,
                        int32_t max_tokens, bool add_special, bool parse_special, int32_t * result,
                        inf_error * error) {
    return guard(error, [&] {
        *result = llama_tokenize(vocab, text, length, tokens, max_tokens, add_special, parse_special);
    });
}

inf_status inf_token_to_piece(const llama_vocab * vocab, llama_token token, char * piece, int32_t length, bool special,
                              int32_t * result, inf_error * error) {
    return guard(error, [&] { *result = llama_token_to_piece(vocab, token, piece, length, 0, special); });
}

inf_status inf_sampler_chain_new(llama_sampler ** chain, inf_error * error) {
    *chain = nullptr;
    return guard(error, [&] {
        llama_sampler_chain_params params = llama_sampler_chain_default_params();
        params.no_perf = true;
        *chain = llama_sampler_chain_init(params);
    });
}

inf_status inf_sampler_add_dry(llama_sampler * chain, const llama_vocab * vocab, float multiplier,
                               float base, int32_t allowed_length, int32_t penalty_last_n, const char ** breakers,
                               size_t n_breakers, inf_error * error) {
    return add(chain, error, [&] {
        return llama_sampler_init_dry(vocab, multiplier, base, allowed_length, penalty_last_n, breakers, n_breakers);
    });
}

inf_status inf_sampler_add_logit_bias(llama_sampler * chain, int32_t n_vocab, int32_t n, const llama_logit_bias * biases,
                                      inf_error * error) {
    return add(chain, error, [&] { return llama_sampler_init_logit_bias(n_vocab, n, biases); });
}

inf_status inf_sampler_add_penalties(llama_sampler * chain, int32_t n_vocab, int32_t last_n, float repeat,
                                     float frequency, float presence, inf_error * error) {
    return add(chain, error,
               [&] { return llama_sampler_init_penalties(n_vocab, last_n, repeat, frequency, presence); });
}

inf_status inf_sampler_add_mirostat(llama_sampler * chain, int32_t n_vocab, uint32_t seed, float tau, float eta,
                                    int32_t m, inf_error * error) {
    return add(chain, error, [&] { return llama_sampler_init_mirostat(n_vocab, seed, tau, eta, m); });
}

inf_status inf_sampler_add_mirostat_v2(llama_sampler * chain, uint32_t seed, float tau, float eta, inf_error * error) {
    return add(chain, error, [&] { return llama_sampler_init_mirostat_v2(seed, tau, eta); });
}

inf_status inf_sampler_add_top_k(llama_sampler * chain, int32_t k, inf_error * error) {
    return add(chain, error, [&] { return llama_sampler_init_top_k(k); });
}

inf_status inf_sampler_add_top_p(llama_sampler * chain, float p, size_t min_keep, inf_error * error) {
    return add(chain, error, [&] { return llama_sampler_init_top_p(p, min_keep); });
}

inf_status inf_sampler_add_min_p(llama_sampler * chain, float p, size_t min_keep, inf_error * error) {
    return add(chain, error, [&] { return llama_sampler_init_min_p(p, min_keep); });
}

inf_status inf_sampler_add_typical(llama_sampler * chain, float p, size_t min_keep, inf_error * error) {
    return add(chain, error, [&] { return llama_sampler_init_typical(p, min_keep); });
}

inf_status inf_sampler_add_top_n_sigma(llama_sampler * chain, float n, inf_error * error) {
    return add(chain, error, [&] { return llama_sampler_init_top_n_sigma(n); });
}

inf_status inf_sampler_add_xtc(llama_sampler * chain, float probability, float threshold, size_t min_keep,
                               uint32_t seed, inf_error * error) {
    return add(chain, error, [&] { return llama_sampler_init_xtc(probability, threshold, min_keep, seed); });
}

inf_status inf_sampler_add_temperature(llama_sampler * chain, float temperature, inf_error * error) {
    return add(chain, error, [&] { return llama_sampler_init_temp(temperature); });
}

inf_status inf_sampler_add_greedy(llama_sampler * chain, inf_error * error) {
    return add(chain, error, [&] { return llama_sampler_init_greedy(); });
}

inf_status inf_sampler_add_dist(llama_sampler * chain, uint32_t seed, inf_error * error) {
    return add(chain, error, [&] { return llama_sampler_init_dist(seed); });
}

inf_status inf_sample(llama_sampler * chain, llama_context * context, int32_t i, llama_token * token,
                      inf_error * error) {
    return guard(error, [&] { *token = llama_sampler_sample(chain, context, i); });
}

inf_status inf_sampler_accept(llama_sampler * chain, llama_token token, inf_error * error) {
    return guard(error, [&] { llama_sampler_accept(chain, token); });
}

bool inf_node_work(const ggml_tensor * node, const char ** operation, const char ** device) {
    switch (node->op) {
        case GGML_OP_NONE:
        case GGML_OP_RESHAPE:
        case GGML_OP_VIEW:
        case GGML_OP_PERMUTE:
        case GGML_OP_TRANSPOSE:
            return false;
        default:
            break;
    }
    if (!(node->flags & GGML_TENSOR_FLAG_COMPUTE) || ggml_is_empty(node)) {
        return false;
    }
    // the scheduler places a result in the memory of the device that computes it
    ggml_backend_buffer_t buffer = node->view_src ? node->view_src->buffer : node->buffer;
    *operation = ggml_op_desc(node);
    *device = device_name(buffer ? ggml_backend_buffer_get_type(buffer) : nullptr);
    return true;
}

void inf_system(char * text, size_t size) {
    utsname name = {};
    uname(&name);
    // not its nodename, which is the user's
    snprintf(text, size, "%s %s %s %s", name.sysname, name.release, name.version, name.machine);
}

void inf_trim_memory(void) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

void inf_keep_little_memory(void) {
#ifdef __GLIBC__
    // by default a large block that is freed raises both thresholds, up to 32 and 64 MiB in each arena
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
    mallopt(M_ARENA_MAX, 4);
#endif
}

inf_status inf_fail(int32_t how, inf_error * error) {
    return guard(error, [&] {
        switch (how) {
            case 0: throw std::runtime_error("thrown on purpose");
            case 1: GGML_ASSERT(how == 0 && "asserted on purpose");
            case 2: throw std::bad_alloc();
            default: throw how;
        }
    });
}
