/* Semi-global matching: signs, mirror, threads, instruction levels, odd pictures, the range, real pairs. */
#include "base/cpu.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tensor/ops/sgm.h"
#include "tensor/ops/sgm_inner.h"
#include "tests/lib/check.h"

#include <math.h>

/* A random-dot pair: ground 5 px behind the screen, a square popping out 8 px. */
enum { WIDTH = 173, HEIGHT = 97, LEFT = 60, TOP = 30, SIDE = 40, FRONT = 8, BEHIND = -5 };

typedef struct {
    uint8_t left[WIDTH * HEIGHT], right[WIDTH * HEIGHT];
} Dots;

static bool in_square(int x, int y) {
    return x >= LEFT && x < LEFT + SIDE && y >= TOP && y < TOP + SIDE;
}

static void make_dots(Dots *dots) {
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        dots->left[i] = (uint8_t)(rng_u64(1, (uint64_t)i) >> 56);
        dots->right[i] = (uint8_t)(rng_u64(2, (uint64_t)i) >> 56);
    }
    for (int square = 0; square < 2; square++) /* what is in front is painted last */
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++) {
                int other = x - (square ? FRONT : BEHIND);
                if (in_square(x, y) == square && other >= 0 && other < WIDTH)
                    dots->right[y * WIDTH + other] = dots->left[y * WIDTH + x];
            }
}

static void mirror(const uint8_t *in, uint8_t *out) {
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) out[y * WIDTH + x] = in[y * WIDTH + WIDTH - 1 - x];
}

/* Dots away from the square's border by at least `margin`, and whose match is inside the other picture. */
static void check_dots(const float *disparity, const float *occlusion, const float *confidence) {
    const int margin = 4;
    int checked = 0, exact = 0;
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            bool front = in_square(x, y);
            bool clear = true; /* no border near, no background hidden by the square */
            for (int v = -margin; v <= margin; v++)
                for (int u = -margin - (FRONT - BEHIND); u <= margin + FRONT - BEHIND; u++)
                    clear &= in_square(x + u, y + v) == front || (front && abs(u) > margin);
            if (!clear || x + 5 >= WIDTH || x < 4 || x >= WIDTH - 9) continue;
            float d = disparity[y * WIDTH + x];
            assert_true(fabsf(d - (front ? FRONT : BEHIND)) < 0.5f);
            assert_true(occlusion[y * WIDTH + x] == 1);
            assert_true(confidence[y * WIDTH + x] > 0.2f);
            exact += fabsf(d - (front ? FRONT : BEHIND)) < 0.1f;
            checked++;
        }
    /* left of the square the right eye sees the square instead of the ground */
    int hidden = 0, ground = 0;
    for (int y = TOP + margin; y < TOP + SIDE - margin; y++)
        for (int x = LEFT - (FRONT - BEHIND) + 1; x < LEFT - 1; x++) {
            hidden += occlusion[y * WIDTH + x] == 0;
            ground += fabsf(disparity[y * WIDTH + x] - BEHIND) < 0.5f;
        }
    const int band = (SIDE - 2 * margin) * (FRONT - BEHIND - 2);
    assert_true(hidden > band * 9 / 10);
    assert_true(ground > band * 9 / 10);
    assert_true(checked > 8000);
    assert_true(exact > checked * 95 / 100);
}

static void match_dots(const uint8_t *left, const uint8_t *right, const SgmOptions *options, Pool *pool, float *maps,
                       SgmReport *report) {
    const int n = WIDTH * HEIGHT;
    assert_int_equal(sgm_match(pool, left, right, WIDTH, HEIGHT, 1, options, maps, maps + n, maps + 2 * n, report), 0);
}

