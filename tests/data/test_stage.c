#include "tests/lib/check.h"

#include "base/cpu.h"
#include "base/rng.h"
#include "data/augment.h"
#include "data/stage.h"
#include "data/synthetic.h"
#include "data/synthetic_lot.h"

#include <math.h>

static Stage stage; /* large; one test at a time */
static TextureBank *bank;

static int open_bank(void **state) {
    (void)state;
    return texture_bank_make(&bank, 9);
}
static int close_bank(void **state) {
    (void)state;
    texture_bank_drop(bank);
    return 0;
}

static Coat plain_coat(uint64_t texture, float texels_per_length) {
    Coat coat = {.texture = texture, .across = {texels_per_length, 0}, .down = {0, texels_per_length}};
    for (int k = 0; k < 3; k++) coat.colour[k][k] = 1;
    return coat;
}

/* The same things as the slow renderer draws them, in double precision and by other formulas: the same truth. */
static void test_against_scene(void **state) {
    (void)state;
    enum { W = 160, H = 120 };
    static Scene scene;
    memset(&scene, 0, sizeof scene), memset(&stage, 0, sizeof stage);
    scene.focal = 0.9, scene.interaxial = 0.07, scene.convergence = 1, scene.light = (Vec3){0, 0, -1};
    stage.focal = 0.9 * W, stage.span = 0.9 * W * 0.07, stage.light = scene.light, stage.bank = bank;
    stage.centre_x = 0.5 * (W - 1), stage.centre_y = 0.5 * (H - 1);
    const SceneObject objects[] = {
        {SCENE_PLANE, .at = {0, 0, 3}, .u = {1, 0, 0.4}, .v = {0, 1, -0.1}},
        {SCENE_PLANE, .at = {0, 0.5, 0}, .u = {1, 0.1, 0}, .v = {0, 0, 1}},
        {SCENE_QUAD, .at = {0.2, -0.1, 0.9}, .u = {0.2, 0.05, 0.1}, .v = {-0.05, 0.15, 0.05}},
        {SCENE_QUAD, .at = {-0.3, -0.2, 1.2}, .u = {0.2, 0, -0.1}, .v = {0, 0.2, 0}, .cut = SCENE_DISC},
        {SCENE_ELLIPSOID, .at = {-0.1, 0.1, 0.8}, .u = {0.12, 0, 0}, .v = {0, 0.1, 0.1}, .w = {0, -0.05, 0.05}},
        {SCENE_ELLIPSOID, .at = {0.5, 0.1, 1.6}, .u = {0.3, 0, 0}, .v = {0, 0.3, 0}, .w = {0, 0, 0.3}},
    };
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++) {
        SceneObject o = objects[i];
        o.texture = (SceneTexture){SCENE_NOISE, 0.3, 0.4, {{0.5f, 0.4f, 0.3f}, {0.2f, 0.3f, 0.4f}}, i, 0};
        assert_int_equal(scene_add(&scene, &o), 0);
        Thing t = {.shape = o.shape == SCENE_ELLIPSOID ? THING_BALL : THING_FLAT,
                   .at = o.at,
                   .u = o.u,
                   .v = o.v,
                   .w = o.w,
                   .opacity = 1,
                   .coat = plain_coat(i, 100)};
        t.outline = o.shape == SCENE_PLANE ? OUTLINE_NONE : o.cut == SCENE_DISC ? OUTLINE_ELLIPSE : OUTLINE_RECTANGLE;
        assert_true(stage_add(&stage, &t));
    }
    SceneViews views;
    Sample sample = {0};
    assert_int_equal(scene_render(&scene, W, H, NULL, &views), 0);
    assert_int_equal(sample_reserve(&sample, W, H), 0);
    assert_int_equal(stage_draw(&stage, &sample), 0);
    for (int eye = 0; eye < 2; eye++) {
        const SampleEye *got = eye ? &sample.right : &sample.left;
        const Map *want = eye ? &views.disparity_right : &views.disparity,
                  *seen = eye ? &views.visible_right : &views.visible;
        int apart = 0, other = 0;
        for (int i = 0; i < W * H; i++) {
            assert_true(got->valid[i] == 1);
            apart += !(fabsf(got->disparity[i] - want->values[i]) < 1e-3f);
            other += got->occlusion[i] != seen->values[i];
        }
        assert_true(apart <= 4 && other <= 6); /* rays that graze an outline fall to either side */
    }
    scene_views_free(&views);
    sample_free(&sample);
}

