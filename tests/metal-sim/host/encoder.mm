#include "encoder.h"

#include "buffer.h"
#include "library.h"
#include "settings.h"

#include <atomic>
#include <stdexcept>

using namespace metal_sim;

@implementation SimEncoder

- (id)initWithCommandBuffer:(SimCommandBuffer *)itsCommandBuffer kind:(Pass::Kind)kind {
    commandBuffer = [itsCommandBuffer retain];
    pass = std::make_shared<Pass>(Pass{kind, {}});
    commandBuffer->items.push_back(pass);
    commandBuffer->encoding = true;
    return self;
}

- (void)dealloc {
    if (pass) {
        pass->commands.push_back(InvalidCommand{"an encoder was released without endEncoding"});
    }
    [commandBuffer release];
    [super dealloc];
}

- (void)endEncoding {
    pass = nullptr;
    commandBuffer->encoding = false;
}

- (void)pushDebugGroup:(NSString *)name {
}

- (void)popDebugGroup {
}

// Where commands go. To write after endEncoding is an error that Metal ends the process for.
- (Pass &)open {
    if (!pass) {
        fprintf(stderr, "metal-sim: a command was encoded after endEncoding\n");
        abort();
    }
    return *pass;
}

static BufferUse use_of(SimEncoder * encoder, id<MTLBuffer> buffer, uint64_t offset) {
    if (!buffer) {
        return BufferUse();
    }
    SimBuffer * it = (SimBuffer *) buffer;
    if (it->device != encoder->commandBuffer->queue->device) {
        [encoder open].commands.push_back(InvalidCommand{"a buffer belongs to another device"});
    }
    return BufferUse(it->memory, offset, [it storageName], encoder->commandBuffer->retainsBuffers);
}

// Writes down an error unless a range is inside a buffer.
static bool inside(SimEncoder * encoder, const char * what, id<MTLBuffer> buffer, uint64_t offset, uint64_t bytes) {
    if (buffer && offset <= buffer.length && bytes <= buffer.length - offset) {
        return true;
    }
    std::string why = std::string(what) + ": ";
    if (buffer) {
        why += "bytes " + std::to_string(offset) + " to " + std::to_string(offset + bytes) + " of a buffer of " +
               std::to_string(buffer.length);
    } else {
        why += "the buffer is nil";
    }
    [encoder open].commands.push_back(InvalidCommand{why});
    return false;
}

@end

@implementation SimComputeEncoder

static void refuse(SimComputeEncoder * encoder, const std::string & why) {
    [encoder open].commands.push_back(InvalidCommand{why});
}

- (void)setComputePipelineState:(id<MTLComputePipelineState>)pipeline {
    SimPipeline * it = (SimPipeline *) pipeline;
    if (!it) {
        refuse(self, "setComputePipelineState: nil");
        return;
    }
    next.pipeline = it->pipeline;
    next.constants = it->constants;
    pipelineProfile = it->profile;
}

- (void)setBytes:(const void *)bytes length:(NSUInteger)length atIndex:(NSUInteger)index {
    constexpr NSUInteger most = 4096;
    if (index >= gpu::max_buffers || length > most) {
        refuse(self, "setBytes: " + std::to_string(length) + " bytes at index " + std::to_string(index));
        return;
    }
    const auto from = static_cast<const char *>(bytes);
    next.arguments[(unsigned) index] = {{}, std::make_shared<const std::vector<char>>(from, from + length)};
}

- (void)setBuffer:(id<MTLBuffer>)buffer offset:(NSUInteger)offset atIndex:(NSUInteger)index {
    if (index >= gpu::max_buffers || (buffer && offset > buffer.length)) {
        refuse(self, "setBuffer: offset " + std::to_string(offset) + " at index " + std::to_string(index) +
                         " of a buffer of " + std::to_string(buffer.length) + " bytes");
        return;
    }
    next.arguments[(unsigned) index] = {use_of(self, buffer, offset), nullptr};
}

