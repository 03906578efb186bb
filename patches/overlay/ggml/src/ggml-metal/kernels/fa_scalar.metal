#include "common.h"
#include "dequantize.h"
#include "ggml-metal-fa-scalar-impl.h"

// Flash attention without matrix units. A threadgroup takes NQ queries of one head through the cache, C items at a time.
// Each part of K and V is read and dequantised once and used by all of these queries from threadgroup memory; each
// simdgroup has the scores of NQ/NSG queries, with an item in each lane, and each thread has a column of the output.
// All arithmetic is in float. Offsets are int: there are GPUs whose compiler gets 16-bit ones wrong.

constant bool FC_flash_attn_ext_scalar_has_mask  [[function_constant(FC_FLASH_ATTN_EXT_SCALAR + 0)]];
constant bool FC_flash_attn_ext_scalar_has_sinks [[function_constant(FC_FLASH_ATTN_EXT_SCALAR + 1)]];
constant bool FC_flash_attn_ext_scalar_has_bias  [[function_constant(FC_FLASH_ATTN_EXT_SCALAR + 2)]];
constant bool FC_flash_attn_ext_scalar_has_scap  [[function_constant(FC_FLASH_ATTN_EXT_SCALAR + 3)]];

constant int32_t FC_flash_attn_ext_scalar_dk [[function_constant(FC_FLASH_ATTN_EXT_SCALAR + 10)]];
constant int32_t FC_flash_attn_ext_scalar_dv [[function_constant(FC_FLASH_ATTN_EXT_SCALAR + 11)]];

// Part `tile` of the heads of C items, from item ic on, as floats; zero where there is none.
template<typename kv_t, short nl, void (*deq_t4)(device const kv_t *, short, thread float4 &)>
void flash_attn_ext_scalar_load(
        device const char * base,
        uint64_t nb1,
        int ic,
        int n_items,
        int tile,
        int size4,
        threadgroup float4 * st,
        int tiitg) {
    constexpr int C  = OP_FLASH_ATTN_EXT_SCALAR_NCPSG;
    constexpr int T  = OP_FLASH_ATTN_EXT_SCALAR_TILE4;
    constexpr int TS = T + 1; // an odd stride: the lanes read a column each from a bank of their own
    constexpr int NT = OP_FLASH_ATTN_EXT_SCALAR_NSG*N_SIMDWIDTH;

    for (int e = tiitg; e < C*T; e += NT) {
        const int row = e/T;
        const int col = e%T;
        const int i4  = tile*T + col;

        float4 x = 0.0f;
        if (ic + row < n_items && i4 < size4) {
            deq_t4((device const kv_t *) (base + (ic + row)*nb1) + i4/nl, i4%nl, x);
        }

        st[row*TS + col] = x;
    }
}

template<
    typename kv_t,  // K and V in device memory
    short nl,       // float4 of one of these
    void (*deq_t4)(device const kv_t *, short, thread float4 &),
    short NV>       // tiles of a V head, at most
