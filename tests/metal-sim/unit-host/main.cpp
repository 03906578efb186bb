// Runs every test, or those whose name has the argument in it, each in a process of its own.
#include "harness.h"

#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

static std::string read_all(int descriptor) {
    std::string text;
    char part[4096];
    for (ssize_t n; (n = read(descriptor, part, sizeof(part))) > 0;) {
        text.append(part, static_cast<size_t>(n));
    }
    return text;
}

// Whether the test has passed.
static bool run_alone(const Test & test, const char * program) {
    int ends[2];
    if (pipe(ends) != 0) {
        return false;
    }
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        setenv("INFERNO_METAL_SIM", "test-discrete", 1);
        setenv("INFERNO_METAL_SIM_STRICT", "1", 1);
        for (const std::string & variable : test.environment) {
            putenv(strdup(variable.c_str()));
        }
        execl("/proc/self/exe", program, "--one", test.name, nullptr);
        _exit(126);
    }
    close(ends[1]);
    const std::string said = read_all(ends[0]);
    close(ends[0]);
    int state = 0;
    waitpid(child, &state, 0);
    const int status = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
    const bool good = status == test.status && said.find(test.says) != std::string::npos &&
                      (!test.says.empty() || said.empty());
    printf("%s %s\n", good ? "ok  " : "FAIL", test.name);
    if (!good) {
        printf("  exit status %d, not %d; standard error:\n%s\n", status, test.status, said.c_str());
    }
    return good;
}

int main(int argc, char ** argv) {
    if (argc == 3 && strcmp(argv[1], "--one") == 0) {
        for (const Test & test : all_tests()) {
            if (strcmp(test.name, argv[2]) == 0) {
                void * pool = objc_autoreleasePoolPush();
                test.body();
                objc_autoreleasePoolPop(pool);
            }
        }
        return failures() ? 1 : 0;
    }
    int failed = 0;
    for (const Test & test : all_tests()) {
        if (argc < 2 || strstr(test.name, argv[1])) {
            failed += !run_alone(test, argv[0]);
        }
    }
    return failed ? 1 : 0;
}
