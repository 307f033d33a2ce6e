/* apps/trace.c - what a network is made of, what the plan makes of it, what it costs, and where the time goes. Needs no
 * weights: shapes decide all of it (with --time, seeded numbers stand in for weights). */
#include "apps/lib/gpu_report.h"
#include "apps/lib/matcher.h"
#include "apps/lib/options.h"
#include "base/err.h"
#include "base/mem.h"
#include "cuda/paper.h"
#include "exec/plan.h"
#include "models/s2m2.h"
#include "nn/store.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    bool program, steps, memory, kernels, kept, time, exact, interpret, positive, json;
    int64_t refine, threads, arch;
    int precision;
} TraceOptions;

#define AT(field) .at = offsetof(TraceOptions, field)
static const Option options[] = {
    {.name = "program",
     .kind = OPTION_FLAG,
     AT(program),
     .group = "Print",
     .help = "every operator as the model records it"},
    {.name = "steps",
     .kind = OPTION_FLAG,
     AT(steps),
     .group = "Print",
     .help = "every step of the plan, with the pointwise work inside it"},
    {.name = "memory",
     .kind = OPTION_FLAG,
     AT(memory),
     .group = "Print",
     .help = "the peak, the step that causes it, and the largest tensors alive then"},
    {.name = "kernels",
     .kind = OPTION_FLAG,
     AT(kernels),
     .group = "Print",
     .help =
         "what would run on a GPU (--arch): every launch with its step and kernel, and a sum by kernel; panum bench "
         "--device cuda measures them"},
    {.name = "time",
     .kind = OPTION_FLAG,
     AT(time),
     .group = "Print",
     .help = "run it with seeded numbers for weights, and print time and rate by operator and by part"},
    {.name = "json", .kind = OPTION_FLAG, AT(json), .group = "Print", .help = "the totals as one JSON object"},
    {.name = "exact",
     .kind = OPTION_FLAG,
     AT(exact),
     .group = "How",
     .help = "no Winograd: the order of sums of the definition"},
    {.name = "interpret",
     .kind = OPTION_FLAG,
     AT(interpret),
     .group = "How",
     .help = "one step an operator, nothing fused"},
    {.name = "positive",
     .kind = OPTION_FLAG,
     AT(positive),
     .group = "How",
     .help = "the form that looks for d >= 0 only"},
    {.name = "precision",
     .kind = OPTION_CHOICE,
     .value = "P",
     .choices = "f32|fp32|bf16",
     AT(precision),
     .standard = "f32",
     .group = "How",
     .help = "numbers in matrix products and convolutions: f32 or bf16"},
    {.name = "refine-iter",
     .kind = OPTION_WHOLE,
     .value = "N",
     AT(refine),
     .standard = "3",
     .least = 0,
     .most = 64,
     .group = "How",
     .help = "local refinements"},
    {.name = "embedded",
     .kind = OPTION_FLAG,
     AT(kept),
     .group = "How",
     .help = "with --kernels: a machine without NVRTC, which runs those that come with panum"},
    {.name = "arch",
     .kind = OPTION_WHOLE,
     .value = "SM",
     AT(arch),
     .standard = "90",
     .least = 75,
     .most = 999,
     .group = "How",
     .help = "architecture of the GPU for --kernels: 75, 80, 86, 89, 90, 100, 120"},
    OPTION_THREADS(TraceOptions, threads, "How"),
};

int app_trace(int argc, char **argv);
const Verb verb_trace = {
    .name = "trace",
    .operands = "MODEL [WIDTHxHEIGHT]",
    .words = S2M2_MODELS,
    .summary = "print a network: shapes, work, memory, where the time goes",
    .description =
        "MODEL is s2m2-XS, s2m2-S, s2m2-M, s2m2-L or s2m2-XL; the size is that of the picture (640x480 when left out) "
        "and is rounded up to multiples of 32. Without options: the totals.",
    .examples = "  panum trace s2m2-S 1920x1056 --memory\n  panum trace s2m2-XS --steps | less",
    .least = 1,
    .most = 2,
    .run = app_trace,
    .options = options,
    .count = sizeof options / sizeof *options,
};

