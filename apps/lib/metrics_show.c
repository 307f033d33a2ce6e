#include "apps/lib/metrics_show.h"
#include "apps/lib/options.h"
#include "base/text.h"

#include <math.h>
#include <string.h>

static const char *const figure_names[FIGURES] = {"predicted", "epe",   "bad-0.5", "bad-1",
                                                  "bad-2",     "bad-3", "d1",      "sign"};
static const char *const figure_keys[FIGURES] = {"predicted", "epe",   "bad_0.5", "bad_1",
                                                 "bad_2",     "bad_3", "d1",      "sign"};
const char *const metric_figure_heads[FIGURES] = {"predicted", "EPE px", "bad 0.5", "bad 1",
                                                  "bad 2",     "bad 3",  "D1",      "sign right"};

void metric_figures(MetricFigures *f, const Metrics *m) {
    f->has_mask = m->has_mask;
    for (int k = 0; k < METRIC_KINDS; k++)
        for (int r = 0; r < METRIC_REGIONS; r++) {
            const MetricShare *s = &m->share[k][r];
            double *v = f->value[k][r];
            f->pixels[k][r] = s->pixels;
            v[FIGURE_PREDICTED] = metric_percent(s->pixels - s->missing, s->pixels);
            v[FIGURE_EPE] = metric_epe(s);
            for (int b = 0; b < METRIC_BADS; b++) v[FIGURE_BAD + b] = metric_percent(s->bad[b], s->pixels);
            v[FIGURE_D1] = metric_percent(s->d1, s->pixels);
            v[FIGURE_SIGN] = metric_percent(s->sign_right, s->signed_pixels);
        }
}

void metric_figures_mean(MetricFigures *mean, const MetricFigures *all, int64_t count) {
    memset(mean, 0, sizeof *mean);
    for (int k = 0; k < METRIC_KINDS; k++)
        for (int r = 0; r < METRIC_REGIONS; r++)
            for (int f = 0; f < FIGURES; f++) {
                int64_t having = 0;
                double sum = 0;
                for (int64_t i = 0; i < count; i++) {
                    if (f == 0) mean->pixels[k][r] += all[i].pixels[k][r];
                    mean->has_mask |= all[i].has_mask;
                    if (isnan(all[i].value[k][r][f])) continue;
                    sum += all[i].value[k][r][f];
                    having++;
                }
                mean->value[k][r][f] = having ? sum / (double)having : NAN;
            }
}

const char *metric_figure_text(char *out, size_t size, int figure, double v) {
    if (isnan(v))
        snprintf(out, size, "-");
    else
        snprintf(out, size, figure == FIGURE_EPE ? "%.3f" : "%.2f %%", v);
    return out;
}

/* The order people ask in: what both eyes see, then what one does, then everything; in each the whole before its parts.
 */
static const int region_order[METRIC_REGIONS] = {METRIC_ANYWHERE, METRIC_FRONT, METRIC_SCREEN, METRIC_BEHIND};

static bool row_wanted(const MetricFigures *m, int kind) {
    return m->pixels[kind][METRIC_ANYWHERE] > 0;
}

void metrics_table(FILE *out, const MetricFigures *m) {
    fprintf(out, "%-16s %11s", "", "pixels");
    for (int f = 0; f < FIGURES; f++) fprintf(out, " %10s", metric_figure_heads[f]);
    fputc('\n', out);
    for (int kind = 0; kind < METRIC_KINDS; kind++)
        for (int i = 0; i < METRIC_REGIONS && row_wanted(m, kind); i++) {
            int region = region_order[i];
            char text[32], name[40];
            if (!m->pixels[kind][region]) continue;
            if (i)
                snprintf(name, sizeof name, "  %s", metric_region_names[region]);
            else
                snprintf(name, sizeof name, "%s", metric_kind_names[kind]);
            text_grouped(text, m->pixels[kind][region]);
            fprintf(out, "%-16s %11s", name, text);
            for (int f = 0; f < FIGURES; f++) {
                metric_figure_text(text, sizeof text, f, m->value[kind][region][f]);
                fprintf(out, " %10s", text);
            }
            fputc('\n', out);
        }
}

void metrics_html(Html *html, const MetricFigures *m, const char *caption) {
    const char *heads[FIGURES + 2] = {"", "pixels"};
    for (int f = 0; f < FIGURES; f++) heads[f + 2] = metric_figure_heads[f];
    html_table_begin(html, caption, heads, FIGURES + 2);
    for (int kind = 0; kind < METRIC_KINDS; kind++)
        for (int i = 0; i < METRIC_REGIONS && row_wanted(m, kind); i++) {
            int region = region_order[i];
            char text[FIGURES + 2][48];
            const char *cells[FIGURES + 2];
            if (!m->pixels[kind][region]) continue;
            snprintf(text[0], sizeof text[0], "%s%s%s", metric_kind_names[kind], i ? ", " : "",
                     i ? metric_region_names[region] : "");
            text_grouped(text[1], m->pixels[kind][region]);
            for (int f = 0; f < FIGURES; f++)
                metric_figure_text(text[f + 2], sizeof text[0], f, m->value[kind][region][f]);
            for (int c = 0; c < FIGURES + 2; c++) cells[c] = text[c];
            html_row(html, cells, FIGURES + 2);
        }
    html_table_end(html);
}

void metrics_json(FILE *out, const MetricFigures *m) {
    fprintf(out, "{\"mask\":%s", m->has_mask ? "true" : "false");
    for (int kind = 0; kind < METRIC_KINDS; kind++) {
        fprintf(out, ",\"%s\":{", metric_kind_names[kind]);
        for (int r = 0; r < METRIC_REGIONS; r++) {
            fprintf(out, "%s\"%s\":{\"pixels\":%lld", r ? "," : "", metric_region_names[r],
                    (long long)m->pixels[kind][r]);
            for (int f = 0; f < FIGURES; f++) {
                double v = m->value[kind][r][f];
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

int metric_limit_check(const MetricLimit *l, const MetricFigures *m) {
    static const char *const kinds[METRIC_KINDS] = {"visible", "hidden", "every"};
    double v = m->value[l->kind][l->region][l->figure];
    if (isnan(v))
        return fail(ERR_LIMITS, "%s.%s.%s cannot be said: no pixel of that kind was judged", kinds[l->kind],
                    metric_region_names[l->region], figure_names[l->figure]);
    if (l->below ? v < l->value : v > l->value) return 0;
    return fail(ERR_LIMITS, "%s.%s.%s is %.4g, not %s %.4g", kinds[l->kind], metric_region_names[l->region],
                figure_names[l->figure], v, l->below ? "below" : "above", l->value);
}
