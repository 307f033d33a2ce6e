/* Trainings that must be survived: rows K of the specification (reliability, section 5.5), on two steps of the smallest
 * network and what became of their folder.
 *
 * Elsewhere: K1 at random instants, down to equal bits, and K6 tests/apps/test_train.c; K2 bit by bit
 * tests/apps/test_checkpoint.c; K7 and K8 tests/apps/test_train_checks.c. Of K7 the optional skip, of K8 a list of 10^7
 * lines and of K10 an empty set to validate with are met nowhere yet. */
#include "apps/lib/checkpoint.h"
#include "apps/lib/train_graph.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tests/lib/bad.h"

#include <sys/stat.h>

#define FIRST "o/checkpoint_000000001.safetensors"
#define SECOND "o/checkpoint_000000002.safetensors"
#define SETTINGS "--crop 64x64 --batch 1 --average 0"
#define RUNNING "--validate-samples 1 --validate-every 1000 --checkpoint-every 1 --threads 1 --loader-threads 0"

/* o/: a training stopped after two of its steps, made once. */
static char begun[1024];
static void begin(void) {
    if (run_command(said, sizeof said, "cp -r '%s' '%s'", begun, made_path("o"))) fail_msg("%s", said);
}

static int make_begun(void **state) {
    int code = bad_set_up(state);
    if (code) return code;
    snprintf(begun, sizeof begun, "%s/o", bad_folder("bad/begun"));
    code = run_command(said, sizeof said, "%s train stereo -q -o '%s' " SETTINGS " --steps 2 " RUNNING, bad_program(),
                       begun);
    if (code) print_error("%s", said);
    return code;
}

/* ---- checkpoints that are not what they should be ---- */

static void flip(const char *name, double where) {
    Bytes b = get_bytes(name);
    b.bytes[(size_t)((double)b.size * where)] ^= 16;
    put_bytes(name, b.bytes, b.size);
    free(b.bytes);
}
static void k2_cut(void) {
    begin();
    cut(SECOND, 0.5);
}
static void k2_bit(void) {
    begin();
    flip(SECOND, 0.7);
}
static void k2_empty(void) {
    begin();
    put_text(SECOND, "");
}
static void k2_part(void) {
    begin();
    put_text("o/checkpoint_000000003.safetensors.part.4194305.panum", "half");
}
static void k3_all(void) {
    begin();
    flip(FIRST, 0.3);
    cut(SECOND, 0.9);
}
/* Weights, and nothing that training needs besides. */
static void k3_foreign(void) {
    begin();
    weights_good();
    Bytes b = get_bytes("w.safetensors");
    put_bytes(FIRST, b.bytes, b.size);
    put_bytes(SECOND, b.bytes, b.size);
    free(b.bytes);
}
/* The second one written anew, whole, but without the block `without`, or with parameters of another size. */
static void write_other(const char *without, bool other_sizes) {
    begin();
    TrainGraph graph;
    Checkpoint *c;
    GraphOptions options = {.network = {.channels = 32, .blocks = 1, .refine_iterations = 3},
                            .width = 64,
                            .height = 64,
                            .pairs = 1,
                            .part = GRAPH_FORWARD};
    if (graph_record(&options, NULL, &graph) || checkpoint_open(made_path(SECOND), &c)) fail_msg("%s", err_sentence());
    ParameterList *list = parameters_of(graph.program);
    graph_drop(&graph);
    static const char *const names[] = {"weights", "moment1", "moment2", "average"};
    CheckpointBlock blocks[4];
    SafetensorsNote notes[CHECKPOINT_NOTES_MAX];
    int count = 0, note_count = 0;
    float *values = mem_zero((size_t)list->block, sizeof *values);
    for (int i = 0; i < 4; i++)
        if (strcmp(names[i], without) != 0) blocks[count++] = (CheckpointBlock){names[i], values};
    for (int i = 0; i < checkpoint_notes(c); i++) {
        SafetensorsNote *note = &notes[note_count];
        checkpoint_note_at(c, i, &note->key, &note->value);
        note_count += strcmp(note->key, "crc32") != 0 && strcmp(note->key, "sha256") != 0 &&
                      strcmp(note->key, "format") != 0 && strcmp(note->key, without) != 0;
    }
    if (other_sizes) list->count--; /* as if the last one had another name */
    if (checkpoint_write(made_path("o/other"), list, blocks, count, notes, note_count)) fail_msg("%s", err_sentence());
    checkpoint_close(c);
    if (other_sizes) list->count++;
    parameters_drop(list);
    mem_free(values);
    assert_int_equal(rename(made_path("o/other"), made_path(SECOND)), 0);
}
static void k5_no_moments(void) {
    write_other("moment2", false);
}
static void k5_no_step(void) {
    write_other("step", false);
}
static void k5_no_position(void) {
    write_other("position", false);
}
static void k5_other_tensors(void) {
    write_other("", true);
}

/* ---- the table ---- */

