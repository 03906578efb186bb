#include "worker.h"

#include "msl/rendezvous.h"
#include "signals.h"

#include <new>
#include <sys/mman.h>

namespace gpu {

namespace {

constexpr uintptr_t page = 4096;
constexpr uintptr_t state_size = 16 * page; // in front of the stacks
constexpr uintptr_t stack_size = 64 * 1024;
// Not a power of two, or the tops of all stacks would compete for the same lines of the caches.
constexpr uintptr_t stack_stride = stack_size + page;
static_assert(Worker::max_threads <= (msl::area_size - state_size) / stack_stride, "the stacks fit in the area");

thread_local Worker * active_worker = nullptr;

// The state that kernels see, and the way back to the worker.
struct Area {
    msl::worker state;
    Worker * worker;
};

Worker & worker_of(msl::worker * state) { return *reinterpret_cast<Area *>(state)->worker; }

} // namespace

Worker::Worker() {
    // Room for an aligned area in any case; only what is touched takes memory.
    char * memory = static_cast<char *>(mmap(nullptr, 2 * msl::area_size, PROT_NONE,
                                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (memory == MAP_FAILED) {
        throw std::bad_alloc();
    }
    const auto at = reinterpret_cast<uintptr_t>(memory);
    const uintptr_t aligned = (at + msl::area_size - 1) & ~(msl::area_size - 1);
    if (aligned != at) {
        munmap(memory, aligned - at);
    }
    munmap(reinterpret_cast<void *>(aligned + msl::area_size), at + msl::area_size - aligned);
    mprotect(reinterpret_cast<void *>(aligned), state_size - page, PROT_READ | PROT_WRITE);
    auto * area = new (reinterpret_cast<void *>(aligned)) Area{};
    area->worker = this;
    state_ = &area->state;
    state_->start_lane = start_lane;
    state_->barrier = wait_at_barrier;
    handle_signals();
}

Worker::~Worker() { munmap(state_, msl::area_size); }

Worker * Worker::active() { return active_worker; }

char * Worker::stack_top(int stack) const {
    return reinterpret_cast<char *>(state_) + state_size + (stack + 1) * stack_stride - 64 - stack % 8 * 448;
}

int Worker::take_stack() {
    if (!free_stacks_.empty()) {
        const int stack = free_stacks_.back();
        free_stacks_.pop_back();
        return stack;
    }
    // The page in front stays without access.
    mprotect(reinterpret_cast<char *>(state_) + state_size + stacks_ * stack_stride + page, stack_size,
             PROT_READ | PROT_WRITE);
    return stacks_++;
}

void Worker::start_lane(msl::worker * self, msl::simdgroup * group, unsigned lane) {
    Worker & worker = worker_of(self);
    const int stack = worker.take_stack();
    group->started |= uint64_t(1) << lane;
    group->lanes[lane].stack = stack;
    auto ** top = reinterpret_cast<void **>(worker.stack_top(stack));
#if defined(__x86_64__)
    *--top = nullptr; // where a caller would have left its return address
#endif
    void ** sp = top - msl::saved_words;
    for (unsigned i = 0; i < msl::saved_words; ++i) {
        sp[i] = nullptr;
    }
    sp[msl::return_word] = reinterpret_cast<void *>(&Worker::run_lanes);
    group->lanes[lane].sp = sp;
}

// First function of every fibre. When its lane has returned from the kernel it takes on one that has not started, which
// saves a switch and a stack.
void Worker::run_lanes() {
    for (;;) {
        msl::worker * self = msl::this_worker();
        Worker & worker = worker_of(self);
        worker.entry(self);

        msl::simdgroup * group = self->group;
        const unsigned lane = group->current;
        const uint64_t bit = uint64_t(1) << lane;
        const int stack = group->lanes[lane].stack;
        group->lanes[lane].stack = -1;
        group->alive &= ~bit;
        group->runnable &= ~bit;
        ++group->threadgroup->returned;
        if (!group->runnable && (group->pending | group->parked)) {
            msl::release(self, group);
        }
        void * nowhere;
        if (!group->runnable) {
            worker.free_stacks_.push_back(stack);
            msl::switch_fibre(&nowhere, self->scheduler);
        }
        const unsigned next = msl::next_lane(self, group->runnable, lane);
        group->current = next;
        if (group->started >> next & 1) {
            worker.free_stacks_.push_back(stack);
            msl::switch_fibre(&nowhere, group->lanes[next].sp);
        }
        group->started |= uint64_t(1) << next;
        group->lanes[next].stack = stack;
    }
}

void * Worker::wait_at_barrier(msl::worker * self, const void * site, void * sp) {
    msl::simdgroup * group = self->group;
    msl::threadgroup * threadgroup = group->threadgroup;
    const unsigned me = group->current;
    const uint64_t bit = uint64_t(1) << me;
    if (!threadgroup->barrier_site) {
        threadgroup->barrier_site = site;
    } else if (threadgroup->barrier_site != site) {
        threadgroup->barriers_differ = true;
    }
    group->at_barrier |= bit;
    group->runnable &= ~bit;
    if (!group->runnable && (group->pending | group->parked)) {
        msl::release(self, group);
    }
    group->lanes[me].sp = sp;
    if (!group->runnable) {
        return self->scheduler;
    }
    return msl::go_on(self, group, me);
}

bool Worker::enter(msl::simdgroup & group) {
    state_->group = &group;
    // Without the signal mask: to save it would take a system call for each simdgroup.
    if (sigsetjmp(escape_, 0) != 0) {
        active_worker = nullptr;
        state_->group = nullptr;
        return false;
    }
    active_worker = this;
    msl::switch_fibre(&state_->scheduler, msl::go_on(state_, &group, 63));
    active_worker = nullptr;
    state_->group = nullptr;
    return true;
}

void Worker::forget(msl::simdgroup & group) {
    for (uint64_t m = group.alive & group.started; m; m &= m - 1) {
        msl::lane & lane = group.lanes[msl::lowest(m)];
        if (lane.stack >= 0) {
            free_stacks_.push_back(lane.stack);
            lane.stack = -1;
        }
    }
    group.alive = 0;
}

void Worker::fault(uintptr_t address) {
    fault_address_ = address;
    division_by_zero_ = false;
    siglongjmp(escape_, 1);
}

void Worker::divided_by_zero() {
    fault_address_ = 0;
    division_by_zero_ = true;
    siglongjmp(escape_, 1);
}

bool Worker::stack_overflow() const {
    return (fault_address_ & ~(msl::area_size - 1)) == reinterpret_cast<uintptr_t>(state_);
}

} // namespace gpu
