#include "apps/lib/bench.h"
#include "apps/lib/run.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* ---- peaks ------------------------------------------------------------------------------------------------------- */

enum { STREAM_BYTES = 64 << 20 }; /* a thread: well beyond its share of the last cache */

typedef struct {
    double *rate; /* of each tile */
    bool bf16;
    const float *memory; /* a part of STREAM_BYTES for each tile */
    float sink;
} Peak;

static void compute_tile(void *context, int64_t tile, int worker) {
    (void)worker;
    Peak *p = context;
    CpuLevel level = cpu_level();
    p->rate[tile] = p->bf16               ? peak_gflops_bf16(0.2)
                    : level == CPU_AVX512 ? peak_gflops_avx512(0.2)
                    : level == CPU_AVX2   ? peak_gflops_avx2(0.2)
                                          : peak_gflops_base(0.2);
}

static void stream_tile(void *context, int64_t tile, int worker) {
    (void)worker;
    Peak *p = context;
    enum { FLOATS = STREAM_BYTES / 4 };
    const float *from = p->memory + tile * FLOATS;
    double best = 0;
    float total = 0;
    for (int round = 0; round < 6; round++) {
        double t = clock_seconds();
        float sum[64] = {0};
        for (int i = 0; i < FLOATS; i += 64)
            for (int k = 0; k < 64; k++) sum[k] += from[i + k];
        for (int k = 0; k < 64; k++) total += sum[k];
        t = clock_seconds() - t;
        if (STREAM_BYTES / t * 1e-9 > best) best = STREAM_BYTES / t * 1e-9;
    }
    p->rate[tile] = best;
    if (total != 0) p->sink = total; /* the memory is zeros: only the compiler believes that this may happen */
}

void bench_begin(Bench *bench, const char *filter) {
    memset(bench, 0, sizeof *bench);
    bench->filter = filter;
}

static double sum_of(const double *rate, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++) sum += rate[i];
    return sum;
}

int bench_measure_peaks(Bench *bench, Pool *pool) {
    bench->pool = pool;
    int threads = pool_threads(pool);
    Peak peak = {.rate = mem_zero((size_t)threads, sizeof(double))};
    size_t bytes;
    if (!peak.rate || !size_mul((size_t)threads, STREAM_BYTES, &bytes)) return ERR_MEMORY;
    float *memory = mem_block_map(bytes);
    if (!memory) {
        mem_free(peak.rate);
        return ERR_MEMORY;
    }
    memset(memory, 0, bytes);
    peak.memory = memory;
    pool_run(pool, threads, compute_tile, &peak);
    bench->peak_gflops = sum_of(peak.rate, threads);
    peak.bf16 = true;
    if (cpu_has_bf16()) pool_run(pool, threads, compute_tile, &peak);
    bench->peak_gflops_half = cpu_has_bf16() ? sum_of(peak.rate, threads) : 0;
    pool_run(pool, threads, stream_tile, &peak);
    bench->peak_gbytes = sum_of(peak.rate, threads);
    mem_block_unmap(memory, bytes);
    mem_free(peak.rate);
    return 0;
}

