/* Checkpoints: complete, whole or not there, and hostile ones refused. The kill loop trains a small made-up thing in
 * child processes that are killed at random instants; what comes out at the end is, bit for bit, what an unbroken run
 * gives. */
#include "apps/lib/checkpoint.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "nn/optim.h"
#include "tests/lib/check.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void must(int code) {
    if (code) fail_msg("%s", err_sentence());
}

static ParameterList *parameters(void) {
    Program *program = program_make();
    program_weight(program, "a.weight", 2, (int64_t[]){61, 37});
    program_weight(program, "a.bias", 1, (int64_t[]){61});
    program_weight(program, "b.weight", 4, (int64_t[]){5, 7, 3, 3});
    ParameterList *list = parameters_of(program);
    program_drop(program);
    return list;
}

/* ---- a training ---- */

enum { STEPS = 36, EVERY = 3 };

typedef struct {
    ParameterList *list;
    float *weights, *gradients;
    Optim *optim;
    int64_t step;
} Training;

static Training training_make(void) {
    Training t = {.list = parameters()};
    t.weights = mem_zero((size_t)t.list->block, sizeof(float));
    t.gradients = mem_zero((size_t)t.list->block, sizeof(float));
    OptimOptions options = {.decay = 0.01, .clip = 1, .average = 0.95};
    must(optim_make(t.list, &options, t.weights, &t.optim));
    return t;
}

static void training_drop(Training *t) {
    optim_drop(t->optim);
    mem_free(t->gradients);
    mem_free(t->weights);
    parameters_drop(t->list);
}

static void training_step(Training *t) {
    for (int p = 0; p < t->list->count; p++)
        for (int64_t i = 0; i < t->list->at[p].count; i++) {
            int64_t at = t->list->at[p].offset + i;
            t->gradients[at] = t->weights[at] - 1 + (float)rng_signed((uint64_t)t->step, (uint64_t)at);
        }
    optim_step(t->optim, NULL, t->weights, t->gradients, 1, 0.01);
    t->step++;
}

static int training_save(Training *t, const char *folder) {
    char name[CHECKPOINT_NAME], path[700], step[32];
    checkpoint_name(name, t->step);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(step, sizeof step, "%lld", (long long)t->step);
    CheckpointBlock blocks[] = {{"weights", t->weights},
                                {"moment1", optim_block(t->optim, OPTIM_MOMENT1)},
                                {"moment2", optim_block(t->optim, OPTIM_MOMENT2)},
                                {"average", optim_block(t->optim, OPTIM_AVERAGE)}};
    SafetensorsNote notes[] = {{"step", step}, {"word", "a \"quoted\" \\ word\n"}};
    int code = checkpoint_write(path, t->list, blocks, 4, notes, 2);
    if (!code) checkpoint_prune(folder, 3);
    return code;
}

static int training_load(Training *t, const Checkpoint *c) {
    int code = checkpoint_whole(c, "step", 0, INT64_MAX, &t->step);
    if (!code) code = checkpoint_block(c, "weights", t->list, t->weights);
    for (int b = 0; !code && b < OPTIM_BLOCKS; b++)
        code = checkpoint_block(c, optim_block_names[b], t->list, optim_block(t->optim, b));
    optim_set_steps(t->optim, t->step);
    return code;
}

/* Runs in a child until it is done or killed. */
static int train(const char *folder) {
    out_sweep(folder);
    Training t = training_make();
    Checkpoint *c;
    int code = checkpoint_newest(folder, NULL, &c);
    if (!code && c) code = training_load(&t, c);
    checkpoint_close(c);
    while (!code && t.step < STEPS) {
        training_step(&t);
        if (t.step % EVERY == 0) code = training_save(&t, folder);
    }
    training_drop(&t);
    return code;
}

static void pause_for(double seconds) {
    struct timespec time = {(time_t)seconds, (long)((seconds - floor(seconds)) * 1e9)};
    nanosleep(&time, NULL);
}

