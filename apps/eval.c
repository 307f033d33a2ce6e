/* apps/eval.c - how right a map is: one prediction against one truth, or a list of such pairs; what a map says by
 * itself. Two predictions side by side have apps/eval_compare.c. */
#include "apps/eval.h"
#include "apps/lib/map_any.h"
#include "apps/lib/metrics_show.h"
#include "apps/lib/validate.h"
#include "base/json.h"

#include <math.h>
#include <string.h>

static const Option options[] = {
    {.name = "truth",
     .kind = OPTION_PATH,
     .value = "FILE",
     .at = offsetof(EvalOptions, truth),
     .group = "What is compared",
     .help = "the true map: PFM, PNG or PGM of integers (Middlebury, KITTI), d16.png, npz, npy, flo"},
    {.name = "mask",
     .kind = OPTION_PATH,
     .value = "FILE",
     .at = offsetof(EvalOptions, mask),
     .group = "What is compared",
     .help = "grey picture: 255 seen by both eyes, 0 not judged, anything else hidden from one eye; without it a pixel "
             "is hidden "
             "when its match lies outside the other picture"},
    {.name = "truth-scale",
     .kind = OPTION_REAL,
     .value = "S",
     .least = 1e-6,
     .most = 1e6,
     .at = offsetof(EvalOptions, truth_scale),
     .group = "What is compared",
     .help = "steps in a pixel of a truth made of integers: 256 for KITTI, 4, 3 or 2 for Middlebury"},
    {.name = "scale",
     .kind = OPTION_REAL,
     .value = "S",
     .least = 1e-6,
     .most = 1e6,
     .at = offsetof(EvalOptions, scale),
     .group = "What is compared",
     .help = "the same for a prediction made of integers"},
    {.name = "shift",
     .kind = OPTION_WHOLE,
     .value = "C",
     .standard = "0",
     .least = -32768,
     .most = 32768,
     .at = offsetof(EvalOptions, shift),
     .group = "What is compared",
     .help = "the signed rule on truth and mask as loaded: the prediction was made from the pair without the C "
             "leftmost columns of the left "
             "and the C rightmost of the right picture, where the disparity is the true one minus C"},
    {.name = "kind",
     .kind = OPTION_CHOICE,
     .value = "KIND",
     .choices = "file|disparity|parallax",
     .standard = "file",
     .shown = "what the file says, else disparity",
     .at = offsetof(EvalOptions, kind),
     .group = "What is compared",
     .help = "what the prediction holds: disparity|parallax"},
    {.name = "truth-kind",
     .kind = OPTION_CHOICE,
     .value = "KIND",
     .choices = "file|disparity|parallax",
     .standard = "file",
     .shown = "what the file says, else disparity",
     .at = offsetof(EvalOptions, truth_kind),
     .group = "What is compared",
     .help = "what the truth holds: disparity|parallax"},
    {.name = "reference",
     .kind = OPTION_CHOICE,
     .value = "EYE",
     .choices = "file|left|right",
     .standard = "file",
     .shown = "what the files say, else left",
     .at = offsetof(EvalOptions, reference),
     .group = "What is compared",
     .help = "the picture both maps belong to: left|right"},
    {.name = "list",
     .kind = OPTION_PATH,
     .value = "FILE",
     .at = offsetof(EvalOptions, list),
     .group = "What is compared",
     .help = "many pairs instead: a line each with prediction, truth, mask (or -), scale of the truth (or -) and "
             "shift, the last three "
             "may be left out; blanks between them, or tabs where names hold blanks; # starts a comment"},
    {.name = "keep-going",
     .kind = OPTION_FLAG,
     .at = offsetof(EvalOptions, keep_going),
     .group = "What is compared",
     .help = "with --list, go on after a pair that cannot be read, and exit 1 at the end"},
    {.name = "compare",
     .kind = OPTION_FLAG,
     .at = offsetof(EvalOptions, compare),
     .group = "Two predictions",
     .help = "set two maps, or two folders of maps of the same names, side by side: what each says by itself, how far "
             "they are apart, and with --truth (a file or a folder) how right each is"},
    {.name = "output",
     .letter = 'o',
     .kind = OPTION_PATH,
     .value = "PATH",
     .at = offsetof(EvalOptions, output),
     .group = "Two predictions",
     .help = "a .png of the comparison, or for folders a folder of them: the left picture, both maps in one scale, "
             "their difference"},
    OPTION_OVERWRITE(EvalOptions, overwrite, "Two predictions"),
    {.name = "left",
     .kind = OPTION_PATH,
     .value = "PATH",
     .at = offsetof(EvalOptions, left),
     .group = "Two predictions",
     .help = "the left eye's picture, or a folder of them; files with both eyes will do"},
    {.name = "map-range",
     .kind = OPTION_LENGTH,
     .value = "R",
     .least = 0.001,
     .most = 32768,
     .at = offsetof(EvalOptions, map_range),
     .shown = "found in the maps",
     .group = "Two predictions",
     .help =
         "disparity at full colour, to both sides: 3% of the width, or 24 pixels; one for both maps and all frames"},
    {.name = "palette",
     .kind = OPTION_CHOICE,
     .value = "P",
     .choices = "default|cvd",
     .standard = "default",
     .at = offsetof(EvalOptions, palette),
     .group = "Two predictions",
     .help = "colours: red in front and blue behind, or orange and blue for colour-blind eyes (cvd)"},
    {.name = "require",
     .kind = OPTION_PATHS,
     .value = "LIMIT",
     .at = offsetof(EvalOptions, require),
     .group = "Output",
     .help = "exit 7 unless it holds, in quotes since < and > mean something to a shell; may be repeated: "
             "[visible.|hidden.|every.][front.|screen.|behind.|all.]FIGURE<NUMBER or >NUMBER, where "
             "FIGURE is epe, bad-0.5, bad-1, bad-2, bad-3, d1, sign or predicted; bad-2<5 means visible.all.bad-2<5; "
             "of a list, the means"},
    {.name = "json",
     .kind = OPTION_FLAG,
     .at = offsetof(EvalOptions, json),
     .group = "Output",
     .help = "one JSON object on standard output instead of the table"},
    OPTIONS_TALK(EvalOptions, talk),
};

