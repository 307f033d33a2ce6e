/* exec/fuse.c - steps with the pointwise work inside them. Structure only, no patterns:
 *
 * 1. A concatenation of channels whose every reader takes segments is not made: its parts are given instead;
 *    and of a part that is a map enlarged to twice its size, that map, to an operator that can enlarge on load.
 * 2. A pointwise node joins the latest step that makes one of its inputs, if that step is a region, or a heavy operator
 *    that offers its hole on store, over the same positions: all other inputs come from earlier steps, so they are
 * there. Otherwise it begins a region of its own.
 * 3. When it joins, it pulls in what only it reads and what was computed earlier together with an operand from memory
 * (a gate times a skip connection, say): stored there it would be written once and read once for nothing.
 * 4. A value that no other step reads is not stored.
 * 5. Nothing moves from one phase of the program to another (Node.phase): what the walk backwards computes again from a
 * value of the forward pass, to have it then and not to keep it, must not be computed with that value after all.
 *
 * 6. Two linear layers with nothing but one head of attention between them are one, whose matrix is the product.
 *
 * Rule 6, the enlarging of rule 1 and Winograd in parts take sums in another order. They are left out of exact plans,
 * so that these are the interpreter bit for bit, and of programs with gradients, which want what lies between; and GPUs
 * have no kernels for them.
 *
 * Steps stay in the order of the program, and a node only ever moves to an earlier step that makes one of its inputs.
 */
#include "exec/steps.h"
#include "tensor/ops/attention_node.h"
#include "tensor/ops/conv_node.h"

#ifndef PANUM_F64
#include <string.h>

/* A view over all of its base in memory order, as tokens over a map: the same numbers at the same row and column. */
static bool is_whole(const Tensor *t) {
    int64_t rows, columns, stride, base_rows, base_columns, base_stride;
    return t->base == t ||
           (t->offset == 0 && tensor_count(t) == tensor_count(t->base) && strip_space(t, &rows, &columns, &stride) &&
            strip_space(t->base, &base_rows, &base_columns, &base_stride) && columns == base_columns &&
            stride == columns && base_stride == base_columns);
}

/* ---- 1: concatenations ---- */

typedef struct {
    int readers, takers; /* alive nodes that read it; those that take it as a data operand with room for its parts */
} Readers;

static bool is_channel_cat(const Node *node) {
    if (strcmp(node->op->name, "cat") != 0) return false;
    const Tensor *out = node->output[0], *first = node->input[0];
    if (out->rank != 4 || out->size[1] == first->size[1]) return false; /* along C */
    for (int i = 0; i < node->inputs; i++)
        if (node->input[i]->stride[1] != 1 && node->input[i]->size[1] != 1) return false;
    return true;
}

static void count_readers(const Steps *s, Readers *readers) {
    for (int i = 0; i < program_nodes(s->program); i++) {
        const Node *node = program_node(s->program, i);
        if (!s->alive[i]) continue;
        for (int k = 0; k < node->inputs; k++) {
            const Tensor *x = node->input[k];
            if (!x) continue;
            Readers *r = &readers[x->base->id];
            r->readers++;
            if (k == 0 && x == x->base && node->op->load_segments && node->op->run && x->node &&
                x->node->inputs + node->inputs - 1 <= NODE_INPUTS_MAX)
                r->takers++;
        }
    }
}

static const Node *with_segments(Steps *s, const Node *node) {
    const Node *cat = node->input[0]->node;
    Node *copy = arena_alloc(s->arena, sizeof *copy);
    if (!copy) return node;
    *copy = *node;
    copy->segments = cat->inputs;
    copy->inputs = cat->inputs + node->inputs - 1;
    for (int i = 0; i < cat->inputs; i++) copy->input[i] = cat->input[i];
    for (int i = 1; i < node->inputs; i++) copy->input[cat->inputs + i - 1] = node->input[i];
    return copy;
}

/* The map that `x` is twice the size of, when it is that enlarged bilinearly; NULL otherwise. */
static Tensor *half_of(const Tensor *x) {
    if (x->base != x || x->rank != 4 || !x->node || strcmp(x->node->op->name, "resize_bilinear") != 0) return NULL;
    Tensor *half = x->node->input[0];
    const bool twice = x->size[2] == 2 * half->size[2] && x->size[3] == 2 * half->size[3];
    return twice && half->stride[1] == 1 ? half : NULL;
}

