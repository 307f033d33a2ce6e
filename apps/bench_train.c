/* apps/bench_train.c - a training step of the networks, forward and backward in one plan, as `panum train` runs it but
 * for the loader and the optimiser. */
#include "apps/bench_kernels.h"
#include "apps/lib/train_graph.h"
#include "base/err.h"
#include "base/rng.h"
#include "nn/init.h"
#include "nn/store.h"

typedef struct {
    const char *kernel, *network;
    int width, height;
    bool forward;
    const char *recompute[4]; /* patterns of scopes */
} Step;

static const Step steps[] = {
    {.kernel = "train-XS", .network = "s2m2-XS", .width = 256, .height = 128},
    {.kernel = "train-XS-forward", .network = "s2m2-XS", .width = 256, .height = 128, .forward = true},
    {.kernel = "train-XS-recompute",
     .network = "s2m2-XS",
     .width = 256,
     .height = 128,
     .recompute = {"cnn_backbone", "transformer.*", "refiner", "upsample*"}},
    {.kernel = "train-S", .network = "s2m2-S", .width = 320, .height = 256},
};

typedef struct {
    TrainGraph graph;
    ParameterStore *store;
    Plan *plan;
} Training;

static void training_drop(Training *t) {
    plan_drop(t->plan);
    graph_drop(&t->graph);
    store_close(t->store);
}

/* Initial weights, noise for pictures and a truth that is known everywhere: what it learns is not looked at. */
static int training_open(Training *t, Pool *pool, const Step *step) {
    const S2m2Size *size = s2m2_size(step->network);
    GraphOptions options = {
        .network = {.channels = size->channels, .blocks = size->blocks, .refine_iterations = 3},
        .width = step->width,
        .height = step->height,
        .pairs = 1,
        .part = GRAPH_FORWARD,
        .recompute = step->recompute,
    };
    while (options.recompute_count < 4 && step->recompute[options.recompute_count]) options.recompute_count++;
    int rc = graph_record(&options, NULL, &t->graph);
    if (!rc) rc = store_make_trainable(t->graph.program, &t->store);
    if (!rc) init_parameters(t->graph.program, store_parameters(t->store), 1, store_block(t->store));
    if (!rc && !step->forward) {
        graph_drop(&t->graph);
        options.part = GRAPH_TRAIN;
        rc = graph_record(&options, store_parameters(t->store), &t->graph);
    }
    if (rc) return rc;
    WeightSource source = store_source(t->store);
    rc = plan_make(t->graph.program, &source, pool, (PlanOptions){0}, &t->plan);
    for (int i = 0; !rc && i < program_tensors(t->graph.program); i++) {
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
    return rc;
}

static int run_step(void *context) {
    return plan_run(((Training *)context)->plan);
}

int bench_train(Bench *bench) {
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (!bench_wants(bench, steps[i].kernel)) continue;
        Training training = {0};
        int rc = training_open(&training, bench->pool, &steps[i]);
        char shape[64];
        snprintf(shape, sizeof shape, "%dx%d", steps[i].width, steps[i].height);
        BenchRow *row = NULL;
        if (!rc) {
            PlanFacts facts = plan_facts(training.plan);
            rc = bench_run(bench, steps[i].kernel, shape, facts.flops, facts.traffic, run_step, &training, &row);
            if (!rc && steps[i].forward)
                snprintf(row->note, sizeof row->note, "%.0f MiB working", (double)facts.bytes / 1048576);
            else if (!rc)
                snprintf(row->note, sizeof row->note, "%.0f MiB working, %.0f of it kept from forward",
                         (double)facts.bytes / 1048576, (double)facts.kept / 1048576);
        }
        training_drop(&training);
        if (rc) return rc;
    }
    return 0;
}
