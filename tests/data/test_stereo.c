/* JPEG and MPO, layouts and pairs, and what two pictures say about themselves. */
#include "base/mem.h"
#include "data/jpeg.h"
#include "data/map.h"
#include "data/mpo.h"
#include "data/stereo.h"
#include "tests/lib/check.h"
#include "tests/lib/random_dot.h"

#include <math.h>
#include <unistd.h>

/* A picture that compresses to a baseline JPEG: smooth, with some texture. */
static void paint(Image *image, int width, int height, int shift) {
    assert_int_equal(image_make(image, width, height, 3, 8), 0);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++) {
                int v =
                    128 + (int)(60 * sin((x + shift) * 0.31 + c) * cos(y * 0.23)) + ((x + shift) / 9 + y / 7) % 2 * 40;
                image->bytes[(y * width + x) * 3 + c] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
            }
}

static uint8_t *jpeg_of(int width, int height, size_t *size) {
    char path[600];
    Image image;
    uint8_t *bytes;
    snprintf(path, sizeof path, "%s/a.jpg", scratch_folder("jpeg"));
    paint(&image, width, height, 0);
    assert_int_equal(image_write(path, OUT_NEW, &image, NULL, NULL), 0);
    image_free(&image);
    assert_int_equal(file_read(path, 1 << 20, &bytes, size), 0);
    return bytes;
}

static void refused(const uint8_t *bytes, size_t size, const char *words) {
    Image image;
    size_t before = mem_use().live;
    assert_int_equal(image_read_memory("x.jpg", bytes, size, NULL, &image, NULL), ERR_INPUT);
    assert_null(image.bytes);
    assert_int_equal(mem_use().live, before);
    if (!strstr(err_sentence(), words)) fail_msg("'%s' lacks '%s'", err_sentence(), words);
}

/* Finds a marker's segment. */
static size_t segment(const uint8_t *bytes, size_t size, int marker) {
    for (size_t at = 2; at + 4 < size; at += 2 + (size_t)(bytes[at + 2] << 8 | bytes[at + 3]))
        if (bytes[at + 1] == marker) return at;
    fail_msg("no marker %02x", marker);
    return 0;
}

static void hostile_jpegs_are_refused(void **state) {
    (void)state;
    size_t size;
    uint8_t *good = jpeg_of(40, 24, &size), *bad = mem_alloc(size + 200);
    Image image;
    assert_int_equal(image_read_memory("x", good, size, NULL, &image, NULL), 0);
    assert_true(image.width == 40 && image.height == 24 && image.channels == 3);
    image_free(&image);
    size_t sof = segment(good, size, 0xc0), dht = segment(good, size, 0xc4), dqt = segment(good, size, 0xdb),
           sos = segment(good, size, 0xda);
#define CHANGED(at, value, words)  \
    do {                           \
        memcpy(bad, good, size);   \
        bad[at] = value;           \
        refused(bad, size, words); \
    } while (0)
    CHANGED(sof + 4, 12, "12-bit JPEG is not read");
    CHANGED(sof + 1, 0xc3, "lossless JPEG is not read");
    CHANGED(sof + 1, 0xc9, "arithmetic-coded JPEG is not read");
    CHANGED(sof + 1, 0xc5, "hierarchical JPEG is not read");
    CHANGED(sof + 9, 0, "0 colour components");
    CHANGED(sof + 9, 2, "2 colour components");
    CHANGED(sof + 11, 0x55, "sampled 5 x 5");
    CHANGED(sof + 11, 0x01, "sampled 0 x 1");
    CHANGED(sof + 12, 7, "quantiser table 7");
    CHANGED(sof + 5, 0xff, "sides may be at most");
    CHANGED(dqt + 4, 7, "quantiser table 7");
    CHANGED(dqt + 4, 0x20, "quantiser precision 2");
    CHANGED(dht + 4, 0x24, "Huffman table 4 of class 2");
    CHANGED(dht + 5, 3, "more than there are");
    CHANGED(dht + 4, 0x03, "was not defined");
    CHANGED(sos + 5, 99, "component 99, which does not exist");
    CHANGED(sos + 6, 0x33, "was not defined");
    CHANGED(sof + 3, 200, "bytes for"); /* length of the frame header */
    memcpy(bad, good, size);            /* 0 x 24, 40 x 0 */
    bad[sof + 5] = bad[sof + 6] = 0;
    refused(bad, size, "DNL");
    memcpy(bad, good, size); /* counts that add up to more than 256 but fit the tree */
    memset(bad + dht + 5, 0, 16);
    bad[dht + 5 + 14] = 255;
    bad[dht + 5 + 15] = 200;
    refused(bad, size, "has 455 symbols; 256 are possible");
    memcpy(bad, good, sof); /* the frame header twice */
    size_t n = 2 + (size_t)(good[sof + 2] << 8 | good[sof + 3]);
    memcpy(bad + sof, good + sof, n);
    memcpy(bad + sof + n, good + sof, size - sof);
    refused(bad, size + n, "second frame header");
    memcpy(bad, good, size); /* far more pixels than the data can hold */
    bad[sof + 5] = bad[sof + 7] = 0x20;
    refused(bad, size, "cannot hold so many");
    refused(good, 3, "does not begin");
    refused(good, sof + 6, "truncated in its header");
    mem_free(bad);
    mem_free(good);
}

