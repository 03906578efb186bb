#import "ggml-metal-staging.h"
#import "ggml-metal-copy.h"

#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include <pthread.h>
#include <string.h>

// one for each device, by its index
#define GGML_METAL_STAGING_MAX 16

static struct {
    id<MTLBuffer> buffer;
    size_t        size;
} g_staging[GGML_METAL_STAGING_MAX];

// copies of all devices take turns: the host's side of each is a memcpy
static pthread_mutex_t g_mutex = PTHREAD_MUTEX_INITIALIZER;

static id<MTLBuffer> ggml_metal_staging_buffer(ggml_metal_device_t dev, size_t size) {
    const int i = ggml_metal_device_get_props(dev)->device;
    if (i >= GGML_METAL_STAGING_MAX) {
        return nil;
    }

    if (g_staging[i].buffer == nil || g_staging[i].size != size) {
        id<MTLDevice> device = ggml_metal_device_get_obj(dev);

        [g_staging[i].buffer release];
        g_staging[i].buffer = [device newBufferWithLength:size options:MTLResourceStorageModeShared];
        g_staging[i].size   = size;
    }

    return g_staging[i].buffer;
}

static bool ggml_metal_staging_copy(ggml_metal_device_t dev, size_t staging, struct ggml_metal_buffer_id bid, char * data, size_t size, bool to_device) {
    if (size == 0) {
        return true;
    }

    pthread_mutex_lock(&g_mutex);

    id<MTLBuffer> buffer = bid.metal ? ggml_metal_staging_buffer(dev, staging) : nil;
    if (buffer == nil) {
        pthread_mutex_unlock(&g_mutex);
        return false;
    }

    @autoreleasepool {
        id<MTLCommandQueue> queue = ggml_metal_device_get_queue(dev);

        const size_t piece = staging / 2;

        // the command buffer that works on each half, and what of the data is there
        id<MTLCommandBuffer> cmd_bufs[2] = { nil, nil };
        size_t               offs_of[2]  = { 0, 0 };
        size_t               n_of[2]     = { 0, 0 };

        // one round more than there are pieces, twice: what is under way is waited for
        for (size_t offs = 0, round = 0; offs < size || n_of[0] > 0 || n_of[1] > 0; ++round) {
            const int half = round % 2;
            char * contents = (char *) [buffer contents] + half * piece;

            if (n_of[half] > 0) {
                [cmd_bufs[half] waitUntilCompleted];
                ggml_metal_copy_check(dev, cmd_bufs[half], "a copy did not complete");
                if (!to_device) {
                    memcpy(data + offs_of[half], contents, n_of[half]);
                }
                [cmd_bufs[half] release];
                cmd_bufs[half] = nil;
                n_of[half]     = 0;
            }

            if (offs < size) {
                const size_t n = size - offs < piece ? size - offs : piece;

                if (to_device) {
                    memcpy(contents, data + offs, n);
                }

                id<MTLCommandBuffer>      cmd_buf = [queue commandBuffer];
                id<MTLBlitCommandEncoder> encoder = [cmd_buf blitCommandEncoder];

                if (to_device) {
                    [encoder copyFromBuffer:buffer sourceOffset:half * piece toBuffer:bid.metal destinationOffset:bid.offs + offs size:n];
                } else {
                    [encoder copyFromBuffer:bid.metal sourceOffset:bid.offs + offs toBuffer:buffer destinationOffset:half * piece size:n];
                }

                [encoder endEncoding];
                [cmd_buf commit];

                cmd_bufs[half] = [cmd_buf retain];
                offs_of[half]  = offs;
                n_of[half]     = n;
                offs += n;
            }
        }
    }

    pthread_mutex_unlock(&g_mutex);

    return true;
}

bool ggml_metal_staging_to(ggml_metal_device_t dev, size_t staging, struct ggml_metal_buffer_id dst, const void * data, size_t size) {
    return ggml_metal_staging_copy(dev, staging, dst, (char *)(uintptr_t) data, size, true);
}

bool ggml_metal_staging_from(ggml_metal_device_t dev, size_t staging, struct ggml_metal_buffer_id src, void * data, size_t size) {
    return ggml_metal_staging_copy(dev, staging, src, (char *) data, size, false);
}

void ggml_metal_staging_free(ggml_metal_device_t dev) {
    const int i = ggml_metal_device_get_props(dev)->device;
    if (i < GGML_METAL_STAGING_MAX) {
        [g_staging[i].buffer release];
        g_staging[i].buffer = nil;
    }
}
