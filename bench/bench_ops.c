/* bench/bench_ops.c - the operators that are no convolution and no linear layer, at the shapes S2M2 runs them in
 * (480x736 padded, S; and a few larger ones), each alone: least time of some rounds, GFLOP/s and GB/s as the operator's
 * cost counts them, and the share of the multiply-add peak measured in the same run.
 *
 * usage: bench_ops [--rounds N] [--threads N] [--cpu base|avx2|avx512] [name] */
#include "base/clock.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tensor/op.h"
#include "tensor/ops/math_kernels.h"
#include "tensor/ops/ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* With one thread the time this process had a processor, so that neighbours cost no more than their cache misses. */
static clockid_t clock_used = CLOCK_MONOTONIC;

static double seconds(void) {
    return clock_of(clock_used);
}

static Tensor *map(Program *p, const char *name, int64_t n, int64_t c, int64_t h, int64_t w) {
    return program_input(p, name, DTYPE_F32, 4, (int64_t[]){n, c, h, w});
}
static Tensor *tokens(Program *p, const char *name, int64_t b, int64_t t, int64_t c) {
    return program_input(p, name, DTYPE_F32, 3, (int64_t[]){b, t, c});
}

typedef struct {
    const char *name;
    void (*record)(Program *p, const int64_t *n);
    int64_t n[6];
} Case;

static void attention(Program *p, const int64_t *n) { /* batches, tokens, heads, width */
    Tensor *q = tokens(p, "q", n[0], n[1], n[2] * n[3]), *k = tokens(p, "k", n[0], n[1], n[2] * n[3]);
    t_attention(q, k, tokens(p, "v", n[0], n[1], n[2] * n[3]), .heads = (int)n[2]);
}
static void relative(Program *p, const int64_t *n) { /* batches, h, w, heads, width */
    Tensor *q = tokens(p, "q", n[0], n[1] * n[2], n[3] * n[4]), *k = tokens(p, "k", n[0], n[1] * n[2], n[3] * n[4]);
    t_attention_relative(q, k, tokens(p, "v", n[0], n[1] * n[2], n[3] * n[4]),
                         program_weight(p, "pe.weight", 2, (int64_t[]){n[4], 32}),
                         program_weight(p, "pe.bias", 1, (int64_t[]){n[4]}), (int)n[3], n[1], n[2]);
}
static void transport(Program *p, const int64_t *n) { /* rows, width, positive */
    t_transport(tokens(p, "cv", n[0], n[1], n[1]), .positive = n[2]);
}
static void lookup(Program *p, const int64_t *n) { /* rows, width, m, step */
    t_lookup(tokens(p, "cv", n[0], n[1], n[2]), map(p, "d", 1, 1, n[0], n[1]), .step = (int)n[3]);
}
static void pairs(Program *p, const int64_t *n) {
    t_pool_pairs(tokens(p, "cv", n[0], n[1], n[1]));
}
static void convex(Program *p, const int64_t *n) { /* h, w, factor */
    t_convex_upsample(map(p, "x", 1, 1, n[0], n[1]), map(p, "m", 1, 9, n[0] * n[2], n[1] * n[2]), .factor = (int)n[2]);
}
static void layer_norm(Program *p, const int64_t *n) {
    t_layer_norm(tokens(p, "x", n[0], n[1], n[2]), NULL, NULL, 1e-5);
}
static void group_norm(Program *p, const int64_t *n) {
    t_group_norm(map(p, "x", n[0], n[1], n[2], n[3]), 8, program_weight(p, "w", 1, n + 1),
                 program_weight(p, "b", 1, n + 1), 1e-5);
}
static void softmax(Program *p, const int64_t *n) {
    t_softmax(tokens(p, "x", n[0], n[1], n[2]));
}
static void pool2(Program *p, const int64_t *n) {
    t_avg_pool2(map(p, "x", n[0], n[1], n[2], n[3]));
}
static void double2(Program *p, const int64_t *n) {
    t_resize_bilinear(map(p, "x", n[0], n[1], n[2], n[3]), 2 * n[2], 2 * n[3]);
}
static void nearest2(Program *p, const int64_t *n) {
    t_upsample2_nearest(map(p, "x", n[0], n[1], n[2], n[3]));
}

static const Case CASES[] = {
    {"attention 5520 tokens 4x32", attention, {1, 5520, 4, 32}},
    {"attention 240 rows of 184 1x128", attention, {240, 184, 1, 128}},
    {"attention 120 rows of 92 2x64", attention, {120, 92, 2, 64}},
    {"attention 60 rows of 46 4x64", attention, {60, 46, 4, 64}},
    {"attention 2 maps of 345 8x32", attention, {2, 345, 8, 32}},
    {"attention 345 8x16", attention, {1, 345, 8, 16}},
    {"attention 264 rows of 480 1x256", attention, {264, 480, 1, 256}},
    {"attention 2 maps of 1980 8x64", attention, {2, 1980, 8, 64}},
    {"relative 15x23 8x32, two maps", relative, {2, 15, 23, 8, 32}},
    {"relative 33x60 8x64, two maps", relative, {2, 33, 60, 8, 64}},
    {"transport 120 rows of 184", transport, {120, 184, 0}},
    {"transport 120 rows of 184 positive", transport, {120, 184, 1}},
    {"transport 66 rows of 480", transport, {66, 480, 0}},
    {"lookup 120x184", lookup, {120, 184, 184, 1}},
    {"lookup 120x184 coarse", lookup, {120, 184, 92, 2}},
    {"pool_pairs 120x184x184", pairs, {120, 184}},
    {"convex x4 to 480x736", convex, {120, 184, 4}},
    {"convex x1 480x736", convex, {480, 736, 1}},
    {"layer_norm 44160x128", layer_norm, {2, 22080, 128}},
    {"layer_norm 690x256", layer_norm, {2, 345, 256}},
    {"group_norm 2x128x240x368", group_norm, {2, 128, 240, 368}},
    {"softmax 22080x184", softmax, {120, 184, 184}},
    {"softmax 353280x9", softmax, {480, 736, 9}},
    {"avg_pool2 2x128x120x184", pool2, {2, 128, 120, 184}},
    {"bilinear x2 128x120x184", double2, {1, 128, 120, 184}},
    {"bilinear x2 9x480x736", double2, {1, 9, 480, 736}},
    {"nearest x2 128x120x184", nearest2, {1, 128, 120, 184}},
};