static void cut_jpegs_say_their_row(void **state) {
    (void)state;
    size_t size;
    uint8_t *good = jpeg_of(64, 64, &size);
    Image whole, part;
    ReadOptions lenient = {.lenient = true};
    ReadNotes notes = {0};
    assert_int_equal(image_read_memory("x", good, size, NULL, &whole, NULL), 0);
    refused(good, size * 3 / 4, "the picture ends at row");
    assert_int_equal(image_read_memory("x", good, size * 3 / 4, &lenient, &part, &notes), 0);
    assert_non_null(strstr(notes.text[0], "the rest is grey"));
    assert_memory_equal(part.bytes, whole.bytes, 64 * 8 * 3); /* the first row of blocks is all there */
    for (int i = 0; i < 64 * 3; i++) assert_int_equal(part.bytes[63 * 64 * 3 + i], 128);
    image_free(&part);
    memset(&notes, 0, sizeof notes);
    assert_int_equal(image_read_memory("x", good, size - 2, NULL, &part, &notes),
                     0); /* only the end marker is missing */
    assert_non_null(strstr(notes.text[0], "the picture is complete"));
    assert_memory_equal(part.bytes, whole.bytes, 64 * 64 * 3);
    image_free(&part);
    image_free(&whole);
    mem_free(good);
}

static void orientation_is_applied(void **state) {
    (void)state;
    size_t size;
    uint8_t *good = jpeg_of(40, 24, &size), *turned = mem_alloc(size + 100);
    Image plain, out;
    assert_int_equal(image_read_memory("x", good, size, NULL, &plain, NULL), 0);
    for (int orientation = 0; orientation <= 9; orientation++) {
        uint8_t exif[38] = {0xff, 0xe1, 0, 36, 'E', 'x', 'i',  'f', 0, 0, 'M', 'M', 0, 42, 0,
                            0,    0,    8, 0,  1,   1,   0x12, 0,   3, 0, 0,   0,   1, 0,  (uint8_t)orientation};
        memcpy(turned, good, 2);
        memcpy(turned + 2, exif, sizeof exif);
        memcpy(turned + 2 + sizeof exif, good + 2, size - 2);
        ReadNotes notes = {0};
        assert_int_equal(image_read_memory("x", turned, size + sizeof exif, NULL, &out, &notes), 0);
        assert_int_equal(notes.count, orientation == 9);
        bool across = orientation >= 5 && orientation <= 8;
        assert_int_equal(out.width, across ? 24 : 40);
        /* where the stored top left corner is shown */
        int x = 0, y = 0;
        if (orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7) x = out.width - 1;
        if (orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8) y = out.height - 1;
        assert_memory_equal(out.bytes + (y * out.width + x) * 3, plain.bytes, 3);
        /* and the stored second pixel of the first row */
        int dx = across ? 0 : x ? -1 : 1, dy = across ? (y ? -1 : 1) : 0;
        assert_memory_equal(out.bytes + ((y + dy) * out.width + x + dx) * 3, plain.bytes + 3, 3);
        image_free(&out);
    }
    image_free(&plain);
    mem_free(turned);
    mem_free(good);
}

