/* apps/bench.c - how fast the matchers and their kernels are here, against the peaks of this machine. */
#include "apps/bench_device.h"
#include "apps/bench_kernels.h"
#include "apps/lib/dots.h"
#include "apps/lib/options.h"
#include "base/err.h"
#include "base/mem.h"
#include "tensor/ops/ncc.h"
#include "tensor/ops/sgm.h"

#include <string.h>

typedef struct {
    bool json, networks, interactive;
    int64_t threads, rounds;
    const char *only, *weights, *device;
} BenchOptions;

#define AT(field) .at = offsetof(BenchOptions, field)
static const Option options[] = {
    {.name = "json", .kind = OPTION_FLAG, AT(json), .group = "Output", .help = "one JSON object on standard output"},
    {.name = "only",
     .kind = OPTION_TEXT,
     .value = "NAME",
     AT(only),
     .shown = "all",
     .group = "What",
     .help = "measure only kernels whose name begins so; s2m2 is the networks, train a step of training them, memory "
             "compares what a network takes with "
             "what its plan promises"},
    {.name = "networks",
     .kind = OPTION_FLAG,
     AT(networks),
     .group = "What",
     .help = "whole networks too, and training steps of two: S2M2-XS, S, L; with --only memory also XL at 1920x1056, "
             "which takes minutes"},
    {.name = "weights",
     .kind = OPTION_PATH,
     .value = "FILE",
     AT(weights),
     .shown = "made-up numbers",
     .group = "What",
     .help = "with --interactive: the file whose weights networks take"},
    {.name = "device",
     .kind = OPTION_TEXT,
     .value = "WHERE",
     .standard = "cpu",
     AT(device),
     .group = "What",
     .help =
         "cuda or cuda:N measures a GPU instead: its copies and multiply-adds, s2m2-XS and a step of its training, as "
         "one graph and kernel by kernel; --only then names what begins so, as \"s2m2-XS 640x480\" or train"},
    OPTION_THREADS(BenchOptions, threads, "What"),
    {.name = "rounds",
     .kind = OPTION_WHOLE,
     .value = "N",
     .least = 1,
     .most = 50,
     AT(rounds),
     .shown = "7, more for quick ones; 20 on a GPU",
     .group = "What",
     .help = "how often each is run after a first round that does not count"},
    {.name = "interactive",
     .kind = OPTION_FLAG,
     AT(interactive),
     .group = "What",
     .help = "one round for each line of standard input, as \"conv 3x3 128->128 120x184\", \"s2m2-S 736x480\" or, a "
             "step of training, \"train-s2m2-S 320x256\" or \"train-s2m2-S-recompute 320x256\", answered by one JSON "
             "object: "
             "for scripts that alternate programs"},
};

int app_bench(int argc, char **argv);
const Verb verb_bench = {
    .name = "bench",
    .operands = "",
    .summary = "measure the kernels against the peaks of this machine",
    .description =
        "Minimum and median of at least seven rounds. The peaks (multiply-adds on registers, reading from memory) are "
        "measured in the same run with the same threads; a share says how close a kernel comes to what bounds it.",
    .examples = "  panum bench --only sgm --threads 1\n  panum bench --json >bench.json",
    .least = 0,
    .most = 0,
    .run = app_bench,
    .options = options,
    .count = sizeof options / sizeof *options,
};

/* ---- semi-global matching ------------------------------------------------------------------------------------------
 */

typedef struct {
    Pool *pool;
    Image left, right;
    SgmOptions options;
    float *maps;
} SgmRun;

static int sgm_once(void *context) {
    SgmRun *r = context;
    size_t n = (size_t)image_pixels(&r->left);
    return sgm_match(r->pool, r->left.bytes, r->right.bytes, r->left.width, r->left.height, 1, &r->options, r->maps,
                     r->maps + n, r->maps + 2 * n, NULL);
}