/* The last segments at half size, where they are enlargements and the operator can do that on load. */
static const Node *with_doubled(Steps *s, const Node *node) {
    int doubled = 0;
    while (doubled < node->segments - 1 && half_of(node->input[node->segments - 1 - doubled])) doubled++;
    if (!doubled || !node->op->load_doubled || !node->op->load_doubled(node)) return node;
    Node *copy = arena_alloc(s->arena, sizeof *copy);
    if (!copy) return node;
    *copy = *node;
    copy->doubled = doubled;
    for (int i = node->segments - doubled; i < node->segments; i++) copy->input[i] = half_of(node->input[i]);
    return copy;
}

/* ---- 6: products without anything between them ---- */

typedef struct {
    const Node **instead; /* by node: what runs in its place; NULL: itself */
    bool *joined;         /* by node: nothing, its work is done by others */
} Joins;

/* The linear layer with a square matrix of its own that makes `x` for one reader only. */
static Node *linear_for_one(const Steps *s, const Readers *readers, const Tensor *x) {
    Node *node = x->node;
    if (x->base != x || !node || strcmp(node->op->name, "linear") != 0 || readers[x->id].readers != 1 ||
        s->wanted[x->id])
        return NULL;
    const Tensor *weight = node->input[1], *bias = node->input[2];
    const bool own = weight->base == weight && weight->kind == TENSOR_WEIGHT && weight->size[0] == weight->size[1];
    return own && (!bias || (bias->base == bias && bias->kind == TENSOR_WEIGHT)) ? node : NULL;
}

static Node *copy_of(Steps *s, const Node *node) {
    Node *copy = arena_alloc(s->arena, sizeof *copy);
    if (copy) *copy = *node;
    return copy;
}

/* `first` with the matrix of `second` in its own. */
static const Node *join_linear(Steps *s, const Node *first, const Node *second, bool keys) {
    Node *copy = copy_of(s, first);
    ConvAttributes *attributes = arena_alloc(s->arena, sizeof *attributes);
    if (!copy || !attributes) return first;
    *attributes = *(const ConvAttributes *)first->attributes;
    attributes->joined = keys ? CONV_KEYS : CONV_AFTER;
    copy->attributes = attributes;
    copy->inputs = 5;
    copy->input[3] = second->input[1];
    copy->input[4] = second->input[2];
    return copy;
}

/* Attention with one head is linear in its values: the product behind it may as well be taken of them. And its scores
 * are q . k = (W x) . (V y) = (V^T W x) . y. */
static void join_attention(Steps *s, const Readers *readers, Joins *joins, Node *const *reader, const Node *node) {
    const AttentionAttributes *a = node->attributes;
    if (a->heads != 1 || a->h) return;
    Node *q = linear_for_one(s, readers, node->input[0]), *k = linear_for_one(s, readers, node->input[1]);
    Node *v = linear_for_one(s, readers, node->input[2]), *copy = copy_of(s, node);
    if (!copy) return;
    if (q && k && !q->input[2] && !k->input[2] && k->input[0]->base == k->input[0]) {
        joins->instead[q->id] = join_linear(s, q, k, true);
        joins->joined[k->id] = true;
        copy->input[1] = k->input[0];
    }
    const Tensor *out = node->output[0];
    const Node *behind = readers[out->id].readers == 1 && !s->wanted[out->id] ? reader[out->id] : NULL;
    if (v && behind && strcmp(behind->op->name, "linear") == 0 && behind->input[0] == out) {
        const Tensor *weight = behind->input[1], *bias = behind->input[2];
        const bool own = weight->base == weight && weight->kind == TENSOR_WEIGHT && weight->size[0] == weight->size[1];
        if (own && (!bias || (bias->base == bias && bias->kind == TENSOR_WEIGHT))) {
            joins->instead[v->id] = join_linear(s, v, behind, false);
            joins->joined[behind->id] = true;
            copy->output[0] = behind->output[0];
        }
    }
    joins->instead[node->id] = copy;
}

/* A convolution of so many channels that it matters: its sums may be taken in parts. */
static const Node *with_parts(Steps *s, const Node *node) {
    enum { CHANNELS = 192 };
    if (strcmp(node->op->name, "conv2d") != 0 || conv_weight(node)->size[1] <= CHANNELS) return node;
    Node *copy = copy_of(s, node);
    ConvAttributes *attributes = arena_alloc(s->arena, sizeof *attributes);
    if (!copy || !attributes) return node;
    *attributes = *(const ConvAttributes *)node->attributes;
    attributes->in_parts = true;
    copy->attributes = attributes;
    return copy;
}