int app_eval(int argc, char **argv);
const Verb verb_eval = {
    .name = "eval",
    .operands = "[PREDICTION [OTHER]]",
    .summary = "measure a disparity map: against the truth, by itself, or beside another",
    .description = "Compares a map with the truth, both disparity d = x_left - x_right in pixels, positive in front of "
                   "the screen; parallax is turned "
                   "round first. Tells what both eyes see from what only one does, and what the truth has in front of "
                   "the screen (d > 1), on it, "
                   "and behind it (d < -1).\n\n"
                   "EPE is the mean error in pixels of what was predicted. bad x is the share of pixels more than x px "
                   "off, D1 more than 3 px and 5 % "
                   "of the truth off, sign right the share with the truth's sign among those more than 2 px off the "
                   "screen; in these a pixel "
                   "without prediction counts as wrong.\n\n"
                   "What a map says by itself, without a truth too: minimum and 98th percentile of d, NegPix (the "
                   "share with d < -0.5 px) and asymmetry (the median of |d| > 0.5 px in the left half over that in "
                   "the right one, - where a half has none), as s2m2cinematic defines them. They describe a map; "
                   "they do not say that it is right.",
    .examples = "  panum eval d.pfm --truth gt.pfm --mask m.png --json\n"
                "  panum eval d.npz --truth disp1.png --truth-scale 3 --shift 24\n"
                "  panum eval d.pfm --truth gt.pfm --require 'bad-2<5' --require 'sign>98'\n"
                "  panum eval --list pairs.txt\n"
                "  panum eval --compare before/ after/ --left frames/ -o pictures/",
    .least = 0,
    .most = 2,
    .run = app_eval,
    .options = options,
    .count = sizeof options / sizeof *options,
};

/* One comparison as asked for; texts live in the arena of the options. */
typedef struct {
    const char *prediction, *truth, *mask; /* mask NULL: none */
    double truth_scale;                    /* 0: not given */
    int64_t shift;
    MetricFigures figures;
    SelfFigures self;
    bool failed;
} Pair;

