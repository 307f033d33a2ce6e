/* Any bytes as a list of pairs are an error, or entries that name both pictures and a truth. */
#include "base/err.h"
#include "data/pairs.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Pairs pairs = {.arena = arena_make()};
    demand(pairs.arena);
    err_clear();
    if (pairs_list_parse(&pairs, "folder", data, size)) {
        demand(err_code() == ERR_INPUT && *err_sentence());
    } else {
        for (int64_t i = 0; i < pairs.count; i++) {
            const PairEntry *e = &pairs.entries[i];
            demand(*e->left && *e->right && *e->truth && *e->name && *e->group && e->scale >= 0 && e->scale <= 65536);
        }
    }
    pairs_free(&pairs);
    return 0;
}