static void real_bad_files(void **state) {
    (void)state;
    NEEDS_DATA("bad_inputs/jpg/invalid-exif.jpg");
    Image image;
    ReadNotes notes = {0};
    ReadOptions lenient = {.lenient = true};
    assert_int_equal(image_read(shared_data("bad_inputs/jpg/invalid-exif.jpg"), NULL, &image, &notes), 0);
    assert_true(notes.count == 1 && strstr(notes.text[0], "EXIF is ignored"));
    image_free(&image);
    assert_int_equal(image_read(shared_data("bad_inputs/jpg/truncated_app14.jpg"), NULL, &image, NULL), ERR_INPUT);
    assert_int_equal(image_read(shared_data("bad_inputs/jpg/truncated_jpeg.jpg"), NULL, &image, NULL), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "truncated"));
    assert_int_equal(image_read(shared_data("bad_inputs/jpg/truncated_jpeg.jpg"), &lenient, &image, NULL), 0);
    image_free(&image);
    static const char *const mpos[] = {"bad_inputs/mpo/sugarshack_bad_mpo_header.jpg",
                                       "bad_inputs/mpo/sugarshack_no_data.mpo"};
    for (int i = 0; i < 2; i++) {
        StereoPair pair;
        assert_int_equal(stereo_read(shared_data(mpos[i]), NULL, NULL, &pair), 0);
        assert_int_equal(pair.decision.layout, LAYOUT_MPO);
        assert_true(pair.left.width == 640 && pair.right.width == 640 && !pair.identical);
        assert_non_null(strstr(pair.notes.text[0], "index is not used"));
        stereo_pair_free(&pair);
        StereoOptions mono = {.layout = LAYOUT_MONO};
        assert_int_equal(stereo_read(shared_data(mpos[i]), NULL, &mono, &pair), 0);
        assert_true(pair.left.bytes && !pair.right.bytes);
        stereo_pair_free(&pair);
    }
}

static void mpo_without_right_eye(void **state) {
    (void)state;
    size_t size, small_size;
    uint8_t *one = jpeg_of(40, 24, &size), *small = jpeg_of(16, 16, &small_size),
            *both = mem_alloc(20 * size + small_size);
    Image left, right;
    Mpo mpo;
    assert_int_equal(mpo_decode_pair(one, size, NULL, &left, &right, &mpo, NULL), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "right eye missing: the file holds one picture"));
    assert_false(mpo_is(one, size));
    memcpy(both, one, size);
    memcpy(both + size, small, small_size);
    assert_true(mpo_is(both, size + small_size));
    assert_int_equal(mpo_decode_pair(both, size + small_size, NULL, &left, &right, &mpo, NULL), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "same size (40 x 24 and 16 x 16)"));
    memcpy(both + size + small_size, one, size); /* a thumbnail between the eyes */
    assert_int_equal(mpo_decode_pair(both, 2 * size + small_size, NULL, &left, &right, &mpo, NULL), 0);
    assert_true(mpo.count == 3 && mpo.left == 0 && mpo.right == 2);
    image_free(&left);
    image_free(&right);
    memcpy(both + size, one, size);
    assert_int_equal(mpo_decode_pair(both, size + size / 2, NULL, &left, &right, &mpo, NULL), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "right eye"));
    for (int i = 0; i < 17; i++) memcpy(both + (size_t)i * size, one, size);
    assert_int_equal(mpo_list(both, 16 * size, &mpo, NULL), 0);
    assert_int_equal(mpo.count, 16);
    assert_int_equal(mpo_list(both, 17 * size, &mpo, NULL), ERR_INPUT);
    mem_free(both);
    mem_free(small);
    mem_free(one);
}

