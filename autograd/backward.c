#include "autograd/backward.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "tensor/op.h"
#include "tensor/ops/move.h"
#include "tensor/ops/ops.h"

#include <string.h>

/* What is known of a tensor of the forward pass. */
typedef struct {
    Tensor *sum;    /* of the contributions so far, but for `pieces` */
    Tensor **piece; /* contributions that are zero but for a part: gradients of slices, newest first */
    int pieces, room;
    bool wanted;   /* some wanted weight or input lies behind it */
    Tensor *again; /* what stands for it in gradients, computed once more; NULL: itself */
} Slot;

typedef struct {
    Arena *arena;
    Slot *slot;        /* by tensor id, of the tensors recorded before the walk began */
    const Node **node; /* by node id: which gives the gradient, the node or its repetition */
} Walk;

Tensor *gradient_of(const Tensor *t) {
    return t->gradient;
}

static bool matches_any(const char *text, const char *const *pattern, int count) {
    for (int i = 0; i < count; i++)
        if (text_matches(pattern[i], text)) return true;
    return false;
}

/* Forward, from weights and inputs to what depends on them. */
static void mark_wanted(Walk *walk, const Program *program, const BackwardOptions *options) {
    for (int i = 0; i < program_tensors(program); i++) {
        const Tensor *t = program_tensor(program, i);
        if (t->base != t || t->dtype != DTYPE_F32) continue;
        if (t->kind == TENSOR_WEIGHT)
            walk->slot[i].wanted = !matches_any(t->name, options->frozen, options->frozen_count);
        if (t->kind == TENSOR_INPUT) walk->slot[i].wanted = options->inputs;
    }
    for (int i = 0; i < program_nodes(program); i++) {
        const Node *node = program_node(program, i);
        bool wanted = false;
        for (int k = 0; k < node->inputs; k++)
            wanted = wanted || (node->input[k] && walk->slot[node->input[k]->id].wanted);
        for (int k = 0; k < node->outputs; k++)
            walk->slot[node->output[k]->id].wanted = wanted && !op_is_detach(node->op);
    }
}

/* d has x's shape, or a larger one to which x was broadcast: the sum over what was repeated. */
static Tensor *undo_broadcast(Tensor *d, const Tensor *x) {
    if (tensor_same_shape(d, x)) return d;
    if (tensor_count(x) == 1 && x->rank == 1) return t_sum(d);
    return x->rank == 1 ? t_sum_positions(d) : t_sum_channels(d);
}

static void add_piece(Walk *walk, Slot *slot, Tensor *d) {
    if (slot->pieces == slot->room) {
        int room = slot->room ? 2 * slot->room : 8;
        Tensor **more = arena_alloc(walk->arena, (size_t)room * sizeof *more);
        if (!more) return;
        for (int i = 0; i < slot->pieces; i++) more[i] = slot->piece[i];
        slot->piece = more;
        slot->room = room;
    }
    slot->piece[slot->pieces++] = d;
}

/* Adds at once, so that two contributions become one before a third is made; only zeros around a part wait: parts that
 * lie side by side are put together without adding zeros. */
static void contribute(Walk *walk, Tensor *x, Tensor *d) {
    Slot *slot = &walk->slot[x->id];
    d = undo_broadcast(d, x);
    char a[128], b[128];
    SHAPE_RULE(x->program, __FILE__, __LINE__, tensor_same_shape(d, x), "a gradient of shape %s for a tensor of %s",
               tensor_shape_text(d, a, sizeof a), tensor_shape_text(x, b, sizeof b));
    if (node_is_padding(d)) {
        add_piece(walk, slot, d);
        return;
    }
    d = x->kind == TENSOR_WEIGHT ? t_dense(d, x) : t_in_order(d, x);
    slot->sum = slot->sum ? t_add(slot->sum, d) : d;
}

/* Pieces along one axis that fill it without overlap, from first to last: one concatenation. NULL when they do not. */
static Tensor *assemble(Slot *slot, const Tensor *x) {
    Tensor *part[NODE_INPUTS_MAX];
    int axis = padding_axis(slot->piece[0]), parts = 0;
    for (int64_t at = 0; at < x->size[axis];) {
        const int before = parts;
        for (int i = 0; i < slot->pieces && parts == before; i++) {
            Tensor *d = slot->piece[i];
            if (padding_axis(d) != axis || padding_start(d) != at || parts == NODE_INPUTS_MAX) continue;
            part[parts++] = d->node->input[0];
            at += part[before]->size[axis];
        }
        if (parts == before) return NULL;
    }
    return parts == slot->pieces ? t_cat_at(axis, parts, part, T_HERE) : NULL;
}

/* All of d(loss)/dx, once no more contributions can come. */
static Tensor *finish(Walk *walk, Tensor *x) {
    Slot *slot = &walk->slot[x->id];
    Tensor *whole = slot->pieces ? assemble(slot, x) : NULL;
    for (int i = 0; !whole && i < slot->pieces; i++) {
        Tensor *d = t_in_order(slot->piece[i], x);
        slot->sum = slot->sum ? t_add(slot->sum, d) : d;
    }
    if (whole) {
        whole = t_in_order(whole, x);
        slot->sum = slot->sum ? t_add(slot->sum, whole) : whole;
    }
    slot->pieces = 0;
    x->gradient = slot->sum;
    return slot->sum;
}

/* The outermost scope round the node that is to be computed again; NULL: none. */
static const ScopeEntry *recomputed_in(const Node *node, const BackwardOptions *options) {
    const ScopeEntry *found = NULL;
    for (const ScopeEntry *entry = node->entry; entry; entry = entry->outer)
        if (matches_any(entry->name, options->recompute, options->recompute_count)) found = entry;
    return found;
}

