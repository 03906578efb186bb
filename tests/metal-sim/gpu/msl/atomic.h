// Atomic integers and floats. Every order is taken as the strongest.
#pragma once

#include "scalar.h"

namespace metal {

enum memory_order {
    memory_order_relaxed,
    memory_order_acquire,
    memory_order_release,
    memory_order_acq_rel,
    memory_order_seq_cst,
};

template <class T> struct atomic { T v; };
typedef atomic<int> atomic_int;
typedef atomic<uint> atomic_uint;
typedef atomic<bool> atomic_bool;
typedef atomic<float> atomic_float;

#define MSL_ATOMIC(name)                                                                                               \
    template <class T, class U>                                                                                        \
    inline T atomic_fetch_##name##_explicit(volatile atomic<T> * a, U x, memory_order) {                               \
        return __atomic_fetch_##name(const_cast<T *>(&a->v), T(x), __ATOMIC_SEQ_CST);                                  \
    }
MSL_ATOMIC(add)
MSL_ATOMIC(sub)
MSL_ATOMIC(or)
MSL_ATOMIC(and)
MSL_ATOMIC(xor)
MSL_ATOMIC(max)
MSL_ATOMIC(min)
#undef MSL_ATOMIC

template <class T> inline T atomic_load_explicit(const volatile atomic<T> * a, memory_order) {
    T r;
    __atomic_load(const_cast<const T *>(&a->v), &r, __ATOMIC_SEQ_CST);
    return r;
}
template <class T, class U> inline void atomic_store_explicit(volatile atomic<T> * a, U x, memory_order) {
    T t = T(x);
    __atomic_store(const_cast<T *>(&a->v), &t, __ATOMIC_SEQ_CST);
}
template <class T, class U> inline T atomic_exchange_explicit(volatile atomic<T> * a, U x, memory_order) {
    T t = T(x);
    T r;
    __atomic_exchange(const_cast<T *>(&a->v), &t, &r, __ATOMIC_SEQ_CST);
    return r;
}
template <class T, class U>
inline bool atomic_compare_exchange_weak_explicit(volatile atomic<T> * a, T * expected, U x, memory_order,
                                                  memory_order) {
    T t = T(x);
    return __atomic_compare_exchange(const_cast<T *>(&a->v), expected, &t, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

} // namespace metal
