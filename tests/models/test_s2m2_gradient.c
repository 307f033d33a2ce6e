/* Gradients of S2M2 by parameter name beside PyTorch through the public code (tests/fixtures/s2m2/gradient_*, made by
 * tools/ref/make_s2m2_gradient_fixtures.py): XS whole, one transformer block of each other size; and ten steps of
 * training whose losses follow PyTorch's. Built twice: for f32, where replay runs the fast kernels; and for f64, where
 * the definitions run and must be the reference itself.
 *
 * What an f32 run can reach is the reference's own float32 gradient against its float64 one, `floor` in the file: the
 * length of the difference over the length of the gradient, for each parameter. */
#include "autograd/backward.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "exec/plan.h"
#include "models/s2m2.h"
#include "nn/optim.h"
#include "nn/store.h"
#include "tests/lib/check.h"

#include <math.h>

enum { PARAMETERS_MAX = 1500, NAME = 128 };

static void must(int code) {
    if (code) fail_msg("%s", err_sentence());
}

/* U of seeded.py, element by element. */
static uint64_t seed_of(const char *format, const char *name) {
    char text[NAME + 32];
    int n = snprintf(text, sizeof text, format, name);
    return fnv1a64(text, (size_t)n);
}

typedef struct {
    Weights *file;
    S2m2Options options;
    int gains;
    struct {
        char name[NAME];
        double gain;
    } gain[8];
    int parameters;
    char (*name)[NAME];
} Case;

static Case open_case(const char *which) {
    char path[256];
    snprintf(path, sizeof path, "tests/fixtures/s2m2/%s.safetensors", which);
    Case c = {.options = {.refine_iterations = 3}};
    must(weights_open(path, &c.file));
    const char *text = weights_metadata(c.file, "case");
    Json j;
    json_begin(&j, text, strlen(text), 8);
    assert_int_equal(json_next(&j), JSON_OBJECT);
    while (json_next(&j) == JSON_KEY) {
        if (json_is(&j, "size")) {
            char size[8];
            json_next(&j);
            assert_true(json_string(&j, size, sizeof size));
            c.options.channels = s2m2_size(size)->channels;
            c.options.blocks = s2m2_size(size)->blocks;
        } else if (json_is(&j, "scaled")) {
            json_next(&j);
            while (json_next(&j) == JSON_KEY) {
                assert_true(json_string(&j, c.gain[c.gains].name, NAME));
                json_next(&j);
                c.gain[c.gains++].gain = j.number;
            }
        } else {
            assert_int_equal(json_skip(&j), 0);
        }
    }
    text = weights_metadata(c.file, "names");
    if (!text) return c;
    c.name = mem_array(PARAMETERS_MAX, sizeof *c.name);
    assert_non_null(c.name);
    json_begin(&j, text, strlen(text), 8);
    assert_int_equal(json_next(&j), JSON_ARRAY);
    while (json_next(&j) == JSON_STRING) {
        assert_in_range(c.parameters, 0, PARAMETERS_MAX - 1);
        assert_true(json_string(&j, c.name[c.parameters++], NAME));
    }
    return c;
}

static void close_case(Case *c) {
    weights_close(c->file);
    mem_free(c->name);
}

static ParameterStore *seeded_store(const Case *c) {
    ParameterStore *store;
    must(store_make_seeded(&store));
    for (int i = 0; i < c->gains; i++) must(store_set_gain(store, c->gain[i].name, c->gain[i].gain));
    return store;
}

/* An f64 tensor of the file. */
static double *read_f64(const Case *c, const char *name, int64_t *count) {
    const WeightEntry *entry = weights_find(c->file, name);
    assert_true(entry && (entry->dtype == WEIGHT_F64 || entry->dtype == WEIGHT_F32));
    double *values = mem_array((size_t)entry->count, sizeof *values);
    assert_non_null(values);
    if (entry->dtype == WEIGHT_F64) {
        must(weights_read_part(c->file, entry, 0, (size_t)entry->count, values));
    } else {
        float *narrow = mem_array((size_t)entry->count, sizeof *narrow);
        assert_non_null(narrow);
        must(weights_read_f32(c->file, entry, narrow));
        for (int64_t i = 0; i < entry->count; i++) values[i] = narrow[i];
        mem_free(narrow);
    }
    *count = entry->count;
    return values;
}

static Tensor *record_network(const Case *c, Program *program) {
    const WeightEntry *left = weights_find(c->file, "left");
    Net net = {program};
    Tensor *pictures =
        program_input(program, "pictures", DTYPE_F32, 4, (int64_t[]){2, 3, left->size[0], left->size[1]});
    s2m2(&net, pictures, c->options);
    return pictures;
}

