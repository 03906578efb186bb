// What the executor and a compiled kernel object share: the state of a worker, of a simdgroup and of a lane.
//
// An object is loaded with dlopen into a program that exports nothing, so it finds its worker without a symbol: every
// fibre's stack lies in its worker's area, and the worker stands at the start of that area, which is aligned to its
// size. An `and` of the stack pointer is also cheaper than thread-local storage in a loaded object, and the hook that
// runs at every basic block needs it.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace msl {

constexpr uint32_t abi_version = 1;
constexpr unsigned max_buffers = 31;
constexpr unsigned max_threadgroup_buffers = 8;
constexpr uintptr_t area_size = uintptr_t(1) << 28; // of a worker: its state and the stacks of its fibres

struct simdgroup;
struct worker;

// Does a simdgroup function for the lanes in `mask`, all of which wait at it.
using rendezvous = void (*)(simdgroup * group, uint64_t mask);

struct lane {
    void * sp;        // of its fibre, while another one runs
    const void * site; // where it waits
    rendezvous fn;    // the simdgroup function that it waits at
    void * in;        // argument and result of fn, on the lane's stack
    void * out;
    int stack;        // number of its stack in the area; -1 before it starts
};

// A run of lanes that share a program counter on a GPU. Lanes that live are in exactly one of the masks runnable,
// pending, parked and at_barrier.
struct simdgroup {
    uint64_t alive;      // have not returned from the kernel
    uint64_t started;    // have a stack
    uint64_t runnable;   // can go on
    uint64_t pending;    // wait at a site since the last release
    uint64_t parked;     // wait while others go first: the simdgroup has diverged
    uint64_t at_functions; // the pending and parked lanes that wait at simdgroup functions
    uint64_t at_barrier; // wait for the rest of the threadgroup
    const void * site;   // of the first of the pending lanes
    uintptr_t parked_site; // the lowest of the parked lanes at basic blocks; the highest address when there are none
    bool uniform;        // all pending lanes wait at `site`
    unsigned current;    // lane that runs
    unsigned width;      // lanes of a full simdgroup
    unsigned index;      // in the threadgroup
    unsigned first;      // index in the threadgroup of its lane 0
    lane * lanes;
    struct threadgroup * threadgroup;
};

// What the threads of a threadgroup can ask about where they are, and what they were given.
struct threadgroup {
    void * const * buffers;
    void * memory[max_threadgroup_buffers]; // [[threadgroup(n)]]
    char * arrays;                          // threadgroup arrays that the kernel declares
    const void * constants;
    uint32_t position[3];    // in the grid
    uint32_t threadgroups[3]; // of the grid
    uint32_t threads[3];     // of the threadgroup
    uint32_t simdgroups;     // of the threadgroup
    uint32_t width;          // of a simdgroup
    uint32_t returned;        // threads that have left the kernel
    const void * barrier_site; // where the first thread waits; null: none does
    bool barriers_differ;     // threads wait at different places
};

// An address range that a dispatch was given, in order of addresses.
struct range {
    uintptr_t start;
    uintptr_t end;
    unsigned index;
};

// A host thread that runs threadgroups.
struct worker {
    simdgroup * group;      // of the fibre that runs; null while a kernel does not run
    const void * constants; // of the kernel that runs
    void * scheduler;       // stack pointer of the host thread while a fibre runs
    uint64_t random;        // state of the generator that orders lanes; 0: in their order
    uint32_t faults;
    uint64_t operations;    // simdgroup operations
    uint64_t divergent;     // those that some living lanes did not take part in

    // Loads and stores, when objects are compiled with callbacks for them.
    const range * ranges;
    unsigned range_count;
    unsigned last_range;
    bool check_alignment;
    uintptr_t unaligned;      // first address that was not aligned as the device needs it; 0: none
    unsigned unaligned_size;
    uint64_t bytes_read[max_buffers];
    uint64_t bytes_written[max_buffers];

    // Called by objects on a fibre.
    void (*start_lane)(worker * self, simdgroup * group, unsigned lane);
    void * (*barrier)(worker * self, const void * site, void * sp); // the stack pointer of what runs next
};

// A function constant of a library: where its value stands in the block that kernels read.
struct constant_slot {
    int index;
    uint32_t offset;
    uint32_t size;
};

// A threadgroup array that a kernel declares. The executor gives it its place when it loads the object.
struct array {
    uint32_t size;
    uint32_t offset;
};

// The one symbol of an object, `msl_object`.
struct object {
    uint32_t version;
    void (*entry)(worker * self);
    const constant_slot * constants;
    uint32_t constant_count;
    uint32_t constants_size;
    array * arrays;
    array * arrays_end;
};

inline __attribute__((always_inline)) worker * this_worker() {
    uintptr_t sp;
#if defined(__x86_64__)
    asm("movq %%rsp, %0" : "=r"(sp));
#elif defined(__aarch64__)
    asm("mov %0, sp" : "=r"(sp));
#else
#error "fibres are written for x86-64 and aarch64"
#endif
    return reinterpret_cast<worker *>(sp & ~(area_size - 1));
}

} // namespace msl
