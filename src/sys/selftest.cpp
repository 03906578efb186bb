// The self-test: what a model will compute, on a device and on the CPU, from the same random values.
//
// What a model will compute is asked of llama.cpp itself: the model is opened without its weights, and the graphs that it
// would run for prompts of a few lengths are taken down. From these come, with values drawn from a seed,
//   operations  each kind of node once, by itself: its operands are leaves, and rows of large weights are left out; those
//               that move positions, too;
//   kernels     products and attention once more with other numbers of columns, and with more of their weights, where the
//               device says that it then runs kernels which none of the operations has run;
//   a chain     the first layers as they are, several times, so that the order of operations matters;
//   copies      parts of buffers, written, filled and read back;
//   memory      a buffer as large as the plan will ask for.
// Limits of the error are those of llama.cpp's test-backend-ops where it has one for the operation.

#include "guard.h"

#include "ggml-alloc.h"
#include "ggml-kernels.h"
#include "ggml-cpp.h"
#include "llama-cpp.h"
#include "llama-ext.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

// Columns of the graphs: one token; a few, for kernels of few columns; more than a tile of 32.
constexpr uint32_t COLUMNS[] = {1, 5, 40};
// Other numbers of columns for which a device may have other kernels, up to the largest that is asked for.
constexpr int64_t MORE_COLUMNS[] = {2, 3, 4, 6, 7, 8, 9, 16, 20, 32, 33, 64, 65, 128, 256, 512, 1024, 2048, 4096};
// Of the outputs: requests that run together.
constexpr int64_t OUTPUTS = 64;
// Multiplications of one operation that are made for the sake of a kernel alone.
constexpr double MOST_WORK = 1e9;
// Rows of a weight that are computed: each is a dot product by itself, so that the others would only cost time.
constexpr int64_t ROWS = 64;
// Elements of a row, where more of the rows are computed than these. All types have blocks that divide it.
constexpr int64_t ROW_LENGTH = 256;
// Experts that are held.
constexpr int64_t EXPERTS = 16;
// Cells of the KV cache.
constexpr uint32_t CELLS = 256;
// The chain ends with the first layer that brings it to so many nodes: the backends cut graphs of more than 64.
constexpr int CHAIN_NODES = 140;
// Or with the layer that reaches so many multiplications, or bytes of weights. The first layer is always taken, unless its
// weights alone are more than that.
constexpr double   CHAIN_WORK  = 1e9;
constexpr uint64_t CHAIN_BYTES = 512u << 20;
constexpr int      CHAIN_RUNS  = 3;
// Distinct rows of a weight of several rows; the others repeat them.
constexpr int64_t DISTINCT = 32;

constexpr double INFINITE = std::numeric_limits<double>::infinity();

// --- graphs without data

struct Graph {
    ggml_context_ptr           context;
    std::vector<ggml_tensor *> nodes;
};

// The tensors of a graph, copied without data. Those that are NULL stay NULL.
struct Copier {
    ggml_context *                                    context;
    std::map<const ggml_tensor *, ggml_tensor *>      copies = {};
    // Leaves that differ only in the number of their layer are one, where this is set.
    bool                                              one_layer = false;
    std::map<std::string, ggml_tensor *>              by_name = {};

    ggml_tensor * copy(const ggml_tensor * tensor) {
        if (!tensor) {
            return nullptr;
        }
        if (const auto found = copies.find(tensor); found != copies.end()) {
            return found->second;
        }
        std::string name;
        if (one_layer && tensor->op == GGML_OP_NONE && !tensor->view_src) {
            name = without_layer(tensor);
            if (const auto found = by_name.find(name); found != by_name.end()) {
                return copies[tensor] = found->second;
            }
        }
        ggml_tensor * made = bare(context, tensor);
        copies[tensor] = made;
        if (!name.empty()) {
            by_name[name] = made;
        }
        made->op = tensor->op;
        made->flags = tensor->flags;
        memcpy(made->op_params, tensor->op_params, sizeof(made->op_params));
        for (int i = 0; i < GGML_MAX_SRC; ++i) {
            made->src[i] = copy(tensor->src[i]);
        }
        made->view_src  = copy(tensor->view_src);
        made->view_offs = tensor->view_offs;
        return made;
    }

    // Type, shape, strides and name.
    static ggml_tensor * bare(ggml_context * context, const ggml_tensor * tensor) {
        ggml_tensor * made = ggml_new_tensor(context, tensor->type, GGML_MAX_DIMS, tensor->ne);
        memcpy(made->nb, tensor->nb, sizeof(made->nb));
        ggml_set_name(made, tensor->name);
        return made;
    }

    // "blk.7.ffn_up.weight q8_0 64 64 1 1" without the 7; the cache's leaves are named "cache_k_l7".
    static std::string without_layer(const ggml_tensor * tensor) {
        std::string name = tensor->name;
        const bool  weight = name.rfind("blk.", 0) == 0, cache = name.rfind("cache_", 0) == 0;
        if (!weight && !cache) {
            return "";
        }
        name.erase(std::remove_if(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; }), name.end());
        name += " " + std::string(ggml_type_name(tensor->type));
        for (int64_t n : tensor->ne) {
            name += " " + std::to_string(n);
        }
        return name;
    }
};

ggml_context_ptr context_for(size_t tensors) {
    ggml_context_ptr context(ggml_init({ggml_tensor_overhead() * tensors + 4096, nullptr, true}));
    if (!context) {
        throw std::bad_alloc();
    }
    return context;
}

bool computes(const ggml_tensor * node) {
    switch (node->op) {
        case GGML_OP_NONE:
        case GGML_OP_RESHAPE:
        case GGML_OP_VIEW:
        case GGML_OP_PERMUTE:
        case GGML_OP_TRANSPOSE:
            return false;
        default:
            return !ggml_is_empty(node);
    }
}

const ggml_tensor * root(const ggml_tensor * tensor) {
    while (tensor->view_src) {
        tensor = tensor->view_src;
    }
    return tensor;
}

// The token embeddings stay with the CPU, whatever the device: llama.cpp looks them up there.
bool is_embedding(const ggml_tensor * node) {
    return node->op == GGML_OP_GET_ROWS && strcmp(root(node->src[0])->name, "token_embd.weight") == 0;
}

double multiplications(const ggml_tensor * node) {
    const double out = (double) ggml_nelements(node);
    switch (node->op) {
        case GGML_OP_MUL_MAT:
        case GGML_OP_MUL_MAT_ID:
            return out * (double) node->src[0]->ne[0];
        case GGML_OP_FLASH_ATTN_EXT:
            return 2.0 * out * (double) node->src[1]->ne[1];
        default:
            return out;
    }
}

