#include "apps/lib/judge.h"
#include "apps/lib/options.h"
#include "apps/lib/pair.h"
#include "apps/lib/ranking.h"
#include "apps/lib/train_eval.h"
#include "data/augment.h"

#include <math.h>
#include <string.h>

/* ---- one pair ---- */

static bool is_grey(const Image *image) {
    for (int64_t i = 0; i < image_pixels(image); i++) {
        const uint8_t *p = image->bytes + 3 * i;
        if (p[0] != p[1] || p[1] != p[2]) return false;
    }
    return true;
}

/* Samples hold three channels whatever the file had. */
static void make_grey(Image *image) {
    for (int64_t i = 0; i < image_pixels(image); i++) image->bytes[i] = image->bytes[3 * i];
    image->channels = 1;
}

/* Scores and errors of the pixels that are judged, gathered for the rankings. */
typedef struct {
    float *confidence, *error, *hidden_score;
    bool *hidden;
    int64_t visible, count; /* the visible ones lie first */
} Judged;

static void gather(Judged *j, const StereoMaps *maps, const Map *truth, const Image *mask) {
    for (int want_hidden = 0; want_hidden < 2; want_hidden++) {
        for (int y = 0; y < mask->height; y++)
            for (int x = 0; x < mask->width; x++) {
                int64_t i = (int64_t)y * mask->width + x;
                if (mask->bytes[i] == 0) continue;
                float match = (float)x - truth->values[i];
                bool hidden = mask->bytes[i] != 255 || match < 0 || match > (float)(mask->width - 1);
                if (hidden != (want_hidden == 1)) continue;
                j->confidence[j->count] = maps->confidence.values[i];
                j->error[j->count] = fabsf(maps->disparity.values[i] - truth->values[i]);
                j->hidden_score[j->count] = 1 - maps->occlusion.values[i];
                j->hidden[j->count++] = hidden;
            }
        if (!want_hidden) j->visible = j->count;
    }
}

static int rank(const StereoMaps *maps, const Map *truth, const Image *mask, bool occlusion_known, Judgement *out) {
    size_t pixels = (size_t)image_pixels(mask);
    Judged j = {mem_array(pixels, sizeof(float)),
                mem_array(pixels, sizeof(float)),
                mem_array(pixels, sizeof(float)),
                mem_array(pixels, sizeof(bool)),
                0,
                0};
    int rc = j.confidence && j.error && j.hidden_score && j.hidden ? 0 : (int)ERR_MEMORY;
    if (!rc) {
        gather(&j, maps, truth, mask);
        out->visible_ranking = ranking_sparsification(j.confidence, j.error, j.visible);
        out->ranking = ranking_sparsification(j.confidence, j.error, j.count);
        out->occlusion = occlusion_known ? ranking_average_precision(j.hidden_score, j.hidden, j.count) : (double)NAN;
        if (out->visible_ranking == -1 || out->ranking == -1 || out->occlusion == -1) rc = ERR_MEMORY;
    }
    mem_free(j.confidence);
    mem_free(j.error);
    mem_free(j.hidden_score);
    mem_free(j.hidden);
    return rc;
}

int judge_sample(Matcher *matcher, const Sample *sample, Judgement *judgement, StereoMaps *found) {
    memset(judgement, 0, sizeof *judgement);
    if (found) memset(found, 0, sizeof *found);
    Image left = {0}, right = {0}, mask = {0};
    Map truth = {0};
    StereoMaps maps = {0};
    Metrics metrics;
    PairOptions how = pair_defaults();
    int rc = sample_images(sample, &left, &right);
    if (!rc && is_grey(&left) && is_grey(&right)) {
        make_grey(&left);
        make_grey(&right);
    }
    if (!rc) rc = pair_match(matcher, &how, &left, &right, &maps);
    if (!rc) rc = sample_truth(sample, &truth, &mask);
    if (!rc) rc = metrics_measure(&metrics, &maps.disparity, &truth, &mask);
    if (!rc) metric_figures(&judgement->figures, &metrics);
    if (!rc) rc = rank(&maps, &truth, &mask, sample->occlusion_known, judgement);
    judgement->seconds = matcher_seconds(matcher);
    if (found && !rc)
        *found = maps;
    else
        stereo_maps_free(&maps);
    map_free(&truth);
    image_free(&left), image_free(&right), image_free(&mask);
    return rc;
}

int judge_plane(Sample *to, const Sample *from, double percent) {
    Map truth;
    Image mask;
    int shift, rc = sample_truth(from, &truth, &mask);
    if (rc) return rc;
    rc = metrics_plane(&truth, percent, &shift);
    map_free(&truth);
    image_free(&mask);
    if (!rc && (shift >= from->width || shift <= -from->width))
        rc = fail(ERR_INPUT, "its truth of %d px lies beyond its width of %d", shift, from->width);
    if (!rc)
        rc = augment_crop(to, from, shift > 0 ? shift : 0, shift < 0 ? -shift : 0, 0,
                          from->width - (shift < 0 ? -shift : shift), from->height);
    return rc;
}

