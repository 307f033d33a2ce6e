/* Plans whose activations lie in 16 bits, on the emulated device against the f32 CPU: products and convolutions on
 * tensor cores, what does not fit them, regions, rows, copies, and what must stay f32. */
#include "base/mem.h"
#include "exec/steps.h"
#include "models/s2m2.h"
#include "nn/net.h"
#include "nn/store.h"
#include "tensor/ops/ops.h"
#include "tests/cuda/simt/plan_case.h"
#include "tests/lib/check.h"

/* A map through convolutions of every form with holes, tokens of it through a block, and back to a map of one channel,
 * which is a disparity: f32. */
static Program *network(int64_t h, int64_t w, int64_t channels) {
    Program *p = program_make();
    Net net = {p};
    Tensor *x = program_input(p, "x", DTYPE_F32, 4, (int64_t[]){2, 3, h, w});
    NN_SCOPE(&net, "net") {
        Tensor *a = t_relu(nn_conv3(&net, "a", x, channels));
        Tensor *b = t_conv2d(a, nn_parameter(&net, "b", 4, (int64_t[]){2 * channels, channels, 3, 3}), NULL,
                             .stride = 2, .pad_h = 1, .pad_w = 1);
        Tensor *tokens = t_tokens(t_gelu(b));
        Tensor *n = nn_layer_norm(&net, "n", tokens);
        Tensor *m =
            nn_linear(&net, "m", t_gelu(nn_linear(&net, "l", n, channels + 8, WITH_BIAS)), 2 * channels, WITH_BIAS);
        tokens = t_add(tokens, m);
        Tensor *scores = t_matmul_nt(tokens, n);
        Tensor *gathered = t_matmul(t_softmax(t_affine(scores, 0.1, 0)), tokens);
        program_output(p, "gathered", gathered);
        Tensor *u = t_conv_transpose2d(b, nn_parameter(&net, "u", 4, (int64_t[]){2 * channels, channels, 2, 2}), NULL,
                                       .stride = 2);
        Tensor *odd = nn_conv3(&net, "odd", t_cat(1, a, u), 13);
        Tensor *gate = t_sigmoid(nn_conv1(&net, "gate", odd, 1));
        program_output(p, "disparity", t_affine(gate, 40, -3));
        program_output(p, "y", t_mul(t_tanh(nn_conv3(&net, "y", odd, 9)), gate));
    }
    return p;
}

static void test_networks(void **state) {
    (void)state;
    static const GpuStorage storage[] = {GPU_F16, GPU_BF16};
    static const double bound[] = {4e-3, 3e-2};
    for (int s = 0; s < 2; s++)
        for (int way = 0; way < (s == 0 ? 3 : 1); way++) { /* by region, all in plain kernels, node by node */
            Program *p = way == 0 ? network(6, 10, 24) : network(2, 4, 8);
            compare_plan(s ? "bf16" : "f16", p,
                         (PlanWay){{.halves = gpu_halves, .interpret = way == 2},
                                   {.rung = way == 1 ? RUNG_PLAIN : RUNG_FAST, .storage = storage[s]},
                                   {.order = (unsigned)way, .multiprocessors = way == 0 ? 1 : 0}},
                         bound[s]);
            program_drop(p);
        }
}

/* On sm_75 the tensor cores know f16 of half the depth; bf16 is refused. */
static void test_turing(void **state) {
    (void)state;
    Program *p = network(2, 4, 16);
    compare_plan("f16 on sm_75", p, (PlanWay){{.halves = gpu_halves}, {.storage = GPU_F16}, {.arch = 75}}, 4e-3);
    ParameterStore *store;
    must(store_make_seeded(&store));
    WeightSource source = store_source(store);
    Plan *plan;
    must(plan_make(p, &source, NULL, (PlanOptions){.shape_only = true, .halves = gpu_halves}, &plan));
    Gpu *gpu;
    GpuPlan *on_gpu;
    must(emulated_open((Emulated){.arch = 75}, &gpu));
    assert_int_equal(gpu_plan_make(plan, &source, gpu, (GpuPlanOptions){.storage = GPU_BF16}, &on_gpu), ERR_DEVICE);
    assert_non_null(strstr(err_sentence(), "has no bf16 products; choose f16 or f32"));
    assert_int_equal(emulated_use(gpu).memory, 0);
    gpu_close(gpu);
    plan_drop(plan);
    store_close(store);
    program_drop(p);
}

