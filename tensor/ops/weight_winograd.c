/* tensor/ops/weight_winograd.c - the gradient of a 3x3, 3x1 or 1x3 weight by the transpose of Winograd's algorithm. As
 * the forward pass is y = A^T ((G g) (B^T d)) on each tile, in g, so by transposition
 *
 *   dg = G^T sum over tiles of (A dy) (B^T d)
 *
 * with the elementwise product summed over tiles and, over the channels of dy and x, an outer product: 36 products of
 * matrices [co x tiles] [tiles x ci] in place of 144 for F(4x4), 64 in place of 324 for F(6x6). G^T is applied once.
 *
 * In two jobs, for some tiles at a time: 1. B^T d and A dy of these tiles into shared scratch. 2. Each product is one
 * pool tile, which alone adds to its own sums: no partial sums, no order to keep. At last G^T for each row of the
 * weight. The sums of a product in f32 are of at most MEETING tiles, then of those. Bytes: both maps once (x 2.25 times
 * from L2, since patches overlap); the transformed ones, 36/16 or 64/36 as large, to L2 or L3 and back once; the sums,
 * 36 or 64 co ci, once a chunk. */
#include "tensor/ops/conv_task.h"
#include "tensor/ops/weight_gradient.h"
#ifndef PANUM_F64

/* All weight gradients of convolutions in a step of S2M2-XS at 256x128, one thread: 68.1 ms with chunks of 6 MiB, 62.9
 * with 2, 62.4 with 1 (of 96 tiles at least), 61.4 with a half (of 64); shorter chunks would have threads wait for each
 * other more often. */
enum {
    CHUNK_BYTES = 1 << 20, /* of transformed maps at once: L2 */
    MEETING = 96,          /* tiles that are summed in registers, and least of a chunk */
    TRANSFORM = 8,         /* tiles of a pool tile of job 1 */
};

typedef struct {
    const WeightGradientJob *job;
    const ConvKernels *kernels;
    WinogradKind kind;
    WinogradSize size;
    int64_t products, tiles_y, tiles_x, tiles, chunk; /* tiles of the batch; most at once */
    int64_t x_product, dy_product, sum_product;       /* floats between products */
    int64_t rows, columns, padded, blocks;            /* of the sums of a product */
    bool turned;                                      /* rows are channels of x */
    int64_t first, last;                              /* tiles of this chunk */
    float *x, *dy, *sums;
} Winograd;

/* An odd number of cache lines, so that the 36 or 64 streams do not all fall into the same sets of L1. */
static int64_t spread(int64_t floats) {
    return (divide_up(floats, 16) | 1) * 16;
}

static Winograd make_winograd(const WeightGradientJob *job) {
    const WeightGradient *task = &job->task;
    Winograd w = {.job = job, .kernels = conv_kernels(), .kind = job->kind, .size = winograd_size[job->kind]};
    w.products = w.size.patch_h * w.size.patch_w;
    w.tiles_y = divide_up(task->out_h, w.size.tile_h);
    w.tiles_x = divide_up(task->out_w, w.size.tile_w);
    w.tiles = task->n * w.tiles_y * w.tiles_x;
    const int64_t most = CHUNK_BYTES / (w.products * (task->ci + task->co) * (int64_t)sizeof(float));
    const int64_t chunks = divide_up(w.tiles, larger(most / MEETING, 1) * MEETING);
    w.chunk = divide_up(w.tiles, chunks);
    w.turned = weight_section_turned(job->kernels, task->co, task->ci);
    w.rows = w.turned ? task->ci : task->co;
    w.columns = w.turned ? task->co : task->ci;
    w.padded = round_up(w.columns, job->kernels->vector);
    w.blocks = divide_up(w.rows, job->kernels->rows);
    w.x_product = spread(w.chunk * task->ci);
    w.dy_product = spread(w.chunk * task->co);
    w.sum_product = spread(w.rows * w.padded);
    return w;
}

size_t weight_winograd_shared(const WeightGradientJob *job) {
    const Winograd w = make_winograd(job);
    return (size_t)(w.products * (w.x_product + w.dy_product + w.sum_product)) * sizeof(float);
}

/* Worker scratch: nine taps of a row of the sums. */
size_t weight_winograd_worker(const WeightGradientJob *job) {
    const Winograd w = make_winograd(job);
    return (size_t)(9 * w.padded) * sizeof(float);
}

double weight_winograd_cost(const WeightGradient *task, const OuterKernels *kernels, WinogradKind kind) {
    /* Vector operations' time of a patch or tile and vector of channels. */
    static const double input[] = {300, 120, 40, 40, 480, 50, 50}, outputs[] = {210, 75, 35, 35, 390, 42, 42};
    const WinogradSize size = winograd_size[kind];
    const double products = size.patch_h * size.patch_w;
    const double tiles = (double)(task->n * divide_up(task->out_h, size.tile_h) * divide_up(task->out_w, size.tile_w));
    double channels = 0;
    for (int s = 0; s < task->segments; s++) channels += (double)divide_up(task->x[s].channels, kernels->vector);
    const double product = weight_section_cost(kernels, task->co, task->ci);
    return tiles * (products * product + input[kind] * channels +
                    outputs[kind] * (double)divide_up(task->co, kernels->vector)) +
           4 * products * product;
}

