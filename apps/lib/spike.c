#include "apps/lib/spike.h"

#include <math.h>
#include <stdlib.h>

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts them. */
static double median_of(double *values, int n) {
    qsort(values, (size_t)n, sizeof *values, by_size);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static bool stands_out(const SpikeWatch *w, double loss, Spike *spike) {
    double value[SPIKE_WINDOW];
    int n = w->count < SPIKE_WINDOW ? (int)w->count : SPIKE_WINDOW;
    for (int i = 0; i < n; i++) value[i] = log(w->loss[i]);
    double middle = median_of(value, n);
    for (int i = 0; i < n; i++) value[i] = fabs(value[i] - middle);
    /* 1.4826: with it the median absolute deviation of a normal distribution is its standard deviation */
    double deviation = 1.4826 * median_of(value, n), above = log(loss) - middle;
    spike->median = exp(middle);
    spike->factor = loss / spike->median;
    spike->deviations = deviation > 0 ? above / deviation : above > 0 ? INFINITY : 0;
    return spike->deviations > SPIKE_DEVIATIONS && spike->factor > SPIKE_FACTOR;
}

bool spike_watch(SpikeWatch *w, double loss, Spike *spike) {
    if (!isfinite(loss) || loss <= 0) return false;
    bool spiked = w->count >= SPIKE_LEAST && stands_out(w, loss, spike);
    w->loss[w->count++ % SPIKE_WINDOW] = loss;
    return spiked;
}
