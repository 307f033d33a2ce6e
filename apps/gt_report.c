/* apps/gt_report.c - what became of the frames: the manifest for programs, the report for people.
 *
 * manifest.jsonl has one object a line for each frame that was picked in this run or an earlier one, in the order of
 * their numbers, and one for each picture that could not be picked at all:
 *   {"film", "frame", "shot", "status": "kept"|"rejected", "reason": null or its name, "why": null or a sentence,
 *    "picture", "right": null or the other eye's file, "anchor": null or its file, "reused", "swapped_eyes", "width",
 *    "height", "eye_order", "vertical", "consistent", "nearest", "farthest", "front", "behind", "confidence",
 *    "trusted"}
 * Files of this output are named from its folder on. nearest and farthest are parallax in % of the width, the others
 * shares or pixels; what was not measured is null. */
#include "apps/gt.h"
#include "apps/lib/html.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const explained[ANCHOR_REASONS] = {
    "an anchor was written",
    "the picture or its second eye cannot be read",
    "a picture without anything in it: black, white, a fade",
    "both eyes show the same picture",
    "the left picture is the right eye's, by the contours of what stands in front",
    "one eye's picture lies lower than the other's",
    "the matcher is not sure of the frame",
    "matching from left to right and from right to left disagree",
};

static int by_number(const void *a, const void *b) {
    const GtRecord *p = a, *q = b;
    if (p->number != q->number) return (p->number > q->number) - (p->number < q->number);
    return (p->order > q->order) - (p->order < q->order);
}

/* Afterwards there is one record a frame, the latest. */
static void settle(Gt *gt) {
    int64_t kept = 0;
    if (gt->record_count) qsort(gt->records, (size_t)gt->record_count, sizeof *gt->records, by_number);
    for (int64_t i = 0; i < gt->record_count; i++)
        if (i + 1 == gt->record_count || gt->records[i + 1].number != gt->records[i].number)
            gt->records[kept++] = gt->records[i];
    gt->record_count = gt->known = kept;
}

/* ---- the manifest ---- */

static void put_text(Out *out, const char *key, const char *text) {
    char quoted[GT_PATH + 100];
    out_print(out, ",\"%s\":%s", key, text && *text ? json_quote(quoted, sizeof quoted, text) : "null");
}

static void put_number(Out *out, const char *key, double value) {
    if (isnan(value))
        out_print(out, ",\"%s\":null", key);
    else
        out_print(out, ",\"%s\":%.6g", key, value);
}

/* A path from the output's folder on, where it lies in it. */
static const char *within(const Gt *gt, const char *path) {
    size_t n = strlen(gt->folder);
    return !strncmp(path, gt->folder, n) && path[n] == '/' ? path + n + 1 : path;
}

static void put_record(const Gt *gt, Out *out, const GtRecord *r) {
    char path[GT_PATH], other[GT_PATH], folder[4100], quoted[1200];
    const GtFilm *film = gt_film_of(gt, r->number);
    const FilmFrame *frame = gt_frame_of(gt, r->number);
    const AnchorFigures *f = &r->figures;
    bool pictures = !gt->is_set && !r->reason;
    out_print(out, "{\"film\":%s,\"frame\":%lld", film ? json_quote(quoted, sizeof quoted, film->name) : "null",
              (long long)r->number);
    if (film && (film->shots_whole || film->shots_begun))
        out_print(out, ",\"shot\":%lld", (long long)gt_shot(film, r->number));
    else
        out_print(out, ",\"shot\":null");
    put_text(out, "status", r->reason ? "rejected" : "kept");
    put_text(out, "reason", r->reason ? anchor_reason_names[r->reason] : NULL);
    put_text(out, "why", r->why);
    put_text(out, "picture",
             frame      ? frame->path
             : pictures ? within(gt, gt_picture_path(gt, r->number, "left", path))
                        : NULL);
    put_text(out, "right",
             frame      ? frame->right
             : pictures ? within(gt, gt_picture_path(gt, r->number, "right", other))
                        : NULL);
    snprintf(folder, sizeof folder, "%s/disparities", gt->folder);
    put_text(out, "anchor", r->reason ? NULL : within(gt, gt_anchor_path(gt, r->number, folder, path)));
    out_print(out, ",\"reused\":%s,\"swapped_eyes\":%s,\"width\":%d,\"height\":%d", r->reused ? "true" : "false",
              r->swapped ? "true" : "false", r->width, r->height);
    put_number(out, "eye_order", f->eye_order), put_number(out, "vertical", f->vertical);
    put_number(out, "consistent", f->consistent), put_number(out, "nearest", f->nearest);
    put_number(out, "farthest", f->farthest), put_number(out, "front", f->front);
    put_number(out, "behind", f->behind), put_number(out, "confidence", f->confidence);
    put_number(out, "trusted", f->trusted);
    out_print(out, "}\n");
}

