#include "apps/lib/train_device.h"
#include "base/mem.h"
#include "cuda/kernels/optimiser.h"
#include "exec/gpu_stage.h"

#include <string.h>

_Static_assert((int)OPTIMISER_GROUPS == (int)OPTIM_GROUPS_MAX + 1, "kernels know as many groups");
_Static_assert(OPTIMISER_PIECE % PARAMETER_ALIGN == 0, "tiles end where parameters do");

enum { THREADS = 256, SLOTS = 2 };

/* What a step leaves for the host. */
typedef struct {
    OptimiserVerdict verdict;
    float scalar[]; /* [parts][scalars] */
} Word;

struct TrainDevice {
    TrainDeviceOptions o;
    Gpu *gpu;
    const GpuCalls *call;
    GpuWeights weights;
    GpuPlan *plan;
    GpuStage *stage;
    GpuStream *stream; /* the plan's: everything but the way of inputs is in it */
    const Tensor **input;
    /* blocks of numbers on the device */
    float *weight, *gradient, *state[OPTIM_BLOCKS];
    void *tables; /* pieces of gradients, pieces of scalars for each part, tiles, sums, verdict */
    size_t table_bytes;
    GradientPiece *pieces, *scalar_pieces;
    OptimiserTile *tiles;
    double *sums;
    OptimiserVerdict *verdict;
    int piece_count, tile_count;
    const GpuKernel *gather, *square, *judge, *update;
    void *pinned; /* the word, then the seed */
    Word *word;
    float *seed;
    int fill, next; /* slots: to fill, to run */
    size_t bytes;
};

static size_t block_bytes(const TrainDevice *d) {
    return (size_t)d->o.list->block * sizeof(float);
}

static int scalars_of_step(const TrainDevice *d) {
    return d->o.parts * d->o.scalars;
}

static int64_t pieces_of(int64_t count) {
    return (count + OPTIMISER_PIECE - 1) / OPTIMISER_PIECE;
}

/* ---- tables ---- */

static void cut_gradients(const TrainDevice *d, GradientPiece *to) {
    for (int k = 0; k < d->o.list->count; k++) {
        const Parameter *p = &d->o.list->at[k];
        const float *from = d->o.gradient[k] ? gpu_plan_place(d->plan, d->o.gradient[k]) : NULL;
        for (int64_t at = 0; at < p->count; at += OPTIMISER_PIECE) {
            int64_t count = p->count - at < OPTIMISER_PIECE ? p->count - at : OPTIMISER_PIECE;
            *to++ = (GradientPiece){from ? from + at : NULL, p->offset + at, (int)count, 0};
        }
    }
}

static void cut_scalars(const TrainDevice *d, GradientPiece *to) {
    for (int part = 0; part < d->o.parts; part++)
        for (int i = 0; i < d->o.scalars; i++)
            *to++ = (GradientPiece){gpu_plan_place(d->plan, d->o.scalar[i]),
                                    d->o.list->block + (int64_t)part * d->o.scalars + i, 1, 0};
}

/* Parameters that are not frozen, neighbours of one group together. Returns how many; `to` NULL only counts. */
static int cut_tiles(const TrainDevice *d, OptimiserTile *to) {
    const ParameterList *list = d->o.list;
    const OptimOptions *options = optim_options(d->o.optim);
    int count = 0;
    for (int i = 0, next; i < list->count; i = next) {
        int group = optim_group(d->o.optim, i);
        for (next = i + 1; next < list->count && optim_group(d->o.optim, next) == group;) next++;
        if (group >= 0 && options->group[group].frozen) continue;
        int64_t end = next < list->count ? list->at[next].offset : list->block;
        for (int64_t at = list->at[i].offset; at < end; at += OPTIMISER_PIECE, count++)
            if (to)
                to[count] =
                    (OptimiserTile){at, (int)(end - at < OPTIMISER_PIECE ? end - at : OPTIMISER_PIECE), group + 1};
    }
    return count;
}

/* Bytes of a table, so that the next one begins aligned. */
static size_t room_of(int64_t count, size_t each) {
    return ((size_t)count * each + 255) / 256 * 256;
}

