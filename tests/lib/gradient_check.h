/* tests/lib/gradient_check.h - is a gradient the derivative of what it says it is?
 *
 * In the f64 build: every f32 input and every weight of a recorded case, element by element and along random
 * directions, beside central differences of the definitions. In the ordinary build: the same gradients by definitions,
 * by the interpreter and by replay, at every instruction level and for 1 to 3 threads (bit for bit equal). So one test
 * file, built twice, checks the mathematics and the fast versions. */
#ifndef PANUM_TESTS_GRADIENT_CHECK_H
#define PANUM_TESTS_GRADIENT_CHECK_H
#include "tensor/ops/ops.h"
#include "tests/lib/check.h"

/* Records the case: program_input and program_weight for what it depends on, program_output for every result. The
 * loss is the sum of all results, each element times a random number; with more than one result also each alone, so
 * that every operator sees d_output without some of its parts. Called several times; must record the same each time. */
typedef void (*GradientRecord)(Program *program, const void *context);

typedef struct {
    const char *name; /* of an input or weight */
    double low, high; /* its values are uniform in there; -1..1 where nothing is said */
    bool constant;    /* it has no gradient: a mask, or an argument that has none by intent */
} GradientInput;

typedef struct {
    GradientInput input[8];
    double bound; /* f64: largest |gradient - difference| / largest |gradient| of that tensor; 0: 1e-6 */
    double fast;  /* f32: the same between fast versions and definitions; 0: 2e-5 */
    double kinks; /* the share of elements that may lie within a step of a kink, where no difference says anything;
                     0: 0.02 */
    int most;     /* elements checked in each tensor; 0: 200 */
    const void *context;
    uint64_t seed;
} GradientCheck;

/* Fails the test when it is not; prints the largest error. */
void gradient_check_with(const char *what, GradientRecord record, GradientCheck options);
#define gradient_check(what, record, ...) gradient_check_with(what, record, (GradientCheck){__VA_ARGS__})
#endif
