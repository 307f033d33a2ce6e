/* Command lines, machines and disks that must be survived: rows C and S of the specification (reliability, sections 5.4
 * and 5.6), failing calls of the libc, every failing allocation, and stops.
 *
 * Elsewhere: of films C5 (the lock), C6 and S7 (as a kill, and going on) tests/apps/test_film.c; the same of training
 * tests/bad/test_training.c.
 * Rows that a test cannot bring about without rights or faults it does not have:
 *   C3 a folder without permission (root may write anywhere; as another user I24 covers reading)
 *   C7 a clock that goes back (nothing reads the time of day but the log)
 *   S3 quotas, FAT, NFS themselves (their errors of write are here)
 *   S9 512 processors (a set of one, and more threads than processors, are here)
 * Rows G, of devices: tests/cuda. */
#include "base/hash.h"
#include "data/map.h"
#include "tests/lib/bad.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void c3_link(void) {
    make_pair();
    put_text("real.pfm", "old");
    assert_int_equal(symlink("real.pfm", made_path("o.pfm")), 0);
}
static void c3_hard(void) {
    make_pair();
    assert_int_equal(link(made_path("l.png"), made_path("same.png")), 0);
}
/* A film of three frames. */
static void make_film(void) {
    make_batch();
    assert_int_equal(mkdir(made_path("film"), 0700), 0);
    assert_int_equal(rename(made_path("left"), made_path("film/left")), 0);
    assert_int_equal(rename(made_path("right"), made_path("film/right")), 0);
}
static void c5_many(void) {
    assert_int_equal(mkdir(made_path("left"), 0700), 0);
    assert_int_equal(mkdir(made_path("right"), 0700), 0);
    assert_int_equal(mkdir(made_path("out"), 0700), 0);
    for (int i = 0; i < 60; i++) {
        char name[64];
        snprintf(name, sizeof name, "left/%03d.pgm", i);
        put_bytes(name, "P5 2 2 255\nabcd", 15);
        snprintf(name, sizeof name, "right/%03d.pgm", i);
        put_bytes(name, "P5 2 2 255\nabcd", 15);
    }
}