static double sampled(const float *row, int w, double x) {
    int x0 = (int)floor(x), x1 = x0 + 1 < w ? x0 + 1 : x0;
    return row[x0] + (x - x0) * (double)(row[x1] - row[x0]);
}

/* What the stream promises, on stages by lot without a camera: right(x - d) = left(x) where both see the point, both
 * eyes' disparities agree there, hidden points have something nearer before them. */
static void test_warp(void **state) {
    (void)state;
    enum { W = 160, H = 128, COUNT = 24 };
    Synthetic *synthetic;
    assert_int_equal(synthetic_open(&synthetic, &(SyntheticOptions){.seed = 3, .width = W, .height = H, .clean = true}),
                     0);
    Sample s = {0};
    double error = 0, turned = 0;
    int64_t counted = 0, agree = 0, hidden = 0, covered = 0, far_off = 0, front = 0, all = 0;
    for (uint64_t index = 0; index < COUNT; index++) {
        assert_int_equal(synthetic_make(synthetic, index, &s), 0);
        assert_true(s.occlusion_known && s.right_known);
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                int i = y * W + x;
                all++;
                if (s.left.valid[i] == 0) {
                    assert_true(s.left.disparity[i] == 0 && s.left.occlusion[i] == 0);
                    continue;
                }
                double d = s.left.disparity[i], at = x - d;
                front += d > 0;
                if (at < 0 || at > W - 1) {
                    assert_true(s.left.occlusion[i] == 0);
                    continue;
                }
                int x0 = (int)at, x1 = x0 + 1 < W ? x0 + 1 : x0;
                double a = s.right.disparity[y * W + x0], b = s.right.disparity[y * W + x1];
                if (s.left.occlusion[i] != 1) {
                    hidden++, covered += fmax(a, b) > d;
                    continue;
                }
                double against = at + 2 * d; /* with the wrong sign */
                for (int k = 0; k < 3; k++) {
                    const uint8_t *row = s.right.rgb + 3 * y * W;
                    double e = fabs(s.left.rgb[3 * i + k] -
                                    (row[3 * x0 + k] + (at - x0) * (row[3 * x1 + k] - row[3 * x0 + k])));
                    error += e, far_off += e > 32, counted++;
                    if (against >= 0 && against <= W - 1)
                        turned += abs(s.left.rgb[3 * i + k] - row[3 * (int)against + k]);
                }
                agree += fmin(fabs(a - d), fabs(b - d)) < 0.3;
            }
    }
    printf(
        "warping error %.2f grey levels (%.2f with the sign turned), %.2f %% above 32; %.2f %% agree, %.1f %% of the "
        "hidden are covered; %.0f %% in front\n",
        error / (double)counted, turned / (double)counted, 100.0 * (double)far_off / (double)counted,
        300.0 * (double)agree / (double)counted, 100.0 * (double)covered / (double)hidden,
        100.0 * (double)front / (double)all);
    assert_true(error / (double)counted < 3 && turned > 4 * error && far_off * 50 < counted);
    assert_true(3 * agree > counted * 98 / 100 && covered * 10 > hidden * 8);
    assert_true(front * 5 > all && front * 5 < all * 4);
    sample_free(&s);
    synthetic_close(synthetic);
}

/* Occlusion by lot against pictures nine times as fine: a point is hidden when the fine right picture shows something
 * nearer at its place. Places within a fine pixel of an edge are left out. */