int eval_read_map(const char *path, double scale, int kind, Map *map) {
    MapReadOptions how = {.scale = scale, .kind_given = kind > 0, .kind = kind == 2 ? MAP_PARALLAX : MAP_DISPARITY};
    ReadNotes notes = {0};
    int rc = map_any_read(path, &how, map, &notes);
    if (rc) return rc;
    for (int i = 0; i < notes.count; i++) say_more(1, "%s: %s", show_path(path), notes.text[i]);
    bool parallax = map->kind == MAP_PARALLAX;
    say_more(1, "%s: %s, %dx%d", show_path(path), parallax ? "parallax, turned into disparity" : "disparity",
             map->width, map->height);
    if (parallax) map_set_quantity(map, MAP_DISPARITY);
    return 0;
}

static int compare(const EvalOptions *o, Pair *pair) {
    Map prediction = {0}, truth = {0};
    Image mask = {0};
    Metrics metrics;
    int rc = eval_read_map(pair->prediction, o->scale, o->kind, &prediction);
    if (!rc) rc = self_figures(&pair->self, &prediction);
    if (!rc && !pair->truth) { /* nothing to compare it with */
        map_free(&prediction);
        return 0;
    }
    if (!rc) rc = eval_read_map(pair->truth, pair->truth_scale, o->truth_kind, &truth);
    if (!rc && pair->mask) rc = mask_read(pair->mask, &mask);
    if (!rc && o->reference) prediction.reference_right = truth.reference_right = o->reference == 2;
    if (!rc && prediction.reference_right != truth.reference_right)
        rc = fail(ERR_INPUT,
                  "%s is of the %s eye and %s of the %s; if one of them does not say so rightly, add --reference",
                  show_path(pair->prediction), prediction.reference_right ? "right" : "left", show_path(pair->truth),
                  truth.reference_right ? "right" : "left");
    if (!rc && pair->mask && (mask.width != truth.width || mask.height != truth.height))
        rc = fail(ERR_INPUT,
                  "%s is %dx%d and %s %dx%d pixels; the mask must have the size of the truth as it is in its file",
                  show_path(pair->mask), mask.width, mask.height, show_path(pair->truth), truth.width, truth.height);
    if (!rc && pair->shift) rc = metrics_shift(&truth, pair->mask ? &mask : NULL, (int)pair->shift);
    if (!rc && (prediction.width != truth.width || prediction.height != truth.height)) {
        char after[64] = "";
        if (pair->shift) snprintf(after, sizeof after, " after a shift of %lld", (long long)pair->shift);
        rc = fail(ERR_INPUT, "%s is %dx%d and %s%s %dx%d pixels; they must have one size", show_path(pair->prediction),
                  prediction.width, prediction.height, show_path(pair->truth), after, truth.width, truth.height);
    }
    if (!rc) rc = metrics_measure(&metrics, &prediction, &truth, pair->mask ? &mask : NULL);
    if (!rc) metric_figures(&pair->figures, &metrics);
    if (!rc && !pair->figures.pixels[METRIC_EVERY][METRIC_ANYWHERE])
        rc = fail(ERR_INPUT, "%s: nothing to judge: the truth has no value%s", show_path(pair->truth),
                  pair->mask ? " where the mask lets it" : "");
    map_free(&prediction), map_free(&truth);
    image_free(&mask);
    return rc;
}

/* Nearly all signs wrong is hardly ever a bad matcher: it is the other quantity, or the other eye first. */
static void doubt_sign(const Pair *pair) {
    double right = pair->figures.value[METRIC_EVERY][METRIC_ANYWHERE][FIGURE_SIGN];
    if (right < 15)
        say("%s: only %.1f %% of the signs are right; does it hold parallax (--kind parallax), or were the eyes "
            "swapped?",
            show_path(pair->prediction), right);
}

/* ---- the list ---- */

enum { LIST_LINES_MAX = 1000000, LIST_LINE_MAX = 4096, LIST_FIELDS = 5 };

typedef struct {
    Pair *pairs;
    int64_t count, room;
} Pairs;

