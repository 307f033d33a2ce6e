/* exec/gpu_reduce.c - sums on a GPU. */
#include "exec/gpu_steps.h"

#ifndef PANUM_F64
#include "cuda/kernels/reduce.h"
#include "tensor/ops/rows.h"

/* A tile is this many values at least, and there are this many tiles at most. By the shape alone. */
enum { TILE_VALUES = 4096, TILES_MOST = 1024 };

RowPlaces gpu_row_places(const Tensor *t) {
    const Rows rows = rows_of(t);
    RowPlaces places = {.step = rows.step, .channel_stride = rows.channel_stride};
    for (int k = 0; k < PLACES_AXES; k++) places.size[k] = 1;
    for (int k = 0; k < rows.axes; k++) {
        places.size[PLACES_AXES - rows.axes + k] = rows.size[k];
        places.stride[PLACES_AXES - rows.axes + k] = rows.stride[k];
    }
    return places;
}

int gpu_sum_tiles(GpuPlan *p, const Step *step, const double *part, int64_t tiles, int width, int first, float *y,
                  float *rest) {
    SumTilesArgs a = {.part = part, .tiles = tiles, .y = y, .rest = rest, .width = width, .first = first};
    return gpu_launch(p, step, (GpuCode){"cuda/kernels/reduce.cu", "sum_tiles", NULL, NULL},
                      (GpuGrid){.x = gpu_blocks(width, 32)}, &a, sizeof a);
}

/* As many threads side by side as there are channels, a power of two, a warp at most. */
static int lanes_for(int64_t channels) {
    int lanes = 1;
    while (lanes < 32 && lanes < channels) lanes *= 2;
    return lanes;
}

static int launch_tiles(GpuPlan *p, const Step *step, ReduceArgs a) {
    int64_t tile = gpu_blocks(TILE_VALUES, a.channels), least = gpu_blocks(a.rows, TILES_MOST);
    a.tile = tile > least ? tile : least;
    a.lanes = lanes_for(a.channels);
    const int64_t tiles = gpu_blocks(a.rows, a.tile);
    a.part = gpu_scratch(p, (size_t)(tiles * a.channels) * sizeof *a.part);
    int code = gpu_launch(p, step,
                          (GpuCode){"cuda/kernels/reduce.cu", "sum_positions", NULL,
                                    gpu_values(p, NULL, gpu_half(p, step->node->input[0]), false)},
                          (GpuGrid){.x = tiles, .y = gpu_blocks(a.channels, a.lanes)}, &a, sizeof a);
    if (code) return code;
    return gpu_sum_tiles(p, step, a.part, tiles, a.channels, a.channels, gpu_address(p, step->node->output[0]), NULL);
}

static int launch_sum_positions(GpuPlan *p, const Step *step) {
    const Tensor *x = step->node->input[0];
    const Rows rows = rows_of(x);
    if (rows.channels > INT32_MAX / 64) return gpu_too_large(step);
    return launch_tiles(
        p, step,
        (ReduceArgs){
            .x = gpu_address(p, x), .places = gpu_row_places(x), .rows = rows.count, .channels = (int)rows.channels});
}

/* Everything: one channel. Without gaps it is one run of numbers, in whatever order; else the channels are one more
 * axis of positions. */
static int launch_sum(GpuPlan *p, const Step *step) {
    const Tensor *x = step->node->input[0];
    int64_t reach = 1;
    for (int k = 0; k < x->rank; k++) reach += (x->size[k] - 1) * x->stride[k];
    ReduceArgs a = {.x = gpu_address(p, x), .rows = tensor_count(x), .channels = 1};
    if (reach == a.rows) {
        a.places.step = 1;
    } else if (x->rank > PLACES_AXES) {
        return gpu_no_kernel(step->node, " of so many axes");
    } else {
        for (int k = 0; k < PLACES_AXES; k++) {
            const int axis = k - (PLACES_AXES - x->rank);
            a.places.size[k] = axis < 0 ? 1 : x->size[axis];
            a.places.stride[k] = axis < 0 ? 0 : x->stride[axis];
        }
    }
    for (int k = 0; k < PLACES_AXES; k++)
        if (!a.places.size[k]) a.places.size[k] = 1;
    return launch_tiles(p, step, a);
}

static int launch_sum_channels(GpuPlan *p, const Step *step) {
    const Tensor *x = step->node->input[0];
    const Rows rows = rows_of(x);
    if (rows.channels > INT32_MAX / 64) return gpu_too_large(step);
    ReduceArgs a = {.x = gpu_address(p, x),
                    .places = gpu_row_places(x),
                    .rows = rows.count,
                    .y = gpu_address(p, step->node->output[0]),
                    .channels = (int)rows.channels,
                    .lanes = lanes_for(rows.channels)};
    return gpu_launch(
        p, step, (GpuCode){"cuda/kernels/reduce.cu", "sum_channels", NULL, gpu_values(p, NULL, gpu_half(p, x), false)},
        (GpuGrid){.x = gpu_blocks(a.rows * a.lanes, GPU_BLOCK)}, &a, sizeof a);
}

const GpuOperator gpu_reduce_operators[] = {
    {"sum", launch_sum}, {"sum_channels", launch_sum_channels}, {"sum_positions", launch_sum_positions}, {0}};
#endif
