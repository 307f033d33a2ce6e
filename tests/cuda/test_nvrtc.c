/* Every kernel of the tree through NVRTC, for every architecture it makes code for from sm_75 on; no GPU is needed.
 * Registers, shared memory, stack and spills are printed. The conformance kernels are compiled too. $PANUM_NVRTC names
 * the library where it is not found by its usual names; without one the test is skipped. An argument is a part of the
 * names of the files to compile, for those who write one, or `all` (make nvrtc).
 *
 * All kernels and variants for all architectures are hundreds of compilations and take many minutes: without an
 * argument every kernel is compiled for the oldest architecture, for sm_90 and for the newest, every variant for its
 * oldest and the newest. */
#include "base/file.h"
#include "base/mem.h"
#include "base/pool.h"
#include "cuda/nvrtc.h"
#include "cuda/texts.h"
#include "tests/lib/check.h"

#include <sys/wait.h>
#include <unistd.h>

static const char *only; /* NULL: all files, few architectures */

static bool wanted_file(const char *name) {
    return !only || !strcmp(only, "all") || strstr(name, only);
}

/* `least`: the oldest that what is compiled can do; `middle`: whether sm_90 is among the few. */
static bool wanted_arch(int arch, int least, int newest, bool middle) {
    return arch >= least && (only || arch == least || arch == newest || (middle && arch == 90));
}

enum { ARCH_MOST = 64, REPORTS_MOST = 32 };

static const Nvrtc *open_or_skip(const char *test) {
    const Nvrtc *nvrtc;
    const char *name = getenv("PANUM_NVRTC");
    if (nvrtc_open(name && *name ? name : NULL, &nvrtc) == 0) return nvrtc;
    printf("skip: %s: %s\n", test, err_sentence());
    skip();
    return NULL;
}

/* How many kernels the text declares. */
static int kernels_in(const char *text) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, "\nKERNEL")) != NULL; at++) n++;
    return n;
}

/* ---- compilations, shared between as many processes as there are processors: NVRTC compiles one text after another
 * inside one ---- */

typedef struct {
    GpuSource source;
    int arch;
    CompileCare care;
} Job;
enum { JOBS_MOST = 4096, WORKERS_MOST = 64 };
static Job job[JOBS_MOST];
static int jobs;

static void add_job(const GpuSource *source, int arch, CompileCare care) {
    assert_true(jobs < JOBS_MOST);
    job[jobs++] = (Job){*source, arch, care};
}

/* A line a kernel; false, after the compiler's words, when it fails or a kernel has no report. */
static bool compile(const Nvrtc *nvrtc, const Job *j, FILE *to) {
    Compiled compiled;
    KernelReport report[REPORTS_MOST];
    const char *define = j->source.define ? j->source.define : "-";
    int reports = 0, code = nvrtc_compile(nvrtc, &j->source, j->arch, j->care, &compiled);
    if (code)
        fprintf(to, "%s %s: %s\n%s\n", j->source.name, define, err_sentence(), compiled.log ? compiled.log : "");
    else
        reports = kernel_reports(compiled.log, report, REPORTS_MOST);
    for (int i = 0; i < reports; i++)
        fprintf(to, "sm_%-4d %-28s %-14s %9d %7d %6d %7d %6d %8zu\n", j->arch, report[i].name, define,
                report[i].registers, report[i].shared, report[i].stack, report[i].spill_stores, report[i].spill_loads,
                compiled.bytes);
    if (!code && reports != kernels_in(j->source.text))
        fprintf(to, "%s %s for sm_%d: %d kernels, and the compiler reports on %d\n", j->source.name, define, j->arch,
                kernels_in(j->source.text), reports);
    compiled_free(&compiled);
    return !code && reports == kernels_in(j->source.text);
}

/* All jobs; fails when one does. What they say is printed in their order: each worker has a file, in which a form feed
 * ends what one job said. */
