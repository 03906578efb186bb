// The Objective-C runtime for what clang emits with -fobjc-runtime=macosx-10.15 into ELF objects.
//
// Has classes, message sends, retain counts, autorelease pools, properties and C++ members. Has no categories, no
// exceptions, no weak references, no swizzling. Classes are read as the compiler wrote them: nothing is registered at
// start-up, so a linker that drops unreferenced sections cannot drop a class that is used.
#include <objc/runtime.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#define HIDDEN __attribute__((visibility("hidden")))

namespace {

struct Method {
    const char * name;
    const char * types;
    void * implementation;
};

struct MethodList {
    uint32_t entry_size; // the two lowest bits are flags
    uint32_t count;

    const Method & operator[](uint32_t i) const {
        auto base = reinterpret_cast<const char *>(this) + sizeof(MethodList);
        return *reinterpret_cast<const Method *>(base + size_t(i) * (entry_size & ~3u));
    }
};

// class_ro_t of the ABI
struct ClassData {
    uint32_t flags;
    uint32_t instance_start;
    uint32_t instance_size;
    uint32_t reserved;
    const uint8_t * ivar_layout;
    const char * name;
    const MethodList * methods;
};

constexpr uint32_t flag_meta = 1 << 0;
constexpr uint32_t flag_cxx_members = 1 << 2;

struct Type {
    Type * isa;
    Type * super;
    void * cache;
    void * vtable;
    const ClassData * data;

    bool meta() const { return data->flags & flag_meta; }
};

struct Object {
    Type * isa;
    std::atomic<long> retain_count; // in a string literal the compiler keeps flags here
};

extern "C" Type literal_string_class asm("OBJC_CLASS_$_NSConstantString");

// Classes and string literals live as long as the process.
bool immortal(const Object * object) {
    return object->isa == &literal_string_class || object->isa->meta();
}

Object * object_of(id object) { return reinterpret_cast<Object *>(object); }
Type * type_of(Class cls) { return reinterpret_cast<Type *>(cls); }
id id_of(Object * object) { return reinterpret_cast<id>(object); }

void * own_method(const Type * type, const char * name) {
    if (const MethodList * methods = type->data->methods) {
        for (uint32_t i = 0; i < methods->count; ++i) {
            if (strcmp((*methods)[i].name, name) == 0) {
                return (*methods)[i].implementation;
            }
        }
    }
    return nullptr;
}

void * find_method(const Type * type, const char * name) {
    for (; type; type = type->super) {
        if (void * implementation = own_method(type, name)) {
            return implementation;
        }
    }
    return nullptr;
}

// Selectors are not made unique: each object file has its own copy of the name, and its own line here.
struct CacheLine {
    const Type * type;
    const char * selector;
    void * implementation;
};
constexpr size_t cache_lines = 1024;
thread_local CacheLine cache[cache_lines];

void * lookup(const Type * type, const char * selector) {
    const size_t hash = reinterpret_cast<uintptr_t>(type) / 8 ^ reinterpret_cast<uintptr_t>(selector) / 8;
    CacheLine & line = cache[hash % cache_lines];
    if (line.type == type && line.selector == selector) {
        return line.implementation;
    }
    void * implementation = find_method(type, selector);
    if (!implementation) {
        fprintf(stderr, "metal-sim: %c[%s %s] is not implemented\n", type->meta() ? '+' : '-', type->data->name,
                selector);
        abort();
    }
    line = {type, selector, implementation};
    return implementation;
}

using MemberFunction = void * (*) (Object *, const char *);

void construct_members(Object * object, const Type * type) {
    if (type->super) {
        construct_members(object, type->super);
    }
    if (type->data->flags & flag_cxx_members) {
        if (void * construct = own_method(type, ".cxx_construct")) {
            reinterpret_cast<MemberFunction>(construct)(object, ".cxx_construct");
        }
    }
}

void destroy_members(Object * object) {
    for (const Type * type = object->isa; type; type = type->super) {
        if (type->data->flags & flag_cxx_members) {
            if (void * destroy = own_method(type, ".cxx_destruct")) {
                reinterpret_cast<MemberFunction>(destroy)(object, ".cxx_destruct");
            }
        }
    }
}

// The autoreleased objects of a thread; a pool is the number of objects that were there when it was pushed. Behind a
// pointer, because destructors of static objects push pools after the main thread's own variables are gone.
thread_local std::vector<Object *> * autoreleased = nullptr;

void drain(size_t down_to) {
    while (autoreleased && autoreleased->size() > down_to) {
        Object * object = autoreleased->back();
        autoreleased->pop_back();
        objc_release(id_of(object));
    }
}

struct DrainAtEnd {
    ~DrainAtEnd() {
        drain(0);
        delete autoreleased;
        autoreleased = nullptr;
    }
};

std::vector<Object *> & autoreleased_objects() {
    if (!autoreleased) {
        autoreleased = new std::vector<Object *>;
        static thread_local DrainAtEnd at_end;
        (void) at_end;
    }
    return *autoreleased;
}

} // namespace

