#include "exec/gpu.h"

#ifndef PANUM_F64
#include "base/mem.h"
#include "cuda/kernels/conv.h"
#include "cuda/kernels/matmul.h"
#include "cuda/kernels/move.h"
#include "cuda/kernels/rows.h"
#include "cuda/region.h"
#include "exec/steps.h"
#include "tensor/ops/conv_node.h"
#include "tensor/ops/norm_gradient.h"
#include "tensor/ops/rows.h"

#include <string.h>

enum {
    WEIGHT_ALIGNMENT = 256,
    BLOCK_THREADS = 256,
    TILE = 64 /* device/tile.h */,
    GRID_Z_MAX = 65535,
    GRID_Y_MAX = 65535
};

typedef union {
    RegionArgs region;
    MatmulArgs matmul;
    ConvArgs conv;
    CopyBoxArgs box;
    RowsArgs rows;
} Arguments;

typedef struct {
    const GpuKernel *kernel;
    GpuLaunch how;
    size_t bytes;
    Arguments arguments;
} Launch;

struct GpuPlan {
    const Plan *plan;
    Program *program;
    Gpu *gpu;
    GpuPlanOptions options;
    KernelStore *kernels;
    GpuStream *stream;
    GpuGraph *graph;
    char *block, *weights; /* device memory */
    size_t block_bytes, weights_bytes;
    int64_t *weight_at; /* by tensor id: offset among the weights, -1 none */
    Launch *launch;     /* one or several a step */
    int launches, room;
};

/* ---- where tensors lie ---- */

static void *address(const void *context, const Tensor *t) {
    const GpuPlan *p = context;
    int id = t->base->id;
    int64_t place = plan_place(p->plan, t->base);
    char *base = p->weight_at[id] >= 0 ? p->weights + p->weight_at[id] : place >= 0 ? p->block + place : NULL;
    BUG_IF(!base, "tensor %d has no place on the device", id);
    return base + (size_t)t->offset * dtype_size(t->dtype);
}

static int copy_weights(GpuPlan *p, const WeightSource *source) {
    int tensors = program_tensors(p->program);
    p->weight_at = mem_array((size_t)tensors, sizeof *p->weight_at);
    if (!p->weight_at) return ERR_MEMORY;
    for (int i = 0; i < tensors; i++) {
        const Tensor *t = program_tensor(p->program, i);
        p->weight_at[i] = -1;
        if (t->kind != TENSOR_WEIGHT || t->base != t) continue;
        p->weight_at[i] = (int64_t)p->weights_bytes;
        p->weights_bytes += (tensor_bytes(t) + WEIGHT_ALIGNMENT - 1) / WEIGHT_ALIGNMENT * WEIGHT_ALIGNMENT;
    }
    if (!p->weights_bytes) return 0;
    void *at;
    int code = p->gpu->call->memory(p->gpu, p->weights_bytes, &at);
    if (code) return code;
    p->weights = at;
    for (int i = 0; !code && i < tensors; i++) {
        if (p->weight_at[i] < 0) continue;
        const Tensor *t = program_tensor(p->program, i);
        const real *values = source->values(source->context, t);
        if (!values) return (int)err_code();
        code = p->gpu->call->copy(p->stream, p->weights + p->weight_at[i], values, tensor_bytes(t), GPU_TO_DEVICE);
    }
    return code ? code : p->gpu->call->finish(p->stream);
}

/* ---- a launch for each step ---- */

/* The next launch, to be filled; NULL: no memory. */
static Launch *next_launch(GpuPlan *p) {
    if (p->launches == p->room) {
        Launch *grown = mem_grow(p->launch, (size_t)(p->room + 64) * sizeof *grown);
        if (!grown) return NULL;
        p->launch = grown;
        p->room += 64;
    }
    p->launch[p->launches] = (Launch){0};
    return &p->launch[p->launches++];
}

static int too_large(const Step *step) {
    return fail(ERR_DEVICE, "%s is too large for a launch on a GPU", step->node ? step->node->op->name : "a region");
}

