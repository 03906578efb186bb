// Tests of the simulated framework. Each runs in a process of its own, because the simulator reads its settings once and
// reports at exit.
#pragma once

#import <Metal/Metal.h>

#include <cstdio>
#include <string>
#include <vector>

struct Test {
    const char * name;
    std::vector<std::string> environment; // NAME=value; INFERNO_METAL_SIM is test-discrete unless it is here
    int status;                           // that the process must exit with
    std::string says;                     // that standard error must have
    void (*body)();
};

inline std::vector<Test> & all_tests() {
    static std::vector<Test> tests;
    return tests;
}

inline int & failures() {
    static int n = 0;
    return n;
}

struct Registration {
    explicit Registration(Test test) { all_tests().push_back(std::move(test)); }
};

#define TEST_WITH(name, status, says, ...)                                                                  \
    static void name();                                                                                     \
    static const Registration name##_registration({#name, {__VA_ARGS__}, status, says, name});              \
    static void name()
#define TEST(name, ...) TEST_WITH(name, 0, "", __VA_ARGS__)

#define CHECK(condition)                                                        \
    do {                                                                        \
        if (!(condition)) {                                                     \
            printf("  %s:%d: not so: %s\n", __FILE__, __LINE__, #condition);    \
            ++failures();                                                       \
        }                                                                       \
    } while (0)
