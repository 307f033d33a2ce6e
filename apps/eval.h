/* apps/eval.h - what the files of `panum eval` share. apps/eval.c has the options, and maps against their truth;
 * apps/eval_compare.c sets two predictions side by side. */
#ifndef PANUM_APPS_EVAL_H
#define PANUM_APPS_EVAL_H
#include "apps/lib/options.h"
#include "apps/lib/run.h"
#include "data/map.h"

typedef struct {
    const char *truth, *mask, *list;
    double truth_scale, scale;
    int64_t shift;
    int kind, truth_kind, reference; /* 0: as the file says; 1 and 2 as the option's choices */
    OptionList require;
    bool json, keep_going;
    bool compare, overwrite;
    const char *left, *output;
    OptionLength map_range;
    int palette;
    TalkOptions talk;
} EvalOptions;

extern const Verb verb_eval;

/* A map from a file, parallax turned into disparity. `kind` is the option's choice. */
int eval_read_map(const char *path, double scale, int kind, Map *map);

/* Two predictions, or two folders of them, against each other. `command` may go into the pictures. */
int eval_compare(const EvalOptions *options, Arena *arena, const char *a, const char *b, const char *command);
#endif
