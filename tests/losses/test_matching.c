/* The losses with truth, over all stages of a match: against PyTorch (values and gradients), differences in double,
 * truth of which nothing is known, and that every parameter of S2M2 learns from them. With PANUM_F64 in double. */
#include "autograd/backward.h"
#include "base/err.h"
#include "base/mem.h"
#include "losses/losses.h"
#include "models/s2m2.h"
#include "tests/lib/gradient_check.h"
#include "tests/lib/op_case.h"

#include <math.h>

enum { N = 2, H = 3, W = 9, FACTOR = 4 };
static const int64_t coarse_size[4] = {N, 1, H, W}, full_size[4] = {N, 1, H *FACTOR, W *FACTOR};

/* Names of the fixture. The first LEARNED have gradients. */
typedef enum {
    CV,
    FILLED,
    REFINED1_D,
    REFINED1_C,
    REFINED1_O,
    REFINED2_D,
    REFINED2_C,
    REFINED2_O,
    FULL_D,
    FULL_C,
    FULL_O,
    LEARNED,
    TRUTH = LEARNED,
    VALID,
    SEEN,
    JUDGED,
    INPUTS
} InputName;
static const char *const input_names[INPUTS] = {
    "cv",
    "filled.disparity",
    "refined1.disparity",
    "refined1.confidence",
    "refined1.occlusion",
    "refined2.disparity",
    "refined2.confidence",
    "refined2.occlusion",
    "full.disparity",
    "full.confidence",
    "full.occlusion",
    "truth",
    "valid",
    "seen",
    "judged",
};

typedef enum { DISPARITY, CONCENTRATION, OCCLUSION, CONFIDENCE, TOTAL, CONCENTRATION_BY_LOG, TERMS } Term;
static const char *const term_names[TERMS] = {"disparity",  "concentration", "occlusion",
                                              "confidence", "total",         "concentration_log"};

/* All of them lie in memory as they are spoken. */
static void record_inputs(Program *p, Tensor *in[INPUTS]) {
    in[CV] = program_input(p, input_names[CV], DTYPE_F32, 3, (int64_t[]){N * H, W, W});
    for (int k = CV + 1; k < INPUTS; k++)
        in[k] = program_input(p, input_names[k], DTYPE_F32, 4, k >= FULL_D ? full_size : coarse_size);
}

/* Those of the fixture. */
static const MatchingWeights weights = {1, 5, 1, 1, CONCENTRATION_LINEAR};

static Tensor *record_term(Tensor *const in[INPUTS], Term term) {
    const TransportOptions options = {.iterations = 3};
    Tensor *cv = t_reshape(in[CV], 4, (int64_t[]){N, H, W, W});
    const Transport start = t_transport_at(cv, options, T_HERE);
    const MatchStages stages = {
        .factor = FACTOR,
        .correlation = cv,
        .transport = options,
        .initial = {start.disparity, start.confidence, start.occlusion},
        .filled = {.disparity = in[FILLED]},
        .refinements = 2,
        .refined = {{in[REFINED1_D], in[REFINED1_C], in[REFINED1_O]}, {in[REFINED2_D], in[REFINED2_C], in[REFINED2_O]}},
        .full = {in[FULL_D], in[FULL_C], in[FULL_O]},
    };
    const MatchTruth truth = {in[TRUTH], in[VALID], in[SEEN], in[JUDGED]};
    const Matching m = loss_matching(&stages, truth, weights);
    Tensor *const terms[] = {m.disparity, m.concentration, m.occlusion, m.confidence, m.total};
    return term == CONCENTRATION_BY_LOG ? loss_concentration(&stages, truth, CONCENTRATION_LOG) : terms[term];
}

static void read_entry(const Fixture *fixture, const char *name, int64_t count, real *to) {
    const WeightEntry *entry = fixture_entry(fixture, "%s", name);
    assert_int_equal(entry->count, count);
    float *values = mem_array((size_t)count, sizeof *values);
    assert_int_equal(weights_read_f32(fixture->file, entry, values), 0);
    for (int64_t i = 0; i < count; i++) to[i] = values[i];
    mem_free(values);
}