static const Case command_line[] = {
    {"C1 nothing", NULL, "$P", 2, "a verb is missing", 0},
    {"C1 verb", NULL, "$P mach a b", 2, "did you mean match?", 0},
    {"C1 option", make_pair, MATCH " --thread-s 2", 2, "did you mean --threads?", 0},
    {"C1 twice", make_pair, MATCH " --threads 2", 2, "--threads was given twice", 0},
    {"C1 ambiguous", make_pair, MATCH " --o x.pfm", 2, "--o could be --output, --overwrite", 0},
    {"C1 no input", NULL, "$P match", 2, "nothing to work on", 0},
    {"C2 threads 0", make_pair, "$P match --model sgm l.png r.png --threads 0", 2,
     "--threads: '0' is not a whole number from 1 to 1024", 0},
    {"C2 threads abc", make_pair, "$P match --model sgm l.png r.png --threads abc", 2,
     "--threads: 'abc' is not a whole number", 0},
    {"C2 scale -1", make_pair, "$P match --model sgm l.png r.png --scale -1", 2, "--scale: '-1' is not a number", 0},
    {"C2 scale NaN", make_pair, "$P match --model sgm l.png r.png --scale NaN", 2, "--scale: 'NaN' is not a number", 0},
    {"C2 range", make_pair, "$P match l.png r.png --range 3:-3", 2, "is an empty range", 0},
    {"C2 wide range", make_pair, "$P match l.png r.png --range -9000:9000 -o o.pfm", 2, "range", 0},
    {"C2 memory 0", make_pair, "$P match --model sgm l.png r.png --max-memory 0", 2, "is not an amount of memory", 0},
    {"C2 memory -99G", make_pair, "$P match --model sgm l.png r.png --max-memory -99G", 2, "is not an amount of memory",
     0},
    {"C2 1e99", make_pair, "$P match --model sgm l.png r.png --scale 1e99", 2, "--scale: '1e99' is not a number", 0},
    {"C2 -0", make_pair, "$P match --model sgm l.png r.png --threads -0", 2, "--threads: '-0' is not", 0},
    {"C2 0x10", make_pair, "$P match --model sgm l.png r.png --threads 0x10", 2,
     "--threads: '0x10' is not a whole number", 0},
    {"C2 blank", make_pair, "$P match --model sgm l.png r.png --threads ' 5'", 2,
     "--threads: ' 5' is not a whole number", 0},
    {"C2 5px", make_pair, "$P match --model sgm l.png r.png --threads 5px", 2, "--threads: '5px' is not a whole number",
     0},
    {"C2 2^31", make_pair, "$P match --model sgm l.png r.png --threads 2147483648", 2,
     "is not a whole number from 1 to 1024", 0},
    {"C2 empty", make_pair, "$P match --model sgm l.png r.png --threads ''", 2, "--threads: '' is not a whole number",
     0},
    {"C2 frames -1", make_pair, "$P match --model sgm l.png r.png --frames -1", 2,
     "--frames: '-1' is not a whole number", 0},
    {"C2 backwards", make_film, "$P match --model sgm film --start 2f --end 1f -o out/", 2, "--end", 0},
    {"C3 is input", make_pair, "$P match --model sgm l.png r.png -o r.png -y", 2, "r.png: is also an input", 0},
    {"C3 hard link", c3_hard, "$P match --model sgm l.png r.png -o same.png -y", 2, "same.png: is also an input", 0},
    {"C3 no folder", make_pair, "$P match --model sgm l.png r.png -o no/o.pfm", 2, "no does not exist", 0},
    {"C3 file as folder", make_pair, "$P match --model sgm l.png r.png -o r.png/o.pfm", 2, "r.png", 0},
    {"C3 exists", make_precious, MATCH, 2, "o.pfm: exists already; add -y", 0},
    {"C3 dry run", make_pair, MATCH " -n; ls o.pfm", 2, "would write o.pfm", 0},
    {"C3 replaced", make_precious, MATCH " -y && head -c 2 o.pfm", 0, "Pf", 0},
    {"C3 link followed", c3_link, MATCH " -y && head -c 2 real.pfm && test -L o.pfm", 0, "Pf", 0},
    {"C3 twice", make_pair, MATCH " -o o.pfm", 2, "o.pfm would be written twice", 0},
    {"C3 form", make_pair, "$P match --model sgm l.png r.png -o o.xyz", 2, "o.xyz: its ending names no form", 0},
    {"C4 bare", make_pair, "env -i $P match --model sgm l.png r.png --threads 2 -o o.pfm", 0, "parallax", 0},
    {"C4 comma", make_pair,
     "env LC_ALL=de_DE.UTF-8 LC_NUMERIC=de_DE.UTF-8 $P match --model sgm l.png r.png --scale 0.5 -o o.pfm", 0,
     "parallax -", 0},
    {"C4 -n 8", make_pair, "ulimit -n 8; " MATCH " -o o.npz -o o.png", 0, "parallax", 0},
    {"C4 -f", make_pair, "ulimit -f 4; " MATCH, 6, "o.pfm", 0},
    {"C4 -s 64", make_pair, "ulimit -s 64; " MATCH, 0, "parallax", 0},
    {"C4 -v", make_pair, "ulimit -v 50000; " MATCH " --scale 4; exit $?", 6, "out of memory", -1},
    {"C4 no stdin", make_pair, MATCH " <&-", 0, "parallax", 0},
    {"C4 no stdio", make_pair,
     "( $P match --model sgm l.png r.png -o o.pfm <&- >&- 2>&- ); e=$?; head -c 2 o.pfm; exit $e", 0, "Pf", 0},
    {"C4 no stdout", make_pair, MATCH " --json >&-", 1, "standard output was closed", 0},
    {"C5 many files", c5_many,
     "ulimit -n 12; $P match --model sgm left right --no-video -o out/ -q; ls out | grep -c npz", 0, "60", 0},
    {"C7 time zone", make_pair, "TZ=Pacific/Auckland " MATCH, 0, "parallax", 0},
};

/* The program with faults.c in front of its libc; a file that was there before stays as it is. Not under a sanitizer,
 * which stands there itself. */
#define FAULT(fault) \
    "LD_PRELOAD=$F FAULT='" fault "' $P match --model sgm l.png r.png --threads 4 -q --no-meta -y -o o.pfm"
#define STAYS "; e=$?; cat o.pfm; exit $e"
#define SAME(fault) \
    "$P match --model sgm l.png r.png -q --no-meta -o good.pfm && " FAULT(fault) " && cmp o.pfm good.pfm && echo same"
static const Case faults[] = {
    {"S2 write EIO", make_precious, FAULT("write 1 5"), 1, "writing failed after 0 bytes: Input/output error", -1},
    {"S2 write EIO keeps", make_precious, FAULT("write 1 5") STAYS, 1, "precious", -1},
    {"S2 write ENOSPC", make_precious, FAULT("write 1 28") STAYS, 6, "disk full after 0 bytes", -1},
    {"S2 write EDQUOT", make_precious, FAULT("write 1 122") STAYS, 6, "precious", -1},
    {"S2 write EINTR", make_precious, SAME("write 1 4"), 0, "same", -1},
    {"S2 write EAGAIN", make_precious, SAME("write 1 11"), 0, "same", -1},
    {"S2 write short", make_precious, SAME("write -1 0"), 0, "same", -1},
    {"S2 fsync EIO", make_precious, FAULT("fsync 1 5") STAYS, 1, "precious", -1},
    {"S2 rename EXDEV", make_precious, FAULT("rename 1 18") STAYS, 1, "precious", -1},
    {"S2 rename EROFS", make_precious, FAULT("rename 1 30") STAYS, 1, "precious", -1},
    {"S2 close EIO", make_precious, FAULT("close -1 5") STAYS, 1, "precious", -1},
    {"S3 ESTALE", make_precious, FAULT("write 1 116") STAYS, 1, "precious", -1},
    {"S5 no threads", make_precious, SAME("pthread_create -1 11"), 0, "same", -1},
    {"S5 one thread", make_precious, SAME("pthread_create 2 11"), 0, "same", -1},
    {"S6 no mapping", weights_good, "LD_PRELOAD=$F FAULT='mmap -1 12' " VERIFY, 0, "sound: 2 tensors", -1},
};