// --- values

// What a leaf is to hold, as its reader needs it.
enum class Role { NUMBERS, POSITIVE, NEGATIVE, ROWS_OF, CELLS_OF, EXPERTS_OF, POSITIONS, MASK, ZEROS };

struct Values {
    Role    role  = Role::NUMBERS;
    int64_t limit = 1; // of indices
};

Values values_for(const ggml_tensor * node, int operand) {
    const ggml_tensor * leaf = node->src[operand];
    const bool whole = leaf->type == GGML_TYPE_I32 || leaf->type == GGML_TYPE_I64;
    switch (node->op) {
        case GGML_OP_GET_ROWS:
            if (operand == 1) return {Role::ROWS_OF, node->src[0]->ne[1]};
            break;
        case GGML_OP_SET_ROWS:
            if (operand == 1) return {Role::CELLS_OF, node->ne[1]};
            break;
        case GGML_OP_MUL_MAT_ID:
            if (operand == 2) return {Role::EXPERTS_OF, node->src[0]->ne[2]};
            break;
        case GGML_OP_ADD_ID:
            if (operand == 2) return {Role::EXPERTS_OF, node->src[1]->ne[1]};
            break;
        case GGML_OP_ROPE:
            if (operand == 1) return {Role::POSITIONS};
            if (operand == 2) return {Role::POSITIVE};
            break;
        case GGML_OP_SOFT_MAX:
            if (operand == 1) return {Role::MASK};
            break;
        case GGML_OP_FLASH_ATTN_EXT:
            if (operand == 3) return {Role::MASK};
            break;
        case GGML_OP_SQRT:
        case GGML_OP_LOG:
            return {Role::POSITIVE};
        case GGML_OP_DIV:
            if (operand == 1) return {Role::POSITIVE};
            break;
        case GGML_OP_SSM_SCAN:
            if (operand == 3) return {Role::NEGATIVE}; // else the state grows without end
            break;
        default:
            break;
    }
    return {whole ? Role::ZEROS : Role::NUMBERS};
}

using Bytes = std::vector<uint8_t>;

template <typename T> Bytes bytes_of(const std::vector<T> & values) {
    Bytes bytes(values.size() * sizeof(T));
    memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
}

Bytes whole_numbers(const ggml_tensor * leaf, const Values & values, std::mt19937 & engine) {
    const size_t  size = ggml_type_size(leaf->type);
    const int64_t n = (int64_t) (ggml_nbytes(leaf) / size), limit = std::max<int64_t>(1, values.limit);
    // a row of a view ends where the next row of what it views begins
    const int64_t stride = std::max<int64_t>(1, (int64_t) (leaf->nb[1] / size));
    std::vector<int64_t> numbers(n, 0);
    const int64_t start = (int64_t) (engine() % limit);
    for (int64_t i = 0; i < n; ++i) {
        switch (values.role) {
            case Role::ROWS_OF:    numbers[i] = (int64_t) (engine() % limit); break;
            case Role::CELLS_OF:   numbers[i] = (start + i) % limit; break; // distinct
            case Role::EXPERTS_OF: numbers[i] = (start + i % stride + 3 * (i / stride)) % limit; break; // distinct in a row
            case Role::POSITIONS:  numbers[i] = 100 + i % leaf->ne[0]; break;
            default: break;
        }
    }
    return leaf->type == GGML_TYPE_I64 ? bytes_of(numbers) : bytes_of(std::vector<int32_t>(numbers.begin(), numbers.end()));
}

std::vector<float> numbers(const ggml_tensor * leaf, Role role, int64_t n, std::mt19937 & engine) {
    // products over a row stay near 1, so that a chain of them does too
    const bool  is_weight = strncmp(leaf->name, "blk.", 4) == 0 || strncmp(leaf->name, "output.", 7) == 0;
    const float scale = is_weight && ggml_n_dims(leaf) > 1 ? std::sqrt(3.0f / (float) leaf->ne[0]) : 1.0f;
    std::vector<float> drawn(n);
    for (int64_t i = 0; i < n; ++i) {
        const float x = (float) engine() / 2147483648.0f - 1.0f; // -1 to 1
        switch (role) {
            case Role::POSITIVE: drawn[i] = 1.25f + 0.75f * x; break;
            case Role::NEGATIVE: drawn[i] = -1.25f - 0.75f * x; break;
            default:             drawn[i] = scale * x; break;
        }
    }
    if (role == Role::MASK) {
        // a row sees the cells before its place, but for some; whole blocks are out of its sight
        const int64_t cells = leaf->ne[0], rows = n / cells;
        for (int64_t row = 0; row < rows; ++row) {
            const int64_t seen = std::min(cells, 1 + cells / 3 + row % std::max<int64_t>(1, leaf->ne[1]));
            for (int64_t cell = 0; cell < cells; ++cell) {
                const bool visible = cell == 0 || (cell < seen && engine() % 8 != 0);
                drawn[row * cells + cell] = visible ? 0.0f : -std::numeric_limits<float>::infinity();
            }
        }
    }
    return drawn;
}

// The bytes of a leaf: all of its memory, in order, gaps between its rows included.
Bytes draw(const ggml_tensor * leaf, const Values & values, uint32_t seed) {
    std::mt19937 engine(seed);
    const size_t size = ggml_nbytes(leaf);
    switch (leaf->type) {
        case GGML_TYPE_I32:
        case GGML_TYPE_I64: {
            Bytes bytes = whole_numbers(leaf, values, engine);
            bytes.resize(size);
            return bytes;
        }
        case GGML_TYPE_I8:
        case GGML_TYPE_I16:
        case GGML_TYPE_F64:
            return Bytes(size, 0);
        case GGML_TYPE_F32:
            return bytes_of(numbers(leaf, values.role, (int64_t) (size / 4), engine));
        case GGML_TYPE_F16: {
            const std::vector<float> drawn = numbers(leaf, values.role, (int64_t) (size / 2), engine);
            std::vector<ggml_fp16_t> halves(drawn.size());
            ggml_fp32_to_fp16_row(drawn.data(), halves.data(), (int64_t) drawn.size());
            return bytes_of(halves);
        }
        default:
            break;
    }
    // blocks: some rows, over and over
    const int64_t columns = leaf->ne[0];
    const size_t  row     = ggml_row_size(leaf->type, columns);
    const int64_t rows    = std::min(DISTINCT, std::max<int64_t>(1, (int64_t) (size / row)));
    const std::vector<float> drawn = numbers(leaf, values.role, rows * columns, engine);
    const std::vector<float> importance(columns, 1.0f);
    Bytes distinct(row * rows);
    ggml_quantize_chunk(leaf->type, drawn.data(), distinct.data(), 0, rows, columns, importance.data());
    Bytes bytes(size);
    for (size_t at = 0; at < size; at += distinct.size()) {
        memcpy(bytes.data() + at, distinct.data(), std::min(distinct.size(), size - at));
    }
    return bytes;
}