int gt_write_manifest(Gt *gt) {
    char path[4200];
    Out *out;
    settle(gt);
    snprintf(path, sizeof path, "%s/manifest.jsonl", gt->folder);
    int rc = out_open(path, OUT_OVERWRITE, &out);
    if (rc) return rc;
    for (int64_t i = 0; i < gt->record_count; i++) put_record(gt, out, &gt->records[i]);
    for (int64_t i = 0; i < gt->set.rejected_count; i++) {
        char quoted[GT_PATH + 100];
        out_print(out, "{\"film\":null,\"frame\":null,\"shot\":null,\"status\":\"rejected\",\"reason\":\"unusable\"");
        put_text(out, "why", gt->set.rejected[i].why);
        out_print(out, ",\"picture\":%s}\n", json_quote(quoted, sizeof quoted, gt->set.rejected[i].path));
    }
    return out_commit(&out);
}

int gt_write_structure(const Gt *gt) {
    char path[4200], quoted[1400];
    Out *out;
    snprintf(path, sizeof path, "%s/film_structure.json", gt->folder);
    int rc = out_open(path, OUT_OVERWRITE, &out);
    if (rc) return rc;
    for (int64_t i = 0; i < gt->film_count; i++)
        out_print(out, "%s{\"nr\": %lld, \"name\": %s, \"start\": %lld, \"end\": %lld}", i ? ",\n " : "[",
                  (long long)i + 1, json_quote(quoted, sizeof quoted, gt->films[i].name), (long long)gt->films[i].start,
                  (long long)gt->films[i].end);
    out_print(out, "]\n");
    return out_commit(&out);
}

/* ---- counts ---- */

typedef struct {
    int64_t frames, kept, reused, count[ANCHOR_REASONS];
    double nearest, farthest;                     /* the extremes of what was kept, % */
    double front, behind, confidence, consistent; /* means over what was kept and has them */
    int64_t consistent_known;
} Counts;

/* Of one film, or with NULL of all. */
static Counts count_frames(const Gt *gt, const GtFilm *film) {
    Counts c = {.nearest = INFINITY, .farthest = -INFINITY};
    for (int64_t i = 0; i < gt->record_count; i++) {
        const GtRecord *r = &gt->records[i];
        const AnchorFigures *f = &r->figures;
        if (film && (r->number < film->start || r->number > film->end)) continue;
        c.frames++;
        c.count[r->reason]++;
        if (r->reason) continue;
        c.kept++;
        c.reused += r->reused;
        c.nearest = fmin(c.nearest, f->nearest), c.farthest = fmax(c.farthest, f->farthest);
        c.front += f->front, c.behind += f->behind, c.confidence += f->confidence;
        if (!isnan(f->consistent)) c.consistent += f->consistent, c.consistent_known++;
    }
    double n = c.kept ? (double)c.kept : 1;
    c.front /= n, c.behind /= n, c.confidence /= n;
    c.consistent = c.consistent_known ? c.consistent / (double)c.consistent_known : NAN;
    return c;
}

