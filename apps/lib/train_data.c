#include "apps/lib/train_data.h"
#include "apps/lib/run.h"
#include "base/mem.h"
#include "base/rng.h"
#include "data/film_set.h"
#include "data/pairs.h"
#include "data/synthetic.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Streams to judge with are of seeds that no training has. */
#define HELD_OUT_SEED 0x68656c64u

/* ---- pairs with truth ---- */

struct TrainData {
    int count;
    SampleSource source[TRAIN_SOURCES_MAX];
    Synthetic *synthetic;
    Pairs pairs[TRAIN_SOURCES_MAX];
    PairsStream stream[TRAIN_SOURCES_MAX];
    int pair_count;
};

static int make_in_turn(void *context, uint64_t index, Sample *sample) {
    const TrainData *d = context;
    const SampleSource *source = &d->source[index % (uint64_t)d->count];
    return source->make(source->context, index / (uint64_t)d->count, sample);
}

static int add_pairs(TrainData *d, const char *path, const TrainDataOptions *o, uint64_t seed) {
    Pairs *pairs = &d->pairs[d->pair_count];
    int code = pairs_find(path, PAIRS_AUTO, pairs);
    if (code) return code;
    say("%s: %" PRId64 " pairs with truth, %s", show_path(path), pairs->count, pairs_layout_name(pairs->layout));
    if (pairs->rejected)
        say("%s: %" PRId64 " are left out, the first: %s", show_path(path), pairs->rejected, pairs->reasons[0]);
    PairsStream *stream = &d->stream[d->pair_count];
    *stream = (PairsStream){pairs,
                            {.seed = rng_u64(seed, (uint64_t)d->pair_count),
                             .width = o->width,
                             .height = o->height,
                             .camera = o->judging ? NULL : &augment_usual}};
    d->source[d->count++] = pairs_source(stream);
    d->pair_count++;
    return 0;
}

int train_data_open(const TrainDataOptions *o, TrainData **out) {
    *out = NULL;
    if (o->pair_count + 1 > TRAIN_SOURCES_MAX)
        return fail(ERR_USAGE, "more than %d sources of pairs", TRAIN_SOURCES_MAX - 1);
    TrainData *d = mem_zero(1, sizeof *d);
    if (!d) return ERR_MEMORY;
    uint64_t seed = o->judging ? rng_u64(HELD_OUT_SEED, o->seed) : o->seed;
    int code = 0;
    if (o->synthetic) {
        SyntheticOptions stream = {.seed = seed, .width = o->width, .height = o->height};
        code = synthetic_open(&d->synthetic, &stream);
        if (!code) d->source[d->count++] = synthetic_source(d->synthetic);
    }
    for (int i = 0; !code && i < o->pair_count; i++) code = add_pairs(d, o->pairs[i], o, seed);
    if (code)
        train_data_close(d);
    else
        *out = d;
    return code;
}

SampleSource train_data_source(TrainData *d) {
    return d->count == 1 ? d->source[0] : (SampleSource){make_in_turn, d};
}

const char *train_data_name(const TrainData *d, uint64_t index, char *text, size_t size) {
    int source = (int)(index % (uint64_t)d->count), first = d->synthetic ? 1 : 0;
    uint64_t place = index / (uint64_t)d->count;
    if (source < first)
        snprintf(text, size, "synthetic scene %" PRIu64, place);
    else
        err_printable(text, size, pairs_stream_entry(&d->stream[source - first], place)->left);
    return text;
}

int64_t train_data_pairs(const TrainData *d) {
    int64_t count = 0;
    for (int i = 0; i < d->pair_count; i++) count += d->pairs[i].count;
    return count;
}

void train_data_close(TrainData *d) {
    if (!d) return;
    for (int i = 0; i < d->pair_count; i++) pairs_free(&d->pairs[i]);
    synthetic_close(d->synthetic);
    mem_free(d);
}

/* ---- films ---- */

