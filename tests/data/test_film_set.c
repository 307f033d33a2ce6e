#include "tests/lib/check.h"

#include "base/file.h"
#include "data/film_set.h"
#include "data/map.h"
#include "data/scene.h"
#include "tensor/files/npy.h"

#include <math.h>
#include <sys/stat.h>

enum { W = 96, H = 70, COUNT = 12 };

static char root[500];
static SceneViews views;

static const char *at(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *at(const char *format, ...) {
    static char path[4][700];
    static int turn;
    char *out = path[turn++ % 4];
    int n = snprintf(out, sizeof path[0], "%s/", root);
    va_list args;
    va_start(args, format);
    vsnprintf(out + n, sizeof path[0] - (size_t)n, format, args);
    va_end(args);
    for (char *p = out + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        mkdir(out, 0777);
        *p = '/';
    }
    return out;
}

static void write_text(const char *path, const char *text) {
    Out *out;
    assert_int_equal(out_open(path, OUT_OVERWRITE, &out), 0);
    assert_int_equal(out_write(out, text, strlen(text)), 0);
    assert_int_equal(out_commit(&out), 0);
}

static void write_frame(const char *path) {
    Image both;
    assert_int_equal(image_make(&both, 2 * W, H, 3, 8), 0);
    for (int y = 0; y < H; y++) {
        memcpy(both.bytes + 6 * y * W, views.left.bytes + 3 * y * W, 3 * W);
        memcpy(both.bytes + 6 * y * W + 3 * W, views.right.bytes + 3 * y * W, 3 * W);
    }
    assert_int_equal(image_write(path, OUT_OVERWRITE, &both, NULL, NULL), 0);
    image_free(&both);
}

/* The scene's truth as an anchor, of its first `rows` x `columns` pixels; `what` names one array to leave out. */
static void write_anchor(const char *path, int columns, int rows, const char *what) {
    Out *out;
    NpzOut *npz;
    static float plane[3][W * H];
    int64_t size[2] = {rows, columns};
    for (int y = 0; y < rows; y++)
        for (int x = 0; x < columns; x++) {
            int i = y * columns + x, j = y * W + x;
            plane[0][i] = i == 3 ? NAN : views.disparity.values[j];
            plane[1][i] = x < 10 ? 0 : i % 7 == 5 ? 1.5f : 0.75f; /* beyond 1 is 1 */
            plane[2][i] = views.visible.values[j];
        }
    assert_int_equal(out_open(path, OUT_OVERWRITE, &out), 0);
    assert_int_equal(npz_out_begin(out, NPZ_STORED, &npz), 0);
    static const char *const names[3] = {"disparity", "confidence", "occlusion"};
    for (int k = 0; k < 3; k++)
        if (strcmp(what, names[k])) assert_int_equal(npz_out_f32(npz, names[k], plane[k], 2, size), 0);
    assert_int_equal(npz_out_end(&npz), 0);
    assert_int_equal(out_commit(&out), 0);
}

static int draw_views(void **state) {
    (void)state;
    static Scene scene;
    scene_demo(&scene, 2);
    return scene_render(&scene, W, H, NULL, &views);
}
static int free_views(void **state) {
    (void)state;
    scene_views_free(&views);
    return 0;
}

static double warp_error(const Sample *s) {
    double error = 0, weight = 0;
    for (int y = 0; y < s->height; y++)
        for (int x = 0; x < s->width; x++) {
            int i = y * s->width + x;
            double d = s->left.disparity[i], from = x - d, w = (double)s->left.valid[i] * (double)s->left.occlusion[i];
            if (!(w > 0) || from < 0 || from > s->width - 1) continue;
            const uint8_t *row = s->right.rgb + 3 * y * s->width;
            int x0 = (int)from, x1 = x0 + 1 < s->width ? x0 + 1 : x0;
            error += w * fabs(s->left.rgb[3 * i] - (row[3 * x0] + (from - x0) * (row[3 * x1] - row[3 * x0])));
            weight += w;
        }
    assert_true(weight > 500);
    return error / weight;
}

static void test_found(void **state) {
    (void)state;
    snprintf(root, sizeof root, "%s", scratch_folder("film_set"));
    /* numbers of six and seven digits: in the order of numbers, not of names */
    static const int numbers[COUNT] = {1000002, 1000003, 1000001, 999, 1000, 1001, 500, 501, 502, 503, 7, 2000000};
    for (int i = 0; i < COUNT; i++) {
        write_frame(at("frames/sbs/frame_%06d.png", numbers[i]));
        if (numbers[i] != 1001) write_anchor(at("disparities/frame_%06d.npz", numbers[i]), W, H, "");
    }
    write_frame(at("frames/sbs/cover.png"));
    write_text(
        at("film_structure.json"),
        "[{\"nr\": 3, \"name\": \"C\", \"start\": 1000000, \"end\": 1000005}, {\"name\":\"A\",\"start\":500,\"end\":"
        "503, \"more\": [1, {\"x\": null}]},{\"end\":1001,\"start\":999,\"name\":\"B\"}]");
    FilmSet set;
    if (film_set_find(root, &(FilmSetOptions){.need_anchors = true}, &set)) fail_msg("%s", err_sentence());
    assert_int_equal(set.film_count, 3);
    assert_string_equal(set.films[0].name, "A");
    static const int64_t order[9] = {500, 501, 502, 503, 999, 1000, 1000001, 1000002, 1000003};
    assert_int_equal(set.frame_count, 9);
    for (int i = 0; i < 9; i++) {
        assert_true(set.frames[i].number == order[i]);
        assert_int_equal(set.frames[i].film, i < 4 ? 0 : i < 6 ? 1 : 2);
    }
    assert_int_equal(set.rejected_count, 4); /* 7 and 2000000, cover, and 1001 without anchor */
    int no_film = 0, no_anchor = 0, no_number = 0;
    for (int i = 0; i < 4; i++) {
        no_film += strstr(set.rejected[i].why, "lies in no film") != NULL;
        no_anchor += strstr(set.rejected[i].why, "no anchor") != NULL;
        no_number += strstr(set.rejected[i].why, "holds no number") != NULL;
    }
    assert_true(no_film == 2 && no_anchor == 1 && no_number == 1);

    FilmSet taught;
    assert_int_equal(film_set_find(root, &(FilmSetOptions){.taught_only = true}, &taught), 0);
    assert_true(taught.frame_count == set.frame_count && taught.rejected_count == 3 && taught.untaught == 1);
    film_set_free(&taught);

    /* whole films judge, never all of them */
    for (uint64_t seed = 0; seed < 8; seed++) {
        uint8_t use[9];
        film_set_split(&set, 0.3, seed, use);
        int judged = 0;
        for (int i = 0; i < 9; i++) {
            judged += use[i] == FRAME_JUDGES;
            if (i && set.frames[i].film == set.frames[i - 1].film) assert_int_equal(use[i], use[i - 1]);
        }
        assert_true(judged >= 2 && judged <= 7);
    }

    Sample s = {0};
    StereoOptions stereo = {.layout = LAYOUT_SBS};
    if (film_frame_read(&set.frames[0], &stereo, &s)) fail_msg("%s", err_sentence());
    assert_true(s.width == W && s.height == H && s.occlusion_known && !s.right_known);
    assert_true(s.left.valid[3] == 0 && s.left.disparity[3] == 0 && s.left.valid[5] == 0);
    assert_true(s.left.valid[H * W - 2] == 0.75f || s.left.valid[H * W - 2] == 1);
    assert_true(warp_error(&s) < 6);

    int64_t frames[9];
    for (int i = 0; i < 9; i++) frames[i] = i;
    FilmSetStream stream = {&set, frames, 9, {.seed = 1, .width = 48, .height = 35, .flip = 0.5, .stereo = stereo}};
    SampleSource source = film_set_source(&stream);
    for (uint64_t i = 0; i < 6; i++) {
        stream.options.windows = i & 1;
        assert_int_equal(source.make(source.context, i, &s), 0);
        assert_true(s.width == 48 && s.height == 35 && warp_error(&s) < 9);
    }
    sample_free(&s);
    film_set_free(&set);
}

/* What does not fit or cannot be read is an error with the file's name, never a black picture or zeros. */
static void test_refused(void **state) {
    (void)state;
    snprintf(root, sizeof root, "%s", scratch_folder("film_set_bad"));
    FilmSet set;
    Sample s = {0};
    StereoOptions stereo = {.layout = LAYOUT_SBS};
    assert_int_equal(film_set_find(root, NULL, &set), ERR_INPUT);
    write_frame(at("frames/sbs/frame_1.png"));
    assert_int_equal(film_set_find(root, &(FilmSetOptions){.need_anchors = true}, &set), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "no anchor"));

    write_anchor(at("disparities/frame_1.npz"), 96, 64, ""); /* the corner that is a multiple of 32 */
    assert_int_equal(film_set_find(root, NULL, &set), 0);
    assert_int_equal(set.frames[0].film, -1);
    if (film_frame_read(&set.frames[0], &stereo, &s)) fail_msg("%s", err_sentence());
    assert_true(s.width == 96 && s.height == 64 && warp_error(&s) < 6);
    write_anchor(at("disparities/frame_1.npz"), 60, 60, "");
    assert_int_equal(film_frame_read(&set.frames[0], &stereo, &s), ERR_INPUT);
    assert_non_null(strstr(err_sentence(), "frame_1"));
    write_anchor(at("disparities/frame_1.npz"), W, H, "disparity");
    assert_int_equal(film_frame_read(&set.frames[0], &stereo, &s), ERR_INPUT);
    write_anchor(at("disparities/frame_1.npz"), W, H, "confidence"); /* without it all count fully */
    assert_int_equal(film_frame_read(&set.frames[0], &stereo, &s), 0);
    assert_true(s.left.valid[9] == 1);
    write_text(at("disparities/frame_1.npz"), "PK no archive");
    assert_int_equal(film_frame_read(&set.frames[0], &stereo, &s), ERR_INPUT);
    write_anchor(at("disparities/frame_1.npz"), W, H, "");
    assert_int_equal(film_frame_read(&set.frames[0], &(StereoOptions){.layout = LAYOUT_MONO}, &s), ERR_INPUT);
    write_text(at("frames/sbs/frame_1.png"), "no picture");
    assert_int_equal(film_frame_read(&set.frames[0], &stereo, &s), ERR_INPUT);
    film_set_free(&set);

    static const char *const bad[] = {"",
                                      "{}",
                                      "[",
                                      "[{}]",
                                      "[{\"name\":\"a\",\"start\":1}]",
                                      "[{\"name\":\"a\",\"start\":2,\"end\":1}]",
                                      "[{\"name\":\"a\",\"start\":-1,\"end\":1}]",
                                      "[{\"name\":\"a\",\"start\":1.5,\"end\":2}]",
                                      "[{\"name\":\"a\",\"start\":1,\"end\":1e300}]",
                                      "[{\"name\":\"\",\"start\":1,\"end\":2}]",
                                      "[{\"name\":\"a\",\"start\":1,\"start\":1,\"end\":2}]",
                                      "[{\"name\":\"a\",\"start\":1,\"end\":2}] 3",
                                      "[{\"name\":\"a\",\"start\":1,\"end\":5},{\"name\":\"b\",\"start\":5,\"end\":6}]",
                                      "[{\"name\":\"a\\u0000b\",\"start\":1,\"end\":5}]",
                                      "[{\"name\":\"a\",\"start\":1,\"end\":5},]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        set = (FilmSet){.arena = arena_make()};
        assert_int_equal(film_structure_parse(&set, (const uint8_t *)bad[i], strlen(bad[i])), ERR_INPUT);
        film_set_free(&set);
    }
    sample_free(&s);
}