/* Channels-last, as the input lies. */
static void fill_pictures(const Case *c, real *to) {
    static const char *const eye[] = {"left", "right"};
    for (int i = 0; i < 2; i++) {
        const WeightEntry *entry = weights_find(c->file, eye[i]);
        float *pixels = mem_array((size_t)entry->count, sizeof *pixels);
        assert_non_null(pixels);
        must(weights_read_f32(c->file, entry, pixels));
        for (int64_t k = 0; k < entry->count; k++) *to++ = pixels[k];
        mem_free(pixels);
    }
}

/* ---- gradients ---- */

static const char *const maps[] = {"disparity", "occlusion", "confidence", "d0", "conf0", "occ0"};
enum { MAPS = 6 };

typedef struct {
    double norm, projection, element; /* largest errors, over what is allowed for a parameter */
    char name[3][NAME];
} Worst;

static void worse(double error, double *largest, char name[NAME], const char *parameter) {
    if (error <= *largest) return;
    *largest = isnan(error) ? INFINITY : error;
    snprintf(name, NAME, "%s", parameter);
}

/* `times`: how many floors a gradient may be off by; `least`: relative error that is always allowed; `spreads`: the
 * same of what the reference's own gradients move by when its weights are off by 1e-5 (0: the fixture need not say). */
static void check_gradients(const char *which, PlanOptions options, double times, double least, double spreads) {
    Case c = open_case(which);
    ParameterStore *store = seeded_store(&c);
    Program *program = program_make();
    assert_non_null(program);
    Tensor *pictures = record_network(&c, program), *loss = NULL, *weight[MAPS];
    for (int i = 0; i < MAPS; i++) {
        char name[32];
        Tensor *map = program_find(program, maps[i]);
        snprintf(name, sizeof name, "weight of %s", maps[i]);
        weight[i] = program_input(program, name, DTYPE_F32, 4, map->size);
        Tensor *part = t_mean(t_mul(weight[i], map));
        loss = loss ? t_add(loss, part) : part;
    }
    program_output(program, "loss", loss);
    /* all that the file does not tell about is frozen */
    const char **frozen = mem_array((size_t)program_tensors(program), sizeof *frozen);
    assert_non_null(frozen);
    int frozen_count = 0;
    for (int i = 0; i < program_tensors(program); i++) {
        const Tensor *t = program_tensor(program, i);
        bool told = false;
        if (t->kind != TENSOR_WEIGHT || t->base != t) continue;
        for (int k = 0; k < c.parameters && !told; k++) told = strcmp(c.name[k], t->name) == 0;
        if (!told) frozen[frozen_count++] = t->name;
    }
    must(backward(loss, &(BackwardOptions){.frozen = frozen, .frozen_count = frozen_count}));
    for (int k = 0; k < c.parameters; k++) {
        Tensor *t = program_find(program, c.name[k]);
        if (!t || !gradient_of(t)) fail_msg("%s has no gradient", c.name[k]);
        char name[NAME + 8];
        snprintf(name, sizeof name, "grad.%s", c.name[k]);
        program_output(program, name, gradient_of(t));
    }
    WeightSource source = store_source(store);
    Pool *pool = pool_make(2);
    Plan *plan;
    must(plan_make(program, &source, pool, options, &plan));
    fill_pictures(&c, plan_data(plan, pictures));
    for (int i = 0; i < MAPS; i++) {
        real *to = plan_data(plan, weight[i]);
        for (int64_t k = 0; k < tensor_count(weight[i]); k++)
            to[k] = (real)rng_signed(seed_of("loss/%s", maps[i]), (uint64_t)k);
    }
    must(plan_run(plan));

    int64_t n, elements;
    double *norm = read_f64(&c, "norm", &n), *projection = read_f64(&c, "projection", &n),
           *floor = read_f64(&c, "floor", &n), *spread = spreads > 0 ? read_f64(&c, "spread", &n) : NULL,
           *element = read_f64(&c, "element", &elements);
    elements /= n;
    Worst worst = {0};
    double total = 0;
    for (int k = 0; k < c.parameters; k++) total += norm[k] * norm[k];
    for (int k = 0; k < c.parameters; k++) {
        const Tensor *d = gradient_of(program_find(program, c.name[k]));
        const real *values = plan_data(plan, d);
        const int64_t count = tensor_count(d);
        double length = 0, along = 0, off = 0;
        uint64_t probe = seed_of("probe/%s", c.name[k]), place = seed_of("element/%s", c.name[k]);
        for (int64_t i = 0; i < count; i++) {
            length += (double)values[i] * (double)values[i];
            along += (double)values[i] * rng_signed(probe, (uint64_t)i);
        }
        for (int64_t i = 0; i < elements; i++) {
            int64_t at = (int64_t)((0.5 + 0.5 * rng_signed(place, (uint64_t)i)) * (double)count);
            off = fmax(off, fabs((double)values[at] - element[k * elements + i]));
        }
        /* a parameter whose gradient is nothing but rounding (a bias before a norm) is judged by the whole */
        double unit = fmax(norm[k], 1e-7 * sqrt(total)), allowed = (times * floor[k] + least) * unit;
        if (spread) allowed += spreads * spread[k] * norm[k];
        worse(fabs(sqrt(length) - norm[k]) / allowed, &worst.norm, worst.name[0], c.name[k]);
        worse(fabs(along - projection[k]) / allowed, &worst.projection, worst.name[1], c.name[k]);
        /* one element may be as far off as five times the mean one */
        worse(off / fmin(allowed, 5 * allowed / sqrt((double)count)), &worst.element, worst.name[2], c.name[k]);
    }
    double want = strtod(weights_metadata(c.file, "loss"), NULL), got = (double)*(const real *)plan_data(plan, loss);
    PlanFacts facts = plan_facts(plan);
    print_message("%s: %d parameters, loss off by %.1e; largest error over what is allowed: length %.2g (%s), "
                  "projection %.2g (%s), element %.2g (%s); %d nodes, %d steps, %.2f GFLOP, %.1f MiB\n",
                  which, c.parameters, fabs(got - want) / fabs(want), worst.norm, worst.name[0], worst.projection,
                  worst.name[1], worst.element, worst.name[2], facts.nodes, facts.steps, facts.flops / 1e9,
                  (double)facts.bytes / 1048576);
    assert_true(fabs(got - want) <= (1e-10 + times * 1e-5) * fabs(want));
    assert_true(worst.norm <= 1 && worst.projection <= 1 && worst.element <= 1);
    mem_free(norm);
    mem_free(projection);
    mem_free(floor);
    mem_free(spread);
    mem_free(element);
    mem_free(frozen);
    plan_drop(plan);
    pool_drop(pool);
    program_drop(program);
    store_close(store);
    close_case(&c);
}