#define FLIPS 0.1 /* of the published recipe */

struct TrainFilms {
    FilmSet set;
    int64_t *frames[2], count[2]; /* by FilmsUse */
    FilmSetStream stream[2];
    uint64_t seed;
};

static int split(TrainFilms *f, const char *root, FilmsDivision division, double judging_share) {
    int64_t frames = f->set.frame_count;
    uint8_t *use = mem_zero((size_t)frames + 1, 1);
    for (int k = 0; k < 2; k++) f->frames[k] = mem_array((size_t)frames + 1, sizeof *f->frames[k]);
    if (!use || !f->frames[0] || !f->frames[1]) {
        mem_free(use);
        return ERR_MEMORY;
    }
    int code = 0;
    if (division == FILMS_BY_FRAME)
        code = film_set_split_frames(&f->set, use);
    else
        film_set_split(&f->set, judging_share, f->seed, use);
    if (code) {
        mem_free(use);
        return code;
    }
    for (int64_t i = 0; i < frames; i++) {
        if (use[i] == FRAME_TRAINS) f->frames[FILMS_TRAIN][f->count[FILMS_TRAIN]++] = i;
        if (use[i] == FRAME_JUDGES) f->frames[FILMS_JUDGE][f->count[FILMS_JUDGE]++] = i;
    }
    mem_free(use);
    say("%s: %" PRId64 " frames, %" PRId64 " to learn from and %" PRId64 " to judge with", show_path(root), frames,
        f->count[FILMS_TRAIN], f->count[FILMS_JUDGE]);
    if (f->set.untaught) say("%s: %" PRId64 " without an anchor are left out", show_path(root), f->set.untaught);
    if (f->set.rejected_count)
        say("%s: %" PRId64 " are left out, the first: %s, %s", show_path(root), f->set.rejected_count,
            show_path(f->set.rejected[0].path), f->set.rejected[0].why);
    if (!f->count[FILMS_TRAIN] || !f->count[FILMS_JUDGE])
        return fail(ERR_INPUT, "%s: has too few frames to learn from some and judge with others", show_path(root));
    return 0;
}

int train_films_open(const char *root, const char *anchors, FilmsDivision division, double judging_share, uint64_t seed,
                     TrainFilms **out) {
    *out = NULL;
    TrainFilms *f = mem_zero(1, sizeof *f);
    if (!f) return ERR_MEMORY;
    f->seed = seed;
    /* A frame that a teacher's folder passes over was rejected, or is yet to be done: swapped eyes, one picture twice.
     */
    FilmSetOptions options = {.anchors = anchors, .taught_only = true};
    int code = film_set_find(root, &options, &f->set);
    if (!code) code = split(f, root, division, judging_share);
    if (code)
        train_films_close(f);
    else
        *out = f;
    return code;
}

void train_films_close(TrainFilms *f) {
    if (!f) return;
    film_set_free(&f->set);
    mem_free(f->frames[0]);
    mem_free(f->frames[1]);
    mem_free(f);
}

int64_t train_films_count(const TrainFilms *f, FilmsUse use) {
    return f->count[use];
}

SampleSource train_films_source(TrainFilms *f, FilmsUse use, int width, int height) {
    static const AugmentCamera brightness = {.exposure = 0.15f}; /* one for both eyes, as published */
    f->stream[use] = (FilmSetStream){&f->set,
                                     f->frames[use],
                                     f->count[use],
                                     {.seed = f->seed,
                                      .width = width,
                                      .height = height,
                                      .flip = use == FILMS_TRAIN ? FLIPS : 0,
                                      .camera = use == FILMS_TRAIN ? &brightness : NULL}};
    return film_set_source(&f->stream[use]);
}

const char *train_films_name(const TrainFilms *f, FilmsUse use, uint64_t index, char *text, size_t size) {
    return err_printable(text, size, film_set_stream_frame(&f->stream[use], index)->path);
}
