/* tensor/program.h - recording. Calling an operator checks shapes at once and appends a node; nothing is computed.
 *
 * A program is a flat list of nodes in the order they were recorded, which is an order they can run in. Recording
 * cannot fail in a way the author of a model must handle: a wrong shape stops with scope, line and shapes (the program
 * is wrong), and all memory of a program is one reservation made by program_make. */
#ifndef PANUM_TENSOR_PROGRAM_H
#define PANUM_TENSOR_PROGRAM_H
#include "tensor/tensor.h"
#include <stdio.h>

typedef struct Op Op; /* tensor/op.h */

enum { NODE_INPUTS_MAX = 10, NODE_OUTPUTS_MAX = 5 };

/* A scope, each time it is entered. */
typedef struct ScopeEntry {
    const struct ScopeEntry *outer; /* NULL: outside all scopes */
    const char *name;               /* whole: "refiner.refine_unet" */
} ScopeEntry;

struct Node {
    const Op *op;
    Program *program;
    int id;
    int inputs, outputs;
    int phase;    /* 0 for what a model records, more for what backward() adds: fusion does not cross it */
    int segments; /* the first `segments` inputs are channel segments of the data operand, side by side; 1 as recorded,
                     more when the plan has removed a concatenation (operators with load_segments) */
    int doubled;  /* the last `doubled` of them are given at half size, to be enlarged bilinearly on load; 0 as recorded
                     (operators with load_doubled) */
    Tensor *input[NODE_INPUTS_MAX]; /* an optional input that is absent is NULL */
    Tensor *output[NODE_OUTPUTS_MAX];
    const void *attributes;  /* the operator's own struct, in the program's memory */
    const char *scope;       /* "refiner.refine_unet.enc0" */
    const ScopeEntry *entry; /* the scope it was recorded in; NULL outside all */
    bool again;              /* a repetition of an earlier node: program_repeat */
    const char *file;        /* where the model recorded it */
    int line;
};

Program *program_make(void); /* NULL with ERR_MEMORY */
void program_drop(Program *program);

Tensor *program_input(Program *program, const char *name, DType dtype, int rank, const int64_t *size);
/* The same name asked for twice is the same tensor; the shapes must agree. */
Tensor *program_weight(Program *program, const char *name, int rank, const int64_t *size);
void program_output(Program *program, const char *name, Tensor *t); /* kept to the end; readable after a run */
void program_tap(Program *program, const char *name, Tensor *t);    /* a name for tests; costs nothing unless read */

void scope_push(Program *program, const char *format, ...) __attribute__((format(printf, 2, 3)));
void scope_pop(Program *program);
const char *program_scope(const Program *program);

int program_nodes(const Program *program);
Node *program_node(const Program *program, int index);
int program_tensors(const Program *program);
Tensor *program_tensor(const Program *program, int index);
Tensor *program_find(const Program *program, const char *name); /* input, weight, output or tap; NULL when absent */
int program_outputs(const Program *program);
Tensor *program_output_at(const Program *program, int index, const char **name);
int program_taps(const Program *program);
Tensor *program_tap_at(const Program *program, int index, const char **name);

void program_print(const Program *program, FILE *to); /* a line a node; golden tests compare it */

/* --- for operator files (tensor/ops) and exec/ only --- */
void *program_alloc(Program *program, size_t bytes); /* zeroed; lives as long as the program; never NULL */
/* Appends a node; `attributes` is copied. Outputs are added with node_output / node_view. */
Node *program_record(Program *program, const Op *op, int inputs, Tensor *const *input, const void *attributes,
                     size_t attributes_size, const char *file, int line);
/* What is recorded from now on belongs to a later part of the program. */
void program_next_phase(Program *program);
/* The scope of what is recorded from now on, instead of the current one: a node's, which outlives the call. NULL goes
 * back to what scope_push made. */
void program_borrow_scope(Program *program, const char *scope);
/* Appends `node` once more, reading input[k] instead of its own, with outputs of its own. */
Node *program_repeat(Program *program, const Node *node, Tensor *const *input);
/* A new value. With LAYOUT_AUTO rank 4 lies channels-last, other ranks row-major. */
typedef enum { LAYOUT_AUTO, LAYOUT_ROW_MAJOR } Layout;
Tensor *node_output(Node *node, DType dtype, int rank, const int64_t *size, Layout layout);
Tensor *node_view(Node *node, Tensor *of, int rank, const int64_t *size, const int64_t *stride, int64_t offset);
#endif
