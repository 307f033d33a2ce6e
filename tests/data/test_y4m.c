/* y4m: headers good and bad, streams that break, colours against the standards' own numbers, and back. */
#include "base/err.h"
#include "base/mem.h"
#include "data/y4m.h"
#include "tests/lib/check.h"
#include "tests/lib/memory_stream.h"

static int parse(const char *line, Y4mHeader *header) {
    return y4m_parse(line, strlen(line), header);
}

static void headers_that_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *line, *words;
    } cases[] = {
        {"", "does not begin with YUV4MPEG2"},
        {"YUV4MPEG W4 H4", "does not begin with YUV4MPEG2"},
        {"YUV4MPEG2W4 H4", "not followed by a blank"},
        {"YUV4MPEG2", "width (W) is missing"},
        {"YUV4MPEG2 W4", "height (H) is missing"},
        {"YUV4MPEG2 W0 H4", "W0"},
        {"YUV4MPEG2 W4 H-1", "H-1"},
        {"YUV4MPEG2 W4 H", "field H"},
        {"YUV4MPEG2 W99999999999 H4", "W99999999999"},
        {"YUV4MPEG2 W32769 H4", "over the limit of 32,768"},
        {"YUV4MPEG2 W32768 H8193", "over the limit of 2^28"},
        {"YUV4MPEG2 W4 W4 H4", "W4 is there twice"},
        {"YUV4MPEG2 W4 H4 F0:0", "F0:0"},
        {"YUV4MPEG2 W4 H4 F0:1", "F0:1"},
        {"YUV4MPEG2 W4 H4 F24", "F24"},
        {"YUV4MPEG2 W4 H4 F24:1:1", "F24:1:1"},
        {"YUV4MPEG2 W4 H4 Ii", "Ii"},
        {"YUV4MPEG2 W4 H4 A1:0", "A1:0"},
        {"YUV4MPEG2 W4 H4 C420p16", "C420p16"},
        {"YUV4MPEG2 W4 H4 C444alpha", "C444alpha"},
        {"YUV4MPEG2 W4 H4 C420p8", "C420p8"},
        {"YUV4MPEG2 W4 H4 C", "field C"},
        {"YUV4MPEG2 W4 H4 Q7", "Q7"},
        {"YUV4MPEG2 W4 H4 C\x1b[2J", "C\\x1b[2J"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Y4mHeader h;
        err_clear();
        if (parse(cases[i].line, &h) != ERR_INPUT || !strstr(err_sentence(), cases[i].words))
            fail_msg("\"%s\": wanted \"%s\", got \"%s\"", cases[i].line, cases[i].words, err_sentence());
        assert_int_equal(h.width, 0);
    }
}

static void headers_that_are_read(void **state) {
    (void)state;
    static const struct {
        const char *line;
        int width, height, x, y, bits;
        size_t bytes;
    } cases[] = {
        {"YUV4MPEG2 W4 H4", 4, 4, 2, 2, 8, 24},
        {"YUV4MPEG2 W5 H3 F24000:1001 Ip A1:1 C420mpeg2 XYSCSS=420MPEG2", 5, 3, 2, 2, 8, 15 + 2 * 6},
        {"YUV4MPEG2 H3 W5 A0:0 C420paldv It", 5, 3, 2, 2, 8, 27},
        {"YUV4MPEG2  W6 H2 C422 ", 6, 2, 2, 1, 8, 24},
        {"YUV4MPEG2 W6 H2 C411", 6, 2, 4, 1, 8, 12 + 2 * 4},
        {"YUV4MPEG2 W6 H2 C444", 6, 2, 1, 1, 8, 36},
        {"YUV4MPEG2 W6 H2 Cmono", 6, 2, 0, 0, 8, 12},
        {"YUV4MPEG2 W6 H2 Cmono12", 6, 2, 0, 0, 12, 24},
        {"YUV4MPEG2 W6 H2 C420p10 XUNKNOWN=1", 6, 2, 2, 2, 10, 36},
        {"YUV4MPEG2 W6 H2 C444p16", 6, 2, 1, 1, 16, 72},
        {"YUV4MPEG2 W32768 H8192", 32768, 8192, 2, 2, 8, 402653184},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Y4mHeader h;
        if (parse(cases[i].line, &h)) fail_msg("\"%s\": %s", cases[i].line, err_sentence());
        assert_int_equal(h.width, cases[i].width);
        assert_int_equal(h.height, cases[i].height);
        assert_int_equal(h.chroma_x, cases[i].x);
        assert_int_equal(h.chroma_y, cases[i].y);
        assert_int_equal(h.bits, cases[i].bits);
        assert_int_equal(y4m_frame_bytes(&h), cases[i].bytes);
    }
    Y4mHeader h;
    assert_int_equal(parse("YUV4MPEG2 W4 H4 F30000:1001 XCOLORRANGE=FULL", &h), 0);
    assert_true(h.full_range && h.rate.over == 30000 && h.rate.under == 1001);
}

