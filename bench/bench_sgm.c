/* bench/bench_sgm.c - times semi-global matching and judges it where the truth is known.
 *
 *   bench_sgm LEFT RIGHT [-o OUT.pfm] [-c CONFIDENCE.pfm] [--truth T.pfm] [--range LO:HI] [--threads N] [--rounds R]
 * [--json] bench_sgm --list FILE [--given] [--threads N] [--rounds R]
 *
 * Pictures are binary PGM or PPM. A list holds lines "left right truth.pfm lo hi" as tools/ref/sgbm_yardstick.py writes
 * them; --given uses the line's range. A truth that is not finite is not judged. Prints the minimum over the rounds. */
#include "base/clock.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/mem.h"
#include "tensor/ops/sgm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int width, height, channels;
    uint8_t *pixels;
} Picture;

static _Noreturn void stop(const char *what, const char *path) {
    fprintf(stderr, "bench_sgm: %s %s\n", what, path);
    exit(1);
}

static Picture read_pnm(const char *path) {
    FILE *f = fopen(path, "rb");
    char kind;
    Picture p = {0};
    if (!f || fscanf(f, "P%c %d %d 255", &kind, &p.width, &p.height) != 3 || (kind != '5' && kind != '6'))
        stop("cannot read", path);
    fgetc(f);
    p.channels = kind == '5' ? 1 : 3;
    size_t bytes = (size_t)p.width * (size_t)p.height * (size_t)p.channels;
    p.pixels = mem_alloc(bytes);
    if (!p.pixels || fread(p.pixels, 1, bytes, f) != bytes) stop("cannot read", path);
    fclose(f);
    return p;
}

static float *read_pfm(const char *path, int width, int height) {
    FILE *f = fopen(path, "rb");
    int w, h;
    float scale;
    if (!f || fscanf(f, "Pf %d %d %f", &w, &h, &scale) != 3 || w != width || h != height || scale >= 0)
        stop("not a little-endian PFM of that size:", path);
    fgetc(f);
    float *out = mem_array((size_t)w * (size_t)h, sizeof *out);
    for (int y = h - 1; y >= 0; y--)
        if (!out || fread(out + (size_t)y * (size_t)w, sizeof *out, (size_t)w, f) != (size_t)w)
            stop("cannot read", path);
    fclose(f);
    return out;
}

static void write_pfm(const char *path, const float *data, int width, int height) {
    FILE *f = fopen(path, "wb");
    if (!f) stop("cannot write", path);
    fprintf(f, "Pf\n%d %d\n-1.0\n", width, height);
    for (int y = height - 1; y >= 0; y--) fwrite(data + (size_t)y * (size_t)width, sizeof *data, (size_t)width, f);
    if (fclose(f)) stop("cannot write", path);
}

typedef struct {
    double bad2, bad1, sign, auc; /* %, %, %, and the share of bad-2 left in the more confident half */
} Score;

static Score judge(const float *d, const float *confidence, const float *truth, size_t pixels) {
    size_t judged = 0, good = 0, good1 = 0, far = 0, signs = 0, histogram[101] = {0}, wrong[101] = {0};
    for (size_t i = 0; i < pixels; i++) {
        if (!isfinite(truth[i])) continue;
        judged++;
        bool ok = fabsf(d[i] - truth[i]) <= 2;
        good += ok;
        good1 += fabsf(d[i] - truth[i]) <= 1;
        int bin = (int)(100 * confidence[i]);
        histogram[bin]++;
        wrong[bin] += !ok;
        if (fabsf(truth[i]) > 2) far++, signs += (d[i] > 0) == (truth[i] > 0) && d[i] != 0;
    }
    size_t half = 0, bad = 0;
    for (int bin = 100; bin >= 0 && half < judged / 2; bin--) half += histogram[bin], bad += wrong[bin];
    return (Score){100.0 * (double)(judged - good) / (double)judged, 100.0 * (double)(judged - good1) / (double)judged,
                   far ? 100.0 * (double)signs / (double)far : 100, half ? 100.0 * (double)bad / (double)half : 0};
}

