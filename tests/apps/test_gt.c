/* `panum gt` on films of our own: what is picked, what is kept and why not, what is left after a stop and a second try.
 * The film: rendered scenes side by side; among the frames one of everything that has to be rejected. */
#include "apps/lib/anchor.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "data/film_pick.h"
#include "data/film_set.h"
#include "data/map.h"
#include "data/scene.h"
#include "data/y4m.h"
#include "tensor/files/npy.h"
#include "tests/lib/check.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { W = 320, H = 240 };

static char text[60000];
#define EXPECT(code, ...)                                                                        \
    do {                                                                                         \
        int code_ = run_command(text, sizeof text, __VA_ARGS__);                                 \
        if (code_ != (code)) fail_msg("%d: wanted %d, got %d: %s", __LINE__, code, code_, text); \
    } while (0)
#define SAYS(words)                                                                        \
    do {                                                                                   \
        if (!strstr(text, words)) fail_msg("%d: no \"%s\" in: %s", __LINE__, words, text); \
    } while (0)

static char root[500];
static const char *at(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *at(const char *format, ...) {
    static char path[8][700];
    static int turn;
    char *out = path[turn++ % 8];
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

static void write_text(const char *path, const char *content) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(content, f);
    assert_int_equal(fclose(f), 0);
}

/* ---- films ---- */

enum { SCENES = 3 };
static SceneViews views[SCENES];

static int draw(void **state) {
    (void)state;
    static Scene scene;
    for (int i = 0; i < SCENES; i++) {
        if (i == 1)
            assert_int_equal(scene_random(&scene, &(SceneLot){.seed = 31}), 0);
        else
            scene_demo(&scene, (uint64_t)i + 2);
        if (scene_render(&scene, W, H, NULL, &views[i])) return -1;
    }
    return 0;
}
static int forget(void **state) {
    (void)state;
    for (int i = 0; i < SCENES; i++) scene_views_free(&views[i]);
    return 0;
}

/* Both eyes side by side, `down` rows lower in the right one, a little brighter from frame to frame. */
static void put_eyes(Image *both, const Image *left, const Image *right, int down, int brighter) {
    assert_int_equal(image_make(both, 2 * W, H, 3, 8), 0);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < 2 * W; x++)
            for (int c = 0; c < 3; c++) {
                const Image *eye = x < W ? left : right;
                int from = x < W ? y : y - down < 0 ? 0 : y - down;
                int v = eye->bytes[3 * (from * W + x % W) + c] + brighter;
                both->bytes[3 * (y * 2 * W + x) + c] = (uint8_t)(v > 255 ? 255 : v);
            }
}

static void write_frame(const char *path, const Image *left, const Image *right, int down, int brighter) {
    Image both;
    put_eyes(&both, left, right, down, brighter);
    assert_int_equal(image_write(path, OUT_OVERWRITE, &both, NULL, NULL), 0);
    image_free(&both);
}

enum { BLACK = 3, MONO = 5, CUT = 7, SWAPPED = 8, VERTICAL = 10, BROKEN = 11, FIRST = 12 };

/* Two films: the first has a cut before frame 7 and one frame of every fault, the second none. */
static void write_set(const char *name) {
    snprintf(root, sizeof root, "%s", scratch_folder(name));
    for (int i = 1; i <= FIRST; i++) {
        const SceneViews *v = &views[i >= CUT];
        const char *path = at("in/frames/sbs/frame_%06d.png", i);
        if (i == MONO)
            write_frame(path, &v->left, &v->left, 0, i);
        else if (i == SWAPPED)
            write_frame(path, &v->right, &v->left, 0, i);
        else
            write_frame(path, &v->left, &v->right, i == VERTICAL ? 5 : 0, i);
    }
    Image black;
    assert_int_equal(image_make(&black, 2 * W, H, 3, 8), 0);
    memset(black.bytes, 2, (size_t)3 * 2 * W * H);
    assert_int_equal(image_write(at("in/frames/sbs/frame_%06d.png", BLACK), OUT_OVERWRITE, &black, NULL, NULL), 0);
    image_free(&black);
    assert_int_equal(truncate(at("in/frames/sbs/frame_%06d.png", BROKEN), 9000), 0);
    for (int i = 1000001; i <= 1000004; i++)
        write_frame(at("in/frames/sbs/frame_%d.png", i), &views[2].left, &views[2].right, 0, i - 1000000);
    write_frame(at("in/frames/sbs/frame_000500.png"), &views[2].left, &views[2].right, 0, 0); /* of no film */
    write_text(at("in/film_structure.json"),
               "[{\"nr\": 1, \"name\": \"first\", \"start\": 1, \"end\": 12},\n"
               " {\"nr\": 2, \"name\": \"second\", \"start\": 1000001, \"end\": 1000100}]\n");
}

