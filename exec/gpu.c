#include "exec/gpu.h"

#ifndef PANUM_F64
#include "base/mem.h"
#include "cuda/kept.h"
#include "cuda/kernels/move.h"
#include "cuda/region.h"
#include "exec/gpu_steps.h"

#include <string.h>

enum { WEIGHT_ALIGNMENT = 256 };

typedef struct {
    int entry; /* in the store of kernels */
    const char *name, *define, *why;
    bool region;
    int step;
    double seconds;          /* the least measured; 0: none */
    const GpuKernel *kernel; /* once everything is compiled */
    GpuLaunch how;
    void *arguments; /* in the arena */
    size_t bytes;
    bool packs; /* copies a weight: not part of a run, unless the weights are somebody else's */
} Launch;

typedef struct {
    CopyBoxArgs how; /* its `to` NULL */
    GpuPack to;
    void *at;
} Packed;

struct GpuPlan {
    const Plan *plan;
    Program *program;
    Gpu *gpu;
    GpuPlanOptions options;
    KernelStore *kernels;
    GpuStream *stream;
    GpuGraph *graph;
    char *block, *weights; /* device memory; the weights may be somebody else's */
    size_t block_bytes, weights_bytes;
    int64_t *weight_at; /* by tensor id: offset among the weights, -1 none */
    Arena *arena;
    Launch *launch;                           /* one or several a step */
    int launches, room, step;                 /* step: the one that launches are added for */
    bool sizing;                              /* launchers are asked a first time, for what they need beside tensors */
    char *extra;                              /* device memory: tables, one after another, then one piece of scratch */
    size_t tables_bytes, scratch_bytes, next; /* `next`: where the next table lies */
    const char *why;                          /* of the launches to come in this step */
    Packed *pack;                             /* copies of weights in other layouts, among the tables */
    int packs, packs_room;
};

/* ---- where tensors lie ---- */

void *gpu_address(const void *plan, const Tensor *t) {
    const GpuPlan *p = plan;
    int id = t->base->id;
    int64_t place = plan_place(p->plan, t->base);
    char *base = p->weight_at[id] >= 0 ? p->weights + p->weight_at[id] : place >= 0 ? p->block + place : NULL;
    BUG_IF(!base, "tensor %d has no place on the device", id);
    return base + (size_t)t->offset * (gpu_half(p, t) ? 2 : dtype_size(t->dtype));
}

bool gpu_half(const GpuPlan *p, const Tensor *t) {
    return t && plan_half(p->plan, t->base);
}

static int copy_weights(GpuPlan *p, const WeightSource *source) {
    int code = 0;
    for (int i = 0; !code && i < program_tensors(p->program); i++) {
        const Tensor *t = program_tensor(p->program, i);
        if (p->weight_at[i] < 0) continue;
        const real *values = source->values(source->context, t);
        if (!values) return (int)err_code();
        code = p->gpu->call->copy(p->stream, p->weights + p->weight_at[i], values, tensor_bytes(t), GPU_TO_DEVICE);
    }
    return code ? code : p->gpu->call->finish(p->stream);
}

static int place_weights(GpuPlan *p, const WeightSource *source) {
    int tensors = program_tensors(p->program);
    const GpuWeights *given = p->options.weights;
    p->weight_at = mem_array((size_t)tensors, sizeof *p->weight_at);
    if (!p->weight_at) return ERR_MEMORY;
    for (int i = 0; i < tensors; i++) {
        const Tensor *t = program_tensor(p->program, i);
        p->weight_at[i] = -1;
        if (t->kind != TENSOR_WEIGHT || t->base != t) continue;
        p->weight_at[i] = given ? given->place(given->context, t) : (int64_t)p->weights_bytes;
        if (given) continue;
        p->weights_bytes += (tensor_bytes(t) + WEIGHT_ALIGNMENT - 1) / WEIGHT_ALIGNMENT * WEIGHT_ALIGNMENT;
    }
    if (given) p->weights = given->block;
    if (!p->weights_bytes) return 0;
    void *at;
    int code = p->gpu->call->memory(p->gpu, p->weights_bytes, &at);
    if (code) return code;
    p->weights = at;
    return copy_weights(p, source);
}

/* ---- a launch for each step ---- */

int gpu_no_kernel(const Node *node, const char *what) {
    return fail(ERR_DEVICE, "%s%s in %s has no kernel for a GPU yet; use the CPU", node->op->name, what, node->scope);
}

int gpu_too_large(const Step *step) {
    return fail(ERR_DEVICE, "%s is too large for a launch on a GPU", step->node ? step->node->op->name : "a region");
}

