// How the lanes of a simdgroup wait for one another: at simdgroup functions, and in lockstep at every basic block.
//
// Lanes arrive at a site and give way. When no lane is left that could run, those that wait at the same site go on
// together. Where they wait at several sites the simdgroup has diverged, and the lanes at the lowest program counter go
// first: code is laid out so that the places where branches meet again come after them. That is a habit of compilers and
// not a law, so a simdgroup function waits until no lane is left at a mere basic block: who takes part in it does then
// not depend on where the compiler has put the blocks in between.
#pragma once

#include "abi.h"
#include "fibre.h"

#define MSL_UNHOOKED __attribute__((no_sanitize("coverage", "kernel-address")))

namespace msl {

MSL_UNHOOKED inline __attribute__((always_inline)) unsigned lowest(uint64_t mask) { return __builtin_ctzll(mask); }

// The lane that runs next: the one after `after`, or in free mode any.
MSL_UNHOOKED inline __attribute__((always_inline)) unsigned next_lane(worker * w, uint64_t mask, unsigned after) {
    unsigned from = after + 1;
    if (w->random) {
        w->random = w->random * 6364136223846793005u + 1442695040888963407u;
        from = w->random >> 58;
    }
    const uint64_t later = from < 64 ? mask >> from << from : 0;
    return lowest(later ? later : mask);
}

// Makes `next`, which has not run before, the lane that runs; the result is its stack pointer.
MSL_UNHOOKED __attribute__((noinline, unused)) static void * start(worker * w, simdgroup * g, unsigned next) {
    w->start_lane(w, g, next);
    g->current = next;
    return g->lanes[next].sp;
}

// Makes a runnable lane the one that runs; the result is its stack pointer. The rarer ways are calls at the end of the
// function, so that the frequent one needs no registers saved.
MSL_UNHOOKED inline __attribute__((always_inline)) void * go_on(worker * w, simdgroup * g, unsigned after) {
    const unsigned next = next_lane(w, g->runnable, after);
    if (__builtin_expect(!(g->started >> next & 1), 0)) {
        return start(w, g, next);
    }
    g->current = next;
    return g->lanes[next].sp;
}

// Chooses the lanes that go on; none is runnable, and some wait.
MSL_UNHOOKED __attribute__((noinline, unused)) static void release(worker * w, simdgroup * g) {
    const uint64_t all = g->pending | g->parked;
    const uint64_t at_blocks = all & ~g->at_functions;
    const uint64_t candidates = at_blocks ? at_blocks : all;
    uint64_t first = candidates;
    uintptr_t second = UINTPTR_MAX;
    if (candidates != g->pending || !g->uniform) {
        uintptr_t best = UINTPTR_MAX;
        for (uint64_t m = candidates; m; m &= m - 1) {
            const unsigned i = lowest(m);
            const auto site = reinterpret_cast<uintptr_t>(g->lanes[i].site);
            if (site < best) {
                second = best;
                best = site;
                first = 0;
            } else if (site != best && site < second) {
                second = site;
            }
            if (site == best) {
                first |= uint64_t(1) << i;
            }
        }
    }
    g->parked = all & ~first;
    g->parked_site = at_blocks ? second : UINTPTR_MAX;
    if (!at_blocks) {
        g->lanes[lowest(first)].fn(g, first);
        ++w->operations;
        w->divergent += first != g->alive;
    }
    g->at_functions &= ~first;
    g->pending = 0;
    g->runnable = first;
}

// Goes on when no lane is runnable but some wait.
MSL_UNHOOKED __attribute__((noinline, unused)) static void * settle(worker * w, simdgroup * g, unsigned me) {
    release(w, g);
    return g->runnable >> me & 1 ? g->lanes[me].sp : go_on(w, g, me);
}

// The lane that runs waits at `site`, with its registers saved at `sp`: at a simdgroup function, or where `fn` is null at
// a basic block. The result is the stack pointer of the lane that goes on.
MSL_UNHOOKED inline __attribute__((always_inline)) void * arrive(worker * w, const void * site, void * sp, rendezvous fn,
                                                                 void * in, void * out) {
    simdgroup * g = w->group;
    const unsigned me = g->current;
    const uint64_t bit = uint64_t(1) << me;
    lane & l = g->lanes[me];
    l.site = site;
    l.sp = sp;
    if (fn) {
        l.fn = fn;
        l.in = in;
        l.out = out;
        g->at_functions |= bit;
    }
    if (!g->pending) {
        g->site = site;
        g->uniform = true;
    } else if (g->site != site) {
        g->uniform = false;
    }
    g->pending |= bit;
    g->runnable &= ~bit;
    if (!g->runnable) {
        if (!fn && g->uniform && reinterpret_cast<uintptr_t>(site) < g->parked_site) {
            g->runnable = g->pending;
            g->pending = 0;
            return sp;
        }
        return settle(w, g, me);
    }
    return go_on(w, g, me);
}

} // namespace msl
