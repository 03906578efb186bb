#include "buffer.h"

#include "ledger.h"
#include "settings.h"
#include "trace.h"

#include <Block.h>
#include <unistd.h>

using namespace metal_sim;

@implementation SimBuffer

- (void)dealloc {
    if (deallocator) {
        deallocator(memory->data(), memory->size());
        Block_release(deallocator);
    }
    device->allocated -= owned;
    ledger::died(ledger::Kind::buffer, memory->size());
    [device release];
    [super dealloc];
}

- (NSUInteger)length {
    return memory->size();
}

- (MTLStorageMode)storageMode {
    return mode;
}

- (const char *)storageName {
    switch (mode) {
        case MTLStorageModeShared: return "shared";
        case MTLStorageModeManaged: return "managed";
        default: return "private";
    }
}

- (void *)contents {
    return hostMemory ? hostMemory->data() : nil;
}

- (void)didModifyRange:(NSRange)range {
    if (range.location > memory->size() || range.length > memory->size() - range.location) {
        ledger::error("didModifyRange: goes beyond the end of the buffer");
        return;
    }
    if (hostMemory && hostMemory != memory) {
        memcpy(memory->data() + range.location, hostMemory->data() + range.location, range.length);
    }
}

@end

namespace {

// Whether the device, or a fault, refuses a buffer.
bool refused(SimDevice * device, uint64_t bytes) {
    static std::atomic<uint64_t> created{0};
    const uint64_t number = ++created;
    constexpr uint64_t large = 1ull << 32;
    const Faults & faults = settings().faults;
    return device->unplugged || bytes == 0 || bytes > device->profile->max_buffer_length ||
           (device->faults.large_buffers && bytes >= large) || number == faults.nil_buffer_number ||
           (faults.nil_buffer_bytes && bytes >= *faults.nil_buffer_bytes);
}

SimBuffer * new_buffer(SimDevice * device, std::shared_ptr<Memory> memory, MTLResourceOptions options, bool copy) {
    SimBuffer * buffer = [SimBuffer new];
    buffer->device = [device retain];
    buffer->memory = std::move(memory);
    buffer->mode = (MTLStorageMode) (options >> 4 & 0xf);
    // memory of others counts too: the device maps it
    buffer->owned = buffer->memory->size();
    device->allocated += buffer->owned;
    ledger::born(ledger::Kind::buffer, buffer->memory->size());
    if (trace::on()) {
        trace::add(trace::Line("allocate")
                       .put("device", std::string(device->profile->id))
                       .put("storage", std::string([buffer storageName]))
                       .put("copy", copy)
                       .put("bytes", buffer->memory->size())
                       .text());
    }
    return buffer;
}

} // namespace

SimBuffer * sim_new_buffer(SimDevice * device, NSUInteger length, MTLResourceOptions options) {
    if (refused(device, length)) {
        return nil;
    }
    const bool is_private = options & MTLResourceStorageModePrivate;
    auto memory = Memory::allocate(length, is_private ? Memory::Content::poison : Memory::Content::zero, !is_private);
    if (!memory) {
        return nil;
    }
    SimBuffer * buffer = new_buffer(device, memory, options, true);
    if (is_private) {
        return buffer;
    }
    // a managed buffer has two sides, unless there is but one memory
    const bool two = buffer->mode == MTLStorageModeManaged && !device->profile->unified_memory;
    buffer->hostMemory = two ? Memory::allocate(length, Memory::Content::zero, true) : memory;
    if (!buffer->hostMemory) {
        [buffer release];
        return nil;
    }
    return buffer;
}

SimBuffer * sim_new_buffer_without_copy(SimDevice * device, void * bytes, NSUInteger length, MTLResourceOptions options,
                                        void (^deallocator)(void *, NSUInteger)) {
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const bool aligned = reinterpret_cast<uintptr_t>(bytes) % page == 0 && length % page == 0;
    if (refused(device, length) || !bytes || (device->faults.no_copy_alignment && !aligned)) {
        return nil;
    }
    if (options & MTLResourceStorageModePrivate) {
        ledger::error("newBufferWithBytesNoCopy: a private buffer cannot be memory of the host");
        return nil;
    }
    SimBuffer * buffer = new_buffer(device, Memory::wrap(bytes, length), options, false);
    buffer->hostMemory = buffer->memory;
    if (deallocator) {
        buffer->deallocator = Block_copy(deallocator);
    }
    return buffer;
}
