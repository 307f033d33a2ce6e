/* tensor/ops/ncc.c - block matching by normalised cross-correlation, our form (ncc.h).
 *
 * For windows P of n pixels, l and r the grey values of left and right pixel pairs at candidate d:
 *   c = (sum l r - sum l sum r / n) / sqrt((sum l^2 - (sum l)^2 / n) (sum r^2 - (sum r)^2 / n))
 * Every sum is of integers: sum l r runs down the columns (one row in, one row out: one multiply-add of pairs for each
 * candidate and column) and is added up over the window's columns; the other sums do not depend on d and are made once
 * a row. At the borders P is what both pictures have, and its sums come from sums along the row.
 *
 * Work is done in bands of rows, each by one worker with sums of its own: for each row all candidates, then what the
 * row's pixels make of them. Cost: (2 radius + 12) vector instructions for a vector of pixels and candidate. */
#include "tensor/ops/ncc.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "tensor/ops/ncc_half.h"
#include "tensor/ops/ncc_kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BAND = 32, /* rows: the sums of a band's first row cost about as much as two more rows */
    CENTRE = NCC_GREY_MAX / 2,
};
#define NOTHING 1e9f
#define OUTSIDE (-2.0f) /* below every correlation: no such pair of windows */

/* What a row of windows of one picture adds up to. Column sums over the window's rows run from row to row; `along` are
 * their sums from the row's start, at [x] of the columns before x. */
typedef struct {
    int32_t *column, *column_square;
    int64_t *along, *along_square;
    float *sum, *mean, *scale; /* of windows: sum, mean, 1/sqrt(sum of squared distances from the mean), 0 if flat */
} Eye;

typedef struct {
    Eye eye[2];
    int16_t *pairs[2]; /* rows interleaved */
    int32_t *sums;     /* by candidate: sum l r down the columns */
    float *c;          /* by candidate */
    NccBest best[2];   /* of left and of right pixels */
    float *second;
    int32_t *slope; /* squared differences along the row, of three rows together */
} Scratch;

typedef struct {
    NccOptions options;
    const NccKernels *kernels;
    NccHalf half;
    int width, height;    /* full */
    int lo, count, shift; /* candidates lo .. lo + count - 1; the largest shift */
    int64_t step;         /* elements from row to row of sums and correlations */
    float *disparity, *weight;
    /* Of the half-size picture, `step` from row to row: what was found (NOTHING where no test was passed) and its c. */
    float *found, *correlation;
    char *scratch;
    size_t scratch_bytes;
    NccReport *counts; /* by band */
} Job;

/* ---- scratch: one piece of memory a worker, taken apart in order ---- */

typedef struct {
    char *base; /* NULL: only count */
    size_t used;
} Piece;

/* Room for `elements`, given as the place of element `lead`. */
static void *take(Piece *piece, int64_t elements, size_t size, int64_t lead) {
    void *at = piece->base ? piece->base + piece->used + (size_t)lead * size : NULL;
    piece->used += ((size_t)elements * size + 63) & ~(size_t)63;
    return at;
}

static size_t lay_out(const Job *job, char *base, Scratch *s) {
    const int64_t w = job->step, shift = job->shift, wide = w + 2 * shift, rows = job->count;
    Piece piece = {base, 0};
    for (int i = 0; i < 2; i++) {
        Eye *eye = &s->eye[i];
        eye->column = take(&piece, w, sizeof(int32_t), 0);
        eye->column_square = take(&piece, w, sizeof(int32_t), 0);
        eye->along = take(&piece, w, sizeof(int64_t), 0);
        eye->along_square = take(&piece, w, sizeof(int64_t), 0);
        eye->sum = take(&piece, w, sizeof(float), NCC_PAD);
        eye->mean = take(&piece, w, sizeof(float), NCC_PAD);
        eye->scale = take(&piece, w, sizeof(float), NCC_PAD);
        s->pairs[i] = take(&piece, wide, 2 * sizeof(int16_t), NCC_PAD + shift);
        s->best[i].c = take(&piece, wide, sizeof(float), NCC_PAD + shift);
        s->best[i].k = take(&piece, wide, sizeof(int32_t), NCC_PAD + shift);
    }
    s->sums = take(&piece, rows * w, sizeof(int32_t), NCC_PAD);
    s->c = take(&piece, rows * w, sizeof(float), NCC_PAD);
    s->second = take(&piece, w, sizeof(float), NCC_PAD);
    s->slope = take(&piece, w, sizeof(int32_t), 1);
    return piece.used;
}

