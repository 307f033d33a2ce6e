/* Does a file fit a model (row W13), and which model is it? */
#include "base/err.h"
#include "base/mem.h"
#include "tensor/files/compare.h"
#include "tensor/files/describe.h"
#include "tensor/files/safetensors.h"
#include "tests/lib/check.h"

enum { NAMES = 60 };

/* A file with `count` tensors "layer.0.weight" ..., all 2x3, each with `prefix`; `bytes` to be freed behind it. */
static Weights *make(const char *prefix, int count, WeightDType dtype, uint8_t **bytes) {
    static char names[NAMES][80];
    static const float values[6] = {1, 2, 3, 4, 5, 6};
    SafetensorsTensor tensors[NAMES];
    for (int i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "%slayer.%d.weight", prefix, i);
        tensors[i] = (SafetensorsTensor){names[i], dtype, 2, {2, 3}, values};
    }
    Out *out = NULL;
    size_t size = 0;
    Weights *weights = NULL;
    assert_int_equal(out_memory(&out), 0);
    assert_int_equal(safetensors_write(out, tensors, count, NULL, 0), 0);
    assert_int_equal(out_memory_take(&out, bytes, &size), 0);
    assert_int_equal(weights_open_memory(*bytes, size, "w.safetensors", &weights), 0);
    return weights;
}

static WeightWanted wanted[NAMES];

static void want(int count, const char *prefix, int64_t width) {
    static char names[NAMES][80];
    for (int i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "%slayer.%d.weight", prefix, i);
        wanted[i] = (WeightWanted){names[i], 2, {2, width}};
    }
}

static void equal_lists_fit(void **state) {
    (void)state;
    uint8_t *bytes;
    WeightsDifference difference;
    for (int d = 0; d < 2; d++) { /* f16 where the model computes in f32 is no difference */
        Weights *weights = make("", 10, d ? WEIGHT_F16 : WEIGHT_F32, &bytes);
        want(10, "", 3);
        assert_int_equal(weights_compare(weights, "m", wanted, 10, &difference), 0);
        assert_null(difference.report);
        weights_close(weights);
        mem_free(bytes);
    }
}

static void all_differences_are_said_at_once(void **state) {
    (void)state;
    uint8_t *bytes;
    WeightsDifference d;
    Weights *weights = make("", 51, WEIGHT_F32, &bytes);
    want(51, "", 4); /* every shape differs */
    assert_int_equal(weights_compare(weights, "m", wanted, 51, &d), ERR_WEIGHTS);
    assert_string_equal(
        err_sentence(),
        "w.safetensors: does not fit model m: 51 of another shape (first layer.0.weight is 2x3 instead of 2x4)");
    for (int i = 0; i < 51; i++) {
        char line[100];
        snprintf(line, sizeof line, "  layer.%d.weight is 2x3 in the file, the model wants 2x4\n", i);
        assert_non_null(strstr(d.report, line));
    }
    weights_difference_free(&d);
    want(51, "", 3);
    wanted[3].name = "another";
    wanted[4].name = "more";
    wanted[7].rank = 1;
    assert_int_equal(weights_compare(weights, "m", wanted, 51, &d), ERR_WEIGHTS);
    assert_string_equal(
        err_sentence(),
        "w.safetensors: does not fit model m: 2 missing (first another), 2 unexpected (first layer.3.weight), "
        "1 of another shape (first layer.7.weight is 2x3 instead of 2)");
    assert_string_equal(
        d.report,
        "missing in the file:\n  another 2x3\n  more 2x3\nin the file, but not in the model:\n  layer.3.weight 2x3\n"
        "  layer.4.weight 2x3\nof another shape:\n  layer.7.weight is 2x3 in the file, the model wants 2\n");
    assert_true(d.missing == 2 && d.unexpected == 2 && d.misshapen == 1 && !*d.prefix);
    weights_difference_free(&d);
    assert_int_equal(weights_compare(weights, "m", wanted, 51, NULL), ERR_WEIGHTS);
    weights_close(weights);
    mem_free(bytes);
}

static void a_prefix_is_recognised(void **state) {
    (void)state;
    static const char *const prefixes[] = {"module.", "net.module."};
    for (int k = 0; k < 2; k++) {
        uint8_t *bytes;
        WeightsDifference d;
        Weights *weights = make(prefixes[k], 12, WEIGHT_F32, &bytes);
        want(12, "", 3);
        assert_int_equal(weights_compare(weights, "m", wanted, 12, &d), ERR_WEIGHTS);
        assert_string_equal(d.prefix, prefixes[k]);
        assert_non_null(strstr(err_sentence(), "12 missing (first layer.0.weight), 12 unexpected"));
        assert_non_null(strstr(err_sentence(), k ? "panum model convert --strip-prefix net.module."
                                                 : "panum model convert --strip-prefix module."));
        weights_difference_free(&d);
        weights_close(weights);
        mem_free(bytes);
    }
}

static void models_are_guessed(void **state) {
    (void)state;
    static const struct {
        int64_t width;
        int blocks;
        const char *prefix, *name;
    } cases[] = {{128, 1, "", "s2m2-S"},
                 {192, 2, "", "s2m2-M"},
                 {256, 3, "module.", "s2m2-L"},
                 {384, 3, "", "s2m2-XL"},
                 {96, 1, "", "s2m2 (C 96, T 1)"}};
    static float zeros[384];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char names[4][80], guess[48];
        SafetensorsTensor tensors[4];
        snprintf(names[0], sizeof names[0], "%scnn_backbone.norm1.weight", cases[i].prefix);
        tensors[0] = (SafetensorsTensor){names[0], WEIGHT_F32, 1, {cases[i].width}, zeros};
        for (int b = 0; b < cases[i].blocks; b++) {
            snprintf(names[b + 1], sizeof names[0], "%stransformer.uformer_list.%d.down_conv0.1.bias", cases[i].prefix,
                     b);
            tensors[b + 1] = (SafetensorsTensor){names[b + 1], WEIGHT_F32, 1, {1}, zeros};
        }
        Out *out = NULL;
        uint8_t *bytes = NULL;
        size_t size = 0;
        Weights *weights;
        assert_int_equal(out_memory(&out), 0);
        assert_int_equal(safetensors_write(out, tensors, cases[i].blocks + 1, NULL, 0), 0);
        assert_int_equal(out_memory_take(&out, &bytes, &size), 0);
        assert_int_equal(weights_open_memory(bytes, size, "w", &weights), 0);
        assert_true(weights_guess_model(weights, guess, sizeof guess));
        assert_string_equal(guess, cases[i].name);
        want(1, "", 3);
        assert_int_equal(weights_compare(weights, "s2m2-M", wanted, 1, NULL), ERR_WEIGHTS);
        if (i == 0) assert_non_null(strstr(err_sentence(), "; this file is model s2m2-S: --model s2m2-S"));
        if (i == 1) assert_null(strstr(err_sentence(), "; this file"));
        weights_close(weights);
        mem_free(bytes);
    }
}

static void weights_without_s2m2_are_not_guessed(void **state) {
    (void)state;
    uint8_t *bytes;
    char guess[48];
    Weights *weights = make("", 3, WEIGHT_F32, &bytes);
    assert_false(weights_guess_model(weights, guess, sizeof guess));
    assert_string_equal(guess, "");
    weights_close(weights);
    mem_free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_lists_fit),
        cmocka_unit_test(all_differences_are_said_at_once),
        cmocka_unit_test(a_prefix_is_recognised),
        cmocka_unit_test(models_are_guessed),
        cmocka_unit_test(weights_without_s2m2_are_not_guessed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
