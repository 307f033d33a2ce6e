/* Block matching: the reference's figures, our matcher against brute force, its sign, its gates, threads and levels. */
#include "base/cpu.h"
#include "base/err.h"
#include "base/pool.h"
#include "base/rng.h"
#include "data/read.h"
#include "data/scene.h"
#include "tensor/ops/ncc.h"
#include "tests/lib/check.h"
#include "tests/lib/random_dot.h"

#include <math.h>

typedef struct {
    int width, height;
    uint8_t *left, *right; /* grey */
    float *disparity, *weight;
} Pair;

static Pair pair_make(int width, int height) {
    const size_t n = (size_t)width * (size_t)height;
    return (Pair){width, height, malloc(n), malloc(n), malloc(n * sizeof(float)), malloc(n * sizeof(float))};
}
static void pair_free(Pair *p) {
    free(p->left), free(p->right), free(p->disparity), free(p->weight);
}
static NccReport match(Pair *p, const NccOptions *options) {
    NccReport report;
    assert_int_equal(
        ncc_match(NULL, p->left, p->right, p->width, p->height, 1, options, p->disparity, p->weight, &report), 0);
    return report;
}
/* Noise smooth enough to survive halving; `shift` moves it to the left. */
static uint8_t texture(uint64_t seed, int x, int y, int shift) {
    double sum = 0;
    for (int octave = 0; octave < 3; octave++) {
        const int cell = 3 << octave, at = x + shift + 4096;
        const double fx = (double)at / cell, fy = (double)y / cell;
        const int ix = (int)fx, iy = (int)fy;
        for (int k = 0; k < 4; k++) {
            const uint64_t place = (uint64_t)(ix + k % 2) * 8191 + (uint64_t)(iy + k / 2) + ((uint64_t)octave << 40);
            const double value = (double)(rng_u64(seed, place) >> 40) / (1 << 24);
            sum += value * (k % 2 ? fx - ix : 1 - fx + ix) * (k / 2 ? fy - iy : 1 - fy + iy);
        }
    }
    return (uint8_t)(255 * sum / 3);
}
/* A plane of disparity d (whole pixels): right(x) = left(x + d). */
static Pair plane(int width, int height, int d) {
    Pair p = pair_make(width, height);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            p.left[y * width + x] = texture(7, x, y, 0);
            p.right[y * width + x] = texture(7, x, y, d);
        }
    return p;
}

/* The pair of the loss parity vectors, right = left moved by 3: d = +3, so the reference's target is -3's neighbours.
 */
static void reference_parity(void **state) {
    (void)state;
    enum { W = 128, H = 64 };
    static uint8_t eye[2][H * W * 3];
    static float target[H * W], weight[H * W];
    for (int i = 0; i < 2; i++)
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++)
                for (int c = 0; c < 3; c++) {
                    const int u = x + 3 * i;
                    eye[i][(y * W + x) * 3 + c] = (uint8_t)(37 * u + 17 * y + 91 * c + u * y / 4 + u * u / 8);
                }
    for (int threads = 1; threads <= 3; threads += 2) {
        Pool *pool = pool_make(threads);
        assert_int_equal(ncc_match_reference(pool, eye[0], eye[1], W, H, 3, target, weight), 0);
        pool_drop(pool);
        int active = 0;
        double n = 0, c = 0;
        for (int i = 0; i < W * H; i++)
            if (weight[i] > 0) active++, n += target[i], c += weight[i];
        assert_int_equal(active, 7108);
        assert_true(fabs(n / active - -1.514913) < 1e-6);
        assert_true(fabs(c / active - 0.689464) < 1e-6);
    }
}

