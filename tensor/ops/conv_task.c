#include "tensor/ops/conv_task.h"
#include "base/half.h"
#ifndef PANUM_F64

#include <stdatomic.h>
#include <string.h>

const char *const conv_algorithm_name[CONV_ALGORITHMS] = {
    [CONV_DIRECT] = "implicit",           [CONV_FEW] = "few outputs",           [CONV_WINOGRAD_4X4] = "winograd 4x4",
    [CONV_WINOGRAD_2X2] = "winograd 2x2", [CONV_WINOGRAD_4X1] = "winograd 4x1", [CONV_WINOGRAD_1X4] = "winograd 1x4",
    [CONV_WINOGRAD_6X6] = "winograd 6x6", [CONV_WINOGRAD_6X1] = "winograd 6x1", [CONV_WINOGRAD_1X6] = "winograd 1x6",
};

/* F(6x6) is four times as inexact as F(4x4), and errors grow with the root of the channels that are summed at once.
 * Disparities of the networks of 128 and 192 channels do not show it, nor do those of 256 when they are summed in
 * parts; forced upon S2M2-XL without that, half the pixels were off by more than 1e-4. */
enum { WIDEST_6X6 = 192, WIDEST_6X6_IN_PARTS = 256 };

static _Atomic int forced = CONV_ALGORITHMS;
void conv_force(ConvAlgorithm algorithm) {
    atomic_store(&forced, (int)algorithm);
}

WinogradKind conv_winograd_kind(ConvAlgorithm algorithm) {
    return (WinogradKind)(algorithm - CONV_WINOGRAD_4X4);
}

static bool possible(const ConvTask *task, ConvAlgorithm algorithm) {
    switch (algorithm) {
    case CONV_DIRECT:
        return true;
    case CONV_FEW:
        return task->co <= FEW_OUTPUTS && task->sets == 1 && task->kh * task->kw * task->segments <= 32;
    case CONV_WINOGRAD_4X4:
    case CONV_WINOGRAD_2X2:
    case CONV_WINOGRAD_6X6:
        return task->kh == 3 && task->kw == 3 && task->stride == 1;
    case CONV_WINOGRAD_4X1:
    case CONV_WINOGRAD_6X1:
        return task->kh == 3 && task->kw == 1 && task->stride == 1;
    case CONV_WINOGRAD_1X4:
    case CONV_WINOGRAD_1X6:
        return task->kh == 1 && task->kw == 3 && task->stride == 1;
    case CONV_ALGORITHMS:
        break;
    }
    return false;
}

/* Expected time in vector multiply-adds, the unit that fills both widths of machine alike. The transforms' costs per
 * patch and vector of channels are measured (bench_conv), all else is counted. */
static double expected(const ConvTask *task, ConvAlgorithm algorithm) {
    double vectors = (double)(conv_columns(task) / task->kernels->vector);
    double positions = (double)(task->n * task->out_h * task->out_w);
    double k = (double)conv_k(task);
    if (algorithm == CONV_DIRECT) {
        double copy = task->bf16 ? 0.4 * k : 0; /* conversion; 3x3 blocks convert each value about three times */
        return positions * (vectors * ((double)conv_depth(task) + 4) + copy + (double)(task->kh * task->segments));
    }
    if (algorithm == CONV_FEW) {
        double run = 0;
        bool merged = task->segments == 1 && task->segment[0].pixel == task->ci;
        for (int s = 0; s < task->segments; s++)
            run += merged ? (double)divide_up(task->kw * task->ci, task->kernels->vector)
                          : (double)(task->kw * divide_up(task->segment[s].channels, task->kernels->vector));
        return positions * ((double)task->co * 10 + (double)task->kh * run * (double)(task->co + 1));
    }
    static const double input[] = {300, 120, 40, 40, 480, 50, 50}, output[] = {210, 70, 40, 40, 390, 50, 50};
    WinogradKind kind = conv_winograd_kind(algorithm);
    WinogradSize size = winograd_size[kind];
    double products = size.patch_h * size.patch_w;
    double tiles = (double)(task->n * divide_up(task->out_h, size.tile_h) * divide_up(task->out_w, size.tile_w));
    double channels = 0;
    for (int s = 0; s < task->segments; s++)
        channels += (double)divide_up(task->segment[s].channels, task->kernels->vector);
    return tiles * (products * (double)(task->ci + 12) * vectors + input[kind] * channels + output[kind] * vectors) +
           5 * products * (double)task->ci * vectors;
}

