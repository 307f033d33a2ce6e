/* The block of parameters: where everything lies, what it begins with, its files, and plans that follow its changes. */
#include "base/mem.h"
#include "exec/plan.h"
#include "models/s2m2.h"
#include "nn/init.h"
#include "nn/store.h"
#include "tests/lib/check.h"

#include <math.h>

static void must(int code) {
    if (code) fail_msg("%s", err_sentence());
}

/* Every kind of layer that has parameters: (1,3,32,32) in, two maps out. */
static Program *record(Tensor **input, Tensor **output) {
    Program *program = program_make();
    Net net = {program};
    Tensor *x = program_input(program, "x", DTYPE_F32, 4, (int64_t[]){1, 3, 32, 32});
    *input = x;
    NN_SCOPE(&net, "body") {
        x = nn_conv3(&net, "conv", x, 48); /* large enough for Winograd */
        x = nn_conv3(&net, "conv2", t_gelu(x), 48);
        x = nn_group_norm(&net, "norm1", x, 8);
        Tensor *tokens = nn_linear(&net, "proj", nn_layer_norm(&net, "ln_norm", t_tokens(x)), 24, WITH_BIAS);
        x = nn_conv_transpose2d(&net, "up", t_map(tokens, 1, 32, 32), 6, .kernel_h = 2, .kernel_w = 2, .stride = 2);
    }
    program_output(program, "y", x);
    *output = x;
    return program;
}

static const Parameter *parameter(const ParameterList *list, const char *name) {
    int i = parameters_find(list, name);
    if (i < 0) fail_msg("no parameter %s", name);
    return &list->at[i];
}

/* Uniform in +-bound: nothing beyond, the ends are reached, the variance is bound^2/3. */
static void check_uniform(const ParameterList *list, const real *block, const char *name, double bound) {
    const Parameter *p = parameter(list, name);
    double largest = 0, square = 0;
    for (int64_t i = 0; i < p->count; i++) {
        double v = block[p->offset + i];
        largest = fmax(largest, fabs(v));
        square += v * v;
    }
    assert_true(largest <= bound);
    if (p->count < 500) return;
    assert_true(largest > 0.98 * bound);
    double variance = square / (double)p->count / (bound * bound / 3);
    assert_true(variance > 0.85 && variance < 1.15);
}

static void initial_values_are_pytorchs(void **state) {
    (void)state;
    Tensor *x, *y;
    Program *program = record(&x, &y);
    ParameterStore *store;
    must(store_make_trainable(program, &store));
    const ParameterList *list = store_parameters(store);
    real *block = store_block(store);
    init_parameters(program, list, 7, block);
    check_uniform(list, block, "body.conv.weight", 1 / sqrt(27));
    check_uniform(list, block, "body.conv.bias", 1 / sqrt(27));
    check_uniform(list, block, "body.conv2.weight", 1 / sqrt(48 * 9));
    check_uniform(list, block, "body.proj.weight", 1 / sqrt(48));
    check_uniform(list, block, "body.proj.bias", 1 / sqrt(48));
    check_uniform(list, block, "body.up.weight", 1 / sqrt(6 * 4)); /* PyTorch counts a transposed one's outputs */
    check_uniform(list, block, "body.up.bias", 1 / sqrt(6 * 4));
    const Parameter *scale = parameter(list, "body.norm1.weight"), *shift = parameter(list, "body.ln_norm.bias");
    for (int i = 0; i < 48; i++) assert_true(block[scale->offset + i] == 1 && block[shift->offset + i] == 0);
    /* the same seed gives the same numbers, another one others */
    real *again = mem_zero((size_t)list->block, sizeof *again);
    init_parameters(program, list, 7, again);
    assert_memory_equal(block, again, (size_t)list->block * sizeof *again);
    init_parameters(program, list, 8, again);
    assert_true(again[0] != block[0]);
    mem_free(again);
    store_close(store);
    program_drop(program);
}

/* All parameters of the real network are of a kind that has a rule: nothing is zero but biases of norms and the two
 * convolutions without a bias, which end the updates of the local refiner. */
static void every_parameter_of_s2m2_begins_with_something(void **state) {
    (void)state;
    Program *program = program_make();
    Net net = {program};
    Tensor *pictures = program_input(program, "pictures", DTYPE_U8, 4, (int64_t[]){2, 3, 64, 64});
    s2m2(&net, pictures, (S2m2Options){.channels = 32, .blocks = 1, .refine_iterations = 3});
    ParameterStore *store;
    must(store_make_trainable(program, &store));
    const ParameterList *list = store_parameters(store);
    real *block = store_block(store);
    init_parameters(program, list, 1, block);
    for (int i = 0; i < list->count; i++) {
        const Parameter *p = &list->at[i];
        bool zero = true;
        for (int64_t k = 0; k < p->count; k++) zero = zero && block[p->offset + k] == 0;
        bool norm_bias = strstr(p->name, "norm") && strstr(p->name, ".bias");
        bool update = strstr(p->name, "refiner.disp_update.2") || strstr(p->name, "refiner.conf_occ_update.2");
        if (zero != (norm_bias || update)) fail_msg("%s is %s", p->name, zero ? "zero" : "not zero");
    }
    printf("s2m2-XS: %d parameters, %lld numbers\n", list->count, (long long)list->numbers);
    store_close(store);
    program_drop(program);
}

