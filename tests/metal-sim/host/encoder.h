// Simulated command encoders: they write down commands.
#pragma once

#include "commands.h"
#include "queue.h"

#include <memory>

@interface SimEncoder : NSObject<MTLCommandEncoder> {
  @public
    SimCommandBuffer * commandBuffer;
    std::shared_ptr<metal_sim::Pass> pass; // null after endEncoding
}
- (id)initWithCommandBuffer:(SimCommandBuffer *)commandBuffer kind:(metal_sim::Pass::Kind)kind;
@end

@interface SimComputeEncoder : SimEncoder<MTLComputeCommandEncoder> {
  @public
    metal_sim::DispatchCommand next; // what is set so far
    const metal_sim::Profile * pipelineProfile;
}
@end

@interface SimBlitEncoder : SimEncoder<MTLBlitCommandEncoder>
@end
