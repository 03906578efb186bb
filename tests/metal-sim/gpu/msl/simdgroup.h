// Barriers, and the functions that the lanes of a simdgroup do together.
#pragma once

#include "math.h"
#include "meet.h"

#define MSL_INLINE __attribute__((always_inline)) inline

namespace msl {

inline simdgroup * this_simdgroup() { return this_worker()->group; }
inline unsigned this_lane() { return this_simdgroup()->current; }

template <class T> MSL_UNHOOKED MSL_INLINE T & in(simdgroup * g, unsigned i) { return *static_cast<T *>(g->lanes[i].in); }
template <class T> MSL_UNHOOKED MSL_INLINE T & out(simdgroup * g, unsigned i) {
    return *static_cast<T *>(g->lanes[i].out);
}

// Runs `fn` for all lanes that are here; each gives a T and gets an R.
template <class R, class T> MSL_INLINE R together(rendezvous fn, T v) {
    R r;
    meet(fn, &v, &r);
    return r;
}

struct plus { template <class T> static T of(T a, T b) { return T(a + b); } };
struct times { template <class T> static T of(T a, T b) { return T(a * b); } };
struct largest { template <class T> static T of(T a, T b) { return b > a ? b : a; } };
struct smallest { template <class T> static T of(T a, T b) { return b < a ? b : a; } };
struct bit_and { template <class T> static T of(T a, T b) { return T(a & b); } };
struct bit_or { template <class T> static T of(T a, T b) { return T(a | b); } };
struct bit_xor { template <class T> static T of(T a, T b) { return T(a ^ b); } };

template <class T, class F> MSL_UNHOOKED __attribute__((flatten, noinline)) void reduce(simdgroup * g, uint64_t mask) {
    T r = in<T>(g, lowest(mask));
    for (uint64_t m = mask & (mask - 1); m; m &= m - 1) {
        r = F::of(r, in<T>(g, lowest(m)));
    }
    for (uint64_t m = mask; m; m &= m - 1) {
        out<T>(g, lowest(m)) = r;
    }
}

// The defect of fault_simd_max_half: an infinity in any lane is taken for the result.
template <class F> MSL_UNHOOKED __attribute__((flatten, noinline)) void reduce_wrong(simdgroup * g, uint64_t mask) {
    reduce<half, F>(g, mask);
    for (uint64_t m = mask; m; m &= m - 1) {
        const half v = in<half>(g, lowest(m));
        if (__builtin_isinf(float(v))) {
            for (uint64_t n = mask; n; n &= n - 1) {
                out<half>(g, lowest(n)) = v;
            }
            return;
        }
    }
}

template <class T, bool Inclusive>
MSL_UNHOOKED __attribute__((flatten, noinline)) void prefix_sum(simdgroup * g, uint64_t mask) {
    T r = T(0);
    for (uint64_t m = mask; m; m &= m - 1) {
        const unsigned i = lowest(m);
        const T before = r;
        r = T(r + in<T>(g, i));
        out<T>(g, i) = Inclusive ? r : before;
    }
}

// A value and the lane that it is wanted from. A lane that is not there gives the asking lane's own value.
template <class T> struct request {
    T value;
    int from;
};

template <class T> MSL_UNHOOKED __attribute__((flatten, noinline)) void shuffle(simdgroup * g, uint64_t mask) {
    for (uint64_t m = mask; m; m &= m - 1) {
        const unsigned i = lowest(m);
        const int from = in<request<T>>(g, i).from;
        const bool there = from >= 0 && from < int(g->width) && (mask >> from & 1);
        out<T>(g, i) = in<request<T>>(g, there ? unsigned(from) : i).value;
    }
}

template <class T> MSL_UNHOOKED __attribute__((flatten, noinline)) void broadcast_first(simdgroup * g, uint64_t mask) {
    for (uint64_t m = mask; m; m &= m - 1) {
        out<T>(g, lowest(m)) = in<T>(g, lowest(mask));
    }
}

MSL_UNHOOKED __attribute__((flatten, noinline, unused)) static void ballot(simdgroup * g, uint64_t mask) {
    uint64_t votes = 0;
    for (uint64_t m = mask; m; m &= m - 1) {
        votes |= uint64_t(in<bool>(g, lowest(m))) << lowest(m);
    }
    for (uint64_t m = mask; m; m &= m - 1) {
        out<uint64_t>(g, lowest(m)) = votes;
    }
}

// The lanes that are here.
MSL_UNHOOKED __attribute__((flatten, noinline, unused)) static void presence(simdgroup * g, uint64_t mask) {
    for (uint64_t m = mask; m; m &= m - 1) {
        out<uint64_t>(g, lowest(m)) = mask;
    }
}

MSL_UNHOOKED __attribute__((noinline, unused)) static void nothing(simdgroup *, uint64_t) {}

constexpr uint32_t fault_simd_max_half = 1 << 0; // as in gpu.h

template <class T, class F> MSL_INLINE T extreme(T v) {
    if constexpr (metal::is_same_v<T, half>) {
        if (this_worker()->faults & fault_simd_max_half) {
            return together<T>(&reduce_wrong<F>, v);
        }
    }
    return together<T>(&reduce<T, F>, v);
}

template <class T> MSL_INLINE T ask(T v, int from) {
    return together<T>(&shuffle<T>, request<T>{v, from});
}

} // namespace msl

