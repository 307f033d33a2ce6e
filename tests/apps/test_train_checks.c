/* What training tells before and while it runs: losses that stand out, and samples that cannot be right. */
#include "apps/lib/sample_check.h"
#include "apps/lib/spike.h"
#include "base/err.h"
#include "base/rng.h"
#include "data/synthetic.h"
#include "tests/lib/check.h"

#include <math.h>
#include <unistd.h>

static void must(int code) {
    if (code) fail_msg("%s", err_sentence());
}

/* ---- spikes ---- */

/* About normal, deviation 1. */
static double normal(uint64_t n) {
    double sum = 0;
    for (uint64_t i = 0; i < 12; i++) sum += rng_unit(5, 12 * n + i);
    return sum - 6;
}

static void spikes_stand_out(void **state) {
    (void)state;
    SpikeWatch watch = {0};
    Spike spike;
    /* twenty thousand steps whose losses fall from 10 to 1 and spread by a factor of 1.5: none is told */
    for (uint64_t n = 0; n < 20000; n++)
        assert_false(spike_watch(&watch, (1 + 9 * exp(-(double)n / 3000)) * exp(0.4 * normal(n)), &spike));
    assert_true(spike_watch(&watch, 40, &spike));
    assert_true(spike.median > 0.7 && spike.median < 1.3 && spike.factor > 30 && spike.deviations > SPIKE_DEVIATIONS);
    assert_true(fabs(spike.factor * spike.median - 40) < 1e-9);
    /* a few among the losses do not hide the next one */
    for (int k = 0; k < 20; k++) assert_true(spike_watch(&watch, 40, &spike));
    assert_false(spike_watch(&watch, 1, &spike));
    /* what is no loss says nothing and is not remembered */
    SpikeWatch before = watch;
    assert_false(spike_watch(&watch, NAN, &spike));
    assert_false(spike_watch(&watch, INFINITY, &spike));
    assert_false(spike_watch(&watch, -1, &spike));
    assert_false(spike_watch(&watch, 0, &spike));
    assert_memory_equal(&before, &watch, sizeof watch);
}

static void spikes_need_others_before(void **state) {
    (void)state;
    SpikeWatch watch = {0};
    Spike spike;
    for (int n = 0; n < SPIKE_LEAST - 1; n++) assert_false(spike_watch(&watch, n % 2 ? 1000 : 1, &spike));
    watch = (SpikeWatch){0};
    for (int n = 0; n < SPIKE_LEAST; n++) assert_false(spike_watch(&watch, 3, &spike));
    /* all the same: a factor of 2 is needed all the same */
    assert_false(spike_watch(&watch, 5.9, &spike));
    assert_true(spike_watch(&watch, 6.1, &spike));
    assert_true(isinf(spike.deviations) && fabs(spike.factor - 6.1 / 3) < 1e-12);
}

/* ---- samples ---- */

static void swap_eyes(Sample *s) {
    uint8_t *left = s->left.rgb;
    s->left.rgb = s->right.rgb;
    s->right.rgb = left;
}

static void expect(const Sample *s, const char *words) {
    char why[SAMPLE_WHY] = "";
    bool fine = sample_plausible(s, SAMPLE_HAS_TRUTH, why);
    if (fine != !words || (words && !strstr(why, words)))
        fail_msg("expected %s, got %s", words ? words : "nothing", fine ? "nothing" : why);
}

static void what_cannot_be_right_is_told(void **state) {
    (void)state;
    SyntheticOptions options = {.seed = 11, .width = 192, .height = 96};
    Synthetic *synthetic;
    must(synthetic_open(&synthetic, &options));
    Sample s = {0}, t = {0};
    int told = 0;
    enum { SAMPLES = 12 };
    char why[SAMPLE_WHY];
    for (uint64_t i = 0; i < SAMPLES; i++) { /* noise, blur and other light in one eye raise no doubt */
        must(synthetic_make(synthetic, i, &s));
        expect(&s, NULL);
        must(sample_copy(&t, &s));
        swap_eyes(&t);
        told += !sample_plausible(&t, SAMPLE_HAS_TRUTH, why);
        swap_eyes(&t);
    }
    printf("swapped eyes told in %d of %d samples\n", told, SAMPLES);
    assert_true(told >= SAMPLES / 2); /* scenes that are nearly flat or nearly all at the screen do not tell */
    size_t pixels = (size_t)s.width * (size_t)s.height;
    must(sample_copy(&t, &s));
    memset(t.left.valid, 0, pixels * sizeof(float));
    expect(&t, "no pixel");
    assert_true(sample_plausible(&t, SAMPLE_PAIR_ALONE, why));
    must(sample_copy(&t, &s));
    for (size_t i = 0; i < pixels; i++) t.left.disparity[i] *= 256;
    expect(&t, "scale");
    must(sample_copy(&t, &s));
    memset(t.right.rgb, 0, 3 * pixels);
    expect(&t, "right eye");
    memcpy(t.right.rgb, t.left.rgb, 3 * pixels);
    expect(&t, "same picture");
    must(sample_copy(&t, &s)); /* a few wild values are in every measured map */
    for (size_t i = 0; i < pixels / 200; i++) t.left.disparity[i] = 1e6f;
    expect(&t, NULL);
    sample_free(&s);
    sample_free(&t);
    synthetic_close(synthetic);
}

