/* Weights that come with panum: found where they lie, taken by default, refused aloud when they are damaged. Each
 * place is tried with a second name of the program under test, so that nothing outside the scratch folder counts. */
#include "tests/lib/check.h"

#include <unistd.h>

static char folder[400], program[600];

/* A shell command in the scratch folder, $T, which has a home of its own. */
static int run(char *out, size_t size, const char *words) {
    return run_command(out, size, "cd '%s' && T=$(pwd -P) && unset PANUM_MODELS && export HOME=$T/home && %s", folder,
                       words);
}

static void expect(int code, const char *words, const char *pattern) {
    char out[8000];
    int got = run(out, sizeof out, words);
    if (got != code || !strstr(out, pattern))
        fail_msg("%s: exit %d, '%s'; wanted %d and '%s'", words, got, out, code, pattern);
}

static int set_up(void **state) {
    (void)state;
    char out[2000];
    snprintf(folder, sizeof folder, "%s", scratch_folder("shipped"));
    char *real = realpath(panum_program(), NULL);
    if (!real) fail_msg("%s is not there", panum_program());
    snprintf(program, sizeof program, "%s", real);
    free(real);
    /* the same file under other names: in a source tree, installed, alone, and with nothing around it */
    if (run_command(out, sizeof out,
                    "cd %s && mkdir -p home tree/build tree/weights prefix/bin prefix/share/panum flat bare/bin own && "
                    "for d in tree/build prefix/bin flat bare/bin; do ln %s $d/panum 2>/dev/null || cp %s $d/panum; "
                    "done && %s demo -q --model sgm --width 64 -o scene && cp scene/left.png l.png && "
                    "cp scene/right.png r.png && %s model seed s2m2-XS -q -o seeded.safetensors && "
                    "%s model convert seeded.safetensors -q --dtype f16 --note licence=Apache-2.0 "
                    "--note 'origin=seeded, for a test' --note source= -o tree/weights/s2m2-XS.safetensors && "
                    "for d in prefix/share/panum flat own; do ln tree/weights/s2m2-XS.safetensors $d/; done",
                    folder, program, program, program, program, program))
        fail_msg("%s", out);
    return 0;
}

/* What the converter was told is in the file, what it replaced is not. */
static void test_card(void **state) {
    (void)state;
    char out[4000];
    assert_int_equal(run(out, sizeof out, "flat/panum model info tree/weights/s2m2-XS.safetensors"), 0);
    static const char *const wanted[] = {"model: s2m2-XS",  "licence: Apache-2.0",
                                         " f16\n",          "origin: seeded, for a test",
                                         "source_sha256: ", "converted_by: panum "};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (!strstr(out, wanted[i])) fail_msg("no '%s' in '%s'", wanted[i], out);
    assert_null(strstr(out, "never trained"));
    assert_null(strstr(out, "source: "));
    expect(0, "flat/panum model verify tree/weights/s2m2-XS.safetensors --model s2m2-XS", "sound: ");
    expect(2, "flat/panum model convert seeded.safetensors --note Apache -o x.safetensors", "is not KEY=TEXT");
    expect(2, "flat/panum model convert seeded.safetensors --note a=1 --note a=2 -o x.safetensors", "says 'a' twice");
    expect(2, "flat/panum model info seeded.safetensors --note a=1", "--note belongs to panum model convert");
}

static void test_found(void **state) {
    (void)state;
    static const struct {
        const char *program, *weights;
    } places[] = {{"tree/build/panum", "/tree/weights/s2m2-XS.safetensors"},
                  {"prefix/bin/panum", "/prefix/share/panum/s2m2-XS.safetensors"},
                  {"flat/panum", "/flat/s2m2-XS.safetensors"},
                  {"PANUM_MODELS=$T/own flat/panum", "/own/s2m2-XS.safetensors"}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char words[500], pattern[300];
        snprintf(words, sizeof words,
                 "%s match l.png r.png --threads 1 -y -o d.pfm 2>&1 | head -1 | sed s:$T::", places[i].program);
        snprintf(pattern, sizeof pattern, "s2m2-XS matches, with the weights %s\n", places[i].weights);
        expect(0, words, pattern);
        snprintf(words, sizeof words, "%s model list", places[i].program);
        expect(0, words, places[i].weights);
        expect(0, words, "panum match takes s2m2-XS unless it is told otherwise");
        snprintf(words, sizeof words, "%s model list --json", places[i].program);
        expect(0, words, "\"default\":true");
    }
}