static int take(TrainDevice *d, size_t bytes, void *at) {
    void *memory;
    int code = d->call->memory(d->gpu, bytes, &memory);
    if (code) return code;
    memcpy(at, &memory, sizeof memory);
    d->bytes += bytes;
    return 0;
}

static int make_tables(TrainDevice *d) {
    int64_t pieces = 0;
    for (int k = 0; k < d->o.list->count; k++) pieces += pieces_of(d->o.list->at[k].count);
    d->tile_count = cut_tiles(d, NULL);
    BUG_IF(pieces > INT32_MAX / 2 || d->tile_count > INT32_MAX / 2, "too many parameters for a launch");
    d->piece_count = (int)pieces;
    size_t a = room_of(pieces, sizeof(GradientPiece)), b = room_of(scalars_of_step(d), sizeof(GradientPiece));
    size_t c = room_of(d->tile_count, sizeof(OptimiserTile)), sums = room_of(d->tile_count + 1, sizeof(double));
    d->table_bytes = a + b + c;
    int code = take(d, d->table_bytes + sums + sizeof(OptimiserVerdict), &d->tables);
    char *host = code ? NULL : mem_zero(d->table_bytes, 1), *there = d->tables;
    if (!host) return code ? code : (int)ERR_MEMORY;
    d->pieces = (GradientPiece *)there;
    d->scalar_pieces = (GradientPiece *)(there + a);
    d->tiles = (OptimiserTile *)(there + a + b);
    d->sums = (double *)(there + d->table_bytes);
    d->verdict = (OptimiserVerdict *)(there + d->table_bytes + sums);
    cut_gradients(d, (GradientPiece *)host);
    cut_scalars(d, (GradientPiece *)(host + a));
    cut_tiles(d, (OptimiserTile *)(host + a + b));
    code = d->call->copy(d->stream, d->tables, host, d->table_bytes, GPU_TO_DEVICE);
    if (!code) code = d->call->finish(d->stream);
    mem_free(host);
    return code;
}

/* ---- making ---- */

static int64_t place_weight(const void *context, const Tensor *weight) {
    const TrainDevice *d = context;
    int k = parameters_find(d->o.list, weight->name);
    BUG_IF(k < 0, "parameter %s is not in the list", weight->name);
    return d->o.list->at[k].offset * (int64_t)sizeof(float);
}

static int take_blocks(TrainDevice *d) {
    /* the gradients' block ends with the scalars of each part */
    int code = take(d, block_bytes(d) + (size_t)scalars_of_step(d) * sizeof(float), &d->gradient);
    if (!code) code = take(d, block_bytes(d), &d->weight);
    for (int b = 0; !code && b < OPTIM_BLOCKS; b++)
        if (optim_block(d->o.optim, b)) code = take(d, block_bytes(d), &d->state[b]);
    size_t word = sizeof *d->word + (size_t)scalars_of_step(d) * sizeof(float);
    if (!code) code = d->call->pinned(d->gpu, word + sizeof *d->seed, &d->pinned);
    if (code) return code;
    d->word = d->pinned;
    d->seed = d->word->scalar + scalars_of_step(d);
    return 0;
}

static int find_kernels(TrainDevice *d) {
    static const char file[] = "cuda/kernels/optimiser.cu";
    bool adamw = optim_options(d->o.optim)->method == OPTIM_ADAMW;
    int entry, code = kernel_store_want(d->o.kernels, file, NULL, NULL, &entry);
    if (!code) code = kernel_store_build(d->o.kernels);
    if (!code) code = kernel_store_kernel(d->o.kernels, entry, "gather_gradients", &d->gather);
    if (!code) code = kernel_store_kernel(d->o.kernels, entry, "square_gradients", &d->square);
    if (!code) code = kernel_store_kernel(d->o.kernels, entry, "judge_gradients", &d->judge);
    return code ? code : kernel_store_kernel(d->o.kernels, entry, adamw ? "step_adamw" : "step_sgd", &d->update);
}

