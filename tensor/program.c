#include "tensor/program.h"
#include "base/err.h"
#include "base/mem.h"
#include "tensor/op.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* One reservation of address space holds everything a program records; pages are taken as they are touched, so a small
 * program is small. 2,500 nodes of S2M2-S take about 2 MiB; the largest model here is a few times that, and its
 * gradients a few times that again. */
enum {
    RESERVE = 256 << 20,
    NODES_MAX = 131072,
    TENSORS_MAX = 262144,
    SCOPE_MAX = 512,
    SCOPE_DEPTH = 32,
    NAMED_MAX = 4096
};

typedef struct {
    const char *name;
    Tensor *tensor;
} Named;

struct Program {
    size_t used;
    int nodes, tensors, outputs, taps, weights;
    Node *node[NODES_MAX];
    Tensor *tensor[TENSORS_MAX];
    Named output[NAMED_MAX]; /* a gradient for each parameter, when it is trained */
    Named tap[NAMED_MAX];
    Tensor *weight[NAMED_MAX];
    char scope[SCOPE_MAX];
    int scope_length[SCOPE_DEPTH], scope_depth;
    const ScopeEntry *entry[SCOPE_DEPTH + 1]; /* by depth; [0] is NULL */
    const char *scope_kept;                   /* the current scope as stored for nodes */
    const char *scope_borrowed;
    int phase;
};

void shape_bug(const Program *program, const char *file, int line, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    panum_bug(file, line, "in %s: %s",
              program && program->scope_borrowed ? program->scope_borrowed
              : program && program->scope[0]     ? program->scope
                                                 : "the model",
              text);
}

Program *program_make(void) {
    Program *program = mem_reserve(RESERVE);
    if (!program) return NULL;
    program->used = (sizeof *program + 63) & ~(size_t)63;
    program->scope_kept = "";
    return program;
}

void program_drop(Program *program) {
    if (program) mem_unreserve(program, RESERVE);
}

void *program_alloc(Program *program, size_t bytes) {
    size_t need = (bytes + 15) & ~(size_t)15;
    BUG_IF(bytes > RESERVE || program->used + need > RESERVE, "a program of more than %d MiB", RESERVE >> 20);
    void *p = (char *)program + program->used;
    program->used += need;
    return p;
}

static char *keep_text(Program *program, const char *text) {
    size_t n = strlen(text) + 1;
    char *copy = program_alloc(program, n);
    memcpy(copy, text, n);
    return copy;
}

static Tensor *new_tensor(Program *program, TensorKind kind, DType dtype, int rank, const int64_t *size) {
    BUG_IF(program->tensors >= TENSORS_MAX, "more than %d tensors", TENSORS_MAX);
    BUG_IF(rank < 1 || rank > RANK_MAX, "rank %d", rank);
    Tensor *t = program_alloc(program, sizeof *t);
    *t = (Tensor){.program = program, .kind = kind, .dtype = dtype, .id = program->tensors, .rank = rank, .base = t};
    for (int i = 0; i < rank; i++) t->size[i] = size[i];
    program->tensor[program->tensors++] = t;
    return t;
}

static void set_row_major(Tensor *t) {
    int64_t stride = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        t->stride[i] = stride;
        stride *= t->size[i];
    }
}

static void set_channels_last(Tensor *t) {
    int64_t c = t->size[1], h = t->size[2], w = t->size[3];
    t->stride[0] = c * h * w;
    t->stride[1] = 1;
    t->stride[2] = c * w;
    t->stride[3] = c;
}

static void check_sizes(const Program *program, const Tensor *t, const char *file, int line) {
    int64_t count = 1;
    char text[128];
    for (int i = 0; i < t->rank; i++) {
        SHAPE_RULE(program, file, line,
                   t->size[i] > 0 && !__builtin_mul_overflow(count, t->size[i], &count) && count < (int64_t)1 << 48,
                   "a tensor of shape %s", tensor_shape_text(t, text, sizeof text));
    }
}

Tensor *program_input(Program *program, const char *name, DType dtype, int rank, const int64_t *size) {
    Tensor *t = new_tensor(program, TENSOR_INPUT, dtype, rank, size);
    check_sizes(program, t, __FILE__, __LINE__);
    if (rank == 4)
        set_channels_last(t);
    else
        set_row_major(t);
    t->name = keep_text(program, name);
    return t;
}

