/* bench/bench_conv.c - convolution and matrix products against the multiply-add peak measured in the same run.
 *
 * bench_conv [--threads N] [--level base|avx2|avx512] [--exact] [--bf16] [--rounds N] [--only TEXT] [--cpu-time]
 * [--force NAME]
 *
 * --force names an algorithm as the lines do, for the shapes that it can compute.
 * --cpu-time counts the process's own time instead of the wall's: for one thread on a machine that others use too.
 * One line a shape: algorithm, milliseconds (least of the rounds), GFLOP/s counted as if direct, and that as a share of
 * the peak. The shapes are those of the specification's tables (performance, 2.1 and 2.2) and the thin layers of S2M2.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tensor/op.h"
#include "tensor/ops/conv_kernels.h"
#include "tensor/ops/conv_task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static clockid_t clock_id = CLOCK_MONOTONIC;

static double now(void) {
    return clock_of(clock_id);
}

typedef struct {
    const char *name;
    char kind; /* c conv2d, t conv_transpose2d, l linear (h is rows), n matmul_nt (n batches of h x w), m matmul */
    int n, ci, h, w, co, kh, kw, stride, pad_h, pad_w;
} Shape;

static const Shape shapes[] = {
    {"gemm 1024x1024x1024", 'l', 1, 1024, 1024, 1, 1024, 1, 1, 1, 0, 0},
    {"gemm 2048x2048x2048", 'l', 1, 2048, 2048, 1, 2048, 1, 1, 1, 0, 0},
    {"gemm 22080x128x128", 'l', 1, 128, 22080, 1, 128, 1, 1, 1, 0, 0},
    {"gemm 22080x384x256", 'l', 1, 256, 22080, 1, 384, 1, 1, 1, 0, 0},
    {"gemm 5520x256x256", 'l', 1, 256, 5520, 1, 256, 1, 1, 1, 0, 0},
    {"gemm 1380x256x256", 'l', 1, 256, 1380, 1, 256, 1, 1, 1, 0, 0},
    {"gemm 345x256x256", 'l', 1, 256, 345, 1, 256, 1, 1, 1, 0, 0},
    {"gemm 22080x64x1152", 'l', 1, 1152, 22080, 1, 64, 1, 1, 1, 0, 0},
    {"gemm 1370x1536x384", 'l', 1, 384, 1370, 1, 1536, 1, 1, 1, 0, 0},
    {"3x3 64->64 120x184", 'c', 1, 64, 120, 184, 64, 3, 3, 1, 1, 1},
    {"3x3 128->128 120x184", 'c', 1, 128, 120, 184, 128, 3, 3, 1, 1, 1},
    {"3x3 192->192 120x184", 'c', 1, 192, 120, 184, 192, 3, 3, 1, 1, 1},
    {"3x3 256->256 120x184", 'c', 1, 256, 120, 184, 256, 3, 3, 1, 1, 1},
    {"3x3 256->256 60x92", 'c', 1, 256, 60, 92, 256, 3, 3, 1, 1, 1},
    {"3x3 128->128 240x368", 'c', 1, 128, 240, 368, 128, 3, 3, 1, 1, 1},
    {"3x3 s2 128->128 240x368", 'c', 1, 128, 240, 368, 128, 3, 3, 2, 1, 1},
    {"1x1 128->128 120x184", 'c', 1, 128, 120, 184, 128, 1, 1, 1, 0, 0},
    {"3x3 256->256 30x46", 'c', 1, 256, 30, 46, 256, 3, 3, 1, 1, 1},
    {"3x3 256->256 15x23", 'c', 1, 256, 15, 23, 256, 3, 3, 1, 1, 1},
    {"3x3 512->512 30x46", 'c', 1, 512, 30, 46, 512, 3, 3, 1, 1, 1},
    {"3x3 256->128 120x184", 'c', 1, 256, 120, 184, 128, 3, 3, 1, 1, 1},
    {"3x3 32->32 32x64", 'c', 1, 32, 32, 64, 32, 3, 3, 1, 1, 1},
    {"3x3 128->128 32x64", 'c', 1, 128, 32, 64, 128, 3, 3, 1, 1, 1},
    {"3x1 64->32 32x64", 'c', 1, 64, 32, 64, 32, 3, 1, 1, 1, 0},
    {"3x3 130->128 120x184", 'c', 1, 130, 120, 184, 128, 3, 3, 1, 1, 1},
    {"3x1 256->128 120x184", 'c', 1, 256, 120, 184, 128, 3, 1, 1, 1, 0},
    {"1x3 256->128 120x184", 'c', 1, 256, 120, 184, 128, 1, 3, 1, 0, 1},
    {"1x1 3->16 480x736 n2", 'c', 2, 3, 480, 736, 16, 1, 1, 1, 0, 0},
    {"1x1 16->16 480x736 n2", 'c', 2, 16, 480, 736, 16, 1, 1, 1, 0, 0},
    {"5x5 s2 16->64 480x736 n2", 'c', 2, 16, 480, 736, 64, 5, 5, 2, 2, 2},
    {"3x3 48->48 480x736", 'c', 1, 48, 480, 736, 48, 3, 3, 1, 1, 1},
    {"3x3 1->96 120x184", 'c', 1, 1, 120, 184, 96, 3, 3, 1, 1, 1},
    {"3x3 96->96 120x184", 'c', 1, 96, 120, 184, 96, 3, 3, 1, 1, 1},
    {"3x3 2->64 120x184", 'c', 1, 2, 120, 184, 64, 3, 3, 1, 1, 1},
    {"3x3 128->1 120x184", 'c', 1, 128, 120, 184, 1, 3, 3, 1, 1, 1},
    {"3x3 128->2 120x184", 'c', 1, 128, 120, 184, 2, 3, 3, 1, 1, 1},
    {"1x1 9->96 120x184", 'c', 1, 9, 120, 184, 96, 1, 1, 1, 0, 0},
    {"T3x3 1->16 480x736", 't', 1, 1, 480, 736, 16, 3, 3, 1, 1, 1},
    {"T3x3 3->16 480x736", 't', 1, 3, 480, 736, 16, 3, 3, 1, 1, 1},
    {"T1x1 48->9 480x736", 't', 1, 48, 480, 736, 9, 1, 1, 1, 0, 0},
    {"T2x2 s2 128->64 120x184", 't', 1, 128, 120, 184, 64, 2, 2, 2, 0, 0},
    {"T2x2 s2 128->16 240x368", 't', 1, 128, 240, 368, 16, 2, 2, 2, 0, 0},
    {"T2x2 s2 128->9 240x368", 't', 1, 128, 240, 368, 9, 2, 2, 2, 0, 0},
    {"matmul_nt 120x(184x184x128)", 'n', 120, 128, 184, 184, 1, 1, 1, 1, 0, 0},
    {"matmul_nt 264x(480x480x128)", 'n', 264, 128, 480, 480, 1, 1, 1, 1, 0, 0},
    {"matmul 1x(1024x1024x1024)", 'm', 1, 1024, 1024, 1024, 1, 1, 1, 1, 0, 0},
    {"matmul 120x(184x184x128)", 'm', 120, 128, 184, 184, 1, 1, 1, 1, 0, 0},
};