static int launch_region(GpuPlan *p, const Step *step, const StripProgram *region) {
    Launch *launch = next_launch(p);
    if (!launch) return ERR_MEMORY;
    RegionArgs *a = &launch->arguments.region;
    launch->bytes = sizeof *a;
    *a = (RegionArgs){.rows = region->rows, .columns = region->columns};
    region_places(region, address, p, &a->places);
    int64_t blocks = (region->rows * region->columns + BLOCK_THREADS - 1) / BLOCK_THREADS;
    if (blocks > INT32_MAX) return too_large(step);
    launch->how = (GpuLaunch){{(unsigned)blocks, 1, 1}, BLOCK_THREADS, 0};
    return kernel_store_get(p->kernels, "cuda/kernels/region.cu", region, "region_alone", &launch->kernel);
}

static int no_kernel(const Node *node, const char *what) {
    return fail(ERR_DEVICE, "%s%s in %s has no kernel for a GPU yet; use the CPU", node->op->name, what, node->scope);
}

/* A pointwise node alone, as the interpreter runs it: a region of one instruction. */
static int launch_pointwise(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    const PointwiseAttributes *f = node->attributes;
    const Tensor *out = node->output[0];
    StripProgram region = {.operands = node->inputs, .instructions = 1, .outputs = 1};
    int64_t stride;
    bool fits = strip_space(out, &region.rows, &region.columns, &stride);
    for (int i = 0; fits && i < node->inputs; i++) fits = strip_operand(node->input[i], out, &region.operand[i]);
    if (!fits) return no_kernel(node, " of such a layout");
    region.code[0] = (StripInstruction){f->function, 0, node->inputs > 1 ? 1 : -1, f->p, f->q};
    region.output[0] = (StripOutput){node->inputs, stride, out};
    return launch_region(p, step, &region);
}

/* The kernel of the ladder and its grid, once everything else is in the arguments. */
static int launch_product(GpuPlan *p, const Step *step, int64_t batches, Launch *launch) {
    MatmulArgs *a = &launch->arguments.matmul;
    bool plain = p->options.rung == RUNG_PLAIN;
    int64_t x = plain ? (a->m * a->n + BLOCK_THREADS - 1) / BLOCK_THREADS : (a->m + TILE - 1) / TILE;
    int64_t y = plain ? 1 : (a->n + TILE - 1) / TILE;
    if (x > INT32_MAX || y > GRID_Y_MAX || batches > GRID_Z_MAX) return too_large(step);
    if (step->strip) region_places(step->strip, address, p, &a->places);
    launch->bytes = sizeof *a;
    launch->how = (GpuLaunch){{(unsigned)x, (unsigned)y, (unsigned)batches}, BLOCK_THREADS, 0};
    return kernel_store_get(p->kernels, "cuda/kernels/matmul.cu", step->strip, plain ? "matmul_plain" : "matmul_tiled",
                            &launch->kernel);
}

/* matmul: k is axis 1 of the second operand; matmul_nt: axis 2. */
static int launch_matmul(GpuPlan *p, const Step *step, int k_axis) {
    Launch *launch = next_launch(p);
    if (!launch) return ERR_MEMORY;
    const Tensor *left = step->node->input[0], *right = step->node->input[1], *out = step->node->output[0];
    launch->arguments.matmul = (MatmulArgs){
        .segment = {{address(p, left), left->size[2], {0, 0, left->stride[1]}, left->stride[2]}},
        .segments = 1,
        .b = address(p, right),
        .c = step->strip ? NULL : address(p, out),
        .m = out->size[1],
        .n = out->size[2],
        .rows = {1, out->size[1]},
        .a_batch = left->stride[0],
        .b_batch = right->stride[0],
        .c_batch = out->stride[0],
        .b_column = right->stride[3 - k_axis],
        .b_step = right->stride[k_axis],
        .c_row = out->stride[1],
    };
    return launch_product(p, step, out->size[0], launch);
}

/* Inputs: the segments of x, the weight [Co,Ci], the bias or NULL. The leading axes are the rows: the last two as
 * digits of their own, what is before them as the first, which the shape rule has made dense. */