/* The frames that NumPy draws: x = list(range(n)); RandomState(42).shuffle(x); x[-max(1, n // 10):]. */
static void test_divided_frame_by_frame(void **state) {
    (void)state;
    enum { MOST = 5000 };
    static const struct {
        int count, judges, drawn[10];
    } cases[] = {{10, 1, {6}},
                 {103, 10, {14, 20, 51, 60, 71, 74, 82, 86, 92, 102}},
                 {5000, 500, {860, 3772, 3092, 466, 4426, 3444}}};
    static FilmFrame frames[MOST];
    static char names[MOST][32];
    static uint8_t use[MOST];
    for (int k = 0; k < 3; k++) {
        FilmSet set = {.frames = frames, .frame_count = cases[k].count};
        int judged = 0;
        for (int i = 0; i < cases[k].count; i++) {
            snprintf(names[i], sizeof names[i], "/frames/frame_%06d.jpg", i);
            frames[i].path = names[i];
        }
        assert_int_equal(film_set_split_frames(&set, use), 0);
        for (int i = 0; i < cases[k].count; i++) judged += use[i] == FRAME_JUDGES;
        assert_int_equal(judged, cases[k].judges);
        for (int i = 0; i < 10 && (i == 0 || cases[k].drawn[i]); i++)
            assert_int_equal(use[cases[k].drawn[i]], FRAME_JUDGES);
    }
    /* as text 1037074 stands before 200000; three are shuffled to what they were */
    static FilmFrame three[3] = {
        {.path = "s/frame_200000.jpg"}, {.path = "s/frame_300000.jpg"}, {.path = "s/frame_1037074.jpg"}};
    FilmSet set = {.frames = three, .frame_count = 3};
    assert_int_equal(film_set_split_frames(&set, use), 0);
    assert_true(use[0] == FRAME_TRAINS && use[1] == FRAME_JUDGES && use[2] == FRAME_TRAINS);
}