static const Case machine[] = {
    {"S1 full device", make_pair, "$P match --model sgm l.png r.png -o /dev/full", 2, "its ending names no form", 0},
    {"S1 full", make_pair, "ln -s /dev/full o.pfm; $P match --model sgm l.png r.png -o o.pfm; e=$?; rm o.pfm; exit $e",
     6, "disk full after", 0},
    {"S1 full npz", make_pair,
     "ln -s /dev/full o.npz; $P match --model sgm l.png r.png -o o.npz; e=$?; rm o.npz; exit $e", 6, "disk full after",
     0},
    {"S1 full json", make_pair, MATCH " --json >/dev/full; e=$?; rm -f o.pfm; exit $e", 6, "No space left", 0},
    {"S1 full eval", make_maps, "$P eval o.pfm --truth t.pfm --json >/dev/full", 6, "No space left", 0},
    {"S1 full devices", NULL, "$P devices >/dev/full", 6, "No space left", 0},
    {"S1 full trace", NULL, "$P trace s2m2-XS 64x64 >/dev/full", 6, "No space left", 0},
    {"S1 full help", NULL, "$P help match >/dev/full", 6, "No space left", 0},
    {"S1 full list", NULL, "$P model list >/dev/full", 6, "No space left", 0},
    {"S1 full pack", make_pair, "ln -s /dev/full o.png; $P pack l.png r.png -o o.png -y; e=$?; rm o.png; exit $e", 6,
     "disk full after", 0},
    {"S1 full info", weights_good, "$P model info w.safetensors >/dev/full", 6, "No space left", 0},
    {"S1 full convert", weights_good,
     "ln -s /dev/full o.safetensors; $P model convert w.safetensors -o o.safetensors -y; e=$?; rm o.safetensors; exit "
     "$e",
     6, "disk full after", 0},
    {"S3 limit keeps old", make_precious, "ulimit -f 8; " MATCH " -y; e=$?; cat o.pfm; exit $e", 6, "precious", 0},
    {"S8 base", make_pair, "PANUM_CPU=base " MATCH, 0, "parallax", 0},
    {"S8 same bytes", make_pair,
     "for l in base avx2 avx512; do PANUM_CPU=$l $P match --model sgm l.png r.png -q --no-meta -o $l.npz || exit; "
     "done; cmp "
     "base.npz avx2.npz && cmp "
     "base.npz avx512.npz && echo same",
     0, "same", 0},
    {"S9 one cpu", make_pair,
     "taskset -c 0 $P match --model sgm l.png r.png -q -o 1.pfm && $P match --model sgm l.png r.png -q --threads 5 -o "
     "5.pfm && cmp 1.pfm 5.pfm "
     "&& echo same",
     0, "same", 0},
};

static void test_command_line(void **state) {
    (void)state;
    RUN_TABLE(command_line);
}
static void test_machine(void **state) {
    (void)state;
    RUN_TABLE(machine);
}
static void test_faults(void **state) {
    (void)state;
    RUN_TABLE(faults);
}

/* C6: stopped in the middle of the work: exit 130, nothing written, nothing left. */
static void test_stopped(void **state) {
    (void)state;
    const char *folder = bad_folder("bad/stopped"), *program = bad_program();
    Image big;
    assert_int_equal(image_make(&big, 1600, 1200, 1, 8), 0);
    for (int64_t i = 0; i < image_pixels(&big); i++) big.bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    save("l.png", &big);
    save("r.png", &big);
    image_free(&big);
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (int s = 0; s < 4; s++) {
        pid_t child = fork();
        if (child == 0) {
            if (chdir(folder) != 0 || !freopen("said", "w", stderr)) _exit(99);
            execl(program, program, "match", "l.png", "r.png", "--threads", "1", "-o", "o.pfm", "-o", "o.npz", "--log",
                  "log", (char *)NULL);
            _exit(98);
        }
        /* wait until it talks, in the log at once: the handlers are there, the pictures are read */
        for (int i = 0; i < 3000; i++) {
            struct stat st;
            if (stat(made_path("log"), &st) == 0 && st.st_size > 0) break;
            usleep(2000);
        }
        kill(child, signals[s % 3]);
        if (s == 3) { /* twice: at once */
            usleep(20000);
            kill(child, SIGINT);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 130);
        assert_int_not_equal(access(made_path("o.pfm"), F_OK), 0);
        assert_int_not_equal(access(made_path("o.npz"), F_OK), 0);
        assert_false(has_part(folder));
        Bytes b = get_bytes("said");
        b.bytes[b.size] = 0;
        if (s < 3) assert_non_null(strstr((char *)b.bytes, "interrupted; nothing was written"));
        free(b.bytes);
        unlink(made_path("said"));
        unlink(made_path("log"));
    }
}

