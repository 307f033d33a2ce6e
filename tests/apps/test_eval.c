#include "tests/lib/check.h"

#include "data/map.h"
#include "tests/lib/random_dot.h"

#include <math.h>

/* The random-dot pair in a folder: truth in every form, and the prediction that is the truth with the square 1.5 px
 * off. */
static char folder[512];

static const char *in_folder(const char *name) {
    static char paths[8][600];
    static int turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void write_files(void) {
    snprintf(folder, sizeof folder, "%s", scratch_folder("eval"));
    RandomDot pair;
    assert_int_equal(random_dot_make(&pair, NULL), 0);
    assert_int_equal(map_write(in_folder("truth.pfm"), OUT_NEW, &pair.truth, NULL, NULL), 0);
    assert_int_equal(map_write(in_folder("truth.d16.png"), OUT_NEW, &pair.truth, NULL, NULL), 0);
    assert_int_equal(image_write(in_folder("mask.png"), OUT_NEW, &pair.mask, NULL, NULL), 0);
    for (int i = 0; i < 128 * 96; i++)
        if (pair.truth.values[i] > 0) pair.truth.values[i] += 1.5f;
    assert_int_equal(map_write(in_folder("found.pfm"), OUT_NEW, &pair.truth, NULL, NULL), 0);
    map_set_quantity(&pair.truth, MAP_PARALLAX);
    assert_int_equal(map_write(in_folder("parallax.pfm"), OUT_NEW, &pair.truth, NULL, NULL), 0);
    assert_int_equal(map_write(in_folder("parallax.d16.png"), OUT_NEW, &pair.truth, NULL, NULL), 0);
    random_dot_free(&pair);
}

static char text[40000];

static int eval(const char *arguments) {
    return run_command(text, sizeof text, "%s eval %s", panum_program(), arguments);
}

/* The number behind the n-th "key": of the answer. */
static double number_of(const char *key, int n) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = text;
    for (int i = 0; i <= n; i++) {
        at = strstr(i ? at + 1 : at, quoted);
        if (!at) fail_msg("no %s number %d in %s", key, n, text);
    }
    return strtod(at + strlen(quoted), NULL);
}

enum {
    VISIBLE_BEHIND,
    VISIBLE_SCREEN,
    VISIBLE_FRONT,
    VISIBLE_ALL,
    HIDDEN_BEHIND,
    EVERY_ALL = 11
}; /* in the order of the JSON */

/* Every form of the same map gives the same figures, disparity or parallax. */
static void test_forms(void **state) {
    (void)state;
    write_files();
    static const char *const found[] = {"found.pfm", "parallax.pfm", "parallax.d16.png"}, *const truth[] = {
                                                                                              "truth.pfm",
                                                                                              "truth.d16.png"};
    for (int f = 0; f < 3; f++)
        for (int t = 0; t < 2; t++) {
            char arguments[2000];
            snprintf(arguments, sizeof arguments, "%s --truth %s --mask %s --json", in_folder(found[f]),
                     in_folder(truth[t]), in_folder("mask.png"));
            assert_int_equal(eval(arguments), 0);
            assert_true(number_of("pixels", VISIBLE_FRONT) == 42 * 48);
            assert_true(number_of("epe", VISIBLE_FRONT) == 1.5 && number_of("epe", VISIBLE_BEHIND) == 0);
            assert_true(number_of("bad_1", VISIBLE_FRONT) == 100 && number_of("bad_2", VISIBLE_FRONT) == 0);
            assert_true(number_of("sign", EVERY_ALL) == 100);
            assert_true(number_of("pixels", HIDDEN_BEHIND) == 13 * 48 + 5 * 96);
            assert_non_null(strstr(text, "\"epe\":null")); /* nothing lies on the screen */
        }
}

