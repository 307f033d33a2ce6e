/* Inputs that must be survived, as a table: what is made, what is run, which exit code and which words must be seen.
 * The numbers are the rows of the specification (reliability, section 5). Of every case it is checked that
 *   - the program ends by itself (no signal), with that code, and says one sentence with those words;
 *   - a failure leaves no file behind and changes none, not even a part file;
 *   - the address space stays within the case's limit (not under a sanitizer, which needs its own).
 *
 * Rows that are elsewhere: I23 (a file that shrinks while it is read) tests/base/test_file.c, which can choose the
 * moment; V1 to V4, V14 tests/data/test_y4m.c; V5 to V8, V11, the lock of C5, C6 for films and S7 (as a kill, and going
 * on) tests/apps/test_film.c; S4 for whole commands at the end of this file.
 * Rows that nothing here can meet yet:
 *   V9, V10, V12, V13  boxes and meshes of VR180, its JPEGs, lists of shots, rigs as JSON: none of these is read
 *   K1 to K10          training
 *   G1 to G9           no device but the processor
 * Rows that a test cannot bring about without rights or faults it does not have:
 *   C3 a folder without permission (root may write anywhere; as another user I24 covers reading)
 *   C7 a clock that goes back (nothing reads the time of day but the log)
 *   S3 quotas, FAT, NFS themselves (their errors of write are here)
 *   S9 512 processors (a set of one, and more threads than processors, are here) */
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "data/map.h"
#include "data/png.h"
#include "tests/bad/films_made.h"
#include "tests/bad/pictures_made.h"
#include "tests/bad/weights_made.h"
#include "tests/lib/check.h"
#include "tests/lib/random_dot.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *folder;                               /* of the case that is running */
static char program[4096], tree[4096], interposed[4096]; /* absolute; the last is faults.c */
static bool sanitized;

/* ---- making files ---------------------------------------------------------------------------------------------------
 */