void conv_choose(ConvTask *task, bool exact, bool bf16) {
    /* Thin layers spend more on conversion than they save (1x1 16->16: 5.6 ms against 4.1). */
    task->bf16 = bf16 && task->ci >= 16 && task->co >= 32 ? bf16_kernels() : NULL;
    task->algorithm = CONV_DIRECT;
    if (task->turn == CONV_SPREAD || task->doubled || task->joined) {
        task->bf16 = NULL;
        return;
    }
    double best = expected(task, CONV_DIRECT);
    for (int a = CONV_FEW; a < CONV_ALGORITHMS; a++) {
        if (!possible(task, (ConvAlgorithm)a) || (exact && a > CONV_FEW)) continue;
        if (a == CONV_WINOGRAD_6X6 && task->ci > (task->in_parts ? WIDEST_6X6_IN_PARTS : WIDEST_6X6)) continue;
        double time = expected(task, (ConvAlgorithm)a);
        if (time < best) {
            best = time;
            task->algorithm = (ConvAlgorithm)a;
        }
    }
    ConvAlgorithm wanted = (ConvAlgorithm)atomic_load_explicit(&forced, memory_order_relaxed);
    if (possible(task, wanted)) task->algorithm = wanted;
    if (task->algorithm != CONV_DIRECT) task->bf16 = NULL; /* the others are f32 always */
}

void conv_merge_rows(ConvTask *task) {
    if (task->doubled) return; /* each part by itself: conv_split */
    if (task->kh != 1 || task->kw != 1 || task->stride != 1 || task->pad_h || task->pad_w || task->sets != 1) return;
    bool rows = true, images = true;
    for (int s = 0; s < task->segments; s++) {
        const ConvSegment *segment = &task->segment[s];
        rows = rows && (task->h == 1 || segment->row == task->w * segment->pixel);
        images = images && (task->n == 1 || segment->image == task->h * task->w * segment->pixel);
    }
    if (!rows) return;
    task->w *= task->h;
    task->h = 1;
    if (images) {
        task->w *= task->n;
        task->n = 1;
    }
    task->out_w = task->w;
    task->out_h = 1;
}

static int64_t packed_floats(const ConvTask *task) {
    int64_t columns = task->algorithm == CONV_FEW ? task->co : conv_columns(task);
    return task->sets * conv_depth(task) * columns;
}

static size_t packed_bytes(const ConvTask *task) {
    return (size_t)packed_floats(task) * sizeof(float);
}

/* Of column o and channel c: its first tap. */
static const float *weight_at(const ConvTask *task, const float *weight, int set, int64_t o, int64_t c) {
    int64_t outer = task->inner ? o / task->inner : 0;
    o -= outer * task->inner;
    return weight + task->at + o * task->by_o + c * task->by_c + set * task->by_set + outer * task->by_outer;
}

/* Panels of pairs: element (pair, column) is two bf16, channels 2*pair and 2*pair+1. */
static void pack_pairs(const ConvTask *task, const float *weight, uint16_t *to) {
    for (int set = 0; set < task->sets; set++)
        for (int64_t panel = 0; panel < conv_panels(task); panel++) {
            int64_t first = panel * 2 * task->kernels->vector,
                    width = conv_panel_vectors(task, panel) * task->kernels->vector;
            for (int64_t t = 0; t < task->kh * task->kw; t++)
                for (int64_t c = 0; c < 2 * conv_pairs(task); c += 2)
                    for (int64_t j = 0; j < width; j++, to += 2) {
                        bool inside = first + j < task->co;
                        const float *w = weight_at(task, weight, set, inside ? first + j : 0, c) + t * task->by_v;
                        to[0] = inside ? f32_to_bf16(w[0]) : 0;
                        to[1] = inside && c + 1 < task->ci ? f32_to_bf16(w[task->by_c]) : 0;
                    }
        }
}