/* Studio values of colour bars at 75 %, from the recommendations (BT.601 and BT.709, 8 bits), and their RGB. */
static void colours_follow_the_standards(void **state) {
    (void)state;
    static const struct {
        int large; /* BT.709 */
        uint8_t ycc[3], rgb[3];
    } bars[] = {
        {0, {180, 128, 128}, {191, 191, 191}}, {0, {162, 44, 142}, {191, 191, 0}},
        {0, {131, 156, 44}, {0, 191, 191}},    {0, {112, 72, 58}, {0, 191, 0}},
        {0, {84, 184, 198}, {191, 0, 191}},    {0, {65, 100, 212}, {191, 0, 0}},
        {0, {35, 212, 114}, {0, 0, 191}},      {0, {235, 128, 128}, {255, 255, 255}},
        {0, {16, 128, 128}, {0, 0, 0}},        {1, {168, 44, 136}, {191, 191, 0}},
        {1, {145, 147, 44}, {0, 191, 191}},    {1, {133, 63, 52}, {0, 191, 0}},
        {1, {63, 193, 204}, {191, 0, 191}},    {1, {51, 109, 212}, {191, 0, 0}},
        {1, {28, 212, 120}, {0, 0, 191}},
    };
    for (size_t i = 0; i < sizeof bars / sizeof *bars; i++) {
        Y4mHeader h;
        Image image = {0};
        assert_int_equal(parse(bars[i].large ? "YUV4MPEG2 W1280 H2 C444" : "YUV4MPEG2 W16 H2 C444", &h), 0);
        size_t n = (size_t)h.width * 2;
        uint8_t *planes = mem_alloc(3 * n);
        for (int p = 0; p < 3; p++) memset(planes + (size_t)p * n, bars[i].ycc[p], n);
        assert_int_equal(y4m_to_image(&h, planes, &image), 0);
        for (int c = 0; c < 3; c++)
            if (abs(image.bytes[c] - bars[i].rgb[c]) > 1) /* the table's numbers are rounded themselves */
                fail_msg("bar %zu: channel %d is %d, not %d", i, c, image.bytes[c], bars[i].rgb[c]);
        assert_memory_equal(image.bytes, image.bytes + 3 * (n - 1), 3);
        image_free(&image);
        mem_free(planes);
    }
}

static void deep_samples_round_to_eight_bits(void **state) {
    (void)state;
    Y4mHeader h;
    Image image = {0};
    /* 10 bits, limited range, grey: 64 is black, 940 is white, 502 the middle */
    static const uint8_t samples[] = {64, 0, 940 & 255, 940 >> 8, 502 & 255, 502 >> 8, 1023 & 255, 1023 >> 8};
    assert_int_equal(parse("YUV4MPEG2 W4 H1 Cmono10", &h), 0);
    assert_int_equal(y4m_to_image(&h, samples, &image), 0);
    static const uint8_t want[] = {0, 255, 128, 255};
    for (int i = 0; i < 4; i++) assert_in_range(image.bytes[i], want[i] ? want[i] - 1 : 0, want[i]);
    assert_int_equal(image.channels, 1);
    image_free(&image);
}

