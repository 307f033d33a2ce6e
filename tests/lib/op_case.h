/* tests/lib/op_case.h - what every operator's test does: its fast version against its definition at each instruction
 * level of this machine, for 1 to 3 threads (bit for bit equal), with and without a hole, over its input where it may;
 * and PyTorch's results beside both. */
#ifndef PANUM_TESTS_OP_CASE_H
#define PANUM_TESTS_OP_CASE_H
#include "tensor/files/weights.h"
#include "tests/lib/check.h"
#include "tests/lib/run_node.h"

/* A bound for each of the two builds (PANUM_F64: definitions only, in double). */
#ifdef PANUM_F64
#define F32_OR_F64(f32, f64) (f64)
#else
#define F32_OR_F64(f32, f64) (f32)
#endif

/* Runs `program`, whose inputs and weights are filled in `runner`, and compares every output of its last node. `bound`
 * is the largest allowed |difference| / max(1, |definition|). Prints the largest found. Where there is no fast version
 * (the f64 build) it does nothing. */
void check_fast(const char *what, Program *program, Runner *runner, double bound);
/* The same with everything filled by runner_fill_all, and both dropped at the end. */
void check_fast_random(const char *what, Program *program, double bound);

/* ---- fixtures of tests/fixtures/ops, read as f32 ---- */
typedef struct {
    Weights *file;
} Fixture;
Fixture fixture_open(const char *family);
void fixture_close(Fixture *fixture);
const WeightEntry *fixture_entry(const Fixture *fixture, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "key": number in the metadata of a case; `otherwise` when it is not there. Also true and false, as 1 and 0. */
double fixture_number(const Fixture *fixture, const char *name, const char *key, double otherwise);
/* An input of the entry's shape (of `rank` axes, leading ones added or merged into the first), and its values; as a map
 * the entry's four axes. Values go in with fixture_fill once there is a runner. */
void fixture_fill(const Fixture *fixture, const WeightEntry *entry, Runner *runner, const Tensor *t);
/* Compares t (spoken order) with the entry, for the definition as it was last run; bound as above. */
void fixture_check(const Fixture *fixture, const WeightEntry *entry, Runner *runner, const Tensor *t, double bound);
#endif
