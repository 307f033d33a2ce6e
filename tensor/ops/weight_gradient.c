/* tensor/ops/weight_gradient.c - the fast version of conv_gradient.c: dweight as a sum over positions of outer products
 * dy (co) x patch (kh kw ci). Neither map is copied or turned: with channels side by side both operands of an outer
 * product lie as the kernel wants them, and a tap is an offset. Taps that fall outside the map shorten the rows.
 *
 * Flops: 2 positions co kh kw ci. Positions are taken some at a time, so that both maps of a chunk lie in L2 while all
 * taps and blocks of co x ci go over them; the sums of a chunk are added to those before it. Bytes: both maps once from
 * DRAM, the sums once a chunk from and to L2 (L3 when kh kw ci co are more than 128 Ki).
 *
 * Positions are cut into parts, and where these are few the rows of the result too, by shape and instruction set alone;
 * each part has sums of its own, which are added in the order of the parts. So no bit depends on the number of threads,
 * and no chain of additions in f32 is longer than a chunk, or the chunks of a part, or the parts. */
#include "tensor/ops/weight_gradient.h"
#include "tensor/ops/conv_task.h"
#ifndef PANUM_F64

#include <stdatomic.h>

typedef WeightGradientJob Job;

enum {
    CHUNK = 160,           /* most positions of a chunk */
    PART_POSITIONS = 1024, /* fewest of a part: below, writing and adding its sums costs more than a tenth */
    PARTS_MAX = 16,
    SUMS_BYTES = 8 << 20, /* most of all parts together, unless there is but one */
};
/* A pool tile is at least about this much work: 50 us at 120 GFLOP/s. */
static const double tile_flops = 6e6;

static _Atomic int forced = -1;
void weight_gradient_force(int kind) {
    atomic_store(&forced, kind);
}

/* Multiply-adds of vectors, and loads that a single vector of columns cannot hide. */
static double cost_of(const OuterKernels *kernels, int64_t rows, int64_t columns) {
    return (double)(divide_up(columns, kernels->vector) * rows +
                    divide_up(columns, 2 * kernels->vector) * divide_up(rows, 4));
}

double weight_section_cost(const OuterKernels *kernels, int64_t co, int64_t ci) {
    const double straight = cost_of(kernels, co, ci), turned = cost_of(kernels, ci, co);
    return turned < straight ? turned : straight;
}

bool weight_section_turned(const OuterKernels *kernels, int64_t co, int64_t ci) {
    return cost_of(kernels, ci, co) < cost_of(kernels, co, ci);
}

/* Winograd where it is expected to take less time: the transforms must be paid by the channels. */
static bool choose_winograd(const WeightGradient *task, const OuterKernels *kernels, WinogradKind *kind) {
    static const struct {
        int64_t kh, kw;
    } taps[WINOGRAD_KINDS] = {
        [WINOGRAD_4X4] = {3, 3}, [WINOGRAD_2X2] = {3, 3}, [WINOGRAD_6X6] = {3, 3}, [WINOGRAD_4X1] = {3, 1},
        [WINOGRAD_6X1] = {3, 1}, [WINOGRAD_1X4] = {1, 3}, [WINOGRAD_1X6] = {1, 3}};
    const int wanted = atomic_load_explicit(&forced, memory_order_relaxed);
    double best = 0;
    for (int s = 0; s < task->segments; s++)
        best += (double)(task->kh * task->kw * task->n * task->out_h * task->out_w) *
                weight_section_cost(kernels, task->co, task->x[s].channels);
    bool found = false;
    for (int k = 0; k < WINOGRAD_KINDS; k++) {
        if (task->stride != 1 || task->kh != taps[k].kh || task->kw != taps[k].kw) continue;
        if (wanted >= 0 && wanted != k) continue;
        const double time = weight_winograd_cost(task, kernels, (WinogradKind)k);
        if (time >= best && wanted != k) continue;
        best = time;
        *kind = (WinogradKind)k;
        found = true;
    }
    return found;
}

/* One row of all positions where nothing stands against it: longer runs. */
static void merge_rows(WeightGradient *task) {
    if (task->kh != 1 || task->kw != 1 || task->stride != 1 || task->pad_h || task->pad_w) return;
    bool rows = true, images = true;
    for (int s = 0; s <= task->segments; s++) {
        const Placed *p = s < task->segments ? &task->x[s] : &task->dy;
        rows = rows && (task->h == 1 || p->row == task->w * p->pixel);
        images = images && (task->n == 1 || p->image == task->h * task->w * p->pixel);
    }
    if (!rows) return;
    task->w *= task->h;
    task->h = 1;
    if (images) {
        task->w *= task->n;
        task->n = 1;
    }
    task->out_h = task->h;
    task->out_w = task->w;
}

