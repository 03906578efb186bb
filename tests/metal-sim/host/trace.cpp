#include "trace.h"

#include "settings.h"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>

namespace metal_sim::trace {

namespace {

struct Writer {
    std::mutex mutex;
    FILE * file = nullptr;
    Ticket next = 0;                         // the place that is given out next
    Ticket written = 0;                      // places before this one are written
    std::map<Ticket, std::string> completed; // that wait for an earlier one

    Writer() {
        const std::string & name = settings().trace;
        if (name == "-") {
            file = stderr;
        } else if (!name.empty()) {
            file = fopen(name.c_str(), "w");
            if (!file) {
                fprintf(stderr, "metal-sim: cannot write the trace to %s: %s\n", name.c_str(), strerror(errno));
            }
        }
    }
};

std::atomic<Writer *> opened{nullptr};

Writer & writer() {
    static auto writer = [] {
        auto w = new Writer;
        opened = w;
        return w;
    }();
    return *writer;
}

void write_completed(Writer & w) {
    for (auto it = w.completed.begin(); it != w.completed.end() && it->first == w.written; it = w.completed.erase(it)) {
        fputs(it->second.c_str(), w.file);
        ++w.written;
    }
}

} // namespace

bool on() { return writer().file != nullptr; }

Ticket reserve() {
    Writer & w = writer();
    std::lock_guard guard(w.mutex);
    return w.next++;
}

void complete(Ticket ticket, std::string lines) {
    Writer & w = writer();
    if (!w.file) {
        return;
    }
    std::lock_guard guard(w.mutex);
    w.completed.emplace(ticket, std::move(lines));
    write_completed(w);
}

void add(std::string line) { complete(reserve(), std::move(line)); }

void finish() {
    if (!opened || !on()) {
        return;
    }
    Writer & w = writer();
    std::lock_guard guard(w.mutex);
    // a command buffer that was enqueued and never executed leaves its place empty
    for (const auto & [ticket, lines] : w.completed) {
        fputs(lines.c_str(), w.file);
    }
    w.completed.clear();
    fflush(w.file);
}

Line::Line(const char * event) : text_("{") { put("event", std::string(event)); }

void Line::key(const char * name) {
    if (text_.size() > 1) {
        text_ += ", ";
    }
    text_ += std::string("\"") + name + "\": ";
}

Line & Line::put(const char * name, const std::string & value) {
    key(name);
    text_ += '"';
    for (const char c : value) {
        if (c == '"' || c == '\\') {
            text_ += '\\';
        }
        text_ += c >= 0 && c < ' ' ? ' ' : c;
    }
    text_ += '"';
    return *this;
}

Line & Line::put(const char * name, uint64_t value) {
    key(name);
    text_ += std::to_string(value);
    return *this;
}

Line & Line::put(const char * name, bool value) {
    key(name);
    text_ += value ? "true" : "false";
    return *this;
}

Line & Line::put(const char * name, const uint32_t (&value)[3]) {
    key(name);
    text_ += "[" + std::to_string(value[0]) + ", " + std::to_string(value[1]) + ", " + std::to_string(value[2]) + "]";
    return *this;
}

Line & Line::put(const char * name, const std::vector<uint64_t> & values) {
    key(name);
    text_ += '[';
    for (size_t i = 0; i < values.size(); ++i) {
        text_ += (i ? ", " : "") + std::to_string(values[i]);
    }
    text_ += ']';
    return *this;
}

std::string Line::text() const { return text_ + "}\n"; }

} // namespace metal_sim::trace
