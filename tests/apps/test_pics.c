#include "tests/lib/check.h"

#include "apps/lib/anaglyph.h"
#include "apps/lib/colour.h"
#include "apps/lib/font.h"
#include "data/srgb.h"
#include "tests/lib/random_dot.h"

#include <math.h>

static const uint8_t *pixel(const Image *image, int x, int y) {
    return image->bytes + 3 * (y * image->width + x);
}

/* Front is red, behind is blue, and what is as far in front as behind is equally strong. */
static void test_square_red_ground_blue(void **state) {
    (void)state;
    RandomDot pair;
    assert_int_equal(random_dot_make(&pair, NULL), 0);
    ColourOptions options = {.no_legend = true};
    for (int kind = 0; kind < 2; kind++) { /* the same picture from disparity and from parallax */
        Image picture;
        double range;
        if (kind) map_set_quantity(&pair.truth, MAP_PARALLAX);
        assert_int_equal(colour_map(&picture, &pair.truth, &options, &range), 0);
        assert_true(range >= 8 && range < 9);
        const uint8_t *square = pixel(&picture, 64, 48), *ground = pixel(&picture, 10, 10);
        assert_true(square[0] > square[1] + 60 && square[0] > square[2] + 60);
        assert_true(ground[2] > ground[0] + 60 && ground[2] > ground[1] + 30);
        image_free(&picture);
    }
    random_dot_free(&pair);
}

static void to_oklab(const uint8_t rgb[3], double lab[3]) {
    double r = srgb_to_linear(rgb[0] / 255.0), g = srgb_to_linear(rgb[1] / 255.0), b = srgb_to_linear(rgb[2] / 255.0);
    double l = cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
    double m = cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
    double s = cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
    lab[0] = 0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s;
    lab[1] = 1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s;
    lab[2] = 0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s;
}

/* Equal steps of disparity are equal steps for the eye (in OKLab, to the rounding of 8 bits), both ways alike. */
static void test_even_ramps(void **state) {
    (void)state;
    for (Palette palette = PALETTE_RED_BLUE; palette <= PALETTE_ORANGE_BLUE; palette++) {
        double first = 0;
        for (int i = -8; i < 8; i++) {
            uint8_t a[3], b[3];
            double la[3], lb[3];
            colour_of(palette, i / 8.0, a), colour_of(palette, (i + 1) / 8.0, b);
            to_oklab(a, la), to_oklab(b, lb);
            double step = sqrt((la[0] - lb[0]) * (la[0] - lb[0]) + (la[1] - lb[1]) * (la[1] - lb[1]) +
                               (la[2] - lb[2]) * (la[2] - lb[2]));
            if (!first) first = step;
            assert_true(fabs(step / first - 1) < 0.1);
        }
        uint8_t screen[3], end[3], beyond[3];
        colour_of(palette, 0, screen);
        assert_true(screen[0] > 235 && abs(screen[0] - screen[1]) < 3 && abs(screen[1] - screen[2]) < 3);
        colour_of(palette, 1, end), colour_of(palette, 7, beyond);
        assert_memory_equal(end, beyond, 3);
    }
}

/* No value and hidden are drawn as stripes that can be told from each other and from any colour of the ramp. */
static void test_hatches(void **state) {
    (void)state;
    Map map, seen;
    assert_int_equal(map_make(&map, 32, 32, MAP_DISPARITY), 0);
    assert_int_equal(map_make(&seen, 32, 32, MAP_OCCLUSION), 0);
    for (int i = 0; i < 1024; i++) map.values[i] = i < 512 ? NAN : 4, seen.values[i] = i % 32 < 16 ? 1 : 0;
    Image picture;
    ColourOptions options = {.occlusion = &seen, .no_legend = true, .range = 5};
    assert_int_equal(colour_map(&picture, &map, &options, NULL), 0);
    int grey = 0, plain = 0, crossed = 0;
    for (int y = 0; y < 32; y++)
        for (int x = 0; x < 32; x++) {
            const uint8_t *p = pixel(&picture, x, y), *red = pixel(&picture, 0, 31);
            if (y < 16) {
                grey += p[0] == p[1] && p[1] == p[2];
            } else if (x < 16) {
                plain += !memcmp(p, red, 3);
            } else {
                crossed += p[0] < red[0];
            }
        }
    assert_int_equal(grey, 512);
    assert_int_equal(plain, 256);
    assert_true(crossed > 50 && crossed < 80); /* a quarter */
    image_free(&picture);
    map_free(&map), map_free(&seen);
}

