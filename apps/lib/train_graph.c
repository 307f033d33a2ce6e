#include "apps/lib/train_graph.h"
#include "autograd/backward.h"
#include "base/mem.h"
#include "losses/losses.h"
#include "tensor/ops/ops.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { COARSE = 4 };

/* ---- what results should have been ---- */

/* The middle one of the known disparities of each 4x4 block, when at least half of it is known: a mean would invent
 * depths between a thing and what is behind it. */
static void coarse_block(const SampleEye *eye, int width, int x0, int y0, float *disparity, float *visible,
                         float *known) {
    float d[COARSE * COARSE], seen = 0;
    int n = 0;
    for (int y = y0; y < y0 + COARSE; y++)
        for (int x = x0; x < x0 + COARSE; x++) {
            int64_t at = (int64_t)y * width + x;
            if (eye->valid[at] == 0) continue;
            int k = n++;
            for (; k > 0 && d[k - 1] > eye->disparity[at]; k--) d[k] = d[k - 1];
            d[k] = eye->disparity[at];
            seen += eye->occlusion[at];
        }
    bool enough = 2 * n >= COARSE * COARSE;
    *known = enough;
    *disparity = enough ? d[n / 2] / COARSE : 0;
    *visible = enough && 2 * seen > (float)n;
}

static float *plane(Plan *plan, const Tensor *t, int pair) {
    return (float *)plan_data(plan, t) + (int64_t)pair * t->size[2] * t->size[3];
}

static void fill(float *to, int64_t count, const float *from) {
    if (from)
        memcpy(to, from, (size_t)count * sizeof *to);
    else
        memset(to, 0, (size_t)count * sizeof *to);
}

void graph_fill(const TrainGraph *g, Plan *plan, int pair, const Sample *sample) {
    int w = g->options.width, h = g->options.height;
    BUG_IF(sample->width != w || sample->height != h, "a sample of %dx%d for a graph of %dx%d", sample->width,
           sample->height, w, h);
    size_t picture = 3 * (size_t)w * (size_t)h;
    uint8_t *pictures = plan_data(plan, g->pictures);
    memcpy(pictures + (size_t)pair * picture, sample->left.rgb, picture);
    memcpy(pictures + (size_t)(g->options.pairs + pair) * picture, sample->right.rgb, picture);
    if (g->options.forward) return;
    const SampleEye *eye = &sample->left;
    int64_t pixels = (int64_t)w * h;
    fill(plane(plan, g->full.disparity, pair), pixels, eye->disparity);
    fill(plane(plan, g->full.valid, pair), pixels, eye->valid);
    fill(plane(plan, g->full.visible, pair), pixels, eye->occlusion);
    fill(plane(plan, g->full.judged, pair), pixels, sample->occlusion_known ? eye->valid : NULL);
    float *disparity = plane(plan, g->quarter.disparity, pair), *valid = plane(plan, g->quarter.valid, pair),
          *visible = plane(plan, g->quarter.visible, pair), *judged = plane(plan, g->quarter.judged, pair);
    int64_t at = 0;
    for (int y = 0; y < h; y += COARSE)
        for (int x = 0; x < w; x += COARSE, at++) {
            coarse_block(eye, w, x, y, &disparity[at], &visible[at], &valid[at]);
            judged[at] = sample->occlusion_known ? valid[at] : 0;
        }
}

void graph_set_seed(const TrainGraph *g, Plan *plan, double seed) {
    *(float *)plan_data(plan, g->seed) = (float)seed;
}