/* What gradients read instead of `x`: `x` itself, or where it is light, or a view of what is, its second result, which
 * is recorded when it is first asked for. */
static Tensor *for_gradients(Walk *walk, Tensor *x, const BackwardOptions *options) {
    Tensor *input[NODE_INPUTS_MAX];
    const Node *node = x->node;
    if (walk->slot[x->id].again) return walk->slot[x->id].again;
    if (!node || options->keep_all || recomputed_in(node, options)) return x; /* what leaves a scope is kept */
    bool other = node->op->light && node->op->light(node);
    if (!other && x->base == x) return x;
    for (int k = 0; k < node->inputs; k++) {
        input[k] = node->input[k] ? for_gradients(walk, node->input[k], options) : NULL;
        other = other || input[k] != node->input[k];
    }
    if (!other) return x;
    const Node *again = program_repeat(node->program, node, input);
    for (int k = 0; k < node->outputs; k++) walk->slot[node->output[k]->id].again = again->output[k];
    return walk->slot[x->id].again;
}

/* The node as its gradient sees it. */
static const Node *seen_by_gradient(Walk *walk, const Node *node, const BackwardOptions *options) {
    Node *seen = program_alloc(node->program, sizeof *seen);
    *seen = *node;
    for (int k = 0; k < node->inputs; k++)
        if (node->input[k]) seen->input[k] = for_gradients(walk, node->input[k], options);
    return seen;
}

/* Node `last` and all before it in the same scope, once more. */
static void repeat_scope(Walk *walk, const Program *program, int last, const BackwardOptions *options) {
    const ScopeEntry *scope = recomputed_in(program_node(program, last), options);
    int first = last;
    while (first > 0 && recomputed_in(program_node(program, first - 1), options) == scope) first--;
    for (int i = first; i <= last; i++) {
        const Node *node = program_node(program, i);
        Tensor *input[NODE_INPUTS_MAX];
        for (int k = 0; k < node->inputs; k++)
            input[k] = node->input[k] ? for_gradients(walk, node->input[k], options) : NULL;
        walk->node[i] = program_repeat(node->program, node, input);
        for (int k = 0; k < node->outputs; k++) walk->slot[node->output[k]->id].again = walk->node[i]->output[k];
    }
}

static int walk_node(Walk *walk, const Node *node, const BackwardOptions *options) {
    Tensor *d_output[NODE_OUTPUTS_MAX] = {NULL}, *d_input[NODE_INPUTS_MAX] = {NULL};
    bool reached = false, wanted = false;
    for (int k = 0; k < node->inputs; k++) wanted = wanted || (node->input[k] && walk->slot[node->input[k]->id].wanted);
    if (!wanted || op_is_detach(node->op)) return 0;
    program_borrow_scope(node->program, node->scope);
    for (int k = 0; k < node->outputs; k++) {
        d_output[k] = finish(walk, node->output[k]);
        reached = reached || d_output[k];
    }
    if (!reached) return 0;
    if (!node->op->gradient)
        return fail(ERR_FAILED,
                    "the operator %s in %s (%s:%d) has no gradient, and the loss depends on weights through it; write "
                    "it, or put t_detach before it",
                    node->op->name, node->scope[0] ? node->scope : "the model", node->file, node->line);
    if (walk->node[node->id] == node) walk->node[node->id] = seen_by_gradient(walk, node, options);
    node->op->gradient(walk->node[node->id], d_output, d_input);
    for (int k = 0; k < node->inputs; k++)
        if (d_input[k] && node->input[k] && walk->slot[node->input[k]->id].wanted)
            contribute(walk, node->input[k], d_input[k]);
    return 0;
}

int backward(Tensor *loss, const BackwardOptions *options) {
    static const BackwardOptions none;
    Program *program = loss->program;
    if (!options) options = &none;
    int tensors = program_tensors(program), code = 0;
    Walk walk = {.arena = arena_make()};
    const int nodes = program_nodes(program);
    if (walk.arena) walk.slot = arena_alloc(walk.arena, (size_t)tensors * sizeof *walk.slot);
    if (walk.slot) walk.node = arena_alloc(walk.arena, (size_t)(nodes + 1) * sizeof *walk.node);
    if (!walk.node) {
        arena_drop(walk.arena);
        return ERR_MEMORY;
    }
    for (int i = 0; i < tensors; i++) program_tensor(program, i)->gradient = NULL;
    mark_wanted(&walk, program, options);
    program_next_phase(program);
    if (walk.slot[loss->id].wanted) contribute(&walk, loss, options->seed ? options->seed : t_fill(loss, 1));
    for (int i = 0; i < nodes; i++) walk.node[i] = program_node(program, i);
    for (int i = loss->node ? loss->node->id : -1; i >= 0 && !code; i--) {
        const Node *node = program_node(program, i);
        if (walk.node[i] == node && recomputed_in(node, options)) repeat_scope(&walk, program, i, options);
        code = walk_node(&walk, node, options);
    }
    program_borrow_scope(program, NULL);
    for (int i = 0; i < tensors && !code; i++) {
        Tensor *t = program_tensor(program, i);
        if (walk.slot[i].wanted && !t->node) finish(&walk, t);
        if (t->gradient && t->kind == TENSOR_WEIGHT && t->base == t) t->gradient = t_dense(t->gradient, t);
    }
    if (!code && arena_failed(walk.arena)) code = ERR_MEMORY;
    arena_drop(walk.arena);
    return code;
}
