/* apps/judge.c - how good matchers are: each on all pairs of a set with truth, the screen plane put through the scene.
 */
#include "apps/lib/judge.h"
#include "apps/lib/colour.h"
#include "apps/lib/options.h"
#include "apps/lib/progress.h"
#include "apps/lib/run.h"
#include "apps/lib/train_eval.h"
#include "base/json.h"
#include "base/rng.h"
#include "data/map.h"
#include "data/pairs.h"
#include "data/synthetic.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

enum { JUDGES_MAX = 8, PLANES_MAX = 16 };
/* Scenes to judge by come from a stream of their own, which no training draws from. */
#define JUDGE_SEED 0x6a75646765u

typedef struct {
    const char *folder, *weights, *planes, *beside, *size, *output, *device;
    DeviceChoice where; /* of networks: sgm runs on the CPU */
    OptionList models, require;
    int64_t count, seed, threads;
    bool json, overwrite;
    int progress;
    TalkOptions talk;
} JudgeOptions;

#define AT(field) .at = offsetof(JudgeOptions, field)
static const Option options[] = {
    {.name = "folder",
     .kind = OPTION_PATH,
     .value = "FOLDER",
     AT(folder),
     .shown = "the list's own",
     .group = "Pairs",
     .help = "where the paths of a list count from"},
    {.name = "planes",
     .kind = OPTION_TEXT,
     .value = "P,P,...",
     AT(planes),
     .shown = "25,50,75; none for synthetic",
     .group = "Pairs",
     .help =
         "the signed rule: each pair once for each percentile of its truth, with the screen there, by cutting whole "
         "columns off; none: as it is"},
    {.name = "count",
     .kind = OPTION_WHOLE,
     .value = "N",
     .least = 1,
     .most = 100000,
     .standard = "24",
     AT(count),
     .group = "Pairs",
     .help = "synthetic: how many scenes"},
    {.name = "size",
     .kind = OPTION_TEXT,
     .value = "WxH",
     .standard = "384x256",
     AT(size),
     .group = "Pairs",
     .help = "synthetic: of the pictures"},
    {.name = "seed",
     .kind = OPTION_WHOLE,
     .value = "N",
     .least = 0,
     .most = 1e15,
     .standard = "1",
     AT(seed),
     .group = "Pairs",
     .help = "synthetic: other scenes; none of them is ever trained on, whatever the seed of a training"},
    {.name = "model",
     .kind = OPTION_PATHS,
     .value = "NAME",
     AT(models),
     .shown = "auto",
     .group = "Matchers",
     .help = "who is judged, " MATCHER_MODELS " as for panum match; may be repeated"},
    {.name = "weights",
     .kind = OPTION_PATH,
     .value = "FILE",
     AT(weights),
     .shown = "looked for as panum match does",
     .group = "Matchers",
     .help = "weights of the one network among them"},
    {.name = "beside",
     .kind = OPTION_PATH,
     .value = "FILE",
     AT(beside),
     .group = "Matchers",
     .help = "figures of another matcher that were written down, to stand beside: name, plane, bad_2 and sign between "
             "tabs"},
    {.name = "require",
     .kind = OPTION_PATHS,
     .value = "LIMIT",
     AT(require),
     .group = "Output",
     .help = "exit 7 unless the first model's mean holds it: as panum eval's, bad-2<5 or front.sign>98, and "
             "confidence<0.3 and occlusion>0.9; may be repeated"},
    {.name = "output",
     .letter = 'o',
     .kind = OPTION_PATH,
     .value = "FOLDER",
     AT(output),
     .group = "Output",
     .help =
         "also colour maps into this folder, which is made: PAIR_PLANE_truth.png and PAIR_PLANE_MODEL.png, all of a "
         "pair on the scale of its truth"},
    OPTION_OVERWRITE(JudgeOptions, overwrite, "Output"),
    {.name = "json", .kind = OPTION_FLAG, AT(json), .group = "Output", .help = "one JSON object on standard output"},
    OPTION_DEVICE(JudgeOptions, device, "Machine"),
    OPTION_THREADS(JudgeOptions, threads, "Machine"),
    OPTION_PROGRESS(JudgeOptions, progress),
    OPTIONS_TALK(JudgeOptions, talk),
};