#ifdef PANUM_F64
static void gradients_of_xs_are_the_references(void **state) {
    (void)state;
    check_gradients("gradient_xs", (PlanOptions){0}, 0, 1e-11, 0);
}
#else
/* Sums of another order, and polynomials for exp and erf: some times what PyTorch's own float32 loses. Winograd's
 * F(4x4) leaves about 1e-5 of a value, as if the weights were off by that: what such a change does to the reference
 * bounds it. (Ten floors held with one compiler and not with another: this network's gradients move by fifty times what
 * its weights do.) */
static void gradients_of_xs_are_the_references(void **state) {
    (void)state;
    check_gradients("gradient_xs", (PlanOptions){.exact = true}, 5, 1e-5, 0);
    check_gradients("gradient_xs", (PlanOptions){0}, 10, 2e-5, 3);
}

/* ---- one program, many ways to run it ---- */

/* The gradients of all parameters of XS one after another; the loss is half the sum of squares of its results. */
static float *all_gradients(BackwardOptions walk, PlanOptions options, int threads, int64_t *count, PlanFacts *facts) {
    Case c = open_case("gradient_xs");
    ParameterStore *store = seeded_store(&c);
    Program *program = program_make();
    assert_non_null(program);
    Tensor *pictures = record_network(&c, program), *loss = NULL;
    for (int i = 0; i < MAPS; i++) {
        Tensor *part = t_affine(t_mean(t_square(program_find(program, maps[i]))), 0.5, 0);
        loss = loss ? t_add(loss, part) : part;
    }
    must(backward(loss, &walk));
    *count = 0;
    for (int k = 0; k < c.parameters; k++) {
        Tensor *d = gradient_of(program_find(program, c.name[k]));
        assert_non_null(d);
        program_output(program, c.name[k], d);
        *count += tensor_count(d);
    }
    WeightSource source = store_source(store);
    Pool *pool = pool_make(threads);
    Plan *plan;
    must(plan_make(program, &source, pool, options, &plan));
    fill_pictures(&c, plan_data(plan, pictures));
    must(plan_run(plan));
    float *all = mem_array((size_t)*count, sizeof *all), *to = all;
    assert_non_null(all);
    for (int k = 0; k < c.parameters; k++) {
        const Tensor *d = program_output_at(program, program_outputs(program) - c.parameters + k, NULL);
        memcpy(to, plan_data(plan, d), tensor_bytes(d));
        to += tensor_count(d);
    }
    *facts = plan_facts(plan);
    plan_drop(plan);
    pool_drop(pool);
    program_drop(program);
    store_close(store);
    close_case(&c);
    return all;
}

