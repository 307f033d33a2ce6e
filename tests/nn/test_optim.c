/* Optimisers and schedules against PyTorch (tests/fixtures/nn/optim.safetensors, tools/ref/make_optim_fixtures.py), and
 * what PyTorch has no say in: threads, groups, steps that are skipped, the average. */
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "nn/optim.h"
#include "tensor/files/weights.h"
#include "tests/lib/check.h"

#include <math.h>

enum { STEPS = 10 };

static void must(int code) {
    if (code) fail_msg("%s", err_sentence());
}

static Weights *open_fixture(void) {
    Weights *file;
    must(weights_open("tests/fixtures/nn/optim.safetensors", &file));
    return file;
}

static int64_t read_doubles(const Weights *file, const char *name, double *out) {
    const WeightEntry *entry = weights_find(file, name);
    assert_non_null(entry);
    must(weights_read_part(file, entry, 0, entry->count, out));
    return entry->count;
}

/* A program that only has parameters: a (3,5,2) and b (7). */
static ParameterList *two_parameters(void) {
    Program *program = program_make();
    program_weight(program, "a", 3, (int64_t[]){3, 5, 2});
    program_weight(program, "b", 1, (int64_t[]){7});
    ParameterList *list = parameters_of(program);
    program_drop(program);
    assert_non_null(list);
    assert_int_equal(list->count, 2);
    assert_int_equal(list->numbers, 37);
    assert_int_equal(list->at[1].offset, 32);
    assert_int_equal(list->block, 48);
    return list;
}

static void draw(float *out, int64_t count, double scale, const char *format, ...) {
    char name[64];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    uint64_t seed = fnv1a64(name, strlen(name));
    for (int64_t i = 0; i < count; i++) out[i] = (float)(scale * rng_signed(seed, (uint64_t)i));
}

static void follow(const char *name, OptimOptions options) {
    Weights *file = open_fixture();
    ParameterList *list = two_parameters();
    double rates[STEPS];
    read_doubles(file, "rates", rates);
    char key[64];
    snprintf(key, sizeof key, "%s.norms", name);
    float norms[STEPS], w[48] = {0}, g[48] = {0}, want[32];
    must(weights_read_f32(file, weights_find(file, key), norms));
    for (int p = 0; p < 2; p++) draw(w + list->at[p].offset, list->at[p].count, 1, "optim/%s", list->at[p].name);
    Optim *optim;
    must(optim_make(list, &options, w, &optim));
    double worst = 0;
    for (int n = 0; n < STEPS; n++) {
        for (int p = 0; p < 2; p++) /* four parts summed, a loss scaled by 2 */
            draw(g + list->at[p].offset, list->at[p].count, 16, "optim/%s/%s/%d", name, list->at[p].name, n);
        OptimStep step = optim_step(optim, NULL, w, g, 1.0 / 8, rates[n]);
        assert_false(step.skipped);
        assert_true(fabs(step.norm - norms[n]) < 1e-5 * norms[n]);
        for (int p = 0; p < 2; p++) {
            snprintf(key, sizeof key, "%s.%s.%d", name, list->at[p].name, n);
            must(weights_read_f32(file, weights_find(file, key), want));
            for (int64_t i = 0; i < list->at[p].count; i++)
                worst = fmax(worst, fabs((double)w[list->at[p].offset + i] - (double)want[i]));
        }
        for (int i = 30; i < 32; i++) assert_true(w[i] == 0); /* between the parameters */
    }
    printf("%s: largest difference to PyTorch's f64 in ten steps %.2g\n", name, worst);
    assert_true(worst < 1e-6); /* weights near 1: ten roundings of f32 */
    assert_int_equal(optim_steps(optim), STEPS);
    optim_drop(optim);
    parameters_drop(list);
    weights_close(file);
}

static void methods_are_pytorchs(void **state) {
    (void)state;
    follow("adamw", (OptimOptions){.decay = 0.05});
    OptimGroup groups[] = {{.patterns = "x,a*", .rate = 0.1, .decay = 0.2}, {.patterns = "*", .rate = 1, .decay = 0}};
    follow("adamw_groups",
           (OptimOptions){
               .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-6, .clip = 5, .decay = 9, .group = groups, .groups = 2});
    follow("sgd", (OptimOptions){.method = OPTIM_SGD});
    follow("sgd_momentum", (OptimOptions){.method = OPTIM_SGD, .momentum = 0.9, .decay = 0.01, .clip = 3});
}

