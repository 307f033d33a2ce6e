/* tensor/ops/strip.h - a chain of pointwise functions over rows x columns, run by strips that stay in L1.
 *
 * A StripProgram is what the plan makes of a region of pointwise nodes (one node alone is a program of one
 * instruction). Its values are external operands first, then one value for each instruction. Rows are positions in
 * memory order, columns the innermost axis. Measured when the design was made: strips of 256 to 1,024 floats are within
 * 15 % of a hand-fused loop, so the CPU needs no code generation. */
#ifndef PANUM_TENSOR_OPS_STRIP_H
#define PANUM_TENSOR_OPS_STRIP_H
#include "base/pool.h"
#include "tensor/ops/ops.h"

enum {
    STRIP_OPERANDS_MAX = 12,
    STRIP_CODE_MAX = 20,
    STRIP_VALUES_MAX = STRIP_OPERANDS_MAX + STRIP_CODE_MAX,
    STRIP_FLOATS = 1024
};

typedef enum {
    OPERAND_FULL,   /* element (row, column) at row*stride + column */
    OPERAND_ROW,    /* one value a row, at row*stride: a 1-channel map times features */
    OPERAND_COLUMN, /* one value a column: a [C] vector */
    OPERAND_SCALAR, /* one value */
    OPERAND_TILE,   /* the tile that a heavy kernel has just computed */
} OperandKind;

typedef struct {
    OperandKind kind;
    int64_t stride;       /* elements from row to row; unused for COLUMN, SCALAR and TILE */
    const Tensor *tensor; /* where it comes from; NULL for TILE */
    bool u8;
    bool half; /* stored in 16 bits; only in plans that a GPU runs */
} StripOperand;

typedef struct {
    PointwiseFunction function;
    int a, b; /* values; b is -1 for unary functions */
    double p, q;
} StripInstruction;

typedef struct {
    int value;
    int64_t stride;
    const Tensor *tensor;
    bool half;
} StripOutput;

typedef struct {
    int64_t rows, columns;
    int operands, instructions, outputs;
    StripOperand operand[STRIP_OPERANDS_MAX];
    StripInstruction code[STRIP_CODE_MAX];
    StripOutput output[STRIP_CODE_MAX + 1];
} StripProgram;

/* Where the operands and outputs of one run lie: first elements. */
typedef struct {
    const void *operand[STRIP_OPERANDS_MAX];
    float *output[STRIP_CODE_MAX + 1];
} StripPlaces;

/* Runs the program on rows x columns starting at (row, column). `tile` (with its stride) stands for OPERAND_TILE. Bit k
 * of `past`: output k, which an instruction makes, goes past the caches. */
void strip_run(const StripProgram *program, const StripPlaces *places, unsigned past, int64_t row, int64_t rows,
               int64_t column, int64_t columns, const float *tile, int64_t tile_stride);
/* Asks the caches for what strip_run over the same rows and columns reads and writes, the tile excepted. */
void strip_ask(const StripProgram *program, const StripPlaces *places, unsigned past, int64_t row, int64_t rows,
               int64_t column, int64_t columns);
/* All of it, in parallel; programs without a tile. */
void strip_run_all(Pool *pool, const StripProgram *program, const StripPlaces *places);

const char *pointwise_name(PointwiseFunction function);
bool pointwise_is_binary(PointwiseFunction function);
double pointwise_flops(PointwiseFunction function);
extern const Op op_pointwise;
typedef struct {
    PointwiseFunction function;
    double p, q;
} PointwiseAttributes;
/* How tensor `x` is read when a region runs over the positions of `space`: FULL, ROW, COLUMN or SCALAR; false
 * when it is neither (a layout that has no constant stride from row to row). */
bool strip_operand(const Tensor *x, const Tensor *space, StripOperand *operand);
/* The rows x columns of a tensor in memory order, if its rows have one stride. */
bool strip_space(const Tensor *t, int64_t *rows, int64_t *columns, int64_t *stride);
#endif
