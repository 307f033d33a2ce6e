#include "apps/lib/device_check.h"
#include "apps/lib/dots.h"
#include "apps/lib/train_graph.h"
#include "base/mem.h"
#include "base/rng.h"
#include "nn/init.h"
#include "nn/store.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Small pictures, three to two: no tile divides their quarters. Every operator of the network is there whatever the
 * size. A random-dot pair, because in two unrelated pictures the best match is decided by rounding here and there, and
 * whole pixels then differ between two right devices. */
enum { WIDE = 96, HIGH = 64, FRONT = 4, BEHIND = -3 };

/* What sums in another order may come to through all layers of the network, with room; a wrong kernel is off by orders
 * of magnitude. */
static const double allowed[] = {[DEVICE_FORWARD] = 1e-3, [DEVICE_TRAINING] = 2e-2};
static const char *const prefixes[] = {[DEVICE_FORWARD] = "map.", [DEVICE_TRAINING] = "grad."};

/* Values that both give as not finite are no difference; one alone is an infinite one. */
static void compare(DeviceCheck *check, const char *name, const float *got, const float *want, int64_t count) {
    double square = 0, of = 1e-30;
    for (int64_t i = 0; i < count; i++) {
        double a = (double)got[i], b = (double)want[i];
        if (!isfinite(a) && !isfinite(b)) continue;
        square += (a - b) * (a - b);
        of += b * b;
    }
    double e = sqrt(square / of);
    check->tensors++;
    if (e <= check->worst) return;
    check->worst = isnan(e) ? INFINITY : e;
    snprintf(check->name, sizeof check->name, "%s", name);
}

typedef struct {
    TrainGraph graph;
    ParameterStore *store;
    Image eye[2];
    DeviceUse use;
    DeviceCheck *check;
} Trial;

static void fill(const Trial *trial, HostPlaces to) {
    const TrainGraph *graph = &trial->graph;
    for (int i = 0; i < program_tensors(graph->program); i++) {
        const Tensor *t = program_tensor(graph->program, i);
        if (t->kind != TENSOR_INPUT || t->base != t) continue;
        void *data = to.at(to.context, t);
        const int64_t pixels = (int64_t)WIDE * HIGH;
        for (int64_t k = 0; k < tensor_count(t); k++) {
            if (t == graph->pictures) /* channels last */
                ((uint8_t *)data)[k] = trial->eye[k / (3 * pixels)].bytes[k / 3 % pixels];
            else
                ((float *)data)[k] = 1; /* a truth of one pixel, known everywhere; the loss scale */
        }
    }
}

static uint64_t sum_of(const float *values, int64_t count) {
    uint64_t sum = 0;
    for (int64_t k = 0; k < count; k++) {
        uint32_t bits;
        memcpy(&bits, &values[k], sizeof bits);
        sum = rng_u64(sum, bits);
    }
    return sum;
}

/* Every output of the program is looked at twice; those of the prefix are compared. */
static int run_both(const Trial *trial, Player *here, Player *there) {
    DeviceCheck *check = trial->check;
    Program *program = trial->graph.program;
    check->outputs = program_outputs(program);
    uint64_t *first = mem_array((size_t)check->outputs + 1, sizeof *first);
    if (!first) return ERR_MEMORY;
    fill(trial, player_places(here));
    int code = player_run(here);
    for (int run = 0; !code && run < 2; run++) {
        fill(trial, player_places(there));
        code = player_run(there);
        for (int i = 0; !code && i < check->outputs; i++) {
            const char *name;
            const Tensor *t = program_output_at(program, i, &name);
            const float *got = player_data(there, t);
            const uint64_t sum = sum_of(got, tensor_count(t));
            if (run)
                check->same += first[i] == sum;
            else
                first[i] = sum;
            if (!run && !strncmp(name, prefixes[trial->use], strlen(prefixes[trial->use])))
                compare(check, name, got, player_data(here, t), tensor_count(t));
        }
    }
    mem_free(first);
    return code;
}

/* The graph, and numbers for its parameters that follow from their names. */
static int record(Trial *trial) {
    const S2m2Size *size = s2m2_size("s2m2-XS");
    TrainGraph *graph = &trial->graph;
    GraphOptions options = {.network = {.channels = size->channels, .blocks = size->blocks, .refine_iterations = 2},
                            .width = WIDE,
                            .height = HIGH,
                            .pairs = 1,
                            .part = GRAPH_FORWARD};
    int code = graph_record(&options, NULL, graph);
    if (!code) code = store_make_trainable(graph->program, &trial->store);
    if (code) return code;
    init_parameters(graph->program, store_parameters(trial->store), 1, store_block(trial->store));
    if (trial->use == DEVICE_FORWARD) {
        program_output(graph->program, "map.disparity", graph->out.disparity);
        program_output(graph->program, "map.confidence", graph->out.confidence);
        program_output(graph->program, "map.occlusion", graph->out.occlusion);
        return 0;
    }
    graph_drop(graph);
    options.part = GRAPH_TRAIN;
    return graph_record(&options, store_parameters(trial->store), graph);
}

int device_check(const Device *device, DeviceUse use, DeviceCheck *check) {
    Trial trial = {.use = use, .check = check};
    Player *here = NULL, *there = NULL;
    *check = (DeviceCheck){.allowed = allowed[use]};
    int code = dots_make(&trial.eye[0], &trial.eye[1], WIDE, HIGH, FRONT, BEHIND, 7);
    if (!code) code = record(&trial);
    WeightSource source = {0};
    if (!code) source = store_source(trial.store);
    PlayerOptions options = {.plan = {.exact = true}};
    if (!code) code = player_make(trial.graph.program, &source, NULL, options, &here);
    options = device_player(device);
    options.plan.exact = true;
    if (!code) code = player_make(trial.graph.program, &source, NULL, options, &there);
    if (!code) code = run_both(&trial, here, there);
    check->good = !code && check->tensors && check->worst <= check->allowed && check->same == check->outputs;
    player_drop(there);
    player_drop(here);
    graph_drop(&trial.graph);
    store_close(trial.store);
    image_free(&trial.eye[0]), image_free(&trial.eye[1]);
    return code;
}