int app_judge(int argc, char **argv);
const Verb verb_judge = {
    .name = "judge",
    .operands = "PAIRS|synthetic",
    .words = "synthetic",
    .summary = "judge matchers on pairs with known depth, both signs, scene by scene",
    .description =
        "PAIRS is a folder as Middlebury, ETH3D, KITTI, Sintel or SceneFlow lay it out, or a list (left, right, truth "
        "and more between tabs); synthetic: scenes that panum draws itself, with exact truth.\n\n"
        "For every matcher: bad 2, the share of pixels that both eyes see and that are more than 2 px off; sign, the "
        "share with the truth's sign among those more than 2 px off the screen; confidence, how well it ranks errors "
        "of all pixels with truth: the area between its sparsification curve and the ideal one, 0 for the ideal and 1 "
        "for chance; occlusion, the average precision of finding what is hidden from the other eye. Means over a "
        "pair's planes make its line, means over pairs those of groups and the last one.",
    .examples = "  panum judge bench/stereo_gt/pairs.tsv --folder ../shared/data/stereo_gt --model sgm --model s2m2-XS "
                "--beside bench/stereo_gt/StereoSGBM.tsv\n"
                "  panum judge synthetic --count 50 --model s2m2-XS --weights best.safetensors",
    .least = 1,
    .most = 1,
    .run = app_judge,
    .options = options,
    .count = sizeof options / sizeof *options,
};

/* One pair: the means over its planes. */
typedef struct {
    const char *name, *group;
    Judgement by[JUDGES_MAX];
    double bad_2, sign; /* written down; NaN where a plane is not */
} Row;

typedef struct {
    const JudgeOptions *o;
    Arena *arena;
    int models, planes; /* planes 0: pairs as they are */
    MatcherModel model[JUDGES_MAX];
    double plane[PLANES_MAX];
    Matcher *matcher[JUDGES_MAX];
    const char *beside; /* what the figures that were written down are called; NULL: none */
    Record record;
    Pairs pairs; /* or */
    Synthetic *synthetic;
    int64_t count;
    Row *rows;
} Judge;

/* ---- what is asked ---- */

static int parse_planes(Judge *j, bool synthetic) {
    const char *text = j->o->planes ? j->o->planes : synthetic ? "none" : "25,50,75";
    if (strcmp(text, "none") == 0) return 0;
    char *copy = arena_text(j->arena, text);
    if (!copy) return ERR_MEMORY;
    for (char *rest = NULL, *field = strtok_r(copy, ",", &rest); field; field = strtok_r(NULL, ",", &rest)) {
        double v;
        if (j->planes == PLANES_MAX) return usage_error(&verb_judge, "--planes: more than %d", PLANES_MAX);
        if (!parse_real(field, &v) || v < 0 || v > 100)
            return usage_error(&verb_judge, "--planes: '%s' is not a percentile, 0 to 100", show_path(field));
        j->plane[j->planes++] = v;
    }
    return j->planes ? 0 : usage_error(&verb_judge, "--planes: write percentiles, as in 25,50,75, or none");
}

static int choose_models(Judge *j) {
    const OptionList *given = &j->o->models;
    int networks = 0;
    if (given->count > JUDGES_MAX) return usage_error(&verb_judge, "more than %d models", JUDGES_MAX);
    for (int i = 0; i < given->count; i++) {
        int k = MODEL_AUTO;
        while (k <= MODEL_S2M2_XL && strcmp(given->items[i], matcher_model_name((MatcherModel)k)) != 0) k++;
        if (k > MODEL_S2M2_XL)
            return usage_error(&verb_judge, "--model: '%s' is not one of " MATCHER_MODELS, show_path(given->items[i]));
        networks += k != MODEL_SGM;
        j->model[i] = (MatcherModel)k;
    }
    j->models = given->count ? given->count : 1;
    if (!given->count) networks = 1;
    if (j->o->weights && networks != 1)
        return usage_error(&verb_judge, "--weights is for one network, and %s",
                           networks ? "several are to be judged" : "there is none");
    return 0;
}