/* ---- sums ---- */

static const int16_t *grey_row(const Job *job, int eye, int y) {
    return job->half.grey[eye] + y * job->half.pitch;
}

static int first_row(const Job *job, int y) {
    return y - job->options.radius;
}
static int last_row(const Job *job, int y) {
    return y + job->options.radius;
}

/* pairs = (a, sign * b) over the whole padded width. */
static void interleave(const Job *job, const int16_t *a, const int16_t *b, int sign, int16_t *pairs) {
    const int64_t from = -(int64_t)NCC_PAD - job->shift, to = job->half.width + (int64_t)NCC_PAD + job->shift;
    for (int64_t x = from; x < to; x++) pairs[2 * x] = a[x], pairs[2 * x + 1] = (int16_t)(sign * b[x]);
}

/* Adds the products of rows a and b of both pictures (b taken off when sign is -1) to the sums of all candidates. */
static void add_rows(const Job *job, Scratch *s, int a, int b, int sign) {
    interleave(job, grey_row(job, 0, a), grey_row(job, 0, b), sign, s->pairs[0]);
    interleave(job, grey_row(job, 1, a), grey_row(job, 1, b), 1, s->pairs[1]);
    for (int k = 0; k < job->count; k++)
        job->kernels->accumulate(job->half.width, s->pairs[0], s->pairs[1] - 2 * (int64_t)(job->lo + k),
                                 s->sums + k * job->step);
    for (int i = 0; i < 2; i++) {
        const int16_t *in = grey_row(job, i, a), *other = grey_row(job, i, b);
        Eye *eye = &s->eye[i];
        for (int x = 0; x < job->half.width; x++) {
            eye->column[x] += in[x] + sign * other[x];
            eye->column_square[x] += in[x] * in[x] + sign * (other[x] * other[x]);
        }
    }
}

/* The sums of row y from nothing: two rows at a time, the last one beside a row of zeros. */
static void start_sums(const Job *job, Scratch *s, int y) {
    memset(s->sums - NCC_PAD, 0, (size_t)(job->count * job->step) * sizeof *s->sums);
    for (int i = 0; i < 2; i++) {
        memset(s->eye[i].column, 0, (size_t)job->step * sizeof(int32_t));
        memset(s->eye[i].column_square, 0, (size_t)job->step * sizeof(int32_t));
    }
    const int nothing = -job->options.radius - 1; /* a row of zeros above the picture */
    int row = first_row(job, y);
    for (; row < last_row(job, y); row += 2) add_rows(job, s, row, row + 1, 1);
    add_rows(job, s, row, nothing, 1);
}

static int window_rows(const Job *job, int y) {
    int from = first_row(job, y), to = last_row(job, y);
    return (to < job->half.height ? to : job->half.height - 1) - (from > 0 ? from : 0) + 1;
}

/* Sums over the columns a .. b, and n sum of squares - (sum)^2: exact. */
static void window_sums(const Eye *eye, int64_t a, int64_t b, int64_t n, int64_t *sum, double *scatter) {
    *sum = eye->along[b + 1] - eye->along[a];
    *scatter = (double)(n * (eye->along_square[b + 1] - eye->along_square[a]) - *sum * *sum);
}

static void row_windows(const Job *job, Eye *eye, int y) {
    const int64_t w = job->half.width, r = job->options.radius, rows = window_rows(job, y);
    eye->along[0] = eye->along_square[0] = 0;
    for (int64_t x = 0; x < w; x++) {
        eye->along[x + 1] = eye->along[x] + eye->column[x];
        eye->along_square[x + 1] = eye->along_square[x] + eye->column_square[x];
    }
    for (int64_t x = 0; x < w; x++) {
        const int64_t a = x > r ? x - r : 0, b = x + r < w ? x + r : w - 1, n = rows * (b - a + 1);
        int64_t sum;
        double scatter;
        window_sums(eye, a, b, n, &sum, &scatter);
        eye->sum[x] = (float)sum;
        eye->mean[x] = (float)sum / (float)n;
        eye->scale[x] = scatter > 0 ? (float)(1 / sqrt(scatter / (double)n)) : 0;
    }
}

/* ---- correlations ---- */