/* Channels go in blocks of 8, so that the part of a panel being written stays in L1 while the weights are read along.
 */
static void pack(const ConvTask *task, const float *weight, void *packed) {
    float *to = packed;
    if (task->bf16) {
        pack_pairs(task, weight, packed);
        return;
    }
    int64_t taps = task->kh * task->kw;
    if (task->algorithm == CONV_FEW) {
        for (int64_t o = 0; o < task->co; o++)
            for (int64_t t = 0; t < taps; t++)
                for (int64_t c = 0; c < task->ci; c++) *to++ = weight_at(task, weight, 0, o, c)[t * task->by_v];
        return;
    }
    for (int set = 0; set < task->sets; set++)
        for (int64_t panel = 0; panel < conv_panels(task); panel++) {
            int64_t first = panel * 2 * task->kernels->vector,
                    width = conv_panel_vectors(task, panel) * task->kernels->vector;
            int64_t columns = smaller(width, task->co - first);
            if (taps == 1 && !task->inner) {
                task->kernels->panel(weight_at(task, weight, set, first, 0), task->by_c, task->by_o, task->ci, columns,
                                     width, to);
                to += task->ci * width;
                continue;
            }
            if (columns < width) memset(to, 0, (size_t)(conv_k(task) * width) * sizeof(float));
            /* Tap by tap, since the places of taps may lie a multiple of 4 KiB apart, in one set of L1. */
            for (int64_t block = 0; block < task->ci; block += 8)
                for (int64_t t = 0; t < taps; t++)
                    for (int64_t j = 0; j < columns; j++) {
                        const float *w = weight_at(task, weight, set, first + j, block) + t * task->by_v;
                        float *at = to + (t * task->ci + block) * width + j;
                        for (int64_t c = 0; c < smaller(8, task->ci - block); c++) at[c * width] = w[c * task->by_c];
                    }
            to += conv_k(task) * width;
        }
}

/* Shared scratch: bias in whole vectors, weights when the store did not pack them, then the algorithm's own. */
static size_t bias_bytes(const ConvTask *task) {
    return (size_t)round_up(conv_columns(task) * (int64_t)sizeof(float), 64);
}

static size_t unpacked_bytes(const ConvTask *task) {
    return task->weight->kind == TENSOR_WEIGHT ? 0 : (size_t)round_up((int64_t)packed_bytes(task), 64);
}

/* The node as a task with its algorithm. */
static ConvTask task_of(const Node *node, bool exact, bool bf16) {
    ConvTask task;
    const ConvAttributes *attributes = node->attributes;
    attributes->describe(node, &task);
    task.joined = attributes->joined != CONV_ALONE;
    task.in_parts = attributes->in_parts;
    conv_choose(&task, exact, bf16);
    return task;
}

const char *conv_algorithm(const Node *node, bool exact, bool bf16) {
    const ConvTask task = task_of(node, exact, bf16);
    return task.bf16 ? "implicit bf16" : conv_algorithm_name[task.algorithm];
}

/* A 1x1 convolution acts on channels and enlarging on positions with weights that sum to 1, so they commute: the
 * product of the last segments is taken at half the size, a quarter of the work, and enlarged where it is added to that
 * of the others. Should move, for each column of the product, 4 floats from L2 more and compute 4 multiply-adds more,
 * in place of 3/4 of those segments' channels of them. */
typedef struct {
    ConvTask main, half;
} Parts;

static size_t most_of(size_t a, size_t b) {
    return a > b ? a : b;
}

