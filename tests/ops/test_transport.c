/* Optimal transport: fast against definition, against PyTorch, and the traps; with PANUM_F64 the definition in double.
 */
#include "base/cpu.h"
#include "base/mem.h"
#include "tensor/op.h"
#include "tensor/ops/ops.h"
#include "tests/lib/op_case.h"

#include <math.h>

/* The plan of one row, times 2w, in double: 20 lines that share nothing with the operator. */
static void plan_of(const real *s, int64_t stride, int64_t w, TransportOptions options, double *p) {
    double *u = mem_zero((size_t)(2 * w + 2), sizeof *u), *v = u + w + 1;
    for (int step = 0; step < 2 * (options.iterations ? options.iterations : 3); step++)
        for (int64_t a = 0; a <= w; a++) {
            double most = -INFINITY, sum = 0;
            for (int pass = 0; pass < 2; pass++)
                for (int64_t b = 0; b <= w; b++) {
                    int64_t i = step % 2 ? a : b, j = step % 2 ? b : a;
                    double x = i == w || j == w ? 0 : options.positive && j > i ? -1e4 : s[i * stride + j];
                    x += step % 2 ? v[b] : u[b];
                    if (pass)
                        sum += exp(x - most);
                    else
                        most = fmax(most, x);
                }
            (step % 2 ? u : v)[a] = log((a < w ? 1.0 : (double)w) / (2.0 * (double)w)) - most - log(sum);
        }
    for (int64_t i = 0; i < w; i++)
        for (int64_t j = 0; j < w; j++)
            p[i * w + j] = options.positive && j > i ? 0 : 2 * (double)w * exp(s[i * stride + j] + u[i] + v[j]);
    mem_free(u);
}

/* Results against a plan. Where several entries of a row are the largest within 1e-5 of it, each may be taken: a row
 * that is the best of two columns gives both the same share, to more digits than floats have. Returns the largest
 * error. */
static double worst_beside_plan(const double *p, int64_t w, const real *d, const real *confidence,
                                const real *occlusion) {
    double worst = 0;
    for (int64_t i = 0; i < w; i++) {
        const double *row = p + i * w;
        double largest = 0, sum = 0, least = INFINITY;
        for (int64_t j = 0; j < w; j++) largest = fmax(largest, row[j]), sum += row[j];
        for (int64_t k = 0; k < w; k++) {
            if (row[k] < largest * (1 - 1e-5) && largest > 1e-12) continue;
            double near = 0, moment = 0;
            for (int64_t j = k - 2; j <= k + 2; j++)
                if (j >= 0 && j < w) near += row[j], moment += (double)j * row[j];
            double error = fabs((double)i - (moment + 1e-4) / (near + 1e-4) - d[i]) / fmax(1, fabs((double)d[i]));
            least = fmin(least, fmax(error, fabs(near - confidence[i])));
        }
        worst = fmax(worst, fmax(least, fabs(sum - occlusion[i])));
    }
    return worst;
}

/* Definition and every fast version of one volume of `rows` rows beside plans of our own. */
static void check_rows(const char *what, Program *p, Runner *runner, const Tensor *cv, TransportOptions options,
                       double bound) {
    const Node *node = program_node(p, program_nodes(p) - 1);
    const int64_t rows = cv->size[0], w = cv->size[2];
    check_fast(what, p, runner, INFINITY); /* only that threads change nothing */
    double *plan = mem_array((size_t)(w * w), sizeof *plan), worst = 0;
    for (int level = -1; level <= (int)CPU_AVX512; level++) {
        if (level >= 0) cpu_limit((CpuLevel)level);
        runner_run(runner, (RunWay){.kind = level < 0 ? RUN_DEFINITION : RUN_FAST});
        for (int64_t y = 0; y < rows; y++) {
            const real *out[3];
            for (int k = 0; k < 3; k++) out[k] = (const real *)runner_data(runner, node->output[k]) + y * w;
            plan_of((const real *)runner_data(runner, cv) + y * cv->stride[0], cv->stride[1], w, options, plan);
            double error = worst_beside_plan(plan, w, out[0], out[1], out[2]);
            worst = fmax(worst, error);
            if (!(error <= bound)) fail_msg("%s, row %lld, level %d: off by %g", what, (long long)y, level, error);
        }
    }
    mem_free(plan);
    printf("  %-44s largest error %.1e beside the plan\n", what, worst);
}

