/* Judging matchers: planes of hand-made truths, a random-dot pair whose every figure is known, and what is refused. */
#include "tests/lib/check.h"

#include "apps/lib/judge.h"
#include "apps/lib/metrics.h"
#include "apps/lib/train_eval.h"
#include "data/map.h"
#include "tests/lib/random_dot.h"

#include <math.h>

static char folder[400], text[60000];

/* Percentiles between two values lie between them in proportion; halves go to the even number, gaps do not count. */
static void test_plane(void **state) {
    (void)state;
    static const struct {
        float values[6];
        double percent;
        int shift;
    } cases[] = {{{10, 20, 30, 40, 50, NAN}, 50, 30},         {{50, 10, NAN, 40, 20, 30}, 25, 20},
                 {{10, 20, 30, 40, 50, NAN}, 0, 10},          {{10, 20, 30, 40, 50, NAN}, 100, 50},
                 {{0, 10, NAN, NAN, NAN, NAN}, 33, 3},        {{2, 3, NAN, NAN, NAN, NAN}, 50, 2},
                 {{3, 4, NAN, NAN, NAN, NAN}, 50, 4},         {{-5, -5, -5, -5, 8, 8}, 50, -5},
                 {{NAN, NAN, NAN, NAN, NAN, INFINITY}, 50, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Map truth;
        int shift;
        assert_int_equal(map_make(&truth, 3, 2, MAP_DISPARITY), 0);
        memcpy(truth.values, cases[i].values, sizeof cases[i].values);
        assert_int_equal(metrics_plane(&truth, cases[i].percent, &shift), 0);
        if (shift != cases[i].shift) fail_msg("case %zu: %d, not %d", i, shift, cases[i].shift);
        map_free(&truth);
    }
}

static void fill(Sample *sample, const RandomDot *dots) {
    int w = dots->left.width, h = dots->left.height;
    assert_int_equal(sample_reserve(sample, w, h), 0);
    for (int64_t i = 0; i < (int64_t)w * h; i++) {
        for (int c = 0; c < 3; c++) {
            sample->left.rgb[3 * i + c] = dots->left.bytes[i];
            sample->right.rgb[3 * i + c] = dots->right.bytes[i];
        }
        sample->left.disparity[i] = dots->truth.values[i];
        sample->right.disparity[i] = dots->truth_right.values[i];
        sample->left.valid[i] = sample->right.valid[i] = 1;
        sample->left.occlusion[i] = dots->visible.values[i];
        sample->right.occlusion[i] = dots->visible_right.values[i];
    }
    sample->occlusion_known = sample->right_known = true;
}

/* The screen at the square (the 95th percentile, for it covers a quarter) and at the ground: both signs become one. */
static void test_signed_rule(void **state) {
    (void)state;
    RandomDot dots;
    assert_int_equal(random_dot_make(&dots, NULL), 0);
    Sample whole = {0}, cut = {0};
    fill(&whole, &dots);
    static const struct {
        double percent;
        int shift;
    } cases[] = {{95, 8}, {5, -5}};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(judge_plane(&cut, &whole, cases[i].percent), 0);
        int shift = cases[i].shift, columns = shift < 0 ? -shift : shift;
        assert_int_equal(cut.width, 128 - columns);
        int compared = 0;
        for (int y = 0; y < 96; y++)
            for (int x = 0; x < cut.width; x++) {
                int k = y * cut.width + x, d = (int)cut.left.disparity[k];
                assert_true(d == 8 - shift || d == -5 - shift);
                if (cut.left.occlusion[k] == 0 || x - d < 0 || x - d >= cut.width) continue;
                assert_int_equal(cut.left.rgb[3 * k], cut.right.rgb[3 * (k - d)]);
                compared++;
            }
        assert_true(compared > 6000);
    }
    sample_free(&whole), sample_free(&cut);
    random_dot_free(&dots);
}

