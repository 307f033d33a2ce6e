/* Forward and backward in one plan: replay, interpreter and definitions agree; and recompute by scope: less memory, the
 * same bits. */
#include "autograd/backward.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "exec/plan.h"
#include "nn/net.h"
#include "nn/store.h"
#include "tests/lib/check.h"

static void must(int code) {
    if (code) fail_msg("%s", err_sentence());
}

enum { BLOCKS = 6, WIDTH = 48, TOKENS = 160 };

static Tensor *inner(Net *net, Tensor *y, Tensor *a, Tensor *shift) {
    NN_SCOPE(net, "inner") {
        y = t_gelu(t_add(t_matmul(y, a), shift));
        y = t_mul(y, t_sigmoid(t_cat(2, t_slice(y, 2, WIDTH, WIDTH), t_slice(y, 2, 0, WIDTH))));
    }
    return y;
}

/* Residual blocks over tokens, each scope entered twice: shared weights, values read by several nodes. */
static Program *blocks_program(BackwardOptions options) {
    Program *program = program_make();
    assert_non_null(program);
    Net net = {program};
    Tensor *x = program_input(program, "x", DTYPE_F32, 3, (int64_t[]){1, TOKENS, WIDTH});
    Tensor *truth = program_input(program, "truth", DTYPE_F32, 3, (int64_t[]){1, TOKENS, WIDTH});
    Tensor *y = x;
    for (int i = 0; i < BLOCKS; i++) NN_SCOPE(&net, "block%d", i / 2) {
            Tensor *a = nn_parameter(&net, "a", 3, (int64_t[]){1, WIDTH, 2 * WIDTH});
            Tensor *b = nn_parameter(&net, "b", 3, (int64_t[]){1, 2 * WIDTH, WIDTH});
            Tensor *shift = nn_parameter(&net, "shift", 1, (int64_t[]){2 * WIDTH});
            y = t_add(y, t_tanh(t_matmul(inner(&net, y, a, shift), b)));
        }
    Tensor *loss = t_mean(t_square(t_sub(y, truth)));
    program_output(program, "loss", loss);
    must(backward(loss, &options));
    for (int i = 0; i < program_tensors(program); i++) {
        Tensor *t = program_tensor(program, i);
        char name[128];
        if (t->kind != TENSOR_WEIGHT || t->base != t) continue;
        snprintf(name, sizeof name, "grad.%s", t->name);
        assert_non_null(gradient_of(t));
        program_output(program, name, gradient_of(t));
    }
    return program;
}

/* All outputs, one after another. */
static float *outputs_of(Program *program, PlanOptions options, int threads, int64_t *count, PlanFacts *facts) {
    ParameterStore *store;
    must(store_make_seeded(&store));
    WeightSource source = store_source(store);
    Pool *pool = pool_make(threads);
    Plan *plan;
    must(plan_make(program, &source, pool, options, &plan));
    for (int i = 0; i < program_tensors(program); i++) {
        const Tensor *t = program_tensor(program, i);
        float *to = t->kind == TENSOR_INPUT && t->base == t ? plan_data(plan, t) : NULL;
        for (int64_t k = 0; to && k < tensor_count(t); k++) to[k] = (float)rng_signed((uint64_t)i, (uint64_t)k);
    }
    must(plan_run(plan));
    must(plan_run(plan));
    *count = 0;
    for (int i = 0; i < program_outputs(program); i++) *count += tensor_count(program_output_at(program, i, NULL));
    float *all = mem_array((size_t)*count, sizeof *all), *to = all;
    assert_non_null(all);
    for (int i = 0; i < program_outputs(program); i++) {
        const Tensor *t = program_output_at(program, i, NULL);
        memcpy(to, plan_data(plan, t), tensor_bytes(t));
        to += tensor_count(t);
    }
    if (facts) *facts = plan_facts(plan);
    plan_drop(plan);
    pool_drop(pool);
    store_close(store);
    return all;
}

static void replay_is_the_interpreter_bit_for_bit(void **state) {
    (void)state;
    Program *program = blocks_program((BackwardOptions){0});
    int64_t n;
    PlanFacts plain, fused;
    float *truth = outputs_of(program, (PlanOptions){.definitions = true}, 1, &n, NULL);
    float *interpreted = outputs_of(program, (PlanOptions){.interpret = true}, 2, &n, &plain);
    float *replayed = outputs_of(program, (PlanOptions){0}, 2, &n, &fused);
    float *alone = outputs_of(program, (PlanOptions){0}, 1, &n, NULL);
    assert_close_f32("beside definitions", replayed, truth, n, 1e-11);
    assert_memory_equal(replayed, interpreted, (size_t)n * sizeof *replayed);
    assert_memory_equal(replayed, alone, (size_t)n * sizeof *replayed);
    print_message("%d steps instead of %d; %zu bytes instead of %zu\n", fused.steps, plain.steps, fused.bytes,
                  plain.bytes);
    assert_true(fused.steps < plain.steps && fused.bytes <= plain.bytes);
    mem_free(truth);
    mem_free(interpreted);
    mem_free(replayed);
    mem_free(alone);
    program_drop(program);
}

static void recompute_takes_less_memory_and_gives_the_same_bits(void **state) {
    (void)state;
    static const char *const by_block[] = {"block*"}, *const inner[] = {"*.inner"}, *const one[] = {"block1"};
    const struct {
        BackwardOptions options;
        const char *what;
    } way[] = {{{.keep_all = false}, "what is light"},
               {{.recompute = by_block, .recompute_count = 1}, "each block"},
               {{.recompute = inner, .recompute_count = 1}, "the inner scopes"},
               {{.recompute = one, .recompute_count = 1}, "one block and what is light"},
               {{.recompute = by_block, .recompute_count = 1, .keep_all = true}, "each block, all else kept"}};
    PlanFacts kept;
    int64_t n;
    Program *program = blocks_program((BackwardOptions){.keep_all = true});
    float *want = outputs_of(program, (PlanOptions){0}, 2, &n, &kept);
    program_drop(program);
    assert_true(kept.flops_again == 0 && kept.kept > 0);
    for (size_t i = 0; i < sizeof way / sizeof *way; i++) {
        PlanFacts facts;
        program = blocks_program(way[i].options);
        float *got = outputs_of(program, (PlanOptions){0}, 2, &n, &facts);
        assert_memory_equal(got, want, (size_t)n * sizeof *want);
        mem_free(got);
        got = outputs_of(program, (PlanOptions){.interpret = true}, 1, &n, NULL);
        assert_memory_equal(got, want, (size_t)n * sizeof *want);
        mem_free(got);
        print_message("recompute %s: %zu bytes (%zu kept) instead of %zu (%zu), %.0f %% more operations\n", way[i].what,
                      facts.bytes, facts.kept, kept.bytes, kept.kept, 100 * (facts.flops / kept.flops - 1));
        assert_true(facts.bytes < kept.bytes && facts.kept < kept.kept);
        assert_true(facts.flops_again > 0 && facts.flops > kept.flops && facts.flops < 1.5 * kept.flops);
        program_drop(program);
    }
    mem_free(want);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replay_is_the_interpreter_bit_for_bit),
        cmocka_unit_test(recompute_takes_less_memory_and_gives_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
