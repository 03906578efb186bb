#include "ggml-metal-shapes.h"

#include <cstdio>
#include <map>
#include <mutex>
#include <vector>

struct ggml_metal_shapes {
    std::vector<ggml_product_shape> all;
};

static std::mutex g_mutex;
static std::map<ggml_metal_device_t, ggml_metal_shapes> g_shapes;

static thread_local const ggml_metal_shapes * t_shapes = nullptr;

void ggml_metal_shapes_set(ggml_metal_device_t dev, const ggml_product_shape * shapes, size_t count) {
    const std::lock_guard<std::mutex> lock(g_mutex);
    g_shapes[dev].all.assign(shapes, shapes + count);
}

ggml_metal_shapes_t ggml_metal_shapes_get(ggml_metal_device_t dev) {
    const std::lock_guard<std::mutex> lock(g_mutex);
    const auto it = g_shapes.find(dev);
    return it == g_shapes.end() || it->second.all.empty() ? nullptr : new ggml_metal_shapes(it->second);
}

void ggml_metal_shapes_free(ggml_metal_shapes_t shapes) {
    delete shapes;
}

void ggml_metal_shapes_use(ggml_metal_shapes_t shapes) {
    t_shapes = shapes;
}

static const ggml_product_shape * shape_of(const ggml_tensor * op) {
    if (!t_shapes || (op->op != GGML_OP_MUL_MAT && op->op != GGML_OP_MUL_MAT_ID) || op->src[1]->type != GGML_TYPE_F32) {
        return nullptr;
    }
    const bool    experts = op->op == GGML_OP_MUL_MAT_ID;
    const int64_t columns = experts ? op->src[2]->ne[1] : op->src[1]->ne[1];
    for (const ggml_product_shape & shape : t_shapes->all) {
        if (shape.type == (uint32_t) op->src[0]->type && shape.row_length == op->src[0]->ne[0] &&
            shape.rows == op->src[0]->ne[1] && (experts ? shape.experts == op->src[0]->ne[2] : shape.experts == 0) &&
            columns <= shape.columns && 2*columns > shape.columns) {
            return &shape;
        }
    }
    return nullptr;
}

// Rows that one simdgroup of upstream's kernel has, and whether mul_mv_rows.metal has the kernel with another number of them.
static bool has_rows(ggml_type type, int rows) {
    switch (type) {
        case GGML_TYPE_Q4_0:
        case GGML_TYPE_Q4_1:
        case GGML_TYPE_Q5_0:
        case GGML_TYPE_Q5_1:
        case GGML_TYPE_Q2_K:
            return rows == 1 || rows == 2;
        case GGML_TYPE_F32:
        case GGML_TYPE_F16:
        case GGML_TYPE_BF16:
        case GGML_TYPE_Q8_0:
        case GGML_TYPE_MXFP4:
        case GGML_TYPE_Q3_K:
        case GGML_TYPE_Q4_K:
        case GGML_TYPE_Q6_K:
        case GGML_TYPE_IQ4_NL:
        case GGML_TYPE_IQ4_XS:
            return rows == 1 || rows == 4;
        case GGML_TYPE_Q5_K:
            return rows == 2 || rows == 4;
        default:
            return false;
    }
}

void ggml_metal_shapes_mul_mv(const ggml_tensor * op, int * nsg, int * nr0, size_t * smem, char kernel[8]) {
    kernel[0] = '\0';

    const ggml_product_shape * shape = shape_of(op);
    if (!shape) {
        return;
    }

    const ggml_type type = op->src[0]->type;
    const bool is_float = type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16;
    const int  rows     = shape->rows_per_simdgroup;

    if (rows > 0 && rows != *nr0) {
        // of floats there are kernels for vectors of four
        if (!has_rows(type, rows) || (is_float && (op->src[0]->ne[0] < 32 || op->src[0]->ne[0] % 4 != 0))) {
            return;
        }
        *nr0 = rows;
        if (is_float || type == GGML_TYPE_Q8_0) {
            *smem = 32*sizeof(float)*rows;
        }
        snprintf(kernel, 8, "_r0_%d", rows);
    }
    if (shape->simdgroups > 0 && shape->simdgroups <= 8) {
        *nsg = shape->simdgroups;
    }
}

void ggml_metal_shapes_mul_mv_ext(const ggml_tensor * op, int * nsg, int16_t * nxpsg, int16_t * r1ptg) {
    const ggml_product_shape * shape = shape_of(op);
    if (!shape) {
        return;
    }

    if (shape->simdgroups > 0 && shape->simdgroups <= 8) {
        *nsg = shape->simdgroups;
    }
    const int threads = shape->threads_per_row;
    if ((threads == 4 || threads == 8 || threads == 16) && op->src[0]->ne[0] % (16*threads) == 0) {
        *nxpsg = (int16_t) threads;
    }
    const int columns = shape->columns_per_threadgroup;
    if (columns >= 2 && columns <= 5) {
        *r1ptg = (int16_t) columns;
    }
}