static int open_matchers(Judge *j) {
    int rc = 0;
    for (int i = 0; !rc && i < j->models; i++) {
        MatcherOptions how = matcher_defaults();
        how.model = j->model[i];
        how.threads = (int)j->o->threads;
        if (how.model != MODEL_SGM) how.weights = j->o->weights, how.device = j->o->where;
        rc = matcher_open(&how, &j->matcher[i]);
        if (!rc && matcher_weights(j->matcher[i]))
            say("%s is judged with the weights %s", matcher_model_name(matcher_model(j->matcher[i])),
                show_path(matcher_weights(j->matcher[i])));
    }
    return rc;
}

static int open_pairs(Judge *j, const char *set, bool synthetic) {
    const JudgeOptions *o = j->o;
    if (!synthetic) {
        int rc = o->folder ? pairs_find_list(set, o->folder, &j->pairs) : pairs_find(set, PAIRS_AUTO, &j->pairs);
        if (rc) return rc;
        for (int64_t i = 0; i < j->pairs.rejected && i < PAIRS_REASONS; i++) say("left out: %s", j->pairs.reasons[i]);
        j->count = j->pairs.count;
        return 0;
    }
    int w = 0, h = 0, used = 0;
    if (sscanf(o->size, "%5dx%5d%n", &w, &h, &used) != 2 || o->size[used] || w < 64 || h < 64 || w > 8192 || h > 8192)
        return usage_error(&verb_judge, "--size: '%s' is not WIDTHxHEIGHT, from 64 to 8192 each", show_path(o->size));
    j->count = o->count;
    SyntheticOptions stream = {.seed = rng_u64(JUDGE_SEED, (uint64_t)o->seed), .width = w, .height = h};
    return synthetic_open(&j->synthetic, &stream);
}

/* The file's name without its ending is what the column is called. */
static int read_beside(Judge *j) {
    if (!j->o->beside) return 0;
    const char *slash = strrchr(j->o->beside, '/'), *name = slash ? slash + 1 : j->o->beside, *dot = strrchr(name, '.');
    j->beside = arena_format(j->arena, "%.*s", (int)(dot && dot > name ? dot - name : (long)strlen(name)), name);
    return j->beside ? record_read(j->o->beside, j->arena, &j->record) : (int)ERR_MEMORY;
}

/* ---- judging ---- */

static int read_pair(Judge *j, int64_t index, Sample *sample, Row *row) {
    if (j->synthetic) {
        row->name = arena_format(j->arena, "scene %lld", (long long)index);
        row->group = "synthetic";
        return row->name ? synthetic_make(j->synthetic, (uint64_t)index, sample) : (int)ERR_MEMORY;
    }
    row->name = j->pairs.entries[index].name;
    row->group = j->pairs.entries[index].group;
    return pairs_read(&j->pairs.entries[index], sample);
}

static void find_recorded(const Judge *j, Row *row) {
    row->bad_2 = row->sign = 0;
    for (int p = 0; p < j->planes; p++) {
        const Recorded *r = record_find(&j->record, row->name, j->plane[p]);
        row->bad_2 += r ? r->bad_2 / j->planes : (double)NAN;
        row->sign += r ? r->sign / j->planes : (double)NAN;
    }
    if (!j->planes) row->bad_2 = row->sign = (double)NAN;
}

/* Names come from lists and folders: a file name gets what is harmless in one. */
static const char *picture_path(const Judge *j, const char *name, int plane, const char *what) {
    char *safe = arena_text(j->arena, name);
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    for (char *c = safe; c && *c; c++)
        if (!strchr(plain, *c) || (c == safe && *c == '.')) *c = '_';
    if (!safe) return NULL;
    return j->planes ? arena_format(j->arena, "%s/%s_%g_%s.png", j->o->output, safe, j->plane[plane], what)
                     : arena_format(j->arena, "%s/%s_%s.png", j->o->output, safe, what);
}

static int write_picture(const Judge *j, const char *path, const Map *map, const Map *occlusion, double range) {
    Image picture;
    ColourOptions how = {.range = range, .occlusion = occlusion};
    const FileMeta meta = {.version = "panum " PANUM_VERSION, .command = "panum judge"};
    if (!path) return ERR_MEMORY;
    int rc = colour_map(&picture, map, &how, NULL);
    if (rc) return rc;
    rc = image_write(path, j->o->overwrite ? OUT_OVERWRITE : OUT_NEW, &picture, "colour map of disparity", &meta);
    image_free(&picture);
    return rc;
}

