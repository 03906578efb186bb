// From Metal source to code in this process: translated libraries and loaded objects.
#pragma once

#include "gpu.h"
#include "msl/abi.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace gpu {

// A kernel as the translator found it.
struct KernelFacts {
    bool matrix = false;
    bool reduction = false;
    bool atomic = false;
    std::string entry; // C++ expression of its entry point
};

// A translated source.
class TranslatedLibrary : public Library {
  public:
    const std::vector<std::string> & names() const override { return names_; }

    // Null where there is no such kernel.
    const KernelFacts * kernel(const std::string & name) const;

    const std::string & body() const { return body_; } // path of the C++ header
    const std::string & key() const { return key_; }

  private:
    friend std::shared_ptr<Library> library_from_source(const std::string &, const std::map<std::string, std::string> &,
                                                        std::string &);
    std::vector<std::string> names_;
    std::map<std::string, KernelFacts> kernels_;
    std::string body_;
    std::string key_;
};

// How a kernel is compiled.
struct Variant {
    bool lockstep;   // with the hook at every basic block
    bool accesses;   // with callbacks for loads and stores
    bool flush_half; // half arithmetic without subnormals
    bool divisors;   // a division of integers by zero traps
};

// A kernel's loaded code. It stays loaded to the end of the process.
struct Object {
    const msl::object * description = nullptr;
    uint32_t arrays_size = 0; // bytes of threadgroup memory that it declares, each array aligned to 16
};

// The code of a kernel, compiled if the cache does not have it. Null with a message on failure.
const Object * load_object(const TranslatedLibrary & library, const std::string & name, const Variant & variant,
                           std::string & error);

} // namespace gpu