GpuRung gpu_rung(const GpuPlan *p) {
    return p->gpu->facts.form == GPU_EMBEDDED ? RUNG_KEPT : p->options.rung;
}

const GpuFacts *gpu_device(const GpuPlan *p) {
    return &p->gpu->facts;
}

static size_t padded(size_t bytes) {
    return (bytes + WEIGHT_ALIGNMENT - 1) / WEIGHT_ALIGNMENT * WEIGHT_ALIGNMENT;
}

int gpu_table(GpuPlan *p, const void *data, size_t bytes, const void **at) {
    char *to = p->sizing ? NULL : p->extra + p->next;
    *at = to;
    p->next += padded(bytes);
    return p->sizing ? 0 : p->gpu->call->copy(p->stream, to, data, bytes, GPU_TO_DEVICE);
}

const void *gpu_keep(GpuPlan *p, const void *data, size_t bytes) {
    void *kept = arena_alloc(p->arena, bytes);
    if (kept) memcpy(kept, data, bytes);
    return kept;
}

void *gpu_scratch(GpuPlan *p, size_t bytes) {
    if (p->sizing && bytes > p->scratch_bytes) p->scratch_bytes = padded(bytes);
    return p->sizing ? NULL : p->extra + p->tables_bytes;
}

int gpu_pack(GpuPlan *p, const Step *step, const CopyBoxArgs *how, GpuPack to, const void **at) {
    for (int i = 0; i < p->packs; i++)
        if (p->pack[i].to == to && !memcmp(&p->pack[i].how, how, sizeof *how)) {
            *at = p->pack[i].at;
            return 0;
        }
    if (p->packs == p->packs_room) {
        Packed *grown = mem_grow(p->pack, (size_t)(p->packs_room + 64) * sizeof *grown);
        if (!grown) return ERR_MEMORY;
        p->pack = grown;
        p->packs_room += 64;
    }
    CopyBoxArgs box = *how;
    box.to = p->sizing ? NULL : (void *)(p->extra + p->next);
    p->pack[p->packs++] = (Packed){*how, to, box.to};
    p->next += padded((size_t)box.count * (to == PACK_HALF ? 2 : sizeof(float)));
    *at = box.to;
    int code = gpu_launch(
        p, step, (GpuCode){"cuda/kernels/move.cu", "copy_box", NULL, gpu_values(p, NULL, false, to == PACK_HALF)},
        (GpuGrid){.x = gpu_blocks(box.count, GPU_BLOCK)}, &box, sizeof box);
    if (!code && !p->sizing) p->launch[p->launches - 1].packs = true;
    return code;
}

const char *gpu_values(GpuPlan *p, const char *define, bool load_half, bool store_half) {
    static const char *const values[] = {NULL, "-DLOAD_HALF", "-DSTORE_HALF", "-DLOAD_HALF -DSTORE_HALF"};
    const char *value = values[(load_half ? 1 : 0) + (store_half ? 2 : 0)];
    if (!value || !define) return value ? value : define;
    const char *both = arena_format(p->arena, "%s %s", value, define);
    return both ? both : define; /* without memory the arena has failed, and the launch after this sees it */
}

void gpu_because(GpuPlan *p, const char *why) {
    p->why = why;
}

int gpu_launch(GpuPlan *p, const Step *step, GpuCode code, GpuGrid grid, const void *arguments, size_t bytes) {
    if (grid.x > INT32_MAX || grid.y > GPU_GRID_Y_MAX || grid.z > GPU_GRID_Z_MAX) return gpu_too_large(step);
    if (p->sizing) return 0;
    if (p->launches == p->room) {
        Launch *grown = mem_grow(p->launch, (size_t)(p->room + 64) * sizeof *grown);
        if (!grown) return ERR_MEMORY;
        p->launch = grown;
        p->room += 64;
    }
    Launch *launch = &p->launch[p->launches++];
    *launch = (Launch){
        .name = arena_format(p->arena, "%s", code.kernel), .arguments = arena_alloc(p->arena, bytes), .bytes = bytes};
    launch->define = code.define ? arena_format(p->arena, "%s", code.define) : NULL;
    launch->region = code.region != NULL;
    launch->why = p->why;
    launch->step = p->step;
    if (!launch->arguments || !launch->name || (code.define && !launch->define)) return ERR_MEMORY;
    memcpy(launch->arguments, arguments, bytes);
    launch->how =
        (GpuLaunch){{(unsigned)(grid.x ? grid.x : 1), (unsigned)(grid.y ? grid.y : 1), (unsigned)(grid.z ? grid.z : 1)},
                    grid.threads ? grid.threads : GPU_BLOCK,
                    grid.shared};
    if (code.region && p->gpu->facts.form == GPU_EMBEDDED) {
        BUG_IF(code.define, "%s is not kept in a form that interprets regions", code.kernel);
        code.define = KEPT_REGION;
        code.region = NULL;
    }
    static const char *const half[] = {NULL, "-DHALF_IS_F16", "-DHALF_IS_BF16"};
    const char *define = half[p->options.storage];
    if (define && code.define) define = arena_format(p->arena, "%s %s", define, code.define);
    if (!define && p->options.storage != GPU_F32) return ERR_MEMORY;
    return kernel_store_want(p->kernels, code.file, code.region, define ? define : code.define, &launch->entry);
}

