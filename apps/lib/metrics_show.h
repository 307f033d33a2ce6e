/* apps/lib/metrics_show.h - metrics as a table for people, as JSON for programs, as a table of a report, and as limits.
 */
#ifndef PANUM_APPS_METRICS_SHOW_H
#define PANUM_APPS_METRICS_SHOW_H
#include "apps/lib/html.h"
#include "apps/lib/metrics.h"

#include <stdio.h>

/* The figures of every share: predicted, bad-x, D1 and sign right in percent, EPE in pixels; NaN where nothing can be
 * said. */
enum { FIGURE_PREDICTED, FIGURE_EPE, FIGURE_BAD, FIGURE_D1 = FIGURE_BAD + METRIC_BADS, FIGURE_SIGN, FIGURES };
typedef struct {
    bool has_mask;
    int64_t pixels[METRIC_KINDS][METRIC_REGIONS];
    double value[METRIC_KINDS][METRIC_REGIONS][FIGURES];
} MetricFigures;
void metric_figures(MetricFigures *figures, const Metrics *metrics);
/* The mean of each figure over those of `count` that have it, all counting alike however large their pictures; pixels
 * are summed. */
void metric_figures_mean(MetricFigures *mean, const MetricFigures *figures, int64_t count);

/* Rows for the shares that have pixels. */
void metrics_table(FILE *out, const MetricFigures *figures);
void metrics_html(Html *html, const MetricFigures *figures, const char *caption);
/* One object:
 * {"mask":true,"visible":{"behind":{"pixels":..,"predicted":..,"epe":..,"bad_0.5":..,...,"d1":..,"sign":..},..},..};
 * null where nothing can be said. */
void metrics_json(FILE *out, const MetricFigures *figures);
/* A figure as people read it: "0.185", "2.26 %", "-". */
const char *metric_figure_text(char *out, size_t size, int figure, double value);
extern const char *const metric_figure_heads[FIGURES];

/* A limit "[KIND.][REGION.]FIGURE<NUMBER" or ">": KIND visible (the default), hidden or every; REGION behind, screen,
 * front or all (the default); FIGURE epe, bad-0.5, bad-1, bad-2, bad-3, d1, sign or predicted. */
typedef struct {
    int kind, region, figure;
    bool below; /* the figure must be below the value, else above it */
    double value;
} MetricLimit;
int metric_limit_parse(const char *text, MetricLimit *limit); /* ERR_USAGE */
/* 0, or ERR_LIMITS "visible.all.bad-2 is 7.3, not below 5". A share without pixels breaks every limit. */
int metric_limit_check(const MetricLimit *limit, const MetricFigures *figures);
#endif
