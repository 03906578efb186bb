// Runs dispatches: hands their threadgroups to workers, and adds up what those did.

#include "pool.h"
#include "threadgroup.h"

#include <algorithm>
#include <atomic>
#include <mutex>

namespace gpu {

namespace {

// A dispatch with less threads than this is done before another host thread has woken up.
constexpr uint64_t worth_sharing = 1024;

uint64_t next_order() {
    static std::atomic<uint64_t> dispatches;
    return (settings().seed + 1) * 0x9e3779b97f4a7c15u + dispatches++ * 0x100000000u;
}

// What a dispatch asks for that the device does not have; empty if it can run.
std::string objection(const Grid & grid) {
    const Dispatch & dispatch = grid.dispatch;
    const Device & device = grid.pipeline.device();
    uint64_t memory = grid.pipeline.static_threadgroup_memory();
    for (uint32_t bytes : dispatch.threadgroup_memory) {
        memory += bytes;
    }
    if (memory > device.threadgroup_memory) {
        return grid.pipeline.name() + " needs " + std::to_string(memory) +
               " bytes of threadgroup memory, the device has " + std::to_string(device.threadgroup_memory);
    }
    const uint64_t threads = uint64_t(dispatch.threads[0]) * dispatch.threads[1] * dispatch.threads[2];
    const uint64_t most = std::min(device.max_threads, Worker::max_threads);
    if (threads == 0 || threads > most) {
        return grid.pipeline.name() + " has " + std::to_string(threads) +
               " threads in a threadgroup, where 1 to " + std::to_string(most) + " can be";
    }
    return {};
}

// Moves what a worker counted since the last time to `counts`.
void collect(msl::worker & state, Counts & counts) {
    counts.simdgroup_operations += state.operations;
    counts.divergent += state.divergent;
    state.operations = state.divergent = 0;
    if (!settings().count_bytes) {
        // kernels that check alignment count too, and what they leave is not the next dispatch's
        std::fill_n(state.bytes_read, max_buffers, 0);
        std::fill_n(state.bytes_written, max_buffers, 0);
        return;
    }
    counts.bytes_read_of.resize(max_buffers);
    counts.bytes_written_of.resize(max_buffers);
    for (unsigned i = 0; i < max_buffers; ++i) {
        counts.bytes_read += state.bytes_read[i];
        counts.bytes_read_of[i] += state.bytes_read[i];
        counts.bytes_written += state.bytes_written[i];
        counts.bytes_written_of[i] += state.bytes_written[i];
        state.bytes_read[i] = state.bytes_written[i] = 0;
    }
}

} // namespace

Outcome run(const Dispatch & dispatch) {
    const Grid grid(dispatch, next_order());
    Outcome outcome;
    outcome.error = objection(grid);
    if (!outcome.error.empty()) {
        return outcome;
    }
    std::atomic<uint64_t> next = 0;
    std::atomic<bool> failed = false;
    uint64_t failed_at = UINT64_MAX; // the error of the first threadgroup counts, whichever worker finds one first
    std::mutex mutex;

    const auto work = [&](Worker & worker) {
        static thread_local Threadgroup threadgroup;
        uint64_t done = 0;
        while (!failed) {
            const uint64_t index = next++;
            if (index >= grid.count) {
                break;
            }
            threadgroup.begin(worker, grid, index);
            while (threadgroup.step()) {
            }
            ++done;
            if (!threadgroup.error().empty()) {
                const std::lock_guard guard(mutex);
                failed = true;
                if (index < failed_at) {
                    failed_at = index;
                    outcome.error = threadgroup.error();
                }
            }
        }
        const std::lock_guard guard(mutex);
        threadgroup.end();
        outcome.counts.threadgroups += done;
        outcome.counts.threads += done * grid.threads;
        collect(worker.state(), outcome.counts);
    };
    // The order of atomic operations of several threadgroups must not depend on the number of workers.
    const bool share = grid.count > 1 && grid.count * grid.threads >= worth_sharing && !grid.pipeline.uses_atomics();
    const unsigned helpers = share ? std::min<uint64_t>(available_helpers(), grid.count - 1) : 0;
    on_workers(helpers, work);
    return outcome;
}

std::vector<Outcome> run_interleaved(const std::vector<Dispatch> & dispatches) {
    std::vector<Outcome> outcomes(dispatches.size());
    std::vector<std::unique_ptr<Grid>> grids;
    std::vector<uint64_t> next(dispatches.size());
    for (size_t i = 0; i < dispatches.size(); ++i) {
        grids.push_back(std::make_unique<Grid>(dispatches[i], next_order()));
        outcomes[i].error = objection(*grids[i]);
    }
    // Threadgroups under way; a few of each dispatch, as a GPU would have.
    struct Running {
        std::unique_ptr<Threadgroup> threadgroup;
        size_t of;
    };
    on_workers(0, [&](Worker & worker) {
        std::vector<Running> running;
        std::vector<std::unique_ptr<Threadgroup>> spare;
        unsigned threads = 0;
        uint64_t random = next_order() | 1;
        const auto draw = [&](size_t n) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            return (random >> 33) % n;
        };
        for (;;) {
            // Starts threadgroups of dispatches drawn at random while there is room.
            std::vector<size_t> waiting;
            for (size_t i = 0; i < grids.size(); ++i) {
                if (outcomes[i].error.empty() && next[i] < grids[i]->count) {
                    waiting.push_back(i);
                }
            }
            while (!waiting.empty() && running.size() < 4 * grids.size()) {
                const size_t choice = draw(waiting.size());
                const size_t i = waiting[choice];
                if (threads + grids[i]->threads > Worker::max_threads && !running.empty()) {
                    break;
                }
                if (spare.empty()) {
                    spare.push_back(std::make_unique<Threadgroup>());
                }
                running.push_back({std::move(spare.back()), i});
                spare.pop_back();
                running.back().threadgroup->begin(worker, *grids[i], next[i]++);
                threads += grids[i]->threads;
                if (next[i] == grids[i]->count) {
                    waiting.erase(waiting.begin() + choice);
                }
            }
            if (running.empty()) {
                break;
            }
            const size_t turn = draw(running.size());
            Running & r = running[turn];
            Outcome & outcome = outcomes[r.of];
            const bool going_on = r.threadgroup->step();
            collect(worker.state(), outcome.counts);
            if (going_on) {
                continue;
            }
            if (outcome.error.empty()) {
                outcome.error = r.threadgroup->error();
            }
            r.threadgroup->end();
            ++outcome.counts.threadgroups;
            outcome.counts.threads += grids[r.of]->threads;
            threads -= grids[r.of]->threads;
            spare.push_back(std::move(r.threadgroup));
            running.erase(running.begin() + turn);
        }
    });
    return outcomes;
}

} // namespace gpu