/* c of one pixel and candidate, from its definition. */
static double brute_correlation(const Pair *p, int radius, int x, int y, int d) {
    const int w = p->width / 2, h = p->height / 2;
    double n = 0, l1 = 0, r1 = 0, l2 = 0, r2 = 0, lr = 0;
    if (x - d < 0 || x - d >= w) return -2;
    for (int j = y - radius; j <= y + radius; j++)
        for (int i = x - radius; i <= x + radius; i++) {
            if (j < 0 || j >= h || i < 0 || i >= w || i - d < 0 || i - d >= w) continue;
            double g[2] = {0, 0};
            for (int k = 0; k < 4; k++) {
                const int line = (2 * j + k / 2) * p->width;
                g[0] += p->left[line + 2 * i + k % 2];
                g[1] += p->right[line + 2 * (i - d) + k % 2];
            }
            n++, l1 += g[0], r1 += g[1], l2 += g[0] * g[0], r2 += g[1] * g[1], lr += g[0] * g[1];
        }
    return (lr - l1 * r1 / n) / sqrt((l2 - l1 * l1 / n) * (r2 - r1 * r1 / n));
}

/* Every gate wide open: each pixel's winner and its correlation, borders and all, are those of the definition. */
static void against_brute_force(void **state) {
    (void)state;
    static const struct {
        int width, height, radius;
        double range;
    } CASES[] = {{71, 45, 3, 12}, {64, 80, 5, 8}, {39, 14, 1, 20}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        Pair p = pair_make(CASES[i].width, CASES[i].height);
        for (int k = 0; k < p.width * p.height; k++) {
            p.left[k] = (uint8_t)(rng_u64(i, (uint64_t)k) >> 56);
            p.right[k] = (uint8_t)(rng_u64(i + 9, (uint64_t)k) >> 56);
        }
        const NccOptions open = {.range_percent = CASES[i].range,
                                 .radius = CASES[i].radius,
                                 .texture = 1e-9,
                                 .uniqueness = 1e9,
                                 .correlation = 1e-9,
                                 .agreement = 1e-9};
        const NccReport report = match(&p, &open);
        assert_int_equal(report.flat + report.weak + report.limit + report.ambiguous,
                         report.pixels - report.taught - report.unconfirmed - report.lonely);
        int judged = 0;
        for (int y = 0; y < p.height / 2; y++)
            for (int x = 0; x < p.width / 2; x++) {
                const float c = p.weight[2 * y * p.width + 2 * x];
                if (!(c > 0)) continue; /* the winner was the first or last, or the right pixel did not confirm it */
                double best = -2;
                int winner = 0;
                for (int d = report.lo; d <= report.hi; d++) {
                    const double here = brute_correlation(&p, CASES[i].radius, x, y, d);
                    if (here > best) best = here, winner = d;
                }
                assert_true(fabs(best - c) < 2e-5);
                assert_true(fabs(p.disparity[2 * y * p.width + 2 * x] - 2 * winner) <= 1);
                judged++;
            }
        assert_true(judged > (p.width / 2) * (p.height / 2) / 6);
        pair_free(&p);
    }
}

/* One sign: in front of the screen is positive. The reference's target has the other. */
static void sign_of_random_dots(void **state) {
    (void)state;
    RandomDot dots;
    assert_int_equal(
        random_dot_make(&dots, &(RandomDotOptions){.width = 320, .height = 160, .square = 8, .ground = -6}), 0);
    const int w = dots.left.width, h = dots.left.height;
    Pair p = pair_make(w, h);
    memcpy(p.left, dots.left.bytes, (size_t)(w * h));
    memcpy(p.right, dots.right.bytes, (size_t)(w * h));
    const NccReport report = match(&p, NULL);
    int wrong = 0, square = 0, ground = 0;
    for (int i = 0; i < w * h; i++)
        if (p.weight[i] > 0) {
            wrong += fabsf(p.disparity[i] - dots.truth.values[i]) > 0.75f;
            square += p.disparity[i] > 4;
            ground += p.disparity[i] < -4;
        }
    print_message("random dots: %lld of %lld taught, %d wrong\n", (long long)report.taught, (long long)report.pixels,
                  wrong);
    assert_true(report.taught > report.pixels * 6 / 10);
    assert_int_equal(wrong, 0);
    assert_true(square > w * h / 12 && ground > w * h / 3);

    assert_int_equal(ncc_match_reference(NULL, p.left, p.right, w, h, 1, p.disparity, p.weight), 0);
    int opposite = 0, same = 0;
    for (int i = 0; i < w * h; i++)
        if (p.weight[i] > 0) {
            opposite += p.disparity[i] == -dots.truth.values[i];
            same += p.disparity[i] == dots.truth.values[i];
        }
    assert_true(opposite > w * h * 8 / 10 && same < w * h / 100);
    random_dot_free(&dots);
    pair_free(&p);
}

