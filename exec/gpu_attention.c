/* exec/gpu_attention.c - attention by heads on a GPU. */
#include "exec/gpu_steps.h"

#ifndef PANUM_F64
#include "cuda/kernels/attention.h"
#include "tensor/ops/attention_node.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PLAIN_WARPS = 4, PLAIN_SHARED = 48 * 1024 /* what every block may have */ };

static Tokens tokens_of(const GpuPlan *p, const Tensor *t) {
    return (Tokens){gpu_address(p, t), t->stride[0], t->stride[1]};
}

static int relative_of(GpuPlan *p, const Node *node, const Tensor *weight, const Tensor *bias, Relative *to) {
    const AttentionAttributes *a = node->attributes;
    const void *x, *y;
    int code = gpu_table(p, a->table_x, (size_t)((2 * a->w - 1) * PE_HALF) * sizeof(float), &x);
    if (!code) code = gpu_table(p, a->table_y, (size_t)((2 * a->h - 1) * PE_HALF) * sizeof(float), &y);
    if (code) return code;
    *to = (Relative){.table_x = x,
                     .table_y = y,
                     .weight = gpu_address(p, weight),
                     .bias = bias ? gpu_address(p, bias) : NULL,
                     .h = (int)a->h,
                     .w = (int)a->w};
    return 0;
}

/* Where the tokens lie, copies of 16 bytes, `piece` numbers, are possible. */
static bool in_pieces(Tokens t, int piece) {
    return (uintptr_t)t.at % 16 == 0 && t.batch % piece == 0 && t.row % piece == 0;
}

/* Whole chunks of columns: ATTENTION_DEPTH. */
static int padded_width(int width) {
    return width <= 16 ? 16 : (width + 31) / 32 * 32;
}

/* The fast rung, if a block of it fits: what it is compiled for, and its grid. */
static bool tiled(const GpuPlan *p, const AttentionArgs *a, bool half, char define[96], GpuGrid *grid) {
    const int wide = padded_width(a->width);
    const int rows = wide > 256 ? 2 : wide > 32 || a->relative.h ? 4 : 8;
    const int threads = wide > 32 && wide <= 64 && !a->relative.h ? 256 : 128;
    const int queries = ATTENTION_QUERIES(rows, threads);
    const bool pieces = !half && in_pieces(a->q, 4) && in_pieces(a->k, 4) && in_pieces(a->v, 4) && a->width % 4 == 0;
    if (wide > 512) return false;
    const int64_t floats = ATTENTION_FLOATS((int64_t)wide, queries, (int64_t)a->relative.w + a->relative.h);
    *grid = (GpuGrid){.x = gpu_blocks(a->queries, queries) * a->batches * a->heads,
                      .threads = (unsigned)threads,
                      .shared = (size_t)floats * sizeof(float)};
    snprintf(define, 96, "-DWIDTH=%d -DROWS=%d -DTHREADS=%d%s%s", wide, rows, threads, pieces ? " -DPIECES" : "",
             a->relative.h ? " -DRELATIVE" : "");
    return grid->shared <= gpu_device(p)->shared_a_block;
}

/* The same on tensor cores, where q, k and v are half-size. */
static bool tensor_cores(const GpuPlan *p, const AttentionArgs *a, char define[96], GpuGrid *grid) {
    const int wide = a->width > 256 ? (a->width + 31) / 32 * 32 : (a->width + 15) / 16 * 16;
    const bool pieces = in_pieces(a->q, 8) && in_pieces(a->k, 8) && in_pieces(a->v, 8) && a->width % 8 == 0;
    if (wide > (a->relative.h ? 256 : ATTENTION_MMA_WIDEST)) return false;
    *grid = (GpuGrid){.x = gpu_blocks(a->queries, ATTENTION_MMA_ROWS(wide)) * a->batches * a->heads,
                      .threads = 128,
                      .shared = ATTENTION_MMA_BYTES((size_t)wide)};
    if (a->relative.h)
        grid->shared +=
            ATTENTION_MMA_GRID_FLOATS((size_t)wide, (size_t)a->relative.w + (size_t)a->relative.h) * sizeof(float);
    snprintf(define, 96, "-DWIDTH=%d%s%s%s", wide, pieces ? " -DPIECES" : "", a->relative.h ? " -DRELATIVE" : "",
             gpu_device(p)->arch < 80 && wide > 96 ? " -DBLOCKS=2" : "");
    return grid->shared <= gpu_device(p)->shared_a_block;
}

