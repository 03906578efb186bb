// Counts what lives and what went wrong, and reports it when the process exits.
#pragma once

#include <cstdint>
#include <string>

namespace metal_sim::ledger {

enum class Kind { buffer, command_buffer };

void born(Kind kind, uint64_t bytes = 0);
void died(Kind kind, uint64_t bytes = 0);

// A queue's thread is at work on a command buffer between these two. Whoever waits for the command buffer can go on, and
// exit, before the thread has released it, which must not look like a leak.
void begin_work();
void end_work();

// Something that Metal would not have let pass, or that a kernel did wrong. Texts that differ in numbers only are one
// error many times, of which the first is printed.
void error(const std::string & text);

// The text with addresses and other numbers replaced: the same from run to run.
std::string without_numbers(const std::string & text);

} // namespace metal_sim::ledger
