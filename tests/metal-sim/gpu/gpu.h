// The simulated GPU: takes Metal source, compiles it for the CPU on demand, and runs dispatches of its kernels.
//
// Knows nothing of Objective-C. The Metal framework in ../host is its only user; what a device is like comes from there.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace gpu {

constexpr unsigned max_buffers = 31;            // indices of [[buffer(n)]]
constexpr unsigned max_threadgroup_buffers = 8; // indices of [[threadgroup(n)]]

// How the lanes of a simdgroup advance.
enum class Mode {
    lockstep, // all lanes of a simdgroup pass a basic block before any enters the next one; within a block they run
              // one after the other, so a lane that reads there what another writes there is a race here too
    free,     // each lane runs until it has to wait, in an order drawn from the seed: shows races between lanes
};

// Things that a device does wrong inside a kernel; bits of Device::faults.
enum : uint32_t {
    fault_simd_max_half = 1 << 0,  // simd_max and simd_min of half are wrong when a lane holds an infinity
    fault_unaligned_load = 1 << 1, // a load of 4 bytes or more that is not aligned to 4 is an error
    fault_flush_half = 1 << 2,     // arithmetic on half takes and gives 0 for subnormals, on x86-64 hosts only
    fault_division_by_zero = 1 << 3, // an integer division or remainder by zero is an error, used or not
};

// What kernels see of a device.
struct Device {
    unsigned simdgroup_width = 32;      // threads; 64 at most
    bool simdgroup_matrix = true;       // simdgroup_multiply_accumulate and its loads and stores exist
    bool simdgroup_reduction = true;    // simd_sum, simd_max, simd_shuffle, … exist
    uint32_t threadgroup_memory = 32768; // bytes a threadgroup can have
    uint32_t max_threads = 1024;         // threads a threadgroup can have
    uint32_t faults = 0;
};

// How dispatches are run, for the whole process; read once from the environment by the host.
struct Settings {
    Mode mode = Mode::lockstep;
    uint64_t seed = 0;        // of every order that is drawn
    unsigned workers = 0;     // threads that threadgroups are spread over; 0: one a core
    bool count_bytes = false; // count what every dispatch loads and stores; kernels are compiled with callbacks for it
};

void configure(const Settings & settings);

// A compiled function constant.
struct Constant {
    int index;
    unsigned size; // bytes
    uint64_t bits; // its value in the low bytes
};

// The kernels of one Metal source.
class Library {
  public:
    virtual ~Library() = default;

    // Names of its entry points, as [[host_name]] gives them.
    virtual const std::vector<std::string> & names() const = 0;
};

// Translates a source. The result is kept in the cache by content. Null with a message on failure.
std::shared_ptr<Library> library_from_source(const std::string & source,
                                             const std::map<std::string, std::string> & macros,
                                             std::string & error);

// A kernel with its constants, ready to run on one device.
class Pipeline {
  public:
    virtual ~Pipeline() = default;

    virtual const std::string & name() const = 0;
    virtual uint32_t static_threadgroup_memory() const = 0; // bytes of the arrays that the kernel declares itself
    virtual bool uses_matrix() const = 0;                   // whether it can reach a simdgroup matrix operation
};

// Compiles what is missing. Null with a message: no such kernel, a compiler error, reductions or matrix operations on a
// device without them, or more threadgroup memory than the device has.
std::shared_ptr<Pipeline> make_pipeline(const std::shared_ptr<Library> & library, const std::string & name,
                                        const std::vector<Constant> & constants, const Device & device,
                                        std::string & error);

struct Binding {
    void * data = nullptr; // address at the binding's offset
    uint64_t size = 0;     // bytes from there to the end of the buffer
};

struct Dispatch {
    std::shared_ptr<Pipeline> pipeline;
    Binding buffers[max_buffers];
    uint32_t threadgroup_memory[max_threadgroup_buffers] = {}; // bytes
    uint32_t threadgroups[3] = {1, 1, 1};
    uint32_t threads[3] = {1, 1, 1}; // of a threadgroup
};

// What a dispatch did.
struct Counts {
    uint64_t threadgroups = 0;
    uint64_t threads = 0;
    uint64_t simdgroup_operations = 0;
    uint64_t divergent = 0;     // simdgroup operations that some living lanes did not take part in
    uint64_t bytes_read = 0;    // by all lanes, from buffers; 0 unless Settings::count_bytes
    uint64_t bytes_written = 0; // the same for stores
    std::vector<uint64_t> bytes_read_of;    // of each buffer index; empty unless Settings::count_bytes
    std::vector<uint64_t> bytes_written_of; // the same for stores
};

struct Outcome {
    Counts counts;
    std::string error; // empty where all went well; else the kernel, the buffer and the address that were wrong
};

// Runs dispatches one after the other, each to its end.
Outcome run(const Dispatch & dispatch);

// Runs all of these at once: their threadgroups take turns in an order drawn from the seed.
std::vector<Outcome> run_interleaved(const std::vector<Dispatch> & dispatches);

} // namespace gpu
