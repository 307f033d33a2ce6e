/* apps/lib/data_check.h - everything that a training would read, read once, before hours go into it. Standard output
 * gets a line (or with `json` an object) for each sample that cannot be used or cannot be right. */
#ifndef PANUM_APPS_LIB_DATA_CHECK_H
#define PANUM_APPS_LIB_DATA_CHECK_H
#include "apps/lib/progress.h"

typedef struct {
    const char *const *pairs; /* as pairs_find takes them */
    int pair_count;
    const char *films, *anchors; /* NULL: none; anchors NULL: where film_set_find looks */
    int threads;                 /* 0: one for each processor */
    bool json;
    ProgressStyle progress;
} DataCheckOptions;

/* ERR_FAILED when something is wrong with any sample; ERR_INPUT when there are none. */
int data_check(const DataCheckOptions *options);
#endif
