// Simdgroups of 32 threads, on GPUs that have others or none.
//
// The kernels divide their work among groups of 32 lanes, and the host gives them threadgroups of such groups. Here these
// groups are made of what the GPU has, so that neither has to know: a kernel takes SIMD_ARGS for its place in a group,
// begins with SIMD_BEGIN, and has `tiisg` and `sgitg` as ever; in functions that it calls `tiisg` is a simd_lane.
//
//   GGML_METAL_LANES undefined   simdgroups have 32 threads: all of this is the plain attributes and functions
//   GGML_METAL_LANES_HALVES      they have 64: each is two groups, which are reduced one after the other
//   GGML_METAL_LANES_SHARED      any other number, a number that differs by kernel, or reductions that do not work:
//                                32 threads that follow each other, which meet in threadgroup memory
//
// In the shared form each of these functions has barriers of the threadgroup: all of its groups must reach it.

#if defined(GGML_METAL_LANES_SHARED)

#define SIMD_SHARED true

struct simd_lane {
    ushort index;
    ushort count;              // lanes of the group: the last one of a threadgroup may have fewer than 32
    threadgroup float * shmem; // of the group, 32 values

    operator ushort() const { return index; }
};

#define SIMD_ARGS       ushort tiitg[[thread_index_in_threadgroup]]
#define SIMD_ARGS_TIITG SIMD_ARGS

#define SIMD_PLACE(groups, threads)                                                                       \
    threadgroup float simd_shmem[32*(groups)];                                                            \
    const ushort sgitg = tiitg/32;                                                                        \
    const simd_lane tiisg = { (ushort) (tiitg%32), (ushort) min(32, (int) (threads) - 32*(tiitg/32)), simd_shmem + 32*(tiitg/32) }

// for as many whole groups, at most
#define SIMD_BEGIN(groups)     SIMD_PLACE(groups, 32*(groups))
// for a threadgroup of as many threads, which need not be whole groups
#define SIMD_BEGIN_OF(threads) SIMD_PLACE(32, threads)

#define SIMD_BARRIER(flags) threadgroup_barrier((flags) | mem_flags::mem_threadgroup)

// Shows x to the other lanes, which read it from the result.
template<typename T>
inline threadgroup T * simd32_show(T x, simd_lane lane) {
    static_assert(sizeof(T) <= sizeof(float), "a lane shows one value of 4 bytes at a time");

    threadgroup T * shmem = (threadgroup T *) lane.shmem;

    // what was shown before has been read
    threadgroup_barrier(mem_flags::mem_threadgroup);
    shmem[lane.index] = x;
    threadgroup_barrier(mem_flags::mem_threadgroup);

    return shmem;
}

template<typename T>
inline T simd32_sum(T x, simd_lane lane) {
    threadgroup const T * shmem = simd32_show(x, lane);

    T res = shmem[0];
    for (ushort i = 1; i < lane.count; ++i) {
        res += shmem[i];
    }
    return res;
}

inline float4 simd32_sum(float4 x, simd_lane lane) {
    float4 res;
    for (short i = 0; i < 4; ++i) {
        res[i] = simd32_sum((float) x[i], lane);
    }
    return res;
}

template<typename T>
inline T simd32_max(T x, simd_lane lane) {
    threadgroup const T * shmem = simd32_show(x, lane);

    T res = shmem[0];
    for (ushort i = 1; i < lane.count; ++i) {
        res = max(res, shmem[i]);
    }
    return res;
}

// The sum of the lanes before this one.
template<typename T>
inline T simd32_prefix_exclusive_sum(T x, simd_lane lane) {
    threadgroup const T * shmem = simd32_show(x, lane);

    T res = 0;
    for (ushort i = 0; i < lane.index; ++i) {
        res += shmem[i];
    }
    return res;
}

template<typename T>
inline T simd32_prefix_inclusive_sum(T x, simd_lane lane) {
    return simd32_prefix_exclusive_sum(x, lane) + x;
}

template<typename T>
inline T simd32_shuffle(T x, ushort from, simd_lane lane) {
    return simd32_show(x, lane)[from < lane.count ? from : lane.index];
}

template<typename T>
inline T simd32_shuffle_xor(T x, ushort mask, simd_lane lane) {
    return simd32_shuffle(x, lane.index ^ mask, lane);
}

template<typename T>
inline T simd32_shuffle_down(T x, ushort delta, simd_lane lane) {
    return simd32_shuffle(x, lane.index + delta, lane);
}

template<typename T>
inline T simd32_shuffle_up(T x, ushort delta, simd_lane lane) {
    return simd32_shuffle(x, lane.index >= delta ? lane.index - delta : lane.index, lane);
}

#elif defined(GGML_METAL_LANES_HALVES)

#define SIMD_SHARED false