static void compile_all(const Nvrtc *nvrtc) {
    FILE *said[WORKERS_MOST];
    pid_t worker[WORKERS_MOST];
    char line[4000];
    int workers = pool_cpus() < WORKERS_MOST ? pool_cpus() : WORKERS_MOST, failed = 0;
    fflush(stdout);
    for (int w = 0; w < workers; w++) {
        assert_non_null(said[w] = tmpfile());
        worker[w] = fork();
        assert_true(worker[w] >= 0);
        if (worker[w]) continue;
        int bad = 0;
        for (int i = w; i < jobs; i += workers) {
            bad += !compile(nvrtc, &job[i], said[w]);
            fputs("\f\n", said[w]);
            fflush(said[w]);
        }
        _exit(bad ? 1 : 0);
    }
    for (int w = 0; w < workers; w++) {
        int status = -1;
        assert_int_equal(waitpid(worker[w], &status, 0), worker[w]);
        failed += status != 0;
        rewind(said[w]);
    }
    for (int i = 0; i < jobs; i++)
        while (fgets(line, sizeof line, said[i % workers]) && line[0] != '\f') fputs(line, stdout);
    for (int w = 0; w < workers; w++) fclose(said[w]);
    jobs = 0;
    if (failed) fail_msg("some kernels do not compile as they should");
}

static void head(void) {
    printf("%-7s %-28s %-14s %9s %7s %6s %7s %6s %8s\n", "arch", "kernel", "defines", "registers", "shared", "stack",
           "stores", "loads", "bytes");
}