static int make_plan(TrainDevice *d) {
    d->weights = (GpuWeights){d->weight, place_weight, d};
    GpuPlanOptions options = {.storage = d->o.storage, .weights = &d->weights, .kernels = d->o.kernels};
    int code = gpu_plan_make(d->o.plan, NULL, d->gpu, options, &d->plan);
    if (code) return code;
    GpuPlanFacts facts = gpu_plan_facts(d->plan);
    d->bytes += facts.block + facts.extra;
    int tensors = program_tensors(d->o.program);
    GpuStageOptions stage = {.slots = SLOTS};
    d->input = mem_array((size_t)tensors, sizeof *d->input);
    if (!d->input) return ERR_MEMORY;
    for (int i = 0; i < tensors; i++) {
        const Tensor *t = program_tensor(d->o.program, i);
        if (t->kind == TENSOR_INPUT && t->base == t && t != d->o.seed) d->input[stage.inputs++] = t;
    }
    stage.input = d->input;
    code = gpu_stage_make(d->plan, d->gpu, stage, &d->stage);
    if (!code) d->bytes += gpu_stage_facts(d->stage).device;
    return code;
}

static int build(TrainDevice *d) {
    int code = take_blocks(d);
    if (!code) code = make_plan(d);
    if (code) return code;
    d->stream = gpu_plan_stream(d->plan);
    code = d->call->fill(d->stream, d->gradient, 0, block_bytes(d)); /* between parameters it stays 0 */
    if (!code) code = make_tables(d);
    if (!code) code = find_kernels(d);
    return code ? code : train_device_put(d);
}

int train_device_make(Gpu *gpu, const TrainDeviceOptions *options, TrainDevice **out) {
    *out = NULL;
    TrainDevice *d = mem_zero(1, sizeof *d);
    if (!d) return ERR_MEMORY;
    d->o = *options;
    d->gpu = gpu;
    d->call = gpu->call;
    int code = build(d);
    if (code)
        train_device_drop(d);
    else
        *out = d;
    return code;
}

void train_device_drop(TrainDevice *d) {
    if (!d) return;
    if (d->stream) (void)d->call->finish(d->stream);
    gpu_stage_drop(d->stage);
    gpu_plan_drop(d->plan);
    d->call->memory_free(d->gpu, d->tables);
    d->call->memory_free(d->gpu, d->gradient);
    d->call->memory_free(d->gpu, d->weight);
    for (int b = 0; b < OPTIM_BLOCKS; b++) d->call->memory_free(d->gpu, d->state[b]);
    d->call->pinned_free(d->gpu, d->pinned);
    mem_free(d->input);
    mem_free(d);
}

/* ---- the mirror ---- */

int train_device_put(TrainDevice *d) {
    size_t bytes = block_bytes(d);
    int code = d->call->copy(d->stream, d->weight, d->o.weights, bytes, GPU_TO_DEVICE);
    for (int b = 0; !code && b < OPTIM_BLOCKS; b++)
        if (d->state[b]) code = d->call->copy(d->stream, d->state[b], optim_block(d->o.optim, b), bytes, GPU_TO_DEVICE);
    return code ? code : d->call->finish(d->stream);
}

int train_device_fetch(TrainDevice *d) {
    size_t bytes = block_bytes(d);
    int code = d->call->copy(d->stream, d->o.weights, d->weight, bytes, GPU_TO_HOST);
    for (int b = 0; !code && b < OPTIM_BLOCKS; b++)
        if (d->state[b]) code = d->call->copy(d->stream, optim_block(d->o.optim, b), d->state[b], bytes, GPU_TO_HOST);
    return code ? code : d->call->finish(d->stream);
}

/* ---- a step ---- */

int train_device_await(TrainDevice *d) {
    return gpu_stage_await(d->stage, d->fill);
}

static void *place_input(const void *context, const Tensor *t) {
    const TrainDevice *d = context;
    return gpu_stage_data(d->stage, d->fill, t);
}

HostPlaces train_device_places(const TrainDevice *d) {
    return (HostPlaces){place_input, d};
}

