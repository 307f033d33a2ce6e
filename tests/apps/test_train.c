/* panum train stereo: that it learns, that a kill and a resume leave no trace in the result, that threads leave none,
 * and what it says to wrong use. Tiny pictures and a few steps of the real network. */
#include "apps/lib/checkpoint.h"
#include "apps/lib/train_graph.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tests/lib/check.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TINY \
    "--crop 64x64 --batch 2 --validate-samples 1 --validate-every 1000 --steps 6 --checkpoint-every 1 --threads 1"

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

/* Starts it, kills it at some instant; true when it was done before. */
static bool run_and_kill(const char *folder, double seconds) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char command[2000];
        snprintf(command, sizeof command, "exec %s train stereo -q -o %s " TINY, panum_program(), folder);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    struct timespec time = {(time_t)seconds, (long)((seconds - floor(seconds)) * 1e9)};
    nanosleep(&time, NULL);
    kill(child, SIGKILL);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status)) assert_int_equal(WEXITSTATUS(status), 0);
    return WIFEXITED(status);
}

static void kills_and_threads_leave_no_trace(void **state) {
    (void)state;
    char unbroken[600], other[600];
    snprintf(unbroken, sizeof unbroken, "%s", scratch_folder("train_unbroken"));
    train(unbroken, TINY);
    State want = read_state(unbroken);
    assert_int_equal(want.step, 6);

    snprintf(other, sizeof other, "%s", scratch_folder("train_threads"));
    train(other, TINY " --no-resume --log-every 1");
    State got = read_state(other);
    assert_same(&got, &want);
    free_state(&got);

    /* three threads for the network and two for samples; the first four steps, then the rest by the folder alone */
    snprintf(other, sizeof other, "%s", scratch_folder("train_threads"));
    run_command(output, sizeof output,
                "%s train stereo -o %s --crop 64x64 --batch 2 --validate-samples 1 --steps 6 "
                "--threads 3 --loader-threads 2 --checkpoint-every 4",
                panum_program(), other);
    got = read_state(other);
    assert_same(&got, &want);
    free_state(&got);

    snprintf(other, sizeof other, "%s", scratch_folder("train_killed"));
    int kills = 0;
    /* on a machine that is busy with other things nothing may be done in half a second: more time with every kill */
    while (!run_and_kill(other, (0.4 + 0.6 * kills) * (0.5 + rng_unit(3, (uint64_t)kills))))
        if (++kills == 100) fail_msg("killed %d times and still not done", kills);
    printf("killed %d times on the way\n", kills);
    got = read_state(other);
    assert_same(&got, &want);
    free_state(&got);
    free_state(&want);
}

static double last_error(const char *folder) {
    run_command(output, sizeof output, "tail -n 1 %s/validation.csv | cut -d, -f3", folder);
    return strtod(output, NULL);
}

/* Forty steps from scratch: the error on samples never seen falls to less than half of what it was after two. */
static void the_held_out_error_falls(void **state) {
    (void)state;
    const char *folder = scratch_folder("train_learns");
    train(folder, "--crop 64x64 --batch 2 --validate-samples 6 --steps 40 --schedule constant --validate-every 2 "
                  "--average 0 --lr 5e-4 --seed 3 --log-every 5");
    char first[100];
    run_command(first, sizeof first, "sed -n 2p %s/validation.csv | cut -d, -f3", folder);
    double before = strtod(first, NULL), after = last_error(folder);
    printf("held-out error %.2f px after two steps, %.2f after forty\n", before, after);
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
    int code = run_command(output, sizeof output, "%s train mono", panum_program());
    assert_int_equal(code, 2);
    /* other settings than it was begun with */
    train(folder, "--crop 64x64 --batch 1 --validate-samples 1 --steps 1 --lr 1e-4");
    expect(folder, "--lr 1e-3", 2, "--lr was 0.0001 and is 0.001");
    expect(folder, "--lr 1e-3 --resume-anyway", 0, "goes on from");
    expect(folder, "", 0, "goes on from");
    /* a weight decay of the checkpoint's optimiser that is missing: named, nothing is begun anew */
    run_command(output, sizeof output, "for f in %s/checkpoint_*; do echo broken > $f; done", folder);
    expect(folder, "", 4, "none of its");
    /* two at once */
    snprintf(output, sizeof output, "%s", folder);
    expect(folder, "--no-resume --crop 64x64 --batch 1 --steps 1 --validate-samples 1 -q & sleep 0.05; wait", 0, "");
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
        cmocka_unit_test(an_interrupt_is_resumable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