/* A mean is over those that have the figure, and every pair counts alike. */
static void test_mean(void **state) {
    (void)state;
    static Judgement a, b, mean;
    a.ranking = 0.2, a.occlusion = NAN, a.seconds = 1;
    b.ranking = 0.4, b.occlusion = 0.7, b.seconds = 3;
    a.visible_ranking = b.visible_ranking = NAN;
    a.figures.value[METRIC_VISIBLE][METRIC_ANYWHERE][FIGURE_BAD + 2] = 10;
    b.figures.value[METRIC_VISIBLE][METRIC_ANYWHERE][FIGURE_BAD + 2] = 20;
    a.figures.pixels[METRIC_VISIBLE][METRIC_ANYWHERE] = 1000;
    const Judgement *all[] = {&a, &b};
    assert_int_equal(judge_mean(&mean, all, 2), 0);
    assert_true(fabs(mean.ranking - 0.3) < 1e-12 && mean.occlusion == 0.7 && mean.seconds == 2);
    assert_true(isnan(mean.visible_ranking));
    assert_true(mean.figures.value[METRIC_VISIBLE][METRIC_ANYWHERE][FIGURE_BAD + 2] == 15);
}

static int run(const char *words) {
    return run_command(text, sizeof text, "P=$(realpath %s) && cd '%s' && $P judge %s", panum_program(), folder, words);
}

static void write_text(const char *name, const char *content) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(content, file);
    assert_int_equal(fclose(file), 0);
}

/* The number behind the n-th "key": of the answer. */
static double number_of(const char *key, int n) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = text;
    for (int i = 0; i <= n; i++) {
        at = strstr(i ? at + 1 : at, quoted);
        if (!at) fail_msg("no %s number %d in %s", key, n, text);
    }
    return strtod(at + strlen(quoted), NULL);
}

static int set_up(void **state) {
    (void)state;
    char path[600];
    snprintf(folder, sizeof folder, "%s", scratch_folder("judge"));
    RandomDot dots;
    if (random_dot_make(&dots, NULL)) return -1;
    static const char *const names[] = {"l.png", "r.png", "mask.png"};
    const Image *images[] = {&dots.left, &dots.right, &dots.mask};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (image_write(path, OUT_NEW, images[i], NULL, NULL)) return -1;
    }
    snprintf(path, sizeof path, "%s/truth.pfm", folder);
    if (map_write(path, OUT_NEW, &dots.truth, NULL, NULL)) return -1;
    for (int i = 0; i < 128 * 96; i++)
        if (dots.visible.values[i] < 1) dots.truth.values[i] = INFINITY;
    snprintf(path, sizeof path, "%s/seen.pfm", folder);
    if (map_write(path, OUT_NEW, &dots.truth, NULL, NULL)) return -1;
    write_text("list.tsv", "name\tgroup\tleft\tright\ttruth\tmask\ttruth_seen\n"
                           "by mask\tA\tl.png\tr.png\ttruth.pfm\tmask.png\t\n"
                           "by truth\tB\tl.png\tr.png\ttruth.pfm\t\tseen.pfm\n"
                           "again\tB\tl.png\tr.png\ttruth.pfm\tmask.png\n");
    write_text("other.tsv", "# what another matcher got\nname\tplane\tbad_2\tsign\n"
                            "by mask\t5\t1\t99\nby mask\t95\t3\t97\nby truth\t5\t8\t90\nby truth\t95\t8\t90\n");
    write_text("bad.tsv", "name\tplane\tbad_2\tsign\nby mask\t5\t1\n");
    write_text("both.tsv", "left\tright\ttruth\tmask\ttruth_seen\nl.png\tr.png\ttruth.pfm\tmask.png\tseen.pfm\n");
    random_dot_free(&dots);
    return 0;
}