/* Kernels that launchers specialise, beside the form that they have by themselves: the corners of what is asked for. */
static const struct {
    const char *file, *define;
    int least; /* architecture */
} variants[] = {
    {"cuda/kernels/attention_back_tiled.cu", "-DWIDTH=64 -DROWS=4 -DTHREADS=128 -DPIECES", 75},
    {"cuda/kernels/attention_back_tiled.cu", "-DWIDTH=128 -DROWS=4 -DTHREADS=128", 75},
    {"cuda/kernels/attention_back_tiled.cu", "-DWIDTH=384 -DROWS=2 -DTHREADS=128 -DPIECES", 75},
    {"cuda/kernels/attention_back.cu", "-DHALF_IS_F16 -DLOAD_HALF -DSTORE_HALF", 75},
    {"cuda/kernels/attention_back_tiled.cu", "-DHALF_IS_F16 -DLOAD_HALF -DSTORE_HALF -DWIDTH=32 -DROWS=4 -DTHREADS=128",
     75},
    {"cuda/kernels/attention_back_tiled.cu",
     "-DHALF_IS_F16 -DLOAD_HALF -DSTORE_HALF -DWIDTH=384 -DROWS=2 -DTHREADS=128", 75},
    {"cuda/kernels/attention_back_mma.cu", "-DHALF_IS_F16 -DWIDTH=16", 75},
    {"cuda/kernels/attention_back_mma.cu", "-DHALF_IS_F16 -DSTORE_HALF -DWIDTH=64 -DPIECES", 75},
    {"cuda/kernels/attention_back_mma.cu", "-DHALF_IS_F16 -DWIDTH=128", 75},
    {"cuda/kernels/attention_back_mma.cu", "-DHALF_IS_BF16 -DSTORE_HALF -DWIDTH=128 -DPIECES", 80},
    {"cuda/kernels/weight_gradient.cu", "-DHALF_IS_F16 -DLOAD_HALF -DSLOPE_HALF", 75},
    {"cuda/kernels/weight_gradient_mma.cu", "-DHALF_IS_BF16", 80},
    {"cuda/kernels/rows_gradient.cu", "-DHALF_IS_F16 -DLOAD_HALF -DSLOPE_HALF -DSTORE_HALF", 75},
    {"cuda/kernels/conv_panel.cu", "-DPANEL_ROWS=128 -DPANEL_COLUMNS=64", 75},
    {"cuda/kernels/conv_panel.cu", "-DPANEL_ROWS=64 -DPANEL_COLUMNS=64", 75},
    {"cuda/kernels/conv_panel.cu", "-DHALF_IS_F16 -DLOAD_HALF -DSTORE_HALF", 75},
    {"cuda/kernels/conv_panel.cu", "-DHALF_IS_BF16 -DLOAD_HALF -DSTORE_HALF", 80},
    {"cuda/kernels/conv_panel.cu", "-DHALF_IS_F16 -DLOAD_HALF -DPANEL_ROWS=128 -DPANEL_COLUMNS=64", 75},
    {"cuda/kernels/conv_panel.cu", "-DHALF_IS_F16 -DLOAD_HALF -DPANEL_ROWS=64 -DPANEL_COLUMNS=64", 75},
    {"cuda/kernels/matmul_panel.cu", "-DPANEL_ROWS=128 -DPANEL_COLUMNS=64", 75},
    {"cuda/kernels/matmul_panel.cu", "-DPANEL_ROWS=64 -DPANEL_COLUMNS=64", 75},
    {"cuda/kernels/matmul_panel.cu", "-DHALF_IS_F16 -DLOAD_HALF -DSTORE_HALF", 75},
    {"cuda/kernels/matmul_panel.cu", "-DHALF_IS_BF16 -DLOAD_HALF -DSTORE_HALF", 80},
    {"cuda/kernels/matmul_panel.cu", "-DHALF_IS_F16 -DLOAD_HALF -DPANEL_ROWS=128 -DPANEL_COLUMNS=64", 75},
    {"cuda/kernels/matmul_panel.cu", "-DHALF_IS_F16 -DLOAD_HALF -DPANEL_ROWS=64 -DPANEL_COLUMNS=64", 75},
    {"cuda/kernels/conv.cu", "-DHALF_IS_F16 -DLOAD_HALF -DSTORE_HALF", 75},
    {"cuda/kernels/matmul.cu", "-DHALF_IS_F16 -DLOAD_HALF -DSTORE_HALF", 75},
    {"cuda/kernels/rows.cu", "-DHALF_IS_F16 -DLOAD_HALF -DSTORE_HALF", 75},
    {"cuda/kernels/move.cu", "-DHALF_IS_F16 -DLOAD_HALF -DSTORE_HALF", 75},
    {"cuda/kernels/resample.cu", "-DHALF_IS_F16 -DLOAD_HALF -DSTORE_HALF", 75},
    {"cuda/kernels/box.cu", "-DHALF_IS_F16 -DLOAD_HALF -DSTORE_HALF", 75},
    {"cuda/kernels/sample.cu", "-DHALF_IS_F16 -DLOAD_HALF -DSTORE_HALF", 75},
    {"cuda/kernels/norm.cu", "-DHALF_IS_F16 -DLOAD_HALF -DSTORE_HALF", 75},
    {"cuda/kernels/reduce.cu", "-DHALF_IS_F16 -DLOAD_HALF -DSTORE_HALF", 75},
    {"cuda/kernels/convex.cu", "-DHALF_IS_F16 -DLOAD_HALF -DSTORE_HALF", 75},
    {"cuda/kernels/warp.cu", "-DHALF_IS_F16 -DLOAD_HALF -DSTORE_HALF", 75},
    {"cuda/kernels/attention.cu", "-DHALF_IS_F16 -DLOAD_HALF -DSTORE_HALF", 75},
    {"cuda/kernels/attention_tiled.cu", "-DHALF_IS_F16 -DLOAD_HALF -DSTORE_HALF -DWIDTH=384 -DROWS=2 -DTHREADS=128",
     75},
    {"cuda/kernels/attention_mma.cu", "-DHALF_IS_F16 -DSTORE_HALF -DWIDTH=16", 75},
    {"cuda/kernels/attention_mma.cu", "-DHALF_IS_F16 -DWIDTH=128 -DPIECES -DBLOCKS=2", 75},
    {"cuda/kernels/attention_mma.cu", "-DHALF_IS_F16 -DWIDTH=128 -DPIECES", 80},
    {"cuda/kernels/attention_mma.cu", "-DHALF_IS_BF16 -DWIDTH=256 -DPIECES", 80},
    {"cuda/kernels/attention_mma.cu", "-DHALF_IS_F16 -DWIDTH=384 -DPIECES", 80},
    {"cuda/kernels/attention_mma.cu", "-DHALF_IS_BF16 -DWIDTH=512", 80},
    {"cuda/kernels/attention_mma.cu", "-DHALF_IS_F16 -DSTORE_HALF -DWIDTH=16 -DPIECES -DRELATIVE", 75},
    {"cuda/kernels/attention_mma.cu", "-DHALF_IS_F16 -DWIDTH=128 -DPIECES -DRELATIVE -DBLOCKS=2", 75},
    {"cuda/kernels/attention_mma.cu", "-DHALF_IS_BF16 -DWIDTH=256 -DPIECES -DRELATIVE", 80},
    {"cuda/kernels/attention_tiled.cu", "-DWIDTH=16 -DROWS=8 -DTHREADS=128", 75},
    {"cuda/kernels/attention_tiled.cu", "-DWIDTH=64 -DROWS=4 -DTHREADS=256 -DPIECES", 75},
    {"cuda/kernels/attention_tiled.cu", "-DWIDTH=128 -DROWS=4 -DTHREADS=128 -DPIECES", 75},
    {"cuda/kernels/attention_tiled.cu", "-DWIDTH=256 -DROWS=4 -DTHREADS=128", 75},
    {"cuda/kernels/attention_tiled.cu", "-DWIDTH=512 -DROWS=2 -DTHREADS=128 -DPIECES", 75},
    {"cuda/kernels/attention_tiled.cu", "-DWIDTH=64 -DROWS=4 -DTHREADS=128 -DPIECES -DRELATIVE", 75},
    {"cuda/kernels/transport.cu", "-DCOLUMNS=4", 75},
    {"cuda/kernels/transport.cu", "-DCOLUMNS=32 -DWARPS=8", 75},
    {"cuda/kernels/transport_gradient.cu", "-DCOLUMNS=4", 75},
    {"cuda/kernels/transport_gradient.cu", "-DCOLUMNS=32 -DWARPS=8", 75},
};

