#include "tests/lib/check.h"

#include "base/file.h"
#include "data/map.h"
#include "data/pairs.h"

#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { W = 24, H = 10 };

static const char *root;

static const char *at(const char *format, const char *name) {
    static char path[4][600];
    static int turn;
    char *out = path[turn++ % 4];
    int n = snprintf(out, sizeof path[0], "%s/", root);
    snprintf(out + n, sizeof path[0] - (size_t)n, format, name);
    for (char *p = out + strlen(root) + 1; (p = strchr(p, '/')); p++) { /* folders on the way */
        *p = 0;
        mkdir(out, 0777);
        *p = '/';
    }
    return out;
}

static void picture(const char *path, int shift) {
    Image image;
    assert_int_equal(image_make(&image, W, H, 3, 8), 0);
    for (int i = 0; i < W * H; i++)
        for (int k = 0; k < 3; k++) image.bytes[3 * i + k] = (uint8_t)((i % W + shift) * 9 + k);
    assert_int_equal(image_write(path, OUT_OVERWRITE, &image, NULL, NULL), 0);
    image_free(&image);
}

static void map(const char *path, float value) {
    Map m;
    assert_int_equal(map_make(&m, W, H, MAP_DISPARITY), 0);
    for (int i = 0; i < W * H; i++) m.values[i] = i == 5 ? NAN : value;
    assert_int_equal(map_write(path, OUT_OVERWRITE, &m, NULL, NULL), 0);
    map_free(&m);
}

/* 16-bit steps of 1/256, or a mask of one grey value */
static void grey(const char *path, int bits, int value, int hole) {
    Image image;
    assert_int_equal(image_make(&image, W, H, 1, bits), 0);
    for (int i = 0; i < W * H; i++)
        if (bits == 16)
            image_16(&image)[i] = (uint16_t)(i == hole ? 0 : value);
        else
            image.bytes[i] = (uint8_t)(i == hole ? 128 : value);
    assert_int_equal(image_write(path, OUT_OVERWRITE, &image, NULL, NULL), 0);
    image_free(&image);
}

static void expect_one(PairsLayout layout, const char *folder, const char *name, double d, bool right) {
    Pairs pairs;
    Sample s = {0};
    if (pairs_find(folder, PAIRS_AUTO, &pairs)) fail_msg("%s", err_sentence());
    assert_int_equal(pairs.layout, layout);
    assert_int_equal(pairs.count, 1);
    assert_string_equal(pairs.entries[0].name, name);
    if (pairs_read(&pairs.entries[0], &s)) fail_msg("%s", err_sentence());
    assert_int_equal(s.width, W), assert_int_equal(s.height, H);
    assert_true(fabs((double)s.left.disparity[W + 9] - d) < 1e-3 && s.left.valid[W + 9] == 1);
    assert_true(s.left.rgb[3 * (W + 9)] == 81);
    assert_true(s.occlusion_known && s.right_known == right);
    assert_true(s.left.occlusion[W + 9] == 1);
    assert_true(s.left.occlusion[W + 1] == 0); /* its match lies outside */
    sample_free(&s);
    pairs_free(&pairs);
}