static const GpuOperator *find_operator(const Node *node) {
#define GPU_FAMILY_LISTED(name) gpu_##name##_operators,
    static const GpuOperator *const families[] = {GPU_FAMILIES(GPU_FAMILY_LISTED)};
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        for (const GpuOperator *row = families[f]; row->op; row++)
            if (!strcmp(row->op, node->op->name)) return row;
    return NULL;
}

static int prepare(GpuPlan *p, const Step *step) {
    p->why = NULL;
    if (!step->node) return gpu_launch_region(p, step, step->strip);
    if (step->node->output[0]->dtype != DTYPE_F32) return gpu_no_kernel(step->node, " of such a type");
    const GpuOperator *row = find_operator(step->node);
    return row ? row->launch(p, step) : gpu_no_kernel(step->node, "");
}

/* Every step twice: what its launches need beside tensors is found, then taken in one piece and given out. */
static int prepare_all(GpuPlan *p, const Steps *steps) {
    int code = 0;
    void *at = NULL;
    p->sizing = true;
    for (int i = 0; !code && i < steps->steps; i++) code = prepare(p, &steps->step[i]);
    p->sizing = false;
    p->tables_bytes = p->next;
    p->next = 0;
    p->packs = 0;
    if (!code && p->tables_bytes + p->scratch_bytes)
        code = p->gpu->call->memory(p->gpu, p->tables_bytes + p->scratch_bytes, &at);
    p->extra = at;
    for (int i = 0; !code && i < steps->steps; i++) {
        p->step = i;
        code = prepare(p, &steps->step[i]);
    }
    return code ? code : p->gpu->call->finish(p->stream); /* the tables are there */
}

static int compile_all(GpuPlan *p) {
    int code = kernel_store_build(p->kernels);
    for (int i = 0; !code && i < p->launches; i++)
        code = kernel_store_kernel(p->kernels, p->launch[i].entry, p->launch[i].name, &p->launch[i].kernel);
    return code;
}

typedef enum { RUN, PACK } LaunchPart;

/* Weights that are somebody else's may have changed since the last run: their copies are made in each. */
static bool is_part(const GpuPlan *p, const Launch *l, LaunchPart part) {
    return (l->packs && !p->options.weights) == (part == PACK);
}

static int launch_part(GpuPlan *p, LaunchPart part) {
    for (int i = 0; i < p->launches; i++) {
        const Launch *l = &p->launch[i];
        if (!is_part(p, l, part)) continue;
        int code = p->gpu->call->launch(p->stream, l->kernel, l->how, l->arguments, l->bytes);
        if (code) return code;
    }
    return 0;
}

static int pack_weights(GpuPlan *p) {
    int code = launch_part(p, PACK);
    return code ? code : p->gpu->call->finish(p->stream);
}

int gpu_plan_reload(GpuPlan *p, const WeightSource *source) {
    BUG_IF(p->options.weights, "the weights of this plan are not its own");
    int code = copy_weights(p, source);
    return code ? code : pack_weights(p);
}

/* ---- the plan ---- */

