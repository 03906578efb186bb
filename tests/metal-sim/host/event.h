// A counter that command buffers and the host wait for; what MTLSharedEvent is made of.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace metal_sim {

class Event {
  public:
    uint64_t value() {
        std::lock_guard guard(mutex_);
        return value_;
    }

    void signal(uint64_t value) {
        std::lock_guard guard(mutex_);
        value_ = value;
        changed_.notify_all();
    }

    // False where the time has passed before the event has the value.
    bool wait(uint64_t value, std::chrono::milliseconds timeout) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, timeout, [&] { return value_ >= value; });
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    uint64_t value_ = 0;
};

} // namespace metal_sim
