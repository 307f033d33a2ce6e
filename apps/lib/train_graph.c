#include "apps/lib/train_graph.h"
#include "autograd/backward.h"
#include "base/mem.h"
#include "tensor/ops/ncc.h"
#include "tensor/ops/ops.h"

#include <stdio.h>
#include <string.h>

/* ---- inputs ---- */

static float *plane(HostPlaces to, const Tensor *t, int pair) {
    return (float *)to.at(to.context, t) + (int64_t)pair * t->size[2] * t->size[3];
}

static void fill(float *to, int64_t count, const float *from) {
    if (from)
        memcpy(to, from, (size_t)count * sizeof *to);
    else
        memset(to, 0, (size_t)count * sizeof *to);
}

/* The block matcher's word on a pair: a teacher for where no other is. */
static int fill_match(const TrainGraph *g, HostPlaces to, Pool *pool, int pair, const Sample *sample) {
    float *target = plane(to, g->match_target, pair), *weight = plane(to, g->match_weight, pair);
    if (g->options.rule == LOSS_REFERENCE)
        return ncc_match_reference(pool, sample->left.rgb, sample->right.rgb, sample->width, sample->height, 3, target,
                                   weight);
    return ncc_match(pool, sample->left.rgb, sample->right.rgb, sample->width, sample->height, 3, NULL, target, weight,
                     NULL);
}

int graph_fill(const TrainGraph *g, HostPlaces to, Pool *pool, int pair, const Sample *sample) {
    int w = g->options.width, h = g->options.height;
    BUG_IF(sample->width != w || sample->height != h, "a sample of %dx%d for a graph of %dx%d", sample->width,
           sample->height, w, h);
    size_t picture = 3 * (size_t)w * (size_t)h;
    uint8_t *pictures = to.at(to.context, g->pictures);
    memcpy(pictures + (size_t)pair * picture, sample->left.rgb, picture);
    memcpy(pictures + (size_t)(g->options.pairs + pair) * picture, sample->right.rgb, picture);
    if (g->options.part == GRAPH_FORWARD) return 0;
    const SampleEye *eye = &sample->left;
    int64_t pixels = (int64_t)w * h;
    fill(plane(to, g->disparity, pair), pixels, eye->disparity);
    fill(plane(to, g->valid, pair), pixels, eye->valid);
    fill(plane(to, g->visible, pair), pixels, eye->occlusion);
    if (g->judged) fill(plane(to, g->judged, pair), pixels, sample->occlusion_known ? eye->valid : NULL);
    return g->match_target ? fill_match(g, to, pool, pair, sample) : 0;
}

double graph_scalar(HostPlaces from, const Tensor *t) {
    return (double)*(const float *)from.at(from.context, t);
}

/* ---- losses ---- */

static void add_term(TrainGraph *g, const char *name, double weight, Tensor *value) {
    BUG_IF(g->terms == GRAPH_TERMS_MAX, "more than %d terms of a loss", GRAPH_TERMS_MAX);
    g->term[g->terms].name = name;
    g->term[g->terms].weight = weight;
    g->term[g->terms++].value = value;
    char output[64];
    snprintf(output, sizeof output, "loss.%s", name);
    program_output(g->program, output, value);
}

/* Every stage of the network learns from truth. */
static void matching_loss(TrainGraph *g) {
    MatchTruth truth = {g->disparity, g->valid, g->visible, g->judged};
    MatchingWeights w = g->options.matching ? *g->options.matching : matching_weights;
    Matching m = loss_matching(&g->stages, truth, w);
    if (m.disparity) add_term(g, "disparity", w.disparity, m.disparity);
    if (m.concentration) add_term(g, "concentration", w.concentration, m.concentration);
    if (m.occlusion) add_term(g, "occlusion", w.occlusion, m.occlusion);
    if (m.confidence) add_term(g, "confidence", w.confidence, m.confidence);
    add_term(g, "error", 0, m.error);
}

static Tensor *eye(const TrainGraph *g, int which) {
    return t_from_u8(t_slice(g->pictures, 0, which * g->options.pairs, g->options.pairs), 1.0 / 255, 0);
}