/* Chroma of 4:2:0 lies between pixels (jpeg) or on even columns (mpeg2): a ramp in chroma comes out as that ramp. */
static void chroma_lies_where_the_header_says(void **state) {
    (void)state;
    enum { W = 16, H = 8 };
    static const char *const lines[] = {"YUV4MPEG2 W16 H8 C420jpeg", "YUV4MPEG2 W16 H8 C420mpeg2"};
    for (int k = 0; k < 2; k++) {
        Y4mHeader h;
        Image image = {0};
        uint8_t planes[W * H + 2 * (W / 2) * (H / 2)];
        assert_int_equal(parse(lines[k], &h), 0);
        memset(planes, 126, W * H);
        for (int y = 0; y < H / 2; y++)
            for (int x = 0; x < W / 2; x++) {
                planes[W * H + y * (W / 2) + x] = 128;
                planes[W * H + (W / 2) * (H / 2) + y * (W / 2) + x] = (uint8_t)(100 + 4 * x); /* 2 a pixel */
            }
        assert_int_equal(y4m_to_image(&h, planes, &image), 0);
        for (int x = 2; x < W - 2; x++) {
            double cr = 100 + 2 * (k ? x : x - 0.5), red = (126 - 16) * 255.0 / 219 + 1.402 * (cr - 128) * 255 / 224;
            double got = image.bytes[3 * (3 * W + x)];
            if (got < red - 1 || got > red + 1) fail_msg("layout %d, column %d: red %g, not %g", k, x, got, red);
        }
        image_free(&image);
    }
}

/* ---- streams -------------------------------------------------------------------------------------------------------
 */

static void put(uint8_t *stream, size_t *size, const char *text, size_t zeros) {
    memcpy(stream + *size, text, strlen(text));
    *size += strlen(text);
    memset(stream + *size, 128, zeros);
    *size += zeros;
}

/* Reads all frames; returns the error code, the frames in *frames. */
static int read_all(const uint8_t *bytes, size_t size, size_t piece, int *frames) {
    MemoryStream memory = {bytes, size, 0, piece};
    Y4mReader *reader;
    Image image = {0};
    bool end = false;
    *frames = 0;
    err_clear();
    int rc = y4m_open("film", memory_stream_read, &memory, &reader);
    while (!rc && !end) {
        rc = y4m_read(reader, &image, &end);
        if (!rc && !end) ++*frames;
    }
    image_free(&image);
    y4m_close(&reader);
    return rc;
}

static void streams_that_break(void **state) {
    (void)state;
    enum { FRAME = 24 };
    static const char header[] = "YUV4MPEG2 W4 H4 F24:1\n";
    static const struct {
        const char *first, *second; /* frame headers; NULL: no such frame */
        size_t first_bytes, second_bytes;
        int frames;
        const char *words; /* NULL: reads well */
    } cases[] = {
        {"FRAME\n", "FRAME Ip Xfoo\n", FRAME, FRAME, 2, NULL},
        {"FRAME\n", NULL, FRAME, 0, 1, NULL},
        {NULL, NULL, 0, 0, 0, "has a header and no frame"},
        {"FRAME\n", "FRAME\n", FRAME, FRAME - 5, 1, "film: frame 1 is short by 5 bytes"},
        {"FRAME\n", "FRAME\n", FRAME, 0, 1, "frame 1 is short by 24 bytes"},
        {"FRAME\n", "FRAM\n", FRAME, FRAME, 1, "frame 1 begins with \"FRAM\" and not with FRAME"},
        {"FRAME\n", "FRAMES\n", FRAME, FRAME, 1, "\"FRAMES\""},
        {"FRAME\n", "FRAME", FRAME, 0, 1, "header of frame 1: ends inside a line"},
        {"Frame\n", NULL, FRAME, 0, 0, "frame 0 begins with"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t piece = 1; piece < 100; piece += 33) {
            uint8_t stream[512];
            size_t size = 0;
            int frames;
            put(stream, &size, header, 0);
            if (cases[i].first) put(stream, &size, cases[i].first, cases[i].first_bytes);
            if (cases[i].second) put(stream, &size, cases[i].second, cases[i].second_bytes);
            int rc = read_all(stream, size, piece, &frames);
            if (cases[i].words ? rc != ERR_INPUT || !strstr(err_sentence(), cases[i].words) : rc != 0)
                fail_msg("case %zu by %zu: %d \"%s\"", i, piece, rc, err_sentence());
            assert_int_equal(frames, cases[i].frames);
        }
}

static void limits_of_headers(void **state) {
    (void)state;
    uint8_t *stream = mem_alloc(1 << 20);
    int frames;
    for (int over = 0; over < 2; over++) {
        /* the header's own, filled with an unknown extension: at the limit, and one above */
        size_t size = 0;
        put(stream, &size, "YUV4MPEG2 W4 H4 X", 0);
        while (size < Y4M_HEADER_MAX + (size_t)over) stream[size++] = 'x';
        put(stream, &size, "\nFRAME\n", 24);
        assert_int_equal(read_all(stream, size, 4096, &frames), over ? ERR_INPUT : 0);
        if (over) assert_non_null(strstr(err_sentence(), "no end of line within 4096 bytes"));
        size = 0;
        put(stream, &size, "YUV4MPEG2 W4 H4\nFRAME X", 0);
        while (size < 16 + Y4M_FRAME_HEADER_MAX + (size_t)over) stream[size++] = 'x';
        put(stream, &size, "\n", 24);
        assert_int_equal(read_all(stream, size, 4096, &frames), over ? ERR_INPUT : 0);
        if (over) assert_non_null(strstr(err_sentence(), "no end of line within 1024 bytes"));
    }
    /* no newline for a megabyte; what is no y4m at all */
    memset(stream, 'x', 1 << 20);
    assert_int_equal(read_all(stream, 1 << 20, 65536, &frames), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "film: is not a y4m stream"));
    assert_int_equal(read_all(stream, 0, 1, &frames), ERR_INPUT);
    /* a header that promises 400 MB must not take them before they come */
    size_t size = 0;
    put(stream, &size, "YUV4MPEG2 W32768 H8192\nFRAME\n", 100);
    mem_reset_peak();
    assert_int_equal(read_all(stream, size, 4096, &frames), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "short by 402653084 bytes"));
    assert_true(mem_use().peak < (size_t)16 << 20);
    mem_free(stream);
}

