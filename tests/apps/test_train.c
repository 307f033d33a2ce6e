/* panum train stereo: that it learns, that a kill and a resume leave no trace in the result, that threads leave none,
 * and what it says to wrong use. Tiny pictures and a few steps of the real network. */
#include "apps/lib/checkpoint.h"
#include "apps/lib/train_graph.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tensor/files/weights.h"
#include "tests/lib/check.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TINY "--crop 64x64 --batch 2 --validate-samples 1 --steps 5 --checkpoint-every 1 --threads 1"

static void must(int code) {
    if (code) fail_msg("%s", err_sentence());
}

static char output[20000];

static void train(const char *folder, const char *options) {
    int code = run_command(output, sizeof output, "%s train stereo -o %s %s", panum_program(), folder, options);
    if (code) fail_msg("train %s: exit %d: %s", options, code, output);
}

/* Everything that the newest checkpoint holds, but how long it took. */
typedef struct {
    ParameterList *list;
    float *block[4];
    int64_t step;
} State;

static State read_state(const char *folder) {
    State s = {0};
    GraphOptions options = {.network = {.channels = 32, .blocks = 1, .refine_iterations = 3},
                            .width = 64,
                            .height = 64,
                            .pairs = 1,
                            .part = GRAPH_FORWARD};
    TrainGraph graph;
    must(graph_record(&options, NULL, &graph));
    s.list = parameters_of(graph.program);
    graph_drop(&graph);
    Checkpoint *c;
    must(checkpoint_newest(folder, NULL, &c));
    assert_non_null(c);
    must(checkpoint_whole(c, "step", 0, 1000000, &s.step));
    static const char *const names[] = {"weights", "moment1", "moment2", "average"};
    for (int b = 0; b < 4; b++) {
        s.block[b] = mem_zero((size_t)s.list->block, sizeof(float));
        must(checkpoint_block(c, names[b], s.list, s.block[b]));
    }
    checkpoint_close(c);
    return s;
}

static void free_state(State *s) {
    for (int b = 0; b < 4; b++) mem_free(s->block[b]);
    parameters_drop(s->list);
}

static void assert_same(const State *a, const State *b) {
    assert_int_equal(a->step, b->step);
    for (int k = 0; k < 4; k++) assert_memory_equal(a->block[k], b->block[k], (size_t)a->list->block * sizeof(float));
}

static void nap(double seconds) {
    nanosleep(&(struct timespec){(time_t)seconds, (long)((seconds - floor(seconds)) * 1e9)}, NULL);
}

/* Starts it and kills it so many seconds after the checkpoint of that step is there (0: after the start). Waiting for
 * the checkpoint and not for the clock, every kill finds new work, on a busy machine and under a sanitizer too. True
 * when it was done before. */
static bool run_and_kill(const char *folder, int step, double seconds) {
    char path[700];
    snprintf(path, sizeof path, "%s/checkpoint_%09d.safetensors", folder, step);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char command[2000];
        snprintf(command, sizeof command, "exec %s train stereo -q -o %s " TINY, panum_program(), folder);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    int status;
    pid_t ended = 0;
    while (step && !ended && access(path, F_OK) != 0) {
        ended = waitpid(child, &status, WNOHANG);
        nap(0.002);
    }
    if (!ended) {
        nap(seconds);
        kill(child, SIGKILL);
        ended = waitpid(child, &status, 0);
    }
    assert_int_equal(ended, child);
    if (WIFEXITED(status)) assert_int_equal(WEXITSTATUS(status), 0);
    return WIFEXITED(status);
}

static void kills_and_threads_leave_no_trace(void **state) {
    (void)state;
    char unbroken[600], other[600];
    snprintf(unbroken, sizeof unbroken, "%s", scratch_folder("train_unbroken"));
    train(unbroken, TINY);
    State want = read_state(unbroken);
    assert_int_equal(want.step, 5);

    snprintf(other, sizeof other, "%s", scratch_folder("train_threads"));
    run_command(output, sizeof output,
                "%s train stereo -o %s --crop 64x64 --batch 2 --validate-samples 1 --steps 5 "
                "--threads 3 --loader-threads 2 --checkpoint-every 4",
                panum_program(), other);
    State got = read_state(other);
    assert_same(&got, &want);
    free_state(&got);

    snprintf(other, sizeof other, "%s", scratch_folder("train_killed"));
    /* while it starts, and between one step and the next; then to its end */
    int kills = 0;
    for (int step = 0; step < 5; step++) kills += !run_and_kill(other, step, 0.12 * rng_unit(3, (uint64_t)step));
    printf("killed %d times on the way\n", kills);
    assert_true(kills >= 3);
    train(other, TINY);
    got = read_state(other);
    assert_same(&got, &want);
    free_state(&got);
    free_state(&want);
}

