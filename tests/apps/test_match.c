/* panum match on the random-dot pair: every output form and back, with the sign that each says it holds; the options
 * that change what comes out; the layouts that hold both eyes. */
#include "apps/lib/map_any.h"
#include "apps/lib/pack.h"
#include "base/err.h"
#include "tests/lib/check.h"
#include "tests/lib/random_dot.h"

#include <math.h>
#include <unistd.h>

static RandomDot dots;
static char folder[1024], out[1 << 16];

static const char *at(const char *name) {
    static char paths[4][1200];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void save(const char *name, const Image *image) {
    assert_int_equal(image_write(at(name), OUT_OVERWRITE, image, NULL, NULL), 0);
}

static void match(const char *arguments) {
    int rc = run_command(out, sizeof out, "P=$(realpath %s) && cd '%s' && $P match --model sgm %s -y --threads 2",
                         panum_program(), folder, arguments);
    if (rc) fail_msg("panum match %s: exit %d: %s", arguments, rc, out);
}

/* Share of visible pixels within 1 px of the truth; the map's sign is the one it says. */
static double right_share(const char *name, MapKind kind, bool right_eye) {
    Map map;
    ReadNotes notes = {0};
    int rc = map_any_read(at(name), NULL, &map, &notes);
    if (rc) fail_msg("%s: %s", name, err_sentence());
    if (map.kind != kind) fail_msg("%s says it holds %s", name, map_kind_name(map.kind));
    const Map *truth = right_eye ? &dots.truth_right : &dots.truth,
              *visible = right_eye ? &dots.visible_right : &dots.visible;
    assert_true(map.width == truth->width && map.height == truth->height);
    int64_t good = 0, all = 0;
    float sign = kind == MAP_PARALLAX ? -1 : 1;
    for (int64_t i = 0; i < (int64_t)map.width * map.height; i++) {
        if (visible->values[i] < 0.5f) continue;
        all++;
        good += fabsf(sign * map.values[i] - truth->values[i]) < 1;
    }
    map_free(&map);
    return (double)good / (double)all;
}

static void expect_right(const char *name, MapKind kind, bool right_eye) {
    double share = right_share(name, kind, right_eye);
    printf("%s: %.2f %% within 1 px\n", name, 100 * share);
    assert_true(share > 0.97);
}

static void test_forms(void **state) {
    (void)state;
    match("l.png r.png -o d.pfm -o d.npy -o d.npz -o d.d16.png -o d.png -o d.ply --fov 60 --anaglyph a.png --json");
    static const char *const names[] = {"d.pfm", "d.npy", "d.npz", "d.d16.png"};
    for (int i = 0; i < 4; i++) expect_right(names[i], MAP_DISPARITY, false);
    assert_non_null(strstr(out, "\"layout\":\"pair\""));
    /* red in front, blue behind, in the middle of the square and of the ground */
    Image colour;
    assert_int_equal(image_read(at("d.png"), NULL, &colour, NULL), 0);
    const uint8_t *front = colour.bytes + 3 * ((dots.square_y + dots.square_height / 2) * colour.width + dots.square_x +
                                               dots.square_width / 2);
    const uint8_t *behind = colour.bytes + 3 * (5 * colour.width + colour.width / 2);
    assert_true(front[0] > front[2] + 50 && behind[2] > behind[0] + 50);
    image_free(&colour);
    assert_int_equal(image_read(at("a.png"), NULL, &colour, NULL), 0);
    assert_true(colour.width == dots.left.width && colour.channels == 3);
    image_free(&colour);
    assert_int_equal(run_command(out, sizeof out, "grep -c 'element vertex' '%s'", at("d.ply")), 0);

    match("l.png r.png -o p.pfm -o p.npy -o p.d16.png --quantity parallax");
    expect_right("p.pfm", MAP_PARALLAX, false);
    expect_right("p.npy", MAP_PARALLAX, false);
    expect_right("p.d16.png", MAP_PARALLAX, false);
}

static void test_reference(void **state) {
    (void)state;
    match("l.png r.png -o r.npz -o r.npy --reference right");
    expect_right("r.npz", MAP_DISPARITY, true);
    expect_right("r.npy", MAP_DISPARITY, true);
    Map map;
    assert_int_equal(map_any_read(at("r.npy"), NULL, &map, NULL), 0);
    assert_true(map.reference_right);
    map_free(&map);
}

static void test_options(void **state) {
    (void)state;
    match("l.png r.png -o d.pfm --range -8:12");
    expect_right("d.pfm", MAP_DISPARITY, false);
    match("l.png r.png -o d.pfm --range -7%:10%");
    expect_right("d.pfm", MAP_DISPARITY, false);
    match("l.png r.png -o d.pfm --positive");
    Map map;
    assert_int_equal(map_any_read(at("d.pfm"), NULL, &map, NULL), 0);
    for (int64_t i = 0; i < (int64_t)map.width * map.height; i++) assert_true(map.values[i] >= 0);
    map_free(&map);
    match("l.png r.png -o 1.npz --no-meta -q");
    assert_string_equal(out, "");
    /* no trace of the command */
    assert_int_not_equal(run_command(out, sizeof out, "grep -c 'panum match' '%s'", at("1.npz")), 0);
    /* exchanged files and exchanged eyes are as they were */
    match("r.png l.png -o d.pfm --swap-eyes --no-eye-test");
    expect_right("d.pfm", MAP_DISPARITY, false);
    /* matched at twice the size: full-size pixels still */
    match("l.png r.png -o d.pfm --scale 2");
    expect_right("d.pfm", MAP_DISPARITY, false);
    /* nothing is left of a dry run */
    match("l.png r.png -o never.pfm -n");
    assert_int_not_equal(access(at("never.pfm"), F_OK), 0);
    assert_non_null(strstr(out, "would write never.pfm"));
}

/* Share of the scene's pixels within 1 px of its truth. */
static double scene_share(const char *name, const char *truth_name) {
    Map map, truth;
    assert_int_equal(map_any_read(at(name), NULL, &map, NULL), 0);
    assert_int_equal(map_any_read(at(truth_name), NULL, &truth, NULL), 0);
    int64_t good = 0, n = (int64_t)map.width * map.height;
    for (int64_t i = 0; i < n; i++) good += fabsf(map.values[i] - truth.values[i]) < 1;
    map_free(&map);
    map_free(&truth);
    return (double)good / (double)n;
}

/* Rows moved down by two in the right eye: measured, said, taken out when asked. */
static void test_align(void **state) {
    (void)state;
    assert_int_equal(
        run_command(out, sizeof out, "%s demo -q --model sgm --width 320 -o '%s/scene'", panum_program(), folder), 0);
    Image low;
    assert_int_equal(image_read(at("scene/right.png"), NULL, &low, NULL), 0);
    size_t row = (size_t)low.width * 3;
    memmove(low.bytes + 2 * row, low.bytes, row * (size_t)(low.height - 2));
    save("low.png", &low);
    image_free(&low);
    match("scene/left.png low.png -o d.pfm");
    assert_non_null(strstr(out, "the right eye lies 2.0 px lower; add --align"));
    double crooked = scene_share("d.pfm", "scene/truth.pfm");
    match("scene/left.png low.png -o d.pfm --align");
    assert_non_null(strstr(out, "px taken out"));
    double straight = scene_share("d.pfm", "scene/truth.pfm");
    printf("within 1 px: %.1f %% with the offset, %.1f %% without\n", 100 * crooked, 100 * straight);
    assert_true(straight > 0.9 && straight > crooked + 0.02);
}

static void test_layouts(void **state) {
    (void)state;
    static const struct {
        PackLayout pack;
        const char *name;
    } layouts[] = {{PACK_SBS, "sbs"}, {PACK_TB, "tb"}, {PACK_CROSS, "cross"}};
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        Image packed;
        char arguments[200];
        assert_int_equal(pack_images(&packed, &dots.left, &dots.right, layouts[i].pack, ANAGLYPH_DUBOIS), 0);
        save("packed.png", &packed);
        image_free(&packed);
        snprintf(arguments, sizeof arguments, "packed.png --layout %s -o d.pfm", layouts[i].name);
        match(arguments);
        expect_right("d.pfm", MAP_DISPARITY, false);
    }
    /* default names lie beside the input, or in the folder given */
    match("packed.png --layout cross");
    expect_right("packed_disparity.npz", MAP_DISPARITY, false);
    assert_int_equal(access(at("packed_disparity.png"), F_OK), 0);
}

