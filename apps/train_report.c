/* apps/train_report.c - a training as one page: curves, figures by sign, the worst pictures. */
#include "apps/lib/anaglyph.h"
#include "apps/lib/colour.h"
#include "apps/train_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WORST = 4, LEGEND_WIDTH = 256 };

static void curves_of_loss(Html *html, const TrainReport *r) {
    HtmlCurve curves[HTML_CURVES_MAX];
    int n = 0;
    const double *steps = train_log_column(r->log, LOG_STEP);
    curves[n++] = (HtmlCurve){"sum", steps, train_log_column(r->log, LOG_LOSS), train_log_rows(r->log)};
    for (int i = 0; i < r->term_count && n < HTML_CURVES_MAX; i++)
        curves[n++] = (HtmlCurve){r->terms[i], steps, train_log_column(r->log, LOG_TERMS + i), train_log_rows(r->log)};
    html_curves(html, curves, n, "step", 0, NULL,
                "The loss and its terms (before their weights) on the samples that were learned from.");
}

static void curves_of_validation(Html *html, const TrainReport *r) {
    int64_t rows = train_log_rows(r->validation);
    const double *steps = train_log_column(r->validation, VALID_STEP);
    HtmlCurve errors[] = {{"all", steps, train_log_column(r->validation, VALID_EPE), rows},
                          {"visible", steps, train_log_column(r->validation, VALID_VISIBLE_EPE), rows}};
    html_curves(html, errors, 2, "step", r->sgm->epe, "semi-global, all",
                "Mean error in pixels on samples that were never learned from.");
    double *wrong = mem_array((size_t)rows + 1, sizeof *wrong);
    if (!wrong) return;
    for (int64_t i = 0; i < rows; i++) wrong[i] = 100 - train_log_column(r->validation, VALID_SIGN)[i];
    HtmlCurve shares[] = {{"bad-1", steps, train_log_column(r->validation, VALID_BAD1), rows},
                          {"bad-2", steps, train_log_column(r->validation, VALID_BAD2), rows},
                          {"bad-3", steps, train_log_column(r->validation, VALID_BAD3), rows},
                          {"wrong sign", steps, wrong, rows}};
    html_curves(html, shares, 4, "step", r->sgm->figures.value[METRIC_EVERY][METRIC_ANYWHERE][FIGURE_BAD + 2],
                "semi-global, bad-2",
                "Pixels in percent that are more than 1, 2 or 3 px off, or on the wrong side of the screen (of those "
                "whose truth is more than 2 px off it).");
    mem_free(wrong);
}

/* ---- the worst ---- */

typedef int (*ShowOne)(Html *html, const TrainReport *r, int index);

static int order_errors(const void *a, const void *b, void *context) {
    const double *error = context;
    double x = error[*(const int *)a], y = error[*(const int *)b];
    return x < y ? 1 : x > y ? -1 : *(const int *)a - *(const int *)b;
}

/* Those with the largest errors, and the middle one. */
static int show_worst(Html *html, const TrainReport *r, const double *error, int count, ShowOne show) {
    int code = 0, *order = mem_array((size_t)count, sizeof *order);
    if (!order) return ERR_MEMORY;
    for (int i = 0; i < count; i++) order[i] = i;
    union {
        const double *values;
        void *context;
    } errors = {error};
    qsort_r(order, (size_t)count, sizeof *order, order_errors, errors.context);
    bool middle = count / 2 >= WORST; /* which is not among the worst */
    html_text(html, "The worst of %d%s", count, middle ? ", and last the middle one:" : ":");
    for (int i = 0; !code && i < WORST && i < count; i++) code = show(html, r, order[i]);
    if (!code && middle) code = show(html, r, order[count / 2]);
    mem_free(order);
    return code;
}

/* ---- films ---- */