kernel void kernel_flash_attn_ext_scalar(
        constant ggml_metal_kargs_flash_attn_ext & args,
        device const char * q,
        device const char * k,
        device const char * v,
        device const char * mask,
        device const char * sinks,
        device       char * dst,
        threadgroup  float4 * shmem [[threadgroup(0)]],
        uint3   tgpig[[threadgroup_position_in_grid]],
        SIMD_ARGS_TIITG) {
    SIMD_BEGIN(OP_FLASH_ATTN_EXT_SCALAR_NSG);

    constexpr int C   = OP_FLASH_ATTN_EXT_SCALAR_NCPSG;
    constexpr int T   = OP_FLASH_ATTN_EXT_SCALAR_TILE4;
    constexpr int TS  = T + 1;
    constexpr int NSG = OP_FLASH_ATTN_EXT_SCALAR_NSG;
    constexpr int NT  = NSG*N_SIMDWIDTH;
    constexpr int NQ  = OP_FLASH_ATTN_EXT_SCALAR_NQPTG(NV);
    constexpr int NQS = NQ/NSG;    // queries of a simdgroup, for the scores
    constexpr int NQT = NQ/(NT/T); // queries of a thread, for the output

    const int ti = tiitg;
    const int il = tiisg;
    const int sg = sgitg;

    const int dk4 = FC_flash_attn_ext_scalar_dk/4;
    const int dv4 = FC_flash_attn_ext_scalar_dv/4;

    threadgroup float4 * sq = shmem;                               // the queries
    threadgroup float4 * st = sq + NQ*dk4;                         // a tile of K or V
    threadgroup float  * sp = (threadgroup float *) (st + C*TS);   // exp(scores - maximum)
    threadgroup float  * sr = sp + NQ*C;                           // by what each query's output is multiplied
    threadgroup int    * sv = (threadgroup int *) (sr + NQ);       // whether a simdgroup's queries see the block; twice

    const int iq3 = tgpig[2];
    const int iq2 = tgpig[1];
    const int iq1 = tgpig[0]*NQ;

    {
        const int ikv2 = iq2/(args.ne02/args.ne_12_2);
        const int ikv3 = iq3/(args.ne03/args.ne_12_3);

        q += iq1*args.nb01 + iq2*args.nb02 + iq3*args.nb03;
        k += ikv2*args.nb12 + ikv3*args.nb13;
        v += ikv2*args.nb22 + ikv3*args.nb23;
    }

    for (int e = ti; e < NQ*dk4; e += NT) {
        const int j = e/dk4;

        sq[e] = iq1 + j < args.ne01 ? ((device const float4 *) (q + j*args.nb01))[e%dk4] : float4(0.0f);
    }

    float slope = 1.0f;

    // ALiBi
    if (FC_flash_attn_ext_scalar_has_bias) {
        const float base = iq2 < args.n_head_log2 ? args.m0 : args.m1;
        const int   exph = iq2 < args.n_head_log2 ? iq2 + 1 : 2*(iq2 - args.n_head_log2) + 1;

        slope = pow(base, (float) exph);
    }

    if (FC_flash_attn_ext_scalar_has_mask) {
        mask += (iq1 + sg*NQS)*args.nb31 + (iq2%args.ne32)*args.nb32 + (iq3%args.ne33)*args.nb33;
    }

    float S[NQS];
    float M[NQS];
    FOR_UNROLL (int j = 0; j < NQS; ++j) {
        S[j] = 0.0f;
        M[j] = -FLT_MAX/2;
    }

    // the thread's columns of the output: float4 number n*T + col of queries qt..qt + NQT
    const int col = ti%T;
    const int qt  = ti/T*NQT;

    float4 acc[NV][NQT];
    FOR_UNROLL (int n = 0; n < NV; ++n) {
        FOR_UNROLL (int j = 0; j < NQT; ++j) {
            acc[n][j] = 0.0f;
        }
    }

    for (int ic = 0, parity = 0; ic < args.ne11; ic += C, parity ^= 1) {
        const int i1 = ic + il;

        // which queries of this simdgroup see the lane's item; compared with a finite number, as infinities may be
        // assumed away
        float bias[NQS];
        bool  seen[NQS];
        FOR_UNROLL (int j = 0; j < NQS; ++j) {
            seen[j] = i1 < args.ne11 && iq1 + sg*NQS + j < args.ne01;
            bias[j] = 0.0f;
            if (FC_flash_attn_ext_scalar_has_mask && seen[j]) {
                bias[j] = ((device const half *) (mask + j*args.nb31))[i1];
                seen[j] = bias[j] > -MAXHALF;
            }
        }

        // leave out what no query sees
        if (FC_flash_attn_ext_scalar_has_mask) {
            int any = 0;
            FOR_UNROLL (int j = 0; j < NQS; ++j) {
                any |= seen[j];
            }

            any = simd_max(any);
            if (il == 0) {
                sv[parity*NSG + sg] = any;
            }

            threadgroup_barrier(mem_flags::mem_threadgroup);

            any = 0;
            FOR_UNROLL (int i = 0; i < NSG; ++i) {
                any |= sv[parity*NSG + i];
            }
            if (any == 0) {
                continue;
            }
        }

        // scores
        float s[NQS];
        FOR_UNROLL (int j = 0; j < NQS; ++j) {
            s[j] = 0.0f;
        }

        for (int tile = 0; tile*T < dk4; ++tile) {
            threadgroup_barrier(mem_flags::mem_threadgroup);
            flash_attn_ext_scalar_load<kv_t, nl, deq_t4>(k, args.nb11, ic, args.ne11, tile, dk4, st, ti);
            threadgroup_barrier(mem_flags::mem_threadgroup);

            const int n4 = min(T, dk4 - tile*T);
            for (int i = 0; i < n4; ++i) {
                const float4 x = st[il*TS + i];
                FOR_UNROLL (int j = 0; j < NQS; ++j) {
                    s[j] += dot(x, sq[(sg*NQS + j)*dk4 + tile*T + i]);
                }
            }
        }

        // online softmax
        FOR_UNROLL (int j = 0; j < NQS; ++j) {
            s[j] *= args.scale;
            if (FC_flash_attn_ext_scalar_has_scap) {
                s[j] = args.logit_softcap*precise::tanh(s[j]);
            }
            s[j] += slope*bias[j];

            const float m = M[j];
            M[j] = simd_max(max(m, seen[j] ? s[j] : -FLT_MAX/2));

            const float ms = exp(m - M[j]);
            const float p  = seen[j] ? exp(s[j] - M[j]) : 0.0f;

            S[j] = S[j]*ms + simd_sum(p);

            sp[(sg*NQS + j)*C + il] = p;
            if (il == 0) {
                sr[sg*NQS + j] = ms;
            }
        }

        // output
        FOR_UNROLL (int n = 0; n < NV; ++n) {
            if (n*T >= dv4) {
                break;
            }

            threadgroup_barrier(mem_flags::mem_threadgroup);
            flash_attn_ext_scalar_load<kv_t, nl, deq_t4>(v, args.nb21, ic, args.ne11, n, dv4, st, ti);
            threadgroup_barrier(mem_flags::mem_threadgroup);

            FOR_UNROLL (int j = 0; j < NQT; ++j) {
                acc[n][j] *= sr[qt + j];
            }
            for (int c = 0; c < C; ++c) {
                const float4 x = st[c*TS + col];
                FOR_UNROLL (int j = 0; j < NQT; ++j) {
                    acc[n][j] += x*sp[(qt + j)*C + c];
                }
            }
        }
    }

    // the last block's factors have been used
    threadgroup_barrier(mem_flags::mem_threadgroup);

    FOR_UNROLL (int j = 0; j < NQS; ++j) {
        float ms = 1.0f;
        if (FC_flash_attn_ext_scalar_has_sinks) {
            const float s = ((device const float *) sinks)[iq2];
            const float m = M[j];

            M[j] = max(m, s);
            ms   = exp(m - M[j]);
            S[j] = S[j]*ms + exp(s - M[j]);
        }
        if (il == 0) {
            // a query that sees nothing gets zeros
            sr[sg*NQS + j] = S[j] == 0.0f ? 0.0f : ms/S[j];
        }
    }

    threadgroup_barrier(mem_flags::mem_threadgroup);

    FOR_UNROLL (int j = 0; j < NQT; ++j) {
        const int i1 = iq1 + qt + j;
        if (i1 >= args.ne01) {
            continue;
        }

        device float4 * dst4 = (device float4 *) dst + ((uint64_t) (iq3*args.ne2 + i1)*args.ne1 + iq2)*dv4;
        FOR_UNROLL (int n = 0; n < NV; ++n) {
            if (n*T + col < dv4) {
                dst4[n*T + col] = acc[n][j]*sr[qt + j];
            }
        }
    }
}