static void test_variants(void **state) {
    (void)state;
    const Nvrtc *nvrtc = open_or_skip(__func__);
    int arch[ARCH_MOST], count = nvrtc_architectures(nvrtc, arch, ARCH_MOST);
    head();
    for (size_t k = 0; k < sizeof variants / sizeof *variants; k++) {
        if (!wanted_file(variants[k].file)) continue;
        GpuSource source = cuda_kernel_source(variants[k].file, variants[k].define);
        for (int i = 0; i < count; i++) {
            if (!wanted_arch(arch[i], variants[k].least, arch[count - 1], false)) continue;
            add_job(&source, arch[i], COMPILE_STRICT);
        }
    }
    compile_all(nvrtc);
}

static void test_kernels(void **state) {
    (void)state;
    const Nvrtc *nvrtc = open_or_skip(__func__);
    int arch[ARCH_MOST], count = nvrtc_architectures(nvrtc, arch, ARCH_MOST);
    assert_true(count > 0);
    head();
    for (int k = 0; k < cuda_text_count; k++) {
        size_t n = strlen(cuda_texts[k].name);
        if (strcmp(cuda_texts[k].name + n - 3, ".cu") || !wanted_file(cuda_texts[k].name)) continue;
        GpuSource source = cuda_kernel_source(cuda_texts[k].name, NULL);
        for (int i = 0; i < count; i++) {
            if (!wanted_arch(arch[i], 75, arch[count - 1], true)) continue;
            add_job(&source, arch[i], COMPILE_STRICT);
        }
    }
    compile_all(nvrtc);
}

