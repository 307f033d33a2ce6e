#include "tensor/files/compare.h"
#include "base/err.h"
#include "base/mem.h"
#include "tensor/files/describe.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LISTED = 1000, NAME_SHOWN = 120 }; /* every name of every model here; a hostile file may have more */

/* The report while it grows; each kind lists at most LISTED names, so its size is bounded. */
typedef struct {
    char *text;
    size_t used, room;
} Report;

static void say(Report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(Report *report, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(report->text + report->used, report->room - report->used, format, args);
    va_end(args);
    if (n > 0) report->used += (size_t)n < report->room - report->used ? (size_t)n : report->room - report->used - 1;
}

static bool same_shape(const WeightWanted *wanted, const WeightEntry *entry) {
    return wanted->rank == entry->rank &&
           memcmp(wanted->size, entry->size, (size_t)wanted->rank * sizeof *wanted->size) == 0;
}

static int order_wanted(const void *a, const void *b) {
    return strcmp((*(const WeightWanted *const *)a)->name, (*(const WeightWanted *const *)b)->name);
}

static const WeightWanted *find_wanted(const WeightWanted *const *sorted, int count, const char *name) {
    int low = 0, high = count;
    while (low < high) {
        int middle = low + (high - low) / 2, order = strcmp(name, sorted[middle]->name);
        if (order == 0) return sorted[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* The first part of some unexpected name ("module.") without which more than half of the wanted names are there. */
static void find_prefix(const Weights *weights, const WeightWanted *const *sorted, int count, char out[64]) {
    out[0] = 0;
    for (int i = 0; i < weights_count(weights); i++) {
        const char *name = weights_entry(weights, i)->name;
        if (find_wanted(sorted, count, name)) continue;
        /* one or two parts: "module.", "net.module." */
        const char *dot = strchr(name, '.');
        for (int parts = 0; dot && parts < 2; parts++, dot = strchr(dot + 1, '.')) {
            size_t n = (size_t)(dot - name) + 1;
            if (n >= 64) break;
            int found = 0;
            for (int k = 0; k < weights_count(weights); k++) {
                const char *other = weights_entry(weights, k)->name;
                if (strncmp(other, name, n) == 0 && find_wanted(sorted, count, other + n)) found++;
            }
            if (found <= count / 2) continue;
            memcpy(out, name, n);
            out[n] = 0;
            return;
        }
        return; /* a prefix that explains anything is on every name, so on the first unexpected one */
    }
}

typedef struct {
    const Weights *weights;
    const WeightWanted *const *sorted;
    const WeightWanted *wanted;
    int count;
    WeightsDifference *difference;
    char first_missing[NAME_SHOWN], first_unexpected[NAME_SHOWN], first_misshapen[NAME_SHOWN + 2 * WEIGHT_SHAPE_TEXT];
} Comparison;

static void list_more(Report *report, int total) {
    if (total > LISTED) say(report, "  and %d more\n", total - LISTED);
}

static void compare_all(Comparison *c, Report *report) {
    WeightsDifference *d = c->difference;
    char has[WEIGHT_SHAPE_TEXT], wants[WEIGHT_SHAPE_TEXT];
    for (int i = 0; i < c->count; i++) {
        if (weights_find(c->weights, c->wanted[i].name)) continue;
        if (d->missing == 0) {
            snprintf(c->first_missing, sizeof c->first_missing, "%s", c->wanted[i].name);
            say(report, "missing in the file:\n");
        }
        if (d->missing++ < LISTED)
            say(report, "  %s %s\n", c->wanted[i].name,
                weight_shape_text(c->wanted[i].rank, c->wanted[i].size, wants, sizeof wants));
    }
    list_more(report, d->missing);
    for (int i = 0; i < weights_count(c->weights); i++) {
        const WeightEntry *entry = weights_entry(c->weights, i);
        if (find_wanted(c->sorted, c->count, entry->name)) continue;
        if (d->unexpected == 0) {
            snprintf(c->first_unexpected, sizeof c->first_unexpected, "%s", entry->name);
            say(report, "in the file, but not in the model:\n");
        }
        if (d->unexpected++ < LISTED)
            say(report, "  %s %s\n", entry->name, weight_shape_text(entry->rank, entry->size, has, sizeof has));
    }
    list_more(report, d->unexpected);
    for (int i = 0; i < c->count; i++) {
        const WeightEntry *entry = weights_find(c->weights, c->wanted[i].name);
        if (!entry || same_shape(&c->wanted[i], entry)) continue;
        weight_shape_text(entry->rank, entry->size, has, sizeof has);
        weight_shape_text(c->wanted[i].rank, c->wanted[i].size, wants, sizeof wants);
        if (d->misshapen == 0) {
            snprintf(c->first_misshapen, sizeof c->first_misshapen, "%.*s is %s instead of %s", NAME_SHOWN, entry->name,
                     has, wants);
            say(report, "of another shape:\n");
        }
        if (d->misshapen++ < LISTED)
            say(report, "  %s is %s in the file, the model wants %s\n", entry->name, has, wants);
    }
    list_more(report, d->misshapen);
}

static int sentence(const Comparison *c, const char *model) {
    const WeightsDifference *d = c->difference;
    char shown[200], counts[900], advice[200] = "", guess[32];
    size_t used = 0;
    counts[0] = 0;
    if (d->missing)
        used += (size_t)snprintf(counts, sizeof counts, "%d missing (first %s)", d->missing, c->first_missing);
    if (d->unexpected)
        used += (size_t)snprintf(counts + used, sizeof counts - used, "%s%d unexpected (first %s)", used ? ", " : "",
                                 d->unexpected, c->first_unexpected);
    if (d->misshapen)
        snprintf(counts + used, sizeof counts - used, "%s%d of another shape (first %s)", used ? ", " : "",
                 d->misshapen, c->first_misshapen);
    if (*d->prefix)
        snprintf(advice, sizeof advice, "; the names fit without \"%s\": panum model convert --strip-prefix %s",
                 d->prefix, d->prefix);
    else if (weights_guess_model(c->weights, guess, sizeof guess) && strcmp(guess, model) != 0)
        snprintf(advice, sizeof advice, "; this file is model %s: --model %s", guess, guess);
    return fail(ERR_WEIGHTS, "%s: does not fit model %s: %s%s",
                err_printable(shown, sizeof shown, weights_path(c->weights)), model, counts, advice);
}

static int at_most(int count) {
    return count < LISTED ? count : LISTED;
}

int weights_compare(const Weights *weights, const char *model, const WeightWanted *wanted, int count,
                    WeightsDifference *difference) {
    WeightsDifference own = {0};
    Comparison c = {.weights = weights, .wanted = wanted, .count = count, .difference = difference ? difference : &own};
    *c.difference = (WeightsDifference){0};
    const WeightWanted **sorted = mem_array((size_t)count, sizeof *sorted);
    size_t lines = (size_t)(2 * at_most(count) + at_most(weights_count(weights)));
    size_t room = 4096 + lines * (WEIGHT_NAME_MAX + 2 * WEIGHT_SHAPE_TEXT + 64);
    Report report = {.text = mem_alloc(room), .room = room};
    int rc = sorted && report.text ? 0 : (int)ERR_MEMORY;
    if (!rc) {
        report.text[0] = 0;
        for (int i = 0; i < count; i++) sorted[i] = &wanted[i];
        if (count) qsort(sorted, (size_t)count, sizeof *sorted, order_wanted);
        c.sorted = sorted;
        compare_all(&c, &report);
        if (c.difference->unexpected && c.difference->missing)
            find_prefix(weights, sorted, count, c.difference->prefix);
        if (c.difference->missing || c.difference->unexpected || c.difference->misshapen) rc = sentence(&c, model);
    }
    mem_free(sorted);
    if (rc == ERR_WEIGHTS && difference)
        difference->report = report.text;
    else
        mem_free(report.text);
    return rc;
}

void weights_difference_free(WeightsDifference *difference) {
    mem_free(difference->report);
    *difference = (WeightsDifference){0};
}
