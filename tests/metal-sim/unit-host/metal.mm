// Devices, buffers, command buffers, faults and the trace.
#include "harness.h"

#include <functional>

namespace {

// The default device with a queue, and kernels.
struct Metal {
    id<MTLDevice> device = MTLCreateSystemDefaultDevice();
    id<MTLCommandQueue> queue = [device newCommandQueue];
    std::vector<id> owned;
    NSError * error = nil;

    ~Metal() {
        for (id object : owned) {
            [object release];
        }
        [queue release];
        [device release];
    }

    template <typename T> T own(T object) {
        owned.push_back(object);
        return object;
    }

    id<MTLBuffer> buffer(NSUInteger length, MTLResourceOptions options = MTLResourceStorageModeShared) {
        return own([device newBufferWithLength:length options:options]);
    }

    id<MTLComputePipelineState> pipeline(NSString * name) {
        static NSString * const source = @"#include <metal_stdlib>\n"
                                          "using namespace metal;\n"
                                          "kernel void increment(device int * to, device const int * from) {\n"
                                          "    to[0] = from[0] + 1;\n"
                                          "}\n"
                                          "kernel void beyond(device int * to, constant int & at) {\n"
                                          "    to[at] = 1;\n"
                                          "}\n";
        MTLCompileOptions * options = own([MTLCompileOptions new]);
        id<MTLLibrary> library = own([device newLibraryWithSource:source options:options error:&error]);
        id<MTLFunction> function = own([library newFunctionWithName:name]);
        return own([device newComputePipelineStateWithFunction:function error:&error]);
    }

    // Gives the command buffer back when it has ended.
    id<MTLCommandBuffer> run(const std::function<void(id<MTLCommandBuffer>)> & encode) {
        id<MTLCommandBuffer> commands = [queue commandBuffer];
        encode(commands);
        [commands commit];
        [commands waitUntilCompleted];
        return commands;
    }

    // Eight dispatches, each of which adds one to what the one before wrote, with barriers between them.
    id<MTLCommandBuffer> chain(id<MTLBuffer> numbers, MTLDispatchType type) {
        id<MTLComputePipelineState> increment = pipeline(@"increment");
        return run([&](id<MTLCommandBuffer> commands) {
            id<MTLComputeCommandEncoder> encoder = [commands computeCommandEncoderWithDispatchType:type];
            [encoder setComputePipelineState:increment];
            for (NSUInteger i = 0; i < 8; ++i) {
                [encoder setBuffer:numbers offset:4 * (i + 1) atIndex:0];
                [encoder setBuffer:numbers offset:4 * i atIndex:1];
                [encoder dispatchThreadgroups:MTLSizeMake(1, 1, 1) threadsPerThreadgroup:MTLSizeMake(1, 1, 1)];
                [encoder memoryBarrierWithScope:MTLBarrierScopeBuffers];
            }
            [encoder endEncoding];
        });
    }
};

// Whether the numbers are 7, 8, 9, …
bool counted(id<MTLBuffer> buffer) {
    auto numbers = static_cast<const int *>([buffer contents]);
    for (int i = 0; i <= 8; ++i) {
        if (numbers[i] != 7 + i) {
            return false;
        }
    }
    return true;
}

void chains(bool concurrent_is_right) {
    Metal metal;
    id<MTLBuffer> numbers = metal.buffer(64);
    static_cast<int *>([numbers contents])[0] = 7;
    CHECK(metal.chain(numbers, MTLDispatchTypeConcurrent).status == MTLCommandBufferStatusCompleted);
    CHECK(counted(numbers) == concurrent_is_right);
    CHECK(metal.chain(numbers, MTLDispatchTypeSerial).status == MTLCommandBufferStatusCompleted);
    CHECK(counted(numbers));
}

} // namespace

TEST(no_device_without_the_variable, "INFERNO_METAL_SIM=") {
    CHECK(MTLCreateSystemDefaultDevice() == nil);
    NSArray * all = MTLCopyAllDevices();
    CHECK(all.count == 0);
    [all release];
}

TEST_WITH(no_device_for_a_wrong_name, 0,
          "INFERNO_METAL_SIM=voodoo is not allowed; allowed: test-discrete, test-unified, test-machine",
          "INFERNO_METAL_SIM=voodoo") {
    CHECK(MTLCreateSystemDefaultDevice() == nil);
}

TEST_WITH(no_device_for_a_wrong_width, 0,
          "INFERNO_METAL_SIM_WIDTH=32,12 is not allowed; allowed: 8, 16, 32, 64, or a list of these with commas",
          "INFERNO_METAL_SIM_WIDTH=32,12") {
    CHECK(MTLCreateSystemDefaultDevice() == nil);
}