static void names_decide_layouts(void **state) {
    (void)state;
    static const struct {
        const char *path;
        int width, height;
        StereoLayout layout;
        bool right_first;
    } cases[] = {
        {"film_LRF_Full_SBS.mkv", 3840, 1080, LAYOUT_SBS, false},
        {"film_SBS.mkv", 1920, 1080, LAYOUT_HSBS, false},
        {"film_sbs.mkv", 3840, 1080, LAYOUT_SBS, false},
        {"film.HSBS.mkv", 3840, 1080, LAYOUT_HSBS, false},
        {"film_LR.mkv", 1920, 1080, LAYOUT_HSBS, false},
        {"x_180x180_LR.mp4", 1920, 1080, LAYOUT_HSBS, false},
        {"film_RLF_cross.jpg", 3840, 1080, LAYOUT_SBS, true},
        {"film_RLF.jpg", 3840, 1080, LAYOUT_SBS, true},
        {"film_TB.mp4", 1920, 1080, LAYOUT_HTB, false},
        {"film_TBF_fulltb.mp4", 1920, 2160, LAYOUT_TB, false},
        {"film.H-OU.mkv", 1920, 1080, LAYOUT_HTB, false},
        {"film_TB.mp4", 1920, 2160, LAYOUT_TB, false},
        {"film_LR.mkv", 3840, 1080, LAYOUT_SBS, false},
        {"film_htb.mkv", 1920, 1080, LAYOUT_HTB, false},
        {"film_hsbs.mkv", 1920, 1080, LAYOUT_HSBS, false},
        {"film_3dhf.mkv", 3840, 1080, LAYOUT_SBS, false},
        {"Films_3DV/part1.mkv", 1920, 1080, LAYOUT_HTB, false},
        {"my_tb.png", 1920, 1080, LAYOUT_MONO, false}, /* small letters and no picture */
        {"albrecht.png", 1920, 1080, LAYOUT_MONO, false},
        {"film.mkv", 3840, 1080, LAYOUT_SBS, false}, /* shape alone */
        {"film.mkv", 1920, 2160, LAYOUT_TB, false},
        {"film.mkv", 1920, 1080, LAYOUT_MONO, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        LayoutDecision decision;
        assert_int_equal(layout_decide(cases[i].path, cases[i].width, cases[i].height, NULL, NULL, &decision), 0);
        if (decision.layout != cases[i].layout || decision.right_first != cases[i].right_first)
            fail_msg("%s: %s (%s)", cases[i].path, layout_name(decision.layout), decision.evidence);
    }
    LayoutDecision decision;
    StereoOptions tag = {.tag = LAYOUT_TB, .tag_right_first = true, .tag_source = "StereoMode 2"}, asked = tag;
    assert_int_equal(layout_decide("film_SBS.mkv", 1920, 1080, NULL, &tag, &decision), 0);
    assert_true(decision.layout == LAYOUT_TB && decision.right_first);
    assert_string_equal(decision.evidence, "StereoMode 2");
    asked.layout = LAYOUT_CROSS;
    assert_int_equal(layout_decide("film_TB.mkv", 1920, 1080, NULL, &asked, &decision), 0);
    assert_true(decision.layout == LAYOUT_SBS && decision.right_first);
    StereoLayout layout;
    for (int l = LAYOUT_AUTO; l <= LAYOUT_CROSS; l++)
        assert_true(layout_parse(layout_name((StereoLayout)l), &layout) && layout == (StereoLayout)l);
    assert_false(layout_parse("sideways", &layout));
}

/* Short words in small letters count where they end the name and the picture agrees. */
static void small_letters_decide_with_the_picture(void **state) {
    (void)state;
    static const struct {
        const char *path;
        bool stereo;
        StereoLayout layout;
    } cases[] = {
        {"clip_tb.mp4", true, LAYOUT_TB},     {"clip_ou.mkv", true, LAYOUT_TB},
        {"a_hsbs_tb.mkv", true, LAYOUT_HSBS}, /* the longer tag first */
        {"le_fou.mkv", false, LAYOUT_MONO},   {"clip_tb.mp4", false, LAYOUT_MONO},
    };
    RandomDot pair, other;
    Image both, two;
    assert_int_equal(random_dot_make(&pair, &(RandomDotOptions){.width = 192, .height = 144, .square = 6}), 0);
    assert_int_equal(random_dot_make(&other, &(RandomDotOptions){.width = 192, .height = 144, .seed = 9}), 0);
    assert_int_equal(image_make(&both, 192, 288, 1, 8), 0);
    assert_int_equal(image_make(&two, 192, 288, 1, 8), 0);
    size_t half = 192 * 144;
    memcpy(both.bytes, pair.left.bytes, half);
    memcpy(both.bytes + half, pair.right.bytes, half);
    memcpy(two.bytes, pair.left.bytes, half);
    memcpy(two.bytes + half, other.left.bytes, half);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        LayoutDecision decision;
        assert_int_equal(layout_decide(cases[i].path, 192, 288, cases[i].stereo ? &both : &two, NULL, &decision), 0);
        if (decision.layout != cases[i].layout || (cases[i].stereo && !strstr(decision.evidence, "file name")))
            fail_msg("%s: %s (%s)", cases[i].path, layout_name(decision.layout), decision.evidence);
    }
    image_free(&both);
    image_free(&two);
    random_dot_free(&pair);
    random_dot_free(&other);
}