static Job make_job(const Node *node, bool exact) {
    Job job = {.node = node, .kernels = outer_kernels(cpu_level())};
    WeightGradient *task = &job.task;
    weight_gradient_describe(node, task);
    merge_rows(task);
    job.taps = task->kh * task->kw;
    job.positions = task->n * task->out_h * task->out_w;
    job.winograd = !exact && choose_winograd(task, job.kernels, &job.kind);
    for (int s = 0; s < task->segments && !job.winograd; s++) {
        WeightSection *section = &job.section[s];
        const int64_t ci = task->x[s].channels;
        section->turned = weight_section_turned(job.kernels, task->co, ci);
        section->rows = section->turned ? ci : task->co;
        section->columns = section->turned ? task->co : ci;
        section->padded = round_up(section->columns, job.kernels->vector);
        section->blocks = divide_up(section->rows, job.kernels->rows);
        section->at = job.part_floats;
        job.part_floats += job.taps * section->rows * section->padded;
        job.blocks += section->blocks;
    }
    job.bias_at = job.part_floats;
    if (node->outputs > 1) job.part_floats += round_up(task->co, 16);
    job.part_floats = round_up(job.part_floats, 16);
    const double flops = 2.0 * (double)job.positions * (double)(task->co * task->ci * job.taps);
    job.parts = larger(1, smaller(PARTS_MAX, job.positions / PART_POSITIONS));
    job.parts = larger(1, smaller(job.parts, SUMS_BYTES / (larger(job.part_floats, 1) * (int64_t)sizeof(float))));
    while (job.parts > 1 && flops / (double)job.parts < tile_flops) job.parts--;
    job.splits = 1;
    while (job.parts * job.splits < PARTS_MAX && job.splits < job.blocks &&
           flops / (double)(job.parts * (job.splits + 1)) > tile_flops)
        job.splits++;
    return job;
}

size_t weight_gradient_shared(const Node *node, bool exact) {
    const Job job = make_job(node, exact);
    return (size_t)(job.parts * job.part_floats) * sizeof(float) + (job.winograd ? weight_winograd_shared(&job) : 0);
}

size_t weight_gradient_worker(const Node *node, bool exact) {
    const Job job = make_job(node, exact);
    if (job.winograd) return weight_winograd_worker(&job);
    return (size_t)(job.taps * round_up(larger(job.task.ci, 16), 16)) * sizeof(float);
}

/* Positions of one output row that follow each other. */
typedef struct {
    int64_t image, row, column, count;
} Stripe;

/* The stripes of positions first..last-1 for which tap (u,v) meets the map; returns how many. */
static int64_t stripes_of(const WeightGradient *task, int64_t first, int64_t last, int64_t u, int64_t v,
                          Stripe *stripe) {
    /* columns j with 0 <= j*stride - pad_w + v < w */
    const int64_t left = larger(0, divide_up(larger(task->pad_w - v, 0), task->stride));
    const int64_t right = smaller(task->out_w, divide_up(larger(task->w + task->pad_w - v, 0), task->stride));
    int64_t count = 0;
    for (int64_t p = first; p < last;) {
        const int64_t line = p / task->out_w, start = p % task->out_w, end = smaller(task->out_w, start + last - p);
        const int64_t row = line % task->out_h, above = row * task->stride - task->pad_h + u;
        const int64_t from = larger(start, left), to = smaller(end, right);
        p += end - start;
        if (above < 0 || above >= task->h || from >= to) continue;
        stripe[count++] = (Stripe){line / task->out_h, row, from, to - from};
    }
    return count;
}

/* Adds the outer products of positions first..last-1 to the sums, for some of the blocks. */
static void add_chunk(const Job *job, int64_t first, int64_t last, int64_t first_block, int64_t last_block, bool add,
                      float *sums) {
    const WeightGradient *task = &job->task;
    const OuterKernels *kernels = job->kernels;
    Stripe stripe[CHUNK];
    Meeting meeting[CHUNK];
    for (int64_t tap = 0; tap < job->taps; tap++) {
        const int64_t u = tap / task->kw, v = tap % task->kw;
        const int64_t stripes = stripes_of(task, first, last, u, v, stripe);
        int64_t block = 0; /* of the section's first */
        for (int s = 0; s < task->segments; block += job->section[s].blocks, s++) {
            const WeightSection *section = &job->section[s];
            const Placed *x = &task->x[s], *dy = &task->dy;
            const int64_t begin = larger(first_block - block, 0), end = smaller(last_block - block, section->blocks);
            if (begin >= end) continue;
            for (int64_t k = 0; k < stripes; k++) {
                const Stripe *at = &stripe[k];
                const float *of_x = job->x[s] + at->image * x->image +
                                    (at->row * task->stride - task->pad_h + u) * x->row +
                                    (at->column * task->stride - task->pad_w + v) * x->pixel;
                const float *of_dy = job->dy + at->image * dy->image + at->row * dy->row + at->column * dy->pixel;
                meeting[k] = section->turned ? (Meeting){of_x, of_dy, at->count} : (Meeting){of_dy, of_x, at->count};
            }
            const int64_t x_step = task->stride * x->pixel;
            const int64_t a_step = section->turned ? x_step : dy->pixel, b_step = section->turned ? dy->pixel : x_step;
            float *c = sums + section->at + tap * section->rows * section->padded;
            const int64_t unit = 2 * kernels->vector;
            for (int64_t b = begin; b < end; b++) {
                const int64_t top = b * section->rows / section->blocks;
                const int64_t rows = (b + 1) * section->rows / section->blocks - top;
                for (int64_t j = 0; j < section->columns; j += unit)
                    kernels->outer(rows, smaller(unit, section->columns - j), meeting, stripes, top, a_step, j, b_step,
                                   add, c + top * section->padded + j, section->padded);
            }
        }
    }
}

