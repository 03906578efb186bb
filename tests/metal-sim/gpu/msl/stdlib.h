// What a translated library includes: the names of Metal's standard library.
#pragma once

#include "rendezvous.h"

// A GPU's compiler inlines everything. Here that keeps a kernel in one function, so that the order of program counters
// is the order of its blocks, and it lets kernels be compiled without further optimisation across functions.
#define MSL_BEGIN_INLINE _Pragma("clang attribute push(__attribute__((always_inline)), apply_to = function)")
#define MSL_END_INLINE _Pragma("clang attribute pop")

MSL_BEGIN_INLINE
#include "atomic.h"
#include "entry.h"
#include "math.h"
#include "matrix.h"
MSL_END_INLINE

#include "simdgroup.h"
#include "simdgroup_matrix.h"

#define device
#define constant const
#define thread
#define threadgroup
#define ray_data