static void files_hold_them(void **state) {
    (void)state;
    Tensor *x, *y;
    Program *program = record(&x, &y);
    ParameterStore *store, *other;
    must(store_make_trainable(program, &store));
    const ParameterList *list = store_parameters(store);
    init_parameters(program, list, 3, store_block(store));
    const char *folder = scratch_folder("parameters");
    real *block = mem_zero((size_t)list->block, sizeof *block);
    SafetensorsNote note = {"licence", "Apache-2.0"};
    for (int half = 0; half < 2; half++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s.safetensors", folder, half ? "f16" : "f32");
        Out *out;
        must(out_open(path, OUT_NEW, &out));
        must(parameters_write(list, store_block(store), half ? WEIGHT_F16 : WEIGHT_F32, &note, 1, out));
        must(out_commit(&out));
        must(parameters_load(list, path, "toy", block));
        for (int64_t i = 0; i < list->block; i++) {
            double v = store_block(store)[i];
            assert_true(half ? fabs((double)block[i] - v) <= fabs(v) / 2048 + 6e-8 : (double)block[i] == v);
        }
        /* the reader of weights that match uses takes them too */
        must(store_open(path, &other));
        must(store_check(other, program, "toy"));
        store_close(other);
    }
    /* another network is refused with what differs */
    Program *wrong = program_make();
    program_weight(wrong, "body.conv.weight", 4, (int64_t[]){48, 3, 3, 3});
    ParameterList *few = parameters_of(wrong);
    char path[600];
    snprintf(path, sizeof path, "%s/f32.safetensors", folder);
    assert_int_equal(parameters_load(few, path, "toy", block), ERR_WEIGHTS);
    parameters_drop(few);
    program_drop(wrong);
    /* numbers that f16 cannot hold, or that are none */
    store_block(store)[5] = 70000;
    Out *out;
    snprintf(path, sizeof path, "%s/bad.safetensors", folder);
    must(out_open(path, OUT_NEW, &out));
    assert_int_equal(parameters_write(list, store_block(store), WEIGHT_F16, NULL, 0, out), ERR_WEIGHTS);
    assert_non_null(strstr(err_sentence(), "body.conv.weight"));
    out_abort(&out);
    store_block(store)[5] = NAN;
    must(out_open(path, OUT_NEW, &out));
    must(parameters_write(list, store_block(store), WEIGHT_F32, NULL, 0, out));
    must(out_commit(&out));
    assert_int_equal(parameters_load(list, path, "toy", block), ERR_WEIGHTS);
    assert_non_null(strstr(err_sentence(), "body.conv.weight"));
    mem_free(block);
    store_close(store);
    program_drop(program);
}

static void run(Plan *plan, const Tensor *x, const Tensor *y, float *out) {
    float *in = plan_data(plan, x);
    for (int64_t i = 0; i < tensor_count(x); i++) in[i] = (float)((i * 37) % 101) / 50 - 1;
    must(plan_run(plan));
    memcpy(out, plan_data(plan, y), (size_t)tensor_count(y) * sizeof *out);
}

/* A plan made before the weights changed, repacked, gives the bits of a plan made after. */
static void plans_follow_changes(void **state) {
    (void)state;
    Tensor *x, *y;
    Program *program = record(&x, &y);
    ParameterStore *store, *fresh;
    must(store_make_trainable(program, &store));
    must(store_make_trainable(program, &fresh));
    Pool *pool = pool_make(2);
    WeightSource source = store_source(store), fresh_source = store_source(fresh);
    init_parameters(program, store_parameters(store), 1, store_block(store));
    size_t count = (size_t)tensor_count(y);
    float *before = mem_array(count, sizeof *before), *stale = mem_array(count, sizeof *before);
    float *after = mem_array(count, sizeof *before), *want = mem_array(count, sizeof *before);
    for (int exact = 0; exact < 2; exact++) {
        Plan *plan, *made_after;
        must(plan_make(program, &source, pool, (PlanOptions){.exact = exact}, &plan));
        run(plan, x, y, before);
        init_parameters(program, store_parameters(store), (uint64_t)(2 + exact), store_block(store));
        init_parameters(program, store_parameters(fresh), (uint64_t)(2 + exact), store_block(fresh));
        run(plan, x, y, stale);
        plan_repack(plan);
        run(plan, x, y, after);
        must(plan_make(program, &fresh_source, pool, (PlanOptions){.exact = exact}, &made_after));
        plan_repack(made_after); /* the store's copies are older */
        run(made_after, x, y, want);
        assert_memory_equal(after, want, count * sizeof *after);
        assert_memory_not_equal(after, before, count * sizeof *after);
        assert_memory_not_equal(after, stale, count * sizeof *after);
        plan_drop(plan);
        plan_drop(made_after);
    }
    mem_free(before), mem_free(stale), mem_free(after), mem_free(want);
    pool_drop(pool);
    store_close(store);
    store_close(fresh);
    program_drop(program);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(initial_values_are_pytorchs),
        cmocka_unit_test(every_parameter_of_s2m2_begins_with_something),
        cmocka_unit_test(files_hold_them),
        cmocka_unit_test(plans_follow_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