typedef struct {
    double flops[64];
} Peak;

static void peak_tile(void *context, int64_t tile, int worker) {
    (void)worker;
    float keep[16] = {1e-3f};
    ((Peak *)context)->flops[tile] = math_peak(cpu_level())(1000000, keep);
}

/* Floating-point operations per second of all threads of the pool together. */
static double peak_of(Pool *pool) {
    Peak peak;
    double best = 0;
    for (int round = 0; round < 7; round++) {
        double start = seconds(), sum = 0;
        pool_run(pool, pool_threads(pool), peak_tile, &peak);
        double time = seconds() - start;
        for (int i = 0; i < pool_threads(pool); i++) sum += peak.flops[i];
        best = fmax(best, sum / time);
    }
    return best;
}

static void bench(const Case *c, Pool *pool, double peak, int rounds) {
    Program *p = program_make();
    c->record(p, c->n);
    const Node *node = program_node(p, program_nodes(p) - 1);
    size_t total = 0, at[64] = {0};
    for (int i = 0; i < program_tensors(p); i++) {
        at[i] = total;
        total += (tensor_bytes(program_tensor(p, i)) + 4095) / 4096 * 4096 + 192; /* not all on the same cache set */
    }
    Run run = {.pool = pool};
    const Op *op = node->op;
    if (op->scratch_shared) run.scratch_shared = (op->scratch_shared(node, false) + 63) & ~(size_t)63;
    if (op->scratch_worker) run.scratch_worker = (op->scratch_worker(node, false) + 63) & ~(size_t)63;
    const size_t scratch = run.scratch_shared + run.scratch_worker * (size_t)pool_threads(pool);
    char *block = mem_block_map(total + scratch);
    void *bytes[64];
    for (int i = 0; i < program_tensors(p); i++) {
        bytes[i] = block + at[i];
        const Tensor *t = program_tensor(p, i);
        if (t->kind == TENSOR_VALUE) continue;
        for (int64_t k = 0; k < tensor_count(t); k++)
            ((float *)bytes[i])[k] =
                (float)((strcmp(op->name, "lookup") == 0 && i == 1 ? 20 : 2) * rng_signed(7, (uint64_t)k));
    }
    run.bytes = bytes;
    run.scratch = block + total;
    double best = INFINITY;
    for (int round = 0; round < rounds; round++) {
        double start = seconds();
        op->run ? op->run(node, &run) : op->define(node, &run);
        best = fmin(best, seconds() - start);
        if (best > 0.5 && round >= 1) break;
    }
    Cost cost = {0};
    op->cost(node, &cost);
    printf("%-36s %d  %9.3f ms  %7.1f GFLOP/s %5.1f %%  %6.1f GB/s  scratch %.1f MB%s\n", c->name, pool_threads(pool),
           1e3 * best, cost.flops / best * 1e-9, 100 * cost.flops / best / peak, cost.bytes / best * 1e-9,
           (double)scratch * 1e-6, op->run ? "" : "  (definition)");
    mem_block_unmap(block, total + scratch);
    program_drop(p);
}

int main(int count, char **argument) {
    int rounds = 15, threads = 0;
    const char *only = "";
    for (int i = 1; i < count; i++) {
        if (strcmp(argument[i], "--rounds") == 0 && i + 1 < count)
            rounds = atoi(argument[++i]);
        else if (strcmp(argument[i], "--threads") == 0 && i + 1 < count)
            threads = atoi(argument[++i]);
        else if (strcmp(argument[i], "--cpu") == 0 && i + 1 < count) {
            i++;
            for (int level = CPU_BASE; level <= CPU_AVX512; level++)
                if (strcmp(argument[i], cpu_level_name((CpuLevel)level)) == 0) cpu_limit((CpuLevel)level);
        } else
            only = argument[i];
    }
    for (int n = threads ? threads : 1; n <= (threads ? threads : 2); n++) {
        Pool *pool = pool_make(n);
        clock_used = n == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
        const double peak = peak_of(pool);
        printf("%s, %s, %d thread%s, peak %.1f GFLOP/s\n", cpu_model(), cpu_level_name(cpu_level()), n,
               n > 1 ? "s" : "", 1e-9 * peak);
        for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
            if (strstr(CASES[i].name, only)) bench(&CASES[i], pool, peak, rounds);
        pool_drop(pool);
    }
    return 0;
}