// Called by the assembly below.
extern "C" HIDDEN void * metal_sim_lookup(Object * receiver, const char * selector) {
    return lookup(receiver->isa, selector);
}

struct SuperCall {
    Object * receiver;
    Type * type; // the class whose method makes the call
};

extern "C" HIDDEN void * metal_sim_lookup_super(SuperCall * call, const char * selector) {
    return lookup(call->type->super, selector);
}

// A message send must leave all argument registers as they are, so it cannot be written in C++.
#if defined(__x86_64__)
asm(R"(
        .text
        .macro metal_sim_save_arguments
        pushq   %rbp
        movq    %rsp, %rbp
        subq    $192, %rsp
        movq    %rdi, -8(%rbp)
        movq    %rsi, -16(%rbp)
        movq    %rdx, -24(%rbp)
        movq    %rcx, -32(%rbp)
        movq    %r8, -40(%rbp)
        movq    %r9, -48(%rbp)
        movq    %rax, -56(%rbp)
        movups  %xmm0, -80(%rbp)
        movups  %xmm1, -96(%rbp)
        movups  %xmm2, -112(%rbp)
        movups  %xmm3, -128(%rbp)
        movups  %xmm4, -144(%rbp)
        movups  %xmm5, -160(%rbp)
        movups  %xmm6, -176(%rbp)
        movups  %xmm7, -192(%rbp)
        .endm

        .macro metal_sim_restore_arguments
        movq    %rax, %r11
        movq    -8(%rbp), %rdi
        movq    -16(%rbp), %rsi
        movq    -24(%rbp), %rdx
        movq    -32(%rbp), %rcx
        movq    -40(%rbp), %r8
        movq    -48(%rbp), %r9
        movq    -56(%rbp), %rax
        movups  -80(%rbp), %xmm0
        movups  -96(%rbp), %xmm1
        movups  -112(%rbp), %xmm2
        movups  -128(%rbp), %xmm3
        movups  -144(%rbp), %xmm4
        movups  -160(%rbp), %xmm5
        movups  -176(%rbp), %xmm6
        movups  -192(%rbp), %xmm7
        leave
        .endm

        .globl  objc_msgSend
        .type   objc_msgSend, @function
objc_msgSend:
        testq   %rdi, %rdi
        jz      1f
        metal_sim_save_arguments
        call    metal_sim_lookup
        metal_sim_restore_arguments
        jmp     *%r11
1:      xorl    %eax, %eax
        xorl    %edx, %edx
        pxor    %xmm0, %xmm0
        pxor    %xmm1, %xmm1
        ret
        .size   objc_msgSend, . - objc_msgSend

        # the address of a returned struct comes first, the receiver second
        .globl  objc_msgSend_stret
        .type   objc_msgSend_stret, @function
objc_msgSend_stret:
        testq   %rsi, %rsi
        jz      1f
        metal_sim_save_arguments
        movq    %rsi, %rdi
        movq    %rdx, %rsi
        call    metal_sim_lookup
        metal_sim_restore_arguments
        jmp     *%r11
1:      movq    %rdi, %rax
        ret
        .size   objc_msgSend_stret, . - objc_msgSend_stret

        .globl  objc_msgSendSuper2
        .type   objc_msgSendSuper2, @function
objc_msgSendSuper2:
        metal_sim_save_arguments
        call    metal_sim_lookup_super
        metal_sim_restore_arguments
        movq    (%rdi), %rdi
        jmp     *%r11
        .size   objc_msgSendSuper2, . - objc_msgSendSuper2
)");
#elif defined(__aarch64__)
asm(R"(
        .text
        .macro metal_sim_save_arguments
        stp     x29, x30, [sp, #-224]!
        mov     x29, sp
        stp     x0, x1, [sp, #16]
        stp     x2, x3, [sp, #32]
        stp     x4, x5, [sp, #48]
        stp     x6, x7, [sp, #64]
        str     x8, [sp, #80]
        stp     q0, q1, [sp, #96]
        stp     q2, q3, [sp, #128]
        stp     q4, q5, [sp, #160]
        stp     q6, q7, [sp, #192]
        .endm

        .macro metal_sim_restore_arguments
        mov     x16, x0
        ldp     x0, x1, [sp, #16]
        ldp     x2, x3, [sp, #32]
        ldp     x4, x5, [sp, #48]
        ldp     x6, x7, [sp, #64]
        ldr     x8, [sp, #80]
        ldp     q0, q1, [sp, #96]
        ldp     q2, q3, [sp, #128]
        ldp     q4, q5, [sp, #160]
        ldp     q6, q7, [sp, #192]
        ldp     x29, x30, [sp], #224
        .endm

        .globl  objc_msgSend
        .type   objc_msgSend, %function
objc_msgSend:
        cbz     x0, 1f
        metal_sim_save_arguments
        bl      metal_sim_lookup
        metal_sim_restore_arguments
        br      x16
1:      mov     x1, #0
        movi    d0, #0
        movi    d1, #0
        movi    d2, #0
        movi    d3, #0
        ret
        .size   objc_msgSend, . - objc_msgSend

        .globl  objc_msgSendSuper2
        .type   objc_msgSendSuper2, %function
objc_msgSendSuper2:
        metal_sim_save_arguments
        bl      metal_sim_lookup_super
        metal_sim_restore_arguments
        ldr     x0, [x0]
        br      x16
        .size   objc_msgSendSuper2, . - objc_msgSendSuper2
)");
#else
#error "message sends are written for x86_64 and aarch64"
#endif

extern "C" {

// Classes refer to these; nothing reads them.
void * _objc_empty_cache = nullptr;
void * _objc_empty_vtable = nullptr;

id objc_msgSend(id receiver, const char * selector);

// What clang names for cleanups in Objective-C when exceptions are on. No exception is thrown by Objective-C here, but
// one of C++ may pass through.
int __gcc_personality_v0(int, int, uint64_t, void *, void *);

int __objc_personality_v0(int version, int actions, uint64_t exception_class, void * exception, void * context) {
    return __gcc_personality_v0(version, actions, exception_class, exception, context);
}

id objc_alloc(Class cls) {
    Type * type = type_of(cls);
    auto object = static_cast<Object *>(calloc(1, type->data->instance_size));
    if (!object) {
        fprintf(stderr, "metal-sim: no memory for a %s\n", type->data->name);
        abort();
    }
    object->isa = type;
    object->retain_count = 1;
    construct_members(object, type);
    return id_of(object);
}

id objc_alloc_init(Class cls) { return objc_msgSend(objc_alloc(cls), "init"); }

id objc_opt_new(Class cls) { return objc_alloc_init(cls); }

id objc_opt_self(id object) { return object; }

Class objc_opt_class(id object) {
    if (!object) {
        return nullptr;
    }
    return object_of(object)->isa->meta() ? reinterpret_cast<Class>(object) : object_getClass(object);
}

BOOL objc_opt_isKindOfClass(id object, Class cls) { return object && class_isSubclass(object_getClass(object), cls); }

BOOL objc_opt_respondsToSelector(id object, SEL selector) {
    return object && class_hasMethod(object_getClass(object), selector);
}

void objc_free_instance(id object) {
    destroy_members(object_of(object));
    free(object);
}

id objc_retain(id object) {
    if (object && !immortal(object_of(object))) {
        object_of(object)->retain_count.fetch_add(1, std::memory_order_relaxed);
    }
    return object;
}

void objc_release(id object) {
    if (!object || immortal(object_of(object))) {
        return;
    }
    const long before = object_of(object)->retain_count.fetch_sub(1, std::memory_order_acq_rel);
    if (before == 1) {
        objc_msgSend(object, "dealloc");
    } else if (before < 1) {
        fprintf(stderr, "metal-sim: a %s was released more often than retained\n",
                class_getName(object_getClass(object)));
        abort();
    }
}

unsigned long objc_retain_count(id object) {
    return immortal(object_of(object)) ? ~0ul : static_cast<unsigned long>(object_of(object)->retain_count.load());
}

id objc_autorelease(id object) {
    if (object) {
        autoreleased_objects().push_back(object_of(object));
    }
    return object;
}

void * objc_autoreleasePoolPush(void) { return reinterpret_cast<void *>(autoreleased_objects().size()); }

void objc_autoreleasePoolPop(void * pool) { drain(reinterpret_cast<size_t>(pool)); }

// A collection changed while a `for … in` went through it.
void objc_enumerationMutation(id collection) {
    fprintf(stderr, "metal-sim: a %s changed while it was enumerated\n", class_getName(object_getClass(collection)));
    abort();
}

void objc_setProperty_nonatomic(id object, SEL, id value, ptrdiff_t offset) {
    auto slot = reinterpret_cast<id *>(reinterpret_cast<char *>(object) + offset);
    id before = *slot;
    *slot = objc_retain(value);
    objc_release(before);
}

void objc_setProperty_nonatomic_copy(id object, SEL, id value, ptrdiff_t offset) {
    auto slot = reinterpret_cast<id *>(reinterpret_cast<char *>(object) + offset);
    id before = *slot;
    *slot = value ? objc_msgSend(value, "copy") : nullptr;
    objc_release(before);
}

const char * class_getName(Class cls) { return type_of(cls)->data->name; }

Class object_getClass(id object) { return object ? reinterpret_cast<Class>(object_of(object)->isa) : nullptr; }

BOOL class_isSubclass(Class cls, Class of) {
    for (const Type * type = type_of(cls); type; type = type->super) {
        if (type == type_of(of)) {
            return true;
        }
    }
    return false;
}

BOOL class_hasMethod(Class cls, SEL selector) {
    return find_method(type_of(cls), reinterpret_cast<const char *>(selector)) != nullptr;
}

} // extern "C"
