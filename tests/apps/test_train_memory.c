/* Requests for memory that fail on the way through a small training: each ends in ERR_MEMORY, gives back everything,
 * and leaves no checkpoint that is not whole.
 *
 * Which request fails is read from PANUM_FAIL_ALLOC at the first one, so every attempt is a child process, and nothing
 * here asks for memory before it. */
#include "apps/lib/trainer.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tests/lib/check.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIDE = 64 };

static int make_noise(void *context, uint64_t index, Sample *sample) {
    (void)context;
    if (sample_reserve(sample, SIDE, SIDE)) return err_code();
    sample->occlusion_known = true;
    sample->index = index;
    for (int eye = 0; eye < 2; eye++) {
        SampleEye *e = eye ? &sample->right : &sample->left;
        for (int i = 0; i < SIDE * SIDE; i++) {
            for (int c = 0; c < 3; c++) e->rgb[3 * i + c] = (uint8_t)rng_u64(index, (uint64_t)(3 * i + c));
            e->disparity[i] = 0;
            e->valid[i] = e->occlusion[i] = 1;
        }
    }
    return 0;
}

typedef struct {
    Pool *pool;
    Trainer *trainer, *other;
    Loader *loader;
    Checkpoint *checkpoint;
} Attempt;

/* What a child says of itself. */
typedef struct {
    uint64_t made, requests; /* by the first trainer, and in all */
    size_t live;
    int code;
    char sentence[200];
} Outcome;
static Outcome *outcome;

/* Two steps, a checkpoint after each, and another trainer that goes on from the last. */
static int train(Attempt *r, const char *folder) {
    TrainerOptions options = {.graph = {.network = {.channels = 16, .blocks = 1, .refine_iterations = 1},
                                        .width = SIDE,
                                        .height = SIDE,
                                        .pairs = 1},
                              .batch = 1,
                              .optim = {.method = OPTIM_SGD, .clip = 1},
                              .schedule = {.shape = RATE_CONSTANT, .rate = 1e-4, .steps = 2},
                              .loss_scale = {.scale = 1}};
    SampleSource source = {make_noise, NULL};
    r->pool = pool_make(1);
    if (!r->pool) return ERR_MEMORY;
    int code = trainer_make(&options, r->pool, &r->trainer);
    outcome->made = mem_use().requests;
    if (!code) code = loader_make(&r->loader, &source, &(LoaderOptions){0});
    for (int step = 0; !code && step < 2; step++) {
        TrainerStep done;
        code = trainer_step(r->trainer, r->loader, &done);
        if (!code) code = trainer_save(r->trainer, folder, NULL, 0);
    }
    if (!code) code = checkpoint_newest(folder, NULL, &r->checkpoint);
    if (!code) code = trainer_make(&options, r->pool, &r->other);
    if (!code) code = trainer_restore(r->other, r->checkpoint);
    if (!code) BUG_IF(trainer_state(r->other)->step != 2, "not after two steps");
    return code;
}

static void run_child(const char *folder, const char *failing) {
    memset(outcome, 0, sizeof *outcome);
    outcome->code = -1;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv("PANUM_FAIL_ALLOC", failing, 1);
        Attempt run = {0};
        outcome->code = train(&run, folder);
        snprintf(outcome->sentence, sizeof outcome->sentence, "%s", err_sentence());
        checkpoint_close(run.checkpoint);
        loader_drop(run.loader);
        trainer_drop(run.other);
        trainer_drop(run.trainer);
        pool_drop(run.pool);
        outcome->live = mem_use().live;
        outcome->requests = mem_use().requests;
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("request %s failing: ended with status %x", failing, status);
}

/* No part file; what is there is whole, which a further child says, since this one may not ask for memory. */
static int inspect(const char *folder) {
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    int whole = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strstr(entry->d_name, ".part")) fail_msg("%s is left behind", entry->d_name);
        whole += strncmp(entry->d_name, "checkpoint_", 11) == 0;
    }
    closedir(dir);
    if (!whole) return 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv("PANUM_FAIL_ALLOC", "0", 1);
        Checkpoint *c;
        int code = checkpoint_newest(folder, NULL, &c);
        checkpoint_close(c);
        _exit(code);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    return whole;
}

static void try(uint64_t n, const char *more, int *failed) {
    char failing[40], folder[600];
    snprintf(folder, sizeof folder, "%s", scratch_folder("train_memory"));
    snprintf(failing, sizeof failing, "%llu%s", (unsigned long long)n, more);
    run_child(folder, failing);
    if (outcome->code != 0 && outcome->code != ERR_MEMORY)
        fail_msg("request %s failing: code %d, %s", failing, outcome->code, outcome->sentence);
    if (outcome->code && !strstr(outcome->sentence, "memory"))
        fail_msg("request %s failing: the sentence is '%s'", failing, outcome->sentence);
    if (outcome->live) fail_msg("request %s failing: %zu bytes are not given back", failing, outcome->live);
    *failed += outcome->code != 0;
    inspect(folder);
}

static void failing_requests_end_well(void **state) {
    (void)state;
    outcome = mmap(NULL, sizeof *outcome, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(outcome != MAP_FAILED);
    char folder[600];
    snprintf(folder, sizeof folder, "%s", scratch_folder("train_memory"));
    run_child(folder, "0");
    if (outcome->code) fail_msg("%s", outcome->sentence);
    assert_int_equal(outcome->live, 0);
    assert_int_equal(inspect(folder), 2);
    uint64_t made = outcome->made, total = outcome->requests;
    int failed = 0, tried = 0;
    /* making a trainer has most of them, and the second is as the first: some by lot. Then come steps and checkpoints.
     */
    enum { EARLY = 6, MAKING = 24, AFTER = 14 };
    uint64_t after = total - 2 * made;
    for (uint64_t n = 1; n <= EARLY; n++, tried++) try(n, n % 2 ? "" : "+", &failed);
    for (uint64_t k = 0; k < MAKING; k++, tried++) try(1 + rng_u64(9, k) % made, k % 2 ? "" : "+", &failed);
    for (uint64_t k = 0; k < AFTER; k++, tried++) try(made + 1 + k * after / AFTER, k % 2 ? "" : "+", &failed);
    try(total, "", &failed);
    printf("of %llu requests (%llu for the trainer) %d made to fail, %d of them ended the training\n",
           (unsigned long long)total, (unsigned long long)made, tried + 1, failed);
    assert_true(failed > tried / 2);
    munmap(outcome, sizeof *outcome);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failing_requests_end_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
