/* tensor/tensor.h - what a tensor is while a program is recorded: a description, never bytes.
 *
 * Shapes are spoken in PyTorch's order, outermost first: pictures and feature maps are (N, C, H, W), tokens (B, T, C).
 * In memory, image-like tensors lie channels-last (stride of C is 1), everything else row-major, so a convolution is an
 * implicit matrix product and the step from a map to its tokens is a view. Strides are in elements.
 *
 * A Tensor belongs to its Program and is never freed alone. Its bytes exist only while a plan runs (exec/plan.h). */
#ifndef PANUM_TENSOR_H
#define PANUM_TENSOR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers of the tree. In the f64 build (tests only) every "f32" tensor holds doubles and only definitions run. */
#ifdef PANUM_F64
typedef double real;
#else
typedef float real;
#endif

typedef enum { DTYPE_F32, DTYPE_U8, DTYPE_I32 } DType;
size_t dtype_size(DType dtype); /* bytes of one element; DTYPE_F32 is sizeof(real) */
const char *dtype_name(DType dtype);

enum { RANK_MAX = 6 };

typedef enum {
    TENSOR_INPUT,  /* bytes come from the caller of a run */
    TENSOR_WEIGHT, /* bytes come from the parameter store, by name */
    TENSOR_VALUE,  /* made by a node; placed by the plan */
} TensorKind;

typedef struct Program Program;
typedef struct Node Node;

typedef struct Tensor {
    Program *program;
    Node *node;          /* the node that makes it (a view operator's node for views); NULL for inputs and weights */
    struct Tensor *base; /* the tensor whose bytes these are; itself unless it is a view */
    TensorKind kind;
    DType dtype;
    int id; /* its place in the program's list */
    int rank;
    int64_t size[RANK_MAX];
    int64_t stride[RANK_MAX];
    int64_t offset;          /* elements from the start of base */
    const char *name;        /* of inputs and weights; NULL otherwise */
    struct Tensor *gradient; /* d(loss)/d(this) once backward() has recorded it (autograd/backward.h); NULL: none */
} Tensor;

int64_t tensor_count(const Tensor *t);     /* elements */
size_t tensor_bytes(const Tensor *base);   /* of a base tensor: what its storage takes */
bool tensor_is_row_major(const Tensor *t); /* dense in spoken order */
bool tensor_same_shape(const Tensor *a, const Tensor *b);
/* Writes "2x128x120x184" into out; returns out. */
char *tensor_shape_text(const Tensor *t, char *out, size_t size);
#endif
