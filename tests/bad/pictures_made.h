/* tests/bad/pictures_made.h - pictures, maps and archives by hand, good and bad, written into the folder of the case
 * that is running. */
#ifndef PANUM_TESTS_BAD_PICTURES_MADE_H
#define PANUM_TESTS_BAD_PICTURES_MADE_H
#include "base/hash.h"
#include "base/mem.h"
#include "tests/lib/bad.h"
#include "tests/lib/zip_maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes that grow; enough for the largest file made here. */
typedef struct {
    uint8_t bytes[1 << 21];
    size_t size;
} Made;

static Made made;

static void add(const void *bytes, size_t size) {
    if (size > sizeof made.bytes - made.size) abort();
    memcpy(made.bytes + made.size, bytes, size);
    made.size += size;
}
#define ADD(text) add(text, sizeof text - 1)
static void add_be32(uint32_t v) {
    add((uint8_t[]){(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v}, 4);
}

/* ---- PNG ---- */

static void png_chunk(const char *type, const void *data, size_t size) {
    add_be32((uint32_t)size);
    size_t start = made.size;
    add(type, 4);
    add(data, size);
    add_be32(crc32_update(0, made.bytes + start, size + 4));
}

typedef struct {
    uint32_t width, height;
    uint8_t bits, colour, interlaced;
} PngHead;

static void png_begin(PngHead h) {
    made.size = 0;
    ADD("\x89PNG\r\n\x1a\n");
    uint8_t head[13] = {0};
    set_u32(head, __builtin_bswap32(h.width)); /* set_u32 is little endian */
    set_u32(head + 4, __builtin_bswap32(h.height));
    head[8] = h.bits, head[9] = h.colour, head[12] = h.interlaced;
    png_chunk("IHDR", head, sizeof head);
}

/* IDAT with `rows` (filter bytes in them), not packed: one stored block of zlib. */
static void png_end(const char *name, const void *rows, size_t size) {
    uint8_t data[1 << 10], *at = data;
    const uint8_t *p = rows;
    uint32_t a = 1, b = 0;
    if (size > sizeof data - 16) abort();
    memcpy(at, "\x78\x01\x01", 3), at += 3;
    set_u16(at, (unsigned)size), set_u16(at + 2, ~(unsigned)size & 0xffff), at += 4;
    memcpy(at, rows, size), at += size;
    for (size_t i = 0; i < size; i++) a = (a + p[i]) % 65521, b = (b + a) % 65521;
    set_u32(at, __builtin_bswap32(b << 16 | a)), at += 4;
    png_chunk("IDAT", data, (size_t)(at - data));
    png_chunk("IEND", "", 0);
    put_bytes(name, made.bytes, made.size);
}

static void png_palette_beyond(void) {
    png_begin((PngHead){2, 1, 8, 3, 0});
    png_chunk("PLTE", "\1\2\3", 3);
    png_end("l.png", "\0\0\1", 3);
}
static void png_transparency_long(void) {
    png_begin((PngHead){2, 1, 8, 3, 0});
    png_chunk("PLTE", "\1\2\3", 3);
    png_chunk("tRNS", "\1\2\3\4", 4);
    png_end("l.png", "\0\0\0", 3);
}
static void png_no_palette(void) {
    png_begin((PngHead){2, 1, 8, 3, 0});
    png_end("l.png", "\0\0\0", 3);
}
static void png_interlaced_1x1(void) {
    for (int eye = 0; eye < 2; eye++) {
        png_begin((PngHead){1, 1, 8, 0, 1});
        png_end(eye ? "r.png" : "l.png", "\0\177", 2);
    }
}
static void png_grey_alpha_16(void) {
    for (int eye = 0; eye < 2; eye++) {
        png_begin((PngHead){2, 1, 16, 4, 0});
        png_end(eye ? "r.png" : "l.png", "\0\1\2\377\377\3\4\0\0", 9);
    }
}
static void png_empty_data_chunks(void) {
    png_begin((PngHead){2, 1, 8, 0, 0});
    for (int i = 0; i < 100000; i++) png_chunk("IDAT", "", 0);
    png_end("l.png", "\0ab", 3);
}
/* Rows that go on behind the picture's last. */
static void png_too_much_data(void) {
    png_begin((PngHead){2, 1, 8, 0, 0});
    png_end("l.png", "\0ab\0ab\0ab\0ab", 12);
}

/* ---- JPEG: 8 x 8 blocks of which every one is two bits, 0 for "no change of the mean" and 0 for "no other terms" ----
 */

typedef struct {
    uint8_t id, sampling, quantiser;
} JpegPart;

static void jpeg_segment(int marker, const void *data, size_t size) {
    add((uint8_t[]){0xff, (uint8_t)marker, (uint8_t)((size + 2) >> 8), (uint8_t)(size + 2)}, 4);
    add(data, size);
}

static void jpeg_begin(void) {
    uint8_t table[65];
    made.size = 0;
    ADD("\xff\xd8");
    memset(table, 16, sizeof table);
    table[0] = 0;
    jpeg_segment(0xdb, table, sizeof table);
    for (int class = 0; class < 2; class ++) { /* one code of one bit, for the symbol 0 */
        uint8_t codes[18] = {(uint8_t)(class << 4), 1};
        jpeg_segment(0xc4, codes, sizeof codes);
    }
}

static void jpeg_frame(int marker, int width, int height, const JpegPart *parts, int count) {
    uint8_t frame[32] = {
        8, (uint8_t)(height >> 8), (uint8_t)height, (uint8_t)(width >> 8), (uint8_t)width, (uint8_t)count};
    for (int i = 0; i < count; i++) memcpy(frame + 6 + 3 * i, &parts[i], 3);
    jpeg_segment(marker, frame, 6 + 3 * (size_t)count);
}

/* A scan over all parts; spectral bounds and bits are those of the argument, `bytes` zeros follow. */
static void jpeg_scan(const JpegPart *parts, int count, const char bounds[3], size_t bytes) {
    uint8_t scan[16] = {(uint8_t)count};
    for (int i = 0; i < count; i++) scan[1 + 2 * i] = parts[i].id;
    memcpy(scan + 1 + 2 * count, bounds, 3);
    jpeg_segment(0xda, scan, 4 + 2 * (size_t)count);
    static const uint8_t zeros[64];
    add(zeros, bytes);
}

static void jpeg_end(const char *name) {
    ADD("\xff\xd9");
    put_bytes(name, made.bytes, made.size);
}

static const JpegPart grey[1] = {{1, 0x11, 0}};
#define WHOLE "\0\77\0"

static void jpeg_two_frames(void) {
    jpeg_begin();
    jpeg_frame(0xc0, 8, 8, grey, 1);
    jpeg_frame(0xc0, 8, 8, grey, 1);
    jpeg_scan(grey, 1, WHOLE, 1);
    jpeg_end("l.jpg");
}
static void jpeg_sampling(void) {
    static const JpegPart parts[3] = {{1, 0x44, 0}, {2, 0x33, 0}, {3, 0x11, 0}};
    jpeg_begin();
    jpeg_frame(0xc0, 32, 32, parts, 3);
    jpeg_scan(parts, 3, WHOLE, 16);
    jpeg_end("l.jpg");
}
static void jpeg_restart_65535(void) {
    for (int eye = 0; eye < 2; eye++) {
        jpeg_begin();
        jpeg_segment(0xdd, "\xff\xff", 2);
        jpeg_frame(0xc0, 16, 8, grey, 1);
        jpeg_scan(grey, 1, WHOLE, 1);
        jpeg_end(eye ? "r.jpg" : "l.jpg");
    }
}
static void jpeg_lossless(void) {
    jpeg_begin();
    jpeg_frame(0xc3, 8, 8, grey, 1);
    jpeg_scan(grey, 1, WHOLE, 1);
    jpeg_end("l.jpg");
}
static void jpeg_ten_thousand_scans(void) {
    jpeg_begin();
    jpeg_frame(0xc2, 64, 64, grey, 1);
    jpeg_scan(grey, 1, "\0\0\0", 8);
    for (int i = 0; i < 10000; i++) jpeg_scan(grey, 1, "\1\77\0", 8);
    jpeg_end("l.jpg");
}
/* Adobe's segment says what four components are: `transform` 0 CMYK, 2 YCCK; it is left out when negative. */
static void jpeg_four(int transform) {
    static const JpegPart parts[4] = {{1, 0x11, 0}, {2, 0x11, 0}, {3, 0x11, 0}, {4, 0x11, 0}};
    for (int eye = 0; eye < 2; eye++) {
        jpeg_begin();
        uint8_t adobe[12] = {'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, (uint8_t)transform};
        if (transform >= 0) jpeg_segment(0xee, adobe, sizeof adobe);
        jpeg_frame(0xc0, 8, 8, parts, 4);
        jpeg_scan(parts, 4, WHOLE, 1);
        jpeg_end(eye ? "r.jpg" : "l.jpg");
    }
}
static void jpeg_cmyk(void) {
    jpeg_four(0);
}
static void jpeg_ycck(void) {
    jpeg_four(2);
}
static void jpeg_four_unnamed(void) {
    jpeg_four(-1);
}

/* EXIF, little endian: directory entries of 12 bytes, each tag, type, count, value. */
static void jpeg_exif(const void *exif, size_t size) {
    for (int eye = 0; eye < 2; eye++) {
        jpeg_begin();
        jpeg_segment(0xe1, exif, size);
        jpeg_frame(0xc0, 16, 8, grey, 1);
        jpeg_scan(grey, 1, WHOLE, 1);
        jpeg_end(eye ? "r.jpg" : "l.jpg");
    }
}
#define EXIF "Exif\0\0II*\0\10\0\0\0"
#define ORIENTATION(type, value) "\22\1" type "\0\1\0\0\0" value "\0\0\0"
static void exif_orientation_0(void) {
    static const char e[] = EXIF "\1\0" ORIENTATION("\3", "\0") "\0\0\0\0";
    jpeg_exif(e, sizeof e - 1);
}
static void exif_orientation_9(void) {
    static const char e[] = EXIF "\1\0" ORIENTATION("\3", "\11") "\0\0\0\0";
    jpeg_exif(e, sizeof e - 1);
}
static void exif_orientation_text(void) {
    static const char e[] = EXIF "\1\0" ORIENTATION("\2", "N") "\0\0\0\0";
    jpeg_exif(e, sizeof e - 1);
}
static void exif_orientation_6(void) {
    static const char e[] = EXIF "\1\0" ORIENTATION("\3", "\6") "\0\0\0\0";
    jpeg_exif(e, sizeof e - 1);
}
/* The next directory is this one. */
static void exif_loop(void) {
    static const char e[] = EXIF "\1\0" ORIENTATION("\3", "\1") "\10\0\0\0";
    jpeg_exif(e, sizeof e - 1);
}
static void exif_beyond(void) {
    static const char e[] = "Exif\0\0II*\0\377\377\377\177";
    jpeg_exif(e, sizeof e - 1);
}
/* More tags than the segment can hold. */
static void exif_many(void) {
    static uint8_t e[65000] = EXIF "\377\377";
    jpeg_exif(e, sizeof e);
}

/* Two pictures one behind the other, as MPO; the second broken off, of another size, or missing. */
static void two_jpegs(int second_width, size_t keep) {
    static uint8_t first[1 << 12];
    jpeg_begin();
    jpeg_frame(0xc0, 16, 8, grey, 1);
    jpeg_scan(grey, 1, WHOLE, 1);
    jpeg_end("one.jpg");
    size_t size = made.size;
    memcpy(first, made.bytes, size);
    jpeg_begin();
    jpeg_frame(0xc0, second_width, 8, grey, 1);
    jpeg_scan(grey, 1, WHOLE, 2);
    jpeg_end("two.jpg");
    memmove(made.bytes + size, made.bytes, made.size);
    memcpy(made.bytes, first, size);
    put_bytes("m.mpo", made.bytes, size + (made.size < keep ? made.size : keep));
}
static void mpo_good(void) {
    two_jpegs(16, SIZE_MAX);
}
static void mpo_one(void) {
    two_jpegs(16, 0);
}
static void mpo_cut(void) {
    two_jpegs(16, 80);
}
static void mpo_sizes(void) {
    two_jpegs(32, SIZE_MAX);
}
static void mpo_nine(void) {
    two_jpegs(16, 0);
    size_t size = made.size;
    for (int i = 1; i < 9; i++) add(made.bytes, size);
    put_bytes("m.mpo", made.bytes, made.size);
}

/* ---- NPY and NPZ ---- */

static size_t npy_bytes(uint8_t *to, int version, size_t length, const char *header, size_t data) {
    size_t n = strlen(header), head = version == 1 ? 10 : 12;
    memcpy(to, "\x93NUMPY", 6);
    to[6] = (uint8_t)version, to[7] = 0;
    if (version == 1)
        set_u16(to + 8, (unsigned)length);
    else
        set_u32(to + 8, (uint32_t)length);
    memcpy(to + head, header, n);
    memset(to + head + n, 0, data);
    return head + n + data;
}
static void npy_file(int version, size_t length, const char *header, size_t data) {
    made.size = npy_bytes(made.bytes, version, length, header, data);
    put_bytes("o.npy", made.bytes, made.size);
}
static void npy_header(const char *header, size_t data) {
    npy_file(1, strlen(header), header, data);
}
#define NPY(descr, order, shape) "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape "}\n"
static void npy_length_0(void) {
    npy_file(1, 0, NPY("<f4", "False", "(2, 2)"), 16);
}
static void npy_length_65535(void) {
    npy_file(1, 65535, NPY("<f4", "False", "(2, 2)"), 16);
}
static void npy_not_ascii(void) {
    npy_header("{'d\xffscr': '<f4', 'fortran_order': False, 'shape': (2, 2)}\n", 16);
}
static void npy_objects(void) {
    npy_header(NPY("|O", "False", "(2, 2)"), 32);
}
static void npy_negative(void) {
    npy_header(NPY("<f4", "False", "(-1,)"), 16);
}
static void npy_wraps(void) {
    npy_header(NPY("<f4", "False", "(4611686018427387904, 4)"), 16);
}
static void npy_version_9(void) {
    npy_file(9, strlen(NPY("<f4", "False", "(2, 2)")), NPY("<f4", "False", "(2, 2)"), 16);
}
static void npy_fortran(void) {
    npy_header(NPY("<f4", "True", "(2, 2)"), 16);
}

/* o.npz with these members; mem_free. */
static uint8_t *npz_bytes(const char *first, const char *second, size_t data, int deflate, size_t *size) {
    static uint8_t member[1 << 21];
    size_t n = npy_bytes(member, 1, strlen(NPY("<f4", "False", "(2, 2)")), NPY("<f4", "False", "(2, 2)"), data);
    ZipMember members[2] = {{first, member, n, deflate}, {second, member, n, deflate}};
    return make_archive(members, second ? 2 : 1, size);
}
static void npz_put(uint8_t *bytes, size_t size) {
    put_bytes("o.npz", bytes, size);
    mem_free(bytes);
}
static void npz_encrypted(void) {
    size_t size;
    uint8_t *b = npz_bytes("disparity.npy", NULL, 16, 0, &size);
    b[find_signature(b, size, "PK\1\2", 0) + 8] |= 1;
    b[find_signature(b, size, "PK\3\4", 0) + 6] |= 1;
    npz_put(b, size);
}
static void npz_directory_lies(void) {
    size_t size;
    uint8_t *b = npz_bytes("disparity.npy", NULL, 16, 0, &size);
    size_t entry = find_signature(b, size, "PK\1\2", 0);
    set_u32(b + entry + 20, 1 << 30), set_u32(b + entry + 24, 1 << 30);
    npz_put(b, size);
}
static void npz_same_name(void) {
    size_t size;
    uint8_t *b = npz_bytes("disparity.npy", "disparity.npy", 16, 0, &size);
    npz_put(b, size);
}
static void npz_upwards(void) {
    size_t size;
    uint8_t *b = npz_bytes("aa/x.npy", NULL, 16, 0, &size); /* our writer knows better than to take the other name */
    memcpy(b + find_signature(b, size, "PK\3\4", 0) + 30, "..", 2);
    memcpy(b + find_signature(b, size, "PK\1\2", 0) + 46, "..", 2);
    npz_put(b, size);
}
/* A member of a million zeros behind an array of four. */
static void npz_bomb(void) {
    size_t size;
    uint8_t *b = npz_bytes("disparity.npy", NULL, 1 << 20, 1, &size);
    npz_put(b, size);
}
#endif
