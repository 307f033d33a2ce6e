#include "apps/lib/train_eval.h"
#include "apps/lib/matcher.h"
#include "apps/lib/ranking.h"
#include "base/mem.h"
#include "nn/store.h"

#include <math.h>
#include <string.h>

struct Evaluator {
    Pool *pool;
    Sample *sample;
    int count;
    TrainGraph graph;
    ParameterStore *store;
    Player *player;
    double *sample_epe;
    /* of every judged pixel of a run */
    struct {
        float *confidence, *error, *hidden_score;
        bool *hidden;
        int64_t count, hidden_count;
    } pixel;
};

int sample_images(const Sample *sample, Image *left, Image *right) {
    *right = (Image){0};
    int code = image_make(left, sample->width, sample->height, 3, 8);
    if (!code) code = image_make(right, sample->width, sample->height, 3, 8);
    if (code) {
        image_free(left);
        return code;
    }
    size_t bytes = 3 * (size_t)image_pixels(left);
    memcpy(left->bytes, sample->left.rgb, bytes);
    memcpy(right->bytes, sample->right.rgb, bytes);
    return 0;
}

int sample_truth(const Sample *sample, Map *truth, Image *mask) {
    *mask = (Image){0};
    int code = map_make(truth, sample->width, sample->height, MAP_DISPARITY);
    if (!code) code = image_make(mask, sample->width, sample->height, 1, 8);
    if (code) {
        map_free(truth);
        return code;
    }
    const SampleEye *eye = &sample->left;
    for (int64_t i = 0; i < image_pixels(mask); i++) {
        truth->values[i] = eye->valid[i] > 0 ? eye->disparity[i] : NAN;
        mask->bytes[i] = eye->valid[i] == 0 ? 0 : !sample->occlusion_known || eye->occlusion[i] > 0.5f ? 255 : 128;
    }
    return 0;
}

static int take_samples(Evaluator *e, const SampleSource *source, uint64_t first) {
    for (int i = 0; i < e->count; i++) {
        int code = source->make(source->context, first + (uint64_t)i, &e->sample[i]);
        if (code) return code;
        const Sample *s = &e->sample[i];
        if (s->width != e->sample->width || s->height != e->sample->height || s->width % 32 || s->height % 32)
            return fail(ERR_INPUT, "sample %d to validate with is %dx%d; all must have one size, multiples of 32", i,
                        s->width, s->height);
    }
    return 0;
}

static int build(Evaluator *e, S2m2Options network, const Device *device) {
    GraphOptions options = {
        .network = network, .width = e->sample->width, .height = e->sample->height, .pairs = 1, .part = GRAPH_FORWARD};
    int code = graph_record(&options, NULL, &e->graph);
    if (!code) code = store_make_trainable(e->graph.program, &e->store);
    if (code) return code;
    WeightSource source = store_source(e->store);
    code = player_make(e->graph.program, &source, e->pool, device_player(device), &e->player);
    size_t pixels = (size_t)e->count * (size_t)options.width * (size_t)options.height;
    e->sample_epe = mem_zero((size_t)e->count, sizeof *e->sample_epe);
    e->pixel.confidence = mem_array(pixels, sizeof(float));
    e->pixel.error = mem_array(pixels, sizeof(float));
    e->pixel.hidden_score = mem_array(pixels, sizeof(float));
    e->pixel.hidden = mem_array(pixels, sizeof(bool));
    bool all = e->sample_epe && e->pixel.confidence && e->pixel.error && e->pixel.hidden_score && e->pixel.hidden;
    return code ? code : all ? 0 : (int)ERR_MEMORY;
}

int evaluator_make(S2m2Options network, const SampleSource *source, uint64_t first, int count, Pool *pool,
                   const Device *device, Evaluator **out) {
    *out = NULL;
    Evaluator *e = mem_zero(1, sizeof *e);
    if (!e) return ERR_MEMORY;
    e->pool = pool;
    e->count = count;
    e->sample = mem_zero((size_t)count, sizeof *e->sample);
    int code = e->sample ? take_samples(e, source, first) : (int)ERR_MEMORY;
    if (!code) code = build(e, network, device);
    if (code) {
        evaluator_drop(e);
        return code;
    }
    *out = e;
    return 0;
}

void evaluator_drop(Evaluator *e) {
    if (!e) return;
    for (int i = 0; e->sample && i < e->count; i++) sample_free(&e->sample[i]);
    player_drop(e->player);
    graph_drop(&e->graph);
    store_close(e->store);
    mem_free(e->sample);
    mem_free(e->sample_epe);
    mem_free(e->pixel.confidence);
    mem_free(e->pixel.error);
    mem_free(e->pixel.hidden_score);
    mem_free(e->pixel.hidden);
    mem_free(e);
}

int evaluator_count(const Evaluator *e) {
    return e->count;
}

const Sample *evaluator_sample(const Evaluator *e, int index) {
    return &e->sample[index];
}

