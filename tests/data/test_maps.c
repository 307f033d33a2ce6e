/* PNM, PFM, signed 16-bit PNG, whole-number maps, optical flow: round trips, hostile headers, the kind a file states.
 */
#include "base/half.h"
#include "base/mem.h"
#include "data/map.h"
#include "data/png.h"
#include "data/pnm.h"
#include "tests/lib/check.h"

#include <math.h>

static void image_refused(const char *bytes, size_t size, const char *words) {
    Image image;
    size_t before = mem_use().live;
    assert_int_equal(image_read_memory("x", (const uint8_t *)bytes, size, NULL, &image, NULL), ERR_INPUT);
    assert_null(image.bytes);
    assert_int_equal(mem_use().live, before);
    if (!strstr(err_sentence(), words)) fail_msg("'%s' lacks '%s'", err_sentence(), words);
}

static void map_refused(const char *bytes, size_t size, int code, const char *words) {
    Map map;
    assert_int_equal(map_read_memory("x", (const uint8_t *)bytes, size, NULL, &map, NULL), code);
    assert_null(map.values);
    if (!strstr(err_sentence(), words)) fail_msg("'%s' lacks '%s'", err_sentence(), words);
}

static void pnm_hostile_headers(void **state) {
    (void)state;
#define REFUSED(text, words) image_refused(text, sizeof text - 1, words)
    REFUSED("P5 1 1 0\na", "the maximum is 0");
    REFUSED("P5 1 1 65536\naa", "the maximum is 65536");
    REFUSED("P5 1 1 -1\na", "'-1', not a whole number");
    REFUSED("P5 100000000000000000000 1 255\na", "not a whole number");
    REFUSED("P5 1000000000000000000000000000 1 255\na", "too many digits");
    REFUSED("P5 0 1 255\n", "sides must be 1 to");
    REFUSED("P5 32769 1 255\n", "sides must be 1 to");
    REFUSED("P5 32768 32768 255\n", "at most 268435456");
    REFUSED("P6 2 2 255\n01234567890", "ends at row 1 of 2: 1 bytes of 12");
    REFUSED("P5 2 2", "ends before its maximum");
    REFUSED("P5 2 # comment without end", "ends before its height");
    REFUSED("P2 2 1 255\n1 x", "not a number");
    REFUSED("P2 2 1 15\n1 16", "value 16 above the maximum 15");
    REFUSED("P2 9 9 15\n1 2", "cannot be in");
    REFUSED("P1 2 1\n12", "the byte 32 where 0 or 1");
    static char comment[100000];
    memset(comment, 'c', sizeof comment);
    memcpy(comment, "P5 1 # ", 7);
    memcpy(comment + sizeof comment - 10, "\n1 255\nZ", 8);
    Image image;
    assert_int_equal(image_read_memory("x", (uint8_t *)comment, sizeof comment, NULL, &image, NULL), 0);
    assert_int_equal(image.bytes[0], 'Z');
    image_free(&image);
}

static void pnm_values(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        int width, height, channels, bits;
        uint16_t first, last;
    } cases[] = {
        {"P5 2 2 65535\n\0\1\2\3\4\5\6\7", 21, 2, 2, 1, 16, 1, 0x607}, /* crashed stb_image 2.27 */
        {"P1 3 1\n1 01", 11, 3, 1, 1, 8, 0, 0},
        {"P4 9 1\n\x80\x00", 9, 9, 1, 1, 8, 0, 255},
        {"P2\n2 1\n4\n1 4\n", 13, 2, 1, 1, 8, 64, 255},
        {"P3 1 1 255 1 2 3", 16, 1, 1, 3, 8, 1, 3},
        {"P6\n1 1\n511\n\0\0\0\1\1\xff", 17, 1, 1, 3, 16, 0, 65535},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Image image;
        if (image_read_memory("x", (const uint8_t *)cases[i].bytes, cases[i].size, NULL, &image, NULL))
            fail_msg("%zu: %s", i, err_sentence());
        assert_int_equal(image.width, cases[i].width);
        assert_int_equal(image.height, cases[i].height);
        assert_int_equal(image.channels, cases[i].channels);
        assert_int_equal(image.bits, cases[i].bits);
        size_t last = (size_t)image_pixels(&image) * (size_t)image.channels - 1;
        assert_int_equal(image.bits == 8 ? image.bytes[0] : image_16(&image)[0], cases[i].first);
        assert_int_equal(image.bits == 8 ? image.bytes[last] : image_16(&image)[last], cases[i].last);
        image_free(&image);
    }
}

