// Simulated libraries, functions and pipelines.
#pragma once

#include "../gpu/gpu.h"
#include "device.h"

#include <memory>
#include <string>
#include <vector>

@interface SimLibrary : NSObject<MTLLibrary> {
  @public
    std::shared_ptr<gpu::Library> library;
    NSArray * names;
}
@end

@interface SimFunction : NSObject<MTLFunction> {
  @public
    std::shared_ptr<gpu::Library> library;
    std::string kernel;
    std::vector<gpu::Constant> constants;
}
@end

@interface SimPipeline : NSObject<MTLComputePipelineState> {
  @public
    std::shared_ptr<gpu::Pipeline> pipeline;
    std::string constants; // as text, for the trace
    const metal_sim::Profile * profile;
    unsigned width; // threads of a simdgroup
}
@end

// Null with an error where it cannot be made.
SimLibrary * sim_new_library(NSString * source, MTLCompileOptions * options, NSError ** error);
SimPipeline * sim_new_pipeline(SimDevice * device, SimFunction * function, NSError ** error);