static void curves_of_films(Html *html, const TrainReport *r) {
    HtmlCurve curves[HTML_CURVES_MAX];
    int n = 0;
    int64_t rows = train_log_rows(r->validation);
    const double *steps = train_log_column(r->validation, FILM_STEP);
    curves[n++] = (HtmlCurve){"sum", steps, train_log_column(r->validation, FILM_LOSS), rows};
    for (int i = 0; i < FILM_TERMS; i++)
        curves[n++] = (HtmlCurve){train_film_terms[i], steps, train_log_column(r->validation, FILM_TERM + i), rows};
    html_curves(
        html, curves, n, "step", 0, NULL,
        "The loss and its terms (before their weights) on frames of films that were never learned from. Phases have "
        "weights and picture sizes of their own: sums of two phases are not to be compared.");
    HtmlCurve shares[] = {{"98th percentile, px", steps, train_log_column(r->validation, FILM_P98), rows},
                          {"below -0.5 px, %", steps, train_log_column(r->validation, FILM_BEHIND), rows}};
    html_curves(html, shares, 2, "step", 0, NULL, "What the disparities look like; there is no truth to compare with.");
    double *wrong = mem_array((size_t)rows + 1, sizeof *wrong);
    bool any = false;
    if (!wrong) return;
    for (int64_t i = 0; i < rows; i++) {
        wrong[i] = 100 - train_log_column(r->validation, FILM_ANCHOR_SIGN)[i];
        any |= wrong[i] > 0;
    }
    HtmlCurve sign = {"wrong sign, %", steps, wrong, rows};
    if (any)
        html_curves(html, &sign, 1, "step", 0, NULL,
                    "Of what the anchors are sure of and have more than 2 px off the screen, what is on the other side "
                    "of it.");
    mem_free(wrong);
}

/* The anchor as a map: no value where the teacher is not sure. False when there is none at all. */
static int anchor_map(const Sample *sample, Map *map, bool *any) {
    int code = map_make(map, sample->width, sample->height, MAP_DISPARITY);
    *any = false;
    for (int64_t i = 0; !code && i < (int64_t)sample->width * sample->height; i++) {
        bool sure = sample->left.valid[i] >= 0.5f;
        map->values[i] = sure ? sample->left.disparity[i] : NAN;
        *any |= sure;
    }
    return code;
}

/* One frame: the pair, what was found, and what the teacher says, in one scale. */
static int show_frame(Html *html, const TrainReport *r, int index) {
    Sample sample = {0};
    Map disparity = {0}, anchor = {0};
    Image left = {0}, right = {0}, pictures[3] = {{0}};
    bool taught = false;
    int code = film_judge_frame(r->judge, index, &sample, &disparity);
    if (!code) code = sample_images(&sample, &left, &right);
    if (!code) code = anchor_map(&sample, &anchor, &taught);
    double range = code ? 1 : colour_range(taught ? &anchor : &disparity);
    ColourOptions colours = {.range = range, .no_legend = sample.width < LEGEND_WIDTH};
    if (!code) code = anaglyph_make(&pictures[0], &left, &right, ANAGLYPH_DUBOIS);
    if (!code) code = colour_map(&pictures[1], &disparity, &colours, NULL);
    if (!code && taught) code = colour_map(&pictures[2], &anchor, &colours, NULL);
    SignedFigures figures;
    if (!code) code = signed_figures(&disparity, &figures);
    if (!code) {
        char name[300], caption[600];
        html_figures_begin(html, taught ? 3 : 2);
        snprintf(caption, sizeof caption, "%s, for red-cyan glasses.",
                 train_films_name(r->films, FILMS_JUDGE, (uint64_t)index, name, sizeof name));
        html_image(html, &pictures[0], "red-cyan anaglyph", caption);
        snprintf(caption, sizeof caption,
                 "Found: from %.1f px, 98th percentile %.1f px, %.1f %% below -0.5 px. The loss is %.3f.",
                 figures.least, figures.p98, 100 * figures.behind, r->film_result->frame_loss[index]);
        html_image(html, &pictures[1], "signed map of the disparity found", caption);
        if (taught)
            html_image(html, &pictures[2], "signed map of the anchor", "The anchor, where the teacher is sure of it.");
        html_figures_end(html);
    }
    for (int i = 0; i < 3; i++) image_free(&pictures[i]);
    image_free(&left), image_free(&right);
    map_free(&disparity), map_free(&anchor);
    sample_free(&sample);
    return code;
}

static int show_films(Html *html, const TrainReport *r) {
    const FilmResult *f = r->film_result;
    html_heading(html, "Frames that were never learned from");
    if (isfinite(f->anchor_sign))
        html_text(html,
                  "%.2f %% of what the teacher is sure of and has more than 2 px off the screen is on the same side of "
                  "the screen.",
                  100 * f->anchor_sign);
    return show_worst(html, r, f->frame_loss, r->judged, show_frame);
}

/* ---- pairs with truth ---- */

