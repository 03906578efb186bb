#include "common.h"
#include "dequantize.h"

// Matrix product without matrix units. A threadgroup of 256 threads makes a square tile of the result, E = 16*TM to a
// side, TM*TM values to a thread. For 16 values of the inner dimension at a time E threads dequantise a row each of src0
// and E others read a column each of src1 into threadgroup memory; so a weight is read once for E columns. Offsets are
// int: there are GPUs whose compiler gets 16-bit ones wrong.

constexpr constant static int MM_SCALAR_K  = 16;  // values of the inner dimension at a time: one call of dequantize
constexpr constant static int MM_SCALAR_NT = 256; // threads

// The thread's part of a tile: rows 64*i + 4*(thread%16) + 0..3 and columns 64*j + 4*(thread/16) + 0..3, added to acc.
// x is the row that this thread loads and y the column; nullptr where it loads none or there is none.
template<short TM, typename block_q, short nl, void (*deq)(device const block_q *, short, thread float4x4 &)>
void mul_mm_scalar_tile(
        device const char * x,
        device const char * y,
        int ne00,
        threadgroup float * shmem,
        int tiitg,
        thread float4 (&acc)[TM][TM/4]) {
    constexpr int E  = 16*TM;
    constexpr int ES = E + 4; // the stride of a row of tiles, off the number of banks

    threadgroup float * sx = shmem;
    threadgroup float * sy = shmem + MM_SCALAR_K*ES;

    const int tx = 4*(tiitg%16);
    const int ty = 4*(tiitg/16);

    for (int k = 0; k < ne00; k += MM_SCALAR_K) {
        if (tiitg < E) {
            float4x4 reg = float4x4(0.0f);
            if (x) {
                const int il = k/MM_SCALAR_K;
                deq((device const block_q *) x + il/nl, il%nl, reg);
            }
            FOR_UNROLL (int i = 0; i < MM_SCALAR_K; ++i) {
                sx[i*ES + tiitg] = reg[i/4][i%4];
            }
        } else if (tiitg < 2*E) {
            FOR_UNROLL (int i = 0; i < MM_SCALAR_K/4; ++i) {
                float4 v = 0.0f;
                if (y) {
                    v = ((device const float4 *) y)[k/4 + i];
                }
                FOR_UNROLL (int c = 0; c < 4; ++c) {
                    sy[(4*i + c)*ES + tiitg - E] = v[c];
                }
            }
        }

        threadgroup_barrier(mem_flags::mem_threadgroup);

        for (int i = 0; i < MM_SCALAR_K; ++i) {
            float4 a[TM/4];
            float4 b[TM/4];
            FOR_UNROLL (int j = 0; j < TM/4; ++j) {
                a[j] = *(threadgroup const float4 *) (sx + i*ES + 64*j + tx);
                b[j] = *(threadgroup const float4 *) (sy + i*ES + 64*j + ty);
            }
            FOR_UNROLL (int c = 0; c < TM; ++c) {
                FOR_UNROLL (int j = 0; j < TM/4; ++j) {
                    acc[c][j] += b[c/4][c%4]*a[j];
                }
            }
        }

        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
}

// Writes the thread's part of a column of the tile.
template<short TM>
void mul_mm_scalar_store(device float * column, int row, int n_rows, thread const float4 (&acc)[TM/4]) {
    FOR_UNROLL (int j = 0; j < TM/4; ++j) {
        FOR_UNROLL (int i = 0; i < 4; ++i) {
            if (row + 64*j + i < n_rows) {
                column[row + 64*j + i] = acc[j][i];
            }
        }
    }
}

template<short TM, typename block_q, short nl, void (*deq)(device const block_q *, short, thread float4x4 &)>
kernel void kernel_mul_mm_scalar(
        constant ggml_metal_kargs_mul_mm & args,
        device const char * src0,
        device const char * src1,
        device       char * dst,
        threadgroup float * shmem [[threadgroup(0)]],
        uint3  tgpig[[threadgroup_position_in_grid]],
        ushort tiitg_u[[thread_index_in_threadgroup]]) {
    constexpr int E = 16*TM;

    const int tiitg = tiitg_u;

    const int r0  = tgpig.y*E;
    const int r1  = tgpig.x*E;
    const int im  = tgpig.z;
    const int i12 = im%args.ne12;
    const int i13 = im/args.ne12;

    const int lr = r0 + tiitg;
    const int lc = r1 + tiitg - E;

    device const char * x = tiitg < E && lr < args.ne0 ? src0 + lr*args.nb01 + (i12/args.r2)*args.nb02 + (i13/args.r3)*args.nb03 : nullptr;
    device const char * y = tiitg >= E && tiitg < 2*E && lc < args.ne1 ? src1 + lc*args.nb11 + i12*args.nb12 + i13*args.nb13 : nullptr;

    float4 acc[TM][TM/4];
    FOR_UNROLL (int c = 0; c < TM; ++c) {
        FOR_UNROLL (int j = 0; j < TM/4; ++j) {
            acc[c][j] = 0.0f;
        }
    }

    mul_mm_scalar_tile<TM, block_q, nl, deq>(x, y, args.ne00, shmem, tiitg, acc);

    FOR_UNROLL (int c = 0; c < TM; ++c) {
        const int i1 = r1 + 64*(c/4) + 4*(tiitg/16) + c%4;
        if (i1 < args.ne1) {
            device float * column = (device float *) dst + (uint64_t) im*args.ne1*args.ne0 + (uint64_t) i1*args.ne0;
            mul_mm_scalar_store<TM>(column, r0 + 4*(tiitg%16), args.ne0, acc[c]);
        }
    }
}

// The same for the rows of an expert: hids lists the pairs of token and slot that chose it, htpe has their number.
template<short TM, typename block_q, short nl, void (*deq)(device const block_q *, short, thread float4x4 &)>
kernel void kernel_mul_mm_scalar_id(
        constant ggml_metal_kargs_mul_mm_id & args,
        device const char * src0,
        device const char * src1,
        device const char * htpe,
        device const char * hids,
        device       char * dst,
        threadgroup float * shmem [[threadgroup(0)]],
        uint3  tgpig[[threadgroup_position_in_grid]],
        ushort tiitg_u[[thread_index_in_threadgroup]]) {
    constexpr int E = 16*TM;

    const int tiitg = tiitg_u;

    const int r0 = tgpig.y*E;
    const int r1 = tgpig.x*E;
    const int im = tgpig.z; // expert

    const int n1 = ((device const uint32_t *) htpe)[im];
    if (r1 >= n1) {
        return;
    }

    device const int32_t * ids = (device const int32_t *) hids + im*args.ne21;

    const int lr = r0 + tiitg;
    const int lc = r1 + tiitg - E;

    device const char * x = tiitg < E && lr < args.ne0 ? src0 + lr*args.nb01 + im*args.nb02 : nullptr;
    device const char * y = nullptr;
    if (tiitg >= E && tiitg < 2*E && lc < n1) {
        const int id = ids[lc];
        y = src1 + ((id%args.ne20)%args.ne11)*args.nb11 + (id/args.ne20)*args.nb12;
    }

    float4 acc[TM][TM/4];
    FOR_UNROLL (int c = 0; c < TM; ++c) {
        FOR_UNROLL (int j = 0; j < TM/4; ++j) {
            acc[c][j] = 0.0f;
        }
    }

    mul_mm_scalar_tile<TM, block_q, nl, deq>(x, y, args.ne00, shmem, tiitg, acc);

    FOR_UNROLL (int c = 0; c < TM; ++c) {
        const int i1 = r1 + 64*(c/4) + 4*(tiitg/16) + c%4;
        if (i1 < n1) {
            const int id = ids[i1];
            device float * column = (device float *) dst + (uint64_t) (id/args.ne20)*args.ne1*args.ne0 + (uint64_t) (id%args.ne20)*args.ne0;
            mul_mm_scalar_store<TM>(column, r0 + 4*(tiitg%16), args.ne0, acc[c]);
        }
    }
}

typedef decltype(kernel_mul_mm_scalar   <4, half4x4, 1, dequantize_f16>) mul_mm_scalar_t;
typedef decltype(kernel_mul_mm_scalar_id<4, half4x4, 1, dequantize_f16>) mul_mm_scalar_id_t;

#define MM_SCALAR(type, block_q, nl, deq) \
template [[host_name("kernel_mul_mm_scalar_" #type "_e64")]]     kernel mul_mm_scalar_t    kernel_mul_mm_scalar   <4, block_q, nl, deq>; \
template [[host_name("kernel_mul_mm_scalar_" #type "_e128")]]    kernel mul_mm_scalar_t    kernel_mul_mm_scalar   <8, block_q, nl, deq>; \
template [[host_name("kernel_mul_mm_scalar_id_" #type "_e64")]]  kernel mul_mm_scalar_id_t kernel_mul_mm_scalar_id<4, block_q, nl, deq>; \
template [[host_name("kernel_mul_mm_scalar_id_" #type "_e128")]] kernel mul_mm_scalar_id_t kernel_mul_mm_scalar_id<8, block_q, nl, deq>;

MM_SCALAR(f32,     float4x4,      1,     dequantize_f32)
MM_SCALAR(f16,     half4x4,       1,     dequantize_f16)
#if defined(GGML_METAL_HAS_BF16)
MM_SCALAR(bf16,    bfloat4x4,     1,     dequantize_bf16)
#endif
MM_SCALAR(q1_0,    block_q1_0,    8,     dequantize_q1_0)
MM_SCALAR(q2_0,    block_q2_0,    4,     dequantize_q2_0)
MM_SCALAR(q4_0,    block_q4_0,    2,     dequantize_q4_0)
MM_SCALAR(q4_1,    block_q4_1,    2,     dequantize_q4_1)
MM_SCALAR(q5_0,    block_q5_0,    2,     dequantize_q5_0)
MM_SCALAR(q5_1,    block_q5_1,    2,     dequantize_q5_1)
MM_SCALAR(q8_0,    block_q8_0,    2,     dequantize_q8_0)
MM_SCALAR(mxfp4,   block_mxfp4,   2,     dequantize_mxfp4)
MM_SCALAR(q2_K,    block_q2_K,    QK_NL, dequantize_q2_K)
MM_SCALAR(q3_K,    block_q3_K,    QK_NL, dequantize_q3_K)
MM_SCALAR(q4_K,    block_q4_K,    QK_NL, dequantize_q4_K)
MM_SCALAR(q5_K,    block_q5_K,    QK_NL, dequantize_q5_K)
MM_SCALAR(q6_K,    block_q6_K,    QK_NL, dequantize_q6_K)
MM_SCALAR(iq2_xxs, block_iq2_xxs, QK_NL, dequantize_iq2_xxs)
MM_SCALAR(iq2_xs,  block_iq2_xs,  QK_NL, dequantize_iq2_xs)
MM_SCALAR(iq3_xxs, block_iq3_xxs, QK_NL, dequantize_iq3_xxs)
MM_SCALAR(iq3_s,   block_iq3_s,   QK_NL, dequantize_iq3_s)
MM_SCALAR(iq2_s,   block_iq2_s,   QK_NL, dequantize_iq2_s)
MM_SCALAR(iq1_s,   block_iq1_s,   QK_NL, dequantize_iq1_s)
MM_SCALAR(iq1_m,   block_iq1_m,   QK_NL, dequantize_iq1_m)
MM_SCALAR(iq4_nl,  block_iq4_nl,  2,     dequantize_iq4_nl)
MM_SCALAR(iq4_xs,  block_iq4_xs,  QK_NL, dequantize_iq4_xs)
MM_SCALAR(tq2_0,   block_tq2_0,   QK_NL, dequantize_tq2_0)

#undef MM_SCALAR
