/* apps/eval_compare.c - two predictions of the same frames side by side: a table, and a picture for each frame.
 *
 * In folders, maps are paired by their names without endings. Nothing is held in memory but two maps at a time: frames
 * are read once for the figures and the range of the colours, which is one for both maps and all frames, and once more
 * for the pictures.
 *
 * A picture shows four panels with a caption each: the left eye and the difference A - B above, A and B below. */
#include "apps/eval.h"
#include "apps/lib/colour.h"
#include "apps/lib/font.h"
#include "apps/lib/metrics_show.h"
#include "apps/lib/validate.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "data/stereo.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* How two maps differ, over pixels where both have a value. */
typedef struct {
    int64_t both;
    double mean, above, signs; /* mean |A - B| in px; % with more than 1 px; % on different sides of the screen, of
                                  those that one map has more than 2 px off it */
} MapDifference;

typedef struct {
    const char *name, *a, *b, *truth, *left; /* the last two NULL: none */
    const char *picture;                     /* NULL: none is written */
    SelfFigures self[2];
    MetricFigures right[2]; /* against the truth */
    MapDifference difference;
} Frame;

typedef struct {
    const EvalOptions *o;
    Arena *arena;
    Frame *frames;
    int64_t count;
    double range, difference_range; /* px at full colour */
    FileMeta meta;
} Comparison;

/* ---- which frames ---- */

static bool is_folder(const char *path) {
    struct stat st;
    return path && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool ends_in(const char *name, const char *ending) {
    size_t n = strlen(name), e = strlen(ending);
    return n > e && strcasecmp(name + n - e, ending) == 0;
}

static const char *const map_endings[] = {".d16.png", ".npz", ".npy", ".pfm", ".flo"};
static const char *const picture_endings[] = {".png", ".jpg", ".jpeg", ".ppm", ".pgm", ".pnm", ".jps", ".mpo"};

/* The name without its ending; NULL when it has none of a map. `any`: any ending will do. */
static const char *stem_of(Arena *arena, const char *path, bool any) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    for (size_t i = 0; i < sizeof map_endings / sizeof *map_endings; i++)
        if (ends_in(name, map_endings[i]))
            return arena_format(arena, "%.*s", (int)(strlen(name) - strlen(map_endings[i])), name);
    const char *dot = strrchr(name, '.');
    if (!any) return NULL;
    return arena_format(arena, "%.*s", dot && dot > name ? (int)(dot - name) : (int)strlen(name), name);
}

typedef struct {
    const char *stem, *path;
} Named;

static int by_stem(const void *x, const void *y) {
    return strcmp(((const Named *)x)->stem, ((const Named *)y)->stem);
}

/* The maps of a folder, by name. `integers`: plain .png and .pgm as well, which hold whole numbers. */
static int list_maps(Arena *arena, const char *folder, bool integers, Named **list, int64_t *count) {
    DIR *dir = opendir(folder);
    int64_t n = 0, room = 0;
    int rc = 0;
    Named *items = NULL;
    int length = (int)strlen(folder);
    while (length > 1 && folder[length - 1] == '/') length--;
    if (!dir) return fail(ERR_INPUT, "%s: cannot be opened as a folder", show_path(folder));
    for (struct dirent *e; !rc && (e = readdir(dir));) {
        bool whole = integers && (ends_in(e->d_name, ".png") || ends_in(e->d_name, ".pgm"));
        const char *stem = e->d_name[0] == '.' ? NULL : stem_of(arena, e->d_name, whole);
        if (!stem) continue;
        if (n == room) {
            room = room ? 2 * room : 64;
            Named *grown = mem_grow(items, (size_t)room * sizeof *grown);
            if (!grown) rc = err_code();
            if (rc) break;
            items = grown;
        }
        items[n++] = (Named){stem, arena_format(arena, "%.*s/%s", length, folder, e->d_name)};
    }
    closedir(dir);
    if (!rc && arena_failed(arena)) rc = err_code();
    if (!rc && n) qsort(items, (size_t)n, sizeof *items, by_stem);
    for (int64_t i = 1; !rc && i < n; i++)
        if (!strcmp(items[i - 1].stem, items[i].stem))
            rc = fail(ERR_INPUT, "%s and %s would be one frame; leave one of them out", show_path(items[i - 1].path),
                      show_path(items[i].path));
    if (rc) {
        mem_free(items);
        items = NULL;
    }
    *list = items;
    *count = n;
    return rc;
}