Tensor *program_weight(Program *program, const char *name, int rank, const int64_t *size) {
    for (int i = 0; i < program->weights; i++) {
        Tensor *known = program->weight[i];
        if (strcmp(known->name, name) != 0) continue;
        bool same = known->rank == rank;
        for (int k = 0; same && k < rank; k++) same = known->size[k] == size[k];
        SHAPE_RULE(program, __FILE__, __LINE__, same, "weight %s asked for with two shapes", name);
        return known;
    }
    BUG_IF(program->weights >= NAMED_MAX, "more than %d weights", NAMED_MAX);
    Tensor *t = new_tensor(program, TENSOR_WEIGHT, DTYPE_F32, rank, size);
    check_sizes(program, t, __FILE__, __LINE__);
    set_row_major(t);
    t->name = keep_text(program, name);
    program->weight[program->weights++] = t;
    return t;
}

void program_output(Program *program, const char *name, Tensor *t) {
    BUG_IF(program->outputs >= NAMED_MAX, "more than %d outputs", NAMED_MAX);
    program->output[program->outputs++] = (Named){keep_text(program, name), t};
}

void program_tap(Program *program, const char *name, Tensor *t) {
    BUG_IF(program->taps >= NAMED_MAX, "more than %d taps", NAMED_MAX);
    program->tap[program->taps++] = (Named){keep_text(program, name), t};
}

void scope_push(Program *program, const char *format, ...) {
    BUG_IF(program->scope_depth >= SCOPE_DEPTH, "scopes nested deeper than %d", SCOPE_DEPTH);
    int length = (int)strlen(program->scope);
    program->scope_length[program->scope_depth++] = length;
    if (length) program->scope[length++] = '.';
    va_list args;
    va_start(args, format);
    int n = vsnprintf(program->scope + length, (size_t)(SCOPE_MAX - length), format, args);
    va_end(args);
    BUG_IF(n < 0 || n >= SCOPE_MAX - length, "scope longer than %d", SCOPE_MAX);
    program->scope_kept = keep_text(program, program->scope);
    ScopeEntry *entry = program_alloc(program, sizeof *entry);
    *entry = (ScopeEntry){program->entry[program->scope_depth - 1], program->scope_kept};
    program->entry[program->scope_depth] = entry;
}

void scope_pop(Program *program) {
    BUG_IF(program->scope_depth == 0, "scope_pop without scope_push");
    program->scope[program->scope_length[--program->scope_depth]] = 0;
    program->scope_kept = program->scope_depth ? program->entry[program->scope_depth]->name : "";
}

void program_next_phase(Program *program) {
    program->phase++;
}

void program_borrow_scope(Program *program, const char *scope) {
    program->scope_borrowed = scope;
}

const char *program_scope(const Program *program) {
    return program->scope;
}
int program_nodes(const Program *program) {
    return program->nodes;
}
Node *program_node(const Program *program, int index) {
    return program->node[index];
}
int program_tensors(const Program *program) {
    return program->tensors;
}
Tensor *program_tensor(const Program *program, int index) {
    return program->tensor[index];
}
int program_outputs(const Program *program) {
    return program->outputs;
}
int program_taps(const Program *program) {
    return program->taps;
}

Tensor *program_output_at(const Program *program, int index, const char **name) {
    if (name) *name = program->output[index].name;
    return program->output[index].tensor;
}

Tensor *program_tap_at(const Program *program, int index, const char **name) {
    if (name) *name = program->tap[index].name;
    return program->tap[index].tensor;
}

Tensor *program_find(const Program *program, const char *name) {
    for (int i = 0; i < program->outputs; i++)
        if (strcmp(program->output[i].name, name) == 0) return program->output[i].tensor;
    for (int i = 0; i < program->taps; i++)
        if (strcmp(program->tap[i].name, name) == 0) return program->tap[i].tensor;
    for (int i = 0; i < program->tensors; i++)
        if (program->tensor[i]->name && strcmp(program->tensor[i]->name, name) == 0) return program->tensor[i];
    return NULL;
}

