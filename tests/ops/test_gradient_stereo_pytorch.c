/* Gradients of attention, transport, lookup, upsampling, sampling and pooling beside PyTorch's autograd (S2M2's own
 * operators through the reference's code); by definitions and fast, and with PANUM_F64 in double. */
#include "base/mem.h"
#include "tensor/ops/ops.h"
#include "tests/lib/backward_case.h"

static double number(const Fixture *f, const char *name, const char *key) {
    return fixture_number(f, name, key, 0);
}

/* Records the operator of a case over its inputs; *before is the node its first input went through, where there is one.
 */
static const Node *record(const Fixture *f, const char *name, Tensor *const *x, const Node **before) {
    Program *p = x[0]->program;
    const bool positive = number(f, name, "positive") > 0, border = number(f, name, "border") > 0;
    if (strncmp(name, "attention.", 10) == 0)
        t_attention(x[0], x[1], x[2], .heads = (int)number(f, name, "heads"),
                    .swap_halves = number(f, name, "swap") > 0);
    else if (strncmp(name, "attention_relative.", 19) == 0)
        t_attention_relative(x[0], x[1], x[2], x[3], x[4], (int)number(f, name, "heads"),
                             (int64_t)number(f, name, "rows"), (int64_t)number(f, name, "columns"));
    else if (strncmp(name, "transport.", 10) == 0)
        t_transport(x[0], .positive = positive);
    else if (strncmp(name, "transport_mass.", 15) == 0)
        t_transport_mass(x[0], x[1], x[2], .transport.positive = positive, .factor = (int)number(f, name, "factor"),
                         .radius = (int)number(f, name, "radius"));
    else if (strncmp(name, "lookup", 6) == 0) {
        Tensor *cv = x[0];
        if (number(f, name, "pooled") > 0) cv = t_pool_pairs(cv), *before = cv->node;
        t_lookup(cv, x[1], .step = (int)number(f, name, "level"), .half_pixel = number(f, name, "half_pixel") > 0);
    } else if (strncmp(name, "convex.", 7) == 0)
        t_convex_upsample(x[0], x[1], .factor = (int)number(f, name, "factor"),
                          .clipped = number(f, name, "clipped") > 0);
    else if (strncmp(name, "grid_sample.", 12) == 0)
        t_grid_sample(x[0], x[1], .border = border, .align_corners = number(f, name, "align_corners") > 0);
    else if (strncmp(name, "warp_rows.", 10) == 0)
        t_warp_rows(x[0], x[1], .border = border);
    else if (strncmp(name, "avg_pool2d.", 11) == 0)
        t_avg_pool2d(x[0], .kernel = (int)number(f, name, "kernel"), .stride = (int)number(f, name, "stride"),
                     .pad = (int)number(f, name, "pad"), .exclude_pad = number(f, name, "exclude_pad") > 0);
    else if (strncmp(name, "avg_pool2.", 10) == 0)
        t_avg_pool2(x[0]);
    else {
        const WeightEntry *dy = fixture_entry(f, "%s.dy0", name);
        if (strncmp(name, "adaptive.", 9) == 0)
            t_adaptive_avg_pool(x[0], dy->size[2], dy->size[3]);
        else if (strncmp(name, "bilinear.", 9) == 0)
            t_resize_bilinear(x[0], dy->size[2], dy->size[3]);
        else
            t_upsample2_nearest(x[0]);
    }
    return program_node(p, program_nodes(p) - 1);
}

/* Volumes lie row-major, seen through a flat input; everything else as inputs do. */
static Tensor *input(Program *p, const char *name, int k, const WeightEntry *entry) {
    const bool volume = k == 0 && (strncmp(name, "transport", 9) == 0 || strncmp(name, "lookup", 6) == 0);
    if (!volume) return program_input(p, entry->name, DTYPE_F32, entry->rank, entry->size);
    return t_reshape(program_input(p, entry->name, DTYPE_F32, 1, (int64_t[]){entry->count}), 4, entry->size);
}

static bool has(const Fixture *f, const char *name, const char *role, int k) {
    char full[96];
    snprintf(full, sizeof full, "%s.%s%d", name, role, k);
    return weights_find(f->file, full) != NULL;
}

static void check_case(const Fixture *f, const char *name) {
    const double bound = F32_OR_F64(strstr(name, "sharp") ? 2e-5 : 2e-6, 1e-7); /* of the largest value */
    Program *p = program_make();
    Tensor *x[5] = {NULL};
    int inputs = 0;
    for (; inputs < 5 && has(f, name, "input", inputs); inputs++)
        x[inputs] = input(p, name, inputs, fixture_entry(f, "%s.input%d", name, inputs));
    const Node *before = NULL, *node = record(f, name, x, &before);
    unsigned outputs = 0;
    for (int k = 0; k < 3; k++) outputs |= has(f, name, "dy", k) ? 1u << k : 0;
    Backward b = backward_record(node, outputs);
    if (before) before->op->gradient(before, (Tensor *[]){b.d_input[0]}, b.d_input);
    Runner *runner = runner_make(p);
    for (int k = 0; k < inputs; k++) fixture_fill(f, fixture_entry(f, "%s.input%d", name, k), runner, x[k]);
    for (int k = 0; k < 3; k++)
        if (b.dy[k]) fixture_fill(f, fixture_entry(f, "%s.dy%d", name, k), runner, b.dy[k]);
    for (int kind = RUN_DEFINITION; kind <= RUN_FAST; kind++) {
        runner_run(runner, (RunWay){.kind = (RunKind)kind});
        for (int k = 0; k < inputs; k++)
            if (has(f, name, "d_input", k))
                fixture_check(f, fixture_entry(f, "%s.d_input%d", name, k), runner, b.d_input[k], bound);
    }
    runner_drop(runner);
    program_drop(p);
}

static void pytorch(void **state) {
    (void)state;
    static const char *const NAMES[] = {"attention.two_heads",
                                        "attention.cross_lengths",
                                        "attention.swapped",
                                        "attention_relative.small",
                                        "attention_relative.eight_heads",
                                        "transport.flat",
                                        "transport.peaked",
                                        "transport.positive",
                                        "transport.sharp",
                                        "transport_mass.flat",
                                        "transport_mass.peaked",
                                        "transport_mass.positive",
                                        "transport_mass.sharp",
                                        "lookup1.r3",
                                        "lookup2.r3",
                                        "lookup1.r3_odd",
                                        "lookup2.r3_odd",
                                        "lookup1.r2",
                                        "lookup2.r2",
                                        "lookup1.r1",
                                        "lookup2.r1",
                                        "convex.x4",
                                        "convex.x4_one",
                                        "convex.x4_r1",
                                        "convex.x1",
                                        "convex.x1_r1",
                                        "grid_sample.zeros",
                                        "grid_sample.zeros_corners",
                                        "grid_sample.border",
                                        "grid_sample.border_corners",
                                        "warp_rows.zeros",
                                        "warp_rows.border",
                                        "avg_pool2d.ssim",
                                        "avg_pool2d.ssim_excluded",
                                        "avg_pool2d.wide",
                                        "avg_pool2d.strided",
                                        "avg_pool2d.inside",
                                        "avg_pool2.even",
                                        "avg_pool2.odd",
                                        "adaptive.overlap",
                                        "adaptive.one",
                                        "bilinear.double",
                                        "bilinear.row",
                                        "bilinear.to",
                                        "bilinear.smaller",
                                        "nearest.double"};
    Fixture f = fixture_open("stereo_gradients");
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) check_case(&f, NAMES[i]);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(pytorch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
