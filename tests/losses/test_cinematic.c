/* The cinematic losses against PyTorch (values and gradients, both rules), the published parity figures, differences in
 * double, masks without a pixel, and one sign throughout on a random-dot pair. With PANUM_F64 in double. */
#include "autograd/backward.h"
#include "base/mem.h"
#include "losses/losses.h"
#include "tensor/ops/ncc.h"
#include "tests/lib/gradient_check.h"
#include "tests/lib/op_case.h"
#include "tests/lib/random_dot.h"

#include <math.h>

typedef enum { LEFT, RIGHT, GT, CONFIDENCE, OCCLUSION, TARGET, WEIGHT, DISPARITY, MAPS } MapName;
static const char *const map_names[MAPS] = {"left", "right", "gt", "conf", "occ", "target", "weight", "disparity"};
static bool is_picture(int map) {
    return map <= RIGHT;
}

/* Everything a cinematic loss is a function of, in spoken order. */
typedef struct {
    int64_t n, h, w;
    real *map[MAPS];
} Sample;

static Sample sample_make(int64_t n, int64_t h, int64_t w) {
    Sample s = {n, h, w, {0}};
    for (int k = 0; k < MAPS; k++) s.map[k] = mem_zero((size_t)(n * h * w * (is_picture(k) ? 3 : 1)), sizeof(real));
    return s;
}
static void sample_free(Sample *s) {
    for (int k = 0; k < MAPS; k++) mem_free(s->map[k]);
}

typedef enum {
    PHOTOMETRIC,
    ANCHOR,
    SIGN,
    MAGNITUDE,
    SIGN_MAGNITUDE,
    SMOOTHNESS,
    TRANSLUCENCY_LITTLE,
    TRANSLUCENCY,
    PHASE_1,
    PHASE_2,
    PHASE_3,
    TRANSLUCENT,
    MASK,
    TERMS
} Term;
static const char *const term_names[TERMS] = {
    "photometric",    "anchor",  "sign",    "magnitude", "sign_magnitude", "smoothness", "translucency_1.5",
    "translucency_3", "phase_1", "phase_2", "phase_3",   "translucent",    "mask"};

static Tensor *record_term(Tensor *const m[MAPS], Term term, LossRule rule) {
    const Anchor anchor = {m[GT], m[CONFIDENCE], m[OCCLUSION]};
    const CinematicInputs inputs = {m[LEFT], m[RIGHT], anchor, ANCHOR_SIGNED, m[TARGET], m[WEIGHT], rule};
    switch (term) {
    case PHOTOMETRIC:
        return loss_photometric(m[DISPARITY], m[LEFT], m[RIGHT]);
    case ANCHOR:
        return loss_anchor(m[DISPARITY], anchor, rule == LOSS_REFERENCE ? ANCHOR_POSITIVE : ANCHOR_SIGNED);
    case SIGN:
        return loss_sign_magnitude(m[DISPARITY], m[TARGET], m[WEIGHT]).sign;
    case MAGNITUDE:
        return loss_sign_magnitude(m[DISPARITY], m[TARGET], m[WEIGHT]).magnitude;
    case SIGN_MAGNITUDE:
        return loss_sign_magnitude(m[DISPARITY], m[TARGET], m[WEIGHT]).total;
    case SMOOTHNESS:
        return loss_smoothness(m[DISPARITY], m[LEFT]);
    case TRANSLUCENCY_LITTLE:
    case TRANSLUCENCY:
        return loss_translucency(m[DISPARITY], m[LEFT], m[RIGHT], anchor,
                                 (TranslucencyOptions){term == TRANSLUCENCY ? 0 : 1.5, rule})
            .loss;
    case PHASE_1:
        return loss_cinematic(m[DISPARITY], inputs, cinematic_phase_1).total;
    case PHASE_2:
        return loss_cinematic(m[DISPARITY], inputs, cinematic_phase_2).total;
    case PHASE_3:
        return loss_cinematic(m[DISPARITY], inputs, cinematic_phase_3).total;
    case TRANSLUCENT:
        return loss_cinematic(m[DISPARITY], inputs, cinematic_translucent).total;
    case MASK:
        return loss_cinematic(m[DISPARITY], inputs, cinematic_translucent).mask;
    case TERMS:
        break;
    }
    fail_msg("term %d", term);
    return NULL;
}