static const char *find_stem(const Named *list, int64_t count, const char *stem) {
    Named key = {stem, NULL};
    const Named *found = count ? bsearch(&key, list, (size_t)count, sizeof *list, by_stem) : NULL;
    return found ? found->path : NULL;
}

/* The picture of a frame in a folder; a map called NAME_disparity belongs to NAME. NULL: none. */
static const char *find_picture(Arena *arena, const char *folder, const char *stem) {
    static const char tail[] = "_disparity";
    int whole = (int)strlen(stem), bare = ends_in(stem, tail) ? whole - (int)sizeof tail + 1 : whole;
    for (int length = whole;; length = bare) {
        for (size_t i = 0; i < sizeof picture_endings / sizeof *picture_endings; i++) {
            struct stat st;
            const char *path = arena_format(arena, "%s/%.*s%s", folder, length, stem, picture_endings[i]);
            if (path && stat(path, &st) == 0 && S_ISREG(st.st_mode)) return path;
        }
        if (length == bare) return NULL;
    }
}

static int find_frames(Comparison *c, const char *a, const char *b) {
    Named *as = NULL, *bs = NULL, *truths = NULL;
    int64_t na = 0, nb = 0, nt = 0, lonely = 0, dark = 0;
    const EvalOptions *o = c->o;
    if (o->truth && !is_folder(o->truth))
        return usage_error(&verb_eval, "--truth %s: two folders of predictions need a folder of truths",
                           show_path(o->truth));
    if (o->left && !is_folder(o->left))
        return usage_error(&verb_eval, "--left %s: two folders of predictions need a folder of pictures",
                           show_path(o->left));
    int rc = list_maps(c->arena, a, o->scale > 0, &as, &na);
    if (!rc) rc = list_maps(c->arena, b, o->scale > 0, &bs, &nb);
    if (!rc && o->truth) rc = list_maps(c->arena, o->truth, o->truth_scale > 0, &truths, &nt);
    if (!rc) c->frames = mem_zero((size_t)na + 1, sizeof *c->frames);
    if (!rc && !c->frames) rc = err_code();
    for (int64_t i = 0; !rc && i < na; i++) {
        Frame f = {.name = as[i].stem, .a = as[i].path, .b = find_stem(bs, nb, as[i].stem)};
        lonely += !f.b;
        if (!f.b) continue;
        if (o->truth) f.truth = find_stem(truths, nt, f.name);
        if (o->truth && !f.truth)
            rc = fail(ERR_INPUT, "%s: holds no truth of that name for %s", show_path(o->truth), show_path(f.a));
        if (o->left) f.left = find_picture(c->arena, o->left, f.name);
        dark += o->left && !f.left;
        if (o->output) f.picture = arena_format(c->arena, "%s/%s.png", o->output, f.name);
        c->frames[c->count++] = f;
    }
    lonely += nb - c->count;
    if (!rc && arena_failed(c->arena)) rc = err_code();
    if (!rc && !c->count)
        rc = fail(ERR_INPUT, "%s and %s: hold no maps of one name (%s has %lld, %s %lld)", show_path(a), show_path(b),
                  "the first", (long long)na, "the second", (long long)nb);
    if (!rc && lonely) say("%lld maps are in one of the folders only and were left out", (long long)lonely);
    if (!rc && dark) say("%s: %lld frames have no picture there", show_path(o->left), (long long)dark);
    mem_free(as), mem_free(bs), mem_free(truths);
    return rc;
}

/* ---- figures ---- */

static void measure_difference(MapDifference *d, const Map *a, const Map *b) {
    int64_t above = 0, off = 0, signs = 0;
    double sum = 0;
    *d = (MapDifference){0};
    for (int64_t i = 0; i < (int64_t)a->width * a->height; i++) {
        double x = a->values[i], y = b->values[i];
        if (!isfinite(x) || !isfinite(y)) continue;
        d->both++;
        sum += fabs(x - y);
        above += fabs(x - y) > 1;
        if (fabs(x) <= 2 && fabs(y) <= 2) continue;
        off++;
        signs += (x > 0) != (y > 0);
    }
    d->mean = d->both ? sum / (double)d->both : NAN;
    d->above = metric_percent(above, d->both);
    d->signs = metric_percent(signs, off);
}