static bool parse_size(const char *text, int64_t *width, int64_t *height) {
    char first[32];
    const char *cross = strchr(text, 'x');
    if (!cross || (size_t)(cross - text) >= sizeof first) return false;
    memcpy(first, text, (size_t)(cross - text));
    first[cross - text] = 0;
    return parse_whole(first, width) && parse_whole(cross + 1, height) && *width > 0 && *height > 0 &&
           *width <= 32768 && *height <= 32768;
}

typedef struct {
    const char *name;
    size_t name_length;
    int count;
    double seconds, flops, bytes;
} Group;

static int by_seconds(const void *a, const void *b) {
    const Group *x = a, *y = b;
    return x->seconds < y->seconds ? 1 : x->seconds > y->seconds ? -1 : 0;
}

enum { GROUPS_MAX = 128 };

static void add_to_group(Group *group, int *groups, const char *name, size_t length, StepFacts step) {
    int k = 0;
    while (k < *groups && (group[k].name_length != length || strncmp(group[k].name, name, length) != 0)) k++;
    if (k == GROUPS_MAX) k--;
    if (k == *groups) group[(*groups)++] = (Group){.name = name, .name_length = length};
    group[k].count++;
    group[k].seconds += step.seconds;
    group[k].flops += step.flops;
    group[k].bytes += step.bytes;
}

static void print_groups(const Plan *plan, const char *title, bool by_scope) {
    Group group[GROUPS_MAX];
    int groups = 0;
    double total = 0;
    for (int i = 0; i < plan_steps(plan); i++) {
        StepFacts step = plan_step(plan, i);
        const char *name = by_scope ? step.scope : step.name;
        add_to_group(group, &groups, name, by_scope ? strcspn(name, ".") : strlen(name), step);
        total += step.seconds;
    }
    qsort(group, (size_t)groups, sizeof *group, by_seconds);
    printf("%-26s %5s %10s %6s %10s %9s %8s %8s\n", title, "steps", "ms", "%", "GFLOP", "GFLOP/s", "GB", "GB/s");
    for (int k = 0; k < groups; k++) {
        const Group *g = &group[k];
        double s = g->seconds > 0 ? g->seconds : 1e-9;
        printf("%-26.*s %5d %10.2f %6.1f %10.2f %9.1f %8.2f %8.1f\n", (int)g->name_length, *g->name ? g->name : "-",
               g->count, g->seconds * 1e3, total > 0 ? 100 * g->seconds / total : 0, g->flops / 1e9, g->flops / s / 1e9,
               g->bytes / 1e9, g->bytes / s / 1e9);
    }
    printf("\n");
}

static int time_it(Plan *plan, const Tensor *pictures) {
    uint8_t *pixels = plan_data(plan, pictures);
    for (int64_t i = 0; i < tensor_count(pictures); i++) pixels[i] = (uint8_t)(i * 2654435761u >> 24);
    int rc = plan_run(plan); /* first touch of the weights */
    plan_profile(plan, true);
    if (!rc) rc = plan_run(plan);
    if (rc) return rc;
    print_groups(plan, "operator", false);
    print_groups(plan, "part", true);
    return 0;
}

static void print_totals(const S2m2Size *size, const Program *program, const Plan *plan, int64_t w, int64_t h,
                         bool json) {
    int64_t parameters = 0;
    int tensors = 0;
    for (int i = 0; i < program_tensors(program); i++) {
        const Tensor *t = program_tensor(program, i);
        if (t->kind != TENSOR_WEIGHT || t->base != t) continue;
        parameters += tensor_count(t);
        tensors++;
    }
    PlanFacts f = plan_facts(plan);
    if (json) {
        printf("{\"model\": \"%s\", \"width\": %lld, \"height\": %lld, \"parameters\": %lld, \"tensors\": %d, "
               "\"gflop\": %.3f, "
               "\"traffic_gb\": %.3f, \"nodes\": %d, \"steps\": %d, \"memory_bytes\": %zu, \"alive_bytes\": %zu}\n",
               size->name, (long long)w, (long long)h, (long long)parameters, tensors, f.flops / 1e9, f.traffic / 1e9,
               f.nodes, f.steps, f.bytes, f.live_peak);
        return;
    }
    printf("%s at %lldx%lld: %lld parameters in %d tensors; %.1f GFLOP (convolutions as if direct), %.2f GB read and "
           "written\n",
           size->name, (long long)w, (long long)h, (long long)parameters, tensors, f.flops / 1e9, f.traffic / 1e9);
    printf("%d nodes recorded, %d steps to run; %.1f MiB of working memory beside the weights\n", f.nodes, f.steps,
           (double)f.bytes / 1048576);
}

