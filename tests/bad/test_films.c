/* Films that must be survived: rows V of the specification (reliability, section 5.3), with what C and S ask of films.
 *
 * Elsewhere: V1 to V4 field by field tests/data/test_y4m.c. tests/apps/test_film.c has, with a real ffmpeg:
 *   V5   ffmpeg missing, not ffmpeg, exit codes, killed, 10 MB of complaints, hanging; the last frame not trusted
 *   V6   we are killed while ffmpeg writes, and go on to the same bytes (the reader that closes our output is here)
 *   V7   a variable rate, a rotation tag, HDR, time stamps that go back, an edit list, no rate: said
 *   V8   pictures that change their size
 *   V11  a tag that the pictures contradict
 * Nothing here can meet V9, V10, V12, V13 yet: boxes and meshes of VR180, its JPEGs, lists of shots, rigs as JSON are
 * not read. */
#include "tests/bad/films_made.h"

#define FILM "$P match f.y4m --model sgm --no-video --threads 1 -o o/"
#define STREAM(header) "printf 'YUV4MPEG2 " header "\\n' | $P match - --model sgm -o o/ --no-video"
static const Case films[] = {
    {"V1 not y4m", make_pair, "$P match - --model sgm -o o/ <l.png", 3, "standard input: is not a y4m stream", 0},
    {"V1 empty", NULL, "$P match - --model sgm -o o/ </dev/null", 3, "standard input: is empty", 0},
    {"V1 no end of line", v1_no_line, FILM, 3, "f.y4m: y4m header: has no end of line within 4096 bytes", 0},
    {"V1 long header", v1_long_line, FILM, 0, "1 frame: parallax", 0},
    {"V2 W0", NULL, STREAM("W0 H4"), 3, "field W0", 0},
    {"V2 H-1", NULL, STREAM("W4 H-1"), 3, "field H-1", 0},
    {"V2 W99999999999", NULL, STREAM("W99999999999 H4"), 3, "field W99999999999", 70},
    {"V2 2^15 squared", NULL, STREAM("W32768 H32768"), 3, "over the limit of 2^28", 70},
    {"V2 twice", NULL, STREAM("W4 W4 H4"), 3, "field W4", 0},
    {"V2 no H", NULL, STREAM("W4 C420jpeg"), 3, "the height (H) is missing", 0},
    {"V2 F0:0", NULL, STREAM("W4 H4 F0:0"), 3, "field F0:0", 0},
    {"V2 F1:0", NULL, STREAM("W4 H4 F1:0"), 3, "field F1:0", 0},
    {"V2 C444alpha", NULL, STREAM("W4 H4 C444alpha"), 3, "field C444alpha", 0},
    {"V2 X is passed over", v2_unknown, FILM, 0, "1 frame: parallax", 0},
    {"V3 odd", v3_odd, FILM " --layout sbs", 3, "width 257 cannot be split into two eyes", 0},
    {"V4 short", v4_short, FILM "; e=$?; ls o | grep -c npz; exit $e", 3,
     "f.y4m: frame 2 is short by 3110 bytes; 2 frames are done and kept (incomplete)", 0},
    {"V4 lenient", v4_short, FILM " --lenient", 0, "taken as far as it goes", 0},
    {"V4 first short", v4_first_short, FILM, 3, "frame 0 is short by 100 bytes", 0},
    {"V4 zero frames", v4_none, FILM, 3, "has a header and no frame", 0},
    {"V4 misspelt", v4_misspelt, FILM, 3, "frame 0 begins with \"FRAMY\" and not with FRAME", 0},
    {"V5 no ffmpeg", v5_mkv, "PATH=/nonexistent $P match --model sgm f.mkv -o o/", 8,
     "ffmpeg not found in PATH; install", 0},
    {"V5 not ffmpeg", v5_mkv, "PANUM_FFMPEG=/bin/true $P match --model sgm f.mkv -o o/", 8, "/bin/true is not ffmpeg",
     0},
    {"V5 no program", v5_mkv, "PANUM_FFMPEG=./f.mkv $P match --model sgm f.mkv -o o/", 8,
     "is not a program that can be run", 0},
    {"V6 reader gone", v6_many, "{ $P match f.y4m --model sgm -o -; echo code $? >&2; } | head -c 1 >/dev/null", 0,
     "code 1", 0},
    {"V14 one frame", v14_one, FILM, 0, "1 frame: parallax", 0},
    {"V14 black first", v14_black, FILM, 0, "4 frames: parallax", 0},
    {"C3 film there", c3_frame_there, FILM, 2, "o/frame_000001.npz exists; add -y", 0},
    {"C3 film place", v_film, "$P match f.y4m --model sgm -o no/o/", 2, "no does not exist", 0},
    {"C3 film twice", v_film, "$P match f.y4m --model sgm -o o.mkv -o ./o.mkv", 2, "./o.mkv would be written twice", 0},
    {"C3 film in picture", v_film, "$P match f.y4m --model sgm -o o.npz", 2, "a film is written to a folder", 0},
    {"C3 picture as film", make_pair, "$P match --model sgm l.png -o -", 2, "-o -: is for films", 0},
    {"C1 unheeded", v_film, "$P match f.y4m --range -8:8 --exact --refine-iter 2 --no-video -o o/", 0,
     "--exact, --refine-iter do nothing here: they are for the s2m2 models", 0},
    {"C5 at once", c5_locked, "flock o.work/lock " FILM, 2, "o/: another panum (pid 812) is writing it", 0},
    {"C4 -f film", v_film, "ulimit -f 4; " FILM "; exit $?", 6, "frame_000000.npz", 0},
    {"S1 full film", v_film, "$P match f.y4m --model sgm -o - >/dev/full", 6, "disk full after", 0},
};

static void test_films(void **state) {
    (void)state;
    RUN_TABLE(films);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_films)};
    return cmocka_run_group_tests(tests, bad_set_up, bad_tear_down);
}
