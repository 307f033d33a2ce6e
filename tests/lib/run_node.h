/* tests/lib/run_node.h - runs a recorded program node by node without a planner: the bench every operator test stands
 * on.
 *
 * Every base tensor gets a buffer of its own, flush against a forbidden page behind and with marked bytes in front, so
 * that a read or write past the end stops the test. Before each run all values are NaN and scratch is filled with NaN
 * bytes. Any failure of the runner itself (no memory) fails the test. */
#ifndef PANUM_TESTS_RUN_NODE_H
#define PANUM_TESTS_RUN_NODE_H
#include "base/pool.h"
#include "tensor/program.h"

typedef enum {
    RUN_DEFINITION, /* what every node means */
    RUN_FAST,       /* the fast version where there is one */
} RunKind;

typedef enum {
    HOLE_NONE,
    HOLE_STORE,  /* through a hole that copies, spoils the tile behind it, and counts that each element comes exactly
                    once */
    HOLE_DIRECT, /* through a hole with `direct`, into rows that are farther apart than they are long */
} RunHole;       /* for operators with store_hole; others run without */

typedef struct {
    RunKind kind;
    RunHole hole;
    bool exact, bf16;
    bool over_input; /* the output lies on the bytes of an input, for operators with in_place; others run as ever */
    Pool *pool;      /* NULL: one thread */
} RunWay;

typedef struct Runner Runner;
Runner *runner_make(Program *program);
void runner_drop(Runner *runner); /* not the program */
/* First element of any tensor of the program. Reading a view's elements is up to the caller (strides). */
void *runner_data(Runner *runner, const Tensor *t);
/* Fills the storage of a base f32 tensor with numbers uniform in [-scale, scale), a function of seed and place only. */
void runner_fill(Runner *runner, const Tensor *t, uint64_t seed, double scale);
/* Fills every f32 input with seed + its id at scale 1, every weight at sqrt(3 * size[0] / count): unit gain. */
void runner_fill_all(Runner *runner, uint64_t seed);
void runner_run(Runner *runner, RunWay way);
/* Elements of t in spoken order, from any strides, as floats (or doubles in the f64 build); release with mem_free. */
real *runner_copy(Runner *runner, const Tensor *t);
#endif