static int build(GpuPlan *p, const WeightSource *source) {
    const Steps *steps = plan_step_list(p->plan);
    p->program = steps->program;
    if (p->options.storage == GPU_BF16 && p->gpu->facts.arch < 80)
        return fail(ERR_DEVICE, "%s (sm_%d) has no bf16 products; choose f16 or f32", p->gpu->facts.name,
                    p->gpu->facts.arch);
    if (p->options.storage != GPU_F32 && p->gpu->facts.form == GPU_EMBEDDED)
        return fail(ERR_DEVICE, "16 bits a number on %s need a compiler (%s); f32 does not", p->gpu->facts.name,
                    p->gpu->facts.compiler);
    for (int i = 0; i < program_tensors(p->program); i++)
        BUG_IF(p->options.storage == GPU_F32 && plan_half(p->plan, program_tensor(p->program, i)->base),
               "a plan with 16-bit tensors and no word on which they are");
    p->block_bytes = plan_facts(p->plan).bytes;
    p->kernels = p->options.kernels ? p->options.kernels : kernel_store_make(p->gpu);
    p->arena = arena_make();
    if (!p->kernels || !p->arena) return ERR_MEMORY;
    int code = p->gpu->call->stream(p->gpu, &p->stream);
    if (!code) code = place_weights(p, source);
    void *at = NULL;
    if (!code) code = p->gpu->call->memory(p->gpu, p->block_bytes, &at);
    if (code) return code;
    p->block = at;
    code = prepare_all(p, steps);
    if (!code) code = compile_all(p);
    if (!code) code = pack_weights(p);
    if (code || p->options.launch_each) return code;
    code = p->gpu->call->capture(p->stream);
    if (code) return code;
    code = launch_part(p, RUN);
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
    if (!p->options.weights) p->gpu->call->memory_free(p->gpu, p->weights);
    p->gpu->call->memory_free(p->gpu, p->extra);
    p->gpu->call->stream_drop(p->stream);
    if (!p->options.kernels) kernel_store_drop(p->kernels);
    mem_free(p->weight_at);
    mem_free(p->launch);
    mem_free(p->pack);
    arena_drop(p->arena);
    mem_free(p);
}

static size_t bytes_of(const Tensor *t) {
    return (size_t)tensor_count(t) * dtype_size(t->dtype);
}

int gpu_plan_write(GpuPlan *p, const Tensor *t, const void *from) {
    int code = p->gpu->call->copy(p->stream, gpu_address(p, t), from, bytes_of(t), GPU_TO_DEVICE);
    return code ? code : p->gpu->call->finish(p->stream);
}

int gpu_plan_read(GpuPlan *p, const Tensor *t, void *to) {
    int code = p->gpu->call->copy(p->stream, to, gpu_address(p, t), bytes_of(t), GPU_TO_HOST);
    return code ? code : p->gpu->call->finish(p->stream);
}

int gpu_plan_start(GpuPlan *p) {
    return p->graph ? p->gpu->call->graph_run(p->stream, p->graph) : launch_part(p, RUN);
}

int gpu_plan_run(GpuPlan *p) {
    int code = gpu_plan_start(p);
    return code ? code : p->gpu->call->finish(p->stream);
}

GpuStream *gpu_plan_stream(GpuPlan *p) {
    return p->stream;
}

void *gpu_plan_place(GpuPlan *p, const Tensor *t) {
    return gpu_address(p, t);
}

GpuPlanFacts gpu_plan_facts(const GpuPlan *p) {
    int launches = 0;
    for (int i = 0; i < p->launches; i++) launches += is_part(p, &p->launch[i], RUN);
    return (GpuPlanFacts){p->block_bytes, p->weights_bytes, p->tables_bytes + p->scratch_bytes, launches};
}

/* ---- looking at launches ---- */

GpuLaunchFacts gpu_plan_launch(const GpuPlan *p, int launch) {
    const Launch *l = p->launch;
    while (!is_part(p, l, RUN) || launch-- > 0) l++;
    return (GpuLaunchFacts){l->name, l->define, l->why, l->region, l->step, l->how, l->seconds};
}

static int measure(GpuPlan *p, GpuEvent **event) {
    const GpuCalls *call = p->gpu->call;
    int code = call->record(p->stream, event[0]);
    for (int i = 0; !code && i < p->launches; i++) {
        const Launch *l = &p->launch[i];
        if (is_part(p, l, RUN)) code = call->launch(p->stream, l->kernel, l->how, l->arguments, l->bytes);
        if (!code) code = call->record(p->stream, event[i + 1]);
    }
    if (!code) code = call->finish(p->stream);
    for (int i = 0; !code && i < p->launches; i++) {
        double seconds;
        Launch *l = &p->launch[i];
        code = call->seconds(event[i], event[i + 1], &seconds);
        if (!code && (l->seconds == 0 || seconds < l->seconds)) l->seconds = seconds;
    }
    return code;
}

int gpu_plan_measure(GpuPlan *p, int rounds) {
    GpuEvent **event = mem_zero((size_t)p->launches + 1, sizeof *event);
    int code = event ? 0 : (int)ERR_MEMORY;
    for (int i = 0; !code && i <= p->launches; i++) code = p->gpu->call->event(p->gpu, &event[i]);
    for (int i = 0; !code && i < rounds; i++) code = measure(p, event);
    for (int i = 0; event && i <= p->launches; i++) p->gpu->call->event_drop(event[i]);
    mem_free(event);
    return code;
}
#endif
