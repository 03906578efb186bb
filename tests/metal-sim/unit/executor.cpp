// The executor on kernels written for it.
#include "harness.h"

#include <algorithm>
#include <thread>

static std::shared_ptr<gpu::Library> kernels() {
    static const auto lib = library(R"(
constant short FC_factor [[function_constant(3)]];
constant bool  FC_negate [[function_constant(4)]];
constant int   doubled = FC_factor * 2;

kernel void positions(device uint * out, uint3 tg [[threadgroup_position_in_grid]],
                      ushort3 t [[thread_position_in_threadgroup]], ushort3 n [[threads_per_threadgroup]],
                      uint3 ng [[threadgroups_per_grid]], ushort lane [[thread_index_in_simdgroup]],
                      ushort sg [[simdgroup_index_in_threadgroup]], uint index [[thread_index_in_threadgroup]]) {
    const uint group = (tg.z*ng.y + tg.y)*ng.x + tg.x;
    const uint at = group*n.x*n.y*n.z + (t.z*n.y + t.y)*n.x + t.x;
    out[2*at] = index;
    out[2*at + 1] = sg*1000 + lane;
}

kernel void reverse(device const float * in, device float * out, threadgroup float * shared [[threadgroup(0)]],
                    uint tg [[threadgroup_position_in_grid]], uint t [[thread_position_in_threadgroup]],
                    uint n [[threads_per_threadgroup]]) {
    shared[t] = in[tg*n + t];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[tg*n + t] = shared[n - 1 - t];
}

kernel void reverse_declared(device const float * in, device float * out, uint tg [[threadgroup_position_in_grid]],
                             uint t [[thread_position_in_threadgroup]], uint n [[threads_per_threadgroup]]) {
    threadgroup float shared[64];
    threadgroup half  other[2][8];
    shared[t] = in[tg*n + t];
    if (t < 16) {
        other[t/8][t%8] = t;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[tg*n + t] = shared[n - 1 - t] + other[1][7];
}

kernel void simd(device const int * in, device int * out, ushort lane [[thread_index_in_simdgroup]],
                 uint at [[thread_position_in_grid]], uint n [[threads_per_grid]]) {
    const int v = in[at];
    out[0*n + at] = simd_sum(v);
    out[1*n + at] = simd_max(v);
    out[2*n + at] = simd_min(v);
    out[3*n + at] = simd_prefix_inclusive_sum(v);
    out[4*n + at] = simd_prefix_exclusive_sum(v);
    out[5*n + at] = simd_shuffle(v, (lane*7) % 8);
    out[6*n + at] = simd_shuffle_xor(v, 5);
    out[7*n + at] = simd_shuffle_down(v, 3);
    out[8*n + at] = simd_shuffle_up(v, 2);
    out[9*n + at] = simd_broadcast(v, 4);
    out[10*n + at] = simd_any(v > 90);
    out[11*n + at] = simd_all(v >= 0);
    out[12*n + at] = simd_and(v);
    out[13*n + at] = simd_or(v);
    out[14*n + at] = simd_xor(v);
    out[15*n + at] = simd_broadcast_first(v);
    out[16*n + at] = simd_is_first();
}

// Lanes go different ways, meet, and sum together.
kernel void diverge(device int * out, ushort lane [[thread_index_in_simdgroup]]) {
    int v = 0;
    if (lane % 2 == 0) {
        for (int i = 0; i < lane; ++i) {
            v += i % 3;
        }
        out[64 + lane] = simd_sum(1);
    } else if (lane % 3 == 0) {
        v = simd_sum(100);
    }
    out[lane] = v;
    out[128 + lane] = simd_sum(1);
}

kernel void overrun(threadgroup float * shared [[threadgroup(0)]], device float * out,
                    uint t [[thread_position_in_threadgroup]]) {
    shared[t + 3] = t;
    out[t] = shared[t];
}

kernel void partial(device float * out, uint t [[thread_position_in_threadgroup]]) {
    if (t < 5) {
        return;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[t] = 1;
}

kernel void two_barriers(device float * out, uint t [[thread_position_in_threadgroup]]) {
    if (t < 32) {
        out[t] = 1;
        threadgroup_barrier(mem_flags::mem_threadgroup);
        out[t] += 1;
    } else {
        out[t] = 3;
        threadgroup_barrier(mem_flags::mem_threadgroup);
        out[t] *= 2;
    }
}

// Reads what a neighbour wrote, without a barrier: right only if lanes advance together.
kernel void race(device int * out, threadgroup int * shared [[threadgroup(0)]],
                 ushort lane [[thread_index_in_simdgroup]]) {
    if (out[lane] == 0) {
        shared[lane] = lane;
    }
    out[lane] = shared[31 - lane];
}

kernel void poisoned(device float * out, threadgroup float * shared [[threadgroup(0)]],
                     device half * out16, threadgroup half * shared16 [[threadgroup(1)]],
                     uint t [[thread_position_in_threadgroup]]) {
    out[t] = shared[t];
    out16[t] = shared16[t];
}

kernel void divide(device const int * a, device const int * b, device int * out, uint at [[thread_position_in_grid]]) {
    out[2*at] = a[at] / b[at];
    out[2*at + 1] = a[at] % b[at];
}

kernel void divide_for_nothing(device const int * a, device const int * b, device int * out,
                               uint at [[thread_position_in_grid]]) {
    device const int * unused = a + at % b[at];
    out[2*at] = a[at] < 0 ? 0 : 3;
    if (a[at] == 1000) {
        out[2*at] = *unused;
    }
}

kernel void copy(device const float * in, device float * out, uint at [[thread_position_in_grid]]) {
    out[at] = in[at];
}

kernel void copy_vectors(device const float4 * in, device float4 * out, device const half * scale,
                         uint at [[thread_position_in_grid]]) {
    float private_values[4];
    for (int i = 0; i < 4; ++i) {
        private_values[i] = in[at][i];
    }
    out[at] = float4(private_values[3], private_values[2], private_values[1], private_values[0]) * (float) scale[0];
}

kernel void load_at(device const char * in, device uint * out, constant uint & offset) {
    out[0] = *(device const uint *) (in + offset);
}

kernel void load_pairs(device const char * in, device uint * out, constant uint & offset) {
    device const ushort * pair = (device const ushort *) (in + offset);
    out[0] = pair[0] | (uint(pair[1]) << 16);
}

kernel void increment(device int * value, uint t [[thread_position_in_threadgroup]]) {
    const int v = value[0];
    threadgroup_barrier(mem_flags::mem_none);
    if (t == 0) {
        value[0] = v + 1;
    }
}

kernel void append(device int * out, constant int & mark, device int & length, uint tg [[threadgroup_position_in_grid]]) {
    out[length] = mark;
    length += 1;
}

kernel void read_far(device const float * in, device float * out, constant int & at) {
    out[0] = in[at];
}

kernel void run_away(device char * out, uint tg [[threadgroup_position_in_grid]]) {
    if (tg >= 37) {
        out[tg*1000000000ul] = 1;
    }
}

kernel void recurse_deep(device float * out, constant int & n) {
    float big[30000];
    for (int i = 0; i < 30000; ++i) {
        big[i] = out[i % 4];
    }
    out[0] = big[n];
}

kernel void with_constants(device int * out) {
    out[0] = FC_negate ? -FC_factor : FC_factor;
    out[1] = doubled;
}

kernel void halves(device const half * in, device half * out, uint at [[thread_position_in_grid]]) {
    const half4 v = half4(in[at]);
    out[4*at] = in[at] * 2.0h;
    out[4*at + 1] = in[at] / 16.h;
    out[4*at + 2] = (v / 16.h)[2];
    out[4*at + 3] = (half) ((float) in[at] * 0.5f);
}

kernel void max_half(device const half * in, device half * out, ushort lane [[thread_index_in_simdgroup]]) {
    out[0] = simd_max(in[lane]);
    out[1] = simd_min(in[lane]);
    out[2] = simd_max((float) in[lane]);
}

kernel void count(device atomic_int * n, device int * out, uint at [[thread_position_in_grid]]) {
    out[at] = atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

kernel void matrices(device const float * a, device const float * b, device float * c) {
    simdgroup_float8x8 ma, mb;
    simdgroup_float8x8 mc = make_filled_simdgroup_matrix<float, 8>(1.0f);
    simdgroup_load(ma, a, 8);
    simdgroup_load(mb, b, 8, 0, true);
    simdgroup_multiply_accumulate(mc, ma, mb, mc);
    simdgroup_store(mc, c, 8);
}

template <typename T, int N>
kernel void fill(device T * out, uint at [[thread_position_in_grid]]) {
    out[at] = T(N);
}
typedef decltype(fill<float, 1>) fill_t;
template [[host_name("fill_float_7")]] kernel fill_t fill<float, 7>;
template [[host_name("fill_int_9")]] kernel void fill<int, 9>(device int *, uint);
)");
    return lib;
}

TEST(positions_of_threads) {
    for (unsigned width : {8u, 32u, 64u}) {
        std::vector<uint32_t> out(2 * 2 * 3 * 2 * 6 * 5 * 4);
        gpu::Dispatch d = dispatch(pipeline(kernels(), "positions", of_width(width)), 2, 6, {bind(out)});
        d.threadgroups[1] = 3;
        d.threadgroups[2] = 2;
        d.threads[1] = 5;
        d.threads[2] = 4;
        const gpu::Counts counts = run_well(d);
        CHECK_EQUAL(counts.threadgroups, 12u);
        CHECK_EQUAL(counts.threads, 12u * 120u);
        bool right = true;
        for (unsigned i = 0; i < out.size() / 2; ++i) {
            const unsigned index = i % 120;
            right &= out[2 * i] == index && out[2 * i + 1] == index / width * 1000 + index % width;
        }
        CHECK(right);
    }
}

TEST(barrier_and_threadgroup_memory) {
    for (gpu::Mode mode : {gpu::Mode::lockstep, gpu::Mode::free}) {
        gpu::configure({.mode = mode, .seed = 5});
        for (unsigned width : {8u, 32u, 64u}) {
            for (const char * name : {"reverse", "reverse_declared"}) {
                std::vector<float> in(64 * 40), out(64 * 40);
                for (size_t i = 0; i < in.size(); ++i) {
                    in[i] = i;
                }
                const auto p = pipeline(kernels(), name, of_width(width));
                const bool declared = !strcmp(name, "reverse_declared");
                CHECK_EQUAL(p->static_threadgroup_memory(), declared ? 288u : 0u);
                run_well(dispatch(p, 40, 64, {bind(in), bind(out)}, declared ? 0 : 256));
                bool right = true;
                for (size_t i = 0; i < in.size(); ++i) {
                    right &= out[i] == in[i / 64 * 64 + 63 - i % 64] + (declared ? 15 : 0);
                }
                CHECK(right);
            }
        }
    }
}

TEST(simd_functions) {
    for (gpu::Mode mode : {gpu::Mode::lockstep, gpu::Mode::free}) {
        gpu::configure({.mode = mode, .seed = 9});
        for (int width : {8, 16, 32, 64}) {
            const int n = 128;
            std::vector<int> in(n), out(17 * n);
            for (int i = 0; i < n; ++i) {
                in[i] = (i * 37 + 11) % 97 - (i == 70);
            }
            run_well(dispatch(pipeline(kernels(), "simd", of_width(width)), 1, n, {bind(in), bind(out)}));
            for (int i = 0; i < n; ++i) {
                const int base = i / width * width;
                const int lane = i % width;
                const int * v = &in[base];
                int sum = 0, most = v[0], least = v[0], before = 0, all = -1, any = 0, parity = 0;
                for (int j = 0; j < width; ++j) {
                    before += j < lane ? v[j] : 0;
                    sum += v[j];
                    most = std::max(most, v[j]);
                    least = std::min(least, v[j]);
                    all &= v[j];
                    any |= v[j];
                    parity ^= v[j];
                }
                const auto from = [&](int j) { return j >= 0 && j < width ? v[j] : v[lane]; };
                const int expected[17] = {sum, most, least, before + v[lane], before, from(lane * 7 % 8), from(lane ^ 5),
                                          from(lane + 3), from(lane - 2), from(4), most > 90, least >= 0, all, any,
                                          parity, v[0], lane == 0};
                for (int k = 0; k < 17; ++k) {
                    if (out[k * n + i] != expected[k]) {
                        printf("  width %d thread %d function %d: %d, not %d\n", width, i, k, out[k * n + i], expected[k]);
                        ++failures();
                    }
                }
            }
        }
    }
}

TEST(divergence) {
    for (gpu::Mode mode : {gpu::Mode::lockstep, gpu::Mode::free}) {
        gpu::configure({.mode = mode, .seed = 2});
        std::vector<int> out(192);
        const gpu::Counts counts = run_well(dispatch(pipeline(kernels(), "diverge"), 1, 32, {bind(out)}));
        int threes = 0;
        for (int lane = 1; lane < 32; lane += 2) {
            threes += lane % 3 == 0;
        }
        for (int lane = 0; lane < 32; ++lane) {
            int v = 0;
            for (int i = 0; i < lane; ++i) {
                v += i % 3;
            }
            CHECK_EQUAL(out[lane], lane % 2 == 0 ? v : lane % 3 == 0 ? threes * 100 : 0);
            CHECK_EQUAL(out[128 + lane], 32);
            if (lane % 2 == 0) {
                CHECK_EQUAL(out[64 + lane], 16);
            }
        }
        CHECK_EQUAL(counts.divergent, 2u);
    }
}

TEST(overrun_is_found) {
    std::vector<float> out(32);
    const std::string error = error_of(dispatch(pipeline(kernels(), "overrun"), 1, 32, {bind(out)}, 128));
    CHECK(contains(error, "overrun writes 12 bytes past the end of threadgroup buffer 0 (128 bytes)"));
}

TEST(barrier_that_not_all_reach) {
    std::vector<float> out(64);
    CHECK(contains(error_of(dispatch(pipeline(kernels(), "partial"), 1, 64, {bind(out)})), "5 of 64"));
    CHECK(contains(error_of(dispatch(pipeline(kernels(), "two_barriers"), 1, 64, {bind(out)})), "different barriers"));
}

TEST(race_is_seen_only_in_free_mode) {
    for (gpu::Mode mode : {gpu::Mode::lockstep, gpu::Mode::free}) {
        gpu::configure({.mode = mode, .seed = 1});
        std::vector<int> out(32);
        run_well(dispatch(pipeline(kernels(), "race"), 1, 32, {bind(out)}, 128));
        int wrong = 0;
        for (int i = 0; i < 32; ++i) {
            wrong += out[i] != 31 - i;
        }
        CHECK(mode == gpu::Mode::lockstep ? wrong == 0 : wrong > 0);
    }
}

TEST(poison_is_seen) {
    std::vector<float> out(16);
    std::vector<_Float16> out16(16);
    gpu::Dispatch d = dispatch(pipeline(kernels(), "poisoned"), 1, 16, {bind(out), bind(out16)}, 64);
    d.threadgroup_memory[1] = 32;
    run_well(d);
    for (int i = 0; i < 16; ++i) {
        CHECK(std::isnan(out[i]));
        CHECK(std::isnan(float(out16[i])));
    }
}

TEST(division_by_zero) {
    std::vector<int> a = {7, -9, 0, 100, 12}, b = {2, 0, 0, 7, 0}, out(10);
    run_well(dispatch(pipeline(kernels(), "divide"), 1, 5, {bind(a), bind(b), bind(out)}));
    const std::vector<int> expected = {3, 1, 0, 0, 0, 0, 14, 2, 0, 0};
    CHECK(out == expected);
}

TEST(division_by_zero_as_an_error) {
    gpu::Device device;
    device.faults = gpu::fault_division_by_zero;
    std::vector<int> a = {7, -9}, b = {2, 3}, out(4);
    for (const char * kernel : {"divide", "divide_for_nothing"}) {
        const gpu::Dispatch d = dispatch(pipeline(kernels(), kernel, device), 1, 2, {bind(a), bind(b), bind(out)});
        b[1] = 3;
        run_well(d);
        CHECK_EQUAL(out[0], 3);
        b[1] = 0;
        CHECK(contains(error_of(d), std::string(kernel) + " divides an integer by zero"));
        // nothing of it stays behind
        b[1] = 3;
        run_well(d);
    }
    b[1] = 0;
    run_well(dispatch(pipeline(kernels(), "divide_for_nothing"), 1, 2, {bind(a), bind(b), bind(out)}));
}

TEST(bytes_are_counted) {
    gpu::configure({.count_bytes = true});
    std::vector<float> in(1000, 1.0f), out(1000);
    gpu::Counts counts = run_well(dispatch(pipeline(kernels(), "copy"), 10, 100, {bind(in), bind(out)}));
    CHECK_EQUAL(counts.bytes_read, 4000u);
    CHECK_EQUAL(counts.bytes_written, 4000u);
    CHECK_EQUAL(counts.bytes_read_of[0], 4000u);
    CHECK_EQUAL(counts.bytes_written_of[1], 4000u);

    std::vector<_Float16> scale(1, _Float16(2.0f));
    counts = run_well(dispatch(pipeline(kernels(), "copy_vectors"), 10, 25, {bind(in), bind(out), bind(scale)}));
    CHECK_EQUAL(counts.bytes_read_of[0], 4000u);
    CHECK_EQUAL(counts.bytes_read_of[2], 500u);
    CHECK_EQUAL(counts.bytes_written, 4000u);
    CHECK_EQUAL(out[5], 2.0f);
}

TEST(unaligned_load_is_found) {
    gpu::Device device;
    device.faults = gpu::fault_unaligned_load;
    std::vector<uint32_t> in = {0x03020100, 0x07060504}, out(1), offset = {0};
    const gpu::Dispatch d =
        dispatch(pipeline(kernels(), "load_at", device), 1, 1, {bind(in), bind(out), bind(offset)});
    run_well(d);
    CHECK_EQUAL(out[0], 0x03020100u);
    offset[0] = 2;
    CHECK(contains(error_of(d), "load_at loads 4 bytes not aligned to 4"));
    CHECK(contains(error_of(d), "byte 2 of buffer 0 (8 bytes)"));
    // Two loads of 2 bytes stay two.
    run_well(dispatch(pipeline(kernels(), "load_pairs", device), 1, 1, {bind(in), bind(out), bind(offset)}));
    CHECK_EQUAL(out[0], 0x05040302u);
    out[0] = 0;
    run_well(dispatch(pipeline(kernels(), "load_at"), 1, 1, {bind(in), bind(out), bind(offset)}));
    CHECK_EQUAL(out[0], 0x05040302u);
}

TEST(interleaving_changes_a_racy_result) {
    std::vector<std::string> seen;
    for (uint64_t seed = 0; seed < 8; ++seed) {
        std::string order;
        for (int repeat = 0; repeat < 2; ++repeat) {
            gpu::configure({.seed = seed});
            std::vector<int> out(20), first = {1}, second = {2}, length = {0};
            const auto p = pipeline(kernels(), "append");
            const auto outcomes =
                gpu::run_interleaved({dispatch(p, 10, 1, {bind(out), bind(first), bind(length)}),
                                      dispatch(p, 10, 1, {bind(out), bind(second), bind(length)})});
            CHECK_EQUAL(outcomes.size(), 2u);
            CHECK_EQUAL(outcomes[1].counts.threadgroups, 10u);
            CHECK_EQUAL(length[0], 20);
            order.clear();
            for (int mark : out) {
                order += std::to_string(mark);
            }
        }
        seen.push_back(order);
    }
    std::sort(seen.begin(), seen.end());
    CHECK(std::unique(seen.begin(), seen.end()) - seen.begin() > 4);

    // One after the other, nothing is lost; at the same time, something is.
    std::vector<int> value = {0};
    const auto p = pipeline(kernels(), "increment");
    const gpu::Dispatch d = dispatch(p, 10, 2, {bind(value)});
    run_well(d);
    run_well(d);
    CHECK_EQUAL(value[0], 20);
    value[0] = 0;
    gpu::run_interleaved({d, d});
    CHECK(value[0] < 20);
}

TEST(segfault_is_reported) {
    std::vector<float> in(4), out(1);
    std::vector<int> at = {1 << 30};
    const gpu::Dispatch d = dispatch(pipeline(kernels(), "read_far"), 1, 64, {bind(in), bind(out), bind(at)});
    for (int i = 0; i < 3; ++i) {
        const std::string error = error_of(d);
        CHECK(contains(error, "read_far faults at 0x"));
        CHECK(contains(error, "bytes after the end of buffer"));
    }
    CHECK(contains(error_of(dispatch(pipeline(kernels(), "copy"), 1, 32, {bind(in), {}})), "buffer that is not bound"));
    at[0] = 2;
    in[2] = 5;
    run_well(d);
    CHECK_EQUAL(out[0], 5.0f);
    std::vector<float> few(4);
    at[0] = 3;
    CHECK(contains(error_of(dispatch(pipeline(kernels(), "recurse_deep"), 1, 1, {bind(few), bind(at)})), "stack"));
}

TEST(function_constants) {
    std::vector<int> out(2);
    const gpu::Constant factor = {3, 2, 21};
    const gpu::Constant negate = {4, 1, 1};
    const auto plain = pipeline(kernels(), "with_constants", {}, {factor});
    const auto negated = pipeline(kernels(), "with_constants", {}, {negate, factor});
    run_well(dispatch(plain, 1, 1, {bind(out)}));
    CHECK_EQUAL(out[0], 21);
    CHECK_EQUAL(out[1], 42);
    run_well(dispatch(negated, 1, 1, {bind(out)}));
    CHECK_EQUAL(out[0], -21);
    std::string error;
    CHECK(!gpu::make_pipeline(kernels(), "with_constants", {{3, 4, 1}}, {}, error));
    CHECK(contains(error, "has 2 bytes, not 4"));
}

TEST(flushed_halves) {
    for (bool flush : {false, true}) {
        gpu::Device device;
        device.faults = flush ? gpu::fault_flush_half : 0;
        const float least = 6.103515625e-5f;
        std::vector<_Float16> in = {_Float16(1.0f), _Float16(least), _Float16(least / 4), _Float16(-least * 8)}, out(16);
        run_well(dispatch(pipeline(kernels(), "halves", device), 1, 4, {bind(in), bind(out)}));
        for (int i = 0; i < 4; ++i) {
            const auto keep = [&](float x) { return flush && std::fabs(x) < least ? 0.0f : x; };
            CHECK_EQUAL(float(out[4 * i]), keep(keep(float(in[i])) * 2));
            CHECK_EQUAL(float(out[4 * i + 1]), keep(keep(float(in[i])) / 16));
            CHECK_EQUAL(float(out[4 * i + 2]), keep(keep(float(in[i])) / 16));
            CHECK_EQUAL(float(out[4 * i + 3]), keep(keep(float(in[i])) / 2));
        }
    }
}

TEST(wrong_max_of_halves) {
    for (bool fault : {false, true}) {
        gpu::Device device;
        device.faults = fault ? gpu::fault_simd_max_half : 0;
        std::vector<_Float16> in(32, _Float16(3.0f)), out(3);
        run_well(dispatch(pipeline(kernels(), "max_half", device), 1, 32, {bind(in), bind(out)}));
        CHECK_EQUAL(float(out[0]), 3.0f);
        in[7] = _Float16(-INFINITY);
        run_well(dispatch(pipeline(kernels(), "max_half", device), 1, 32, {bind(in), bind(out)}));
        CHECK_EQUAL(float(out[0]), fault ? -INFINITY : 3.0f);
        CHECK_EQUAL(float(out[1]), -INFINITY);
        CHECK_EQUAL(float(out[2]), 3.0f);
    }
}

TEST(atomics_do_not_depend_on_workers) {
    std::vector<int> first;
    for (unsigned workers : {1u, 4u}) {
        gpu::configure({.workers = workers});
        std::vector<int> n = {0}, out(4096);
        run_well(dispatch(pipeline(kernels(), "count"), 32, 128, {bind(n), bind(out)}));
        CHECK_EQUAL(n[0], 4096);
        CHECK(first.empty() || first == out);
        first = out;
    }
}

TEST(results_do_not_depend_on_workers) {
    std::vector<float> in(64 * 200);
    for (size_t i = 0; i < in.size(); ++i) {
        in[i] = i * 0.37f;
    }
    for (gpu::Mode mode : {gpu::Mode::lockstep, gpu::Mode::free}) {
        for (unsigned workers : {1u, 2u, 5u}) {
            gpu::configure({.mode = mode, .seed = 11, .workers = workers});
            std::vector<float> out(in.size());
            const gpu::Counts counts =
                run_well(dispatch(pipeline(kernels(), "reverse"), 200, 64, {bind(in), bind(out)}, 256));
            CHECK_EQUAL(counts.threadgroups, 200u);
            CHECK_EQUAL(counts.threads, 12800u);
            CHECK_EQUAL(out[0], in[63]);
        }
    }
    // Of several threadgroups that go wrong, the first one is named.
    for (unsigned workers : {1u, 5u}) {
        gpu::configure({.workers = workers});
        std::vector<float> few(32 * 100);
        const std::string now = error_of(dispatch(pipeline(kernels(), "run_away"), 100, 32, {bind(few)}));
        CHECK(contains(now, std::to_string(37 * 1000000000ull - 12800) + " bytes after the end of buffer 0"));
    }
}

TEST(dispatches_from_several_threads) {
    std::vector<float> in(64 * 50);
    for (size_t i = 0; i < in.size(); ++i) {
        in[i] = i;
    }
    const auto p = pipeline(kernels(), "reverse");
    std::vector<std::vector<float>> outs(4, std::vector<float>(in.size()));
    std::vector<std::thread> threads;
    for (auto & out : outs) {
        threads.emplace_back([&] {
            for (int i = 0; i < 20; ++i) {
                run_well(dispatch(p, 50, 64, {bind(in), bind(out)}, 256));
            }
        });
    }
    for (auto & thread : threads) {
        thread.join();
    }
    for (const auto & out : outs) {
        CHECK(out == outs[0]);
        CHECK_EQUAL(out[63], 0.0f);
    }
}

TEST(simdgroup_matrices) {
    std::vector<float> a(64), b(64), c(64);
    for (int i = 0; i < 64; ++i) {
        a[i] = i % 7;
        b[i] = i % 5 - 2;
    }
    const auto p = pipeline(kernels(), "matrices");
    CHECK(p->uses_matrix());
    run_well(dispatch(p, 1, 32, {bind(a), bind(b), bind(c)}));
    for (int i = 0; i < 8; ++i) {
        for (int j = 0; j < 8; ++j) {
            float sum = 1;
            for (int k = 0; k < 8; ++k) {
                sum += a[i * 8 + k] * b[j * 8 + k];
            }
            CHECK_EQUAL(c[i * 8 + j], sum);
        }
    }
    gpu::Device without;
    without.simdgroup_matrix = false;
    std::string error;
    CHECK(!gpu::make_pipeline(kernels(), "matrices", {}, without, error));
    CHECK(contains(error, "simdgroup matrices"));
}

TEST(simdgroup_functions_can_be_missing) {
    gpu::Device without;
    without.simdgroup_reduction = false;
    for (const char * name : {"simd", "max_half"}) {
        std::string error;
        CHECK(!gpu::make_pipeline(kernels(), name, {}, without, error));
        CHECK(contains(error, "functions of simdgroups"));
    }
    std::string error;
    CHECK(gpu::make_pipeline(kernels(), "copy", {}, without, error));
}

TEST(templates_and_names) {
    std::vector<float> f(4);
    std::vector<int> i(4);
    run_well(dispatch(pipeline(kernels(), "fill_float_7"), 1, 4, {bind(f)}));
    run_well(dispatch(pipeline(kernels(), "fill_int_9"), 1, 4, {bind(i)}));
    CHECK_EQUAL(f[3], 7.0f);
    CHECK_EQUAL(i[3], 9);
    std::string error;
    CHECK(!gpu::make_pipeline(kernels(), "fill", {}, {}, error));
    CHECK(contains(error, "no kernel fill"));
    const auto bad = library("kernel void bad(device float * out) { out[0] = }");
    CHECK(!gpu::make_pipeline(bad, "bad", {}, {}, error));
    CHECK(contains(error, "expected expression"));
    CHECK(!gpu::library_from_source("kernel void unfinished(device float * out) {", {}, error));
    CHECK(contains(error, "translation failed"));
}

TEST(limits_of_the_device) {
    std::vector<float> in(64), out(64);
    gpu::Device small;
    small.threadgroup_memory = 256;
    small.max_threads = 64;
    const auto p = pipeline(kernels(), "reverse", small);
    CHECK(contains(error_of(dispatch(p, 1, 64, {bind(in), bind(out)}, 260)), "needs 260 bytes"));
    CHECK(contains(error_of(dispatch(p, 1, 65, {bind(in), bind(out)}, 256)), "65 threads"));
    std::string error;
    CHECK(!gpu::make_pipeline(kernels(), "reverse_declared", {}, small, error));
    CHECK(contains(error, "declares 288 bytes"));
}