#define TRAIN "$P train stereo -q -o o " RUNNING
#define GO_ON TRAIN " --steps 3 --resume-anyway"
/* Whatever fails, what was written before stays as it was. */
#define STAYS "; e=$?; cmp o/checkpoint_000000002.safetensors ../begun/o/checkpoint_000000002.safetensors || e=99; "
#define KEPT(command) command STAYS "exit $e"
#define FAULT(fault) "LD_PRELOAD=$F FAULT='" fault "' "
/* Killed in a call of the libc while the third checkpoint is written; the same command then goes on and ends. */
#define KILLED(fault)                                                                                 \
    "( " FAULT(fault) GO_ON                                                                           \
        "; exit $? ); test $? -eq 137 || exit 98; ls o | grep -q 000000003.safetensors$ && exit 97; " \
        "$P train stereo -o o " RUNNING " --steps 3 --resume-anyway"
#define THIRD_ON "goes on from o/checkpoint_000000002.safetensors"
static const Case training[] = {
    {"K1 killed in write", begin, KILLED("write -3 -9"), 0, THIRD_ON, -1},
    {"K1 killed in fsync", begin, KILLED("fsync -1 -9"), 0, THIRD_ON, -1},
    {"K1 killed in rename", begin, KILLED("rename -1 -9"), 0, THIRD_ON, -1},
    {"K2 cut", k2_cut, TRAIN, 0, SECOND ": ", 4096},
    {"K2 one bit", k2_bit, TRAIN, 0, "is damaged (tensor ", 4096},
    {"K2 empty", k2_empty, TRAIN, 0, "using an older one", 4096},
    {"K2 part file", k2_part, TRAIN, 0, "", 4096},
    {"K3 all damaged", k3_all, TRAIN "; exit $?", 4, "o: none of its 2 checkpoints is whole", 4096},
    {"K3 foreign", k3_foreign, TRAIN "; exit $?", 4, "is no checkpoint of a training", 4096},
    {"K4 seed", begin, KEPT(TRAIN " --seed 2"), 2, "--seed was 1 and is 2", 4096},
    {"K4 rate", begin, KEPT(TRAIN " --lr 2e-3"), 2, "--lr was ", 4096},
    {"K4 network", begin, KEPT(TRAIN " --size S"), 2, "--size was XS and is S", 4096},
    {"K4 network anyway", begin, KEPT(TRAIN " --size S --resume-anyway"), 4, "this training cannot go on from it",
     4096},
    {"K5 moments", k5_no_moments, TRAIN "; exit $?", 4, "has no usable tensor \"moment2.", 4096},
    {"K5 step", k5_no_step, TRAIN "; exit $?", 4, "has no usable note \"step\"", 4096},
    {"K5 position", k5_no_position, TRAIN "; exit $?", 4, "has no usable note \"position\"", 4096},
    {"K5 a tensor", k5_other_tensors, TRAIN "; exit $?", 4, "has no usable tensor \"", 4096},
    {"K8 no films", NULL, "$P train stereo -o o --films no", 3, "no", 4096},
    {"K8 empty folder", NULL, "mkdir e; $P train stereo -o o --films e; exit $?", 3, "e: holds no pictures", 4096},
    {"K8 no weights", NULL, "$P train stereo -o o --init no.pth " SETTINGS "", 4, "no.pth: there is no such", 4096},
    {"K8 other weights", weights_good, "$P train stereo -o o --init w.safetensors " SETTINGS "", 4,
     "w.safetensors: does not fit model s2m2-XS", 4096},
    {"K9 at once", begin, KEPT("flock o/lock " TRAIN), 2, "is writing it; wait for it", 4096},
    {"K4 anew, wrongly", begin, KEPT(TRAIN " --no-resume --batch 3 --micro-batch 2"), 2, "--micro-batch", 4096},
    {"K10 0 steps", NULL, "$P train stereo -o o --steps 0", 2, "--steps: '0' is not", 4096},
    {"K10 batch", NULL, "$P train stereo -o o --batch 3 --micro-batch 2", 2, "--micro-batch", 4096},
    {"K10 nothing to measure", NULL, "$P train stereo -o o --validate-samples 0", 2, "--validate-samples: '0'", 4096},
    {"C3 a file above", make_precious, "$P train stereo -o o.pfm/o", 2, "o.pfm/o: cannot be made: Not a dir", 4096},
    {"C3 not writable", NULL, "$P train stereo -o /proc/o", 2, "/proc/o: cannot be made: ", 4096},
    {"C3 a file", make_precious, "$P train stereo -o o.pfm", 2, "o.pfm", 4096},
    {"S1 disk full", begin, KEPT(FAULT("write -2 28") GO_ON), 6, "disk full after", -1},
    {"S1 full for the log", begin, KEPT(FAULT("write -1 28") GO_ON), 6, "o/log.csv: cannot be written: No space", -1},
    {"S2 fsync EIO", begin, KEPT(FAULT("fsync -1 5") GO_ON), 1, "Input/output error", -1},
    {"S2 rename EROFS", begin, KEPT(FAULT("rename -1 30") GO_ON), 1, "Read-only file system", -1},
    {"S3 limit", begin, KEPT("ulimit -f 20000; " GO_ON), 6, "nothing was replaced", 4096},
};

static void test_training(void **state) {
    (void)state;
    RUN_TABLE(training);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_training)};
    return cmocka_run_group_tests(tests, make_begun, bad_tear_down);
}
