// The part of libdispatch that the Metal backend of ggml uses: queues, groups, semaphores.
//
// A block on a concurrent queue gets a thread of its own: there are few, and one of them lives as long as the process.
#include <Block.h>
#include <dispatch/dispatch.h>
#include <objc/runtime.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

struct dispatch_object {
    std::atomic<int> references{1};
    virtual ~dispatch_object() = default;
};

namespace {

using Work = std::function<void()>;

// Waits until `done` holds; false where the time has passed before.
template <typename Done>
bool wait_until(std::unique_lock<std::mutex> & lock, std::condition_variable & changed, dispatch_time_t time,
                Done done) {
    if (time == DISPATCH_TIME_FOREVER) {
        changed.wait(lock, done);
        return true;
    }
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    const auto end = std::chrono::nanoseconds(time);
    return end <= now ? done() : changed.wait_for(lock, end - now, done);
}

struct Queue : dispatch_object {
    explicit Queue(bool concurrent) : concurrent(concurrent) {}

    const bool concurrent;
    std::mutex mutex;
    std::deque<Work> waiting; // of a serial queue
    bool busy = false;        // a thread is working on them

    void add(Work work) {
        if (concurrent) {
            std::thread(std::move(work)).detach();
            return;
        }
        std::lock_guard guard(mutex);
        waiting.push_back(std::move(work));
        if (!busy) {
            busy = true;
            dispatch_retain(this);
            std::thread([this] {
                work_off();
                dispatch_release(this);
            }).detach();
        }
    }

  private:
    void work_off() {
        for (;;) {
            Work work;
            {
                std::lock_guard guard(mutex);
                if (waiting.empty()) {
                    busy = false;
                    return;
                }
                work = std::move(waiting.front());
                waiting.pop_front();
            }
            work();
        }
    }
};

struct Group : dispatch_object {
    std::mutex mutex;
    std::condition_variable changed;
    size_t running = 0;
};

struct Semaphore : dispatch_object {
    explicit Semaphore(intptr_t value) : value(value) {}

    std::mutex mutex;
    std::condition_variable changed;
    intptr_t value;
};

Queue * queue_of(dispatch_queue_t queue) { return static_cast<Queue *>(queue); }

// A copy of the block that work can hold. What the block autoreleases is gone when the work is done, so before a group is
// told: whoever waits for the group may end the process next, and what is left then counts as not released.
Work work_of(dispatch_block_t block) {
    std::shared_ptr<void> copy(_Block_copy((const void *) block), [](void * b) { _Block_release(b); });
    return [copy] {
        void * pool = objc_autoreleasePoolPush();
        ((dispatch_block_t) copy.get())();
        objc_autoreleasePoolPop(pool);
    };
}

} // namespace

extern "C" {

void dispatch_retain(dispatch_object_t object) { object->references.fetch_add(1); }

void dispatch_release(dispatch_object_t object) {
    if (object->references.fetch_sub(1) == 1) {
        delete object;
    }
}

dispatch_time_t dispatch_time(dispatch_time_t when, int64_t nanoseconds) {
    if (when == DISPATCH_TIME_FOREVER) {
        return when;
    }
    if (when == DISPATCH_TIME_NOW) {
        const auto now = std::chrono::steady_clock::now().time_since_epoch();
        when = uint64_t(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
    }
    return when + uint64_t(nanoseconds);
}

dispatch_queue_t dispatch_get_global_queue(intptr_t, uintptr_t) {
    static Queue * queue = new Queue(true);
    return queue;
}

dispatch_queue_t dispatch_queue_create(const char *, dispatch_queue_attr_t attribute) {
    return new Queue(attribute == DISPATCH_QUEUE_CONCURRENT);
}

void dispatch_async(dispatch_queue_t queue, dispatch_block_t block) { queue_of(queue)->add(work_of(block)); }

void dispatch_sync(dispatch_queue_t queue, dispatch_block_t block) {
    if (queue_of(queue)->concurrent) {
        block();
        return;
    }
    dispatch_group_t group = dispatch_group_create();
    dispatch_group_async(group, queue, block);
    dispatch_group_wait(group, DISPATCH_TIME_FOREVER);
    dispatch_release(group);
}

void dispatch_apply(size_t count, dispatch_queue_t queue, void (^block)(size_t)) {
    if (!queue_of(queue)->concurrent) {
        for (size_t i = 0; i < count; ++i) {
            block(i);
        }
        return;
    }
    dispatch_group_t group = dispatch_group_create();
    for (size_t i = 1; i < count; ++i) {
        dispatch_group_async(group, queue, ^{ block(i); });
    }
    if (count > 0) {
        block(0);
    }
    dispatch_group_wait(group, DISPATCH_TIME_FOREVER);
    dispatch_release(group);
}

dispatch_group_t dispatch_group_create(void) { return new Group; }

void dispatch_group_async(dispatch_group_t object, dispatch_queue_t queue, dispatch_block_t block) {
    auto group = static_cast<Group *>(object);
    dispatch_retain(group);
    {
        std::lock_guard guard(group->mutex);
        ++group->running;
    }
    queue_of(queue)->add([group, work = work_of(block)]() mutable {
        work();
        work = nullptr; // what the block captured goes before the group is told
        {
            std::lock_guard guard(group->mutex);
            --group->running;
            group->changed.notify_all();
        }
        dispatch_release(group);
    });
}

intptr_t dispatch_group_wait(dispatch_group_t object, dispatch_time_t timeout) {
    auto group = static_cast<Group *>(object);
    std::unique_lock lock(group->mutex);
    return wait_until(lock, group->changed, timeout, [&] { return group->running == 0; }) ? 0 : 1;
}

dispatch_semaphore_t dispatch_semaphore_create(intptr_t value) { return new Semaphore(value); }

intptr_t dispatch_semaphore_wait(dispatch_semaphore_t object, dispatch_time_t timeout) {
    auto semaphore = static_cast<Semaphore *>(object);
    std::unique_lock lock(semaphore->mutex);
    if (!wait_until(lock, semaphore->changed, timeout, [&] { return semaphore->value > 0; })) {
        return 1;
    }
    --semaphore->value;
    return 0;
}

intptr_t dispatch_semaphore_signal(dispatch_semaphore_t object) {
    auto semaphore = static_cast<Semaphore *>(object);
    std::lock_guard guard(semaphore->mutex);
    ++semaphore->value;
    semaphore->changed.notify_one();
    return 0;
}

} // extern "C"