static int launch_linear(GpuPlan *p, const Step *step, int k_axis) {
    Launch *launch = next_launch(p);
    if (!launch) return ERR_MEMORY;
    const Node *node = step->node;
    const Tensor *weight = node->input[node->segments], *bias = node->input[node->segments + 1];
    const Tensor *out = node->output[0];
    int last = out->rank - 1;
    if (node->segments > MATMUL_SEGMENTS) return no_kernel(node, " of so many parts");
    MatmulArgs *a = &launch->arguments.matmul;
    *a = (MatmulArgs){
        .segments = node->segments,
        .b = address(p, weight),
        .bias = bias ? address(p, bias) : NULL,
        .c = step->strip ? NULL : address(p, out),
        .m = tensor_count(out) / out->size[last],
        .n = out->size[last],
        .rows = {last >= 2 ? out->size[last - 2] : 1, last >= 1 ? out->size[last - 1] : 1},
        .b_column = weight->stride[1 - k_axis],
        .b_step = weight->stride[k_axis],
        .c_row = out->size[last],
    };
    for (int s = 0; s < node->segments; s++) {
        const Tensor *x = node->input[s];
        a->segment[s] = (MatmulSegment){address(p, x),
                                        x->size[last],
                                        {last >= 3 ? x->stride[last - 3] : 0, last >= 2 ? x->stride[last - 2] : 0,
                                         last >= 1 ? x->stride[last - 1] : 0},
                                        x->stride[last]};
    }
    return launch_product(p, step, 1, launch);
}

typedef enum { STRAIGHT, TRANSPOSED } ConvTurn;

/* Inputs as linear's; the weight is [Co,Ci,kh,kw], of a transposed one [Ci,Co,kh,kw]. */
static int launch_conv(GpuPlan *p, const Step *step, ConvTurn turn) {
    Launch *launch = next_launch(p);
    if (!launch) return ERR_MEMORY;
    const Node *node = step->node;
    const Tensor *weight = conv_weight(node), *bias = conv_bias(node), *x = node->input[0], *out = node->output[0];
    const ConvOptions *options = &((const ConvAttributes *)node->attributes)->options;
    if (node->segments > CONV_SEGMENTS) return no_kernel(node, " of so many parts");
    int o_axis = turn == TRANSPOSED ? 1 : 0;
    ConvArgs *a = &launch->arguments.conv;
    *a = (ConvArgs){
        .parts = node->segments,
        .weight = address(p, weight),
        .bias = bias ? address(p, bias) : NULL,
        .out = step->strip ? NULL : address(p, out),
        .rows = out->size[0] * out->size[2] * out->size[3],
        .columns = out->size[1],
        .out_row = out->size[1],
        .weight_o = weight->stride[o_axis],
        .weight_c = weight->stride[1 - o_axis],
        .weight_y = weight->stride[2],
        .weight_x = weight->stride[3],
        .transposed = turn == TRANSPOSED,
        .out_h = (int)out->size[2],
        .out_w = (int)out->size[3],
        .h = (int)x->size[2],
        .w = (int)x->size[3],
        .kh = (int)weight->size[2],
        .kw = (int)weight->size[3],
        .stride = options->stride,
        .pad_h = options->pad_h,
        .pad_w = options->pad_w,
    };
    for (int s = 0; s < node->segments; s++) {
        const Tensor *part = node->input[s];
        a->part[s] = (ConvPart){address(p, part), part->size[1],   part->stride[0],
                                part->stride[2],  part->stride[3], part->stride[1]};
    }
    bool plain = p->options.rung == RUNG_PLAIN;
    int64_t blocks = plain ? (a->rows * a->columns + BLOCK_THREADS - 1) / BLOCK_THREADS : (a->rows + TILE - 1) / TILE;
    int64_t across = plain ? 1 : (a->columns + TILE - 1) / TILE;
    if (blocks > INT32_MAX || across > GRID_Y_MAX || x->size[2] > INT32_MAX / 8 || x->size[3] > INT32_MAX / 8)
        return too_large(step);
    if (step->strip) region_places(step->strip, address, p, &a->places);
    launch->bytes = sizeof *a;
    launch->how = (GpuLaunch){{(unsigned)blocks, (unsigned)across, 1}, BLOCK_THREADS, 0};
    return kernel_store_get(p->kernels, "cuda/kernels/conv.cu", step->strip, plain ? "conv_plain" : "conv_tiled",
                            &launch->kernel);
}

