#include "tests/lib/check.h"

#include "apps/lib/metrics.h"
#include "apps/lib/summary.h"
#include "tests/lib/random_dot.h"

#include <math.h>

static Map map_of(int width, int height, const float *values) {
    Map map;
    assert_int_equal(map_make(&map, width, height, MAP_DISPARITY), 0);
    memcpy(map.values, values, (size_t)(width * height) * sizeof *values);
    return map;
}

static Image mask_of(int width, int height, const uint8_t *bytes) {
    Image mask;
    assert_int_equal(image_make(&mask, width, height, 1, 8), 0);
    memcpy(mask.bytes, bytes, (size_t)(width * height));
    return mask;
}

/* Every figure by hand: eight pixels in a row wide enough that all matches fall inside. */
static void test_by_hand(void **state) {
    (void)state;
    enum { W = 12 };
    /*                     0    1     2     3     4     5     6     7     8     9    10   11 */
    const float truth[W] = {NAN, 0.5f, -4, -4, 0, 4, 4, 4, -2, 3, 10, 5};
    const float found[W] = {1, 0.75f, -4.75f, 4, 0, 5.5f, NAN, -1, -2, 3, 13.25f, 0};
    const uint8_t seen[W] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 128, 255, 0};
    Map t = map_of(W, 1, truth), p = map_of(W, 1, found);
    Image mask = mask_of(W, 1, seen);
    Metrics m;
    assert_int_equal(metrics_measure(&m, &p, &t, &mask), 0);
    const MetricShare *v = m.share[METRIC_VISIBLE];
    assert_int_equal(v[METRIC_SCREEN].pixels, 2); /* 1 and 4 */
    assert_true(fabs(metric_epe(&v[METRIC_SCREEN]) - 0.125) < 1e-12);
    assert_int_equal(v[METRIC_BEHIND].pixels, 3); /* 2, 3 and 8 */
    assert_int_equal(v[METRIC_BEHIND].bad[0], 2); /* 0.75 and 8 */
    assert_int_equal(v[METRIC_BEHIND].bad[3], 1);
    assert_int_equal(v[METRIC_BEHIND].signed_pixels, 2); /* -2 is not beyond 2 px */
    assert_int_equal(v[METRIC_BEHIND].sign_right, 1);
    assert_true(fabs(metric_epe(&v[METRIC_BEHIND]) - (0.75 + 8) / 3) < 1e-12);
    assert_int_equal(v[METRIC_FRONT].pixels, 4); /* 5, 6, 7, 10 */
    assert_int_equal(v[METRIC_FRONT].missing, 1);
    assert_int_equal(v[METRIC_FRONT].sign_right, 2); /* 5 and 10; missing and negative are wrong */
    assert_int_equal(v[METRIC_FRONT].bad[1], 4);
    assert_int_equal(v[METRIC_FRONT].bad[2], 3); /* 1.5 is not above 2 */
    assert_int_equal(v[METRIC_FRONT].d1, 3);     /* the missing one, 5 px off, and 3.25 off 10 */
    assert_true(fabs(metric_epe(&v[METRIC_FRONT]) - (1.5 + 5 + 3.25) / 3) < 1e-6);
    assert_int_equal(m.share[METRIC_HIDDEN][METRIC_ANYWHERE].pixels, 1); /* 9 by the mask; 11 is not judged */
    assert_int_equal(m.share[METRIC_EVERY][METRIC_ANYWHERE].pixels, 10);
    image_free(&mask);
    map_free(&t), map_free(&p);
}

/* 3 px off a truth of 80 px is under 5 %: bad-3 counts it, D1 does not. */
static void test_d1(void **state) {
    (void)state;
    const float truth[2] = {80, 20}, found[2] = {83.5f, 23.5f};
    Map t = map_of(2, 1, truth), p = map_of(2, 1, found);
    Metrics m;
    assert_int_equal(metrics_measure(&m, &p, &t, NULL), 0);
    assert_int_equal(m.share[METRIC_EVERY][METRIC_FRONT].bad[3], 2);
    assert_int_equal(m.share[METRIC_EVERY][METRIC_FRONT].d1, 1);
    /* both matches fall outside: hidden, without any mask */
    assert_int_equal(m.share[METRIC_HIDDEN][METRIC_FRONT].pixels, 2);
    map_free(&t), map_free(&p);
}

static void test_sizes_differ(void **state) {
    (void)state;
    const float six[6] = {0};
    Map t = map_of(3, 2, six), p = map_of(2, 3, six);
    Metrics m;
    assert_int_equal(metrics_measure(&m, &p, &t, NULL), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "2x3"));
    assert_non_null(strstr(err_sentence(), "3x2"));
    map_free(&t), map_free(&p);
}