static void test_limits(void **state) {
    (void)state;
    write_files();
    char arguments[2000];
    static const struct {
        const char *limits;
        int code;
    } cases[] = {{"--require 'bad-2<1' --require 'sign>99'", 0},
                 {"--require 'bad-1<1'", 7},
                 {"--require 'front.epe<1'", 7},
                 {"--require 'visible.behind.epe<0.1' --require 'every.predicted>99.9'", 0},
                 {"--require 'screen.epe<5'", 7}, /* no such pixel */
                 {"--require 'bad-7<1'", 2},
                 {"--require 'epe=1'", 2},
                 {"--require 'epe<x'", 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(arguments, sizeof arguments, "%s --truth %s %s", in_folder("found.pfm"), in_folder("truth.pfm"),
                 cases[i].limits);
        int code = eval(arguments);
        if (code != cases[i].code) fail_msg("%s: exit %d, not %d: %s", cases[i].limits, code, cases[i].code, text);
    }
}

static void write_list(const char *content) {
    FILE *f = fopen(in_folder("list.txt"), "wb");
    assert_non_null(f);
    fputs(content, f);
    fclose(f);
}

static void test_list(void **state) {
    (void)state;
    write_files();
    char content[4000], arguments[1000];
    snprintf(content, sizeof content, "# two pairs\n%s %s %s - 0\r\n\n%s\t%s\n", in_folder("found.pfm"),
             in_folder("truth.pfm"), in_folder("mask.png"), in_folder("truth.d16.png"), in_folder("truth.pfm"));
    write_list(content);
    snprintf(arguments, sizeof arguments, "--list %s --json", in_folder("list.txt"));
    assert_int_equal(eval(arguments), 0);
    const char *mean = strstr(text, "\"mean\":");
    assert_non_null(mean);
    memmove(text, mean, strlen(mean) + 1);
    assert_true(number_of("epe", VISIBLE_FRONT) == 0.75); /* the mean of 1.5 and 0 */
    snprintf(arguments, sizeof arguments, "--list %s", in_folder("list.txt"));
    assert_int_equal(eval(arguments), 0);
    assert_non_null(strstr(text, "means over the pairs"));
    /* one bad line stops it, or is passed over */
    strcat(content, "nowhere.pfm nothing.pfm\n");
    write_list(content);
    assert_int_equal(eval(arguments), 3);
    strcat(arguments, " --keep-going");
    assert_int_equal(eval(arguments), 1);
    assert_non_null(strstr(text, "1 of 3"));
    static const char *const bad[] = {"one\n", "a b c d e f\n", "a b - x\n", "a b - 0\n", "a b - - 1.5\n",
                                      "",      "# only this\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_list(bad[i]);
        assert_int_equal(eval(arguments), 3);
    }
}

static void test_refusals(void **state) {
    (void)state;
    write_files();
    char arguments[2000];
    snprintf(arguments, sizeof arguments, "%s --require 'epe<1'", in_folder("found.pfm"));
    assert_int_equal(eval(arguments), 2); /* no truth to keep it to */
    assert_int_equal(eval("--truth x.pfm"), 2);
    snprintf(arguments, sizeof arguments, "%s --truth %s --shift 3", in_folder("found.pfm"), in_folder("truth.pfm"));
    assert_int_equal(eval(arguments), 3);
    assert_non_null(strstr(text, "125x96"));
    snprintf(arguments, sizeof arguments, "%s --truth %s --kind disparity", in_folder("parallax.d16.png"),
             in_folder("truth.pfm"));
    assert_int_equal(eval(arguments), 3); /* the file says parallax */
    snprintf(arguments, sizeof arguments, "%s --truth %s", in_folder("mask.png"), in_folder("truth.pfm"));
    assert_int_equal(eval(arguments), 2); /* integers without a scale */
    snprintf(arguments, sizeof arguments, "%s --truth %s --list x", in_folder("mask.png"), in_folder("truth.pfm"));
    assert_int_equal(eval(arguments), 2);
}

/* A map of the wrong sign is called so. */
static void test_wrong_sign_is_said(void **state) {
    (void)state;
    write_files();
    RandomDot pair;
    assert_int_equal(random_dot_make(&pair, NULL), 0);
    for (int i = 0; i < 128 * 96; i++) pair.truth.values[i] *= -1;
    assert_int_equal(map_write(in_folder("wrong.pfm"), OUT_NEW, &pair.truth, NULL, NULL), 0);
    random_dot_free(&pair);
    char arguments[2000];
    snprintf(arguments, sizeof arguments, "%s --truth %s", in_folder("wrong.pfm"), in_folder("truth.pfm"));
    assert_int_equal(eval(arguments), 0);
    assert_non_null(strstr(text, "signs are right"));
}

/* The benchmarks' own files: their truth against itself has no error and the share of pixels that the data's page
 * tells. */
static void test_benchmarks(void **state) {
    (void)state;
    NEEDS_DATA("stereo_gt/kitti12_000027/disp_occ_10.png");
    static const struct {
        const char *file;
        const char *scale;
        double least, most; /* share of pixels with truth */
    } cases[] = {{"stereo_gt/kitti12_000027/disp_occ_10.png", "256", 0.2, 0.35},
                 {"stereo_gt/eth3d_terrace_2s/disp0.pfm", "1", 0.5, 0.56},
                 {"stereo_gt/midd2003_cones/disp2.png", "4", 0.9, 1},
                 {"stereo_gt/midd2001_tsukuba/truedisp.row3.col3.pgm", "16", 0.7, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = shared_data(cases[i].file);
        char arguments[2000];
        assert_non_null(path);
        snprintf(arguments, sizeof arguments, "%s --scale %s --truth %s --truth-scale %s --json", path, cases[i].scale,
                 path, cases[i].scale);
        if (eval(arguments) != 0) fail_msg("%s: %s", cases[i].file, text);
        assert_true(number_of("epe", EVERY_ALL) == 0 && number_of("predicted", EVERY_ALL) == 100 &&
                    number_of("bad_0.5", EVERY_ALL) == 0);
        Map map;
        MapReadOptions how = {.scale = atof(cases[i].scale)};
        assert_int_equal(map_read(path, &how, &map, NULL), 0);
        double share = number_of("pixels", EVERY_ALL) / ((double)map.width * map.height);
        printf("%s: %.1f %% of the pixels have a truth\n", cases[i].file, 100 * share);
        assert_true(share >= cases[i].least && share <= cases[i].most);
        map_free(&map);
    }
}

/* The demonstration leaves everything it promises, and the matcher is right about the sign. */
static void test_demo(void **state) {
    (void)state;
    char out[600];
    snprintf(out, sizeof out, "%s", scratch_folder("demo"));
    assert_int_equal(
        run_command(text, sizeof text, "%s demo -q --model sgm --json --width 320 -o %s/", panum_program(), out), 0);
    assert_true(number_of("sign", VISIBLE_ALL) > 97 && number_of("bad_2", VISIBLE_ALL) < 10);
    static const char *const files[] = {"left.png",      "right.png", "truth.pfm",  "mask.png",     "disparity.pfm",
                                        "disparity.png", "truth.png", "errors.png", "anaglyph.png", "index.html"};
    double sign = number_of("sign", VISIBLE_ALL);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[700];
        snprintf(path, sizeof path, "%s/%s", out, files[i]);
        FILE *f = fopen(path, "rb");
        if (!f) fail_msg("%s is missing", files[i]);
        fclose(f);
    }
    /* eval on its files says the same */
    char arguments[2000];
    snprintf(arguments, sizeof arguments, "%s/disparity.pfm --truth %s/truth.pfm --mask %s/mask.png --json", out, out,
             out);
    assert_int_equal(eval(arguments), 0);
    assert_true(number_of("sign", VISIBLE_ALL) == sign);
    /* and nothing is replaced unasked */
    assert_int_equal(run_command(text, sizeof text, "%s demo -q --model sgm --width 320 -o %s/", panum_program(), out),
                     2);
}

static void write_map(const char *name, int width, int height, const float *values) {
    Map map;
    assert_int_equal(map_make(&map, width, height, MAP_DISPARITY), 0);
    memcpy(map.values, values, (size_t)width * (size_t)height * sizeof *values);
    assert_int_equal(map_write(in_folder(name), OUT_OVERWRITE, &map, NULL, NULL), 0);
    map_free(&map);
}

/* Without a truth, and beside it: the figures by which the reference program judges a frame, worked out by hand. */
static void test_by_itself(void **state) {
    (void)state;
    write_files();
    char arguments[2000];
    /* five columns: two make the left half. -0.5 is neither negative nor off the screen. */
    write_map("small.pfm", 5, 2, (const float[]){-3, -0.5f, 0.25f, 4, NAN, 1, -8, 2, 0.5f, -6});
    snprintf(arguments, sizeof arguments, "%s --json", in_folder("small.pfm"));
    assert_int_equal(eval(arguments), 0);
    assert_true(number_of("values", 0) == 9 && number_of("min", 0) == -8);
    /* in order: -8 -6 -3 -0.5 0.25 0.5 1 2 4; rank 0.98 * 8 = 7.84 */
    assert_true(fabs(number_of("p98", 0) - 3.68) < 1e-5);
    assert_true(fabs(number_of("negpix", 0) - 100.0 / 3) < 1e-3);
    /* left: 1 3 8, right: 2 4 6 */
    assert_true(fabs(number_of("asymmetry", 0) - 0.75) < 1e-5);
    /* an even number: the mean of the middle two; the least divisor */
    write_map("even.pfm", 4, 1, (const float[]){1, 4, 0.6f, 0.7f});
    snprintf(arguments, sizeof arguments, "%s --json", in_folder("even.pfm"));
    assert_int_equal(eval(arguments), 0);
    assert_true(fabs(number_of("asymmetry", 0) - 2.5 / 0.65) < 1e-4);
    /* empty sets cannot be said, and are no failure */
    write_map("flat.pfm", 4, 1, (const float[]){0, 0.5f, -0.25f, 3});
    snprintf(arguments, sizeof arguments, "%s --json", in_folder("flat.pfm"));
    assert_int_equal(eval(arguments), 0);
    assert_non_null(strstr(text, "\"asymmetry\":null"));
    assert_true(number_of("negpix", 0) == 0 && number_of("min", 0) == -0.25);
    write_map("none.pfm", 2, 1, (const float[]){NAN, NAN});
    assert_int_equal(eval(in_folder("none.pfm")), 0);
    assert_non_null(strstr(text, "minimum -, P98 -, NegPix -, asymmetry -"));
    /* parallax is turned round first, and truth does not matter to it */
    snprintf(arguments, sizeof arguments, "%s --json --truth %s", in_folder("parallax.d16.png"),
             in_folder("truth.pfm"));
    assert_int_equal(eval(arguments), 0);
    assert_true(number_of("min", 0) == -5 && number_of("p98", 0) == 9.5);
    assert_true(number_of("epe", VISIBLE_FRONT) == 1.5);
}

/* Two maps, then two folders of maps: the figures, the pictures, what does not go together. */
static void test_compare(void **state) {
    (void)state;
    write_files();
    char arguments[4000];
    RandomDot pair;
    assert_int_equal(random_dot_make(&pair, &(RandomDotOptions){.channels = 3}), 0);
    assert_int_equal(image_write(in_folder("left.png"), OUT_NEW, &pair.left, NULL, NULL), 0);
    random_dot_free(&pair);
    snprintf(arguments, sizeof arguments, "--compare %s %s --truth %s --left %s -o %s --json", in_folder("found.pfm"),
             in_folder("parallax.d16.png"), in_folder("truth.pfm"), in_folder("left.png"), in_folder("one.png"));
    assert_int_equal(eval(arguments), 0); /* the same map, once as parallax */
    assert_true(number_of("mean", 0) == 0 && number_of("above_1", 0) == 0 && number_of("sign", 0) == 100);
    snprintf(arguments, sizeof arguments, "--compare %s %s --json", in_folder("found.pfm"), in_folder("truth.d16.png"));
    assert_int_equal(eval(arguments), 0);
    assert_true(number_of("values", 2) == 128 * 96); /* A's, B's, the difference's */
    assert_true(fabs(number_of("mean", 0) - 1.5 * 42 * 48 / (128 * 96)) < 1e-5);
    assert_true(fabs(number_of("above_1", 0) - 100.0 * 42 * 48 / (128 * 96)) < 1e-3);
    assert_true(number_of("p98", 0) == 9.5 && number_of("p98", 1) == 8);
    Image picture;
    assert_int_equal(image_read(in_folder("one.png"), NULL, &picture, NULL), 0);
    assert_true(picture.width > 2 * 128 && picture.height > 2 * 96);
    int64_t coloured[2] = {0}; /* the picture is in it, and both maps in the same colours */
    for (int y = 0; y < picture.height; y++)
        for (int x = 0; x < picture.width; x++) {
            const uint8_t *p = picture.bytes + 3 * ((int64_t)y * picture.width + x);
            if (p[0] > p[2] + 100) coloured[x >= picture.width / 2]++; /* red: the square, and the legend's end */
        }
    assert_true(coloured[0] >= 42 * 48 && coloured[1] >= 42 * 48);
    image_free(&picture);
    snprintf(arguments, sizeof arguments, "--compare %s %s -o %s", in_folder("found.pfm"), in_folder("truth.pfm"),
             in_folder("one.png"));
    assert_int_equal(eval(arguments), 2); /* exists */
    strcat(arguments, " -y --map-range 10% --palette cvd");
    assert_int_equal(eval(arguments), 0);
    assert_non_null(strstr(text, "16.41 %"));

    assert_int_equal(
        run_command(text, sizeof text,
                    "cd %s && mkdir a b l t && cp found.pfm a/f1.pfm && cp found.pfm a/f2_disparity.pfm && "
                    "cp found.pfm a/lonely.pfm && cp truth.d16.png b/f1.d16.png && cp truth.pfm "
                    "b/f2_disparity.pfm && cp left.png l/f1.png && cp left.png l/f2.png && cp truth.pfm "
                    "t/f1.pfm && cp truth.pfm t/f2_disparity.pfm",
                    folder),
        0);
    snprintf(arguments, sizeof arguments, "--compare %s %s --left %s --truth %s -o %s", in_folder("a"), in_folder("b"),
             in_folder("l"), in_folder("t"), in_folder("pictures"));
    assert_int_equal(eval(arguments), 0);
    assert_non_null(strstr(text, "1 maps are in one of the folders only"));
    assert_non_null(strstr(text, "A against the truth, means over the frames"));
    assert_int_equal(image_read(in_folder("pictures/f1.png"), NULL, &picture, NULL), 0);
    image_free(&picture);
    assert_int_equal(image_read(in_folder("pictures/f2_disparity.png"), NULL, &picture, NULL), 0);
    image_free(&picture);

    static const struct {
        const char *arguments;
        int code;
    } bad[] = {{"--compare a", 2},
               {"a/f1.pfm b/f1.d16.png", 2},
               {"a/f1.pfm -o x.png", 2},
               {"--compare a b/f1.d16.png", 3},
               {"--compare a l", 3},
               {"--compare a b --truth truth.pfm", 2},
               {"--compare a b --left l", 2}, /* no pictures are asked for */
               {"--compare a b --truth l", 3},
               {"--compare a/f1.pfm small.pfm", 3},
               {"--compare a/f1.pfm b/f1.d16.png -o x.jpg", 2},
               {"--compare a b --list x", 2},
               {"--compare a b --require 'epe<1'", 2},
               {"--compare a b --shift 3", 2}};
    write_map("small.pfm", 2, 1, (const float[]){1, 2});
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char program[4096];
        if (!realpath(panum_program(), program)) fail_msg("no program");
        int code = run_command(text, sizeof text, "cd %s && %s eval %s", folder, program, bad[i].arguments);
        if (code != bad[i].code) fail_msg("%s: exit %d, not %d: %s", bad[i].arguments, code, bad[i].code, text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_itself),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_wrong_sign_is_said),
        cmocka_unit_test(test_benchmarks),
        cmocka_unit_test(test_demo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
