/* exec/plan.h - from a recorded program to something that runs: steps, a place for every tensor in one block of memory,
 * and two players over the same steps.
 *
 * The *interpreter* (options.interpret) has one step for each node, nothing fused: it is the truth. *Replay* (default)
 * fuses by structure: pointwise regions, holes on store of heavy operators, concatenations taken as segments. Both run
 * the fast kernels unless options.definitions asks for the plain-C definitions.
 *
 * Everything is allocated by plan_make; nothing between two runs. Results do not depend on the number of threads. */
#ifndef PANUM_EXEC_PLAN_H
#define PANUM_EXEC_PLAN_H
#include "base/pool.h"
#include "tensor/op.h"
#include "tensor/program.h"
#include "tensor/weight_source.h"

struct Steps; /* exec/steps.h */

typedef struct {
    bool interpret;   /* one step a node */
    bool definitions; /* plain C; implies interpret */
    bool keep_taps;   /* taps stay readable after a run (costs memory, and what fusion they prevent) */
    bool exact;       /* no Winograd */
    bool bf16;
    bool shape_only; /* steps and places only: no block, no weights; for printing, not for running here */
    bool for_cpu;    /* with shape_only: the steps that would run here, not those of a GPU */
    /* Says which base tensors lie in 16 bits a number, by id; only with shape_only, for who else runs the plan
     * (gpu_halves). NULL: none. */
    void (*halves)(const struct Steps *steps, bool *half);
    size_t memory_limit; /* bytes; 0: none. A larger plan is refused before anything is allocated */
} PlanOptions;

typedef struct Plan Plan;
int plan_make(Program *program, const WeightSource *weights, Pool *pool, PlanOptions options, Plan **plan);
void plan_drop(Plan *plan);

/* The storage of an input (to fill before a run), an output or a kept tap (to read after). Dense, in the tensor's
 * layout; for a view its first element. */
void *plan_data(const Plan *plan, const Tensor *t);
int plan_run(Plan *plan);
/* The weights' numbers have changed where they lie (training): makes the packed copies anew, in place. Plans that share
 * a store share those of equal kind; call it for each plan that is going to run. */
void plan_repack(Plan *plan);
/* Called between steps with the share of the work that is done, 0..1; when it returns true the run ends with
 * ERR_STOPPED and nothing of it is to be read. NULL: nobody watches. */
typedef bool (*PlanWatch)(void *context, double done);
void plan_watch(Plan *plan, PlanWatch watch, void *context);

typedef struct {
    size_t bytes;     /* the block: what a run needs beside weights and program */
    size_t live_peak; /* the most that is alive at once: no plan can be smaller without recomputing */
    int peak_step;
    int steps, nodes;      /* steps to run; nodes recorded */
    double flops_again;    /* those of them that recompute what was not kept */
    size_t kept;           /* bytes alive when the last forward step is done: inputs, and what backward still reads */
    double flops, traffic; /* of one run, convolutions as if direct; bytes with every step reading and writing once */
} PlanFacts;
PlanFacts plan_facts(const Plan *plan);
void plan_print_steps(const Plan *plan,
                      FILE *to); /* a line a step, with the code of its strips; golden tests compare it */
void plan_print_memory(const Plan *plan, FILE *to); /* peak, its step, the ten largest alive then; when there
                                                       are gradients, what is kept for them and what is recomputed */

/* Times of the last run, by step. Off by default. */
void plan_profile(Plan *plan, bool on);
int plan_steps(const Plan *plan);
typedef enum { STEP_FORWARD, STEP_AGAIN, STEP_BACKWARD } StepPart; /* AGAIN: recomputed for backward */
typedef struct {
    const char *name, *scope; /* operator ("region" for pointwise alone) and scope */
    char shape[64];
    double seconds, flops, bytes;
    StepPart part;
} StepFacts;
StepFacts plan_step(const Plan *plan, int step);
#endif
