/* What `panum gt` must survive: rows of the specification (reliability, section 5) that a command over folders of
 * frames can meet. Elsewhere: what it does with sound films, kills at random instants and frames that are rejected
 * tests/apps/test_gt.c; single pictures tests/bad/test_pictures.c; films tests/bad/test_films.c. */
#include "tests/lib/bad.h"

#include <sys/stat.h>
#include <unistd.h>

enum { FRAMES = 3 };

static void make_folder(const char *name) {
    if (mkdir(made_path(name), 0700)) fail_msg("%s cannot be made", name);
}

/* f/: FRAMES frames of one film in left/ and right/. */
static void frames(void) {
    make_pair();
    make_folder("f");
    for (int eye = 0; eye < 2; eye++) {
        char name[64];
        Bytes picture = get_bytes(eye ? "r.png" : "l.png");
        make_folder(eye ? "f/right" : "f/left");
        for (int i = 1; i <= FRAMES; i++) {
            snprintf(name, sizeof name, "f/%s/frame_%06d.png", eye ? "right" : "left", i);
            put_bytes(name, picture.bytes, picture.size);
        }
        free(picture.bytes);
    }
}
static void structure(const char *text) {
    frames();
    put_text("f/film_structure.json", text);
}
static void v12_end_before_start(void) {
    structure("[{\"nr\": 1, \"name\": \"a\", \"start\": 3, \"end\": 1}]");
}
static void v12_overlap(void) {
    structure("[{\"nr\": 1, \"name\": \"a\", \"start\": 1, \"end\": 2},"
              "{\"nr\": 2, \"name\": \"b\", \"start\": 2, \"end\": 3}]");
}
static void v12_elsewhere(void) {
    structure("[{\"nr\": 1, \"name\": \"a\", \"start\": 100, \"end\": 200}]");
}
static void v12_deep(void) {
    char text[4097];
    memset(text, '[', sizeof text - 1);
    text[sizeof text - 1] = 0;
    structure(text);
}
static void v12_no_json(void) {
    structure("1 first 1 12\n");
}
static void i5_cut(void) {
    frames();
    cut("f/right/frame_000002.png", 0.3);
}
static void i2_none_readable(void) {
    frames();
    for (int i = 1; i <= FRAMES; i++) {
        char name[64];
        snprintf(name, sizeof name, "f/left/frame_%06d.png", i);
        put_text(name, "no picture at all");
    }
}
static void i20_no_right(void) {
    frames();
    if (unlink(made_path("f/right/frame_000002.png"))) fail_msg("no frame 2");
}
static void c3_foreign_anchor(void) {
    frames();
    make_folder("o");
    make_folder("o/disparities");
    put_text("o/disparities/frame_000002.npz", "precious");
}
static void c3_foreign_list(void) {
    frames();
    make_folder("o");
    put_text("o/manifest.jsonl", "precious");
}
static void c3_file(void) {
    frames();
    put_text("o", "precious");
}
static void c5_locked(void) {
    frames();
    make_folder("o");
    make_folder("o/gt.work");
    put_text("o/gt.work/lock", "812\n");
}
static void w_reuse(void) {
    frames();
    make_folder("old");
    put_text("old/frame_000001.npz", "PK\3\4 and no more");
}

#define GT "$P gt -q --model sgm --threads 1 --no-check --reject none -o o "
/* Nothing was written but what is whole: the same command without the fault ends well and leaves no part behind. */
#define FAULT(fault) \
    "LD_PRELOAD=$F FAULT='" fault "' " GT "f; e=$?; find o | grep part && exit 99; " GT "f || exit 98; exit $e"
static const Case cases[] = {
    {"C1 nothing", NULL, "$P gt -o o", 2, "nothing to work on", 0},
    {"C1 no output", frames, "$P gt f", 2, "-o FOLDER is missing", 0},
    {"C1 unknown", frames, GT "f --per-flim 3", 2, "--per-film", 0},
    {"C2 no number", frames, GT "f --per-film abc", 2, "--per-film: 'abc' is not a whole number", 0},
    {"C2 none", frames, GT "f --per-film 0", 2, "--per-film: '0'", 0},
    {"C2 range", frames, GT "f --range 5:2", 2, "--range: '5:2' is an empty range", 0},
    {"C2 reasons", frames, "$P gt f -o o --reject blank,nothing", 2, "--reject: 'blank,nothing' is not", 0},
    {"C3 no folder above", frames, "$P gt f -o no/o", 2, "the folder no does not exist", 0},
    {"C3 a file", c3_file, GT "f", 2, "o: is no folder", 0},
    {"C3 an anchor is there", c3_foreign_anchor, GT "f", 2, "frame_000002.npz exists; name another output", 0},
    {"C3 a list is there", c3_foreign_list, GT "f", 2, "o/manifest.jsonl exists; name another output, or add -y", 0},
    {"C3 not writable", frames, "$P gt f -o /proc/o", 2, "/proc", 0},
    {"C5 at once", c5_locked, "flock o/gt.work/lock " GT "f", 2, "another panum (pid 812) is writing it", 0},
    {"I1 not there", NULL, GT "no", 3, "no: is not there", 0},
    {"I1 empty folder", NULL, "mkdir e; " GT "e; exit $?", 3, "e: holds no pictures", 0},
    {"I1 no film", make_pair, GT "l.png", 3, "l.png: is no film", 0},
    {"I1 two sets", frames, "cp -r f g; " GT "f g; exit $?", 2, "", 0},
    {"I5 a frame cut", i5_cut,
     GT "f && grep -c '\"reason\":\"unreadable\",\"why\":\"frame_000002.png: PNG' "
        "o/manifest.jsonl",
     0, "1", 0},
    {"I2 none readable", i2_none_readable, GT "f; exit $?", 1, "no frame was kept; o/report.html says why", 0},
    {"I20 no right eye", i20_no_right, GT "f && grep -c 'right eye.s picture of this name is missing' o/manifest.jsonl",
     0, "1", 0},
    {"V12 end before start", v12_end_before_start, GT "f", 3, "a film ends at 1, before its start at 3", 0},
    {"V12 overlap", v12_overlap, GT "f", 3, "the films 'a' and 'b' both have frame 2", 0},
    {"V12 elsewhere", v12_elsewhere, GT "f", 3, "", 0},
    {"V12 deep", v12_deep, GT "f", 3, "f/film_structure.json: byte 2", 0},
    {"V12 no JSON", v12_no_json, GT "f", 3, "f/film_structure.json: byte", 0},
    {"W15 no weights", frames, "$P gt f -o o --model s2m2-S --weights no.pth", 4, "no.pth: there is no such", 0},
    {"W anchors that are none", w_reuse, GT "f --reuse old && grep -c '\"reused\":true' o/manifest.jsonl; test $? = 1",
     0, "0", 0},
    {"W no anchors", frames, GT "f --reuse no", 3, "no: is no folder to take anchors from", 0},
    {"K4 other settings", frames, GT "f; " GT "f --layout pair --range 0:9; exit $?", 2,
     "was begun with other settings", 0},
    {"S1 disk full", frames, FAULT("write -2 28"), 6, "", -1},
    {"S2 fsync EIO", frames, FAULT("fsync -2 5"), 1, "Input/output error", -1},
    {"S2 rename EROFS", frames, FAULT("rename -1 30"), 1, "Read-only file system", -1},
};

static void test_gt(void **state) {
    (void)state;
    RUN_TABLE(cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gt)};
    return cmocka_run_group_tests(tests, bad_set_up, bad_tear_down);
}