/* Queries and keys of all heads are numbered by int. */
static bool too_large(const Node *node) {
    const Tensor *q = node->input[0], *k = node->input[1];
    const int64_t most = (INT32_MAX - PLAIN_WARPS) / ((const AttentionAttributes *)node->attributes)->heads;
    return q->size[2] > INT32_MAX / 64 || k->size[1] > INT32_MAX / 64 || q->size[0] * q->size[1] > most ||
           k->size[0] * k->size[1] > most;
}

/* Inputs: q, k, v, and with the relative term its weight and bias. */
static int launch_attention(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    const AttentionAttributes *attributes = node->attributes;
    const Tensor *q = node->input[0], *k = node->input[1];
    AttentionArgs a = {
        .q = tokens_of(p, q),
        .k = tokens_of(p, k),
        .v = tokens_of(p, node->input[2]),
        .o = step->strip ? NULL : gpu_address(p, node->output[0]),
        .batches = q->size[0],
        .queries = q->size[1],
        .keys = k->size[1],
        .heads = attributes->heads,
        .width = (int)(q->size[2] / attributes->heads),
        .shift = attributes->swap_halves ? (int)(q->size[0] / 2) : 0,
        .scale = (float)(1 / sqrt((double)(q->size[2] / attributes->heads))),
    };
    if (too_large(node)) return gpu_too_large(step);
    int code = attributes->h ? relative_of(p, node, node->input[3], node->input[4], &a.relative) : 0;
    if (!code) code = gpu_region_places(p, step->strip, &a.places);
    if (code) return code;
    char define[96];
    GpuGrid grid;
    const bool half = gpu_half(p, q), store_half = !step->strip && gpu_half(p, node->output[0]);
    const bool fast = gpu_rung(p) == RUNG_FAST;
    GpuCode which = {.region = step->strip};
    if (fast && half && tensor_cores(p, &a, define, &grid))
        which.file = "cuda/kernels/attention_mma.cu", which.kernel = "attention_mma";
    else if (fast && tiled(p, &a, half, define, &grid))
        which.file = "cuda/kernels/attention_tiled.cu", which.kernel = "attention_tiled";
    if (fast && !which.file) gpu_because(p, "heads too wide for a block's shared memory");
    if (fast && half && which.file && strcmp(which.kernel, "attention_mma") != 0)
        gpu_because(p, "heads too wide for tensor cores");
    which.define = gpu_values(p, which.file ? define : NULL, half, store_half);
    if (which.file) return gpu_launch(p, step, which, grid, &a, sizeof a);
    which.file = "cuda/kernels/attention.cu", which.kernel = "attention_plain";
    grid = (GpuGrid){.x = gpu_blocks(a.batches * a.queries * a.heads, PLAIN_WARPS),
                     .threads = PLAIN_WARPS * 32,
                     .shared = (size_t)(PLAIN_WARPS * (32 + a.width)) * sizeof(float)};
    if (grid.shared > PLAIN_SHARED) return gpu_no_kernel(node, " with such wide heads");
    return gpu_launch(p, step, which, grid, &a, sizeof a);
}

/* The same for the gradient: grid->x is left to the caller, *rows are those of a block. */
static bool tiled_backward(const GpuPlan *p, const AttentionBackArgs *a, bool half, char define[96], GpuGrid *grid,
                           int *rows) {
    const int wide = padded_width(a->width), each = wide > 128 ? 2 : 4, threads = 128;
    const bool pieces = !half && in_pieces(a->q, 4) && in_pieces(a->k, 4) && in_pieces(a->v, 4) &&
                        in_pieces(a->d_out, 4) && a->width % 4 == 0;
    if (wide > 512 || a->relative.h) return false;
    *rows = ATTENTION_QUERIES(each, threads);
    *grid = (GpuGrid){.threads = (unsigned)threads,
                      .shared = (size_t)ATTENTION_BACK_FLOATS((int64_t)wide, *rows) * sizeof(float)};
    snprintf(define, 96, "-DWIDTH=%d -DROWS=%d -DTHREADS=%d%s", wide, each, threads, pieces ? " -DPIECES" : "");
    return grid->shared <= gpu_device(p)->shared_a_block;
}