/* Softmax of input 0, or layer norm with weight and bias as inputs 1 and 2: a warp a row, eight a block. */
static int launch_rows(GpuPlan *p, const Step *step, const char *kernel) {
    Launch *launch = next_launch(p);
    if (!launch) return ERR_MEMORY;
    const Node *node = step->node;
    const Tensor *x = node->input[0], *weight = node->inputs > 1 ? node->input[1] : NULL;
    const Tensor *bias = node->inputs > 2 ? node->input[2] : NULL;
    Rows from = rows_of(x);
    if (from.channels > INT32_MAX / 2 || from.count > (int64_t)INT32_MAX * 8) return too_large(step);
    RowsArgs *a = &launch->arguments.rows;
    *a = (RowsArgs){
        .x = address(p, x),
        .weight = weight ? address(p, weight) : NULL,
        .bias = bias ? address(p, bias) : NULL,
        .y = step->strip ? NULL : address(p, node->output[0]),
        .rows = from.count,
        .channels = (int)from.channels,
        .eps = !strcmp(kernel, "layer_norm") ? (float)norm_eps(node) : 0,
    };
    for (int k = 0; k < ROWS_AXES; k++) a->size[k] = 1;
    for (int k = 0; k < from.axes; k++) {
        a->size[ROWS_AXES - from.axes + k] = from.size[k];
        a->stride[ROWS_AXES - from.axes + k] = from.stride[k];
    }
    if (step->strip) region_places(step->strip, address, p, &a->places);
    launch->bytes = sizeof *a;
    launch->how = (GpuLaunch){{(unsigned)((from.count + 7) / 8), 1, 1}, BLOCK_THREADS, 0};
    return kernel_store_get(p->kernels, "cuda/kernels/rows.cu", step->strip, kernel, &launch->kernel);
}

/* One launch for each input, side by side along the axis that tells them apart; copy has one input. */
static int launch_parts(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    const Tensor *out = node->output[0];
    int64_t start = 0;
    int axis = 0; /* the one along which the parts are smaller than the whole */
    for (int k = 0; k < out->rank; k++)
        if (node->input[0]->size[k] != out->size[k]) axis = k;
    char *to = address(p, out);
    for (int i = 0; i < node->inputs; i++) {
        const Tensor *x = node->input[i];
        Launch *launch = next_launch(p);
        if (!launch) return ERR_MEMORY;
        CopyBoxArgs *a = &launch->arguments.box;
        launch->bytes = sizeof *a;
        *a = (CopyBoxArgs){.from = address(p, x),
                           .to = (float *)(void *)(to + (size_t)(start * out->stride[axis]) * sizeof(float)),
                           .count = tensor_count(x)};
        /* channels of a channels-last map are its innermost axis */
        bool channels_last = out->rank == 4 && out->stride[1] == 1 && out->size[1] > 1;
        static const int last_first[] = {1, 3, 2, 0};
        for (int k = 0; k < MOVE_AXES; k++) a->size[k] = 1;
        for (int k = 0; k < out->rank; k++) {
            int from = channels_last ? last_first[k] : out->rank - 1 - k, place = MOVE_AXES - 1 - k;
            a->size[place] = x->size[from];
            a->from_stride[place] = x->stride[from];
            a->to_stride[place] = out->stride[from];
        }
        start += x->size[axis];
        int64_t blocks = (a->count + BLOCK_THREADS - 1) / BLOCK_THREADS;
        if (blocks > INT32_MAX) return too_large(step);
        launch->how = (GpuLaunch){{(unsigned)blocks, 1, 1}, BLOCK_THREADS, 0};
        int code = kernel_store_get(p->kernels, "cuda/kernels/move.cu", NULL, "copy_box", &launch->kernel);
        if (code) return code;
    }
    return 0;
}