static double last_error(const char *folder) {
    run_command(output, sizeof output, "tail -n 1 %s/validation.csv | cut -d, -f3", folder);
    return strtod(output, NULL);
}

/* The largest number of a parameter of folder/best.safetensors, or its largest difference to another folder's. */
static double largest_of(const char *folder, const char *name, const char *other) {
    char path[700];
    float value[2][20000];
    double largest = 0;
    int64_t count = 0;
    const char *const folders[] = {folder, other};
    for (int k = 0; k < 2; k++) {
        Weights *file;
        snprintf(path, sizeof path, "%s/best.safetensors", folders[k]);
        assert_int_equal(weights_open(path, &file), 0);
        const WeightEntry *entry = weights_find(file, name);
        assert_true(entry && entry->count <= 20000);
        count = entry->count;
        assert_int_equal(weights_read_part_f32(file, entry, 0, count, value[k]), 0);
        weights_close(file);
    }
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(other == folder ? value[0][i] : value[0][i] - value[1][i]));
    return largest;
}

/* What is renewed begins as from scratch, where the last convolution of an update is zero; the rest is --init's. */
static void parts_are_renewed(const char *trained) {
    char from[600], folder[600];
    snprintf(from, sizeof from, "%s", trained); /* the next scratch folder's name takes its place */
    snprintf(folder, sizeof folder, "%s", scratch_folder("train_renewed"));
    const char *how = "--crop 64x64 --batch 1 --validate-samples 1 --steps 1 --average 0 --schedule constant --lr 1e-9";
    int code = run_command(output, sizeof output, "%s train stereo -o %s --init %s/best.safetensors %s --renew 'gru.*'",
                           panum_program(), folder, from, how);
    assert_int_equal(code, 2);
    assert_non_null(strstr(output, "no parameter of s2m2-XS has such a name"));
    code = run_command(output, sizeof output, "%s train stereo -o %s --init %s/best.safetensors %s --renew 'refiner.*'",
                       panum_program(), folder, from, how);
    assert_int_equal(code, 0);
    assert_true(largest_of(from, "refiner.disp_update.2.weight", from) > 1e-4);
    assert_true(largest_of(folder, "refiner.disp_update.2.weight", folder) < 1e-8);
    assert_true(largest_of(folder, "global_refiner.out_feat.0.weight", from) < 1e-8);
    assert_true(largest_of(folder, "refiner.gru.convz1.weight", from) > 1e-2);
}

/* Twenty steps from scratch: the error on samples never seen falls to less than half of what it was after two. */
static void the_held_out_error_falls(void **state) {
    (void)state;
    const char *folder = scratch_folder("train_learns");
    train(folder,
          "--crop 64x64 --batch 2 --validate-samples 6 --steps 2 --schedule constant --average 0 --lr 1e-3 --seed 3 "
          "--log-every 5");
    double before = last_error(folder);
    train(folder, "--steps 20 --resume-anyway --validate-samples 6 --log-every 5");
    double after = last_error(folder);
    printf("held-out error %.2f px after two steps, %.2f after twenty\n", before, after);
    assert_true(after > 0 && after < before / 2);
    char path[700];
    snprintf(path, sizeof path, "%s/report.html", folder);
    run_command(output, sizeof output, "grep -c '<svg' %s; grep -c 'data:image/png' %s; tail -n 1 %s", path, path,
                path);
    int curves = 0, pictures = 0;
    assert_int_equal(sscanf(output, "%d %d", &curves, &pictures), 2);
    assert_true(curves >= 3 && pictures >= 4);
    assert_non_null(strstr(output, "</html>"));
    /* the weights are taken by the matcher */
    int code = run_command(output, sizeof output, "%s model verify %s/best.safetensors --model s2m2-XS",
                           panum_program(), folder);
    assert_int_equal(code, 0);
    parts_are_renewed(folder);
}

static void expect(const char *folder, const char *options, int exit_code, const char *words) {
    int code = run_command(output, sizeof output, "%s train stereo -o %s %s", panum_program(), folder, options);
    if (code != exit_code || !strstr(output, words))
        fail_msg("train %s: exit %d (wanted %d, \"%s\"): %s", options, code, exit_code, words, output);
}

