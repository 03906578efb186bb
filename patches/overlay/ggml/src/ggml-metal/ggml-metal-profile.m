#import "ggml-metal-profile.h"

#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include <TargetConditionals.h>

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

// The highest member of a family that starts with the member `first`, up to `n` members; 0: none.
static uint32_t family(id<MTLDevice> device, NSInteger first, int n) {
    for (int i = n; i > 0; --i) {
        if ([device supportsFamily:(MTLGPUFamily)(first + i - 1)]) {
            return i;
        }
    }
    return 0;
}

// Whether a device that can be unplugged has been.
static bool lost(id<MTLDevice> device) {
    bool res = false;
#if TARGET_OS_OSX
    if ([device isRemovable]) {
        NSArray<id<MTLDevice>> * all = MTLCopyAllDevices();

        res = true;
        for (id<MTLDevice> other in all) {
            res = res && [other registryID] != [device registryID];
        }

        [all release];
    }
#endif
    return res;
}

void ggml_metal_device_get_profile(ggml_metal_device_t dev, struct ggml_device_profile * profile) {
    memset(profile, 0, sizeof(*profile));

    const struct ggml_metal_device_props * props = ggml_metal_device_get_props(dev);

    @autoreleasepool {
        id<MTLDevice> device = ggml_metal_device_get_obj(dev);

        snprintf(profile->name, sizeof(profile->name), "%s", [[device name] UTF8String]);

        profile->registry_id     = [device registryID];
        profile->unified_memory  = props->has_unified_memory;
        profile->max_buffer_size = props->max_buffer_size;
        profile->max_working_set = props->max_working_set_size;

#if TARGET_OS_OSX
        switch ([device location]) {
            case MTLDeviceLocationBuiltIn:  profile->location = GGML_DEVICE_LOCATION_BUILT_IN; break;
            case MTLDeviceLocationSlot:     profile->location = GGML_DEVICE_LOCATION_SLOT;     break;
            case MTLDeviceLocationExternal: profile->location = GGML_DEVICE_LOCATION_EXTERNAL; break;
            default:                        profile->location = GGML_DEVICE_LOCATION_UNKNOWN;  break;
        }
        profile->low_power = [device isLowPower];
        profile->removable = [device isRemovable];
        profile->headless  = [device isHeadless];
#else
        profile->location = GGML_DEVICE_LOCATION_BUILT_IN;
#endif

        profile->family_apple  = props->gpu_family;
        profile->family_mac    = family(device, 2001, 2); // MTLGPUFamilyMac1
        profile->family_common = family(device, 3001, 3); // MTLGPUFamilyCommon1
        profile->family_metal  = family(device, 5001, 2); // MTLGPUFamilyMetal3
        profile->family_metal += profile->family_metal > 0 ? 2 : 0;

        profile->threadgroup_memory  = (uint32_t) props->max_theadgroup_memory_size;
        profile->simdgroup_reduction = props->has_simdgroup_reduction && props->lanes != GGML_METAL_LANES_SHARED;
        profile->simdgroup_matrix    = props->has_simdgroup_mm;
        profile->bfloat              = props->has_bfloat;

        profile->lost = lost(device);

        // Apple's feature tables: 32 on all GPUs of its own
        profile->simdgroup_width_known = profile->family_apple > 0;
        profile->simdgroup_width = profile->simdgroup_width_known ? 32 : (uint32_t) props->simdgroup_width;
    }
}
