// What encoders write into a command buffer.
#pragma once

#include "../gpu/gpu.h"
#include "event.h"
#include "memory.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace metal_sim {

// A buffer, as a command refers to it. Command buffers made with unretained references do not keep it alive; that it is
// still there is checked when they run.
class BufferUse {
  public:
    BufferUse() = default;
    BufferUse(const std::shared_ptr<Memory> & memory, uint64_t offset, const char * storage, bool retain)
        : bound_(true), retained_(retain ? memory : nullptr), watched_(memory), offset_(offset), storage_(storage) {}

    bool bound() const { return bound_; }
    std::shared_ptr<Memory> memory() const { return watched_.lock(); } // null where it was released
    uint64_t offset() const { return offset_; }
    const char * storage() const { return storage_; } // storage mode, for the trace

  private:
    bool bound_ = false;
    std::shared_ptr<Memory> retained_;
    std::weak_ptr<Memory> watched_;
    uint64_t offset_ = 0;
    const char * storage_ = "";
};

// What is bound to an index: a buffer, or bytes.
struct Argument {
    BufferUse buffer;
    std::shared_ptr<const std::vector<char>> bytes;
};

struct DispatchCommand {
    std::shared_ptr<gpu::Pipeline> pipeline;
    std::string constants; // function constants, for the trace
    std::map<unsigned, Argument> arguments;
    uint32_t threadgroup_memory[gpu::max_threadgroup_buffers] = {};
    uint32_t threadgroups[3] = {};
    uint32_t threads[3] = {};
};

struct BarrierCommand {};

struct FillCommand {
    BufferUse to;
    uint64_t bytes;
    uint8_t value;
};

struct CopyCommand {
    BufferUse from;
    BufferUse to;
    uint64_t bytes;
    const char * event; // in the trace: "copy", or "synchronize" for the two sides of a managed buffer
};

// A call that Metal's validation refuses: the command buffer fails where it comes to it.
struct InvalidCommand {
    std::string why;
};

using Command = std::variant<DispatchCommand, BarrierCommand, FillCommand, CopyCommand, InvalidCommand>;

// The commands of one encoder.
struct Pass {
    enum class Kind { serial, concurrent, blit };
    Kind kind;
    std::vector<Command> commands;
};

struct SignalEvent {
    std::shared_ptr<Event> event;
    uint64_t value;
};

struct WaitForEvent {
    std::shared_ptr<Event> event;
    uint64_t value;
};

// Passes are shared with the encoder that is writing them.
using Item = std::variant<std::shared_ptr<Pass>, SignalEvent, WaitForEvent>;

} // namespace metal_sim