struct simd_lane {
    ushort index;
    bool   upper; // in the second half of the simdgroup

    operator ushort() const { return index; }
};

#define SIMD_ARGS       ushort simd_tiisg[[thread_index_in_simdgroup]], ushort simd_sgitg[[simdgroup_index_in_threadgroup]]
#define SIMD_ARGS_TIITG ushort tiitg[[thread_index_in_threadgroup]], SIMD_ARGS

#define SIMD_BEGIN(groups)                                    \
    const ushort sgitg = 2*simd_sgitg + simd_tiisg/32;        \
    const simd_lane tiisg = { (ushort) (simd_tiisg%32), simd_tiisg >= 32 }
#define SIMD_BEGIN_OF(threads) SIMD_BEGIN(32)

#define SIMD_BARRIER(flags) simdgroup_barrier(flags)

// Both halves are reduced by the whole simdgroup, as only its own functions know which lanes take part: a threadgroup
// may end inside a half, and one half may have left a loop that the other is still in.
template<typename T>
inline T simd32_sum(T x, simd_lane lane) {
    const T lower = simd_sum(lane.upper ? T(0) : x);
    const T upper = simd_sum(lane.upper ? x : T(0));

    return lane.upper ? upper : lower;
}

inline float simd32_lowest(float) { return -INFINITY; }
inline int   simd32_lowest(int)   { return INT_MIN; }

template<typename T>
inline T simd32_max(T x, simd_lane lane) {
    const T lower = simd_max(lane.upper ? simd32_lowest(x) : x);
    const T upper = simd_max(lane.upper ? x : simd32_lowest(x));

    return lane.upper ? upper : lower;
}

template<typename T>
inline T simd32_prefix_exclusive_sum(T x, simd_lane lane) {
    const T lower = simd_prefix_exclusive_sum(x);
    const T upper = simd_prefix_exclusive_sum(lane.upper ? x : T(0));

    return lane.upper ? upper : lower;
}

template<typename T>
inline T simd32_prefix_inclusive_sum(T x, simd_lane lane) {
    return simd32_prefix_exclusive_sum(x, lane) + x;
}

template<typename T>
inline T simd32_shuffle(T x, ushort from, simd_lane lane) {
    return simd_shuffle(x, (ushort) (from + (lane.upper ? 32 : 0)));
}

// These stay in a half where both lanes are in it; no kernel uses what they give where one is not.
template<typename T>
inline T simd32_shuffle_xor(T x, ushort mask, simd_lane) {
    return simd_shuffle_xor(x, mask);
}

template<typename T>
inline T simd32_shuffle_down(T x, ushort delta, simd_lane) {
    return simd_shuffle_down(x, delta);
}

template<typename T>
inline T simd32_shuffle_up(T x, ushort delta, simd_lane) {
    return simd_shuffle_up(x, delta);
}

#else

#define SIMD_SHARED false

typedef ushort simd_lane;

#define SIMD_ARGS       ushort tiisg[[thread_index_in_simdgroup]], ushort sgitg[[simdgroup_index_in_threadgroup]]
#define SIMD_ARGS_TIITG ushort tiitg[[thread_index_in_threadgroup]], SIMD_ARGS

#define SIMD_BEGIN(groups)
#define SIMD_BEGIN_OF(threads)

#define SIMD_BARRIER(flags) simdgroup_barrier(flags)

#endif

#if defined(GGML_METAL_LANES_SHARED) || defined(GGML_METAL_LANES_HALVES)

// Kernels for matrix units have their lane as a number. They are compiled with the rest, and never run here.
template<typename T> inline T simd32_sum(T x, ushort)                  { return x; }
template<typename T> inline T simd32_max(T x, ushort)                  { return x; }
template<typename T> inline T simd32_shuffle(T x, ushort, ushort)      { return x; }
template<typename T> inline T simd32_shuffle_xor(T x, ushort, ushort)  { return x; }
template<typename T> inline T simd32_shuffle_down(T x, ushort, ushort) { return x; }

#define simd_sum(x)                  simd32_sum((x), tiisg)
#define simd_max(x)                  simd32_max((x), tiisg)
#define simd_prefix_exclusive_sum(x) simd32_prefix_exclusive_sum((x), tiisg)
#define simd_prefix_inclusive_sum(x) simd32_prefix_inclusive_sum((x), tiisg)
#define simd_shuffle(x, from)        simd32_shuffle((x), (from), tiisg)
#define simd_shuffle_xor(x, mask)    simd32_shuffle_xor((x), (mask), tiisg)
#define simd_shuffle_down(x, delta)  simd32_shuffle_down((x), (delta), tiisg)
#define simd_shuffle_up(x, delta)    simd32_shuffle_up((x), (delta), tiisg)

#endif
