// llama.cpp's Metal sources as its CMake embeds them: one flat source for each library.
#pragma once

#include <string>
#include <vector>

// Names of the kernel libraries; empty where no source tree is given (variable INFERNO_LLAMA_CPP).
std::vector<std::string> upstream_libraries();

// The source of one with all headers in it.
std::string upstream_source(const std::string & library);
