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

// Runs the kernel; false where that fails.
static bool probe_run(id<MTLDevice> device, id<MTLCommandQueue> queue, float * res, int * width) {
    const size_t size = PROBE_THREADS*PROBE_RESULTS*sizeof(float);

    id<MTLLibrary>              library  = nil;
    id<MTLFunction>             function = nil;
    id<MTLComputePipelineState> pipeline = nil;
    id<MTLBuffer>               buffer   = nil;

    NSError * error = nil;
    NSString * source = [[NSString alloc] initWithUTF8String:k_probe];
    library = [device newLibraryWithSource:source options:nil error:&error];
    [source release];

    function = [library newFunctionWithName:@"kernel_simdgroup_probe"];
    if (function) {
        pipeline = [device newComputePipelineStateWithFunction:function error:&error];
    }
    buffer = [device newBufferWithLength:size options:MTLResourceStorageModeShared];

    bool ok = pipeline != nil && buffer != nil;
    if (ok) {
        id<MTLCommandBuffer>         cmd_buf = [queue commandBuffer];
        id<MTLComputeCommandEncoder> encoder = [cmd_buf computeCommandEncoder];

        memset([buffer contents], 0xff, size);

        [encoder setComputePipelineState:pipeline];
        [encoder setBuffer:buffer offset:0 atIndex:0];
        [encoder dispatchThreadgroups:MTLSizeMake(1, 1, 1) threadsPerThreadgroup:MTLSizeMake(PROBE_THREADS, 1, 1)];
        [encoder endEncoding];
        [cmd_buf commit];
        [cmd_buf waitUntilCompleted];

        ok = cmd_buf != nil && [cmd_buf status] == MTLCommandBufferStatusCompleted;
        memcpy(res, [buffer contents], size);
        *width = (int) pipeline.threadExecutionWidth;
    }

    [buffer release];
    [pipeline release];
    [function release];
    [library release];

    return ok;
}

enum ggml_metal_lanes ggml_metal_lanes_probe(void * device, void * queue, int * width) {
    *width = 0;

    @autoreleasepool {
        float res[PROBE_THREADS*PROBE_RESULTS];

        const bool ok = probe_run((id<MTLDevice>) device, (id<MTLCommandQueue>) queue, res, width) &&
            (*width == 32 || *width == 64) && probe_is_right(res, *width);

        return !ok ? GGML_METAL_LANES_SHARED : *width == 32 ? GGML_METAL_LANES_WHOLE : GGML_METAL_LANES_HALVES;
    }
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