static void test_hidden_by_brute_force(void **state) {
    (void)state;
    enum { W = 48, H = 40, FINE = 9, COUNT = 6 };
    Sample coarse = {0}, fine = {0};
    int compared = 0, hidden = 0, wrong = 0, moved = 0;
    for (uint64_t seed = 0; seed < COUNT; seed++) {
        stage_lot(&stage, bank, W, H, 12, seed);
        assert_int_equal(sample_reserve(&coarse, W, H), 0);
        assert_int_equal(stage_draw(&stage, &coarse), 0);
        stage.focal *= FINE, stage.span *= FINE;
        stage.centre_x = stage.centre_x * FINE + FINE / 2, stage.centre_y = stage.centre_y * FINE + FINE / 2;
        int sheets = 0;
        for (int k = 0; k < stage.count; k++) {
            Sheet *s = &stage.things[k].sheet;
            if (stage.things[k].shape != THING_SHEET) continue;
            sheets++;
            s->x *= FINE, s->y *= FINE, s->half_width *= FINE, s->half_height *= FINE;
            s->slope_x /= FINE, s->slope_y /= FINE;
            for (int w = 0; w < SHEET_WAVES; w++) s->wave[w][0] /= FINE, s->wave[w][1] /= FINE;
        }
        for (int k = 0; k < stage.count; k++) /* outlines are cut from another copy of a mask at another size */
            stage.things[k].cut = false;
        assert_int_equal(sample_reserve(&fine, W * FINE, H * FINE), 0);
        assert_int_equal(stage_draw(&stage, &fine), 0);
        stage_lot(&stage, bank, W, H, 12, seed);
        for (int k = 0; k < stage.count; k++) stage.things[k].cut = false;
        assert_int_equal(stage_draw(&stage, &coarse), 0);
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                int i = y * W + x, j = (y * FINE + FINE / 2) * W * FINE;
                double d = coarse.left.disparity[i], match = x - d;
                moved += !(fabs((double)fine.left.disparity[j + x * FINE + FINE / 2] - FINE * d) < 0.05);
                if (match < 0 || match > W - 1) continue;
                int nearest = (int)lrint(match * FINE + FINE / 2);
                if (nearest < 1 || nearest > W * FINE - 2) continue;
                bool nearer[3];
                for (int k = 0; k < 3; k++)
                    nearer[k] = (double)fine.right.disparity[j + nearest + k - 1] > FINE * d + 0.5;
                if (nearer[0] != nearer[1] || nearer[1] != nearer[2]) continue;
                compared++, hidden += nearer[1];
                wrong += nearer[1] == (coarse.left.occlusion[i] == 1);
            }
    }
    printf("brute force: %d pixels compared, %d hidden, %d wrong; %d at other depths\n", compared, hidden, wrong,
           moved);
    assert_true(compared > COUNT * W * H * 7 / 10 && hidden > 100);
    assert_true(wrong * 500 <= compared && moved * 200 <= COUNT * W * H);
    sample_free(&coarse), sample_free(&fine);
}

/* A seed means the same stream on every machine: plain and wide vectors give the same bits. */
static void test_same_bits(void **state) {
    (void)state;
    enum { W = 101, H = 50 };
    Synthetic *synthetic;
    Sample first = {0}, second = {0};
    assert_int_equal(synthetic_open(&synthetic, &(SyntheticOptions){.seed = 4, .width = W, .height = H}), 0);
    for (uint64_t index = 0; index < 8; index++) {
        cpu_limit(CPU_AVX512);
        assert_int_equal(synthetic_make(synthetic, index, &first), 0);
        cpu_limit(CPU_BASE);
        assert_int_equal(synthetic_make(synthetic, index, &second), 0);
        const SampleEye *a[2] = {&first.left, &first.right}, *b[2] = {&second.left, &second.right};
        for (int eye = 0; eye < 2; eye++) {
            assert_memory_equal(a[eye]->rgb, b[eye]->rgb, 3 * W * H);
            assert_memory_equal(a[eye]->disparity, b[eye]->disparity, 4 * W * H);
            assert_memory_equal(a[eye]->occlusion, b[eye]->occlusion, 4 * W * H);
        }
    }
    cpu_limit(CPU_AVX512);
    sample_free(&first), sample_free(&second);
    synthetic_close(synthetic);
}

