/* S2M2 from the command line to the file: the picture pair and the expected disparity of a fixture of the public code
 * (tests/fixtures/README.md), with weights that panum makes itself. */
#include "base/mem.h"
#include "data/png.h"
#include "tensor/files/npy.h"
#include "tensor/files/weights.h"
#include "tests/lib/check.h"

#include <limits.h>
#include <math.h>
#include <unistd.h>

static char folder[512], program[PATH_MAX]; /* the program from any folder */

static void write_eye(const Weights *file, const char *name) {
    const WeightEntry *entry = weights_find(file, name);
    assert_non_null(entry);
    assert_int_equal(entry->rank, 3);
    Image image;
    assert_int_equal(image_make(&image, (int)entry->size[1], (int)entry->size[0], 3, 8), 0);
    assert_int_equal(weights_read_part(file, entry, 0, entry->count, image.bytes), 0);
    char path[600];
    snprintf(path, sizeof path, "%s/%s.png", folder, name);
    Out *out;
    assert_int_equal(out_open(path, OUT_OVERWRITE, &out), 0);
    assert_int_equal(png_write(out, &image, NULL, 0), 0);
    assert_int_equal(out_commit(&out), 0);
    image_free(&image);
}

static int set_up(void **state) {
    static Weights *fixture;
    assert_non_null(realpath(panum_program(), program));
    snprintf(folder, sizeof folder, "%s", scratch_folder("s2m2_cli"));
    assert_int_equal(weights_open("tests/fixtures/s2m2/s_positive.safetensors", &fixture), 0);
    *state = fixture;
    write_eye(fixture, "left");
    write_eye(fixture, "right");
    char out[2000];
    if (run_command(out, sizeof out, "%s model seed s2m2-S -o %s/S.safetensors", program, folder)) fail_msg("%s", out);
    return 0;
}

static int tear_down(void **state) {
    char path[600];
    snprintf(path, sizeof path, "%s/S.safetensors", folder); /* 106 MB */
    unlink(path);
    weights_close(*state);
    return 0;
}

/* Runs panum match on the pair; gives the exit code. */
static int match(char *out, size_t size, const char *arguments) {
    return run_command(out, size, "cd %s && %s match left.png right.png %s", folder, program, arguments);
}

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The line of the specification, as typed; the bound of its 99th percentile. */
static void check_disparity(const Weights *fixture, const char *arguments, double bound) {
    char out[4000], path[600];
    if (match(out, sizeof out, arguments)) fail_msg("%s", out);
    assert_non_null(strstr(out, "in front")); /* the one line for people */
    snprintf(path, sizeof path, "%s/d.npz", folder);
    Npz *npz;
    NpyArray got;
    assert_int_equal(npz_open(path, &npz), 0);
    assert_int_equal(npz_read(npz, "disparity", &got), 0);
    const WeightEntry *entry = weights_find(fixture, "disparity");
    assert_true(got.type == NPY_F32 && got.rank == 2);
    assert_true(got.size[0] == entry->size[0] && got.size[1] == entry->size[1] && got.count == entry->count);
    float *want = mem_array((size_t)entry->count, sizeof *want), *error = mem_array((size_t)entry->count, sizeof *want);
    assert_true(want && error);
    assert_int_equal(weights_read_f32(fixture, entry, want), 0);
    assert_int_equal(npy_to_f32(&got, error), 0);
    float largest = 0;
    for (int64_t i = 0; i < entry->count; i++) {
        largest = fmaxf(largest, want[i]);
        error[i] = fabsf(error[i] - want[i]);
    }
    assert_true(largest > 1); /* a map of zeros would prove nothing */
    qsort(error, (size_t)entry->count, sizeof *error, by_value);
    float median = error[entry->count / 2], p99 = error[entry->count * 99 / 100], worst = error[entry->count - 1];
    printf("%s: error median %.1e, 99 %% %.1e, largest %.1e px\n", arguments, median, p99, worst);
    assert_true(median <= 1e-4 && p99 <= bound);
    mem_free(want);
    mem_free(error);
    npy_free(&got);
    npz_close(npz);
}

static void test_exact(void **state) {
    check_disparity(*state,
                    "--model s2m2-S --weights S.safetensors --behaviour r3 --precision f32 --exact --layout pair "
                    "--positive -y -o d.npz",
                    1e-3);
}

/* Winograd, which is the default. */
static void test_fast(void **state) {
    check_disparity(*state, "--model s2m2-S --weights S.safetensors --layout pair --positive -y -o d.npz", 5e-3);
}

static void expect(int code, const char *arguments, const char *pattern) {
    char out[4000], path[600];
    snprintf(path, sizeof path, "%s/refused.npz", folder);
    int got = match(out, sizeof out, arguments);
    if (got != code || !strstr(out, pattern) || strncmp(out, "panum match: ", 13) != 0 ||
        strchr(out, '\n') != out + strlen(out) - 1)
        fail_msg("match %s: exit %d, '%s'; wanted %d and one sentence with '%s'", arguments, got, out, code, pattern);
    assert_int_not_equal(access(path, F_OK), 0); /* nothing is left behind */
}

/* Any number of rounds, none as well: the file is the same. */
static void test_rounds(void **state) {
    (void)state;
    char out[4000];
    int rc = match(out, sizeof out, "--model s2m2-S --weights S.safetensors --refine-iter 0 -y -q -o rounds.npz");
    if (rc) fail_msg("--refine-iter 0: exit %d, %s", rc, out);
}

static void test_refusals(void **state) {
    (void)state;
    expect(4, "--model s2m2-L --weights S.safetensors -o refused.npz",
           "560 missing (first feat_pyramid.enc3s.2.self_attn.attn.q.weight), 622 of another shape");
    expect(4, "--model s2m2-S --weights nothing.safetensors -o refused.npz", "nothing.safetensors");
    expect(4, "--model s2m2-S --weights left.png -o refused.npz", "left.png");
    /* four times as large, that the network needs more than the least limit there is */
    expect(6, "--model s2m2-S --weights S.safetensors --scale 4 -q --max-memory 16M -o refused.npz",
           "raise --max-memory");
}

static void test_seed_refusals(void **state) {
    (void)state;
    static const struct {
        const char *words, *pattern;
        int code;
    } cases[] = {
        {"seed", "which network?", 2},
        {"seed s2m2-Q -o q.safetensors", "there is no network 's2m2-Q'", 2},
        {"seed s2m2-XS -o xs.pth", "only .safetensors files are written", 2},
        {"seed s2m2-XS --dtype f16", "--dtype belongs to panum model convert", 2},
        {"list -o x.safetensors", "--output belongs to panum model convert and seed", 2},
        {"seed s2m2-S -o S.safetensors", "S.safetensors", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[2000];
        int code = run_command(out, sizeof out, "cd %s && %s model %s", folder, program, cases[i].words);
        if (code != cases[i].code || !strstr(out, cases[i].pattern))
            fail_msg("model %s: exit %d, '%s'", cases[i].words, code, out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),    cmocka_unit_test(test_fast),          cmocka_unit_test(test_rounds),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_seed_refusals),
    };
    return cmocka_run_group_tests_name("s2m2 from the command line", tests, set_up, tear_down);
}