static int find_joins(Steps *s, const Readers *readers, Joins *joins) {
    const int nodes = program_nodes(s->program);
    *joins =
        (Joins){arena_alloc(s->arena, (size_t)nodes * sizeof *joins->instead), arena_alloc(s->arena, (size_t)nodes)};
    Node **reader = arena_alloc(s->arena, (size_t)program_tensors(s->program) * sizeof *reader); /* one of them */
    if (arena_failed(s->arena)) return ERR_MEMORY;
    for (int i = 0; i < nodes; i++) {
        Node *node = program_node(s->program, i);
        for (int k = 0; s->alive[i] && k < node->inputs; k++)
            if (node->input[k]) reader[node->input[k]->base->id] = node;
    }
    for (int i = 0; i < nodes; i++)
        if (s->alive[i] && strcmp(program_node(s->program, i)->op->name, "attention") == 0)
            join_attention(s, readers, joins, reader, program_node(s->program, i));
    return arena_failed(s->arena) ? ERR_MEMORY : 0;
}

/* ---- 2: regions ---- */

static StripProgram *new_strip(Steps *s, const Tensor *space) {
    StripProgram *strip = arena_alloc(s->arena, sizeof *strip);
    int64_t stride;
    if (strip)
        BUG_IF(!strip_space(space, &strip->rows, &strip->columns, &stride), "a region over a tensor without rows");
    return strip;
}

/* The values of a region are named by what holds them: operands by their tensor, instructions by the base tensor that
 * the node makes. `made` lists, for each instruction, that tensor; the tile's is the heavy node's output. */
typedef struct {
    const Tensor *made[STRIP_CODE_MAX];
    const Tensor *tile;
} Names;

static bool same_view(const Tensor *a, const Tensor *b) {
    if (a == b) return true;
    if (a->base != b->base || a->offset != b->offset || a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->size[i] != b->size[i] || a->stride[i] != b->stride[i]) return false;
    return true;
}

/* Finds or adds tensor `x` among the region's values; -1 when it cannot be one. Operand numbers come first, so adding
 * an operand moves the numbers of all instructions up: the code is rewritten. */
static int region_value(StripProgram *strip, const Names *names, const Tensor *x, const Tensor *space, int step,
                        const int *made_by) {
    if (made_by[x->base->id] == step) {
        if (!is_whole(x)) return -1;
        if (names->tile == x->base) {
            for (int i = 0; i < strip->operands; i++)
                if (strip->operand[i].kind == OPERAND_TILE) return i;
        }
        for (int i = 0; i < strip->instructions; i++)
            if (names->made[i] == x->base) return strip->operands + i;
        return -1;
    }
    for (int i = 0; i < strip->operands; i++)
        if (strip->operand[i].tensor && same_view(strip->operand[i].tensor, x)) return i;
    StripOperand operand;
    if (strip->operands == STRIP_OPERANDS_MAX || !strip_operand(x, space, &operand)) return -1;
    int at = strip->operands++;
    strip->operand[at] = operand;
    for (int i = 0; i < strip->instructions; i++) {
        if (strip->code[i].a >= at) strip->code[i].a++;
        if (strip->code[i].b >= at) strip->code[i].b++;
    }
    return at;
}

/* Appends pointwise `node` to the region; false (and the region as before) when it does not fit. */
static bool region_append(StripProgram *strip, Names *names, const Node *node, int step, const int *made_by) {
    int64_t rows, columns, stride;
    const Tensor *out = node->output[0];
    if (!strip_space(out, &rows, &columns, &stride) || rows != strip->rows || columns != strip->columns ||
        strip->instructions == STRIP_CODE_MAX)
        return false;
    StripProgram before = *strip;
    int value[2] = {-1, -1};
    for (int i = 0; i < node->inputs; i++) {
        int had = strip->operands;
        value[i] = region_value(strip, names, node->input[i], out, step, made_by);
        if (value[i] < 0) {
            *strip = before;
            return false;
        }
        if (i == 1 && strip->operands > had && value[0] >= had) value[0]++;
    }
    const PointwiseAttributes *f = node->attributes;
    names->made[strip->instructions] = out;
    strip->code[strip->instructions++] = (StripInstruction){f->function, value[0], value[1], f->p, f->q};
    return true;
}

/* ---- 3: pulling ---- */

typedef struct {
    Steps *steps;
    Names *names; /* by step */
    int *made_by;
    const Readers *readers;
    int *phase; /* by step */
} Regions;

