// Lets a backend call what may fail an assertion from threads that the application has not guarded.
#pragma once

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

// Calls the body; false where an assertion failed in it, or anything was thrown. What the application's abort callback
// throws inside ends here. Registries take one through the proc address "ggml_backend_set_guard".
typedef bool (*ggml_guard_t)(void (*body)(void * data), void * data);
typedef void (*ggml_backend_set_guard_t)(ggml_guard_t guard);

#ifdef __cplusplus
}
#endif
