// How a kernel gets its arguments, its function constants and its threadgroup arrays.
#pragma once

#include "vector.h"
#include "abi.h"
#include "rendezvous.h"

namespace msl {

// What a parameter of a kernel is.
enum attribute {
    buffer,
    threadgroup_memory,
    threadgroup_position_in_grid,
    thread_position_in_threadgroup,
    threads_per_threadgroup,
    dispatch_threads_per_threadgroup = threads_per_threadgroup,
    threadgroups_per_grid,
    thread_position_in_grid,
    threads_per_grid,
    thread_index_in_simdgroup,
    simdgroup_index_in_threadgroup,
    thread_index_in_threadgroup,
    simdgroups_per_threadgroup,
    threads_per_simdgroup,
};
template <attribute K, int I = 0> struct is {};

struct triple { uint32_t e[3]; };

// Place of a thread in its threadgroup.
inline triple place_in_threadgroup(const threadgroup * t, uint32_t index) {
    if (t->threads[1] == 1 && t->threads[2] == 1) {
        return {{index, 0, 0}};
    }
    return {{index % t->threads[0], index / t->threads[0] % t->threads[1], index / t->threads[0] / t->threads[1]}};
}

inline triple value(attribute k, const simdgroup * g) {
    const threadgroup * t = g->threadgroup;
    const uint32_t index = g->first + g->current;
    const triple place = place_in_threadgroup(t, index);
    switch (k) {
    case threadgroup_position_in_grid: return {{t->position[0], t->position[1], t->position[2]}};
    case thread_position_in_threadgroup: return place;
    case threads_per_threadgroup: return {{t->threads[0], t->threads[1], t->threads[2]}};
    case threadgroups_per_grid: return {{t->threadgroups[0], t->threadgroups[1], t->threadgroups[2]}};
    case thread_position_in_grid:
        return {{t->position[0] * t->threads[0] + place.e[0], t->position[1] * t->threads[1] + place.e[1],
                 t->position[2] * t->threads[2] + place.e[2]}};
    case threads_per_grid:
        return {{t->threadgroups[0] * t->threads[0], t->threadgroups[1] * t->threads[1],
                 t->threadgroups[2] * t->threads[2]}};
    case thread_index_in_simdgroup: return {{g->current, 0, 0}};
    case simdgroup_index_in_threadgroup: return {{g->index, 0, 0}};
    case thread_index_in_threadgroup: return {{index, 0, 0}};
    case simdgroups_per_threadgroup: return {{t->simdgroups, 0, 0}};
    case threads_per_simdgroup: return {{t->width, 0, 0}};
    default: return {};
    }
}

template <class P> struct from_triple { static P get(triple t) { return P(t.e[0]); } };
template <class T, int N> struct from_triple<metal::vec<T, N>> {
    static metal::vec<T, N> get(triple t) {
        metal::vec<T, N> r;
        for (int i = 0; i < N; ++i) {
            r.e[i] = T(t.e[i]);
        }
        return r;
    }
};

template <class P, class A> struct argument;
template <class P, attribute K> struct argument<P, is<K, 0>> {
    static P get(const simdgroup * g) { return from_triple<typename metal::remove_cvref<P>::type>::get(value(K, g)); }
};
template <class P, int I> struct argument<P *, is<buffer, I>> {
    static P * get(const simdgroup * g) { return static_cast<P *>(g->threadgroup->buffers[I]); }
};
template <class P, int I> struct argument<P &, is<buffer, I>> {
    static P & get(const simdgroup * g) { return *static_cast<P *>(g->threadgroup->buffers[I]); }
};
template <class P> struct argument<P *, is<buffer, 0>> {
    static P * get(const simdgroup * g) { return static_cast<P *>(g->threadgroup->buffers[0]); }
};
template <class P> struct argument<P &, is<buffer, 0>> {
    static P & get(const simdgroup * g) { return *static_cast<P *>(g->threadgroup->buffers[0]); }
};
template <class P, int I> struct argument<P *, is<threadgroup_memory, I>> {
    static P * get(const simdgroup * g) { return static_cast<P *>(g->threadgroup->memory[I]); }
};
template <class P> struct argument<P *, is<threadgroup_memory, 0>> {
    static P * get(const simdgroup * g) { return static_cast<P *>(g->threadgroup->memory[0]); }
};

template <class Signature, class... A> struct entry;
template <class... P, class... A> struct entry<void(P...), A...> {
    template <void (*F)(P...)> static inline __attribute__((always_inline)) void call(worker * w) {
        const simdgroup * g = w->group;
        F(argument<P, A>::get(g)...);
    }
};

// The block of function constants; T is the struct that the translator makes of a library's.
template <class T> inline const T & constants() { return *static_cast<const T *>(this_worker()->constants); }

// A threadgroup array that a kernel declares: T is its type, I the number of its declaration in the source. The record
// is emitted only into objects whose kernel uses the array, so the section says how much memory a kernel declares.
template <class T, int I> struct declared {
    static inline array record __attribute__((section("msl_arrays"))) = {sizeof(T), 0};
};
template <class T, int I> inline T & threadgroup_array() {
    const volatile uint32_t * offset = &declared<T, I>::record.offset;
    return *reinterpret_cast<T *>(this_worker()->group->threadgroup->arrays + *offset);
}

} // namespace msl

extern "C" {
extern __attribute__((weak, visibility("hidden"))) msl::array __start_msl_arrays[];
extern __attribute__((weak, visibility("hidden"))) msl::array __stop_msl_arrays[];
}
