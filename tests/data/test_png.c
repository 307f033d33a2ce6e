/* PNG: the PngSuite's broken files, hostile files made here, limits, equality with another decoder, round trips. */
#include "base/deflate.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "data/map.h"
#include "data/png.h"
#include "tests/lib/check.h"

/* The other decoder: stb's, which the program does without. */
#pragma GCC diagnostic ignored "-Wunused-function" /* said at the end of the file */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wshadow"
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

static uint8_t file[1 << 16];
static size_t used;

static void begin(void) {
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    memcpy(file, signature, 8);
    used = 8;
}

static void put32(uint32_t v) {
    for (int i = 0; i < 4; i++) file[used++] = (uint8_t)(v >> (24 - 8 * i));
}

static void chunk(const char *type, const void *data, size_t size) {
    put32((uint32_t)size);
    size_t start = used;
    memcpy(file + used, type, 4);
    if (size) memcpy(file + used + 4, data, size);
    used += 4 + size;
    put32(crc32_update(0, file + start, size + 4));
}

static void header(uint32_t w, uint32_t h, int depth, int colour, int interlace) {
    uint8_t d[13] = {(uint8_t)(w >> 24),
                     (uint8_t)(w >> 16),
                     (uint8_t)(w >> 8),
                     (uint8_t)w,
                     (uint8_t)(h >> 24),
                     (uint8_t)(h >> 16),
                     (uint8_t)(h >> 8),
                     (uint8_t)h,
                     (uint8_t)depth,
                     (uint8_t)colour,
                     0,
                     0,
                     (uint8_t)interlace};
    begin();
    chunk("IHDR", d, 13);
}

static void data(const uint8_t *rows, size_t size) {
    size_t packed_size;
    uint8_t *packed = deflate_zlib(rows, size, &packed_size);
    assert_non_null(packed);
    chunk("IDAT", packed, packed_size);
    mem_free(packed);
}

static void end(void) {
    chunk("IEND", NULL, 0);
}

static void expect_error(const char *words) {
    Image image;
    size_t before = mem_use().live;
    mem_reset_peak();
    assert_int_equal(image_read_memory("x.png", file, used, NULL, &image, NULL), ERR_INPUT);
    assert_null(image.bytes);
    assert_int_equal(mem_use().live, before);
    assert_true(mem_use().peak - before <= 16 * used + (64u << 20));
    if (strncmp(err_sentence(), "x.png: ", 7) != 0 || !strstr(err_sentence(), words))
        fail_msg("'%s' lacks '%s'", err_sentence(), words);
}

static void expect_image(Image *image, const ReadOptions *options, ReadNotes *notes) {
    if (image_read_memory("x.png", file, used, options, image, notes)) fail_msg("%s", err_sentence());
}

static void broken_files_are_named(void **state) {
    (void)state;
    static const struct {
        const char *file, *words;
    } cases[] = {
        {"xs1n0g01", "bytes 0-7 are 09 50 4e 47"},
        {"xs2n0g01", "the file is damaged"},
        {"xs4n0g01", "the file is damaged"},
        {"xs7n0g01", "the file is damaged"},
        {"xcrn0g04", "transferred as text?"},
        {"xlfn0g04", "transferred as text?"},
        {"xhdn0g08", "the checksum of IHDR at byte 8 is wrong"},
        {"xcsn0g01", "the checksum of IDAT at byte 49 is wrong"},
        {"xd0n2c08", "bit depth 0 in IHDR"},
        {"xd3n2c08", "bit depth 3 in IHDR"},
        {"xd9n2c08", "bit depth 99 in IHDR"},
        {"xc1n0g08", "colour type 1 in IHDR"},
        {"xc9n2c08", "colour type 9 in IHDR"},
        {"xdtn0g01", "no picture data (IDAT)"},
        {"truncated_image", "ends at row 400 of 480"},
        {"truncated_end_chunk", "without its end chunk"},
        {"broken_data_stream", "the checksum of IDAT at byte 33 is wrong"},
    };
    NEEDS_DATA("bad_inputs/png/xs1n0g01.png");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[100];
        Image image;
        snprintf(name, sizeof name, "bad_inputs/png/%s.png", cases[i].file);
        const char *path = shared_data(name);
        if (!path) continue;
        assert_int_equal(image_read(path, NULL, &image, NULL), ERR_INPUT);
        if (!strstr(err_sentence(), cases[i].words) || !strstr(err_sentence(), cases[i].file))
            fail_msg("'%s' lacks '%s'", err_sentence(), cases[i].words);
    }
    ReadOptions careless = {.ignore_crc = true};
    ReadNotes notes = {0};
    Image image;
    assert_int_equal(image_read(shared_data("bad_inputs/png/xcsn0g01.png"), &careless, &image, &notes), 0);
    assert_int_equal(image.width, 32);
    assert_true(notes.count >= 1 && strstr(notes.text[0], "checksum of IDAT"));
    image_free(&image);
}

