/* tensor/files/compare.h - does a weights file fit a model? All differences at once, and what explains them. */
#ifndef PANUM_TENSOR_FILES_COMPARE_H
#define PANUM_TENSOR_FILES_COMPARE_H
#include "tensor/files/weights.h"

typedef struct {
    const char *name;
    int rank;
    int64_t size[WEIGHT_RANK_MAX];
} WeightWanted;

typedef struct {
    int missing, unexpected, misshapen;
    char prefix[64]; /* "module." when the names fit without it, else "" */
    /* Every difference by kind, one name a line, as the file spells it; beyond a thousand of a kind only how many more.
     * mem_free. */
    char *report;
} WeightsDifference;

/* 0 when names and shapes are exactly those wanted (dtypes may differ). Otherwise ERR_WEIGHTS, with one sentence that
 * counts all differences, names the first of each kind and says what to do; difference->report has the rest.
 * `model` is what messages call the wanted side ("s2m2-S"). `difference` may be NULL. */
int weights_compare(const Weights *weights, const char *model, const WeightWanted *wanted, int count,
                    WeightsDifference *difference);
void weights_difference_free(WeightsDifference *difference);
#endif