// What a tensor's memory holds, as numbers. Half-precision -INF stays what it is.
std::vector<float> decoded(const ggml_tensor * tensor, const Bytes & bytes) {
    std::vector<float> values;
    switch (tensor->type) {
        case GGML_TYPE_F32:
            values.resize(bytes.size() / 4);
            memcpy(values.data(), bytes.data(), values.size() * 4);
            return values;
        case GGML_TYPE_I32: {
            std::vector<int32_t> whole(bytes.size() / 4);
            memcpy(whole.data(), bytes.data(), whole.size() * 4);
            return {whole.begin(), whole.end()};
        }
        case GGML_TYPE_I64: {
            std::vector<int64_t> whole(bytes.size() / 8);
            memcpy(whole.data(), bytes.data(), whole.size() * 8);
            return {whole.begin(), whole.end()};
        }
        default: {
            const auto * traits = ggml_get_type_traits(tensor->type);
            if (!traits->to_float) {
                throw std::runtime_error(std::string("no way to read ") + ggml_type_name(tensor->type));
            }
            values.resize(bytes.size() / traits->type_size * traits->blck_size);
            traits->to_float(bytes.data(), values.data(), (int64_t) values.size());
            return values;
        }
    }
}

// The mean square of the difference over the mean square of the reference; infinite where only one of both is finite.
// NaN where the reference itself is not finite, but for the same infinity on both sides.
double error_of(const std::vector<float> & values, const std::vector<float> & reference) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < reference.size(); ++i) {
        const double ours = values[i], theirs = reference[i];
        if (ours == theirs) {
            size += std::isfinite(theirs) ? theirs * theirs : 0;
        } else if (std::isnan(theirs)) {
            return NAN;
        } else if (!std::isfinite(ours) || !std::isfinite(theirs)) {
            return INFINITE;
        } else {
            difference += (ours - theirs) * (ours - theirs);
            size += theirs * theirs;
        }
    }
    return size == 0 ? difference : difference / size;
}

// --- operations, each by itself

// How much of a node is computed. Of a weight with fewer rows, elements of a row, or experts, all of them; 0: all of them.
struct Size {
    int64_t columns    = 0; // 0: as many as the graph has
    int64_t rows       = ROWS;
    int64_t row_length = 0;
    int64_t experts    = EXPERTS;
};

struct Case {
    const ggml_tensor * node; // of a graph without data
    std::string         what;
    double              limit;
    uint32_t            seed;
    Size                size      = {};
    std::vector<float>  reference = {};
    bool                referred  = false;
};

double limit_of(const ggml_tensor * node) {
    switch (node->op) {
        case GGML_OP_MUL_MAT:
        case GGML_OP_MUL_MAT_ID:
        case GGML_OP_FLASH_ATTN_EXT:
            return 5e-4;
        case GGML_OP_SET_ROWS:
        case GGML_OP_CPY:
        case GGML_OP_DUP:
            // rounding may fall to the other side of a step
            return ggml_is_quantized(node->type) ? 1e-4 : 1e-6;
        case GGML_OP_SSM_CONV:
        case GGML_OP_SSM_SCAN:
        case GGML_OP_RWKV_WKV6:
        case GGML_OP_RWKV_WKV7:
        case GGML_OP_GATED_LINEAR_ATTN:
        case GGML_OP_GATED_DELTA_NET:
            return 1e-5;
        default:
            return 1e-6;
    }
}

std::string shape_of(const ggml_tensor * tensor) {
    std::string text = std::string(ggml_type_name(tensor->type)) + "[";
    for (int i = 0; i < ggml_n_dims(tensor); ++i) {
        text += (i ? "x" : "") + std::to_string(tensor->ne[i]);
    }
    return text + "]";
}

std::string describe(const ggml_tensor * node) {
    std::string text;
    for (const ggml_tensor * operand : node->src) {
        if (operand) {
            text += (text.empty() ? "" : ", ") + shape_of(operand);
        }
    }
    return text + " -> " + shape_of(node);
}

void resize(ggml_tensor * tensor, int dim, int64_t n) {
    const bool contiguous = ggml_is_contiguous(tensor);
    tensor->ne[dim] = n;
    for (int i = dim + 1; contiguous && i < GGML_MAX_DIMS; ++i) {
        tensor->nb[i] = tensor->nb[i - 1] * (i == 1 ? tensor->ne[0] / ggml_blck_size(tensor->type) : tensor->ne[i - 1]);
    }
}

// The operands, -1 being the result, that have a dimension of columns, and which that is.
using Dimensions = std::vector<std::pair<int, int>>;

Dimensions columns_of(const ggml_tensor * node) {
    switch (node->op) {
        case GGML_OP_MUL_MAT:        return {{-1, 1}, {1, 1}};
        case GGML_OP_MUL_MAT_ID:     return {{-1, 2}, {1, 2}, {2, 1}};
        case GGML_OP_FLASH_ATTN_EXT: return {{-1, 2}, {0, 1}, {3, 1}};
        default:                     return {};
    }
}

// Whether there are so many columns, wherever they are. Then there may be another number of them.
bool has_columns(const ggml_tensor * node, int64_t columns) {
    const Dimensions all = columns_of(node);
    return !all.empty() && std::all_of(all.begin(), all.end(), [&](const auto & place) {
        const ggml_tensor * tensor = place.first < 0 ? node : node->src[place.first];
        return !tensor || tensor->ne[place.second] == columns;
    });
}

