#include "tests/lib/check.h"

#include "apps/lib/pack.h"
#include "base/mem.h"
#include "data/map.h"
#include "data/stereo.h"
#include "tests/lib/random_dot.h"

#include <limits.h>

static RandomDot pair;

static void make_pair(int channels) {
    RandomDotOptions o = {.channels = channels};
    assert_int_equal(random_dot_make(&pair, &o), 0);
}

static void assert_same(const Image *a, const Image *b) {
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    assert_int_equal(a->channels, b->channels);
    assert_memory_equal(a->bytes, b->bytes, (size_t)image_pixels(a) * (size_t)a->channels);
}

/* What is packed full comes apart again bit by bit, by the reader that films and pictures go through. */
static void test_there_and_back(void **state) {
    (void)state;
    static const struct {
        PackLayout to;
        StereoLayout from;
        bool right_first;
    } cases[] = {{PACK_SBS, LAYOUT_SBS, false}, {PACK_TB, LAYOUT_TB, false}, {PACK_CROSS, LAYOUT_SBS, true}};
    for (int channels = 1; channels <= 3; channels += 2)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            make_pair(channels);
            Image packed, left, right;
            assert_int_equal(pack_images(&packed, &pair.left, &pair.right, cases[i].to, ANAGLYPH_DUBOIS), 0);
            LayoutDecision decision = {.layout = cases[i].from, .right_first = cases[i].right_first};
            assert_int_equal(layout_split(&packed, &decision, &left, &right), 0);
            assert_same(&left, &pair.left);
            assert_same(&right, &pair.right);
            image_free(&packed), image_free(&left), image_free(&right);
            random_dot_free(&pair);
        }
}

static void test_half_and_rows(void **state) {
    (void)state;
    make_pair(3);
    Image out;
    assert_int_equal(pack_images(&out, &pair.left, &pair.right, PACK_HSBS, ANAGLYPH_DUBOIS), 0);
    assert_true(out.width == 128 && out.height == 96);
    image_free(&out);
    assert_int_equal(pack_images(&out, &pair.left, &pair.right, PACK_HTB, ANAGLYPH_DUBOIS), 0);
    assert_true(out.width == 128 && out.height == 96);
    image_free(&out);
    assert_int_equal(pack_images(&out, &pair.left, &pair.right, PACK_ROWS, ANAGLYPH_DUBOIS), 0);
    for (int y = 0; y < 96; y++)
        assert_memory_equal(out.bytes + y * 384, (y % 2 ? &pair.right : &pair.left)->bytes + y * 384, 384);
    image_free(&out);
    /* grey beside colour */
    Image grey;
    assert_int_equal(image_make(&grey, 128, 96, 1, 8), 0);
    memset(grey.bytes, 7, 128 * 96);
    assert_int_equal(pack_images(&out, &pair.left, &grey, PACK_SBS, ANAGLYPH_DUBOIS), 0);
    assert_true(out.channels == 3 && out.bytes[3 * 128] == 7 && out.bytes[3 * 128 + 2] == 7);
    image_free(&out);
    grey.width = 127;
    assert_int_equal(pack_images(&out, &pair.left, &grey, PACK_SBS, ANAGLYPH_DUBOIS), ERR_INPUT);
    image_free(&grey);
    random_dot_free(&pair);
}

/* The screen moves to the square: its dots lie at one place in both pictures; then to the ground. */
static void test_shift(void **state) {
    (void)state;
    for (int turn = 0; turn < 2; turn++) {
        make_pair(1);
        int shift = turn ? -5 : 8;
        assert_int_equal(pack_shift(&pair.left, &pair.right, shift), 0);
        int width = 128 - abs(shift), x = turn ? 2 : pair.square_x + 3 - 8, y = turn ? 1 : pair.square_y + 5;
        assert_int_equal(pair.left.width, width);
        for (int i = 0; i < 30; i++)
            assert_int_equal(pair.left.bytes[y * width + x + i], pair.right.bytes[y * width + x + i]);
        random_dot_free(&pair);
    }
    make_pair(1);
    assert_int_equal(pack_shift(&pair.left, &pair.right, 128), ERR_USAGE);
    random_dot_free(&pair);
}

/* The animated PNG is a PNG of the left eye for who knows no better, with all checksums right, and its second frame is
 * the right eye's PNG data. */