/* ---- many ---- */

static double mean_of(const Judgement *const *all, int64_t count, size_t offset) {
    int64_t having = 0;
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        double v;
        memcpy(&v, (const char *)all[i] + offset, sizeof v);
        if (isnan(v)) continue;
        sum += v;
        having++;
    }
    return having ? sum / (double)having : (double)NAN;
}

int judge_mean(Judgement *mean, const Judgement *const *all, int64_t count) {
    MetricFigures *figures = mem_array((size_t)count + 1, sizeof *figures);
    if (!figures) return ERR_MEMORY;
    for (int64_t i = 0; i < count; i++) figures[i] = all[i]->figures;
    metric_figures_mean(&mean->figures, figures, count);
    mem_free(figures);
    mean->visible_ranking = mean_of(all, count, offsetof(Judgement, visible_ranking));
    mean->ranking = mean_of(all, count, offsetof(Judgement, ranking));
    mean->occlusion = mean_of(all, count, offsetof(Judgement, occlusion));
    mean->seconds = mean_of(all, count, offsetof(Judgement, seconds));
    return 0;
}

/* ---- written down ---- */

enum { RECORD_BYTES_MAX = 16 << 20, RECORD_COLUMNS = 4 };
static const char *const record_columns[RECORD_COLUMNS] = {"name", "plane", "bad_2", "sign"};

/* Cuts a line at its tabs; more fields than columns are one too many for every line. */
static int cut(char *line, char *fields[RECORD_COLUMNS]) {
    int count = 0;
    for (char *at = line; at && count <= RECORD_COLUMNS; count++) {
        char *tab = strchr(at, '\t');
        if (count < RECORD_COLUMNS) fields[count] = at;
        if (tab) *tab = 0;
        at = tab ? tab + 1 : NULL;
    }
    return count;
}

static int take_record(const char *name, Arena *arena, char *line, int number, bool *begun, Recorded *to) {
    char *fields[RECORD_COLUMNS];
    bool right = cut(line, fields) == RECORD_COLUMNS;
    if (!*begun) {
        for (int k = 0; right && k < RECORD_COLUMNS; k++) right = strcmp(fields[k], record_columns[k]) == 0;
        *begun = true;
        return right
                   ? 0
                   : fail(ERR_INPUT, "%s: line %d does not name the columns name, plane, bad_2 and sign", name, number);
    }
    right = right && parse_real(fields[1], &to->plane) && parse_real(fields[2], &to->bad_2) &&
            parse_real(fields[3], &to->sign);
    if (!right) return fail(ERR_INPUT, "%s: line %d is not a name and three numbers between tabs", name, number);
    to->name = arena_text(arena, fields[0]);
    return to->name ? 0 : (int)ERR_MEMORY;
}

int record_read(const char *path, Arena *arena, Record *record) {
    uint8_t *bytes;
    size_t size;
    char name[300];
    err_printable(name, sizeof name, path);
    *record = (Record){0};
    int rc = file_read(path, RECORD_BYTES_MAX, &bytes, &size), number = 0;
    if (rc) return rc;
    char *text = arena_alloc(arena, size + 1);
    int64_t lines = 1;
    for (size_t i = 0; i < size; i++) lines += bytes[i] == '\n';
    record->at = text ? arena_alloc(arena, (size_t)lines * sizeof *record->at) : NULL;
    if (!record->at) {
        mem_free(bytes);
        return ERR_MEMORY;
    }
    memcpy(text, bytes, size);
    mem_free(bytes);
    if (memchr(text, 0, size)) return fail(ERR_INPUT, "%s: holds a zero byte, so this is no record of figures", name);
    bool begun = false;
    for (char *line = text, *next; line && !rc; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = 0;
        size_t n = strlen(line);
        if (n && line[n - 1] == '\r') line[n - 1] = 0;
        number++;
        if (!*line || *line == '#') continue;
        bool figures = begun;
        rc = take_record(name, arena, line, number, &begun, &record->at[record->count]);
        record->count += figures && !rc;
    }
    return !rc && !record->count ? fail(ERR_INPUT, "%s: holds no figures", name) : rc;
}

const Recorded *record_find(const Record *record, const char *name, double plane) {
    for (int64_t i = 0; i < record->count; i++)
        if (strcmp(record->at[i].name, name) == 0 && record->at[i].plane == plane) return &record->at[i];
    return NULL;
}