/* A window over a border: the columns that both pictures have. At least radius + 1 of them. */
static float border_correlation(const Job *job, const Scratch *s, int rows, int k, int64_t x) {
    const int64_t w = job->half.width, r = job->options.radius, match = x - (job->lo + k);
    int64_t a = -r, b = r, left, right;
    if (a < -x) a = -x;
    if (a < -match) a = -match;
    if (b > w - 1 - x) b = w - 1 - x;
    if (b > w - 1 - match) b = w - 1 - match;
    if (b - a < r) return OUTSIDE;
    const int64_t n = rows * (b - a + 1);
    double scatter_left, scatter_right;
    window_sums(&s->eye[0], x + a, x + b, n, &left, &scatter_left);
    window_sums(&s->eye[1], match + a, match + b, n, &right, &scatter_right);
    if (scatter_left <= 0 || scatter_right <= 0) return 0;
    int64_t products = 0;
    for (int64_t e = a; e <= b; e++) products += s->sums[k * job->step + x + e];
    return (float)((double)(n * products - left * right) / sqrt(scatter_left * scatter_right));
}

static int64_t within(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
}

static void correlate_row(const Job *job, Scratch *s, int y) {
    const int64_t w = job->half.width, r = job->options.radius;
    const int rows = window_rows(job, y);
    for (int k = 0; k < job->count; k++) {
        const int64_t d = job->lo + k;
        float *c = s->c + k * job->step;
        /* pairs inside both pictures; of these, windows inside both */
        const int64_t first = d > 0 ? d : 0, end = d < 0 ? w + d : w;
        const int64_t from = within(first + r, first, end), to = within(end - r, from, end);
        for (int64_t x = first; x < from; x++) c[x] = border_correlation(job, s, rows, k, x);
        job->kernels->correlate(from, to, (int)r, s->sums + k * job->step, s->eye[0].sum, s->eye[0].scale,
                                s->eye[1].mean - d, s->eye[1].scale - d, c);
        for (int64_t x = to; x < end; x++) c[x] = border_correlation(job, s, rows, k, x);
    }
}

/* ---- what the row's pixels make of them ---- */

static void forget_best(const Job *job, NccBest best) {
    const int64_t from = -(int64_t)NCC_PAD - job->shift, to = job->half.width + (int64_t)NCC_PAD + job->shift;
    for (int64_t x = from; x < to; x++) best.c[x] = -1.5f, best.k[x] = 0; /* above OUTSIDE, below every correlation */
}

/* The correlation of the candidate beside, for a fixed left pixel and for a fixed right one: the mean of the two, since
 * either alone leans to one side where contrast changes along the row. OUTSIDE where there is neither. */
static float beside(float left_fixed, float right_fixed) {
    if (left_fixed < -1) return right_fixed;
    return right_fixed < -1 ? left_fixed : 0.5f * (left_fixed + right_fixed);
}

/* Where the parabola through the correlations of candidates k-1, k, k+1 has its top, -0.5..0.5. */
static float parabola_top(const float *c, int64_t step) {
    const float before = beside(c[-step], c[-step - 1]), after = beside(c[step], c[step + 1]);
    const float bend = before - 2 * c[0] + after;
    if (before < -1 || after < -1 || bend >= 0) return 0;
    const float top = 0.5f * (before - after) / bend;
    return top < -0.5f ? -0.5f : top > 0.5f ? 0.5f : top;
}

/* Rows and columns beyond the picture repeat its border. */
static void row_slopes(const Job *job, Scratch *s, int y) {
    const int w = job->half.width, h = job->half.height;
    for (int x = -1; x <= w; x++) s->slope[x] = 0;
    for (int row = y > 0 ? y - 1 : 0; row <= y + 1 && row < h; row++) {
        const int16_t *g = grey_row(job, 0, row);
        for (int x = 1; x < w - 1; x++) s->slope[x] += (g[x + 1] - g[x - 1]) * (g[x + 1] - g[x - 1]);
    }
}

static void judge_row(const Job *job, Scratch *s, int y, NccReport *counts) {
    float *found = job->found + y * job->step, *correlation = job->correlation + y * job->step;
    const NccOptions *o = &job->options;
    /* the mean over nine pixels of ((g(x+1) - g(x-1)) / 2)^2 */
    const double level = 12 * o->texture, least_slope = level * level * 9 * 4;
    const float least = (float)o->correlation;
    for (int64_t x = 0; x < job->half.width; x++) {
        const int32_t k = s->best[0].k[x];
        const float c = s->best[0].c[x];
        found[x] = NOTHING;
        if (s->slope[x - 1] + s->slope[x] + s->slope[x + 1] < least_slope)
            counts->flat++;
        else if (c < least)
            counts->weak++;
        else if (k == 0 || k == job->count - 1)
            counts->limit++;
        else if (1 - c >= (float)o->uniqueness * (1 - s->second[x]))
            counts->ambiguous++;
        else if (abs(s->best[1].k[x - (job->lo + k)] - k) > 1)
            counts->unconfirmed++;
        else {
            found[x] = (float)(job->lo + k) + parabola_top(s->c + k * job->step + x, job->step);
            correlation[x] = c < 1 ? c : 1;
        }
    }
}