static const char *in_folder(const char *name) {
    static char paths[4][1024];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const void *bytes, size_t size) {
    FILE *file = fopen(in_folder(name), "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file)) fail_msg("cannot write %s", name);
}
static void put_text(const char *name, const char *text) {
    put(name, text, strlen(text));
}

typedef struct {
    uint8_t *bytes;
    size_t size;
} Bytes;

static Bytes get(const char *name) {
    Bytes b = {0};
    FILE *file = fopen(in_folder(name), "rb");
    if (!file) fail_msg("cannot read %s", name);
    b.bytes = malloc(1 << 22);
    b.size = fread(b.bytes, 1, 1 << 22, file);
    fclose(file);
    return b;
}

static RandomDot dots; /* 128 x 96, made once */

static void save(const char *name, const Image *image) {
    assert_int_equal(image_write(in_folder(name), OUT_OVERWRITE, image, NULL, NULL), 0);
}

/* l.png and r.png, a good pair. */
static void make_pair(void) {
    save("l.png", &dots.left);
    save("r.png", &dots.right);
}

static void make_flat(const char *name, int width, int height, int channels, int value) {
    Image image;
    assert_int_equal(image_make(&image, width, height, channels, 8), 0);
    memset(image.bytes, value, (size_t)width * (size_t)height * (size_t)channels);
    save(name, &image);
    image_free(&image);
}

/* l.png with the bytes at `at` changed; IHDR's checksum is made right again when `fix`. */
static void edit_png(size_t at, const void *bytes, size_t size, bool fix) {
    make_pair();
    Bytes b = get("l.png");
    memcpy(b.bytes + at, bytes, size);
    if (fix) {
        uint32_t crc = crc32_update(0, b.bytes + 12, 17);
        for (int i = 0; i < 4; i++) b.bytes[29 + i] = (uint8_t)(crc >> (24 - 8 * i));
    }
    put("l.png", b.bytes, b.size);
    free(b.bytes);
}

static void cut(const char *name, double share) {
    Bytes b = get(name);
    put(name, b.bytes, (size_t)((double)b.size * share));
    free(b.bytes);
}

static void i1_empty(void) {
    make_pair();
    put("l.png", "", 0);
}
static void i1_one(void) {
    make_pair();
    put("l.png", "x", 1);
}
static void i1_fifo(void) {
    make_pair();
    unlink(in_folder("l.png"));
    assert_int_equal(mkfifo(in_folder("l.png"), 0600), 0);
}
static void i1_folder(void) {
    make_pair();
    assert_int_equal(mkdir(in_folder("dir"), 0700), 0);
}
static void i2_text(void) {
    edit_png(4, "\n\n", 2, false);
}
static void i2_other(void) {
    edit_png(1, "Q", 1, false);
}
static void i3_ihdr(void) {
    edit_png(30, "zz", 2, false);
}
static void i3_idat(void) {
    make_pair();
    Bytes b = get("l.png");
    b.bytes[b.size - 14] ^= 1; /* IEND takes 12, so this is in the checksum of the last IDAT */
    put("l.png", b.bytes, b.size);
    free(b.bytes);
}
static void i4_depth0(void) {
    edit_png(24, "\0", 1, true);
}
static void i4_depth3(void) {
    edit_png(24, "\3", 1, true);
}
static void i4_depth99(void) {
    edit_png(24, "\143", 1, true);
}
static void i4_colour1(void) {
    edit_png(25, "\1", 1, true);
}
static void i4_colour9(void) {
    edit_png(25, "\11", 1, true);
}
static void i5_no_data(void) {
    make_pair();
    Bytes b = get("l.png");
    memmove(b.bytes + 33, b.bytes + b.size - 12, 12);
    put("l.png", b.bytes, 45);
    free(b.bytes);
}
static void i5_short(void) {
    make_pair();
    cut("l.png", 0.6);
}
static void i5_batch(void) {
    const char *const folders[] = {"left", "right"};
    for (int eye = 0; eye < 2; eye++) {
        assert_int_equal(mkdir(in_folder(folders[eye]), 0700), 0);
        for (int i = 0; i < 3; i++) {
            char name[64];
            snprintf(name, sizeof name, "%s/%d.png", folders[eye], i);
            save(name, eye ? &dots.right : &dots.left);
        }
    }
    cut("left/1.png", 0.5);
    assert_int_equal(mkdir(in_folder("out"), 0700), 0);
}
static void i6(const char *size8) {
    edit_png(16, size8, 8, true);
}
static void i6_zero_width(void) {
    i6("\0\0\0\0\0\0\0\140");
}
static void i6_zero_height(void) {
    i6("\0\0\0\200\0\0\0\0");
}
static void i6_huge(void) {
    i6("\200\0\0\0\200\0\0\0");
}
static void i6_side(void) {
    i6("\0\0\200\1\0\0\0\1");
}
static void i6_65535(void) {
    i6("\0\0\377\377\0\0\377\377");
}
static void i7_bomb(void) {
    i6("\0\0\100\0\0\0\100\0");
} /* 16,384 squared from a few kilobytes */
static void i7_claims(void) {
    edit_png(33, "\177\377\377\377", 4, false);
}
static void i9_scan(void) {
    make_pair();
    save("l.jpg", &dots.left);
    cut("l.jpg", 0.6);
}
static void i9_header(void) {
    make_pair();
    save("l.jpg", &dots.left);
    cut("l.jpg", 0.02);
}
/* Changes the byte `offset` bytes behind the first marker `marker`. */
static void edit_jpeg(int marker, size_t offset, int value) {
    make_pair();
    save("l.jpg", &dots.left);
    Bytes b = get("l.jpg");
    for (size_t i = 2; i + 4 < b.size; i += 2 + (size_t)(b.bytes[i + 2] << 8 | b.bytes[i + 3]))
        if (b.bytes[i + 1] == marker) {
            b.bytes[i + offset] = (uint8_t)value;
            put("l.jpg", b.bytes, b.size);
            free(b.bytes);
            return;
        }
    fail_msg("no marker %02x", marker);
}
static void i10_counts(void) {
    make_pair();
    save("l.jpg", &dots.left);
    Bytes b = get("l.jpg");
    for (size_t i = 2; i + 4 < b.size; i += 2 + (size_t)(b.bytes[i + 2] << 8 | b.bytes[i + 3]))
        if (b.bytes[i + 1] == 0xc4) {
            memset(b.bytes + i + 5, 255, 16); /* the table's sixteen counts */
            break;
        }
    put("l.jpg", b.bytes, b.size);
    free(b.bytes);
}
static void i10_table(void) {
    edit_jpeg(0xdb, 4, 7);
}
static void i10_components(void) {
    edit_jpeg(0xc0, 9, 0);
}
static void i10_zero(void) {
    edit_jpeg(0xc0, 5, 0);
    Bytes b = get("l.jpg");
    for (size_t i = 2; i + 4 < b.size; i += 2 + (size_t)(b.bytes[i + 2] << 8 | b.bytes[i + 3]))
        if (b.bytes[i + 1] == 0xc0) b.bytes[i + 6] = b.bytes[i + 7] = b.bytes[i + 8] = 0;
    put("l.jpg", b.bytes, b.size);
    free(b.bytes);
}
static void i11_12bit(void) {
    edit_jpeg(0xc0, 4, 12);
}
static void i11_arithmetic(void) {
    edit_jpeg(0xc0, 1, 0xc9);
}
static void i14(const char *head) {
    make_pair();
    put_text("l.pgm", head);
}
static void i14_maxval0(void) {
    i14("P5 2 2 0\nabcd");
}
static void i14_maxval65536(void) {
    i14("P5 2 2 65536\nabcdabcd");
}
static void i14_negative(void) {
    i14("P5 2 2 -1\nabcd");
}
static void i14_width(void) {
    i14("P5 100000000000000000000 2 255\nabcd");
}
static void i14_missing(void) {
    i14("P6 2 2 255\nabcdefghijk");
}
static void i14_comment(void) {
    make_pair();
    char *text = malloc(1 << 20);
    memset(text, '#', 1 << 20);
    memcpy(text, "P5 ", 3);
    put("l.pgm", text, 1 << 20);
    free(text);
}
static void i14_16bit(void) {
    put("l.pgm", "P5 2 2 65535\n\0\1\2\3\4\5\6\7", 21);
    put("r.pgm", "P5 2 2 65535\n\0\1\2\3\4\5\6\7", 21);
}
static void i15(const char *text) {
    put_text("o.pfm", text);
}
static void i15_scale0(void) {
    i15("Pf\n2 1\n0\nabcdefgh");
}
static void i15_nan(void) {
    i15("Pf\n2 1\nnan\nabcdefgh");
}
static void i15_huge(void) {
    i15("Pf\n2 1\n1e999\nabcdefgh");
}
static void i15_negative(void) {
    i15("Pf\n-2 1\n-1.0\nabcdefgh");
}
static void i15_short(void) {
    i15("Pf\n2 2\n-1.0\nabcdefgh");
}
static void i15_values(void) {
    float v[4] = {NAN, INFINITY, -INFINITY, 3};
    char bytes[64];
    int n = snprintf(bytes, sizeof bytes, "Pf\n2 2\n-1.0\n");
    memcpy(bytes + n, v, sizeof v);
    put("o.pfm", bytes, (size_t)n + sizeof v);
    float t[4] = {1, 1, 1, 3};
    memcpy(bytes + n, t, sizeof t);
    put("t.pfm", bytes, (size_t)n + sizeof t);
}
static void i18_magic(void) {
    put("o.flo", "XXXX\2\0\0\0\1\0\0\0abcdabcdabcdabcd", 28);
}
static void i15_big_endian(void) {
    put("o.pfm", "Pf\n1 1\n1.0\n\77\200\0\0", 15);
}
static void i15_tail(void) {
    put("o.pfm", "Pf\n1 1\n-1.0\n\0\0\200\77tail", 20);
}
/* 1e10 and NaN say "not known"; the other vector is (1, 0). */
static void i18_unknown(void) {
    put("o.flo", "PIEH\3\0\0\0\1\0\0\0\0\0\200\77\0\0\0\0\371\2\25\120\371\2\25\120\0\0\300\177\0\0\300\177", 36);
}
static void i18_size(void) {
    put("o.flo", "PIEH\2\0\0\0\1\0\0\0abcdabcdabcd", 24);
}
static void i19_scale(void) {
    Image image;
    assert_int_equal(image_make(&image, 4, 4, 1, 16), 0);
    memset(image.bytes, 1, 32);
    save("o.png", &image);
    image_free(&image);
}
static void i20_sizes(void) {
    save("l.png", &dots.left);
    make_flat("r.png", 20, 10, 1, 3);
}
static void i20_colour(void) {
    Image rgb;
    assert_int_equal(image_copy(&rgb, &dots.right), 0);
    assert_int_equal(image_to_rgb(&rgb), 0);
    save("l.png", &dots.left);
    save("r.png", &rgb);
    image_free(&rgb);
}
/* A scene of our own, whose occluding contours tell which eye is which. */
static void i20_scene(void) {
    assert_int_equal(
        run_command((char[4096]){0}, 4096, "%s demo -q --model sgm --width 320 -o '%s/scene'", program, folder), 0);
    assert_int_equal(rename(in_folder("scene/left.png"), in_folder("l.png")), 0);
    assert_int_equal(rename(in_folder("scene/right.png"), in_folder("r.png")), 0);
}
static void i21(int width, int height) {
    Image image;
    assert_int_equal(image_make(&image, width, height, 1, 8), 0);
    for (int i = 0; i < width * height; i++) image.bytes[i] = (uint8_t)(i * 37 + i / 7);
    save("l.png", &image);
    save("r.png", &image);
    image_free(&image);
}
static void i21_1x1(void) {
    i21(1, 1);
}
static void i21_7x3(void) {
    i21(7, 3);
}
static void i21_odd(void) {
    i21(61, 33);
}
static void i21_strip(void) {
    i21(16384, 4);
}
static void i21_tower(void) {
    i21(3, 5000);
}
static void i22_grey(void) {
    make_flat("l.png", 64, 48, 1, 128);
    make_flat("r.png", 64, 48, 1, 128);
}
static void i22_black(void) {
    make_flat("l.png", 64, 48, 3, 0);
    make_flat("r.png", 64, 48, 3, 0);
}
static void i24_newline(void) {
    save("a\n\033[31mb.png", &dots.left);
    save("r.png", &dots.right);
}
static void i24_utf8(void) {
    put("a\xff\xfe.png", "x", 1);
    save("r.png", &dots.right);
}
static void i24_dash(void) {
    save("-l.png", &dots.left);
    save("r.png", &dots.right);
}
static void i24_long(void) {
    char name[256];
    memset(name, 'n', 251);
    memcpy(name + 251, ".png", 5);
    save(name, &dots.left);
    save("r.png", &dots.right);
}
static void i24_loop(void) {
    make_pair();
    assert_int_equal(symlink("loop.png", in_folder("loop.png")), 0);
}
static void i24_secret(void) {
    make_pair();
    assert_int_equal(chmod(in_folder("l.png"), 0), 0);
}
static void c3_exists(void) {
    make_pair();
    put_text("o.pfm", "precious");
}
static void c3_link(void) {
    make_pair();
    put_text("real.pfm", "old");
    assert_int_equal(symlink("real.pfm", in_folder("o.pfm")), 0);
}
static void c3_hard(void) {
    make_pair();
    assert_int_equal(link(in_folder("l.png"), in_folder("same.png")), 0);
}
/* A film of three frames. */
static void make_film(void) {
    i5_batch();
    assert_int_equal(mkdir(in_folder("film"), 0700), 0);
    assert_int_equal(rename(in_folder("left"), in_folder("film/left")), 0);
    assert_int_equal(rename(in_folder("right"), in_folder("film/right")), 0);
    save("film/left/1.png", &dots.left);
}
static void c5_many(void) {
    assert_int_equal(mkdir(in_folder("left"), 0700), 0);
    assert_int_equal(mkdir(in_folder("right"), 0700), 0);
    assert_int_equal(mkdir(in_folder("out"), 0700), 0);
    for (int i = 0; i < 60; i++) {
        char name[64];
        snprintf(name, sizeof name, "left/%03d.pgm", i);
        put(name, "P5 2 2 255\nabcd", 15);
        snprintf(name, sizeof name, "right/%03d.pgm", i);
        put(name, "P5 2 2 255\nabcd", 15);
    }
}

/* ---- the table
 * ------------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *id;
    void (*make)(void);
    const char *command; /* in the case's folder; $P is the program */
    int code;
    const char *pattern; /* words that must be seen */
    int limit;           /* MiB of address space; 0: 512 */
} Case;

