/* data/container.c: how long MP4, Matroska and AVI files say they are, and that nonsense says nothing. */
#include "data/container.h"
#include "tests/lib/check.h"

static void written_by_hand(void **state) {
    (void)state;
    static const struct {
        const char *name, *bytes;
        int size;
        int64_t announced;
    } cases[] = {
        {"whole mp4",
         "\0\0\0\x10"
         "ftypisom\0\0\0\0\0\0\0\x8"
         "moov\0\0\0\xb"
         "mdatabc",
         35, 35},
        {"cut in mdat",
         "\0\0\0\x10"
         "ftypisom\0\0\0\0\0\0\x10\0"
         "mdatabc",
         27, 16 + 4096},
        {"64 bits",
         "\0\0\0\x1"
         "mdat\0\0\0\2\0\0\0\0abc",
         19, 0x200000000},
        {"to the end",
         "\0\0\0\0"
         "mdatabc12",
         13, 0},
        {"junk behind",
         "\0\0\0\x8"
         "moov\xff\xff\xff\xff"
         "junk....",
         20, 0},
        {"box of 7",
         "\0\0\0\x7"
         "moov........",
         16, 0},
        {"64 bits of 15",
         "\0\0\0\x1"
         "mdat\0\0\0\0\0\0\0\xf",
         16, 0},
        {"beyond 2^63",
         "\0\0\0\x1"
         "mdat\xff\xff\xff\xff\xff\xff\xff\xff",
         16, 0},
        {"whole mkv",
         "\x1a\x45\xdf\xa3\x84"
         "webm"
         "\xec\x81.\x18\x53\x80\x67\x84"
         "1234......",
         24, 21},
        {"cut mkv",
         "\x1a\x45\xdf\xa3\x84"
         "webm"
         "\x18\x53\x80\x67\x01\0\0\0\0\0\x10\0"
         "1234",
         25, 21 + 4096},
        {"live mkv",
         "\x1a\x45\xdf\xa3\x84"
         "webm"
         "\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"
         "1234",
         25, 0},
        {"live mkv, short",
         "\x1a\x45\xdf\xa3\x84"
         "webm"
         "\x18\x53\x80\x67\xff"
         "123456789012",
         26, 0},
        {"no number", "\x1a\x45\xdf\xa3\0\0\0\0\0\0\0\0\0\0", 14, 0},
        {"cut avi", "RIFF\0\x10\0\0AVI LIST", 16, 4096 + 8},
        {"broken avi",
         "RIFF\xff\xff\xff\xff"
         "AVI LIST",
         16, 0},
        {"text", "this is not a film", 18, 0},
        {"short", "ftyp", 4, 0},
    };
    const char *folder = scratch_folder("container");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[700];
        int64_t bytes;
        snprintf(path, sizeof path, "%s/%zu", folder, i);
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        fwrite(cases[i].bytes, 1, (size_t)cases[i].size, file);
        fclose(file);
        int64_t announced = container_announced(path, &bytes);
        if (announced != cases[i].announced || bytes != cases[i].size)
            fail_msg("%s: %lld of %lld", cases[i].name, (long long)announced, (long long)bytes);
    }
    int64_t bytes;
    assert_int_equal(container_announced("/dev/zero", &bytes), 0);
    assert_int_equal(container_announced(folder, &bytes), 0);
    assert_int_equal(container_announced("/nonexistent", &bytes), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(written_by_hand)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