/* Peak: products of one block kernel from L1, the best that the product itself can do. */
typedef struct {
    const ConvKernels *kernels;
    float *memory;
} Peak;

enum { PEAK_K = 192, PEAK_CALLS = 200 };

static void peak_tile(void *context, int64_t tile, int worker) {
    const Peak *peak = context;
    (void)tile;
    float *a = peak->memory + (size_t)worker * 65536, *panel = a + 16384, *c = panel + 32768;
    int64_t width = 2 * peak->kernels->vector;
    Stretch stretch = {a, PEAK_K, 0, PEAK_K};
    for (int i = 0; i < PEAK_CALLS; i++)
        peak->kernels->block(peak->kernels->rows, 2, &stretch, 1, panel, NULL, c, width, width, BLOCK_SET);
}

static double measure_peak(Pool *pool, const ConvKernels *kernels, int rounds) {
    Peak peak = {kernels, mem_zero((size_t)pool_threads(pool) * 65536, 4)};
    if (!peak.memory) return 1;
    int tiles = 16 * pool_threads(pool);
    double best = 1e9;
    for (int i = 0; i < rounds + 2; i++) {
        double start = now();
        pool_run(pool, tiles, peak_tile, &peak);
        double time = now() - start;
        if (time < best) best = time;
    }
    mem_free(peak.memory);
    return 2.0 * tiles * PEAK_CALLS * PEAK_K * kernels->rows * 2 * kernels->vector / best / 1e9;
}

static size_t aligned(size_t bytes) {
    return (bytes + 4095) & ~(size_t)4095;
}

