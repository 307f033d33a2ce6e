#include "apps/lib/data_check.h"
#include "apps/lib/run.h"
#include "apps/lib/sample_check.h"
#include "base/err.h"
#include "base/json.h"
#include "base/pool.h"
#include "data/film_set.h"
#include "data/loader.h"
#include "data/pairs.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct {
    const DataCheckOptions *o;
    int64_t samples, unreadable, implausible, left_out;
} Check;

/* One source of samples: its whole pictures, in the order it lists them. */
typedef struct {
    const Pairs *pairs; /* or */
    const FilmSet *films;
    int64_t count;
} Source;

static int read_whole(void *context, uint64_t index, Sample *sample) {
    const Source *source = context;
    StereoOptions how = {0};
    return source->pairs ? pairs_read(&source->pairs->entries[index], sample)
                         : film_frame_read(&source->films->frames[index], &how, sample);
}

static const char *name_of(const Source *source, int64_t index) {
    return source->pairs ? source->pairs->entries[index].left : source->films->frames[index].path;
}

static SampleTruth truth_of(const Source *source, int64_t index) {
    return source->pairs || source->films->frames[index].anchor ? SAMPLE_HAS_TRUTH : SAMPLE_PAIR_ALONE;
}

static void print_finding(const Check *check, const char *path, const char *kind, const char *why) {
    char name[2048], text[1200];
    if (check->o->json)
        printf("{\"file\":%s,\"finding\":\"%s\",\"why\":%s}\n", json_quote(name, sizeof name, path), kind,
               json_quote(text, sizeof text, why));
    else
        printf("%s: %s\n", show_path(path), why);
}

/* A sentence that names its file already. */
static void print_unreadable(const Check *check, const char *path, const char *sentence) {
    if (check->o->json)
        print_finding(check, path, "unreadable", sentence);
    else
        printf("%s\n", sentence);
}

static int check_sample(Check *check, const Source *source, int64_t index, Loader *loader, Sample *sample) {
    int code = loader_next(loader, sample);
    if (code == ERR_MEMORY) return code;
    check->samples++;
    char why[SAMPLE_WHY];
    if (code) {
        check->unreadable++;
        print_unreadable(check, name_of(source, index), err_sentence());
    } else if (!sample_plausible(sample, truth_of(source, index), why)) {
        check->implausible++;
        print_finding(check, name_of(source, index), "implausible", why);
    }
    return 0;
}

static int check_source(Check *check, Source *source, const char *path) {
    int threads = check->o->threads ? check->o->threads : pool_cpus();
    LoaderOptions how = {.threads = threads > 64 ? 64 : threads, .end = (uint64_t)source->count};
    SampleSource samples = {read_whole, source};
    Loader *loader = NULL;
    Sample sample = {0};
    Progress progress;
    progress_begin(&progress, check->o->progress, "check", "samples", source->count);
    int code = loader_make(&loader, &samples, &how);
    for (int64_t i = 0; !code && i < source->count && !run_stopped(); i++) {
        code = check_sample(check, source, i, loader, &sample);
        progress_step(&progress, i + 1, NULL);
    }
    progress_end(&progress);
    loader_drop(loader);
    sample_free(&sample);
    if (!code && run_stopped()) code = run_stop(path);
    return code;
}

static int check_pairs(Check *check, const char *path) {
    Pairs pairs;
    int code = pairs_find(path, PAIRS_AUTO, &pairs);
    if (code) return code;
    say("%s: %" PRId64 " pairs with truth, %s", show_path(path), pairs.count, pairs_layout_name(pairs.layout));
    check->left_out += pairs.rejected;
    int64_t told = pairs.rejected < PAIRS_REASONS ? pairs.rejected : PAIRS_REASONS;
    for (int64_t i = 0; i < told; i++) print_unreadable(check, path, pairs.reasons[i]);
    if (pairs.rejected > told) say("%s: %" PRId64 " more are incomplete", show_path(path), pairs.rejected - told);
    Source source = {.pairs = &pairs, .count = pairs.count};
    code = check_source(check, &source, path);
    pairs_free(&pairs);
    return code;
}

static int check_films(Check *check, const char *root) {
    FilmSet set;
    FilmSetOptions options = {.anchors = check->o->anchors, .taught_only = true};
    int code = film_set_find(root, &options, &set);
    if (code) return code;
    say("%s: %" PRId64 " frames", show_path(root), set.frame_count);
    if (set.untaught) say("%s: %" PRId64 " without an anchor are left out", show_path(root), set.untaught);
    check->left_out += set.rejected_count;
    for (int64_t i = 0; i < set.rejected_count; i++)
        print_finding(check, set.rejected[i].path, "left out", set.rejected[i].why);
    Source source = {.films = &set, .count = set.frame_count};
    code = check_source(check, &source, root);
    film_set_free(&set);
    return code;
}

int data_check(const DataCheckOptions *o) {
    Check check = {.o = o};
    int code = o->films ? check_films(&check, o->films) : 0;
    for (int i = 0; !code && i < o->pair_count; i++) code = check_pairs(&check, o->pairs[i]);
    if (code) return code;
    int64_t bad = check.unreadable + check.implausible + check.left_out;
    if (o->json)
        printf("{\"samples\":%" PRId64 ",\"unreadable\":%" PRId64 ",\"implausible\":%" PRId64 ",\"left_out\":%" PRId64
               "}\n",
               check.samples, check.unreadable, check.implausible, check.left_out);
    if (!bad) {
        say("%" PRId64 " samples can be read and look right", check.samples);
        return 0;
    }
    if (!check.left_out)
        return fail(ERR_FAILED, "%" PRId64 " samples: %" PRId64 " cannot be read, %" PRId64 " cannot be right",
                    check.samples, check.unreadable, check.implausible);
    return fail(ERR_FAILED,
                "%" PRId64 " samples: %" PRId64 " cannot be read, %" PRId64 " cannot be right; %" PRId64
                " more are incomplete and were not looked at",
                check.samples, check.unreadable, check.implausible, check.left_out);
}