static void schedules_are_pytorchs(void **state) {
    (void)state;
    Weights *file = open_fixture();
    double want[64];
    RateSchedule cycle = {RATE_ONE_CYCLE, 0.4, 0, 0, 40};
    int64_t n = read_doubles(file, "one_cycle", want);
    for (int64_t i = 0; i < n; i++) assert_true(fabs(rate_at(&cycle, i) - want[i]) < 1e-12);
    RateSchedule cosine = {RATE_COSINE, 0.4, 0.1, 0, 30};
    n = read_doubles(file, "cosine", want);
    for (int64_t i = 0; i < n; i++) assert_true(fabs(rate_at(&cosine, i) - want[i]) < 1e-12);
    weights_close(file);
    /* after the end the last rate stays; a warm-up rises from the first step to the full rate at its last */
    assert_true(rate_at(&cycle, 1000) == rate_at(&cycle, 39));
    RateSchedule warm = {RATE_COSINE, 2, 0, 4, 100};
    assert_true(rate_at(&warm, 0) == 0.5 && rate_at(&warm, 3) == 2 && rate_at(&warm, 4) == 2);
    assert_true(rate_at(&warm, 52) > 0.99 && rate_at(&warm, 52) < 1.01 && rate_at(&warm, 99) < 0.001);
    RateSchedule constant = {RATE_CONSTANT, 2, 0, 2, 10};
    assert_true(rate_at(&constant, 0) == 1 && rate_at(&constant, 1) == 2 && rate_at(&constant, 99) == 2);
}

/* Three parameters, the middle one frozen, over many tiles. */
static ParameterList *large_parameters(void) {
    Program *program = program_make();
    program_weight(program, "body.0.weight", 2, (int64_t[]){301, 201});
    program_weight(program, "fixed.weight", 2, (int64_t[]){100, 77});
    program_weight(program, "body.1.weight", 3, (int64_t[]){5, 91, 67});
    ParameterList *list = parameters_of(program);
    program_drop(program);
    return list;
}

static void threads_change_nothing(void **state) {
    (void)state;
    ParameterList *list = large_parameters();
    size_t bytes = (size_t)list->block * sizeof(float);
    OptimGroup group = {.patterns = "fixed.*", .frozen = true};
    OptimOptions options = {.decay = 0.1, .clip = 1, .average = 0.99, .group = &group, .groups = 1};
    float *first = NULL, *first_average = NULL, *g = mem_zero(1, bytes);
    draw(g, list->at[2].offset + list->at[2].count, 1, "gradients");
    for (int64_t i = list->at[0].count; i < list->at[1].offset; i++) g[i] = 0;
    for (int64_t i = list->at[1].offset + list->at[1].count; i < list->at[2].offset; i++) g[i] = 0;
    static const int threads[] = {1, 2, 3, 7};
    for (int t = 0; t < 4; t++) {
        float *w = mem_zero(1, bytes);
        for (int p = 0; p < 3; p++) draw(w + list->at[p].offset, list->at[p].count, 1, "%s", list->at[p].name);
        float *before = mem_alloc(bytes);
        memcpy(before, w, bytes);
        Pool *pool = pool_make(threads[t]);
        Optim *optim;
        must(optim_make(list, &options, w, &optim));
        assert_int_equal(optim_trained(optim), 301 * 201 + 5 * 91 * 67);
        for (int n = 0; n < 5; n++) optim_step(optim, pool, w, g, 1, 1e-3);
        const Parameter *fixed = &list->at[1];
        assert_memory_equal(w + fixed->offset, before + fixed->offset, (size_t)fixed->count * sizeof *w);
        assert_true(w[7] != before[7]);
        float *average = optim_block(optim, OPTIM_AVERAGE);
        if (t == 0) {
            first = mem_alloc(bytes), first_average = mem_alloc(bytes);
            memcpy(first, w, bytes);
            memcpy(first_average, average, bytes);
        }
        assert_memory_equal(w, first, bytes);
        assert_memory_equal(average, first_average, bytes);
        optim_drop(optim);
        pool_drop(pool);
        mem_free(before);
        mem_free(w);
    }
    mem_free(first), mem_free(first_average), mem_free(g);
    parameters_drop(list);
}

