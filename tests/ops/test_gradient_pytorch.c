/* Gradients of convolutions, linear, norms and softmax beside PyTorch's (float64, rounded): definitions, and the fast
 * versions at every level, through Winograd where it is chosen. */
#include "autograd/backward.h"
#include "base/cpu.h"
#include "base/err.h"
#include "tensor/ops/ops.h"
#include "tests/lib/op_case.h"

static Tensor *record(const Fixture *f, const char *name, Tensor *x, Tensor *weight, Tensor *bias) {
    const ConvOptions options = {(int)fixture_number(f, name, "stride", 1), (int)fixture_number(f, name, "pad_h", 0),
                                 (int)fixture_number(f, name, "pad_w", 0)};
    if (strncmp(name, "conv", 4) == 0) return t_conv2d_at(x, weight, bias, options, T_HERE);
    if (strncmp(name, "transpose", 9) == 0) return t_conv_transpose2d_at(x, weight, bias, options, T_HERE);
    if (strncmp(name, "linear", 6) == 0) return t_linear(x, weight, bias);
    if (strncmp(name, "layer_norm", 10) == 0) return t_layer_norm(x, weight, bias, 1e-5);
    if (strncmp(name, "group_norm", 10) == 0)
        return t_group_norm(x, (int)fixture_number(f, name, "groups", 0), weight, bias, 1e-5);
    return t_softmax(x);
}

static void layers(void **state) {
    (void)state;
    static const char *const names[] = {
        "conv_k3",
        "conv_k3_tiles",
        "conv_k3s2",
        "conv_k3s2_even",
        "conv_k5s2_even",
        "conv_k3x1",
        "conv_k1x3",
        "conv_k1",
        "transpose_k2s2",
        "transpose_k3",
        "transpose_k4s2",
        "linear",
        "layer_norm",
        "layer_norm_odd",
        "group_norm_eight",
        "softmax",
        "group_norm_three_each",
        "group_norm_far_from_zero",
    };
    enum { CONVOLUTIONS = 11 };
    static const char *const leaves[] = {"input", "weight", "bias"};
    Fixture f = fixture_open("layer_gradients");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Program *p = program_make();
        Tensor *leaf[3] = {NULL};
        for (int k = 0; k < 3; k++) {
            if (k && strcmp(names[i], "softmax") == 0) continue;
            const WeightEntry *e = fixture_entry(&f, "%s.%s", names[i], leaves[k]);
            leaf[k] = k ? program_weight(p, leaves[k], e->rank, e->size)
                        : program_input(p, leaves[k], DTYPE_F32, e->rank, e->size);
        }
        Tensor *y = record(&f, names[i], leaf[0], leaf[1], leaf[2]);
        Tensor *dy = program_input(p, "dy", DTYPE_F32, y->rank, y->size);
        if (backward(t_sum(t_mul(y, dy)), &(BackwardOptions){.inputs = true})) fail_msg("%s", err_sentence());
        Runner *runner = runner_make(p);
        for (int k = 0; k < 3; k++)
            if (leaf[k]) fixture_fill(&f, fixture_entry(&f, "%s.%s", names[i], leaves[k]), runner, leaf[k]);
        fixture_fill(&f, fixture_entry(&f, "%s.dy", names[i]), runner, dy);
        const CpuLevel best = cpu_level();
        for (int level = -1; level <= (int)best; level++) {
            if (level >= 0) cpu_limit((CpuLevel)level);
            runner_run(runner, (RunWay){.kind = level < 0 ? RUN_DEFINITION : RUN_FAST});
            /* Fast convolutions may go through F(6x6). */
            const double bound = F32_OR_F64(level < 0 ? 2e-6 : i < CONVOLUTIONS ? 3e-5 : 3e-6, 6.1e-8);
            for (int k = 0; k < 3; k++)
                if (leaf[k])
                    fixture_check(&f, fixture_entry(&f, "%s.d_%s", names[i], leaves[k]), runner, gradient_of(leaf[k]),
                                  bound);
        }
        cpu_limit(CPU_AVX512);
        runner_drop(runner);
        program_drop(p);
    }
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(layers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
