#include "device.h"

#include "buffer.h"
#include "event.h"
#include "library.h"
#include "queue.h"
#include "settings.h"

#include <memory>
#include <vector>

using namespace metal_sim;

NSError * sim_error(NSString * domain, NSInteger code, const std::string & text) {
    NSString * description = [NSString stringWithUTF8String:text.c_str()];
    return [NSError errorWithDomain:domain
                               code:code
                           userInfo:[NSDictionary dictionaryWithObjects:&description
                                                                forKeys:&NSLocalizedDescriptionKey
                                                                  count:1]];
}

@interface SimEvent : NSObject<MTLSharedEvent> {
  @public
    std::shared_ptr<Event> event;
}
@end

@implementation SimEvent

- (id)init {
    event = std::make_shared<Event>();
    return self;
}

- (uint64_t)signaledValue {
    return event->value();
}

- (void)setSignaledValue:(uint64_t)value {
    event->signal(value);
}

- (BOOL)waitUntilSignaledValue:(uint64_t)value timeoutMS:(uint64_t)milliseconds {
    return event->wait(value, std::chrono::milliseconds(milliseconds));
}

@end

std::shared_ptr<Event> sim_event(id<MTLEvent> event) { return ((SimEvent *) event)->event; }

// Memory is always resident here, so a set only keeps what is in it alive.
@interface SimResidencySet : NSObject<MTLResidencySet> {
    NSMutableArray * allocations;
}
@end

@implementation SimResidencySet

- (id)init {
    allocations = [NSMutableArray new];
    return self;
}

- (void)dealloc {
    [allocations release];
    [super dealloc];
}

- (void)addAllocation:(id)allocation {
    [allocations addObject:allocation];
}

- (void)removeAllAllocations {
    [allocations removeAllObjects];
}

- (void)commit {
}

- (void)requestResidency {
}

- (void)endResidency {
}

@end

@implementation MTLResidencySetDescriptor

- (void)dealloc {
    self.label = nil;
    [super dealloc];
}

@end

@implementation SimDevice

- (id)initWithProfile:(const Profile *)itsProfile {
    profile = itsProfile;
    faults = settings().faults.of(*itsProfile);
    return self;
}

- (NSString *)name {
    return [NSString stringWithUTF8String:profile->name];
}

- (uint64_t)registryID {
    return profile->registry_id;
}

- (MTLDeviceLocation)location {
    switch (profile->location) {
        case Location::built_in: return MTLDeviceLocationBuiltIn;
        case Location::slot: return MTLDeviceLocationSlot;
        case Location::external: return MTLDeviceLocationExternal;
    }
    return MTLDeviceLocationUnspecified;
}

- (BOOL)isLowPower {
    return profile->low_power;
}

- (BOOL)isRemovable {
    return profile->removable;
}

- (BOOL)isHeadless {
    return profile->headless;
}

- (BOOL)hasUnifiedMemory {
    return profile->unified_memory;
}

- (NSUInteger)maxBufferLength {
    return profile->max_buffer_length;
}

- (NSUInteger)maxThreadgroupMemoryLength {
    return profile->threadgroup_memory;
}

- (MTLSize)maxThreadsPerThreadgroup {
    return MTLSizeMake(profile->max_threads, profile->max_threads, profile->max_threads);
}

- (NSUInteger)currentAllocatedSize {
    return allocated;
}

- (uint64_t)recommendedMaxWorkingSetSize {
    return profile->recommended_max_working_set;
}

- (BOOL)supportsFamily:(MTLGPUFamily)family {
    // families are numbered by thousands, except that Metal3 is 5001
    const NSInteger member = family % 1000;
    if (member < 1) {
        return NO;
    }
    switch (family / 1000) {
        case 1: return member <= profile->family_apple;
        case 2: return member <= profile->family_mac;
        case 3: return member <= profile->family_common;
        case 5: return member + 2 <= profile->family_metal;
        default: return NO;
    }
}

- (id<MTLCommandQueue>)newCommandQueue {
    return sim_new_queue(self);
}

- (id<MTLBuffer>)newBufferWithLength:(NSUInteger)length options:(MTLResourceOptions)options {
    return sim_new_buffer(self, length, options);
}

- (id<MTLBuffer>)newBufferWithBytes:(const void *)bytes length:(NSUInteger)length options:(MTLResourceOptions)options {
    SimBuffer * buffer = sim_new_buffer(self, length, options);
    if (buffer) {
        memcpy(buffer->memory->data(), bytes, length);
        if (buffer->hostMemory) {
            memcpy(buffer->hostMemory->data(), bytes, length);
        }
    }
    return buffer;
}

- (id<MTLBuffer>)newBufferWithBytesNoCopy:(void *)bytes
                                   length:(NSUInteger)length
                                  options:(MTLResourceOptions)options
                              deallocator:(void (^)(void *, NSUInteger))deallocator {
    return sim_new_buffer_without_copy(self, bytes, length, options, deallocator);
}

- (id<MTLLibrary>)newLibraryWithSource:(NSString *)source options:(MTLCompileOptions *)options error:(NSError **)error {
    return sim_new_library(source, options, error);
}

- (id<MTLLibrary>)newLibraryWithURL:(NSURL *)url error:(NSError **)error {
    if (error) {
        *error = sim_error(MTLLibraryErrorDomain, MTLLibraryErrorCompileFailure,
                           std::string(url.path.UTF8String) + ": only libraries from source can be run");
    }
    return nil;
}

- (id<MTLComputePipelineState>)newComputePipelineStateWithFunction:(id<MTLFunction>)function error:(NSError **)error {
    return sim_new_pipeline(self, (SimFunction *) function, error);
}

- (id<MTLEvent>)newEvent {
    return [SimEvent new];
}

- (id<MTLSharedEvent>)newSharedEvent {
    return [SimEvent new];
}

- (id<MTLResidencySet>)newResidencySetWithDescriptor:(MTLResidencySetDescriptor *)descriptor error:(NSError **)error {
    if (error) {
        *error = nil;
    }
    if (!profile->residency_sets) {
        if (error) {
            *error = sim_error(@"MTLResidencySetErrorDomain", 1, "the device has no residency sets");
        }
        return nil;
    }
    return [SimResidencySet new];
}

@end

namespace {

// The same objects each time, as Metal gives them.
const std::vector<SimDevice *> & devices() {
    static auto devices = [] {
        auto all = new std::vector<SimDevice *>;
        for (const Profile * profile : settings().devices) {
            all->push_back([[SimDevice alloc] initWithProfile:profile]);
        }
        return all;
    }();
    return *devices;
}

} // namespace

id<MTLDevice> MTLCreateSystemDefaultDevice(void) {
    return devices().empty() ? nil : [devices()[settings().default_device] retain];
}

NSArray<id<MTLDevice>> * MTLCopyAllDevices(void) {
    NSMutableArray * all = [NSMutableArray new];
    for (SimDevice * device : devices()) {
        if (!device->unplugged) {
            [all addObject:device];
        }
    }
    return (NSArray<id<MTLDevice>> *) all;
}
