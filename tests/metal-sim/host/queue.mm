#include "queue.h"

#include "encoder.h"
#include "execution.h"
#include "ledger.h"
#include "settings.h"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

using namespace metal_sim;

NSString * const MTLCommandBufferErrorDomain = @"MTLCommandBufferErrorDomain";

std::shared_ptr<Event> sim_event(id<MTLEvent> event);

// What the queue shares with its thread.
struct SimQueueState {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<SimCommandBuffer *> enqueued; // retained; executed in this order
    bool closed = false;
    std::thread thread;
};

@implementation SimCommandBuffer

- (id)initWithQueue:(SimQueue *)itsQueue retainsBuffers:(bool)retains {
    queue = [itsQueue retain];
    retainsBuffers = retains;
    ledger::born(ledger::Kind::command_buffer);
    return self;
}

- (void)dealloc {
    for (MTLCommandBufferHandler handler : handlers) {
        Block_release(handler);
    }
    [error release];
    ledger::died(ledger::Kind::command_buffer);
    [queue release];
    [super dealloc];
}

- (MTLCommandBufferStatus)status {
    std::lock_guard guard(queue->state->mutex);
    return status;
}

- (NSError *)error {
    std::lock_guard guard(queue->state->mutex);
    return error;
}

// A call that Metal ends the process for.
- (void)require:(bool)condition call:(const char *)call {
    if (!condition) {
        fprintf(stderr, "metal-sim: %s: the command buffer has an open encoder or is committed already\n", call);
        abort();
    }
}

- (id)newEncoder:(Class)cls kind:(Pass::Kind)kind {
    [self require:!encoding && self.status < MTLCommandBufferStatusCommitted call:"commandEncoder"];
    SimEncoder * encoder = (SimEncoder *) objc_alloc(cls);
    return [[encoder initWithCommandBuffer:self kind:kind] autorelease];
}

- (id<MTLComputeCommandEncoder>)computeCommandEncoder {
    return [self newEncoder:[SimComputeEncoder class] kind:Pass::Kind::serial];
}

- (id<MTLComputeCommandEncoder>)computeCommandEncoderWithDispatchType:(MTLDispatchType)type {
    const bool concurrent = type == MTLDispatchTypeConcurrent;
    return [self newEncoder:[SimComputeEncoder class] kind:concurrent ? Pass::Kind::concurrent : Pass::Kind::serial];
}

- (id<MTLBlitCommandEncoder>)blitCommandEncoder {
    return [self newEncoder:[SimBlitEncoder class] kind:Pass::Kind::blit];
}

- (void)encodeSignalEvent:(id<MTLEvent>)event value:(uint64_t)value {
    [self require:!encoding && self.status < MTLCommandBufferStatusCommitted call:"encodeSignalEvent"];
    items.push_back(SignalEvent{sim_event(event), value});
}

- (void)encodeWaitForEvent:(id<MTLEvent>)event value:(uint64_t)value {
    [self require:!encoding && self.status < MTLCommandBufferStatusCommitted call:"encodeWaitForEvent"];
    items.push_back(WaitForEvent{sim_event(event), value});
}

- (void)addCompletedHandler:(MTLCommandBufferHandler)handler {
    [self require:self.status < MTLCommandBufferStatusCommitted call:"addCompletedHandler"];
    handlers.push_back(Block_copy(handler));
}

// With the state's mutex held.
- (void)enqueueLocked {
    static std::atomic<uint64_t> numbers{0};
    if (status == MTLCommandBufferStatusNotEnqueued) {
        status = MTLCommandBufferStatusEnqueued;
        number = ++numbers;
        place = trace::reserve();
        queue->state->enqueued.push_back([self retain]);
    }
}

- (void)enqueue {
    std::lock_guard guard(queue->state->mutex);
    [self enqueueLocked];
}

- (void)commit {
    [self require:!encoding && self.status < MTLCommandBufferStatusCommitted call:"commit"];
    std::lock_guard guard(queue->state->mutex);
    [self enqueueLocked];
    status = MTLCommandBufferStatusCommitted;
    queue->state->changed.notify_all();
}

