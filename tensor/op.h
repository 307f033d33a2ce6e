/* tensor/op.h - what an operator is: one constant descriptor. Nodes point at it; there is no registry and no enum, so
 * the linker drops the operators that a binary does not use.
 *
 * An operator file tells, in this order: the mathematics (forward, and what its gradient is) as a comment with the
 * source; the recording function with its shape rule; the plain-C definition over `real`, which *is* the meaning and
 * also compiles for f64; the fast version (not in the f64 build), which calls the vector kernels; the cost; the
 * descriptor.
 *
 * Definitions and fast versions read bytes through run_real() and honour the strides of their inputs (a shape rule may
 * demand a layout). Outputs are dense in the layout they were recorded with. */
#ifndef PANUM_TENSOR_OP_H
#define PANUM_TENSOR_OP_H
#include "base/err.h"
#include "base/pool.h"
#include "tensor/program.h"

typedef struct Hole Hole;

/* Everything a node needs while it runs. Made by exec/. */
typedef struct Run {
    Pool *pool;
    void *const *bytes; /* by id of the base tensor: where its storage starts */
    char *scratch;      /* of this step: the shared part, then one part for each worker */
    size_t scratch_shared, scratch_worker;
    const Hole *hole;   /* what to do with the result; NULL: store it into output[0] */
    const void *packed; /* what op->pack made of the weights, or NULL */
    bool exact;         /* no Winograd: sums are those of the direct form */
    bool bf16;          /* matrix products and convolutions may round their inputs to bf16 */
} Run;

/* First element of a tensor (base + offset). */
static inline void *run_data(const Run *run, const Tensor *t) {
    return (char *)run->bytes[t->base->id] + (size_t)t->offset * dtype_size(t->dtype);
}
static inline real *run_real(const Run *run, const Tensor *t) {
    return t ? (real *)run_data(run, t) : NULL;
}
static inline void *run_shared(const Run *run) {
    return run->scratch;
}
static inline void *run_worker(const Run *run, int worker) {
    return run->scratch + run->scratch_shared + (size_t)worker * run->scratch_worker;
}

/* A hole on store: pointwise work done on a tile that has just been computed and is still in
 * L1. Rows are positions of output[0] in memory order (pixel n*H*W + y*W + x, or token), columns its innermost axis.
 * The kernel gives every element to store() exactly once, in tiles of any size, each of consecutive rows; `tile` may be
 * changed by store(). Bias is the kernel's own work, before. When `direct` is not NULL there is nothing to do but
 * store: the kernel may write rows straight to direct + row*direct_stride instead of calling. */
struct Hole {
    void (*store)(const Hole *hole, int64_t row, int64_t rows, int64_t column, int64_t columns, float *tile,
                  int64_t tile_stride, int worker);
    /* Asks the caches for what store() of these rows and columns will read and write beside the tile, for kernels that
     * know them some microseconds ahead. NULL: nothing to ask for. */
    void (*ask)(const Hole *hole, int64_t row, int64_t rows, int64_t column, int64_t columns);
    float *direct;
    int64_t direct_stride;
    const Hole *past; /* stores the same past the caches; NULL: nothing large enough is stored */
};

/* gcc takes a function that only prefetches for one without effect, and drops calls of it; this statement is one. */
#define KEEP_PREFETCH __asm__ volatile("")

/* Results of so many bytes push each other out of a core's share of the caches before anyone reads them. Stored past
 * the caches, their old content is not read first, a third of what a thin product moves. (1x1 128->128 over 22080
 * pixels: 83 % of peak without, 88 % with.) */
enum { PAST_BYTES = 8 << 20 };
/* After stores past the caches, before anyone is told that they are done: nothing else orders them. */
static inline void stored_past(void) {
#if defined(__x86_64__)
    __builtin_ia32_sfence();
#endif
}

typedef struct {
    double flops; /* a multiply-add counts as two; convolutions as if direct */
    double bytes; /* every input read once, every output written once */
} Cost;

typedef enum {
    OP_VIEW,      /* describes other strides; nothing runs */
    OP_POINTWISE, /* element by element; may be fused into regions and holes */
    OP_HEAVY,     /* has its own kernel */
} OpClass;

struct Op {
    const char *name; /* PyTorch's name where it has one */
    OpClass kind;
    bool store_hole;    /* output[0] may be stored through Run.hole */
    bool load_segments; /* the data operand may come as several channel segments (Node.segments) */
    /* May the last segments come at half size, to be enlarged bilinearly (Node.doubled)? NULL: never. */
    bool (*load_doubled)(const Node *node);
    unsigned in_place; /* bit k: the fast version may write output[0] over input k, of the same size and layout: it
                          reads  every element of it before, or while, it writes the same place, and never after */
    void (*define)(const Node *node, const Run *run); /* plain C over `real`; NULL for views only */
    void (*run)(const Node *node, const Run *run);    /* fast f32; NULL: the definition is all there is */
    void (*cost)(const Node *node, Cost *cost);       /* NULL: no flops, bytes counted from the shapes */
    /* Scratch of the fast version in bytes, from shapes and instruction level only. NULL: none. */
    size_t (*scratch_shared)(const Node *node, bool exact);
    size_t (*scratch_worker)(const Node *node, bool exact);
    /* A packed copy of weights, made once per parameter store and kept under the key pack_kind + weight name. `weights`
     * are the bytes of the node's inputs that are weights, by input index (NULL for others). pack_size 0: not wanted.
     */
    size_t (*pack_size)(const Node *node, bool exact, bool bf16);
    void (*pack)(const Node *node, bool exact, bool bf16, const float *const *weights, void *packed);
    const char *(*pack_kind)(const Node *node, bool exact, bool bf16);
    void (*print)(const Node *node, FILE *to); /* attributes, as " stride=2 pad=1x1"; NULL: none */
    /* Records the gradient: given d(loss)/d(output i) in d_output (NULL where none), appends nodes and sets d_input[k]
     * to d(loss)/d(input k); all are NULL before, and stay so where nothing flows. d_output[i] has the shape of the
     * output and its order of axes in memory, but may be a slice of something larger: t_dense() makes it whole where a
     * kernel wants that. d_input[k] may have a larger shape when input k broadcasts; its sums are backward()'s work.
     * What is recorded for an input that nobody asks about never runs. NULL: not differentiable, or not written yet. */
    void (*gradient)(const Node *node, Tensor *const *d_output, Tensor **d_input);
    /* Should gradients that read the result compute it again rather than have it kept? Where that is little work, from
     * inputs that the operator's own gradient has kept anyway, or that are no larger together. NULL: never. */
    bool (*light)(const Node *node);
};

/* Stops with scope, line and what is wrong unless `condition`. For shape rules in recording functions. */
#define SHAPE_RULE(program, file, line, condition, ...)                \
    do {                                                               \
        if (!(condition)) shape_bug(program, file, line, __VA_ARGS__); \
    } while (0)
void shape_bug(const Program *program, const char *file, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 4, 5)));
#endif