static void transform_tile(void *context, int64_t index, int worker) {
    const Winograd *w = context;
    const WeightGradient *task = &w->job->task;
    const int64_t from = w->first + index * TRANSFORM;
    (void)worker;
    for (int64_t t = from; t < smaller(from + TRANSFORM, w->last); t++) {
        const int64_t line = t / w->tiles_x, image = line / w->tiles_y;
        const int64_t top = line % w->tiles_y * w->size.tile_h, left = t % w->tiles_x * w->size.tile_w;
        const int64_t above = top - task->pad_h, before = left - task->pad_w;
        float *to = w->x + (t - w->first) * task->ci;
        WinogradPatch patch = {.top = larger(-above, 0), .left = larger(-before, 0)};
        patch.bottom = larger(smaller(w->size.patch_h, task->h - above), patch.top);
        patch.right = larger(smaller(w->size.patch_w, task->w - before), patch.left);
        for (int s = 0; s < task->segments; s++) {
            const Placed *x = &task->x[s];
            patch.row = x->row;
            patch.pixel = x->pixel;
            patch.at = w->job->x[s] + image * x->image + larger(above, 0) * x->row + larger(before, 0) * x->pixel;
            w->kernels->winograd_input(w->kind, &patch, x->channels, to, w->x_product);
            to += x->channels;
        }
        patch = (WinogradPatch){.at = w->job->dy + image * task->dy.image + top * task->dy.row + left * task->dy.pixel,
                                .row = task->dy.row,
                                .pixel = task->dy.pixel,
                                .bottom = smaller(w->size.tile_h, task->out_h - top),
                                .right = smaller(w->size.tile_w, task->out_w - left)};
        w->kernels->winograd_spread(w->kind, &patch, task->co, w->dy + (t - w->first) * task->co, w->dy_product);
    }
}

static void product_tile(void *context, int64_t e, int worker) {
    const Winograd *w = context;
    const WeightGradient *task = &w->job->task;
    const OuterKernels *kernels = w->job->kernels;
    (void)worker;
    const float *x = w->x + e * w->x_product, *dy = w->dy + e * w->dy_product;
    const float *a = w->turned ? x : dy, *b = w->turned ? dy : x;
    const int64_t a_step = w->turned ? task->ci : task->co, b_step = w->turned ? task->co : task->ci;
    const int64_t count = w->last - w->first, parts = divide_up(count, MEETING), unit = 2 * kernels->vector;
    for (int64_t k = 0; k < parts; k++) {
        const int64_t from = k * count / parts, to = (k + 1) * count / parts;
        const Meeting meeting = {a + from * a_step, b + from * b_step, to - from};
        for (int64_t block = 0; block < w->blocks; block++) {
            const int64_t top = block * w->rows / w->blocks, bottom = (block + 1) * w->rows / w->blocks;
            for (int64_t j = 0; j < w->columns; j += unit)
                kernels->outer(bottom - top, smaller(unit, w->columns - j), &meeting, 1, top, a_step, j, b_step,
                               k > 0 || w->first > 0, w->sums + e * w->sum_product + top * w->padded + j, w->padded);
        }
    }
}

static void gather_tile(void *context, int64_t row, int worker) {
    const Winograd *w = context;
    const WeightGradient *task = &w->job->task;
    const int64_t taps = task->kh * task->kw;
    float *tap = run_worker(w->job->run, worker);
    w->kernels->winograd_gather(w->kind, w->sums + row * w->padded, w->sum_product, w->columns, tap, w->padded);
    const int64_t by_column = w->turned ? task->ci * taps : taps;
    float *to = w->job->d_weight + row * (w->turned ? taps : task->ci * taps);
    for (int64_t j = 0; j < w->columns; j++)
        for (int64_t t = 0; t < taps; t++) to[j * by_column + t] = tap[t * w->padded + j];
}

void weight_winograd_run(const WeightGradientJob *job) {
    Winograd w = make_winograd(job);
    Pool *pool = job->run->pool;
    w.x = run_shared(job->run);
    w.dy = w.x + w.products * w.x_product;
    w.sums = w.dy + w.products * w.dy_product;
    for (w.first = 0; w.first < w.tiles; w.first = w.last) {
        w.last = smaller(w.first + w.chunk, w.tiles);
        pool_run(pool, divide_up(w.last - w.first, TRANSFORM), transform_tile, &w);
        pool_run(pool, w.products, product_tile, &w);
    }
    pool_run(pool, w.rows, gather_tile, &w);
}
#endif