static void wrong_use_is_told(void **state) {
    (void)state;
    char folder[600];
    snprintf(folder, sizeof folder, "%s", scratch_folder("train_wrong"));
    expect(folder, "--crop 100x64", 2, "--crop");
    expect(folder, "--crop 64", 2, "--crop");
    expect(folder, "--batch 3 --micro-batch 2", 2, "--micro-batch");
    expect(folder, "--steps 0", 2, "--steps");
    expect(folder, "--init nothing.safetensors", 4, "nothing.safetensors");
    /* folders above are made, and go again when nothing came into them */
    char deep[700];
    snprintf(deep, sizeof deep, "%s/not/there", folder);
    expect(deep, "--init nothing.safetensors", 4, "nothing.safetensors");
    run_command(output, sizeof output, "test ! -e %s/not && echo gone", folder);
    assert_string_equal(output, "gone\n");
    int code = run_command(output, sizeof output, "%s train mono", panum_program());
    assert_int_equal(code, 2);
    expect(folder, "--precision f16 --device cpu", 2, "--precision f16 is for a GPU");
    expect(folder, "--precision bf16 --device cpu --overfit frame.ppm", 2, "--precision bf16 is for a GPU");
    /* other settings than it was begun with; the precision is remembered, and free to change as the device is */
    train(deep, "--crop 64x64 --batch 1 --validate-samples 1 --steps 1 --lr 1e-4 --precision bf16");
    expect(deep, "--lr 1e-3", 2, "(--lr was 0.0001 and is 0.001)");
    expect(deep, "--lr 1e-3 --resume-anyway --device cpu", 0, "in f32: bf16 is for a GPU");
    assert_non_null(strstr(output, "goes on from"));
    expect(deep, "--lr 1e-3 --resume-anyway --precision f32", 0, "goes on from");
    assert_null(strstr(output, "for a GPU"));
    /* nothing is begun anew in silence */
    run_command(output, sizeof output, "for f in %s/checkpoint_*; do echo broken > $f; done", deep);
    expect(deep, "", 4, "none of its");
}

/* A rate that throws the weights away: the steps that cannot be taken are told, and after twenty it ends. */
static void what_is_not_finite_is_skipped(void **state) {
    (void)state;
    const char *folder = scratch_folder("train_nan");
    expect(folder, "--crop 64x64 --batch 1 --validate-samples 1 --optimizer sgd --lr 100 --clip 0 --schedule constant",
           1, "20 steps in a row");
    assert_non_null(strstr(output, "skipped (synthetic scene"));
}

/* Pictures of noise seen by both eyes, every other one 4 px in front, the others 4 px behind. */
static void write_film(const char *folder, int frames) {
    enum { W = 128, H = 96, SHIFT = 4 };
    run_command(output, sizeof output, "mkdir -p %s/left %s/right", folder, folder);
    for (int f = 0; f < frames; f++)
        for (int right = 0; right < 2; right++) {
            int d = f % 2 ? SHIFT : -SHIFT;
            char path[800];
            snprintf(path, sizeof path, "%s/%s/frame_%06d.ppm", folder, right ? "right" : "left", f);
            FILE *file = fopen(path, "wb");
            assert_non_null(file);
            fprintf(file, "P6\n%d %d\n255\n", W, H);
            for (int y = 0; y < H; y++)
                for (int x = 0; x < W; x++)
                    for (int c = 0; c < 3; c++)
                        fputc((int)(rng_u64((uint64_t)f, (uint64_t)((y * 200 + x + 20 + right * d) * 3 + c)) & 255),
                              file);
            fclose(file);
        }
}

