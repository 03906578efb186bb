#include "memory.h"

#include <mach/vm.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <mutex>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

namespace metal_sim {

namespace {

const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));

constexpr uint64_t alignment = 16; // of the largest scalar type of the shading language's vectors that kernels load

uint64_t round_up(uint64_t bytes, uint64_t to) { return (bytes + to - 1) / to * to; }

// The file that all pages are in. Offsets are never used twice; pages that are freed become a hole.
struct File {
    int descriptor;
    uint64_t end = 0;

    File() : descriptor(memfd_create("metal-sim", MFD_CLOEXEC)) {
        constexpr off_t sparse = off_t(1) << 50;
        if (descriptor < 0 || ftruncate(descriptor, sparse) != 0) {
            fprintf(stderr, "metal-sim: no file for the memory of buffers: %s\n", strerror(errno));
            abort();
        }
    }
};

// Pages of the file and where they are mapped, with a guard page on each side.
struct Region {
    uint64_t length; // without the guards
    uint64_t offset; // in the file
    bool host_can_reach;
};

struct Regions {
    std::mutex mutex;
    File file;
    std::map<char *, Region> by_start;

    // The region that holds an address, or end.
    std::map<char *, Region>::iterator find(const char * address) {
        auto it = by_start.upper_bound(const_cast<char *>(address));
        if (it == by_start.begin()) {
            return by_start.end();
        }
        --it;
        return address < it->first + it->second.length ? it : by_start.end();
    }
};

Regions & regions() {
    static auto regions = new Regions;
    return *regions;
}

// Maps pages of the file between two pages that nobody may touch. Null where there is no room.
char * map_between_guards(int descriptor, uint64_t offset, uint64_t length, int sharing) {
    void * room = mmap(nullptr, length + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) {
        return nullptr;
    }
    char * start = static_cast<char *>(room) + page;
    if (mmap(start, length, PROT_READ | PROT_WRITE, sharing | MAP_FIXED, descriptor, static_cast<off_t>(offset)) ==
        MAP_FAILED) {
        munmap(room, length + 2 * page);
        return nullptr;
    }
    return start;
}

void unmap_between_guards(char * start, uint64_t length) { munmap(start - page, length + 2 * page); }

char * allocate_pages(uint64_t length, bool host_can_reach) {
    Regions & all = regions();
    std::lock_guard guard(all.mutex);
    const uint64_t offset = all.file.end;
    char * start = map_between_guards(all.file.descriptor, offset, length, MAP_SHARED);
    if (start) {
        all.file.end += length;
        all.by_start.emplace(start, Region{length, offset, host_can_reach});
    }
    return start;
}

bool free_pages(char * start) {
    Regions & all = regions();
    std::lock_guard guard(all.mutex);
    const auto it = all.by_start.find(start);
    if (it == all.by_start.end()) {
        return false;
    }
    const Region region = it->second;
    all.by_start.erase(it);
    unmap_between_guards(start, region.length);
    fallocate(all.file.descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(region.offset),
              static_cast<off_t>(region.length));
    return true;
}

//
// Faults of the host
//

struct sigaction handler_before;

void write_text(const char * text) {
    if (write(STDERR_FILENO, text, strlen(text)) < 0) {
        // there is nowhere else to say it
    }
}

void tell(const char * address) {
    char text[256];
    Regions & all = regions();
    // the thread that faults may itself hold the lock; then the place is not told
    std::unique_lock lock(all.mutex, std::try_to_lock);
    if (!lock) {
        return;
    }
    // llama.cpp gives the tensors of private buffers addresses from 0x400 on, where no memory is
    constexpr uintptr_t lowest_mapping = 1 << 16;
    uint64_t without_address = lowest_mapping;
    for (const auto & [start, region] : all.by_start) {
        if (!region.host_can_reach) {
            without_address += region.length;
        }
        if (address >= start - page && address < start + region.length + page) {
            const char * what = region.host_can_reach ? "shared" : "private";
            const char * where = address < start                    ? "before the first byte"
                                 : address < start + region.length ? "inside"
                                                                    : "after the last byte";
            snprintf(text, sizeof(text), "metal-sim: access to %p, %s of the memory of a %s buffer (%llu bytes)\n",
                     static_cast<const void *>(address), where, what, static_cast<unsigned long long>(region.length));
            write_text(text);
            return;
        }
    }
    if (reinterpret_cast<uintptr_t>(address) >= 0x400 && reinterpret_cast<uintptr_t>(address) < without_address) {
        snprintf(text, sizeof(text),
                 "metal-sim: access of the host to %p: no memory is there, but tensors of private buffers have such "
                 "addresses\n",
                 static_cast<const void *>(address));
        write_text(text);
    }
}