namespace metal {

enum class mem_flags {
    mem_none = 0,
    mem_device = 1,
    mem_threadgroup = 2,
    mem_texture = 4,
    mem_threadgroup_imageblock = 8,
    mem_object_data = 16,
};
constexpr mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(int(a) | int(b)); }

MSL_INLINE void threadgroup_barrier(mem_flags) { msl::wait_for_threadgroup(); }
MSL_INLINE void simdgroup_barrier(mem_flags) { msl::meet(&msl::nothing, nullptr, nullptr); }

template <class T> MSL_INLINE T simd_sum(T v) { return msl::together<T>(&msl::reduce<T, msl::plus>, v); }
template <class T> MSL_INLINE T simd_product(T v) { return msl::together<T>(&msl::reduce<T, msl::times>, v); }
template <class T> MSL_INLINE T simd_max(T v) { return msl::extreme<T, msl::largest>(v); }
template <class T> MSL_INLINE T simd_min(T v) { return msl::extreme<T, msl::smallest>(v); }
template <class T> MSL_INLINE T simd_and(T v) { return msl::together<T>(&msl::reduce<T, msl::bit_and>, v); }
template <class T> MSL_INLINE T simd_or(T v) { return msl::together<T>(&msl::reduce<T, msl::bit_or>, v); }
template <class T> MSL_INLINE T simd_xor(T v) { return msl::together<T>(&msl::reduce<T, msl::bit_xor>, v); }
template <class T> MSL_INLINE T simd_prefix_inclusive_sum(T v) { return msl::together<T>(&msl::prefix_sum<T, true>, v); }
template <class T> MSL_INLINE T simd_prefix_exclusive_sum(T v) { return msl::together<T>(&msl::prefix_sum<T, false>, v); }

template <class T> MSL_INLINE T simd_shuffle(T v, ushort lane) { return msl::ask(v, int(lane)); }
template <class T> MSL_INLINE T simd_shuffle_xor(T v, ushort mask) { return msl::ask(v, int(msl::this_lane() ^ mask)); }
template <class T> MSL_INLINE T simd_shuffle_down(T v, ushort n) { return msl::ask(v, int(msl::this_lane() + n)); }
template <class T> MSL_INLINE T simd_shuffle_up(T v, ushort n) { return msl::ask(v, int(msl::this_lane()) - int(n)); }
template <class T> MSL_INLINE T simd_shuffle_rotate_down(T v, ushort n) {
    return msl::ask(v, int((msl::this_lane() + n) % msl::this_simdgroup()->width));
}
template <class T> MSL_INLINE T simd_shuffle_rotate_up(T v, ushort n) {
    const unsigned width = msl::this_simdgroup()->width;
    return msl::ask(v, int((msl::this_lane() + width - n % width) % width));
}
template <class T> MSL_INLINE T simd_broadcast(T v, ushort lane) { return msl::ask(v, int(lane)); }
template <class T> MSL_INLINE T simd_broadcast_first(T v) { return msl::together<T>(&msl::broadcast_first<T>, v); }

MSL_INLINE uint64_t simd_votes(bool v) { return msl::together<uint64_t>(&msl::ballot, v); }
MSL_INLINE uint64_t simd_present() { return msl::together<uint64_t>(&msl::presence, false); }
MSL_INLINE bool simd_any(bool v) { return simd_votes(v) != 0; }
MSL_INLINE bool simd_all(bool v) { return simd_votes(!v) == 0; }
MSL_INLINE bool simd_is_first() { return msl::lowest(simd_present()) == msl::this_lane(); }

} // namespace metal
