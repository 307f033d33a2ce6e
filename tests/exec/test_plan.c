/* The plan: what it fuses (golden text), that replay and interpreter agree, that neither threads nor reuse of memory
 * change a bit, that nothing is allocated between two runs, and what it refuses. */
#include "autograd/backward.h"
#include "base/mem.h"
#include "base/rng.h"
#include "exec/plan.h"
#include "models/s2m2.h"
#include "nn/net.h"
#include "nn/store.h"
#include "tests/lib/check.h"

#include <math.h>

static void must(int code) {
    if (code) fail_msg("%s", err_sentence());
}

/* A block with everything fusion knows: a concatenation, holes on store, a region alone, a broadcast map, a residual.
 */
static Program *small_program(int64_t side) {
    Program *program = program_make();
    assert_non_null(program);
    Net net = {program};
    Tensor *x = program_input(program, "x", DTYPE_F32, 4, (int64_t[]){1, 16, side, side});
    Tensor *mask = program_input(program, "mask", DTYPE_F32, 4, (int64_t[]){1, 1, side, side});
    Tensor *y = NULL;
    NN_SCOPE(&net, "block") {
        Tensor *a = t_gelu(nn_conv3(&net, "a", x, 16));
        Tensor *z = t_cat(1, x, a);
        Tensor *g = t_clamp(t_sigmoid(nn_conv1(&net, "g", z, 16)), 0.01, 0.99);
        Tensor *f = nn_conv1(&net, "f", z, 16);
        y = t_add(t_add(f, t_mul(g, x)), t_mul(t_affine(g, -1, 1), a));
        y = t_mul(t_relu(y), mask);
        Tensor *t = t_layer_norm(t_tokens(y), NULL, NULL, 1e-5);
        y = t_add(y, t_map(nn_linear(&net, "l", t, 16, WITH_BIAS), 1, side, side));
        y = t_tanh(t_affine(t_avg_pool2(y), 2, 0.5));
    }
    program_output(program, "y", y);
    return program;
}

static void fill(real *data, int64_t n, uint64_t seed) {
    for (int64_t i = 0; i < n; i++) data[i] = (real)rng_signed(seed, (uint64_t)i);
}

static void fill_inputs(const Plan *plan, const Program *program) {
    for (int i = 0; i < program_tensors(program); i++) {
        const Tensor *t = program_tensor(program, i);
        if (t->kind == TENSOR_INPUT && t->base == t) fill(plan_data(plan, t), tensor_count(t), (uint64_t)i);
    }
}

static char *steps_text(const Plan *plan) {
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    plan_print_steps(plan, to);
    fclose(to);
    return text;
}

static void fused_steps_have_this_text(void **state) {
    (void)state;
    Program *program = small_program(8);
    ParameterStore *store;
    must(store_make_seeded(&store));
    WeightSource source = store_source(store);
    Plan *plan;
    must(plan_make(program, &source, NULL, (PlanOptions){0}, &plan));
    char *text = steps_text(plan);
    FILE *file = fopen("tests/exec/small_program.golden", "r");
    char golden[8192] = "";
    if (file) {
        golden[fread(golden, 1, sizeof golden - 1, file)] = 0;
        fclose(file);
    }
    if (strcmp(text, golden) != 0) fail_msg("steps are now:\n%s", text);
    free(text);
    PlanFacts facts = plan_facts(plan);
    assert_int_equal(facts.steps, 7);
    assert_true(facts.bytes >= facts.live_peak);
    plan_drop(plan);
    program_drop(program);
    store_close(store);
}

/* Runs the program in some way and returns a copy of its output. */
static float *output_of(Program *program, ParameterStore *store, PlanOptions options, int threads, const char *name,
                        int64_t *count) {
    WeightSource source = store_source(store);
    Pool *pool = pool_make(threads);
    Plan *plan;
    must(plan_make(program, &source, pool, options, &plan));
    fill_inputs(plan, program);
    must(plan_run(plan));
    /* once more: inputs keep their place, and what is left in the block from before must not matter */
    must(plan_run(plan));
    const Tensor *t = program_find(program, name);
    *count = tensor_count(t);
    float *copy = mem_array((size_t)*count, sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, plan_data(plan, t), (size_t)*count * sizeof *copy);
    plan_drop(plan);
    pool_drop(pool);
    return copy;
}

