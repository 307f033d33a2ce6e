/* The list of pairs of `panum eval --list`: refused with a reason that names the line, or pairs whose every field is
 * within its limits. The reader is the verb's own, so the verb's file is taken in whole. */
#include "apps/eval.c"
#include "tests/fuzz/memory_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of the verb's other file; the list never gets there. Where sanitizers keep every function, its name must be known. */
int eval_compare(const EvalOptions *o, Arena *arena, const char *a, const char *b, const char *command) {
    (void)o, (void)arena, (void)a, (void)b, (void)command;
    abort();
}

static void demand(bool holds) {
    if (!holds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena *arena = arena_make();
    Pairs list = {0};
    EvalOptions o = {.list = memory_file(data, size), .truth_scale = 4, .shift = 3};
    demand(arena);
    err_clear();
    int rc = read_list(&o, arena, &list);
    if (rc) demand(rc == ERR_INPUT && *err_sentence());
    demand(rc || list.count > 0);
    for (int64_t i = 0; i < list.count; i++) {
        const Pair *p = &list.pairs[i];
        demand(p->prediction && *p->prediction && p->truth && *p->truth && (!p->mask || *p->mask));
        demand(!strchr(p->prediction, '\n') && !strchr(p->truth, '\n'));
        demand(p->truth_scale >= 1e-6 && p->truth_scale <= 1e6 && p->shift >= -32768 && p->shift <= 32768);
    }
    mem_free(list.pairs);
    arena_drop(arena);
    return 0;
}