static void pfm_hostile_headers(void **state) {
    (void)state;
#define MAP_REFUSED(text, words) map_refused(text, sizeof text - 1, ERR_INPUT, words)
    MAP_REFUSED("Pf\n1 1\n0\n1234", "the scale is '0'");
    MAP_REFUSED("Pf\n1 1\nNaN\n1234", "the scale is 'NaN'");
    MAP_REFUSED("Pf\n1 1\n1e999\n1234", "the scale is '1e999'");
    MAP_REFUSED("Pf\n-1 1\n-1\n1234", "'-1', not a whole number");
    MAP_REFUSED("Pf\n0 1\n-1\n", "sides must be");
    MAP_REFUSED("Pf\n1 1\n-1\n12345", "1 bytes after the last number");
    MAP_REFUSED("Pf\n2 2\n-1\n1234567890", "end in row 1 of 2");
    MAP_REFUSED("PF\n1 1\n-1\n123456789012", "three colours");
    MAP_REFUSED("Pf\n1", "header ends");
    MAP_REFUSED("", "is empty");
    uint8_t big[] = "Pf\n2 1\n1.0\n\x3f\x80\0\0\xc0\0\0\0";
    Map map;
    assert_int_equal(map_read_memory("x", big, sizeof big - 1, NULL, &map, NULL), 0);
    assert_float_equal(map.values[0], 1, 0);
    assert_float_equal(map.values[1], -2, 0);
    map_free(&map);
}

static void ramp(Map *map, MapKind kind, float step) {
    assert_int_equal(map_make(map, 19, 11, kind), 0);
    for (int i = 0; i < 19 * 11; i++) map->values[i] = (float)(i - 100) * step;
    map->values[3] = NAN;
    map->values[40] = INFINITY;
}

static void expect_same(const Map *a, const Map *b) {
    assert_true(a->width == b->width && a->height == b->height && a->kind == b->kind);
    for (int i = 0; i < a->width * a->height; i++)
        if (isfinite(a->values[i]) ? a->values[i] != b->values[i] : !isnan(b->values[i]))
            fail_msg("pixel %d: %g became %g", i, (double)a->values[i], (double)b->values[i]);
}

static void maps_come_back_with_their_kind(void **state) {
    (void)state;
    const char *folder = scratch_folder("maps");
    static const MapKind kinds[] = {MAP_DISPARITY, MAP_PARALLAX};
    static const char *const names[] = {"pfm", "d16.png"};
    for (int k = 0; k < 2; k++)
        for (int f = 0; f < 2; f++) {
            Map map, back;
            MapWritten written;
            ReadNotes notes = {0};
            char path[600];
            snprintf(path, sizeof path, "%s/%d.%s", folder, k, names[f]);
            ramp(&map, kinds[k], 1 / 64.0f);
            assert_int_equal(map_write(path, OUT_NEW, &map, NULL, &written), 0);
            assert_int_equal(written.missing, 2);
            assert_int_equal(written.clipped, 0);
            assert_int_equal(map_read(path, NULL, &back, &notes), 0);
            expect_same(&map, &back);
            assert_string_equal(notes.format, f ? "d16 PNG" : "PFM");
            map_free(&back);
            MapReadOptions other = {.kind_given = true, .kind = kinds[!k]};
            if (f || k) { /* a plain PFM says nothing that could be contradicted */
                assert_int_equal(map_read(path, &other, &back, NULL), ERR_INPUT);
                assert_non_null(strstr(err_sentence(), "says that it holds"));
            }
            map_free(&map);
        }
    Map map;
    ramp(&map, MAP_DISPARITY, 1);
    char path[600];
    snprintf(path, sizeof path, "%s/x.tif", folder);
    assert_int_equal(map_write(path, OUT_NEW, &map, NULL, NULL), ERR_USAGE);
    map_free(&map);
}

