/* tensor/ops/conv_task.h - one description for everything that is a weight matrix slid over a map: conv2d,
 * conv_transpose2d and linear build a ConvTask from their node, conv_task.c chooses how to compute it, packs weights
 * and counts scratch, conv_direct.c and conv_winograd.c compute it. Inside tensor/ops only. */
#ifndef PANUM_TENSOR_OPS_CONV_TASK_H
#define PANUM_TENSOR_OPS_CONV_TASK_H
#include "tensor/op.h"
#include "tensor/ops/conv_kernels.h"
#include "tensor/ops/conv_node.h"

typedef enum {
    CONV_DIRECT, /* implicit matrix product: no copy of the map, every tap read in place */
    CONV_FEW,    /* the same sums for up to four outputs, lanes over channels */
    CONV_WINOGRAD_4X4,
    CONV_WINOGRAD_2X2,
    CONV_WINOGRAD_4X1,
    CONV_WINOGRAD_1X4,
    CONV_WINOGRAD_6X6,
    CONV_WINOGRAD_6X1,
    CONV_WINOGRAD_1X6,
    CONV_ALGORITHMS,
} ConvAlgorithm;
extern const char *const conv_algorithm_name[CONV_ALGORITHMS];

typedef struct {
    const float *data; /* element (0,0,0,0); NULL until conv_bind */
    int64_t channels;
    int64_t image, row, pixel; /* strides in floats */
} ConvSegment;

/* Orders of taps and axes in a packed copy: the parameter store keeps one copy of each that a weight is used in. */
typedef enum {
    CONV_STRAIGHT, /* sums over the weight's second axis: conv2d and linear */
    CONV_TURNED,   /* sums over the first, taps turned by 180 degrees: the transposes of stride 1 */
    CONV_TWOFOLD,  /* sums over the first, two pixels side by side: the transpose of 2x2 stride 2 */
    CONV_SPREAD,   /* sums over the first, taps as they lie: the transposes of other strides */
    CONV_TURNS,
} ConvTurn;

struct ConvTask {
    const ConvKernels *kernels;
    ConvAlgorithm algorithm;
    const Bf16Kernels *bf16; /* NULL: f32 */
    bool joined, in_parts;   /* ConvAttributes */
    int segments;
    int doubled; /* the last segments are maps of half the size, to be enlarged (1x1 only); conv_split takes them out */
    ConvSegment segment[NODE_INPUTS_MAX];
    int64_t n, h, w, ci; /* the data operand */
    int64_t k_first,
        k_whole; /* the panels hold k_whole steps of k, of which this is a part; 0 is conv_k: all of them */
    int64_t out_h, out_w, co; /* the product; co counts the columns of one set */
    int64_t kh, kw, stride, pad_h, pad_w;
    int sets; /* 1; 2 for the transposed 2x2 stride 2: set u makes output row 2y+u, whose two pixels are side by side in
                 co */
    const Tensor *weight, *bias;
    /* Tap t = u*kw + v, input c, column o is weight[at + o*by_o + c*by_c + t*by_v]; of the second set, by_set further.
     * Columns past `inner` (two pixels side by side) are by_outer further. */
    int64_t at, by_o, by_c, by_v, by_set, inner, by_outer;
    ConvTurn turn;
};

/* Chooses the algorithm (task->algorithm) once the shape is filled in. */
void conv_choose(ConvTask *task, bool exact, bool bf16);
/* For tests: where it can compute the shape, this algorithm is chosen from now on; CONV_ALGORITHMS for none. */
void conv_force(ConvAlgorithm algorithm);

/* Merges rows (and images) of a 1x1 stride 1 task where all segments allow it: longer rows make fuller blocks. */
void conv_merge_rows(ConvTask *task);

/* What the operators put into their descriptors: everything goes through ConvAttributes.describe. */
#ifndef PANUM_F64
void conv_run(const Node *node, const Run *run);
size_t conv_scratch_shared(const Node *node, bool exact);
size_t conv_scratch_worker(const Node *node, bool exact);
size_t conv_pack_size(const Node *node, bool exact, bool bf16);
void conv_pack(const Node *node, bool exact, bool bf16, const float *const *weights, void *packed);
const char *conv_pack_kind(const Node *node, bool exact, bool bf16);
#define CONV_FIELDS                                                                                \
    .run = conv_run, .scratch_shared = conv_scratch_shared, .scratch_worker = conv_scratch_worker, \
    .pack_size = conv_pack_size, .pack = conv_pack, .pack_kind = conv_pack_kind,
#else
#define CONV_FIELDS
#endif

/* ---- between the parts ---- */
static inline int64_t round_up(int64_t a, int64_t unit) {
    return (a + unit - 1) / unit * unit;
}
static inline int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
static inline int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* k of the product: taps row by row, channels inside. */
static inline int64_t conv_k(const ConvTask *task) {
    return task->kh * task->kw * task->ci;
}
/* The same as the block kernel counts it: with bf16 in pairs of channels, an odd last one with a zero. */
static inline int64_t conv_pairs(const ConvTask *task) {
    return (task->ci + 1) / 2;
}
static inline int64_t conv_depth(const ConvTask *task) {
    return task->bf16 ? task->kh * task->kw * conv_pairs(task) : conv_k(task);
}
/* Steps of k that a packed panel holds. */
static inline int64_t conv_panel_depth(const ConvTask *task) {
    return task->k_whole ? task->k_whole : conv_depth(task);
}
/* Columns of a set, filled up to whole vectors. */
static inline int64_t conv_columns(const ConvTask *task) {
    return round_up(task->co, task->kernels->vector);
}
/* Panels are two vectors wide; the last one is one vector where that is enough. */
static inline int64_t conv_panels(const ConvTask *task) {
    return divide_up(conv_columns(task), 2 * task->kernels->vector);
}
static inline int conv_panel_vectors(const ConvTask *task, int64_t panel) {
    return conv_columns(task) - panel * 2 * task->kernels->vector >= 2 * task->kernels->vector ? 2 : 1;
}

/* Asks for the memory that a block of results is about to be written to. */
static inline void conv_ask_for(float *c, int64_t c_stride, int64_t rows, int64_t columns) {
    KEEP_PREFETCH;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j += 16) __builtin_prefetch(c + i * c_stride + j, 1, 2);
}

/* What is added to results before they go where they go: a map of half their size, enlarged. 1x1 only. */
typedef struct {
    const float *at; /* (0,0) of the first image; pixels `columns` floats apart; NULL: nothing */
    int64_t h, w;    /* of it */
    int64_t columns;
} ConvHalf;

/* Where results go. */
typedef struct {
    const Hole *hole;   /* NULL: straight to out */
    float *out;         /* NULL: through the hole, tile by tile */
    int64_t out_stride; /* floats from a row of the product to the next */
    ConvHalf half;
} ConvTarget;

void conv_direct_run(const ConvTask *task, const Run *run, const float *packed, const float *bias,
                     const ConvTarget *to);
size_t conv_direct_worker(const ConvTask *task);
void conv_spread_run(const ConvTask *task, const Run *run, const float *packed, const float *bias,
                     const ConvTarget *to);
size_t conv_spread_worker(const ConvTask *task);
void conv_winograd_run(const ConvTask *task, const Run *run, const float *packed, const float *bias,
                       const ConvTarget *to, char *shared);
size_t conv_winograd_shared(const ConvTask *task);
size_t conv_winograd_worker(const ConvTask *task);
WinogradKind conv_winograd_kind(ConvAlgorithm algorithm);
#endif
