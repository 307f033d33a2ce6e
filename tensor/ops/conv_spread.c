/* tensor/ops/conv_spread.c - the transposed convolution of any stride: what the gradient of a strided convolution
 * needs.
 *
 * Of the kernel's taps an output pixel meets those whose row is y + pad_h modulo the stride and whose column is x +
 * pad_w modulo the stride; the pixels of a row that agree in the latter, `stride` apart, see the same taps at
 * neighbouring input pixels. So each output row is `stride` implicit matrix products, with a stretch (conv_kernels.h)
 * for each tap, of which none is spent on zeros between pixels: flops are those of the convolution itself. Results lie
 * `stride` pixels apart, which the block kernel does not mind.
 *
 * The input rows that a tile of output rows sees are first copied into a strip with a margin of zeros: one copy of each
 * value for co kh kw / stride^2 uses of it. */
#include "tensor/ops/conv_task.h"
#ifndef PANUM_F64

#include <string.h>

/* A pool tile is about this much work: 50 us at 120 GFLOP/s. */
static const double tile_flops = 6e6;

typedef struct {
    const ConvTask *task;
    const Run *run;
    const float *packed, *bias;
    const ConvTarget *to;
    int64_t rows, tiles;                  /* output rows of a tile, tiles of a picture */
    int64_t first_column, columns, pixel; /* of a strip: the input column it begins with; floats between columns */
    int64_t strip_rows;                   /* most input rows of a tile */
    int64_t stretches;                    /* most of a block */
} Job;

static int64_t floor_divide(int64_t a, int64_t b) {
    return a >= 0 ? a / b : -((-a + b - 1) / b);
}

static Job make_job(const ConvTask *task) {
    Job job = {.task = task};
    const int64_t stride = task->stride;
    const double row_flops = 2.0 * (double)(task->out_w * task->co) * (double)conv_k(task) / (double)(stride * stride);
    /* Whole strides; at least 16 tiles as long as each is some microseconds. */
    int64_t steps = larger(1, (int64_t)(tile_flops / (row_flops * (double)stride)));
    while (steps > 1 && task->n * divide_up(task->out_h, steps * stride) < 16 &&
           row_flops * (double)(steps * stride) > tile_flops / 8)
        steps = divide_up(steps, 2);
    job.rows = smaller(steps * stride, task->out_h);
    job.tiles = divide_up(task->out_h, job.rows);
    job.first_column = floor_divide(task->pad_w - task->kw + 1, stride);
    job.columns = floor_divide(task->out_w - 1 + task->pad_w, stride) - job.first_column + 1;
    job.pixel = task->ci + (task->ci % 1024 == 0 ? 16 : 0); /* not all in one set of L1 */
    job.strip_rows = divide_up(job.rows + task->kh, stride) + 1;
    job.stretches = divide_up(task->kh, stride) * divide_up(task->kw, stride);
    return job;
}

/* Worker scratch: stretches of the blocks of a row, the strip, one output row for a hole. */
static int64_t stretch_bytes(const Job *job) {
    const int64_t blocks = divide_up(divide_up(job->task->out_w, job->task->stride), job->task->kernels->rows);
    return round_up(blocks * job->stretches * (int64_t)sizeof(Stretch), 64);
}
static int64_t strip_bytes(const Job *job) {
    return round_up(job->strip_rows * job->columns * job->pixel * (int64_t)sizeof(float), 64);
}

size_t conv_spread_worker(const ConvTask *task) {
    const Job job = make_job(task);
    return (size_t)(stretch_bytes(&job) + strip_bytes(&job) + task->out_w * task->co * (int64_t)sizeof(float));
}