/* The random-dot pair is exact: its truth against itself has no error, and its mask agrees with the built-in rule. */
static void test_random_dot(void **state) {
    (void)state;
    RandomDot pair;
    assert_int_equal(random_dot_make(&pair, NULL), 0);
    Metrics m;
    assert_int_equal(metrics_measure(&m, &pair.truth, &pair.truth, &pair.mask), 0);
    const MetricShare *all = &m.share[METRIC_EVERY][METRIC_ANYWHERE];
    assert_int_equal(all->pixels, 128 * 96);
    assert_int_equal(all->bad[0], 0);
    assert_int_equal(all->sign_right, all->pixels);
    int64_t square = (int64_t)pair.square_width * pair.square_height;
    assert_int_equal(m.share[METRIC_EVERY][METRIC_FRONT].pixels, square);
    assert_int_equal(m.share[METRIC_VISIBLE][METRIC_FRONT].pixels, square);
    /* hidden ground: a strip 8 + 5 wide beside the square, and 5 columns that leave the picture on the right */
    assert_int_equal(m.share[METRIC_HIDDEN][METRIC_BEHIND].pixels, 13 * pair.square_height + 5 * 96);
    /* and every visible pixel is the same dot in the other picture */
    for (int y = 0; y < 96; y++)
        for (int x = 0; x < 128; x++) {
            int i = y * 128 + x, d = (int)pair.truth.values[i];
            if (pair.visible.values[i] == 1) assert_int_equal(pair.left.bytes[i], pair.right.bytes[i - d]);
        }
    random_dot_free(&pair);
}

/* Cutting columns off the pictures moves the screen plane; the shifted truth is what the cut pictures show. */
static void test_signed_rule(void **state) {
    (void)state;
    for (int shift = -6; shift <= 6; shift += 3) {
        RandomDot pair;
        RandomDotOptions o = {.square = 9, .ground = 2, .width = 60, .height = 20};
        assert_int_equal(random_dot_make(&pair, &o), 0);
        int cut = shift < 0 ? -shift : shift, width = 60 - cut;
        int left_from = shift > 0 ? cut : 0, right_from = shift < 0 ? cut : 0;
        assert_int_equal(metrics_shift(&pair.truth, &pair.mask, shift), 0);
        assert_int_equal(metrics_shift(&pair.truth_right, NULL, shift), 0);
        assert_int_equal(pair.truth.width, width);
        assert_int_equal(pair.mask.width, width);
        int compared = 0;
        for (int y = 0; y < 20; y++)
            for (int x = 0; x < width; x++) {
                int d = (int)pair.truth.values[y * width + x], match = x - d;
                if (match < 0 || match >= width || pair.mask.bytes[y * width + x] != 255) continue;
                assert_int_equal(pair.left.bytes[y * 60 + x + left_from],
                                 pair.right.bytes[y * 60 + match + right_from]);
                assert_true(pair.truth_right.values[y * width + match] == (float)d);
                compared++;
            }
        assert_true(compared > 500);
        random_dot_free(&pair);
    }
    RandomDot pair;
    assert_int_equal(random_dot_make(&pair, NULL), 0);
    assert_int_equal(metrics_shift(&pair.truth, NULL, 128), ERR_USAGE);
    random_dot_free(&pair);
}

static void test_summary(void **state) {
    (void)state;
    Map map;
    assert_int_equal(map_make(&map, 100, 11, MAP_DISPARITY), 0);
    for (int i = 0; i < 1100; i++) map.values[i] = i < 1001 ? (float)(i - 500) / 10 : NAN;
    MapSummary s;
    map_summarise(&s, &map);
    assert_int_equal(s.values, 1001);
    assert_true(fabs(s.disparity[0] + 49) < 0.01 && fabs(s.disparity[2]) < 0.01 && fabs(s.disparity[4] - 49) < 0.01);
    assert_true(fabs(s.front - 490 / 1001.0) < 1e-9 && fabs(s.behind - 490 / 1001.0) < 1e-9);
    map.kind = MAP_PARALLAX; /* the same numbers, of the other sign */
    map.values[0] = -100;
    map_summarise(&s, &map);
    assert_true(fabs(s.disparity[4] - 49) < 0.01);
    for (int i = 0; i < 1100; i++) map.values[i] = 3;
    map_summarise(&s, &map);
    assert_true(s.disparity[0] == -3 && s.behind == 1);
    for (int i = 0; i < 1100; i++) map.values[i] = INFINITY;
    map_summarise(&s, &map);
    assert_int_equal(s.values, 0);
    map_free(&map);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),    cmocka_unit_test(test_d1),          cmocka_unit_test(test_sizes_differ),
        cmocka_unit_test(test_random_dot), cmocka_unit_test(test_signed_rule), cmocka_unit_test(test_summary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