static void add_bias(const Job *job, int64_t first, int64_t last, bool add, float *sums) {
    const WeightGradient *task = &job->task;
    Meeting meeting[CHUNK];
    int64_t count = 0;
    for (int64_t p = first; p < last; count++) {
        const int64_t line = p / task->out_w, start = p % task->out_w, end = smaller(task->out_w, start + last - p);
        meeting[count] = (Meeting){.a = job->dy + line / task->out_h * task->dy.image +
                                        line % task->out_h * task->dy.row + start * task->dy.pixel,
                                   .positions = end - start};
        p += end - start;
    }
    job->kernels->total(task->co, meeting, count, task->dy.pixel, add, sums + job->bias_at);
}

static void sum_tile(void *context, int64_t index, int worker) {
    (void)worker;
    const Job *job = context;
    const int64_t part = index / job->splits, split = index % job->splits;
    const int64_t first = part * job->positions / job->parts, last = (part + 1) * job->positions / job->parts;
    const int64_t chunks = divide_up(last - first, CHUNK);
    float *sums = job->sums + part * job->part_floats;
    for (int64_t k = 0; k < chunks; k++) {
        const int64_t start = first + k * (last - first) / chunks, end = first + (k + 1) * (last - first) / chunks;
        if (!job->winograd) /* then these parts are for the bias only */
            add_chunk(job, start, end, split * job->blocks / job->splits, (split + 1) * job->blocks / job->splits,
                      k > 0, sums);
        if (split == 0 && job->d_bias) add_bias(job, start, end, k > 0, sums);
    }
}

/* One row of the weight: the sums of all parts, and from [tap][channel] to [channel][tap]. */
static void join_row(const Job *job, int64_t o, float *row) {
    const WeightGradient *task = &job->task;
    float *to = job->d_weight + o * task->ci * job->taps;
    for (int s = 0; s < task->segments; s++) {
        const WeightSection *section = &job->section[s];
        const int64_t channels = task->x[s].channels, by_tap = section->rows * section->padded;
        const int64_t by_channel = section->turned ? section->padded : 1;
        const float *from = job->sums + section->at + (section->turned ? o : o * section->padded);
        for (int64_t part = 0; part < job->parts; part++, from += job->part_floats)
            for (int64_t tap = 0; tap < job->taps; tap++)
                for (int64_t c = 0; c < channels; c++) {
                    const float value = from[tap * by_tap + c * by_channel];
                    row[tap * channels + c] = part ? row[tap * channels + c] + value : value;
                }
        for (int64_t c = 0; c < channels; c++)
            for (int64_t tap = 0; tap < job->taps; tap++) to[c * job->taps + tap] = row[tap * channels + c];
        to += channels * job->taps;
    }
}

static void join_bias(const Job *job) {
    for (int64_t o = 0; o < job->task.co; o++) {
        float sum = 0;
        for (int64_t part = 0; part < job->parts; part++) sum += job->sums[part * job->part_floats + job->bias_at + o];
        job->d_bias[o] = sum;
    }
}

enum { JOIN_ROWS = 16 };

static void join_tile(void *context, int64_t index, int worker) {
    const Job *job = context;
    for (int64_t o = index * JOIN_ROWS; o < smaller((index + 1) * JOIN_ROWS, job->task.co); o++)
        join_row(job, o, run_worker(job->run, worker));
}

void weight_gradient_run(const Node *node, const Run *run) {
    Job job = make_job(node, run->exact);
    job.run = run;
    for (int s = 0; s < node->segments; s++) job.x[s] = run_real(run, node->input[s]);
    job.dy = run_real(run, node->input[node->segments]);
    job.d_weight = run_real(run, node->output[0]);
    job.d_bias = node->outputs > 1 ? run_real(run, node->output[1]) : NULL;
    job.sums = (float *)run_shared(run) + (job.winograd ? weight_winograd_shared(&job) / sizeof(float) : 0);
    if (!job.winograd || job.d_bias) pool_run(run->pool, job.parts * job.splits, sum_tile, &job);
    if (job.winograd)
        weight_winograd_run(&job);
    else
        pool_run(run->pool, divide_up(job.task.co, JOIN_ROWS), join_tile, &job);
    if (job.d_bias) join_bias(&job);
}
#endif