- (void)setThreadgroupMemoryLength:(NSUInteger)length atIndex:(NSUInteger)index {
    if (index >= gpu::max_threadgroup_buffers || length % 16 != 0) {
        refuse(self, "setThreadgroupMemoryLength: " + std::to_string(length) + " at index " + std::to_string(index));
        return;
    }
    next.threadgroup_memory[index] = (uint32_t) length;
}

- (void)dispatchThreadgroups:(MTLSize)threadgroups threadsPerThreadgroup:(MTLSize)threads {
    static std::atomic<uint64_t> numbers{0};
    if (settings().faults.exception == ++numbers) {
        throw std::runtime_error("an exception while a dispatch is encoded (fault 'exception')");
    }
    if (!next.pipeline) {
        refuse(self, "dispatchThreadgroups: no pipeline is set");
        return;
    }
    const std::string & kernel = next.pipeline->name();
    const NSUInteger count = threads.width * threads.height * threads.depth;
    if (count == 0 || count > pipelineProfile->max_threads) {
        refuse(self, kernel + ": " + std::to_string(count) + " threads a threadgroup; the device has up to " +
                         std::to_string(pipelineProfile->max_threads));
        return;
    }
    uint64_t memory = next.pipeline->static_threadgroup_memory();
    for (const uint32_t bytes : next.threadgroup_memory) {
        memory += bytes;
    }
    if (memory > pipelineProfile->threadgroup_memory) {
        refuse(self, kernel + ": " + std::to_string(memory) + " bytes of threadgroup memory; the device has " +
                         std::to_string(pipelineProfile->threadgroup_memory));
        return;
    }
    const NSUInteger groups[3] = {threadgroups.width, threadgroups.height, threadgroups.depth};
    const NSUInteger sizes[3] = {threads.width, threads.height, threads.depth};
    for (int i = 0; i < 3; ++i) {
        if (groups[i] > UINT32_MAX) {
            refuse(self, kernel + ": " + std::to_string(groups[i]) + " threadgroups in one dimension");
            return;
        }
        next.threadgroups[i] = (uint32_t) groups[i];
        next.threads[i] = (uint32_t) sizes[i];
    }
    [self open].commands.push_back(next);
}

- (void)memoryBarrierWithScope:(MTLBarrierScope)scope {
    [self open].commands.push_back(BarrierCommand());
}

@end

@implementation SimBlitEncoder

- (void)fillBuffer:(id<MTLBuffer>)buffer range:(NSRange)range value:(uint8_t)value {
    if (inside(self, "fillBuffer", buffer, range.location, range.length)) {
        [self open].commands.push_back(FillCommand{use_of(self, buffer, range.location), range.length, value});
    }
}

- (void)copyFromBuffer:(id<MTLBuffer>)source
          sourceOffset:(NSUInteger)sourceOffset
              toBuffer:(id<MTLBuffer>)destination
     destinationOffset:(NSUInteger)destinationOffset
                  size:(NSUInteger)size {
    if (inside(self, "copyFromBuffer", source, sourceOffset, size) &&
        inside(self, "copyFromBuffer", destination, destinationOffset, size)) {
        [self open].commands.push_back(CopyCommand{use_of(self, source, sourceOffset),
                                                   use_of(self, destination, destinationOffset), size, "copy"});
    }
}

- (void)synchronizeResource:(id)resource {
    SimBuffer * buffer = (SimBuffer *) resource;
    if (buffer->mode != MTLStorageModeManaged) {
        [self open].commands.push_back(InvalidCommand{"synchronizeResource: the buffer is not managed"});
        return;
    }
    if (buffer->hostMemory != buffer->memory) {
        const BufferUse host(buffer->hostMemory, 0, "host", commandBuffer->retainsBuffers);
        [self open].commands.push_back(CopyCommand{use_of(self, buffer, 0), host, buffer.length, "synchronize"});
    }
}

@end