static void against_pytorch(void **state) {
    (void)state;
    Fixture fixture = fixture_open("../losses/stages");
    double worst = 0, worst_gradient = 0;
    for (int term = 0; term < TERMS; term++)
        for (int kind = RUN_DEFINITION; kind <= F32_OR_F64(RUN_FAST, RUN_DEFINITION); kind++) {
            Program *p = program_make();
            Tensor *in[INPUTS];
            record_inputs(p, in);
            Tensor *loss = record_term(in, (Term)term);
            assert_int_equal(backward(loss, &(BackwardOptions){.inputs = true}), 0);
            Runner *runner = runner_make(p);
            for (int k = 0; k < INPUTS; k++)
                read_entry(&fixture, input_names[k], tensor_count(in[k]), runner_data(runner, in[k]));
            runner_run(runner, (RunWay){.kind = (RunKind)kind});
            real *value = runner_copy(runner, loss);
            const char *text = weights_metadata(fixture.file, term_names[term]);
            assert_non_null(text);
            worst = fmax(worst, fabs((double)value[0] / strtod(text, NULL) - 1));
            mem_free(value);
            for (int k = 0; k < LEARNED; k++) {
                char name[64];
                snprintf(name, sizeof name, "%s.%s", term_names[term], input_names[k]);
                const bool wanted = weights_find(fixture.file, name) != NULL;
                const Tensor *gradient = gradient_of(in[k]);
                if (!wanted) {
                    assert_null(gradient);
                    continue;
                }
                assert_non_null(gradient);
                const int64_t count = tensor_count(gradient);
                real *want = mem_array((size_t)count, sizeof *want), *got = runner_copy(runner, gradient);
                read_entry(&fixture, name, count, want);
                double largest = 0, error = 0;
                for (int64_t i = 0; i < count; i++) {
                    largest = fmax(largest, fabs((double)want[i]));
                    error = fmax(error, fabs((double)got[i] - (double)want[i]));
                }
                worst_gradient = fmax(worst_gradient, error / largest);
                if (!(error / largest < F32_OR_F64(2e-5, 1e-6)))
                    fail_msg("%s: gradient off by %g", name, error / largest);
                mem_free(want);
                mem_free(got);
            }
            runner_drop(runner);
            program_drop(p);
        }
    print_message("values within %.1e of PyTorch's, gradients %.1e\n", worst, worst_gradient);
    assert_true(worst < F32_OR_F64(3e-6, 1e-9));
    fixture_close(&fixture);
}

static void record_checked(Program *p, const void *context) {
    const Term *term = context;
    Tensor *in[INPUTS];
    record_inputs(p, in);
    for (int k = 0; k < LEARNED; k++) /* probabilities, from -1..1 */
        if (k == REFINED1_C || k == REFINED1_O || k == REFINED2_C || k == REFINED2_O || k == FULL_C || k == FULL_O)
            in[k] = t_affine(in[k], 0.45, 0.5);
    program_output(p, "loss", record_term(in, *term));
}

static void differences(void **state) {
    (void)state;
    for (int term = 0; term < TERMS; term++) {
        const Term checked = (Term)term;
        gradient_check(term_names[term], record_checked,
                       .input = {{"cv", -2, 2, false},
                                 {"truth", -12, 12, true},
                                 {"valid", 0, 1, true},
                                 {"seen", 0, 1, true},
                                 {"judged", 0, 1, true}},
                       .context = &checked, .bound = 1e-5, .fast = 1e-4, .kinks = 0.05);
    }
}

/* No pixel known: every loss is 0, and nothing learns anything. */
static void nothing_known(void **state) {
    (void)state;
    for (int term = 0; term < TERMS; term++) {
        Program *p = program_make();
        Tensor *in[INPUTS];
        record_inputs(p, in);
        Tensor *loss = record_term(in, (Term)term);
        assert_int_equal(backward(loss, &(BackwardOptions){.inputs = true}), 0);
        Runner *runner = runner_make(p);
        runner_fill_all(runner, 3);
        for (int k = 0; k < LEARNED; k++) { /* probabilities are 0..1 */
            real *values = runner_data(runner, in[k]);
            for (int64_t i = 0; i < tensor_count(in[k]); i++) values[i] = values[i] < 0 ? -values[i] : values[i];
        }
        for (int k = TRUTH; k < INPUTS; k++)
            memset(runner_data(runner, in[k]), 0, (size_t)tensor_count(in[k]) * sizeof(real));
        runner_run(runner, (RunWay){.kind = RUN_DEFINITION});
        real *value = runner_copy(runner, loss);
        assert_true(value[0] == 0);
        mem_free(value);
        for (int k = 0; k < LEARNED; k++)
            if (gradient_of(in[k])) {
                real *gradient = runner_copy(runner, gradient_of(in[k]));
                for (int64_t i = 0; i < tensor_count(in[k]); i++) assert_true(gradient[i] == 0);
                mem_free(gradient);
            }
        runner_drop(runner);
        program_drop(p);
    }
}

