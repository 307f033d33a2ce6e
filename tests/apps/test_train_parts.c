/* The parts of training that are no training: how scores rank, tables that are cut back, curves. */
#include "apps/lib/html.h"
#include "apps/lib/ranking.h"
#include "apps/lib/train_log.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tests/lib/check.h"

#include <math.h>

static void must(int code) {
    if (code) fail_msg("%s", err_sentence());
}

static void scores_rank(void **state) {
    (void)state;
    /* by hand: errors in the order of confidence 1, 2, 0, 5; means of the first k: 1, 3/2, 1, 2, area 11/8; ideal 0,
       1/2, 1, 2, area 7/8; chance 2 */
    const float confidence[] = {0.9f, 0.1f, 0.5f, 0.8f}, error[] = {1, 5, 0, 2};
    assert_true(fabs(ranking_sparsification(confidence, error, 4) - (11.0 / 8 - 7.0 / 8) / (2 - 7.0 / 8)) < 1e-12);
    const float ideal[] = {3, 0, 4, 2}, wrong[] = {1, 9, 0, 2}, equal[] = {1, 1, 1, 1};
    assert_true(fabs(ranking_sparsification(ideal, error, 4)) < 1e-12);
    assert_true(ranking_sparsification(wrong, error, 4) > 1);
    assert_true(fabs(ranking_sparsification(equal, error, 4) - 1) < 1e-12);
    assert_true(isnan(ranking_sparsification(equal, error, 0)));
    assert_true(isnan(ranking_sparsification(confidence, equal, 4))); /* nothing to rank */

    /* precision at the positives by descending score: 1/1, 2/3, 3/4 */
    const float score[] = {0.9f, 0.8f, 0.7f, 0.6f, 0.5f};
    const bool positive[] = {true, false, true, true, false};
    assert_true(fabs(ranking_average_precision(score, positive, 5) - (1 + 2.0 / 3 + 3.0 / 4) / 3) < 1e-12);
    const float flat[] = {1, 1, 1, 1, 1}; /* the share of positives */
    assert_true(fabs(ranking_average_precision(flat, positive, 5) - 0.6) < 1e-12);
    const bool none[5] = {false};
    assert_true(isnan(ranking_average_precision(score, none, 5)));
}

static void tables_are_cut_back(void **state) {
    (void)state;
    char path[600];
    snprintf(path, sizeof path, "%s/log.csv", scratch_folder("train_log"));
    const char *names[] = {"step", "loss", "other"};
    TrainLog *log;
    must(train_log_open(path, names, 3, 0, &log));
    for (int i = 1; i <= 5; i++) must(train_log_add(log, (double[]){i, 1.0 / i, i == 3 ? NAN : 2}));
    int64_t after_five = train_log_bytes(log);
    must(train_log_add(log, (double[]){6, 0, 0}));
    train_log_close(log);
    /* opened at what it was after five rows, a sixth follows that */
    must(train_log_open(path, names, 3, after_five, &log));
    assert_int_equal(train_log_rows(log), 5);
    assert_true(train_log_column(log, 0)[4] == 5);
    assert_true(fabs(train_log_column(log, 1)[2] - 1.0 / 3) < 1e-6);
    assert_true(isnan(train_log_column(log, 2)[2]));
    must(train_log_add(log, (double[]){60, 7, 8}));
    train_log_close(log);
    char text[400] = "";
    run_command(text, sizeof text, "tail -n 2 %s", path);
    assert_string_equal(text, "5,0.2,2\n60,7,8\n");
    /* shorter than it should be: what is there is kept */
    must(train_log_open(path, names, 3, 100000, &log));
    assert_int_equal(train_log_rows(log), 6);
    train_log_close(log);
    run_command(text, sizeof text, "rm %s", path);
    must(train_log_open(path, names, 3, 100000, &log));
    assert_int_equal(train_log_rows(log), 0);
    train_log_close(log);
    const char *others[] = {"step", "loss", "changed"};
    assert_int_equal(train_log_open(path, others, 3, 1000, &log), ERR_INPUT);
}

/* Well-formed whatever the numbers are. */
static void curves_take_any_numbers(void **state) {
    (void)state;
    enum { POINTS = 3000 };
    double *x = mem_array(POINTS, sizeof *x), *y = mem_array(POINTS, sizeof *y);
    for (int i = 0; i < POINTS; i++) {
        x[i] = i * 10;
        y[i] = i % 7 == 0 ? NAN : i % 11 == 0 ? -1 : i % 13 == 0 ? INFINITY : exp(rng_signed(1, (uint64_t)i));
    }
    for (int64_t count = 0; count < POINTS; count = count < 3 ? count + 1 : count * 9) {
        Out *out;
        must(out_memory(&out));
        Html html;
        html_begin(&html, out, "curves");
        HtmlCurve curves[] = {{"a < b & c", x, y, count}, {"none", x, y, 0}};
        html_curves(&html, curves, 2, "step", count > 2 ? 0.5 : 0, "flat", "caption");
        must(html_end(&html));
        uint8_t *bytes;
        size_t size;
        must(out_memory_take(&out, &bytes, &size));
        char *text = mem_alloc(size + 1);
        memcpy(text, bytes, size);
        text[size] = 0;
        const char *svg = strstr(text, "<svg");
        assert_non_null(svg);
        assert_null(strstr(svg, "nan"));
        assert_null(strstr(svg, "inf\""));
        assert_non_null(strstr(svg, "a &lt; b &amp; c"));
        assert_true(size < 40000); /* thousands of points are drawn as hundreds */
        mem_free(text);
        mem_free(bytes);
    }
    mem_free(x), mem_free(y);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_rank),
        cmocka_unit_test(tables_are_cut_back),
        cmocka_unit_test(curves_take_any_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