/* Maps of depth have little texture, and some of it meets itself by chance. */
static void maps_are_no_stereo_pictures(void **state) {
    (void)state;
    static const char *const maps[] = {"midd2006_Lampshade1/disp1.png", "midd2006_Monopoly/disp5.png",
                                       "midd2006_Wood1/disp5.png", "midd2003_cones/disp2.png"};
    NEEDS_DATA("stereo_gt/midd2006_Lampshade1/disp1.png");
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        char path[300];
        Image map = {0};
        LayoutDecision decision;
        snprintf(path, sizeof path, "stereo_gt/%s", maps[i]);
        assert_int_equal(image_read(shared_data(path), NULL, &map, NULL), 0);
        assert_int_equal(layout_decide(NULL, map.width, map.height, &map, NULL, &decision), 0);
        if (decision.layout != LAYOUT_MONO) fail_msg("%s: %s", maps[i], decision.evidence);
        image_free(&map);
    }
}

static void frames_are_split(void **state) {
    (void)state;
    Image frame, left, right;
    assert_int_equal(image_make(&frame, 8, 4, 1, 8), 0);
    for (int i = 0; i < 32; i++) frame.bytes[i] = (uint8_t)i;
    LayoutDecision d = {.layout = LAYOUT_SBS};
    assert_int_equal(layout_split(&frame, &d, &left, &right), 0);
    assert_true(left.width == 4 && left.height == 4 && left.bytes[0] == 0 && right.bytes[0] == 4);
    image_free(&left), image_free(&right);
    d.right_first = true;
    assert_int_equal(layout_split(&frame, &d, &left, &right), 0);
    assert_true(left.bytes[0] == 4 && right.bytes[0] == 0);
    image_free(&left), image_free(&right);
    d = (LayoutDecision){.layout = LAYOUT_HTB};
    assert_int_equal(layout_split(&frame, &d, &left, &right), 0);
    assert_true(left.width == 8 && left.height == 4 && left.bytes[0] == 0 && right.bytes[0] == 16 &&
                left.bytes[24] == 8);
    image_free(&left), image_free(&right);
    d.layout = LAYOUT_ROWS;
    assert_int_equal(layout_split(&frame, &d, &left, &right), 0);
    assert_true(left.bytes[0] == 0 && left.bytes[8] == 8 && left.bytes[16] == 16 && right.bytes[8] == 8 &&
                right.bytes[16] == 16 && right.bytes[0] == 8);
    image_free(&left), image_free(&right);
    image_free(&frame);
    d.layout = LAYOUT_SBS;
    assert_int_equal(layout_check(&d, 1921, 1080), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "width 1921 cannot be split into two eyes"));
    d.layout = LAYOUT_HTB;
    assert_int_equal(layout_check(&d, 1921, 1080), 0);
    assert_int_equal(layout_check(&d, 1920, 1081), ERR_INPUT);
    d.layout = LAYOUT_ROWS; /* an odd row is one eye's, too */
    assert_int_equal(layout_check(&d, 1920, 1081), 0);
    assert_int_equal(layout_check(&d, 1920, 1), ERR_INPUT);
}

