// How fast as many threads as are asked for read memory that no cache holds: what bounds the decoding of one sequence.
// Prints GB/s, the best of three passes. For scripts/bench-cpu; each thread reads one stream, as the kernels do.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#if defined(__linux__)
#    include <sys/mman.h>
#endif

constexpr size_t BYTES = size_t(1) << 29, HUGE_PAGE = size_t(2) << 20;

typedef uint64_t line __attribute__((vector_size(64)));

static uint64_t read(const line * from, size_t lines) {
    line sums[4] = {};
    for (size_t i = 0; i < lines; i += 4) {
        for (size_t j = 0; j < 4; ++j) {
            sums[j] += from[i + j];
        }
    }
    const line sum = sums[0] + sums[1] + sums[2] + sums[3];
    return sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
}

int main(int argc, char ** argv) {
    const int n = argc > 1 ? std::atoi(argv[1]) : 0;
    void *    data = nullptr;
    if (n < 1 || n > 1024 || posix_memalign(&data, HUGE_PAGE, BYTES) != 0) {
        fprintf(stderr, "read: how many threads (1 to 1024), and half a gigabyte of memory\n");
        return 1;
    }
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    (void) madvise(data, BYTES, MADV_HUGEPAGE);
#endif
    memset(data, 1, BYTES);
    const size_t lines = BYTES / sizeof(line) / n / 4 * 4;
    double       best = 0;
    for (int pass = 0; pass < 3; ++pass) {
        std::vector<std::thread> threads;
        std::vector<uint64_t>    sums(n);
        const auto begun = std::chrono::steady_clock::now();
        for (int i = 0; i < n; ++i) {
            threads.emplace_back([&, i] { sums[i] = read(static_cast<const line *>(data) + i * lines, lines); });
        }
        for (auto & thread : threads) {
            thread.join();
        }
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
        for (uint64_t sum : sums) {
            if (sum != lines * 8 * 0x0101010101010101u) {
                fprintf(stderr, "read: the memory holds something else\n");
                return 1;
            }
        }
        best = std::max(best, n * lines * sizeof(line) / seconds / 1e9);
    }
    printf("%.1f\n", best);
}
