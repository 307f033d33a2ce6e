/* apps/match.h - what the files of `panum match` share: what was asked for, and the jobs that come of it. */
#ifndef PANUM_APPS_MATCH_H
#define PANUM_APPS_MATCH_H
#include "apps/lib/matcher.h"
#include "apps/lib/options.h"
#include "apps/lib/outputs.h"
#include "apps/lib/run.h"
#include "base/mem.h"

typedef struct {
    OptionList outputs;
    bool overwrite, dry_run, json, meta, keep_going, ignore_crc, lenient;
    int model, behaviour, precision, quantity, reference, palette, progress;
    const char *weights, *device;
    DeviceChoice where; /* what device says */
    const char *anaglyph, *calib;
    double fov;
    OptionRange range;
    OptionLength map_range;
    bool positive, exact;
    int64_t refine_iter, threads, max_memory;
    double scale;
    const char *start, *end;
    int64_t frames, every;
    bool resume, video;
    bool swap_eyes, align, eye_test;
    int layout;
    TalkOptions talk;
} MatchOptions;

extern const Verb verb_match;

/* A job is one stereo picture: two files, or one file that holds both eyes. */
typedef struct {
    const char *left, *right; /* right NULL: one file with both eyes */
    Output *outputs;
    int output_count;
} Job;

typedef struct {
    Arena *arena;
    const MatchOptions *o;
    const char *command;   /* as it can be typed again */
    const char *s2m2_only; /* options given that only s2m2 heeds, "--exact, --precision"; NULL for none */
    Job *jobs;
    int count;
} Work;

/* apps/match_plan.c: from operands to jobs with their outputs. What can be refused is refused here, before the first
 * picture is looked at. */
int match_plan(Work *work, const Parsed *parsed);
bool match_is_folder(const char *path);
/* Makes the folders that were named with a / at their end and are not there. */
int match_make_folders(const MatchOptions *options);

/* Who matches, and with which file of weights, when that is more than what was asked for by name. */
void match_tell_matcher(const Matcher *matcher, const MatcherOptions *asked);
/* apps/match.c: options for s2m2 (as Work.s2m2_only) that sgm does not heed are told of. */
void match_tell_unused(const Matcher *matcher, const char *s2m2_only, bool ranged);
#endif
