#include "library.h"

#include "../gpu/hash.h"
#include "settings.h"
#include "trace.h"

#include <fnmatch.h>
#include <map>

using namespace metal_sim;

NSString * const MTLLibraryErrorDomain = @"MTLLibraryErrorDomain";

@implementation MTLCompileOptions

- (void)dealloc {
    self.preprocessorMacros = nil;
    [super dealloc];
}

@end

@implementation MTLFunctionConstantValues {
  @public
    std::map<int, gpu::Constant> values;
}

- (void)setConstantValue:(const void *)value type:(MTLDataType)type atIndex:(NSUInteger)index {
    unsigned size = 0;
    switch (type) {
        case MTLDataTypeBool: case MTLDataTypeChar: case MTLDataTypeUChar: size = 1; break;
        case MTLDataTypeShort: case MTLDataTypeUShort: case MTLDataTypeHalf: size = 2; break;
        case MTLDataTypeInt: case MTLDataTypeUInt: case MTLDataTypeFloat: size = 4; break;
    }
    if (size == 0) {
        fprintf(stderr, "metal-sim: a function constant of MTLDataType %lu is not known\n", (unsigned long) type);
        abort();
    }
    gpu::Constant constant = {static_cast<int>(index), size, 0};
    memcpy(&constant.bits, value, size);
    values[constant.index] = constant;
}

@end

@implementation SimFunction

- (NSString *)name {
    return [NSString stringWithUTF8String:kernel.c_str()];
}

@end

@implementation SimLibrary

- (void)dealloc {
    [names release];
    [super dealloc];
}

- (NSArray *)functionNames {
    return names;
}

- (id<MTLFunction>)newFunctionWithName:(NSString *)name {
    return [self newFunctionWithName:name constantValues:nil error:nil];
}

- (id<MTLFunction>)newFunctionWithName:(NSString *)name
                        constantValues:(MTLFunctionConstantValues *)values
                                 error:(NSError **)error {
    if (![names containsObject:name]) {
        if (error) {
            *error = sim_error(MTLLibraryErrorDomain, MTLLibraryErrorFunctionNotFound,
                               std::string("the library has no function ") + name.UTF8String);
        }
        return nil;
    }
    SimFunction * function = [SimFunction new];
    function->library = library;
    function->kernel = name.UTF8String;
    if (values) {
        for (const auto & [index, constant] : values->values) {
            function->constants.push_back(constant);
        }
    }
    return function;
}

@end

@implementation SimPipeline

- (NSUInteger)maxTotalThreadsPerThreadgroup {
    return profile->max_threads;
}

- (NSUInteger)threadExecutionWidth {
    return width;
}

- (NSUInteger)staticThreadgroupMemoryLength {
    return pipeline->static_threadgroup_memory();
}

@end

namespace {

// The threads of a simdgroup in this kernel.
unsigned width_of(const Profile & profile, const std::string & kernel) {
    const std::vector<unsigned> & widths = settings().widths;
    return widths.empty() ? profile.simdgroup_width : widths[gpu::Hash().add(kernel).number() % widths.size()];
}

gpu::Device gpu_device(const SimDevice * device, const std::string & kernel) {
    const Profile & profile = *device->profile;
    gpu::Device gpu;
    gpu.simdgroup_width = width_of(profile, kernel);
    gpu.simdgroup_matrix = profile.simdgroup_matrix;
    gpu.simdgroup_reduction = profile.simdgroup_reduction;
    gpu.threadgroup_memory = profile.threadgroup_memory;
    gpu.max_threads = profile.max_threads;
    gpu.faults |= device->faults.simd_max_half ? gpu::fault_simd_max_half : 0;
    gpu.faults |= device->faults.unaligned_loads ? gpu::fault_unaligned_load : 0;
    gpu.faults |= device->faults.flush_half ? gpu::fault_flush_half : 0;
    gpu.faults |= device->faults.division_by_zero ? gpu::fault_division_by_zero : 0;
    return gpu;
}

std::string text_of(const std::vector<gpu::Constant> & constants) {
    std::string text;
    for (const gpu::Constant & constant : constants) {
        text += (text.empty() ? "" : " ") + std::to_string(constant.index) + "=" + std::to_string(constant.bits);
    }
    return text;
}

} // namespace

SimLibrary * sim_new_library(NSString * source, MTLCompileOptions * options, NSError ** error) {
    std::map<std::string, std::string> macros;
    for (NSString * name in options.preprocessorMacros) {
        macros[name.UTF8String] = [[options.preprocessorMacros objectForKey:name] description].UTF8String;
    }
    std::string why;
    auto library = gpu::library_from_source(source.UTF8String, macros, why);
    if (const auto & pattern = settings().faults.nil_library; library && pattern) {
        for (const std::string & name : library->names()) {
            if (fnmatch(pattern->c_str(), name.c_str(), 0) == 0) {
                why = name + ": its library is refused (fault 'nil-library')";
                library = nullptr;
                break;
            }
        }
    }
    if (!library) {
        if (error) {
            *error = sim_error(MTLLibraryErrorDomain, MTLLibraryErrorCompileFailure, why);
        }
        return nil;
    }
    NSMutableArray * names = [NSMutableArray new];
    for (const std::string & name : library->names()) {
        [names addObject:[NSString stringWithUTF8String:name.c_str()]];
    }
    SimLibrary * result = [SimLibrary new];
    result->library = library;
    result->names = names;
    return result;
}

SimPipeline * sim_new_pipeline(SimDevice * device, SimFunction * function, NSError ** error) {
    const auto & pattern = settings().faults.nil_pipeline;
    const gpu::Device gpu = gpu_device(device, function->kernel);
    std::string why;
    std::shared_ptr<gpu::Pipeline> pipeline;
    if (pattern && fnmatch(pattern->c_str(), function->kernel.c_str(), 0) == 0) {
        why = function->kernel + ": refused (fault 'nil-pipeline')";
    } else {
        pipeline = gpu::make_pipeline(function->library, function->kernel, function->constants, gpu, why);
    }
    const std::string constants = text_of(function->constants);
    if (trace::on()) {
        trace::Line line("pipeline");
        line.put("device", std::string(device->profile->id));
        line.put("kernel", function->kernel).put("constants", constants).put("made", pipeline != nullptr);
        trace::add(line.text());
    }
    if (!pipeline) {
        if (error) {
            *error = sim_error(MTLLibraryErrorDomain, MTLLibraryErrorCompileFailure, why);
        }
        return nil;
    }
    SimPipeline * result = [SimPipeline new];
    result->pipeline = pipeline;
    result->constants = constants;
    result->profile = device->profile;
    result->width = gpu.simdgroup_width;
    return result;
}
