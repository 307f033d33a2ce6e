#include "apps/lib/gpu_report.h"

#include <stdlib.h>
#include <string.h>

void gpu_report_launches(const GpuPlan *gpu, const Plan *plan, FILE *to) {
    int launches = gpu_plan_facts(gpu).launches;
    fprintf(to, "%5s %-20s %-24s %-14s %7s %7s %5s  %-32s %s\n", "step", "operator", "kernel", "blocks", "threads",
            "shared", "hole", "scope", "compiled with; why this one");
    for (int i = 0; i < launches; i++) {
        GpuLaunchFacts l = gpu_plan_launch(gpu, i);
        StepFacts s = plan_step(plan, l.step);
        char grid[40];
        snprintf(grid, sizeof grid, "%ux%ux%u", l.how.grid[0], l.how.grid[1], l.how.grid[2]);
        fprintf(to, "%5d %-20s %-24s %-14s %7u %7zu %5s  %-32s %s%s%s\n", l.step, s.name, l.kernel, grid, l.how.threads,
                l.how.shared, l.region ? "yes" : "-", s.scope && *s.scope ? s.scope : "-", l.define ? l.define : "",
                l.define && l.why ? "; " : "", l.why ? l.why : "");
    }
}

static int slowest_first(const void *a, const void *b) {
    const KernelLine *x = a, *y = b;
    if (x->seconds != y->seconds) return x->seconds < y->seconds ? 1 : -1;
    return y->launches - x->launches;
}

static bool same_text(const char *a, const char *b) {
    return a == b || (a && b && !strcmp(a, b));
}

static KernelLine *line_of(KernelLine *line, int *lines, GpuLaunchFacts l) {
    int k = 0;
    while (k < *lines && !(same_text(line[k].kernel, l.kernel) && same_text(line[k].define, l.define))) k++;
    if (k == KERNEL_LINES_MAX) return &line[k - 1];
    if (k == *lines) line[(*lines)++] = (KernelLine){.kernel = l.kernel, .define = l.define};
    return &line[k];
}

int gpu_report_lines(const GpuPlan *gpu, const Plan *plan, KernelLine *line) {
    int lines = 0, launches = gpu_plan_facts(gpu).launches, last = -1;
    for (int i = 0; i < launches; i++) {
        GpuLaunchFacts l = gpu_plan_launch(gpu, i);
        KernelLine *at = line_of(line, &lines, l);
        at->launches++;
        at->seconds += l.seconds;
        if (l.step == last) continue;
        last = l.step;
        StepFacts s = plan_step(plan, l.step);
        at->flops += s.flops;
        at->bytes += s.bytes;
    }
    qsort(line, (size_t)lines, sizeof *line, slowest_first);
    return lines;
}

void gpu_report_kernels(const GpuPlan *gpu, const Plan *plan, FILE *to) {
    KernelLine line[KERNEL_LINES_MAX];
    int lines = gpu_report_lines(gpu, plan, line), launches = gpu_plan_facts(gpu).launches;
    double total = 0;
    static const char all[] = "all, one by one";
    int width = sizeof all - 1; /* of the longest name */
    for (int k = 0; k < lines; k++) {
        total += line[k].seconds;
        const int length = (int)(strlen(line[k].kernel) + (line[k].define ? strlen(line[k].define) + 1 : 0));
        if (length > width) width = length;
    }
    fprintf(to, "%-*s %8s %10s %6s %10s %10s %9s %9s\n", width, "kernel", "launches", "ms", "%", "GFLOP", "GFLOP/s",
            "GB", "GB/s");
    for (int k = 0; k < lines; k++) {
        const KernelLine *l = &line[k];
        char name[200];
        snprintf(name, sizeof name, "%s%s%s", l->kernel, l->define ? " " : "", l->define ? l->define : "");
        fprintf(to, "%-*s %8d", width, name, l->launches);
        if (total > 0)
            fprintf(to, " %10.3f %6.1f %10.3f %10.0f %9.4f %9.0f\n", 1e3 * l->seconds, 100 * l->seconds / total,
                    l->flops / 1e9, l->flops / l->seconds / 1e9, l->bytes / 1e9, l->bytes / l->seconds / 1e9);
        else
            fprintf(to, " %10s %6s %10.3f %10s %9.4f %9s\n", "-", "-", l->flops / 1e9, "-", l->bytes / 1e9, "-");
    }
    fprintf(to, "%-*s %8d", width, all, launches);
    if (total > 0) fprintf(to, " %10.3f", 1e3 * total);
    fprintf(to, "\n");
}
