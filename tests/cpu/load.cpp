// How long a model takes to load, and how much memory.
//
//   load FILE THREADS   one line of JSON: seconds until the model is loaded, seconds of its first token after that, the most
//                       memory that was resident meanwhile (MiB; with the mapped file), and what is once it is loaded
//
// Compiled with WITHOUT_PANELS, the weights are ggml's: repacked where it has a layout, else mapped.
#include "llama.h"
#include "panel/panel-cpu.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#if defined(WITHOUT_PANELS)
// stands in front of the library's
const panel_kernels * const * panel_kernels_of_this_cpu(void) {
    static const panel_kernels * const none[] = { nullptr };
    return none;
}
const panel_reach panel_ahead = {};
#endif

static double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static double mebibytes(const char * name) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.rfind(name, 0) == 0) {
            return atof(line.c_str() + strlen(name)) / 1024;
        }
    }
    return 0;
}

int main(int argc, char ** argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: load FILE THREADS\n");
        return 2;
    }
    llama_log_set([](ggml_log_level level, const char * text, void *) { level == GGML_LOG_LEVEL_ERROR ? (void) fputs(text, stderr) : (void) 0; }, nullptr);
    llama_backend_init();
    const double        start = seconds();
    const llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) {
        return 1;
    }
    const double         loaded = seconds();
    const double         peak = mebibytes("VmHWM:"), resident = mebibytes("VmRSS:");
    llama_context_params params = llama_context_default_params();
    params.n_ctx     = 512;
    params.n_threads = params.n_threads_batch = atoi(argv[2]);
    llama_context * context = llama_init_from_model(const_cast<llama_model *>(model), params);
    llama_token     token   = 1;
    const double    ready   = seconds();
    if (!context || llama_decode(context, llama_batch_get_one(&token, 1)) != 0) {
        return 1;
    }
    printf("{\"load\": %.4f, \"first\": %.4f, \"peak\": %.0f, \"resident\": %.0f}\n", loaded - start, seconds() - ready, peak, resident);
    return 0;
}