static void unequal_eyes_are_named(void **state) {
    (void)state;
    const char *folder = scratch_folder("eyes");
    char a[600], b[600], grey[600], deep[600];
    Image image;
    StereoPair pair;
    snprintf(a, sizeof a, "%s/a.png", folder);
    snprintf(b, sizeof b, "%s/b.png", folder);
    snprintf(grey, sizeof grey, "%s/grey.pgm", folder);
    snprintf(deep, sizeof deep, "%s/deep.png", folder);
    paint(&image, 40, 24, 0);
    assert_int_equal(image_write(a, OUT_NEW, &image, NULL, NULL), 0);
    image_free(&image);
    paint(&image, 32, 24, 0);
    assert_int_equal(image_write(b, OUT_NEW, &image, NULL, NULL), 0);
    image_free(&image);
    assert_int_equal(image_make(&image, 40, 24, 1, 8), 0);
    memset(image.bytes, 9, 40 * 24);
    assert_int_equal(image_write(grey, OUT_NEW, &image, NULL, NULL), 0);
    image_free(&image);
    assert_int_equal(image_make(&image, 40, 24, 3, 16), 0);
    memset(image.bytes, 9, 40 * 24 * 6);
    assert_int_equal(image_write(deep, OUT_NEW, &image, NULL, NULL), 0);
    image_free(&image);
    assert_int_equal(stereo_read(a, b, NULL, &pair), ERR_INPUT);
    assert_true(strstr(err_sentence(), "40 x 24") && strstr(err_sentence(), "32 x 24"));
    assert_int_equal(stereo_read(a, deep, NULL, &pair), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "differ in type"));
    assert_int_equal(stereo_read(a, grey, NULL, &pair), 0);
    assert_true(pair.right.channels == 3 && strstr(pair.notes.text[0], "the right eye is grey"));
    stereo_pair_free(&pair);
    assert_int_equal(stereo_read(a, a, NULL, &pair), 0);
    assert_true(pair.identical && strstr(pair.notes.text[0], "both eyes are identical"));
    stereo_pair_free(&pair);
    StereoOptions options = {.layout = LAYOUT_SBS};
    assert_int_equal(stereo_read(a, b, &options, &pair), ERR_USAGE);
    options.layout = LAYOUT_PAIR;
    assert_int_equal(stereo_read(a, NULL, &options, &pair), ERR_USAGE);
    assert_int_equal(stereo_read(a, NULL, NULL, &pair), 0);
    assert_int_equal(pair.decision.layout, LAYOUT_MONO);
    stereo_pair_free(&pair);
}

static void small_and_flat_pictures_measure(void **state) {
    (void)state;
    static const int sizes[][2] = {{1, 1}, {7, 3}, {13, 13}, {300, 2}, {2, 300}, {64, 48}, {2000, 16}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int flat = 0; flat < 2; flat++) {
            Image left, right;
            StereoMeasure m;
            paint(&left, sizes[i][0], sizes[i][1], 0);
            paint(&right, sizes[i][0], sizes[i][1], 3);
            if (flat) memset(left.bytes, 100, (size_t)image_pixels(&left) * 3);
            assert_int_equal(stereo_measure(&left, &right, &m), 0);
            assert_true(isfinite(m.eye_order) && fabs(m.eye_order) <= 1 && isfinite(m.vertical) && m.matched >= 0 &&
                        m.matched <= 1);
            if (flat) assert_true(m.eye_confidence < 0.7);
            image_free(&left);
            image_free(&right);
        }
}

/* A side-by-side picture of odd width: split when asked for or seen, with a note; not because of a name alone. */
static void an_odd_picture_loses_its_middle_column(void **state) {
    (void)state;
    char path[700], tagged[700];
    RandomDot dots;
    StereoPair pair;
    Image odd;
    snprintf(path, sizeof path, "%s/odd.png", scratch_folder("odd"));
    snprintf(tagged, sizeof tagged, "%s/odd_LRF.png", scratch_folder("odd_tagged"));
    assert_int_equal(random_dot_make(&dots, &(RandomDotOptions){0}), 0);
    const int w = dots.left.width, h = dots.left.height, wide = 2 * w + 1;
    assert_int_equal(image_make(&odd, wide, h, 1, 8), 0);
    for (int y = 0; y < h; y++) {
        memcpy(odd.bytes + y * wide, dots.left.bytes + y * w, (size_t)w);
        odd.bytes[y * wide + w] = 77;
        memcpy(odd.bytes + y * wide + w + 1, dots.right.bytes + y * w, (size_t)w);
    }
    assert_int_equal(image_write(path, OUT_OVERWRITE, &odd, NULL, NULL), 0);
    for (int way = 0; way < 3; way++) {
        static const StereoOptions ways[3] = {
            {.layout = LAYOUT_AUTO}, {.layout = LAYOUT_SBS}, {.layout = LAYOUT_CROSS}};
        if (stereo_read(path, NULL, &ways[way], &pair)) fail_msg("%s", err_sentence());
        const Image *first = way == 2 ? &pair.right : &pair.left, *second = way == 2 ? &pair.left : &pair.right;
        assert_int_equal(first->width, w);
        assert_int_equal(second->width, w);
        assert_memory_equal(first->bytes, dots.left.bytes, (size_t)w * (size_t)h);
        assert_memory_equal(second->bytes, dots.right.bytes, (size_t)w * (size_t)h);
        assert_int_equal(pair.notes.count, 1);
        assert_string_equal(pair.notes.text[0], "the middle column of 257 is left out, each eye has 128");
        stereo_pair_free(&pair);
    }
    for (int y = 0; y < h; y++) memset(odd.bytes + y * wide, y * 5 & 255, (size_t)w); /* halves that do not match */
    assert_int_equal(image_write(tagged, OUT_OVERWRITE, &odd, NULL, NULL), 0);
    assert_int_equal(stereo_read(tagged, NULL, NULL, &pair), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "odd_LRF.png: width 257 cannot be split into two eyes"));
    image_free(&odd);
    random_dot_free(&dots);
}