static int read_both(const Comparison *c, const Frame *f, Map maps[2]) {
    const char *paths[2] = {f->a, f->b};
    maps[0] = maps[1] = (Map){0};
    int rc = 0;
    for (int i = 0; !rc && i < 2; i++) {
        rc = eval_read_map(paths[i], c->o->scale, c->o->kind, &maps[i]);
        if (!rc && c->o->reference) maps[i].reference_right = c->o->reference == 2;
    }
    if (!rc && (maps[0].width != maps[1].width || maps[0].height != maps[1].height))
        rc = fail(ERR_INPUT, "%s is %dx%d and %s %dx%d pixels; they must have one size", show_path(f->a), maps[0].width,
                  maps[0].height, show_path(f->b), maps[1].width, maps[1].height);
    if (!rc && maps[0].reference_right != maps[1].reference_right)
        rc = fail(ERR_INPUT, "%s and %s are of different eyes; if they do not say so rightly, add --reference",
                  show_path(f->a), show_path(f->b));
    return rc;
}

static int measure_truth(const Comparison *c, Frame *f, const Map maps[2]) {
    Map truth = {0};
    int rc = eval_read_map(f->truth, c->o->truth_scale, c->o->truth_kind, &truth);
    if (!rc) truth.reference_right = maps[0].reference_right;
    if (!rc && (truth.width != maps[0].width || truth.height != maps[0].height))
        rc = fail(ERR_INPUT, "%s is %dx%d and %s %dx%d pixels; they must have one size", show_path(f->a), maps[0].width,
                  maps[0].height, show_path(f->truth), truth.width, truth.height);
    for (int i = 0; !rc && i < 2; i++) {
        Metrics metrics;
        rc = metrics_measure(&metrics, &maps[i], &truth, NULL);
        if (!rc) metric_figures(&f->right[i], &metrics);
    }
    map_free(&truth);
    return rc;
}

/* A - B where both have a value. */
static int subtract(Map *difference, const Map *a, const Map *b) {
    if (map_copy(difference, a)) return err_code();
    for (int64_t i = 0; i < (int64_t)a->width * a->height; i++) difference->values[i] = a->values[i] - b->values[i];
    return 0;
}

static int measure(Comparison *c, Frame *f) {
    Map maps[2], difference = {0};
    int rc = read_both(c, f, maps);
    for (int i = 0; !rc && i < 2; i++) rc = self_figures(&f->self[i], &maps[i]);
    if (!rc) measure_difference(&f->difference, &maps[0], &maps[1]);
    if (!rc && f->truth) rc = measure_truth(c, f, maps);
    if (!rc && f->picture) rc = subtract(&difference, &maps[0], &maps[1]);
    if (!rc && f->picture) {
        for (int i = 0; i < 2; i++) c->range = fmax(c->range, colour_range(&maps[i]));
        c->difference_range = fmax(c->difference_range, colour_range(&difference));
    }
    map_free(&maps[0]), map_free(&maps[1]), map_free(&difference);
    return rc;
}

/* ---- pictures ---- */

static const uint8_t paper[3] = {255, 255, 255}, ink[3] = {28, 30, 33};

/* The left eye's picture in the size of the maps. */
static int read_left(const Frame *f, int width, int height, Image *left) {
    StereoPair pair = {0};
    *left = (Image){0};
    int rc = image_read(f->left, NULL, left, NULL);
    if (rc) return rc;
    if (left->width != width || left->height != height) { /* both eyes in one? */
        image_free(left);
        rc = stereo_read(f->left, NULL, NULL, &pair);
        if (rc) return rc;
        *left = pair.left;
        pair.left = (Image){0};
        stereo_pair_free(&pair);
    }
    if (left->width != width || left->height != height) {
        Image part = {0};
        if (width == (left->width & ~31) && height == (left->height & ~31))
            rc = image_crop(&part, left, 0, 0, width, height);
        else
            rc = fail(ERR_INPUT, "%s: an eye has %dx%d pixels and the map %dx%d; the picture does not belong to it",
                      show_path(f->left), left->width, left->height, width, height);
        image_free(left);
        *left = part;
    }
    if (!rc) rc = image_to_8bit(left);
    if (!rc) rc = image_to_rgb(left);
    if (rc) image_free(left);
    return rc;
}

