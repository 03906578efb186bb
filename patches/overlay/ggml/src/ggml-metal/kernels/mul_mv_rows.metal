// mul_mv with another number of rows a simdgroup than upstream's kernels have. Which there are is in ggml-metal-shapes.cpp. Upstream's
// own are in this library as well, under their own names, and nobody asks it for them.
#include "mul_mv.metal"

template<kernel_mul_mv2_disp_t impl>
kernel void kernel_mul_mv_rows(
        constant ggml_metal_kargs_mul_mv & args,
        device const char * src0,
        device const char * src1,
        device       char * dst,
        threadgroup  char * shmem [[threadgroup(0)]],
        uint3  tgpig[[threadgroup_position_in_grid]],
        SIMD_ARGS) {
    SIMD_BEGIN(8);
    impl(args, src0, src1, dst, shmem, tgpig, tiisg, sgitg);
}

typedef decltype(kernel_mul_mv_rows<kernel_mul_mv_q8_0_f32_impl<1, ggml_metal_kargs_mul_mv>>) mul_mv_rows_t;

template [[host_name("kernel_mul_mv_q4_0_f32_r0_1")]] kernel mul_mv_rows_t kernel_mul_mv_rows<mul_vec_q_n_f32_impl<block_q4_0, 1, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_q4_0_f32_r0_2")]] kernel mul_mv_rows_t kernel_mul_mv_rows<mul_vec_q_n_f32_impl<block_q4_0, 2, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_q4_1_f32_r0_1")]] kernel mul_mv_rows_t kernel_mul_mv_rows<mul_vec_q_n_f32_impl<block_q4_1, 1, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_q4_1_f32_r0_2")]] kernel mul_mv_rows_t kernel_mul_mv_rows<mul_vec_q_n_f32_impl<block_q4_1, 2, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_q5_0_f32_r0_1")]] kernel mul_mv_rows_t kernel_mul_mv_rows<mul_vec_q_n_f32_impl<block_q5_0, 1, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_q5_0_f32_r0_2")]] kernel mul_mv_rows_t kernel_mul_mv_rows<mul_vec_q_n_f32_impl<block_q5_0, 2, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_q5_1_f32_r0_1")]] kernel mul_mv_rows_t kernel_mul_mv_rows<mul_vec_q_n_f32_impl<block_q5_1, 1, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_q5_1_f32_r0_2")]] kernel mul_mv_rows_t kernel_mul_mv_rows<mul_vec_q_n_f32_impl<block_q5_1, 2, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_q2_K_f32_r0_1")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_q2_K_f32_impl<1, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_q2_K_f32_r0_2")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_q2_K_f32_impl<2, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_q8_0_f32_r0_1")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_q8_0_f32_impl<1, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_q8_0_f32_r0_4")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_q8_0_f32_impl<4, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_mxfp4_f32_r0_1")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_mxfp4_f32_impl<1, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_mxfp4_f32_r0_4")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_mxfp4_f32_impl<4, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_q3_K_f32_r0_1")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_q3_K_f32_impl<1, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_q3_K_f32_r0_4")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_q3_K_f32_impl<4, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_q4_K_f32_r0_1")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_q4_K_f32_impl<1, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_q4_K_f32_r0_4")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_q4_K_f32_impl<4, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_q6_K_f32_r0_1")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_q6_K_f32_impl<1, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_q6_K_f32_r0_4")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_q6_K_f32_impl<4, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_iq4_nl_f32_r0_1")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_iq4_nl_f32_impl<1, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_iq4_nl_f32_r0_4")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_iq4_nl_f32_impl<4, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_iq4_xs_f32_r0_1")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_iq4_xs_f32_impl<1, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_iq4_xs_f32_r0_4")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_iq4_xs_f32_impl<4, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_q5_K_f32_r0_2")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_q5_K_f32_impl<2, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_q5_K_f32_r0_4")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_q5_K_f32_impl<4, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_f32_f32_4_r0_1")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_t_t_4_impl<float, float4, float, float4, 1, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_f32_f32_4_r0_4")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_t_t_4_impl<float, float4, float, float4, 4, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_f16_f32_4_r0_1")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_t_t_4_impl<half, half4, float, float4, 1, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_f16_f32_4_r0_4")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_t_t_4_impl<half, half4, float, float4, 4, ggml_metal_kargs_mul_mv>>;
#if defined(GGML_METAL_HAS_BF16)
template [[host_name("kernel_mul_mv_bf16_f32_4_r0_1")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_t_t_4_impl<bfloat, bfloat4, float, float4, 1, ggml_metal_kargs_mul_mv>>;
template [[host_name("kernel_mul_mv_bf16_f32_4_r0_4")]] kernel mul_mv_rows_t kernel_mul_mv_rows<kernel_mul_mv_t_t_4_impl<bfloat, bfloat4, float, float4, 4, ggml_metal_kargs_mul_mv>>;
#endif

// of experts
typedef decltype(kernel_mul_mv_id<mmv_fn<kernel_mul_mv_q8_0_f32_impl<1, ggml_metal_kargs_mul_mv>>>) mul_mv_id_rows_t;

template [[host_name("kernel_mul_mv_id_q4_0_f32_r0_1")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<mul_vec_q_n_f32_impl<block_q4_0, 1, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_q4_0_f32_r0_2")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<mul_vec_q_n_f32_impl<block_q4_0, 2, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_q4_1_f32_r0_1")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<mul_vec_q_n_f32_impl<block_q4_1, 1, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_q4_1_f32_r0_2")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<mul_vec_q_n_f32_impl<block_q4_1, 2, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_q5_0_f32_r0_1")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<mul_vec_q_n_f32_impl<block_q5_0, 1, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_q5_0_f32_r0_2")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<mul_vec_q_n_f32_impl<block_q5_0, 2, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_q5_1_f32_r0_1")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<mul_vec_q_n_f32_impl<block_q5_1, 1, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_q5_1_f32_r0_2")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<mul_vec_q_n_f32_impl<block_q5_1, 2, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_q2_K_f32_r0_1")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_q2_K_f32_impl<1, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_q2_K_f32_r0_2")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_q2_K_f32_impl<2, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_q8_0_f32_r0_1")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_q8_0_f32_impl<1, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_q8_0_f32_r0_4")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_q8_0_f32_impl<4, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_mxfp4_f32_r0_1")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_mxfp4_f32_impl<1, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_mxfp4_f32_r0_4")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_mxfp4_f32_impl<4, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_q3_K_f32_r0_1")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_q3_K_f32_impl<1, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_q3_K_f32_r0_4")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_q3_K_f32_impl<4, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_q4_K_f32_r0_1")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_q4_K_f32_impl<1, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_q4_K_f32_r0_4")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_q4_K_f32_impl<4, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_q6_K_f32_r0_1")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_q6_K_f32_impl<1, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_q6_K_f32_r0_4")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_q6_K_f32_impl<4, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_iq4_nl_f32_r0_1")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_iq4_nl_f32_impl<1, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_iq4_nl_f32_r0_4")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_iq4_nl_f32_impl<4, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_iq4_xs_f32_r0_1")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_iq4_xs_f32_impl<1, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_iq4_xs_f32_r0_4")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_iq4_xs_f32_impl<4, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_q5_K_f32_r0_2")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_q5_K_f32_impl<2, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_q5_K_f32_r0_4")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_q5_K_f32_impl<4, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_f32_f32_4_r0_1")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_t_t_4_impl<float, float4, float, float4, 1, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_f32_f32_4_r0_4")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_t_t_4_impl<float, float4, float, float4, 4, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_f16_f32_4_r0_1")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_t_t_4_impl<half, half4, float, float4, 1, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_f16_f32_4_r0_4")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_t_t_4_impl<half, half4, float, float4, 4, ggml_metal_kargs_mul_mv>>>;
#if defined(GGML_METAL_HAS_BF16)
template [[host_name("kernel_mul_mv_id_bf16_f32_4_r0_1")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_t_t_4_impl<bfloat, bfloat4, float, float4, 1, ggml_metal_kargs_mul_mv>>>;
template [[host_name("kernel_mul_mv_id_bf16_f32_4_r0_4")]] kernel mul_mv_id_rows_t kernel_mul_mv_id<mmv_fn<kernel_mul_mv_t_t_4_impl<bfloat, bfloat4, float, float4, 4, ggml_metal_kargs_mul_mv>>>;
#endif