/* A range, or the name, still means sgm. */
static void test_sgm_when_asked(void **state) {
    (void)state;
    char out[4000];
    assert_int_equal(run(out, sizeof out, "flat/panum match l.png r.png --model sgm -y -v -o d.pfm"), 0);
    assert_null(strstr(out, "s2m2"));
    assert_non_null(strstr(out, "px searched"));
    assert_int_equal(run(out, sizeof out, "flat/panum match l.png r.png --range -9:9 -y -v -o d.pfm"), 0);
    assert_null(strstr(out, "s2m2"));
    expect(0, "flat/panum demo -y --width 64 -o demo", "s2m2-XS matches, with the weights");
    expect(0, "flat/panum demo -y --width 64 --model sgm -o demo", "sgm matches");
}

/* Weights that say so themselves are for those who ask for them. */
static void test_unwilling(void **state) {
    (void)state;
    expect(0,
           "rm -rf bare/weights && mkdir bare/weights && flat/panum model convert seeded.safetensors -q --note "
           "'auto=no: sgm is right more often' -o bare/weights/s2m2-XS.safetensors && "
           "bare/bin/panum match l.png r.png -y -o d.pfm",
           "sgm matches, which is right more often than the weights of s2m2-XS that were found; --model s2m2-XS takes");
    expect(0, "bare/bin/panum model list", "panum match takes sgm unless it is told otherwise");
    expect(0, "bare/bin/panum match l.png r.png --model s2m2-XS -y -o d.pfm", "s2m2-XS matches, with the weights");
    expect(0, "PANUM_MODELS=$T/own bare/bin/panum match l.png r.png -y -o d.pfm", "s2m2-XS matches, with the weights");
    expect(0, "rm -r bare/weights && echo gone", "gone");
}

/* Where there is nothing, sgm matches and says why; who asks for the network by name is told that it is not there. */
static void test_nothing(void **state) {
    (void)state;
    char out[2000];
    run(out, sizeof out, "bare/bin/panum model list");
    if (strstr(out, "found: /")) {
        printf("skip: %s: weights are installed on this machine\n", __func__);
        skip();
    }
    expect(0, "bare/bin/panum match l.png r.png -y -o d.pfm", "sgm matches: no weights of a network were found");
    expect(4, "bare/bin/panum match l.png r.png --model s2m2-XS -o none.pfm", "no weights of s2m2-XS found");
    expect(0, "bare/bin/panum model list", "panum match takes sgm unless it is told otherwise");
}

/* Damage is never passed over for sgm. */
static void test_damaged(void **state) {
    (void)state;
    static const struct {
        const char *make, *pattern;
    } cases[] = {{"head -c 100000 seeded.safetensors >bare/s2m2-XS.safetensors", "bare/weights/s2m2-XS.safetensors"},
                 {": >bare/s2m2-XS.safetensors", "bare/weights/s2m2-XS.safetensors"},
                 {"tr A-Za-z N-ZA-Mn-za-m <seeded.safetensors >bare/s2m2-XS.safetensors", "bare/weights/"},
                 {"flat/panum model seed s2m2-S -q -o bare/s2m2-XS.safetensors", "s2m2-XS"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char words[500], out[4000];
        snprintf(words, sizeof words,
                 "rm -rf bare/weights bare/s2m2-XS.safetensors && mkdir bare/weights && %s && mv "
                 "bare/s2m2-XS.safetensors bare/weights/ && bare/bin/panum match l.png r.png -o damaged.pfm",
                 cases[i].make);
        int code = run(out, sizeof out, words);
        if (code != 4 || !strstr(out, cases[i].pattern) || !strstr(out, "; the model sgm needs none\n") ||
            strncmp(out, "panum match: ", 13) != 0)
            fail_msg("%s: exit %d, '%s'", cases[i].make, code, out);
        expect(4, "bare/bin/panum match l.png r.png --model s2m2-XS -o damaged.pfm", "s2m2-XS");
        expect(0, "bare/bin/panum match l.png r.png --model sgm -q -y -o whole.pfm && ls", "whole.pfm");
        assert_int_equal(run(out, sizeof out, "test ! -e damaged.pfm"), 0);
    }
    char out[100];
    run(out, sizeof out, "rm -rf bare/weights");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_card),      cmocka_unit_test(test_found),   cmocka_unit_test(test_sgm_when_asked),
        cmocka_unit_test(test_unwilling), cmocka_unit_test(test_nothing), cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests_name("weights that come with panum", tests, set_up, NULL);
}