static void killed_at_any_instant(void **state) {
    (void)state;
    char folder[600];
    snprintf(folder, sizeof folder, "%s", scratch_folder("checkpoint_kill"));
    Training unbroken = training_make();
    while (unbroken.step < STEPS) training_step(&unbroken);

    int kills = 0;
    bool done = false;
    for (int round = 0; !done; round++) {
        if (round == 400) fail_msg("killed %d times and still not done", kills);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) _exit(train(folder));
        pause_for(0.012 * rng_unit(11, (uint64_t)round));
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (WIFSIGNALED(status))
            kills++;
        else
            assert_int_equal(WEXITSTATUS(status), 0);
        done = !WIFSIGNALED(status);
        /* whatever stands under a final name is whole */
        DIR *dir = opendir(folder);
        for (struct dirent *entry; (entry = readdir(dir));) {
            char path[1000];
            if (strncmp(entry->d_name, "checkpoint_", 11) != 0 || strstr(entry->d_name, ".part")) continue;
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            Checkpoint *c;
            must(checkpoint_open(path, &c));
            checkpoint_close(c);
        }
        closedir(dir);
    }
    printf("killed %d times on the way\n", kills);
    Training t = training_make();
    Checkpoint *c;
    must(checkpoint_newest(folder, NULL, &c));
    must(training_load(&t, c));
    assert_int_equal(t.step, STEPS);
    size_t bytes = (size_t)t.list->block * sizeof(float);
    assert_memory_equal(t.weights, unbroken.weights, bytes);
    for (int b = 0; b < OPTIM_BLOCKS; b++)
        assert_memory_equal(optim_block(t.optim, b), optim_block(unbroken.optim, b), bytes);
    assert_string_equal(checkpoint_note(c, "word"), "a \"quoted\" \\ word\n");
    checkpoint_close(c);
    training_drop(&t);
    training_drop(&unbroken);
}

/* ---- damage ---- */

static int told_count;
static char told_last[1100];
static void told(const char *sentence) {
    told_count++;
    snprintf(told_last, sizeof told_last, "%s", sentence);
}

static void write_bytes(const char *path, const uint8_t *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

/* One bit flipped, or cut short: never taken, the one before is. */
static void damage_is_noticed(void **state) {
    (void)state;
    char folder[600], path[700];
    snprintf(folder, sizeof folder, "%s", scratch_folder("checkpoint_damage"));
    Training t = training_make();
    Checkpoint *c;
    must(checkpoint_newest(folder, told, &c));
    assert_null(c);
    for (int i = 0; i < 5; i++) {
        training_step(&t);
        must(training_save(&t, folder));
    }
    uint8_t *bytes;
    size_t size;
    snprintf(path, sizeof path, "%s/checkpoint_000000005.safetensors", folder);
    must(file_read(path, 1 << 24, &bytes, &size));
    for (int i = 0; i < 400; i++) { /* half of the flips in the header */
        uint64_t at = rng_u64(5, (uint64_t)i) % (i % 2 ? size : size / 8);
        bytes[at] ^= (uint8_t)(1 << (i % 8));
        write_bytes(path, bytes, size);
        bytes[at] ^= (uint8_t)(1 << (i % 8));
        if (!checkpoint_open(path, &c)) fail_msg("bit %d of byte %llu was not noticed", i % 8, (unsigned long long)at);
    }
    for (size_t cut = 0; cut < size; cut += 1024) {
        write_bytes(path, bytes, cut);
        assert_int_not_equal(checkpoint_open(path, &c), 0);
    }
    bytes[size - 1] ^= 4;
    write_bytes(path, bytes, size);
    told_count = 0;
    must(checkpoint_newest(folder, told, &c));
    assert_int_equal(told_count, 1);
    assert_non_null(strstr(told_last, "average.b.weight"));
    int64_t step;
    must(checkpoint_whole(c, "step", 0, 100, &step));
    assert_int_equal(step, 4);
    assert_int_equal(checkpoint_whole(c, "step", 5, 100, &step), ERR_WEIGHTS);
    assert_int_equal(checkpoint_whole(c, "word", 0, 100, &step), ERR_WEIGHTS);
    assert_int_equal(checkpoint_whole(c, "nothing", 0, 100, &step), ERR_WEIGHTS);
    assert_int_equal(checkpoint_block(c, "moment3", t.list, t.gradients), ERR_WEIGHTS);
    checkpoint_close(c);
    /* the oldest two of five are gone; with the other two damaged as well nothing is begun anew in silence */
    snprintf(path, sizeof path, "%s/checkpoint_000000002.safetensors", folder);
    assert_int_not_equal(access(path, F_OK), 0);
    for (int i = 3; i < 5; i++) {
        snprintf(path, sizeof path, "%s/checkpoint_%09d.safetensors", folder, i);
        write_bytes(path, bytes, 100);
    }
    assert_int_equal(checkpoint_newest(folder, told, &c), ERR_WEIGHTS);
    mem_free(bytes);
    training_drop(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_at_any_instant),
        cmocka_unit_test(damage_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
