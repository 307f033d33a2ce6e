/* apps/bench_train.c - training of the networks: a step's forward and backward part in one plan, as `panum train` runs
 * it but for the loader and the optimiser; and whole steps, the optimiser and repacking included (bench_train.h). */
#include "apps/bench_train.h"
#include "apps/bench_kernels.h"
#include "apps/lib/train_graph.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "nn/init.h"
#include "nn/optim.h"

#include <math.h>
#include <string.h>

typedef enum { WORK_GRADIENTS, WORK_FORWARD, WORK_STEP } Work;

typedef struct {
    const char *kernel, *network;
    int width, height;
    Work work;
    const char *const *recompute; /* patterns of scopes, NULL after the last; NULL: keep everything */
} Case;

static const char *const large_scopes[] = {"cnn_backbone", "feat_pyramid*", "transformer*",
                                           "refiner*",     "upsample*",     NULL};

static const Case cases[] = {
    {.kernel = "train-XS", .network = "s2m2-XS", .width = 256, .height = 128},
    {.kernel = "train-XS-forward", .network = "s2m2-XS", .width = 256, .height = 128, .work = WORK_FORWARD},
    {.kernel = "train-XS-recompute", .network = "s2m2-XS", .width = 256, .height = 128, .recompute = large_scopes},
    {.kernel = "train-S", .network = "s2m2-S", .width = 320, .height = 256},
    {.kernel = "train-s2m2-XS", .network = "s2m2-XS", .width = 256, .height = 128, .work = WORK_STEP},
    {.kernel = "train-s2m2-XS", .network = "s2m2-XS", .width = 320, .height = 256, .work = WORK_STEP},
    {.kernel = "train-s2m2-S", .network = "s2m2-S", .width = 320, .height = 256, .work = WORK_STEP},
    {.kernel = "train-s2m2-S-recompute",
     .network = "s2m2-S",
     .width = 320,
     .height = 256,
     .work = WORK_STEP,
     .recompute = large_scopes},
};

struct TrainingStep {
    Pool *pool;
    TrainGraph graph;
    ParameterStore *store;
    Plan *plan;
    Optim *optim;     /* of whole steps, as is `gradients` */
    float *gradients; /* laid out as the parameters */
    bool stepped;
    TrainingLoss loss;
};

void training_step_drop(TrainingStep *t) {
    if (!t) return;
    plan_drop(t->plan);
    graph_drop(&t->graph);
    optim_drop(t->optim);
    mem_free(t->gradients);
    store_close(t->store);
    mem_free(t);
}

/* ---- preparing ---- */

/* Noise for pictures and a truth of one pixel that is known everywhere: what it learns is not looked at. The loss scale
 * is an input too, and 1. */
static void fill_inputs(const TrainingStep *t) {
    for (int i = 0; i < program_tensors(t->graph.program); i++) {
        const Tensor *x = program_tensor(t->graph.program, i);
        if (x->kind != TENSOR_INPUT || x->base != x) continue;
        void *data = plan_data(t->plan, x);
        for (int64_t k = 0; k < tensor_count(x); k++) {
            if (x->dtype == DTYPE_U8)
                ((uint8_t *)data)[k] = (uint8_t)(rng_u64(1, (uint64_t)k) >> 56);
            else
                ((float *)data)[k] = 1;
        }
    }
}

/* The numbers that follow from the parameters' names, which peers make too. */
static int fill_seeded(const Program *program, ParameterStore *store) {
    ParameterStore *seeded;
    int rc = store_make_seeded(&seeded);
    if (rc) return rc;
    WeightSource source = store_source(seeded);
    const ParameterList *list = store_parameters(store);
    for (int i = 0; !rc && i < program_tensors(program); i++) {
        const Tensor *weight = program_tensor(program, i);
        if (weight->kind != TENSOR_WEIGHT || weight->base != weight) continue;
        const real *values = source.values(source.context, weight);
        const Parameter *p = &list->at[parameters_find(list, weight->name)];
        if (values)
            memcpy(store_block(store) + p->offset, values, (size_t)p->count * sizeof *values);
        else
            rc = ERR_MEMORY;
    }
    store_close(seeded);
    return rc;
}

static int fill_weights(const TrainingStep *t, const Case *c, const char *weights) {
    const ParameterList *list = store_parameters(t->store);
    if (weights) return parameters_load(list, weights, c->network, store_block(t->store));
    if (c->work == WORK_STEP) return fill_seeded(t->graph.program, t->store);
    init_parameters(t->graph.program, list, 1, store_block(t->store));
    return 0;
}

/* AdamW with PyTorch's defaults. */
static int make_optimiser(TrainingStep *t) {
    const ParameterList *list = store_parameters(t->store);
    t->gradients = mem_zero((size_t)list->block + 1, sizeof *t->gradients);
    if (!t->gradients) return ERR_MEMORY;
    return optim_make(list, &(OptimOptions){.method = OPTIM_ADAMW, .decay = 0.01}, store_block(t->store), &t->optim);
}