void handle_fault(int signal, siginfo_t * info, void * context) {
    tell(static_cast<const char *>(info->si_addr));
    if (handler_before.sa_flags & SA_SIGINFO) {
        handler_before.sa_sigaction(signal, info, context);
    } else if (handler_before.sa_handler == SIG_DFL || handler_before.sa_handler == SIG_IGN) {
        // the access is made again, and ends the process
        ::signal(signal, SIG_DFL);
    } else {
        handler_before.sa_handler(signal);
    }
}

} // namespace

std::shared_ptr<Memory> Memory::allocate(uint64_t bytes, Content content, bool host_can_reach) {
    const uint64_t length = round_up(bytes, page);
    if (bytes == 0 || length < bytes) {
        return nullptr;
    }
    char * pages = allocate_pages(length, host_can_reach);
    if (!pages) {
        return nullptr;
    }
    if (content == Content::poison) {
        memset(pages, 0xff, length);
    }
    return std::shared_ptr<Memory>(new Memory(pages + length - round_up(bytes, alignment), bytes, pages));
}

std::shared_ptr<Memory> Memory::wrap(void * data, uint64_t bytes) {
    return std::shared_ptr<Memory>(new Memory(static_cast<char *>(data), bytes, nullptr));
}

Memory::~Memory() {
    if (pages_) {
        free_pages(pages_);
    }
}

View::View(std::shared_ptr<Memory> memory) : memory_(std::move(memory)), data_(memory_->data()) {
    Regions & all = regions();
    std::lock_guard guard(all.mutex);
    const auto it = all.find(memory_->data());
    if (it == all.by_start.end()) {
        return;
    }
    const auto & [start, region] = *it;
    const uint64_t first = static_cast<uint64_t>(memory_->data() - start) / page * page;
    const uint64_t end = round_up(static_cast<uint64_t>(memory_->data() + memory_->size() - start), page);
    length_ = std::min(end, region.length) - first;
    pages_ = map_between_guards(all.file.descriptor, region.offset + first, length_, MAP_PRIVATE);
    if (!pages_) {
        fprintf(stderr, "metal-sim: no room for a view of %llu bytes\n", static_cast<unsigned long long>(length_));
        abort();
    }
    data_ = pages_ + (memory_->data() - start - static_cast<ptrdiff_t>(first));
}

View::~View() {
    if (pages_) {
        unmap_between_guards(pages_, length_);
    }
}

void View::collect(std::vector<Change> & changes) const {
    if (!pages_) {
        return;
    }
    // The kernel knows which pages were copied: those are no longer pages of the file.
    static const int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    constexpr uint64_t present = 1ull << 63;
    constexpr uint64_t swapped = 1ull << 62;
    constexpr uint64_t of_file = 1ull << 61;
    std::vector<uint64_t> entries(length_ / page);
    const size_t bytes = entries.size() * sizeof(uint64_t);
    const off_t at = static_cast<off_t>(reinterpret_cast<uintptr_t>(pages_) / page * sizeof(uint64_t));
    if (pread(pagemap, entries.data(), bytes, at) != static_cast<ssize_t>(bytes)) {
        fprintf(stderr, "metal-sim: cannot read /proc/self/pagemap, which stale reads need: %s\n", strerror(errno));
        abort();
    }
    char * view_start = data_;
    char * view_end = data_ + memory_->size();
    for (size_t i = 0; i < entries.size(); ++i) {
        if (!(entries[i] & (present | swapped)) || entries[i] & of_file) {
            continue;
        }
        const char * at = std::max(pages_ + i * page, view_start);
        const char * end = std::min(pages_ + (i + 1) * page, view_end);
        const char * old = memory_->data() + (at - view_start);
        while (at < end) {
            for (; at < end && *at == *old; ++at, ++old) {}
            const char * from = at;
            for (; at < end && *at != *old; ++at, ++old) {}
            if (at > from) {
                changes.push_back({memory_, static_cast<uint64_t>(from - view_start), std::string(from, at)});
            }
        }
    }
}

void tell_wrong_accesses() {
    struct sigaction action = {};
    action.sa_sigaction = handle_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &handler_before);
}

} // namespace metal_sim

extern "C" kern_return_t vm_allocate(vm_map_t, vm_address_t * address, vm_size_t size, int) {
    char * pages = metal_sim::allocate_pages(metal_sim::round_up(std::max<uint64_t>(size, 1), metal_sim::page), true);
    if (!pages) {
        return KERN_NO_SPACE;
    }
    *address = reinterpret_cast<vm_address_t>(pages);
    return KERN_SUCCESS;
}

extern "C" kern_return_t vm_deallocate(vm_map_t, vm_address_t address, vm_size_t) {
    return metal_sim::free_pages(reinterpret_cast<char *>(address)) ? KERN_SUCCESS : KERN_INVALID_ADDRESS;
}
