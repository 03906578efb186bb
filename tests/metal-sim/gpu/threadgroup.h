// One threadgroup on its way through a kernel, and the memory that it has.
#pragma once

#include "gpu.h"
#include "pipeline.h"
#include "worker.h"

#include <string>
#include <vector>

namespace gpu {

// What all threadgroups of a dispatch share.
struct Grid {
    explicit Grid(const Dispatch & dispatch, uint64_t order);

    const Dispatch & dispatch;
    const CompiledPipeline & pipeline;
    uint64_t count;   // threadgroups
    uint32_t threads; // of a threadgroup
    uint64_t order;   // seed of the orders in it
    void * buffers[max_buffers];
    std::vector<msl::range> ranges; // of its bindings, by address
};

class Threadgroup {
  public:
    // Starts threadgroup `index` of the grid on a worker. The object is used again for others.
    void begin(Worker & worker, const Grid & grid, uint64_t index);

    // Runs one simdgroup until it waits or ends. False when the threadgroup has ended.
    bool step();

    // Lets go of the grid, which may be gone when the next one starts.
    void end() { grid_ = nullptr; }

    // What went wrong; empty if nothing did.
    const std::string & error() const { return error_; }

  private:
    void layout();
    void fail(const std::string & what);
    void pass_barrier();
    void check_red_zones();
    void check_accesses();
    std::string place(uintptr_t address) const;

    // A piece of threadgroup memory with its red zone behind it.
    struct Piece {
        char * start;
        uint32_t size;
        int index; // [[threadgroup(n)]]; -1: arrays that the kernel declares
    };

    Worker * worker_ = nullptr;
    const Grid * grid_ = nullptr;
    uint64_t random_ = 0;
    unsigned next_ = 0; // simdgroup that runs next
    msl::threadgroup shared_ = {};
    std::vector<msl::simdgroup> simdgroups_;
    std::vector<msl::lane> lanes_;
    std::vector<char> memory_;
    std::vector<Piece> pieces_;
    std::string error_;
};

} // namespace gpu