/* Both kinds of mask say the same; the means are means; what was written down stands beside. */
static void test_set(void **state) {
    (void)state;
    if (run("list.tsv --model sgm --planes 5,95 --beside other.tsv --json -q")) fail_msg("%s", text);
    double ranking[6]; /* three pairs, two groups, the mean */
    for (int i = 0; i < 6; i++) {
        ranking[i] = number_of("confidence", i);
        assert_true(ranking[i] >= 0 && ranking[i] < 1);
    }
    assert_true(ranking[0] == ranking[1] && ranking[1] == ranking[2]);
    assert_non_null(strstr(text, "\"beside\":{\"bad_2\":2,\"sign\":98}"));
    assert_non_null(strstr(text, "\"beside\":{\"bad_2\":8,\"sign\":90}"));
    assert_non_null(strstr(text, "\"name\":\"A\""));
    assert_non_null(strstr(text, "\"name\":\"mean\""));
    /* the mean of group B and of all lacks `again`, so there is nothing to set beside it */
    const char *b = strstr(text, "\"name\":\"B\"");
    assert_non_null(b);
    assert_null(strstr(b, "\"beside\""));

    if (run("list.tsv --model sgm --planes 5,95 --beside other.tsv -q")) fail_msg("%s", text);
    assert_non_null(strstr(text, "other"));
    assert_non_null(strstr(text, "\nby mask "));
    assert_non_null(strstr(text, "\nmean "));
    assert_int_equal(run("list.tsv --model sgm --planes none -q --require 'bad-2<3' --require 'sign>99' --require "
                         "'confidence<1' --require 'occlusion>0.01'"),
                     0);
    assert_int_equal(run("list.tsv --model sgm --planes none -q --require 'occlusion>2'"), 7);
    assert_non_null(strstr(text, "not above 2"));
    assert_int_equal(run("list.tsv --model sgm --planes 5 -q -o maps && cd maps && ls"), 0);
    assert_non_null(strstr(text, "again_5_sgm.png\nagain_5_truth.png\nby_mask_5_sgm.png\n"));
    assert_int_equal(run("list.tsv --model sgm --planes 5 -q -o maps"), 2);
    assert_int_equal(run("list.tsv --model sgm --planes 5 -q -y -o maps"), 0);
    assert_int_equal(run("$PWD/../judge/list.tsv --folder . --model sgm -q"), 0);
}

static void test_synthetic(void **state) {
    (void)state;
    static char first[sizeof text];
    if (run("synthetic --count 2 --size 96x64 --model sgm -q --json")) fail_msg("%s", text);
    assert_true(number_of("occlusion", 0) > 0);
    memcpy(first, text, sizeof text);
    char *clock = strstr(first, "\"seconds\"");
    assert_non_null(clock);
    if (run("synthetic --count 2 --size 96x64 --model sgm -q --json --threads 1")) fail_msg("%s", text);
    assert_int_equal(strncmp(first, text, (size_t)(clock - first)), 0); /* no thread changes a bit */
    if (run("synthetic --count 2 --size 96x64 --model sgm -q --json --seed 2")) fail_msg("%s", text);
    assert_int_not_equal(strncmp(first, text, (size_t)(clock - first)), 0);
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *words;
        int code;
        const char *pattern;
    } cases[] = {{"", 2, "PAIRS|synthetic"},
                 {"none.tsv", 3, "none.tsv"},
                 {"list.tsv --model s2m9", 2, "'s2m9' is not one of auto|sgm"},
                 {"list.tsv --planes 50,101", 2, "'101' is not a percentile"},
                 {"list.tsv --planes ,", 2, "write percentiles"},
                 {"list.tsv --count 3", 2, "--count is for panum judge synthetic"},
                 {"synthetic --folder .", 2, "--folder is for a list"},
                 {"synthetic --size 10x10", 2, "is not WIDTHxHEIGHT"},
                 {"list.tsv --model sgm --weights x", 2, "--weights is for one network, and there is none"},
                 {"list.tsv --model s2m2-XS --model s2m2-S --weights x", 2, "several are to be judged"},
                 {"list.tsv --model s2m2-XS --weights none.pth", 4, "none.pth"},
                 {"list.tsv --model sgm --beside bad.tsv", 3, "bad.tsv: line 2 is not a name and three numbers"},
                 {"list.tsv --model sgm --beside list.tsv", 3, "list.tsv: line 1 does not name the columns"},
                 {"list.tsv --model sgm --require bad-9", 2, "is not a limit"},
                 {"both.tsv --model sgm", 3, "both a mask and a truth_seen"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int code = run(cases[i].words);
        if (code != cases[i].code || !strstr(text, cases[i].pattern) || strncmp(text, "panum judge: ", 13) != 0)
            fail_msg("judge %s: exit %d, '%s'", cases[i].words, code, text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plane), cmocka_unit_test(test_signed_rule), cmocka_unit_test(test_mean),
        cmocka_unit_test(test_set),   cmocka_unit_test(test_synthetic),   cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("judging matchers", tests, set_up, NULL);
}