/* A term recorded, with its maps filled. */
typedef struct {
    Program *program;
    Runner *runner;
    Tensor *map[MAPS], *loss;
} Recorded;

typedef enum { VALUE_ALONE, WITH_GRADIENT } Wanted;

static Recorded recorded_make(const Sample *s, Term term, LossRule rule, Wanted wanted) {
    Recorded r = {.program = program_make()};
    for (int k = 0; k < MAPS; k++)
        r.map[k] =
            program_input(r.program, map_names[k], DTYPE_F32, 4, (int64_t[]){s->n, is_picture(k) ? 3 : 1, s->h, s->w});
    r.loss = record_term(r.map, term, rule);
    assert_int_equal(r.loss->rank, 1);
    assert_int_equal(r.loss->size[0], 1);
    if (wanted == WITH_GRADIENT) assert_int_equal(backward(r.loss, &(BackwardOptions){.inputs = true}), 0);
    r.runner = runner_make(r.program);
    for (int k = 0; k < MAPS; k++) {
        const Tensor *t = r.map[k];
        real *to = runner_data(r.runner, t);
        int64_t i = 0;
        for (int64_t n = 0; n < s->n; n++)
            for (int64_t c = 0; c < t->size[1]; c++)
                for (int64_t y = 0; y < s->h; y++)
                    for (int64_t x = 0; x < s->w; x++, i++)
                        to[n * t->stride[0] + c * t->stride[1] + y * t->stride[2] + x * t->stride[3]] = s->map[k][i];
    }
    return r;
}

static double recorded_run(const Recorded *r, RunKind kind) {
    runner_run(r->runner, (RunWay){.kind = kind});
    real *value = runner_copy(r->runner, r->loss);
    const double result = value[0];
    mem_free(value);
    return result;
}

static void recorded_drop(Recorded *r) {
    runner_drop(r->runner);
    program_drop(r->program);
}

/* The value, and where wanted the gradient with respect to the disparity (to be freed). */
static double evaluate(const Sample *s, Term term, LossRule rule, RunKind kind, real **gradient) {
    Recorded r = recorded_make(s, term, rule, gradient ? WITH_GRADIENT : VALUE_ALONE);
    const double result = recorded_run(&r, kind);
    if (gradient) *gradient = runner_copy(r.runner, gradient_of(r.map[DISPARITY]));
    recorded_drop(&r);
    return result;
}

static void read_map(const Fixture *fixture, const char *name, int64_t count, real *to) {
    const WeightEntry *entry = fixture_entry(fixture, "%s", name);
    assert_int_equal(entry->count, count);
    float *values = mem_array((size_t)count, sizeof *values);
    assert_int_equal(weights_read_f32(fixture->file, entry, values), 0);
    for (int64_t i = 0; i < count; i++) to[i] = values[i];
    mem_free(values);
}

static double metadata_number(const Fixture *fixture, const char *key) {
    const char *text = weights_metadata(fixture->file, key);
    if (!text) fail_msg("no %s in the metadata", key);
    return strtod(text, NULL);
}

/* got[i * step..] against want; bound relative to the largest of want. */
static double gradient_error(const real *got, const real *want, int64_t count) {
    double largest = 0, error = 0;
    for (int64_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)want[i]));
        error = fmax(error, fabs((double)got[i] - (double)want[i]));
    }
    return error / largest;
}

