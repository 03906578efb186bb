#include "ggml-metal-mm-scalar.h"

#include "ggml-impl.h"
#include "ggml-metal-impl.h"
#include "ggml-metal-ops.h"

#include <cstdio>

// columns from which the tile pays: mul_mv_ext reads the weights once for 5 columns, this once for 64 or 128
static constexpr int64_t MM_SCALAR_COLUMNS = 32;

// tiles that fill a GPU; where there would be fewer of the large ones, small ones are taken
static constexpr int64_t MM_SCALAR_TILES = 64;

static constexpr int MM_SCALAR_THREADS = 256;

static bool has_kernel(ggml_type type) {
    switch (type) {
        case GGML_TYPE_F32:
        case GGML_TYPE_F16:
        case GGML_TYPE_BF16:
        case GGML_TYPE_Q1_0:
        case GGML_TYPE_Q2_0:
        case GGML_TYPE_Q4_0:
        case GGML_TYPE_Q4_1:
        case GGML_TYPE_Q5_0:
        case GGML_TYPE_Q5_1:
        case GGML_TYPE_Q8_0:
        case GGML_TYPE_MXFP4:
        case GGML_TYPE_Q2_K:
        case GGML_TYPE_Q3_K:
        case GGML_TYPE_Q4_K:
        case GGML_TYPE_Q5_K:
        case GGML_TYPE_Q6_K:
        case GGML_TYPE_IQ2_XXS:
        case GGML_TYPE_IQ2_XS:
        case GGML_TYPE_IQ3_XXS:
        case GGML_TYPE_IQ3_S:
        case GGML_TYPE_IQ2_S:
        case GGML_TYPE_IQ1_S:
        case GGML_TYPE_IQ1_M:
        case GGML_TYPE_IQ4_NL:
        case GGML_TYPE_IQ4_XS:
        case GGML_TYPE_TQ2_0:
            return true;
        default:
            return false;
    }
}

// Slots per token that kernel_mul_mm_id_map0 is compiled for.
static bool has_map(int64_t n_used) {
    switch (n_used) {
        case 1: case 2: case 4: case 5: case 6: case 8: case 10: case 16: case 22:
            return true;
        default:
            return false;
    }
}

// Rows that are read in vectors of this many bytes begin at a multiple of it.
static bool is_aligned(const ggml_tensor * tensor, size_t bytes) {
    return tensor->nb[1] % bytes == 0 && tensor->nb[2] % bytes == 0 && tensor->nb[3] % bytes == 0;
}

bool ggml_metal_mm_scalar_use(const ggml_metal_device_props * props, const ggml_tensor * op) {
    const ggml_tensor * src0 = op->src[0];
    const ggml_tensor * src1 = op->src[1];

    if (props->has_simdgroup_mm || !has_kernel(src0->type) || src1->type != GGML_TYPE_F32) {
        return false;
    }
    // floats are read four at a time; the blocks of quantised types have no alignment to keep
    if (ggml_is_transposed(src0) || ggml_is_transposed(src1) || src0->ne[0] % 16 != 0 || !is_aligned(src1, 4*sizeof(float)) ||
        (!ggml_is_quantized(src0->type) && !is_aligned(src0, 4*ggml_type_size(src0->type)))) {
        return false;
    }
    if (op->op == GGML_OP_MUL_MAT) {
        return src1->ne[1] >= MM_SCALAR_COLUMNS && src1->ne[2]/src0->ne[2] <= INT16_MAX && src1->ne[3]/src0->ne[3] <= INT16_MAX;
    }

    const int64_t n_used = op->src[2]->ne[0];

    return op->src[2]->ne[1] >= MM_SCALAR_COLUMNS && has_map(n_used) && src0->ne[2] <= 1024 &&
           GGML_PAD(src0->ne[2]*n_used*sizeof(uint16_t), 16) <= props->max_theadgroup_memory_size;
}