- (void)waitUntilCompleted {
    std::unique_lock lock(queue->state->mutex);
    queue->state->changed.wait(lock, [self] { return done; });
}

// On the queue's thread.
- (void)run {
    const Faults & faults = settings().faults;
    Execution execution;
    if (faults.unplug == number) {
        queue->device->unplugged = true;
    }
    if (queue->device->unplugged) {
        execution.failure = Failure::unplugged;
        execution.error = "the device is gone (fault 'unplug')";
    } else {
        execution = execute(items, queue->device->faults, number, faults.timeout == number);
    }
    NSError * failure = nil;
    if (execution.failure != Failure::none) {
        MTLCommandBufferError code = MTLCommandBufferErrorInvalidResource;
        if (execution.failure == Failure::timeout || execution.failure == Failure::stuck) {
            code = MTLCommandBufferErrorTimeout;
        } else if (execution.failure == Failure::page_fault) {
            code = MTLCommandBufferErrorPageFault;
        } else if (execution.failure == Failure::unplugged) {
            code = MTLCommandBufferErrorDeviceRemoved;
        }
        failure = [sim_error(MTLCommandBufferErrorDomain, code, execution.error) retain];
        if (execution.failure != Failure::timeout && execution.failure != Failure::unplugged) {
            ledger::error(execution.error);
        }
    }
    if (trace::on()) {
        trace::Line line("command_buffer");
        line.put("device", std::string(queue->device->profile->id)).put("number", number);
        line.put("error", ledger::without_numbers(execution.error));
        trace::complete(place, line.text() + execution.trace);
    }
    // commands hold buffers, which are free once the command buffer is done
    items.clear();
    {
        std::lock_guard guard(queue->state->mutex);
        error = failure;
        status = failure ? MTLCommandBufferStatusError : MTLCommandBufferStatusCompleted;
    }
    for (MTLCommandBufferHandler handler : handlers) {
        handler(self);
    }
    std::lock_guard guard(queue->state->mutex);
    done = true;
    queue->state->changed.notify_all();
}

@end

namespace {

// The thread of a queue: executes committed command buffers until the queue is closed and has none left.
void execute_queue(const std::shared_ptr<SimQueueState> & state) {
    for (;;) {
        SimCommandBuffer * next = nil;
        {
            std::unique_lock lock(state->mutex);
            const auto ready = [&] {
                return !state->enqueued.empty() && state->enqueued.front()->status == MTLCommandBufferStatusCommitted;
            };
            state->changed.wait(lock, [&] { return ready() || state->closed; });
            if (!ready()) {
                return;
            }
            next = state->enqueued.front();
            state->enqueued.pop_front();
            ledger::begin_work();
        }
        void * pool = objc_autoreleasePoolPush();
        [next run];
        [next release];
        objc_autoreleasePoolPop(pool);
        ledger::end_work();
    }
}

} // namespace

@implementation SimQueue

- (id<MTLDevice>)device {
    return device;
}

- (id<MTLCommandBuffer>)commandBuffer {
    return [[[SimCommandBuffer alloc] initWithQueue:self retainsBuffers:true] autorelease];
}

- (id<MTLCommandBuffer>)commandBufferWithUnretainedReferences {
    return [[[SimCommandBuffer alloc] initWithQueue:self retainsBuffers:false] autorelease];
}

// Command buffers retain their queue, so none is enqueued any more.
- (void)dealloc {
    {
        std::lock_guard guard(state->mutex);
        state->closed = true;
        state->changed.notify_all();
    }
    if (state->thread.get_id() == std::this_thread::get_id()) {
        state->thread.detach(); // the last command buffer, on its way out, held the queue
    } else {
        state->thread.join();
    }
    [device release];
    [super dealloc];
}

@end

SimQueue * sim_new_queue(SimDevice * device) {
    SimQueue * queue = [SimQueue new];
    queue->device = [device retain];
    queue->state = std::make_shared<SimQueueState>();
    queue->state->thread = std::thread([state = queue->state] { execute_queue(state); });
    return queue;
}