Node *program_record(Program *program, const Op *op, int inputs, Tensor *const *input, const void *attributes,
                     size_t attributes_size, const char *file, int line) {
    BUG_IF(program->nodes >= NODES_MAX, "more than %d nodes", NODES_MAX);
    BUG_IF(inputs > NODE_INPUTS_MAX, "%s with %d inputs", op->name, inputs);
    Node *node = program_alloc(program, sizeof *node);
    *node = (Node){.op = op,
                   .program = program,
                   .id = program->nodes,
                   .inputs = inputs,
                   .phase = program->phase,
                   .segments = 1,
                   .file = file,
                   .line = line};
    for (int i = 0; i < inputs; i++) node->input[i] = input[i];
    if (attributes_size) {
        void *copy = program_alloc(program, attributes_size);
        memcpy(copy, attributes, attributes_size);
        node->attributes = copy;
    }
    node->scope = program->scope_borrowed ? program->scope_borrowed : program->scope_kept;
    node->entry = program->entry[program->scope_depth];
    program->node[program->nodes++] = node;
    return node;
}

Tensor *node_output(Node *node, DType dtype, int rank, const int64_t *size, Layout layout) {
    BUG_IF(node->outputs >= NODE_OUTPUTS_MAX, "%s with more than %d outputs", node->op->name, NODE_OUTPUTS_MAX);
    Tensor *t = new_tensor(node->program, TENSOR_VALUE, dtype, rank, size);
    check_sizes(node->program, t, node->file, node->line);
    if (rank == 4 && layout == LAYOUT_AUTO)
        set_channels_last(t);
    else
        set_row_major(t);
    t->node = node;
    node->output[node->outputs++] = t;
    return t;
}

Tensor *node_view(Node *node, Tensor *of, int rank, const int64_t *size, const int64_t *stride, int64_t offset) {
    Tensor *t = new_tensor(node->program, of->kind, of->dtype, rank, size);
    for (int i = 0; i < rank; i++) t->stride[i] = stride[i];
    t->base = of->base;
    t->offset = of->offset + offset;
    t->node = node;
    node->output[node->outputs++] = t;
    return t;
}

Node *program_repeat(Program *program, const Node *node, Tensor *const *input) {
    Node *copy = program_record(program, node->op, node->inputs, input, node->attributes, 0, node->file, node->line);
    copy->attributes = node->attributes;
    copy->segments = node->segments;
    copy->again = true;
    copy->scope = node->scope;
    for (int k = 0; k < node->outputs; k++) {
        const Tensor *t = node->output[k];
        Tensor *own = new_tensor(program, t->kind, t->dtype, t->rank, t->size);
        for (int i = 0; i < t->rank; i++) own->stride[i] = t->stride[i];
        own->offset = t->offset;
        own->node = copy;
        for (int i = 0; i < node->inputs && t->base != t; i++) /* a view shows what its input is part of now */
            if (node->input[i] && node->input[i]->base == t->base) own->base = input[i]->base;
        copy->output[copy->outputs++] = own;
    }
    return copy;
}

/* "%12" for values, the name for inputs and weights. */
static void print_tensor(const Tensor *t, FILE *to) {
    if (t->name)
        fprintf(to, "%s", t->name);
    else
        fprintf(to, "%%%d", t->id);
}

void program_print(const Program *program, FILE *to) {
    char shape[128];
    for (int i = 0; i < program->nodes; i++) {
        const Node *node = program->node[i];
        for (int k = 0; k < node->outputs; k++) {
            fprintf(to, "%s", k ? ", " : "");
            print_tensor(node->output[k], to);
            fprintf(to, " %s", tensor_shape_text(node->output[k], shape, sizeof shape));
        }
        fprintf(to, " = %s(", node->op->name);
        for (int k = 0; k < node->inputs; k++) {
            fprintf(to, "%s", k ? ", " : "");
            if (node->input[k])
                print_tensor(node->input[k], to);
            else
                fprintf(to, "-");
        }
        fprintf(to, ")");
        if (node->op->print) node->op->print(node, to);
        fprintf(to, "  # %s\n", node->scope);
    }
    for (int i = 0; i < program->outputs; i++) {
        fprintf(to, "output %s = ", program->output[i].name);
        print_tensor(program->output[i].tensor, to);
        fprintf(to, "\n");
    }
}