/* Screen-plane pixels are taught 0; a border is taught like everything else; sub-pixel positions are found. */
static void zero_and_borders(void **state) {
    (void)state;
    Pair p = plane(200, 60, 0);
    NccReport report = match(&p, NULL);
    assert_int_equal(report.taught + report.flat, report.pixels);
    double bias = 0;
    for (int i = 0; i < 200 * 60; i++) {
        assert_true(p.weight[i] == 0 ||
                    (fabsf(p.disparity[i]) < 0.3f && p.weight[i] > 0.999f)); /* the parabola's error */
        bias += p.disparity[i] / (200 * 60);
    }
    assert_true(fabs(bias) < 0.01);
    assert_true(p.weight[0] > 0 && p.weight[199] > 0 && p.weight[59 * 200] > 0 && p.weight[60 * 200 - 1] > 0);
    pair_free(&p);

    p = plane(200, 60, 3); /* between two candidates */
    report = match(&p, NULL);
    double sum = 0, n = 0;
    for (int i = 0; i < 200 * 60; i++)
        if (p.weight[i] > 0) {
            assert_true(fabsf(p.disparity[i] - 3) < 0.6f);
            sum += p.disparity[i], n++;
        }
    assert_true(n > 0.8 * 200 * 60 && fabs(sum / n - 3) < 0.05);
    pair_free(&p);
}

/* Where nothing can be known nothing is taught. */
static void gates(void **state) {
    (void)state;
    enum { W = 240, H = 64 };
    Pair p = plane(W, H, 30); /* the range is 4 %: 9.6 pixels */
    NccReport report = match(&p, NULL);
    print_message("beyond the range: %lld of %lld taught\n", (long long)report.taught, (long long)report.pixels);
    assert_true(report.taught * 1000 < report.pixels);
    report = match(&p, &(NccOptions){.range_percent = 15});
    assert_true(report.taught * 10 > report.pixels * 7);
    pair_free(&p);
    /* just beyond: the last candidate wins, and is not believed */
    p = plane(W, H, 12);
    report = match(&p, &(NccOptions){.range_percent = 4.2});
    assert_int_equal(report.hi, 6);
    assert_true(report.limit * 10 > report.pixels * 8 && report.taught * 200 < report.pixels);

    for (int i = 0; i < W * H; i++) p.left[i] = p.right[i] = 90;
    report = match(&p, NULL);
    assert_int_equal(report.flat, report.pixels);
    for (int i = 0; i < W * H; i++) p.left[i] = p.right[i] = (uint8_t)(40 * (i / W % 5)); /* stripes along the rows */
    assert_int_equal(match(&p, NULL).taught, 0);
    for (int i = 0; i < W * H; i++) p.left[i] = p.right[i] = (uint8_t)(i % W / 4 % 2 ? 200 : 50); /* repeats every 8 */
    assert_int_equal(match(&p, NULL).taught, 0);
    for (int i = 0; i < W * H; i++) p.right[i] = (uint8_t)(rng_u64(5, (uint64_t)i) >> 56); /* nothing in common */
    assert_true(match(&p, NULL).taught * 1000 < report.pixels);
    pair_free(&p);
}