int main(int argc, char **argv) {
    const char *names[2] = {0}, *list = NULL, *out = NULL, *trust = NULL, *truth_path = NULL;
    int threads = 1, rounds = 1, count = 0;
    bool given = false, json = false;
    SgmOptions options = sgm_defaults();
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(a, "--json") == 0)
            json = true;
        else if (strcmp(a, "--given") == 0)
            given = true;
        else if (strcmp(a, "--list") == 0)
            list = value, i++;
        else if (strcmp(a, "-o") == 0)
            out = value, i++;
        else if (strcmp(a, "-c") == 0)
            trust = value, i++;
        else if (strcmp(a, "--truth") == 0)
            truth_path = value, i++;
        else if (strcmp(a, "--threads") == 0)
            threads = atoi(value), i++;
        else if (strcmp(a, "--rounds") == 0)
            rounds = atoi(value), i++;
        else if (strcmp(a, "--range") == 0) {
            if (sscanf(value, "%d:%d", &options.lo, &options.hi) != 2) stop("not a range:", value);
            options.automatic = false, i++;
        } else if (count < 2 && a[0] != '-')
            names[count++] = a;
        else
            stop("unknown argument", a);
    }
    if (!list && count != 2) stop("two pictures or --list FILE are needed", "");
    Pool *pool = pool_make(threads);
    FILE *lines = list ? fopen(list, "r") : NULL;
    if (list && !lines) stop("cannot read", list);
    double sums[5] = {0};
    int cases = 0;
    for (;;) {
        char left[512], right[512], truth[512];
        int lo = 0, hi = 0;
        if (list) {
            if (fscanf(lines, "%511s %511s %511s %d %d", left, right, truth, &lo, &hi) != 5) break;
            if (given) options.lo = lo, options.hi = hi, options.automatic = false;
        } else {
            if (cases) break;
            snprintf(left, sizeof left, "%s", names[0]);
            snprintf(right, sizeof right, "%s", names[1]);
        }
        Picture l = read_pnm(left), r = read_pnm(right);
        if (l.width != r.width || l.height != r.height || l.channels != r.channels) stop("sizes differ:", right);
        size_t pixels = (size_t)l.width * (size_t)l.height;
        float *maps = mem_array(3 * pixels, sizeof *maps);
        double best = INFINITY, best_cpu = INFINITY, best_range = 0;
        SgmReport report;
        for (int round = 0; round < rounds && maps; round++) {
            double before = clock_processor_seconds();
            if (sgm_match(pool, l.pixels, r.pixels, l.width, l.height, l.channels, &options, maps, maps + pixels,
                          maps + 2 * pixels, &report))
                stop(err_sentence(), "");
            double cpu = clock_processor_seconds() - before;
            if (cpu < best_cpu) best_cpu = cpu;
            if (report.seconds < best) best = report.seconds, best_range = report.range_seconds;
        }
        if (out) write_pfm(out, maps, l.width, l.height);
        if (trust) write_pfm(trust, maps + pixels, l.width, l.height);
        if (list || truth_path) {
            float *t = read_pfm(list ? truth : truth_path, l.width, l.height);
            Score s = judge(maps, maps + pixels, t, pixels);
            const char *name = strrchr(left, '/');
            printf("%-28s true %4d:%-4d used %4d:%-4d bad-2 %6.2f bad-1 %6.2f sign %6.2f half %5.2f  %7.1f ms (range "
                   "%.1f)\n",
                   name ? name + 1 : left, lo, hi, report.lo, report.hi, s.bad2, s.bad1, s.sign, s.auc, 1000 * best,
                   1000 * best_range);
            sums[0] += s.bad2, sums[1] += s.bad1, sums[2] += s.sign, sums[3] += s.auc, sums[4] += best;
            mem_free(t);
        }
        if (json)
            printf("{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"range_seconds\": %.6f, \"lo\": %d, \"hi\": %d, "
                   "\"threads\": %d, \"cpu\": \"%s\"}\n",
                   best, best_cpu, best_range, report.lo, report.hi, threads, cpu_level_name(cpu_level()));
        mem_free(maps), mem_free(l.pixels), mem_free(r.pixels);
        cases++;
    }
    if (list && cases)
        printf("mean of %d: bad-2 %.3f bad-1 %.3f sign %.3f half %.3f, %.1f ms in all\n", cases, sums[0] / cases,
               sums[1] / cases, sums[2] / cases, sums[3] / cases, 1000 * sums[4]);
    pool_drop(pool);
    return 0;
}