static void test_words(void **state) {
    (void)state;
    const Nvrtc *nvrtc = open_or_skip(__func__);
    int arch[ARCH_MOST], count = nvrtc_architectures(nvrtc, arch, ARCH_MOST);
    uint8_t *bytes, *own;
    size_t size, own_size;
    assert_int_equal(file_read("tests/cuda/words.cu", 1 << 20, &bytes, &size), 0);
    assert_int_equal(file_read("tests/cuda/cases.h", 1 << 20, &own, &own_size), 0);
    char *text = mem_zero(size + 1, 1), *cases = mem_zero(own_size + 1, 1);
    memcpy(text, bytes, size), memcpy(cases, own, own_size);
    head();
    static const char *const define[] = {"-DHALF_IS_F16", "-DHALF_IS_BF16"};
    for (int bf16 = 0; bf16 < 2; bf16++) {
        GpuSource source = cuda_source("tests/cuda/words.cu", text, define[bf16]);
        source.header_name[source.headers] = "tests/cuda/cases.h";
        source.header_text[source.headers++] = cases;
        for (int i = 0; i < count; i++) {
            if (arch[i] < 75) continue;
            if (bf16 && arch[i] < 80) continue; /* test_strict shows what it says */
            add_job(&source, arch[i], COMPILE_PLAIN);
        }
    }
    compile_all(nvrtc);
    mem_free(text), mem_free(cases), mem_free(bytes), mem_free(own);
}

/* Strict compilation refuses what falls into local memory, also where nothing is called a spill. */
static void test_strict(void **state) {
    (void)state;
    const Nvrtc *nvrtc = open_or_skip(__func__);
    static const char text[] = "#include \"cuda/device/device.h\"\n"
                               "typedef struct { float *y; int n; } Args;\n"
                               "\nKERNEL(indexed, 32, Args, a) {\n"
                               "    float v[64];\n"
                               "    for (int i = 0; i < 64; i++) v[(i * a.n) & 63] = (float)(i + a.n);\n"
                               "    a.y[thread_x()] = v[(thread_x() + a.n) & 63];\n"
                               "}\n";
    int arch[ARCH_MOST];
    assert_true(nvrtc_architectures(nvrtc, arch, ARCH_MOST) > 0);
    GpuSource source = cuda_source("indexed.cu", text, NULL);
    Compiled compiled;
    KernelReport report[REPORTS_MOST];
    assert_int_equal(nvrtc_compile(nvrtc, &source, 80, COMPILE_PLAIN, &compiled), 0);
    assert_int_equal(kernel_reports(compiled.log, report, REPORTS_MOST), 1);
    assert_true(report[0].stack > 0);
    compiled_free(&compiled);
    assert_int_equal(nvrtc_compile(nvrtc, &source, 80, COMPILE_STRICT, &compiled), ERR_DEVICE);
    printf("%s\n", err_sentence());
    compiled_free(&compiled);
    assert_int_equal(nvrtc_compile(nvrtc, &source, 70, COMPILE_PLAIN, &compiled), ERR_DEVICE);
    printf("%s\n", err_sentence());
    compiled_free(&compiled);
    if (arch[0] >= 80) return;
    source = cuda_source("half.cu", "#include \"cuda/device/device.h\"\n", "-DHALF_IS_BF16");
    assert_int_equal(nvrtc_compile(nvrtc, &source, arch[0], COMPILE_PLAIN, &compiled), ERR_DEVICE);
    assert_non_null(strstr(err_sentence(), "bf16 products need sm_80"));
    compiled_free(&compiled);
}

int main(int argc, char **argv) {
    if (argc > 1) only = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernels), cmocka_unit_test(test_variants), cmocka_unit_test(test_words),
        cmocka_unit_test(test_strict)}; /* the last compiles in this process, after which none is begun */
    const struct CMUnitTest one[] = {cmocka_unit_test(test_kernels), cmocka_unit_test(test_variants)};
    return only && strcmp(only, "all") != 0 ? cmocka_run_group_tests(one, NULL, NULL)
                                            : cmocka_run_group_tests(tests, NULL, NULL);
}