// A node whose operands are leaves, of this size.
ggml_tensor * alone(ggml_context * context, const ggml_tensor * node, const Size & size) {
    // the operands come first: memory is given in this order, and what writes into its operand has that one's
    ggml_tensor * operands[GGML_MAX_SRC] = {};
    for (int i = 0; i < GGML_MAX_SRC; ++i) {
        if (node->src[i]) {
            // the same operand twice stays one
            const auto twin = std::find(node->src, node->src + i, node->src[i]) - node->src;
            operands[i] = twin < i ? operands[twin] : Copier::bare(context, node->src[i]);
        }
    }
    ggml_tensor * made = Copier::bare(context, node);
    made->op    = node->op;
    made->flags = node->flags;
    memcpy(made->op_params, node->op_params, sizeof(made->op_params));
    for (int i = 0; i < GGML_MAX_SRC; ++i) {
        made->src[i] = operands[i];
        if (node->view_src && operands[i] && node->view_src == root(node->src[i]) &&
            node->view_offs == node->src[i]->view_offs) {
            made->view_src = operands[i];
        }
    }
    if (size.columns > 0) {
        for (const auto & [operand, dim] : columns_of(node)) {
            ggml_tensor * tensor = operand < 0 ? made : made->src[operand];
            if (tensor) {
                resize(tensor, dim, size.columns);
            }
        }
    }
    ggml_tensor * weight = made->src[0];
    if (!weight || root(node->src[0])->op != GGML_OP_NONE || !ggml_is_contiguous(weight)) {
        return made;
    }
    const auto cut = [](int64_t n, int64_t most) { return most > 0 ? std::min(n, most) : n; };
    const bool product = node->op == GGML_OP_MUL_MAT || node->op == GGML_OP_MUL_MAT_ID;
    if (product && ggml_is_contiguous(made)) {
        resize(weight, 1, cut(weight->ne[1], size.rows));
        resize(made, 0, weight->ne[1]);
        if (size.row_length > 0 && weight->ne[0] % size.row_length == 0 && ggml_is_contiguous(made->src[1])) {
            resize(weight, 0, size.row_length);
            resize(made->src[1], 0, size.row_length);
        }
    }
    if (node->op == GGML_OP_MUL_MAT_ID && ggml_is_contiguous(made)) {
        resize(weight, 2, cut(weight->ne[2], size.experts > 0 ? std::max(size.experts, made->src[2]->ne[0]) : 0));
    }
    if (node->op == GGML_OP_GET_ROWS && weight->ne[1] > ROWS && ggml_n_dims(weight) <= 2) {
        resize(weight, 1, ROWS);
    }
    return made;
}

// What makes two nodes the same case.
std::string signature(const ggml_tensor * node) {
    std::string text = ggml_op_desc(node) + std::string((const char *) node->op_params, sizeof(node->op_params));
    for (int i = -1; i < GGML_MAX_SRC; ++i) {
        const ggml_tensor * tensor = i < 0 ? node : node->src[i];
        if (tensor) {
            text += shape_of(tensor) + std::string((const char *) tensor->nb, sizeof(tensor->nb));
        }
        text += ";";
    }
    return text;
}

// --- backends

struct Device {
    ggml_backend_ptr backend;

    explicit Device(ggml_backend_dev_t device, int threads) : backend(ggml_backend_dev_init(device, nullptr)) {
        if (!backend) {
            throw std::runtime_error("the backend cannot be started");
        }
        const auto set_threads = reinterpret_cast<ggml_backend_set_n_threads_t>(ggml_backend_reg_get_proc_address(
            ggml_backend_dev_backend_reg(device), "ggml_backend_set_n_threads"));
        if (set_threads) {
            set_threads(backend.get(), threads);
        }
    }
};

ggml_backend_dev_t cpu_device() {
    return ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
}

// The kernels that a device would run for a node; none where its backend does not tell.
using Kernels = std::set<std::string>;

Kernels kernels_of(ggml_backend_t backend, const ggml_tensor * node, const Size & size) {
    const ggml_backend_dev_t device = ggml_backend_get_device(backend);
    const auto name_kernels = reinterpret_cast<ggml_backend_dev_kernels_t>(
        ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), "ggml_backend_dev_kernels"));
    ggml_context_ptr    context = context_for(GGML_MAX_SRC + 2);
    const ggml_tensor * sized   = alone(context.get(), node, size);
    Kernels names;
    if (name_kernels && ggml_backend_supports_op(backend, sized)) {
        name_kernels(device, sized, [](const char * name, void * names) { static_cast<Kernels *>(names)->insert(name); }, &names);
    }
    return names;
}

// The sizes of a node's weight that are less than the whole, the least work first.
std::vector<Size> sizes_of(const ggml_tensor * node, int64_t columns) {
    std::vector<std::pair<double, Size>> all;
    const auto add = [&](const Size & size) {
        ggml_context_ptr context = context_for(GGML_MAX_SRC + 2);
        all.emplace_back(multiplications(alone(context.get(), node, size)), size);
    };
    const ggml_tensor * weight = node->src[0];
    if (node->op == GGML_OP_MUL_MAT || node->op == GGML_OP_MUL_MAT_ID) {
        for (const int64_t experts : {EXPERTS, (int64_t) 0}) {
            for (const int64_t row_length : {(int64_t) 0, ROW_LENGTH}) {
                for (int64_t rows = ROWS; rows < weight->ne[1]; rows *= 2) {
                    add({columns, rows, row_length, experts});
                }
                add({columns, 0, row_length, experts});
            }
        }
    } else {
        add({columns, 0, 0, 0});
    }
    std::stable_sort(all.begin(), all.end(), [](const auto & a, const auto & b) { return a.first < b.first; });
    std::vector<Size> sizes;
    for (const auto & [work, size] : all) {
        sizes.push_back(size);
    }
    return sizes;
}

struct Outcome {
    enum { DONE, UNSUPPORTED, FAILED } status = DONE;
    std::string        reason = {};
    std::vector<float> values = {};
};

std::string named(ggml_status status) {
    return std::string("the device ended a computation with \"") + ggml_status_to_string(status) + "\"";
}

// The status of a computation that waits for its end: some backends tell of errors only then.
template <typename F> ggml_status status_of(F && computation) {
    const uint64_t    before = inf::failures();
    const ggml_status status = computation();
    return status == GGML_STATUS_SUCCESS && inf::failures() != before ? GGML_STATUS_FAILED : status;
}

