/* Any bytes as film_structure.json are an error, or films in order whose ranges do not overlap. */
#include "base/err.h"
#include "data/film_set.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    FilmSet set = {.arena = arena_make()};
    demand(set.arena);
    err_clear();
    if (film_structure_parse(&set, data, size)) {
        demand(err_code() == ERR_INPUT && *err_sentence());
    } else {
        for (int64_t i = 0; i < set.film_count; i++) {
            const FilmRange *f = &set.films[i];
            demand(f->start >= 0 && f->start <= f->end && f->end <= FILM_NUMBER_MAX);
            demand(*f->name && strlen(f->name) <= FILM_NAME_MAX);
            demand(!i || set.films[i - 1].end < f->start);
        }
    }
    film_set_free(&set);
    return 0;
}