#define VERIFY "$P model verify w.safetensors"
#define MATCH_WEIGHTS "$P match $T/docs/demo.jpg --layout sbs --model s2m2-S --weights w.safetensors -o o.pfm"
#define VERIFY_PTH "$P model verify w.pth"
#define MATCH "$P match --model sgm l.png r.png --threads 2 -o o.pfm"
static const Case images[] = {
    {"I1 empty", i1_empty, MATCH, 3, "l.png: ", 0},
    {"I1 one byte", i1_one, MATCH, 3, "l.png: ", 0},
    {"I1 folder", i1_folder, "$P match --model sgm dir r.png -o o.pfm", 3, "dir is a folder and r.png is not", 0},
    {"I1 fifo", i1_fifo, MATCH, 3, "l.png: is a pipe", 0},
    {"I1 zero", make_pair, "$P match --model sgm /dev/zero r.png -o o.pfm", 3, "/dev/zero: is a device", 0},
    {"I1 missing", make_pair, "$P match --model sgm no.png r.png -o o.pfm", 3, "no.png: there is no such file", 0},
    {"I1 text", make_pair, "echo hello >l.png; " MATCH " -y", 3, "l.png: ", 0},
    {"I2 as text", i2_text, MATCH, 3, "transferred as text?", 0},
    {"I2 other", i2_other, MATCH, 3, "not PNG: bytes 0-7 are 89 51", 0},
    {"I3 IHDR", i3_ihdr, MATCH, 3, "checksum of IHDR at", 0},
    {"I3 IDAT", i3_idat, MATCH, 3, "checksum of IDAT at", 0},
    {"I3 ignored", i3_idat, MATCH " --ignore-crc", 0, "checksum", 0},
    {"I4 depth 0", i4_depth0, MATCH, 3, "bit depth 0", 0},
    {"I4 depth 3", i4_depth3, MATCH, 3, "bit depth 3", 0},
    {"I4 depth 99", i4_depth99, MATCH, 3, "bit depth 99", 0},
    {"I4 colour 1", i4_colour1, MATCH, 3, "colour type 1", 0},
    {"I4 colour 9", i4_colour9, MATCH, 3, "colour type 9", 0},
    {"I5 no IDAT", i5_no_data, MATCH, 3, "no picture data (IDAT)", 0},
    {"I5 truncated", i5_short, MATCH, 3, "truncated", 0},
    {"I5 stops", i5_batch, "$P match --model sgm left right -o out/; exit $?", 3, "left/1.png: ", 0},
    {"I5 keep going", i5_batch, "$P match --model sgm left right -o out/ --keep-going; e=$?; ls out | wc -l; exit $e",
     1, "1 of 3 pictures failed\n4\n", 0},
    {"I6 0 wide", i6_zero_width, MATCH, 3, "l.png: ", 70},
    {"I6 0 high", i6_zero_height, MATCH, 3, "l.png: ", 70},
    {"I6 2^31", i6_huge, MATCH, 3, "l.png: ", 70},
    {"I6 32769", i6_side, MATCH, 3, "32769", 70},
    {"I6 65535", i6_65535, MATCH, 3, "65535", 70},
    {"I7 bomb", i7_bomb, MATCH, 3, "l.png: ", 0},
    {"I7 claim", i7_claims, MATCH, 3, "l.png: ", 70},
    {"I7 more data", png_too_much_data, "$P match --model sgm l.png l.png -o o.pfm", 0,
     "more picture data than the size in IHDR needs", 70},
    {"I8 palette", png_palette_beyond, "$P match --model sgm l.png l.png -o o.pfm", 3, "l.png: ", 70},
    {"I8 no palette", png_no_palette, "$P match --model sgm l.png l.png -o o.pfm", 3, "l.png: ", 70},
    {"I8 tRNS", png_transparency_long, "$P match --model sgm l.png l.png -o o.pfm", 3, "l.png: ", 70},
    {"I8 interlaced 1x1", png_interlaced_1x1, "$P match --model sgm l.png r.png -o o.pfm", 0, "1x1", 0},
    {"I8 grey and alpha", png_grey_alpha_16, "$P match --model sgm l.png r.png -o o.pfm", 0, "2x1", 0},
    {"I8 empty IDATs", png_empty_data_chunks, "$P match --model sgm l.png l.png -o o.pfm", 0, "2x1", 0},
    {"I9 scan", i9_scan, "$P match --model sgm l.jpg r.png -o o.pfm", 3, "truncated; --lenient decodes what is there",
     0},
    {"I9 lenient", i9_scan, "$P match --model sgm l.jpg r.png -o o.pfm --lenient", 0, "l.jpg: ", 0},
    {"I9 header", i9_header, "$P match --model sgm l.jpg r.png -o o.pfm", 3, "l.jpg: JPEG: ", 0},
    {"I10 counts", i10_counts, "$P match --model sgm l.jpg r.png -o o.pfm", 3, "l.jpg: JPEG: ", 0},
    {"I10 table", i10_table, "$P match --model sgm l.jpg r.png -o o.pfm", 3, "l.jpg: JPEG: ", 0},
    {"I10 components", i10_components, "$P match --model sgm l.jpg r.png -o o.pfm", 3, "l.jpg: JPEG: ", 0},
    {"I10 0 x 0", i10_zero, "$P match --model sgm l.jpg r.png -o o.pfm", 3, "l.jpg: JPEG: ", 0},
    {"I10 two frames", jpeg_two_frames, "$P match --model sgm l.jpg l.jpg -o o.pfm", 3, "l.jpg: JPEG: ", 0},
    {"I10 sampling", jpeg_sampling, "$P match --model sgm l.jpg l.jpg -o o.pfm", 3, "l.jpg: JPEG: ", 0},
    {"I10 restart", jpeg_restart_65535, "$P match --model sgm l.jpg r.jpg -o o.pfm", 0, "16x8", 0},
    {"I10 scans", jpeg_ten_thousand_scans, "$P match --model sgm l.jpg l.jpg -o o.pfm", 3, "l.jpg: JPEG: ", 0},
    {"I11 lossless", jpeg_lossless, "$P match --model sgm l.jpg l.jpg -o o.pfm", 3,
     "lossless JPEG is not read; convert", 0},
    {"I11 CMYK", jpeg_cmyk, "$P match --model sgm l.jpg r.jpg -o o.pfm", 0, "8x8", 0},
    {"I11 YCCK", jpeg_ycck, "$P match --model sgm l.jpg r.jpg -o o.pfm", 0, "8x8", 0},
    {"I11 four", jpeg_four_unnamed, "$P match --model sgm l.jpg r.jpg -o o.pfm", 3, "l.jpg: JPEG: 4 colour components",
     0},
    {"I11 12 bits", i11_12bit, "$P match --model sgm l.jpg r.png -o o.pfm", 3, "12", 0},
    {"I11 arithmetic", i11_arithmetic, "$P match --model sgm l.jpg r.png -o o.pfm", 3, "arithmetic", 0},
    {"I12 orientation 0", exif_orientation_0, "$P match --model sgm l.jpg r.jpg -v -o o.pfm", 0, "16x8", 0},
    {"I12 orientation 9", exif_orientation_9, "$P match --model sgm l.jpg r.jpg -v -o o.pfm", 0, "16x8", 0},
    {"I12 orientation N", exif_orientation_text, "$P match --model sgm l.jpg r.jpg -v -o o.pfm", 0, "16x8", 0},
    {"I12 orientation 6", exif_orientation_6, "$P match --model sgm l.jpg r.jpg -o o.pfm", 0, "8x16", 0},
    {"I12 loop", exif_loop, "$P match --model sgm l.jpg r.jpg -v -o o.pfm", 0, "16x8", 0},
    {"I12 beyond", exif_beyond, "$P match --model sgm l.jpg r.jpg -v -o o.pfm", 0, "16x8", 0},
    {"I12 many tags", exif_many, "$P match --model sgm l.jpg r.jpg -v -o o.pfm", 0, "16x8", 0},
    {"I13 good", mpo_good, "$P match --model sgm m.mpo -o o.pfm", 0, "16x8", 0},
    {"I13 one", mpo_one, "$P match --model sgm m.mpo -o o.pfm", 3, "m.mpo: ", 0},
    {"I13 one, mono", mpo_one, "$P match --model sgm m.mpo one.jpg --layout pair -o o.pfm", 0, "16x8", 0},
    {"I13 cut", mpo_cut, "$P match --model sgm m.mpo -o o.pfm", 3, "m.mpo: ", 0},
    {"I13 sizes", mpo_sizes, "$P match --model sgm m.mpo -o o.pfm", 3, "m.mpo: ", 0},
    {"I13 nine", mpo_nine, "$P match --model sgm m.mpo -o o.pfm", 0, "16x8", 0},
    {"I14 maxval 0", i14_maxval0, "$P match --model sgm l.pgm r.png -o o.pfm", 3, "l.pgm: ", 0},
    {"I14 65536", i14_maxval65536, "$P match --model sgm l.pgm r.png -o o.pfm", 3, "65536", 0},
    {"I14 -1", i14_negative, "$P match --model sgm l.pgm r.png -o o.pfm", 3, "l.pgm: ", 0},
    {"I14 10^20", i14_width, "$P match --model sgm l.pgm r.png -o o.pfm", 3, "l.pgm: ", 70},
    {"I14 short", i14_missing, "$P match --model sgm l.pgm r.png -o o.pfm", 3, "l.pgm: ", 0},
    {"I14 comment", i14_comment, "$P match --model sgm l.pgm r.png -o o.pfm", 3, "l.pgm: ", 0},
    {"I14 16 bits", i14_16bit, "$P match --model sgm l.pgm r.pgm -o o.pfm", 0, "2x2", 0},
    {"I15 scale 0", i15_scale0, "$P eval o.pfm --truth o.pfm", 3, "o.pfm: ", 0},
    {"I15 scale nan", i15_nan, "$P eval o.pfm --truth o.pfm", 3, "o.pfm: ", 0},
    {"I15 scale 1e999", i15_huge, "$P eval o.pfm --truth o.pfm", 3, "o.pfm: ", 0},
    {"I15 negative", i15_negative, "$P eval o.pfm --truth o.pfm", 3, "o.pfm: ", 0},
    {"I15 short", i15_short, "$P eval o.pfm --truth o.pfm", 3, "o.pfm: ", 0},
    {"I15 values", i15_values, "$P eval o.pfm --truth t.pfm", 0, "25.00 %", 0},
    {"I15 as picture", i15_values, "$P match --model sgm o.pfm o.pfm -o x.pfm", 3, "o.pfm: ", 0},
    {"I15 big-endian", i15_big_endian, "$P eval o.pfm --truth o.pfm", 0, "0.00 %", 0},
    {"I15 tail", i15_tail, "$P eval o.pfm --truth o.pfm", 3, "o.pfm: ", 0},
    {"I16 length 0", npy_length_0, "$P eval o.npy --truth o.npy", 3, "o.npy: ", 0},
    {"I16 length 65535", npy_length_65535, "$P eval o.npy --truth o.npy", 3, "o.npy: ", 0},
    {"I16 not ASCII", npy_not_ascii, "$P eval o.npy --truth o.npy", 3, "o.npy: ", 0},
    {"I16 objects", npy_objects, "$P eval o.npy --truth o.npy", 3, "refused: contains Python objects", 0},
    {"I16 -1", npy_negative, "$P eval o.npy --truth o.npy", 3, "o.npy: ", 0},
    {"I16 2^62", npy_wraps, "$P eval o.npy --truth o.npy", 3, "o.npy: ", 70},
    {"I16 version 9", npy_version_9, "$P eval o.npy --truth o.npy", 3, "o.npy: ", 0},
    {"I16 Fortran", npy_fortran, "$P eval o.npy --truth o.npy", 0, "EPE", 0},
    {"I17 encrypted", npz_encrypted, "$P eval o.npz --truth o.npz", 3, "o.npz: ", 0},
    {"I17 directory", npz_directory_lies, "$P eval o.npz --truth o.npz", 3, "o.npz: ", 70},
    {"I17 same name", npz_same_name, "$P eval o.npz --truth o.npz", 3, "o.npz: ", 0},
    {"I17 upwards", npz_upwards, "$P eval o.npz --truth o.npz", 3, "has \"..\" in its name", 0},
    {"I17 bomb", npz_bomb, "$P eval o.npz --truth o.npz", 3, "o.npz: ", 0},
    {"I18 unknown", i18_unknown, "$P eval o.flo --truth o.flo", 0, "EPE", 0},
    {"I18 magic", i18_magic, "$P eval o.flo --truth o.flo", 3, "o.flo: ", 0},
    {"I18 size", i18_size, "$P eval o.flo --truth o.flo", 3, "o.flo: ", 0},
    {"I19 no scale", i19_scale, "$P eval o.png --truth o.png", 2, "scale", 0},
    {"I19 scale 0", i19_scale, "$P eval o.png --truth o.png --truth-scale 0", 2, "--truth-scale: '0' is", 0},
    {"I20 sizes", i20_sizes, MATCH, 3, "l.png is 128 x 96, r.png is 20 x 10", 0},
    {"I20 grey", i20_colour, MATCH, 0, "grey", 0},
    {"I20 same file", make_pair, "$P match --model sgm l.png l.png -o o.pfm", 0, "both eyes are identical", 0},
    {"I20 swapped", i20_scene, "$P match --model sgm r.png l.png -o o.pfm", 0, "eyes look swapped", 0},
    {"I20 in order", i20_scene, "$P match --model sgm l.png r.png -o o.pfm", 0, "eye test +", 0},
    {"I20 one picture", make_pair, "$P match --model sgm l.png -o o.pfm", 3,
     "l.png: holds one picture and no second eye", 0},
    {"I21 1 x 1", i21_1x1, MATCH " -o o.npz -o o.png -o o.d16.png", 0, "1x1", 0},
    {"I21 7 x 3", i21_7x3, MATCH " -o o.npz -o o.png -o o.d16.png --anaglyph a.png", 0, "7x3", 0},
    {"I21 61 x 33", i21_odd, MATCH " --scale 0.3", 0, "61x33", 0},
    {"I21 strip", i21_strip, MATCH, 0, "16384x4", 0},
    {"I21 tower", i21_tower, MATCH, 0, "3x5000", 0},
    {"I22 grey", i22_grey, MATCH, 0, "nothing in these pictures could be matched", 0},
    {"I22 black", i22_black, MATCH, 0, "nothing in these pictures could be matched", 0},
    {"I24 newline", i24_newline, "$P match --model sgm a* r.png -o o.pfm", 0, "a\\x0a\\x1b[31mb.png: pair", 0},
    {"I24 not UTF-8", i24_utf8, "$P match --model sgm a* r.png -o o.pfm", 3, "a\\xff\\xfe.png: ", 0},
    {"I24 dash", i24_dash, "$P match --model sgm -- -l.png r.png", 0, "-l.png: pair", 0},
    {"I24 dash as option", i24_dash, "$P match --model sgm -l.png r.png", 2, "unknown option -l", 0},
    {"I24 255 bytes", i24_long, "$P match --model sgm n*.png r.png -o o.pfm", 0, "pair of PNG", 0},
    {"I24 loop", i24_loop, "$P match --model sgm loop.png r.png -o o.pfm", 3, "circle", 0},
    {"I24 permission", i24_secret, MATCH, 3, "l.png: cannot be opened", 0},
};