/* The right answer costs next to nothing, and a plan that says it has no mass elsewhere. */
static void the_truth_is_cheapest(void **state) {
    (void)state;
    Program *p = program_make();
    Tensor *in[INPUTS];
    record_inputs(p, in);
    Tensor *terms[TERMS];
    for (int term = 0; term < TERMS; term++) terms[term] = record_term(in, (Term)term);
    Runner *runner = runner_make(p);
    double value[2][TERMS];
    for (int wrong = 0; wrong < 2; wrong++) {
        for (int k = 0; k < INPUTS; k++) {
            real *to = runner_data(runner, in[k]);
            const Tensor *t = in[k];
            const bool disparity = k == FILLED || k == REFINED1_D || k == REFINED2_D || k == FULL_D;
            if (k == CV) {
                /* column i of the left picture is column i + 1 of the right one: d = -1 coarse pixel, -4 pixels */
                for (int64_t i = 0; i < tensor_count(t); i++) {
                    const int64_t left = i / W % W, right = i % W;
                    to[i] = right == left + (wrong ? -2 : 1) ? 8 : 0;
                }
                continue;
            }
            for (int64_t i = 0; i < tensor_count(t); i++) {
                const int64_t column = i % t->size[3];
                const bool seen = column < (W - 1) * FACTOR; /* the last coarse column's match is outside */
                if (k == TRUTH)
                    to[i] = -FACTOR;
                else if (disparity)
                    to[i] = (k == FULL_D ? -FACTOR : -1) + (wrong ? 5 : 0);
                else if (k == SEEN)
                    to[i] = seen;
                else if (k == FULL_O)
                    to[i] = seen != wrong;
                else if (k == REFINED1_O || k == REFINED2_O)
                    to[i] = (column < W - 1) != wrong;
                else
                    to[i] = 1; /* known, and confident: right or wrong */
            }
        }
        runner_run(runner, (RunWay){.kind = RUN_DEFINITION});
        for (int term = 0; term < TERMS; term++) {
            real *got = runner_copy(runner, terms[term]);
            value[wrong][term] = got[0];
            mem_free(got);
        }
    }
    print_message(
        "right: disparity %.3f concentration %.3f occlusion %.3f confidence %.3f; wrong: %.2f %.2f %.2f %.2f\n",
        value[0][0], value[0][1], value[0][2], value[0][3], value[1][0], value[1][1], value[1][2], value[1][3]);
    assert_true(value[0][DISPARITY] < 0.02 && value[1][DISPARITY] > 4);
    assert_true(value[0][CONCENTRATION] == 0 && value[1][CONCENTRATION] > 0.7);
    assert_true(value[0][CONCENTRATION_BY_LOG] == 0 && value[1][CONCENTRATION_BY_LOG] > 3);
    assert_true(value[0][OCCLUSION] < 0.1 && value[1][OCCLUSION] > 4);
    assert_true(value[0][CONFIDENCE] < 0.1 && value[1][CONFIDENCE] > 4);
    runner_drop(runner);
    program_drop(p);
}

/* Every parameter of the network has a gradient, and with one refinement, or none, too. */
static void everything_learns(void **state) {
    (void)state;
    for (int refinements = 0; refinements <= 2; refinements++) {
        Net net = {program_make()};
        Tensor *pictures = program_input(net.program, "pictures", DTYPE_U8, 4, (int64_t[]){2, 3, 32, 64});
        const MatchStages stages =
            s2m2_stages(&net, pictures, (S2m2Options){.channels = 32, .blocks = 1, .refine_iterations = refinements});
        Tensor *map[4];
        for (int k = 0; k < 4; k++)
            map[k] = program_input(net.program, input_names[TRUTH + k], DTYPE_F32, 4, (int64_t[]){1, 1, 32, 64});
        const MatchTruth truth = {map[0], map[1], map[2], NULL};
        const Matching m = loss_matching(&stages, truth, matching_weights);
        const Matching one = loss_matching(&stages, truth, (MatchingWeights){.disparity = 1});
        assert_true(one.disparity && one.total && !one.concentration && !one.occlusion && !one.confidence);
        if (backward(m.total, NULL)) fail_msg("%s", err_sentence());
        int parameters = 0;
        for (int i = 0; i < program_tensors(net.program); i++) {
            const Tensor *t = program_tensor(net.program, i);
            if (t->kind != TENSOR_WEIGHT || t->base != t) continue;
            parameters++;
            if (!gradient_of(t)) fail_msg("%d refinements: %s learns nothing", refinements, t->name);
        }
        assert_true(parameters == 660 || refinements == 0);
        program_drop(net.program);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_pytorch),       cmocka_unit_test(differences),       cmocka_unit_test(nothing_known),
        cmocka_unit_test(the_truth_is_cheapest), cmocka_unit_test(everything_learns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