/* ---- augmentation: the same promises after every change of geometry ---- */

/* right(x - d) = left(x), but for what reading between the finest texels costs: up to 4 grey levels in one scene or
 * another, and in any case little beside what a disparity that is 4 px off costs. */
static void check_promise(const Sample *s, const char *what, double bound) {
    int w = s->width, h = s->height;
    double error = 0, off = 0;
    int64_t counted = 0;
    for (int eye = 0; eye < 2; eye++) {
        const SampleEye *mine = eye ? &s->right : &s->left, *other = eye ? &s->left : &s->right;
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                int i = y * w + x;
                double at = eye ? x + (double)mine->disparity[i] : x - (double)mine->disparity[i];
                if (!(mine->valid[i] > 0) || !(mine->occlusion[i] > 0)) continue;
                assert_true(at >= 0 && at <= w - 1);
                double d = sampled(other->disparity + y * w, w, at);
                if (fabs(d - (double)mine->disparity[i]) > 0.5) continue; /* an edge lies between */
                int x0 = (int)at, x1 = x0 + 1 < w ? x0 + 1 : x0;
                for (int k = 0; k < 3; k++) {
                    const uint8_t *row = other->rgb + 3 * y * w;
                    error += fabs(mine->rgb[3 * i + k] -
                                  (row[3 * x0 + k] + (at - x0) * (row[3 * x1 + k] - row[3 * x0 + k])));
                    off += abs(mine->rgb[3 * i + k] - row[3 * (x0 >= 4 ? x0 - 4 : x0 + 4) + k]);
                    counted++;
                }
            }
    }
    printf("%s: warping error %.2f, 4 px beside %.2f\n", what, error / (double)counted, off / (double)counted);
    assert_true(counted > (int64_t)w * h && error / (double)counted < bound && off > 2 * error);
}

static void test_geometry(void **state) {
    (void)state;
    enum { W = 160, H = 96 };
    Synthetic *synthetic;
    assert_int_equal(synthetic_open(&synthetic, &(SyntheticOptions){.seed = 8, .width = W, .height = H, .clean = true}),
                     0);
    Sample s = {0}, other = {0};
    for (uint64_t index = 0; index < 4; index++) {
        assert_int_equal(synthetic_make(synthetic, index, &s), 0);
        check_promise(&s, "as drawn", 5);
        assert_int_equal(augment_crop(&other, &s, 20, 20, 10, 100, 64), 0);
        check_promise(&other, "window", 5);
        for (int shift = -12; shift <= 12; shift += 8) { /* the screen plane moves */
            assert_int_equal(augment_crop(&other, &s, 20 + shift / 2, 20 - shift / 2, 0, 110, H), 0);
            check_promise(&other, "screen moved", 5);
            float d = s.left.disparity[5 * W + 70], moved = other.left.disparity[5 * 110 + 70 - 20 - shift / 2];
            assert_true(fabsf(moved - (d - (float)shift)) < 1e-4f);
        }
        assert_int_equal(augment_resize(&other, &s, 117, 71), 0);
        check_promise(&other, "smaller", 8);
        assert_int_equal(augment_resize(&other, &s, 235, 131), 0);
        check_promise(&other, "larger", 5);
        assert_int_equal(sample_copy(&other, &s), 0);
        augment_mirror(&other);
        check_promise(&other, "mirrored", 5);
        assert_true(other.left.disparity[30 * W + 20] == s.right.disparity[30 * W + W - 1 - 20]);
        augment_mirror(&other);
        assert_memory_equal(other.left.rgb, s.left.rgb, 3 * W * H);
        assert_memory_equal(other.right.disparity, s.right.disparity, 4 * W * H);
        augment_flip_rows(&other);
        check_promise(&other, "upside down", 5);
        float middle = augment_quantile(&s, 0.5);
        int below = 0;
        for (int i = 0; i < W * H; i++) below += s.left.disparity[i] <= middle;
        assert_true(below >= W * H / 2);
    }
    assert_int_equal(augment_crop(&other, &s, 61, 0, 0, 100, 50), ERR_INPUT);
    assert_int_equal(augment_crop(&other, &s, 0, -1, 0, 100, 50), ERR_INPUT);
    sample_free(&s), sample_free(&other);
    synthetic_close(synthetic);
}

