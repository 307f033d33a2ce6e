/* The kernels that come with the program (cuda/kept.h): are they those of the present text, are they PTX that ptxas
 * takes, and are they all that networks and their training ask for where there is no NVRTC? What they compute is held
 * against the CPU on the emulated device by test_plan.c and `make test-emulated`.
 *
 * ptxas is looked for where the toolkit puts it; without it its part is skipped. It assembles a few for the oldest
 * architecture; with the argument `all`, all for every one that it knows. */
#include "apps/lib/train_graph.h"
#include "base/file.h"
#include "base/mem.h"
#include "cuda/driver.h"
#include "cuda/kept.h"
#include "cuda/nvrtc.h"
#include "cuda/texts.h"
#include "exec/gpu.h"
#include "nn/store.h"
#include "tests/lib/check.h"

#include <unistd.h>

static bool everything;

static const char *find(int i, GpuSource *source) {
    *source = cuda_kernel_source(kept_kernels[i].file, kept_kernels[i].define);
    const char *ptx = kept_find(source);
    if (!ptx)
        fail_msg("cuda/kept.ptx.z was made of another text of %s: renew it with `make kept`, which needs NVRTC, and "
                 "commit it",
                 source->name);
    return ptx;
}

/* Every kernel of every file is there; nothing in it is newer than the oldest driver. */
static void test_fresh(void **state) {
    (void)state;
    size_t bytes = 0;
    for (int i = 0; i < kept_count; i++) {
        GpuSource source;
        const char *ptx = find(i, &source);
        assert_true(!strncmp(ptx, ".version 8.0\n.target sm_75\n", 27));
        for (const char *at = source.text; (at = strstr(at, "\nKERNEL")) != NULL;) {
            char name[64], entry[100];
            at = strchr(at, '(') + 1;
            snprintf(name, sizeof name, "%.*s", (int)strcspn(at, ","), at);
            snprintf(entry, sizeof entry, ".entry %s(", name);
            bool fast_only = source.define && !strcmp(source.define, KEPT_PLAIN) && strstr(name, "_fast");
            if (!strstr(ptx, entry) != fast_only) fail_msg("%s in %s", name, source.name);
        }
        bytes += strlen(ptx);
    }
    printf("  %d texts, %zu bytes\n", kept_count, bytes);
}

/* Another text, another header or another definition is another kernel; a header that is not included is none. */
static void test_keys(void **state) {
    (void)state;
    GpuSource source = cuda_kernel_source("cuda/kernels/move.cu", NULL);
    const KeptKey key = kept_key(&source);
    GpuSource other = source;
    other.define = "-DSTORE_HALF";
    assert_string_not_equal(kept_key(&other).hex, key.hex);
    assert_null(kept_find(&other));
    other = source;
    other.text = "int x;\n";
    assert_string_not_equal(kept_key(&other).hex, key.hex);
    int changes = 0;
    for (int i = 0; i < source.headers; i++) {
        other = source;
        other.header_text[i] = "/* other */\n";
        const bool same = !strcmp(kept_key(&other).hex, key.hex);
        changes += !same;
        if (!strcmp(source.header_name[i], "cuda/device/machine.h")) assert_false(same); /* by way of device.h */
        if (!strcmp(source.header_name[i], "cuda/device/sinkhorn.h")) assert_true(same);
    }
    assert_true(changes >= 4 && changes < source.headers);
}

static const char assembler[] = "/usr/local/cuda/bin/ptxas";

