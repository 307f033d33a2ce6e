/* exec/steps.h - inside exec/: the list of steps that plan.c places and runs, and fuse.c makes. */
#ifndef PANUM_EXEC_STEPS_H
#define PANUM_EXEC_STEPS_H
#include "base/mem.h"
#include "exec/plan.h"
#include "tensor/ops/strip.h"

typedef struct {
    const Node *node;    /* the operator to run, perhaps a copy with segments; NULL for a pointwise region alone */
    StripProgram *strip; /* the region, or what is done in the node's hole on store; NULL: none */
} Step;

typedef struct Steps {
    Program *program;
    Arena *arena;
    PlanOptions options;
    Step *step;
    int steps;
    bool *alive;  /* by node: needed for an output */
    bool *wanted; /* by base tensor: an output or a kept tap, must stay to the end */
} Steps;

int steps_interpret(Steps *steps); /* one step a node */
int steps_fuse(Steps *steps);      /* by structure */

/* For other players of a plan (gpu.c): its steps, and where a base tensor lies in its block; -1: not in it. */
const Steps *plan_step_list(const Plan *plan);
int64_t plan_place(const Plan *plan, const Tensor *base);
bool plan_half(const Plan *plan, const Tensor *base); /* in 16 bits: PlanOptions.halves */
#endif
