/* Pictures, maps and archives that must be survived: rows I of the specification (reliability, section 5.1).
 * I23, a file that shrinks while it is read, is in tests/base/test_file.c, which can choose the moment. */
#include "base/hash.h"
#include "data/map.h"
#include "data/png.h"
#include "tests/bad/pictures_made.h"

#include <dirent.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

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
    Bytes b = get_bytes("l.png");
    memcpy(b.bytes + at, bytes, size);
    if (fix) {
        uint32_t crc = crc32_update(0, b.bytes + 12, 17);
        for (int i = 0; i < 4; i++) b.bytes[29 + i] = (uint8_t)(crc >> (24 - 8 * i));
    }
    put_bytes("l.png", b.bytes, b.size);
    free(b.bytes);
}

static void i1_empty(void) {
    make_pair();
    put_bytes("l.png", "", 0);
}
static void i1_one(void) {
    make_pair();
    put_bytes("l.png", "x", 1);
}
static void i1_fifo(void) {
    make_pair();
    unlink(made_path("l.png"));
    assert_int_equal(mkfifo(made_path("l.png"), 0600), 0);
}
static void i1_folder(void) {
    make_pair();
    assert_int_equal(mkdir(made_path("dir"), 0700), 0);
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
    Bytes b = get_bytes("l.png");
    b.bytes[b.size - 14] ^= 1; /* IEND takes 12, so this is in the checksum of the last IDAT */
    put_bytes("l.png", b.bytes, b.size);
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
    Bytes b = get_bytes("l.png");
    memmove(b.bytes + 33, b.bytes + b.size - 12, 12);
    put_bytes("l.png", b.bytes, 45);
    free(b.bytes);
}
static void i5_short(void) {
    make_pair();
    cut("l.png", 0.6);
}
/* Three pairs in folders, of which one is cut. */
static void i5_batch(void) {
    make_batch();
    cut("left/1.png", 0.5);
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
    save("l.jpg", made_eye(0));
    cut("l.jpg", 0.6);
}
static void i9_header(void) {
    make_pair();
    save("l.jpg", made_eye(0));
    cut("l.jpg", 0.02);
}
/* Changes the byte `offset` bytes behind the first marker `marker`. */
static void edit_jpeg(int marker, size_t offset, int value) {
    make_pair();
    save("l.jpg", made_eye(0));
    Bytes b = get_bytes("l.jpg");
    for (size_t i = 2; i + 4 < b.size; i += 2 + (size_t)(b.bytes[i + 2] << 8 | b.bytes[i + 3]))
        if (b.bytes[i + 1] == marker) {
            b.bytes[i + offset] = (uint8_t)value;
            put_bytes("l.jpg", b.bytes, b.size);
            free(b.bytes);
            return;
        }
    fail_msg("no marker %02x", marker);
}
static void i10_counts(void) {
    make_pair();
    save("l.jpg", made_eye(0));
    Bytes b = get_bytes("l.jpg");
    for (size_t i = 2; i + 4 < b.size; i += 2 + (size_t)(b.bytes[i + 2] << 8 | b.bytes[i + 3]))
        if (b.bytes[i + 1] == 0xc4) {
            memset(b.bytes + i + 5, 255, 16); /* the table's sixteen counts */
            break;
        }
    put_bytes("l.jpg", b.bytes, b.size);
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
    Bytes b = get_bytes("l.jpg");
    for (size_t i = 2; i + 4 < b.size; i += 2 + (size_t)(b.bytes[i + 2] << 8 | b.bytes[i + 3]))
        if (b.bytes[i + 1] == 0xc0) b.bytes[i + 6] = b.bytes[i + 7] = b.bytes[i + 8] = 0;
    put_bytes("l.jpg", b.bytes, b.size);
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
    put_bytes("l.pgm", text, 1 << 20);
    free(text);
}
static void i14_16bit(void) {
    put_bytes("l.pgm", "P5 2 2 65535\n\0\1\2\3\4\5\6\7", 21);
    put_bytes("r.pgm", "P5 2 2 65535\n\0\1\2\3\4\5\6\7", 21);
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
static void i18_magic(void) {
    put_bytes("o.flo", "XXXX\2\0\0\0\1\0\0\0abcdabcdabcdabcd", 28);
}
static void i15_big_endian(void) {
    put_bytes("o.pfm", "Pf\n1 1\n1.0\n\77\200\0\0", 15);
}
static void i15_tail(void) {
    put_bytes("o.pfm", "Pf\n1 1\n-1.0\n\0\0\200\77tail", 20);
}
/* 1e10 and NaN say "not known"; the other vector is (1, 0). */
static void i18_unknown(void) {
    put_bytes("o.flo", "PIEH\3\0\0\0\1\0\0\0\0\0\200\77\0\0\0\0\371\2\25\120\371\2\25\120\0\0\300\177\0\0\300\177", 36);
}
static void i18_size(void) {
    put_bytes("o.flo", "PIEH\2\0\0\0\1\0\0\0abcdabcdabcd", 24);
}
static void i19_scale(void) {
    Image image;
    assert_int_equal(image_make(&image, 4, 4, 1, 16), 0);
    memset(image.bytes, 1, 32);
    save("o.png", &image);
    image_free(&image);
}
static void i20_sizes(void) {
    save("l.png", made_eye(0));
    make_flat("r.png", 20, 10, 1, 3);
}
static void i20_colour(void) {
    Image rgb;
    assert_int_equal(image_copy(&rgb, made_eye(1)), 0);
    assert_int_equal(image_to_rgb(&rgb), 0);
    save("l.png", made_eye(0));
    save("r.png", &rgb);
    image_free(&rgb);
}
/* A scene of our own, whose occluding contours tell which eye is which. */
static void i20_scene(void) {
    assert_int_equal(
        run_command(said, sizeof said, "%s demo -q --model sgm --width 320 -o '%s'", bad_program(), made_path("scene")),
        0);
    assert_int_equal(rename(made_path("scene/left.png"), made_path("l.png")), 0);
    assert_int_equal(rename(made_path("scene/right.png"), made_path("r.png")), 0);
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
    save("a\n\033[31mb.png", made_eye(0));
    save("r.png", made_eye(1));
}
static void i24_utf8(void) {
    put_bytes("a\xff\xfe.png", "x", 1);
    save("r.png", made_eye(1));
}
static void i24_dash(void) {
    save("-l.png", made_eye(0));
    save("r.png", made_eye(1));
}
static void i24_long(void) {
    char name[256];
    memset(name, 'n', 251);
    memcpy(name + 251, ".png", 5);
    save(name, made_eye(0));
    save("r.png", made_eye(1));
}
static void i24_loop(void) {
    make_pair();
    assert_int_equal(symlink("loop.png", made_path("loop.png")), 0);
}
static void i24_secret(void) {
    make_pair();
    assert_int_equal(chmod(made_path("l.png"), 0), 0);
}
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
    {"I15 values", make_maps, "$P eval o.pfm --truth t.pfm", 0, "25.00 %", 0},
    {"I15 as picture", make_maps, "$P match --model sgm o.pfm o.pfm -o x.pfm", 3, "o.pfm: ", 0},
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

static void test_images(void **state) {
    (void)state;
    RUN_TABLE(images);
}

/* Real damaged files: each is refused with a sentence, or decoded. */
static void test_real(void **state) {
    (void)state;
    NEEDS_DATA("bad_inputs/png/xcrn0g04.png");
    static char root[4200];
    assert_non_null(realpath(shared_data("bad_inputs"), root));
    const char *folder = bad_folder("bad/real");
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
                                 bad_program(), path, entry->d_name, path, entry->d_name);
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

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_images), cmocka_unit_test(test_real)};
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, bad_set_up, bad_tear_down);
}