/* Threads change no bit; instruction levels only roundings. */
static void threads_and_levels(void **state) {
    (void)state;
    static Scene scene;
    SceneViews views;
    assert_int_equal(scene_random(&scene, &(SceneLot){.seed = 3}), 0);
    enum { W = 323, H = 181 };
    assert_int_equal(scene_render(&scene, W, H, NULL, &views), 0);
    static float first[2][W * H], other[2][W * H];
    assert_int_equal(ncc_match(NULL, views.left.bytes, views.right.bytes, W, H, 3, NULL, first[0], first[1], NULL), 0);
    for (int threads = 2; threads <= 3; threads++) {
        Pool *pool = pool_make(threads);
        assert_int_equal(ncc_match(pool, views.left.bytes, views.right.bytes, W, H, 3, NULL, other[0], other[1], NULL),
                         0);
        assert_memory_equal(first, other, sizeof first);
        pool_drop(pool);
    }
    for (int level = CPU_BASE; level <= CPU_AVX512; level++) {
        cpu_limit((CpuLevel)level);
        assert_int_equal(ncc_match(NULL, views.left.bytes, views.right.bytes, W, H, 3, NULL, other[0], other[1], NULL),
                         0);
        cpu_limit(CPU_AVX512);
        int differ = 0;
        for (int i = 0; i < W * H; i++) differ += fabsf(first[0][i] - other[0][i]) > 1e-3f;
        assert_true(differ * 2000 < W * H);
    }
    /* what is taught is right: the scene's own truth judges */
    int taught = 0, wrong = 0;
    for (int i = 0; i < W * H; i++)
        if (first[1][i] > 0) taught++, wrong += !(fabsf(first[0][i] - views.disparity.values[i]) <= 2);
    print_message("scene: %.1f %% taught, %.2f %% of it wrong by 2 px\n", 100.0 * taught / (W * H),
                  100.0 * wrong / taught);
    assert_true(taught * 3 > W * H && wrong * 18 < taught);
    scene_views_free(&views);
}

static void read_picture(const char *name, int channels, Image *image) {
    char path[128];
    ReadNotes notes;
    snprintf(path, sizeof path, "stereo_gt/%s", name);
    assert_int_equal(image_read(shared_data(path), &(ReadOptions){0}, image, &notes), 0);
    assert_int_equal(image_to_8bit(image), 0);
    if (channels == 3) assert_int_equal(image_to_rgb(image), 0);
}

/* Real pictures, with a screen plane in the middle of the scene: what is taught is right. What the reference teaches,
 * its sign put right, is wrong far more often, for it teaches everything. */
static void real_pictures(void **state) {
    (void)state;
    static const struct {
        const char *left, *right, *truth;
        double scale;
        int plane;                       /* disparity that comes to lie on the screen */
        double taught, wrong, reference; /* percent: at least, at most, at least */
    } CASES[] = {
        {"midd2003_cones/im2.png", "midd2003_cones/im6.png", "midd2003_cones/disp2.png", 4, 32, 50, 3.5, 15},
        {"midd2006_Rocks1/view1.png", "midd2006_Rocks1/view5.png", "midd2006_Rocks1/disp1.png", 3, 40, 60, 2.5, 8},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        NEEDS_DATA("stereo_gt/midd2003_cones/im2.png");
        Image whole[2], eye[2], truth;
        read_picture(CASES[i].left, 3, &whole[0]);
        read_picture(CASES[i].right, 3, &whole[1]);
        read_picture(CASES[i].truth, 1, &truth);
        const int w = whole[0].width - CASES[i].plane, h = whole[0].height;
        assert_int_equal(image_crop(&eye[0], &whole[0], CASES[i].plane, 0, w, h), 0);
        assert_int_equal(image_crop(&eye[1], &whole[1], 0, 0, w, h), 0);
        double wrong[2] = {0}, taught[2] = {0}, known = 0;
        float *d = malloc((size_t)(w * h) * sizeof *d), *weight = malloc((size_t)(w * h) * sizeof *weight);
        for (int reference = 0; reference < 2; reference++) {
            const NccOptions range = {.range_percent = 12};
            assert_int_equal(reference ? ncc_match_reference(NULL, eye[0].bytes, eye[1].bytes, w, h, 3, d, weight)
                                       : ncc_match(NULL, eye[0].bytes, eye[1].bytes, w, h, 3, &range, d, weight, NULL),
                             0);
            for (int k = 0; k < w * h; k++) {
                const int stored = truth.bytes[(k / w * whole[0].width + k % w + CASES[i].plane) * truth.channels];
                if (!stored) continue;
                known += !reference;
                if (!(weight[k] > 0)) continue;
                taught[reference]++;
                wrong[reference] += fabs((reference ? -d[k] : d[k]) - (stored / CASES[i].scale - CASES[i].plane)) > 2;
            }
        }
        print_message("%s: ours teaches %.1f %%, %.2f %% of it wrong by 2 px; the reference %.1f %%, %.2f %%\n",
                      CASES[i].left, 100 * taught[0] / known, 100 * wrong[0] / taught[0], 100 * taught[1] / known,
                      100 * wrong[1] / taught[1]);
        assert_true(100 * taught[0] > CASES[i].taught * known && 100 * wrong[0] < CASES[i].wrong * taught[0]);
        assert_true(100 * wrong[1] > CASES[i].reference * taught[1]);
        free(d);
        free(weight);
        for (int k = 0; k < 2; k++) image_free(&whole[k]), image_free(&eye[k]);
        image_free(&truth);
    }
}