static void fill(Image *image, const uint8_t colour[3]) {
    for (int64_t i = 0; i < image_pixels(image); i++) memcpy(image->bytes + 3 * i, colour, 3);
}

static void paste(Image *to, int x, int y, const Image *from) {
    for (int row = 0; row < from->height; row++)
        memcpy(to->bytes + 3 * ((int64_t)(y + row) * to->width + x), from->bytes + 3 * (int64_t)row * from->width,
               3 * (size_t)from->width);
}

/* Smaller where it is too long for the panel; if it still is, characters at its end are left out. */
static void write_caption(Image *to, int x, int y, int width, int scale, const char *text) {
    char cut[300];
    snprintf(cut, sizeof cut, "%s", text);
    while (scale > 1 && font_width(cut, scale) > width) scale--;
    for (size_t n = strlen(cut); n && font_width(cut, scale) > width; n--) cut[n - 1] = 0;
    font_draw(to, x, y, scale, ink, cut);
}

static int paint(const Comparison *c, const Frame *f, Image *picture) {
    enum { LEFT, DIFFERENCE, A, B, PANELS };
    Map maps[2], difference = {0};
    Image panels[PANELS] = {{0}};
    char captions[PANELS][300], figure[2][SELF_FIGURES][32];
    int rc = read_both(c, f, maps);
    if (!rc) rc = subtract(&difference, &maps[0], &maps[1]);
    ColourOptions how = {.range = c->range, .palette = (Palette)c->o->palette},
                  apart = {.range = c->difference_range, .palette = (Palette)c->o->palette, .no_legend = true};
    if (!rc) rc = colour_map(&panels[A], &maps[0], &how, NULL);
    if (!rc) rc = colour_map(&panels[B], &maps[1], &how, NULL);
    if (!rc) rc = colour_map(&panels[DIFFERENCE], &difference, &apart, NULL);
    if (!rc && f->left) rc = read_left(f, maps[0].width, maps[0].height, &panels[LEFT]);
    if (!rc) {
        int w = maps[0].width, h = maps[0].height, scale = w < 600 ? 1 : w < 1400 ? 2 : 3;
        int line = (FONT_HEIGHT + 2) * scale, margin = 4 * scale, strip = 2 * line + margin;
        snprintf(captions[LEFT], sizeof captions[0], "%s", f->left ? f->name : "no picture was given");
        snprintf(captions[DIFFERENCE], sizeof captions[0], "A - B, %s where A is nearer; full colour at %.3g px",
                 c->o->palette ? "orange" : "red", c->difference_range);
        const char *paths[2] = {f->a, f->b};
        for (int i = 0; i < 2; i++) {
            for (int k = 0; k < SELF_FIGURES; k++)
                self_figure_text(figure[i][k], sizeof figure[i][k], (SelfFigure)k, f->self[i].value[k]);
            snprintf(captions[A + i], sizeof captions[0], "%c: %s", 'A' + i, show_path(paths[i]));
        }
        rc = image_make(picture, 2 * w + 3 * margin, 2 * strip + h + panels[A].height + 2 * margin, 3, 8);
        if (!rc) fill(picture, paper);
        for (int p = 0; !rc && p < PANELS; p++) {
            int x = margin + (p & 1) * (w + margin), y = margin + (p >= A ? strip + h : 0);
            char second[200];
            if (p >= A)
                snprintf(second, sizeof second, "min %s, P98 %s, NegPix %s, asymmetry %s", figure[p - A][SELF_MINIMUM],
                         figure[p - A][SELF_P98], figure[p - A][SELF_NEGPIX], figure[p - A][SELF_ASYMMETRY]);
            else if (p == DIFFERENCE)
                snprintf(second, sizeof second, "mean %.3f px, %.2f %% above 1 px", f->difference.mean,
                         f->difference.above);
            else
                *second = 0;
            write_caption(picture, x, y + scale, w, scale, captions[p]);
            write_caption(picture, x, y + line + scale, w, scale, second);
            if (panels[p].bytes) paste(picture, x, y + strip - margin / 2, &panels[p]);
        }
    }
    for (int p = 0; p < PANELS; p++) image_free(&panels[p]);
    map_free(&maps[0]), map_free(&maps[1]), map_free(&difference);
    return rc;
}

