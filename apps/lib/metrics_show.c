#include "apps/lib/metrics_show.h"
#include "apps/lib/options.h"

#include <math.h>
#include <string.h>

enum { FIGURES = 8 }; /* columns after the number of pixels */
static const char *const figure_names[FIGURES] = {"predicted", "epe",   "bad-0.5", "bad-1",
                                                  "bad-2",     "bad-3", "d1",      "sign"};
static const char *const figure_keys[FIGURES] = {"predicted", "epe",   "bad_0.5", "bad_1",
                                                 "bad_2",     "bad_3", "d1",      "sign"};
static const char *const figure_heads[FIGURES] = {"predicted", "EPE px", "bad 0.5", "bad 1",
                                                  "bad 2",     "bad 3",  "D1",      "sign right"};

static double figure(const MetricShare *s, int which) {
    switch (which) {
    case 0:
        return metric_percent(s->pixels - s->missing, s->pixels);
    case 1:
        return metric_epe(s);
    case 6:
        return metric_percent(s->d1, s->pixels);
    case 7:
        return metric_percent(s->sign_right, s->signed_pixels);
    default:
        return metric_percent(s->bad[which - 2], s->pixels);
    }
}

static void figure_text(char *out, size_t size, const MetricShare *s, int which) {
    double v = figure(s, which);
    if (isnan(v))
        snprintf(out, size, "-");
    else if (which == 1)
        snprintf(out, size, "%.3f", v);
    else
        snprintf(out, size, "%.2f %%", v);
}

/* 1234567 as 1,234,567 */
static void whole_text(char *out, size_t size, int64_t n) {
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%lld", (long long)n);
    size_t used = 0;
    for (int i = 0; i < count && used + 2 < size; i++) {
        if (i && (count - i) % 3 == 0) out[used++] = ',';
        out[used++] = digits[i];
    }
    out[used] = 0;
}

/* The order people ask in: what both eyes see, then what one does, then everything; in each the whole before its parts.
 */
static const int region_order[METRIC_REGIONS] = {METRIC_ANYWHERE, METRIC_FRONT, METRIC_SCREEN, METRIC_BEHIND};

static bool row_wanted(const Metrics *m, int kind) {
    return m->share[kind][METRIC_ANYWHERE].pixels > 0;
}

void metrics_table(FILE *out, const Metrics *m) {
    fprintf(out, "%-16s %11s", "", "pixels");
    for (int f = 0; f < FIGURES; f++) fprintf(out, " %10s", figure_heads[f]);
    fputc('\n', out);
    for (int kind = 0; kind < METRIC_KINDS; kind++)
        for (int i = 0; i < METRIC_REGIONS && row_wanted(m, kind); i++) {
            const MetricShare *s = &m->share[kind][region_order[i]];
            char text[32], name[40];
            if (!s->pixels) continue;
            if (i)
                snprintf(name, sizeof name, "  %s", metric_region_names[region_order[i]]);
            else
                snprintf(name, sizeof name, "%s", metric_kind_names[kind]);
            whole_text(text, sizeof text, s->pixels);
            fprintf(out, "%-16s %11s", name, text);
            for (int f = 0; f < FIGURES; f++) {
                figure_text(text, sizeof text, s, f);
                fprintf(out, " %10s", text);
            }
            fputc('\n', out);
        }
}

void metrics_html(Html *html, const Metrics *m, const char *caption) {
    const char *heads[FIGURES + 2] = {"", "pixels"};
    for (int f = 0; f < FIGURES; f++) heads[f + 2] = figure_heads[f];
    html_table_begin(html, caption, heads, FIGURES + 2);
    for (int kind = 0; kind < METRIC_KINDS; kind++)
        for (int i = 0; i < METRIC_REGIONS && row_wanted(m, kind); i++) {
            const MetricShare *s = &m->share[kind][region_order[i]];
            char text[FIGURES + 2][48];
            const char *cells[FIGURES + 2];
            if (!s->pixels) continue;
            snprintf(text[0], sizeof text[0], "%s%s%s", metric_kind_names[kind], i ? ", " : "",
                     i ? metric_region_names[region_order[i]] : "");
            whole_text(text[1], sizeof text[1], s->pixels);
            for (int f = 0; f < FIGURES; f++) figure_text(text[f + 2], sizeof text[0], s, f);
            for (int c = 0; c < FIGURES + 2; c++) cells[c] = text[c];
            html_row(html, cells, FIGURES + 2);
        }
    html_table_end(html);
}

void metrics_json(FILE *out, const Metrics *m) {
    fprintf(out, "{\"mask\":%s", m->has_mask ? "true" : "false");
    for (int kind = 0; kind < METRIC_KINDS; kind++) {
        fprintf(out, ",\"%s\":{", metric_kind_names[kind]);
        for (int r = 0; r < METRIC_REGIONS; r++) {
            const MetricShare *s = &m->share[kind][r];
            fprintf(out, "%s\"%s\":{\"pixels\":%lld", r ? "," : "", metric_region_names[r], (long long)s->pixels);
            for (int f = 0; f < FIGURES; f++) {
                double v = figure(s, f);
                if (isnan(v))
                    fprintf(out, ",\"%s\":null", figure_keys[f]);
                else
                    fprintf(out, ",\"%s\":%.6g", figure_keys[f], v);
            }
            fputc('}', out);
        }
        fputc('}', out);
    }
    fputc('}', out);
}

/* Takes "name." off the front of *text if it is one of `names`; its index, or -1. */
static int take_name(const char **text, const char *const *names, int count, char end) {
    for (int i = 0; i < count; i++) {
        size_t n = strlen(names[i]);
        if (strncmp(*text, names[i], n) == 0 && (*text)[n] == end) {
            *text += n + 1;
            return i;
        }
    }
    return -1;
}

int metric_limit_parse(const char *text, MetricLimit *limit) {
    const char *at = text;
    /* "all" names a region; all kinds together are "every" here, so that one word has one meaning */
    static const char *const kinds[METRIC_KINDS] = {"visible", "hidden", "every"};
    int kind = take_name(&at, kinds, METRIC_KINDS, '.');
    int region = take_name(&at, metric_region_names, METRIC_REGIONS, '.');
    limit->kind = kind < 0 ? METRIC_VISIBLE : kind;
    limit->region = region < 0 ? METRIC_ANYWHERE : region;
    limit->below = true;
    limit->figure = take_name(&at, figure_names, FIGURES, '<');
    if (limit->figure < 0) {
        limit->below = false;
        limit->figure = take_name(&at, figure_names, FIGURES, '>');
    }
    char shown[80];
    if (limit->figure < 0 || !parse_real(at, &limit->value))
        return fail(ERR_USAGE,
                    "--require %s is not a limit; write it like bad-2<5, front.sign>98 or hidden.front.epe<1.5",
                    err_printable(shown, sizeof shown, text));
    return 0;
}

int metric_limit_check(const MetricLimit *l, const Metrics *m) {
    static const char *const kinds[METRIC_KINDS] = {"visible", "hidden", "every"};
    const MetricShare *s = &m->share[l->kind][l->region];
    double v = figure(s, l->figure);
    if (isnan(v))
        return fail(ERR_LIMITS, "%s.%s.%s cannot be said: no pixel of that kind was judged", kinds[l->kind],
                    metric_region_names[l->region], figure_names[l->figure]);
    if (l->below ? v < l->value : v > l->value) return 0;
    return fail(ERR_LIMITS, "%s.%s.%s is %.4g, not %s %.4g", kinds[l->kind], metric_region_names[l->region],
                figure_names[l->figure], v, l->below ? "below" : "above", l->value);
}