/* ---- panum train stereo --check-data ---- */

static char output[20000], program[4096];

/* Noise of 96x64 in front of the screen by `d`; a PFM of that as truth. */
static void write_pair(const char *folder, const char *name, int d, int right_width) {
    enum { W = 96, H = 64 };
    char path[800];
    run_command(output, sizeof output, "mkdir -p %s", folder);
    for (int right = 0; right < 2; right++) {
        int width = right ? right_width : W;
        snprintf(path, sizeof path, "%s/%s_%s.ppm", folder, name, right ? "right" : "left");
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        fprintf(file, "P6\n%d %d\n255\n", width, H);
        for (int y = 0; y < H; y++)
            for (int x = 0; x < width; x++)
                for (int c = 0; c < 3; c++)
                    fputc((int)(rng_u64(7, (uint64_t)((y * 300 + x + 50 + (right ? d : 0)) * 3 + c)) & 255), file);
        fclose(file);
    }
    snprintf(path, sizeof path, "%s/%s.pfm", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fprintf(file, "Pf\n%d %d\n-1\n", W, H);
    float value = (float)d;
    for (int i = 0; i < W * H; i++) fwrite(&value, sizeof value, 1, file);
    fclose(file);
}

/* One truth of nineteen is off by hundreds of pixels. */
static void write_spiking_list(const char *folder) {
    char path[800];
    write_pair(folder, "good", 5, 96);
    write_pair(folder, "bad", 900, 96);
    snprintf(path, sizeof path, "%s/list.tsv", folder);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fprintf(file, "left\tright\ttruth\n");
    for (int i = 0; i < 19; i++) fprintf(file, "good_left.ppm\tgood_right.ppm\t%s.pfm\n", i == 7 ? "bad" : "good");
    fclose(file);
}

static void write_list(const char *folder, const char *rows) {
    char path[800];
    snprintf(path, sizeof path, "%s/list.tsv", folder);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fprintf(file, "left\tright\ttruth\n%s", rows);
    fclose(file);
}

#define SPIKING                                                                                                       \
    "--data %s/list.tsv --crop 64x64 --batch 1 --refine-iter 1 --lr 1e-6 --schedule constant --steps 57 --log-every " \
    "1 "                                                                                                              \
    "--checkpoint-every 19 --validate-samples 1 --device cpu"

static void table_of(const char *folder, char *text, size_t size) { /* without how long it took */
    run_command(text, size, "cut -d, -f1,3- %s/validation.csv; cut -d, -f1-5,7- %s/log.csv", folder, folder);
}

/* The third pass of nineteen pairs has 38 losses behind it. What is skipped is skipped again by a run that begins
 * between: the losses before are in the checkpoint. */
static void spikes_are_told_and_can_be_skipped(void **state) {
    (void)state;
    static char before[20000], after[20000];
    char folder[600], out[700];
    snprintf(folder, sizeof folder, "%s", scratch_folder("train_spikes"));
    write_spiking_list(folder);
    for (int skip = 0; skip < 2; skip++) {
        snprintf(out, sizeof out, "%s/%s", folder, skip ? "skipped" : "told");
        int code = run_command(output, sizeof output, "%s train stereo -o %s " SPIKING "%s", panum_program(), out,
                               folder, skip ? " --skip-spikes" : "");
        if (code || !strstr(output, "times the median of the steps before") ||
            skip != (strstr(output, "the steps before: skipped (") != NULL))
            fail_msg("exit %d: %s", code, output);
    }
    table_of(out, before, sizeof before);
    run_command(output, sizeof output, "tail -n 1 %s/log.csv | cut -d, -f5", out);
    assert_string_equal(output, "1\n");
    run_command(output, sizeof output, "rm %s/checkpoint_000000057.safetensors", out);
    int code = run_command(output, sizeof output, "%s train stereo -o %s", panum_program(), out);
    if (code || !strstr(output, ": skipped (")) fail_msg("exit %d: %s", code, output);
    table_of(out, after, sizeof after);
    assert_string_equal(before, after);
}

static void watch_as_text(void **state) {
    (void)state;
    SpikeWatch watch = {0}, read;
    char text[SPIKE_TEXT], again[SPIKE_TEXT];
    for (int n = 0; n < 300; n++) {
        Spike spike;
        spike_text(&watch, text);
        assert_true(spike_parse(&read, text));
        spike_text(&read, again);
        assert_string_equal(text, again);
        assert_memory_equal(&watch, &read, sizeof watch);
        spike_watch(&watch, exp(normal(n)), &spike);
    }
    static const char *const bad[] = {"", "x", "-1", "2 0x1p+0", "1 0x1p+0 0x1p+0", "1 nan", "1 -0x1p+0", "1 0x1p+0 "};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (spike_parse(&read, bad[i])) fail_msg("'%s' was taken", bad[i]);
}

static int check_list(const char *folder, const char *more) {
    return run_command(output, sizeof output, "cd %s && '%s' train stereo --check-data --data list.tsv %s", folder,
                       program, more);
}

static void expect_words(const char *const *words) {
    for (; *words; words++)
        if (!strstr(output, *words)) fail_msg("'%s' is not in %s", *words, output);
}

static void data_is_checked(void **state) {
    (void)state;
    char folder[600];
    snprintf(folder, sizeof folder, "%s", scratch_folder("train_check"));
    assert_non_null(realpath(panum_program(), program));
    write_pair(folder, "good", 5, 96);
    write_pair(folder, "other", -5, 96);
    write_list(folder, "good_left.ppm\tgood_right.ppm\tgood.pfm\nother_left.ppm\tother_right.ppm\tother.pfm\n");
    if (check_list(folder, "")) fail_msg("%s", output);
    expect_words((const char *[]){"2 samples can be read and look right", NULL});
    /* nothing but reading happens */
    assert_int_equal(run_command(output, sizeof output, "test ! -e %s/panum-train", folder), 0);

    write_pair(folder, "narrow", 5, 80);
    run_command(output, sizeof output, "cd %s && head -c 3000 good_right.ppm > cut.ppm", folder);
    write_list(folder, "good_left.ppm\tgood_right.ppm\tgood.pfm\n"
                       "good_right.ppm\tgood_left.ppm\tgood.pfm\n"
                       "narrow_left.ppm\tnarrow_right.ppm\tnarrow.pfm\n"
                       "good_left.ppm\tcut.ppm\tgood.pfm\n"
                       "good_left.ppm\tabsent.ppm\tgood.pfm\n");
    assert_int_equal(check_list(folder, "-q"), 1);
    expect_words((const char *[]){"good_right.ppm: the pictures fit disparities of the opposite sign better",
                                  "narrow_right.ppm: the right picture has 80x64", "cut.ppm: ", "absent.ppm",
                                  "5 samples: 3 cannot be read, 1 cannot be right", NULL});
    assert_int_equal(check_list(folder, "-q --json"), 1);
    expect_words((const char *[]){"\"finding\":\"implausible\"", "\"finding\":\"unreadable\"", "\"samples\":5", NULL});

    write_list(folder, "");
    assert_int_equal(check_list(folder, ""), 3);
    int code = run_command(output, sizeof output, "'%s' train stereo --check-data", program);
    assert_int_equal(code, 2);
    expect_words((const char *[]){"--data, --films or --validate", NULL});
    write_list(folder, "good_left.ppm\tgood_right.ppm\tgood.pfm\n");
    code = run_command(output, sizeof output, "cd %s && '%s' train stereo --crop 64x64 --data list.tsv --batch 2",
                       folder, program);
    assert_int_equal(code, 2);
    expect_words((const char *[]){"--batch 2 is more than the 1 pairs", NULL});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spikes_stand_out),
        cmocka_unit_test(spikes_need_others_before),
        cmocka_unit_test(watch_as_text),
        cmocka_unit_test(spikes_are_told_and_can_be_skipped),
        cmocka_unit_test(what_cannot_be_right_is_told),
        cmocka_unit_test(data_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