static void sizes_at_the_limits(void **state) {
    (void)state;
    static const struct {
        uint32_t w, h;
        const char *words;
    } bad[] = {
        {0, 5, "there is no picture"},
        {5, 0, "there is no picture"},
        {0x80000000u, 0x80000000u, "at most 32768"},
        {32769, 1, "at most 32768"},
        {1, 32769, "at most 32768"},
        {65535, 65535, "at most 32768"},
        {32768, 8193, "at most 268435456"},
        {32768, 8192, "cannot hold more"},
        {4000, 4000, "cannot hold more"},
    };
    uint8_t rows[32768 + 1] = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        header(bad[i].w, bad[i].h, 8, 0, 0);
        data(rows, 60);
        end();
        expect_error(bad[i].words);
    }
    for (int w = 32767; w <= 32768; w++) {
        Image image;
        header((uint32_t)w, 1, 8, 0, 0);
        data(rows, (size_t)w + 1);
        end();
        expect_image(&image, NULL, NULL);
        assert_int_equal(image.width, w);
        image_free(&image);
    }
}

static void hostile_chunks_are_refused(void **state) {
    (void)state;
    uint8_t rows[64] = {0};
    header(4, 4, 8, 0, 0); /* IDAT claims 2 GB, holds 10 bytes */
    put32(0x7fffffff);
    memcpy(file + used, "IDAT\x78\x9c", 6);
    used += 14;
    expect_error("ends at row 0 of 4");
    header(4, 4, 8, 0, 0);
    put32(0xffffffffu);
    memcpy(file + used, "tEXtabcd", 8);
    used += 8;
    expect_error("claims 4294967295 bytes, 4 are left");
    header(4, 4, 8, 0, 0);
    data(rows, 12); /* complete deflate data, too little of it */
    end();
    expect_error("complete at row 2 of 4");
    header(4, 4, 8, 0, 0);
    rows[10] = 7; /* filter type of the third row */
    data(rows, 20);
    end();
    expect_error("filter type 7 in row 2 of 4");
    rows[10] = 0;
    header(4, 4, 8, 3, 0);
    data(rows, 20);
    end();
    expect_error("without palette");
    header(4, 1, 8, 3, 0);
    chunk("PLTE", "\1\2\3\4\5\6", 6);
    rows[3] = 2;
    data(rows, 5);
    end();
    expect_error("colour 2 of a palette of 2");
    rows[3] = 0;
    header(4, 1, 8, 3, 0);
    chunk("PLTE", "\1\2\3\4\5\6", 6);
    chunk("tRNS", "\1\2\3", 3);
    data(rows, 5);
    end();
    expect_error("tRNS has 3 entries for a palette of 2");
    header(4, 1, 8, 0, 0);
    chunk("CgBI", rows, 4);
    data(rows, 5);
    end();
    expect_error("chunk CgBI at byte 33 is needed");
    header(4, 1, 8, 0, 0);
    chunk("IDAT", "\x78\x9c\xff\xff\xff\xff", 6);
    end();
    expect_error("damaged at row 0 of 1");
    begin();
    expect_error("before any picture data");
    header(4, 4, 8, 0, 0);
    file[used - 1] ^= 1;
    end();
    expect_error("the checksum of IHDR at byte 8");
}

/* 10^5 empty IDATs are legal. */
static void many_empty_idats_are_read(void **state) {
    (void)state;
    enum { EMPTY = 100000 };
    header(2, 1, 8, 0, 0);
    size_t head = used;
    uint8_t *big = mem_alloc(head + 12 * EMPTY + 100);
    memcpy(big, file, head);
    used = 0;
    chunk("IDAT", NULL, 0);
    for (int i = 0; i < EMPTY; i++) memcpy(big + head + 12 * (size_t)i, file, 12);
    used = 0;
    data((const uint8_t *)"\0\7\x9", 3);
    end();
    memcpy(big + head + 12 * EMPTY, file, used);
    Image image;
    assert_int_equal(image_read_memory("x.png", big, head + 12 * EMPTY + used, NULL, &image, NULL), 0);
    assert_int_equal(image.bytes[0], 7);
    assert_int_equal(image.bytes[1], 9);
    image_free(&image);
    mem_free(big);
}