static void replay_equals_interpreter_and_definitions(void **state) {
    (void)state;
    static const int64_t sides[] = {2, 7, 8, 33};
    for (int i = 0; i < 4; i++) {
        Program *program = small_program(sides[i]);
        ParameterStore *store;
        must(store_make_seeded(&store));
        int64_t n;
        float *truth = output_of(program, store, (PlanOptions){.definitions = true}, 1, "y", &n);
        float *interpreted = output_of(program, store, (PlanOptions){.interpret = true, .exact = true}, 2, "y", &n);
        float *replayed = output_of(program, store, (PlanOptions){.exact = true}, 2, "y", &n);
        float *winograd = output_of(program, store, (PlanOptions){0}, 2, "y", &n);
        assert_close_f32("interpreter", interpreted, truth, n, 1e-12);
        assert_close_f32("replay", replayed, truth, n, 1e-12);
        assert_close_f32("replay with Winograd", winograd, truth, n, 1e-10);
        mem_free(truth);
        mem_free(interpreted);
        mem_free(replayed);
        mem_free(winograd);
        program_drop(program);
        store_close(store);
    }
}

/* What the plan takes in another order: a 1x1 convolution of a map beside enlarged ones, and layers with nothing but
 * one head of attention between them. */
static Program *reordered_program(int64_t side, int64_t channels) {
    Program *program = program_make();
    assert_non_null(program);
    Net net = {program};
    Tensor *x = program_input(program, "x", DTYPE_F32, 4, (int64_t[]){2, channels, 2 * side, 2 * side + 2});
    Tensor *small = program_input(program, "small", DTYPE_F32, 4, (int64_t[]){2, channels, side, side + 1});
    Tensor *large = t_resize_bilinear(small, 2 * side, 2 * side + 2);
    Tensor *other = t_resize_bilinear(t_relu(small), 2 * side, 2 * side + 2);
    Tensor *y = nn_conv1(&net, "held", t_cat(1, x, large, other), 40);     /* through a hole, */
    y = nn_conv1(&net, "next", t_cat(1, t_gelu(y), large), channels);      /* straight, */
    y = t_add(y, nn_conv1(&net, "thin", t_cat(1, t_square(y), large), 1)); /* and not at all */
    for (int swap = 0; swap < 2; swap++) {
        NN_SCOPE(&net, swap ? "cross" : "self") {
            Tensor *t = t_layer_norm(t_row_tokens(y), NULL, NULL, 1e-5);
            Tensor *q = nn_linear(&net, "q", t, channels, WITHOUT_BIAS);
            Tensor *k = nn_linear(&net, "k", t, channels, WITHOUT_BIAS),
                   *v = nn_linear(&net, "v", t, channels, WITH_BIAS);
            Tensor *o = t_attention(q, k, v, .heads = 1, .swap_halves = swap);
            o = nn_linear(&net, "proj", o, channels, swap ? WITH_BIAS : WITHOUT_BIAS);
            y = t_add(y, t_map(o, 2, 2 * side, 2 * side + 2));
        }
    }
    program_output(program, "y", y);
    return program;
}

static void sums_in_another_order_are_the_same(void **state) {
    (void)state;
    static const int64_t sides[] = {1, 2, 9, 30}, channels[] = {16, 48, 33, 32};
    for (int i = 0; i < 4; i++) {
        Program *program = reordered_program(sides[i], channels[i]);
        ParameterStore *store;
        must(store_make_seeded(&store));
        WeightSource source = store_source(store);
        int64_t n;
        float *truth = output_of(program, store, (PlanOptions){.definitions = true}, 1, "y", &n);
        float *exact = output_of(program, store, (PlanOptions){.exact = true}, 2, "y", &n);
        float *one = output_of(program, store, (PlanOptions){0}, 1, "y", &n);
        float *two = output_of(program, store, (PlanOptions){0}, 3, "y", &n);
        assert_close_f32("exact", exact, truth, n, 1e-11);
        assert_close_f32("reordered", one, truth, n, 1e-11);
        assert_memory_equal(one, two, (size_t)n * sizeof *one);
        Plan *plan;
        must(plan_make(program, &source, NULL, (PlanOptions){.shape_only = true, .for_cpu = true}, &plan));
        char *text = steps_text(plan);
        assert_non_null(strstr(text, "(x | 2x small | 2x "));
        assert_non_null(strstr(text, "linear(%"));
        assert_non_null(strstr(text, "self.q.weight, -, self.k.weight, -)"));
        assert_non_null(strstr(text, "cross.v.weight, cross.v.bias, cross.proj.weight, cross.proj.bias)"));
        plan_drop(plan);
        free(text);
        mem_free(truth);
        mem_free(exact);
        mem_free(one);
        mem_free(two);
        program_drop(program);
        store_close(store);
    }
}