static int add_pair(Pairs *list, const Pair *pair) {
    if (list->count == list->room) {
        int64_t room = list->room ? 2 * list->room : 16;
        Pair *grown = mem_grow(list->pairs, (size_t)room * sizeof *grown);
        if (!grown) return err_code();
        list->pairs = grown;
        list->room = room;
    }
    list->pairs[list->count++] = *pair;
    return 0;
}

/* Fields between tabs if the line has any, else between blanks. The line is cut up in place. */
static int split(char *line, char *fields[LIST_FIELDS + 1]) {
    const char *between = strchr(line, '\t') ? "\t" : " ";
    int n = 0;
    for (char *rest = NULL, *field = strtok_r(line, between, &rest); field && n <= LIST_FIELDS;
         field = strtok_r(NULL, between, &rest))
        fields[n++] = field;
    return n;
}

static int read_line(const EvalOptions *o, Arena *arena, char *line, int64_t number, Pairs *list) {
    char *fields[LIST_FIELDS + 1];
    const char *name = show_path(o->list);
    int n = split(line, fields);
    if (n == 0 || fields[0][0] == '#') return 0;
    if (n < 2 || n > LIST_FIELDS)
        return fail(ERR_INPUT,
                    "%s: line %lld has %d fields; write prediction, truth and, if need be, mask, scale and shift", name,
                    (long long)number, n);
    Pair pair = {.prediction = arena_text(arena, fields[0]),
                 .truth = arena_text(arena, fields[1]),
                 .truth_scale = o->truth_scale,
                 .shift = o->shift};
    if (n > 2 && strcmp(fields[2], "-") != 0) pair.mask = arena_text(arena, fields[2]);
    if (n > 3 && strcmp(fields[3], "-") != 0 &&
        (!parse_real(fields[3], &pair.truth_scale) || pair.truth_scale < 1e-6 || pair.truth_scale > 1e6))
        return fail(ERR_INPUT, "%s: line %lld: the fourth field must be the scale, a number above 0, or -", name,
                    (long long)number);
    if (n > 4 && (!parse_whole(fields[4], &pair.shift) || pair.shift < -32768 || pair.shift > 32768))
        return fail(ERR_INPUT, "%s: line %lld: the fifth field must be the shift, a whole number of columns", name,
                    (long long)number);
    if (arena_failed(arena)) return fail(ERR_MEMORY, "no memory for the list");
    return add_pair(list, &pair);
}

static int read_list(const EvalOptions *o, Arena *arena, Pairs *list) {
    uint8_t *bytes;
    size_t size;
    int rc = file_read(o->list, (size_t)LIST_LINES_MAX * 256, &bytes, &size);
    if (rc) return rc;
    char line[LIST_LINE_MAX + 1];
    int64_t number = 0;
    for (size_t at = 0; at < size && !rc;) {
        const uint8_t *end = memchr(bytes + at, '\n', size - at);
        size_t n = end ? (size_t)(end - bytes) - at : size - at, taken = n + (end != NULL);
        if (++number > LIST_LINES_MAX) {
            rc = fail(ERR_INPUT, "%s: more than %d lines", show_path(o->list), LIST_LINES_MAX);
        } else if (n > LIST_LINE_MAX || memchr(bytes + at, 0, n)) {
            rc = fail(ERR_INPUT, "%s: line %lld is longer than %d bytes or holds a zero byte; is it a text file?",
                      show_path(o->list), (long long)number, LIST_LINE_MAX);
        } else {
            memcpy(line, bytes + at, n);
            if (n && line[n - 1] == '\r') n--;
            line[n] = 0;
            rc = read_line(o, arena, line, number, list);
        }
        at += taken;
    }
    mem_free(bytes);
    if (!rc && !list->count) rc = fail(ERR_INPUT, "%s: holds no pair", show_path(o->list));
    return rc;
}

/* ---- output ---- */

static void print_self(const SelfFigures *self) {
    char text[32];
    for (int f = 0; f < SELF_FIGURES; f++)
        printf("%s%s %s", f ? ", " : "by itself: ", self_figure_heads[f],
               self_figure_text(text, sizeof text, (SelfFigure)f, self->value[f]));
    printf("\n");
}

