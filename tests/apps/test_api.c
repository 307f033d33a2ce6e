/* The C API: as a program that links the installed library sees it, and called directly. */
#include "base/err.h"
#include "panum.h"
#include "tests/lib/check.h"
#include "tests/lib/random_dot.h"

#include <math.h>

static char out[1 << 16];

static void write_pgm(const char *path, const Image *image) {
    FILE *file = fopen(path, "wb");
    fprintf(file, "P5\n%d %d\n255\n", image->width, image->height);
    fwrite(image->bytes, 1, (size_t)image_pixels(image), file);
    fclose(file);
}

static void test_match(void **state) {
    (void)state;
    RandomDot pair;
    assert_int_equal(random_dot_make(&pair, NULL), 0);
    int w = pair.left.width, h = pair.left.height;
    PanumMatcher *matcher;
    assert_int_equal(panum_open(NULL, &matcher), 0); /* whatever weights there are */
    panum_close(matcher);
    PanumOptions sgm = PANUM_OPTIONS;
    sgm.model = "sgm";
    assert_int_equal(panum_open(&sgm, &matcher), 0);
    assert_null(panum_disparity(matcher));
    assert_int_equal(panum_match(matcher, pair.left.bytes, w, pair.right.bytes, w, w, h, 1), 0);
    assert_true(panum_width(matcher) == w && panum_height(matcher) == h);
    const float *d = panum_disparity(matcher);
    int64_t right_sign = 0, all = 0;
    for (int64_t i = 0; i < (int64_t)w * h; i++) {
        if (pair.visible.values[i] < 0.5f) continue;
        all++;
        right_sign += fabsf(d[i] - pair.truth.values[i]) < 1;
    }
    printf("within 1 px: %.2f %%\n", 100.0 * (double)right_sign / (double)all);
    assert_true((double)right_sign > 0.98 * (double)all);
    assert_non_null(strstr(panum_describe(matcher), "px searched"));

    /* the same pictures bottom up, by negative strides: the map is upside down, within the matcher's own asymmetry */
    float *first = malloc(sizeof(float) * (size_t)(w * h));
    memcpy(first, d, sizeof(float) * (size_t)(w * h));
    assert_int_equal(
        panum_match(matcher, pair.left.bytes + (h - 1) * w, -w, pair.right.bytes + (h - 1) * w, -w, w, h, 1), 0);
    d = panum_disparity(matcher);
    int64_t equal = 0;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) equal += fabsf(d[(h - 1 - y) * w + x] - first[y * w + x]) < 1;
    assert_true(equal > (int64_t)w * h * 97 / 100);
    free(first);

    /* a stride longer than a row, three channels */
    Image wide[2];
    for (int eye = 0; eye < 2; eye++) {
        const Image *from = eye ? &pair.right : &pair.left;
        assert_int_equal(image_make(&wide[eye], w + 5, h, 3, 8), 0);
        memset(wide[eye].bytes, 77, (size_t)(w + 5) * (size_t)h * 3);
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) memset(wide[eye].bytes + ((y * (w + 5)) + x) * 3, from->bytes[y * w + x], 3);
    }
    assert_int_equal(panum_match(matcher, wide[0].bytes, (w + 5) * 3, wide[1].bytes, (w + 5) * 3, w, h, 3), 0);
    assert_true(panum_width(matcher) == w);
    image_free(&wide[0]);
    image_free(&wide[1]);

    assert_int_equal(panum_match(matcher, pair.left.bytes, w - 1, pair.right.bytes, w, w, h, 1), PANUM_USAGE);
    assert_non_null(strstr(panum_error(), "stride"));
    assert_int_equal(panum_match(matcher, NULL, w, pair.right.bytes, w, w, h, 1), PANUM_USAGE);
    assert_int_equal(panum_match(matcher, pair.left.bytes, w, pair.right.bytes, w, w, h, 2), PANUM_USAGE);
    assert_int_equal(panum_match(matcher, pair.left.bytes, w, pair.right.bytes, w, 0, h, 1), PANUM_INPUT);
    assert_null(panum_disparity(matcher)); /* a failed match leaves no old result behind */
    panum_close(matcher);
    random_dot_free(&pair);
}

static void test_options(void **state) {
    (void)state;
    PanumMatcher *matcher;
    PanumOptions o = PANUM_OPTIONS;
    o.model = "s2m9";
    assert_int_equal(panum_open(&o, &matcher), PANUM_USAGE);
    assert_non_null(strstr(panum_error(), "there is no model 's2m9'"));
    assert_null(matcher);
    o = (PanumOptions)PANUM_OPTIONS;
    o.size = 8;
    assert_int_equal(panum_open(&o, &matcher), PANUM_USAGE);
    o = (PanumOptions)PANUM_OPTIONS;
    o.ranged = 1;
    assert_int_equal(panum_open(&o, &matcher), PANUM_USAGE);
    o.range_low = -3;
    o.range_high = NAN;
    assert_int_equal(panum_open(&o, &matcher), PANUM_USAGE);
    panum_close(NULL);
}

/* The example, built against what `make install` installs, in a folder of its own. */
static void test_example(void **state) {
    (void)state;
    const char *build = getenv("PANUM_BUILD") ? getenv("PANUM_BUILD") : "build";
    const char *cc = getenv("CC") && *getenv("CC") ? getenv("CC") : "cc";
    if (strstr(build, "san")) {
        printf("skip: the example links no sanitizer\n");
        skip();
    }
    char library[300];
    snprintf(library, sizeof library, "%s/install/libpanum.a", build);
    FILE *there = fopen(library, "rb");
    if (!there) {
        printf("skip: %s was not built (make test builds it)\n", library);
        skip();
    }
    fclose(there);
    char folder[300];
    snprintf(folder, sizeof folder, "%s", scratch_folder("example"));
    RandomDot pair;
    assert_int_equal(random_dot_make(&pair, NULL), 0);
    char path[400];
    snprintf(path, sizeof path, "%s/left.pgm", folder);
    write_pgm(path, &pair.left);
    snprintf(path, sizeof path, "%s/right.pgm", folder);
    write_pgm(path, &pair.right);
    random_dot_free(&pair);
    /* only names of panum.h may be seen */
    assert_int_equal(run_command(out, sizeof out, "nm -g --defined-only %s | awk 'NF==3 && $3 !~ /^panum_/'", library),
                     0);
    assert_string_equal(out, "");
    int rc = run_command(
        out, sizeof out,
        "%s -std=c11 -Wall -Wextra -Werror -I. -o %s/match_two examples/match_two.c -L%s/install -lpanum -lm -lpthread",
        cc, folder, build);
    if (rc) fail_msg("building the example: %s", out);
    rc = run_command(out, sizeof out, "%s/match_two %s/left.pgm %s/right.pgm", folder, folder, folder);
    printf("%s", out);
    assert_int_equal(rc, 0);
    assert_non_null(strstr(out, "+8."));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_example),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