/* One matcher on one pair; with -o its map, and before the first one's that of the truth. */
static int judge_one(const Judge *j, const Row *row, int plane, int m, const Sample *sample, Judgement *to) {
    StereoMaps maps;
    Map truth = {0};
    Image mask = {0};
    if (!j->o->output) return judge_sample(j->matcher[m], sample, to, NULL);
    int rc = judge_sample(j->matcher[m], sample, to, &maps);
    if (!rc) rc = sample_truth(sample, &truth, &mask);
    double range = rc ? 0 : colour_range(&truth);
    if (!rc && m == 0) rc = write_picture(j, picture_path(j, row->name, plane, "truth"), &truth, NULL, range);
    if (!rc)
        rc = write_picture(j, picture_path(j, row->name, plane, matcher_model_name(matcher_model(j->matcher[m]))),
                           &maps.disparity, &maps.occlusion, range);
    stereo_maps_free(&maps);
    map_free(&truth);
    image_free(&mask);
    return rc;
}

static int judge_pair(Judge *j, int64_t index) {
    Row *row = &j->rows[index];
    Sample whole = {0}, cut = {0};
    static Judgement each[JUDGES_MAX][PLANES_MAX]; /* large for a stack */
    int planes = j->planes ? j->planes : 1, rc = read_pair(j, index, &whole, row);
    for (int p = 0; !rc && p < planes; p++) {
        if (j->planes) rc = judge_plane(&cut, &whole, j->plane[p]);
        for (int m = 0; !rc && m < j->models; m++) {
            if (run_stopped()) rc = run_stop("nothing was printed");
            if (!rc) rc = judge_one(j, row, p, m, j->planes ? &cut : &whole, &each[m][p]);
        }
    }
    for (int m = 0; !rc && m < j->models; m++) {
        const Judgement *all[PLANES_MAX];
        for (int p = 0; p < planes; p++) all[p] = &each[m][p];
        rc = judge_mean(&row->by[m], all, planes);
    }
    if (!rc && j->beside) find_recorded(j, row);
    sample_free(&whole), sample_free(&cut);
    if (rc && rc != ERR_STOPPED && row->name) rc = fail_prefix("%s", show_path(row->name));
    return rc;
}

/* The mean of the rows of a group, or, with NULL, of all. */
static int mean_row(const Judge *j, const char *group, Row *mean) {
    *mean = (Row){.name = group ? group : "mean", .group = group};
    const Judgement **all = mem_array((size_t)j->count, sizeof *all);
    if (!all) return ERR_MEMORY;
    int rc = 0;
    int64_t n = 0, having = 0;
    for (int m = 0; !rc && m < j->models; m++) {
        n = 0;
        for (int64_t i = 0; i < j->count; i++)
            if (!group || strcmp(j->rows[i].group, group) == 0) all[n++] = &j->rows[i].by[m];
        rc = judge_mean(&mean->by[m], all, n);
    }
    mem_free((void *)all);
    for (int64_t i = 0; i < j->count; i++) {
        const Row *row = &j->rows[i];
        if ((group && strcmp(row->group, group) != 0) || isnan(row->bad_2)) continue;
        mean->bad_2 += row->bad_2;
        mean->sign += row->sign;
        having++;
    }
    /* beside the mean of all rows there is only one of all rows */
    bool whole = having == n;
    mean->bad_2 = whole ? mean->bad_2 / (double)having : (double)NAN;
    mean->sign = whole ? mean->sign / (double)having : (double)NAN;
    return rc;
}

/* Is this row the first of its group? */
static bool begins_group(const Judge *j, int64_t index) {
    for (int64_t i = 0; i < index; i++)
        if (strcmp(j->rows[i].group, j->rows[index].group) == 0) return false;
    return true;
}

/* ---- output ---- */

enum { FIGURES_SHOWN = 4 };
static void figures_shown(const Judgement *b, double v[FIGURES_SHOWN]) {
    v[0] = b->figures.value[METRIC_VISIBLE][METRIC_ANYWHERE][FIGURE_BAD + 2];
    v[1] = b->figures.value[METRIC_VISIBLE][METRIC_ANYWHERE][FIGURE_SIGN];
    v[2] = b->ranking;
    v[3] = b->occlusion;
}

static void print_number(int width, int digits, double v) {
    if (isnan(v))
        printf(" %*s", width, "-");
    else
        printf(" %*.*f", width, digits, v);
}