Outcome compute(ggml_backend_t backend, const Case & test) {
    ggml_context_ptr context = context_for(GGML_MAX_SRC + 2);
    ggml_tensor *    node    = alone(context.get(), test.node, test.size);
    if (!ggml_backend_supports_op(backend, node)) {
        return {Outcome::UNSUPPORTED};
    }
    ggml_context_ptr     for_graph(ggml_init({ggml_graph_overhead() + 4096, nullptr, true}));
    ggml_cgraph *        graph = ggml_new_graph(for_graph.get());
    ggml_backend_buffer_ptr buffer(ggml_backend_alloc_ctx_tensors(context.get(), backend));
    if (!buffer) {
        return {Outcome::FAILED, "the device refused a buffer"};
    }
    ggml_build_forward_expand(graph, node);
    // what is not written shows
    ggml_backend_buffer_clear(buffer.get(), 0xff);
    for (int i = 0; i < GGML_MAX_SRC; ++i) {
        if (node->src[i]) {
            const Bytes bytes = draw(node->src[i], values_for(node, i), test.seed + i);
            ggml_backend_tensor_set(node->src[i], bytes.data(), 0, bytes.size());
        }
    }
    const ggml_status status = status_of([&] { return ggml_backend_graph_compute(backend, graph); });
    if (status != GGML_STATUS_SUCCESS) {
        return {Outcome::FAILED, named(status)};
    }
    Bytes bytes(ggml_nbytes(node));
    ggml_backend_tensor_get(node, bytes.data(), 0, bytes.size());
    return {Outcome::DONE, "", decoded(node, bytes)};
}

// --- the chain

// The first layers of a graph, on backends of which the last is the CPU.
class Chain {
public:
    Chain(const Graph & graph, const std::vector<ggml_backend_t> & backends) : backends(backends) {
        size_t tensors = 64 + graph.nodes.size() * 8;
        context = context_for(tensors);
        Copier copier{context.get()};
        for_graph.reset(ggml_init({ggml_graph_overhead_custom(graph.nodes.size() * 2 + 64, false) + 4096, nullptr, true}));
        gf = ggml_new_graph_custom(for_graph.get(), graph.nodes.size() * 2 + 64, false);
        for (const ggml_tensor * node : graph.nodes) {
            ggml_build_forward_expand(gf, copier.copy(node));
        }
        out = ggml_graph_node(gf, -1);
        ggml_set_output(out);
        for (int i = 0; i < ggml_graph_n_nodes(gf); ++i) {
            ggml_tensor * node = ggml_graph_node(gf, i);
            for (int s = 0; s < GGML_MAX_SRC; ++s) {
                if (node->src[s]) {
                    take_leaf(node, s);
                }
            }
        }
    }

    // Memory for the leaves. False where a device refuses it.
    bool allocate() {
        for (auto & [leaf, values] : leaves) {
            if (leaf->flags & GGML_TENSOR_FLAG_INPUT) {
                continue;
            }
            const bool on_cpu = strcmp(leaf->name, "token_embd.weight") == 0;
            ggml_backend_t backend = on_cpu ? backends.back() : backends.front();
            const size_t   size = ggml_backend_buft_get_alloc_size(ggml_backend_get_default_buffer_type(backend), leaf);
            ggml_backend_buffer_ptr buffer(ggml_backend_alloc_buffer(backend, size));
            if (!buffer) {
                return false;
            }
            const bool is_cache = strncmp(leaf->name, "cache_", 6) == 0;
            if (!is_cache) {
                ggml_backend_buffer_set_usage(buffer.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
            }
            ggml_backend_tensor_alloc(buffer.get(), leaf, ggml_backend_buffer_get_base(buffer.get()));
            const Bytes bytes = draw(leaf, values, 1);
            ggml_backend_tensor_set(leaf, bytes.data(), 0, bytes.size());
            buffers.push_back(std::move(buffer));
        }
        for (int i = 0; i < ggml_graph_n_nodes(gf); ++i) {
            bind_views(ggml_graph_node(gf, i));
        }
        for (ggml_tensor * t = ggml_get_first_tensor(context.get()); t; t = ggml_get_next_tensor(context.get(), t)) {
            before.emplace_back(t, *t);
        }
        sched.reset(ggml_backend_sched_new(const_cast<ggml_backend_t *>(backends.data()), nullptr, (int) backends.size(),
                                           ggml_graph_size(gf), false, true));
        return sched != nullptr;
    }

    Outcome run(uint32_t seed) {
        ggml_backend_sched_reset(sched.get());
        // the scheduler gives memory to nodes and has them read its copies of inputs, which die with each run
        for (const auto & [tensor, state] : before) {
            *tensor = state;
        }
        if (!ggml_backend_sched_alloc_graph(sched.get(), gf)) {
            return {Outcome::FAILED, "the device refused a buffer"};
        }
        for (const auto & [leaf, values] : leaves) {
            const bool is_input = leaf->flags & GGML_TENSOR_FLAG_INPUT;
            if ((is_input && leaf->buffer) || strncmp(leaf->name, "cache_", 6) == 0) {
                const Bytes bytes = draw(leaf, values, seed);
                ggml_backend_tensor_set(leaf, bytes.data(), 0, bytes.size());
            }
        }
        const ggml_status status = status_of([&] { return ggml_backend_sched_graph_compute(sched.get(), gf); });
        if (status != GGML_STATUS_SUCCESS) {
            return {Outcome::FAILED, named(status)};
        }
        Bytes bytes(ggml_nbytes(out));
        ggml_backend_tensor_get(out, bytes.data(), 0, bytes.size());
        return {Outcome::DONE, "", decoded(out, bytes)};
    }

    std::string what() const {
        return std::to_string(ggml_graph_n_nodes(gf)) + " nodes, " + std::to_string(out->ne[1]) + " columns";
    }

private:
    // Finds the leaf that this operand comes from, and what it must hold for this reader.
    void take_leaf(const ggml_tensor * node, int operand) {
        ggml_tensor * leaf = node->src[operand];
        Values values = values_for(node, operand);
        bool   changed = false;
        while (leaf->op != GGML_OP_NONE || leaf->view_src) {
            if (leaf->view_src) {
                leaf = leaf->view_src;
            } else if (leaf->op == GGML_OP_CPY || leaf->op == GGML_OP_CONT || leaf->op == GGML_OP_RESHAPE) {
                leaf = leaf->src[0]; // a mask that is cast stays a mask
            } else {
                return;
            }
            changed = true;
        }
        const bool plain = values.role == Role::NUMBERS || values.role == Role::ZEROS;
        Values & known = leaves.try_emplace(leaf, Values{values.role, values.limit}).first->second;
        if (!plain && !(changed && values.role == Role::POSITIVE)) {
            known = values;
        }
    }

    // Views of leaves that have memory get theirs; the scheduler allocates the others.
    void bind_views(ggml_tensor * tensor) {
        for (ggml_tensor * operand : tensor->src) {
            if (operand && operand != tensor) {
                bind_views_of(operand);
            }
        }
        bind_views_of(tensor);
    }
    static void bind_views_of(ggml_tensor * tensor) {
        if (tensor->view_src && !tensor->buffer) {
            bind_views_of(tensor->view_src);
            if (tensor->view_src->buffer) {
                ggml_backend_view_init(tensor);
            }
        }
    }

    std::vector<ggml_backend_t>          backends;
    ggml_context_ptr                     context, for_graph;
    ggml_cgraph *                        gf  = nullptr;
    ggml_tensor *                        out = nullptr;
    std::map<ggml_tensor *, Values>      leaves;
    std::vector<ggml_backend_buffer_ptr> buffers;
    // All tensors as they are before the scheduler sees them.
    std::vector<std::pair<ggml_tensor *, ggml_tensor>> before;
    ggml_backend_sched_ptr               sched;
};

} // namespace