/* S4: the n-th request for memory and all later ones fail, for every n until the command succeeds; then the n-th alone.
 * With a `step` above 1 every n up to 40 is taken, then each step-th. */
static void fail_every_allocation(const char *name, const char *command, const char *output, int step) {
    const char *path = bad_folder(name), *program = bad_program();
    save("l.png", &(Image){16, 12, 1, 8, made_eye(0)->bytes});
    save("r.png", &(Image){16, 12, 1, 8, made_eye(1)->bytes});
    weights_good();
    int rc = run_command(said, sizeof said, "cd '%s' && P=%s && %s", path, program, command);
    if (rc != 0) fail_msg("%s: exit %d: %s", command, rc, said);
    char reference[1 << 14];
    snprintf(reference, sizeof reference, "%s", said);
    if (output) assert_int_equal(rename(made_path(output), made_path("reference")), 0);
    uint64_t before = fingerprint(path);
    int total = 0;
    for (int for_good = 1; for_good >= 0;
         for_good--) { /* "n and all later ones" ends when n is beyond the last request */
        int failures = 0;
        for (int n = 1; for_good || n <= total; n += n < 40 ? 1 : step) {
            rc = run_command(said, sizeof said, "cd '%s' && P=%s && export PANUM_FAIL_ALLOC=%d%s && %s", path, program,
                             n, for_good ? "+" : "", command);
            if (rc == 0) { /* a fall-back, or the end: the same bytes */
                char compared[512];
                if (output && run_command(compared, sizeof compared, "cd '%s' && cmp reference %s && rm %s", path,
                                          output, output) != 0)
                    fail_msg("%s with allocation %d failing: other bytes", command, n);
                if (for_good) total = n;
                if (for_good &&
                    run_command(compared, sizeof compared, "cd '%s' && P=%s && export PANUM_FAIL_ALLOC=%d+ && %s", path,
                                program, n + 5, command) == 0) {
                    if (output) unlink(made_path(output));
                    break;
                }
                continue;
            }
            failures++;
            if (rc != 6 || !strstr(said, "memory"))
                fail_msg("%s with allocation %d failing: exit %d: %s", command, n, rc, said);
            if (fingerprint(path) != before || has_part(path))
                fail_msg("%s with allocation %d failing leaves something behind", command, n);
            if (n > 5000) fail_msg("%s never ends", command);
        }
        printf("  %s: of %d requests %d fail%s, each with exit 6\n", command, total, failures,
               for_good ? " for good" : "");
        assert_true(failures > 5);
    }
}

static void test_failing_allocations(void **state) {
    (void)state;
    fail_every_allocation("bad/alloc_match", "$P match --model sgm l.png r.png --threads 1 --no-meta -q -o o.npz",
                          "o.npz", 1);
    fail_every_allocation("bad/alloc_png", "$P match --model sgm l.png r.png --threads 1 --no-meta -q -o o.png",
                          "o.png", 1);
    /* The network: some five hundred requests, of which the plan makes most. */
    scratch_folder("bad/seeded");
    const char *build = getenv("PANUM_BUILD") ? getenv("PANUM_BUILD") : "build";
    if (run_command(said, sizeof said, "%s model seed s2m2-XS -q -o %s/scratch/bad/seeded/XS.safetensors",
                    bad_program(), build))
        fail_msg("%s", said);
    fail_every_allocation("bad/alloc_s2m2",
                          "$P match l.png r.png --model s2m2-XS --weights ../seeded/XS.safetensors --threads 2 "
                          "--no-meta -q -o o.npz",
                          "o.npz", 7);
    scratch_folder("bad/seeded"); /* 8 MB */
    fail_every_allocation("bad/alloc_info", "$P info l.png w.safetensors", NULL, 1);
    fail_every_allocation("bad/alloc_verify", "$P model verify w.safetensors", NULL, 1);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_line),
        cmocka_unit_test(test_machine),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_failing_allocations),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]); /* one table alone, by name */
    return cmocka_run_group_tests(tests, bad_set_up, bad_tear_down);
}
