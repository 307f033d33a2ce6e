#include "apps/lib/spike.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
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

bool spike_seen(const SpikeWatch *w, double loss, Spike *spike) {
    return isfinite(loss) && loss > 0 && w->count >= SPIKE_LEAST && stands_out(w, loss, spike);
}

bool spike_watch(SpikeWatch *w, double loss, Spike *spike) {
    bool spiked = spike_seen(w, loss, spike);
    if (isfinite(loss) && loss > 0) w->loss[w->count++ % SPIKE_WINDOW] = loss;
    return spiked;
}

static int kept(const SpikeWatch *w) {
    return w->count < SPIKE_WINDOW ? (int)w->count : SPIKE_WINDOW;
}

void spike_text(const SpikeWatch *w, char text[SPIKE_TEXT]) {
    int used = snprintf(text, SPIKE_TEXT, "%" PRId64, w->count);
    for (int i = 0; i < kept(w); i++) used += snprintf(text + used, (size_t)(SPIKE_TEXT - used), " %a", w->loss[i]);
}

bool spike_parse(SpikeWatch *w, const char *text) {
    char *end;
    SpikeWatch read = {.count = strtoll(text, &end, 10)};
    if (end == text || read.count < 0) return false;
    for (int i = 0; i < kept(&read); i++) {
        const char *at = end;
        read.loss[i] = strtod(at, &end);
        if (end == at || !isfinite(read.loss[i]) || read.loss[i] <= 0) return false;
    }
    if (*end) return false;
    *w = read;
    return true;
}