static int prepare(TrainingStep *t, const Case *c, const char *weights) {
    static const MatchingWeights disparity_only = {.disparity = 1};
    const S2m2Size *size = s2m2_size(c->network);
    GraphOptions options = {
        .network = {.channels = size->channels, .blocks = size->blocks, .refine_iterations = 3},
        .width = c->width,
        .height = c->height,
        .pairs = 1,
        .part = GRAPH_FORWARD,
        .matching = c->work == WORK_STEP ? &disparity_only : NULL,
        .recompute = c->recompute,
    };
    while (c->recompute && c->recompute[options.recompute_count]) options.recompute_count++;
    int rc = graph_record(&options, NULL, &t->graph);
    if (!rc) rc = store_make_trainable(t->graph.program, &t->store);
    if (!rc) rc = fill_weights(t, c, weights);
    if (!rc && c->work != WORK_FORWARD) {
        graph_drop(&t->graph);
        options.part = GRAPH_TRAIN;
        rc = graph_record(&options, store_parameters(t->store), &t->graph);
    }
    if (rc) return rc;
    WeightSource source = store_source(t->store);
    rc = plan_make(t->graph.program, &source, t->pool, (PlanOptions){0}, &t->plan);
    if (!rc && c->work == WORK_STEP) rc = make_optimiser(t);
    if (!rc) fill_inputs(t);
    return rc;
}

static int open_case(Pool *pool, const Case *c, const char *weights, TrainingStep **step) {
    *step = NULL;
    TrainingStep *t = mem_zero(1, sizeof *t);
    if (!t) return ERR_MEMORY;
    t->pool = pool;
    int rc = prepare(t, c, weights);
    if (rc)
        training_step_drop(t);
    else
        *step = t;
    return rc;
}

int training_step_open(Pool *pool, const S2m2Size *size, int width, int height, TrainingKeeps keeps,
                       const char *weights, TrainingStep **step) {
    Case c = {.network = size->name,
              .width = width,
              .height = height,
              .work = WORK_STEP,
              .recompute = keeps == KEEP_LITTLE ? large_scopes : NULL};
    return open_case(pool, &c, weights, step);
}

/* ---- running ---- */

static int run_plan(void *context) {
    return plan_run(((TrainingStep *)context)->plan);
}

int training_step_run(void *context) {
    static const double rate = 1e-4;
    TrainingStep *t = context;
    int rc = plan_run(t->plan);
    if (rc) return rc;
    t->loss.last = graph_scalar(plan_places(t->plan), t->graph.loss);
    if (!t->stepped) t->loss.first = t->loss.last;
    t->stepped = true;
    graph_take_gradients(&t->graph, t->plan, store_parameters(t->store), t->pool, GRADIENTS_SET, t->gradients);
    OptimStep done = optim_step(t->optim, t->pool, store_block(t->store), t->gradients, 1, rate);
    /* a step that changes nothing would be measured as faster than it is */
    if (done.skipped || !isfinite(t->loss.last))
        return fail(ERR_FAILED, "a training step of the benchmark had a loss of %g and gradients of norm %g",
                    t->loss.last, done.norm);
    plan_repack(t->plan);
    return 0;
}

const Plan *training_step_plan(const TrainingStep *t) {
    return t->plan;
}
const ParameterStore *training_step_store(const TrainingStep *t) {
    return t->store;
}
TrainingLoss training_step_loss(const TrainingStep *t) {
    return t->loss;
}
size_t training_step_state(const TrainingStep *t) {
    return t->optim ? 4 * (size_t)store_parameters(t->store)->block * sizeof(float) : 0;
}

/* ---- rows ---- */

static void note_memory(BenchRow *row, const TrainingStep *t, Work work) {
    static const double mib = 1048576;
    PlanFacts facts = plan_facts(t->plan);
    int n = snprintf(row->note, sizeof row->note, "%.0f MiB working", (double)facts.bytes / mib);
    if (work == WORK_GRADIENTS)
        snprintf(row->note + n, sizeof row->note - (size_t)n, ", %.0f of it kept from forward",
                 (double)facts.kept / mib);
    else if (work == WORK_STEP)
        snprintf(row->note + n, sizeof row->note - (size_t)n, ", %.0f state, %.0f packed",
                 (double)training_step_state(t) / mib, (double)store_packed_bytes(t->store) / mib);
}

int bench_train(Bench *bench) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Case *c = &cases[i];
        if (!bench_wants(bench, c->kernel)) continue;
        TrainingStep *step;
        int rc = open_case(bench->pool, c, NULL, &step);
        if (rc) return rc;
        char shape[64];
        snprintf(shape, sizeof shape, "%dx%d", c->width, c->height);
        PlanFacts facts = plan_facts(step->plan);
        BenchRow *row = NULL;
        rc = bench_run(bench, c->kernel, shape, facts.flops, facts.traffic,
                       c->work == WORK_STEP ? training_step_run : run_plan, step, &row);
        if (!rc) note_memory(row, step, c->work);
        training_step_drop(step);
        if (rc) return rc;
    }
    return 0;
}