// --- the test of a model

struct inf_selftest {
    inf_selftest_options options = {};

    std::vector<Graph>      graphs;  // one for each number of columns, and one that moves positions
    std::vector<Graph>      chains;  // the first layers of some of them
    std::vector<Case>       cases;
    // For the sake of their kernels, by what makes them the same. Which there are depends on the device and its plan.
    std::map<std::string, Case> more;
    // What they are made of: products and attention as they are, and up to how many other columns there may be.
    std::vector<std::pair<const ggml_tensor *, int64_t>> products;
    std::vector<std::vector<std::vector<float>>> chain_references;
    std::unique_ptr<Device> cpu;
    double                  work = 0;

    std::vector<inf_check>  checks;
    std::vector<std::unique_ptr<std::string>> texts; // of the checks

    inf_selftest(const char * path, const inf_selftest_options & options) : options(options) {
        take_down(path);
        take_down_shifts();
        std::set<std::string> known;
        for (const Graph & graph : graphs) {
            for (const ggml_tensor * node : graph.nodes) {
                if (!computes(node) || is_embedding(node)) {
                    continue;
                }
                ggml_context_ptr    scratch = context_for(GGML_MAX_SRC + 2);
                const ggml_tensor * shrunk  = alone(scratch.get(), node, {});
                if (known.insert(signature(shrunk)).second) {
                    cases.push_back({node, describe(shrunk), limit_of(node), (uint32_t) (options.seed + 16 * cases.size())});
                    work += multiplications(shrunk);
                }
                if (!columns_of(node).empty() && known.insert("whole " + signature(node)).second) {
                    // of the last layer and the output only what is chosen from is computed: of all tokens, in the second graph
                    const bool all = &graph == &graphs[2] && has_columns(node, COLUMNS[2]);
                    const bool outputs = &graph == &graphs[1] && has_columns(node, COLUMNS[1]);
                    products.emplace_back(node, all ? options.columns : outputs ? OUTPUTS : 0);
                }
            }
        }
        for (size_t i = 0; i < 2; ++i) {
            chain_of(graphs[i]);
        }
        cpu = std::make_unique<Device>(cpu_device(), options.threads);
    }

    // The graphs that llama.cpp makes of the model.
    void take_down(const char * path) {
        llama_model_params for_model = llama_model_default_params();
        ggml_backend_dev_t none[] = {nullptr};
        for_model.devices = none;
        for_model.n_gpu_layers = 0;
        for_model.no_alloc = true;
        for_model.load_mode = LLAMA_LOAD_MODE_NONE;
        for_model.use_extra_bufts = false;
        llama_model_ptr model(llama_model_load_from_file(path, for_model));
        if (!model) {
            throw std::runtime_error("llama.cpp cannot open the model");
        }
        llama_context_params for_context = llama_context_default_params();
        for_context.n_ctx = CELLS;
        for_context.n_batch = for_context.n_ubatch = COLUMNS[2];
        for_context.n_seq_max = 1;
        for_context.type_k = options.type_k;
        for_context.type_v = options.type_v;
        for_context.no_perf = true;
        for_context.flash_attn_type =
            options.flash_attention ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
        llama_context_ptr context(llama_init_from_model(model.get(), for_context));
        if (!context) {
            throw std::runtime_error("llama.cpp cannot make a context of the model");
        }
        for (uint32_t columns : COLUMNS) {
            ggml_cgraph * graph = llama_graph_reserve(context.get(), columns, 1, columns == COLUMNS[2] ? 1 : columns);
            if (!graph) {
                throw std::bad_alloc();
            }
            const int n = ggml_graph_n_nodes(graph);
            Graph taken{context_for(64 + (size_t) n * 8), {}};
            Copier copier{taken.context.get()};
            for (int i = 0; i < n; ++i) {
                taken.nodes.push_back(copier.copy(ggml_graph_node(graph, i)));
            }
            graphs.push_back(std::move(taken));
        }
    }

    // What moves the positions of what is cached: a graph of its own, which turns the keys of all cells.
    void take_down_shifts() {
        Graph shifts{context_for(1024), {}};
        ggml_context * context = shifts.context.get();
        std::set<std::string> known;
        for (const ggml_tensor * node : graphs[0].nodes) {
            const int32_t mode = node->op_params[2];
            const bool of_keys = node->op == GGML_OP_ROPE && (node->name[0] == 'K' || node->name[0] == 'k');
            if (!of_keys || (mode != GGML_ROPE_TYPE_NORMAL && mode != GGML_ROPE_TYPE_NEOX) ||
                node->ne[0] % ggml_blck_size(options.type_k) != 0 || !known.insert(signature(node)).second) {
                continue;
            }
            const bool    blocks = ggml_is_quantized(options.type_k);
            ggml_tensor * keys   = ggml_new_tensor_3d(context, options.type_k, node->ne[0], node->ne[1], CELLS);
            ggml_tensor * values = blocks ? ggml_cast(context, keys, GGML_TYPE_F32) : keys;
            ggml_tensor * turned = blocks ? ggml_dup_tensor(context, values) : ggml_view_tensor(context, values);
            turned->op = GGML_OP_ROPE;
            memcpy(turned->op_params, node->op_params, sizeof(turned->op_params));
            turned->src[0] = values;
            turned->src[1] = ggml_new_tensor_1d(context, GGML_TYPE_I32, CELLS);
            turned->src[2] = node->src[2] ? Copier::bare(context, node->src[2]) : nullptr;
            if (blocks) {
                shifts.nodes.push_back(values);
            }
            shifts.nodes.push_back(turned);
            if (blocks) {
                shifts.nodes.push_back(ggml_cpy(context, turned, keys));
            }
        }
        graphs.push_back(std::move(shifts));
    }