// The side of a tile, for a result of that many rows and columns.
static int edge_of(int64_t rows, int64_t columns, int64_t matrices) {
    const int64_t tiles = ((rows + 127)/128)*((columns + 127)/128)*matrices;
    return columns > 64 && tiles >= MM_SCALAR_TILES ? 128 : 64;
}

static size_t smem_of(int edge) {
    return 2*16*(edge + 4)*sizeof(float);
}

static ggml_metal_pipeline_with_params pipeline_of(ggml_metal_library_t lib, const char * kind, ggml_type type, int edge) {
    char name[256];
    snprintf(name, sizeof(name), "kernel_mul_mm_scalar%s_%s_e%d", kind, ggml_type_name(type), edge);

    ggml_metal_pipeline_with_params res = ggml_metal_library_get_pipeline(lib, name);
    if (!res.pipeline) {
        res = ggml_metal_library_compile_pipeline(lib, name, name, nullptr);
    }
    return res;
}

void ggml_metal_mm_scalar_encode(
        ggml_metal_library_t lib,
        ggml_metal_encoder_t enc,
        const ggml_tensor * op,
        ggml_metal_buffer_id bid_src0,
        ggml_metal_buffer_id bid_src1,
        ggml_metal_buffer_id bid_dst) {
    const ggml_tensor * src0 = op->src[0];
    const ggml_tensor * src1 = op->src[1];

    ggml_metal_kargs_mul_mm args = {};
    args.ne00 = (int32_t) src0->ne[0];
    args.ne02 = (int32_t) src0->ne[2];
    args.nb01 = src0->nb[1];
    args.nb02 = src0->nb[2];
    args.nb03 = src0->nb[3];
    args.ne12 = (int32_t) src1->ne[2];
    args.nb10 = src1->nb[0];
    args.nb11 = src1->nb[1];
    args.nb12 = src1->nb[2];
    args.nb13 = src1->nb[3];
    args.ne0  = (int32_t) op->ne[0];
    args.ne1  = (int32_t) op->ne[1];
    args.r2   = (int16_t) (src1->ne[2]/src0->ne[2]);
    args.r3   = (int16_t) (src1->ne[3]/src0->ne[3]);

    const int64_t matrices = src1->ne[2]*src1->ne[3];
    const int edge = edge_of(args.ne0, args.ne1, matrices);

    const auto pipeline = pipeline_of(lib, "", src0->type, edge);
    if (ggml_metal_pipeline_max_theads_per_threadgroup(pipeline) < MM_SCALAR_THREADS) {
        // too many registers for this GPU
        ggml_metal_encoder_fail(enc);
        return;
    }

    ggml_metal_encoder_set_pipeline(enc, pipeline);
    ggml_metal_encoder_set_bytes   (enc, &args, sizeof(args), 0);
    ggml_metal_encoder_set_buffer  (enc, bid_src0, 1);
    ggml_metal_encoder_set_buffer  (enc, bid_src1, 2);
    ggml_metal_encoder_set_buffer  (enc, bid_dst,  3);

    ggml_metal_encoder_set_threadgroup_memory_size(enc, smem_of(edge), 0);

    ggml_metal_encoder_dispatch_threadgroups(enc, (args.ne1 + edge - 1)/edge, (args.ne0 + edge - 1)/edge, (int) matrices, MM_SCALAR_THREADS, 1, 1);
}