static void shapes(void **state) {
    (void)state;
    static const int64_t WIDTH[] = {1, 2, 3, 4, 7, 8, 15, 16, 17, 24, 31, 33, 65, 100};
    static const double SCALE[] = {1, 20, 300};
    for (size_t i = 0; i < sizeof WIDTH / sizeof WIDTH[0]; i++)
        for (int positive = 0; positive < 2; positive++)
            for (int s = 0; s < 3; s++) {
                Program *p = program_make();
                Tensor *cv = program_input(p, "cv", DTYPE_F32, 3, (int64_t[]){5, WIDTH[i], WIDTH[i]});
                TransportOptions options = {.positive = positive,
                                            .iterations = WIDTH[i] == 7   ? 1
                                                          : WIDTH[i] == 8 ? 10
                                                                          : 3};
                t_transport_at(cv, options, T_HERE);
                Runner *runner = runner_make(p);
                runner_fill(runner, cv, 11 + i, SCALE[s]);
                char what[80];
                snprintf(what, sizeof what, "5 rows of %lld, scores to %g%s", (long long)WIDTH[i], SCALE[s],
                         positive ? ", positive" : "");
                /* a score of 300 carries an error of 1e-5 into its exponential */
                check_rows(what, p, runner, cv, options, F32_OR_F64(SCALE[s] < 300 ? 1e-5 : 5e-5, 1e-11));
                runner_drop(runner);
                program_drop(p);
            }
}

/* Real networks give scores round 120 on and off the diagonal, with matches far above; and a volume that is a view with
 * longer lines. */
static void like_the_network(void **state) {
    (void)state;
    for (int positive = 0; positive < 2; positive++) {
        Program *p = program_make();
        Tensor *whole = program_input(p, "cv", DTYPE_F32, 3, (int64_t[]){4, 184, 190});
        Tensor *cv = t_slice(whole, 2, 3, 184);
        TransportOptions options = {.positive = positive};
        t_transport_at(cv, options, T_HERE);
        Runner *runner = runner_make(p);
        runner_fill(runner, whole, 4, 3);
        real *s = runner_data(runner, whole);
        for (int64_t y = 0; y < 4; y++)
            for (int64_t i = 0; i < 184; i++)
                for (int64_t j = 0; j < 190; j++)
                    s[(y * 184 + i) * 190 + j] += (real)(115 + (i - j + 3 == 3 * y ? 12 : 0));
        check_rows(positive ? "like the network, positive" : "like the network", p, runner, cv, options,
                   F32_OR_F64(1e-5, 1e-11));
        runner_drop(runner);
        program_drop(p);
    }
}

static real *run_one(const real *scores, int64_t w, TransportOptions options, RunKind kind, real *confidence,
                     real *occlusion) {
    Program *p = program_make();
    Tensor *cv = program_input(p, "cv", DTYPE_F32, 3, (int64_t[]){1, w, w});
    Transport t = t_transport_at(cv, options, T_HERE);
    Runner *runner = runner_make(p);
    memcpy(runner_data(runner, cv), scores, (size_t)(w * w) * sizeof *scores);
    runner_run(runner, (RunWay){.kind = kind});
    real *d = runner_copy(runner, t.disparity);
    memcpy(confidence, runner_data(runner, t.confidence), (size_t)w * sizeof *scores);
    memcpy(occlusion, runner_data(runner, t.occlusion), (size_t)w * sizeof *scores);
    runner_drop(runner);
    program_drop(p);
    return d;
}

/* Equal scores: the first maximum wins (k = 0), the five taps round it are 0, 1, 2. Columns nobody wants, however far
 * below, spoil nothing. A row without any match: disparity i - 1, confidence and occlusion 0. */
