#include "ggml-metal-fa-scalar.h"

#include "ggml-impl.h"
#include "ggml-metal-fa-scalar-impl.h"
#include "ggml-metal-impl.h"
#include "ggml-metal-ops.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

// Tiles of a V head that the kernel has registers for: 1, 2, 4 or 8.
static int tiles_of(const ggml_tensor * op) {
    int nv = 1;
    while (nv*4*OP_FLASH_ATTN_EXT_SCALAR_TILE4 < op->src[2]->ne[0]) {
        nv *= 2;
    }
    return nv;
}

// Threadgroup memory in bytes, as the kernel lays it out.
static size_t smem_of(const ggml_tensor * op) {
    const size_t nq = OP_FLASH_ATTN_EXT_SCALAR_NQPTG(tiles_of(op));
    const size_t queries = nq*op->src[1]->ne[0];
    const size_t tile    = OP_FLASH_ATTN_EXT_SCALAR_NCPSG*(OP_FLASH_ATTN_EXT_SCALAR_TILE4 + 1)*4;
    const size_t scores  = nq*OP_FLASH_ATTN_EXT_SCALAR_NCPSG;
    const size_t rest    = nq + 2*OP_FLASH_ATTN_EXT_SCALAR_NSG;
    return GGML_PAD((queries + tile + scores + rest)*sizeof(float), 16);
}

// Sizes of K and V heads that the vec kernels are compiled for.
static bool vec_has(int64_t dk, int64_t dv) {
    if (dk == dv) {
        return dk == 32 || dk == 64 || dk == 96 || dk == 128 || dk == 192 || dk == 256 || dk == 512;
    }
    return (dk == 96 && dv == 64) || (dk == 192 && dv == 128) || (dk == 320 && dv == 256) || (dk == 576 && dv == 512);
}

bool ggml_metal_fa_scalar_use(const ggml_metal_device_props * props, const ggml_tensor * op) {
    if (props->lanes == GGML_METAL_LANES_SHARED) {
        return true;
    }
    return !props->has_simdgroup_mm &&
           !(ggml_metal_op_flash_attn_ext_use_vec(op) && vec_has(op->src[1]->ne[0], op->src[2]->ne[0]));
}

bool ggml_metal_fa_scalar_supports(const ggml_metal_device_props * props, const ggml_tensor * op) {
    if (!props->has_simdgroup_reduction) {
        return false;
    }
    // what SIMD_BEGIN declares
    const size_t simd_smem = props->lanes == GGML_METAL_LANES_SHARED ? 32*OP_FLASH_ATTN_EXT_SCALAR_NSG*sizeof(float) : 0;

    return !ggml_metal_fa_scalar_use(props, op) ||
           (op->src[1]->ne[0] % 4 == 0 && op->src[2]->ne[0] % 4 == 0 && tiles_of(op) <= 8 &&
            smem_of(op) + simd_smem <= props->max_theadgroup_memory_size);
}