static void run_band(void *context, int64_t band, int worker) {
    const Job *job = context;
    Scratch s;
    lay_out(job, job->scratch + (size_t)worker * job->scratch_bytes, &s);
    for (int64_t i = 0; i < job->count * job->step; i++) s.c[i - NCC_PAD] = OUTSIDE;
    const int end = (int)band * BAND + BAND < job->half.height ? (int)band * BAND + BAND : job->half.height;
    for (int y = (int)band * BAND; y < end; y++) {
        if (y == (int)band * BAND)
            start_sums(job, &s, y);
        else
            add_rows(job, &s, last_row(job, y), first_row(job, y) - 1, -1);
        for (int i = 0; i < 2; i++) {
            row_windows(job, &s.eye[i], y);
            forget_best(job, s.best[i]);
        }
        correlate_row(job, &s, y);
        for (int k = 0; k < job->count; k++) {
            const NccBest right = {s.best[1].c - (job->lo + k), s.best[1].k - (job->lo + k)};
            job->kernels->keep(job->half.width, k, s.c + k * job->step, s.best[0]);
            job->kernels->keep(job->half.width, k, s.c + k * job->step, right);
        }
        job->kernels->second_peak(job->half.width, job->count, s.c, job->step, s.best[0].k, s.second);
        row_slopes(job, &s, y);
        judge_row(job, &s, y, &job->counts[band]);
    }
}

/* ---- agreement of neighbours, and the full picture ---- */

/* How many of the (2 radius + 1)^2 pixels round each of row y found what it found, within a half-size pixel. */
static void count_agreement(const Job *job, int y, int32_t *count) {
    const int r = job->options.radius, h = job->half.height;
    const float *own = job->found + y * job->step;
    for (int x = 0; x < job->half.width; x++) count[x] = 0;
    for (int row = y > r ? y - r : 0; row <= y + r && row < h; row++)
        for (int e = -r; e <= r; e++) {
            const float *other = job->found + row * job->step + e;
            for (int x = 0; x < job->half.width; x++) count[x] += fabsf(own[x] - other[x]) <= 1;
        }
}

/* Half-size row y to the full rows over it. */
static void enlarge_row(const Job *job, const float *row, int y, float *out) {
    const int from = 2 * y, to = y + 1 < job->half.height ? from + 2 : job->height;
    float *first = out + (int64_t)from * job->width;
    for (int x = 0; x < job->width; x++) first[x] = row[x / 2 < job->half.width ? x / 2 : job->half.width - 1];
    for (int line = from + 1; line < to; line++)
        memcpy(out + (int64_t)line * job->width, first, (size_t)job->width * sizeof *out);
}

static void finish_band(void *context, int64_t band, int worker) {
    const Job *job = context;
    const int w = job->half.width, r = job->options.radius;
    Scratch s;
    lay_out(job, job->scratch + (size_t)worker * job->scratch_bytes, &s);
    const int end = (int)band * BAND + BAND < job->half.height ? (int)band * BAND + BAND : job->half.height;
    NccReport *counts = &job->counts[band];
    for (int y = (int)band * BAND; y < end; y++) {
        const float *found = job->found + y * job->step, *correlation = job->correlation + y * job->step;
        int32_t *agreeing = s.eye[0].column;
        float *disparity = s.eye[0].sum, *weight = s.eye[1].sum;
        count_agreement(job, y, agreeing);
        const int rows = window_rows(job, y);
        for (int x = 0; x < w; x++) {
            const int columns = (int)(within(x + r, 0, w - 1) - within(x - r, 0, w - 1)) + 1;
            const bool kept = found[x] != NOTHING && agreeing[x] >= job->options.agreement * (rows * columns);
            disparity[x] = kept ? 2 * found[x] : 0;
            weight[x] = kept ? correlation[x] : 0;
            counts->lonely += found[x] != NOTHING && !kept;
            counts->taught += kept;
        }
        enlarge_row(job, disparity, y, job->disparity);
        enlarge_row(job, weight, y, job->weight);
    }
}

/* ---- from outside ---- */

static double or_else(double given, double otherwise) {
    return given != 0 ? given : otherwise;
}