static void what_is_written_reads_back(void **state) {
    (void)state;
    for (int channels = 1; channels <= 3; channels += 2) {
        Image image = {0}, again = {0};
        assert_int_equal(image_make(&image, 33, 17, channels, 8), 0);
        for (int i = 0; i < 33 * 17 * channels; i++) image.bytes[i] = (uint8_t)(i * 37 + i / 7);
        Out *out;
        uint8_t *bytes;
        size_t size;
        assert_int_equal(out_memory(&out), 0);
        assert_int_equal(y4m_write_header(out, 33, 17, channels, (Rate){24000, 1001}), 0);
        for (int f = 0; f < 2; f++) assert_int_equal(y4m_write_frame(out, &image), 0);
        assert_int_equal(out_memory_take(&out, &bytes, &size), 0);
        MemoryStream memory = {bytes, size, 0, 1000};
        Y4mReader *reader;
        bool end;
        assert_int_equal(y4m_open("again", memory_stream_read, &memory, &reader), 0);
        assert_int_equal(y4m_header(reader)->rate.over, 24000);
        for (int f = 0; f < 2; f++) {
            assert_int_equal(y4m_read(reader, &again, &end), 0);
            assert_int_equal(again.channels, channels);
            /* 219 steps for 256 values, chroma 224: each rounds once, blue most (2 * (1-Kb) / 2 steps) */
            for (int i = 0; i < 33 * 17 * channels; i++)
                if (abs(image.bytes[i] - again.bytes[i]) > 3)
                    fail_msg("sample %d: %d became %d", i, image.bytes[i], again.bytes[i]);
        }
        assert_int_equal(y4m_read(reader, &again, &end), 0);
        assert_true(end);
        y4m_close(&reader);
        mem_free(bytes);
        image_free(&image);
        image_free(&again);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_that_are_refused),
        cmocka_unit_test(headers_that_are_read),
        cmocka_unit_test(colours_follow_the_standards),
        cmocka_unit_test(deep_samples_round_to_eight_bits),
        cmocka_unit_test(chroma_lies_where_the_header_says),
        cmocka_unit_test(streams_that_break),
        cmocka_unit_test(limits_of_headers),
        cmocka_unit_test(what_is_written_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