typedef decltype(kernel_flash_attn_ext_scalar<half4, 1, dequantize_f16_t4, 1>) flash_attn_ext_scalar_t;

#define FA_SCALAR(type, kv_t, nl, deq) \
template [[host_name("kernel_flash_attn_ext_scalar_" #type "_nv1")]] kernel flash_attn_ext_scalar_t kernel_flash_attn_ext_scalar<kv_t, nl, deq, 1>; \
template [[host_name("kernel_flash_attn_ext_scalar_" #type "_nv2")]] kernel flash_attn_ext_scalar_t kernel_flash_attn_ext_scalar<kv_t, nl, deq, 2>; \
template [[host_name("kernel_flash_attn_ext_scalar_" #type "_nv4")]] kernel flash_attn_ext_scalar_t kernel_flash_attn_ext_scalar<kv_t, nl, deq, 4>; \
template [[host_name("kernel_flash_attn_ext_scalar_" #type "_nv8")]] kernel flash_attn_ext_scalar_t kernel_flash_attn_ext_scalar<kv_t, nl, deq, 8>;

FA_SCALAR(f32,  float4,     1, dequantize_f32_t4)
FA_SCALAR(f16,  half4,      1, dequantize_f16_t4)
#if defined(GGML_METAL_HAS_BF16)
FA_SCALAR(bf16, bfloat4,    1, dequantize_bf16_t4)
#endif
FA_SCALAR(q4_0, block_q4_0, 8, dequantize_q4_0_t4)
FA_SCALAR(q4_1, block_q4_1, 8, dequantize_q4_1_t4)
FA_SCALAR(q5_0, block_q5_0, 8, dequantize_q5_0_t4)
FA_SCALAR(q5_1, block_q5_1, 8, dequantize_q5_1_t4)
FA_SCALAR(q8_0, block_q8_0, 8, dequantize_q8_0_t4)

#undef FA_SCALAR
