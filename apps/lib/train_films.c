#include "apps/lib/train_films.h"
#include "apps/lib/summary.h"
#include "base/mem.h"
#include "nn/store.h"

#include <math.h>
#include <string.h>

struct FilmJudge {
    Pool *pool;
    SampleSource source;
    int count;
    TrainGraph graph;
    ParameterStore *store;
    Player *player;
    Sample sample;
    double *frame_loss;
};

/* ---- figures ---- */

/* The median of values that are `kept`, NaN of none. Values that are not kept are NaN in the map. */
static double median_of(const Map *map) {
    double middle;
    return map_percentiles(map, (double[]){0.5}, 1, &middle) ? middle : NAN;
}

static int half_median(const Map *d, int x0, int x1, double *median) {
    Map half;
    int code = map_make(&half, x1 - x0, d->height, MAP_OTHER);
    if (code) return code;
    for (int y = 0; y < d->height; y++)
        for (int x = x0; x < x1; x++) {
            float v = fabsf(d->values[(int64_t)y * d->width + x]);
            half.values[(int64_t)y * half.width + x - x0] = v > 0.5f ? v : NAN;
        }
    *median = median_of(&half);
    map_free(&half);
    return 0;
}

int signed_figures(const Map *d, SignedFigures *f) {
    double ends[2], left, right;
    int64_t behind = 0, pixels = (int64_t)d->width * d->height;
    map_percentiles(d, (double[]){0, 0.98}, 2, ends);
    for (int64_t i = 0; i < pixels; i++) behind += d->values[i] < -0.5f;
    int code = half_median(d, 0, d->width / 2, &left);
    if (!code) code = half_median(d, d->width / 2, d->width, &right);
    if (code) return code;
    *f = (SignedFigures){ends[0], ends[1], (double)behind / (double)pixels, left / right};
    return 0;
}

int match_figures(const float *target, const float *weight, const Map *d, MatchFigures *f) {
    Map taught;
    int code = map_make(&taught, d->width, d->height, MAP_OTHER);
    if (code) return code;
    int64_t pixels = (int64_t)d->width * d->height, n = 0, behind = 0;
    double sum = 0, targets = 0, found = 0;
    *f = (MatchFigures){0};
    for (int64_t i = 0; i < pixels; i++) {
        taught.values[i] = NAN;
        if (weight[i] <= 0) continue;
        double t = (double)target[i];
        f->least = n ? fmin(f->least, t) : t;
        f->most = n ? fmax(f->most, t) : t;
        taught.values[i] = target[i];
        sum += (double)weight[i];
        n++;
        if (t >= -1) continue;
        behind++;
        targets += t;
        found += (double)d->values[i];
    }
    f->median = median_of(&taught);
    f->taught = (double)n / (double)pixels;
    f->behind = n ? (double)behind / (double)n : 0;
    f->weight = n ? sum / (double)n : 0;
    f->target = behind ? targets / (double)behind : NAN;
    f->found = behind ? found / (double)behind : NAN;
    map_free(&taught);
    return 0;
}

/* ---- the judge ---- */

int film_judge_make(const GraphOptions *graph, const SampleSource *source, int count, Pool *pool, const Device *device,
                    FilmJudge **out) {
    BUG_IF(graph->part != GRAPH_LOSSES || graph->pairs != 1, "a judge measures losses, a pair at a time");
    *out = NULL;
    FilmJudge *j = mem_zero(1, sizeof *j);
    if (!j) return ERR_MEMORY;
    j->pool = pool;
    j->source = *source;
    j->count = count;
    j->frame_loss = mem_array((size_t)count, sizeof *j->frame_loss);
    int code = j->frame_loss ? graph_record(graph, NULL, &j->graph) : (int)ERR_MEMORY;
    if (!code) code = store_make_trainable(j->graph.program, &j->store);
    if (!code) {
        WeightSource weights = store_source(j->store);
        code = player_make(j->graph.program, &weights, pool, device_player(device), &j->player);
    }
    if (code)
        film_judge_drop(j);
    else
        *out = j;
    return code;
}