void ggml_metal_mm_scalar_encode_id(
        ggml_metal_library_t lib,
        ggml_metal_encoder_t enc,
        const ggml_tensor * op,
        ggml_metal_buffer_id bid_src0,
        ggml_metal_buffer_id bid_src1,
        ggml_metal_buffer_id bid_ids,
        ggml_metal_buffer_id bid_dst) {
    const ggml_tensor * src0 = op->src[0];
    const ggml_tensor * src1 = op->src[1];
    const ggml_tensor * ids  = op->src[2];

    const int32_t n_expert = (int32_t) src0->ne[2];
    const int32_t n_used   = (int32_t) ids->ne[0];
    const int32_t n_tokens = (int32_t) ids->ne[1];

    // which tokens each expert has
    ggml_metal_buffer_id bid_tpe = bid_dst;
    bid_tpe.offs += ggml_nbytes(op);

    ggml_metal_buffer_id bid_map = bid_tpe;
    bid_map.offs += ggml_metal_op_mul_mat_id_extra_tpe(op);

    {
        ggml_metal_kargs_mul_mm_id_map0 args = {
            n_expert,
            (int32_t) src1->ne[0],
            (int32_t) src1->ne[1],
            src1->nb[1],
            src1->nb[2],
            n_tokens,
            n_used,
            ids->nb[1],
        };

        const auto pipeline = ggml_metal_library_get_pipeline_mul_mm_id_map0(lib, n_expert, n_used);
        if (ggml_metal_pipeline_max_theads_per_threadgroup(pipeline) < n_expert) {
            ggml_metal_encoder_fail(enc);
            return;
        }

        ggml_metal_encoder_set_pipeline(enc, pipeline);
        ggml_metal_encoder_set_bytes   (enc, &args, sizeof(args), 0);
        ggml_metal_encoder_set_buffer  (enc, bid_ids, 1);
        ggml_metal_encoder_set_buffer  (enc, bid_tpe, 2);
        ggml_metal_encoder_set_buffer  (enc, bid_map, 3);

        ggml_metal_encoder_set_threadgroup_memory_size(enc, pipeline.smem, 0);

        ggml_metal_encoder_dispatch_threadgroups(enc, 1, 1, 1, n_expert, 1, 1);
    }

    ggml_metal_encoder_memory_barrier(enc);

    ggml_metal_kargs_mul_mm_id args = {};
    args.ne00 = (int32_t) src0->ne[0];
    args.ne02 = n_expert;
    args.nb01 = src0->nb[1];
    args.nb02 = src0->nb[2];
    args.nb03 = src0->nb[3];
    args.ne11 = (int32_t) src1->ne[1];
    args.nb10 = src1->nb[0];
    args.nb11 = src1->nb[1];
    args.nb12 = src1->nb[2];
    args.nb13 = src1->nb[3];
    args.ne20 = n_used;
    args.ne21 = n_tokens;
    args.ne0  = (int32_t) op->ne[0];
    args.ne1  = (int32_t) op->ne[1];
    args.r2   = 1;
    args.r3   = 1;

    // an expert has its share of the tokens, and n_tokens at most
    const int edge = edge_of(args.ne0, (int64_t) n_tokens*n_used/n_expert, n_expert);

    const auto pipeline = pipeline_of(lib, "_id", src0->type, edge);
    if (ggml_metal_pipeline_max_theads_per_threadgroup(pipeline) < MM_SCALAR_THREADS) {
        ggml_metal_encoder_fail(enc);
        return;
    }

    ggml_metal_encoder_set_pipeline(enc, pipeline);
    ggml_metal_encoder_set_bytes   (enc, &args, sizeof(args), 0);
    ggml_metal_encoder_set_buffer  (enc, bid_src0, 1);
    ggml_metal_encoder_set_buffer  (enc, bid_src1, 2);
    ggml_metal_encoder_set_buffer  (enc, bid_tpe,  3);
    ggml_metal_encoder_set_buffer  (enc, bid_map,  4);
    ggml_metal_encoder_set_buffer  (enc, bid_dst,  5);

    ggml_metal_encoder_set_threadgroup_memory_size(enc, smem_of(edge), 0);

    ggml_metal_encoder_dispatch_threadgroups(enc, (n_tokens + edge - 1)/edge, (args.ne0 + edge - 1)/edge, n_expert, MM_SCALAR_THREADS, 1, 1);
}
