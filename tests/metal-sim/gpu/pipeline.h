// A kernel with its constants and the device that it runs on.
#pragma once

#include "compiler.h"

namespace gpu {

class CompiledPipeline : public Pipeline {
  public:
    CompiledPipeline(std::shared_ptr<Library> library, std::string name, const KernelFacts & facts,
                     const Object & object, const Device & device, std::vector<uint64_t> constants)
        : library_(std::move(library)), name_(std::move(name)), facts_(facts), object_(object), device_(device),
          constants_(std::move(constants)) {}

    const std::string & name() const override { return name_; }
    uint32_t static_threadgroup_memory() const override { return object_.arrays_size; }
    bool uses_matrix() const override { return facts_.matrix; }

    bool uses_atomics() const { return facts_.atomic; }
    const Object & object() const { return object_; }
    const Device & device() const { return device_; }
    const void * constants() const { return constants_.data(); }

  private:
    std::shared_ptr<Library> library_;
    std::string name_;
    const KernelFacts & facts_; // in library_
    const Object & object_;
    Device device_;
    std::vector<uint64_t> constants_; // the library's block of function constants
};

// Settings of the process.
const Settings & settings();

} // namespace gpu
