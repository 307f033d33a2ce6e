#include "exec/plan.h"
#include "base/clock.h"
#include "base/mem.h"
#include "exec/steps.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

/* A stretch of the block: a tensor's storage or a step's scratch. */
typedef struct {
    const Tensor *tensor; /* NULL: scratch of step `first` */
    size_t bytes, offset;
    int first, last; /* steps between which it holds something that will be read */
    int joined;      /* another item whose bytes it takes over; -1: its own */
} Item;

typedef struct {
    Hole hole; /* first: the kernel hands back its address */
    const StripProgram *strip;
    StripPlaces places;
    unsigned past;
} StripHole;

typedef struct {
    Run run;
    StripHole hole, past; /* the same, but large results go past the caches */
    double seconds;
    double done; /* share of the plan's work up to and with this step */
} Player;

struct Plan {
    Program *program;
    Pool *pool;
    Arena *arena;
    PlanOptions options;
    Steps steps;
    Item *item;
    int items;
    int *item_of;   /* by base tensor id; -1 none */
    bool *half;     /* by base tensor id: stored in 16 bits a number */
    void **bytes;   /* by base tensor id */
    Player *player; /* by step */
    struct {
        const Node *node;
        void *packed;
    } * pack; /* every packed copy once */
    int packs;
    char *block;
    size_t block_bytes, live_peak, kept; /* kept: at the turn from forward to backward */
    int peak_step;
    bool profile;
    PlanWatch watch;
    void *watch_context;
};

/* ---- which nodes are needed ---- */

static void mark_alive(Steps *s) {
    Program *p = s->program;
    bool *needed = arena_alloc(s->arena, (size_t)program_tensors(p));
    s->alive = arena_alloc(s->arena, (size_t)program_nodes(p));
    s->wanted = arena_alloc(s->arena, (size_t)program_tensors(p));
    if (arena_failed(s->arena)) return;
    for (int i = 0; i < program_outputs(p); i++) s->wanted[program_output_at(p, i, NULL)->base->id] = true;
    for (int i = 0; s->options.keep_taps && i < program_taps(p); i++)
        s->wanted[program_tap_at(p, i, NULL)->base->id] = true;
    memcpy(needed, s->wanted, (size_t)program_tensors(p));
    for (int i = program_nodes(p) - 1; i >= 0; i--) {
        const Node *node = program_node(p, i);
        for (int k = 0; k < node->outputs; k++)
            s->alive[i] |= needed[node->output[k]->base->id] && node->op->kind != OP_VIEW;
        for (int k = 0; s->alive[i] && k < node->inputs; k++)
            if (node->input[k]) needed[node->input[k]->base->id] = true;
    }
}

int steps_interpret(Steps *s) {
    int nodes = program_nodes(s->program);
    s->step = arena_alloc(s->arena, (size_t)nodes * sizeof *s->step);
    if (!s->step) return ERR_MEMORY;
    for (int i = 0; i < nodes; i++) {
        const Node *node = program_node(s->program, i);
        if (s->alive[i] && node->op->kind != OP_VIEW) s->step[s->steps++] = (Step){node, NULL};
    }
    return 0;
}

/* ---- lifetimes and places ---- */

/* Calls visit for every tensor a step reads, with the index of the strip operand it is, or -1. */
static const Tensor *step_read(const Step *step, int index, int *operand) {
    int inputs = step->node ? step->node->inputs : 0;
    *operand = -1;
    if (index < inputs) return step->node->input[index];
    index -= inputs;
    *operand = index;
    return step->strip->operand[index].tensor;
}

static int step_reads(const Step *step) {
    return (step->node ? step->node->inputs : 0) + (step->strip ? step->strip->operands : 0);
}

/* What a region stores stands for the first output of the operator whose tiles it takes; the others are as they are. */
static int step_writes(const Step *step) {
    if (!step->strip) return step->node->outputs;
    return step->strip->outputs + (step->node ? step->node->outputs - 1 : 0);
}

static const Tensor *step_write(const Step *step, int index) {
    if (!step->strip) return step->node->output[index];
    if (index < step->strip->outputs) return step->strip->output[index].tensor;
    return step->node->output[index - step->strip->outputs + 1];
}