/* "12 swapped, 3 mono"; "" when none was rejected. */
static const char *reasons_line(const Counts *c, char *out, size_t size) {
    size_t n = 0;
    *out = 0;
    for (int r = 1; r < ANCHOR_REASONS && n < size; r++)
        if (c->count[r])
            n += (size_t)snprintf(out + n, size - n, "%s%lld %s", n ? ", " : "", (long long)c->count[r],
                                  anchor_reason_names[r]);
    return out;
}

void gt_tell(const Gt *gt) {
    char reasons[300], kept[GROUPED_SIZE], frames[GROUPED_SIZE];
    for (int64_t i = 0; i < gt->film_count; i++) {
        const GtFilm *film = &gt->films[i];
        Counts c = count_frames(gt, film);
        if (!film->active) continue;
        reasons_line(&c, reasons, sizeof reasons);
        say_more(1, "%s: %lld of %lld frames kept%s%s", show_path(film->name), (long long)c.kept, (long long)c.frames,
                 *reasons ? "; " : "", reasons);
        if (c.frames >= 4 && 2 * c.count[ANCHOR_SWAPPED] > c.frames)
            say("%s: eyes look swapped in %lld of %lld frames; if they are, match this film with --swap-eyes%s",
                show_path(film->name), (long long)c.count[ANCHOR_SWAPPED], (long long)c.frames,
                gt->is_set && gt->film_count > 1 ? ", from a folder of its own" : "");
    }
    Counts all = count_frames(gt, NULL);
    reasons_line(&all, reasons, sizeof reasons);
    say("%s of %s frames kept%s%s", text_grouped(kept, all.kept), text_grouped(frames, all.frames),
        *reasons ? "; rejected: " : "", reasons);
    if (all.kept)
        say_more(1, "parallax %+.2f to %+.2f %% of the width; %.0f %% in front of the screen, %.0f %% behind",
                 all.nearest, all.farthest, 100 * all.front, 100 * all.behind);
}

static void print_counts(const Counts *c) {
    printf("\"frames\":%lld,\"kept\":%lld,\"reused\":%lld,\"rejected\":{", (long long)c->frames, (long long)c->kept,
           (long long)c->reused);
    for (int r = 1; r < ANCHOR_REASONS; r++)
        printf("%s\"%s\":%lld", r > 1 ? "," : "", anchor_reason_names[r], (long long)c->count[r]);
    printf("}");
}

void gt_print_json(const Gt *gt) {
    char quoted[GT_PATH];
    Counts all = count_frames(gt, NULL);
    printf("{\"output\":%s,\"new\":%lld,", json_quote(quoted, sizeof quoted, gt->folder), (long long)gt->done);
    print_counts(&all);
    printf(",\"films\":[");
    for (int64_t i = 0; i < gt->film_count; i++) {
        Counts c = count_frames(gt, &gt->films[i]);
        printf("%s{\"film\":%s,", i ? "," : "", json_quote(quoted, sizeof quoted, gt->films[i].name));
        if (gt->films[i].shots_whole)
            printf("\"shots\":%lld,", (long long)gt->films[i].cut_count + 1);
        else
            printf("\"shots\":null,");
        print_counts(&c);
        printf("}");
    }
    printf("]}\n");
}

/* ---- the report ---- */

enum { FILM_COLUMNS = 4 + ANCHOR_REASONS + 5, CELL = 48 };