/* Every real pair in both orders: the sign may be left open (below 0.7), but never wrong when it is not. */
static void eyes_are_told_apart_on_real_pairs(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"film_like/frozenpond_3ds.mpo", NULL},
        {"film_like/panasonic_meadow.mpo", NULL},
        {"film_like/stereograph_1901_sbs.jpg", NULL},
        {"stereo_gt/midd2001_tsukuba/scene1.row3.col3.ppm", "stereo_gt/midd2001_tsukuba/scene1.row3.col4.ppm"},
        {"stereo_gt/midd2003_cones/im2.png", "stereo_gt/midd2003_cones/im6.png"},
        {"stereo_gt/midd2005_Reindeer/view1.png", "stereo_gt/midd2005_Reindeer/view5.png"},
        {"stereo_gt/midd2006_Baby1/view1.png", "stereo_gt/midd2006_Baby1/view5.png"},
        {"stereo_gt/midd2006_Flowerpots/view1.png", "stereo_gt/midd2006_Flowerpots/view5.png"},
        {"stereo_gt/midd2006_Lampshade1/view1.png", "stereo_gt/midd2006_Lampshade1/view5.png"},
        {"stereo_gt/midd2014_Adirondack/left.png", "stereo_gt/midd2014_Adirondack/right.png"},
        {"stereo_gt/eth3d_terrace_2s/im0.png", "stereo_gt/eth3d_terrace_2s/im1.png"},
        {"stereo_gt/kitti12_000138/image_0_10.png", "stereo_gt/kitti12_000138/image_1_10.png"},
    };
    NEEDS_DATA("film_like/panasonic_meadow.mpo");
    int told = 0;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        StereoPair pair;
        StereoMeasure given, swapped;
        const char *b = pairs[i][1] ? shared_data(pairs[i][1]) : NULL;
        if (stereo_read(shared_data(pairs[i][0]), b, NULL, &pair)) fail_msg("%s", err_sentence());
        assert_true(pair.right.bytes != NULL);
        assert_int_equal(stereo_measure(&pair.left, &pair.right, &given), 0);
        assert_int_equal(stereo_measure(&pair.right, &pair.left, &swapped), 0);
        printf("%-48s eyes %+.2f, exchanged %+.2f; right eye lower by %+.2f px (%.2f)\n", pairs[i][0], given.eye_order,
               swapped.eye_order, given.vertical, given.vertical_confidence);
        assert_false(given.eye_order < -0.7);
        assert_false(swapped.eye_order > 0.7);
        told += given.eye_order > 0.7;
        told += swapped.eye_order < -0.7;
        assert_true(fabs(given.vertical + swapped.vertical) < 0.5);
        if (strstr(pairs[i][0], "midd20") || strstr(pairs[i][0], "eth3d")) assert_true(fabs(given.vertical) < 0.3);
        if (strstr(pairs[i][0], "panasonic")) {
            /* aligned, the offset is gone */
            assert_true(fabs(given.vertical) > 1.5 && fabs(given.vertical) < 2.5);
            assert_int_equal(stereo_align(&pair.right, given.vertical), 0);
            assert_int_equal(stereo_measure(&pair.left, &pair.right, &swapped), 0);
            assert_true(fabs(swapped.vertical) < 0.3);
        }
        stereo_pair_free(&pair);
    }
    printf("told in %d of %zu cases\n", told, 2 * sizeof pairs / sizeof *pairs);
    assert_true(told >= 18);
}