static void random_dots(void **state) {
    (void)state;
    static Dots dots;
    static float maps[3 * WIDTH * HEIGHT];
    make_dots(&dots);
    SgmOptions options = {.lo = -20, .hi = 20};
    SgmReport report;
    match_dots(dots.left, dots.right, &options, NULL, maps, &report);
    assert_int_equal(report.lo, -20);
    assert_int_equal(report.hi, 20);
    check_dots(maps, maps + 2 * WIDTH * HEIGHT, maps + WIDTH * HEIGHT);
    match_dots(dots.left, dots.right, NULL, NULL, maps, &report);
    assert_true(report.lo <= BEHIND && report.lo >= -40);
    assert_true(report.hi >= FRONT && report.hi <= 40);
    check_dots(maps, maps + 2 * WIDTH * HEIGHT, maps + WIDTH * HEIGHT);
}

/* Mirroring and exchanging the eyes keeps the sign: the right-referenced map, seen in a mirror. */
static void mirrored_eyes(void **state) {
    (void)state;
    static Dots dots;
    static uint8_t left[WIDTH * HEIGHT], right[WIDTH * HEIGHT];
    static float maps[3 * WIDTH * HEIGHT];
    make_dots(&dots);
    mirror(dots.right, left);
    mirror(dots.left, right);
    SgmOptions options = {.lo = -20, .hi = 20};
    match_dots(left, right, &options, NULL, maps, NULL);
    int square = 0, ground = 0;
    for (int y = TOP + 4; y < TOP + SIDE - 4; y++)
        for (int x = LEFT + 4; x < LEFT + SIDE - 4; x++) /* where the square lies in the right eye */
            square += fabsf(maps[y * WIDTH + WIDTH - 1 - (x - FRONT)] - FRONT) < 0.5f;
    assert_int_equal(square, (SIDE - 8) * (SIDE - 8));
    for (int y = 0; y < TOP - 4; y++)
        for (int x = 20; x < WIDTH - 20; x++) ground += fabsf(maps[y * WIDTH + x] - BEHIND) < 0.5f;
    assert_int_equal(ground, (TOP - 4) * (WIDTH - 40));
}

static void same_for_any_threads(void **state) {
    (void)state;
    static Dots dots;
    static float one[3 * WIDTH * HEIGHT], many[3 * WIDTH * HEIGHT];
    make_dots(&dots);
    match_dots(dots.left, dots.right, NULL, NULL, one, NULL);
    static const int threads[] = {1, 2, 5};
    for (int i = 0; i < 3; i++) {
        Pool *pool = pool_make(threads[i]);
        for (int round = 0; round < 3; round++) {
            memset(many, 0xff, sizeof many);
            match_dots(dots.left, dots.right, NULL, pool, many, NULL);
            assert_memory_equal(one, many, sizeof one);
        }
        pool_drop(pool);
    }
}

static const SgmKernels *level_kernels(CpuLevel level) {
#if defined(__x86_64__)
    if (level == CPU_AVX512) return &sgm_kernels_avx512;
    if (level == CPU_AVX2) return &sgm_kernels_avx2;
#endif
    return level == CPU_BASE ? &sgm_kernels_plain : NULL;
}

/* Every instruction level gives the plain kernels' bits, for ranges that fill vectors wholly, partly and barely. */
static void same_on_every_level(void **state) {
    (void)state;
    static Dots dots;
    static float plain[3 * WIDTH * HEIGHT], vector[3 * WIDTH * HEIGHT];
    static const int ranges[][2] = {{0, 0},    {-1, 1},   {-20, 11}, {-20, 12},  {-31, 32},
                                    {-30, 34}, {-60, 30}, {3, 170},  {-172, 172}};
    make_dots(&dots);
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        dots.left[i] = (uint8_t)(dots.left[i] / (1 + i % WIDTH / 40)); /* some flat */
    for (int level = CPU_AVX2; level <= (int)cpu_level(); level++)
        for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++) {
            SgmOptions options = {.lo = ranges[r][0], .hi = ranges[r][1]};
            memset(plain, 0xff, sizeof plain);
            memset(vector, 0xee, sizeof vector);
            for (int k = 0; k < 2; k++) {
                float *maps = k ? vector : plain;
                assert_int_equal(sgm_match_with(level_kernels(k ? (CpuLevel)level : CPU_BASE), NULL, dots.left,
                                                dots.right, WIDTH, HEIGHT, 1, &options, maps, maps + WIDTH * HEIGHT,
                                                maps + 2 * WIDTH * HEIGHT, NULL),
                                 0);
            }
            assert_memory_equal(plain, vector, sizeof plain);
        }
}