TEST(one_width_for_all_kernels, "INFERNO_METAL_SIM_WIDTH=16") {
    Metal metal;
    CHECK([metal.pipeline(@"increment") threadExecutionWidth] == 16);
    CHECK([metal.pipeline(@"beyond") threadExecutionWidth] == 16);
}

TEST(widths_by_kernel, "INFERNO_METAL_SIM_WIDTH=8,16,32,64") {
    Metal metal;
    CHECK([metal.pipeline(@"increment") threadExecutionWidth] != [metal.pipeline(@"beyond") threadExecutionWidth]);
}

TEST_WITH(no_device_for_a_wrong_fault, 0, "'nil-buffer=some' is not a fault",
          "INFERNO_METAL_SIM_FAULTS=reorder,nil-buffer=some") {
    CHECK(MTLCreateSystemDefaultDevice() == nil);
}

TEST(device_says_what_its_profile_says) {
    Metal metal;
    CHECK([metal.device.name isEqualToString:@"Discrete"]);
    CHECK(metal.device.registryID == 17);
    CHECK(metal.device.location == MTLDeviceLocationSlot);
    CHECK(metal.device.headless && !metal.device.lowPower);
    CHECK([metal.device supportsFamily:MTLGPUFamilyMac2] && [metal.device supportsFamily:MTLGPUFamilyMetal3]);
    CHECK(![metal.device supportsFamily:MTLGPUFamilyApple1]);
    CHECK(metal.device.maxThreadsPerThreadgroup.width == 1024);
    NSError * error = nil;
    MTLResidencySetDescriptor * set = metal.own([MTLResidencySetDescriptor new]);
    CHECK([metal.device newResidencySetWithDescriptor:set error:&error] == nil && error != nil);
}

TEST(machine_with_two_devices, "INFERNO_METAL_SIM=test-machine") {
    Metal metal;
    NSArray<id<MTLDevice>> * all = metal.own(MTLCopyAllDevices());
    CHECK(all.count == 2);
    CHECK([all[0].name isEqualToString:@"Unified"] && [all[1].name isEqualToString:@"Discrete"]);
    CHECK(metal.device == all[1]);
}

TEST(private_memory_is_poisoned_and_out_of_reach) {
    Metal metal;
    id<MTLBuffer> secret = metal.buffer(64, MTLResourceStorageModePrivate);
    id<MTLBuffer> open = metal.buffer(64);
    CHECK([secret contents] == nil);
    metal.run([&](id<MTLCommandBuffer> commands) {
        id<MTLBlitCommandEncoder> encoder = [commands blitCommandEncoder];
        [encoder copyFromBuffer:secret sourceOffset:0 toBuffer:open destinationOffset:0 size:64];
        [encoder endEncoding];
    });
    auto numbers = static_cast<const float *>([open contents]);
    CHECK(numbers[0] != numbers[0] && numbers[15] != numbers[15]);
}

TEST(managed_memory_has_two_sides) {
    Metal metal;
    id<MTLBuffer> managed = metal.buffer(64, MTLResourceStorageModeManaged);
    id<MTLBuffer> shared = metal.buffer(64);
    auto host = static_cast<int *>([managed contents]);
    auto copy = [&] {
        metal.run([&](id<MTLCommandBuffer> commands) {
            id<MTLBlitCommandEncoder> encoder = [commands blitCommandEncoder];
            [encoder copyFromBuffer:managed sourceOffset:0 toBuffer:shared destinationOffset:0 size:64];
            [encoder fillBuffer:managed range:NSMakeRange(0, 64) value:9];
            [encoder endEncoding];
        });
        return static_cast<int *>([shared contents])[0];
    };
    host[0] = 5;
    CHECK(copy() == 0);
    [managed didModifyRange:NSMakeRange(0, 64)];
    CHECK(copy() == 5);
    CHECK(host[0] == 5);
    metal.run([&](id<MTLCommandBuffer> commands) {
        id<MTLBlitCommandEncoder> encoder = [commands blitCommandEncoder];
        [encoder synchronizeResource:managed];
        [encoder endEncoding];
    });
    CHECK(host[0] == 0x09090909);
}

TEST_WITH(host_overrun, 139, "after the last byte of the memory of a shared buffer") {
    Metal metal;
    static_cast<char *>([metal.buffer(100) contents])[112] = 1;
}

TEST_WITH(host_access_to_private_tensor, 139, "tensors of private buffers have such addresses") {
    Metal metal;
    metal.buffer(4096, MTLResourceStorageModePrivate);
    *reinterpret_cast<volatile char *>(0x480) = 1;
}