/* One sample: the pair, what was found, the truth, the error. */
static int show_sample(Html *html, const TrainReport *r, int index) {
    const Sample *sample = evaluator_sample(r->evaluator, index);
    StereoMaps maps = {0};
    Image left = {0}, right = {0}, mask = {0}, pictures[4] = {{0}};
    Map truth = {0};
    int code = evaluator_maps(r->evaluator, index, &maps);
    if (!code) code = sample_images(sample, &left, &right);
    if (!code) code = sample_truth(sample, &truth, &mask);
    double range = code ? 1 : colour_range(&truth);
    bool small = sample->width < LEGEND_WIDTH;
    ColourOptions found = {.range = range, .occlusion = &maps.occlusion, .no_legend = small};
    ColourOptions true_colours = {.range = range, .no_legend = small};
    if (!code) code = anaglyph_make(&pictures[0], &left, &right, ANAGLYPH_DUBOIS);
    if (!code) code = colour_map(&pictures[1], &maps.disparity, &found, NULL);
    if (!code) code = colour_map(&pictures[2], &truth, &true_colours, NULL);
    if (!code) code = colour_error(&pictures[3], &maps.disparity, &truth, 4);
    if (!code) {
        char caption[200];
        html_figures_begin(html, 4);
        snprintf(caption, sizeof caption, "Sample %d, for red-cyan glasses.", index);
        html_image(html, &pictures[0], "red-cyan anaglyph", caption);
        html_image(html, &pictures[1], "signed map of the disparity found", "Found; crossed where held to be hidden.");
        html_image(html, &pictures[2], "signed map of the true disparity", "True.");
        snprintf(caption, sizeof caption, "Error, %.2f px in the mean; darkest is 4 px and more.",
                 r->result->sample_epe[index]);
        html_image(html, &pictures[3], "map of the error", caption);
        html_figures_end(html);
    }
    for (int i = 0; i < 4; i++) image_free(&pictures[i]);
    image_free(&left), image_free(&right), image_free(&mask);
    map_free(&truth);
    stereo_maps_free(&maps);
    return code;
}

static int show_truth(Html *html, const TrainReport *r) {
    html_heading(html, "How right it is now");
    html_text(html,
              "Best held-out error of what both eyes see so far %.3f px at step %lld; semi-global matching has %.3f px "
              "there.",
              r->state->best, (long long)r->state->best_step,
              r->sgm->figures.value[METRIC_VISIBLE][METRIC_ANYWHERE][FIGURE_EPE]);
    metrics_html(
        html, &r->result->figures,
        "Held-out samples together. EPE is the mean error in pixels; bad x the share of pixels more than x pixels "
        "off; sign right among pixels more than 2 pixels off the screen.");
    html_text(html,
              "Confidence ranks errors to %.3f (0 is perfect, 1 is chance). What is hidden from the other eye is found "
              "with an average precision of %.3f.",
              r->result->sparsification, r->result->occlusion);
    metrics_html(html, &r->sgm->figures, "The same samples by semi-global matching.");
    html_heading(html, "Held-out samples");
    return show_worst(html, r, r->result->sample_epe, evaluator_count(r->evaluator), show_sample);
}

/* ---- the page ---- */

static void show_settings(Html *html, const TrainReport *r) {
    static const char *const heads[] = {"option", "value"};
    html_heading(html, "The recipe");
    html_table_begin(html, NULL, heads, 2);
    for (int i = 0; i < r->setting_count; i++) {
        const char *dot = strchr(r->settings[i].key, '.');
        const char *cells[] = {dot ? dot + 1 : r->settings[i].key, r->settings[i].value};
        if (*cells[1]) html_row(html, cells, 2);
    }
    html_table_end(html);
    html_command(html, "panum train stereo -o %s    goes on from the last checkpoint", show_path(r->folder));
}

int train_report(const TrainReport *r) {
    char path[4200];
    snprintf(path, sizeof path, "%s/report.html", r->folder);
    Out *out;
    int code = out_open(path, OUT_OVERWRITE, &out);
    if (code) return code;
    Html html;
    html_begin(&html, out, r->title);
    html_note(&html,
              "The sign: disparity d = x_left - x_right in pixels. Red, d > 0, comes out of the screen; blue, d < 0, "
              "lies behind it; white is on it.");
    html_text(
        &html,
        "Step %lld, %lld samples, now of %d x %d pixels, %.2f hours of computing on %lld thread%s; %lld steps skipped.",
        (long long)r->state->step, (long long)r->state->position, r->width, r->height, r->state->seconds / 3600,
        (long long)r->threads, r->threads == 1 ? "" : "s", (long long)r->state->skipped);
    html_heading(&html, "On the way");
    html_figures_begin(&html, 2);
    if (r->judge)
        curves_of_films(&html, r);
    else
        curves_of_validation(&html, r);
    curves_of_loss(&html, r);
    html_figures_end(&html);
    code = r->judge ? show_films(&html, r) : show_truth(&html, r);
    show_settings(&html, r);
    int end = html_end(&html);
    if (!code) code = end;
    if (!code) return out_commit(&out);
    out_abort(&out);
    return code;
}
