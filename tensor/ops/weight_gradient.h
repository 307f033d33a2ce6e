/* tensor/ops/weight_gradient.h - the gradient of a weight as its kernels see it: conv_gradient.c fills it from a node,
 * weight_gradient.c computes it, weight_gradient_simd.h has the inner loops. Inside
 * tensor/ops only, but for weight_gradient_describe, which exec/gpu_weight_gradient.c asks. */
#ifndef PANUM_TENSOR_OPS_WEIGHT_GRADIENT_H
#define PANUM_TENSOR_OPS_WEIGHT_GRADIENT_H
#include "base/cpu.h"
#include "tensor/op.h"
#include "tensor/ops/conv_kernels.h"

/* Where the elements of a map lie: `channels` side by side at each pixel; strides in elements. */
typedef struct {
    int64_t channels, image, row, pixel;
} Placed;

typedef struct {
    int segments;
    Placed x[NODE_INPUTS_MAX], dy;
    int64_t n, h, w, ci;      /* of x, all segments together */
    int64_t out_h, out_w, co; /* of dy */
    int64_t kh, kw, stride, pad_h, pad_w;
} WeightGradient;

void weight_gradient_describe(const Node *node, WeightGradient *task);

/* Some positions at which two maps meet, one after the other at even steps. */
typedef struct {
    const float *a, *b;
    int64_t positions;
} Meeting;

typedef struct {
    int vector; /* floats of a vector */
    int rows;   /* most rows of a block */
    /* A block of a sum of outer products: c[i*c_stride + j] (+)= sum over all positions of a[a_at + i] b[b_at + j], i <
     * rows, j < columns. Positions are a_step and b_step floats apart. At most two vectors of columns; whole vectors
     * are stored, those beyond `columns` zero. `add`: onto what is there, else that is overwritten. */
    void (*outer)(int64_t rows, int64_t columns, const Meeting *meeting, int64_t meetings, int64_t a_at, int64_t a_step,
                  int64_t b_at, int64_t b_step, bool add, float *c, int64_t c_stride);
    /* to[j] (+)= sum over all positions of a[j], j < channels. */
    void (*total)(int64_t channels, const Meeting *meeting, int64_t meetings, int64_t a_step, bool add, float *to);
} OuterKernels;

const OuterKernels *outer_kernels(CpuLevel level);
extern const OuterKernels outer_kernels_base, outer_kernels_avx2, outer_kernels_avx512;

#ifndef PANUM_F64
/* One segment of x with dy. Either's channels can be the rows of a block (broadcast), the other's the columns (in
 * vectors): what fills vectors better. */
typedef struct {
    bool turned; /* rows are channels of x, columns those of dy */
    int64_t rows, columns, padded, blocks;
    int64_t at; /* of a part's sums: [tap][row][padded column] */
} WeightSection;

typedef struct {
    WeightGradient task;
    const OuterKernels *kernels;
    const Node *node;
    const Run *run;
    bool winograd;
    WinogradKind kind;
    const float *x[NODE_INPUTS_MAX], *dy;
    float *sums, *d_weight, *d_bias;
    WeightSection section[NODE_INPUTS_MAX];
    int64_t taps, positions, blocks; /* blocks of rows of all sections */
    int64_t parts, splits;           /* of positions; of blocks */
    int64_t bias_at, part_floats;
} WeightGradientJob;

/* Expected time in vector multiply-adds of one position's outer product, and of all of a task by Winograd. */
double weight_section_cost(const OuterKernels *kernels, int64_t co, int64_t ci);
bool weight_section_turned(const OuterKernels *kernels, int64_t co, int64_t ci);
double weight_winograd_cost(const WeightGradient *task, const OuterKernels *kernels, WinogradKind kind);

void weight_winograd_run(const WeightGradientJob *job);
size_t weight_winograd_shared(const WeightGradientJob *job);
size_t weight_winograd_worker(const WeightGradientJob *job);

/* For tests: where it can compute the shape, this kind is chosen from now on; WINOGRAD_KINDS for none at all, -1 for
 * what is expected to be fastest. */
void weight_gradient_force(int kind);

void weight_gradient_run(const Node *node, const Run *run);
size_t weight_gradient_shared(const Node *node, bool exact);
size_t weight_gradient_worker(const Node *node, bool exact);
#define WEIGHT_GRADIENT_FIELDS \
    .run = weight_gradient_run, .scratch_shared = weight_gradient_shared, .scratch_worker = weight_gradient_worker,
#else
#define WEIGHT_GRADIENT_FIELDS
#endif
#endif
