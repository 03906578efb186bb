// Writes a model with its weights in another quantised type, by llama.cpp's own function.
//
//   requantise IN.gguf OUT.gguf q4_k_m|q5_k_m|q6_k|q8_0|q4_0
#include "llama.h"

#include <cstdio>
#include <cstring>

int main(int argc, char ** argv) {
    const struct {
        const char * name;
        llama_ftype  type;
    } types[] = { { "q4_k_m", LLAMA_FTYPE_MOSTLY_Q4_K_M }, { "q5_k_m", LLAMA_FTYPE_MOSTLY_Q5_K_M }, { "q6_k", LLAMA_FTYPE_MOSTLY_Q6_K },
                  { "q8_0", LLAMA_FTYPE_MOSTLY_Q8_0 }, { "q4_0", LLAMA_FTYPE_MOSTLY_Q4_0 } };
    for (const auto & one : types) {
        if (argc == 4 && strcmp(argv[3], one.name) == 0) {
            llama_model_quantize_params params = llama_model_quantize_default_params();
            params.ftype = one.type;
            params.allow_requantize = true;
            return llama_model_quantize(argv[1], argv[2], &params) != 0;
        }
    }
    fprintf(stderr, "usage: requantise IN.gguf OUT.gguf q4_k_m|q5_k_m|q6_k|q8_0|q4_0\n");
    return 2;
}
