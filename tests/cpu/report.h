// What the programs of this directory share: random numbers, and how they report.
#pragma once

#include <cstdio>
#include <random>
#include <string>
#include <vector>

namespace {

std::mt19937 rng(1);
int          failures = 0;

void expect(bool holds, const std::string & what) {
    if (!holds) {
        printf("FAILED: %s\n", what.c_str());
        ++failures;
    }
}

// The last line, and the exit status.
int reported() {
    printf(failures ? "%d failures\n" : "all hold\n", failures);
    return failures != 0;
}

int uniform(int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(rng);
}

std::vector<float> normal(size_t n, float deviation) {
    std::normal_distribution<float> of(0, deviation);
    std::vector<float> v(n);
    for (float & x : v) {
        x = of(rng);
    }
    return v;
}

}  // namespace