double graph_scalar(const Plan *plan, const Tensor *t) {
    return (double)*(const float *)plan_data(plan, t);
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

/* -(y ln p + (1-y) ln(1-p)) */
static Tensor *cross_entropy(Tensor *p, Tensor *y) {
    Tensor *c = t_clamp(p, 1e-3, 1 - 1e-3);
    Tensor *yes = t_mul(y, t_log(c)), *no = t_mul(t_affine(y, -1, 1), t_log(t_affine(c, -1, 1)));
    return t_affine(t_add(yes, no), -1, 0);
}

/* Where a stage's own error is below `limit`, for the confidence it should have had. */
static Tensor *is_close(Tensor *disparity, Tensor *truth, double limit) {
    return t_affine(t_at_least(t_detach(t_abs(t_sub(disparity, truth))), limit), -1, 1);
}

static Tensor *tap(const TrainGraph *g, const char *name) {
    Tensor *t = program_find(g->program, name);
    BUG_IF(!t, "the network has no tap %s", name);
    return t;
}

/* Truth in hand, every stage of the network learns from it: the transport plan where both eyes see a point, what
 * follows everywhere. Errors at a quarter of the size are in pixels of that size. */
static void supervised_loss(TrainGraph *g) {
    Tensor *truth = g->quarter.disparity, *valid = g->quarter.valid, *seen = t_mul(valid, g->quarter.visible);
    Tensor *d0 = tap(g, "d0"), *cv = tap(g, "cv");
    Tensor *mass = t_transport_mass(cv, g->full.disparity, g->full.valid, .radius = 1, .factor = COARSE);
    add_term(g, "matching", 1, loss_weighted_mean(t_affine(t_log(t_clamp(mass, 1e-4, 1)), -1, 0), seen));
    Tensor *sure = loss_weighted_mean(cross_entropy(tap(g, "conf0"), is_close(d0, truth, 1)), valid);
    Tensor *matched = loss_weighted_mean(cross_entropy(tap(g, "occ0"), g->quarter.visible), g->quarter.judged);
    add_term(g, "plan", 0.5, t_add(sure, matched));
    add_term(g, "context", 0.5, loss_weighted_mean(t_abs(t_sub(tap(g, "d_global"), truth)), valid));
    Tensor *refined = NULL;
    int rounds = g->options.network.refine_iterations;
    for (int k = 1; k <= rounds; k++) {
        char name[32];
        snprintf(name, sizeof name, "d_iter%d", k);
        Tensor *e = loss_weighted_mean(t_abs(t_sub(tap(g, name), truth)), valid);
        e = t_affine(e, pow(0.8, rounds - k), 0);
        refined = refined ? t_add(refined, e) : e;
    }
    if (refined) add_term(g, "refined", 1, refined);
    Tensor *error = t_abs(t_sub(g->out.disparity, g->full.disparity));
    add_term(g, "disparity", 1, loss_weighted_mean(error, g->full.valid));
    add_term(g, "occlusion", 1, loss_weighted_mean(cross_entropy(g->out.occlusion, g->full.visible), g->full.judged));
    Tensor *close = is_close(g->out.disparity, g->full.disparity, 4);
    add_term(g, "confidence", 1, loss_weighted_mean(cross_entropy(g->out.confidence, close), g->full.valid));
}

/* ---- recording ---- */

static Tensor *map_input(Program *p, const char *name, int64_t n, int64_t h, int64_t w) {
    return program_input(p, name, DTYPE_F32, 4, (int64_t[]){n, 1, h, w});
}

static void record_truth(TrainGraph *g) {
    int64_t n = g->options.pairs, h = g->options.height, w = g->options.width;
    Program *p = g->program;
    g->full.disparity = map_input(p, "gt_disparity", n, h, w);
    g->full.valid = map_input(p, "gt_valid", n, h, w);
    g->full.visible = map_input(p, "gt_occlusion", n, h, w);
    g->full.judged = map_input(p, "gt_judged", n, h, w);
    g->quarter.disparity = map_input(p, "gt_disparity_4", n, h / COARSE, w / COARSE);
    g->quarter.valid = map_input(p, "gt_valid_4", n, h / COARSE, w / COARSE);
    g->quarter.visible = map_input(p, "gt_occlusion_4", n, h / COARSE, w / COARSE);
    g->quarter.judged = map_input(p, "gt_judged_4", n, h / COARSE, w / COARSE);
}

static int record_gradients(TrainGraph *g, const ParameterList *list) {
    Program *p = g->program;
    for (int i = 0; i < g->terms; i++) {
        Tensor *weighted = t_affine(g->term[i].value, g->term[i].weight, 0);
        g->loss = g->loss ? t_add(g->loss, weighted) : weighted;
    }
    program_output(p, "loss", g->loss);
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
    g->out = s2m2(&net, g->pictures, options->network);
    if (options->forward) return 0;
    record_truth(g);
    supervised_loss(g);
    int code = record_gradients(g, list);
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