/* ---- looking at results ---- */

static char manifest[60000];

static void read_text(const char *path, char *to, size_t size) {
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s is missing", path);
    size_t n = fread(to, 1, size - 1, f);
    to[n] = 0;
    fclose(f);
}

/* The manifest's line about a frame, cut out. */
static const char *line_of(int number) {
    static char line[2000];
    char key[40];
    snprintf(key, sizeof key, "\"frame\":%d,", number);
    const char *found = strstr(manifest, key);
    if (!found) fail_msg("no frame %d in %s", number, manifest);
    while (found > manifest && found[-1] != '\n') found--;
    snprintf(line, sizeof line, "%.*s", (int)strcspn(found, "\n"), found);
    Json json;
    json_begin(&json, line, strlen(line), 8);
    assert_int_equal(json_skip(&json), 0);
    assert_int_equal(json_next(&json), JSON_END);
    return line;
}

static void expect_frame(int number, const char *words) {
    const char *line = line_of(number);
    if (!strstr(line, words)) fail_msg("frame %d: no %s in %s", number, words, line);
}

static int count_lines(const char *what) {
    int n = 0;
    for (const char *p = manifest; (p = strstr(p, what)); p++) n++;
    return n;
}

#define RANGE " --range -10:10 --layout sbs "
#define GT "%s gt -q --progress none" RANGE

/* ---- picking and shots ---- */

static void test_pick(void **state) {
    (void)state;
    int64_t a[300], b[300];
    static const struct {
        int64_t count, wanted;
    } cases[] = {{1, 1}, {7, 7}, {7, 100}, {100, 7}, {1000, 250}, {299, 298}, {40000, 3}, {5, 0}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        int64_t count = cases[c].count, n = cases[c].wanted < count ? cases[c].wanted : count;
        int64_t got = film_pick(count, cases[c].wanted, 2026, a);
        assert_true(got <= n && got >= (n + 1) / 2);
        if (n == count) assert_int_equal(got, count); /* all of them, none moved */
        double step = n ? (double)count / (double)n : 0;
        for (int64_t i = 0; i < got; i++) {
            assert_true(a[i] >= 0 && a[i] < count && (!i || a[i] > a[i - 1]));
            if (step >= 2) assert_true(fabs((double)a[i] - (double)i * step) <= 0.2 * step + 1);
        }
        assert_int_equal(film_pick(count, cases[c].wanted, 2026, b), got);
        assert_memory_equal(a, b, (size_t)got * sizeof *a);
    }
    film_pick(40000, 100, 1, a);
    film_pick(40000, 100, 2, b);
    assert_memory_not_equal(a, b, 100 * sizeof *a);
}

