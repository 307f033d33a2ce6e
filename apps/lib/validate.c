#include "apps/lib/validate.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const self_figure_heads[SELF_FIGURES] = {"minimum", "P98", "NegPix", "asymmetry"};
static const char *const keys[SELF_FIGURES] = {"min", "p98", "negpix", "asymmetry"};

static const double NEGATIVE = -0.5; /* px: below it a pixel counts as negative, beyond it as off the screen */
static const double SMALLEST = 0.01; /* px: the least divisor of the asymmetry */

static void swap(float *a, float *b) {
    float t = *a;
    *a = *b, *b = t;
}

/* Hoare's selection: afterwards values[rank] is what sorting would put there, nothing before it is larger and nothing
 * behind it smaller. The pivot is the median of three, so that maps in order are no worst case. */
static void select_rank(float *values, int64_t count, int64_t rank) {
    int64_t low = 0, high = count - 1;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (values[middle] < values[low]) swap(&values[middle], &values[low]);
        if (values[high] < values[low]) swap(&values[high], &values[low]);
        if (values[high] < values[middle]) swap(&values[high], &values[middle]);
        float pivot = values[middle];
        int64_t i = low, j = high;
        while (i <= j) {
            while (values[i] < pivot) i++;
            while (values[j] > pivot) j--;
            if (i <= j) swap(&values[i++], &values[j--]);
        }
        if (rank <= j)
            high = j;
        else if (rank >= i)
            low = i;
        else
            return;
    }
}

/* The value at the fractional rank `fraction` (count - 1), linear between its neighbours. Reorders. */
static double quantile(float *values, int64_t count, double fraction) {
    double at = fraction * (double)(count - 1);
    int64_t rank = (int64_t)at;
    select_rank(values, count, rank);
    double lower = values[rank], upper = lower;
    if (rank + 1 < count) {
        upper = INFINITY;
        for (int64_t i = rank + 1; i < count; i++)
            if (values[i] < upper) upper = values[i];
    }
    return lower + (at - (double)rank) * (upper - lower);
}

/* Median of |d| over the columns from `begin` to before `end` that lie off the screen; NaN when none does. */
static double median_off_screen(const Map *map, int begin, int end, float *scratch) {
    int64_t count = 0;
    for (int y = 0; y < map->height; y++)
        for (int x = begin; x < end; x++) {
            float v = fabsf(map->values[(int64_t)y * map->width + x]);
            if (isfinite(v) && (double)v > -NEGATIVE) scratch[count++] = v;
        }
    return count ? quantile(scratch, count, 0.5) : NAN;
}

int self_figures(SelfFigures *f, const Map *map) {
    BUG_IF(map->kind != MAP_DISPARITY, "these figures are of disparity");
    int64_t negative = 0;
    *f = (SelfFigures){.pixels = (int64_t)map->width * map->height};
    for (int i = 0; i < SELF_FIGURES; i++) f->value[i] = NAN;
    float *scratch = mem_array((size_t)f->pixels, sizeof *scratch);
    if (!scratch) return err_code();
    double least = INFINITY;
    for (int64_t i = 0; i < f->pixels; i++) {
        float v = map->values[i];
        if (!isfinite(v)) continue;
        scratch[f->values++] = v;
        negative += (double)v < NEGATIVE;
        least = fmin(least, (double)v);
    }
    if (f->values) {
        f->value[SELF_MINIMUM] = least;
        f->value[SELF_P98] = quantile(scratch, f->values, 0.98);
        f->value[SELF_NEGPIX] = 100.0 * (double)negative / (double)f->values;
        double left = median_off_screen(map, 0, map->width / 2, scratch);
        double right = median_off_screen(map, map->width / 2, map->width, scratch);
        if (!isnan(left) && !isnan(right)) f->value[SELF_ASYMMETRY] = left / fmax(right, SMALLEST);
    }
    mem_free(scratch);
    return 0;
}

void self_figures_mean(SelfFigures *mean, const SelfFigures *all, int64_t count) {
    *mean = (SelfFigures){0};
    for (int64_t i = 0; i < count; i++) mean->pixels += all[i].pixels, mean->values += all[i].values;
    for (int f = 0; f < SELF_FIGURES; f++) {
        double sum = 0;
        int64_t having = 0;
        for (int64_t i = 0; i < count; i++)
            if (!isnan(all[i].value[f])) sum += all[i].value[f], having++;
        mean->value[f] = having ? sum / (double)having : NAN;
    }
}

const char *self_figure_text(char *out, size_t size, SelfFigure figure, double v) {
    if (isnan(v))
        snprintf(out, size, "-");
    else if (figure == SELF_NEGPIX)
        snprintf(out, size, "%.2f %%", v);
    else if (figure == SELF_ASYMMETRY)
        snprintf(out, size, "%.3f", v);
    else
        snprintf(out, size, "%.2f px", v);
    return out;
}

void self_figures_json(FILE *out, const SelfFigures *f) {
    fprintf(out, "{\"values\":%lld", (long long)f->values);
    for (int i = 0; i < SELF_FIGURES; i++)
        if (isnan(f->value[i]))
            fprintf(out, ",\"%s\":null", keys[i]);
        else
            fprintf(out, ",\"%s\":%.6g", keys[i], f->value[i]);
    fputc('}', out);
}