static const Case command_line[] = {
    {"C1 nothing", NULL, "$P", 2, "a verb is missing", 0},
    {"C1 verb", NULL, "$P mach a b", 2, "did you mean match?", 0},
    {"C1 option", make_pair, MATCH " --thread-s 2", 2, "did you mean --threads?", 0},
    {"C1 twice", make_pair, MATCH " --threads 2", 2, "--threads was given twice", 0},
    {"C1 ambiguous", make_pair, MATCH " --o x.pfm", 2, "--o could be --output, --overwrite", 0},
    {"C1 no input", NULL, "$P match", 2, "nothing to work on", 0},
    {"C2 threads 0", make_pair, "$P match --model sgm l.png r.png --threads 0", 2,
     "--threads: '0' is not a whole number from 1 to 1024", 0},
    {"C2 threads abc", make_pair, "$P match --model sgm l.png r.png --threads abc", 2,
     "--threads: 'abc' is not a whole number", 0},
    {"C2 scale -1", make_pair, "$P match --model sgm l.png r.png --scale -1", 2, "--scale: '-1' is not a number", 0},
    {"C2 scale NaN", make_pair, "$P match --model sgm l.png r.png --scale NaN", 2, "--scale: 'NaN' is not a number", 0},
    {"C2 range", make_pair, "$P match l.png r.png --range 3:-3", 2, "is an empty range", 0},
    {"C2 wide range", make_pair, "$P match l.png r.png --range -9000:9000 -o o.pfm", 2, "range", 0},
    {"C2 memory 0", make_pair, "$P match --model sgm l.png r.png --max-memory 0", 2, "is not an amount of memory", 0},
    {"C2 memory -99G", make_pair, "$P match --model sgm l.png r.png --max-memory -99G", 2, "is not an amount of memory",
     0},
    {"C2 1e99", make_pair, "$P match --model sgm l.png r.png --scale 1e99", 2, "--scale: '1e99' is not a number", 0},
    {"C2 -0", make_pair, "$P match --model sgm l.png r.png --threads -0", 2, "--threads: '-0' is not", 0},
    {"C2 0x10", make_pair, "$P match --model sgm l.png r.png --threads 0x10", 2,
     "--threads: '0x10' is not a whole number", 0},
    {"C2 blank", make_pair, "$P match --model sgm l.png r.png --threads ' 5'", 2,
     "--threads: ' 5' is not a whole number", 0},
    {"C2 5px", make_pair, "$P match --model sgm l.png r.png --threads 5px", 2, "--threads: '5px' is not a whole number",
     0},
    {"C2 2^31", make_pair, "$P match --model sgm l.png r.png --threads 2147483648", 2,
     "is not a whole number from 1 to 1024", 0},
    {"C2 empty", make_pair, "$P match --model sgm l.png r.png --threads ''", 2, "--threads: '' is not a whole number",
     0},
    {"C2 frames -1", make_pair, "$P match --model sgm l.png r.png --frames -1", 2,
     "--frames: '-1' is not a whole number", 0},
    {"C2 backwards", make_film, "$P match --model sgm film --start 2f --end 1f -o out/", 2, "--end", 0},
    {"C3 is input", make_pair, "$P match --model sgm l.png r.png -o r.png -y", 2, "r.png: is also an input", 0},
    {"C3 hard link", c3_hard, "$P match --model sgm l.png r.png -o same.png -y", 2, "same.png: is also an input", 0},
    {"C3 no folder", make_pair, "$P match --model sgm l.png r.png -o no/o.pfm", 2, "no does not exist", 0},
    {"C3 file as folder", make_pair, "$P match --model sgm l.png r.png -o r.png/o.pfm", 2, "r.png", 0},
    {"C3 exists", c3_exists, MATCH, 2, "o.pfm: exists already; add -y", 0},
    {"C3 dry run", make_pair, MATCH " -n; ls o.pfm", 2, "would write o.pfm", 0},
    {"C3 replaced", c3_exists, MATCH " -y && head -c 2 o.pfm", 0, "Pf", 0},
    {"C3 link followed", c3_link, MATCH " -y && head -c 2 real.pfm && test -L o.pfm", 0, "Pf", 0},
    {"C3 twice", make_pair, MATCH " -o o.pfm", 2, "o.pfm would be written twice", 0},
    {"C3 form", make_pair, "$P match --model sgm l.png r.png -o o.xyz", 2, "o.xyz: its ending names no form", 0},
    {"C4 bare", make_pair, "env -i $P match --model sgm l.png r.png --threads 2 -o o.pfm", 0, "parallax", 0},
    {"C4 comma", make_pair,
     "env LC_ALL=de_DE.UTF-8 LC_NUMERIC=de_DE.UTF-8 $P match --model sgm l.png r.png --scale 0.5 -o o.pfm", 0,
     "parallax -", 0},
    {"C4 -n 8", make_pair, "ulimit -n 8; " MATCH " -o o.npz -o o.png", 0, "parallax", 0},
    {"C4 -f", make_pair, "ulimit -f 4; " MATCH, 6, "o.pfm", 0},
    {"C4 -s 64", make_pair, "ulimit -s 64; " MATCH, 0, "parallax", 0},
    {"C4 -v", make_pair, "ulimit -v 50000; " MATCH " --scale 4; exit $?", 6, "out of memory", -1},
    {"C4 no stdin", make_pair, MATCH " <&-", 0, "parallax", 0},
    {"C4 no stdio", make_pair,
     "( $P match --model sgm l.png r.png -o o.pfm <&- >&- 2>&- ); e=$?; head -c 2 o.pfm; exit $e", 0, "Pf", 0},
    {"C4 no stdout", make_pair, MATCH " --json >&-", 1, "standard output was closed", 0},
    {"C5 many files", c5_many,
     "ulimit -n 12; $P match --model sgm left right --no-video -o out/ -q; ls out | grep -c npz", 0, "60", 0},
    {"C7 time zone", make_pair, "TZ=Pacific/Auckland " MATCH, 0, "parallax", 0},
};