static int write_picture(const Comparison *c, const Frame *f) {
    Image picture = {0};
    int rc = paint(c, f, &picture);
    if (!rc)
        rc = image_write(f->picture, c->o->overwrite ? OUT_OVERWRITE : OUT_NEW, &picture, "comparison of two maps",
                         &c->meta);
    image_free(&picture);
    return rc;
}

/* ---- what is said ---- */

static void print_selves(const char *which, const SelfFigures *self) {
    char text[32];
    printf("%s", which);
    for (int f = 0; f < SELF_FIGURES; f++)
        printf(" %12s", self_figure_text(text, sizeof text, (SelfFigure)f, self->value[f]));
}

static const char *percent_text(char *out, size_t size, double v) {
    if (isnan(v))
        snprintf(out, size, "-");
    else
        snprintf(out, size, "%.2f %%", v);
    return out;
}

static void print_row(const Frame *f, const char *name) {
    char mean[32], text[2][32];
    print_selves("A", &f->self[0]);
    print_selves("  B", &f->self[1]);
    if (isnan(f->difference.mean))
        snprintf(mean, sizeof mean, "-");
    else
        snprintf(mean, sizeof mean, "%.3f px", f->difference.mean);
    printf(" %12s %10s %10s  %s\n", mean, percent_text(text[0], sizeof text[0], f->difference.above),
           percent_text(text[1], sizeof text[1], f->difference.signs), name);
}

/* The mean frame: of each figure over the frames that have it. */
static int mean_frame(const Comparison *c, Frame *mean) {
    SelfFigures *selves = mem_array((size_t)c->count, sizeof *selves);
    MetricFigures *right = selves ? mem_array((size_t)c->count, sizeof *right) : NULL;
    *mean = (Frame){.name = "mean"};
    for (int i = 0; right && i < 2; i++) {
        for (int64_t k = 0; k < c->count; k++) selves[k] = c->frames[k].self[i], right[k] = c->frames[k].right[i];
        self_figures_mean(&mean->self[i], selves, c->count);
        metric_figures_mean(&mean->right[i], right, c->count);
    }
    double sum[3] = {0};
    int64_t having[3] = {0};
    for (int64_t k = 0; k < c->count; k++) {
        const MapDifference *d = &c->frames[k].difference;
        const double v[3] = {d->mean, d->above, d->signs};
        mean->difference.both += d->both;
        for (int i = 0; i < 3; i++)
            if (!isnan(v[i])) sum[i] += v[i], having[i]++;
    }
    double *to[3] = {&mean->difference.mean, &mean->difference.above, &mean->difference.signs};
    for (int i = 0; i < 3; i++) *to[i] = having[i] ? sum[i] / (double)having[i] : NAN;
    int rc = right ? 0 : err_code();
    mem_free(selves), mem_free(right);
    return rc;
}

static void print_tables(const Comparison *c, const Frame *mean) {
    for (int i = 0; i < 2; i++) {
        printf("%s", i ? "   " : " ");
        for (int f = 0; f < SELF_FIGURES; f++) printf(" %12s", self_figure_heads[f]);
    }
    printf(" %12s %10s %10s\n", "mean |A-B|", "> 1 px", "sign");
    for (int64_t k = 0; k < c->count; k++) print_row(&c->frames[k], show_path(c->frames[k].name));
    if (c->count > 1) print_row(mean, "mean");
    for (int i = 0; i < 2 && c->o->truth; i++) {
        printf("\n%c against the truth%s\n", 'A' + i, c->count > 1 ? ", means over the frames" : "");
        metrics_table(stdout, &mean->right[i]);
    }
}

static void json_number(const char *key, double v) {
    if (isnan(v))
        printf(",\"%s\":null", key);
    else
        printf(",\"%s\":%.6g", key, v);
}