static void test_layouts(void **state) {
    (void)state;
    root = scratch_folder("pairs");
    picture(at("m/%s/im0.png", "scene"), 0), picture(at("m/%s/im1.png", "scene"), 3);
    map(at("m/%s/disp0.pfm", "scene"), 3), grey(at("m/%s/mask0nocc.png", "scene"), 8, 255, 40);
    expect_one(PAIRS_MIDDLEBURY, at("%s", "m"), "scene", 3, false);
    expect_one(PAIRS_MIDDLEBURY, at("m/%s", "scene"), "scene", 3, false);

    picture(at("k/training/image_2/%s.png", "000007_10"), 0), picture(at("k/training/image_3/%s.png", "000007_10"), 3);
    grey(at("k/training/disp_occ_0/%s.png", "000007_10"), 16, 3 * 256 + 64, 5);
    grey(at("k/training/disp_noc_0/%s.png", "000007_10"), 16, 3 * 256 + 64, 40);
    expect_one(PAIRS_KITTI, at("%s", "k"), "000007_10", 3.25, false);

    picture(at("f/frames_cleanpass/TRAIN/A/0000/left/%s.png", "0006"), 0);
    picture(at("f/frames_cleanpass/TRAIN/A/0000/right/%s.png", "0006"), 3);
    map(at("f/disparity/TRAIN/A/0000/left/%s.pfm", "0006"), 3);
    map(at("f/disparity/TRAIN/A/0000/right/%s.pfm", "0006"), -3);
    expect_one(PAIRS_SCENEFLOW, at("%s", "f"), "TRAIN/A/0000/0006", 3, true);

    picture(at("s/training/clean_left/alley/%s.png", "frame_0001"), 0);
    picture(at("s/training/clean_right/alley/%s.png", "frame_0001"), 3);
    Image code; /* 3 + 33/64 + 5/16384 */
    assert_int_equal(image_make(&code, W, H, 3, 8), 0);
    for (int i = 0; i < W * H; i++) code.bytes[3 * i] = 0, code.bytes[3 * i + 1] = 192 + 33, code.bytes[3 * i + 2] = 5;
    assert_int_equal(
        image_write(at("s/training/disparities/alley/%s.png", "frame_0001"), OUT_OVERWRITE, &code, NULL, NULL), 0);
    image_free(&code);
    grey(at("s/training/occlusions/alley/%s.png", "frame_0001"), 8, 0, 40);
    expect_one(PAIRS_SINTEL, at("%s", "s"), "alley/frame_0001", 225 / 64.0 + 5 / 16384.0, false);
}

static void write_text(const char *path, const char *text) {
    Out *out;
    assert_int_equal(out_open(path, OUT_OVERWRITE, &out), 0);
    assert_int_equal(out_write(out, text, strlen(text)), 0);
    assert_int_equal(out_commit(&out), 0);
}

/* What is incomplete or broken is named. */
static void test_refused(void **state) {
    (void)state;
    root = scratch_folder("pairs_bad");
    Pairs pairs;
    Sample s = {0};
    assert_int_equal(pairs_find(at("%s", "nowhere"), PAIRS_AUTO, &pairs), ERR_INPUT);
    picture(at("m/%s/im0.png", "half"), 0);
    assert_int_equal(pairs_find(at("%s", "m"), PAIRS_AUTO, &pairs), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "right picture is missing"));
    picture(at("m/%s/im0.png", "good"), 0), picture(at("m/%s/im1.png", "good"), 3),
        map(at("m/%s/disp0.pfm", "good"), 3);
    assert_int_equal(pairs_find(at("%s", "m"), PAIRS_AUTO, &pairs), 0);
    assert_true(pairs.count == 1 && pairs.rejected == 1 && strstr(pairs.reasons[0], "half"));
    assert_int_equal(pairs_read(&pairs.entries[0], &s), 0);
    assert_false(s.occlusion_known); /* neither mask nor the other eye */
    write_text(at("m/good/%s", "disp0.pfm"), "Pf\n24 10\n-1.0\nshort");
    assert_int_equal(pairs_read(&pairs.entries[0], &s), ERR_INPUT);
    write_text(at("m/good/%s", "im1.png"), "not a picture");
    assert_int_equal(pairs_read(&pairs.entries[0], &s), ERR_INPUT);
    pairs_free(&pairs);
    static const char *const bad[] = {"left\tright\n", "left\tright\ttruth\na.png\tb.png\n",
                                      "left\tright\ttruth\tscale\na\tb\tc\t0\n",
                                      "left\tright\ttruth\tscale\na\tb\tc\t4x\n", ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_text(at("%s", "bad.tsv"), bad[i]);
        assert_int_equal(pairs_find(at("%s", "bad.tsv"), PAIRS_AUTO, &pairs), ERR_INPUT);
    }
    sample_free(&s);
}

