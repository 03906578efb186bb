// A host thread's state for running threadgroups: the area with its fibres' stacks, and what happens when a kernel
// goes wrong on it.
#pragma once

#include "msl/abi.h"

#include <csetjmp>
#include <memory>
#include <vector>

namespace gpu {

class Worker {
  public:
    static constexpr unsigned max_threads = 2048; // under way at once

    Worker();
    ~Worker();
    Worker(const Worker &) = delete;
    Worker & operator=(const Worker &) = delete;

    // Lets the lanes of `group` run until none can. False if the kernel made a fault: then the group's lanes are lost, and
    // fault_address() says where.
    bool enter(msl::simdgroup & group);

    // Takes back the stacks of lanes that will not run again.
    void forget(msl::simdgroup & group);

    msl::worker & state() { return *state_; }
    uintptr_t fault_address() const { return fault_address_; }
    bool stack_overflow() const;  // whether the fault was one
    bool division_by_zero() const { return division_by_zero_; } // the same
    void (*entry)(msl::worker *) = nullptr; // of the kernel that runs

    // The worker of this thread while a kernel runs on it, else null.
    static Worker * active();

    // Called by the handlers of signals. They leave the kernel.
    [[noreturn]] void fault(uintptr_t address);
    [[noreturn]] void divided_by_zero();

  private:
    static void start_lane(msl::worker * self, msl::simdgroup * group, unsigned lane);
    static void * wait_at_barrier(msl::worker * self, const void * site, void * sp);
    static void run_lanes();

    int take_stack();
    char * stack_top(int stack) const;

    msl::worker * state_;
    std::vector<int> free_stacks_;
    int stacks_ = 0; // that were ever used
    uintptr_t fault_address_ = 0;
    bool division_by_zero_ = false;
    sigjmp_buf escape_;
};

} // namespace gpu