static void json_frame(const Comparison *c, const Frame *f) {
    char quoted[2048];
    printf("{\"name\":%s", json_quote(quoted, sizeof quoted, f->name));
    if (f->a) printf(",\"a_file\":%s", json_quote(quoted, sizeof quoted, f->a));
    if (f->b) printf(",\"b_file\":%s", json_quote(quoted, sizeof quoted, f->b));
    if (f->picture) printf(",\"picture\":%s", json_quote(quoted, sizeof quoted, f->picture));
    for (int i = 0; i < 2; i++) {
        printf(",\"%c\":{\"validate\":", 'a' + i);
        self_figures_json(stdout, &f->self[i]);
        if (c->o->truth) {
            printf(",\"metrics\":");
            metrics_json(stdout, &f->right[i]);
        }
        printf("}");
    }
    printf(",\"difference\":{\"values\":%lld", (long long)f->difference.both);
    json_number("mean", f->difference.mean);
    json_number("above_1", f->difference.above);
    json_number("sign", f->difference.signs);
    printf("}}");
}

/* ---- all of it ---- */

static int plan(Comparison *c, const char *a, const char *b) {
    const EvalOptions *o = c->o;
    OutMode mode = o->overwrite ? OUT_OVERWRITE : OUT_NEW;
    if (is_folder(a) != is_folder(b))
        return fail(ERR_INPUT, "%s is a folder and %s is not; give two maps or two folders of them",
                    show_path(is_folder(a) ? a : b), show_path(is_folder(a) ? b : a));
    if (is_folder(a)) {
        int rc = find_frames(c, a, b);
        if (!rc && o->output && !is_folder(o->output) && mkdir(o->output, 0777) != 0)
            rc = fail(errno == ENOSPC ? ERR_MEMORY : ERR_USAGE, "%s: the folder cannot be made: %s",
                      show_path(o->output), strerror(errno));
        for (int64_t i = 0; !rc && o->output && i < c->count; i++) rc = out_check(c->frames[i].picture, mode);
        return rc;
    }
    c->frames = mem_zero(1, sizeof *c->frames);
    if (!c->frames) return err_code();
    Frame f = {.name = stem_of(c->arena, a, true), .a = a, .b = b, .truth = o->truth, .left = o->left};
    if (o->output && is_folder(o->output))
        f.picture = arena_format(c->arena, "%s/%s.png", o->output, f.name);
    else
        f.picture = o->output;
    if (arena_failed(c->arena)) return err_code();
    c->frames[c->count++] = f;
    if (f.picture && !ends_in(f.picture, ".png"))
        return usage_error(&verb_eval, "%s: the comparison is a picture; name a file that ends in .png, or a folder",
                           show_path(f.picture));
    return f.picture ? out_check(f.picture, mode) : 0;
}

/* The range asked for; % are of the first frame's width. */
static int take_range(Comparison *c) {
    Map maps[2];
    int rc = read_both(c, &c->frames[0], maps);
    const OptionLength *asked = &c->o->map_range;
    if (!rc) c->range = asked->percent ? asked->value * maps[0].width / 100 : asked->value;
    map_free(&maps[0]), map_free(&maps[1]);
    return rc;
}

int eval_compare(const EvalOptions *o, Arena *arena, const char *a, const char *b, const char *command) {
    Comparison c = {.o = o, .arena = arena, .meta = {.version = "panum " PANUM_VERSION, .command = command}};
    Frame mean;
    int rc = plan(&c, a, b);
    for (int64_t i = 0; !rc && i < c.count; i++)
        rc = run_stopped() ? run_stop("nothing was written") : measure(&c, &c.frames[i]);
    if (!rc && o->output && o->map_range.value > 0) rc = take_range(&c);
    for (int64_t i = 0; !rc && o->output && i < c.count; i++)
        rc = run_stopped() ? run_stop("the pictures before were written") : write_picture(&c, &c.frames[i]);
    if (!rc) rc = mean_frame(&c, &mean);
    if (!rc && o->json) {
        printf("{\"frames\":[");
        for (int64_t i = 0; i < c.count; i++) {
            if (i) printf(",");
            json_frame(&c, &c.frames[i]);
        }
        printf("],\"mean\":");
        json_frame(&c, &mean);
        printf("}\n");
    } else if (!rc) {
        print_tables(&c, &mean);
    }
    mem_free(c.frames);
    return rc;
}
