/* tests/bad/films_made.h - streams and what looks like films, by hand, written into the folder of the case that is
 * running. */
#ifndef PANUM_TESTS_BAD_FILMS_MADE_H
#define PANUM_TESTS_BAD_FILMS_MADE_H
#include "tests/lib/bad.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* f.y4m: `frames` grey frames of both eyes, cut by `missing` bytes at the end. */
static void make_stream(const char *header, int frames, size_t missing) {
    size_t eye = (size_t)made_eye(0)->width, rows = (size_t)made_eye(0)->height, each = 6 + 2 * eye * rows;
    size_t head = strlen(header), size = head + (size_t)frames * each;
    uint8_t *bytes = malloc(size);
    memcpy(bytes, header, head);
    for (int f = 0; f < frames; f++) {
        uint8_t *to = bytes + head + (size_t)f * each;
        memcpy(to, "FRAME\n", 6);
        for (size_t y = 0; y < rows; y++) {
            memcpy(to + 6 + 2 * y * eye, made_eye(0)->bytes + y * eye, eye);
            memcpy(to + 6 + (2 * y + 1) * eye, made_eye(1)->bytes + y * eye, eye);
        }
    }
    put_bytes("f.y4m", bytes, size - missing);
    free(bytes);
}
#define FILM_HEADER "YUV4MPEG2 W256 H96 F24:1 Cmono\n"
static void v_film(void) {
    make_stream(FILM_HEADER, 3, 0);
}
static void v1_no_line(void) {
    char *text = malloc(1 << 20);
    memset(text, 'W', 1 << 20);
    memcpy(text, "YUV4MPEG2 ", 10);
    put_bytes("f.y4m", text, 1 << 20);
    free(text);
}
static void v1_long_line(void) {
    char header[4096];
    int n = snprintf(header, sizeof header, "YUV4MPEG2 W256 H96 F24:1 Cmono X");
    memset(header + n, 'x', sizeof header - (size_t)n);
    header[4000] = '\n';
    header[4001] = 0;
    make_stream(header, 1, 0);
}
static void v2_unknown(void) {
    make_stream("YUV4MPEG2 W256 H96 F24:1 Cmono XANY=THING\n", 1, 0);
}
static void v3_odd(void) {
    make_stream("YUV4MPEG2 W257 H96 F24:1 Cmono\n", 2, 0);
}
static void v4_short(void) {
    make_stream(FILM_HEADER, 3, 3110);
}
static void v4_first_short(void) {
    make_stream(FILM_HEADER, 1, 100);
}
static void v4_none(void) {
    put_bytes("f.y4m", FILM_HEADER, strlen(FILM_HEADER));
}
static void v4_misspelt(void) {
    put_bytes("f.y4m", FILM_HEADER "FRAMY\n123", strlen(FILM_HEADER) + 9);
}
static void v5_mkv(void) {
    put_bytes("f.mkv", "\x1a\x45\xdf\xa3 and nothing of use", 24);
}
static void v6_many(void) {
    make_stream(FILM_HEADER, 12, 0);
}
static void v14_one(void) {
    make_stream(FILM_HEADER, 1, 0);
}
static void v14_black(void) {
    FILE *file;
    make_stream(FILM_HEADER, 4, 0);
    static const uint8_t black[2 * 128 * 96];
    file = fopen(made_path("f.y4m"), "r+b");
    if (!file || fseek(file, (long)strlen(FILM_HEADER) + 6, SEEK_SET) || fwrite(black, sizeof black, 1, file) != 1 ||
        fclose(file))
        abort();
}
static void c3_frame_there(void) {
    v_film();
    if (mkdir(made_path("o"), 0700)) abort();
    put_bytes("o/frame_000001.npz", "precious", 8);
}
static void c5_locked(void) {
    v_film();
    if (mkdir(made_path("o.work"), 0700)) abort();
    put_bytes("o.work/lock", "812\n", 4);
}
#endif