static void traps(void **state) {
    (void)state;
    enum { W = 20 };
    real s[W * W], confidence[W], occlusion[W];
    for (int kind = RUN_DEFINITION; kind <= RUN_FAST; kind++) {
        memset(s, 0, sizeof s);
        real *d = run_one(s, W, (TransportOptions){0}, (RunKind)kind, confidence, occlusion);
        for (int i = 0; i < W; i++) {
            double near = confidence[i];
            assert_true(fabs(d[i] - (i - (near + 1e-4) / (near + 1e-4))) < 1e-5); /* the mean of columns 0, 1, 2 is 1 */
            assert_true(fabs(occlusion[i] - near / 3 * W) < 1e-5);
        }
        mem_free(d);
        for (int i = 0; i < W; i++)
            for (int j = 0; j < W; j++) s[i * W + j] = i == 7 ? -500 : j == 3 ? -400 : i == j ? 30 : 0;
        d = run_one(s, W, (TransportOptions){0}, (RunKind)kind, confidence, occlusion);
        assert_true(fabs(d[7] - 6) < 1e-5 && confidence[7] < 1e-20 && occlusion[7] < 1e-20);
        assert_true(fabs(d[12]) < 3e-3 && confidence[12] > 0.4); /* three iterations do not empty the dustbin */
        mem_free(d);
        /* with the mask row 0 can only meet column 0 */
        for (int i = 0; i < W * W; i++) s[i] = 5;
        d = run_one(s, W, (TransportOptions){.positive = true}, (RunKind)kind, confidence, occlusion);
        assert_true(confidence[0] == occlusion[0] && confidence[0] > 0);
        assert_true(fabs(d[0] + 1e-4 / (confidence[0] + 1e-4)) < 1e-6); /* 1e-4 in the numerator too */
        mem_free(d);
    }
}

/* The plan of our own is the reference's; results lie beside the reference's plan. */
static void pytorch(void **state) {
    (void)state;
    static const char *const NAMES[] = {"flat",          "flat_positive",  "peaked",  "peaked_positive",
                                        "sharp",         "sharp_positive", "offset",  "ties",
                                        "ties_positive", "narrow",         "width_48"};
    static const char *const OUTPUTS[] = {"d0", "conf", "occ"};
    Fixture f = fixture_open("optimal_transport");
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        const WeightEntry *entry = fixture_entry(&f, "%s.cv", NAMES[i]);
        const int64_t rows = entry->size[1], w = entry->size[2];
        Program *p = program_make();
        Tensor *cv = program_input(p, "cv", DTYPE_F32, 3, entry->size + 1);
        TransportOptions options = {.positive = fixture_number(&f, NAMES[i], "positivity", 0) > 0};
        Transport t = t_transport_at(cv, options, T_HERE);
        Tensor *out[3] = {t.disparity, t.confidence, t.occlusion};
        Runner *runner = runner_make(p);
        fixture_fill(&f, entry, runner, cv);
        runner_run(runner, (RunWay){.kind = RUN_DEFINITION});
        for (int k = 0; k < 3; k++)
            fixture_check(&f, fixture_entry(&f, "%s.%s", NAMES[i], OUTPUTS[k]), runner, out[k], 2e-7);
        check_rows(NAMES[i], p, runner, cv, options,
                   F32_OR_F64(strncmp(NAMES[i], "sharp", 5) == 0 ? 5e-5 : 1e-5, 1e-11));
        const WeightEntry *plan = fixture_entry(&f, "%s.plan", NAMES[i]);
        float *want = mem_array((size_t)plan->count, sizeof *want);
        double *ours = mem_array((size_t)(w * w), sizeof *ours);
        assert_int_equal(weights_read_f32(f.file, plan, want), 0);
        for (int64_t y = 0; y < rows; y++) {
            plan_of((const real *)runner_data(runner, cv) + y * w * w, w, w, options, ours);
            for (int64_t k = 0; k < w * w; k++) assert_true(fabs(ours[k] - want[y * w * w + k]) < 1e-7);
        }
        mem_free(want);
        mem_free(ours);
        runner_drop(runner);
        program_drop(p);
    }
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(like_the_network),
                                       cmocka_unit_test(traps), cmocka_unit_test(pytorch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
