/* Films through `panum match`: streams, folders and videos; how their eyes lie; what breaks in them; what is left after
 * a stop, a kill and a second try. What needs ffmpeg is skipped visibly where there is none. */
#include "base/err.h"
#include "base/mem.h"
#include "data/film.h"
#include "data/map.h"
#include "data/scene.h"
#include "data/y4m.h"
#include "tensor/files/npy.h"
#include "tests/lib/check.h"
#include "tests/lib/random_dot.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char out[16384]; /* what the last command said */
static bool has_ffmpeg;
#define NEEDS_FFMPEG()                                          \
    do {                                                        \
        if (!has_ffmpeg) {                                      \
            printf("skip: %s: ffmpeg is not here\n", __func__); \
            skip();                                             \
        }                                                       \
    } while (0)

#define RUN(...) run_command(out, sizeof out, __VA_ARGS__)
#define EXPECT(code, ...)                                                                       \
    do {                                                                                        \
        int code_ = RUN(__VA_ARGS__);                                                           \
        if (code_ != (code)) fail_msg("%d: wanted %d, got %d: %s", __LINE__, code, code_, out); \
    } while (0)
#define SAYS(words)                                                                      \
    do {                                                                                 \
        if (!strstr(out, words)) fail_msg("%d: no \"%s\" in: %s", __LINE__, words, out); \
    } while (0)

/* ---- making films --------------------------------------------------------------------------------------------------
 */

enum { W = 128, H = 96 };

/* Frame f of a film of random dots: a square in front (d = `square`) on a ground behind (d = -5). */
static void dots(int f, int square, Image *left, Image *right) {
    RandomDotOptions options = {.seed = (uint64_t)f + 1, .channels = 3, .square = square, .ground = -5};
    RandomDot pair;
    assert_int_equal(random_dot_make(&pair, &options), 0);
    *left = pair.left;
    *right = pair.right;
    pair.left = pair.right = (Image){0};
    random_dot_free(&pair);
}

/* Both eyes in one frame. */
static void pack(const Image *left, const Image *right, bool down, Image *to) {
    int w = left->width, h = left->height;
    assert_int_equal(image_make(to, down ? w : 2 * w, down ? 2 * h : h, 3, 8), 0);
    for (int e = 0; e < 2; e++)
        for (int y = 0; y < h; y++) {
            const uint8_t *from = (e ? right : left)->bytes + 3 * (size_t)y * (size_t)w;
            size_t row = down ? (size_t)(e * h + y) * (size_t)w : (size_t)y * 2 * (size_t)w + (size_t)(e * w);
            memcpy(to->bytes + 3 * row, from, 3 * (size_t)w);
        }
}

/* From frame `changed` on the square lies elsewhere. */
static void write_changing(const char *path, int frames, int first, int changed, int square) {
    Out *file;
    assert_int_equal(out_open(path, OUT_OVERWRITE, &file), 0);
    assert_int_equal(y4m_write_header(file, 2 * W, H, 3, (Rate){24, 1}), 0);
    for (int f = 0; f < frames; f++) {
        Image left, right, both;
        dots(first + f, f < changed ? 8 : square, &left, &right);
        pack(&left, &right, false, &both);
        assert_int_equal(y4m_write_frame(file, &both), 0);
        image_free(&left);
        image_free(&right);
        image_free(&both);
    }
    assert_int_equal(out_commit(&file), 0);
}

static void write_y4m(const char *path, int frames, int first) {
    write_changing(path, frames, first, frames, 0);
}

/* On failure there is one line, and no address in some program's memory in it. */
static void one_sentence(void) {
    const char *end = strchr(out, '\n');
    if (!end || end[1] || strncmp(out, "panum ", 6) != 0 || strstr(out, "@ 0x")) fail_msg("not one sentence: %s", out);
}

static void write_file(const char *path, const char *text, int mode) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, (mode_t)mode), 0);
}

/* ---- looking at results --------------------------------------------------------------------------------------------
 */

static int count_files(const char *folder, const char *ending) {
    DIR *dir = opendir(folder);
    int n = 0;
    if (!dir) return -1;
    for (struct dirent *entry; (entry = readdir(dir));) {
        size_t length = strlen(entry->d_name), e = strlen(ending);
        n += entry->d_name[0] != '.' && length >= e && strcmp(entry->d_name + length - e, ending) == 0;
    }
    closedir(dir);
    return n;
}

/* The map of one frame must show the square in front and the ground behind. */
static void check_frame(const char *folder, int number) {
    char path[700];
    Npz *npz;
    NpyArray d, n;
    snprintf(path, sizeof path, "%s/frame_%06d.npz", folder, number);
    if (npz_open(path, &npz)) fail_msg("%s", err_sentence());
    assert_int_equal(npz_read(npz, "disparity", &d), 0);
    assert_int_equal(npz_read(npz, "frame", &n), 0);
    assert_int_equal(*(const int64_t *)(const void *)n.data, number);
    assert_true(npz_has(npz, "parallax") && npz_has(npz, "confidence") && npz_has(npz, "occlusion"));
    assert_int_equal(d.size[0], H);
    assert_int_equal(d.size[1], W);
    const float *v = (const float *)(const void *)d.data;
    int front = 0, behind = 0;
    for (int i = 0; i < W * H; i++) {
        front += v[i] > 7.5f && v[i] < 8.5f;
        behind += v[i] > -5.5f && v[i] < -4.5f;
    }
    if (front < W * H / 12 || behind < W * H / 2) fail_msg("%s: %d in front, %d behind", path, front, behind);
    npy_free(&d);
    npy_free(&n);
    npz_close(npz);
}