/* Results of more than PAST_BYTES: straight, through a hole that keeps one value and adds another, and with rows that
 * are no whole vectors. */
static void large_results_are_whole(void **state) {
    (void)state;
    static const int64_t columns[] = {1024, 1000};
    for (int i = 0; i < 2; i++) {
        Program *program = program_make();
        Net net = {program};
        Tensor *x = program_input(program, "x", DTYPE_F32, 3, (int64_t[]){1, 2203, 8});
        Tensor *wide = program_input(program, "wide", DTYPE_F32, 3, (int64_t[]){1, 2203, columns[i]});
        assert_true(tensor_bytes(wide) > PAST_BYTES);
        Tensor *straight = nn_linear(&net, "straight", x, columns[i], WITH_BIAS);
        Tensor *kept = t_gelu(nn_linear(&net, "held", x, columns[i], WITHOUT_BIAS));
        program_output(program, "straight", straight);
        program_output(program, "kept", kept);
        program_output(program, "sum", t_add(kept, wide));
        ParameterStore *store;
        must(store_make_seeded(&store));
        static const char *const names[] = {"straight", "kept", "sum"};
        for (int k = 0; k < 3; k++) {
            int64_t n;
            float *truth = output_of(program, store, (PlanOptions){.definitions = true}, 2, names[k], &n);
            float *got = output_of(program, store, (PlanOptions){0}, 2, names[k], &n);
            assert_close_f32(names[k], got, truth, n, 1e-12);
            mem_free(truth);
            mem_free(got);
        }
        program_drop(program);
        store_close(store);
    }
}

static Program *network(int64_t h, int64_t w) {
    Program *program = program_make();
    assert_non_null(program);
    Net net = {program};
    Tensor *pictures = program_input(program, "pictures", DTYPE_F32, 4, (int64_t[]){2, 3, h, w});
    s2m2(&net, t_affine(pictures, 127.5, 127.5), (S2m2Options){.channels = 32, .blocks = 1, .refine_iterations = 2});
    return program;
}

static void threads_change_no_bit(void **state) {
    (void)state;
    Program *program = network(64, 96);
    ParameterStore *store;
    must(store_make_seeded(&store));
    int64_t n;
    float *one = output_of(program, store, (PlanOptions){0}, 1, "disparity", &n);
    for (int threads = 2; threads <= 5; threads += 3) {
        float *more = output_of(program, store, (PlanOptions){0}, threads, "disparity", &n);
        assert_memory_equal(one, more, (size_t)n * sizeof *one);
        mem_free(more);
    }
    /* keeping taps gives other lifetimes and other fusion, but the same numbers up to rounding */
    float *taps = output_of(program, store, (PlanOptions){.keep_taps = true}, 2, "disparity", &n);
    assert_close_f32("with taps", taps, one, n, 1e-9);
    mem_free(one);
    mem_free(taps);
    program_drop(program);
    store_close(store);
}

static void two_sizes_share_a_store_and_runs_allocate_nothing(void **state) {
    (void)state;
    ParameterStore *store;
    must(store_make_seeded(&store));
    WeightSource source = store_source(store);
    Program *small = network(32, 64), *large = network(64, 64);
    Plan *a, *b;
    must(plan_make(small, &source, NULL, (PlanOptions){0}, &a));
    size_t packed = store_packed_bytes(store);
    must(plan_make(large, &source, NULL, (PlanOptions){0}, &b));
    print_message("packed copies: %zu bytes for one size, %zu for both\n", packed, store_packed_bytes(store));
    assert_true(store_packed_bytes(store) < 2 * packed || packed == 0);
    fill_inputs(a, small);
    fill_inputs(b, large);
    MemUse before = mem_use();
    must(plan_run(a));
    must(plan_run(b));
    must(plan_run(a));
    assert_true(mem_use().requests == before.requests);
    plan_drop(a);
    plan_drop(b);
    program_drop(small);
    program_drop(large);
    store_close(store);
}