/* Its place in the region that makes it, or -1: not made in a region, or not as an instruction. */
static int instruction_of(const Regions *r, const Tensor *t) {
    int step = r->made_by[t->id];
    if (step < 0 || !r->steps->step[step].strip) return -1;
    for (int i = 0; i < r->steps->step[step].strip->instructions; i++)
        if (r->names[step].made[i] == t) return i;
    return -1;
}

static bool reads_memory(const Regions *r, const Node *node, int step) {
    for (int k = 0; k < node->inputs; k++)
        if (r->made_by[node->input[k]->base->id] != step) return true;
    return false;
}

/* Moves the making of `x` from its earlier region to that of `step`, when one node only reads it there. */
static void pull(Regions *r, const Tensor *x, int step) {
    const Tensor *t = x->base;
    int from = r->made_by[t->id], at = instruction_of(r, t);
    if (at < 0 || from == step || r->phase[from] != r->phase[step] || !is_whole(x) || r->readers[t->id].readers != 1 ||
        r->steps->wanted[t->id])
        return;
    const Node *node = t->node;
    const PointwiseAttributes *f = node->attributes;
    if (pointwise_is_binary(f->function) ? !reads_memory(r, node, from) : pointwise_flops(f->function) > 2) return;
    StripProgram *to = r->steps->step[step].strip;
    for (int k = 0; k < node->inputs; k++) pull(r, node->input[k], step);
    if (!region_append(to, &r->names[step], node, step, r->made_by)) return;
    r->made_by[t->id] = step;
    r->names[from].made[at] = NULL; /* nobody reads it there: remove_dead takes it out */
}

/* Takes out instructions that neither a later one nor an output needs, and operands that none reads. */
static void remove_dead(StripProgram *strip, Names *names) {
    bool needed[STRIP_VALUES_MAX] = {false};
    int moved[STRIP_VALUES_MAX], operands = 0, instructions = 0;
    for (int i = 0; i < strip->outputs; i++) needed[strip->output[i].value] = true;
    for (int i = strip->instructions - 1; i >= 0; i--) {
        if (!needed[strip->operands + i]) continue;
        needed[strip->code[i].a] = true;
        if (strip->code[i].b >= 0) needed[strip->code[i].b] = true;
    }
    for (int i = 0; i < strip->operands; i++) {
        if (!needed[i]) continue;
        strip->operand[operands] = strip->operand[i];
        moved[i] = operands++;
    }
    for (int i = 0; i < strip->instructions; i++) {
        if (!needed[strip->operands + i]) continue;
        StripInstruction code = strip->code[i];
        code.a = moved[code.a];
        if (code.b >= 0) code.b = moved[code.b];
        strip->code[instructions] = code;
        names->made[instructions] = names->made[i];
        moved[strip->operands + i] = operands + instructions++;
    }
    for (int i = 0; i < strip->outputs; i++) strip->output[i].value = moved[strip->output[i].value];
    strip->operands = operands;
    strip->instructions = instructions;
}

/* Puts pointwise `node` into the region of `step`, which may have to be begun: in the hole of a heavy operator, or
 * alone. */
static bool join(Regions *r, const Node *node, int step) {
    Step *s = &r->steps->step[step];
    Names *names = &r->names[step];
    bool begin = !s->strip;
    if (begin) {
        if (s->node && !(s->node->op->store_hole && s->node->op->run)) return false;
        s->strip = new_strip(r->steps, s->node ? s->node->output[0] : node->output[0]);
        if (!s->strip) return false;
        if (s->node) {
            s->strip->operand[s->strip->operands++] = (StripOperand){.kind = OPERAND_TILE};
            names->tile = s->node->output[0];
        }
    }
    int64_t rows, columns, stride;
    bool fits = strip_space(node->output[0], &rows, &columns, &stride) && rows == s->strip->rows &&
                columns == s->strip->columns;
    for (int k = 0; fits && k < node->inputs; k++) pull(r, node->input[k], step);
    if (fits && region_append(s->strip, names, node, step, r->made_by)) {
        r->made_by[node->output[0]->id] = step;
        return true;
    }
    if (begin && s->strip->instructions == 0) {
        s->strip = NULL;
        names->tile = NULL;
    }
    return false;
}

/* ---- 4: what is stored ---- */

static void add_outputs(const Steps *s, StripProgram *strip, const Names *names, const bool *read_elsewhere) {
    if (names->tile && (read_elsewhere[names->tile->id] || s->wanted[names->tile->id])) {
        for (int i = 0; i < strip->operands; i++)
            if (strip->operand[i].kind == OPERAND_TILE)
                strip->output[strip->outputs++] = (StripOutput){i, strip->columns, names->tile, false};
    }
    for (int i = 0; i < strip->instructions; i++) {
        const Tensor *t = names->made[i];
        if (!t) continue; /* pulled into a later region */
        if (read_elsewhere[t->id] || s->wanted[t->id])
            strip->output[strip->outputs++] = (StripOutput){strip->operands + i, strip->columns, t, false};
    }
}