static void sizes_and_errors(void **state) {
    (void)state;
    for (int h = 1; h <= 9; h += 4)
        for (int w = 1; w <= 40; w++) {
            Pair p = plane(w, h, 1);
            const NccReport report = match(&p, &(NccOptions){.range_percent = 25, .radius = 1 + w % 7});
            assert_int_equal(report.pixels, (w / 2) * (h / 2));
            assert_int_equal(report.taught + report.flat + report.weak + report.limit + report.ambiguous +
                                 report.unconfirmed + report.lonely,
                             report.pixels);
            assert_int_equal(ncc_match_reference(NULL, p.left, p.right, w, h, 1, p.disparity, p.weight), 0);
            for (int i = 0; i < w * h; i++) assert_true(p.weight[i] >= 0 && fabsf(p.disparity[i]) <= 48);
            pair_free(&p);
        }
    uint8_t pixel[3] = {0};
    float out[2];
    assert_int_equal(ncc_match(NULL, pixel, pixel, 0, 1, 1, NULL, out, out + 1, NULL), ERR_INPUT);
    assert_int_equal(ncc_match(NULL, pixel, pixel, 1, NCC_SIDE_MAX + 1, 1, NULL, out, out + 1, NULL), ERR_INPUT);
    assert_int_equal(ncc_match(NULL, pixel, pixel, 1, 1, 2, NULL, out, out + 1, NULL), ERR_INPUT);
    assert_int_equal(ncc_match(NULL, pixel, pixel, 1, 1, 1, &(NccOptions){.range_percent = 26}, out, out + 1, NULL),
                     ERR_USAGE);
    assert_int_equal(ncc_match(NULL, pixel, pixel, 1, 1, 1, &(NccOptions){.range_percent = NAN}, out, out + 1, NULL),
                     ERR_USAGE);
    assert_int_equal(ncc_match(NULL, pixel, pixel, 1, 1, 1, &(NccOptions){.radius = 8}, out, out + 1, NULL), ERR_USAGE);
    assert_int_equal(ncc_match(NULL, pixel, pixel, 1, 1, 1, &(NccOptions){.correlation = -1}, out, out + 1, NULL),
                     ERR_USAGE);
    assert_int_equal(ncc_match_reference(NULL, pixel, pixel, 0, 1, 1, out, out + 1), ERR_INPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_parity),
        cmocka_unit_test(against_brute_force),
        cmocka_unit_test(sign_of_random_dots),
        cmocka_unit_test(zero_and_borders),
        cmocka_unit_test(gates),
        cmocka_unit_test(threads_and_levels),
        cmocka_unit_test(sizes_and_errors),
        cmocka_unit_test(real_pictures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