/* Pictures and maps of the published parity case. */
static Sample parity_sample(void) {
    Sample s = sample_make(1, 64, 128);
    uint8_t *eyes = mem_alloc(2 * 64 * 128 * 3);
    for (int y = 0; y < 64; y++)
        for (int x = 0; x < 128; x++) {
            const int i = y * 128 + x;
            for (int eye = 0; eye < 2; eye++)
                for (int c = 0; c < 3; c++) {
                    const int u = x + 3 * eye;
                    const uint8_t v = (uint8_t)(37 * u + 17 * y + 91 * c + u * y / 4 + u * u / 8);
                    eyes[(eye * 64 * 128 + i) * 3 + c] = v;
                    s.map[LEFT + eye][c * 64 * 128 + i] = (real)v / 255;
                }
            s.map[GT][i] = (real)((5 * x + 11 * y) % 23 - 3);
            s.map[CONFIDENCE][i] = (real)((x + 2 * y) % 10) / 10;
            s.map[OCCLUSION][i] = (real)((3 * x + y) % 7) / 6;
            s.map[DISPARITY][i] = (real)((7 * x + 3 * y) % 41 - 20) / 2;
        }
    float *match = mem_array(2 * 64 * 128, sizeof *match);
    assert_int_equal(ncc_match_reference(NULL, eyes, eyes + 64 * 128 * 3, 128, 64, 3, match, match + 64 * 128), 0);
    for (int i = 0; i < 64 * 128; i++) s.map[TARGET][i] = match[i], s.map[WEIGHT][i] = match[64 * 128 + i];
    mem_free(match);
    mem_free(eyes);
    return s;
}

static void published_parity(void **state) {
    (void)state;
    static const double published[TERMS] = {
        0.453070312,  11.416283169, 2.551420934, 6.094990713, 5.031919779, 6.320168302, 11.885334801,
        18.040664856, 9.541891872,  8.084255140, 8.678521880, 0,           0.41693747};
    Sample s = parity_sample();
    Fixture fixture = fixture_open("../losses/parity");
    real *want = mem_array(32 * 26, sizeof *want), *got = mem_array(32 * 26, sizeof *got);
    double worst = 0, worst_gradient = 0;
    for (int term = 0; term < TERMS; term++) {
        real *gradient = NULL;
        const double value = evaluate(&s, (Term)term, LOSS_REFERENCE, F32_OR_F64(RUN_FAST, RUN_DEFINITION),
                                      term == MASK ? NULL : &gradient);
        /* the published figures of translucency went through float32 */
        if (published[term] != 0) assert_true(fabs(value / published[term] - 1) < F32_OR_F64(2e-6, 1e-7));
        const double torch = metadata_number(&fixture, term_names[term]);
        worst = fmax(worst, fabs(value / torch - 1));
        if (term == MASK) continue;
        read_map(&fixture, term_names[term], 32 * 26, want);
        for (int y = 0; y < 32; y++)
            for (int x = 0; x < 26; x++) got[y * 26 + x] = gradient[2 * y * 128 + 5 * x];
        const double error = gradient_error(got, want, 32 * 26);
        worst_gradient = fmax(worst_gradient, error);
        if (!(error < F32_OR_F64(2e-5, 1e-7))) fail_msg("%s: gradient off by %g", term_names[term], error);
        mem_free(gradient);
    }
    print_message("parity: values within %.1e of PyTorch's, gradients %.1e\n", worst, worst_gradient);
    assert_true(worst < F32_OR_F64(2e-6, 1e-8));
    fixture_close(&fixture);
    mem_free(want);
    mem_free(got);
    sample_free(&s);
}

static Sample random_sample(Fixture *fixture) {
    *fixture = fixture_open("../losses/random");
    const WeightEntry *d = fixture_entry(fixture, "disparity");
    Sample s = sample_make(d->size[0], d->size[2], d->size[3]);
    for (int k = 0; k < MAPS; k++) read_map(fixture, map_names[k], s.n * s.h * s.w * (is_picture(k) ? 3 : 1), s.map[k]);
    return s;
}

