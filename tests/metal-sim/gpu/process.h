// Runs a program and waits for it.
#pragma once

#include <string>
#include <vector>

namespace gpu {

// Exit status of `command`, whose first word is searched in PATH; what it wrote to standard error is added to `output`.
// -1 when it could not be started or was killed.
int run_process(const std::vector<std::string> & command, std::string & output);

} // namespace gpu
