/* exec/gpu_steps.h - inside exec/: how a step of a plan becomes launches. Each family of operators has a file of its
 * own (gpu_products.c, gpu_conv.c ...) with a table of the operators it knows; gpu.c asks the tables.
 *
 * A launcher fills the argument struct that its kernel file shares with it (cuda/kernels/NAME.h), works out the grid,
 * and calls gpu_launch once or several times. It runs when the plan is made, not again: what it does not put into
 * arguments cannot change between runs. */
#ifndef PANUM_EXEC_GPU_STEPS_H
#define PANUM_EXEC_GPU_STEPS_H
#include "cuda/device/places.h"
#include "cuda/kernels/move.h"
#include "cuda/region.h"
#include "exec/gpu.h"
#include "exec/steps.h"

enum { GPU_BLOCK = 256 /* threads, where nothing else is said */, GPU_GRID_Y_MAX = 65535, GPU_GRID_Z_MAX = 65535 };

/* A row of a family's table; {NULL} ends it. `launch` gets steps whose node is this operator, with a region in its hole
 * on store if the operator has one. */
typedef struct {
    const char *op;
    int (*launch)(GpuPlan *p, const Step *step);
} GpuOperator;

/* Every family: gpu_NAME_operators. */
/* clang-format off */
#define GPU_FAMILIES(each) \
    each(region) \
    each(products) \
    each(conv) \
    each(rows) \
    each(move) \
    each(attention) \
    each(stereo) \
    each(transport) \
    each(resample) \
    each(norm) \
    each(box) \
    each(sample) \
    each(reduce) \
    each(rows_gradient) \
    each(weight_gradient) \
    /* the end */
/* clang-format on */
#define GPU_FAMILY_DECLARED(name) extern const GpuOperator gpu_##name##_operators[];
GPU_FAMILIES(GPU_FAMILY_DECLARED)

/* Device address of a tensor's first element. The context is a GpuPlan: region_places takes it. */
void *gpu_address(const void *plan, const Tensor *t);
bool gpu_half(const GpuPlan *p, const Tensor *t); /* stored in 16 bits; NULL and weights are not */
GpuRung gpu_rung(const GpuPlan *p);
const GpuFacts *gpu_device(const GpuPlan *p);

typedef struct {
    const char *file, *kernel;  /* "cuda/kernels/matmul.cu", "matmul_tiled" */
    const StripProgram *region; /* in its hole on store; NULL: it has none */
    const char *define;         /* what the text is specialised by, "-DTILE=64"; NULL: nothing */
} GpuCode;
/* `define` (NULL: none) and what device/value.h wants to hear of operands and results in 16 bits. */
const char *gpu_values(GpuPlan *p, const char *define, bool load_half, bool store_half);

typedef struct {
    int64_t x, y, z;  /* blocks; 0 is 1 */
    unsigned threads; /* 0: GPU_BLOCK */
    size_t shared;    /* bytes of SHARED_REST */
} GpuGrid;

/* Device memory beside tensors. Every launcher is called twice with equal arguments, the first time only to find what
 * it asks for here; `at` is then NULL.
 * A table is a copy of `data`, which outlives the making of the plan, and stays. Scratch is one piece that all steps
 * use, each for itself: its contents are of no meaning before and after the step's launches. */
int gpu_table(GpuPlan *p, const void *data, size_t bytes, const void **at);
const void *gpu_keep(GpuPlan *p, const void *data, size_t bytes); /* a copy that outlives it; NULL: no memory */
void *gpu_scratch(GpuPlan *p, size_t bytes);

/* A copy of a weight in another layout, made when the plan is made and when its weights are loaded anew (in every run
 * where they are somebody else's), once for all who ask for the same. `how` says all but where it goes. */
typedef enum { PACK_F32, PACK_HALF } GpuPack;
int gpu_pack(GpuPlan *p, const Step *step, const CopyBoxArgs *how, GpuPack to, const void **at);

/* Why the launches that follow in this step are not the fastest of their ladder, or which of its forms they take: for
 * those who read the plan (GpuLaunchFacts.why). A text that stays; NULL: there is nothing to say. */
void gpu_because(GpuPlan *p, const char *why);
/* Adds a launch to the plan. Arguments are copied. More blocks than a grid can have are refused with the step's name.
 */
int gpu_launch(GpuPlan *p, const Step *step, GpuCode code, GpuGrid grid, const void *arguments, size_t bytes);
/* Where a region's tensors lie, and on devices whose kernels interpret regions the region itself, in a table. NULL: no
 * region, and nothing is written. */
int gpu_region_places(GpuPlan *p, const StripProgram *region, RegionPlaces *places);
/* A region alone, as a kernel of its own. */
int gpu_launch_region(GpuPlan *p, const Step *step, const StripProgram *region);

/* Where a tensor's rows lie, positions times channels (tensor/ops/rows.h). */
RowPlaces gpu_row_places(const Tensor *t);
/* y[e] = sum of part[tile][e] over `tiles` tiles of `width`, in order; from e = first on to rest[e - first]. Either may
 * be NULL. */
int gpu_sum_tiles(GpuPlan *p, const Step *step, const double *part, int64_t tiles, int width, int first, float *y,
                  float *rest);
/* The size of a block of device/panel.h for a product of rows x columns, `times` over: the largest that gives every
 * multiprocessor a block. */
typedef struct {
    int rows, columns;
    const char *define; /* for GpuCode */
    const char *why;    /* of this size */
} GpuPanel;
GpuPanel gpu_panel(const GpuPlan *p, int64_t rows, int64_t columns, int64_t times);
/* Can panels read it: are the first element and all steps from row to row, in elements of which `piece` are 16 bytes,
 * aligned to 16 bytes? */
bool gpu_panel_reads(const void *at, int piece, int strides, const int64_t *stride);

/* For what is refused: ERR_DEVICE. `what` follows the operator's name: " of so many parts". */
int gpu_no_kernel(const Node *node, const char *what);
int gpu_too_large(const Step *step);

static inline int64_t gpu_blocks(int64_t count, int64_t each) {
    return (count + each - 1) / each;
}
#endif