static Parts split(const ConvTask *task) {
    Parts parts = {*task, *task};
    ConvTask *main = &parts.main, *half = &parts.half;
    main->doubled = half->doubled = 0;
    main->k_whole = half->k_whole = task->ci;
    main->segments = task->segments - task->doubled;
    half->segments = task->doubled;
    main->ci = 0;
    for (int s = 0; s < main->segments; s++) main->ci += task->segment[s].channels;
    for (int s = 0; s < half->segments; s++) half->segment[s] = task->segment[main->segments + s];
    half->k_first = main->ci;
    half->ci = task->ci - main->ci;
    half->h = half->out_h = task->h / 2;
    half->w = half->out_w = task->w / 2;
    conv_merge_rows(main);
    conv_merge_rows(half);
    return parts;
}

/* Its product at half the size. */
static size_t half_bytes(const ConvTask *task) {
    return task->doubled ? (size_t)(task->n * task->h * task->w / 4 * task->co) * sizeof(float) : 0;
}

/* Scratch is asked for without saying whether bf16 is wanted: the larger of both. */
size_t conv_scratch_shared(const Node *node, bool exact) {
    size_t most = 0;
    for (int bf16 = 0; bf16 <= (bf16_kernels() != NULL); bf16++) {
        const ConvTask task = task_of(node, exact, bf16);
        size_t size = bias_bytes(&task) + unpacked_bytes(&task) + half_bytes(&task) +
                      (task.algorithm >= CONV_WINOGRAD_4X4 ? conv_winograd_shared(&task) : 0);
        if (size > most) most = size;
    }
    return most;
}

size_t conv_scratch_worker(const Node *node, bool exact) {
    size_t most = 0;
    for (int bf16 = 0; bf16 <= (bf16_kernels() != NULL); bf16++) {
        const ConvTask task = task_of(node, exact, bf16);
        const Parts parts = split(&task);
        size_t size = task.turn == CONV_SPREAD ? conv_spread_worker(&task)
                      : task.doubled ? most_of(conv_direct_worker(&parts.main), conv_direct_worker(&parts.half))
                      : task.algorithm >= CONV_WINOGRAD_4X4 ? conv_winograd_worker(&task)
                                                            : conv_direct_worker(&task);
        if (size > most) most = size;
    }
    return most;
}

static bool is_joined(const Node *node) {
    return ((const ConvAttributes *)node->attributes)->joined != CONV_ALONE;
}

/* Joined matrices have their bias behind them. */
size_t conv_pack_size(const Node *node, bool exact, bool bf16) {
    const ConvTask task = task_of(node, exact, bf16);
    if (is_joined(node)) return packed_bytes(&task) + (size_t)task.co * sizeof(float);
    return task.weight->kind == TENSOR_WEIGHT ? packed_bytes(&task) : 0;
}

/* Panels of the product of two matrices, summed in double: element (o,c) is sum over e of V(o,e) W[e,c], V as it lies
 * or, for keys, transposed. */
static void pack_joined(const ConvTask *task, const Node *node, const float *const *weights, float *to) {
    enum { CHANNELS = 32 }; /* summed at a time */
    const float *w = weights[1], *b = weights[2], *v = weights[3], *a = weights[4];
    const bool keys = ((const ConvAttributes *)node->attributes)->joined == CONV_KEYS;
    const int64_t d = task->ci, by_o = keys ? 1 : d, by_e = keys ? d : 1;
    for (int64_t panel = 0; panel < conv_panels(task); panel++) {
        const int64_t first = panel * 2 * task->kernels->vector;
        const int64_t width = conv_panel_vectors(task, panel) * task->kernels->vector;
        for (int64_t j = 0; j < width; j++)
            for (int64_t block = 0; block < d; block += CHANNELS) {
                double sum[CHANNELS] = {0};
                const int64_t n = smaller(CHANNELS, d - block);
                for (int64_t e = 0; first + j < d && e < d; e++)
                    for (int64_t c = 0; c < n; c++)
                        sum[c] += (double)v[(first + j) * by_o + e * by_e] * (double)w[e * d + block + c];
                for (int64_t c = 0; c < n; c++) to[(block + c) * width + j] = (float)sum[c];
            }
        to += d * width;
    }
    for (int64_t o = 0; o < d; o++) {
        double sum = !keys && a ? (double)a[o] : 0;
        for (int64_t e = 0; !keys && b && e < d; e++) sum += (double)v[o * d + e] * (double)b[e];
        to[o] = (float)sum;
    }
}

