// The runtime of blocks: moves them and their __block variables to the heap, counts references.
//
// The layouts are those of the public ABI. Distributions' libBlocksRuntime cannot be used: captured Objective-C objects
// have to be retained with the block, and it has no way to be told how.
#include <Block.h>
#include <objc/runtime.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {

// flags of blocks and of __block variables
constexpr int32_t count_mask = 0xffff;
constexpr int32_t on_heap = 1 << 24;
constexpr int32_t has_copy_dispose = 1 << 25;
constexpr int32_t is_global = 1 << 28;

// what is captured, as the compiler says it
constexpr int capture_kind = 0x1f;
constexpr int captured_object = 3;
constexpr int captured_block = 7;
constexpr int captured_variable = 8;
constexpr int from_variable = 128; // a __block variable that holds an object or block does not retain it

struct Descriptor {
    unsigned long reserved;
    unsigned long size;
    // the next two only with has_copy_dispose
    void (*copy)(void * to, const void * from);
    void (*dispose)(const void * block);
};

struct BlockLayout {
    void * isa;
    std::atomic<int32_t> flags;
    int32_t reserved;
    void (*invoke)(void *, ...);
    const Descriptor * descriptor;
};

struct Variable {
    void * isa;
    Variable * forwarding;
    std::atomic<int32_t> flags;
    int32_t size;
    // the next two only with has_copy_dispose
    void (*keep)(void * to, void * from);
    void (*dispose)(void * variable);
};

Variable * keep_variable(Variable * source) {
    Variable * variable = source->forwarding;
    if (variable->flags & on_heap) {
        variable->flags.fetch_add(1);
        return variable;
    }
    auto copy = static_cast<Variable *>(malloc(static_cast<size_t>(source->size)));
    memcpy(static_cast<void *>(copy), source, static_cast<size_t>(source->size));
    // two references: the block's and that of the frame that declares the variable
    copy->flags = (source->flags & ~count_mask) | on_heap | 2;
    copy->forwarding = copy;
    source->forwarding = copy;
    if (source->flags & has_copy_dispose) {
        source->keep(copy, source);
    }
    return copy;
}

void drop_variable(Variable * source) {
    Variable * variable = source->forwarding;
    if (!(variable->flags & on_heap)) {
        return;
    }
    if ((variable->flags.fetch_sub(1) & count_mask) == 1) {
        if (variable->flags & has_copy_dispose) {
            variable->dispose(variable);
        }
        free(variable);
    }
}

} // namespace

extern "C" {

// What the isa of a block points to; nothing reads them.
void * _NSConcreteStackBlock[32];
void * _NSConcreteGlobalBlock[32];
void * _NSConcreteMallocBlock[32];

void * _Block_copy(const void * source) {
    auto block = static_cast<BlockLayout *>(const_cast<void *>(source));
    if (!block || block->flags & is_global) {
        return block;
    }
    if (block->flags & on_heap) {
        block->flags.fetch_add(1);
        return block;
    }
    auto copy = static_cast<BlockLayout *>(malloc(block->descriptor->size));
    memcpy(static_cast<void *>(copy), block, block->descriptor->size);
    copy->isa = _NSConcreteMallocBlock;
    copy->flags = (block->flags & ~count_mask) | on_heap | 1;
    if (block->flags & has_copy_dispose) {
        block->descriptor->copy(copy, block);
    }
    return copy;
}

void _Block_release(const void * source) {
    auto block = static_cast<BlockLayout *>(const_cast<void *>(source));
    if (!block || !(block->flags & on_heap)) {
        return;
    }
    if ((block->flags.fetch_sub(1) & count_mask) == 1) {
        if (block->flags & has_copy_dispose) {
            block->descriptor->dispose(block);
        }
        free(block);
    }
}

// The compiler calls these two for each thing that a block captured.
void _Block_object_assign(void * to, const void * captured, int kind) {
    void * value = const_cast<void *>(captured);
    if (!(kind & from_variable)) {
        switch (kind & capture_kind) {
            case captured_object: value = objc_retain(static_cast<id>(value)); break;
            case captured_block: value = _Block_copy(captured); break;
            case captured_variable: value = keep_variable(static_cast<Variable *>(value)); break;
            default: break;
        }
    }
    *static_cast<void **>(to) = value;
}

void _Block_object_dispose(const void * captured, int kind) {
    void * value = const_cast<void *>(captured);
    if (kind & from_variable) {
        return;
    }
    switch (kind & capture_kind) {
        case captured_object: objc_release(static_cast<id>(value)); break;
        case captured_block: _Block_release(captured); break;
        case captured_variable: drop_variable(static_cast<Variable *>(value)); break;
        default: break;
    }
}

} // extern "C"