static void print_row(const Judge *j, const Row *row) {
    printf("%-22s", show_path(row->name));
    for (int m = 0; m < j->models; m++) {
        double v[FIGURES_SHOWN];
        figures_shown(&row->by[m], v);
        printf(" |");
        print_number(6, 2, v[0]);
        print_number(6, 2, v[1]);
        print_number(6, 3, v[2]);
        print_number(6, 3, v[3]);
    }
    if (j->beside) {
        printf(" |");
        print_number(6, 2, row->bad_2);
        print_number(6, 2, row->sign);
        for (int m = 0; m < j->models; m++) {
            double v[FIGURES_SHOWN];
            figures_shown(&row->by[m], v);
            print_number(8, 2, v[0] / row->bad_2);
        }
    }
    printf("\n");
}

static int print_table(const Judge *j, const Row *mean) {
    printf("%-22s", "");
    for (int m = 0; m < j->models; m++) printf(" | %-27s", matcher_model_name(matcher_model(j->matcher[m])));
    if (j->beside) printf(" | %-13s bad 2 times its", show_path(j->beside));
    printf("\n%-22s", "");
    for (int m = 0; m < j->models; m++) printf(" |  bad 2   sign  conf.  occl.");
    if (j->beside) {
        printf(" |  bad 2   sign");
        for (int m = 0; m < j->models; m++) printf(" %8s", matcher_model_name(matcher_model(j->matcher[m])));
    }
    printf("\n");
    for (int64_t i = 0; i < j->count; i++) print_row(j, &j->rows[i]);
    int64_t groups = 0;
    for (int64_t i = 0; i < j->count; i++) groups += begins_group(j, i);
    for (int64_t i = 0; groups > 1 && groups < j->count && i < j->count; i++) {
        Row row;
        if (!begins_group(j, i)) continue;
        int rc = mean_row(j, j->rows[i].group, &row);
        if (rc) return rc;
        print_row(j, &row);
    }
    print_row(j, mean);
    printf("seconds a pair        ");
    for (int m = 0; m < j->models; m++) printf(" | %6.3f%21s", mean->by[m].seconds, "");
    printf("\n");
    return 0;
}

static void json_number(const char *key, double v) {
    if (isnan(v))
        printf("\"%s\":null,", key);
    else
        printf("\"%s\":%.6g,", key, v);
}

static void json_row(const Judge *j, const Row *row) {
    char quoted[4096];
    printf("{\"name\":%s", json_quote(quoted, sizeof quoted, row->name));
    if (row->group) printf(",\"group\":%s", json_quote(quoted, sizeof quoted, row->group));
    printf(",\"by\":[");
    for (int m = 0; m < j->models; m++) {
        const Judgement *b = &row->by[m];
        printf("%s{\"model\":\"%s\",", m ? "," : "", matcher_model_name(matcher_model(j->matcher[m])));
        json_number("confidence", b->ranking);
        json_number("confidence_visible", b->visible_ranking);
        json_number("occlusion", b->occlusion);
        json_number("seconds", b->seconds);
        printf("\"metrics\":");
        metrics_json(stdout, &b->figures);
        printf("}");
    }
    printf("]");
    if (j->beside && !isnan(row->bad_2)) printf(",\"beside\":{\"bad_2\":%.6g,\"sign\":%.6g}", row->bad_2, row->sign);
    printf("}");
}

static int print_json(const Judge *j, const Row *mean) {
    printf("{\"planes\":[");
    for (int p = 0; p < j->planes; p++) printf("%s%g", p ? "," : "", j->plane[p]);
    printf("],\"pairs\":[");
    for (int64_t i = 0; i < j->count; i++) {
        if (i) printf(",");
        json_row(j, &j->rows[i]);
    }
    printf("],\"groups\":[");
    for (int64_t i = 0, n = 0; i < j->count; i++) {
        Row row;
        if (!begins_group(j, i)) continue;
        int rc = mean_row(j, j->rows[i].group, &row);
        if (rc) return rc;
        if (n++) printf(",");
        json_row(j, &row);
    }
    printf("],\"mean\":");
    json_row(j, mean);
    printf("}\n");
    return 0;
}

/* ---- limits ---- */