/* Films have no truth: the two pictures themselves, a teacher's anchors, and block matching. */
static void cinematic_loss(TrainGraph *g) {
    const CinematicWeights *w = g->options.cinematic;
    CinematicInputs in = {.left = eye(g, 0),
                          .right = eye(g, 1),
                          .anchor = {g->disparity, g->valid, g->visible},
                          .teacher = g->options.teacher,
                          .match_target = g->match_target,
                          .match_weight = g->match_weight,
                          .rule = g->options.rule};
    Cinematic c = loss_cinematic(g->out.disparity, in, *w);
    if (c.photometric) add_term(g, "photometric", w->photometric, c.photometric);
    if (c.anchor) add_term(g, "anchor", w->anchor, c.anchor);
    if (c.sign_magnitude) add_term(g, "sign_magnitude", w->sign_magnitude, c.sign_magnitude);
    if (c.smoothness) add_term(g, "smoothness", w->smoothness, c.smoothness);
    if (c.translucency) add_term(g, "translucency", w->translucency, c.translucency);
    if (c.mask) add_term(g, "translucent_share", 0, c.mask);
}

/* ---- recording ---- */

static Tensor *map_input(const TrainGraph *g, const char *name) {
    const GraphOptions *o = &g->options;
    return program_input(g->program, name, DTYPE_F32, 4, (int64_t[]){o->pairs, 1, o->height, o->width});
}

static void record_losses(TrainGraph *g) {
    g->disparity = map_input(g, "gt_disparity");
    g->valid = map_input(g, "gt_valid");
    g->visible = map_input(g, "gt_occlusion");
    if (g->options.cinematic) {
        g->match_target = map_input(g, "match_target");
        g->match_weight = map_input(g, "match_weight");
        cinematic_loss(g);
    } else {
        g->judged = map_input(g, "gt_occlusion_valid");
        matching_loss(g);
    }
    for (int i = 0; i < g->terms; i++) {
        if (g->term[i].weight == 0) continue;
        Tensor *weighted = t_affine(g->term[i].value, g->term[i].weight, 0);
        g->loss = g->loss ? t_add(g->loss, weighted) : weighted;
    }
    program_output(g->program, "loss", g->loss);
}

static int record_gradients(TrainGraph *g, const ParameterList *list) {
    Program *p = g->program;
    g->seed = program_input(p, "loss_scale", DTYPE_F32, 1, (int64_t[]){1});
    BackwardOptions options = {.seed = g->seed,
                               .frozen = g->options.frozen,
                               .frozen_count = g->options.frozen_count,
                               .recompute = g->options.recompute,
                               .recompute_count = g->options.recompute_count};
    int code = backward(g->loss, &options);
    if (code) return code;
    g->gradient = mem_zero((size_t)list->count + 1, sizeof(Tensor *));
    if (!g->gradient) return ERR_MEMORY;
    for (int i = 0; i < program_tensors(p); i++) {
        const Tensor *t = program_tensor(p, i);
        if (t->kind != TENSOR_WEIGHT || t->base != t) continue;
        int k = parameters_find(list, t->name);
        BUG_IF(k < 0, "parameter %s is not in the list", t->name);
        g->gradient[k] = gradient_of(t);
        char name[600];
        snprintf(name, sizeof name, "grad.%s", t->name);
        if (g->gradient[k]) program_output(p, name, g->gradient[k]);
    }
    return 0;
}

int graph_record(const GraphOptions *options, const ParameterList *list, TrainGraph *g) {
    *g = (TrainGraph){.options = *options, .program = program_make()};
    if (!g->program) return ERR_MEMORY;
    Net net = {g->program};
    g->pictures = program_input(g->program, "pictures", DTYPE_U8, 4,
                                (int64_t[]){2 * options->pairs, 3, options->height, options->width});
    g->stages = s2m2_stages(&net, g->pictures, options->network);
    g->out = g->stages.full;
    if (options->part == GRAPH_FORWARD) return 0;
    record_losses(g);
    int code = options->part == GRAPH_TRAIN ? record_gradients(g, list) : 0;
    if (code) graph_drop(g);
    return code;
}

void graph_drop(TrainGraph *g) {
    mem_free(g->gradient);
    program_drop(g->program);
    *g = (TrainGraph){0};
}

/* ---- gradients ---- */

typedef struct {
    const TrainGraph *graph;
    const Plan *plan;
    const ParameterList *list;
    GradientUse use;
    float *block;
} Take;

static void take_tile(void *context, int64_t index, int worker) {
    (void)worker;
    const Take *take = context;
    const Parameter *p = &take->list->at[index];
    const Tensor *t = take->graph->gradient[index];
    float *restrict to = take->block + p->offset;
    const float *restrict from = t ? plan_data(take->plan, t) : NULL;
    if (take->use == GRADIENTS_SET)
        fill(to, p->count, from);
    else if (from)
        for (int64_t i = 0; i < p->count; i++) to[i] += from[i];
}

void graph_take_gradients(const TrainGraph *graph, const Plan *plan, const ParameterList *list, Pool *pool,
                          GradientUse use, float *block) {
    Take take = {graph, plan, list, use, block};
    pool_run(pool, list->count, take_tile, &take);
}