static int prepare(GpuPlan *p, const Step *step) {
    if (!step->node) return launch_region(p, step, step->strip);
    const char *name = step->node->op->name;
    if (step->node->output[0]->dtype != DTYPE_F32) return no_kernel(step->node, " of such a type");
    if (!strcmp(name, op_pointwise.name)) return launch_pointwise(p, step);
    if (!strcmp(name, "linear")) return launch_linear(p, step, 1);
    if (!strcmp(name, "linear_input_gradient")) return launch_linear(p, step, 0);
    if (!strcmp(name, "matmul")) return launch_matmul(p, step, 1);
    if (!strcmp(name, "matmul_nt")) return launch_matmul(p, step, 2);
    if (!strcmp(name, "conv2d")) return launch_conv(p, step, STRAIGHT);
    if (!strcmp(name, "conv_transpose2d")) return launch_conv(p, step, TRANSPOSED);
    if (!strcmp(name, "softmax") || !strcmp(name, "layer_norm")) return launch_rows(p, step, name);
    if (!strcmp(name, "cat") || !strcmp(name, "copy")) return launch_parts(p, step);
    return no_kernel(step->node, "");
}

static int launch_all(GpuPlan *p) {
    for (int i = 0; i < p->launches; i++) {
        const Launch *l = &p->launch[i];
        int code = p->gpu->call->launch(p->stream, l->kernel, l->how, &l->arguments, l->bytes);
        if (code) return code;
    }
    return 0;
}

/* ---- the plan ---- */

static int build(GpuPlan *p, const WeightSource *source) {
    const Steps *steps = plan_step_list(p->plan);
    p->program = steps->program;
    p->block_bytes = plan_facts(p->plan).bytes;
    p->kernels = kernel_store_make(p->gpu);
    if (!p->kernels) return ERR_MEMORY;
    int code = p->gpu->call->stream(p->gpu, &p->stream);
    if (!code) code = copy_weights(p, source);
    void *at = NULL;
    if (!code) code = p->gpu->call->memory(p->gpu, p->block_bytes, &at);
    if (code) return code;
    p->block = at;
    for (int i = 0; i < steps->steps; i++) {
        code = prepare(p, &steps->step[i]);
        if (code) return code;
    }
    if (p->options.launch_each) return 0;
    code = p->gpu->call->capture(p->stream);
    if (code) return code;
    code = launch_all(p);
    int end = p->gpu->call->capture_end(p->stream, &p->graph);
    return code ? code : end;
}

int gpu_plan_make(const Plan *plan, const WeightSource *weights, Gpu *gpu, GpuPlanOptions options, GpuPlan **out) {
    *out = NULL;
    GpuPlan *p = mem_zero(1, sizeof *p);
    if (!p) return ERR_MEMORY;
    p->plan = plan;
    p->gpu = gpu;
    p->options = options;
    int code = build(p, weights);
    if (code)
        gpu_plan_drop(p);
    else
        *out = p;
    return code;
}

void gpu_plan_drop(GpuPlan *p) {
    if (!p) return;
    p->gpu->call->graph_drop(p->graph);
    p->gpu->call->memory_free(p->gpu, p->block);
    p->gpu->call->memory_free(p->gpu, p->weights);
    p->gpu->call->stream_drop(p->stream);
    kernel_store_drop(p->kernels);
    mem_free(p->weight_at);
    mem_free(p->launch);
    mem_free(p);
}

static size_t bytes_of(const Tensor *t) {
    return (size_t)tensor_count(t) * dtype_size(t->dtype);
}

int gpu_plan_write(GpuPlan *p, const Tensor *t, const void *from) {
    int code = p->gpu->call->copy(p->stream, address(p, t), from, bytes_of(t), GPU_TO_DEVICE);
    return code ? code : p->gpu->call->finish(p->stream);
}

int gpu_plan_read(GpuPlan *p, const Tensor *t, void *to) {
    int code = p->gpu->call->copy(p->stream, to, address(p, t), bytes_of(t), GPU_TO_HOST);
    return code ? code : p->gpu->call->finish(p->stream);
}

int gpu_plan_run(GpuPlan *p) {
    int code = p->graph ? p->gpu->call->graph_run(p->stream, p->graph) : launch_all(p);
    return code ? code : p->gpu->call->finish(p->stream);
}

GpuPlanFacts gpu_plan_facts(const GpuPlan *p) {
    return (GpuPlanFacts){p->block_bytes, p->weights_bytes, p->launches};
}
#endif