static void film_row(Html *html, const char *name, const GtFilm *film, const Counts *c) {
    char text[FILM_COLUMNS][CELL];
    const char *cells[FILM_COLUMNS];
    int n = 0;
    cells[n++] = name;
    if (film)
        text_grouped(text[n], film->count);
    else
        snprintf(text[n], CELL, " ");
    cells[n] = text[n], n++;
    if (film && film->shots_whole)
        text_grouped(text[n], film->cut_count + 1);
    else
        snprintf(text[n], CELL, film ? "-" : " ");
    cells[n] = text[n], n++;
    cells[n] = text_grouped(text[n], c->frames), n++;
    for (int r = 0; r < ANCHOR_REASONS; r++, n++) cells[n] = text_grouped(text[n], c->count[r]);
    const double figures[5] = {c->nearest, c->farthest, 100 * c->front, 100 * c->behind, c->confidence};
    for (int i = 0; i < 5; i++, n++) {
        if (!c->kept)
            snprintf(text[n], CELL, "-");
        else
            snprintf(text[n], CELL, i < 2 ? "%+.2f" : i < 4 ? "%.1f" : "%.2f", figures[i]);
        cells[n] = text[n];
    }
    html_row(html, cells, n);
}

static void film_table(Html *html, const Gt *gt) {
    const char *heads[FILM_COLUMNS] = {"film", "frames", "shots", "looked at"};
    int n = 4;
    for (int r = 0; r < ANCHOR_REASONS; r++) heads[n++] = anchor_reason_names[r];
    heads[n++] = "nearest %", heads[n++] = "farthest %", heads[n++] = "in front %", heads[n++] = "behind %";
    heads[n++] = "confidence";
    html_table_begin(html,
                     "Frames by film and by what became of them. Nearest and farthest: parallax in % of the width, "
                     "negative in front, over all that was kept; the last three are means over it.",
                     heads, n);
    for (int64_t i = 0; i < gt->film_count; i++) {
        Counts c = count_frames(gt, &gt->films[i]);
        film_row(html, gt->films[i].name, &gt->films[i], &c);
    }
    Counts all = count_frames(gt, NULL);
    if (gt->film_count > 1) film_row(html, "all", NULL, &all);
    html_table_end(html);
    static const char *const reason_heads[] = {"reason", "frames"};
    html_table_begin(html, "The reasons. Each is looked for in this order, and the first that holds is given.",
                     reason_heads, 2);
    for (int r = 1; r < ANCHOR_REASONS; r++) {
        char count[GROUPED_SIZE], name[200];
        snprintf(name, sizeof name, "%s: %s%s", anchor_reason_names[r], explained[r],
                 gt->limits.reject[r] ? "" : " (not looked for)");
        const char *cells[] = {name, text_grouped(count, all.count[r])};
        html_row(html, cells, 2);
    }
    html_table_end(html);
}

/* Of a frame's small pictures in the work folder the `what` one; empty when there is none. */
static int read_small(const Gt *gt, int64_t number, const char *what, Image *picture) {
    char path[GT_PATH];
    struct stat st;
    *picture = (Image){0};
    snprintf(path, sizeof path, "%s/frame_%06lld_%s.png", gt->work, (long long)number, what);
    if (stat(path, &st) != 0) return 0;
    return image_read(path, NULL, picture, NULL);
}

static void describe(const Gt *gt, const GtRecord *r, char *out, size_t size) {
    const AnchorFigures *f = &r->figures;
    const GtFilm *film = gt_film_of(gt, r->number);
    int n = snprintf(out, size, "%.100s, frame %lld", film ? film->name : "?", (long long)r->number);
    if (r->reason) n += snprintf(out + n, size - (size_t)n, ": %s", anchor_reason_names[r->reason]);
    if (r->reason == ANCHOR_SWAPPED) n += snprintf(out + n, size - (size_t)n, " (eye test %+.2f)", f->eye_order);
    if (r->reason == ANCHOR_VERTICAL) n += snprintf(out + n, size - (size_t)n, " (%+.1f rows)", f->vertical);
    if (!isnan(f->confidence))
        n += snprintf(out + n, size - (size_t)n, "; parallax %+.2f to %+.2f %%, confidence %.2f", f->nearest,
                      f->farthest, f->confidence);
    if (!isnan(f->consistent)) snprintf(out + n, size - (size_t)n, ", %.1f %% agree both ways", 100 * f->consistent);
}