/* The program with faults.c in front of its libc; a file that was there before stays as it is. Not under a sanitizer,
 * which stands there itself. */
#define FAULT(fault) \
    "LD_PRELOAD=$F FAULT='" fault "' $P match --model sgm l.png r.png --threads 4 -q --no-meta -y -o o.pfm"
#define STAYS "; e=$?; cat o.pfm; exit $e"
#define SAME(fault) \
    "$P match --model sgm l.png r.png -q --no-meta -o good.pfm && " FAULT(fault) " && cmp o.pfm good.pfm && echo same"
static const Case faults[] = {
    {"S2 write EIO", c3_exists, FAULT("write 1 5"), 1, "writing failed after 0 bytes: Input/output error", -1},
    {"S2 write EIO keeps", c3_exists, FAULT("write 1 5") STAYS, 1, "precious", -1},
    {"S2 write ENOSPC", c3_exists, FAULT("write 1 28") STAYS, 6, "disk full after 0 bytes", -1},
    {"S2 write EDQUOT", c3_exists, FAULT("write 1 122") STAYS, 6, "precious", -1},
    {"S2 write EINTR", c3_exists, SAME("write 1 4"), 0, "same", -1},
    {"S2 write EAGAIN", c3_exists, SAME("write 1 11"), 0, "same", -1},
    {"S2 write short", c3_exists, SAME("write -1 0"), 0, "same", -1},
    {"S2 fsync EIO", c3_exists, FAULT("fsync 1 5") STAYS, 1, "precious", -1},
    {"S2 rename EXDEV", c3_exists, FAULT("rename 1 18") STAYS, 1, "precious", -1},
    {"S2 rename EROFS", c3_exists, FAULT("rename 1 30") STAYS, 1, "precious", -1},
    {"S2 close EIO", c3_exists, FAULT("close -1 5") STAYS, 1, "precious", -1},
    {"S3 ESTALE", c3_exists, FAULT("write 1 116") STAYS, 1, "precious", -1},
    {"S5 no threads", c3_exists, SAME("pthread_create -1 11"), 0, "same", -1},
    {"S5 one thread", c3_exists, SAME("pthread_create 2 11"), 0, "same", -1},
    {"S6 no mapping", weights_good, "LD_PRELOAD=$F FAULT='mmap -1 12' " VERIFY, 0, "sound: 2 tensors", -1},
};