static void align_moves_by_whole_rows_exactly(void **state) {
    (void)state;
    Image image, copy;
    paint(&image, 30, 20, 0);
    assert_int_equal(image_copy(&copy, &image), 0);
    assert_int_equal(stereo_align(&image, 3), 0);
    assert_memory_equal(image.bytes, copy.bytes + 3 * 90, 17 * 90);
    assert_memory_equal(image.bytes + 19 * 90, copy.bytes + 19 * 90, 90);
    memset(image.bytes, 55, 30 * 20 * 3);
    assert_int_equal(stereo_align(&image, -1.37), 0);
    for (int i = 0; i < 1800; i++) assert_int_equal(image.bytes[i], 55);
    assert_int_equal(stereo_align(&image, NAN), 0);
    image_free(&image);
    image_free(&copy);
}

static void jps_is_uncrossed_and_mono_stays_mono(void **state) {
    (void)state;
    NEEDS_DATA("stereo_gt/midd2003_cones/im2.png");
    const char *left_path = shared_data("stereo_gt/midd2003_cones/im2.png"),
               *right_path = shared_data("stereo_gt/midd2003_cones/im6.png");
    Image left, right, both;
    StereoPair pair;
    char path[600];
    assert_int_equal(image_read(left_path, NULL, &left, NULL), 0);
    assert_int_equal(image_read(right_path, NULL, &right, NULL), 0);
    assert_int_equal(image_make(&both, 900, 375, 3, 8), 0);
    for (int y = 0; y < 375; y++) { /* crossed: the right eye's picture is on the left */
        memcpy(both.bytes + (size_t)y * 2700, right.bytes + (size_t)y * 1350, 1350);
        memcpy(both.bytes + (size_t)y * 2700 + 1350, left.bytes + (size_t)y * 1350, 1350);
    }
    const char *folder = scratch_folder("jps");
    snprintf(path, sizeof path, "%s/a.png", folder);
    assert_int_equal(image_write(path, OUT_NEW, &both, NULL, NULL), 0);
    char jps[600];
    snprintf(jps, sizeof jps, "%s/a.jps", folder);
    assert_int_equal(rename(path, jps), 0); /* content decides what it is, the name how it is packed */
    assert_int_equal(stereo_read(jps, NULL, NULL, &pair), 0);
    assert_int_equal(pair.decision.layout, LAYOUT_SBS);
    assert_true(pair.decision.right_first);
    assert_memory_equal(pair.left.bytes, left.bytes, 450 * 375 * 3);
    stereo_pair_free(&pair);
    snprintf(path, sizeof path, "%s/plain.png", folder);
    assert_int_equal(image_write(path, OUT_NEW, &both, NULL, NULL), 0);
    assert_int_equal(stereo_read(path, NULL, NULL, &pair), 0); /* by content alone; the order as it lies */
    assert_int_equal(pair.decision.layout, LAYOUT_SBS);
    assert_memory_equal(pair.left.bytes, right.bytes, 450 * 375 * 3);
    stereo_pair_free(&pair);
    assert_int_equal(stereo_read(left_path, NULL, NULL, &pair), 0);
    assert_int_equal(pair.decision.layout, LAYOUT_MONO);
    stereo_pair_free(&pair);
    image_free(&left);
    image_free(&right);
    image_free(&both);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_jpegs_are_refused),
        cmocka_unit_test(cut_jpegs_say_their_row),
        cmocka_unit_test(orientation_is_applied),
        cmocka_unit_test(real_bad_files),
        cmocka_unit_test(mpo_without_right_eye),
        cmocka_unit_test(names_decide_layouts),
        cmocka_unit_test(small_letters_decide_with_the_picture),
        cmocka_unit_test(maps_are_no_stereo_pictures),
        cmocka_unit_test(frames_are_split),
        cmocka_unit_test(unequal_eyes_are_named),
        cmocka_unit_test(small_and_flat_pictures_measure),
        cmocka_unit_test(align_moves_by_whole_rows_exactly),
        cmocka_unit_test(jps_is_uncrossed_and_mono_stays_mono),
        cmocka_unit_test(an_odd_picture_loses_its_middle_column),
        cmocka_unit_test(eyes_are_told_apart_on_real_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