TEST_WITH(kernel_overrun, 70, "beyond") {
    Metal metal;
    id<MTLBuffer> numbers = metal.buffer(64);
    id<MTLComputePipelineState> beyond = metal.pipeline(@"beyond");
    id<MTLCommandBuffer> commands = metal.run([&](id<MTLCommandBuffer> commands) {
        id<MTLComputeCommandEncoder> encoder = [commands computeCommandEncoder];
        const int at = 16;
        [encoder setComputePipelineState:beyond];
        [encoder setBuffer:numbers offset:0 atIndex:0];
        [encoder setBytes:&at length:sizeof(at) atIndex:1];
        [encoder dispatchThreadgroups:MTLSizeMake(1, 1, 1) threadsPerThreadgroup:MTLSizeMake(1, 1, 1)];
        [encoder endEncoding];
    });
    CHECK(commands.status == MTLCommandBufferStatusError);
    CHECK(commands.error.code == (NSInteger) MTLCommandBufferErrorPageFault);
}

TEST_WITH(fill_beyond_the_end, 70, "fillBuffer: bytes 60 to 124 of a buffer of 64") {
    Metal metal;
    id<MTLBuffer> numbers = metal.buffer(64);
    id<MTLCommandBuffer> commands = metal.run([&](id<MTLCommandBuffer> commands) {
        id<MTLBlitCommandEncoder> encoder = [commands blitCommandEncoder];
        [encoder fillBuffer:numbers range:NSMakeRange(60, 64) value:0];
        [encoder endEncoding];
    });
    CHECK(commands.status == MTLCommandBufferStatusError);
}

TEST_WITH(buffer_released_too_early, 70, "was released before the command buffer ran") {
    Metal metal;
    id<MTLBuffer> numbers = [metal.device newBufferWithLength:64 options:MTLResourceStorageModeShared];
    id<MTLCommandBuffer> commands = [metal.queue commandBufferWithUnretainedReferences];
    id<MTLBlitCommandEncoder> encoder = [commands blitCommandEncoder];
    [encoder fillBuffer:numbers range:NSMakeRange(0, 64) value:0];
    [encoder endEncoding];
    [numbers release];
    [commands commit];
    [commands waitUntilCompleted];
    CHECK(commands.status == MTLCommandBufferStatusError);
}

TEST(command_buffers_run_in_the_order_of_enqueue) {
    Metal metal;
    id<MTLBuffer> bytes = metal.buffer(64);
    auto fill = [&](id<MTLCommandBuffer> commands, uint8_t value) {
        id<MTLBlitCommandEncoder> encoder = [commands blitCommandEncoder];
        [encoder fillBuffer:bytes range:NSMakeRange(0, 64) value:value];
        [encoder endEncoding];
        [commands commit];
    };
    id<MTLCommandBuffer> first = [metal.queue commandBuffer];
    id<MTLCommandBuffer> second = [metal.queue commandBuffer];
    [first enqueue];
    fill(second, 2);
    CHECK(second.status != MTLCommandBufferStatusCompleted);
    fill(first, 1);
    [second waitUntilCompleted];
    CHECK(first.status == MTLCommandBufferStatusCompleted);
    CHECK(static_cast<char *>([bytes contents])[0] == 2);
}

TEST(handlers_and_events) {
    Metal metal;
    id<MTLSharedEvent> event = metal.own([metal.device newSharedEvent]);
    __block int calls = 0;
    id<MTLCommandBuffer> waits = [metal.queue commandBuffer];
    [waits encodeWaitForEvent:event value:1];
    [waits encodeSignalEvent:event value:2];
    [waits addCompletedHandler:^(id<MTLCommandBuffer> commands) {
      calls += commands.status == MTLCommandBufferStatusCompleted;
    }];
    [waits commit];
    CHECK(![event waitUntilSignaledValue:2 timeoutMS:20]);
    event.signaledValue = 1;
    [waits waitUntilCompleted];
    CHECK(event.signaledValue == 2);
    CHECK(calls == 1);
}

TEST(barriers_order) { chains(true); }

TEST(profile_turns_nothing_on_by_itself, "INFERNO_METAL_SIM_SEED=5") { chains(true); }

TEST(shuffle_keeps_barriers, "INFERNO_METAL_SIM_FAULTS=shuffle") { chains(true); }

TEST(reorder, "INFERNO_METAL_SIM_FAULTS=reorder") { chains(false); }

TEST(interleave, "INFERNO_METAL_SIM_FAULTS=interleave", "INFERNO_METAL_SIM_SEED=1") { chains(false); }

TEST(stale_reads, "INFERNO_METAL_SIM_FAULTS=stale-reads") {
    chains(false);
    // all that was written is there when the encoder has ended
    Metal metal;
    id<MTLBuffer> numbers = metal.buffer(8192);
    auto written = static_cast<int *>([numbers contents]);
    written[0] = 7;
    metal.chain(numbers, MTLDispatchTypeConcurrent);
    CHECK(written[1] == 8);
    CHECK(written[2] == 1 && written[8] == 1);
}