static int take_map(const Evaluator *e, const Tensor *t, MapKind kind, Map *map) {
    int code = map_make(map, e->graph.options.width, e->graph.options.height, kind);
    if (!code) memcpy(map->values, player_data(e->player, t), (size_t)tensor_count(t) * sizeof *map->values);
    return code;
}

int evaluator_maps(Evaluator *e, int index, StereoMaps *maps) {
    memset(maps, 0, sizeof *maps);
    int code = graph_fill(&e->graph, player_places(e->player), e->pool, 0, &e->sample[index]);
    if (!code) code = player_run(e->player);
    if (!code) code = take_map(e, e->graph.out.disparity, MAP_DISPARITY, &maps->disparity);
    if (!code) code = take_map(e, e->graph.out.confidence, MAP_CONFIDENCE, &maps->confidence);
    if (!code) code = take_map(e, e->graph.out.occlusion, MAP_OCCLUSION, &maps->occlusion);
    if (code) stereo_maps_free(maps);
    return code;
}

static void add_share(MetricShare *to, const MetricShare *from) {
    to->pixels += from->pixels;
    to->missing += from->missing;
    to->error += from->error;
    for (int i = 0; i < METRIC_BADS; i++) to->bad[i] += from->bad[i];
    to->d1 += from->d1;
    to->signed_pixels += from->signed_pixels;
    to->sign_right += from->sign_right;
}

/* One sample's maps into the sums of a run. */
static int judge(Evaluator *e, int index, const StereoMaps *maps, Metrics *sum) {
    const Sample *sample = &e->sample[index];
    Map truth;
    Image mask;
    Metrics metrics;
    int code = sample_truth(sample, &truth, &mask);
    if (code) return code;
    code = metrics_measure(&metrics, &maps->disparity, &truth, &mask);
    sum->has_mask = true;
    for (int k = 0; !code && k < METRIC_KINDS; k++)
        for (int r = 0; r < METRIC_REGIONS; r++) add_share(&sum->share[k][r], &metrics.share[k][r]);
    if (!code) e->sample_epe[index] = metric_epe(&metrics.share[METRIC_EVERY][METRIC_ANYWHERE]);
    for (int64_t i = 0; !code && i < image_pixels(&mask); i++) {
        if (mask.bytes[i] == 0) continue;
        int64_t at = e->pixel.count++;
        e->pixel.confidence[at] = maps->confidence.values[i];
        e->pixel.error[at] = fabsf(maps->disparity.values[i] - truth.values[i]);
        if (!sample->occlusion_known) continue;
        at = e->pixel.hidden_count++;
        e->pixel.hidden[at] = mask.bytes[i] == 128;
        e->pixel.hidden_score[at] = 1 - maps->occlusion.values[i];
    }
    map_free(&truth);
    image_free(&mask);
    return code;
}

static int finish(Evaluator *e, const Metrics *sum, EvalResult *result) {
    *result = (EvalResult){.sample_epe = e->sample_epe};
    metric_figures(&result->figures, sum);
    result->epe = metric_epe(&sum->share[METRIC_EVERY][METRIC_ANYWHERE]);
    result->sparsification = ranking_sparsification(e->pixel.confidence, e->pixel.error, e->pixel.count);
    result->occlusion = ranking_average_precision(e->pixel.hidden_score, e->pixel.hidden, e->pixel.hidden_count);
    return result->sparsification == -1 || result->occlusion == -1 ? (int)ERR_MEMORY : 0;
}

int evaluator_run(Evaluator *e, const ParameterList *list, const float *weights, EvalResult *result) {
    parameters_copy(store_parameters(e->store), store_block(e->store), list, weights);
    int code = player_reload(e->player);
    if (code) return code;
    Metrics sum = {0};
    e->pixel.count = e->pixel.hidden_count = 0;
    for (int i = 0; i < e->count; i++) {
        StereoMaps maps;
        code = evaluator_maps(e, i, &maps);
        if (!code) code = judge(e, i, &maps, &sum);
        stereo_maps_free(&maps);
        if (code) return code;
    }
    return finish(e, &sum, result);
}

int evaluator_sgm(Evaluator *e, EvalResult *result) {
    MatcherOptions options = matcher_defaults();
    options.model = MODEL_SGM;
    options.threads = pool_threads(e->pool);
    Matcher *matcher;
    int code = matcher_open(&options, &matcher);
    Metrics sum = {0};
    e->pixel.count = e->pixel.hidden_count = 0;
    for (int i = 0; !code && i < e->count; i++) {
        Image left = {0}, right = {0};
        StereoMaps maps = {0};
        code = sample_images(&e->sample[i], &left, &right);
        if (!code) code = matcher_match(matcher, &left, &right, &maps);
        if (!code) code = judge(e, i, &maps, &sum);
        stereo_maps_free(&maps);
        image_free(&left), image_free(&right);
    }
    matcher_close(matcher);
    return code ? code : finish(e, &sum, result);
}