/* Each eye in a folder of its own; and one film alone is divided into stretches. */
static void test_folders(void **state) {
    (void)state;
    snprintf(root, sizeof root, "%s", scratch_folder("film_set_two"));
    enum { MANY = 40 };
    for (int i = 0; i < MANY; i++) { /* the names count here, so files may be empty */
        write_text(at("left/%03d.png", i), "");
        if (i != 7) write_text(at("right/%03d.png", i), "");
    }
    assert_int_equal(image_write(at("left/000.png"), OUT_OVERWRITE, &views.left, NULL, NULL), 0);
    assert_int_equal(image_write(at("right/000.png"), OUT_OVERWRITE, &views.right, NULL, NULL), 0);
    FilmSet set;
    assert_int_equal(film_set_find(root, NULL, &set), 0);
    assert_true(set.frame_count == MANY - 1 && set.rejected_count == 1);
    FilmSet taught; /* there is no teacher: all may be learned from */
    assert_int_equal(film_set_find(root, &(FilmSetOptions){.taught_only = true}, &taught), 0);
    assert_true(taught.frame_count == MANY - 1 && taught.untaught == 0);
    film_set_free(&taught);
    Sample s = {0};
    assert_int_equal(film_frame_read(&set.frames[0], NULL, &s), 0);
    assert_memory_equal(s.right.rgb, views.right.bytes, 3 * W * H);
    assert_true(s.left.valid[50] == 0); /* no anchor: nothing is known */
    for (uint64_t seed = 0; seed < 8; seed++) {
        uint8_t use[MANY];
        film_set_split(&set, 0.2, seed, use);
        int count[3] = {0};
        for (int i = 0; i < MANY - 1; i++) {
            count[use[i]]++;
            if (i) assert_true(use[i] == use[i - 1] || use[i] == FRAME_NEITHER || use[i - 1] == FRAME_NEITHER);
        }
        assert_true(count[FRAME_JUDGES] == 8 && count[FRAME_NEITHER] >= 1 && count[FRAME_TRAINS] > 20);
    }
    sample_free(&s);
    film_set_free(&set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_divided_frame_by_frame),
    };
    return cmocka_run_group_tests(tests, draw_views, free_views);
}