TEST(faults_of_the_profile, "INFERNO_METAL_SIM_FAULTS=profile") { chains(false); }

TEST(faults_of_the_other_profile, "INFERNO_METAL_SIM_FAULTS=profile", "INFERNO_METAL_SIM=test-unified") {
    chains(true);
}

TEST(nil_buffers, "INFERNO_METAL_SIM_FAULTS=nil-buffer=2,nil-pipeline=incr*") {
    Metal metal;
    CHECK(metal.buffer(64) != nil);
    CHECK(metal.buffer(64) == nil);
    CHECK(metal.buffer(64) != nil);
    CHECK(metal.buffer(1 << 29) == nil); // longer than the device allows
    CHECK(metal.buffer(0) == nil);
    CHECK(metal.pipeline(@"increment") == nil && metal.error != nil);
    CHECK(metal.pipeline(@"beyond") != nil);
}

TEST(no_copy) {
    Metal metal;
    alignas(16) char bytes[64] = {};
    __block int freed = 0;
    id<MTLBuffer> wrapped = [metal.device newBufferWithBytesNoCopy:bytes + 1
                                                            length:63
                                                           options:MTLResourceStorageModeShared
                                                       deallocator:^(void *, NSUInteger) {
                                                         ++freed;
                                                       }];
    CHECK([wrapped contents] == bytes + 1);
    CHECK(metal.device.currentAllocatedSize == 63);
    [wrapped release];
    CHECK(freed == 1);
    CHECK(metal.device.currentAllocatedSize == 0);
}

TEST(no_copy_alignment, "INFERNO_METAL_SIM_FAULTS=no-copy-alignment") {
    Metal metal;
    vm_address_t pages = 0;
    const auto page = static_cast<NSUInteger>(sysconf(_SC_PAGESIZE));
    CHECK(vm_allocate(mach_task_self(), &pages, 2 * page, VM_FLAGS_ANYWHERE) == KERN_SUCCESS);
    auto wrap = [&](vm_address_t at, NSUInteger length) {
        return metal.own([metal.device newBufferWithBytesNoCopy:reinterpret_cast<void *>(at)
                                                         length:length
                                                        options:MTLResourceStorageModeShared
                                                    deallocator:nil]);
    };
    CHECK(wrap(pages, page) != nil);
    CHECK(wrap(pages + 16, page) == nil);
    CHECK(wrap(pages, page + 16) == nil);
    CHECK(vm_deallocate(mach_task_self(), pages, 2 * page) == KERN_SUCCESS);
}

TEST(timeout, "INFERNO_METAL_SIM_FAULTS=timeout=1") {
    Metal metal;
    id<MTLBuffer> numbers = metal.buffer(64);
    auto written = static_cast<int *>([numbers contents]);
    written[0] = 7;
    id<MTLCommandBuffer> stopped = metal.chain(numbers, MTLDispatchTypeSerial);
    CHECK(stopped.status == MTLCommandBufferStatusError);
    CHECK(stopped.error.code == (NSInteger) MTLCommandBufferErrorTimeout);
    CHECK(written[4] == 11 && written[5] == 0); // half-way
    metal.chain(numbers, MTLDispatchTypeSerial);
    CHECK(counted(numbers));
}

TEST_WITH(leaks, 70, "not released: buffers: 1 (64 bytes)\nmetal-sim: not released: command buffers: 1") {
    Metal metal;
    [metal.device newBufferWithLength:64 options:MTLResourceStorageModeShared];
    [[metal.queue commandBuffer] retain];
}

TEST_WITH(trace, 0,
          "{\"event\": \"allocate\", \"device\": \"test-discrete\", \"storage\": \"shared\", "
          "\"copy\": true, \"bytes\": 64}\n"
          "{\"event\": \"command_buffer\", \"device\": \"test-discrete\", \"number\": 1, \"error\": \"\"}\n"
          "{\"event\": \"encoder\", \"kind\": \"blit\"}\n"
          "{\"event\": \"fill\", \"to\": \"shared\", \"bytes\": 32}\n"
          "{\"event\": \"allocate\", \"device\": \"test-discrete\", \"storage\": \"private\", "
          "\"copy\": true, \"bytes\": 16}\n",
          "INFERNO_METAL_SIM_TRACE=-") {
    Metal metal;
    id<MTLBuffer> bytes = metal.buffer(64);
    id<MTLCommandBuffer> commands = [metal.queue commandBuffer];
    id<MTLBlitCommandEncoder> encoder = [commands blitCommandEncoder];
    [encoder fillBuffer:bytes range:NSMakeRange(0, 32) value:0];
    [encoder endEncoding];
    [commands enqueue];
    // asked for after the command buffer was enqueued, so it comes after it
    metal.buffer(16, MTLResourceStorageModePrivate);
    [commands commit];
    [commands waitUntilCompleted];
}