static int try_match(const char *arguments) {
    return run_command(out, sizeof out, "P=$(realpath %s) && cd '%s' && $P match --model sgm %s 2>&1", panum_program(),
                       folder, arguments);
}

/* With whichever matcher there is. */
static int try_any(const char *arguments) {
    return run_command(out, sizeof out, "P=$(realpath %s) && cd '%s' && $P match %s 2>&1", panum_program(), folder,
                       arguments);
}

/* A folder that is named with a / is made when there is something to put into it, and not before. */
static void test_folders(void **state) {
    (void)state;
    assert_int_equal(try_match("l.png none.png -o new/"), ERR_INPUT);
    assert_int_equal(try_match("l.png r.png -n -o new/"), 0);
    assert_int_equal(try_match("l.png r.png -o new/deeper/"), ERR_USAGE);
    assert_int_not_equal(access(at("new"), F_OK), 0);
    assert_int_equal(try_match("l.png r.png -o new/ -o new/d.pfm --anaglyph other/"), 0);
    expect_right("new/d.pfm", MAP_DISPARITY, false);
    expect_right("new/l_disparity.npz", MAP_DISPARITY, false);
    assert_int_equal(access(at("other/l_anaglyph.png"), F_OK), 0);
    assert_int_equal(try_match("l.png r.png -o new/"), ERR_USAGE);
    assert_non_null(strstr(out, "exists already"));
}