static void print_list_table(const Pairs *list, const MetricFigures *mean) {
    static const int shown[] = {FIGURE_EPE, FIGURE_BAD + 1, FIGURE_BAD + 2, FIGURE_BAD + 3, FIGURE_D1, FIGURE_SIGN};
    enum { SHOWN = sizeof shown / sizeof *shown };
    char text[32];
    for (int f = 0; f < SHOWN; f++) printf("%10s ", metric_figure_heads[shown[f]]);
    printf(" visible to both eyes\n");
    for (int64_t i = 0; i < list->count; i++) {
        const Pair *p = &list->pairs[i];
        if (p->failed) continue;
        for (int f = 0; f < SHOWN; f++)
            printf("%10s ", metric_figure_text(text, sizeof text, shown[f],
                                               p->figures.value[METRIC_VISIBLE][METRIC_ANYWHERE][shown[f]]));
        printf(" %s\n", show_path(p->prediction));
    }
    printf("\nmeans over the pairs\n");
    metrics_table(stdout, mean);
}

static void print_pair(const Pair *p) {
    char quoted[2048];
    printf("{\"prediction\":%s", json_quote(quoted, sizeof quoted, p->prediction));
    if (!p->truth) {
        printf(",\"validate\":");
        self_figures_json(stdout, &p->self);
        printf("}");
        return;
    }
    printf(",\"truth\":%s", json_quote(quoted, sizeof quoted, p->truth));
    if (p->mask) printf(",\"mask_file\":%s", json_quote(quoted, sizeof quoted, p->mask));
    printf(",\"shift\":%lld,\"metrics\":", (long long)p->shift);
    metrics_json(stdout, &p->figures);
    printf(",\"validate\":");
    self_figures_json(stdout, &p->self);
    printf("}");
}

static void print_json(const Pairs *list, bool is_list, const MetricFigures *mean, const SelfFigures *self) {
    if (is_list) printf("{\"pairs\":[");
    bool first = true;
    for (int64_t i = 0; i < list->count; i++) {
        const Pair *p = &list->pairs[i];
        if (p->failed) continue;
        if (!first) printf(",");
        first = false;
        print_pair(p);
    }
    if (is_list) {
        printf("],\"mean\":");
        metrics_json(stdout, mean);
        printf(",\"mean_validate\":");
        self_figures_json(stdout, self);
        printf("}");
    }
    printf("\n");
}

static int check_limits(const EvalOptions *o, const MetricFigures *figures) {
    int broken = 0, rc = 0;
    for (int i = 0; i < o->require.count; i++) {
        MetricLimit limit;
        if (metric_limit_parse(o->require.items[i], &limit)) return err_code();
        if (broken) say_always("panum eval: %s", err_sentence()); /* all but the last, which main prints */
        int checked = metric_limit_check(&limit, figures);
        if (!checked) continue;
        rc = checked;
        broken++;
    }
    return rc;
}

/* Over the `count` pairs that did not fail. */
static int means(const Pairs *list, int64_t count, MetricFigures *mean, SelfFigures *self) {
    MetricFigures *good = mem_array((size_t)count, sizeof *good);
    SelfFigures *selves = good ? mem_array((size_t)count, sizeof *selves) : NULL;
    int64_t n = 0;
    for (int64_t i = 0; selves && i < list->count; i++) {
        if (list->pairs[i].failed) continue;
        good[n] = list->pairs[i].figures;
        selves[n++] = list->pairs[i].self;
    }
    if (selves) metric_figures_mean(mean, good, n), self_figures_mean(self, selves, n);
    int rc = selves ? 0 : err_code();
    mem_free(good), mem_free(selves);
    return rc;
}

