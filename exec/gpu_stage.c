#include "exec/gpu_stage.h"

#ifndef PANUM_F64
#include "base/mem.h"

enum { ALIGNMENT = 256 };

typedef struct {
    const Tensor *tensor;
    size_t at, bytes; /* in a slot */
} Piece;

typedef struct {
    char *host, *device;
    GpuEvent *sent, *entered, *ran, *back; /* inputs arrived; taken; outputs taken; arrived */
} Slot;

struct GpuStage {
    GpuPlan *plan;
    Gpu *gpu;
    const GpuCalls *call;
    GpuStageOptions options;
    Piece *piece; /* inputs, then outputs */
    int pieces;
    size_t bytes; /* of a slot */
    Slot *slot;
    GpuStream *up, *down;
    void *host, *device;
};

static void place(GpuStage *s, const Tensor *t) {
    size_t bytes = (size_t)tensor_count(t) * dtype_size(t->dtype);
    s->piece[s->pieces++] = (Piece){t, s->bytes, bytes};
    s->bytes += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static int make_slot(GpuStage *s, int index) {
    Slot *slot = &s->slot[index];
    slot->host = (char *)s->host + (size_t)index * s->bytes;
    slot->device = (char *)s->device + (size_t)index * s->bytes;
    int code = s->call->event(s->gpu, &slot->sent);
    if (!code) code = s->call->event(s->gpu, &slot->entered);
    if (!code) code = s->call->event(s->gpu, &slot->ran);
    return code ? code : s->call->event(s->gpu, &slot->back);
}

static int build(GpuStage *s) {
    const GpuStageOptions *o = &s->options;
    s->piece = mem_zero((size_t)(o->inputs + o->outputs) + 1, sizeof *s->piece);
    s->slot = mem_zero((size_t)o->slots, sizeof *s->slot);
    if (!s->piece || !s->slot) return ERR_MEMORY;
    for (int i = 0; i < o->inputs; i++) place(s, o->input[i]);
    for (int i = 0; i < o->outputs; i++) place(s, o->output[i]);
    int code = s->call->memory(s->gpu, (size_t)o->slots * s->bytes, &s->device);
    if (!code) code = s->call->pinned(s->gpu, (size_t)o->slots * s->bytes, &s->host);
    if (!code) code = s->call->stream(s->gpu, &s->up);
    if (!code) code = s->call->stream(s->gpu, &s->down);
    for (int i = 0; !code && i < o->slots; i++) code = make_slot(s, i);
    return code;
}

int gpu_stage_make(GpuPlan *plan, Gpu *gpu, GpuStageOptions options, GpuStage **out) {
    *out = NULL;
    GpuStage *s = mem_zero(1, sizeof *s);
    if (!s) return ERR_MEMORY;
    s->plan = plan;
    s->gpu = gpu;
    s->call = gpu->call;
    s->options = options;
    int code = build(s);
    if (code)
        gpu_stage_drop(s);
    else
        *out = s;
    return code;
}

void gpu_stage_drop(GpuStage *s) {
    if (!s) return;
    if (s->up) (void)s->call->finish(s->up);
    (void)s->call->finish(gpu_plan_stream(s->plan));
    if (s->down) (void)s->call->finish(s->down);
    for (int i = 0; s->slot && i < s->options.slots; i++) {
        s->call->event_drop(s->slot[i].sent);
        s->call->event_drop(s->slot[i].entered);
        s->call->event_drop(s->slot[i].ran);
        s->call->event_drop(s->slot[i].back);
    }
    s->call->stream_drop(s->up);
    s->call->stream_drop(s->down);
    s->call->pinned_free(s->gpu, s->host);
    s->call->memory_free(s->gpu, s->device);
    mem_free(s->piece);
    mem_free(s->slot);
    mem_free(s);
}

void *gpu_stage_data(const GpuStage *s, int slot, const Tensor *t) {
    for (int i = 0; i < s->pieces; i++)
        if (s->piece[i].tensor == t) return s->slot[slot].host + s->piece[i].at;
    panum_bug(__FILE__, __LINE__, "tensor %d is not on this stage", t->id);
}

int gpu_stage_await(GpuStage *s, int slot) {
    return s->call->event_finish(s->slot[slot].sent);
}

int gpu_stage_send(GpuStage *s, int index) {
    Slot *slot = &s->slot[index];
    int code = s->call->await(s->up, slot->entered); /* what was sent before has been taken */
    for (int i = 0; !code && i < s->options.inputs; i++) {
        const Piece *p = &s->piece[i];
        code = s->call->copy(s->up, slot->device + p->at, slot->host + p->at, p->bytes, GPU_TO_DEVICE);
    }
    return code ? code : s->call->record(s->up, slot->sent);
}

int gpu_stage_enter(GpuStage *s, int index) {
    Slot *slot = &s->slot[index];
    GpuStream *stream = gpu_plan_stream(s->plan);
    int code = s->call->await(stream, slot->sent);
    for (int i = 0; !code && i < s->options.inputs; i++) {
        const Piece *p = &s->piece[i];
        code = s->call->copy(stream, gpu_plan_place(s->plan, p->tensor), slot->device + p->at, p->bytes, GPU_ON_DEVICE);
    }
    return code ? code : s->call->record(stream, slot->entered);
}

static int leave(GpuStage *s, int index) {
    Slot *slot = &s->slot[index];
    GpuStream *stream = gpu_plan_stream(s->plan);
    int code = s->call->await(stream, slot->back); /* what lay there has been fetched */
    for (int i = s->options.inputs; !code && i < s->pieces; i++) {
        const Piece *p = &s->piece[i];
        code = s->call->copy(stream, slot->device + p->at, gpu_plan_place(s->plan, p->tensor), p->bytes, GPU_ON_DEVICE);
    }
    if (!code) code = s->call->record(stream, slot->ran);
    if (!code) code = s->call->await(s->down, slot->ran);
    for (int i = s->options.inputs; !code && i < s->pieces; i++) {
        const Piece *p = &s->piece[i];
        code = s->call->copy(s->down, slot->host + p->at, slot->device + p->at, p->bytes, GPU_TO_HOST);
    }
    return code ? code : s->call->record(s->down, slot->back);
}

int gpu_stage_run(GpuStage *s, int slot) {
    int code = gpu_stage_enter(s, slot);
    if (!code) code = gpu_plan_start(s->plan);
    return code ? code : leave(s, slot);
}

int gpu_stage_finish(GpuStage *s, int slot) {
    return s->call->event_finish(s->slot[slot].back);
}

GpuStageFacts gpu_stage_facts(const GpuStage *s) {
    return (GpuStageFacts){(size_t)s->options.slots * s->bytes, (size_t)s->options.slots * s->bytes};
}
#endif
