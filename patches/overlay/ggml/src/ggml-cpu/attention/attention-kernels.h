// What the parts of an attention share: a task, and what each instruction set provides.
//
// Files that implement kernels are compiled for an instruction set that the machine may lack: they include no header
// with inline functions, whose copies the linker could pick for everyone.
#pragma once

#include <stddef.h>
#include <stdint.h>

// The widest head. Widths are multiples of 16.
#define ATTENTION_WIDTH 256
// Rows of a task: a row is one query of one head. They read the same keys and values.
#define ATTENTION_ROWS 192
// Rows that are multiplied at once
#define ATTENTION_GROUP 6
// Keys that are read at once
#define ATTENTION_KEYS 64
// Keys of a part, when the keys of one query are gathered. Its sums are made by themselves and then added in the parts' order: so
// that threads may share the keys of a query, and the result does not depend on whether they do
#define ATTENTION_PART 256

enum attention_type { ATTENTION_F16, ATTENTION_F32, ATTENTION_OTHER };

// Rows of keys or of values: `stride` bytes apart, converted by `to_float` where they are neither halves nor floats.
struct attention_cells {
    enum attention_type type;
    int                 width;
    const char *        data;
    size_t              stride;
    void (*to_float)(const void * x, float * y, int64_t n);
};

struct attention_task {
    struct attention_cells keys, values;
    int64_t                n_keys;
    int                    queries, heads;
    // For one query: only the keys that it may see are gathered into tiles, so that it does not matter where they stand. Of their
    // parts this task computes one slice.
    bool                   gathered;
    int                    slice, slices;
    // pointers are to the first query and head, strides in bytes
    const char *  q;
    size_t        q_query, q_head;
    const char *  mask;         // halves, a row for each query; may be null
    size_t        mask_query;
    char *        out;
    size_t        out_query, out_head;
    const float * slopes;       // of each head, by which the mask is multiplied
    const float * sinks;        // of each head; may be null
    float         scale;
    float         softcap;      // 0 for none
    // Where the sums of each gathered part go, for `finish`: those of part p begin p * part_stride behind. Null: `run` finishes.
    float *       sums;
    size_t        part_stride;
};

// The sums of a row: the largest score, and of all e^(score - largest) the sum and the sum of values multiplied by it.
#define ATTENTION_SUMS(width) (2 + (width))

// What a thread lends.
struct attention_scratch {
    float keys[ATTENTION_WIDTH][ATTENTION_KEYS];      // one column a key
    float values[ATTENTION_KEYS][ATTENTION_WIDTH];    // one row a value, `width` apart
    float plain[ATTENTION_KEYS][ATTENTION_WIDTH];
    float q[ATTENTION_ROWS][ATTENTION_WIDTH];         // `width` apart, as is `out`
    float out[ATTENTION_ROWS][ATTENTION_WIDTH];
    float most[ATTENTION_ROWS], sum[ATTENTION_ROWS];
    float all[ATTENTION_ROWS][ATTENTION_SUMS(ATTENTION_WIDTH)];    // the parts so far
    float weights[ATTENTION_GROUP][ATTENTION_KEYS];
};

struct attention_kernels {
    const char * name;
    // borrows attention_scratch, 64 bytes of which begin a line: not thread_local, which is carved from every thread's stack
    void (*run)(const struct attention_task * task, struct attention_scratch * scratch);
    // the results from the sums of all parts
    void (*finish)(const struct attention_task * task, struct attention_scratch * scratch);
};

// Without a name where the compiler does not know the instructions; x86-64 only.
extern const attention_kernels attention_kernels_avx2;
extern const attention_kernels attention_kernels_avx512;
