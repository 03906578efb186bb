#include "compiler.h"

#include "cache.h"
#include "hash.h"
#include "process.h"

#include <algorithm>
#include <cstdlib>
#include <dlfcn.h>
#include <filesystem>
#include <mutex>
#include <sstream>
#include <sys/stat.h>

namespace gpu {

// Directory of the translator and of the headers in msl/.
static std::string tool_directory() {
    if (const char * own = getenv("INFERNO_METAL_SIM_DIR"); own && *own) {
        return own;
    }
#ifdef INFERNO_METAL_SIM_DIR
    return INFERNO_METAL_SIM_DIR;
#else
    return "tests/metal-sim/gpu";
#endif
}

static std::string compiler() {
    const char * own = getenv("INFERNO_METAL_SIM_CXX");
    return own && *own ? own : "clang++-19";
}

// Which file the compiler is: cheaper than to ask it for its version.
static std::string compiler_identity() {
    const std::string name = compiler();
    std::string directories = getenv("PATH") ? getenv("PATH") : "";
    std::stringstream list(name.find('/') == std::string::npos ? directories : std::string("/"));
    for (std::string directory; std::getline(list, directory, ':');) {
        const std::string path = name.find('/') == std::string::npos ? directory + "/" + name : name;
        struct stat s;
        if (stat(path.c_str(), &s) == 0) {
            return path + " " + std::to_string(s.st_size) + " " + std::to_string(s.st_mtime);
        }
    }
    return name;
}

// Everything that a result depends on besides the source: the compiler, the translator, the headers.
static const std::string & tools_key() {
    static const std::string key = [] {
        Hash hash;
        hash.add(compiler_identity());
        hash.add(read_file(tool_directory() + "/translate.py"));
        std::vector<std::string> headers;
        std::error_code failure;
        for (const auto & entry : std::filesystem::directory_iterator(tool_directory() + "/msl", failure)) {
            headers.push_back(entry.path().string());
        }
        std::sort(headers.begin(), headers.end());
        for (const std::string & header : headers) {
            hash.add(read_file(header));
        }
        return hash.name();
    }();
    return key;
}

const KernelFacts * TranslatedLibrary::kernel(const std::string & name) const {
    const auto found = kernels_.find(name);
    return found == kernels_.end() ? nullptr : &found->second;
}

std::shared_ptr<Library> library_from_source(const std::string & source,
                                             const std::map<std::string, std::string> & macros, std::string & error) {
    Hash hash;
    hash.add(tools_key()).add(source);
    for (const auto & [name, value] : macros) {
        hash.add(name).add(value);
    }
    auto library = std::make_shared<TranslatedLibrary>();
    library->key_ = hash.name();

    const std::string source_path = cached_file(
        library->key_ + ".metal", [&](const std::string & path) { return write_file(path, source); }, error);
    if (source_path.empty()) {
        return nullptr;
    }
    // The facts come last: where they are, the body is there too.
    const std::string stem = source_path.substr(0, source_path.size() - 6);
    library->body_ = stem + ".h";
    const std::string facts_path = cached_file(
        library->key_ + ".facts",
        [&](const std::string & path) {
            std::vector<std::string> command = {"python3", tool_directory() + "/translate.py", source_path, path + ".h",
                                                path};
            for (const auto & [name, value] : macros) {
                command.push_back("-D" + name + "=" + value);
            }
            std::string output;
            if (run_process(command, output) != 0) {
                error = "translation failed: " + output;
                return false;
            }
            return rename((path + ".h").c_str(), library->body_.c_str()) == 0;
        },
        error);
    if (facts_path.empty()) {
        return nullptr;
    }

    std::stringstream facts(read_file(facts_path));
    for (std::string line; std::getline(facts, line);) {
        std::stringstream fields(line);
        std::string kind, name, operations;
        KernelFacts kernel;
        std::getline(fields, kind, '\t');
        std::getline(fields, name, '\t');
        std::getline(fields, operations, '\t');
        std::getline(fields, kernel.entry);
        kernel.matrix = operations.find("matrix") != std::string::npos;
        kernel.reduction = operations.find("reduction") != std::string::npos;
        kernel.atomic = operations.find("atomic") != std::string::npos;
        if (library->kernels_.emplace(name, kernel).second) {
            library->names_.push_back(name);
        }
    }
    return library;
}

// Flags that decide what a kernel computes and how fast it is compiled.
//
// The machine is a fixed one rather than the host's, so that results do not depend on where a test runs. Contraction is
// off for the same reason. Half is rounded after each operation, as GPUs do, and a literal without suffix is a float.
static std::vector<std::string> compile_flags(const Variant & variant) {
    std::vector<std::string> flags = {
        "-std=gnu++20", "-O2", "-fPIC", "-shared", "-fuse-ld=lld-19", "-fvisibility=hidden", "-nostdinc++",
        "-Xclang", "-ffloat16-excess-precision=none", "-Xclang", "-cl-single-precision-constant", "-ffp-contract=off",
        "-fno-strict-aliasing", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", "-fno-math-errno",
        "-fno-stack-protector", "-w", "-ferror-limit=20",
#if defined(__x86_64__)
        "-march=x86-64-v3",
#else
        "-march=armv8.2-a+fp16",
#endif
    };
    if (variant.lockstep) {
        // Without pruning: it would leave out the blocks where branches meet again.
        flags.push_back("-fsanitize-coverage=trace-pc,no-prune");
    }
    if (variant.accesses) {
        // All accesses of any size call out, none is left out because another one covers it, and none is merged with
        // its neighbours into one that the source does not have.
        for (const char * option :
             {"-asan-instrumentation-with-call-threshold=0", "-asan-stack=0", "-asan-globals=0", "-asan-opt=0",
              "-asan-kernel-mem-intrinsic-prefix=1", "-aggressive-instcombine-max-scan-instrs=0"}) {
            flags.push_back("-mllvm");
            flags.push_back(option);
        }
        flags.push_back("-fsanitize=kernel-address");
        flags.push_back("-fno-slp-vectorize");
        flags.push_back("-fno-vectorize");
    }
    if (variant.divisors) {
        // the check is made before the compiler leaves out what is not used
        flags.push_back("-fsanitize=integer-divide-by-zero");
        flags.push_back("-fsanitize-trap=integer-divide-by-zero");
    }
#if defined(__x86_64__)
    if (variant.flush_half) {
        flags.push_back("-mno-f16c");
    }
#endif
    return flags;
}

static const Object * open_object(const std::string & path, std::string & error) {
    void * handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        error = dlerror();
        return nullptr;
    }
    const auto * description = static_cast<const msl::object *>(dlsym(handle, "msl_object"));
    if (!description || description->version != msl::abi_version) {
        error = path + ": not a kernel of this program's version";
        return nullptr;
    }
    auto * object = new Object;
    object->description = description;
    for (msl::array * a = description->arrays; a != description->arrays_end; ++a) {
        a->offset = object->arrays_size;
        object->arrays_size += (a->size + 15) / 16 * 16;
    }
    return object;
}