int steps_fuse(Steps *s) {
    int nodes = program_nodes(s->program), tensors = program_tensors(s->program);
    Readers *readers = arena_alloc(s->arena, (size_t)tensors * sizeof *readers);
    int *made_by = arena_alloc(s->arena, (size_t)tensors * sizeof *made_by);
    bool *read_elsewhere = arena_alloc(s->arena, (size_t)tensors);
    int *phase = arena_alloc(s->arena, (size_t)nodes * sizeof *phase);
    Names *names = arena_alloc(s->arena, (size_t)nodes * sizeof *names); /* by step */
    s->step = arena_alloc(s->arena, (size_t)nodes * sizeof *s->step);
    if (arena_failed(s->arena)) return ERR_MEMORY;
    for (int i = 0; i < tensors; i++) made_by[i] = -1;
    count_readers(s, readers);
    Regions regions = {s, names, made_by, readers, phase};
    /* Rules that change the order of sums. */
    bool reorders = !s->options.exact && !s->options.bf16 && (!s->options.shape_only || s->options.for_cpu);
    for (int i = 0; i < nodes; i++) reorders = reorders && program_node(s->program, i)->phase == 0;
    Joins joins = {NULL, NULL};
    if (reorders && find_joins(s, readers, &joins)) return ERR_MEMORY;

    for (int i = 0; i < nodes; i++) {
        const Node *node = program_node(s->program, i);
        if (!s->alive[i] || node->op->kind == OP_VIEW || (reorders && joins.joined[i])) continue;
        if (reorders && joins.instead[i]) node = joins.instead[i];
        if (is_channel_cat(node)) {
            const Tensor *out = node->output[0];
            if (!s->wanted[out->id] && readers[out->id].readers == readers[out->id].takers) continue;
        }
        if (node->op->kind == OP_POINTWISE) {
            int latest = -1;
            for (int k = 0; k < node->inputs; k++)
                if (made_by[node->input[k]->base->id] > latest) latest = made_by[node->input[k]->base->id];
            if (latest >= 0 && phase[latest] == node->phase && join(&regions, node, latest)) continue;
            int64_t rows, columns, stride;
            phase[s->steps] = node->phase;
            if (strip_space(node->output[0], &rows, &columns, &stride)) {
                s->step[s->steps] = (Step){NULL, NULL};
                if (join(&regions, node, s->steps)) {
                    s->steps++;
                    continue;
                }
                if (s->step[s->steps].strip) s->steps++; /* it did not fit, but something was pulled in for it */
            }
            if (arena_failed(s->arena)) return ERR_MEMORY;
        }
        if (node->op->load_segments && node->op->run) {
            const Tensor *x = node->input[0];
            if (x == x->base && x->node && is_channel_cat(x->node) && made_by[x->id] < 0) node = with_segments(s, node);
            if (reorders) node = with_parts(s, with_doubled(s, node));
        }
        phase[s->steps] = node->phase;
        for (int k = 0; k < node->outputs; k++) made_by[node->output[k]->id] = s->steps;
        s->step[s->steps++] = (Step){node, NULL};
    }
    if (arena_failed(s->arena)) return ERR_MEMORY;

    /* who reads what from outside its own step */
    for (int i = 0; i < s->steps; i++) {
        const Step *step = &s->step[i];
        for (int k = 0; step->node && k < step->node->inputs; k++)
            if (step->node->input[k]) read_elsewhere[step->node->input[k]->base->id] = true;
        for (int k = 0; step->strip && k < step->strip->operands; k++)
            if (step->strip->operand[k].tensor) read_elsewhere[step->strip->operand[k].tensor->base->id] = true;
    }
    for (int i = 0; i < s->steps; i++) {
        if (!s->step[i].strip) continue;
        add_outputs(s, s->step[i].strip, &names[i], read_elsewhere);
        remove_dead(s->step[i].strip, &names[i]);
    }
    int left = 0; /* a region out of which everything was pulled is no step */
    for (int i = 0; i < s->steps; i++)
        if (s->step[i].node || s->step[i].strip->outputs) s->step[left++] = s->step[i];
    s->steps = left;
    return 0;
}
#endif