static void test_wiggle(void **state) {
    (void)state;
    make_pair(3);
    Out *out;
    uint8_t *bytes;
    size_t size;
    assert_int_equal(out_memory(&out), 0);
    assert_int_equal(wiggle_write(out, &pair.left, &pair.right, 250), 0);
    assert_int_equal(out_memory_take(&out, &bytes, &size), 0);
    Image still;
    assert_int_equal(image_read_memory("wiggle", bytes, size, NULL, &still, NULL), 0);
    assert_same(&still, &pair.left);
    image_free(&still);
    char order[200] = "";
    uint32_t number = 0;
    for (size_t at = 8; at + 12 <= size;) {
        uint32_t length =
            (uint32_t)bytes[at] << 24 | (uint32_t)bytes[at + 1] << 16 | (uint32_t)bytes[at + 2] << 8 | bytes[at + 3];
        strncat(order, (char *)bytes + at + 4, 4);
        if (!memcmp(bytes + at + 4, "fcTL", 4) || !memcmp(bytes + at + 4, "fdAT", 4)) {
            assert_int_equal(bytes[at + 11], number); /* running numbers from 0 */
            number++;
        }
        at += 12 + length;
    }
    assert_string_equal(order, "IHDRacTLfcTLIDATfcTLfdATIEND");
    mem_free(bytes);
    random_dot_free(&pair);
    assert_int_equal(wiggle_write(NULL, NULL, NULL, 0), ERR_USAGE);
}

static char text[8000];

static void test_verb(void **state) {
    (void)state;
    char folder[512], path[600];
    snprintf(folder, sizeof folder, "%s", scratch_folder("pack"));
    make_pair(3);
    snprintf(path, sizeof path, "%s/l.png", folder);
    assert_int_equal(image_write(path, OUT_NEW, &pair.left, NULL, NULL), 0);
    snprintf(path, sizeof path, "%s/r.png", folder);
    assert_int_equal(image_write(path, OUT_NEW, &pair.right, NULL, NULL), 0);
    const struct {
        const char *arguments;
        int code;
        const char *file;
        int width, height;
    } cases[] = {{"l.png r.png", 0, "l_anaglyph.png", 128, 96},
                 {"l.png r.png", 2, NULL, 0, 0}, /* exists */
                 {"l.png r.png --layout sbs", 0, "l_LRF_Full_SBS.png", 256, 96},
                 {"l_LRF_Full_SBS.png --layout tb -o tb.png", 0, "tb.png", 128, 192},
                 {"l_LRF_Full_SBS.png --layout pair -o p.png", 0, "p_right.png", 128, 96},
                 {"l.png r.png --layout hsbs --shift 6.25% -o sub/", 2, NULL, 0, 0}, /* no such folder */
                 {"l.png r.png --layout rows --shift 6.25% -o ./", 0, "l_rows.png", 120, 96},
                 {"l.png r.png --layout sbs -o s.jpg --quality 80", 0, "s.jpg", 256, 96},
                 {"l.png r.png --layout wiggle -o w.jpg", 2, NULL, 0, 0},
                 {"l.png r.png --layout wiggle -o w.png --delay 100", 0, "w.png", 128, 96},
                 {"l.png r.png --layout anaglyph:half-colour -o h.ppm", 0, "h.ppm", 128, 96},
                 {"l.png r.png --from sbs -o x.png", 2, NULL, 0, 0},
                 {"l.png r.png -o l.png -y", 2, NULL, 0, 0}, /* an input */
                 {"l.png r.png -o x.gif", 2, NULL, 0, 0},
                 {"l.png --quality 3 -o x.png", 2, NULL, 0, 0},
                 {"none.png r.png", 3, NULL, 0, 0}};
    char program[PATH_MAX];
    assert_non_null(realpath(panum_program(), program));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int code = run_command(text, sizeof text, "cd %s && %s pack -q %s", folder, program, cases[i].arguments);
        if (code != cases[i].code) fail_msg("%s: exit %d, not %d: %s", cases[i].arguments, code, cases[i].code, text);
        if (!cases[i].file) continue;
        Image image;
        snprintf(path, sizeof path, "%s/%s", folder, cases[i].file);
        assert_int_equal(image_read(path, NULL, &image, NULL), 0);
        if (image.width != cases[i].width || image.height != cases[i].height)
            fail_msg("%s: %dx%d", cases[i].arguments, image.width, image.height);
        image_free(&image);
    }
    snprintf(path, sizeof path, "%s/p_right.png", folder);
    Image back;
    assert_int_equal(image_read(path, NULL, &back, NULL), 0);
    assert_same(&back, &pair.right);
    image_free(&back);
    random_dot_free(&pair);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_half_and_rows), cmocka_unit_test(test_shift),
        cmocka_unit_test(test_wiggle),         cmocka_unit_test(test_verb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