/* The same on tensor cores, where the tokens are half-size. */
static bool tensor_cores_backward(const GpuPlan *p, const AttentionBackArgs *a, char define[96], GpuGrid *grid,
                                  int *rows) {
    const int wide = (a->width + 15) / 16 * 16;
    const bool pieces =
        in_pieces(a->q, 8) && in_pieces(a->k, 8) && in_pieces(a->v, 8) && in_pieces(a->d_out, 8) && a->width % 8 == 0;
    if (wide > ATTENTION_BACK_MMA_WIDEST || a->relative.h) return false;
    *rows = ATTENTION_MMA_QUERIES;
    *grid = (GpuGrid){.threads = 128, .shared = ATTENTION_BACK_MMA_BYTES((size_t)wide)};
    snprintf(define, 96, "-DWIDTH=%d%s", wide, pieces ? " -DPIECES" : "");
    return grid->shared <= gpu_device(p)->shared_a_block;
}

/* Inputs: q, k, v, the gradient of the result, and with the relative term its weight. Outputs: dq, dk, dv, and those of
 * weight and bias. */
static int launch_backward(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    const AttentionAttributes *attributes = node->attributes;
    const Tensor *q = node->input[0], *k = node->input[1];
    AttentionBackArgs a = {
        .q = tokens_of(p, q),
        .k = tokens_of(p, k),
        .v = tokens_of(p, node->input[2]),
        .d_out = tokens_of(p, node->input[3]),
        .dq = gpu_address(p, node->output[0]),
        .dk = gpu_address(p, node->output[1]),
        .dv = gpu_address(p, node->output[2]),
        .batches = q->size[0],
        .queries = q->size[1],
        .keys = k->size[1],
        .heads = attributes->heads,
        .width = (int)(q->size[2] / attributes->heads),
        .shift = attributes->swap_halves ? (int)(q->size[0] / 2) : 0,
        .scale = (float)(1 / sqrt((double)(q->size[2] / attributes->heads))),
    };
    if (too_large(node)) return gpu_too_large(step);
    const int64_t pairs = a.batches * a.heads, rows = pairs * a.queries;
    float *scratch = gpu_scratch(p, (size_t)(rows * (attributes->h ? 3 + 2 * PE_WIDTH : 3)) * sizeof *scratch);
    if (scratch) a.most = scratch, a.share = a.most + rows, a.mean = a.share + rows;
    if (attributes->h) {
        int code = relative_of(p, node, node->input[4], NULL, &a.relative);
        if (code) return code;
        a.d_weight = gpu_address(p, node->output[3]);
        a.d_bias = gpu_address(p, node->output[4]);
        if (scratch) a.position = a.mean + rows, a.pull = a.position + rows * PE_WIDTH;
    }
    GpuCode code = {"cuda/kernels/attention_back.cu", "attention_back_queries", NULL, NULL};
    GpuGrid plain = {.threads = PLAIN_WARPS * 32}, grid = plain;
    int block = PLAIN_WARPS;
    int64_t query_blocks = gpu_blocks(rows, block), key_blocks = gpu_blocks(pairs * a.keys, block);
    char define[96];
    const bool half = gpu_half(p, q), store_half = gpu_half(p, node->output[0]);
    code.define = gpu_values(p, NULL, half, store_half);
    const bool fast = gpu_rung(p) == RUNG_FAST;
    const bool mma = fast && half && tensor_cores_backward(p, &a, define, &grid, &block);
    if (mma || (fast && tiled_backward(p, &a, half, define, &grid, &block))) {
        code.file = mma ? "cuda/kernels/attention_back_mma.cu" : "cuda/kernels/attention_back_tiled.cu";
        code.define = gpu_values(p, define, half && !mma, store_half);
        query_blocks = pairs * gpu_blocks(a.queries, block);
        key_blocks = pairs * gpu_blocks(a.keys, block);
    } else {
        grid = plain;
    }
    grid.x = query_blocks;
    int failed = gpu_launch(p, step, code, grid, &a, sizeof a);
    code.kernel = "attention_back_keys";
    grid.x = key_blocks;
    if (!failed) failed = gpu_launch(p, step, code, grid, &a, sizeof a);
    code.kernel = "attention_back_position";
    if (!failed && attributes->h) failed = gpu_launch(p, step, code, (GpuGrid){.x = a.width}, &a, sizeof a);
    return failed;
}

const GpuOperator gpu_attention_operators[] = {{"attention", launch_attention},
                                               {"attention_relative", launch_attention},
                                               {"attention_backward", launch_backward},
                                               {0}};
#endif