bool bench_wants(const Bench *bench, const char *kernel) {
    return !bench->filter || strncmp(kernel, bench->filter, strlen(bench->filter)) == 0;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

BenchRow *bench_add(Bench *bench, const char *kernel, const char *shape, double flops, double bytes, double ms_min,
                    double ms_median) {
    BUG_IF(bench->count == BENCH_ROWS_MAX, "more than %d rows in a bench", BENCH_ROWS_MAX);
    BenchRow *r = &bench->rows[bench->count++];
    *r = (BenchRow){.flops = flops, .bytes = bytes, .ms_min = ms_min, .ms_median = ms_median};
    snprintf(r->kernel, sizeof r->kernel, "%s", kernel);
    snprintf(r->shape, sizeof r->shape, "%s", shape);
    return r;
}

int bench_run(Bench *bench, const char *kernel, const char *shape, double flops, double bytes,
              int (*run)(void *context), void *context, BenchRow **row) {
    enum { LEAST = 7, MOST = 50 };
    double times[MOST], start = 0;
    int n = 0, rc = run(context);
    for (start = clock_seconds(); !rc && n < MOST; n++) {
        if (bench->rounds ? n >= bench->rounds : n >= LEAST && clock_seconds() - start > 0.5) break;
        if (run_stopped()) return run_stop("the measurement is not complete");
        double t = clock_seconds();
        rc = run(context);
        times[n] = clock_seconds() - t;
    }
    if (rc) return rc;
    qsort(times, (size_t)n, sizeof *times, by_value);
    BenchRow *r = bench_add(bench, kernel, shape, flops, bytes, times[0] * 1e3, times[n / 2] * 1e3);
    if (row) *row = r;
    return 0;
}

/* The larger of the two shares: what bounds the kernel. */
double bench_share(const Bench *bench, const BenchRow *r) {
    double peak = r->half ? bench->peak_gflops_half : bench->peak_gflops;
    if (!(peak > 0) || !(bench->peak_gbytes > 0) || !(r->ms_min > 0)) return 0;
    double compute = r->flops / r->ms_min * 1e-6 / peak, memory = r->bytes / r->ms_min * 1e-6 / bench->peak_gbytes;
    return compute > memory ? compute : memory;
}

static double promised(const BenchMemory *m) {
    return m->working + m->weights + m->packed;
}

static void print_memory(const Bench *bench, FILE *to) {
    enum { MIB = 1 << 20 };
    if (!bench->memory_count) return;
    fprintf(to, "%-20s %9s %9s %9s %9s %9s %8s %9s\n", "memory, MiB", "working", "weights", "packed", "promised",
            "measured", "differ", "at start");
    for (int i = 0; i < bench->memory_count; i++) {
        const BenchMemory *m = &bench->memory[i];
        fprintf(to, "%-20s %9.1f %9.1f %9.1f %9.1f %9.1f %+6.1f %% %9.1f\n", m->what, m->working / MIB,
                m->weights / MIB, m->packed / MIB, promised(m) / MIB, m->measured / MIB,
                100 * (m->measured / promised(m) - 1), m->start / MIB);
    }
}

void bench_print(const Bench *bench, FILE *to) {
    fprintf(to, "%s, %s, %d thread%s: peak %.0f GFLOP/s, bf16 %.0f, memory %.1f GB/s, measured just now\n", cpu_model(),
            cpu_level_name(cpu_level()), pool_threads(bench->pool), pool_threads(bench->pool) == 1 ? "" : "s",
            bench->peak_gflops, bench->peak_gflops_half, bench->peak_gbytes);
    print_memory(bench, to);
    if (!bench->count) return;
    fprintf(to, "%-20s %-28s %9s %9s %9s %8s %6s\n", "kernel", "shape", "min ms", "median", "GFLOP/s", "GB/s", "peak");
    for (int i = 0; i < bench->count; i++) {
        const BenchRow *r = &bench->rows[i];
        char gflops[32] = "-", gbytes[32] = "-", peak[32] = "-";
        if (r->flops > 0) snprintf(gflops, sizeof gflops, "%.1f", r->flops / r->ms_min * 1e-6);
        if (r->bytes > 0) snprintf(gbytes, sizeof gbytes, "%.1f", r->bytes / r->ms_min * 1e-6);
        if (r->flops > 0 || r->bytes > 0) snprintf(peak, sizeof peak, "%.0f %%", 100 * bench_share(bench, r));
        fprintf(to, "%-20s %-28s %9.3f %9.3f %9s %8s %6s  %s\n", r->kernel, r->shape, r->ms_min, r->ms_median, gflops,
                gbytes, peak, r->note);
    }
}

static void print_json_cpu(const Bench *bench, FILE *to) {
    char model[256];
    fprintf(to, "\"cpu\":%s,\"instructions\":\"%s\",\"threads\":%d,\"peak_gflops\":%.1f,\"peak_gflops_bf16\":%.1f,",
            json_quote(model, sizeof model, cpu_model()), cpu_level_name(cpu_level()), pool_threads(bench->pool),
            bench->peak_gflops, bench->peak_gflops_half);
}

static void print_json_gpu(const Bench *bench, FILE *to) {
    char name[300], compiler[600];
    const GpuFacts *f = bench->gpu;
    fprintf(to,
            "\"gpu\":%s,\"arch\":%d,\"multiprocessors\":%d,\"driver\":%d,\"compiler\":%s,\"gbytes_up\":%.2f,"
            "\"gbytes_down\":%.2f,\"peak_gflops\":%.1f,\"peak_gflops_f16\":%.1f,",
            json_quote(name, sizeof name, f->name), f->arch, f->multiprocessors, f->driver,
            json_quote(compiler, sizeof compiler, f->compiler), bench->gbytes_up, bench->gbytes_down,
            bench->peak_gflops, bench->peak_gflops_half);
}

/* The same for both devices but for what the device is. */
void bench_print_json(const Bench *bench, FILE *to) {
    char kernel[128], shape[160], note[240];
    fprintf(to, "{\"version\":\"" PANUM_VERSION "\",");
    if (bench->gpu)
        print_json_gpu(bench, to);
    else
        print_json_cpu(bench, to);
    fprintf(to, "\"peak_gbytes\":%.2f,\"rows\":[", bench->peak_gbytes);
    for (int i = 0; i < bench->count; i++) {
        const BenchRow *r = &bench->rows[i];
        fprintf(to,
                "%s{\"kernel\":%s,\"shape\":%s,\"ms_min\":%.4f,\"ms_median\":%.4f,\"gflops\":%.2f,\"gbytes\":%.2f,"
                "\"share\":%.4f,"
                "\"note\":%s}",
                i ? ",\n" : "\n", json_quote(kernel, sizeof kernel, r->kernel),
                json_quote(shape, sizeof shape, r->shape), r->ms_min, r->ms_median, r->flops / r->ms_min * 1e-6,
                r->bytes / r->ms_min * 1e-6, bench_share(bench, r), json_quote(note, sizeof note, r->note));
    }
    fprintf(to, "],\"memory\":[");
    for (int i = 0; i < bench->memory_count; i++) {
        const BenchMemory *m = &bench->memory[i];
        fprintf(to,
                "%s{\"network\":%s,\"working\":%.0f,\"weights\":%.0f,\"packed\":%.0f,\"promised\":%.0f,"
                "\"measured\":%.0f,\"start\":%.0f}",
                i ? ",\n" : "\n", json_quote(kernel, sizeof kernel, m->what), m->working, m->weights, m->packed,
                promised(m), m->measured, m->start);
    }
    fprintf(to, "]}\n");
}