/* Two samples of odd size, both rules, whole gradients. */
static void against_pytorch(void **state) {
    (void)state;
    Fixture fixture;
    Sample s = random_sample(&fixture);
    const int64_t count = s.n * s.h * s.w;
    real *want = mem_array((size_t)count, sizeof *want);
    double worst = 0, worst_gradient = 0;
    for (int rule = 0; rule < 2; rule++)
        for (int term = 0; term < TERMS; term++)
            for (int kind = RUN_DEFINITION; kind <= F32_OR_F64(RUN_FAST, RUN_DEFINITION); kind++) {
                char name[64];
                real *gradient = NULL;
                const double value =
                    evaluate(&s, (Term)term, (LossRule)rule, (RunKind)kind, term == MASK ? NULL : &gradient);
                snprintf(name, sizeof name, "%s.%s", rule ? "reference" : "ours", term_names[term]);
                worst = fmax(worst, fabs(value / metadata_number(&fixture, name) - 1));
                if (term == MASK) continue;
                /* a gradient equal in both rules is kept once */
                if (!weights_find(fixture.file, name)) snprintf(name, sizeof name, "ours.%s", term_names[term]);
                read_map(&fixture, name, count, want);
                const double error = gradient_error(gradient, want, count);
                worst_gradient = fmax(worst_gradient, error);
                if (!(error < F32_OR_F64(2e-5, 1e-7))) fail_msg("%s: gradient off by %g", name, error);
                mem_free(gradient);
            }
    print_message("random: values within %.1e of PyTorch's, gradients %.1e\n", worst, worst_gradient);
    assert_true(worst < F32_OR_F64(5e-6, 1e-9));
    mem_free(want);
    sample_free(&s);
    fixture_close(&fixture);
}

/* ---- differences in double; fast against definition in single ---- */

typedef struct {
    Term term;
    LossRule rule;
} CheckedTerm;

static void record_checked(Program *p, const void *context) {
    const CheckedTerm *c = context;
    Tensor *m[MAPS];
    for (int k = 0; k < MAPS; k++)
        m[k] = program_input(p, map_names[k], DTYPE_F32, 4, (int64_t[]){2, is_picture(k) ? 3 : 1, 9, 13});
    program_output(p, "loss", record_term(m, c->term, c->rule));
}

static void differences(void **state) {
    (void)state;
    for (int rule = 0; rule < 2; rule++)
        for (int term = 0; term < MASK; term++) {
            const bool same = term == PHOTOMETRIC || (term >= SIGN && term <= SMOOTHNESS);
            if (rule && same) continue;
            char what[64];
            snprintf(what, sizeof what, "%s, %s", term_names[term], same ? "both rules" : rule ? "reference" : "ours");
            const CheckedTerm checked = {(Term)term, (LossRule)rule};
            gradient_check(what, record_checked,
                           .input = {{"left", 0, 1, true},
                                     {"right", 0, 1, true},
                                     {"gt", -6, 6, true},
                                     {"conf", -0.2, 1, true},
                                     {"occ", 0, 1, true},
                                     {"target", -6, 6, true},
                                     {"weight", -0.5, 1, true},
                                     {"disparity", -6, 6, false}},
                           .context = &checked, .bound = 1e-5, .fast = 5e-5, .kinks = 0.05);
        }
}

/* ---- nothing to learn from ---- */

static void empty_masks(void **state) {
    (void)state;
    Fixture fixture;
    Sample s = random_sample(&fixture);
    const int64_t count = s.n * s.h * s.w;
    for (int64_t i = 0; i < count; i++) {
        s.map[CONFIDENCE][i] = s.map[WEIGHT][i] = s.map[GT][i] = s.map[TARGET][i] = 0;
        s.map[DISPARITY][i] = i % 2 ? 1000 : -1000; /* every match outside the picture */
    }
    for (int rule = 0; rule < 2; rule++)
        for (int term = 0; term < TERMS; term++) {
            real *gradient = NULL;
            const double value = evaluate(&s, (Term)term, (LossRule)rule, F32_OR_F64(RUN_FAST, RUN_DEFINITION),
                                          term == MASK ? NULL : &gradient);
            assert_true(isfinite(value));
            /* the reference's translucency counts pixels without any truth when they look translucent */
            const bool nothing =
                term <= SIGN_MAGNITUDE || (rule == LOSS_OURS && (term == TRANSLUCENCY || term == TRANSLUCENCY_LITTLE));
            if (nothing) assert_true(value == 0);
            for (int64_t i = 0; gradient && i < count; i++)
                assert_true(isfinite((double)gradient[i]) && (!nothing || gradient[i] == 0));
            mem_free(gradient);
        }
    sample_free(&s);
    fixture_close(&fixture);
}