static void test_shuffled(void **state) {
    (void)state;
    for (int64_t count = 1; count < 300; count += 37) {
        bool seen[300] = {0};
        int same = 0;
        for (int64_t i = 0; i < count; i++) {
            int64_t at_i = shuffled(7, count, i);
            assert_true(at_i >= 0 && at_i < count && !seen[at_i]);
            seen[at_i] = true, same += at_i == i;
        }
        assert_true(count < 30 || same < count / 4);
    }
}

/* Warping the right picture to the left one by the truth: on real pairs, whole and after the stream's cuts. */
static double warp_error(const Sample *s) {
    double error = 0;
    int64_t counted = 0;
    for (int y = 0; y < s->height; y++)
        for (int x = 0; x < s->width; x++) {
            int i = y * s->width + x;
            if (!(s->left.valid[i] > 0) || (s->occlusion_known && !(s->left.occlusion[i] > 0))) continue;
            double from = x - (double)s->left.disparity[i];
            if (from < 0 || from > s->width - 1) continue;
            const uint8_t *row = s->right.rgb + 3 * y * s->width;
            int x0 = (int)from, x1 = x0 + 1 < s->width ? x0 + 1 : x0;
            double v = row[3 * x0 + 1] + (from - x0) * (row[3 * x1 + 1] - row[3 * x0 + 1]);
            error += fabs(s->left.rgb[3 * i + 1] - v), counted++;
        }
    assert_true(counted > 1000);
    return error / (double)counted;
}

static void test_real(void **state) {
    (void)state;
    NEEDS_DATA("stereo_gt/midd2006_Baby1/view1.png");
    char path[700];
    root = scratch_folder("pairs_real");
    const char *data = shared_data("stereo_gt");
    Pairs pairs;
    if (pairs_find(data, PAIRS_AUTO, &pairs)) fail_msg("%s", err_sentence());
    assert_int_equal(pairs.layout, PAIRS_MIDDLEBURY);
    assert_true(pairs.count >= 10);
    Sample s = {0}, cut = {0};
    for (int64_t i = 0; i < pairs.count; i += 3) {
        if (pairs_read(&pairs.entries[i], &s)) fail_msg("%s", err_sentence());
        double e = warp_error(&s);
        printf("%s: %dx%d warping error %.2f\n", pairs.entries[i].name, s.width, s.height, e);
        assert_true(e < 12);
    }
    PairsStream stream = {&pairs, {.seed = 4, .width = 160, .height = 96}};
    SampleSource source = pairs_source(&stream);
    int front = 0, all = 0;
    for (uint64_t i = 0; i < 6; i++) { /* other sizes, planes, mirrors */
        if (source.make(source.context, i, &cut)) fail_msg("%s", err_sentence());
        assert_true(cut.width == 160 && cut.height == 96 && warp_error(&cut) < 14);
        for (int k = 0; k < 160 * 96; k++) all += cut.left.valid[k] > 0, front += cut.left.disparity[k] > 0;
    }
    assert_true(front * 10 > all && front * 10 < all * 9);
    pairs_free(&pairs);
    snprintf(path, sizeof path, "%s/list.tsv", root);
    char text[2000];
    char *whole = realpath(data, NULL);
    assert_non_null(whole);
    snprintf(text, sizeof text,
             "# a comment\nleft\tright\ttruth\tscale\tname\n%s/kitti12_000027/image_0_10.png\t%s/kitti12_000027/"
             "image_1_10.png\t%s/kitti12_000027/disp_noc_10.png\t256\tk27\r\n",
             whole, whole, whole);
    free(whole);
    write_text(path, text);
    if (pairs_find(path, PAIRS_AUTO, &pairs)) fail_msg("%s", err_sentence());
    if (pairs_read(&pairs.entries[0], &s)) fail_msg("%s", err_sentence());
    assert_true(warp_error(&s) < 14 && s.width == 1241);
    pairs_free(&pairs);
    sample_free(&s), sample_free(&cut);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_shuffled),
        cmocka_unit_test(test_real),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