/* The launches of a GPU that is only a description: none is needed for that. */
static int print_kernels(const Plan *plan, const WeightSource *source, int arch, GpuForm form) {
    Gpu *gpu;
    GpuPlan *launches = NULL;
    int rc = paper_open(arch, &gpu);
    if (rc) return rc;
    gpu->facts.form = form;
    rc = gpu_plan_make(plan, source, gpu, (GpuPlanOptions){0}, &launches);
    if (!rc) {
        GpuPlanFacts f = gpu_plan_facts(launches);
        gpu_report_launches(launches, plan, stdout);
        printf("\n");
        gpu_report_kernels(launches, plan, stdout);
        printf("on sm_%d%s: %d launches; %.1f MiB for tensors, %.1f for weights, %.1f for tables and scratch\n", arch,
               form == GPU_EMBEDDED ? " without a compiler" : "", f.launches, (double)f.block / 1048576,
               (double)f.weights / 1048576, (double)f.extra / 1048576);
    }
    gpu_plan_drop(launches);
    gpu_close(gpu);
    return rc;
}

int app_trace(int argc, char **argv) {
    TraceOptions o = {0};
    Parsed parsed;
    int rc = options_parse(&verb_trace, argc, argv, &o, &parsed);
    if (rc) return rc;
    int64_t w = 640, h = 480;
    const S2m2Size *size = s2m2_size(parsed.operands[0]);
    if (!size) {
        rc = usage_error(&verb_trace, "'%s' is not a network known here: s2m2-XS, s2m2-S, s2m2-M, s2m2-L, s2m2-XL",
                         parsed.operands[0]);
    } else if (parsed.operand_count == 2 && !parse_size(parsed.operands[1], &w, &h)) {
        rc = usage_error(&verb_trace, "'%s' is not a size such as 640x480", parsed.operands[1]);
    }
    if (rc) {
        parsed_free(&parsed);
        return rc;
    }
    w = (w + 31) / 32 * 32;
    h = (h + 31) / 32 * 32;
    Program *program = program_make();
    ParameterStore *store = NULL;
    Pool *pool = pool_make((int)o.threads);
    Plan *plan = NULL;
    rc = program && pool ? store_make_seeded(&store) : ERR_MEMORY;
    if (!rc) {
        Net net = {program};
        Tensor *pictures = program_input(program, "pictures", DTYPE_U8, 4, (int64_t[]){2, 3, h, w});
        s2m2(&net, pictures,
             (S2m2Options){.channels = size->channels,
                           .blocks = size->blocks,
                           .refine_iterations = (int)o.refine,
                           .positive = o.positive});
        WeightSource source = store_source(store);
        PlanOptions how = {.exact = o.exact,
                           .interpret = o.interpret,
                           .bf16 = o.precision == 2,
                           .shape_only = !o.time,
                           .for_cpu = !o.kernels};
        rc = plan_make(program, &source, pool, how, &plan);
        if (!rc && o.program) program_print(program, stdout);
        if (!rc && o.steps) plan_print_steps(plan, stdout);
        if (!rc && o.memory) plan_print_memory(plan, stdout);
        if (!rc && o.kernels && o.time)
            rc = usage_error(&verb_trace, "--kernels is of a GPU and --time of the CPU; give one of them");
        if (!rc && o.kernels) rc = print_kernels(plan, &source, (int)o.arch, o.kept ? GPU_EMBEDDED : GPU_COMPILES);
        if (!rc && o.time) rc = time_it(plan, pictures);
        if (!rc) print_totals(size, program, plan, w, h, o.json);
    }
    plan_drop(plan);
    pool_drop(pool);
    store_close(store);
    program_drop(program);
    parsed_free(&parsed);
    return rc;
}