/* Every colour type, depth and interlacing, random rows with every filter: equal to stb_image's decoder. */
static void all_kinds_equal_another_decoder(void **state) {
    (void)state;
    static const int kinds[][2] = {{0, 1}, {0, 2}, {0, 4}, {0, 8}, {0, 16}, {2, 8}, {2, 16}, {3, 1},
                                   {3, 2}, {3, 4}, {3, 8}, {4, 8}, {4, 16}, {6, 8}, {6, 16}};
    static const int sizes[][2] = {{1, 1}, {3, 2}, {8, 8}, {13, 7}, {33, 21}};
    static const uint8_t passes[7][4] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                         {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
    static uint8_t rows[1 << 15], palette[768];
    uint64_t n = 0;
    int checked = 0;
    for (int i = 0; i < 768; i++) palette[i] = (uint8_t)rng_u64(5, (uint64_t)i);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (int interlace = 0; interlace < 2; interlace++) {
                int colour = kinds[k][0], depth = kinds[k][1], w = sizes[s][0], h = sizes[s][1];
                int channels = colour == 2 ? 3 : colour == 4 ? 2 : colour == 6 ? 4 : 1;
                size_t size = 0;
                for (int p = 0; p < (interlace ? 7 : 1); p++) {
                    int pw = interlace ? (w - passes[p][0] + passes[p][2] - 1) / passes[p][2] : w;
                    int ph = interlace ? (h - passes[p][1] + passes[p][3] - 1) / passes[p][3] : h;
                    for (int y = 0; pw > 0 && y < ph; y++) {
                        rows[size++] = (uint8_t)(rng_u64(1, n++) % 5);
                        for (int b = (pw * channels * depth + 7) / 8; b > 0; b--)
                            rows[size++] = (uint8_t)rng_u64(2, n++);
                    }
                }
                header((uint32_t)w, (uint32_t)h, depth, colour, interlace);
                if (colour == 3) chunk("PLTE", palette, depth == 8 ? 768 : 3u << depth);
                data(rows, size);
                end();
                Image image;
                expect_image(&image, NULL, NULL);
                int ow = 0, oh = 0, oc = 0, wanted = image.channels;
                size_t bytes = (size_t)(w * h * wanted) * (size_t)(image.bits / 8);
                void *other = depth == 16 ? (void *)stbi_load_16_from_memory(file, (int)used, &ow, &oh, &oc, 0)
                                          : (void *)stbi_load_from_memory(file, (int)used, &ow, &oh, &oc, 0);
                assert_non_null(other);
                assert_true(ow == w && oh == h);
                size_t sample = (size_t)(image.bits / 8);
                for (size_t px = 0; px < (size_t)(w * h); px++)
                    assert_memory_equal(image.bytes + px * (size_t)wanted * sample,
                                        (uint8_t *)other + px * (size_t)oc * sample, (size_t)wanted * sample);
                checked += bytes > 0;
                stbi_image_free(other);
                image_free(&image);
            }
    assert_int_equal(checked, 15 * 5 * 2);
}

static void written_files_read_back(void **state) {
    (void)state;
    const char *folder = scratch_folder("png_write");
    static const char *const names[] = {"a.png", "a.ppm"};
    for (int f = 0; f < 2; f++)
        for (int bits = 8; bits <= 16; bits += 8)
            for (int channels = 1; channels <= 3; channels += 2) {
                Image image, back;
                char path[600];
                snprintf(path, sizeof path, "%s/%d_%d_%s", folder, bits, channels, names[f]);
                assert_int_equal(image_make(&image, 37, 23, channels, bits), 0);
                size_t n = 37 * 23 * (size_t)channels * (size_t)(bits / 8);
                for (size_t i = 0; i < n; i++) image.bytes[i] = (uint8_t)(i % 5 ? i / 7 : rng_u64(3, i));
                FileMeta meta = {"panum test", "panum match \xc3\xa9"};
                assert_int_equal(image_write(path, OUT_NEW, &image, "a picture", &meta), 0);
                assert_int_equal(image_read(path, NULL, &back, NULL), 0);
                assert_true(back.width == 37 && back.height == 23 && back.channels == channels && back.bits == bits);
                assert_memory_equal(back.bytes, image.bytes, n);
                image_free(&back);
                image_free(&image);
                if (f == 0) {
                    uint8_t *bytes;
                    size_t size;
                    PngInfo info;
                    assert_int_equal(file_read(path, 1 << 20, &bytes, &size), 0);
                    assert_int_equal(png_decode(bytes, size, NULL, NULL, &info, NULL), 0);
                    assert_string_equal(png_find_text(&info, "Software"), "panum test");
                    assert_string_equal(png_find_text(&info, "panum:command"), "panum match ??");
                    assert_null(png_find_text(&info, "none"));
                    mem_free(bytes);
                }
            }
}

static void other_content_is_named(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *words;
    } cases[] = {
        {"", 0, "is empty"},
        {"x", 1, "begins with 78"},
        {"<!DOCTYPE html><title>404", 25, "HTML page"},
        {"\n <HTML>", 8, "HTML page"},
        {"version https://git-lfs.github.com/spec/v1", 42, "git-LFS pointer"},
        {"\x1f\x8b\x08", 3, "is gzip"},
        {"GIF89a", 6, "is GIF"},
        {"\0\0\0\0\0\0\0\0\0\0", 10, "all its 10 bytes are zero"},
        {"Pf\n1 1\n-1\n....", 14, "PFM map"},
        {"\x93NUMPY\1\0", 8, "NumPy"},
        {"PK\3\4", 4, "zip archive"},
        {"RIFFxxxxWEBP", 12, "is WebP"},
        {"\0\0\0\x18"
         "ftypheic",
         12, "is HEIC"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        used = cases[i].size;
        memcpy(file, cases[i].bytes, used);
        expect_error(cases[i].words);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_files_are_named),          cmocka_unit_test(sizes_at_the_limits),
        cmocka_unit_test(hostile_chunks_are_refused),      cmocka_unit_test(many_empty_idats_are_read),
        cmocka_unit_test(all_kinds_equal_another_decoder), cmocka_unit_test(written_files_read_back),
        cmocka_unit_test(other_content_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