/* Half the memory where maps are wide; outputs, narrow maps and what others read stay as they are. */
static void test_storage(void **state) {
    (void)state;
    Program *p = network(16, 16, 32);
    Plan *plan[2];
    for (int half = 0; half < 2; half++)
        must(plan_make(p, NULL, NULL, (PlanOptions){.shape_only = true, .halves = half ? gpu_halves : NULL},
                       &plan[half]));
    int halves = 0;
    for (int i = 0; i < program_tensors(p); i++) {
        const Tensor *t = program_tensor(p, i);
        if (t->base != t || !plan_half(plan[1], t)) continue;
        halves++;
        assert_int_equal(t->kind, TENSOR_VALUE);
        assert_true(t->rank == 4 ? t->size[1] >= 8 : t->size[t->rank - 1] >= 8);
    }
    assert_true(halves > 8);
    for (int i = 0; i < program_outputs(p); i++) assert_false(plan_half(plan[1], program_output_at(p, i, NULL)->base));
    assert_true(plan_facts(plan[1]).live_peak < plan_facts(plan[0]).live_peak * 3 / 4);
    plan_drop(plan[0]), plan_drop(plan[1]);
    program_drop(p);
}

static bool f32_by_rule(const Node *node) {
    static const char *const of[] = {"transport", "pool_pairs", "lookup"};
    for (size_t i = 0; node && i < sizeof of / sizeof *of; i++)
        if (!strcmp(node->op->name, of[i])) return true;
    return false;
}

/* Of all that S2M2-XS makes, in maps and tokens of eight channels and more, only the tables of correlation, what lookup
 * reads from them and the outputs stay f32. */
static void test_s2m2_storage(void **state) {
    (void)state;
    Program *p = program_make();
    Net net = {p};
    const S2m2Size *xs = s2m2_size("XS");
    s2m2(&net, program_input(p, "pictures", DTYPE_F32, 4, (int64_t[]){2, 3, 64, 96}),
         (S2m2Options){.channels = xs->channels, .blocks = xs->blocks, .refine_iterations = 3});
    Plan *plan;
    must(plan_make(p, NULL, NULL, (PlanOptions){.shape_only = true, .halves = gpu_halves}, &plan));
    const Steps *steps = plan_step_list(plan);
    bool *made = mem_zero((size_t)program_tensors(p), sizeof *made), *rule = mem_zero((size_t)program_tensors(p), 1);
    for (int i = 0; i < steps->steps; i++) {
        const Step *step = &steps->step[i];
        for (int k = 0; step->node && k < step->node->outputs; k++) {
            const int id = step->node->output[k]->base->id;
            made[id] = k > 0 || !step->strip;
            rule[id] = rule[id] || f32_by_rule(step->node);
        }
        for (int k = 0; step->node && k < step->node->inputs; k++)
            if (step->node->input[k] && f32_by_rule(step->node)) rule[step->node->input[k]->base->id] = true;
        for (int k = 0; step->strip && k < step->strip->outputs; k++)
            made[step->strip->output[k].tensor->base->id] = true;
    }
    int count[3] = {0};
    double numbers[3] = {0}; /* in 16 bits, f32 by rule, f32 for being narrow */
    for (int i = 0; i < program_tensors(p); i++) {
        const Tensor *t = program_tensor(p, i);
        if (!made[i] || steps->wanted[i]) continue;
        const bool narrow = (t->rank == 4 ? t->size[1] : t->size[t->rank - 1]) < 8 && !rule[i];
        const int kind = plan_half(plan, t) ? 0 : narrow ? 2 : 1;
        if (kind == 1 && !rule[i]) fail_msg("tensor %d, by %s, stays f32", i, t->node->op->name);
        count[kind]++;
        numbers[kind] += (double)tensor_count(t);
    }
    print_message("S2M2-XS 64x96: %d tensors (%.0f numbers) in 16 bits; f32: %d (%.0f) of correlation and lookup, %d "
                  "(%.0f) of fewer than eight channels\n",
                  count[0], numbers[0], count[1], numbers[1], count[2], numbers[2]);
    mem_free(made), mem_free(rule);
    plan_drop(plan);
    program_drop(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_storage), cmocka_unit_test(test_s2m2_storage),
                                       cmocka_unit_test(test_networks), cmocka_unit_test(test_turing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