static int evaluate(const EvalOptions *o, Pairs *list) {
    int64_t failed = 0;
    for (int64_t i = 0; i < list->count; i++) {
        Pair *p = &list->pairs[i];
        if (run_stopped()) return run_stop("nothing was printed");
        if (!compare(o, p)) {
            if (p->truth) doubt_sign(p);
            continue;
        }
        if (!o->list || !o->keep_going) return err_code();
        say_always("panum eval: %s", err_sentence());
        p->failed = true;
        failed++;
    }
    if (failed == list->count) return fail(ERR_FAILED, "none of the %lld pairs could be measured", (long long)failed);
    MetricFigures mean;
    SelfFigures self;
    int rc = means(list, list->count - failed, &mean, &self);
    if (rc) return rc;
    if (o->json)
        print_json(list, o->list != NULL, &mean, &self);
    else if (o->list)
        print_list_table(list, &mean);
    else if (list->pairs[0].truth)
        metrics_table(stdout, &mean);
    if (!o->json) print_self(&self);
    if (failed)
        return fail(ERR_FAILED, "%lld of %lld pairs could not be measured", (long long)failed, (long long)list->count);
    return check_limits(o, &mean);
}

/* What belongs to --compare and what does not. */
static int check_compare(const EvalOptions *o, const Parsed *parsed) {
    static const char *const its_own[] = {"output", "overwrite", "left", "map-range", "palette"}, *const others[] = {
                                                                                                      "list", "mask",
                                                                                                      "shift",
                                                                                                      "require",
                                                                                                      "keep-going"};
    for (size_t i = 0; !o->compare && i < sizeof its_own / sizeof *its_own; i++)
        if (option_given(&verb_eval, parsed, its_own[i]))
            return usage_error(&verb_eval, "--%s is for --compare", its_own[i]);
    for (size_t i = 0; o->compare && i < sizeof others / sizeof *others; i++)
        if (option_given(&verb_eval, parsed, others[i]))
            return usage_error(&verb_eval, "--%s and --compare exclude each other", others[i]);
    if (o->compare && parsed->operand_count != 2)
        return usage_error(&verb_eval, "--compare needs two maps, or two folders of maps");
    if (!o->compare && parsed->operand_count > 1)
        return usage_error(&verb_eval, "there are two maps; --compare sets them side by side, --list measures many");
    for (size_t i = 1; o->compare && !o->output && i < sizeof its_own / sizeof *its_own; i++)
        if (option_given(&verb_eval, parsed, its_own[i]))
            return usage_error(&verb_eval, "--%s is for the pictures, and there is no -o", its_own[i]);
    return 0;
}

int app_eval(int argc, char **argv) {
    static const char *const truth_only[] = {"mask", "truth-scale", "shift", "truth-kind", "require"};
    EvalOptions o = {0};
    Parsed parsed;
    int rc = options_parse(&verb_eval, argc, argv, &o, &parsed);
    if (rc) return rc;
    rc = talk_begin(&o.talk);
    Pairs list = {0};
    for (int i = 0; i < o.require.count && !rc; i++) { /* before any work */
        MetricLimit limit;
        rc = metric_limit_parse(o.require.items[i], &limit);
    }
    if (!rc) rc = check_compare(&o, &parsed);
    for (size_t i = 0; i < sizeof truth_only / sizeof *truth_only && !rc && !o.list && !o.truth; i++)
        if (option_given(&verb_eval, &parsed, truth_only[i]))
            rc = usage_error(&verb_eval, "--%s needs the truth: add --truth FILE", truth_only[i]);
    if (!rc && o.compare) {
        const char *command = command_line(parsed.arena, argc, argv);
        rc = command ? eval_compare(&o, parsed.arena, parsed.operands[0], parsed.operands[1], command) : ERR_MEMORY;
        parsed_free(&parsed);
        return rc;
    }
    if (!rc && o.list && (parsed.operand_count || o.truth || o.mask))
        rc = usage_error(&verb_eval, "with --list the files are in the list; leave out PREDICTION, --truth and --mask");
    if (!rc && !o.list && !parsed.operand_count) rc = usage_error(&verb_eval, "the map to measure is missing");
    if (!rc && o.list) {
        rc = read_list(&o, parsed.arena, &list);
    } else if (!rc) {
        Pair pair = {.prediction = parsed.operands[0],
                     .truth = o.truth,
                     .mask = o.mask,
                     .truth_scale = o.truth_scale,
                     .shift = o.shift};
        rc = add_pair(&list, &pair);
    }
    if (!rc) rc = evaluate(&o, &list);
    mem_free(list.pairs);
    parsed_free(&parsed);
    return rc;
}