static void neither_threads_nor_recompute_change_a_bit(void **state) {
    (void)state;
    static const char *const scopes[] = {"cnn_backbone", "transformer.*", "*.refine_unet", "refiner", "upsample*"};
    const struct {
        const char *what;
        BackwardOptions walk;
        int threads;
        bool less; /* than the first in memory */
    } way[] = {{"everything kept", {.keep_all = true}, 2, false},
               {"three threads", {.keep_all = true}, 3, false},
               {"what is light recomputed", {.keep_all = false}, 1, true},
               {"scopes recomputed", {.recompute = scopes, .recompute_count = 5}, 2, true}};
    float *first = NULL;
    int64_t n;
    PlanFacts kept = {0}, facts;
    for (size_t i = 0; i < sizeof way / sizeof *way; i++) {
        float *got = all_gradients(way[i].walk, (PlanOptions){0}, way[i].threads, &n, &facts);
        print_message("  %-26s %6.1f MiB, %5.1f kept, %.2f GFLOP\n", way[i].what, (double)facts.bytes / 1048576,
                      (double)facts.kept / 1048576, facts.flops / 1e9);
        if (!first) {
            first = got;
            kept = facts;
            continue;
        }
        if (memcmp(first, got, (size_t)n * sizeof *got) != 0) fail_msg("%s: other bits", way[i].what);
        assert_true(!way[i].less || facts.bytes < kept.bytes);
        mem_free(got);
    }
    float *exact = all_gradients((BackwardOptions){0}, (PlanOptions){.exact = true}, 2, &n, &facts);
    float *plain = all_gradients((BackwardOptions){0}, (PlanOptions){.exact = true, .interpret = true}, 2, &n, &facts);
    if (memcmp(exact, plain, (size_t)n * sizeof *exact) != 0) fail_msg("replay is not the interpreter bit for bit");
    mem_free(first);
    mem_free(exact);
    mem_free(plain);
}

/* The gradient jumps where a position of the lookup passes a column or a ReLU its zero, which rounding decides. In the
 * large networks some always do: PyTorch's own float32 is off for it by up to 1.5e-3 in M and 1.9e-3 in L, in other
 * parameters than ours, and which they are differs between AVX2 and AVX-512. */
static const double jumps = 2e-3;

static void gradients_of_a_block_of_each_size(void **state) {
    (void)state;
    check_gradients("gradient_s", (PlanOptions){0}, 10, 2e-5, 0);
    check_gradients("gradient_m", (PlanOptions){0}, 10, jumps, 0);
    check_gradients("gradient_l", (PlanOptions){0}, 10, jumps, 0);
}

/* 406 million parameters: 3.2 GiB for them and their packed copies. */
static void gradients_of_a_block_of_xl(void **state) {
    (void)state;
    check_gradients("gradient_xl", (PlanOptions){0}, 10, jumps, 0);
}

/* ---- ten steps ---- */

enum { STEPS = 10, RESULTS = 3 };

/* The maps that the steps pull the results to, by formula. */
static void fill_targets(real *to, int64_t height, int64_t width, int result) {
    for (int64_t v = 0; v < height; v++)
        for (int64_t u = 0; u < width; u++) {
            double y = (double)v / (double)height, x = (double)u / (double)width;
            double value[RESULTS] = {6 * sin(3 * x + 2 * y) - 2, 0.9 - 0.5 * x * y, 0.6 + 0.3 * (x - y)};
            *to++ = (real)value[result];
        }
}

/* Losses follow PyTorch's float64 ones within three times what those stray when the first weights are disturbed by a
 * millionth of themselves, and a thousandth of a per cent beside. Rounding grows from step to step, and at a kink (a
 * ReLU, the column that a maximum or a lookup takes) it decides a branch: of AdamW's disturbed runs some keep within
 * 1e-5 of the path and others leave it by up to 6e-4, at once. Which way a compiler's rounding goes cannot be known;
 * how far apart the ways are is PyTorch's own finding, and in the file. */