/* A volume that must be cut into strips: same dots, nearly the same map, and the memory promised. */
static void strips(void **state) {
    (void)state;
    enum { TALL = 6 * HEIGHT };
    static Dots dots;
    static uint8_t left[WIDTH * TALL], right[WIDTH * TALL];
    static float whole[WIDTH * TALL], cut[WIDTH * TALL];
    make_dots(&dots);
    for (int i = 0; i < 6; i++) {
        memcpy(left + i * WIDTH * HEIGHT, dots.left, sizeof dots.left);
        memcpy(right + i * WIDTH * HEIGHT, dots.right, sizeof dots.right);
    }
    SgmOptions options = {.lo = -20, .hi = 11}, small = options;
    small.memory = (size_t)3 * 32 * WIDTH * 200;
    assert_int_equal(sgm_match(NULL, left, right, WIDTH, TALL, 1, &options, whole, NULL, NULL, NULL), 0);
    size_t before = mem_use().live;
    mem_reset_peak();
    SgmReport report;
    assert_int_equal(sgm_match(NULL, left, right, WIDTH, TALL, 1, &small, cut, NULL, NULL, &report), 0);
    size_t taken = mem_use().peak - before;
    assert_int_equal(mem_use().live, before);
    assert_true(report.memory == sgm_memory(WIDTH, TALL, -20, 11, small.memory, 1));
    assert_true(taken <= report.memory && taken > report.memory * 9 / 10);
    int differ = 0;
    for (int i = 0; i < WIDTH * TALL; i++) differ += fabsf(whole[i] - cut[i]) > 0.5f;
    assert_true(differ < WIDTH * TALL / 500);
}

/* Odd sizes, flat pictures, ranges wider than the picture, one and three channels: finite values in range. */
static void odd_pictures(void **state) {
    (void)state;
    static const int sizes[][2] = {{1, 1}, {7, 3}, {1, 40}, {40, 1}, {2, 2}, {9, 7}, {33, 5}, {64, 31}, {300, 2}};
    static const int ranges[][2] = {{0, 0}, {-3, 3}, {5, 9}, {-40, -30}, {-100, 100}};
    Pool *pool = pool_make(2);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int flat = 0; flat < 3; flat++)
            for (int range = -1; range < 5; range++)
                for (int channels = 1; channels <= 3; channels += 2) {
                    int w = sizes[i][0], h = sizes[i][1], n = w * h;
                    uint8_t *eyes = mem_alloc((size_t)(2 * n * channels));
                    float *maps = mem_array((size_t)n * 3, sizeof *maps);
                    for (int k = 0; k < 2 * n * channels; k++)
                        eyes[k] = flat == 0 ? 0 : flat == 1 ? 200 : (uint8_t)(rng_u64(3, (uint64_t)k) >> 56);
                    SgmOptions options = sgm_defaults();
                    if (range >= 0) options = (SgmOptions){.lo = ranges[range][0], .hi = ranges[range][1]};
                    SgmReport report;
                    memset(maps, 0xff, (size_t)n * 3 * sizeof *maps);
                    assert_int_equal(sgm_match(pool, eyes, eyes + n * channels, w, h, channels, &options, maps,
                                               maps + n, maps + 2 * n, &report),
                                     0);
                    assert_true(report.lo <= report.hi);
                    for (int k = 0; k < n; k++) {
                        assert_true(maps[k] >= (float)report.lo - 0.5f && maps[k] <= (float)report.hi + 0.5f);
                        assert_true(maps[n + k] >= 0 && maps[n + k] <= 1);
                        assert_true(maps[2 * n + k] >= 0 && maps[2 * n + k] <= 1);
                        if (flat < 2) assert_true(maps[n + k] == 0);
                    }
                    mem_free(eyes);
                    mem_free(maps);
                }
    pool_drop(pool);
}

