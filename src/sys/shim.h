// The C interface between Rust and llama.cpp: every call that can throw or assert goes through here and returns a status.
#pragma once

#include "llama.h"
#include "ggml-backend.h"
#include "ggml-product-shape.h"

#ifdef __cplusplus
extern "C" {
#endif

enum inf_status {
    INF_OK            = 0,
    INF_EXCEPTION     = 1, // a C++ exception; the object concerned is still consistent
    INF_ASSERTION     = 2, // an assertion of ggml failed; the object concerned must not be used again, nor freed
    INF_OUT_OF_MEMORY = 3, // std::bad_alloc
};

// Filled when a status other than INF_OK is returned; always terminated.
struct inf_error {
    char message[2048];
};

// A line of llama.cpp's log. Called from any thread.
typedef void (*inf_log_fn)(enum ggml_log_level level, const char * text);

// The profile of a device. False where its backend has none to give.
bool inf_device_profile(ggml_backend_dev_t device, struct ggml_device_profile * profile);

// Says how a device is to be used by models and contexts made from now on. False where its backend takes no plans.
bool inf_device_set_plan(ggml_backend_dev_t device, const struct ggml_device_plan * plan);

// Says which shapes the products of contexts made from now on have. False where its backend takes none.
bool inf_device_set_product_shapes(ggml_backend_dev_t device, const struct ggml_product_shape * shapes, size_t count);

// The layout that the CPU backend packs weights into: the name of the first of its buffer types for that, NULL where it
// has none. The string is static.
const char * inf_cpu_weight_layout(void);

// Installs the log and assertion hooks and initialises the backends. Call once.
enum inf_status inf_init(inf_log_fn log, struct inf_error * error);

// The model is NULL where llama.cpp refused it without throwing; the log says why.
enum inf_status inf_model_load(const char * path, const struct llama_model_params * params,
                               struct llama_model ** model, struct inf_error * error);
enum inf_status inf_model_free(struct llama_model * model, struct inf_error * error);

// The context is NULL where llama.cpp refused it without throwing; the log says why.
enum inf_status inf_context_new(struct llama_model * model, const struct llama_context_params * params,
                                struct llama_context ** context, struct inf_error * error);
enum inf_status inf_context_free(struct llama_context * context, struct inf_error * error);

// Decodes n tokens, each with its position and its sequence; logits are kept for those with output != 0.
// result receives llama_decode's return value.
enum inf_status inf_decode(struct llama_context * context, int32_t n, const llama_token * tokens, const llama_pos * pos,
                           const llama_seq_id * seq, const int8_t * output, int32_t * result, struct inf_error * error);

// The logits of the i-th token of the last decode (-1: the last output), NULL where there are none.
enum inf_status inf_logits(struct llama_context * context, int32_t i, const float ** logits, struct inf_error * error);

// The embedding of the i-th token of the last decode, NULL where there is none.
enum inf_status inf_embedding(struct llama_context * context, int32_t i, const float ** embedding,
                              struct inf_error * error);

// Removes the positions [from, to) of a sequence; to = -1 is the end. removed is false where the memory cannot do that.
enum inf_status inf_seq_rm(struct llama_context * context, llama_seq_id seq, llama_pos from, llama_pos to, bool * removed,
                           struct inf_error * error);
// Makes the positions [0, to) of one sequence those of another, too, which must be empty. With a unified cache they share
// the cells. A recurrent memory copies the whole state.
enum inf_status inf_seq_cp(struct llama_context * context, llama_seq_id from, llama_seq_id into, llama_pos to,
                           struct inf_error * error);
// Moves the positions [from, ...) of a sequence by delta. Cells shared with another sequence move for both.
enum inf_status inf_seq_add(struct llama_context * context, llama_seq_id seq, llama_pos from, llama_pos delta,
                            struct inf_error * error);
// The least and the greatest position of a sequence, both -1 where it is empty.
enum inf_status inf_seq_range(struct llama_context * context, llama_seq_id seq, llama_pos * least, llama_pos * most,
                              struct inf_error * error);
// Whether the memory can do inf_seq_add.
enum inf_status inf_can_shift(struct llama_context * context, bool * can, struct inf_error * error);

// What a context takes in one kind of memory, in bytes; the device's name lives as long as the process.
struct inf_memory {
    const char * device;
    size_t weights;
    size_t cache;
    size_t compute;
};
// Fills up to n entries; count receives how many there are.
enum inf_status inf_context_memory(struct llama_context * context, struct inf_memory * parts, size_t n, size_t * count,
                                   struct inf_error * error);

// The state of sequence 0.
enum inf_status inf_state_size(struct llama_context * context, size_t * size, struct inf_error * error);
enum inf_status inf_state_get(struct llama_context * context, uint8_t * data, size_t size, size_t * written,
                              struct inf_error * error);
// read is 0 where the state does not fit the context.
enum inf_status inf_state_set(struct llama_context * context, const uint8_t * data, size_t size, size_t * read,
                              struct inf_error * error);

// As llama_tokenize and llama_token_to_piece.
enum inf_status inf_tokenize(const struct llama_vocab * vocab, const char * text, int32_t length, llama_token * tokens,
                             int32_t max_tokens, bool add_special, bool parse_special, int32_t * result,
                             struct inf_error * error);
enum inf_status inf_token_to_piece(const struct llama_vocab * vocab, llama_token token, char * piece, int32_t length,
                                   bool special, int32_t * result, struct inf_error * error);

// Adds a sampler to the chain, which owns it from then on. Also where this fails, the sampler is freed.
enum inf_status inf_sampler_chain_new(struct llama_sampler ** chain, struct inf_error * error);
enum inf_status inf_sampler_add_dry(struct llama_sampler * chain, const struct llama_vocab * vocab,
                                    float multiplier, float base, int32_t allowed_length,
                                    int32_t penalty_last_n, const char ** breakers, size_t n_breakers,
                                    struct inf_error * error);
enum inf_status inf_sampler_add_logit_bias(struct llama_sampler * chain, int32_t n_vocab, int32_t n,
                                           const struct llama_logit_bias * biases, struct inf_error * error);
enum inf_status inf_sampler_add_penalties(struct llama_sampler * chain, int32_t n_vocab, int32_t last_n, float repeat,
                                          float frequency, float presence, struct inf_error * error);
enum inf_status inf_sampler_add_mirostat(struct llama_sampler * chain, int32_t n_vocab, uint32_t seed, float tau,
                                         float eta, int32_t m, struct inf_error * error);
enum inf_status inf_sampler_add_mirostat_v2(struct llama_sampler * chain, uint32_t seed, float tau, float eta,
                                            struct inf_error * error);
enum inf_status inf_sampler_add_top_k(struct llama_sampler * chain, int32_t k, struct inf_error * error);
enum inf_status inf_sampler_add_top_p(struct llama_sampler * chain, float p, size_t min_keep, struct inf_error * error);
enum inf_status inf_sampler_add_min_p(struct llama_sampler * chain, float p, size_t min_keep, struct inf_error * error);
enum inf_status inf_sampler_add_typical(struct llama_sampler * chain, float p, size_t min_keep,
                                        struct inf_error * error);
enum inf_status inf_sampler_add_top_n_sigma(struct llama_sampler * chain, float n, struct inf_error * error);
enum inf_status inf_sampler_add_xtc(struct llama_sampler * chain, float probability, float threshold, size_t min_keep,
                                    uint32_t seed, struct inf_error * error);
enum inf_status inf_sampler_add_temperature(struct llama_sampler * chain, float temperature, struct inf_error * error);
enum inf_status inf_sampler_add_greedy(struct llama_sampler * chain, struct inf_error * error);
enum inf_status inf_sampler_add_dist(struct llama_sampler * chain, uint32_t seed, struct inf_error * error);

// Samples from the i-th token of the last decode (-1: the last output), and tells the chain of the choice.
enum inf_status inf_sample(struct llama_sampler * chain, struct llama_context * context, int32_t i,
                           llama_token * token, struct inf_error * error);
enum inf_status inf_sampler_accept(struct llama_sampler * chain, llama_token token, struct inf_error * error);

// What a node of a graph computes, and the device that does; both names live as long as the process. False for a node
// that computes nothing, such as a view.
bool inf_node_work(const struct ggml_tensor * node, const char ** operation, const char ** device);

// The self-test of a device with a model: see selftest.cpp.
struct inf_selftest;

struct inf_selftest_options {
    uint64_t       seed;
    enum ggml_type type_k;
    enum ggml_type type_v;
    bool           flash_attention;
    int32_t        threads; // of the CPU
    uint32_t       columns; // the most that a graph may have
};

enum inf_verdict {
    INF_VERDICT_RIGHT    = 0,
    INF_VERDICT_WRONG    = 1, // it gave something else than the CPU
    INF_VERDICT_FAILED   = 2, // it gave an error
    INF_VERDICT_ON_CPU   = 3, // the backend says that the device cannot do it; the CPU does
    INF_VERDICT_UNJUDGED = 4, // the CPU's own result is none
};

// The strings live until the next run.
struct inf_check {
    const char *     name;   // of the operation, or CHAIN, COPIES, MEMORY
    const char *     what;   // types and shapes
    const char *     reason; // empty where it is right
    enum inf_verdict verdict;
    double           error;  // normalised mean square
    double           limit;
};

// Takes down what the model will compute: its weights are not loaded.
enum inf_status inf_selftest_new(const char * path, const struct inf_selftest_options * options,
                                 struct inf_selftest ** test, struct inf_error * error);
// Tests the device as it is planned now. block: bytes of the largest buffer that is tried.
enum inf_status inf_selftest_run(struct inf_selftest * test, ggml_backend_dev_t device, uint64_t block,
                                 struct inf_error * error);
// What the last run found. Returns the number of checks.
size_t inf_selftest_checks(const struct inf_selftest * test, const struct inf_check ** checks);
// Multiplications of one run, about.
double inf_selftest_work(const struct inf_selftest * test);
enum inf_status inf_selftest_free(struct inf_selftest * test, struct inf_error * error);

// Bytes a second, and whether what came back is what was sent.
struct inf_copies {
    double to_device;
    double from_device;
    bool   same;
};

// Copies so many bytes to the device and back, a few times; the fastest counts.
enum inf_status inf_probe_copies(ggml_backend_dev_t device, size_t bytes, struct inf_copies * copies,
                                 struct inf_error * error);
// Whether the device gives a buffer of this size.
enum inf_status inf_probe_memory(ggml_backend_dev_t device, size_t bytes, bool * given, struct inf_error * error);

// A matrix and the number of columns that it is multiplied with; or so many such matrices, of which each column chooses some.
struct inf_product {
    enum ggml_type type;
    int64_t        row_length;
    int64_t        rows;
    int64_t        columns;
    int64_t        experts; // 0: one matrix
    int64_t        used;    // by a column
};

struct inf_product_cost {
    bool     supported;
    double   error;      // normalised mean square, against the CPU's sums in double precision
    double   seconds[7]; // of one product, in each of so many runs
    // Of a simulated device, whose time says nothing; else 0.
    uint64_t bytes;      // that kernels read and wrote
    uint64_t host_bytes; // of these, those that were read in the host's memory
    uint64_t threadgroups;
};

// Before the first: a simulated device counts what kernels do that are made from now on. Nothing happens on others.
void inf_probe_begin(void);
// Computes a product on the device as it is planned now: whether it is right, and what it costs.
enum inf_status inf_probe_product(ggml_backend_dev_t device, const struct inf_product * product,
                                  struct inf_product_cost * cost, struct inf_error * error);

// The system and its version, which are those of the drivers too: room for 256 bytes.
void inf_system(char * text, size_t size);

// Gives memory that was freed back to the system, where the C library keeps it (glibc).
void inf_trim_memory(void);
// From now on the C library keeps little of what is freed: few arenas, and thresholds that do not grow (glibc).
void inf_keep_little_memory(void);

// Fails on purpose, for the tests of this very layer: 0 std::runtime_error, 1 a ggml assertion, 2 std::bad_alloc, 3 throws an int.
enum inf_status inf_fail(int32_t how, struct inf_error * error);

#ifdef __cplusplus
}
#endif