static void too_small_a_limit_is_refused_before_allocating(void **state) {
    (void)state;
    Program *program = network(64, 64);
    ParameterStore *store;
    must(store_make_seeded(&store));
    WeightSource source = store_source(store);
    Plan *plan;
    size_t live = mem_use().live;
    assert_int_equal(plan_make(program, &source, NULL, (PlanOptions){.memory_limit = 100000}, &plan), ERR_MEMORY);
    assert_null(plan);
    assert_true(strstr(err_sentence(), "limit") != NULL);
    assert_int_equal(mem_use().live, live);
    program_drop(program);
    store_close(store);
}

static void memory_is_what_is_alive(void **state) {
    (void)state;
    Program *program = network(64, 96);
    ParameterStore *store;
    must(store_make_seeded(&store));
    WeightSource source = store_source(store);
    Plan *fused, *plain;
    must(plan_make(program, &source, NULL, (PlanOptions){0}, &fused));
    must(plan_make(program, &source, NULL, (PlanOptions){.interpret = true}, &plain));
    PlanFacts f = plan_facts(fused), p = plan_facts(plain);
    print_message("fused: %d steps, %zu bytes (%zu alive); interpreted: %d steps, %zu bytes\n", f.steps, f.bytes,
                  f.live_peak, p.steps, p.bytes);
    assert_true(f.steps < p.steps);
    assert_true(f.bytes <= f.live_peak + f.live_peak / 10); /* first fit by size loses at most a tenth here */
    plan_drop(fused);
    plan_drop(plain);
    program_drop(program);
    store_close(store);
}

/* An operator with several results, the first of which goes through its hole on store: the gradient of a norm whose
 * input's gradient is scaled at once. The others, gradients of scale and shift, are results as before. */
static void results_beside_a_hole_are_kept(void **state) {
    (void)state;
    Program *program = program_make();
    Net net = {program};
    Tensor *x = program_input(program, "x", DTYPE_F32, 3, (int64_t[]){1, 5, 32});
    Tensor *y = nn_layer_norm(&net, "norm", t_gelu(nn_linear(&net, "proj", x, 32, WITH_BIAS)));
    Tensor *loss = t_sum(t_square(y));
    program_output(program, "loss", loss);
    assert_int_equal(backward(loss, &(BackwardOptions){0}), 0);
    static const char *const names[] = {"norm.weight", "norm.bias", "proj.weight"};
    Tensor *gradient[3];
    for (int i = 0; i < 3; i++) {
        gradient[i] = gradient_of(program_find(program, names[i]));
        program_output(program, "gradient", gradient[i]);
    }
    ParameterStore *store;
    must(store_make_seeded(&store));
    WeightSource source = store_source(store);
    Plan *plan[2];
    for (int k = 0; k < 2; k++) {
        must(plan_make(program, &source, NULL, (PlanOptions){.interpret = k == 1}, &plan[k]));
        float *in = plan_data(plan[k], x);
        for (int i = 0; i < 5 * 32; i++) in[i] = (float)rng_signed(1, (uint64_t)i);
        must(plan_run(plan[k]));
    }
    assert_true(plan_facts(plan[0]).steps < plan_facts(plan[1]).steps);
    for (int i = 0; i < 3; i++)
        assert_close_f32(names[i], plan_data(plan[0], gradient[i]), plan_data(plan[1], gradient[i]),
                         tensor_count(gradient[i]), 1e-12);
    plan_drop(plan[0]);
    plan_drop(plan[1]);
    store_close(store);
    program_drop(program);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_steps_have_this_text),
        cmocka_unit_test(replay_equals_interpreter_and_definitions),
        cmocka_unit_test(sums_in_another_order_are_the_same),
        cmocka_unit_test(large_results_are_whole),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(two_sizes_share_a_store_and_runs_allocate_nothing),
        cmocka_unit_test(too_small_a_limit_is_refused_before_allocating),
        cmocka_unit_test(memory_is_what_is_alive),
        cmocka_unit_test(results_beside_a_hole_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