/* A binary PPM of the shared data, as it is. */
static uint8_t *read_ppm(const char *path, int *width, int *height) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    int most;
    assert_int_equal(fscanf(f, "P6 %d %d %d", width, height, &most), 3);
    assert_int_equal(most, 255);
    fgetc(f);
    size_t bytes = (size_t)*width * (size_t)*height * 3;
    uint8_t *pixels = mem_alloc(bytes);
    assert_int_equal(fread(pixels, 1, bytes, f), bytes);
    fclose(f);
    return pixels;
}

/* Tsukuba under the signed rule with c = 8: the lamp and the head come out, the shelf lies behind. */
static void real_pair(void **state) {
    (void)state;
    NEEDS_DATA("stereo_gt/midd2001_tsukuba/scene1.row3.col3.ppm");
    enum { CROP = 8, SCALE = 16 };
    int w, h, most;
    uint8_t *eyes[2] = {read_ppm(shared_data("stereo_gt/midd2001_tsukuba/scene1.row3.col3.ppm"), &w, &h),
                        read_ppm(shared_data("stereo_gt/midd2001_tsukuba/scene1.row3.col4.ppm"), &w, &h)};
    FILE *f = fopen(shared_data("stereo_gt/midd2001_tsukuba/truedisp.row3.col3.pgm"), "rb");
    assert_non_null(f);
    int truth_w, truth_h;
    assert_int_equal(fscanf(f, "P5 %d %d %d", &truth_w, &truth_h, &most), 3);
    assert_true(truth_w == w && truth_h == h);
    fgetc(f);
    uint8_t *truth = mem_alloc((size_t)w * (size_t)h);
    assert_int_equal(fread(truth, 1, (size_t)w * (size_t)h, f), (size_t)w * (size_t)h);
    fclose(f);
    int n = w - CROP, judged = 0, bad = 0, far = 0, sign = 0;
    for (int y = 0; y < h; y++) /* rows move to smaller addresses, in order */
        for (int eye = 0; eye < 2; eye++)
            memmove(eyes[eye] + (size_t)(3 * y * n), eyes[eye] + (size_t)(3 * (y * w + (eye ? 0 : CROP))),
                    (size_t)(3 * n));
    float *d = mem_array((size_t)(n * h), sizeof *d);
    SgmReport report;
    assert_int_equal(sgm_match(NULL, eyes[0], eyes[1], n, h, 3, NULL, d, NULL, NULL, &report), 0);
    assert_true(report.lo <= -3 && report.lo >= -20 && report.hi >= 6 && report.hi <= 20);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < n; x++) {
            if (!truth[y * w + x + CROP]) continue;
            float t = (float)truth[y * w + x + CROP] / SCALE - CROP, got = d[y * n + x];
            judged++;
            bad += fabsf(got - t) > 2;
            if (fabsf(t) > 2) far++, sign += got * t > 0;
        }
    printf("tsukuba: bad-2 %.2f %%, sign right %.2f %%\n", 100.0 * bad / judged, 100.0 * sign / far);
    assert_true(bad < judged * 4 / 100);
    assert_true(sign > far * 97 / 100);
    mem_free(eyes[0]);
    mem_free(eyes[1]);
    mem_free(truth);
    mem_free(d);
}

