#include "execution.h"

#include "settings.h"
#include "trace.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <random>

#include <fnmatch.h>

namespace metal_sim {

namespace {

// How many dispatches are on the device at once in the interleaved fault model.
constexpr size_t in_flight = 8;

// Longer than any command buffer takes here: then nobody will signal the event.
constexpr std::chrono::seconds event_timeout(120);

constexpr uint64_t no_limit = ~0ull;

// A dispatch with the memory that it works on.
struct Prepared {
    const DispatchCommand * command;
    gpu::Dispatch dispatch;
    std::vector<std::shared_ptr<Memory>> memories;
    std::map<Memory *, std::unique_ptr<View>> views; // with stale reads

    void collect(std::vector<Change> & changes) const {
        for (const auto & [memory, view] : views) {
            view->collect(changes);
        }
    }
};

class Run {
  public:
    Run(const DeviceFaults & faults, uint64_t number, uint64_t limit)
        : faults_(faults), order_(settings().gpu.seed * 0x9e3779b97f4a7c15ull + number), limit_(limit) {}

    // False where the command buffer has failed.
    bool pass(const Pass & pass);

    bool fail(Failure failure, std::string why) {
        if (result.error.empty()) {
            result.failure = failure;
            result.error = std::move(why);
        }
        return false;
    }

    Execution result;

  private:
    bool one(const Command & command, Pass::Kind kind);
    bool command(const DispatchCommand & command, Pass::Kind kind);
    bool command(const BarrierCommand & command, Pass::Kind kind);
    bool command(const FillCommand & command, Pass::Kind kind);
    bool command(const CopyCommand & command, Pass::Kind kind);
    bool command(const InvalidCommand & command, Pass::Kind kind);

    bool unordered(const Pass & pass);
    bool window(std::vector<const DispatchCommand *> & dispatches, std::vector<Change> & changes);

    bool prepare(const DispatchCommand & command, bool views, Prepared & prepared);
    bool finish(const Prepared & prepared, const gpu::Outcome & outcome, Pass::Kind kind);
    bool counted();
    void log(const trace::Line & line);

