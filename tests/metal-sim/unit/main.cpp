// Runs the tests whose names contain the argument, or all.
#include "harness.h"

int main(int argc, char ** argv) {
    int run = 0;
    for (const Test & test : all_tests()) {
        if (argc > 1 && !strstr(test.name, argv[1])) {
            continue;
        }
        const int before = failures();
        gpu::configure({});
        test.body();
        ++run;
        printf("%s %s\n", failures() == before ? "ok    " : "FAILED", test.name);
        fflush(stdout);
    }
    printf("%d tests, %d failures\n", run, failures());
    return failures() != 0 || run == 0;
}
