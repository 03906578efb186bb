#include "threadgroup.h"

#include "msl/rendezvous.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace gpu {

namespace {

constexpr uint32_t red_zone = 4096;
// Both are NaN as float, half and bfloat, and differ, so that a poison value that is copied too far is seen.
constexpr uint16_t poison = 0xffff;
constexpr uint16_t red = 0xffa5;

uint64_t scramble(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

// A red zone as it should be.
const char * intact() {
    static const std::vector<uint16_t> zone(red_zone / 2, red);
    return reinterpret_cast<const char *>(zone.data());
}

void fill(char * start, uint32_t size, uint16_t value) {
    if (size >= 2) {
        std::fill_n(reinterpret_cast<uint16_t *>(start), size / 2, value);
    }
    if (size & 1) {
        start[size - 1] = char(value & 0xff);
    }
}

} // namespace

Grid::Grid(const Dispatch & d, uint64_t o)
    : dispatch(d), pipeline(static_cast<const CompiledPipeline &>(*d.pipeline)),
      count(uint64_t(d.threadgroups[0]) * d.threadgroups[1] * d.threadgroups[2]),
      threads(d.threads[0] * d.threads[1] * d.threads[2]), order(o) {
    for (unsigned i = 0; i < max_buffers; ++i) {
        const Binding & b = d.buffers[i];
        buffers[i] = b.data;
        if (b.data) {
            const auto start = reinterpret_cast<uintptr_t>(b.data);
            ranges.push_back({start, start + b.size, i});
        }
    }
    std::sort(ranges.begin(), ranges.end(), [](const auto & a, const auto & b) {
        return a.start != b.start ? a.start < b.start : a.index < b.index;
    });
}

// Places all threadgroup memory of the grid in one block.
void Threadgroup::layout() {
    pieces_.clear();
    uint32_t size = 0;
    const auto add = [&](uint32_t bytes, int index) {
        size = (size + 63) / 64 * 64;
        pieces_.push_back({reinterpret_cast<char *>(uintptr_t(size)), bytes, index});
        size += bytes + (bytes & 1) + red_zone;
    };
    for (unsigned i = 0; i < max_threadgroup_buffers; ++i) {
        if (grid_->dispatch.threadgroup_memory[i]) {
            add(grid_->dispatch.threadgroup_memory[i], i);
        }
    }
    if (grid_->pipeline.object().arrays_size) {
        add(grid_->pipeline.object().arrays_size, -1);
    }
    if (memory_.size() < size + 64) {
        memory_.resize(size + 64);
    }
    char * base = memory_.data() + (64 - reinterpret_cast<uintptr_t>(memory_.data()) % 64) % 64;
    std::fill_n(shared_.memory, msl::max_threadgroup_buffers, nullptr);
    shared_.arrays = nullptr;
    for (Piece & piece : pieces_) {
        piece.start = base + reinterpret_cast<uintptr_t>(piece.start);
        fill(piece.start + piece.size + (piece.size & 1), red_zone, red);
        if (piece.index >= 0) {
            shared_.memory[piece.index] = piece.start;
        } else {
            shared_.arrays = piece.start;
        }
    }
}

void Threadgroup::begin(Worker & worker, const Grid & grid, uint64_t index) {
    const Dispatch & dispatch = grid.dispatch;
    const uint32_t width = grid.pipeline.device().simdgroup_width;
    const uint32_t simdgroups = (grid.threads + width - 1) / width;
    error_.clear();
    if (&grid != grid_ || &worker != worker_) {
        worker_ = &worker;
        grid_ = &grid;
        layout();
        if (lanes_.size() < simdgroups * width) {
            lanes_.resize(simdgroups * width);
        }
        simdgroups_.resize(simdgroups);
        shared_.buffers = grid.buffers;
        shared_.constants = grid.pipeline.constants();
        for (int d = 0; d < 3; ++d) {
            shared_.threadgroups[d] = dispatch.threadgroups[d];
            shared_.threads[d] = dispatch.threads[d];
        }
        shared_.simdgroups = simdgroups;
        shared_.width = width;
    }
    shared_.position[0] = index % dispatch.threadgroups[0];
    shared_.position[1] = index / dispatch.threadgroups[0] % dispatch.threadgroups[1];
    shared_.position[2] = index / dispatch.threadgroups[0] / dispatch.threadgroups[1];
    shared_.returned = 0;
    shared_.barrier_site = nullptr;
    shared_.barriers_differ = false;
    for (const Piece & piece : pieces_) {
        memset(piece.start, poison & 0xff, piece.size);
    }
    for (unsigned i = 0; i < simdgroups; ++i) {
        const unsigned count = std::min(grid.threads - i * width, width);
        msl::simdgroup & g = simdgroups_[i];
        g = {};
        g.alive = count == 64 ? ~uint64_t(0) : (uint64_t(1) << count) - 1;
        g.runnable = g.alive;
        g.parked_site = UINTPTR_MAX;
        g.width = width;
        g.index = i;
        g.first = i * width;
        g.lanes = &lanes_[i * width];
        g.threadgroup = &shared_;
    }
    // In free mode every threadgroup has an order of its own, whichever worker it is on.
    random_ = settings().mode == Mode::free ? scramble(grid.order + index) | 1 : 0;
    next_ = random_ ? random_ % simdgroups : 0;
}

bool Threadgroup::step() {
    const unsigned count = simdgroups_.size();
    for (unsigned tried = 0; tried < count; ++tried) {
        msl::simdgroup & g = simdgroups_[next_];
        if (!g.runnable) {
            next_ = next_ + 1 == count ? 0 : next_ + 1;
            continue;
        }
        msl::worker & state = worker_->state();
        state.random = random_;
        state.constants = shared_.constants;
        state.faults = grid_->pipeline.device().faults;
        state.ranges = grid_->ranges.data();
        state.range_count = grid_->ranges.size();
        state.last_range = 0;
        state.check_alignment = state.faults & fault_unaligned_load;
        state.unaligned = 0;
        worker_->entry = grid_->pipeline.object().description->entry;
        if (!worker_->enter(g)) {
            fail(worker_->division_by_zero() ? "divides an integer by zero"
                 : worker_->stack_overflow() ? "overflows the simulator's stack for a thread"
                                             : "faults at " + place(worker_->fault_address()));
            return false;
        }
        random_ = state.random;
        check_accesses();
        return error_.empty();
    }
    const auto lives = [](const msl::simdgroup & g) { return g.alive != 0; };
    if (std::none_of(simdgroups_.begin(), simdgroups_.end(), lives)) {
        check_red_zones();
        return false;
    }
    pass_barrier();
    return error_.empty();
}

// All threads that live wait at a barrier.
void Threadgroup::pass_barrier() {
    if (shared_.returned) {
        fail("has a barrier that " + std::to_string(shared_.returned) + " of " + std::to_string(grid_->threads) +
             " threads of the threadgroup do not reach");
        return;
    }
    if (shared_.barriers_differ) {
        fail("has threads of one threadgroup that wait at different barriers");
        return;
    }
    shared_.barrier_site = nullptr;
    for (msl::simdgroup & g : simdgroups_) {
        g.runnable = g.alive;
        g.at_barrier = 0;
    }
    next_ = random_ ? (random_ >> 33) % simdgroups_.size() : 0;
}

void Threadgroup::check_red_zones() {
    for (const Piece & piece : pieces_) {
        char * zone = piece.start + piece.size + (piece.size & 1);
        if (memcmp(zone, intact(), red_zone) != 0) {
            uint32_t last = red_zone;
            while (zone[last - 1] == intact()[last - 1]) {
                --last;
            }
            last = (last + 1) / 2 * 2;
            fill(zone, red_zone, red);
            fail("writes " + std::to_string(last) + " bytes past the end of " +
                 (piece.index >= 0 ? "threadgroup buffer " + std::to_string(piece.index) : "the arrays it declares") +
                 " (" + std::to_string(piece.size) + " bytes)");
        }
    }
}

void Threadgroup::check_accesses() {
    if (const uintptr_t address = worker_->state().unaligned) {
        const unsigned size = worker_->state().unaligned_size;
        fail("loads " + std::to_string(size) + " bytes not aligned to 4 at " + place(address));
    }
}

void Threadgroup::fail(const std::string & what) {
    if (error_.empty()) {
        error_ = grid_->pipeline.name() + " " + what;
    }
    for (msl::simdgroup & g : simdgroups_) {
        worker_->forget(g);
    }
}

// An address in terms of the bindings.
std::string Threadgroup::place(uintptr_t address) const {
    char text[32];
    snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(address));
    std::string result = text;
    if (address < 65536) {
        return result + ", as if through a buffer that is not bound";
    }
    const msl::range * nearest = nullptr;
    uintptr_t least = UINTPTR_MAX;
    for (const msl::range & r : grid_->ranges) {
        const uintptr_t distance = address < r.start ? r.start - address : address < r.end ? 0 : address - r.end;
        // Of several that hold it, the last one starts nearest.
        if (distance < least || (distance == 0 && least == 0)) {
            least = distance;
            nearest = &r;
        }
    }
    if (!nearest) {
        return result + ", no buffer is bound";
    }
    const std::string buffer = "buffer " + std::to_string(nearest->index) + " (" +
                               std::to_string(nearest->end - nearest->start) + " bytes)";
    if (address < nearest->start) {
        return result + ", " + std::to_string(nearest->start - address) + " bytes before " + buffer;
    }
    if (address < nearest->end) {
        return result + ", byte " + std::to_string(address - nearest->start) + " of " + buffer;
    }
    return result + ", " + std::to_string(address - nearest->end) + " bytes after the end of " + buffer;
}

} // namespace gpu