/* confidence and occlusion are figures of whole pictures; the others are eval's. */
static int check_limit(const char *text, const Judgement *b, bool only_parse) {
    static const char *const own[] = {"confidence", "occlusion"};
    for (int k = 0; k < 2; k++) {
        size_t n = strlen(own[k]);
        double limit, v = k ? (b ? b->occlusion : 0) : b ? b->ranking : 0;
        if (strncmp(text, own[k], n) != 0 || (text[n] != '<' && text[n] != '>') || !parse_real(text + n + 1, &limit))
            continue;
        if (only_parse) return 0;
        if (isnan(v)) return fail(ERR_LIMITS, "%s cannot be said: nothing of that kind was judged", own[k]);
        if (text[n] == '<' ? v < limit : v > limit) return 0;
        return fail(ERR_LIMITS, "%s is %.4g, not %s %.4g", own[k], v, text[n] == '<' ? "below" : "above", limit);
    }
    MetricLimit limit;
    int rc = metric_limit_parse(text, &limit);
    return rc || only_parse ? rc : metric_limit_check(&limit, &b->figures);
}

static int check_limits(const Judge *j, const Judgement *mean) {
    int rc = 0;
    for (int i = 0; i < j->o->require.count; i++) {
        if (rc) say_always("panum judge: %s", err_sentence()); /* all but the last, which main prints */
        int broken = check_limit(j->o->require.items[i], mean, false);
        rc = broken ? broken : rc;
    }
    return rc;
}

static int judge(Judge *j) {
    Progress progress;
    int rc = 0;
    j->rows = mem_zero((size_t)j->count, sizeof *j->rows);
    if (!j->rows) return ERR_MEMORY;
    progress_begin(&progress, (ProgressStyle)j->o->progress, "judge", "pairs", j->count);
    for (int64_t i = 0; !rc && i < j->count; i++) {
        rc = judge_pair(j, i);
        progress_step(&progress, i + 1, NULL);
    }
    progress_end(&progress);
    Row *mean = arena_alloc(j->arena, sizeof *mean);
    if (!rc && !mean) rc = ERR_MEMORY;
    if (!rc) rc = mean_row(j, NULL, mean);
    if (!rc) rc = j->o->json ? print_json(j, mean) : print_table(j, mean);
    return rc ? rc : check_limits(j, &mean->by[0]);
}

int app_judge(int argc, char **argv) {
    JudgeOptions o = {0};
    Parsed parsed;
    int rc = options_parse(&verb_judge, argc, argv, &o, &parsed);
    if (rc) return rc;
    rc = talk_begin(&o.talk);
    Judge *j = arena_alloc(parsed.arena, sizeof *j);
    if (!rc && !j) rc = ERR_MEMORY;
    if (rc) {
        parsed_free(&parsed);
        return rc;
    }
    *j = (Judge){.o = &o, .arena = parsed.arena};
    const bool synthetic = strcmp(parsed.operands[0], "synthetic") == 0;
    static const char *const only[] = {"count", "size", "seed"};
    for (int i = 0; !rc && !synthetic && i < 3; i++)
        if (option_given(&verb_judge, &parsed, only[i]))
            rc = usage_error(&verb_judge, "--%s is for panum judge synthetic", only[i]);
    if (!rc && synthetic && o.folder) rc = usage_error(&verb_judge, "--folder is for a list of pairs");
    for (int i = 0; !rc && i < o.require.count; i++) rc = check_limit(o.require.items[i], NULL, true);
    if (!rc) rc = device_option(&verb_judge, o.device, &o.where);
    if (!rc) rc = parse_planes(j, synthetic);
    if (!rc) rc = choose_models(j);
    if (!rc) rc = read_beside(j);
    if (!rc) rc = open_pairs(j, parsed.operands[0], synthetic);
    if (!rc) rc = open_matchers(j);
    if (!rc && o.output && mkdir(o.output, 0777) != 0 && errno != EEXIST)
        rc = fail(ERR_USAGE, "%s: the folder cannot be made: %s", show_path(o.output), strerror(errno));
    if (!rc) rc = judge(j);
    for (int i = 0; i < j->models; i++) matcher_close(j->matcher[i]);
    mem_free(j->rows);
    synthetic_close(j->synthetic);
    if (j->pairs.arena) pairs_free(&j->pairs);
    parsed_free(&parsed);
    return rc;
}