static void copy_strip(const Job *job, int64_t image, int64_t first, int64_t last, float *strip) {
    const ConvTask *task = job->task;
    const ConvSegment *from = &task->segment[0];
    for (int64_t row = first; row < last; row++)
        for (int64_t column = 0; column < job->columns; column++, strip += job->pixel) {
            const int64_t at = job->first_column + column;
            if (row < 0 || row >= task->h || at < 0 || at >= task->w)
                memset(strip, 0, (size_t)task->ci * sizeof(float));
            else
                memcpy(strip, from->data + image * from->image + row * from->row + at * from->pixel,
                       (size_t)task->ci * sizeof(float));
        }
}

/* Output row y, pixels x, x + stride, ...; `strip` begins with input row `first`. */
static void run_pixels(const Job *job, int64_t y, int64_t x, const float *strip, int64_t first, Stretch *stretch,
                       float *out, int64_t out_stride) {
    const ConvTask *task = job->task;
    const ConvKernels *kernels = task->kernels;
    const int64_t stride = task->stride, pixels = divide_up(task->out_w - x, stride);
    const int64_t blocks = divide_up(pixels, kernels->rows), unit = 2 * kernels->vector;
    int64_t stretches = 0;
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t start = b * pixels / blocks;
        Stretch *at = stretch + b * job->stretches;
        stretches = 0;
        for (int64_t u = (y + task->pad_h) % stride; u < task->kh; u += stride) {
            const int64_t row = floor_divide(y + task->pad_h - u, stride);
            if (row < 0 || row >= task->h) continue;
            for (int64_t v = (x + task->pad_w) % stride; v < task->kw; v += stride) {
                const int64_t column = floor_divide(x + task->pad_w - v, stride) + start - job->first_column;
                at[stretches++] = (Stretch){strip + ((row - first) * job->columns + column) * job->pixel, job->pixel,
                                            (u * task->kw + v) * task->ci, task->ci};
            }
        }
    }
    for (int64_t j = 0; j < task->co; j += unit)
        for (int64_t b = 0; b < blocks; b++) {
            const int64_t start = b * pixels / blocks, end = (b + 1) * pixels / blocks;
            kernels->block(end - start, conv_panel_vectors(task, j / unit), stretch + b * job->stretches, stretches,
                           job->packed + j * conv_k(task), job->bias ? job->bias + j : NULL,
                           out + (x + start * stride) * out_stride + j, stride * out_stride,
                           smaller(unit, task->co - j), BLOCK_SET);
        }
}

static void run_tile(void *context, int64_t index, int worker) {
    const Job *job = context;
    const ConvTask *task = job->task;
    const ConvTarget *to = job->to;
    const int64_t image = index / job->tiles, top = index % job->tiles * job->rows;
    const int64_t bottom = smaller(top + job->rows, task->out_h);
    char *scratch = run_worker(job->run, worker);
    Stretch *stretch = (Stretch *)(void *)scratch;
    float *strip = (float *)(void *)(scratch + stretch_bytes(job));
    float *row = (float *)(void *)(scratch + stretch_bytes(job) + strip_bytes(job));
    const int64_t first = floor_divide(top + task->pad_h - task->kh + 1, task->stride);
    const int64_t last = floor_divide(bottom - 1 + task->pad_h, task->stride) + 1;
    copy_strip(job, image, first, last, strip);
    for (int64_t y = top; y < bottom; y++) {
        const int64_t position = (image * task->out_h + y) * task->out_w;
        float *out = to->out ? to->out + position * to->out_stride : row;
        for (int64_t x = 0; x < smaller(task->stride, task->out_w); x++)
            run_pixels(job, y, x, strip, first, stretch, out, to->out ? to->out_stride : task->co);
        if (!to->out) to->hole->store(to->hole, position, task->out_w, 0, task->co, row, task->co, worker);
    }
}

void conv_spread_run(const ConvTask *task, const Run *run, const float *packed, const float *bias,
                     const ConvTarget *to) {
    Job job = make_job(task);
    job.run = run;
    job.packed = packed;
    job.bias = bias;
    job.to = to;
    pool_run(run->pool, task->n * job.tiles, run_tile, &job);
}
#endif