/* The part of a scene's left picture from column x on, brighter by so much: pans and fades. */
static void small_of(ShotPicture *small, int scene, int x, int brighter) {
    Image part;
    assert_int_equal(image_crop(&part, &views[scene].left, x, 0, W / 2, H), 0);
    for (int64_t i = 0; i < 3 * image_pixels(&part); i++) {
        int v = part.bytes[i] + brighter;
        part.bytes[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
    assert_int_equal(shot_picture(small, &part), 0);
    image_free(&part);
}

static void test_shots(void **state) {
    (void)state;
    ShotPicture a, b;
    for (int scene = 0; scene < SCENES; scene++)
        for (int x = 0; x + 12 <= W / 2; x += 12) { /* 12 columns a frame: 7 % of the width, a fast pan */
            small_of(&a, scene, x, 0);
            small_of(&b, scene, x + 12, 0);
            ShotChange c = shot_change(&a, &b);
            if (shot_begins(&a, &b)) fail_msg("a pan is no cut: %g %g", c.values, c.places);
            small_of(&b, scene, x, 8); /* a fade: 8 grey values a frame */
            c = shot_change(&a, &b);
            if (shot_begins(&a, &b)) fail_msg("a fade is no cut: %g %g", c.values, c.places);
            assert_false(shot_begins(&a, &a));
        }
    for (int x = 0; x <= W / 2; x += 40) {
        small_of(&a, 0, x, 0);
        small_of(&b, 1, W / 2 - x, 0);
        ShotChange c = shot_change(&a, &b);
        if (!shot_begins(&a, &b) || !shot_begins(&b, &a)) fail_msg("a cut is one: %g %g", c.values, c.places);
    }
}

/* ---- judging ---- */

static void make_maps(StereoMaps *maps, int width, int height, float disparity) {
    assert_int_equal(map_make(&maps->disparity, width, height, MAP_DISPARITY), 0);
    assert_int_equal(map_make(&maps->confidence, width, height, MAP_CONFIDENCE), 0);
    assert_int_equal(map_make(&maps->occlusion, width, height, MAP_OCCLUSION), 0);
    for (int i = 0; i < width * height; i++) {
        maps->disparity.values[i] = disparity;
        maps->confidence.values[i] = 0.75f;
        maps->occlusion.values[i] = 1;
    }
}

/* Matching both ways: what the right map contradicts, or what has no match in the picture, loses its confidence. */
static void test_check(void **state) {
    (void)state;
    enum { N = 20, STRIPE = 8, ROWS = 3 };
    StereoMaps left, right;
    AnchorFigures f = anchor_figures_none;
    make_maps(&left, N, ROWS, 4);
    make_maps(&right, N, ROWS, 4.75f); /* within a pixel */
    for (int y = 0; y < ROWS; y++) {
        right.disparity.values[y * N + STRIPE] = -2;
        left.occlusion.values[y * N + 1] = 0;       /* hidden: nothing is asked of it */
        left.confidence.values[y * N + 17] = 0.25f; /* not trusted: not counted */
    }
    anchor_check(&left, &right, &f);
    /* columns 0, 2, 3 fall outside, 12 onto the stripe; 18 are asked */
    assert_true(fabs(f.consistent - 14.0 / 18) < 1e-12);
    for (int y = 0; y < ROWS; y++)
        for (int x = 0; x < N; x++) {
            bool refuted = x == 0 || x == 2 || x == 3 || x == STRIPE + 4;
            float c = left.confidence.values[y * N + x];
            assert_true(refuted ? c == 0 : c == (x == 17 ? 0.25f : 0.75f));
        }
    AnchorLimits limits = {.confidence = 0.5, .consistent = 0.8};
    f.confidence = 0.4;
    assert_int_equal(anchor_judge(&f, N, &limits), ANCHOR_KEPT); /* nothing is looked for */
    limits.reject[ANCHOR_CONSISTENCY] = true;
    assert_int_equal(anchor_judge(&f, N, &limits), ANCHOR_CONSISTENCY);
    limits.reject[ANCHOR_CONFIDENCE] = true;
    assert_int_equal(anchor_judge(&f, N, &limits), ANCHOR_CONFIDENCE);
    f.confidence = 0.6, f.consistent = NAN; /* not checked: not held against it */
    assert_int_equal(anchor_judge(&f, N, &limits), ANCHOR_KEPT);
    limits.reject[ANCHOR_MONO] = true; /* one picture twice, told apart by coding noise alone */
    f.nearest = -0.04, f.farthest = 0.045;
    assert_int_equal(anchor_judge(&f, 1920, &limits), ANCHOR_MONO);
    f.farthest = 0.055; /* 1.06 px */
    assert_int_equal(anchor_judge(&f, 1920, &limits), ANCHOR_KEPT);
    assert_int_equal(anchor_judge(&f, 500, &limits), ANCHOR_MONO); /* 0.28 px */
    stereo_maps_free(&left), stereo_maps_free(&right);
}

/* ---- a folder of frames ---- */

static void test_set(void **state) {
    (void)state;
    write_set("gt_set");
    EXPECT(0, GT "%s -o %s --json", panum_program(), at("in"), at("out"));
    SAYS("\"frames\":16,\"kept\":11");
    read_text(at("out/manifest.jsonl"), manifest, sizeof manifest);
    for (int i = 1; i <= FIRST; i++) {
        expect_frame(i, "\"film\":\"first\"");
        if (i != BLACK && i != BROKEN)
            expect_frame(i, i < BLACK ? "\"shot\":1" : i < CUT ? "\"shot\":3" : "\"shot\":4");
    }
    expect_frame(1, "\"status\":\"kept\",\"reason\":null");
    expect_frame(1, "\"anchor\":\"disparities/frame_000001.npz\"");
    expect_frame(BLACK, "\"reason\":\"blank\"");
    expect_frame(MONO, "\"reason\":\"mono\"");
    expect_frame(SWAPPED, "\"reason\":\"swapped\"");
    expect_frame(VERTICAL, "\"reason\":\"vertical\"");
    expect_frame(BROKEN, "\"reason\":\"unreadable\"");
    expect_frame(BROKEN, "the file is truncated");
    expect_frame(1000004, "\"film\":\"second\",\"frame\":1000004,\"shot\":1,\"status\":\"kept\"");
    assert_int_equal(count_lines("\"status\":\"kept\""), 11);
    assert_int_equal(count_lines("\"reason\":\"unusable\""), 1);

    /* what is in an anchor, and that training reads it */
    Npz *npz;
    NpyArray d, c, o;
    assert_int_equal(npz_open(at("out/disparities/frame_000002.npz"), &npz), 0);
    assert_int_equal(npz_read(npz, "disparity", &d), 0);
    assert_int_equal(npz_read(npz, "confidence", &c), 0);
    assert_int_equal(npz_read(npz, "occlusion", &o), 0);
    assert_true(d.type == NPY_F32 && c.type == NPY_F16 && o.type == NPY_F16);
    const NpyArray *all[3] = {&d, &c, &o};
    for (int i = 0; i < 3; i++) assert_true(all[i]->rank == 2 && all[i]->size[0] == H && all[i]->size[1] == W);
    npy_free(&d), npy_free(&c), npy_free(&o);
    npz_close(npz);
    FilmSet set;
    FilmSetOptions how = {.anchors = at("out/disparities"), .need_anchors = true};
    assert_int_equal(film_set_find(at("in"), &how, &set), 0);
    assert_int_equal(set.frame_count, 11);
    Sample sample = {0};
    assert_int_equal(film_frame_read(&set.frames[1], &(StereoOptions){.layout = LAYOUT_SBS}, &sample), 0);
    int64_t trusted = 0, right = 0, refuted = 0;
    for (int i = 0; i < W * H; i++) {
        double truth = views[0].disparity.values[i], found = sample.left.disparity[i];
        bool visible = views[0].visible.values[i] == 1;
        if (sample.left.valid[i] >= 0.5f && visible) trusted++, right += fabs(truth - found) <= 1;
        refuted += sample.left.valid[i] == 0;
    }
    sample_free(&sample);
    film_set_free(&set);
    if (trusted < W * H / 2 || right < 0.97 * (double)trusted || !refuted)
        fail_msg("%lld of %lld trusted pixels within 1 px, %lld refuted", (long long)right, (long long)trusted,
                 (long long)refuted);
    static char report[4000000];
    read_text(at("out/report.html"), report, sizeof report);
    assert_true(strstr(report, "first") && strstr(report, "second") && strstr(report, "data:image/png;base64,") &&
                strstr(report, "</html>") && !strstr(report, "http://") && !strstr(report, "<script"));
}

static int64_t inode_of(const char *path) {
    struct stat st;
    return stat(path, &st) ? -1 : (int64_t)st.st_ino;
}

/* Only what is missing is done; other settings are refused; nobody's files are replaced. */
static void test_again(void **state) {
    (void)state;
    write_set("gt_again");
    char in[700], command[1600];
    snprintf(in, sizeof in, "%s", at("in"));
    snprintf(command, sizeof command, "%s -o %s/" RANGE "--json --no-check --progress none", in, at("out"));
    EXPECT(0, "%s gt -n %s", panum_program(), command);
    SAYS("first: 12 frames, 12 picked");
    assert_int_equal(inode_of(at("out")), -1);
    EXPECT(0, "%s gt %s --per-film 3", panum_program(), command);
    SAYS("2 films, 16 frames, 6 picked, 6 of them to do");
    EXPECT(0, "%s gt %s --per-film 3", panum_program(), command);
    SAYS("0 of them to do");
    SAYS("\"new\":0");
    EXPECT(0, "%s gt %s --per-film 3 --full-film second", panum_program(), command);
    SAYS("7 picked, 1 of them to do");
    EXPECT(0, "%s gt %s", panum_program(), command);
    SAYS("\"frames\":16,\"kept\":11");
    int64_t before = inode_of(at("out/disparities/frame_000001.npz"));
    assert_int_equal(unlink(at("out/disparities/frame_000009.npz")), 0);
    EXPECT(0, "%s gt %s", panum_program(), command);
    SAYS("\"new\":1");
    assert_true(inode_of(at("out/disparities/frame_000009.npz")) > 0);
    assert_true(inode_of(at("out/disparities/frame_000001.npz")) == before);
    /* a frame that comes later */
    write_frame(at("in/frames/sbs/frame_1000007.png"), &views[2].left, &views[2].right, 0, 9);
    EXPECT(0, "%s gt %s", panum_program(), command);
    SAYS("\"new\":1");
    EXPECT(2, "%s gt %s --min-confidence 0.7", panum_program(), command);
    SAYS("--min-confidence was 0.5 and is 0.7");
    SAYS("--no-resume");
    EXPECT(0, "%s gt %s --min-confidence 0.7 --no-resume --per-film 2", panum_program(), command);
    SAYS("\"frames\":4,");
    EXPECT(2, "%s gt %s --min-confidence 0.7 --full-film third", panum_program(), command);
    SAYS("no film is called 'third'");
    /* anchors without a journal are somebody's */
    EXPECT(0, "rm -r %s", at("out/gt.work"));
    EXPECT(2, "%s gt %s", panum_program(), command);
    SAYS("--reuse");
    EXPECT(0, "%s gt %s -y --per-film 1", panum_program(), command);
    EXPECT(2, "%s gt %s --reject swapped,vertigo", panum_program(), command);
    EXPECT(2, "%s gt %s", panum_program(), in); /* no output */
    EXPECT(3, "%s gt %s/nowhere -o %s", panum_program(), in, at("out2"));
    EXPECT(3, "%s gt %s -o %s", panum_program(), at("in/film_structure.json"), at("out2"));
    assert_int_equal(inode_of(at("out2")), -1);
}

static void test_reuse_and_reference(void **state) {
    (void)state;
    write_set("gt_reuse");
    EXPECT(0, GT "%s -o %s --no-check", panum_program(), at("in"), at("out"));
    assert_int_equal(truncate(at("out/disparities/frame_000001.npz"), 2000), 0);
    EXPECT(0, GT "%s -o %s --reuse %s --json", panum_program(), at("in"), at("two"), at("out/disparities"));
    SAYS("\"kept\":11,\"reused\":10");
    read_text(at("two/manifest.jsonl"), manifest, sizeof manifest);
    expect_frame(1, "\"reused\":false");
    expect_frame(2, "\"reused\":true");
    EXPECT(2, GT "%s -o %s --reuse %s", panum_program(), at("in"), at("two"), at("two/disparities"));

    /* The published behaviour: cut, positive, nothing rejected that can be read, earlier results in the root taken. */
    EXPECT(0, "cp %s %s", at("out/disparities/frame_000002.npz"), at("in/disparities/frame_000002.npz"));
    EXPECT(0, GT "%s -o %s --reference --model sgm --json", panum_program(), at("in"), at("three"));
    SAYS("\"kept\":15,\"reused\":1,\"rejected\":{\"unreadable\":1,");
    Npz *npz;
    NpyArray d;
    assert_int_equal(npz_open(at("three/disparities/frame_000001.npz"), &npz), 0);
    assert_int_equal(npz_read(npz, "disparity", &d), 0);
    assert_true(d.size[0] == (H & ~31) && d.size[1] == (W & ~31) && d.size[0] != H);
    for (int64_t i = 0; i < d.count; i++) assert_true(((const float *)(const void *)d.data)[i] >= 0);
    npy_free(&d);
    npz_close(npz);
}

/* ---- stopped and killed ---- */

/* Starts the command, sends the signal after so many milliseconds; its exit status, 128 + signal if killed. */
static int interrupted(const char *output, int signal_number, int milliseconds) {
    pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(99);
        execl(panum_program(), "panum", "gt", at("in"), "-o", output, "--layout", "sbs", "--range", "-10:10",
              "--no-meta", "-q", "--progress", "none", (char *)NULL);
        _exit(98);
    }
    usleep((useconds_t)milliseconds * 1000);
    kill(child, signal_number);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void test_interrupted(void **state) {
    (void)state;
    write_set("gt_stop");
    char whole[60000];
    EXPECT(0, GT "%s -o %s --no-meta", panum_program(), at("in"), at("whole"));
    read_text(at("whole/manifest.jsonl"), whole, sizeof whole);
    int stopped = 0, killed = 0;
    for (int i = 0; i < 6; i++) {
        int code = interrupted(at("out"), i % 3 ? SIGKILL : SIGINT, 30 + 50 * i);
        if (code != 0 && code != 130 && code != 128 + SIGKILL && code != 128 + SIGINT) fail_msg("exit %d", code);
        stopped += code == 130, killed += code == 128 + SIGKILL;
    }
    printf("stopped %d and killed %d times of 6\n", stopped, killed);
    EXPECT(0, GT "%s -o %s --no-meta", panum_program(), at("in"), at("out"));
    read_text(at("out/manifest.jsonl"), manifest, sizeof manifest);
    assert_string_equal(manifest, whole);
    EXPECT(0, "diff -r %s %s", at("whole/disparities"), at("out/disparities"));
    EXPECT(0, "cmp %s %s", at("whole/manifest.jsonl"), at("out/manifest.jsonl"));
}

/* ---- videos ---- */

/* A y4m film of 10 frames with a cut in the middle. */
static void write_film(const char *path, int before, int after) {
    Out *file;
    assert_int_equal(out_open(path, OUT_OVERWRITE, &file), 0);
    assert_int_equal(y4m_write_header(file, 2 * W, H, 3, (Rate){24, 1}), 0);
    for (int f = 0; f < 10; f++) {
        Image both;
        const SceneViews *v = &views[f < 5 ? before : after];
        put_eyes(&both, &v->left, &v->right, 0, f);
        assert_int_equal(y4m_write_frame(file, &both), 0);
        image_free(&both);
    }
    assert_int_equal(out_commit(&file), 0);
}

static void test_videos(void **state) {
    (void)state;
    snprintf(root, sizeof root, "%s", scratch_folder("gt_videos"));
    write_film(at("films/one_sbs.y4m"), 0, 1);
    write_film(at("films/two_sbs.y4m"), 1, 2);
    EXPECT(0, GT "%s -o %s --per-film 4 --json", panum_program(), at("films/one_sbs.y4m"), at("out"));
    SAYS("\"frames\":4,\"kept\":4");
    SAYS("\"shots\":2");
    /* the folder of both: the second is added, the first is done */
    EXPECT(0, GT "%s -o %s --per-film 4 --json --pictures jpg", panum_program(), at("films"), at("out"));
    SAYS("\"new\":4,\"frames\":8,\"kept\":8");
    FilmSet set;
    FilmSetOptions how = {.need_anchors = true};
    assert_int_equal(film_set_find(at("out"), &how, &set), 0);
    assert_int_equal(set.frame_count, 8);
    assert_int_equal(set.film_count, 2);
    assert_string_equal(set.films[1].name, "two_sbs");
    assert_true(set.films[1].start == 10 && set.films[1].end == 19);
    assert_true(set.frames[3].film == 0 && set.frames[4].film == 1 && set.frames[4].right);
    Sample sample = {0};
    for (int i = 0; i < 8; i++) assert_int_equal(film_frame_read(&set.frames[i], &(StereoOptions){0}, &sample), 0);
    assert_true(sample.width == W && sample.height == H);
    sample_free(&sample);
    film_set_free(&set);
    /* swapped films say so, and nothing is kept: exit 1 */
    write_film(at("swapped/three_sbs.y4m"), 0, 2);
    EXPECT(1, "%s gt %s -o %s --per-film 4 --swap-eyes" RANGE, panum_program(), at("swapped/three_sbs.y4m"),
           at("out3"));
    SAYS("no frame was kept");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pick),        cmocka_unit_test(test_shots),  cmocka_unit_test(test_check),
        cmocka_unit_test(test_set),         cmocka_unit_test(test_again),  cmocka_unit_test(test_reuse_and_reference),
        cmocka_unit_test(test_interrupted), cmocka_unit_test(test_videos),
    };
    return cmocka_run_group_tests(tests, draw, forget);
}
