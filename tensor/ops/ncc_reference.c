/* tensor/ops/ncc_reference.c - the block matcher of s2m2cinematic, as it is (ncc.h says what is wrong with it).
 *
 * On half-size grey pictures in 0..1, with box[] the 11 x 11 sum over zeros outside the picture / 121, and G(x) =
 * right(x + s), 0 outside, for s = -24 .. -1, 1 .. 24 in this order:
 *   c = (box[left G] - box[left] box[G]) / (sqrt(v(left)) sqrt(v(G)) + 1e-8), v = max(box[g^2] - box[g]^2, 1e-8)
 * the first s with the largest c (above -1) wins; target = 2 s, weight = c where c > 0.3. In double: what is box of
 * integers here is a float32 convolution there, which lets ties fall otherwise. */
#include "base/err.h"
#include "base/mem.h"
#include "tensor/ops/ncc_half.h"

#include <math.h>

enum { REACH = 24, RADIUS = 5, AREA = (2 * RADIUS + 1) * (2 * RADIUS + 1), PAD = REACH + RADIUS + 1 };
#define FLOOR 1e-8

typedef struct {
    NccHalf half;
    int width, height;
    float *target, *weight;
    int64_t *scratch; /* per worker 5 rows of half.width + 1: sums along the row of l, l^2, r, r^2 and products; then
                         best c and s */
    int64_t scratch_step;
} Job;

/* along[x + 1] = sum over the window's rows and the columns up to x of a(x) b(x + shift); b NULL means 1. */
static void sum_rows(const Job *job, int y, const int16_t *a, const int16_t *b, int shift, int64_t *along) {
    const NccHalf *half = &job->half;
    along[0] = 0;
    for (int x = 0; x < half->width; x++) {
        int64_t sum = 0;
        for (int row = y - RADIUS; row <= y + RADIUS; row++) {
            const int16_t v = a[row * half->pitch + x];
            sum += b ? v * b[row * half->pitch + x + shift] : v;
        }
        along[x + 1] = along[x] + sum;
    }
}

/* Of a picture: box and the root of v for a window whose columns a .. b lie inside. */
static double box(const int64_t *along, int a, int b, double unit) {
    return (double)(along[b + 1] - along[a]) / (AREA * unit);
}

static void run_row(void *context, int64_t tile, int worker) {
    const Job *job = context;
    const int y = (int)tile, w = job->half.width;
    const int16_t *left = job->half.grey[0], *right = job->half.grey[1];
    int64_t *row = job->scratch + worker * job->scratch_step, *sums[5];
    for (int i = 0; i < 5; i++, row += w + 1) sums[i] = row;
    double *best = (double *)row, *shift = (double *)(row + w);
    sum_rows(job, y, left, NULL, 0, sums[0]);
    sum_rows(job, y, left, left, 0, sums[1]);
    sum_rows(job, y, right, NULL, 0, sums[2]);
    sum_rows(job, y, right, right, 0, sums[3]);
    for (int x = 0; x < w; x++) best[x] = -1, shift[x] = 0;
    for (int s = -REACH; s <= REACH; s++) {
        if (s == 0) continue;
        sum_rows(job, y, left, right, s, sums[4]);
        for (int x = 0; x < w; x++) {
            const int a = x > RADIUS ? x - RADIUS : 0, b = x + RADIUS < w ? x + RADIUS : w - 1;
            /* the columns of G that are columns of the right picture; none: all zeros */
            const int ga = a + s > 0 ? a + s : 0, gb = b + s < w ? b + s : w - 1, empty = ga > gb;
            const double ml = box(sums[0], a, b, NCC_GREY_MAX), mg = empty ? 0 : box(sums[2], ga, gb, NCC_GREY_MAX);
            const double unit = (double)NCC_GREY_MAX * NCC_GREY_MAX;
            const double vl = fmax(box(sums[1], a, b, unit) - ml * ml, FLOOR);
            const double vg = fmax((empty ? 0 : box(sums[3], ga, gb, unit)) - mg * mg, FLOOR);
            const double c = (box(sums[4], a, b, unit) - ml * mg) / (sqrt(vl) * sqrt(vg) + FLOOR);
            if (c > best[x]) best[x] = c, shift[x] = s;
        }
    }
    /* full pixel (X, Y) takes half pixel (floor(X w / W), floor(Y h / H)) */
    for (int64_t full = ((int64_t)y * job->height + job->half.height - 1) / job->half.height;
         full < job->height && full * job->half.height / job->height == y; full++)
        for (int64_t x = 0; x < job->width; x++) {
            const int64_t from = x * w / job->width, to = full * job->width + x;
            job->target[to] = (float)(2 * shift[from]);
            job->weight[to] = best[from] > 0.3 ? (float)best[from] : 0;
        }
}

int ncc_match_reference(Pool *pool, const uint8_t *left, const uint8_t *right, int width, int height, int channels,
                        float *target, float *weight) {
    int rc = ncc_check(width, height, channels);
    if (rc) return rc;
    Job job = {.width = width, .height = height, .target = target, .weight = weight};
    rc = ncc_half_make(&job.half, left, right, width, height, channels, PAD, RADIUS, 0);
    if (rc) return rc;
    for (int64_t i = 0; i < (int64_t)width * height; i++) target[i] = weight[i] = 0;
    job.scratch_step = 7 * ((int64_t)job.half.width + 1);
    job.scratch = mem_array((size_t)(pool ? pool_threads(pool) : 1) * (size_t)job.scratch_step, sizeof(int64_t));
    if (job.scratch && job.half.width > 0) pool_run(pool, job.half.height, run_row, &job);
    rc = job.scratch ? 0 : err_code();
    mem_free(job.scratch);
    mem_free(job.half.block);
    return rc;
}