/* All three phases, each of a few steps; and the quick test on one frame. */
static void films_have_phases(void **state) {
    (void)state;
    char folder[600], film[700];
    snprintf(folder, sizeof folder, "%s", scratch_folder("train_films"));
    snprintf(film, sizeof film, "%s/film", folder);
    write_film(film, 6);
    char options[1200], out[700];
    snprintf(out, sizeof out, "%s/out", folder);
    snprintf(options, sizeof options,
             "--films %s --phase1 1 --phase1-crop 128x96 --phase2 1 --crop 64x64 --translucent --translucent-epochs 1 "
             "--validate-samples 1 --checkpoint-every 2",
             film);
    train(out, options);
    static const char *const words[] = {"phase 1:", "phase 2:", "translucent:", "held-out loss"};
    for (int i = 0; i < 4; i++)
        if (!strstr(output, words[i])) fail_msg("'%s' is not in %s", words[i], output);
    /* taken up again when all is done: nothing is measured twice, and what is not the recipe's is remembered too */
    run_command(output, sizeof output, "cp %s/validation.csv %s/best.safetensors %s", out, out, folder);
    train(out, "");
    int same = run_command(output, sizeof output,
                           "cmp %s/validation.csv %s/validation.csv && cmp %s/best.safetensors %s/best.safetensors && "
                           "test -s %s/best-translucent.safetensors && grep -c 'validate-samples</td><td>1<' "
                           "%s/report.html && grep -c 'frame_0' %s/report.html",
                           out, folder, out, folder, out, out, out);
    if (same) fail_msg("%s", output);
    run_command(output, sizeof output, "cut -d, -f3 %s/validation.csv | tr '\\n' ' '", out);
    assert_string_equal(output, "phase 0 1 2 ");
    expect(out, "--data x --resume-anyway", 2, "--films");
    /* the match target of frame 1 is +4 px, taught nearly everywhere */
    run_command(output, sizeof output, "cp %s/left/frame_000001.ppm %s/alone.ppm", film, film);
    int code = run_command(output, sizeof output, "%s train stereo --overfit %s/alone.ppm --steps 2 --crop 64x64",
                           panum_program(), film);
    if (code == 0) fail_msg("one eye alone was taken: %s", output);
    static const char *const frames[] = {"%s train stereo --overfit %s/left/frame_000001.ppm --steps 1 --crop 64x64",
                                         "%s train stereo --films %s --overfit frame_000001 --steps 1 --crop 64x64",
                                         "%s train stereo --films %s --overfit 1 --steps 1 --crop 64x64"};
    for (int i = 0; i < 3; i++) {
        code = run_command(output, sizeof output, frames[i], panum_program(), film);
        if (code || !strstr(output, "median 2.0")) fail_msg("form %d, exit %d: %s", i, code, output);
    }
    code = run_command(output, sizeof output, "%s train stereo --films %s --overfit frame_9", panum_program(), film);
    assert_true(code == 3 && strstr(output, "no frame of that name or number"));
    char program[4096];
    assert_non_null(realpath(panum_program(), program));
    run_command(output, sizeof output,
                "cd %s; for e in left right; do cp $e/frame_000001.ppm one_$e.ppm; done; %s pack "
                "one_left.ppm one_right.ppm --layout sbs -q -y -o one_sbs.png",
                film, program);
    code = run_command(output, sizeof output, "%s train stereo --overfit %s/one_sbs.png --steps 3 --crop 128x96",
                       panum_program(), film);
    if (code || !strstr(output, "before") || !strstr(output, "median 4.0")) fail_msg("exit %d: %s", code, output);
}

/* Stopped between two measurements and taken up again: the table of measurements is that of an unbroken run, and
 * weights there were at once. */
static void a_stop_is_no_measurement(void **state) {
    (void)state;
    static const char options[] =
        "--crop 64x64 --batch 1 --validate-samples 1 --validate-every 20 --steps 40 --log-every 1";
    char unbroken[600], stopped[600], before[2000], after[2000];
    snprintf(unbroken, sizeof unbroken, "%s", scratch_folder("train_unbroken_table"));
    train(unbroken, options);
    snprintf(stopped, sizeof stopped, "%s", scratch_folder("train_stopped_table"));
    int code =
        run_command(output, sizeof output,
                    "%s train stereo -o %s %s & p=$!; while ! grep -q ^3, %s/log.csv 2>/dev/null; do sleep 0.02; "
                    "done; kill -TERM $p; wait $p",
                    panum_program(), stopped, options, stopped);
    assert_int_equal(code, 130);
    run_command(output, sizeof output, "wc -l <%s/validation.csv; test -s %s/best.safetensors && echo weights", stopped,
                stopped);
    assert_string_equal(output, "1\nweights\n"); /* its head */
    train(stopped, "");
    run_command(before, sizeof before, "cut -d, -f1,3- %s/validation.csv", unbroken);
    run_command(after, sizeof after, "cut -d, -f1,3- %s/validation.csv", stopped);
    assert_string_equal(before, after);
}

/* Stopped: 130, a checkpoint, and the words that tell how to go on. */
static void an_interrupt_is_resumable(void **state) {
    (void)state;
    char folder[600];
    snprintf(folder, sizeof folder, "%s", scratch_folder("train_interrupt"));
    int code = run_command(output, sizeof output,
                           "%s train stereo -o %s --crop 64x64 --batch 1 --validate-samples 1 & p=$!; while [ ! -s "
                           "%s/log.csv ]; do sleep 0.05; done; sleep 0.5; kill -TERM $p; wait $p",
                           panum_program(), folder, folder);
    assert_int_equal(code, 130);
    assert_non_null(strstr(output, "goes on"));
    Checkpoint *c;
    must(checkpoint_newest(folder, NULL, &c));
    assert_non_null(c);
    checkpoint_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kills_and_threads_leave_no_trace),
        cmocka_unit_test(the_held_out_error_falls),
        cmocka_unit_test(wrong_use_is_told),
        cmocka_unit_test(what_is_not_finite_is_skipped),
        cmocka_unit_test(films_have_phases),
        cmocka_unit_test(an_interrupt_is_resumable),
        cmocka_unit_test(a_stop_is_no_measurement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