/* A range wholly on one side of the screen, shown by a pair moved by whole pixels. */
static void one_sided_range(void **state) {
    (void)state;
    static Dots dots;
    static float maps[3 * WIDTH * HEIGHT];
    for (int side = -1; side <= 1; side += 2) {
        make_dots(&dots);
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++) {
                int other = x + side * 40; /* d grows by 40 * side */
                uint8_t noise = (uint8_t)(rng_u64(9, (uint64_t)(y * WIDTH + x)) >> 56);
                maps[y * WIDTH + x] = other >= 0 && other < WIDTH ? dots.right[y * WIDTH + other] : noise;
            }
        for (int i = 0; i < WIDTH * HEIGHT; i++) dots.right[i] = (uint8_t)maps[i];
        SgmReport report;
        match_dots(dots.left, dots.right, NULL, NULL, maps, &report);
        int low = BEHIND + 40 * side, high = FRONT + 40 * side, right = 0;
        assert_true(report.lo <= low && report.lo > low - 40 && report.hi >= high && report.hi < high + 40);
        for (int y = TOP + 4; y < TOP + SIDE - 4; y++)
            for (int x = LEFT + 4; x < LEFT + SIDE - 4; x++) right += fabsf(maps[y * WIDTH + x] - (float)high) < 0.5f;
        assert_int_equal(right, (SIDE - 8) * (SIDE - 8));
    }
}

/* A ribbon of few rows: shrunk until it is as narrow as other pictures it would be one row of greys, and the range
 * found in that anything. */
static void ribbon(void **state) {
    (void)state;
    enum { LONG = 4096, ROWS = 16, TRUE = 7, PIXELS = LONG * ROWS };
    uint8_t *eyes = mem_alloc(2 * PIXELS);
    float *found = mem_array(PIXELS, sizeof *found);
    for (int y = 0; y < ROWS; y++)
        for (int x = 0; x < LONG; x++) {
            eyes[y * LONG + x] = (uint8_t)(rng_u64(5, (uint64_t)(y * LONG + x)) >> 56);
            eyes[PIXELS + y * LONG + x] = (uint8_t)(rng_u64(5, (uint64_t)(y * LONG + x + TRUE)) >> 56);
        }
    Pool *pool = pool_make(2);
    SgmReport report;
    assert_int_equal(sgm_match(pool, eyes, eyes + PIXELS, LONG, ROWS, 1, NULL, found, NULL, NULL, &report), 0);
    assert_true(report.lo > -100 && report.lo < TRUE && report.hi > TRUE && report.hi < 100);
    int right = 0;
    for (int i = 0; i < PIXELS; i++) right += found[i] > TRUE - 1 && found[i] < TRUE + 1;
    assert_true(right > PIXELS * 95 / 100);
    pool_drop(pool);
    mem_free(eyes);
    mem_free(found);
}

static void refused(void **state) {
    (void)state;
    uint8_t pixel = 0;
    float out;
    SgmOptions empty = {.lo = 3, .hi = 2}, wide = {.lo = -4000, .hi = 4000};
    assert_int_equal(sgm_match(NULL, &pixel, &pixel, 0, 1, 1, NULL, &out, NULL, NULL, NULL), ERR_INPUT);
    assert_int_equal(sgm_match(NULL, &pixel, &pixel, 1, SGM_SIDE_MAX + 1, 1, NULL, &out, NULL, NULL, NULL), ERR_INPUT);
    assert_int_equal(sgm_match(NULL, &pixel, &pixel, 1, 1, 2, NULL, &out, NULL, NULL, NULL), ERR_INPUT);
    assert_int_equal(sgm_match(NULL, &pixel, &pixel, 1, 1, 1, &empty, &out, NULL, NULL, NULL), ERR_USAGE);
    assert_int_equal(sgm_match(NULL, &pixel, &pixel, 1, 1, 1, &wide, &out, NULL, NULL, NULL), ERR_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_dots),
        cmocka_unit_test(mirrored_eyes),
        cmocka_unit_test(same_for_any_threads),
        cmocka_unit_test(same_on_every_level),
        cmocka_unit_test(strips),
        cmocka_unit_test(odd_pictures),
        cmocka_unit_test(ribbon),
        cmocka_unit_test(refused),
        cmocka_unit_test(real_pair),
        cmocka_unit_test(one_sided_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