    // The first layers: to the node that llama.cpp names as the end of one.
    void chain_of(const Graph & graph) {
        size_t   end = 0;
        double   sum = 0;
        uint64_t bytes = 0;
        std::set<const ggml_tensor *> counted;
        for (size_t i = 0; i < graph.nodes.size(); ++i) {
            const ggml_tensor * node = graph.nodes[i];
            sum += multiplications(node);
            for (const ggml_tensor * operand : node->src) {
                if (operand && operand->op == GGML_OP_NONE && strncmp(operand->name, "blk.0.", 6) == 0 &&
                    counted.insert(operand).second) {
                    bytes += ggml_nbytes(operand);
                }
            }
            if (strncmp(node->name, "l_out-", 6) == 0) {
                if (bytes > CHAIN_BYTES) {
                    break;
                }
                end = i + 1;
                if (end >= (size_t) CHAIN_NODES || sum > CHAIN_WORK) {
                    break;
                }
            }
        }
        if (end == 0) {
            return;
        }
        Graph chain{context_for(64 + end * 8), {}};
        Copier copier{chain.context.get()};
        copier.one_layer = true;
        for (size_t i = 0; i < end; ++i) {
            chain.nodes.push_back(copier.copy(graph.nodes[i]));
            work += CHAIN_RUNS * multiplications(graph.nodes[i]);
        }
        chains.push_back(std::move(chain));
    }

    // The mean square error that a chain may have: experts are chosen by numbers that may be almost equal.
    static double chain_limit(const Graph & chain) {
        for (const ggml_tensor * node : chain.nodes) {
            if (node->op == GGML_OP_MUL_MAT_ID) {
                return 0.2;
            }
        }
        return 0.01;
    }

    const char * keep(std::string text) {
        texts.push_back(std::make_unique<std::string>(std::move(text)));
        return texts.back()->c_str();
    }

    void note(const char * name, std::string what, inf_verdict verdict, std::string reason, double error, double limit) {
        checks.push_back({name, keep(std::move(what)), keep(std::move(reason)), verdict, error, limit});
    }

    void judge(const char * name, const std::string & what, const Outcome & ours, const std::vector<float> & reference,
               double limit) {
        if (ours.status == Outcome::UNSUPPORTED) {
            return note(name, what, INF_VERDICT_ON_CPU, "", 0, limit);
        }
        if (ours.status == Outcome::FAILED) {
            return note(name, what, INF_VERDICT_FAILED, ours.reason, INFINITE, limit);
        }
        const double error = error_of(ours.values, reference);
        if (std::isnan(error)) {
            return note(name, what, INF_VERDICT_UNJUDGED, "the CPU's own result is not a number", 0, limit);
        }
        if (error <= limit) {
            return note(name, what, INF_VERDICT_RIGHT, "", error, limit);
        }
        note(name, what, INF_VERDICT_WRONG,
             std::isinf(error) ? "it gives NaN or infinity where the CPU gives numbers"
                               : "its numbers differ from the CPU's", error, limit);
    }

    // Everything, on a device as it is planned now. Ends early where the device fails: what follows would fail as well.
    void run(ggml_backend_dev_t which, size_t block) {
        try {
            run_all(which, block);
        } catch (inf::assertion_failed & e) {
            e.message = "after " + std::to_string(checks.size()) + " checks" +
                (checks.empty() ? "" : ", the last one of " + std::string(checks.back().name)) + ": " + e.message;
            throw;
        }
    }

    void run_all(ggml_backend_dev_t which, size_t block) {
        checks.clear();
        texts.clear();
        Device device(which, options.threads);
        memory(device, block);
        copies(device);
        if (failed()) {
            return;
        }
        for (Case & test : cases) {
            judge(device, test);
            if (failed()) {
                return;
            }
        }
        kernels(device);
        if (failed()) {
            return;
        }
        for (size_t i = 0; i < chains.size(); ++i) {
            chain(device, i);
            if (failed()) {
                return;
            }
        }
    }

    void judge(Device & device, Case & test) {
        const Outcome ours = compute(device.backend.get(), test);
        if (!test.referred && ours.status == Outcome::DONE) {
            test.reference = compute(cpu->backend.get(), test).values;
            test.referred  = true;
        }
        judge(ggml_op_desc(test.node), test.what, ours, test.reference, test.limit);
    }

    // The kernels of whole weights, and of other numbers of columns, that none of the cases has run.
    void kernels(Device & device) {
        ggml_backend_t backend = device.backend.get();
        Kernels known;
        for (const Case & test : cases) {
            known.merge(kernels_of(backend, test.node, test.size));
        }
        for (const auto & [node, most] : products) {
            std::vector<int64_t> all = {0};
            for (const int64_t columns : MORE_COLUMNS) {
                if (columns <= most) {
                    all.push_back(columns);
                }
            }
            for (const int64_t columns : all) {
                const Kernels wanted = kernels_of(backend, node, {columns, 0, 0, 0});
                if (std::includes(known.begin(), known.end(), wanted.begin(), wanted.end())) {
                    continue;
                }
                for (const Size & size : sizes_of(node, columns)) {
                    if (kernels_of(backend, node, size) == wanted) {
                        judge_once_more(device, node, size);
                        break;
                    }
                }
                if (failed()) {
                    return;
                }
                known.insert(wanted.begin(), wanted.end());
            }
        }
    }

    void judge_once_more(Device & device, const ggml_tensor * node, const Size & size) {
        ggml_context_ptr    context = context_for(GGML_MAX_SRC + 2);
        const ggml_tensor * sized   = alone(context.get(), node, size);
        const std::string   what    = describe(sized);
        if (multiplications(sized) > MOST_WORK) {
            return note(ggml_op_desc(node), what, INF_VERDICT_UNJUDGED, "it would take long", 0, limit_of(node));
        }
        const uint32_t seed = (uint32_t) (options.seed + 16 * (cases.size() + more.size()));
        const auto [found, is_new] = more.try_emplace(signature(sized), Case{node, what, limit_of(node), seed, size});
        if (is_new) {
            work += multiplications(sized);
        }
        judge(device, found->second);
    }

    bool failed() const { return !checks.empty() && checks.back().verdict == INF_VERDICT_FAILED; }