void conv_pack(const Node *node, bool exact, bool bf16, const float *const *weights, void *packed) {
    const ConvTask task = task_of(node, exact, bf16);
    if (is_joined(node))
        pack_joined(&task, node, weights, packed);
    else
        pack(&task, weights[node->segments], packed);
}

/* Winograd starts from the same panels as the implicit product. In training a weight has two packed copies: one for the
 * way forward, one with the axes in exchange for the way back. */
const char *conv_pack_kind(const Node *node, bool exact, bool bf16) {
    static const char *const joined[2][3] = {
        {"joined panels of 4", "joined panels of 8", "joined panels of 16"},
        {"joined keys' panels of 4", "joined keys' panels of 8", "joined keys' panels of 16"},
    };
    static const char *const kinds[CONV_TURNS][5] = {
        {"rows", "bf16 pairs", "panels of 4", "panels of 8", "panels of 16"},
        {"turned rows", "turned bf16 pairs", "turned panels of 4", "turned panels of 8", "turned panels of 16"},
        {"twofold rows", "twofold bf16 pairs", "twofold panels of 4", "twofold panels of 8", "twofold panels of 16"},
        {"spread rows", "spread bf16 pairs", "spread panels of 4", "spread panels of 8", "spread panels of 16"},
    };
    const ConvTask task = task_of(node, exact, bf16);
    if (is_joined(node)) {
        const bool keys = ((const ConvAttributes *)node->attributes)->joined == CONV_KEYS;
        return joined[keys][task.kernels->level];
    }
    return kinds[task.turn][task.algorithm == CONV_FEW ? 0 : task.bf16 ? 1 : 2 + (int)task.kernels->level];
}

void conv_run(const Node *node, const Run *run) {
    ConvTask task = task_of(node, run->exact, run->bf16);
    for (int s = 0; s < task.segments; s++) task.segment[s].data = run_real(run, node->input[s]);
    char *shared = run_shared(run);
    float *bias = NULL;
    if (task.bias || is_joined(node)) {
        const float *given =
            is_joined(node) ? (const float *)run->packed + packed_floats(&task) : run_real(run, task.bias);
        bias = (float *)(void *)shared;
        memset(bias, 0, bias_bytes(&task));
        for (int64_t o = 0; o < task.co; o++) bias[o] = given[task.inner ? o % task.inner : o];
    }
    shared += bias_bytes(&task);
    const void *packed = run->packed;
    if (unpacked_bytes(&task)) {
        pack(&task, run_real(run, task.weight), shared);
        packed = shared;
        shared += unpacked_bytes(&task);
    }
    ConvTarget to = {
        .hole = run->hole, .out = run->hole ? NULL : run_real(run, node->output[0]), .out_stride = task.co};
    if (run->hole && run->hole->direct) {
        /* Rows of a two-pixel product lie in `direct` as they should only when pixels follow each other there. */
        if (task.sets == 1 || 2 * run->hole->direct_stride == task.co) {
            to.out = run->hole->direct;
            to.out_stride = run->hole->direct_stride * task.sets;
        }
    }
    if (task.doubled) {
        const Parts parts = split(&task);
        float *half = (float *)(void *)shared;
        conv_direct_run(&parts.half, run, packed, NULL, &(ConvTarget){.out = half, .out_stride = task.co});
        to.half = (ConvHalf){half, task.h / 2, task.w / 2, task.co};
        conv_direct_run(&parts.main, run, packed, bias, &to);
    } else if (task.turn == CONV_SPREAD)
        conv_spread_run(&task, run, packed, bias, &to);
    else if (task.algorithm >= CONV_WINOGRAD_4X4)
        conv_winograd_run(&task, run, packed, bias, &to, shared);
    else
        conv_direct_run(&task, run, packed, bias, &to);
}
#endif