/* ---- one sign ---- */

/* A constant disparity is tried on a random-dot plane at d: where is each loss smallest? */
static void one_sign(void **state) {
    (void)state;
    static const int planes[] = {6, -5};
    for (size_t i = 0; i < 2; i++) {
        RandomDot dots;
        const RandomDotOptions plane = {
            .width = 160, .height = 96, .square = planes[i], .ground = planes[i], .channels = 3};
        assert_int_equal(random_dot_make(&dots, &plane), 0);
        const int w = dots.left.width, h = dots.left.height, count = w * h, d = planes[i];
        Sample s = sample_make(1, h, w);
        float *match = mem_array(2 * (size_t)count, sizeof *match);
        for (int rule = 0; rule < 2; rule++) {
            if (rule == LOSS_OURS)
                assert_int_equal(ncc_match(NULL, dots.left.bytes, dots.right.bytes, w, h, 3,
                                           &(NccOptions){.range_percent = 6}, match, match + count, NULL),
                                 0);
            else
                assert_int_equal(
                    ncc_match_reference(NULL, dots.left.bytes, dots.right.bytes, w, h, 3, match, match + count), 0);
            for (int k = 0; k < count; k++) {
                for (int c = 0; c < 3; c++) {
                    s.map[LEFT][c * count + k] = (real)dots.left.bytes[3 * k + c] / 255;
                    s.map[RIGHT][c * count + k] = (real)dots.right.bytes[3 * k + c] / 255;
                }
                s.map[GT][k] = (real)dots.truth.values[k];
                s.map[OCCLUSION][k] = s.map[CONFIDENCE][k] = (real)dots.visible.values[k];
                s.map[TARGET][k] = match[k], s.map[WEIGHT][k] = match[count + k];
            }
            static const Term terms[] = {PHOTOMETRIC, SIGN_MAGNITUDE, ANCHOR, TRANSLUCENCY, MASK, PHASE_3};
            int smallest[6] = {0};
            double least[6];
            for (int t = 0; t < 6; t++) {
                least[t] = INFINITY;
                Recorded r = recorded_make(&s, terms[t], (LossRule)rule, VALUE_ALONE);
                for (int tried = -9; tried <= 9; tried++) {
                    real *disparity = runner_data(r.runner, r.map[DISPARITY]); /* one channel: a plane */
                    for (int k = 0; k < count; k++) disparity[k] = (real)tried;
                    const double value = recorded_run(&r, F32_OR_F64(RUN_FAST, RUN_DEFINITION));
                    if (value < least[t]) least[t] = value, smallest[t] = tried;
                }
                recorded_drop(&r);
            }
            print_message("plane at d = %+d, %s: smallest at photometric %+d, sign and magnitude %+d, anchor %+d, "
                          "translucency %+d (mask %+d), phase 3 %+d\n",
                          d, rule ? "reference" : "ours", smallest[0], smallest[1], smallest[2], smallest[3],
                          smallest[4], smallest[5]);
            assert_int_equal(smallest[0], d);
            if (rule == LOSS_OURS) {
                for (int t = 1; t < 6; t++) assert_int_equal(smallest[t], d);
            } else {
                assert_true(smallest[1] * d < 0); /* the other sign */
                assert_true(smallest[4] * d < 0); /* translucency looks there too */
                if (d > 0) assert_int_equal(smallest[2], d);
            }
        }
        mem_free(match);
        sample_free(&s);
        random_dot_free(&dots);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_parity), cmocka_unit_test(against_pytorch), cmocka_unit_test(differences),
        cmocka_unit_test(empty_masks),      cmocka_unit_test(one_sign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