static size_t round_up(size_t bytes) {
    return (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

static int add_item(Plan *plan, const Tensor *tensor, size_t bytes, int first, int last) {
    plan->item[plan->items] = (Item){tensor, round_up(bytes), 0, first, last, -1};
    if (tensor) plan->item_of[tensor->id] = plan->items;
    return plan->items++;
}

/* What the storage of a base tensor takes. */
static size_t stored_bytes(const Plan *plan, const Tensor *t) {
    return tensor_bytes(t) / (plan->half[t->id] ? 2 : 1);
}

static int choose_storage(Plan *plan) {
    Steps *s = &plan->steps;
    plan->half = arena_alloc(plan->arena, (size_t)program_tensors(plan->program) * sizeof *plan->half);
    if (!plan->half) return ERR_MEMORY;
    if (!plan->options.halves) return 0;
    plan->options.halves(s, plan->half);
    for (int i = 0; i < s->steps; i++) {
        StripProgram *strip = s->step[i].strip;
        for (int k = 0; strip && k < strip->operands; k++) {
            StripOperand *operand = &strip->operand[k];
            operand->half = operand->tensor && plan->half[operand->tensor->base->id];
        }
        for (int k = 0; strip && k < strip->outputs; k++)
            strip->output[k].half = plan->half[strip->output[k].tensor->base->id];
    }
    return 0;
}

static int make_items(Plan *plan) {
    Steps *s = &plan->steps;
    int tensors = program_tensors(plan->program), last = s->steps;
    plan->item = arena_alloc(plan->arena, (size_t)(tensors + s->steps) * sizeof *plan->item);
    plan->item_of = arena_alloc(plan->arena, (size_t)tensors * sizeof *plan->item_of);
    if (arena_failed(plan->arena)) return ERR_MEMORY;
    for (int i = 0; i < tensors; i++) plan->item_of[i] = -1;
    for (int i = 0; i < tensors; i++) {
        const Tensor *t = program_tensor(plan->program, i);
        if (t->kind == TENSOR_INPUT && t->base == t) add_item(plan, t, stored_bytes(plan, t), -1, -1);
    }
    for (int i = 0; i < s->steps; i++) {
        const Step *step = &s->step[i];
        for (int k = 0; k < step_writes(step); k++) {
            const Tensor *t = step_write(step, k);
            if (plan->item_of[t->id] < 0) add_item(plan, t, stored_bytes(plan, t), i, s->wanted[t->id] ? last : i);
        }
        for (int k = 0, operand; k < step_reads(step); k++) {
            const Tensor *t = step_read(step, k, &operand);
            if (!t || t->base->kind == TENSOR_WEIGHT) continue;
            int item = plan->item_of[t->base->id];
            BUG_IF(item < 0, "step %d reads a tensor that no step made", i);
            if (plan->item[item].last < i) plan->item[item].last = i;
        }
    }
    /* an input may be read by the caller again only if it is an output as well; it keeps its place to the end, so that
       it can be filled while nothing runs */
    for (int i = 0; i < plan->items; i++)
        if (plan->item[i].first < 0) plan->item[i].last = last;
    return 0;
}

#ifndef PANUM_F64
/* Nobody else has taken over the bytes of this item. */
static bool unclaimed(const Plan *plan, int item) {
    for (int n = 0; n < plan->items; n++)
        if (plan->item[n].joined == item) return false;
    return true;
}

/* An operator alone may say that it can write over an input. */
static void join_operator_in_place(Plan *plan, int i) {
    const Node *node = plan->steps.step[i].node;
    if (!node->op->in_place || !node->op->run) return;
    const Tensor *out = node->output[0];
    for (int k = 0; k < node->inputs; k++) {
        const Tensor *x = node->input[k];
        if (!(node->op->in_place >> k & 1) || !x || x->base->kind != TENSOR_VALUE || x->offset != 0) continue;
        int in = plan->item_of[x->base->id], uses = 0;
        for (int n = 0; n < node->inputs; n++) uses += node->input[n] && node->input[n]->base == x->base;
        bool same =
            tensor_count(x) == tensor_count(out) && tensor_count(x) == tensor_count(x->base) && x->rank == out->rank;
        for (int a = 0; same && a < x->rank; a++) same = x->size[a] == 1 || x->stride[a] == out->stride[a];
        same = same && plan->half[x->base->id] == plan->half[out->id];
        if (!same || uses != 1 || plan->item[in].last != i || plan->steps.wanted[x->base->id] || !unclaimed(plan, in))
            continue;
        plan->item[plan->item_of[out->id]].joined = in;
        return;
    }
}

/* A region's output may take over the bytes of an operand that nobody reads afterwards: same position, same stride. The
 * operand must not be read by the step's heavy operator, nor by a later instruction than the one that makes the output.
 */
static void join_in_place(Plan *plan) {
    for (int i = 0; i < plan->steps.steps; i++) {
        const Step *step = &plan->steps.step[i];
        const StripProgram *strip = step->strip;
        if (!strip) {
            join_operator_in_place(plan, i);
            continue;
        }
        for (int o = 0; o < strip->outputs; o++) {
            int made = strip->output[o].value - strip->operands, out = plan->item_of[strip->output[o].tensor->id];
            if (made < 0 || plan->item[out].joined >= 0) continue;
            for (int k = 0; k < strip->operands; k++) {
                const StripOperand *operand = &strip->operand[k];
                if (operand->kind != OPERAND_FULL || operand->u8 || !operand->tensor ||
                    operand->tensor->base->kind != TENSOR_VALUE)
                    continue;
                int in = plan->item_of[operand->tensor->base->id];
                if (plan->item[in].last != i || plan->item[in].bytes != plan->item[out].bytes ||
                    operand->half != strip->output[o].half || operand->tensor->offset != 0 ||
                    operand->stride != strip->columns || plan->steps.wanted[operand->tensor->base->id])
                    continue;
                bool free = true;
                for (int n = made + 1; n < strip->instructions; n++)
                    free = free && strip->code[n].a != k && strip->code[n].b != k;
                for (int n = 0; step->node && n < step->node->inputs; n++)
                    free = free && !(step->node->input[n] && step->node->input[n]->base == operand->tensor->base);
                for (int n = 0; n < strip->operands; n++)
                    free = free && (n == k || !strip->operand[n].tensor ||
                                    strip->operand[n].tensor->base != operand->tensor->base);
                free = free && unclaimed(plan, in);
                for (int n = 0; n < strip->outputs; n++)
                    free = free && (strip->output[n].value >= strip->operands || strip->output[n].value != k);
                if (!free) continue;
                plan->item[out].joined = in;
                break;
            }
        }
    }
}
#endif

static StepPart part_of(const Step *step) {
    const Node *node = step->node ? step->node : step->strip->output[0].tensor->node;
    return !node || node->phase == 0 ? STEP_FORWARD : node->again ? STEP_AGAIN : STEP_BACKWARD;
}

static int root_of(const Plan *plan, int item) {
    while (plan->item[item].joined >= 0) item = plan->item[item].joined;
    return item;
}

static int compare_places(const void *a, const void *b, void *context) {
    const Item *item = context;
    const Item *x = &item[*(const int *)a], *y = &item[*(const int *)b];
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return *(const int *)a - *(const int *)b;
}

/* Largest first, each into the lowest gap between the items already placed that are alive at the same time. */
static int place_items(Plan *plan) {
    int *order = arena_alloc(plan->arena, (size_t)plan->items * sizeof *order), roots = 0;
    int *placed = arena_alloc(plan->arena, (size_t)plan->items * sizeof *placed), count = 0; /* by offset */
    if (arena_failed(plan->arena)) return ERR_MEMORY;
    for (int i = 0; i < plan->items; i++) {
        int root = root_of(plan, i);
        if (root == i) {
            order[roots++] = i;
            continue;
        }
        Item *r = &plan->item[root];
        if (plan->item[i].first < r->first) r->first = plan->item[i].first;
        if (plan->item[i].last > r->last) r->last = plan->item[i].last;
    }
    qsort_r(order, (size_t)roots, sizeof *order, compare_places, plan->item);
    for (int i = 0; i < roots; i++) {
        Item *it = &plan->item[order[i]];
        size_t at = 0;
        int where = 0;
        for (int k = 0; k < count; k++) {
            const Item *other = &plan->item[placed[k]];
            if (other->last < it->first || other->first > it->last) continue;
            if (other->offset >= at && other->offset - at >= it->bytes) break;
            if (other->offset + other->bytes > at) at = other->offset + other->bytes;
        }
        it->offset = at;
        while (where < count && plan->item[placed[where]].offset <= at) where++;
        memmove(placed + where + 1, placed + where, (size_t)(count - where) * sizeof *placed);
        placed[where] = order[i];
        count++;
        if (at + it->bytes > plan->block_bytes) plan->block_bytes = at + it->bytes;
    }
    for (int i = 0; i < plan->items; i++) plan->item[i].offset = plan->item[root_of(plan, i)].offset;
    const int steps = plan->steps.steps;
    int64_t *change =
        arena_alloc(plan->arena, (size_t)(steps + 3) * sizeof *change); /* of what is alive, from step -1 */
    if (!change) return ERR_MEMORY;
    for (int i = 0; i < roots; i++) {
        const Item *it = &plan->item[order[i]];
        change[it->first + 1] += (int64_t)it->bytes;
        change[it->last + 2] -= (int64_t)it->bytes;
    }
    int64_t live = change[0];
    for (int s = 0; s <= steps; s++) {
        live += change[s + 1];
        if ((size_t)live > plan->live_peak) {
            plan->live_peak = (size_t)live;
            plan->peak_step = s;
        }
        if (s > 0 && s < steps && part_of(&plan->steps.step[s - 1]) == STEP_FORWARD &&
            part_of(&plan->steps.step[s]) != STEP_FORWARD)
            plan->kept = (size_t)live;
    }
    return 0;
}

/* ---- binding ---- */

typedef struct {
    const Node *node;
    const PlanOptions *options;
    const float *const *weights;
} PackJob;

#ifndef PANUM_F64
static void find_weights(const Plan *plan, const Node *node, const float *weights[NODE_INPUTS_MAX]) {
    for (int k = 0; k < node->inputs; k++) {
        const Tensor *t = node->input[k];
        weights[k] = t && t->base->kind == TENSOR_WEIGHT ? plan->bytes[t->base->id] : NULL;
    }
}

static void fill_packed(void *context, void *packed) {
    const PackJob *job = context;
    job->node->op->pack(job->node, job->options->exact, job->options->bf16, job->weights, packed);
}

static int pack_weights(Plan *plan, const WeightSource *source, const Node *node, const void **packed) {
    const Op *op = node->op;
    size_t bytes = op->pack_size && op->run ? op->pack_size(node, plan->options.exact, plan->options.bf16) : 0;
    if (!bytes) return 0;
    const float *weights[NODE_INPUTS_MAX];
    find_weights(plan, node, weights);
    char key[1024];
    int used = snprintf(key, sizeof key, "%s", op->pack_kind(node, plan->options.exact, plan->options.bf16));
    for (int k = 0; k < node->inputs; k++) {
        const Tensor *t = node->input[k];
        if (!t || t->base->kind != TENSOR_WEIGHT) continue;
        if (used > 0 && (size_t)used < sizeof key)
            used += snprintf(key + used, sizeof key - (size_t)used, " %s", t->name);
    }
    PackJob job = {node, &plan->options, weights};
    void *copy = source->packed(source->context, key, bytes, fill_packed, &job);
    if (!copy) return err_code();
    *packed = copy;
    for (int i = 0; i < plan->packs; i++)
        if (plan->pack[i].packed == copy) return 0;
    plan->pack[plan->packs].node = node;
    plan->pack[plan->packs++].packed = copy;
    return 0;
}

static void repack_tile(void *context, int64_t tile, int worker) {
    (void)worker;
    const Plan *plan = context;
    const Node *node = plan->pack[tile].node;
    const float *weights[NODE_INPUTS_MAX];
    find_weights(plan, node, weights);
    node->op->pack(node, plan->options.exact, plan->options.bf16, weights, plan->pack[tile].packed);
}

static void strip_store(const Hole *hole, int64_t row, int64_t rows, int64_t column, int64_t columns, float *tile,
                        int64_t tile_stride, int worker) {
    (void)worker;
    const StripHole *h = (const StripHole *)(const void *)hole;
    strip_run(h->strip, &h->places, h->past, row, rows, column, columns, tile, tile_stride);
}

static void ask_for_strip(const Hole *hole, int64_t row, int64_t rows, int64_t column, int64_t columns) {
    const StripHole *h = (const StripHole *)(const void *)hole;
    strip_ask(h->strip, &h->places, h->past, row, rows, column, columns);
}

/* Large results go past the caches, but not those whose place has just been read. */
static unsigned goes_past(const StripProgram *strip, const StripPlaces *places) {
    unsigned past = 0;
    for (int k = 0; k < strip->outputs; k++) {
        bool in_place = strip->output[k].value < strip->operands;
        for (int i = 0; i < strip->operands; i++) in_place = in_place || places->operand[i] == places->output[k];
        const int64_t bytes = strip->rows * strip->columns * (int64_t)sizeof(float);
        if (!in_place && bytes >= PAST_BYTES) past |= 1u << k;
    }
    return past;
}

static void bind_strip(Plan *plan, const StripProgram *strip, StripHole *hole, StripHole *past) {
    *hole = (StripHole){.hole = {.store = strip_store, .ask = ask_for_strip}, .strip = strip};
    for (int k = 0; k < strip->operands; k++)
        if (strip->operand[k].tensor)
            hole->places.operand[k] =
                (char *)plan->bytes[strip->operand[k].tensor->base->id] +
                (size_t)strip->operand[k].tensor->offset * dtype_size(strip->operand[k].tensor->dtype);
    for (int k = 0; k < strip->outputs; k++) hole->places.output[k] = plan->bytes[strip->output[k].tensor->id];
    *past = *hole;
    past->past = goes_past(strip, &hole->places);
    if (past->past) hole->hole.past = &past->hole;
}
#endif

static void touch_tile(void *context, int64_t tile, int worker) {
    (void)worker;
    Plan *plan = context;
    size_t start = (size_t)tile << 21, end = start + ((size_t)1 << 21);
    for (size_t at = start; at < end && at < plan->block_bytes; at += 4096) ((volatile char *)plan->block)[at] = 0;
}

static int bind(Plan *plan, const WeightSource *source, const int *scratch_item) {
    Program *p = plan->program;
    plan->block = mem_block_map(plan->block_bytes);
    if (!plan->block) return ERR_MEMORY;
    pool_run(plan->pool, (int64_t)((plan->block_bytes + ((size_t)1 << 21) - 1) >> 21), touch_tile, plan);
    plan->bytes = arena_alloc(plan->arena, (size_t)program_tensors(p) * sizeof *plan->bytes);
    plan->player = arena_alloc(plan->arena, (size_t)plan->steps.steps * sizeof *plan->player);
    plan->pack = arena_alloc(plan->arena, (size_t)plan->steps.steps * sizeof *plan->pack);
    if (arena_failed(plan->arena)) return ERR_MEMORY;
    for (int i = 0; i < program_tensors(p); i++) {
        const Tensor *t = program_tensor(p, i);
        if (plan->item_of[i] >= 0) plan->bytes[i] = plan->block + plan->item[plan->item_of[i]].offset;
        if (t->kind != TENSOR_WEIGHT || t->base != t) continue;
        union {
            const real *values;
            void *bytes;
        } weight = {source->values(source->context, t)};
        if (!weight.values) return (int)err_code();
        plan->bytes[i] = weight.bytes; /* never written: weights are inputs only */
    }
    for (int i = 0; i < plan->steps.steps; i++) {
        const Step *step __attribute__((unused)) = &plan->steps.step[i];
        Player *player = &plan->player[i];
        Run *run = &player->run;
        run->pool = plan->pool;
        run->bytes = plan->bytes;
        run->exact = plan->options.exact;
        run->bf16 = plan->options.bf16;
        if (scratch_item[i] >= 0) run->scratch = plan->block + plan->item[scratch_item[i]].offset;
#ifndef PANUM_F64
        if (step->node && !plan->options.definitions) {
            int code = pack_weights(plan, source, step->node, &run->packed);
            if (code) return code;
            if (step->node->op->scratch_shared)
                run->scratch_shared = round_up(step->node->op->scratch_shared(step->node, run->exact));
            if (step->node->op->scratch_worker)
                run->scratch_worker = round_up(step->node->op->scratch_worker(step->node, run->exact));
        }
        if (step->strip) bind_strip(plan, step->strip, &player->hole, &player->past);
        if (step->node && step->strip) run->hole = &player->hole.hole;
#endif
    }
    return 0;
}

static size_t scratch_bytes(const Plan *plan, const Node *node) {
    if (!node || plan->options.definitions || plan->options.halves) return 0; /* what the CPU's kernels want */
    size_t shared = node->op->scratch_shared ? round_up(node->op->scratch_shared(node, plan->options.exact)) : 0;
    size_t worker = node->op->scratch_worker ? round_up(node->op->scratch_worker(node, plan->options.exact)) : 0;
    return shared + worker * (size_t)pool_threads(plan->pool);
}

static int build(Plan *plan, const WeightSource *source) {
    Steps *s = &plan->steps;
    *s = (Steps){.program = plan->program, .arena = plan->arena, .options = plan->options};
    mark_alive(s);
    if (arena_failed(plan->arena)) return ERR_MEMORY;
#ifdef PANUM_F64
    int code = steps_interpret(s);
#else
    int code = plan->options.interpret ? steps_interpret(s) : steps_fuse(s);
#endif
    if (!code) code = choose_storage(plan);
    if (!code) code = make_items(plan);
    if (code) return code;
#ifndef PANUM_F64
    if (!plan->options.interpret) join_in_place(plan);
#endif
    int *scratch_item = arena_alloc(plan->arena, (size_t)s->steps * sizeof *scratch_item);
    if (!scratch_item) return ERR_MEMORY;
    for (int i = 0; i < s->steps; i++) {
        size_t bytes = scratch_bytes(plan, s->step[i].node);
        scratch_item[i] = bytes ? add_item(plan, NULL, bytes, i, i) : -1;
    }
    code = place_items(plan);
    if (code) return code;
    if (plan->options.memory_limit && plan->block_bytes > plan->options.memory_limit)
        return fail(ERR_MEMORY,
                    "this picture size needs %.0f MiB beside the weights and the limit is %.0f MiB; raise --max-memory "
                    "or use --scale",
                    (double)plan->block_bytes / 1048576, (double)plan->options.memory_limit / 1048576);
    return plan->options.shape_only ? 0 : bind(plan, source, scratch_item);
}

int plan_make(Program *program, const WeightSource *weights, Pool *pool, PlanOptions options, Plan **out) {
    *out = NULL;
    Plan *plan = mem_zero(1, sizeof *plan);
    if (!plan) return ERR_MEMORY;
#ifdef PANUM_F64
    options.definitions = true;
#endif
    if (options.definitions) options.interpret = true;
    plan->program = program;
    plan->pool = pool;
    plan->options = options;
    plan->arena = arena_make();
    int code = plan->arena ? build(plan, weights) : ERR_MEMORY;
    if (code) {
        plan_drop(plan);
        return code;
    }
    *out = plan;
    return 0;
}

void plan_drop(Plan *plan) {
    if (!plan) return;
    mem_block_unmap(plan->block, plan->block_bytes);
    arena_drop(plan->arena);
    mem_free(plan);
}

const Steps *plan_step_list(const Plan *plan) {
    return &plan->steps;
}

int64_t plan_place(const Plan *plan, const Tensor *base) {
    int item = plan->item_of[base->id];
    return item < 0 ? -1 : (int64_t)plan->item[item].offset;
}

bool plan_half(const Plan *plan, const Tensor *base) {
    return plan->half[base->id];
}

void *plan_data(const Plan *plan, const Tensor *t) {
    char *bytes = plan->bytes[t->base->id];
    BUG_IF(!bytes, "plan_data of a tensor that this plan does not keep");
    return bytes + (size_t)t->offset * dtype_size(t->dtype);
}

/* ---- running ---- */

int plan_run(Plan *plan) {
    BUG_IF(!plan->block, "plan_run of a plan made for its shape only");
    for (int i = 0; i < plan->steps.steps; i++) {
        const Step *step = &plan->steps.step[i];
        Player *player = &plan->player[i];
        double start = plan->profile ? clock_seconds() : 0;
#ifndef PANUM_F64
        if (!step->node)
            strip_run_all(plan->pool, step->strip, &player->hole.places);
        else
#endif
            if (step->node->op->run && !plan->options.definitions)
            step->node->op->run(step->node, &player->run);
        else
            step->node->op->define(step->node, &player->run);
        if (plan->profile) player->seconds = clock_seconds() - start;
        if (plan->watch && plan->watch(plan->watch_context, player->done)) return fail(ERR_STOPPED, "interrupted");
    }
    return 0;
}

void plan_repack(Plan *plan) {
#ifndef PANUM_F64
    pool_run(plan->pool, plan->packs, repack_tile, plan);
#else
    (void)plan;
#endif
}

/* Work is counted in operations; a step that computes little still moves its bytes, ten to the operation or so. */
void plan_watch(Plan *plan, PlanWatch watch, void *context) {
    double total = 0;
    for (int i = 0; i < plan->steps.steps; i++) {
        StepFacts step = plan_step(plan, i);
        total += step.flops + 10 * step.bytes;
        plan->player[i].done = total;
    }
    for (int i = 0; i < plan->steps.steps; i++) plan->player[i].done /= total;
    plan->watch = watch;
    plan->watch_context = context;
}

void plan_profile(Plan *plan, bool on) {
    plan->profile = on;
}

int plan_steps(const Plan *plan) {
    return plan->steps.steps;
}

static double tensor_traffic(const Tensor *t) {
    return (double)tensor_count(t) * (double)dtype_size(t->dtype);
}

StepFacts plan_step(const Plan *plan, int index) {
    const Step *step = &plan->steps.step[index];
    StepFacts facts = {.name = "region", .scope = "", .seconds = plan->player ? plan->player[index].seconds : 0};
    const Tensor *shape = step->node ? step->node->output[0] : step->strip->output[0].tensor;
    if (step->node) {
        Cost cost = {0};
        facts.name = step->node->op->name;
        facts.scope = step->node->scope;
        if (step->node->op->cost) step->node->op->cost(step->node, &cost);
        facts.flops = cost.flops;
    } else if (shape->node) {
        facts.scope = shape->node->scope;
    }
    for (int k = 0, operand; k < step_reads(step); k++) {
        const Tensor *t = step_read(step, k, &operand);
        if (t) facts.bytes += tensor_traffic(t);
    }
    for (int k = 0; k < step_writes(step); k++) facts.bytes += tensor_traffic(step_write(step, k));
    for (int k = 0; step->strip && k < step->strip->instructions; k++)
        facts.flops +=
            pointwise_flops(step->strip->code[k].function) * (double)(step->strip->rows * step->strip->columns);
    facts.part = part_of(step);
    tensor_shape_text(shape, facts.shape, sizeof facts.shape);
    return facts;
}

PlanFacts plan_facts(const Plan *plan) {
    PlanFacts facts = {.bytes = plan->block_bytes,
                       .live_peak = plan->live_peak,
                       .peak_step = plan->peak_step,
                       .kept = plan->kept,
                       .steps = plan->steps.steps,
                       .nodes = program_nodes(plan->program)};
    for (int i = 0; i < plan->steps.steps; i++) {
        StepFacts step = plan_step(plan, i);
        facts.flops += step.flops;
        facts.traffic += step.bytes;
        if (step.part == STEP_AGAIN) facts.flops_again += step.flops;
    }
    return facts;
}

/* ---- printing ---- */

static void print_name(const Tensor *t, FILE *to) {
    if (t->name)
        fprintf(to, "%s", t->name);
    else
        fprintf(to, "%%%d", t->id);
}

/* Operands by tensor ("tile" for the kernel's own result), instructions as v0, v1, ... */
static void print_value(const StripProgram *strip, int value, FILE *to) {
    if (value >= strip->operands)
        fprintf(to, "v%d", value - strip->operands);
    else if (strip->operand[value].kind == OPERAND_TILE)
        fprintf(to, "tile");
    else
        print_name(strip->operand[value].tensor, to);
}

static void print_strip(const StripProgram *strip, FILE *to) {
    for (int i = 0; i < strip->instructions; i++) {
        const StripInstruction *n = &strip->code[i];
        fprintf(to, "      v%d = %s ", i, pointwise_name(n->function));
        print_value(strip, n->a, to);
        if (n->b >= 0) {
            fprintf(to, ", ");
            print_value(strip, n->b, to);
        }
        if (n->p != 0 || n->q != 0) fprintf(to, " %g %g", n->p, n->q);
        fprintf(to, "\n");
    }
    for (int i = 0; i < strip->outputs; i++) {
        fprintf(to, "      ");
        print_name(strip->output[i].tensor, to);
        fprintf(to, " = ");
        print_value(strip, strip->output[i].value, to);
        fprintf(to, "\n");
    }
}

void plan_print_steps(const Plan *plan, FILE *to) {
    for (int i = 0; i < plan->steps.steps; i++) {
        const Step *step = &plan->steps.step[i];
        StepFacts facts = plan_step(plan, i);
        fprintf(to, "%4d  %s %s(", i, facts.shape, facts.name);
        for (int k = 0; step->node && k < step->node->inputs; k++) {
            fprintf(to, "%s", k == 0 ? "" : k < step->node->segments ? " | " : ", ");
            if (k < step->node->segments && k >= step->node->segments - step->node->doubled) fprintf(to, "2x ");
            if (step->node->input[k])
                print_name(step->node->input[k], to);
            else
                fprintf(to, "-");
        }
        fprintf(to, ")");
        if (step->node && step->node->op->print) step->node->op->print(step->node, to);
        fprintf(to, "  # %s\n", facts.scope);
        if (step->strip) print_strip(step->strip, to);
    }
}

void plan_print_memory(const Plan *plan, FILE *to) {
    const Steps *s = &plan->steps;
    int step = plan->peak_step < s->steps ? plan->peak_step : s->steps - 1;
    StepFacts facts = plan_step(plan, step);
    fprintf(to, "block %.1f MiB; most alive at once %.1f MiB, at step %d of %d: %s %s in %s\n",
            (double)plan->block_bytes / 1048576, (double)plan->live_peak / 1048576, plan->peak_step, s->steps,
            facts.name, facts.shape, facts.scope);
    if (plan->kept) {
        static const char *const name[] = {"forward", "recomputed", "backward"};
        double flops[3] = {0}, seconds[3] = {0};
        int steps[3] = {0};
        for (int i = 0; i < s->steps; i++) {
            StepFacts each = plan_step(plan, i);
            flops[each.part] += each.flops;
            seconds[each.part] += each.seconds;
            steps[each.part]++;
        }
        fprintf(to, "kept from forward to backward %.1f MiB\n", (double)plan->kept / 1048576);
        for (int i = 0; i < 3; i++) {
            if (!steps[i]) continue;
            fprintf(to, "  %-10s %5d steps  %8.3f GFLOP", name[i], steps[i], flops[i] / 1e9);
            if (seconds[i] > 0) fprintf(to, "  %8.1f ms", seconds[i] * 1e3);
            fprintf(to, "\n");
        }
    }
    bool shown[10] = {false};
    int best[10];
    for (int n = 0; n < 10; n++) {
        int largest = -1;
        for (int i = 0; i < plan->items; i++) {
            bool taken = plan->item[i].joined >= 0 || plan->item[i].first > plan->peak_step ||
                         plan->item[i].last < plan->peak_step;
            for (int k = 0; k < n; k++) taken = taken || (shown[k] && best[k] == i);
            if (!taken && (largest < 0 || plan->item[i].bytes > plan->item[largest].bytes)) largest = i;
        }
        if (largest < 0) break;
        best[n] = largest;
        shown[n] = true;
        const Item *it = &plan->item[largest];
        char shape[64] = "scratch";
        if (it->tensor) tensor_shape_text(it->tensor, shape, sizeof shape);
        fprintf(to, "  %8.1f MiB  %-18s steps %d..%d  %s\n", (double)it->bytes / 1048576, shape, it->first, it->last,
                it->tensor && it->tensor->node ? it->tensor->node->scope
                : it->tensor                   ? it->tensor->name
                                               : "");
    }
}