static void a_bad_gradient_changes_nothing(void **state) {
    (void)state;
    ParameterList *list = two_parameters();
    OptimOptions options = {.average = 0.9};
    float w[48] = {0}, before[48], g[48] = {0};
    draw(w, 30, 1, "w");
    Optim *optim;
    must(optim_make(list, &options, w, &optim));
    draw(g, 30, 1, "g");
    optim_step(optim, NULL, w, g, 1, 0.1);
    float m[48], a[48];
    memcpy(before, w, sizeof w);
    memcpy(m, optim_block(optim, OPTIM_MOMENT1), sizeof m);
    memcpy(a, optim_block(optim, OPTIM_AVERAGE), sizeof a);
    static const float bad[] = {INFINITY, -INFINITY, NAN};
    for (int i = 0; i < 3; i++) {
        g[33] = bad[i];
        OptimStep step = optim_step(optim, NULL, w, g, 1, 0.1);
        assert_true(step.skipped);
        assert_memory_equal(w, before, sizeof w);
        assert_memory_equal(optim_block(optim, OPTIM_MOMENT1), m, sizeof m);
        assert_memory_equal(optim_block(optim, OPTIM_AVERAGE), a, sizeof a);
        assert_int_equal(optim_steps(optim), 1);
    }
    g[33] = 3e38f; /* its square overflows f32, not the norm */
    OptimStep step = optim_step(optim, NULL, w, g, 1, 0.1);
    assert_false(step.skipped);
    optim_drop(optim);
    parameters_drop(list);

    LossScale scale = {.scale = 65536, .patience = 3};
    loss_scale_update(&scale, true);
    assert_true(scale.scale == 32768);
    for (int i = 0; i < 3; i++) loss_scale_update(&scale, false);
    assert_true(scale.scale == 65536 && scale.good == 0);
    LossScale fixed = {.scale = 1};
    loss_scale_update(&fixed, true);
    assert_true(fixed.scale == 1);
}

/* a += (1-d)(w - a), with d = min(0.9, (1+t)/(10+t)), beside the same in double. */
static void the_average_follows(void **state) {
    (void)state;
    ParameterList *list = two_parameters();
    OptimOptions options = {.method = OPTIM_SGD, .average = 0.9};
    float w[48] = {1}, g[48] = {1};
    double a = 1, x = 1;
    Optim *optim;
    must(optim_make(list, &options, w, &optim));
    assert_null(optim_block(optim, OPTIM_MOMENT1));
    for (int t = 1; t <= 200; t++) {
        optim_step(optim, NULL, w, g, 1, 0.01);
        x -= 0.01;
        double d = fmin(0.9, (1.0 + t) / (10.0 + t));
        a += (1 - d) * (x - a);
    }
    assert_true(fabs((double)optim_block(optim, OPTIM_AVERAGE)[0] - a) < 1e-5);
    optim_drop(optim);
    parameters_drop(list);
}

/* b is given a gradient for ten steps and none after: it is told once its moment has died away, unless it is frozen. */
static void what_falls_silent_is_told(void **state) {
    (void)state;
    ParameterList *list = two_parameters();
    for (int frozen = 0; frozen < 2; frozen++) {
        Pool *pool = pool_make(1);
        float weights[48] = {0}, gradients[48] = {0};
        Optim *optim;
        OptimOptions options = {
            .method = OPTIM_ADAMW, .group = &(OptimGroup){.patterns = "b", .rate = 1, .frozen = frozen}, .groups = 1};
        must(optim_make(list, &options, weights, &optim));
        int first = -1;
        assert_int_equal(optim_silent(optim, &first), 0); /* before the first step nothing is known */
        for (int step = 0; step < 250; step++) {
            draw(gradients, 30, 1, "a/%d", step);
            draw(gradients + 32, 7, step < 10 ? 1 : 0, "b/%d", step);
            optim_step(optim, pool, weights, gradients, 1, 1e-3);
            if (step == 100) assert_int_equal(optim_silent(optim, &first), 0);
        }
        assert_int_equal(optim_silent(optim, &first), frozen ? 0 : 1);
        assert_int_equal(first, frozen ? -1 : 1);
        optim_drop(optim);
        pool_drop(pool);
    }
    parameters_drop(list);
}

static void patterns_match(void **state) {
    (void)state;
    static const struct {
        const char *patterns, *name;
        bool match;
    } cases[] = {{"*", "", true},
                 {"", "", false},
                 {"*.bias", "a.b.bias", true},
                 {"*.bias", "a.b.bias2", false},
                 {"x,*cnn_backbone*,y", "s.cnn_backbone.conv0.weight", true},
                 {"a*b*c", "a11b22b33c", true},
                 {"a*b*c", "a11b22b33d", false},
                 {"a**", "a", true},
                 {"a,b", "ab", false},
                 {"a,", "", false},
                 {"enc[0]", "enc[0]", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (name_matches(cases[i].patterns, cases[i].name) != cases[i].match)
            fail_msg("'%s' and '%s'", cases[i].patterns, cases[i].name);
    /* forty stars against a long name that does not match end at once */
    char stars[128] = "", name[2000];
    for (int i = 0; i < 40; i++) strcat(stars, "*a");
    strcat(stars, "b");
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = 0;
    assert_false(name_matches(stars, name));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods_are_pytorchs),   cmocka_unit_test(schedules_are_pytorchs),
        cmocka_unit_test(threads_change_nothing), cmocka_unit_test(a_bad_gradient_changes_nothing),
        cmocka_unit_test(the_average_follows),    cmocka_unit_test(what_falls_silent_is_told),
        cmocka_unit_test(patterns_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