// Each kernel is an object of its own. To parse a library takes about 0.1 s of CPU time and to compile one kernel of it
// another 0.1 s; a run needs some twenty kernels, of the 1,100 that there are. All of mul_mv.metal in one object would
// take as long as fifty kernels by themselves.
const Object * load_object(const TranslatedLibrary & library, const std::string & name, const Variant & variant,
                           std::string & error) {
    const KernelFacts & kernel = *library.kernel(name);
    const std::vector<std::string> flags = compile_flags(variant);
    Hash hash;
    hash.add(library.key()).add(name);
    for (const std::string & flag : flags) {
        hash.add(flag);
    }
    hash.add(variant.flush_half);

    static std::mutex mutex;
    static auto & loaded = *new std::map<std::string, const Object *>;
    const std::lock_guard<std::mutex> guard(mutex);
    const Object *& object = loaded[hash.name()];
    if (object) {
        return object;
    }
    const std::string path = cached_file(
        hash.name() + ".so",
        [&](const std::string & temporary) {
            std::string text = "#include \"" + library.body() + "\"\n";
            text += variant.accesses ? "#include \"access.h\"\n" : "";
            text += variant.flush_half ? "#include \"flush.h\"\n" : "";
            text += "extern \"C\" __attribute__((visibility(\"default\"))) const msl::object msl_object = {\n"
                    "    msl::abi_version,\n"
                    "    &" + kernel.entry + ",\n"
                    "    constant_table,\n"
                    "    sizeof constant_table / sizeof constant_table[0] - 1,\n"
                    "    sizeof(function_constants),\n"
                    "    __start_msl_arrays,\n"
                    "    __stop_msl_arrays,\n"
                    "};\n";
            const std::string source = temporary + ".cpp";
            if (!write_file(source, text)) {
                error = source + ": cannot be written";
                return false;
            }
            std::vector<std::string> command = {compiler()};
            command.insert(command.end(), flags.begin(), flags.end());
            command.insert(command.end(), {"-I", tool_directory() + "/msl", source, "-o", temporary, "-lm"});
            std::string output;
            const int status = run_process(command, output);
            std::filesystem::remove(source);
            if (status != 0) {
                error = name + ": compilation failed: " + output;
                return false;
            }
            return true;
        },
        error);
    if (!path.empty()) {
        object = open_object(path, error);
    }
    return object;
}

} // namespace gpu
