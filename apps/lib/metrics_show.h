/* apps/lib/metrics_show.h - metrics as a table for people, as JSON for programs, as a table of a report, and as limits.
 */
#ifndef PANUM_APPS_METRICS_SHOW_H
#define PANUM_APPS_METRICS_SHOW_H
#include "apps/lib/html.h"
#include "apps/lib/metrics.h"

#include <stdio.h>

/* Rows for the shares that have pixels, in percent, EPE in pixels. */
void metrics_table(FILE *out, const Metrics *metrics);
void metrics_html(Html *html, const Metrics *metrics, const char *caption);
/* One object:
 * {"mask":true,"visible":{"behind":{"pixels":..,"predicted":..,"epe":..,"bad_0.5":..,...,"d1":..,"sign":..},..},..};
 * shares in percent, null where there are no pixels. */
void metrics_json(FILE *out, const Metrics *metrics);

/* A limit "[KIND.][REGION.]FIGURE<NUMBER" or ">": KIND visible (the default), hidden or every; REGION behind, screen,
 * front or all (the default); FIGURE epe, bad-0.5, bad-1, bad-2, bad-3, d1, sign or predicted. */
typedef struct {
    int kind, region, figure;
    bool below; /* the figure must be below the value, else above it */
    double value;
} MetricLimit;
int metric_limit_parse(const char *text, MetricLimit *limit); /* ERR_USAGE */
/* 0, or ERR_LIMITS "visible.all.bad-2 is 7.3, not below 5". A share without pixels breaks every limit. */
int metric_limit_check(const MetricLimit *limit, const Metrics *metrics);
#endif