static void d16_says_what_does_not_fit(void **state) {
    (void)state;
    const char *folder = scratch_folder("d16");
    char path[600];
    Map map, back;
    MapWritten written;
    snprintf(path, sizeof path, "%s/a.d16.png", folder);
    ramp(&map, MAP_DISPARITY, 1);
    map.values[0] = 511;
    map.values[1] = 600;
    assert_int_equal(map_write(path, OUT_NEW, &map, NULL, &written), 0);
    assert_int_equal(written.clipped, 1);
    assert_int_equal(map_read(path, NULL, &back, NULL), 0);
    assert_float_equal(back.values[0], 511, 0);
    assert_float_equal(back.values[1], 511, 0);
    map_free(&back);
    for (int i = 0; i < 5; i++) map.values[i] = -512;
    assert_int_equal(map_write(path, OUT_OVERWRITE, &map, NULL, &written), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "write .pfm instead"));
    assert_int_equal(map_read(path, NULL, &back, NULL), 0); /* the old file is whole */
    map_free(&back);
    map_free(&map);
}

static void whole_numbers_need_a_scale(void **state) {
    (void)state;
    static const char pgm[] = "P5 3 1 255\n\0\x10\x20";
    map_refused(pgm, sizeof pgm - 1, ERR_USAGE, "--scale");
    MapReadOptions scaled = {.scale = 16}, mask = {.kind_given = true, .kind = MAP_MASK};
    Map map;
    assert_int_equal(map_read_memory("x", (const uint8_t *)pgm, sizeof pgm - 1, &scaled, &map, NULL), 0);
    assert_true(isnan(map.values[0]));
    assert_float_equal(map.values[1], 1, 0);
    assert_float_equal(map.values[2], 2, 0);
    map_free(&map);
    assert_int_equal(map_read_memory("x", (const uint8_t *)pgm, sizeof pgm - 1, &mask, &map, NULL), 0);
    assert_float_equal(map.values[0], 0, 0);
    assert_float_equal(map.values[2], 32, 0);
    map_free(&map);
    NEEDS_DATA("stereo_gt/kitti12_000027/disp_occ_10.png");
    scaled.scale = 256;
    ReadNotes notes = {0};
    assert_int_equal(map_read(shared_data("stereo_gt/kitti12_000027/disp_occ_10.png"), &scaled, &map, &notes), 0);
    float low = 1e9f, high = -1e9f;
    int known = 0;
    for (int i = 0; i < map.width * map.height; i++)
        if (isfinite(map.values[i])) {
            known++;
            low = fminf(low, map.values[i]);
            high = fmaxf(high, map.values[i]);
        }
    assert_true(low > 4 && high < 96 && known > map.width * map.height / 5);
    map_free(&map);
}

