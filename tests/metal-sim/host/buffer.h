// A simulated MTLBuffer.
#pragma once

#include "device.h"
#include "memory.h"

#include <memory>

@interface SimBuffer : NSObject<MTLBuffer> {
  @public
    SimDevice * device;
    std::shared_ptr<metal_sim::Memory> memory; // what kernels see
    // what the host sees: another one where the buffer is managed, null where it is private
    std::shared_ptr<metal_sim::Memory> hostMemory;
    MTLStorageMode mode;
    void (^deallocator)(void *, NSUInteger);
    uint64_t owned; // bytes that count as allocated
}
- (const char *)storageName;
@end

// Null where the device refuses it.
SimBuffer * sim_new_buffer(SimDevice * device, NSUInteger length, MTLResourceOptions options);
SimBuffer * sim_new_buffer_without_copy(SimDevice * device, void * bytes, NSUInteger length, MTLResourceOptions options,
                                        void (^deallocator)(void *, NSUInteger));
