#include "tests/lib/check.h"

#include "data/scene.h"

#include <math.h>

static Scene scene; /* large; one test at a time */

static SceneTexture plain(uint64_t seed) {
    return (SceneTexture){SCENE_NOISE, 0.3, 0.4, {{0.5f, 0.4f, 0.3f}, {0.2f, 0.3f, 0.4f}}, seed, 0};
}

static void flat_scene(void) {
    memset(&scene, 0, sizeof scene);
    scene.focal = 1, scene.interaxial = 0.06, scene.convergence = 2, scene.light = (Vec3){0, 0, -1},
    scene.ambient = 0.5;
}

/* Quads parallel to the screen: disparity and what hides what follow from similar triangles, written out here again. */
static void test_by_hand(void **state) {
    (void)state;
    enum { W = 160, H = 120 };
    flat_scene();
    SceneObject back = {SCENE_PLANE, .at = {0, 0, 6}, .u = {1, 0, 0}, .v = {0, 1, 0}, .texture = plain(1)};
    SceneObject card = {SCENE_QUAD, .at = {0.1, 0, 1}, .u = {0.2, 0, 0}, .v = {0, 0.15, 0}, .texture = plain(2)};
    assert_int_equal(scene_add(&scene, &card), 0);
    assert_int_equal(scene_add(&scene, &back), 0);
    SceneViews views;
    assert_int_equal(scene_render(&scene, W, H, NULL, &views), 0);
    double near_d = 160 * 0.06 * (1 / 1.0 - 1 / 2.0), far_d = 160 * 0.06 * (1 / 6.0 - 1 / 2.0);
    assert_true(near_d > 0 && far_d < 0);
    assert_true(fabs(scene_disparity(&scene, W, 1) - near_d) < 1e-12);
    assert_true(fabs(scene_depth(&scene, W, far_d) - 6) < 1e-12);
    int hidden = 0;
    for (int eye = 0; eye < 2; eye++) {
        const Map *map = eye ? &views.disparity_right : &views.disparity,
                  *visible = eye ? &views.visible_right : &views.visible;
        /* the card's edges in this eye and in the other one, in pixels */
        double shift = (eye ? 1 : -1) * 160 * 0.06 / (2 * 2.0) + 79.5, side = eye ? 0.03 : -0.03;
        double low = 160 * (0.1 - 0.2 - side) + shift, high = 160 * (0.1 + 0.2 - side) + shift;
        double toward = eye ? 1 : -1, other_low = low + toward * near_d, other_high = high + toward * near_d;
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                bool row = fabs((y - 59.5) / 160) <= 0.15, on = row && x >= low && x <= high;
                double d = on ? near_d : far_d, match = x + toward * d;
                assert_true(fabs((double)map->values[y * W + x] - d) < 1e-5);
                bool seen = match >= 0 && match <= W - 1 && (on || !row || match < other_low || match > other_high);
                assert_int_equal(visible->values[y * W + x] == 1, seen);
                hidden += !seen;
            }
    }
    assert_true(hidden > 500);
    Image mask;
    assert_int_equal(scene_mask(&mask, &views.visible), 0);
    for (int i = 0; i < W * H; i++) assert_int_equal(mask.bytes[i], views.visible.values[i] == 1 ? 255 : 128);
    image_free(&mask);
    scene_views_free(&views);
}