void ggml_metal_fa_scalar_encode(
        ggml_metal_library_t lib,
        ggml_metal_encoder_t enc,
        const ggml_tensor * op,
        ggml_metal_buffer_id bid_q,
        ggml_metal_buffer_id bid_k,
        ggml_metal_buffer_id bid_v,
        ggml_metal_buffer_id bid_mask,
        ggml_metal_buffer_id bid_sinks,
        ggml_metal_buffer_id bid_dst) {
    const ggml_tensor * q    = op->src[0];
    const ggml_tensor * k    = op->src[1];
    const ggml_tensor * v    = op->src[2];
    const ggml_tensor * mask = op->src[3];

    float scale;
    float max_bias;
    float logit_softcap;
    memcpy(&scale,         ((const int32_t *) op->op_params) + 0, sizeof(scale));
    memcpy(&max_bias,      ((const int32_t *) op->op_params) + 1, sizeof(max_bias));
    memcpy(&logit_softcap, ((const int32_t *) op->op_params) + 2, sizeof(logit_softcap));
    if (logit_softcap != 0.0f) {
        scale /= logit_softcap;
    }

    const bool has_mask  = mask != nullptr;
    const bool has_sinks = op->src[4] != nullptr;
    const bool has_bias  = max_bias != 0.0f;
    const bool has_scap  = logit_softcap != 0.0f;

    const int32_t n_head_log2 = 1u << (uint32_t) floorf(log2f((float) q->ne[2]));

    ggml_metal_kargs_flash_attn_ext args = {};
    args.ne01          = (int32_t) q->ne[1];
    args.ne02          = (int32_t) q->ne[2];
    args.ne03          = (int32_t) q->ne[3];
    args.nb01          = q->nb[1];
    args.nb02          = q->nb[2];
    args.nb03          = q->nb[3];
    args.ne11          = (int32_t) k->ne[1];
    args.ne_12_2       = (int32_t) k->ne[2];
    args.ne_12_3       = (int32_t) k->ne[3];
    args.nb11          = k->nb[1];
    args.nb12          = k->nb[2];
    args.nb13          = k->nb[3];
    args.nb21          = v->nb[1];
    args.nb22          = v->nb[2];
    args.nb23          = v->nb[3];
    args.ne31          = has_mask ? (int32_t) mask->ne[1] : 1;
    args.ne32          = has_mask ? (int32_t) mask->ne[2] : 1;
    args.ne33          = has_mask ? (int32_t) mask->ne[3] : 1;
    args.nb31          = has_mask ? mask->nb[1] : 0;
    args.nb32          = has_mask ? mask->nb[2] : 0;
    args.nb33          = has_mask ? mask->nb[3] : 0;
    args.ne1           = (int32_t) op->ne[1];
    args.ne2           = (int32_t) op->ne[2];
    args.ne3           = (int32_t) op->ne[3];
    args.scale         = scale;
    args.max_bias      = max_bias;
    args.m0            = powf(2.0f, -(max_bias       )/n_head_log2);
    args.m1            = powf(2.0f, -(max_bias / 2.0f)/n_head_log2);
    args.n_head_log2   = n_head_log2;
    args.logit_softcap = logit_softcap;

    const int nv = tiles_of(op);
    const int nq = OP_FLASH_ATTN_EXT_SCALAR_NQPTG(nv);

    char base[256];
    char name[256];
    snprintf(base, sizeof(base), "kernel_flash_attn_ext_scalar_%s_nv%d", ggml_type_name(k->type), nv);
    snprintf(name, sizeof(name), "%s_mask=%d_sinks=%d_bias=%d_scap=%d_dk=%d_dv=%d",
            base, has_mask, has_sinks, has_bias, has_scap, (int) k->ne[0], (int) v->ne[0]);

    ggml_metal_pipeline_with_params pipeline = ggml_metal_library_get_pipeline(lib, name);
    if (!pipeline.pipeline) {
        ggml_metal_cv_t cv = ggml_metal_cv_init();

        ggml_metal_cv_set_bool (cv, has_mask,            FC_FLASH_ATTN_EXT_SCALAR + 0);
        ggml_metal_cv_set_bool (cv, has_sinks,           FC_FLASH_ATTN_EXT_SCALAR + 1);
        ggml_metal_cv_set_bool (cv, has_bias,            FC_FLASH_ATTN_EXT_SCALAR + 2);
        ggml_metal_cv_set_bool (cv, has_scap,            FC_FLASH_ATTN_EXT_SCALAR + 3);
        ggml_metal_cv_set_int32(cv, (int32_t) k->ne[0],  FC_FLASH_ATTN_EXT_SCALAR + 10);
        ggml_metal_cv_set_int32(cv, (int32_t) v->ne[0],  FC_FLASH_ATTN_EXT_SCALAR + 11);

        pipeline = ggml_metal_library_compile_pipeline(lib, base, name, cv);

        ggml_metal_cv_free(cv);
    }

    if (ggml_metal_pipeline_max_theads_per_threadgroup(pipeline) < OP_FLASH_ATTN_EXT_SCALAR_NSG*32) {
        // too many registers for this GPU
        ggml_metal_encoder_fail(enc);
        return;
    }

    ggml_metal_encoder_set_pipeline(enc, pipeline);
    ggml_metal_encoder_set_bytes   (enc, &args, sizeof(args), 0);
    ggml_metal_encoder_set_buffer  (enc, bid_q,     1);
    ggml_metal_encoder_set_buffer  (enc, bid_k,     2);
    ggml_metal_encoder_set_buffer  (enc, bid_v,     3);
    ggml_metal_encoder_set_buffer  (enc, bid_mask,  4);
    ggml_metal_encoder_set_buffer  (enc, bid_sinks, 5);
    ggml_metal_encoder_set_buffer  (enc, bid_dst,   6);

    ggml_metal_encoder_set_threadgroup_memory_size(enc, smem_of(op), 0);

    ggml_metal_encoder_dispatch_threadgroups(enc, (args.ne01 + nq - 1)/nq, args.ne02, args.ne03, 32, OP_FLASH_ATTN_EXT_SCALAR_NSG, 1);
}
