#include "apps/lib/device.h"
#include "apps/lib/train_graph.h"
#include "apps/selftest.h"
#include "base/mem.h"
#include "base/rng.h"
#include "nn/init.h"
#include "nn/store.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Small pictures of a shape that no tile divides; every operator of the network is there whatever the size. */
enum { WIDE = 96, HIGH = 64 };

/* Root of the mean square of a difference, of that of the value: what sums in another order may come to through all
 * layers of the network, with room; a wrong kernel is off by orders of magnitude. */
static const double forward_bound = 1e-3, gradient_bound = 2e-2;

typedef struct {
    double worst; /* of any tensor */
    char name[200];
    int tensors;
} Difference;

/* Values that both give as not finite are no difference; one alone is an infinite one. */
static void compare(Difference *d, const char *name, const float *got, const float *want, int64_t count) {
    double square = 0, of = 1e-30;
    for (int64_t i = 0; i < count; i++) {
        double a = (double)got[i], b = (double)want[i];
        if (!isfinite(a) && !isfinite(b)) continue;
        square += (a - b) * (a - b);
        of += b * b;
    }
    double e = sqrt(square / of);
    d->tensors++;
    if (e <= d->worst) return;
    d->worst = isnan(e) ? INFINITY : e;
    snprintf(d->name, sizeof d->name, "%s", name);
}

static void fill(const TrainGraph *graph, HostPlaces to) {
    for (int i = 0; i < program_tensors(graph->program); i++) {
        const Tensor *t = program_tensor(graph->program, i);
        if (t->kind != TENSOR_INPUT || t->base != t) continue;
        void *data = to.at(to.context, t);
        for (int64_t k = 0; k < tensor_count(t); k++) {
            if (t->dtype == DTYPE_U8)
                ((uint8_t *)data)[k] = (uint8_t)(rng_u64(7, (uint64_t)k) >> 56);
            else
                ((float *)data)[k] = 1; /* a truth of one pixel, known everywhere; the loss scale */
        }
    }
}

/* Every output of the program: maps, terms of the loss, gradients. `same` counts those whose bits repeat. */
static int compare_outputs(const TrainGraph *graph, Player *here, Player *there, const char *prefix, Difference *d,
                           int *same) {
    int outputs = program_outputs(graph->program), code = 0;
    uint8_t(*first)[8] = mem_zero((size_t)outputs + 1, sizeof *first);
    if (!first) return ERR_MEMORY;
    *same = 0;
    fill(graph, player_places(here));
    code = player_run(here);
    for (int run = 0; !code && run < 2; run++) {
        fill(graph, player_places(there));
        code = player_run(there);
        for (int i = 0; !code && i < outputs; i++) {
            const char *name;
            const Tensor *t = program_output_at(graph->program, i, &name);
            const float *got = player_data(there, t);
            uint64_t sum = 0;
            for (int64_t k = 0; k < tensor_count(t); k++) {
                uint32_t bits;
                memcpy(&bits, &got[k], sizeof bits);
                sum = rng_u64(sum, bits);
            }
            if (run) {
                *same += memcmp(first[i], &sum, sizeof sum) == 0;
            } else {
                memcpy(first[i], &sum, sizeof sum);
                if (!strncmp(name, prefix, strlen(prefix)))
                    compare(d, name, got, player_data(here, t), tensor_count(t));
            }
        }
    }
    mem_free(first);
    return code;
}

static int record(const S2m2Size *size, GraphPart part, TrainGraph *graph, ParameterStore **store) {
    GraphOptions options = {.network = {.channels = size->channels, .blocks = size->blocks, .refine_iterations = 2},
                            .width = WIDE,
                            .height = HIGH,
                            .pairs = 1,
                            .part = GRAPH_FORWARD};
    int code = graph_record(&options, NULL, graph);
    if (!code) code = store_make_trainable(graph->program, store);
    if (code) return code;
    init_parameters(graph->program, store_parameters(*store), 1, store_block(*store));
    if (part == GRAPH_FORWARD) {
        program_output(graph->program, "map.disparity", graph->out.disparity);
        program_output(graph->program, "map.confidence", graph->out.confidence);
        program_output(graph->program, "map.occlusion", graph->out.occlusion);
        return 0;
    }
    graph_drop(graph);
    options.part = part;
    return graph_record(&options, store_parameters(*store), graph);
}

static int check_part(Self *self, Device *device, GraphPart part, const char *what, const char *prefix, double bound) {
    TrainGraph graph = {0};
    ParameterStore *store = NULL;
    Player *here = NULL, *there = NULL;
    Difference d = {0};
    int same = 0, code = record(s2m2_size("s2m2-XS"), part, &graph, &store), outputs = 0;
    WeightSource source = {0};
    if (!code) source = store_source(store);
    PlayerOptions options = {.plan = {.exact = true}};
    if (!code) code = player_make(graph.program, &source, NULL, options, &here);
    options = device_player(device);
    options.plan.exact = true;
    if (!code) code = player_make(graph.program, &source, NULL, options, &there);
    if (!code) {
        outputs = program_outputs(graph.program);
        code = compare_outputs(&graph, here, there, prefix, &d, &same);
    }
    char repeats[80];
    snprintf(repeats, sizeof repeats, "%s, run twice", what);
    if (code == ERR_DEVICE) {
        self_check(self, false, what, "%s", err_sentence());
        code = 0;
    } else if (!code) {
        self_check(self, d.worst <= bound, what, "%d tensors, off by %.1e of their size at most (%s; %.0e is allowed)",
                   d.tensors, d.worst, d.name, bound);
        self_check(self, same == outputs, repeats, "%d of %d outputs have the same bits", same, outputs);
    }
    player_drop(there);
    player_drop(here);
    graph_drop(&graph);
    store_close(store);
    return code;
}

int selftest_device(Self *self, DeviceChoice where) {
    Device device;
    int code = device_open(where, &device);
    if (code) return code;
    if (!device.gpu) return 0; /* auto, and there is none */
    const GpuFacts *f = &device.gpu->facts;
    self_check(self, true, "a GPU", "%s, sm_%d", f->name, f->arch);
    code = check_part(self, &device, GRAPH_FORWARD, "s2m2-XS on the GPU", "map.", forward_bound);
    if (!code) code = check_part(self, &device, GRAPH_TRAIN, "its gradients on the GPU", "grad.", gradient_bound);
    device_close(&device);
    return code;
}
