// Memory of buffers: whole pages between guard pages, in a file that has no name.
//
// The file lets a second, private view of the same pages be made, which the fault model of stale reads needs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace metal_sim {

class Memory {
  public:
    enum class Content {
        zero,
        poison, // NaN, read as any type of float; -1, read as any type of integer
    };

    // Ends at a guard page, as far as an alignment of 16 allows. Null where the system has no more.
    static std::shared_ptr<Memory> allocate(uint64_t bytes, Content content, bool host_can_reach);

    // Memory of somebody else, who keeps it alive.
    static std::shared_ptr<Memory> wrap(void * data, uint64_t bytes);

    ~Memory();
    Memory(const Memory &) = delete;

    char * data() const { return data_; }
    uint64_t size() const { return size_; }

  private:
    friend class View;
    Memory(char * data, uint64_t size, char * pages) : data_(data), size_(size), pages_(pages) {}

    char * data_;
    uint64_t size_;
    char * pages_; // first of its own pages; null where wrapped
};

// What somebody wrote: bytes that are now in a view and not yet in its memory.
struct Change {
    std::shared_ptr<Memory> memory;
    uint64_t offset;
    std::string bytes;
};

// A copy of a memory, made page by page where it is written to. It shows the memory as it is now as long as nobody
// writes to that.
class View {
  public:
    explicit View(std::shared_ptr<Memory> memory);
    ~View();
    View(const View &) = delete;

    // Where the memory's first byte is in the view. Memory that is not from this file has no views; this is the memory
    // itself then.
    char * data() const { return data_; }

    void collect(std::vector<Change> & changes) const;

  private:
    std::shared_ptr<Memory> memory_;
    char * data_;
    char * pages_ = nullptr;
    uint64_t length_ = 0; // bytes of the pages
};

// From now on, an access of the host to a guard page or to the memory of a private buffer is told before it ends the
// process.
void tell_wrong_accesses();

} // namespace metal_sim