/* The legend runs from blue "behind" on the left to red "in front" on the right and fits pictures of any width. */
static void test_legend(void **state) {
    (void)state;
    static const int widths[] = {1, 2, 17, 64, 128, 320, 640, 1920};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        Map map;
        Image picture;
        int w = widths[i];
        assert_int_equal(map_make(&map, w, 3, MAP_DISPARITY), 0);
        for (int k = 0; k < 3 * w; k++) map.values[k] = k == 1 ? NAN : (float)w / 50;
        assert_int_equal(colour_map(&picture, &map, NULL, NULL), 0);
        assert_int_equal(picture.height, 3 + colour_legend_height(w));
        if (w >= 64) {
            int bar = 3 + colour_legend_height(w) * 3 / 8, margin = w / 6;
            const uint8_t *left = pixel(&picture, margin, bar), *right = pixel(&picture, w - margin, bar);
            assert_true(left[2] > left[0] + 30 && right[0] > right[2] + 30);
        }
        image_free(&picture);
        map_free(&map);
    }
    /* no value at all: a range is still found */
    Map empty;
    Image picture;
    double range;
    assert_int_equal(map_make(&empty, 40, 2, MAP_DISPARITY), 0);
    for (int k = 0; k < 80; k++) empty.values[k] = NAN;
    assert_int_equal(colour_map(&picture, &empty, NULL, &range), 0);
    assert_true(fabs(range - 0.4) < 1e-9);
    image_free(&picture);
    map_free(&empty);
}

static void test_range(void **state) {
    (void)state;
    Map map;
    assert_int_equal(map_make(&map, 200, 100, MAP_DISPARITY), 0);
    /* 1 % of outliers on either side do not set the range */
    for (int i = 0; i < 20000; i++) map.values[i] = i < 100 ? 9999 : i < 200 ? -9999 : -5.13f;
    double range = colour_range(&map);
    assert_true(range >= 5.13 && range <= 5.5);
    map_free(&map);
}

/* Every printable character has a shape, no two have the same, and drawing is cut off at the edges. */
static void test_font(void **state) {
    (void)state;
    static uint8_t shapes[95][FONT_WIDTH * FONT_HEIGHT];
    const uint8_t white[3] = {255, 255, 255};
    for (int c = 32; c < 127; c++) {
        Image cell;
        assert_int_equal(image_make(&cell, FONT_WIDTH, FONT_HEIGHT, 3, 8), 0);
        memset(cell.bytes, 0, FONT_WIDTH * FONT_HEIGHT * 3);
        font_draw(&cell, 0, 0, 1, white, (char[]){(char)c, 0});
        int dots = 0;
        for (int i = 0; i < FONT_WIDTH * FONT_HEIGHT; i++) dots += shapes[c - 32][i] = cell.bytes[3 * i] > 0;
        assert_true(c == 32 ? dots == 0 : dots > 1);
        for (int other = 32; other < c; other++)
            assert_memory_not_equal(shapes[c - 32], shapes[other - 32], sizeof shapes[0]);
        font_draw(&cell, -3, -4, 2, white, "clipped");
        image_free(&cell);
    }
    assert_int_equal(font_width("abc", 2), 34);
}

