#include "upstream.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

static std::string tree() {
    const char * path = getenv("INFERNO_LLAMA_CPP");
    return path ? std::string(path) + "/ggml/src/" : std::string();
}

static std::string read(const std::string & path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

std::vector<std::string> upstream_libraries() {
    std::vector<std::string> names;
    if (tree().empty()) {
        return names;
    }
    std::stringstream list(read(tree() + "ggml-metal/CMakeLists.txt"));
    bool inside = false;
    for (std::string line; std::getline(list, line);) {
        const size_t start = line.find("kernels/");
        if (line.find("set(METALLIB_KERNEL_SOURCES") != std::string::npos) {
            inside = true;
        } else if (inside && start != std::string::npos) {
            const std::string file = line.substr(start + 8);
            names.push_back(file.substr(0, file.find('.')));
        } else if (inside && line.find(')') != std::string::npos) {
            break;
        }
    }
    return names;
}

std::string upstream_source(const std::string & library) {
    const std::string folder = tree() + "ggml-metal/kernels/";
    const std::string own = read(folder + library + ".metal");
    std::string text = read(folder + "common.h");
    for (const char * header : {"dequantize.h", "quantize.h", "fa_common.metal", "fa_vec_common.metal"}) {
        if (own.find(std::string("#include \"") + header + "\"") != std::string::npos) {
            text += read(folder + header);
        }
    }
    text += own;
    std::stringstream lines(text);
    std::string flat;
    for (std::string line; std::getline(lines, line);) {
        if (line.find("__embed_ggml-common.h__") != std::string::npos) {
            flat += read(tree() + "ggml-common.h");
        } else if (line.find("#include \"ggml-metal-impl.h\"") != std::string::npos) {
            flat += read(tree() + "ggml-metal/ggml-metal-impl.h");
        } else if (line.find("#include \"") == std::string::npos && line.find("#pragma once") == std::string::npos) {
            flat += line + "\n";
        }
    }
    return flat;
}