static void bench(const Shape *s, Pool *pool, double peak, bool exact, bool bf16, int rounds) {
    Program *program = program_make();
    if (!program) return;
    int64_t map[] = {s->n, s->ci, s->h, s->w}, rows[] = {s->h, s->ci}, left[] = {s->n, s->h, s->ci};
    int64_t right[] = {s->n, s->kind == 'n' ? s->w : s->ci, s->kind == 'n' ? s->ci : s->w}, bias_size[] = {s->co};
    int64_t conv[] = {s->co, s->ci, s->kh, s->kw}, transpose[] = {s->ci, s->co, s->kh, s->kw};
    ConvOptions options = {s->stride, s->pad_h, s->pad_w};
    Tensor *y;
    if (s->kind == 'n' || s->kind == 'm') {
        Tensor *a = program_input(program, "a", DTYPE_F32, 3, left),
               *b = program_input(program, "b", DTYPE_F32, 3, right);
        y = s->kind == 'n' ? t_matmul_nt(a, b) : t_matmul(a, b);
    } else {
        Tensor *bias = program_weight(program, "bias", 1, bias_size);
        if (s->kind == 'l')
            y = t_linear(program_input(program, "x", DTYPE_F32, 2, rows), program_weight(program, "w", 2, conv), bias);
        else if (s->kind == 'c')
            y = t_conv2d_at(program_input(program, "x", DTYPE_F32, 4, map), program_weight(program, "w", 4, conv), bias,
                            options, T_HERE);
        else
            y = t_conv_transpose2d_at(program_input(program, "x", DTYPE_F32, 4, map),
                                      program_weight(program, "w", 4, transpose), bias, options, T_HERE);
    }
    const Node *node = y->node;
    const Op *op = node->op;
    Run run = {.pool = pool, .exact = exact, .bf16 = bf16};
    run.scratch_shared = op->scratch_shared ? aligned(op->scratch_shared(node, exact)) : 0;
    run.scratch_worker = op->scratch_worker ? aligned(op->scratch_worker(node, exact)) : 0;
    size_t packed = op->pack_size ? aligned(op->pack_size(node, exact, bf16)) : 0, total = 0;
    for (int i = 0; i < program_tensors(program); i++) total += aligned(tensor_bytes(program_tensor(program, i)));
    size_t scratch = run.scratch_shared + run.scratch_worker * (size_t)pool_threads(pool);
    char *block = mem_block_map(total + packed + scratch), *at = block;
    void **bytes = mem_zero((size_t)program_tensors(program), sizeof *bytes);
    if (!block || !bytes) return;
    const float *weights[NODE_INPUTS_MAX] = {0};
    for (int i = 0; i < program_tensors(program); i++) {
        const Tensor *t = program_tensor(program, i);
        float *p = bytes[i] = at;
        at += aligned(tensor_bytes(t));
        for (int64_t k = 0; k < tensor_count(t); k++) p[k] = (float)rng_signed((uint64_t)i, (uint64_t)k);
    }
    for (int i = 0; i < node->inputs; i++)
        if (node->input[i]) weights[i] = bytes[node->input[i]->id];
    double pack_time = now();
    if (packed) op->pack(node, exact, bf16, weights, at);
    pack_time = now() - pack_time;
    run.packed = packed ? at : NULL;
    run.scratch = at + packed;
    run.bytes = bytes;
    Cost cost;
    op->cost(node, &cost);
    double best = 1e9;
    for (int i = 0; i < rounds + 1; i++) {
        double start = now();
        op->run(node, &run);
        double time = now() - start;
        if (i && time < best) best = time;
    }
    printf("%-28s %-13s %8.3f ms %7.1f GFLOP/s %6.1f %% of peak  %5.1f GB/s  scratch %5.1f MB  packing %5.2f ms\n",
           s->name, s->kind == 'n' || s->kind == 'm' ? "product" : conv_algorithm(node, exact, bf16), best * 1e3,
           cost.flops / best / 1e9, 100 * cost.flops / best / 1e9 / peak, cost.bytes / best / 1e9,
           (double)scratch / 1e6, pack_time * 1e3);
    mem_block_unmap(block, total + packed + scratch);
    mem_free(bytes);
    program_drop(program);
}

int main(int argc, char **argv) {
    int threads = 1, rounds = 7;
    bool exact = false, bf16 = false;
    const char *only = "";
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--exact") == 0)
            exact = true;
        else if (strcmp(argv[i], "--bf16") == 0)
            bf16 = true;
        else if (strcmp(argv[i], "--force") == 0) {
            for (int a = 0; a < CONV_ALGORITHMS; a++)
                if (strcmp(value, conv_algorithm_name[a]) == 0) conv_force((ConvAlgorithm)a);
            i++;
        } else if (strcmp(argv[i], "--cpu-time") == 0)
            clock_id = CLOCK_PROCESS_CPUTIME_ID;
        else if (strcmp(argv[i], "--threads") == 0)
            threads = atoi(value), i++;
        else if (strcmp(argv[i], "--rounds") == 0)
            rounds = atoi(value), i++;
        else if (strcmp(argv[i], "--only") == 0)
            only = value, i++;
        else if (strcmp(argv[i], "--level") == 0) {
            for (int level = CPU_BASE; level <= CPU_AVX512; level++)
                if (strcmp(value, cpu_level_name((CpuLevel)level)) == 0) cpu_limit((CpuLevel)level);
            i++;
        } else {
            fprintf(stderr,
                    "usage: bench_conv [--threads N] [--level base|avx2|avx512] [--exact] [--bf16] [--rounds N] "
                    "[--only TEXT] [--cpu-time] [--force NAME]\n");
            return 2;
        }
    }
    Pool *pool = pool_make(threads);
    if (!pool) return 6;
    double peak = measure_peak(pool, conv_kernels(), rounds);
    printf("%s, %s, %d threads: %.1f GFLOP/s of multiply-adds\n", cpu_model(), cpu_level_name(conv_kernels()->level),
           pool_threads(pool), peak);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        if (strstr(shapes[i].name, only)) bench(&shapes[i], pool, peak, exact, bf16, rounds);
    pool_drop(pool);
    return 0;
}
