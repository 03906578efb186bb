#import "ggml-metal-width.h"

#import "ggml-impl.h"

#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include <string.h>

#define PROBE_THREADS 128
#define PROBE_RESULTS 7

// Each thread says where it is in its simdgroup, and what the functions that the kernels use give for its number.
static const char * const k_probe =
    "#include <metal_stdlib>\n"
    "using namespace metal;\n"
    "kernel void kernel_simdgroup_probe(\n"
    "        device float * dst [[buffer(0)]],\n"
    "        ushort tiitg[[thread_index_in_threadgroup]],\n"
    "        ushort tiisg[[thread_index_in_simdgroup]],\n"
    "        ushort sgitg[[simdgroup_index_in_threadgroup]]) {\n"
    "    const float x = tiitg;\n"
    "    device float * res = dst + 7*tiitg;\n"
    "    res[0] = tiisg;\n"
    "    res[1] = sgitg;\n"
    "    res[2] = simd_sum(x);\n"
    "    res[3] = simd_max(x);\n"
    "    res[4] = simd_prefix_exclusive_sum(x);\n"
    "    res[5] = simd_shuffle_xor(x, 1);\n"
    "    res[6] = simd_shuffle(x, 3);\n"
    "}\n"
    // where that cannot be made, the width is still a fact
    "kernel void kernel_simdgroup_width(device float * dst [[buffer(0)]], ushort tiitg[[thread_index_in_threadgroup]]) {\n"
    "    dst[tiitg] = tiitg;\n"
    "}\n";

// What a thread should say in simdgroups of that width.
static void probe_expected(int thread, int width, float * res) {
    const int first = thread/width*width;

    res[0] = thread - first;
    res[1] = thread/width;
    res[2] = 0.0f;
    res[3] = first + width - 1;
    res[4] = 0.0f;
    res[5] = thread ^ 1;
    res[6] = first + 3;
    for (int i = first; i < first + width; ++i) {
        res[2] += i;
        if (i < thread) {
            res[4] += i;
        }
    }
}

static bool probe_is_right(const float * res, int width) {
    for (int i = 0; i < PROBE_THREADS; ++i) {
        float expected[PROBE_RESULTS];
        probe_expected(i, width, expected);
        if (memcmp(res + i*PROBE_RESULTS, expected, sizeof(expected)) != 0) {
            return false;
        }
    }
    return true;
}

static id<MTLComputePipelineState> probe_pipeline(id<MTLDevice> device, NSString * name) {
    NSError * error = nil;

    id<MTLLibrary>  library  = [device newLibraryWithSource:[NSString stringWithUTF8String:k_probe] options:nil error:&error];
    id<MTLFunction> function = [library newFunctionWithName:name];

    id<MTLComputePipelineState> res = function ? [device newComputePipelineStateWithFunction:function error:&error] : nil;

    [function release];
    [library release];

    return res;
}

// Runs the kernel; false where that fails.
static bool probe_run(id<MTLDevice> device, id<MTLCommandQueue> queue, id<MTLComputePipelineState> pipeline, float * res) {
    const size_t size = PROBE_THREADS*PROBE_RESULTS*sizeof(float);

    id<MTLBuffer> buffer = [device newBufferWithLength:size options:MTLResourceStorageModeShared];
    if (buffer == nil) {
        return false;
    }

    memset([buffer contents], 0xff, size);

    id<MTLCommandBuffer>         cmd_buf = [queue commandBuffer];
    id<MTLComputeCommandEncoder> encoder = [cmd_buf computeCommandEncoder];

    [encoder setComputePipelineState:pipeline];
    [encoder setBuffer:buffer offset:0 atIndex:0];
    [encoder dispatchThreadgroups:MTLSizeMake(1, 1, 1) threadsPerThreadgroup:MTLSizeMake(PROBE_THREADS, 1, 1)];
    [encoder endEncoding];
    [cmd_buf commit];
    [cmd_buf waitUntilCompleted];

    const bool ok = cmd_buf != nil && [cmd_buf status] == MTLCommandBufferStatusCompleted;

    memcpy(res, [buffer contents], size);
    [buffer release];

    return ok;
}

enum ggml_metal_lanes ggml_metal_lanes_probe(void * device_raw, void * queue, int * width) {
    enum ggml_metal_lanes lanes = GGML_METAL_LANES_SHARED;

    @autoreleasepool {
        id<MTLDevice> device = (id<MTLDevice>) device_raw;

        float res[PROBE_THREADS*PROBE_RESULTS];

        id<MTLComputePipelineState> pipeline = probe_pipeline(device, @"kernel_simdgroup_probe");
        if (pipeline) {
            *width = (int) [pipeline threadExecutionWidth];
            if ((*width == 32 || *width == 64) && probe_run(device, (id<MTLCommandQueue>) queue, pipeline, res) && probe_is_right(res, *width)) {
                lanes = *width == 32 ? GGML_METAL_LANES_WHOLE : GGML_METAL_LANES_HALVES;
            }
        } else {
            pipeline = probe_pipeline(device, @"kernel_simdgroup_width");
            *width = (int) [pipeline threadExecutionWidth];
        }
        [pipeline release];
    }

    return lanes;
}

bool ggml_metal_lanes_fit(enum ggml_metal_lanes lanes, int width) {
    switch (lanes) {
        case GGML_METAL_LANES_WHOLE:  return width == 32;
        case GGML_METAL_LANES_HALVES: return width == 64;
        case GGML_METAL_LANES_SHARED: return true;
    }
    return false;
}

bool ggml_metal_lanes_has_kernel(enum ggml_metal_lanes lanes, const char * base) {
    // its groups go through the cache at their own pace, and meet only at the end; the scalar kernel takes its place
    return lanes != GGML_METAL_LANES_SHARED || strncmp(base, "kernel_flash_attn_ext_vec", strlen("kernel_flash_attn_ext_vec")) != 0;
}

const char * ggml_metal_lanes_macro(enum ggml_metal_lanes lanes) {
    switch (lanes) {
        case GGML_METAL_LANES_WHOLE:  return NULL;
        case GGML_METAL_LANES_HALVES: return "GGML_METAL_LANES_HALVES";
        case GGML_METAL_LANES_SHARED: return "GGML_METAL_LANES_SHARED";
    }
    return NULL;
}