static int bench_sgm(Bench *bench) {
    static const struct {
        int width, height, low, high;
    } cases[] = {{640, 480, -32, 31}, {640, 480, -64, 63}, {1280, 720, -64, 63}, {1920, 1080, -64, 63}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases && bench_wants(bench, "sgm"); i++) {
        int w = cases[i].width, h = cases[i].height, range = cases[i].high - cases[i].low + 1;
        SgmRun run = {.pool = bench->pool, .options = sgm_defaults()};
        run.options.automatic = false;
        run.options.lo = cases[i].low;
        run.options.hi = cases[i].high;
        int rc = dots_make(&run.left, &run.right, w, h, 20, -15, i + 1);
        if (rc) return rc;
        run.maps = mem_array((size_t)w * (size_t)h * 3, sizeof *run.maps);
        char shape[64];
        snprintf(shape, sizeof shape, "%dx%d, %d disparities", w, h, range);
        BenchRow *row = NULL;
        rc = run.maps ? bench_run(bench, "sgm", shape, 0, 0, sgm_once, &run, &row) : ERR_MEMORY;
        if (!rc)
            snprintf(row->note, sizeof row->note, "%.0f M disparities/s", (double)w * h * range / row->ms_min * 1e-3);
        image_free(&run.left);
        image_free(&run.right);
        mem_free(run.maps);
        if (rc) return rc;
    }
    return 0;
}

/* ---- block matching, as training's target: a film pair of the default range, at half size ---- */

typedef struct {
    Pool *pool;
    Image left, right;
    float *maps;
    NccReport report;
} NccRun;

static int ncc_once(void *context) {
    NccRun *r = context;
    return ncc_match(r->pool, r->left.bytes, r->right.bytes, r->left.width, r->left.height, 1, NULL, r->maps,
                     r->maps + image_pixels(&r->left), &r->report);
}

static int bench_ncc(Bench *bench) {
    enum { WIDTH = 1920, HEIGHT = 1056 };
    if (!bench_wants(bench, "ncc")) return 0;
    NccRun run = {.pool = bench->pool};
    int rc = dots_make(&run.left, &run.right, WIDTH, HEIGHT, 20, -15, 1);
    if (rc) return rc;
    run.maps = mem_array((size_t)2 * WIDTH * HEIGHT, sizeof *run.maps);
    BenchRow *row = NULL;
    rc = run.maps ? bench_run(bench, "ncc", "1920x1056, +-4 % of width", 0, 0, ncc_once, &run, &row) : ERR_MEMORY;
    if (!rc)
        snprintf(row->note, sizeof row->note, "%d candidates at half size, %.0f M/s", run.report.hi - run.report.lo + 1,
                 (double)run.report.pixels * (run.report.hi - run.report.lo + 1) / row->ms_min * 1e-3);
    image_free(&run.left);
    image_free(&run.right);
    mem_free(run.maps);
    return rc;
}

static int bench_all(const BenchOptions *o, Bench *bench, Pool *pool) {
    int rc = bench_measure_peaks(bench, pool);
    bench->rounds = (int)o->rounds;
    if (!rc) rc = bench_sgm(bench);
    if (!rc) rc = bench_ncc(bench);
    if (!rc) rc = bench_kernels(bench, o->networks);
    if (!rc && (o->networks || (o->only && strncmp(o->only, "train", 5) == 0))) rc = bench_train(bench);
    if (!rc && bench->count + bench->memory_count == 0)
        rc = usage_error(&verb_bench, "--only %s: no kernel's name begins so", o->only);
    if (!rc && o->json)
        bench_print_json(bench, stdout);
    else if (!rc)
        bench_print(bench, stdout);
    return rc;
}

int app_bench(int argc, char **argv) {
    BenchOptions o = {0};
    Parsed parsed;
    int rc = options_parse(&verb_bench, argc, argv, &o, &parsed);
    if (rc) return rc;
    if (o.weights && !o.interactive) rc = usage_error(&verb_bench, "--weights needs --interactive");
    DeviceChoice where = {.kind = DEVICE_CPU};
    if (!rc) rc = device_option(&verb_bench, o.device, &where);
    if (!rc && where.kind != DEVICE_CPU && o.interactive) rc = usage_error(&verb_bench, "--interactive is for the CPU");
    if (!rc && where.kind != DEVICE_CPU) {
        rc = bench_device(where, (DeviceBenchOptions){o.networks, o.json, o.only, (int)o.rounds});
        parsed_free(&parsed);
        return rc;
    }
    Bench *bench = mem_alloc(sizeof *bench);
    if (!rc && !bench) rc = ERR_MEMORY;
    if (!rc) bench_begin(bench, o.only);
    if (!rc && !o.interactive) rc = bench_memory(bench, (int)o.threads, o.networks); /* forks: before the threads */
    Pool *pool = rc ? NULL : pool_make((int)o.threads);
    if (!rc)
        rc = !pool ? (int)ERR_MEMORY : o.interactive ? bench_interactive(pool, o.weights) : bench_all(&o, bench, pool);
    mem_free(bench);
    pool_drop(pool);
    parsed_free(&parsed);
    return rc;
}
