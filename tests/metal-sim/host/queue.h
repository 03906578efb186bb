// Simulated command queues and command buffers.
#pragma once

#include "commands.h"
#include "device.h"
#include "trace.h"

#include <memory>
#include <vector>

struct SimQueueState;

@interface SimQueue : NSObject<MTLCommandQueue> {
  @public
    SimDevice * device;
    std::shared_ptr<SimQueueState> state;
}
@end

@interface SimCommandBuffer : NSObject<MTLCommandBuffer> {
  @public
    SimQueue * queue;
    bool retainsBuffers;
    std::vector<metal_sim::Item> items;
    std::vector<MTLCommandBufferHandler> handlers;
    uint64_t number;               // among all of the process, from 1; given where it is enqueued
    metal_sim::trace::Ticket place; // in the trace; the same
    bool encoding;                 // an encoder is open

    // guarded by the state's mutex
    MTLCommandBufferStatus status;
    NSError * error;
    bool done; // and its handlers were called
}
- (id)initWithQueue:(SimQueue *)queue retainsBuffers:(bool)retainsBuffers;
@end

SimQueue * sim_new_queue(SimDevice * device);