static const Case machine[] = {
    {"S1 full device", make_pair, "$P match --model sgm l.png r.png -o /dev/full", 2, "its ending names no form", 0},
    {"S1 full", make_pair, "ln -s /dev/full o.pfm; $P match --model sgm l.png r.png -o o.pfm; e=$?; rm o.pfm; exit $e",
     6, "disk full after", 0},
    {"S1 full npz", make_pair,
     "ln -s /dev/full o.npz; $P match --model sgm l.png r.png -o o.npz; e=$?; rm o.npz; exit $e", 6, "disk full after",
     0},
    {"S1 full json", make_pair, MATCH " --json >/dev/full; e=$?; rm -f o.pfm; exit $e", 6, "No space left", 0},
    {"S1 full eval", i15_values, "$P eval o.pfm --truth t.pfm --json >/dev/full", 6, "No space left", 0},
    {"S1 full devices", NULL, "$P devices >/dev/full", 6, "No space left", 0},
    {"S1 full trace", NULL, "$P trace s2m2-XS 64x64 >/dev/full", 6, "No space left", 0},
    {"S1 full help", NULL, "$P help match >/dev/full", 6, "No space left", 0},
    {"S1 full list", NULL, "$P model list >/dev/full", 6, "No space left", 0},
    {"S1 full pack", make_pair, "ln -s /dev/full o.png; $P pack l.png r.png -o o.png -y; e=$?; rm o.png; exit $e", 6,
     "disk full after", 0},
    {"S1 full info", weights_good, "$P model info w.safetensors >/dev/full", 6, "No space left", 0},
    {"S1 full convert", weights_good,
     "ln -s /dev/full o.safetensors; $P model convert w.safetensors -o o.safetensors -y; e=$?; rm o.safetensors; exit "
     "$e",
     6, "disk full after", 0},
    {"S3 limit keeps old", c3_exists, "ulimit -f 8; " MATCH " -y; e=$?; cat o.pfm; exit $e", 6, "precious", 0},
    {"S8 base", make_pair, "PANUM_CPU=base " MATCH, 0, "parallax", 0},
    {"S8 same bytes", make_pair,
     "for l in base avx2 avx512; do PANUM_CPU=$l $P match --model sgm l.png r.png -q --no-meta -o $l.npz || exit; "
     "done; cmp "
     "base.npz avx2.npz && cmp "
     "base.npz avx512.npz && echo same",
     0, "same", 0},
    {"S9 one cpu", make_pair,
     "taskset -c 0 $P match --model sgm l.png r.png -q -o 1.pfm && $P match --model sgm l.png r.png -q --threads 5 -o "
     "5.pfm && cmp 1.pfm 5.pfm "
     "&& echo same",
     0, "same", 0},
};

/* What needs a real ffmpeg, and stops and kills on the way, is in tests/apps/test_film.c. */
#define FILM "$P match f.y4m --model sgm --no-video --threads 1 -o o/"
#define STREAM(header) "printf 'YUV4MPEG2 " header "\\n' | $P match - --model sgm -o o/ --no-video"
static const Case films[] = {
    {"V1 not y4m", make_pair, "$P match - --model sgm -o o/ <l.png", 3, "standard input: is not a y4m stream", 0},
    {"V1 empty", NULL, "$P match - --model sgm -o o/ </dev/null", 3, "standard input: is empty", 0},
    {"V1 no end of line", v1_no_line, FILM, 3, "f.y4m: y4m header: has no end of line within 4096 bytes", 0},
    {"V1 long header", v1_long_line, FILM, 0, "1 frame: parallax", 0},
    {"V2 W0", NULL, STREAM("W0 H4"), 3, "field W0", 0},
    {"V2 H-1", NULL, STREAM("W4 H-1"), 3, "field H-1", 0},
    {"V2 W99999999999", NULL, STREAM("W99999999999 H4"), 3, "field W99999999999", 70},
    {"V2 2^15 squared", NULL, STREAM("W32768 H32768"), 3, "over the limit of 2^28", 70},
    {"V2 twice", NULL, STREAM("W4 W4 H4"), 3, "field W4", 0},
    {"V2 no H", NULL, STREAM("W4 C420jpeg"), 3, "the height (H) is missing", 0},
    {"V2 F0:0", NULL, STREAM("W4 H4 F0:0"), 3, "field F0:0", 0},
    {"V2 F1:0", NULL, STREAM("W4 H4 F1:0"), 3, "field F1:0", 0},
    {"V2 C444alpha", NULL, STREAM("W4 H4 C444alpha"), 3, "field C444alpha", 0},
    {"V2 X is passed over", v2_unknown, FILM, 0, "1 frame: parallax", 0},
    {"V3 odd", v3_odd, FILM " --layout sbs", 3, "width 257 cannot be split into two eyes", 0},
    {"V4 short", v4_short, FILM "; e=$?; ls o | grep -c npz; exit $e", 3,
     "f.y4m: frame 2 is short by 3110 bytes; 2 frames are done and kept (incomplete)", 0},
    {"V4 lenient", v4_short, FILM " --lenient", 0, "taken as far as it goes", 0},
    {"V4 first short", v4_first_short, FILM, 3, "frame 0 is short by 100 bytes", 0},
    {"V4 zero frames", v4_none, FILM, 3, "has a header and no frame", 0},
    {"V4 misspelt", v4_misspelt, FILM, 3, "frame 0 begins with \"FRAMY\" and not with FRAME", 0},
    {"V5 no ffmpeg", v5_mkv, "PATH=/nonexistent $P match --model sgm f.mkv -o o/", 8,
     "ffmpeg not found in PATH; install", 0},
    {"V5 not ffmpeg", v5_mkv, "PANUM_FFMPEG=/bin/true $P match --model sgm f.mkv -o o/", 8, "/bin/true is not ffmpeg",
     0},
    {"V5 no program", v5_mkv, "PANUM_FFMPEG=./f.mkv $P match --model sgm f.mkv -o o/", 8,
     "is not a program that can be run", 0},
    {"V6 reader gone", v6_many, "{ $P match f.y4m --model sgm -o -; echo code $? >&2; } | head -c 1 >/dev/null", 0,
     "code 1", 0},
    {"V14 one frame", v14_one, FILM, 0, "1 frame: parallax", 0},
    {"V14 black first", v14_black, FILM, 0, "4 frames: parallax", 0},
    {"C3 film there", c3_frame_there, FILM, 2, "o/frame_000001.npz exists; add -y", 0},
    {"C3 film place", v_film, "$P match f.y4m --model sgm -o no/o/", 2, "no does not exist", 0},
    {"C3 film twice", v_film, "$P match f.y4m --model sgm -o o.mkv -o ./o.mkv", 2, "./o.mkv would be written twice", 0},
    {"C3 film in picture", v_film, "$P match f.y4m --model sgm -o o.npz", 2, "a film is written to a folder", 0},
    {"C3 picture as film", make_pair, "$P match --model sgm l.png -o -", 2, "-o -: is for films", 0},
    {"C1 unheeded", v_film, "$P match f.y4m --range -8:8 --exact --refine-iter 2 --no-video -o o/", 0,
     "--exact, --refine-iter do nothing here: they are for the s2m2 models", 0},
    {"C5 at once", c5_locked, "flock o.work/lock " FILM, 2, "o/: another panum (pid 812) is writing it", 0},
    {"C4 -f film", v_film, "ulimit -f 4; " FILM "; exit $?", 6, "frame_000000.npz", 0},
    {"S1 full film", v_film, "$P match f.y4m --model sgm -o - >/dev/full", 6, "disk full after", 0},
};