void film_judge_drop(FilmJudge *j) {
    if (!j) return;
    player_drop(j->player);
    graph_drop(&j->graph);
    store_close(j->store);
    sample_free(&j->sample);
    mem_free(j->frame_loss);
    mem_free(j);
}

const TrainGraph *film_judge_graph(const FilmJudge *j) {
    return &j->graph;
}

static int run_frame(FilmJudge *j, int index, Map *disparity) {
    int code = j->source.make(j->source.context, (uint64_t)index, &j->sample);
    if (!code) code = graph_fill(&j->graph, player_places(j->player), j->pool, 0, &j->sample);
    if (!code) code = player_run(j->player);
    if (!code) code = map_make(disparity, j->graph.options.width, j->graph.options.height, MAP_DISPARITY);
    if (code) return code;
    const Tensor *t = j->graph.out.disparity;
    memcpy(disparity->values, player_data(j->player, t), (size_t)tensor_count(t) * sizeof(float));
    return 0;
}

int film_judge_frame(FilmJudge *j, int index, Sample *sample, Map *disparity) {
    int code = run_frame(j, index, disparity);
    if (code) return code;
    code = sample_copy(sample, &j->sample);
    if (code) map_free(disparity);
    return code;
}

static void add_figure(double *sum, int *count, double value) {
    if (!isfinite(value)) return;
    *sum += value;
    ++*count;
}

/* How much of what the teacher is sure of has its sign. */
typedef struct {
    int64_t asked, right;
} SignCount;

static void count_signs(const SampleEye *anchor, const Map *disparity, SignCount *count) {
    for (int64_t i = 0; i < (int64_t)disparity->width * disparity->height; i++) {
        float teacher = anchor->disparity[i], found = disparity->values[i];
        if (anchor->valid[i] < 0.5f || fabsf(teacher) <= 2) continue;
        count->asked++;
        count->right += teacher > 0 ? found > 0 : found < 0;
    }
}

int film_judge_run(FilmJudge *j, const ParameterList *list, const float *weights, FilmResult *result) {
    parameters_copy(store_parameters(j->store), store_block(j->store), list, weights);
    int code = player_reload(j->player);
    if (code) return code;
    *result = (FilmResult){.frame_loss = j->frame_loss};
    int counts[4] = {0};
    SignCount signs = {0};
    SignedFigures sum = {0};
    for (int i = 0; i < j->count; i++) {
        Map disparity;
        SignedFigures one;
        code = run_frame(j, i, &disparity);
        if (code) return code;
        code = signed_figures(&disparity, &one);
        if (!code)
            code = match_figures(player_data(j->player, j->graph.match_target),
                                 player_data(j->player, j->graph.match_weight), &disparity, &result->match);
        count_signs(&j->sample.left, &disparity, &signs);
        map_free(&disparity);
        if (code) return code;
        j->frame_loss[i] = graph_scalar(player_places(j->player), j->graph.loss);
        result->loss += j->frame_loss[i] / j->count;
        for (int k = 0; k < j->graph.terms; k++)
            result->term[k] += graph_scalar(player_places(j->player), j->graph.term[k].value) / j->count;
        add_figure(&sum.least, &counts[0], one.least);
        add_figure(&sum.p98, &counts[1], one.p98);
        add_figure(&sum.behind, &counts[2], one.behind);
        add_figure(&sum.asymmetry, &counts[3], one.asymmetry);
    }
    result->figures = (SignedFigures){sum.least / counts[0], sum.p98 / counts[1], sum.behind / counts[2],
                                      counts[3] ? sum.asymmetry / counts[3] : NAN};
    result->anchor_sign = signs.asked ? (double)signs.right / (double)signs.asked : NAN;
    return 0;
}