    void chain(Device & device, size_t index) {
        Chain ours(chains[index], {device.backend.get(), cpu->backend.get()});
        const double limit = chain_limit(chains[index]);
        if (!ours.allocate()) {
            return note("CHAIN", ours.what(), INF_VERDICT_FAILED, "the device refused a buffer", INFINITE, limit);
        }
        if (chain_references.size() <= index) {
            Chain reference(chains[index], {cpu->backend.get()});
            if (!reference.allocate()) {
                throw std::bad_alloc();
            }
            chain_references.emplace_back();
            for (int i = 0; i < CHAIN_RUNS; ++i) {
                chain_references.back().push_back(reference.run((uint32_t) (options.seed + 1000 * i)).values);
            }
        }
        for (int i = 0; i < CHAIN_RUNS; ++i) {
            const Outcome outcome = ours.run((uint32_t) (options.seed + 1000 * i));
            judge("CHAIN", ours.what() + ", run " + std::to_string(i + 1), outcome, chain_references[index][i], limit);
            if (failed()) {
                return;
            }
        }
    }

    // A buffer of the size that the plan will ask for: both ends are written and read.
    void memory(Device & device, size_t block) {
        const std::string what = std::to_string(block >> 20) + " MiB";
        ggml_backend_buffer_ptr buffer(ggml_backend_alloc_buffer(device.backend.get(), block));
        if (!buffer) {
            return note("MEMORY", what, INF_VERDICT_FAILED, "the device refused a buffer of this size", 0, 0);
        }
        ggml_context_ptr context = context_for(2);
        char * base = (char *) ggml_backend_buffer_get_base(buffer.get());
        bool   same = true;
        for (const size_t at : {(size_t) 0, (size_t) (block - 4096) & ~(size_t) 4095}) {
            ggml_tensor * tensor = ggml_new_tensor_1d(context.get(), GGML_TYPE_I8, 4096);
            ggml_backend_tensor_alloc(buffer.get(), tensor, base + at);
            const Bytes sent = pattern(4096, (uint32_t) at + 1);
            Bytes       back(4096);
            ggml_backend_tensor_set(tensor, sent.data(), 0, sent.size());
            ggml_backend_tensor_get(tensor, back.data(), 0, back.size());
            same = same && sent == back;
        }
        note("MEMORY", what, same ? INF_VERDICT_RIGHT : INF_VERDICT_WRONG, same ? "" : "it gives back other bytes", 0, 0);
    }

    static Bytes pattern(size_t size, uint32_t seed) {
        std::mt19937 engine(seed);
        Bytes bytes(size);
        for (uint8_t & byte : bytes) {
            byte = (uint8_t) engine();
        }
        return bytes;
    }

    // Parts of a tensor between two others: written, filled, read, copied. More than 8 MiB go in several pieces.
    void copies(Device & device) {
        constexpr size_t SIZE = (9u << 20) + 3;
        ggml_context_ptr context = context_for(4);
        std::array<ggml_tensor *, 4> tensors;
        for (ggml_tensor *& tensor : tensors) {
            tensor = ggml_new_tensor_1d(context.get(), GGML_TYPE_I8, (int64_t) (&tensor == &tensors[1] ? SIZE : 4096));
        }
        ggml_backend_buffer_ptr buffer(ggml_backend_alloc_ctx_tensors(context.get(), device.backend.get()));
        if (!buffer) {
            return note("COPIES", "9 MiB", INF_VERDICT_FAILED, "the device refused a buffer", 0, 0);
        }
        ggml_backend_buffer_clear(buffer.get(), 0x5a);
        std::array<Bytes, 4> expected;
        for (size_t i = 0; i < tensors.size(); ++i) {
            expected[i].assign(ggml_nbytes(tensors[i]), 0x5a);
        }
        const auto check = [&](const char * what, const char * reason) {
            bool same = true;
            for (size_t i = 0; i < tensors.size(); ++i) {
                Bytes back(expected[i].size());
                ggml_backend_tensor_get(tensors[i], back.data(), 0, back.size());
                same = same && back == expected[i];
            }
            note("COPIES", what, same ? INF_VERDICT_RIGHT : INF_VERDICT_WRONG, same ? "" : reason, 0, 0);
            return same;
        };
        const auto write = [&](size_t tensor, size_t at, size_t size) {
            const Bytes bytes = pattern(size, (uint32_t) (at + size));
            ggml_backend_tensor_set(tensors[tensor], bytes.data(), at, size);
            std::copy(bytes.begin(), bytes.end(), expected[tensor].begin() + (ptrdiff_t) at);
        };
        check("a buffer filled with one value", "it holds other bytes");
        write(1, 0, SIZE);
        check("9 MiB to the device and back", "what comes back differs, or neighbours were overwritten");
        write(1, 1, 3);
        write(1, 4099, 70001);
        write(2, 4095, 1);
        check("parts to the device", "parts arrive at the wrong place, or change");
        ggml_backend_tensor_memset(tensors[1], 7, 1028, 4100);
        std::fill_n(expected[1].begin() + 1028, 4100, 7);
        check("a part filled with one value", "more or less than the part was filled");
        Bytes part(5003);
        ggml_backend_tensor_get(tensors[1], part.data(), 777, part.size());
        const bool same = std::equal(part.begin(), part.end(), expected[1].begin() + 777);
        note("COPIES", "a part from the device", same ? INF_VERDICT_RIGHT : INF_VERDICT_WRONG,
             same ? "" : "a part that is read back differs", 0, 0);
        ggml_backend_tensor_copy(tensors[2], tensors[3]);
        expected[3] = expected[2];
        check("from tensor to tensor", "the copy differs");
    }
};

inf_status inf_selftest_new(const char * path, const inf_selftest_options * options, inf_selftest ** test,
                            inf_error * error) {
    *test = nullptr;
    return inf::guard(error, [&] { *test = new inf_selftest(path, *options); });
}

inf_status inf_selftest_run(inf_selftest * test, ggml_backend_dev_t device, uint64_t block, inf_error * error) {
    return inf::guard(error, [&] { test->run(device, block); });
}

size_t inf_selftest_checks(const inf_selftest * test, const inf_check ** checks) {
    *checks = test->checks.data();
    return test->checks.size();
}

double inf_selftest_work(const inf_selftest * test) {
    return test->work;
}

inf_status inf_selftest_free(inf_selftest * test, inf_error * error) {
    return inf::guard(error, [&] { delete test; });
}
