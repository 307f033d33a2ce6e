/* cuda/kernels/reduce.cu - sums: over everything, over channels, over positions (tensor/ops/reduce.c).
 *
 * All add in double and round once, in an order that the shape alone decides: tiles of positions, a block each, then
 * sum_tiles adds the tiles. Two launches instead of atomics, so that results repeat bit for bit. Bound by memory: x
 * moves once, in f32 or 16 bits, and sums are stored in f32; an addition in double for every four bytes is within what
 * the slowest of GPUs has. */
#include "cuda/device/sums.h"
#include "cuda/device/value.h"
#include "cuda/kernels/reduce.h"

/* Sums of a tile's rows by channel; the sum of everything is that of a tensor seen as rows of one channel.
 * grid: tiles, channels / lanes. Blocks are lanes wide; each line of threads takes every (256 / lanes)th row. */
KERNEL(sum_positions, 256, ReduceArgs, a) {
    SHARED(double, shared, SUM_THREADS);
    int lines = SUM_THREADS / a.lanes, line = thread_x() / a.lanes;
    int c = block_y() * a.lanes + thread_x() % a.lanes;
    i64 begin = block_x() * a.tile, end = begin + a.tile < a.rows ? begin + a.tile : a.rows;
    double sum = 0;
    for (i64 row = begin + line; c < a.channels && row < end; row += lines)
        sum += value_f32(((const Value *)a.x)[row_at(&a.places, row) + c * a.places.channel_stride]);
    shared[thread_x()] = sum;
    block_sync();
    for (int half = lines / 2; half; half /= 2) {
        if (line < half) shared[thread_x()] += shared[thread_x() + half * a.lanes];
        block_sync();
    }
    if (line == 0 && c < a.channels) a.part[block_x() * (i64)a.channels + c] = shared[thread_x()];
}

/* A row each `lanes` threads. grid: rows times lanes / 256 */
KERNEL(sum_channels, 256, ReduceArgs, a) {
    i64 row = ((i64)block_x() * 256 + thread_x()) / a.lanes;
    double sum = 0;
    if (row < a.rows) {
        const Value *x = (const Value *)a.x + row_at(&a.places, row);
        for (int c = thread_x() % a.lanes; c < a.channels; c += a.lanes)
            sum += value_f32(x[c * a.places.channel_stride]);
    }
    SHARED(double, shared, SUM_THREADS);
    shared[thread_x()] = sum;
    for (int half = a.lanes / 2; half; half /= 2) { /* a row's threads are of one warp */
        warp_sync();
        if (thread_x() % a.lanes < half) shared[thread_x()] += shared[thread_x() + half];
    }
    if (row < a.rows && thread_x() % a.lanes == 0) a.y[row] = (float)shared[thread_x()];
}

/* grid: width / 32. Eight warps take the tiles in turn, and their sums are added in order. */
KERNEL(sum_tiles, 256, SumTilesArgs, a) {
    SHARED(double, shared, SUM_THREADS);
    int e = block_x() * 32 + lane_x();
    double sum = 0;
    for (i64 tile = warp_x(); e < a.width && tile < a.tiles; tile += 8) sum += a.part[tile * a.width + e];
    shared[thread_x()] = sum;
    block_sync();
    if (warp_x() || e >= a.width) return; /* nobody is waited for from here on */
    for (int w = 1; w < 8; w++) sum += shared[32 * w + lane_x()];
    float *to = e < a.first ? a.y : a.rest;
    if (to) to[e < a.first ? e : e - a.first] = (float)sum;
}
