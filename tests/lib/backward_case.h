/* tests/lib/backward_case.h - the gradient of one operator by itself, without the walk backwards: what its `gradient`
 * records, fast against definition, and the definition against differences of the operator's own definition.
 *
 * Record the operator, then backward_record (every output gets an input "dy<k>" beside it), fill the runner, check. */
#ifndef PANUM_TESTS_BACKWARD_CASE_H
#define PANUM_TESTS_BACKWARD_CASE_H
#include "tensor/op.h"
#include "tests/lib/op_case.h"

typedef struct {
    Program *program;
    const Node *node;
    Tensor *dy[NODE_OUTPUTS_MAX];     /* inputs; NULL where the loss does not come from that output */
    Tensor *d_input[NODE_INPUTS_MAX]; /* NULL: none */
} Backward;

/* outputs: bit k says that the loss comes from output k. */
Backward backward_record(const Node *node, unsigned outputs);
/* Fast versions of all nodes the gradient recorded against their definitions, at every instruction level, for 1, 2 and
 * 5 threads (equal bits). The forward operator runs by its definition. `bound` as in check_fast, but relative to the
 * largest value of each result where that is above 1. Nothing in the f64 build. */
void check_backward_fast(const char *what, const Backward *b, Runner *runner, double bound);
/* Central differences of L = sum over outputs of dy . y by the definitions, with steps of `step`, along one random
 * direction for each input and at up to `elements` single places: |difference - gradient| <= bound (|gradient| + the
 * mean size of the terms). Only in the f64 build; nothing otherwise. Inputs whose d_input is NULL are left alone. */
void check_backward_differences(const char *what, const Backward *b, Runner *runner, double step, int elements,
                                double bound);
#endif