static void test_assembled(void **state) {
    (void)state;
    if (access(assembler, X_OK)) {
        printf("skip: %s: no %s\n", __func__, assembler);
        skip();
    }
    static const int archs[] = {75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121};
    const char *folder = scratch_folder("kept");
    char path[500], out[4000];
    for (int i = 0; i < kept_count; i++) {
        GpuSource source;
        const char *ptx = find(i, &source);
        if (!everything && strlen(ptx) > 30000) continue;
        snprintf(path, sizeof path, "%s/kernel.ptx", folder);
        Out *to;
        assert_int_equal(out_open(path, OUT_OVERWRITE, &to), 0);
        out_write(to, ptx, strlen(ptx));
        assert_int_equal(out_commit(&to), 0);
        for (size_t k = 0; k < sizeof archs / sizeof *archs && (k == 0 || everything); k++)
            if (run_command(out, sizeof out, "%s -arch=sm_%d -o /dev/null '%s'", assembler, archs[k], path))
                fail_msg("%s for sm_%d: %s", source.name, archs[k], out);
        printf("  %s %s\n", source.name, source.define ? source.define : "");
    }
}

/* A plan of a graph on the fake driver, where no NVRTC is: all its kernels are found, loaded as PTX and launched. */
static void plan_without_compiler(const char *size_name, GraphPart part) {
    const S2m2Size *size = s2m2_size(size_name);
    GraphOptions options = {.network = {.channels = size->channels, .blocks = size->blocks, .refine_iterations = 3},
                            .width = 96,
                            .height = 64,
                            .pairs = 1,
                            .part = GRAPH_LOSSES};
    TrainGraph graph;
    assert_int_equal(graph_record(&options, NULL, &graph), 0);
    ParameterList *list = parameters_of(graph.program);
    graph_drop(&graph);
    options.part = part;
    assert_int_equal(graph_record(&options, list, &graph), 0);
    if (part == GRAPH_FORWARD) program_output(graph.program, "disparity", graph.out.disparity);
    char path[400];
    const char *build = getenv("PANUM_BUILD");
    snprintf(path, sizeof path, "%s%s/tests/cuda/libcuda_fake.so", build && build[0] == '/' ? "" : "./",
             build ? build : "build");
    setenv("FAKE_CUDA", "", 1);
    CudaLibraries libraries = {.driver = path, .nvrtc = "no/libnvrtc.so"};
    Gpu *gpu;
    assert_int_equal(cuda_open(&libraries, 0, &gpu), 0);
    assert_int_equal(gpu->facts.form, GPU_EMBEDDED);
    ParameterStore *store;
    assert_int_equal(store_make_seeded(&store), 0);
    WeightSource source = store_source(store);
    Plan *plan;
    GpuPlan *there = NULL;
    assert_int_equal(plan_make(graph.program, &source, NULL, (PlanOptions){.shape_only = true}, &plan), 0);
    if (gpu_plan_make(plan, &source, gpu, (GpuPlanOptions){0}, &there)) fail_msg("%s: %s", size_name, err_sentence());
    assert_int_equal(gpu_plan_run(there), 0);
    printf("  %s%s: %d launches\n", size_name, part == GRAPH_TRAIN ? " and its gradients" : "",
           gpu_plan_facts(there).launches);
    gpu_plan_drop(there);
    GpuPlanOptions half = {.storage = GPU_F16};
    assert_int_equal(gpu_plan_make(plan, &source, gpu, half, &there), ERR_DEVICE);
    assert_non_null(strstr(err_sentence(), "16 bits a number on Fake GPU need a compiler (no NVRTC on this machine"));
    gpu_close(gpu);
    plan_drop(plan);
    store_close(store);
    graph_drop(&graph);
    parameters_drop(list);
}

static void test_networks(void **state) {
    (void)state;
    static const char *const sizes[] = {"s2m2-XS", "s2m2-S", "s2m2-M", "s2m2-L", "s2m2-XL"};
    for (size_t i = 0; i < (everything ? 5 : 2); i++) plan_without_compiler(sizes[i], GRAPH_FORWARD);
    plan_without_compiler("s2m2-XS", GRAPH_TRAIN);
}

int main(int argc, char **argv) {
    everything = argc > 1 && strcmp(argv[1], "all") == 0;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fresh), cmocka_unit_test(test_keys),
                                       cmocka_unit_test(test_networks), cmocka_unit_test(test_assembled)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
