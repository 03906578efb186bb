// The trace: what the host asked of the device, one JSON object a line, without addresses and times.
//
// Two runs that ask for the same give the same text. Command buffers are executed by another thread than the one that
// allocates, so lines do not go out when they come in, but in the order in which the host made the requests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace metal_sim::trace {

bool on();

// A place in the trace.
using Ticket = uint64_t;
Ticket reserve();

// Fills a place, with any number of lines.
void complete(Ticket ticket, std::string lines);

// Adds one line at once.
void add(std::string line);

// Writes out what is there; at exit.
void finish();

// One JSON object. Keys come in the order in which they are put.
class Line {
  public:
    explicit Line(const char * event);
    Line & put(const char * key, const std::string & value);
    Line & put(const char * key, uint64_t value);
    Line & put(const char * key, bool value);
    Line & put(const char * key, const uint32_t (&value)[3]);
    Line & put(const char * key, const std::vector<uint64_t> & values);
    std::string text() const; // with the newline

  private:
    void key(const char * name);

    std::string text_;
};

} // namespace metal_sim::trace
