#import "ggml-metal-devices.h"

#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include <TargetConditionals.h>

#include <stdlib.h>

bool ggml_metal_devices_virtual(void) {
    return getenv("GGML_METAL_DEVICES") != NULL;
}

void * ggml_metal_devices_new(int i) {
    id<MTLDevice> first = MTLCreateSystemDefaultDevice();
    if (i == 0 || ggml_metal_devices_virtual()) {
        return first;
    }

    id<MTLDevice> res = nil;
#if TARGET_OS_OSX
    @autoreleasepool {
        NSArray<id<MTLDevice>> * all = MTLCopyAllDevices();

        int n = 0;
        for (id<MTLDevice> device in all) {
            if ([device registryID] != [first registryID] && ++n == i) {
                res = [device retain];
                break;
            }
        }

        [all release];
    }
#endif
    [first release];

    return res;
}

int ggml_metal_devices_count(int n_max) {
    const char * env = getenv("GGML_METAL_DEVICES");

    int res = env ? atoi(env) : 1;
    if (!env) {
        for (;;) {
            id<MTLDevice> device = ggml_metal_devices_new(res);
            if (device == nil) {
                break;
            }
            [device release];
            res++;
        }
    }

    return res < 1 ? 1 : res > n_max ? n_max : res;
}
