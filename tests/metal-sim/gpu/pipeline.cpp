#include "pipeline.h"

#include <cstring>

namespace gpu {

static Settings current_settings;

void configure(const Settings & settings) { current_settings = settings; }

const Settings & settings() { return current_settings; }

std::shared_ptr<Pipeline> make_pipeline(const std::shared_ptr<Library> & library, const std::string & name,
                                        const std::vector<Constant> & constants, const Device & device,
                                        std::string & error) {
    const auto & translated = static_cast<const TranslatedLibrary &>(*library);
    const KernelFacts * facts = translated.kernel(name);
    if (!facts) {
        error = "no kernel " + name + " in the library";
        return nullptr;
    }
    if (facts->matrix && (!device.simdgroup_matrix || device.simdgroup_width != 32)) {
        error = name + ": uses simdgroup matrices, which the device does not have";
        return nullptr;
    }
    if (facts->reduction && !device.simdgroup_reduction) {
        error = name + ": uses functions of simdgroups, which the device does not have";
        return nullptr;
    }
#if !defined(__x86_64__)
    if (device.faults & fault_flush_half) {
        error = name + ": half arithmetic without subnormals can be simulated on x86-64 only";
        return nullptr;
    }
#endif
    const Variant variant = {
        .lockstep = settings().mode == Mode::lockstep,
        .accesses = settings().count_bytes || (device.faults & fault_unaligned_load),
        .flush_half = bool(device.faults & fault_flush_half),
        .divisors = bool(device.faults & fault_division_by_zero),
    };
    const Object * object = load_object(translated, name, variant, error);
    if (!object) {
        return nullptr;
    }
    if (object->arrays_size > device.threadgroup_memory) {
        error = name + ": declares " + std::to_string(object->arrays_size) +
                " bytes of threadgroup memory, the device has " + std::to_string(device.threadgroup_memory);
        return nullptr;
    }
    std::vector<uint64_t> block(object->description->constants_size / sizeof(uint64_t) + 1);
    for (uint32_t i = 0; i < object->description->constant_count; ++i) {
        const msl::constant_slot & slot = object->description->constants[i];
        for (const Constant & constant : constants) {
            if (constant.index != slot.index) {
                continue;
            }
            if (constant.size != slot.size) {
                error = name + ": function constant " + std::to_string(slot.index) + " has " +
                        std::to_string(slot.size) + " bytes, not " + std::to_string(constant.size);
                return nullptr;
            }
            memcpy(reinterpret_cast<char *>(block.data()) + slot.offset, &constant.bits, slot.size);
        }
    }
    return std::make_shared<CompiledPipeline>(library, name, *facts, *object, device, std::move(block));
}

} // namespace gpu