/* The right picture sampled at x - d shows what the left one shows, wherever both eyes see it. */
static void check_warp(const SceneViews *v, const char *name) {
    int w = v->left.width, h = v->left.height;
    int64_t counted = 0, far_off = 0;
    double sum = 0;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            int i = y * w + x;
            if (v->visible.values[i] != 1) continue;
            double at = (double)x - (double)v->disparity.values[i];
            int x0 = (int)floor(at), x1 = x0 + 1 < w ? x0 + 1 : x0;
            for (int c = 0; c < 3; c++) {
                double a = v->right.bytes[3 * (y * w + x0) + c], b = v->right.bytes[3 * (y * w + x1) + c];
                double e = fabs(v->left.bytes[3 * i + c] - (a + (b - a) * (at - x0)));
                sum += e, far_off += e > 24, counted++;
            }
        }
    printf("%s: warping error %.2f grey levels, %.2f %% above 24\n", name, sum / (double)counted,
           100.0 * (double)far_off / (double)counted);
    assert_true(counted > 2 * (int64_t)w * h);
    assert_true(sum / (double)counted < 4);   /* interpolating noise of two pixels' wavelength costs some levels */
    assert_true(far_off * 100 < counted * 3); /* edges, where a pixel mixes two surfaces */
}

/* A pixel both eyes see has the same disparity in the other eye's map, within what a step to the nearest pixel changes.
 */
static void check_both_eyes(const SceneViews *v) {
    int w = v->left.width, h = v->left.height;
    int64_t seen = 0, agree = 0, hidden = 0, covered = 0;
    for (int eye = 0; eye < 2; eye++) {
        const Map *mine = eye ? &v->disparity_right : &v->disparity, *other = eye ? &v->disparity : &v->disparity_right;
        const Map *visible = eye ? &v->visible_right : &v->visible;
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                double d = mine->values[y * w + x], at = eye ? x + d : x - d;
                if (at < 0 || at > w - 1) continue;
                int x0 = (int)floor(at), x1 = x0 + 1 < w ? x0 + 1 : x0;
                double a = other->values[y * w + x0], b = other->values[y * w + x1];
                if (visible->values[y * w + x] == 1) {
                    seen++;
                    agree += fmin(fabs(a - d), fabs(b - d)) < 0.25;
                } else {
                    hidden++;
                    covered += fmax(a, b) > d; /* something nearer stands there */
                }
            }
    }
    /* Of thin things and slanted edges the other picture may hold no pixel's centre, of rods of half a pixel often. */
    assert_true(agree >= 0.995 * (double)seen);
    assert_true(covered >= 0.85 * (double)hidden);
}

/* What hides what, against a picture nine times as fine: a point is hidden when the fine right picture shows something
 * nearer at its place. Places within a fine pixel of an edge are left out. (With an odd factor pixel centres fall on
 * fine ones.) */
static void check_hidden_by_brute_force(int width, int height) {
    enum { FINE = 9 };
    SceneViews coarse, fine;
    assert_int_equal(scene_render(&scene, width, height, NULL, &coarse), 0);
    assert_int_equal(scene_render(&scene, width * FINE, height * FINE, NULL, &fine), 0);
    int compared = 0, hidden = 0, wrong = 0;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            double d = coarse.disparity.values[y * width + x], at = (x - d) * FINE + FINE / 2;
            assert_true(fabs((double)fine.disparity.values[(y * FINE + FINE / 2) * width * FINE + x * FINE + FINE / 2] -
                             FINE * d) < 1e-3);
            int nearest = (int)lrint(at);
            if (x - d < 0 || x - d > width - 1 || nearest < 1 || nearest > width * FINE - 2) continue;
            const float *there = &fine.disparity_right.values[(y * FINE + FINE / 2) * width * FINE + nearest];
            bool nearer[3];
            for (int k = 0; k < 3; k++) nearer[k] = (double)there[k - 1] > FINE * d + 0.3;
            if (nearer[0] != nearer[1] || nearer[1] != nearer[2]) continue;
            compared++, hidden += nearer[1];
            wrong += nearer[1] == (coarse.visible.values[y * width + x] == 1);
        }
    printf("brute force: %d of %d pixels compared, %d hidden, %d wrong\n", compared, width * height, hidden, wrong);
    assert_true(compared > width * height * 8 / 10);
    assert_int_equal(wrong, 0);
    scene_views_free(&coarse), scene_views_free(&fine);
}