static bool exists(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool exists(const char *format, ...) {
    char path[900];
    va_list args;
    va_start(args, format);
    vsnprintf(path, sizeof path, format, args);
    va_end(args);
    return access(path, F_OK) == 0;
}

/* ---- streams and folders, without ffmpeg ----------------------------------------------------------------------------
 */

static void a_stream_becomes_maps_and_a_stream(void **state) {
    (void)state;
    char dir[600];
    snprintf(dir, sizeof dir, "%s", scratch_folder("film_stream"));
    char path[700];
    snprintf(path, sizeof path, "%s/dots.y4m", dir);
    write_y4m(path, 6, 0);
    EXPECT(0, "%s match %s -o %s/o/ --no-video --model sgm", panum_program(), path, dir);
    SAYS("full side by side (from content of 5 of 5 frames");
    SAYS("y4m stream 256x96, 24 fps, 8-bit 444");
    SAYS("6 frames: parallax -6.");
    for (int f = 0; f < 6; f++) check_frame(strcat(strcpy(path, dir), "/o"), f);
    assert_false(exists("%s/o.work", dir));
    assert_int_equal(count_files(path, ""), 6);
    /* the same through pipes, and only some of it */
    EXPECT(0, "%s match - -o - --model sgm --start 2f --every 3 <%s/dots.y4m >%s/maps.y4m", panum_program(), dir, dir);
    SAYS("2 frames: ");
    EXPECT(0, "head -1 %s/maps.y4m", dir);
    SAYS("F24:3"); /* every third frame lasts three times as long */
    EXPECT(0, "grep -ao FRAME %s/maps.y4m | wc -l", dir);
    SAYS("2");
    EXPECT(0, "%s match - -o %s/p/ --no-video --model sgm --frames 2 <%s/dots.y4m", panum_program(), dir, dir);
    EXPECT(0, "cmp %s/o/frame_000001.npz %s/p/frame_000001.npz || test $? = 1", dir, dir);
    check_frame(strcat(strcpy(path, dir), "/p"), 1);
    /* finished work is not replaced unasked */
    EXPECT(2, "%s match %s/dots.y4m -o %s/o/ --no-video --model sgm", panum_program(), dir, dir);
    SAYS("frame_000000.npz exists; add -y");
    EXPECT(0, "%s match %s/dots.y4m -o %s/o/ --no-video --model sgm -y -q", panum_program(), dir, dir);
    assert_string_equal(out, "");
}

static void folders_of_frames(void **state) {
    (void)state;
    char dir[600], path[900];
    snprintf(dir, sizeof dir, "%s", scratch_folder("film_folders"));
    EXPECT(0, "cd %s && mkdir sub sub/left sub/right tails packed", dir);
    for (int f = 0; f < 8; f++) {
        Image left, right, both;
        dots(f, 8, &left, &right);
        pack(&left, &right, false, &both);
        snprintf(path, sizeof path, "%s/packed/f_%03d.png", dir, f);
        assert_int_equal(image_write(path, OUT_NEW, &both, NULL, NULL), 0);
        for (int e = 0; f < 3 && e < 2; e++) {
            static const char *const eyes[] = {"left", "right"};
            snprintf(path, sizeof path, "%s/sub/%s/%03d.png", dir, eyes[e], f);
            assert_int_equal(image_write(path, OUT_NEW, e ? &right : &left, NULL, NULL), 0);
            snprintf(path, sizeof path, "%s/tails/%03d_%s.png", dir, f, eyes[e]);
            assert_int_equal(image_write(path, OUT_NEW, e ? &right : &left, NULL, NULL), 0);
        }
        image_free(&left);
        image_free(&right);
        image_free(&both);
    }
    static const struct {
        const char *input;
        int frames;
    } cases[] = {{"sub", 3}, {"tails", 3}, {"packed --every 1", 8}, {"sub/left sub/right --frames 2", 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        EXPECT(0, "P=$(realpath %s) && cd %s && $P match %s -o o%zu/ --no-video --model sgm", panum_program(), dir,
               cases[i].input, i);
        SAYS(i == 2 ? "full side by side" : "two files (from two series of pictures)");
        SAYS("taken as 24 fps");
        snprintf(path, sizeof path, "%s/o%zu", dir, i);
        assert_int_equal(count_files(path, ".npz"), cases[i].frames);
        check_frame(path, cases[i].frames - 1);
    }
    /* one picture is missing, one is of another size */
    EXPECT(0, "rm %s/sub/right/001.png", dir);
    EXPECT(3, "%s match %s/sub -o %s/x/ --no-video --model sgm", panum_program(), dir, dir);
    SAYS("3 left pictures");
    Image small;
    assert_int_equal(image_make(&small, 40, 40, 3, 8), 0);
    memset(small.bytes, 9, 4800);
    snprintf(path, sizeof path, "%s/packed/f_005.png", dir);
    assert_int_equal(image_write(path, OUT_OVERWRITE, &small, NULL, NULL), 0);
    image_free(&small);
    EXPECT(3, "%s match %s/packed -o %s/x/ --every 1 --no-video --model sgm", panum_program(), dir, dir);
    SAYS("f_005.png: has 40 x 40 pixels, and the frames before 256 x 96");
    SAYS("5 of 8 frames are done and kept");
    snprintf(path, sizeof path, "%s/x", dir);
    assert_int_equal(count_files(path, ".npz"), 5);
}

static void streams_that_break(void **state) {
    (void)state;
    char dir[600];
    snprintf(dir, sizeof dir, "%s", scratch_folder("film_broken"));
    char path[700];
    snprintf(path, sizeof path, "%s/dots.y4m", dir);
    write_y4m(path, 9, 0);
    static const struct {
        const char *make; /* shell, in the folder, from dots.y4m into x.y4m */
        int frames;       /* kept; -1: no folder was made */
        const char *words;
    } cases[] = {
        {"head -c 3000 dots.y4m", -1, "frame 0 is short by"},
        {"head -c 600000 dots.y4m", 8, "frame 8 is short by"},
        {"head -c 58 dots.y4m", -1, "has a header and no frame"},
        {"head -c 221260 dots.y4m; echo FRAMED", 3, "frame 3 begins with"},
        {"printf 'YUV4MPEG2 W0 H4\\n'", -1, "field W0"},
        {"printf 'YUV4MPEG2 W1921 H8 C444\\nFRAME\\n'; head -c 46104 /dev/zero", -1, "cannot be split into two eyes"},
        {"printf 'YUV4MPEG2 W4 H4 C444alpha\\n'", -1, "field C444alpha"},
        {"head -c 10000000 /dev/zero | tr '\\0' x", -1, "not a y4m stream"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        EXPECT(0, "cd %s && rm -rf o o.work && { %s; } >x.y4m", dir, cases[i].make);
        EXPECT(3, "%s match - -o %s/o/ --no-video --model sgm --layout sbs <%s/x.y4m", panum_program(), dir, dir);
        SAYS(cases[i].words);
        snprintf(path, sizeof path, "%s/o", dir);
        int frames = count_files(path, ".npz");
        if (frames != cases[i].frames) fail_msg("case %zu: %d frames: %s", i, frames, out);
        if (frames > 0) SAYS("done and kept (incomplete)");
        one_sentence();
    }
    /* what broke off is taken as far as it goes when that is asked for, and the work goes on where it stopped */
    EXPECT(0, "cd %s && rm -rf o o.work && head -c 300000 dots.y4m >x.y4m", dir);
    EXPECT(3, "%s match %s/x.y4m -o %s/o/ --no-video --model sgm --layout sbs", panum_program(), dir, dir);
    SAYS("4 frames are done and kept (incomplete); the same command with --lenient takes it as far as it goes");
    EXPECT(0, "%s match %s/x.y4m -o %s/o/ --no-video --model sgm --layout sbs --lenient", panum_program(), dir, dir);
    SAYS("going on after 4 frames");
    SAYS("frame 4 is short by");
    SAYS("taken as far as it goes\n4 frames: ");
    assert_false(exists("%s/o.work", dir));
}

static void what_is_typed_wrong(void **state) {
    (void)state;
    char dir[600], path[700];
    snprintf(dir, sizeof dir, "%s", scratch_folder("film_usage"));
    snprintf(path, sizeof path, "%s/dots.y4m", dir);
    write_y4m(path, 2, 0);
    static const struct {
        const char *options, *words;
    } cases[] = {
        {"--start 1:2:3:4", "is not a time"},
        {"--start abc", "is not a time"},
        {"--end 1:75", "is not a time"},
        {"--start 5f --end 3f", "no frame between"},
        {"--frames 0", "--frames"},
        {"--frames -1", "--frames"},
        {"-o a.pfm --frames 2", "a film is written to a folder"},
        {"-o a/ -o b/", "one folder, and there are two"},
        {"-o - -o a/", "leaves no other output"},
        {"-o - --json", "both need the standard output"},
        {"-o a/ --anaglyph a.png", "for pictures"},
        {"-o a.mkv -o ./a.mkv", "./a.mkv would be written twice"},
        {"-o no/ -o ./no//dots_disparity.mkv", "written twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        EXPECT(2, "%s match %s/dots.y4m --model sgm %s", panum_program(), dir, cases[i].options);
        SAYS(cases[i].words);
    }
    EXPECT(2, "%s match - --model sgm </dev/null", panum_program());
    SAYS("needs -o");
    EXPECT(3, "%s match - -o - --model sgm </dev/null", panum_program());
    SAYS("standard input: is empty");
    EXPECT(0, "%s match %s/dots.y4m -o %s/o/ --no-video -n", panum_program(), dir, dir);
    SAYS("would write");
    assert_false(exists("%s/o", dir) || exists("%s/o.work", dir));
}

/* ---- stops, kills, second tries -------------------------------------------------------------------------------------
 */

static pid_t start(const char *arguments) {
    pid_t pid = fork();
    if (pid == 0) {
        char command[2000];
        snprintf(command, sizeof command, "exec %s match %s >/dev/null 2>&1", panum_program(), arguments);
        setpgid(0, 0);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(126);
    }
    return pid;
}

static void wait_for(pid_t pid, int *status) {
    while (waitpid(pid, status, 0) < 0) {}
}

static void nap(double seconds) {
    nanosleep(&(struct timespec){(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)}, NULL);
}

/* Waits until a folder holds so many frames; false when that does not come within a time no machine needs. */
static bool wait_frames(const char *folder, int frames) {
    for (int i = 0; i < 6000; i++) {
        if (count_files(folder, ".npz") >= frames) return true;
        nap(0.005);
    }
    return false;
}

static void a_killed_run_goes_on_to_the_same_bytes(void **state) {
    (void)state;
    char dir[600], path[700], arguments[1800];
    snprintf(dir, sizeof dir, "%s", scratch_folder("film_killed"));
    snprintf(path, sizeof path, "%s/dots.y4m", dir);
    enum { FRAMES = 28 };
    write_y4m(path, FRAMES, 0);
    const char *video = has_ffmpeg ? "" : "--no-video";
    EXPECT(0, "%s match %s -o %s/whole/ --model sgm --no-meta %s", panum_program(), path, dir, video);
    snprintf(arguments, sizeof arguments, "%s -o %s/o/ --model sgm --no-meta %s", path, dir, video);
    snprintf(path, sizeof path, "%s/o", dir);
    int frames = 0, kills = 0;
    for (; kills < 4; kills++) {
        pid_t pid = start(arguments);
        bool there = wait_frames(path, frames + 4 + kills);
        nap(0.001 * (double)(kills * 7 % 5));
        kill(pid, SIGKILL);
        int status;
        wait_for(pid, &status);
        if (!there) fail_msg("no frames came after %d", frames);
        frames = count_files(path, ".npz");
        if (WIFEXITED(status)) break;
        assert_false(exists("%s/o/dots_disparity.mkv", dir));
    }
    assert_true(kills >= 3);
    EXPECT(0, "%s match %s", panum_program(), arguments);
    SAYS("going on after");
    SAYS("28 frames: ");
    EXPECT(0, "diff -r %s/whole %s/o", dir, dir);
    assert_false(exists("%s/o.work", dir));
    assert_int_equal(count_files(path, ".npz"), FRAMES);
    assert_int_equal(count_files(path, ""), FRAMES + (has_ffmpeg ? 1 : 0));
}

/* Content at the end of the range that the first frames gave: three frames are matched twice, then the range is wider.
 * Killed around that, the run goes on to the same bytes. */
static void a_range_that_is_too_narrow_grows(void **state) {
    (void)state;
    enum { FRAMES = 16, CHANGED = 6 };
    char dir[600], path[700], arguments[1800];
    int low = 0, high = 0;
    snprintf(dir, sizeof dir, "%s", scratch_folder("film_range"));
    snprintf(path, sizeof path, "%s/dots.y4m", dir);
    write_y4m(path, CHANGED, 0);
    EXPECT(0, "%s match %s -o %s/first/ --model sgm --no-video", panum_program(), path, dir);
    const char *said = strstr(out, "searching ");
    if (!said || sscanf(said, "searching %d to %d px", &low, &high) != 2) fail_msg("no range in: %s", out);
    write_changing(path, FRAMES, 0, CHANGED, high);
    snprintf(arguments, sizeof arguments, "%s -o %s/o/ --model sgm --no-video --no-meta", path, dir);
    EXPECT(0, "%s match %s -o %s/whole/ --model sgm --no-video --no-meta", panum_program(), path, dir);
    SAYS("; 3 matched again over a wider range");
    snprintf(path, sizeof path, "%s/o", dir);
    for (int seen = CHANGED + 1; seen < CHANGED + 5; seen++) {
        pid_t pid = start(arguments);
        bool there = wait_frames(path, seen);
        kill(pid, SIGKILL);
        int status;
        wait_for(pid, &status);
        if (!there) fail_msg("no frame %d came", seen);
        if (WIFEXITED(status)) break; /* it was too quick */
    }
    if (exists("%s/o.work", dir)) {
        EXPECT(0, "%s match %s", panum_program(), arguments);
        SAYS("; 3 matched again over a wider range");
    }
    EXPECT(0, "diff -r %s/whole %s/o", dir, dir);
}

static void an_interrupted_run_says_how_to_go_on(void **state) {
    (void)state;
    char dir[600], path[700], arguments[1800];
    snprintf(dir, sizeof dir, "%s", scratch_folder("film_stopped"));
    snprintf(path, sizeof path, "%s/dots.y4m", dir);
    write_y4m(path, 60, 0);
    snprintf(arguments, sizeof arguments, "%s -o %s/o/ --model sgm --no-video --log %s/log", path, dir, dir);
    snprintf(path, sizeof path, "%s/o", dir);
    pid_t pid = start(arguments);
    assert_true(wait_frames(path, 3));
    kill(pid, SIGINT);
    int status;
    wait_for(pid, &status);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
    int frames = count_files(path, ".npz");
    assert_in_range(frames, 3, 59);
    assert_int_equal(count_files(path, ""), frames); /* nothing half */
    /* other options: which, and what to do; nothing is touched */
    EXPECT(2, "%s match %s/dots.y4m -o %s/o/ --model sgm --no-video --scale 0.5 --swap-eyes", panum_program(), dir,
           dir);
    SAYS("--swap-eyes was no and is yes");
    SAYS("--scale was 1 and is 0.5");
    SAYS("--no-resume to start anew");
    assert_int_equal(count_files(path, ".npz"), frames);
    /* another run at the same time */
    pid = start(arguments);
    assert_true(wait_frames(path, frames + 1));
    kill(pid, SIGSTOP);
    EXPECT(2, "%s match %s", panum_program(), arguments);
    char words[100];
    snprintf(words, sizeof words, "another panum (pid %d) is writing it", (int)pid);
    SAYS(words);
    kill(pid, SIGINT);
    kill(pid, SIGCONT);
    wait_for(pid, &status);
    /* anew: what the unfinished run left goes, what is somebody else's stays and needs -y */
    EXPECT(0, "%s match %s/dots.y4m -o %s/o/ --model sgm --no-video --no-resume --frames 5", panum_program(), dir, dir);
    SAYS("5 frames: ");
    assert_false(exists("%s/o.work", dir));
    assert_int_equal(count_files(path, ".npz"), 5);
    EXPECT(2, "%s match %s/dots.y4m -o %s/o/ --model sgm --no-video --no-resume", panum_program(), dir, dir);
    SAYS("frame_000000.npz exists; add -y");
    /* a folder of somebody's that happens to have the work folder's name */
    EXPECT(0, "mkdir %s/q.work && echo mine >%s/q.work/frame_1.txt", dir, dir);
    EXPECT(2, "%s match %s/dots.y4m -o %s/q/ --model sgm --no-video", panum_program(), dir, dir);
    SAYS("holds something else");
    assert_true(exists("%s/q.work/frame_1.txt", dir));
}

/* ---- memory ---------------------------------------------------------------------------------------------------------
 */

static long resident_kib(pid_t pid) {
    char path[64], line[256];
    long kib = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmRSS: %ld", &kib) == 1) break;
    if (file) fclose(file);
    return kib;
}

/* Feeds `frames` frames of 2*64 x 48 to a run and looks at its resident memory as they are taken: a pipe holds about
 * four of them, so what is fed is what has been matched. Returns the largest after the first tenth over that at it. */
static double memory_growth(int frames, bool table) {
    enum { EYE = 64, ROWS = 48, KINDS = 8 };
    int pipe_fds[2], status;
    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(fcntl(pipe_fds[1], F_SETFD, FD_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pipe_fds[0], 0);
        int nothing = open("/dev/null", O_WRONLY);
        dup2(nothing, 1);
        if (!table) dup2(nothing, 2);
        execl(panum_program(), "panum", "match", "-", "-o", "-", "--model", "sgm", "--layout", "sbs", (char *)NULL);
        _exit(126);
    }
    close(pipe_fds[0]);
    static uint8_t stream[KINDS][6 + 3 * 2 * EYE * ROWS];
    for (int k = 0; k < KINDS; k++) {
        RandomDot pair;
        assert_int_equal(random_dot_make(&pair, &(RandomDotOptions){EYE, ROWS, 4, -3, 1, (uint64_t)k + 1}), 0);
        memcpy(stream[k], "FRAME\n", 6);
        memset(stream[k] + 6, 128, sizeof stream[k] - 6);
        for (int y = 0; y < ROWS; y++)
            for (int x = 0; x < 2 * EYE; x++)
                stream[k][6 + y * 2 * EYE + x] = (x < EYE ? pair.left : pair.right).bytes[y * EYE + x % EYE];
        random_dot_free(&pair);
    }
    FILE *feed = fdopen(pipe_fds[1], "w");
    setvbuf(feed, NULL, _IONBF, 0);
    fprintf(feed, "YUV4MPEG2 W%d H%d F24:1 C444\n", 2 * EYE, ROWS);
    long first = 0, most = 0;
    for (int f = 0; f < frames; f++) {
        if (fwrite(stream[f % KINDS], sizeof stream[0], 1, feed) != 1) fail_msg("the run takes no more at frame %d", f);
        if (f % (frames / 50) != 0 || f < frames / 10) continue;
        long now = resident_kib(pid);
        if (!first) first = now;
        if (now > most) most = now;
        if (table && f % (frames / 10) == 0) printf("  frame %6d: %ld KiB\n", f, now);
    }
    fclose(feed);
    wait_for(pid, &status);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    printf("memory: %ld KiB after a tenth of %d frames, %ld at most later: %.4f\n", first, frames, most,
           (double)most / (double)first);
    return (double)most / (double)first;
}

static void memory_does_not_grow_with_frames(void **state) {
    (void)state;
    double growth = memory_growth(400, false);
#ifdef __SANITIZE_ADDRESS__ /* keeps what was freed for a while, on purpose */
    (void)growth;
#else
    assert_true(growth <= 1.05);
#endif
}

/* ---- videos ---------------------------------------------------------------------------------------------------------
 */

/* A still scene as a stream of `frames` frames, packed so. */
static void write_still(const char *path, const char *layout, int frames) {
    static Scene scene;
    static SceneViews views;
    if (!views.left.bytes) {
        scene_demo(&scene, 3);
        assert_int_equal(scene_render(&scene, 320, 180, NULL, &views), 0);
    }
    Image both, squeezed = {0};
    bool down = strstr(layout, "tb") != NULL;
    pack(&views.left, &views.right, down, &both);
    if (layout[0] == 'h') {
        assert_int_equal(image_resize(&squeezed, &both, 320, 180), 0);
        image_free(&both);
        both = squeezed;
    }
    Out *file;
    assert_int_equal(out_open(path, OUT_OVERWRITE, &file), 0);
    assert_int_equal(y4m_write_header(file, both.width, both.height, 3, (Rate){24000, 1001}), 0);
    for (int f = 0; f < frames; f++) assert_int_equal(y4m_write_frame(file, &both), 0);
    assert_int_equal(out_commit(&file), 0);
    image_free(&both);
}

/* What `panum info` said last about the file of that name. */
static const char *told_about(const char *name) {
    static char told[2048];
    const char *at = strstr(out, name), *end;
    if (!at) fail_msg("%s is not in: %s", name, out);
    for (end = strchr(at, '\n'); end && strncmp(end, "\n  ", 3) == 0;) end = strchr(end + 1, '\n');
    snprintf(told, sizeof told, "%.*s", (int)(end ? end - at : (long)strlen(at)), at);
    return told;
}

/* Starting ffmpeg takes longer than anything it does here: one makes all films, one panum looks at them. */
static void layouts_with_and_without_tags(void **state) {
    (void)state;
    NEEDS_FFMPEG();
    char dir[600], path[700], command[6000], files[1000] = "";
    snprintf(dir, sizeof dir, "%s", scratch_folder("film_layouts"));
    static const char *const stills[] = {"sbs", "hsbs", "tb", "htb"};
    enum { SBS, HSBS, TB, HTB };
    int n = snprintf(command, sizeof command, "cd %s && ffmpeg -v error -y", dir);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s.y4m", dir, stills[i]);
        write_still(path, stills[i], 8);
        n += snprintf(command + n, sizeof command - (size_t)n, " -i %s.y4m", stills[i]);
    }
    static const struct {
        int still;
        const char *name, *options, *words, *order;
    } cases[] = {
        {SBS, "a.mkv", "", "full side by side (from content", "left first"},
        {HTB, "d.mkv", "", "half top and bottom (from content", "left first"},
        {SBS, "e.mkv", "-metadata:s:v:0 stereo_mode=left_right", "full side by side (from StereoMode 1 (left_right)",
         "left first"},
        {HSBS, "f.mkv", "-metadata:s:v:0 stereo_mode=right_left", "half side by side (from StereoMode 11 (right_left)",
         "right first"},
        {TB, "g.mkv", "-metadata:s:v:0 stereo_mode=bottom_top", "full top and bottom (from StereoMode 2 (bottom_top)",
         "right first"},
        {HTB, "h.mkv", "-metadata:s:v:0 stereo_mode=bottom_top", "half top and bottom (from StereoMode 2 (bottom_top)",
         "right first"},
        {TB, "m.mkv", "-metadata:s:v:0 stereo_mode=top_bottom", "full top and bottom (from StereoMode 3 (top_bottom)",
         "left first"},
        {SBS, "i.mp4", "-x264-params frame-packing=3", "full side by side (from frame packing: side by side",
         "left first"},
        {TB, "j.mp4", "-x264-params frame-packing=4", "full top and bottom (from frame packing: top and bottom",
         "left first"},
        {SBS, "p.mkv", "-color_trc smpte2084", " HDR (PQ, taken as coded)", "left first"},
        {HSBS, "k_hsbs.mp4", "", "half side by side (from file name (HSBS)", "left first"},
        {TB, "l.mkv", "-metadata:s:v:0 stereo_mode=left_right",
         "are full top and bottom by their content, which is believed", "left first"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        /* of 8 frames two are looked at, of fewer one; a vote takes two */
        n += snprintf(command + n, sizeof command - (size_t)n,
                      " -map %d -frames:v %d -c:v libx264 -preset ultrafast -threads 1 -crf 12 -pix_fmt yuv420p %s %s",
                      cases[i].still, cases[i].name[0] == 'l' ? 8 : 5, cases[i].options, cases[i].name);
        snprintf(files + strlen(files), sizeof files - strlen(files), " %s", cases[i].name);
    }
    snprintf(command + n, sizeof command - (size_t)n,
             " -map 0 -frames:v 5 -vf \"setpts='if(lt(N,2),N,2+(N-2)*3)/24/TB'\" -fps_mode vfr -c:v ffv1 vfr.mkv && "
             "ffmpeg -v error -i i.mp4 -c copy -metadata:s:v:0 rotate=90 turned.mp4");
    EXPECT(0, "%s", command);
    EXPECT(0, "P=$(realpath %s) && cd %s && $P info%s turned.mp4", panum_program(), dir, files);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *told = told_about(cases[i].name);
        if (!strstr(told, cases[i].words) || !strstr(told, cases[i].order) || !strstr(told, "320x180 an eye") ||
            !strstr(told, "23.976 fps"))
            fail_msg("wanted %s, %s: %s", cases[i].words, cases[i].order, told);
    }
    assert_non_null(strstr(told_about("e.mkv"), "film, 640x180, 23.976 fps"));
    if (!strstr(told_about("turned.mp4"), "degrees not followed"))
        fail_msg("no rotation: %s", told_about("turned.mp4"));
    EXPECT(0, "%s info --json %s/i.mp4", panum_program(), dir);
    SAYS("\"type\":\"film\"");
    SAYS("\"tag\":\"frame packing: side by side\"");
    /* matching says the same in its first lines */
    EXPECT(0, "%s match %s/l.mkv -o %s/o/ -n", panum_program(), dir, dir);
    SAYS("full top and bottom (from content");
    SAYS("are full top and bottom by their content, which is believed");
    EXPECT(0, "%s match %s/vfr.mkv -o %s/o/ -n", panum_program(), dir, dir);
    SAYS("do not all last equally long");
    /* asked for is asked for */
    EXPECT(0, "%s match %s/a.mkv -o %s/o/ -n --layout tb", panum_program(), dir, dir);
    SAYS("full top and bottom (from what was asked for), 640x90 an eye");
    EXPECT(3, "%s match %s/a.mkv -o %s/o/ -n --layout mono", panum_program(), dir, dir);
}

/* Two films joined end to end, whose clock starts anew in the middle; one whose edit list shows a part; one without a
 * rate. */
static void clocks_that_mislead(void **state) {
    (void)state;
    NEEDS_FFMPEG();
    char dir[600], path[700];
    snprintf(dir, sizeof dir, "%s", scratch_folder("film_clocks"));
    snprintf(path, sizeof path, "%s/still.y4m", dir);
    write_still(path, "sbs", 24);
#define ENCODED_24 "-c:v libx264 -preset ultrafast -threads 1 -g 12 -pix_fmt yuv420p "
    EXPECT(0,
           "cd %s && ffmpeg -v error -i still.y4m " ENCODED_24 "a.ts " ENCODED_24 "a.mp4 -c:v mjpeg a.avi && "
           "cat a.ts a.ts >twice.ts && ffmpeg -v error -ss 0.7 -i a.mp4 -c copy edited.mp4",
           dir);
    /* in an AVI: scale and rate of its stream, 28 bytes into the header "strh"; microseconds a frame, 8 into "avih" */
    snprintf(path, sizeof path, "%s/a.avi", dir);
    FILE *file = fopen(path, "r+b");
    char head[1024];
    assert_non_null(file);
    assert_int_equal(fread(head, 1, sizeof head, file), sizeof head);
    for (size_t i = 0; i + 40 < sizeof head; i++) {
        if (memcmp(head + i, "strh", 4) == 0) memset(head + i + 28, 0, 8);
        if (memcmp(head + i, "avih", 4) == 0) memset(head + i + 8, 0, 4);
    }
    assert_int_equal(fseek(file, 0, SEEK_SET), 0);
    assert_int_equal(fwrite(head, 1, sizeof head, file), sizeof head);
    assert_int_equal(fclose(file), 0);
    EXPECT(0, "P=$(realpath %s) && cd %s && $P info twice.ts a.avi edited.mp4", panum_program(), dir);
    const char *told = told_about("twice.ts");
    if (!strstr(told, "23.976 fps, time stamps go back")) fail_msg("of twice.ts: %s", told);
    told = told_about("a.avi");
    if (!strstr(told, "25 fps")) fail_msg("of a.avi: %s", told); /* ffmpeg's own, where nothing is said */
    told = told_about("edited.mp4");
    if (!strstr(told, "23.976 fps") || strstr(told, "go back")) fail_msg("of edited.mp4: %s", told);
    /* all frames of both clocks come; of the edited film those that it shows */
    EXPECT(0, "%s match %s/twice.ts --layout sbs --model sgm --scale 0.25 --no-video -o %s/o/", panum_program(), dir,
           dir);
    SAYS("48 frames: ");
    EXPECT(0, "%s match %s/edited.mp4 --layout sbs --model sgm --scale 0.25 --no-video -o %s/e/", panum_program(), dir,
           dir);
    SAYS("frames: parallax");
    snprintf(path, sizeof path, "%s/e", dir);
    assert_in_range(count_files(path, ".npz"), 6, 8); /* from 0.7 s to the end, 7.2 frames */
}

/* The disparity of a frame's map; the caller frees it. */
static NpyArray read_disparity(const char *folder, int number) {
    char path[700];
    Npz *npz;
    NpyArray d;
    snprintf(path, sizeof path, "%s/frame_%06d.npz", folder, number);
    if (npz_open(path, &npz)) fail_msg("%s", err_sentence());
    assert_int_equal(npz_read(npz, "disparity", &d), 0);
    npz_close(npz);
    return d;
}

static void a_video_becomes_maps_and_a_video(void **state) {
    (void)state;
    NEEDS_FFMPEG();
    char dir[600], path[700];
    snprintf(dir, sizeof dir, "%s", scratch_folder("film_video"));
    snprintf(path, sizeof path, "%s/still.y4m", dir);
    write_still(path, "sbs", 8);
    EXPECT(0,
           "cd %s && ffmpeg -v error -i still.y4m -c:v ffv1 -pix_fmt yuv444p film.mkv "
           "-vf crop=320:180:0:0 -c:v ffv1 -pix_fmt yuv444p l.mkv -vf crop=320:180:320:0 -c:v ffv1 -pix_fmt yuv444p "
           "r.mkv -vf crop=320:180:320:0 -frames:v 3 -c:v ffv1 -pix_fmt yuv444p short.mkv",
           dir);
    EXPECT(0, "%s match %s/film.mkv -o %s/o/ -o %s/map.mp4 --frames 6 --model sgm --json --map-range 3%%",
           panum_program(), dir, dir, dir);
    SAYS("6 frames: parallax");
    SAYS("full at 9.6 px (3 % of the width)");
    SAYS("\"frames\":6");
    snprintf(path, sizeof path, "%s/o", dir);
    assert_int_equal(count_files(path, ".npz"), 6);
    static const char *const videos[][2] = {{"o/film_disparity.mkv", "yuv444p,24000/1001,6"},
                                            {"map.mp4", "yuv420p,24000/1001,6"}};
    for (int i = 0; i < 2; i++) {
        EXPECT(0,
               "ffprobe -v error -count_packets -show_entries stream=pix_fmt,avg_frame_rate,nb_read_packets -of "
               "csv=p=0 %s/%s",
               dir, videos[i][0]);
        SAYS(videos[i][1]);
    }
    /* every frame of this film is the same picture */
    NpyArray one = read_disparity(path, 1), other = read_disparity(path, 5);
    assert_memory_equal(one.data, other.data, 320 * 180 * sizeof(float));
    npy_free(&other);
    /* two videos in step give the same, and not in step they are refused */
    EXPECT(0, "%s match %s/l.mkv %s/r.mkv -o %s/two/ --frames 2 --no-video --model sgm", panum_program(), dir, dir,
           dir);
    SAYS("two files (from two films)");
    snprintf(path, sizeof path, "%s/two", dir);
    other = read_disparity(path, 1);
    assert_memory_equal(one.data, other.data, 320 * 180 * sizeof(float));
    npy_free(&one);
    npy_free(&other);
    EXPECT(3, "%s match %s/l.mkv %s/short.mkv -o %s/three/ --no-video --model sgm", panum_program(), dir, dir, dir);
    SAYS("goes on");
}

/* Frames of random dots as a video, made by one ffmpeg together with what else is asked of it. */
static void make_dots_video(const char *dir, int frames, const char *outputs) {
    char path[700];
    snprintf(path, sizeof path, "%s/dots.y4m", dir);
    write_y4m(path, frames, 0);
    EXPECT(0, "cd %s && ffmpeg -v error -i dots.y4m %s && rm dots.y4m", dir, outputs);
}

/* Cut in half: ffmpeg reads what is there and sees nothing wrong in that. */
static void films_that_are_cut(void **state) {
    (void)state;
    NEEDS_FFMPEG();
    char dir[600], path[700];
    snprintf(dir, sizeof dir, "%s", scratch_folder("film_cut"));
#define ENCODED "-c:v libx264 -preset ultrafast -threads 1 -crf 20 -pix_fmt yuv420p "
    make_dots_video(
        dir, 24, ENCODED "film.mkv " ENCODED "-movflags +faststart front.mp4 " ENCODED "back.mp4 " ENCODED "film.avi");
    EXPECT(0, "cd %s && for f in *.*; do head -c $(($(stat -c %%s $f) / 2)) $f >half_$f; done", dir);
    static const char how[] = "--layout sbs --model sgm";
    static const char *const kept[] = {"mkv", "mp4", "avi"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        const char *base = i == 1 ? "front" : "film", *ending = kept[i];
        EXPECT(3, "%s match %s/half_%s.%s -o %s/%s/ %s %s", panum_program(), dir, base, ending, dir, ending, how,
               i ? "--no-video" : "");
        SAYS("bytes that its header announces are there); ");
        SAYS("breaks off after ");
        SAYS(" frames are done and kept (incomplete); the same command with --lenient");
        one_sentence();
        snprintf(path, sizeof path, "%s/%s", dir, ending);
        int frames = count_files(path, ".npz");
        assert_in_range(frames, 8, 14);
        assert_int_equal(count_files(path, ""), frames);
        if (i > 0) continue;
        EXPECT(0, "%s match %s/half_%s.%s -o %s/%s/ %s --lenient", panum_program(), dir, base, ending, dir, ending,
               how);
        SAYS("is cut: ");
        SAYS("taken as far as it goes");
        assert_int_equal(count_files(path, ".npz"), frames + 1); /* the last one is trusted now */
        assert_true(exists("%s/half_%s_disparity.mkv", path, base));
        /* what lies before the cut is as good as ever */
        EXPECT(0, "%s match %s/half_%s.%s -o %s/part/ %s --frames 4 --no-video -y", panum_program(), dir, base, ending,
               dir, how);
        SAYS("is cut: ");
    }
    EXPECT(3, "%s match %s/half_back.mp4 -o %s/x/", panum_program(), dir, dir);
    SAYS("half_back.mp4: is cut (");
    SAYS("ffmpeg can read nothing of the rest (moov atom not found");
    one_sentence();
    EXPECT(0, "%s info %s/half_film.mkv", panum_program(), dir);
    SAYS("  is cut: ");
    /* damage inside: the pictures that cannot be read are missing, and the numbers of those behind are wrong */
    EXPECT(0,
           "cd %s && cp front.mp4 hole.mp4 && s=$(stat -c %%s hole.mp4) && head -c $((s / 4)) /dev/zero | "
           "dd of=hole.mp4 bs=1 seek=$((s / 2)) conv=notrunc 2>/dev/null",
           dir);
    int code = RUN("%s match %s/hole.mp4 -o %s/y/ %s --no-video", panum_program(), dir, dir, how);
    if (code != 3 && code != 0) fail_msg("%d: %s", code, out);
    SAYS("ffmpeg: ");
    assert_null(strstr(out, "@ 0x"));
}

/* A film longer than a part of the video: killed around the joint, and with its bytes the same. */
static void parts_are_joined(void **state) {
    (void)state;
    NEEDS_FFMPEG();
    char dir[600], path[700], arguments[1500];
    snprintf(dir, sizeof dir, "%s", scratch_folder("film_parts"));
    snprintf(path, sizeof path, "%s/small.y4m", dir);
    Out *file;
    RandomDot pair;
    assert_int_equal(
        random_dot_make(&pair,
                        &(RandomDotOptions){.width = 48, .height = 32, .square = 4, .ground = -3, .channels = 3}),
        0);
    Image both;
    pack(&pair.left, &pair.right, false, &both);
    assert_int_equal(out_open(path, OUT_NEW, &file), 0);
    assert_int_equal(y4m_write_header(file, 96, 32, 3, (Rate){24, 1}), 0);
    for (int f = 0; f < 250; f++) {
        both.bytes[f] ^= 255;
        assert_int_equal(y4m_write_frame(file, &both), 0);
    }
    assert_int_equal(out_commit(&file), 0);
    random_dot_free(&pair);
    image_free(&both);
    static const char how[] = "--layout sbs --model sgm --no-eye-test --range -8:8";
    EXPECT(0, "%s match %s -o %s/whole.mkv %s", panum_program(), path, dir, how);
    EXPECT(
        0,
        "ffprobe -v error -count_packets -show_entries stream=nb_read_packets,avg_frame_rate -of csv=p=0 %s/whole.mkv",
        dir);
    SAYS("24/1,250");
    snprintf(arguments, sizeof arguments, "%s -o %s/o.mkv %s", path, dir, how);
    char journal[700], text[100000];
    snprintf(journal, sizeof journal, "%s/o.mkv.work/journal", dir);
    static const char *const marks[] = {"frame 237 ", "frame 244 "};
    for (int k = 0; k < 2; k++) {
        pid_t pid = start(arguments);
        for (int i = 0; i < 6000; i++) {
            FILE *j = fopen(journal, "r");
            size_t n = j ? fread(text, 1, sizeof text - 1, j) : 0;
            if (j) fclose(j);
            text[n] = 0;
            if (strstr(text, marks[k])) break;
            nap(0.002);
        }
        kill(pid, SIGKILL);
        int status;
        wait_for(pid, &status);
    }
    EXPECT(0, "%s match %s", panum_program(), arguments);
    EXPECT(0, "cmp %s/whole.mkv %s/o.mkv", dir, dir);
    assert_false(exists("%s.work", arguments));
}

/* ---- ffmpeg that fails ----------------------------------------------------------------------------------------------
 */

/* A program in the place of ffmpeg that passes on to the real one, but for reading frames. */
static void fake_ffmpeg(const char *dir, const char *script) {
    char path[700], text[2000];
    snprintf(path, sizeof path, "%s/ffmpeg", dir);
    snprintf(text, sizeof text,
             "#!/bin/sh\ncase \"$*\" in\n*-vf\\ crop*-ss*|*-ss*-vf\\ crop*) exec /usr/bin/env ffmpeg \"$@\";;\n"
             "*-vf\\ crop*) ;;\n*) exec /usr/bin/env ffmpeg \"$@\";;\nesac\n%s\n",
             script);
    write_file(path, text, 0755);
    snprintf(path, sizeof path, "%s/ffprobe", dir);
    write_file(path, "#!/bin/sh\nexec /usr/bin/env ffprobe \"$@\"\n", 0755);
}

static void ffmpeg_that_fails(void **state) {
    (void)state;
    NEEDS_FFMPEG();
    char dir[600], path[700];
    snprintf(dir, sizeof dir, "%s", scratch_folder("film_ffmpeg"));
    /* one that changes its size on the way besides */
    make_dots_video(dir, 7,
                    "-c:v ffv1 -pix_fmt yuv444p film.mkv -c:v libx264 -threads 1 -pix_fmt yuv420p -f h264 a.h264 "
                    "-vf scale=128:48 -c:v libx264 -threads 1 -pix_fmt yuv420p -f h264 b.h264");
    /* a frame has 256 * 96 * 3 = 73,728 bytes; what is cut off lies behind the fifth, or ten bytes into the sixth */
    static const struct {
        const char *script;
        int code, frames; /* left; -1: no matter */
        const char *words;
    } cases[] = {
        {"ffmpeg \"$@\" 2>/dev/null | head -c 368640; kill -9 $$", 8, 4, "was killed by signal 9"},
        {"ffmpeg \"$@\" 2>/dev/null | head -c 368640; head -c 10000000 /dev/zero | tr '\\0' 'n' >&2; echo >&2; echo "
         "enough >&2; "
         "exit 3",
         8, 4, "exit code 3; its last lines: enough"},
        {"ffmpeg \"$@\" 2>/dev/null | head -c 368650; exit 0", 8, 4, "ended inside frame 5"},
        {"head -c 10000000 /dev/zero | tr '\\0' 'n' >&2; exec ffmpeg \"$@\"", 0, 7, "7 frames: parallax"},
        {"exit 1", 8, -1, "failed with exit code 1"},
        {"ffmpeg \"$@\" 2>/dev/null | head -c 368640; echo 'film.mkv: Input/output error' >&2; exit 1", 8, 4,
         "failed with exit code 1; its last lines: film.mkv: Input/output error"},
    };
    static const char how[] = "--no-video --model sgm --layout sbs";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake_ffmpeg(dir, cases[i].script);
        EXPECT(0, "rm -rf %s/o %s/o.work", dir, dir);
        EXPECT(cases[i].code, "PANUM_FFMPEG=%s/ffmpeg %s match %s/film.mkv -o %s/o/ %s", dir, panum_program(), dir, dir,
               how);
        SAYS(cases[i].words);
        snprintf(path, sizeof path, "%s/o", dir);
        int frames = count_files(path, ".npz");
        if (cases[i].frames >= 0 && frames != cases[i].frames)
            fail_msg("case %zu: %d frames are left: %s", i, frames, out);
    }
    /* and it goes on when ffmpeg works again */
    SAYS("the same command goes on");
    EXPECT(0, "%s match %s/film.mkv -o %s/o/ %s", panum_program(), dir, dir, how);
    SAYS("going on after 4 frames");
    SAYS("7 frames: ");
    /* missing, not it, not a film */
    EXPECT(8, "PATH=/nonexistent %s match %s/film.mkv -o %s/p/", panum_program(), dir, dir);
    SAYS("ffmpeg not found in PATH; install ffmpeg (Debian: apt install ffmpeg) or set PANUM_FFMPEG");
    EXPECT(8, "PANUM_FFMPEG=/bin/true %s match %s/film.mkv -o %s/p/", panum_program(), dir, dir);
    SAYS("/bin/true is not ffmpeg");
    snprintf(path, sizeof path, "%s/text.mkv", dir);
    write_file(path, "this is not a film\n", 0644);
    EXPECT(3, "%s match %s -o %s/p/", panum_program(), path, dir);
    SAYS("text.mkv: is no film that ffmpeg can read (");
    one_sentence();
    /* pictures that change their size */
    EXPECT(0, "cd %s && cat a.h264 b.h264 >change.h264", dir);
    EXPECT(3, "%s match %s/change.h264 -o %s/q/ %s", panum_program(), dir, dir, how);
    SAYS("the size of the pictures changes after frame");
    assert_false(exists("%s/p", dir) || exists("%s/p.work", dir));
}

/* A child that neither talks nor ends is given up; nothing of it is left. */
static void a_child_that_hangs(void **state) {
    (void)state;
    Process *process;
    char bytes[16];
    size_t got;
    static const char *const sleeps[] = {"/bin/sh", "-c", "echo first >&2; sleep 100", NULL};
    assert_int_equal(process_start(sleeps, &(ProcessOptions){.pipe = PROCESS_OUTPUT, .patience = 0.3}, &process), 0);
    assert_int_equal(process_read(process, bytes, 16, &got), ERR_TOOL);
    assert_non_null(strstr(err_sentence(), "given nothing for"));
    assert_non_null(strstr(err_sentence(), "its last lines: first"));
    process_kill(&process);
    assert_null(process);
    static const char *const echoes[] = {"/bin/cat", NULL};
    assert_int_equal(process_start(echoes, &(ProcessOptions){.pipe = PROCESS_INPUT}, &process), 0);
    assert_int_equal(process_write(process, "abc", 3), 0);
    assert_int_equal(process_finish(&process), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
}

int main(int count, char **arguments) {
    if (count == 3 && strcmp(arguments[1], "--memory") == 0) return memory_growth(atoi(arguments[2]), true) > 1.05;
    if (count == 2) cmocka_set_test_filter(arguments[1]); /* one of the names below */
    has_ffmpeg = RUN("ffmpeg -version >/dev/null && ffprobe -version >/dev/null") == 0;
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_becomes_maps_and_a_stream),
        cmocka_unit_test(folders_of_frames),
        cmocka_unit_test(streams_that_break),
        cmocka_unit_test(what_is_typed_wrong),
        cmocka_unit_test(a_killed_run_goes_on_to_the_same_bytes),
        cmocka_unit_test(a_range_that_is_too_narrow_grows),
        cmocka_unit_test(an_interrupted_run_says_how_to_go_on),
        cmocka_unit_test(memory_does_not_grow_with_frames),
        cmocka_unit_test(layouts_with_and_without_tags),
        cmocka_unit_test(clocks_that_mislead),
        cmocka_unit_test(a_video_becomes_maps_and_a_video),
        cmocka_unit_test(films_that_are_cut),
        cmocka_unit_test(parts_are_joined),
        cmocka_unit_test(ffmpeg_that_fails),
        cmocka_unit_test(a_child_that_hangs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