/* So many frames are shown of those kept and of those rejected: a page of some megabytes. */
enum { SHOWN_MAX = 24 };

static int show_samples(Html *html, const Gt *gt, bool rejected) {
    int64_t *found = mem_array((size_t)gt->record_count + 1, sizeof *found), count = 0;
    int rc = found ? 0 : err_code();
    for (int64_t i = 0; !rc && i < gt->record_count; i++) {
        char path[GT_PATH];
        struct stat st;
        if ((gt->records[i].reason != ANCHOR_KEPT) != rejected) continue;
        snprintf(path, sizeof path, "%s/frame_%06lld_eyes.png", gt->work, (long long)gt->records[i].number);
        if (stat(path, &st) == 0) found[count++] = i;
    }
    int64_t shown = count < SHOWN_MAX ? count : SHOWN_MAX;
    if (shown)
        html_heading(html, rejected ? "%lld of the frames that were rejected" : "%lld of the frames that were kept",
                     (long long)shown);
    html_figures_begin(html, 4);
    for (int64_t k = 0; !rc && k < shown; k++) {
        const GtRecord *r = &gt->records[found[k * count / shown]];
        Image eyes = {0}, map = {0};
        char caption[400];
        describe(gt, r, caption, sizeof caption);
        rc = read_small(gt, r->number, "eyes", &eyes);
        if (!rc) rc = read_small(gt, r->number, "map", &map);
        if (!rc && eyes.bytes) html_image(html, &eyes, "red-cyan anaglyph", caption);
        if (!rc && map.bytes) html_image(html, &map, "signed map of the disparity found", "What was found.");
        image_free(&eyes), image_free(&map);
    }
    html_figures_end(html);
    mem_free(found);
    return rc;
}

int gt_write_report(Gt *gt) {
    char path[4200], reasons[300], text[4][GROUPED_SIZE];
    Out *out;
    Html html;
    settle(gt);
    snprintf(path, sizeof path, "%s/report.html", gt->folder);
    int rc = out_open(path, OUT_OVERWRITE, &out);
    if (rc) return rc;
    Counts all = count_frames(gt, NULL);
    html_begin(&html, out, "Ground truth from 3-D films");
    html_note(&html,
              "The sign: disparity d = x_left - x_right in pixels. Red, d > 0, comes out of the screen; blue, d < 0, "
              "lies behind it; white is on it. Colours are full at %.0f %% of the width to either side, in every "
              "picture.",
              100 * GT_SAMPLE_RANGE);
    html_text(&html, "%s frames of %lld film%s were looked at; %s were kept%s%s%s.", text_grouped(text[0], all.frames),
              (long long)gt->film_count, gt->film_count == 1 ? "" : "s", text_grouped(text[1], all.kept),
              all.reused ? ", " : "", all.reused ? text_grouped(text[2], all.reused) : "",
              all.reused ? " of them taken from earlier results" : "");
    if (gt->set.rejected_count)
        html_text(&html, "%s picture%s could not be picked; of the first: %s.",
                  text_grouped(text[3], gt->set.rejected_count), gt->set.rejected_count == 1 ? "" : "s",
                  gt->set.rejected[0].why);
    if (*reasons_line(&all, reasons, sizeof reasons)) html_text(&html, "Rejected: %s.", reasons);
    html_text(&html,
              "Matched by %s%s. manifest.jsonl has every frame with its figures. Anchors describe what a matcher "
              "found; they are no measured truth.",
              matcher_model_name(matcher_model(gt->matcher)),
              gt->o->check ? ", both ways; where the two disagree an anchor's confidence is 0" : "");
    film_table(&html, gt);
    rc = show_samples(&html, gt, false);
    if (!rc) rc = show_samples(&html, gt, true);
    html_heading(&html, "Add what is missing");
    html_command(&html, "%s", gt->command);
    int end = html_end(&html);
    if (!rc) rc = end;
    if (!rc) return out_commit(&out);
    out_abort(&out);
    return rc;
}