static void test_error_map(void **state) {
    (void)state;
    Map truth, found;
    Image picture;
    assert_int_equal(map_make(&truth, 4, 1, MAP_DISPARITY), 0);
    assert_int_equal(map_make(&found, 4, 1, MAP_DISPARITY), 0);
    memcpy(truth.values, (float[]){1, 1, 1, NAN}, 16);
    memcpy(found.values, (float[]){1, 5, NAN, 1}, 16);
    assert_int_equal(colour_error(&picture, &found, &truth, 4), 0);
    assert_true(pixel(&picture, 0, 0)[0] > 240 && pixel(&picture, 1, 0)[2] < 60 && pixel(&picture, 2, 0)[0] == 0);
    assert_true(pixel(&picture, 3, 0)[0] >= 120);
    image_free(&picture);
    map_free(&truth), map_free(&found);
}

static Image rgb_image(int width, const uint8_t *bytes) {
    Image image;
    assert_int_equal(image_make(&image, width, 1, 3, 8), 0);
    memcpy(image.bytes, bytes, 3 * (size_t)width);
    return image;
}

/* Through the red glass goes the left eye's picture, through the cyan one the right eye's. */
static void test_anaglyph(void **state) {
    (void)state;
    const uint8_t l[6] = {200, 100, 50, 128, 128, 128}, r[6] = {10, 90, 210, 128, 128, 128};
    Image left = rgb_image(2, l), right = rgb_image(2, r), out;
    assert_int_equal(anaglyph_make(&out, &left, &right, ANAGLYPH_COLOUR), 0);
    assert_memory_equal(out.bytes, ((uint8_t[]){200, 90, 210}), 3);
    image_free(&out);
    assert_int_equal(anaglyph_make(&out, &left, &right, ANAGLYPH_HALF_COLOUR), 0);
    assert_true(out.bytes[0] > 100 && out.bytes[0] < 200 && out.bytes[1] == 90 && out.bytes[2] == 210);
    image_free(&out);
    assert_int_equal(anaglyph_make(&out, &left, &right, ANAGLYPH_GRAY), 0);
    assert_true(out.bytes[1] == out.bytes[2] && out.bytes[0] != out.bytes[1]);
    assert_true(abs(out.bytes[3] - 128) <= 1 && abs(out.bytes[4] - 128) <= 1);
    image_free(&out);
    assert_int_equal(anaglyph_make(&out, &left, &right, ANAGLYPH_OPTIMISED), 0);
    double mixed = (0.7 * 100 + 0.3 * 50) / 255;
    assert_true(fabs(out.bytes[0] - 255 * pow(mixed, 1 / 1.5)) < 1);
    image_free(&out);
    /* Dubois: the rows of both matrices add up to nearly one, so grey stays nearly grey; done in linear light, by hand
     */
    assert_int_equal(anaglyph_make(&out, &left, &right, ANAGLYPH_DUBOIS), 0);
    double red = 0.437 * srgb_to_linear(200 / 255.0) + 0.449 * srgb_to_linear(100 / 255.0) +
                 0.164 * srgb_to_linear(50 / 255.0) - 0.011 * srgb_to_linear(10 / 255.0) -
                 0.032 * srgb_to_linear(90 / 255.0) - 0.007 * srgb_to_linear(210 / 255.0);
    assert_true(fabs(out.bytes[0] - 255 * srgb_from_linear(red)) < 1);
    for (int c = 0; c < 3; c++) assert_true(abs(out.bytes[3 + c] - 128) < 6);
    image_free(&out);
    left.width = 1;
    assert_int_equal(anaglyph_make(&out, &left, &right, ANAGLYPH_DUBOIS), ERR_INPUT);
    image_free(&left), image_free(&right);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_square_red_ground_blue),
        cmocka_unit_test(test_even_ramps),
        cmocka_unit_test(test_hatches),
        cmocka_unit_test(test_legend),
        cmocka_unit_test(test_range),
        cmocka_unit_test(test_font),
        cmocka_unit_test(test_error_map),
        cmocka_unit_test(test_anaglyph),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
