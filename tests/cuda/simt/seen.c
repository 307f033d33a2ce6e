#include "tests/cuda/simt/seen.h"
#include "exec/steps.h"
#include "tests/cuda/simt/test_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void operators_seen_path(char *to, size_t size) {
    const char *build = getenv("PANUM_BUILD");
    snprintf(to, size, "%s/operators.seen", build ? build : "build");
}

static bool has_half(const Plan *plan, const Node *node) {
    for (int i = 0; i < node->inputs; i++)
        if (node->input[i] && plan_half(plan, node->input[i]->base)) return true;
    for (int i = 0; i < node->outputs; i++)
        if (plan_half(plan, node->output[i]->base)) return true;
    return false;
}

void operators_seen(const Plan *plan, GpuStorage storage) {
    static const char *const dtype[] = {"f32", "f16", "bf16"};
    static char seen[1 << 15] = "\n"; /* what this program has written */
    char path[400], line[100];
    const Steps *steps = plan_step_list(plan);
    operators_seen_path(path, sizeof path);
    FILE *file = fopen(path, "a");
    if (!file) return;
    for (int i = 0; i < steps->steps; i++) {
        const Node *node = steps->step[i].node;
        const bool half = storage != GPU_F32 && (!node || has_half(plan, node));
        snprintf(line, sizeof line, "\n%s %s %s\n", node ? node->op->name : "pointwise",
                 dtype[half ? storage : GPU_F32], test_device_is_real() ? "gpu" : "emulated");
        if (strstr(seen, line) || strlen(seen) + strlen(line) >= sizeof seen) continue;
        strcat(seen, line + 1);
        fputs(line + 1, file);
    }
    fclose(file);
}
