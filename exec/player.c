#include "exec/player.h"

#ifndef PANUM_F64
#include "base/mem.h"
#include "exec/gpu_stage.h"

static void *data_of_plan(const void *plan, const Tensor *t) {
    return plan_data(plan, t);
}

HostPlaces plan_places(const Plan *plan) {
    return (HostPlaces){data_of_plan, plan};
}

struct Player {
    Plan *plan;
    int slots;
    WeightSource weights;
    /* on a GPU */
    GpuPlan *gpu;
    GpuStage *stage;
    const Tensor **tensor;
    int fill, next, read; /* slots: of the run to come, the next to finish, the last one finished */
};

static int put_on_gpu(Player *p, Program *program, PlayerOptions options) {
    int tensors = program_tensors(program), outputs = program_outputs(program);
    p->tensor = mem_array((size_t)(tensors + outputs), sizeof *p->tensor);
    if (!p->tensor) return ERR_MEMORY;
    GpuStageOptions stage = {.input = p->tensor, .output = p->tensor + tensors, .slots = p->slots};
    for (int i = 0; i < tensors; i++) {
        const Tensor *t = program_tensor(program, i);
        if (t->kind == TENSOR_INPUT && t->base == t) p->tensor[stage.inputs++] = t;
    }
    for (int i = 0; i < outputs; i++) {
        const char *name;
        p->tensor[tensors + stage.outputs++] = program_output_at(program, i, &name);
    }
    int code = gpu_plan_make(p->plan, &p->weights, options.gpu, options.on_gpu, &p->gpu);
    return code ? code : gpu_stage_make(p->gpu, options.gpu, stage, &p->stage);
}

int player_make(Program *program, const WeightSource *weights, Pool *pool, PlayerOptions options, Player **out) {
    *out = NULL;
    Player *p = mem_zero(1, sizeof *p);
    if (!p) return ERR_MEMORY;
    p->weights = *weights;
    p->slots = options.slots ? options.slots : 1;
    options.plan.shape_only = options.gpu != NULL;
    int code = plan_make(program, weights, pool, options.plan, &p->plan);
    if (!code && options.gpu) code = put_on_gpu(p, program, options);
    if (code)
        player_drop(p);
    else
        *out = p;
    return code;
}

void player_drop(Player *p) {
    if (!p) return;
    gpu_stage_drop(p->stage);
    gpu_plan_drop(p->gpu);
    plan_drop(p->plan);
    mem_free(p->tensor);
    mem_free(p);
}

Plan *player_plan(Player *p) {
    return p->plan;
}

void *player_data(const Player *p, const Tensor *t) {
    if (!p->stage) return plan_data(p->plan, t);
    return gpu_stage_data(p->stage, t->kind == TENSOR_INPUT ? p->fill : p->read, t);
}

static void *data_of_player(const void *player, const Tensor *t) {
    return player_data(player, t);
}

HostPlaces player_places(const Player *p) {
    return (HostPlaces){data_of_player, p};
}

int player_start(Player *p) {
    if (!p->stage) return 0;
    int slot = p->fill;
    p->fill = (slot + 1) % p->slots;
    int code = gpu_stage_send(p->stage, slot);
    return code ? code : gpu_stage_run(p->stage, slot);
}

int player_finish(Player *p) {
    if (!p->stage) return plan_run(p->plan);
    p->read = p->next;
    p->next = (p->next + 1) % p->slots;
    return gpu_stage_finish(p->stage, p->read);
}

int player_run(Player *p) {
    int code = player_start(p);
    return code ? code : player_finish(p);
}

int player_await(Player *p) {
    return p->stage ? gpu_stage_await(p->stage, p->fill) : 0;
}

int player_reload(Player *p) {
    if (p->gpu) return gpu_plan_reload(p->gpu, &p->weights);
    plan_repack(p->plan);
    return 0;
}

size_t player_device_bytes(const Player *p) {
    if (!p->gpu) return 0;
    GpuPlanFacts facts = gpu_plan_facts(p->gpu);
    return facts.block + facts.weights + facts.extra + gpu_stage_facts(p->stage).device;
}
#endif
