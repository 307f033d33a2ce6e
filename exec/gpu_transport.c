/* exec/gpu_transport.c - optimal transport on a GPU, the mass of its plan in windows, and the gradient of both. */
#include "exec/gpu_steps.h"

#ifndef PANUM_F64
#include "cuda/kept.h"
#include "cuda/kernels/transport.h"
#include "tensor/ops/transport_node.h"

static TransportArgs transport_args(GpuPlan *p, const Tensor *cv, TransportOptions options) {
    const int64_t w = cv->size[cv->rank - 1];
    return (TransportArgs){
        .scores = gpu_address(p, cv),
        .pair = cv->rank == 4 ? cv->stride[0] : 0,
        .row = cv->stride[cv->rank - 3],
        .line = cv->stride[cv->rank - 2],
        .h = (int)cv->size[cv->rank - 3],
        .w = (int)w,
        .pitch = (int)(w / 32 * 32 + 32),
        .iterations = options.iterations,
        .positive = options.positive,
    };
}

/* What the fast rung is compiled for: rows of so many times 32 columns, the dustbin among them. Wide ones take fewer
 * threads, which may have more registers. */
static const struct {
    int columns;
    unsigned threads;
    const char *define;
} WIDTHS[] = {
    {4, 512, "-DCOLUMNS=4"}, {8, 512, "-DCOLUMNS=8"}, {16, 512, "-DCOLUMNS=16"}, {32, 256, "-DCOLUMNS=32 -DWARPS=8"}};
enum { PLAIN_THREADS = 512 };

typedef struct {
    const char *file, *plain, *fast; /* kernels of the two rungs */
    int vectors;                     /* in shared memory, beside the fast rung's parts */
    size_t more;                     /* bytes there */
} Form;

/* One block an image row, `t` inside `arguments`. The matrix is on chip if there is room for it. */
static int launch_rows(GpuPlan *p, const Step *step, Form form, TransportArgs *t, const void *arguments, size_t bytes) {
    const size_t room = gpu_device(p)->shared_a_block, w = (size_t)t->w;
    const size_t vector = (size_t)t->pitch * sizeof(float), matrix = w * w * sizeof(float);
    size_t least = (size_t)form.vectors * vector + form.more;
    GpuCode code = {form.file, form.plain, NULL, NULL};
    GpuGrid grid = {.x = tensor_count(step->node->input[0]) / (t->w * (int64_t)t->w), .threads = PLAIN_THREADS};
    for (size_t k = 0; k < sizeof WIDTHS / sizeof *WIDTHS && !code.define; k++) {
        if (gpu_rung(p) != RUNG_FAST || t->pitch > 32 * WIDTHS[k].columns) continue;
        if (least + TRANSPORT_PARTS * vector > room) break;
        code.kernel = form.fast;
        code.define = WIDTHS[k].define;
        grid.threads = WIDTHS[k].threads;
    }
    if (code.define) least += TRANSPORT_PARTS * vector;
    if (least > room) return gpu_no_kernel(step->node, " of so many columns for this device's shared memory");
    if (gpu_rung(p) == RUNG_KEPT) code.define = KEPT_PLAIN;
    t->on_chip = matrix <= room - least;
    if (!t->on_chip)
        gpu_because(p, "rows too long for shared memory: the matrix is streamed");
    else if (gpu_rung(p) == RUNG_FAST && code.kernel == form.plain)
        gpu_because(p, "rows too long for the fast rung");
    grid.shared = least + (t->on_chip ? matrix : 0);
    return gpu_launch(p, step, code, grid, arguments, bytes);
}

static int launch_transport(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    TransportArgs a = transport_args(p, node->input[0], *(const TransportOptions *)node->attributes);
    a.disparity = gpu_address(p, node->output[0]);
    a.confidence = gpu_address(p, node->output[1]);
    a.occlusion = gpu_address(p, node->output[2]);
    const Form form = {"cuda/kernels/transport.cu", "transport_plain", "transport_fast", TRANSPORT_VECTORS, 0};
    return launch_rows(p, step, form, &a, &a, sizeof a);
}

static TransportMap map_of(GpuPlan *p, const Tensor *t) {
    return (TransportMap){gpu_address(p, t), t->stride[0], t->stride[2], t->stride[3]};
}

static TransportBackArgs back_args(GpuPlan *p, const Node *node) {
    const TransportBackward *attributes = node->attributes;
    TransportBackArgs a = {
        .transport = transport_args(p, node->input[0], attributes->options),
        .radius = attributes->radius,
        .factor = attributes->factor,
        .windows = attributes->mass,
    };
    if (attributes->mass) {
        a.truth = map_of(p, node->input[1]);
        a.valid = map_of(p, node->input[2]);
    }
    return a;
}

static int launch_mass(GpuPlan *p, const Step *step) {
    TransportBackArgs a = back_args(p, step->node);
    a.mass = gpu_address(p, step->node->output[0]);
    const Form form = {"cuda/kernels/transport_gradient.cu", "transport_mass_plain", "transport_mass_fast",
                       TRANSPORT_VECTORS, 0};
    return launch_rows(p, step, form, &a.transport, &a, sizeof a);
}

static int launch_backward(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    const TransportBackward *attributes = node->attributes;
    TransportBackArgs a = back_args(p, node);
    a.d_scores = gpu_address(p, node->output[0]);
    if (attributes->mass) a.d_mass = map_of(p, node->input[3]);
    TransportMap *const given[3] = {&a.d_disparity, &a.d_confidence, &a.d_occlusion};
    for (int k = 0, next = 1; k < 3; k++)
        if (attributes->given[k]) *given[k] = map_of(p, node->input[next++]);
    const size_t bits = a.windows ? (size_t)a.transport.w * (size_t)(a.transport.pitch / 32) * sizeof(u32) : 0;
    const Form form = {"cuda/kernels/transport_gradient.cu", "transport_backward_plain", "transport_backward_fast",
                       TRANSPORT_BACK_VECTORS(a.transport.iterations), bits};
    return launch_rows(p, step, form, &a.transport, &a, sizeof a);
}

const GpuOperator gpu_transport_operators[] = {
    {"transport", launch_transport},
    {"transport_mass", launch_mass},
    {"transport_backward", launch_backward},
    {0},
};
#endif
