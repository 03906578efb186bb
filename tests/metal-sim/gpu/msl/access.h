// The callbacks that -fsanitize=kernel-address makes of loads and stores: they count bytes for each binding, and find
// loads that are not aligned to 4 bytes.
//
// A buffer can be bound several times, and a binding reaches to the end of its buffer. An access belongs to the binding
// that starts nearest before it.
#pragma once

#include "rendezvous.h"

namespace msl {

// The range of an address; null for stack, threadgroup memory and the tables of a library.
MSL_UNHOOKED inline __attribute__((always_inline)) const range * range_of(worker * w, uintptr_t address) {
    if ((address & ~(area_size - 1)) == reinterpret_cast<uintptr_t>(w) || !w->range_count) {
        return nullptr;
    }
    unsigned i = w->last_range;
    const bool same = address >= w->ranges[i].start && (i + 1 == w->range_count || address < w->ranges[i + 1].start);
    if (!same) {
        i = w->range_count;
        while (i > 0 && w->ranges[i - 1].start > address) {
            --i;
        }
        if (i == 0) {
            return nullptr;
        }
        w->last_range = --i;
    }
    return address < w->ranges[i].end ? &w->ranges[i] : nullptr;
}

MSL_UNHOOKED __attribute__((noinline, unused)) static void on_load(uintptr_t address, size_t size, bool whole) {
    worker * w = this_worker();
    if (const range * r = range_of(w, address)) {
        w->bytes_read[r->index] += size;
        if (w->check_alignment && whole && size >= 4 && (address & 3) && !w->unaligned) {
            w->unaligned = address;
            w->unaligned_size = size;
        }
    }
}

MSL_UNHOOKED __attribute__((noinline, unused)) static void on_store(uintptr_t address, size_t size) {
    worker * w = this_worker();
    if (const range * r = range_of(w, address)) {
        w->bytes_written[r->index] += size;
    }
}

} // namespace msl

#define MSL_ACCESS(N)                                                                                                  \
    MSL_CALLBACK void __asan_load##N##_noabort(uintptr_t a) { msl::on_load(a, N, true); }                              \
    MSL_CALLBACK void __asan_store##N##_noabort(uintptr_t a) { msl::on_store(a, N); }
#define MSL_CALLBACK extern "C" MSL_UNHOOKED __attribute__((visibility("hidden"), used))

MSL_ACCESS(1)
MSL_ACCESS(2)
MSL_ACCESS(4)
MSL_ACCESS(8)
MSL_ACCESS(16)
MSL_CALLBACK void __asan_loadN_noabort(uintptr_t a, size_t n) { msl::on_load(a, n, true); }
MSL_CALLBACK void __asan_storeN_noabort(uintptr_t a, size_t n) { msl::on_store(a, n); }
MSL_CALLBACK void __asan_handle_no_return() {}
MSL_CALLBACK void * __asan_memcpy(void * to, const void * from, size_t n) {
    msl::on_load(reinterpret_cast<uintptr_t>(from), n, false);
    msl::on_store(reinterpret_cast<uintptr_t>(to), n);
    return __builtin_memcpy(to, from, n);
}
MSL_CALLBACK void * __asan_memmove(void * to, const void * from, size_t n) {
    msl::on_load(reinterpret_cast<uintptr_t>(from), n, false);
    msl::on_store(reinterpret_cast<uintptr_t>(to), n);
    return __builtin_memmove(to, from, n);
}
MSL_CALLBACK void * __asan_memset(void * to, int value, size_t n) {
    msl::on_store(reinterpret_cast<uintptr_t>(to), n);
    return __builtin_memset(to, value, n);
}

#undef MSL_ACCESS
#undef MSL_CALLBACK
