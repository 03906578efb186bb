#import "ggml-metal-copy.h"

#import "ggml-impl.h"

#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include <stdatomic.h>
#include <string.h>

// a piece; one buffer of this size serves a copy of any length
#define GGML_METAL_COPY_SIZE (8u << 20)

// a bit for each device, by its index
static atomic_uint g_failed;

void ggml_metal_copy_failed(ggml_metal_device_t dev, const char * what) {
    GGML_LOG_ERROR("%s: error: %s\n", __func__, what);

    atomic_fetch_or(&g_failed, 1u << ggml_metal_device_get_props(dev)->device);
}

bool ggml_metal_copy_take_failure(ggml_metal_device_t dev) {
    const unsigned bit = 1u << ggml_metal_device_get_props(dev)->device;

    return (atomic_fetch_and(&g_failed, ~bit) & bit) != 0;
}

void ggml_metal_copy_check(ggml_metal_device_t dev, ggml_metal_cmd_buf_t cmd_buf_raw, const char * what) {
    id<MTLCommandBuffer> cmd_buf = (id<MTLCommandBuffer>) cmd_buf_raw;

    if (cmd_buf == nil || [cmd_buf status] != MTLCommandBufferStatusCompleted) {
        ggml_metal_copy_failed(dev, what);
    }
}

// Copies in either direction; `data` is written to unless `to_device`.
static void ggml_metal_copy(ggml_metal_device_t dev, struct ggml_metal_buffer_id bid, char * data, size_t size, bool to_device) {
    if (size == 0) {
        return;
    }

    @autoreleasepool {
        id<MTLDevice>       device = ggml_metal_device_get_obj(dev);
        id<MTLCommandQueue> queue  = ggml_metal_device_get_queue(dev);

        const size_t piece = size < GGML_METAL_COPY_SIZE ? size : GGML_METAL_COPY_SIZE;

        id<MTLBuffer> staging = [device newBufferWithLength:piece options:MTLResourceStorageModeShared];

        if (staging == nil || bid.metal == nil) {
            [staging release];
            ggml_metal_copy_failed(dev, "no buffer to copy with");
            return;
        }

        for (size_t offs = 0; offs < size; offs += piece) {
            const size_t n = size - offs < piece ? size - offs : piece;

            if (to_device) {
                memcpy([staging contents], data + offs, n);
            }

            id<MTLCommandBuffer>      cmd_buf = [queue commandBuffer];
            id<MTLBlitCommandEncoder> encoder = [cmd_buf blitCommandEncoder];

            if (to_device) {
                [encoder copyFromBuffer:staging sourceOffset:0 toBuffer:bid.metal destinationOffset:bid.offs + offs size:n];
            } else {
                [encoder copyFromBuffer:bid.metal sourceOffset:bid.offs + offs toBuffer:staging destinationOffset:0 size:n];
            }

            [encoder endEncoding];
            [cmd_buf commit];
            [cmd_buf waitUntilCompleted];

            ggml_metal_copy_check(dev, cmd_buf, "a copy did not complete");

            if (!to_device) {
                memcpy(data + offs, [staging contents], n);
            }
        }

        [staging release];
    }
}

void ggml_metal_copy_to(ggml_metal_device_t dev, struct ggml_metal_buffer_id dst, const void * data, size_t size) {
    ggml_metal_copy(dev, dst, (char *)(uintptr_t) data, size, true);
}

void ggml_metal_copy_from(ggml_metal_device_t dev, struct ggml_metal_buffer_id src, void * data, size_t size) {
    ggml_metal_copy(dev, src, (char *) data, size, false);
}
