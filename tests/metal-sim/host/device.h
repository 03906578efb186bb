// A simulated MTLDevice.
#pragma once

#import <Metal/Metal.h>

#include "faults.h"
#include "profile.h"

#include <atomic>
#include <string>

@interface SimDevice : NSObject<MTLDevice> {
  @public
    const metal_sim::Profile * profile;
    metal_sim::DeviceFaults faults;
    std::atomic<uint64_t> allocated; // bytes of all buffers
    std::atomic<bool> unplugged;     // it is gone, by the fault of that name
}
@end

// An autoreleased NSError.
NSError * sim_error(NSString * domain, NSInteger code, const std::string & text);
