// The directory of translated libraries and compiled kernels. Files are named by content and never change.
#pragma once

#include <functional>
#include <string>

namespace gpu {

// Path of the file `name` in the cache. If it is not there, `make` is called with the path of a temporary file to write;
// it gets its name only when `make` returns true. One process makes a file at a time, the others wait for it.
// Empty with a message on failure.
std::string cached_file(const std::string & name, const std::function<bool(const std::string & path)> & make,
                        std::string & error);

std::string read_file(const std::string & path);
bool write_file(const std::string & path, const std::string & text);

} // namespace gpu