/* Rows out of true, patches and photography leave the left eye's disparity alone and say what became hidden. */
static void test_camera(void **state) {
    (void)state;
    enum { W = 128, H = 96 };
    Synthetic *synthetic;
    assert_int_equal(synthetic_open(&synthetic, &(SyntheticOptions){.seed = 8, .width = W, .height = H, .clean = true}),
                     0);
    Sample s = {0}, other = {0}, again = {0};
    assert_int_equal(synthetic_make(synthetic, 2, &s), 0);
    assert_int_equal(sample_copy(&other, &s), 0);
    assert_int_equal(augment_misalign(&other, 3, 0), 0); /* whole rows: a row of the right eye lies three lower */
    assert_memory_equal(other.right.rgb + 3 * W * 23, s.right.rgb + 3 * W * 20, 3 * W);
    assert_memory_equal(other.left.disparity, s.left.disparity, 4 * W * H);

    assert_int_equal(sample_copy(&other, &s), 0);
    augment_patch(&other, 30, 20, 40, 50, 5);
    int lost = 0;
    for (int i = 0; i < W * H; i++) {
        double match = i % W - (double)s.left.disparity[i];
        bool under = i / W >= 20 && i / W < 70 && match > 29.5 && match < 69.5;
        assert_true(other.left.disparity[i] == s.left.disparity[i] && other.left.valid[i] == s.left.valid[i]);
        assert_true(other.left.occlusion[i] == (under ? 0 : s.left.occlusion[i]));
        lost += under && s.left.occlusion[i] > 0;
    }
    assert_true(lost > 100);
    augment_patch(&other, -10, -10, 5, 5, 1), augment_patch(&other, W, 0, 5, 5, 1); /* outside: nothing */

    AugmentCamera none = {0};
    assert_int_equal(sample_copy(&other, &s), 0);
    assert_int_equal(augment_photograph(&other, &none, 1), 0);
    for (int i = 0; i < 3 * W * H; i++) assert_true(abs(other.left.rgb[i] - s.left.rgb[i]) <= 1);
    assert_int_equal(sample_copy(&other, &s), 0), assert_int_equal(sample_copy(&again, &s), 0);
    for (uint64_t seed = 0; seed < 12; seed++) {
        assert_int_equal(augment_photograph(&other, &augment_usual, seed), 0);
        assert_int_equal(augment_photograph(&again, &augment_usual, seed), 0);
        assert_memory_equal(other.left.rgb, again.left.rgb, 3 * W * H);
        assert_memory_equal(other.right.rgb, again.right.rgb, 3 * W * H);
        assert_memory_equal(other.left.disparity, s.left.disparity, 4 * W * H);
    }
    sample_free(&s), sample_free(&other), sample_free(&again);
    synthetic_close(synthetic);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_scene),
        cmocka_unit_test(test_warp),
        cmocka_unit_test(test_hidden_by_brute_force),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_geometry),
        cmocka_unit_test(test_camera),
    };
    return cmocka_run_group_tests(tests, open_bank, close_bank);
}