static void check_steps(const char *which, OptimOptions options, double rate) {
    static const double share[RESULTS] = {0.1, 1, 1};
    Case c = open_case(which);
    Program *program = program_make();
    assert_non_null(program);
    Tensor *pictures = record_network(&c, program), *loss = NULL, *target[RESULTS];
    for (int i = 0; i < RESULTS; i++) {
        char name[32];
        Tensor *map = program_find(program, maps[i]);
        snprintf(name, sizeof name, "target of %s", maps[i]);
        target[i] = program_input(program, name, DTYPE_F32, 4, map->size);
        Tensor *part = t_affine(t_mean(t_square(t_sub(map, target[i]))), share[i], 0);
        loss = loss ? t_add(loss, part) : part;
    }
    program_output(program, "loss", loss);
    must(backward(loss, NULL));

    ParameterStore *seeded = seeded_store(&c), *store;
    must(store_make_trainable(program, &store));
    const ParameterList *list = store_parameters(store);
    WeightSource from = store_source(seeded), source = store_source(store);
    float *weights = store_block(store), *gradients = mem_zero((size_t)list->block, sizeof *gradients);
    assert_non_null(gradients);
    for (int k = 0; k < list->count; k++) {
        const Tensor *t = program_find(program, list->at[k].name);
        const float *values = from.values(from.context, t);
        assert_non_null(values);
        memcpy(weights + list->at[k].offset, values, (size_t)list->at[k].count * sizeof *values);
        if (gradient_of(t)) {
            char name[NAME + 8];
            snprintf(name, sizeof name, "grad.%s", t->name);
            program_output(program, name, gradient_of(t));
        }
    }
    Pool *pool = pool_make(2);
    Plan *plan;
    must(plan_make(program, &source, pool, (PlanOptions){0}, &plan));
    fill_pictures(&c, plan_data(plan, pictures));
    for (int i = 0; i < RESULTS; i++)
        fill_targets(plan_data(plan, target[i]), target[i]->size[2], target[i]->size[3], i);
    Optim *optim;
    must(optim_make(list, &options, weights, &optim));

    int64_t n;
    double *want = read_f64(&c, "loss", &n), *single = read_f64(&c, "loss32", &n), *spread = read_f64(&c, "spread", &n);
    double strayed = 0, worst = 0;
    assert_int_equal(n, STEPS + 1);
    for (int step = 0; step <= STEPS; step++) {
        must(plan_run(plan));
        double got = (double)*(const float *)plan_data(plan, loss);
        strayed = fmax(strayed, spread[step]);
        const double off = fabs(got - want[step]) / want[step], allowed = 3 * strayed + 1e-5;
        print_message("  step %2d  loss %.6f  PyTorch %.6f, off by %.1e (its float32 %.1e)\n", step, got, want[step],
                      off, fabs(single[step] - want[step]) / want[step]);
        worst = fmax(worst, off / allowed);
        if (step == STEPS) break;
        for (int k = 0; k < list->count; k++) {
            const Tensor *d = gradient_of(program_find(program, list->at[k].name));
            if (d)
                memcpy(gradients + list->at[k].offset, plan_data(plan, d), (size_t)list->at[k].count * sizeof(float));
        }
        OptimStep done = optim_step(optim, pool, weights, gradients, 1, rate);
        assert_false(done.skipped);
        plan_repack(plan);
    }
    print_message("%s: largest difference over what is allowed %.2g\n", which, worst);
    assert_true(worst <= 1);
    assert_true(want[STEPS] < 0.9 * want[0]); /* and it learns */
    mem_free(want);
    mem_free(single);
    mem_free(spread);
    mem_free(gradients);
    optim_drop(optim);
    plan_drop(plan);
    pool_drop(pool);
    program_drop(program);
    store_close(store);
    store_close(seeded);
    close_case(&c);
}

static void ten_steps_follow_pytorch(void **state) {
    (void)state;
    check_steps("steps_adamw", (OptimOptions){.method = OPTIM_ADAMW, .decay = 1e-2}, 3e-5);
    check_steps("steps_sgd", (OptimOptions){.method = OPTIM_SGD, .momentum = 0.9}, 3e-8);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_xs_are_the_references),
#ifndef PANUM_F64
        cmocka_unit_test(neither_threads_nor_recompute_change_a_bit),
        cmocka_unit_test(gradients_of_a_block_of_each_size),
        cmocka_unit_test(gradients_of_a_block_of_xl),
        cmocka_unit_test(ten_steps_follow_pytorch),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