static const Case weights[] = {
    {"W0 good", weights_good, VERIFY, 0, "sound: 2 tensors", 0},
    {"W1 0 bytes", weights_0, VERIFY, 4, "w.safetensors: ", 0},
    {"W1 7 bytes", weights_7, VERIFY, 4, "w.safetensors: ", 0},
    {"W1 length 0", weights_length_0, VERIFY, 4, "w.safetensors: ", 0},
    {"W1 length 2^63", weights_length_63, VERIFY, 4, "w.safetensors: ", 0},
    {"W1 length + 1", weights_length_more, VERIFY, 4, "w.safetensors: ", 0},
    {"W1 length 1", weights_length_1, VERIFY, 4, "header says 1 bytes", 0},
    {"W2 zero byte", weights_zero_byte, VERIFY, 4, "w.safetensors: ", 0},
    {"W2 surrogate", weights_lone_surrogate, VERIFY, 4, "w.safetensors: ", 0},
    {"W2 10 MB number", weights_long_number, VERIFY, 4, "w.safetensors: ", 0},
    {"W2 metadata twice", weights_metadata_twice, VERIFY, 4, "w.safetensors: ", 0},
    {"W3 negative", weights_offset_negative, VERIFY, 4, "w.safetensors: ", 0},
    {"W3 2^64 - 1", weights_offset_2_64, VERIFY, 4, "w.safetensors: ", 0},
    {"W3 24e0", weights_offset_exponent, VERIFY, 4, "w.safetensors: ", 0},
    {"W3 unsorted", weights_unsorted, VERIFY, 0, "sound: 2 tensors", 0},
    {"W4 2^63", weights_size_2_63, VERIFY, 4, "w.safetensors: ", 0},
    {"W5 I4", weights_int4, VERIFY, 4, "I4", 0},
    {"W5 bool 7", weights_bool_7, VERIFY, 4, "is bool, but element 1 is 7", 0},
    {"W6 zero in name", weights_name_zero, VERIFY, 4, "w.safetensors: ", 0},
    {"W8 legacy", NULL, "$P model verify \"$T\"/tests/fixtures/files/legacy_p2.pth", 0, "sound: ", 0},
    {"W2 not {", weights_not_object, VERIFY, 4, "w.safetensors: ", 0},
    {"W2 UTF-8", weights_bad_utf8, VERIFY, 4, "w.safetensors: ", 0},
    {"W2 depth", weights_deep, VERIFY, 4, "w.safetensors: ", 0},
    {"W2 twice", weights_twice, VERIFY, 4, "w.safetensors: ", 0},
    {"W2 metadata", weights_metadata_number, VERIFY, 4, "w.safetensors: ", 0},
    {"W3 begin > end", weights_backwards, VERIFY, 4, "w.safetensors: ", 0},
    {"W3 beyond", weights_beyond, VERIFY, 4, "w.safetensors: ", 0},
    {"W3 overlap", weights_overlap, VERIFY, 4, "w.safetensors: ", 0},
    {"W3 hole", weights_hole, VERIFY, 4, "w.safetensors: ", 0},
    {"W3 fraction", weights_fraction, VERIFY, 4, "w.safetensors: ", 0},
    {"W4 shape", weights_wrong_shape, VERIFY, 4, "w.safetensors: ", 0},
    {"W4 wraps", weights_wraps, VERIFY, 4, "w.safetensors: ", 0},
    {"W5 dtype", weights_dtype, VERIFY, 4, "F8_E4M3", 0},
    {"W6 name", weights_long_name, VERIFY, 4, "w.safetensors: ", 0},
    {"W6 count", weights_many, VERIFY, 4, "w.safetensors: ", 0},
    {"W7 tail", weights_tail, VERIFY, 4, "after the last tensor", 0},
    {"W9 os.system", weights_system, VERIFY_PTH, 4, "refused: pickle asks for os.system", 0},
    {"W9 eval", weights_eval, VERIFY_PTH, 4, "builtins.eval", 0},
    {"W9 INST", weights_pickle_inst, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W9 EXT1", weights_pickle_extension, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W9 PERSID", weights_pickle_persistent_text, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W9 torch.load", weights_pickle_torch_load, VERIFY_PTH, 4, "refused: pickle asks for torch.load", 0},
    {"W9 arguments", weights_pickle_arguments, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W10 4 GB of text", weights_pickle_long_text, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W10 in itself", weights_pickle_in_itself, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W11 good", weights_storage_good, VERIFY_PTH, 0, "sound: 1 tensor", 0},
    {"W11 upwards", weights_storage_upwards, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W11 absent", weights_storage_absent, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W11 short", weights_storage_short, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W11 beyond", weights_storage_beyond, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W11 negative", weights_stride_negative, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W11 huge", weights_stride_huge, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W12 encrypted", weights_zip_encrypted, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W12 other name", weights_zip_names, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W12 longer", weights_zip_longer, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W10 underflow", weights_underflow, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W10 memo", weights_memo, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W10 no stop", weights_no_stop, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W12 no end", weights_zip_cut, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W12 deflated", weights_zip_deflated, VERIFY_PTH, 4, "w.pth: ", 0},
    {"W13 other model", weights_good, VERIFY " --model s2m2-S", 4, "does not fit model s2m2-S: 660 missing", 0},
    {"W13 says where to look", weights_good, MATCH_WEIGHTS, 4,
     "panum model verify w.safetensors --model s2m2-S lists them all", 0},
    {"W14 NaN", weights_nan, VERIFY, 4, "1 NaN", 0},
    {"W14 infinite", weights_infinite, VERIFY, 4, "1 infinite", 0},
    {"W15 LFS", weights_lfs, VERIFY, 4, "git-LFS pointer", 0},
    {"W15 HTML", weights_html, VERIFY_PTH, 4, "web page", 0},
    {"W15 gzip", weights_gzip, VERIFY_PTH, 4, "gzip", 0},
    {"W15 folder", NULL, "mkdir w.pth; " VERIFY_PTH, 4, "w.pth: is a folder", 0},
    {"W15 missing", NULL, VERIFY, 4, "w.safetensors: there is no such file", 0},
    {"W15 partial", weights_partial, VERIFY, 4, "w.safetensors: ", 0},
    /* mapped, and nothing of it is read before the names are known to be others */
    {"W16 30 GB", weights_30_gb, MATCH_WEIGHTS, 4, "missing", -1},
};

/* ---- running
 * ---------------------------------------------------------------------------------------------------------- */

/* Names and contents of all files below a path, as one number. */
static uint64_t fingerprint(const char *path) {
    uint64_t sum = 0;
    DIR *dir = opendir(path);
    if (!dir) return 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        char inner[2048];
        struct stat st;
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (lstat(inner, &st) != 0) continue;
        uint64_t mine = fnv1a64(inner, strlen(inner));
        if (S_ISDIR(st.st_mode)) mine ^= fingerprint(inner) * 31;
        if (S_ISREG(st.st_mode) && st.st_size > 1 << 26) mine ^= (uint64_t)st.st_size * 31;
        if (S_ISREG(st.st_mode) && st.st_size <= 1 << 26) {
            FILE *file = fopen(inner, "rb");
            static char bytes[1 << 20];
            size_t n;
            while (file && (n = fread(bytes, 1, sizeof bytes, file)) > 0)
                mine = mine * 1099511628211u ^ fnv1a64(bytes, n);
            if (file) fclose(file);
        }
        sum += mine; /* in any order */
    }
    closedir(dir);
    return sum;
}

static bool has_part(const char *path) {
    char said[4096];
    run_command(said, sizeof said, "find '%s' -name '*.part.*'", path);
    return said[0] != 0;
}

static char said[1 << 16];

static int run_case(const Case *c) {
    char name[128] = "bad/";
    for (const char *s = c->id; *s; s++) strncat(name, *s == ' ' || *s == '/' || *s == '>' ? "_" : (char[2]){*s, 0}, 1);
    static char path[1024];
    snprintf(path, sizeof path, "%s", scratch_folder(name));
    folder = path;
    if (c->make) c->make();
    uint64_t before = fingerprint(path);
    int limit = c->limit > 0 ? c->limit : 512;
    char ulimit[64] = "";
    if (sanitized && c->limit < 0) return 0;
    if (!sanitized && c->limit >= 0) snprintf(ulimit, sizeof ulimit, "ulimit -v %d; ", limit * 1024);
    double start = clock_seconds();
    int rc = run_command(said, sizeof said, "cd '%s' && P=%s && T=%s && F=%s && export P T F && ( %s%s )", path,
                         program, tree, interposed, ulimit, c->command);
    double ms = (clock_seconds() - start) * 1e3;
    const char *why = NULL;
    if (rc != c->code)
        why = "another exit code";
    else if (!strstr(said, c->pattern))
        why = "other words";
    else if (has_part(path))
        why = "a part file left behind";
    else if (c->code > 1 && strstr(c->command, "; ") == NULL && fingerprint(path) != before)
        why = "files changed";
    printf("  %-20s %d %6.0f ms  %.150s%s\n", c->id, rc, ms, said, strchr(said, '\n') ? "" : "\n");
    if (why)
        print_error("%s: %s: exit %d (wanted %d), wanted '%s', said: %s\n  %s\n", c->id, why, rc, c->code, c->pattern,
                    said, c->command);
    return why != NULL;
}

static void run_table(const Case *cases, size_t count) {
    int bad = 0;
    for (size_t i = 0; i < count; i++) {
        bool permission = strstr(cases[i].id, "permission");
        if (permission && geteuid() == 0) {
            printf("skip: %s: this is root, who may read everything\n", cases[i].id);
            continue;
        }
        bad += run_case(&cases[i]);
    }
    if (bad) fail_msg("%d of %zu cases", bad, count);
}

static void test_images(void **state) {
    (void)state;
    run_table(images, sizeof images / sizeof *images);
}
static void test_command_line(void **state) {
    (void)state;
    run_table(command_line, sizeof command_line / sizeof *command_line);
}
static void test_machine(void **state) {
    (void)state;
    run_table(machine, sizeof machine / sizeof *machine);
}
static void test_faults(void **state) {
    (void)state;
    run_table(faults, sizeof faults / sizeof *faults);
}
static void test_films(void **state) {
    (void)state;
    run_table(films, sizeof films / sizeof *films);
}
static void test_weights(void **state) {
    (void)state;
    run_table(weights, sizeof weights / sizeof *weights);
}

/* Real damaged files: each is refused with a sentence, or decoded. */
static void test_real(void **state) {
    (void)state;
    NEEDS_DATA("bad_inputs/png/xcrn0g04.png");
    static char root[4200];
    assert_non_null(realpath(shared_data("bad_inputs"), root));
    folder = scratch_folder("bad/real");
    static const char *const rooms[] = {"png", "jpg", "mpo"};
    int bad = 0, refused = 0, read = 0;
    for (int r = 0; r < 3; r++) {
        char path[4400];
        snprintf(path, sizeof path, "%s/%s", root, rooms[r]);
        DIR *dir = opendir(path);
        for (struct dirent *entry; dir && (entry = readdir(dir));) {
            if (entry->d_name[0] == '.') continue;
            int rc = run_command(said, sizeof said,
                                 "cd '%s' && %s match '%s/%s' '%s/%s' --threads 2 --scale 0.25 -y -o o.pfm", folder,
                                 program, path, entry->d_name, path, entry->d_name);
            printf("  %-28s %d %.120s%s", entry->d_name, rc, said, strlen(said) > 120 ? "\n" : "");
            if (rc == 3)
                refused++;
            else if (rc == 0)
                read++;
            else
                bad++;
            if (rc == 3 && (!strstr(said, "panum match: ") || strchr(strchr(said, '\n') + 1, '\n'))) bad++;
        }
        if (dir) closedir(dir);
    }
    printf("%d refused, %d read\n", refused, read);
    assert_int_equal(bad, 0);
    assert_true(refused >= 15);
}

/* C6: stopped in the middle of the work: exit 130, nothing written, nothing left. */
static void test_stopped(void **state) {
    (void)state;
    folder = scratch_folder("bad/stopped");
    Image big;
    assert_int_equal(image_make(&big, 1600, 1200, 1, 8), 0);
    for (int64_t i = 0; i < image_pixels(&big); i++) big.bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    save("l.png", &big);
    save("r.png", &big);
    image_free(&big);
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (int s = 0; s < 4; s++) {
        pid_t child = fork();
        if (child == 0) {
            if (chdir(folder) != 0 || !freopen("said", "w", stderr)) _exit(99);
            execl(program, program, "match", "l.png", "r.png", "--threads", "1", "-o", "o.pfm", "-o", "o.npz", "--log",
                  "log", (char *)NULL);
            _exit(98);
        }
        /* wait until it talks, in the log at once: the handlers are there, the pictures are read */
        for (int i = 0; i < 3000; i++) {
            struct stat st;
            if (stat(in_folder("log"), &st) == 0 && st.st_size > 0) break;
            usleep(2000);
        }
        kill(child, signals[s % 3]);
        if (s == 3) { /* twice: at once */
            usleep(20000);
            kill(child, SIGINT);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 130);
        assert_int_not_equal(access(in_folder("o.pfm"), F_OK), 0);
        assert_int_not_equal(access(in_folder("o.npz"), F_OK), 0);
        assert_false(has_part(folder));
        Bytes b = get("said");
        b.bytes[b.size] = 0;
        if (s < 3) assert_non_null(strstr((char *)b.bytes, "interrupted; nothing was written"));
        free(b.bytes);
        unlink(in_folder("said"));
        unlink(in_folder("log"));
    }
}

/* S4: the n-th request for memory and all later ones fail, for every n until the command succeeds; then the n-th alone.
 * With a `step` above 1 every n up to 40 is taken, then each step-th. */
static void fail_every_allocation(const char *name, const char *command, const char *output, int step) {
    char path[1024];
    snprintf(path, sizeof path, "%s", scratch_folder(name));
    folder = path;
    save("l.png", &(Image){16, 12, 1, 8, dots.left.bytes});
    save("r.png", &(Image){16, 12, 1, 8, dots.right.bytes});
    weights_good();
    int rc = run_command(said, sizeof said, "cd '%s' && P=%s && %s", path, program, command);
    if (rc != 0) fail_msg("%s: exit %d: %s", command, rc, said);
    char reference[1 << 14];
    snprintf(reference, sizeof reference, "%s", said);
    if (output) assert_int_equal(rename(in_folder(output), in_folder("reference")), 0);
    uint64_t before = fingerprint(path);
    int total = 0;
    for (int for_good = 1; for_good >= 0;
         for_good--) { /* "n and all later ones" ends when n is beyond the last request */
        int failures = 0;
        for (int n = 1; for_good || n <= total; n += n < 40 ? 1 : step) {
            rc = run_command(said, sizeof said, "cd '%s' && P=%s && export PANUM_FAIL_ALLOC=%d%s && %s", path, program,
                             n, for_good ? "+" : "", command);
            if (rc == 0) { /* a fall-back, or the end: the same bytes */
                char compared[512];
                if (output && run_command(compared, sizeof compared, "cd '%s' && cmp reference %s && rm %s", path,
                                          output, output) != 0)
                    fail_msg("%s with allocation %d failing: other bytes", command, n);
                if (for_good) total = n;
                if (for_good &&
                    run_command(compared, sizeof compared, "cd '%s' && P=%s && export PANUM_FAIL_ALLOC=%d+ && %s", path,
                                program, n + 5, command) == 0) {
                    if (output) unlink(in_folder(output));
                    break;
                }
                continue;
            }
            failures++;
            if (rc != 6 || !strstr(said, "memory"))
                fail_msg("%s with allocation %d failing: exit %d: %s", command, n, rc, said);
            if (fingerprint(path) != before || has_part(path))
                fail_msg("%s with allocation %d failing leaves something behind", command, n);
            if (n > 5000) fail_msg("%s never ends", command);
        }
        printf("  %s: of %d requests %d fail%s, each with exit 6\n", command, total, failures,
               for_good ? " for good" : "");
        assert_true(failures > 5);
    }
}

static void test_failing_allocations(void **state) {
    (void)state;
    fail_every_allocation("bad/alloc_match", "$P match --model sgm l.png r.png --threads 1 --no-meta -q -o o.npz",
                          "o.npz", 1);
    fail_every_allocation("bad/alloc_png", "$P match --model sgm l.png r.png --threads 1 --no-meta -q -o o.png",
                          "o.png", 1);
    /* The network: some five hundred requests, of which the plan makes most. */
    scratch_folder("bad/seeded");
    const char *build = getenv("PANUM_BUILD") ? getenv("PANUM_BUILD") : "build";
    if (run_command(said, sizeof said, "%s model seed s2m2-XS -q -o %s/scratch/bad/seeded/XS.safetensors", program,
                    build))
        fail_msg("%s", said);
    fail_every_allocation("bad/alloc_s2m2",
                          "$P match l.png r.png --model s2m2-XS --weights ../seeded/XS.safetensors --threads 2 "
                          "--no-meta -q -o o.npz",
                          "o.npz", 7);
    scratch_folder("bad/seeded"); /* 8 MB */
    fail_every_allocation("bad/alloc_info", "$P info l.png w.safetensors", NULL, 1);
    fail_every_allocation("bad/alloc_verify", "$P model verify w.safetensors", NULL, 1);
}

static int set_up(void **state) {
    (void)state;
    const char *build = getenv("PANUM_BUILD") ? getenv("PANUM_BUILD") : "build";
    sanitized = strstr(build, "san") != NULL;
    if (!realpath(panum_program(), program) || !getcwd(tree, sizeof tree)) return -1;
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/bad/faults.so", build);
    if (!realpath(path, interposed)) return -1;
    return random_dot_make(&dots, NULL);
}

static int tear_down(void **state) {
    (void)state;
    random_dot_free(&dots);
    return 0;
}

void put_bytes(const char *name, const void *bytes, size_t size) {
    put(name, bytes, size);
}
const Image *made_eye(int eye) {
    return eye ? &dots.right : &dots.left;
}
const char *made_path(const char *name) {
    return in_folder(name);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_images), cmocka_unit_test(test_command_line), cmocka_unit_test(test_machine),
        cmocka_unit_test(test_faults), cmocka_unit_test(test_films),        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_real),   cmocka_unit_test(test_stopped),      cmocka_unit_test(test_failing_allocations),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]); /* one table alone, by name */
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
