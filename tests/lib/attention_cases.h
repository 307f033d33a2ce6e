/* tests/lib/attention_cases.h - programs that record attention, for the tests of its values and of its gradient. */
#ifndef PANUM_TESTS_LIB_ATTENTION_CASES_H
#define PANUM_TESTS_LIB_ATTENTION_CASES_H
#include "tensor/ops/ops.h"
#include <stdio.h>

typedef struct {
    int64_t batch, queries, keys, width; /* width of a head */
    int heads;
    bool swap;
} AttentionCase;

typedef struct {
    int64_t batch, h, w, width;
    int heads;
} RelativeCase;

static inline Tensor *attention_input(Program *p, const char *name, int rank, const int64_t *size) {
    return program_input(p, name, DTYPE_F32, rank, size);
}

/* `what` gets the case in words. */
static inline Program *attention_program(const AttentionCase *a, char what[80]) {
    Program *p = program_make();
    const int64_t c = a->width * a->heads;
    Tensor *q = attention_input(p, "q", 3, (int64_t[]){a->batch, a->queries, c});
    Tensor *k = attention_input(p, "k", 3, (int64_t[]){a->batch, a->keys, c});
    Tensor *v = attention_input(p, "v", 3, (int64_t[]){a->batch, a->keys, c});
    t_attention(q, k, v, .heads = a->heads, .swap_halves = a->swap);
    snprintf(what, 80, "%lld x %lld queries, %lld keys, %d heads of %lld%s", (long long)a->batch, (long long)a->queries,
             (long long)a->keys, a->heads, (long long)a->width, a->swap ? ", swapped" : "");
    return p;
}

/* Queries, keys and values as slices of one wide map of h x w, seen as tokens of the map or of its rows. */
static inline Program *attention_views_program(int rows, int64_t h, int64_t w) {
    Program *p = program_make();
    Tensor *map = attention_input(p, "map", 4, (int64_t[]){2, 3 * 24 + 5, h, w}), *part[3];
    for (int i = 0; i < 3; i++) {
        Tensor *slice = t_slice(map, 1, 24 * i + (i ? 5 : 0), 24);
        part[i] = rows ? t_row_tokens(slice) : t_tokens(slice);
    }
    t_attention(part[0], part[1], part[2], .heads = 2, .swap_halves = true);
    return p;
}

static inline Program *attention_relative_program(const RelativeCase *a, char what[80]) {
    Program *p = program_make();
    int64_t size[3] = {a->batch, a->h * a->w, a->width * a->heads};
    Tensor *q = attention_input(p, "q", 3, size), *k = attention_input(p, "k", 3, size);
    Tensor *v = attention_input(p, "v", 3, size);
    Tensor *weight = program_weight(p, "pe.weight", 2, (int64_t[]){a->width, 32});
    Tensor *bias = program_weight(p, "pe.bias", 1, (int64_t[]){a->width});
    t_attention_relative(q, k, v, weight, bias, a->heads, a->h, a->w);
    snprintf(what, 80, "%lld grids of %lld x %lld, %d heads of %lld", (long long)a->batch, (long long)a->h,
             (long long)a->w, a->heads, (long long)a->width);
    return p;
}
#endif