int train_device_send(TrainDevice *d) {
    int slot = d->fill;
    d->fill = (slot + 1) % SLOTS;
    return gpu_stage_send(d->stage, slot);
}

void train_device_discard(TrainDevice *d) {
    d->next = d->fill;
}

static int launch(TrainDevice *d, const GpuKernel *kernel, int blocks, const void *arguments, size_t bytes) {
    if (!blocks) return 0;
    return d->call->launch(d->stream, kernel, (GpuLaunch){{(unsigned)blocks, 1, 1}, THREADS, 0}, arguments, bytes);
}

int train_device_part(TrainDevice *d, int part, double seed) {
    int slot = d->next;
    d->next = (slot + 1) % SLOTS;
    if (part == 0) *d->seed = (float)seed; /* nothing of the last step is under way any more */
    BUG_IF(*d->seed != (float)seed, "the loss scale changed inside a step");
    int code = gpu_stage_enter(d->stage, slot);
    if (!code)
        code = d->call->copy(d->stream, gpu_plan_place(d->plan, d->o.seed), d->seed, sizeof *d->seed, GPU_TO_DEVICE);
    if (!code) code = gpu_plan_start(d->plan);
    GatherArgs gradients = {d->pieces, d->gradient, part > 0};
    GatherArgs scalars = {d->scalar_pieces + (size_t)part * (size_t)d->o.scalars, d->gradient, 0};
    if (!code) code = launch(d, d->gather, d->piece_count, &gradients, sizeof gradients);
    return code ? code : launch(d, d->gather, d->o.scalars, &scalars, sizeof scalars);
}

int train_device_update(TrainDevice *d, double scale, double rate) {
    const OptimOptions *options = optim_options(d->o.optim);
    const float *scalars = d->gradient + d->o.list->block;
    SquaresArgs squares = {d->gradient, d->tiles, d->sums};
    VerdictArgs verdict = {.sum = d->sums,
                           .loss = scalars,
                           .verdict = d->verdict,
                           .scale = scale,
                           .clip = options->clip,
                           .tiles = d->tile_count,
                           .losses = d->o.parts,
                           .losses_apart = d->o.scalars};
    OptimNumbers n = optim_numbers(d->o.optim, rate);
    UpdateArgs update = {.weight = d->weight,
                         .moment1 = d->state[OPTIM_MOMENT1],
                         .moment2 = d->state[OPTIM_MOMENT2],
                         .average = d->state[OPTIM_AVERAGE],
                         .gradient = d->gradient,
                         .tile = d->tiles,
                         .verdict = d->verdict,
                         .gain1 = n.gain1,
                         .keep2 = n.keep2,
                         .gain2 = n.gain2,
                         .root = n.root,
                         .epsilon = n.epsilon,
                         .momentum = n.momentum,
                         .towards = n.towards};
    for (int g = 0; g < OPTIMISER_GROUPS; g++)
        update.rate[g] = (OptimiserRate){n.rate[g].keep, n.rate[g].step, n.rate[g].shrink};
    int code = launch(d, d->square, d->tile_count, &squares, sizeof squares);
    if (!code) code = launch(d, d->judge, 1, &verdict, sizeof verdict);
    if (!code) code = launch(d, d->update, d->tile_count, &update, sizeof update);
    if (!code) code = d->call->copy(d->stream, &d->word->verdict, d->verdict, sizeof *d->verdict, GPU_TO_HOST);
    return code ? code
                : d->call->copy(d->stream, d->word->scalar, scalars, (size_t)scalars_of_step(d) * sizeof(float),
                                GPU_TO_HOST);
}

int train_device_finish(TrainDevice *d, TrainDeviceStep *step) {
    int code = d->call->finish(d->stream);
    if (code) return code;
    *step = (TrainDeviceStep){{d->word->verdict.norm, d->word->verdict.skipped != 0}, d->word->scalar};
    if (!step->done.skipped) optim_set_steps(d->o.optim, optim_steps(d->o.optim) + 1);
    return 0;
}

size_t train_device_bytes(const TrainDevice *d) {
    return d->bytes;
}

GpuPlan *train_device_plan(TrainDevice *d) {
    return d->plan;
}