static void test_demo(void **state) {
    (void)state;
    scene_demo(&scene, 1);
    SceneViews views;
    assert_int_equal(scene_render(&scene, 320, 240, NULL, &views), 0);
    check_warp(&views, "demo");
    check_both_eyes(&views);
    int front = 0, behind = 0, screen = 0;
    for (int i = 0; i < 320 * 240; i++) {
        float d = views.disparity.values[i];
        front += d > 1, behind += d < -1, screen += fabsf(d) <= 1;
    }
    assert_true(front > 7680 && behind > 7680 && screen > 3840); /* 10 %, 10 %, 5 % */
    scene_views_free(&views);
    check_hidden_by_brute_force(96, 72);
}

static void test_random(void **state) {
    (void)state;
    float before = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        SceneLot lot = {.seed = seed, .behind = -0.03, .front = 0.04};
        assert_int_equal(scene_random(&scene, &lot), 0);
        SceneViews views;
        assert_int_equal(scene_render(&scene, 120, 90, NULL, &views), 0);
        float low = 1e9f, high = -1e9f, sum = 0;
        for (int i = 0; i < 120 * 90; i++) {
            float d = views.disparity.values[i];
            assert_true(isfinite(d));
            low = fminf(low, d), high = fmaxf(high, d), sum += d;
        }
        assert_true(low >= -0.03f * 120 - 1e-3f && low < 0 && high > low);
        assert_true(sum != before);
        before = sum;
        check_both_eyes(&views);
        scene_views_free(&views);
        if (seed <= 3) check_hidden_by_brute_force(60, 45);
    }
    SceneLot bad = {.behind = 0.1, .front = 0.2};
    assert_int_equal(scene_random(&scene, &bad), ERR_INPUT);
}

/* Any number of threads draws the same bits; so does the same seed, and another one draws another scene. */
static void test_same_bits(void **state) {
    (void)state;
    SceneViews first = {0};
    for (int threads = 0; threads < 4; threads++) {
        SceneLot lot = {.seed = 7};
        assert_int_equal(scene_random(&scene, &lot), 0);
        Pool *pool = threads ? pool_make(threads) : NULL;
        SceneViews views;
        assert_int_equal(scene_render(&scene, 101, 67, pool, &views), 0);
        if (threads) {
            pool_drop(pool);
            assert_memory_equal(views.left.bytes, first.left.bytes, 101 * 67 * 3);
            assert_memory_equal(views.right.bytes, first.right.bytes, 101 * 67 * 3);
            assert_memory_equal(views.disparity.values, first.disparity.values, 101 * 67 * 4);
            assert_memory_equal(views.visible_right.values, first.visible_right.values, 101 * 67 * 4);
            scene_views_free(&views);
        } else {
            first = views;
        }
    }
    scene_views_free(&first);
}

/* Nothing to hit: no truth, black, and mask 0. */
static void test_nothing(void **state) {
    (void)state;
    flat_scene();
    SceneViews views;
    Image mask;
    assert_int_equal(scene_render(&scene, 5, 1, NULL, &views), 0);
    assert_int_equal(scene_mask(&mask, &views.visible), 0);
    assert_true(isnan(views.disparity.values[2]) && mask.bytes[2] == 0 && views.left.bytes[6] == 0);
    image_free(&mask);
    scene_views_free(&views);
    assert_int_equal(scene_render(&scene, 0, 1, NULL, &views), ERR_INPUT);
    SceneObject dot = {SCENE_ROD, .texture = plain(1)};
    assert_int_equal(scene_add(&scene, &dot), ERR_INPUT);
    dot.u = (Vec3){1, 0, 0}, dot.radius = 1;
    for (int i = 0; i < SCENE_OBJECTS_MAX; i++) assert_int_equal(scene_add(&scene, &dot), 0);
    assert_int_equal(scene_add(&scene, &dot), ERR_INPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),   cmocka_unit_test(test_demo),    cmocka_unit_test(test_random),
        cmocka_unit_test(test_same_bits), cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