    const DeviceFaults & faults_;
    std::mt19937_64 order_;
    uint64_t limit_;    // commands that may run
    uint64_t done_ = 0; // commands that ran
};

const char * name_of(Pass::Kind kind) {
    switch (kind) {
        case Pass::Kind::serial: return "serial";
        case Pass::Kind::concurrent: return "concurrent";
        default: return "blit";
    }
}

void Run::log(const trace::Line & line) {
    if (trace::on()) {
        result.trace += line.text();
    }
}

// Whether the command buffer still has time.
bool Run::counted() {
    if (done_ >= limit_) {
        return fail(Failure::timeout, "the command buffer took too long (fault 'timeout')");
    }
    ++done_;
    return true;
}

bool Run::pass(const Pass & pass) {
    log(trace::Line("encoder").put("kind", std::string(name_of(pass.kind))));
    const bool disorder = faults_.shuffle || faults_.reorder || faults_.interleave || faults_.stale_reads;
    if (pass.kind == Pass::Kind::concurrent && disorder) {
        return unordered(pass);
    }
    return std::all_of(pass.commands.begin(), pass.commands.end(),
                       [&](const Command & command) { return one(command, pass.kind); });
}

bool Run::one(const Command & any, Pass::Kind kind) {
    return std::visit([&](const auto & it) { return command(it, kind); }, any);
}

// A concurrent encoder on a device that does not order what is in it.
bool Run::unordered(const Pass & pass) {
    std::vector<Change> changes;
    std::vector<const DispatchCommand *> waiting;
    bool good = true;
    const bool barriers = !faults_.reorder && !faults_.interleave;
    for (const Command & any : pass.commands) {
        if (const auto dispatch = std::get_if<DispatchCommand>(&any)) {
            waiting.push_back(dispatch);
            if (faults_.interleave && waiting.size() == in_flight) {
                good = window(waiting, changes);
            }
        } else {
            if (barriers && std::holds_alternative<BarrierCommand>(any)) {
                good = window(waiting, changes);
            }
            good = good && one(any, pass.kind);
        }
        if (!good) {
            break;
        }
    }
    good = good && window(waiting, changes);
    for (const Change & change : changes) {
        memcpy(change.memory->data() + change.offset, change.bytes.data(), change.bytes.size());
    }
    return good;
}

// Runs dispatches that nothing orders among each other, and empties the list.
bool Run::window(std::vector<const DispatchCommand *> & dispatches, std::vector<Change> & changes) {
    if ((faults_.shuffle || faults_.reorder) && !faults_.interleave) {
        std::shuffle(dispatches.begin(), dispatches.end(), order_);
    }
    std::vector<Prepared> prepared;
    bool good = true;
    for (const DispatchCommand * dispatch : dispatches) {
        Prepared one;
        good = good && counted() && prepare(*dispatch, faults_.stale_reads, one);
        if (!good) {
            break;
        }
        if (faults_.interleave) {
            prepared.push_back(std::move(one));
            continue;
        }
        good = finish(one, gpu::run(one.dispatch), Pass::Kind::concurrent);
        one.collect(changes);
    }
    dispatches.clear();
    if (!prepared.empty()) {
        std::vector<gpu::Dispatch> all;
        for (const Prepared & one : prepared) {
            all.push_back(one.dispatch);
        }
        const std::vector<gpu::Outcome> outcomes = gpu::run_interleaved(all);
        for (size_t i = 0; i < prepared.size(); ++i) {
            good = finish(prepared[i], outcomes[i], Pass::Kind::concurrent) && good;
            prepared[i].collect(changes);
        }
    }
    return good;
}

// A kernel that leaves out its last threadgroup, as a miscompiled one may leave out anything.
bool leaves_out(const DispatchCommand & command) {
    const auto & pattern = settings().faults.unfinished;
    return pattern && fnmatch(pattern->c_str(), command.pipeline->name().c_str(), 0) == 0;
}

bool Run::prepare(const DispatchCommand & command, bool views, Prepared & prepared) {
    prepared.command = &command;
    gpu::Dispatch & dispatch = prepared.dispatch;
    dispatch.pipeline = command.pipeline;
    std::copy_n(command.threadgroup_memory, gpu::max_threadgroup_buffers, dispatch.threadgroup_memory);
    std::copy_n(command.threadgroups, 3, dispatch.threadgroups);
    if (leaves_out(command)) {
        --*std::max_element(dispatch.threadgroups, dispatch.threadgroups + 3);
    }
    std::copy_n(command.threads, 3, dispatch.threads);
    for (const auto & [index, argument] : command.arguments) {
        gpu::Binding & binding = dispatch.buffers[index];
        if (argument.bytes) {
            binding.data = const_cast<char *>(argument.bytes->data());
            binding.size = argument.bytes->size();
            continue;
        }
        if (!argument.buffer.bound()) {
            continue;
        }
        const std::shared_ptr<Memory> memory = argument.buffer.memory();
        if (!memory) {
            return fail(Failure::invalid, command.pipeline->name() + ": buffer " + std::to_string(index) +
                                              " was released before the command buffer ran");
        }
        prepared.memories.push_back(memory);
        char * data = memory->data();
        if (views) {
            auto & view = prepared.views[memory.get()];
            if (!view) {
                view = std::make_unique<View>(memory);
            }
            data = view->data();
        }
        binding.data = data + argument.buffer.offset();
        binding.size = memory->size() - argument.buffer.offset();
    }
    return true;
}

// What was read of buffers that are the host's memory, over the link between the two where each has its own.
uint64_t read_of_host(const DispatchCommand & command, const std::vector<uint64_t> & bytes_read_of) {
    uint64_t bytes = 0;
    for (const auto & [index, argument] : command.arguments) {
        if (!argument.bytes && argument.buffer.bound() && index < bytes_read_of.size() &&
            std::string(argument.buffer.storage()) == "shared") {
            bytes += bytes_read_of[index];
        }
    }
    return bytes;
}

std::atomic<uint64_t> all_bytes, all_host_bytes, all_threadgroups;

bool Run::finish(const Prepared & prepared, const gpu::Outcome & outcome, Pass::Kind kind) {
    const uint32_t * threadgroups = prepared.command->threadgroups;
    all_threadgroups += uint64_t(threadgroups[0]) * threadgroups[1] * threadgroups[2];
    all_bytes += outcome.counts.bytes_read + outcome.counts.bytes_written;
    all_host_bytes += read_of_host(*prepared.command, outcome.counts.bytes_read_of);
    if (trace::on()) {
        const DispatchCommand & command = *prepared.command;
        uint64_t threadgroup_memory = command.pipeline->static_threadgroup_memory();
        for (const uint32_t bytes : command.threadgroup_memory) {
            threadgroup_memory += bytes;
        }
        trace::Line line("dispatch");
        line.put("kernel", command.pipeline->name())
            .put("constants", command.constants)
            .put("encoder", std::string(name_of(kind)))
            .put("threadgroups", command.threadgroups)
            .put("threads", command.threads)
            .put("threadgroup_memory", threadgroup_memory);
        if (settings().gpu.count_bytes) {
            line.put("bytes_read", outcome.counts.bytes_read)
                .put("bytes_written", outcome.counts.bytes_written)
                .put("bytes_read_of", outcome.counts.bytes_read_of)
                .put("bytes_written_of", outcome.counts.bytes_written_of)
                .put("bytes_read_of_host", read_of_host(command, outcome.counts.bytes_read_of));
        }
        log(line);
    }
    return outcome.error.empty() || fail(Failure::page_fault, outcome.error);
}

bool Run::command(const DispatchCommand & command, Pass::Kind kind) {
    Prepared prepared;
    return counted() && prepare(command, false, prepared) && finish(prepared, gpu::run(prepared.dispatch), kind);
}

bool Run::command(const BarrierCommand &, Pass::Kind) {
    log(trace::Line("barrier"));
    return true;
}

bool Run::command(const FillCommand & command, Pass::Kind) {
    const std::shared_ptr<Memory> to = command.to.memory();
    if (!to) {
        return fail(Failure::invalid, "fill: the buffer was released before the command buffer ran");
    }
    if (!counted()) {
        return false;
    }
    memset(to->data() + command.to.offset(), command.value, command.bytes);
    log(trace::Line("fill").put("to", std::string(command.to.storage())).put("bytes", command.bytes));
    return true;
}

bool Run::command(const CopyCommand & command, Pass::Kind) {
    const std::shared_ptr<Memory> from = command.from.memory();
    const std::shared_ptr<Memory> to = command.to.memory();
    if (!from || !to) {
        return fail(Failure::invalid, "copy: a buffer was released before the command buffer ran");
    }
    if (!counted()) {
        return false;
    }
    memmove(to->data() + command.to.offset(), from->data() + command.from.offset(), command.bytes);
    log(trace::Line(command.event)
            .put("from", std::string(command.from.storage()))
            .put("to", std::string(command.to.storage()))
            .put("bytes", command.bytes));
    return true;
}

bool Run::command(const InvalidCommand & command, Pass::Kind) { return fail(Failure::invalid, command.why); }

uint64_t commands_in(const std::vector<Item> & items) {
    uint64_t count = 0;
    for (const Item & item : items) {
        if (const auto pass = std::get_if<std::shared_ptr<Pass>>(&item)) {
            for (const Command & command : (*pass)->commands) {
                count += !std::holds_alternative<BarrierCommand>(command);
            }
        }
    }
    return count;
}

} // namespace

Execution execute(const std::vector<Item> & items, const DeviceFaults & faults, uint64_t number, bool times_out) {
    Run run(faults, number, times_out ? commands_in(items) / 2 : no_limit);
    bool good = !times_out || commands_in(items) > 0;
    if (!good) {
        run.fail(Failure::timeout, "the command buffer took too long (fault 'timeout')");
    }
    for (const Item & item : items) {
        if (const auto pass = std::get_if<std::shared_ptr<Pass>>(&item)) {
            good = good && run.pass(**pass);
        } else if (const auto wait = std::get_if<WaitForEvent>(&item)) {
            if (good && !wait->event->wait(wait->value, event_timeout)) {
                good = run.fail(Failure::stuck, "nobody signals the event that the command buffer waits for");
            }
        } else if (const auto signal = std::get_if<SignalEvent>(&item)) {
            // after a failure too: who waits for it would wait for ever
            signal->event->signal(signal->value);
        }
    }
    return std::move(run.result);
}

} // namespace metal_sim

// What all dispatches of the process came to, for `inferno tune`, which times real devices: bytes that kernels read and
// wrote, those of them that were read in memory of the host, and threadgroups. The first call turns the counting of bytes
// on, for kernels that are made from then on. False where the process is to be timed instead.
extern "C" bool metal_sim_count(uint64_t * bytes, uint64_t * host_bytes, uint64_t * threadgroups) {
    if (metal_sim::settings().timed) {
        return false;
    }
    static const bool on = [] {
        gpu::Settings counting = metal_sim::settings().gpu;
        counting.count_bytes = true;
        gpu::configure(counting);
        return true;
    }();
    (void) on;
    *bytes = metal_sim::all_bytes;
    *host_bytes = metal_sim::all_host_bytes;
    *threadgroups = metal_sim::all_threadgroups;
    return true;
}