static int settle(const NccOptions *given, NccOptions *o) {
    *o = given ? *given : (NccOptions){0};
    o->range_percent = or_else(o->range_percent, 4);
    if (o->radius == 0) o->radius = 3;
    o->texture = or_else(o->texture, 1);
    o->uniqueness = or_else(o->uniqueness, 0.7);
    o->correlation = or_else(o->correlation, 0.6);
    o->agreement = or_else(o->agreement, 0.85);
    if (!(o->range_percent > 0 && o->range_percent <= 25))
        return fail(ERR_USAGE, "a search range of %g %% of the width: 0 to 25 is possible", o->range_percent);
    if (o->radius < 1 || o->radius > NCC_RADIUS_MAX)
        return fail(ERR_USAGE, "a window of radius %d: 1 to %d is possible", o->radius, NCC_RADIUS_MAX);
    if (!(o->texture > 0) || !(o->uniqueness > 0) || !(o->correlation > 0 && o->correlation < 1) ||
        !(o->agreement > 0 && o->agreement <= 1))
        return fail(
            ERR_USAGE,
            "texture %g, uniqueness %g, correlation %g, agreement %g: all must be above 0, the last two at most 1",
            o->texture, o->uniqueness, o->correlation, o->agreement);
    return 0;
}

int ncc_match(Pool *pool, const uint8_t *left, const uint8_t *right, int width, int height, int channels,
              const NccOptions *options, float *disparity, float *weight, NccReport *report) {
    const double start = clock_seconds();
    Job job = {.kernels = ncc_kernels(cpu_level()),
               .width = width,
               .height = height,
               .disparity = disparity,
               .weight = weight};
    int rc = settle(options, &job.options);
    if (!rc) rc = ncc_check(width, height, channels);
    if (rc) return rc;
    memset(disparity, 0, (size_t)width * (size_t)height * sizeof *disparity);
    memset(weight, 0, (size_t)width * (size_t)height * sizeof *weight);

    /* what lies within the range is never the first or the last candidate */
    job.shift = (int)(job.options.range_percent / 100 * width / 2) + 1;
    if (job.shift > width / 2 - 1) job.shift = width / 2 - 1;
    if (job.shift < 0) job.shift = 0;
    job.lo = -job.shift;
    job.count = 2 * job.shift + 1;
    job.step = width / 2 + 2 * (int64_t)NCC_PAD;
    job.scratch_bytes = lay_out(&job, NULL, &(Scratch){0});
    NccReport total = {.lo = job.lo, .hi = -job.lo, .pixels = (int64_t)(width / 2) * (height / 2)};
    const int bands = (height / 2 + BAND - 1) / BAND, threads = pool ? pool_threads(pool) : 1;
    float *maps = NULL;
    if (total.pixels > 0) {
        const size_t map = (size_t)job.step * (size_t)(height / 2);
        size_t bytes;
        rc = ncc_half_make(&job.half, left, right, width, height, channels, NCC_PAD + job.shift, job.options.radius + 1,
                           CENTRE);
        if (!rc && !size_mul(job.scratch_bytes, (size_t)threads, &bytes))
            rc = fail(ERR_MEMORY, "the search range is too large");
        if (!rc) {
            total.memory = job.half.bytes + bytes + 2 * map * sizeof(float) + (size_t)bands * sizeof *job.counts;
            job.counts = mem_zero((size_t)bands, sizeof *job.counts);
            maps = job.counts ? mem_array(2 * map, sizeof *maps) : NULL;
            job.scratch = maps ? mem_zero(bytes, 1) : NULL;
            rc = job.scratch ? 0 : err_code();
        }
        if (!rc) {
            for (size_t i = 0; i < map; i++) maps[i] = NOTHING, maps[map + i] = 0;
            job.found = maps + NCC_PAD, job.correlation = maps + map + NCC_PAD;
            pool_run(pool, bands, run_band, &job);
            pool_run(pool, bands, finish_band, &job);
        }
        for (int band = 0; !rc && band < bands; band++) {
            const NccReport *c = &job.counts[band];
            total.taught += c->taught, total.flat += c->flat, total.weak += c->weak, total.limit += c->limit;
            total.ambiguous += c->ambiguous, total.unconfirmed += c->unconfirmed;
            total.lonely += c->lonely;
        }
        mem_free(job.scratch);
        mem_free(maps);
        mem_free(job.counts);
        mem_free(job.half.block);
    }
    total.seconds = clock_seconds() - start;
    if (!rc && report) *report = total;
    return rc;
}
