#include "apps/lib/ranking.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
    float key, value;
} Pair;

static int descending(const void *a, const void *b) {
    float x = ((const Pair *)a)->key, y = ((const Pair *)b)->key;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Mean over k = 1..count of the mean value of the first k, equal keys sharing the mean of their values. */
static double area(Pair *pairs, int64_t count) {
    qsort(pairs, (size_t)count, sizeof *pairs, descending);
    double sum = 0, total = 0;
    for (int64_t first = 0, end; first < count; first = end) {
        double run = 0;
        for (end = first; end < count && pairs[end].key == pairs[first].key; end++) run += (double)pairs[end].value;
        double each = run / (double)(end - first);
        for (int64_t k = first; k < end; k++) {
            sum += each;
            total += sum / (double)(k + 1);
        }
    }
    return total / (double)count;
}

double ranking_sparsification(const float *confidence, const float *error, int64_t count) {
    if (count == 0) return NAN;
    Pair *pairs = mem_array((size_t)count, sizeof *pairs);
    if (!pairs) return -1;
    double mean = 0;
    for (int64_t i = 0; i < count; i++) {
        pairs[i] = (Pair){confidence[i], error[i]};
        mean += (double)error[i];
    }
    mean /= (double)count;
    double found = area(pairs, count);
    for (int64_t i = 0; i < count; i++) pairs[i] = (Pair){-error[i], error[i]};
    double ideal = area(pairs, count);
    mem_free(pairs);
    return mean > ideal ? (found - ideal) / (mean - ideal) : NAN;
}

double ranking_average_precision(const float *score, const bool *positive, int64_t count) {
    Pair *pairs = mem_array((size_t)count + 1, sizeof *pairs);
    if (!pairs) return -1;
    for (int64_t i = 0; i < count; i++) pairs[i] = (Pair){score[i], positive[i] ? 1.0f : 0.0f};
    qsort(pairs, (size_t)count, sizeof *pairs, descending);
    double found = 0, sum = 0;
    for (int64_t first = 0, end; first < count; first = end) {
        double run = 0;
        for (end = first; end < count && pairs[end].key == pairs[first].key; end++) run += (double)pairs[end].value;
        found += run;
        sum += run * found / (double)end;
    }
    mem_free(pairs);
    return found > 0 ? sum / found : NAN;
}