/* A failure is one sentence, also when it comes after the first line would have been said. */
static void expect_sentence(const char *arguments, int code, const char *part) {
    assert_int_equal(try_match(arguments), code);
    if (!strstr(out, part)) fail_msg("%s: says %s", arguments, out);
    assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
    assert_ptr_equal(strstr(out, "panum match: "), out);
}

static void test_sentences(void **state) {
    (void)state;
    assert_int_equal(symlink("/dev/full", at("full.pfm")), 0);
    expect_sentence("l.png r.png -y -o full.pfm", ERR_MEMORY, "full.pfm: disk full");
    expect_sentence("l.png r.png -y -o x.ply --calib none.txt", ERR_INPUT, "none.txt: there is no such file");
    expect_sentence("l.png r.png -y -o x.pfm --range -9000:9000", ERR_USAGE, "more than 1024 disparities");
    expect_sentence("l.png r.png -y -o x.pfm -o ./x.pfm", ERR_USAGE, "./x.pfm would be written twice");
    expect_sentence("l.png -o -", ERR_USAGE,
                    "-o -: is for films, whose colour maps go to standard output as y4m, and l.png");
    expect_sentence("l.png r.png -o m.mkv", ERR_USAGE, "m.mkv: is a video, and l.png is a picture");
    expect_sentence("l.png r.png --frames 3", ERR_USAGE, "are for films, and l.png is a picture");
}

static void test_notes(void **state) {
    (void)state;
    assert_int_equal(try_any("l.png r.png -y -o x.pfm --exact --weights none.pth"), ERR_WEIGHTS);
    assert_int_equal(try_any("l.png r.png -y -o x.pfm --exact --range -8:12"), 0);
    assert_non_null(strstr(out, "--exact does nothing here"));
    assert_int_equal(try_match("r.png l.png -y -o x.pfm --swap-eyes"), 0);
    assert_non_null(strstr(out, "eyes swapped as asked"));
}

static int set_up(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "%s", scratch_folder("match"));
    if (random_dot_make(&dots, NULL)) return -1;
    save("l.png", &dots.left);
    save("r.png", &dots.right);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    random_dot_free(&dots);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),     cmocka_unit_test(test_reference), cmocka_unit_test(test_options),
        cmocka_unit_test(test_align),     cmocka_unit_test(test_layouts),   cmocka_unit_test(test_folders),
        cmocka_unit_test(test_sentences), cmocka_unit_test(test_notes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