static void flow_reads_and_writes(void **state) {
    (void)state;
    map_refused("PIEH\1\0\0\0\1\0\0\0"
                "1234567",
                19, ERR_INPUT, "need 8 bytes after the header, the file has 7");
    map_refused("PIEH\xff\xff\xff\xff\1\0\0\0"
                "12345678",
                20, ERR_INPUT, "sides must be");
    map_refused("PIEH", 4, ERR_INPUT, "cut short");
    NEEDS_DATA("flow/rubberwhale_gt.flo");
    Map u, v, u2, v2;
    Out *out;
    assert_int_equal(flow_read(shared_data("flow/rubberwhale_gt.flo"), &u, &v, NULL), 0);
    assert_true(u.width == 584 && u.height == 388 && u.kind == MAP_PARALLAX);
    int unknown = 0;
    for (int i = 0; i < u.width * u.height; i++) unknown += isnan(u.values[i]);
    assert_true(unknown > 584 * 388 / 100 && unknown < 584 * 388 / 50); /* 1.6 % */
    char path[600];
    snprintf(path, sizeof path, "%s/a.flo", scratch_folder("flo"));
    assert_int_equal(out_open(path, OUT_NEW, &out), 0);
    assert_int_equal(flow_write(out, &u, &v), 0);
    assert_int_equal(out_commit(&out), 0);
    assert_int_equal(flow_read(path, &u2, &v2, NULL), 0);
    expect_same(&u, &u2);
    expect_same(&v, &v2);
    map_free(&u2);
    map_free(&v2);
    MapReadOptions disparity = {.kind_given = true, .kind = MAP_DISPARITY};
    assert_int_equal(map_read(path, &disparity, &u2, NULL), 0);
    for (int i = 0; i < u.width * u.height; i++) assert_true(isnan(u.values[i]) || u2.values[i] == -u.values[i]);
    map_free(&u2);
    map_free(&u);
    map_free(&v);
    NEEDS_DATA("stereo_gt/kitti12_000138/flow_occ_10.png");
    assert_int_equal(flow_read(shared_data("stereo_gt/kitti12_000138/flow_occ_10.png"), &u, &v, NULL), 0);
    assert_int_equal(u.width, 1242);
    map_free(&u);
    map_free(&v);
}

static void pictures_resize_and_turn(void **state) {
    (void)state;
    Image image, out;
    assert_int_equal(image_make(&image, 6, 4, 3, 8), 0);
    for (int i = 0; i < 72; i++) image.bytes[i] = (uint8_t)(i * 3);
    assert_int_equal(image_resize(&out, &image, 3, 2), 0); /* exact means of 2 x 2 */
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 3; x++)
            for (int c = 0; c < 3; c++) {
                int sum = 0;
                for (int k = 0; k < 4; k++) sum += image.bytes[((2 * y + k / 2) * 6 + 2 * x + k % 2) * 3 + c];
                assert_int_equal(out.bytes[(y * 3 + x) * 3 + c], (sum + 2) / 4);
            }
    image_free(&out);
    memset(image.bytes, 77, 72);
    static const int sizes[][2] = {{1, 1}, {5, 3}, {7, 9}, {13, 2}};
    for (int s = 0; s < 4; s++) {
        assert_int_equal(image_resize(&out, &image, sizes[s][0], sizes[s][1]), 0);
        for (int i = 0; i < out.width * out.height * 3; i++) assert_int_equal(out.bytes[i], 77);
        image_free(&out);
    }
    for (int i = 0; i < 72; i++) image.bytes[i] = (uint8_t)i;
    image_mirror(&image);
    assert_int_equal(image.bytes[0], 15);
    image_mirror(&image);
    assert_int_equal(image.bytes[0], 0);
    image_free(&image);
    assert_int_equal(image_make(&image, 2, 1, 1, 16), 0);
    image_16(&image)[0] = 65535;
    image_16(&image)[1] = 128;
    assert_int_equal(image_to_8bit(&image), 0);
    assert_int_equal(image.bytes[0], 255);
    assert_int_equal(image.bytes[1], 0);
    assert_int_equal(image_to_rgb(&image), 0);
    assert_int_equal(image.bytes[2], 255);
    image_free(&image);
    assert_int_equal(image_make(&image, IMAGE_SIDE_MAX + 1, 1, 1, 8), ERR_INPUT);
    assert_int_equal(image_make(&image, 0, 1, 1, 8), ERR_INPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pnm_hostile_headers),        cmocka_unit_test(pnm_values),
        cmocka_unit_test(pfm_hostile_headers),        cmocka_unit_test(maps_come_back_with_their_kind),
        cmocka_unit_test(d16_says_what_does_not_fit), cmocka_unit_test(whole_numbers_need_a_scale),
        cmocka_unit_test(flow_reads_and_writes),      cmocka_unit_test(pictures_resize_and_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
