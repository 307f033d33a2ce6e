#include "apps/bench_kernels.h"
#include "apps/bench_train.h"
#include "apps/lib/run.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "exec/plan.h"
#include "models/s2m2.h"
#include "nn/store.h"
#include "tensor/op.h"
#include "tensor/ops/conv_node.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- what is measured ---------------------------------------------------------------------------------------------
 * Shapes of the specification (performance, 2.1 to 2.3): layers of S2M2-S at 480x736, and squares. */

typedef Tensor *(*Record)(Program *program, const int64_t *n);

static Tensor *map_input(Program *p, const char *name, int64_t c, int64_t h, int64_t w) {
    return program_input(p, name, DTYPE_F32, 4, (int64_t[]){1, c, h, w});
}

static Tensor *token_input(Program *p, const char *name, int64_t b, int64_t t, int64_t c) {
    return program_input(p, name, DTYPE_F32, 3, (int64_t[]){b, t, c});
}

/* rows, columns of the result, depth */
static Tensor *record_linear(Program *p, const int64_t *n) {
    Tensor *x = program_input(p, "x", DTYPE_F32, 2, (int64_t[]){n[0], n[2]});
    return t_linear(x, program_weight(p, "weight", 2, (int64_t[]){n[1], n[2]}), NULL);
}

/* channels in and out, height, width, kernel's height and width, stride; padded by half the kernel */
static Tensor *record_conv(Program *p, const int64_t *n) {
    Tensor *weight = program_weight(p, "weight", 4, (int64_t[]){n[1], n[0], n[4], n[5]});
    return t_conv2d(map_input(p, "x", n[0], n[2], n[3]), weight, program_weight(p, "bias", 1, n + 1),
                    .stride = (int)n[6], .pad_h = (int)n[4] / 2, .pad_w = (int)n[5] / 2);
}

/* The same arguments: the gradients of that convolution with respect to weight and bias, and to the map. */
static Tensor *gradient_input(Program *p, const int64_t *n) {
    return map_input(p, "dy", n[1], (n[2] - 1) / n[6] + 1, (n[3] - 1) / n[6] + 1);
}
static Tensor *record_conv_weight(Program *p, const int64_t *n) {
    const Tensor *weight = program_weight(p, "weight", 4, (int64_t[]){n[1], n[0], n[4], n[5]});
    ConvOptions options = {(int)n[6], (int)n[4] / 2, (int)n[5] / 2};
    Tensor *d_bias, *x = map_input(p, "x", n[0], n[2], n[3]);
    Tensor *d_weight = t_weight_gradient_at(x, gradient_input(p, n), weight, options, &d_bias, T_HERE);
    program_output(p, "bias", d_bias);
    return d_weight;
}
static Tensor *record_conv_input(Program *p, const int64_t *n) {
    Tensor *weight = program_weight(p, "weight", 4, (int64_t[]){n[1], n[0], n[4], n[5]});
    ConvOptions options = {(int)n[6], (int)n[4] / 2, (int)n[5] / 2};
    return t_conv_transpose2d_sized_at(gradient_input(p, n), weight, NULL, options, n[2], n[3], T_HERE);
}

/* batches, tokens, heads, width of a head */
static Tensor *record_attention(Program *p, const int64_t *n) {
    Tensor *q = token_input(p, "q", n[0], n[1], n[2] * n[3]), *k = token_input(p, "k", n[0], n[1], n[2] * n[3]);
    return t_attention(q, k, token_input(p, "v", n[0], n[1], n[2] * n[3]), .heads = (int)n[2]);
}

/* The same shapes: dq, dk, dv. Forward is not in the plan, since nothing of it is read. */
static Tensor *gradient_alone(Tensor *result) {
    const Node *node = result->node;
    Tensor *dy[NODE_OUTPUTS_MAX] = {NULL}, *d_input[NODE_INPUTS_MAX] = {NULL};
    for (int k = 0; k < node->outputs; k++) {
        const char *const names[NODE_OUTPUTS_MAX] = {"dy0", "dy1", "dy2", "dy3", "dy4"};
        dy[k] = program_input(node->program, names[k], DTYPE_F32, node->output[k]->rank, node->output[k]->size);
    }
    node->op->gradient(node, dy, d_input);
    return d_input[0];
}
static Tensor *record_attention_backward(Program *p, const int64_t *n) {
    return gradient_alone(record_attention(p, n));
}

/* rows, width: plan of three iterations, disparity, confidence, occlusion */
static Tensor *record_transport(Program *p, const int64_t *n) {
    Transport t = t_transport(token_input(p, "cv", n[0], n[1], n[1]), .iterations = 3);
    program_output(p, "confidence", t.confidence);
    program_output(p, "occlusion", t.occlusion);
    return t.disparity;
}

/* The same, from all three results to the scores. */
static Tensor *record_transport_backward(Program *p, const int64_t *n) {
    return gradient_alone(t_transport(token_input(p, "cv", n[0], n[1], n[1]), .iterations = 3).disparity);
}

/* tokens, channels */
static Tensor *record_layer_norm(Program *p, const int64_t *n) {
    Tensor *weight = program_weight(p, "norm.weight", 1, n + 1), *bias = program_weight(p, "norm.bias", 1, n + 1);
    return t_layer_norm(token_input(p, "x", 1, n[0], n[1]), weight, bias, 1e-5);
}

/* channels, height, width */
static Tensor *record_gelu(Program *p, const int64_t *n) {
    return t_gelu(map_input(p, "x", n[0], n[1], n[2]));
}
static Tensor *record_bilinear(Program *p, const int64_t *n) {
    return t_resize_bilinear(map_input(p, "x", n[0], n[1], n[2]), 2 * n[1], 2 * n[2]);
}

/* height, width, factor */
static Tensor *record_convex(Program *p, const int64_t *n) {
    Tensor *logits = map_input(p, "logits", 9, n[0] * n[2], n[1] * n[2]);
    return t_convex_upsample(map_input(p, "x", 1, n[0], n[1]), logits, .factor = (int)n[2]);
}

typedef enum { FAST = 1, EXACT = 2, BF16 = 4 } Mode;
static const struct {
    Mode mode;
    const char *suffix;
} modes[] = {{FAST, ""}, {EXACT, "-exact"}, {BF16, "-bf16"}};
enum { MODES = sizeof modes / sizeof *modes };

typedef struct {
    const char *kernel, *shape;
    Record record;
    int modes; /* of Mode, those that make a difference */
    int64_t n[7];
} Case;

static const Case cases[] = {
    {"gemm", "1024x1024x1024", record_linear, FAST | BF16, {1024, 1024, 1024}},
    {"gemm", "2048x2048x2048", record_linear, FAST | BF16, {2048, 2048, 2048}},
    {"gemm", "22080x128x128", record_linear, FAST | BF16, {22080, 128, 128}},
    {"gemm", "22080x384x256", record_linear, FAST | BF16, {22080, 384, 256}},
    {"gemm", "5520x256x256", record_linear, FAST | BF16, {5520, 256, 256}},
    {"gemm", "1380x256x256", record_linear, FAST | BF16, {1380, 256, 256}},
    {"gemm", "345x256x256", record_linear, FAST | BF16, {345, 256, 256}},
    {"gemm", "22080x64x1152", record_linear, FAST | BF16, {22080, 64, 1152}},
    {"gemm", "1370x1536x384", record_linear, FAST | BF16, {1370, 1536, 384}},
    {"conv", "3x3 64->64 120x184", record_conv, FAST | EXACT | BF16, {64, 64, 120, 184, 3, 3, 1}},
    {"conv", "3x3 128->128 120x184", record_conv, FAST | EXACT | BF16, {128, 128, 120, 184, 3, 3, 1}},
    {"conv", "3x3 256->256 120x184", record_conv, FAST | EXACT | BF16, {256, 256, 120, 184, 3, 3, 1}},
    {"conv", "3x3 256->256 60x92", record_conv, FAST | EXACT | BF16, {256, 256, 60, 92, 3, 3, 1}},
    {"conv", "3x3 128->128 240x368", record_conv, FAST | EXACT | BF16, {128, 128, 240, 368, 3, 3, 1}},
    {"conv", "3x3 s2 128->128 240x368", record_conv, FAST | BF16, {128, 128, 240, 368, 3, 3, 2}},
    {"conv", "5x5 s2 16->64 480x736", record_conv, FAST | BF16, {16, 64, 480, 736, 5, 5, 2}},
    {"conv", "3x1 256->128 120x184", record_conv, FAST | EXACT | BF16, {256, 128, 120, 184, 3, 1, 1}},
    {"conv", "1x3 256->128 120x184", record_conv, FAST | EXACT | BF16, {256, 128, 120, 184, 1, 3, 1}},
    {"conv", "1x1 128->128 120x184", record_conv, FAST | BF16, {128, 128, 120, 184, 1, 1, 1}},
    {"conv", "3x3 32->32 32x64", record_conv, FAST | EXACT, {32, 32, 32, 64, 3, 3, 1}},
    {"conv", "3x3 64->64 60x92", record_conv, FAST | EXACT, {64, 64, 60, 92, 3, 3, 1}},
    {"conv", "3x3 32->32 64x128", record_conv, FAST | EXACT, {32, 32, 64, 128, 3, 3, 1}},
    {"conv", "3x3 128->128 64x128", record_conv, FAST | EXACT, {128, 128, 64, 128, 3, 3, 1}},
    {"conv", "3x1 64->32 32x64", record_conv, FAST, {64, 32, 32, 64, 3, 1, 1}},
    {"conv", "1x1 64->64 32x64", record_conv, FAST, {64, 64, 32, 64, 1, 1, 1}},
    {"conv", "3x3 s2 32->32 64x128", record_conv, FAST, {32, 32, 64, 128, 3, 3, 2}},
    {"conv", "5x5 s2 16->64 128x256", record_conv, FAST, {16, 64, 128, 256, 5, 5, 2}},
    {"conv", "3x3 48->48 128x256", record_conv, FAST | EXACT, {48, 48, 128, 256, 3, 3, 1}},
    {"conv-dw", "3x3 32->32 32x64", record_conv_weight, FAST, {32, 32, 32, 64, 3, 3, 1}},
    {"conv-dw", "3x3 64->64 60x92", record_conv_weight, FAST, {64, 64, 60, 92, 3, 3, 1}},
    {"conv-dw", "3x3 32->32 64x128", record_conv_weight, FAST, {32, 32, 64, 128, 3, 3, 1}},
    {"conv-dw", "3x3 128->128 64x128", record_conv_weight, FAST, {128, 128, 64, 128, 3, 3, 1}},
    {"conv-dw", "3x1 64->32 32x64", record_conv_weight, FAST, {64, 32, 32, 64, 3, 1, 1}},
    {"conv-dw", "1x1 64->64 32x64", record_conv_weight, FAST, {64, 64, 32, 64, 1, 1, 1}},
    {"conv-dw", "3x3 s2 32->32 64x128", record_conv_weight, FAST, {32, 32, 64, 128, 3, 3, 2}},
    {"conv-dw", "5x5 s2 16->64 128x256", record_conv_weight, FAST, {16, 64, 128, 256, 5, 5, 2}},
    {"conv-dw", "3x3 48->48 128x256", record_conv_weight, FAST, {48, 48, 128, 256, 3, 3, 1}},
    {"conv-dx", "3x3 32->32 32x64", record_conv_input, FAST | EXACT, {32, 32, 32, 64, 3, 3, 1}},
    {"conv-dx", "3x3 64->64 60x92", record_conv_input, FAST | EXACT, {64, 64, 60, 92, 3, 3, 1}},
    {"conv-dx", "3x3 32->32 64x128", record_conv_input, FAST | EXACT, {32, 32, 64, 128, 3, 3, 1}},
    {"conv-dx", "3x3 128->128 64x128", record_conv_input, FAST | EXACT, {128, 128, 64, 128, 3, 3, 1}},
    {"conv-dx", "3x1 64->32 32x64", record_conv_input, FAST, {64, 32, 32, 64, 3, 1, 1}},
    {"conv-dx", "1x1 64->64 32x64", record_conv_input, FAST, {64, 64, 32, 64, 1, 1, 1}},
    {"conv-dx", "3x3 s2 32->32 64x128", record_conv_input, FAST, {32, 32, 64, 128, 3, 3, 2}},
    {"conv-dx", "5x5 s2 16->64 128x256", record_conv_input, FAST, {16, 64, 128, 256, 5, 5, 2}},
    {"conv-dx", "3x3 48->48 128x256", record_conv_input, FAST | EXACT, {48, 48, 128, 256, 3, 3, 1}},
    {"attention", "5520 tokens 4x32", record_attention, FAST, {1, 5520, 4, 32}},
    {"attention", "240 rows of 184 1x128", record_attention, FAST, {240, 184, 1, 128}},
    {"attention", "2 maps of 345 8x32", record_attention, FAST, {2, 345, 8, 32}},
    {"attention-back", "240 rows of 184 1x128", record_attention_backward, FAST, {240, 184, 1, 128}},
    {"attention-back", "128 rows of 80 1x32", record_attention_backward, FAST, {128, 80, 1, 32}},
    {"attention-back", "2 maps of 345 8x32", record_attention_backward, FAST, {2, 345, 8, 32}},
    {"transport", "120 rows of 184", record_transport, FAST, {120, 184}},
    {"transport-back", "120 rows of 184", record_transport_backward, FAST, {120, 184}},
    {"transport-back", "64 rows of 80", record_transport_backward, FAST, {64, 80}},
    {"layer_norm", "22080x128", record_layer_norm, FAST, {22080, 128}},
    {"gelu", "128x120x184", record_gelu, FAST, {128, 120, 184}},
    {"bilinear2", "128x120x184", record_bilinear, FAST, {128, 120, 184}},
    {"convex", "x4 to 480x736", record_convex, FAST, {120, 184, 4}},
};
enum { CASES = sizeof cases / sizeof *cases };

/* Networks by name, "s2m2-S", at any size, "736x480" (width first). */
static const char *const networks[][2] = {{"s2m2-XS", "640x480"}, {"s2m2-S", "736x480"}, {"s2m2-L", "736x480"}};

/* ---- something recorded, planned and ready to run ---- */

typedef struct {
    char kernel[48], shape[64];
    Program *program;
    ParameterStore *store;
    Plan *plan;
    TrainingStep *training; /* NULL, or whose program, store and plan it is: those above are NULL then */
    double prepare_seconds; /* recording, reading weights, planning, packing */
    int calls;              /* of a round */
} Player;

static void player_drop(Player *player) {
    training_step_drop(player->training);
    plan_drop(player->plan);
    program_drop(player->program);
    store_close(player->store);
    *player = (Player){0};
}

/* Random numbers into every input: zeros would run faster than numbers on some machines. */
static void fill_inputs(const Player *player) {
    for (int i = 0; i < program_tensors(player->program); i++) {
        const Tensor *t = program_tensor(player->program, i);
        if (t->kind != TENSOR_INPUT || t->base != t) continue;
        void *data = plan_data(player->plan, t);
        for (int64_t k = 0; k < tensor_count(t); k++) {
            double value = rng_signed((uint64_t)i, (uint64_t)k);
            if (t->dtype == DTYPE_U8)
                ((uint8_t *)data)[k] = (uint8_t)(127.5 + 127.5 * value);
            else
                ((float *)data)[k] = (float)(2 * value);
        }
    }
}

static int plan_it(Player *player, Pool *pool, const char *model, Mode mode) {
    int rc = store_check(player->store, player->program, model);
    WeightSource source = store_source(player->store);
    PlanOptions how = {.exact = mode == EXACT, .bf16 = mode == BF16};
    return rc ? rc : plan_make(player->program, &source, pool, how, &player->plan);
}

static int open_case(Player *player, Pool *pool, const Case *c, int mode) {
    *player = (Player){0};
    snprintf(player->kernel, sizeof player->kernel, "%s%s", c->kernel, modes[mode].suffix);
    snprintf(player->shape, sizeof player->shape, "%s", c->shape);
    double start = clock_seconds();
    player->program = program_make();
    int rc = player->program ? store_make_seeded(&player->store) : (int)ERR_MEMORY;
    if (!rc) {
        program_output(player->program, "result", c->record(player->program, c->n));
        rc = plan_it(player, pool, c->kernel, modes[mode].mode);
    }
    player->prepare_seconds = clock_seconds() - start;
    if (!rc)
        fill_inputs(player);
    else
        player_drop(player);
    return rc;
}

static int open_network(Player *player, Pool *pool, const S2m2Size *size, int64_t width, int64_t height,
                        const char *weights) {
    *player = (Player){0};
    snprintf(player->kernel, sizeof player->kernel, "%s", size->name);
    snprintf(player->shape, sizeof player->shape, "%lldx%lld", (long long)width, (long long)height);
    double start = clock_seconds();
    player->program = program_make();
    int rc = !player->program ? (int)ERR_MEMORY
             : weights        ? store_open(weights, &player->store)
                              : store_make_seeded(&player->store);
    if (!rc) {
        Net net = {player->program};
        Tensor *pictures = program_input(player->program, "pictures", DTYPE_U8, 4, (int64_t[]){2, 3, height, width});
        s2m2(&net, pictures, (S2m2Options){.channels = size->channels, .blocks = size->blocks, .refine_iterations = 3});
        rc = plan_it(player, pool, size->name, FAST);
    }
    player->prepare_seconds = clock_seconds() - start;
    if (!rc)
        fill_inputs(player);
    else
        player_drop(player);
    return rc;
}

static int open_training(Player *player, Pool *pool, const S2m2Size *size, int64_t width, int64_t height,
                         TrainingKeeps keeps, const char *weights) {
    *player = (Player){0};
    snprintf(player->kernel, sizeof player->kernel, "train-%s%s", size->name, keeps == KEEP_LITTLE ? "-recompute" : "");
    snprintf(player->shape, sizeof player->shape, "%lldx%lld", (long long)width, (long long)height);
    double start = clock_seconds();
    int rc = training_step_open(pool, size, (int)width, (int)height, keeps, weights, &player->training);
    player->prepare_seconds = clock_seconds() - start;
    return rc;
}

static double weight_bytes(const Program *program) {
    double bytes = 0;
    for (int i = 0; i < program_tensors(program); i++) {
        const Tensor *t = program_tensor(program, i);
        if (t->kind == TENSOR_WEIGHT && t->base == t) bytes += (double)tensor_bytes(t);
    }
    return bytes;
}

/* ---- rows ---- */

static int play(void *context) {
    const Player *player = context;
    return player->training ? training_step_run(player->training) : plan_run(player->plan);
}

static int measure(Bench *bench, Player *player, bool bf16, bool network) {
    PlanFacts facts = plan_facts(player->plan);
    BenchRow *row;
    int rc = bench_run(bench, player->kernel, player->shape, facts.flops, facts.traffic, play, player, &row);
    if (!rc) row->half = bf16;
    if (!rc && network)
        snprintf(row->note, sizeof row->note, "%.0f MiB working, %.0f weights, %.0f packed",
                 (double)facts.bytes / 1048576, weight_bytes(player->program) / 1048576,
                 (double)store_packed_bytes(player->store) / 1048576);
    player_drop(player);
    return rc;
}

static bool mode_runs(const Case *c, int mode) {
    return (c->modes & (int)modes[mode].mode) && (modes[mode].mode != BF16 || cpu_has_bf16());
}

int bench_kernels(Bench *bench, bool networks_too) {
    Player player;
    for (int i = 0; i < CASES * MODES; i++) {
        const Case *c = &cases[i % CASES];
        int mode = i / CASES;
        char kernel[sizeof player.kernel];
        snprintf(kernel, sizeof kernel, "%s%s", c->kernel, modes[mode].suffix);
        if (!mode_runs(c, mode) || !bench_wants(bench, kernel)) continue;
        int rc = open_case(&player, bench->pool, c, mode);
        if (!rc) rc = measure(bench, &player, modes[mode].mode == BF16, false);
        if (rc) return rc;
    }
    networks_too |= bench->filter && strncmp(bench->filter, "s2m2", 4) == 0;
    for (size_t i = 0; networks_too && i < sizeof networks / sizeof *networks; i++) {
        if (!bench_wants(bench, networks[i][0])) continue;
        long long width, height;
        if (sscanf(networks[i][1], "%lldx%lld", &width, &height) != 2) continue;
        int rc = open_network(&player, bench->pool, s2m2_size(networks[i][0]), width, height, NULL);
        if (!rc) rc = measure(bench, &player, false, true);
        if (rc) return rc;
    }
    return 0;
}

/* ---- answering a script ---- */

enum { PLAYERS_MAX = 64 };

static int open_by_name(Player *player, Pool *pool, const char *line, const char *weights) {
    char kernel[sizeof player->kernel], shape[sizeof player->shape];
    size_t length = strcspn(line, " ");
    snprintf(kernel, sizeof kernel, "%.*s", (int)length, line);
    snprintf(shape, sizeof shape, "%s", line[length] ? line + length + 1 : "");
    for (int i = 0; i < CASES * MODES; i++) {
        const Case *c = &cases[i % CASES];
        char name[sizeof kernel];
        snprintf(name, sizeof name, "%s%s", c->kernel, modes[i / CASES].suffix);
        if (mode_runs(c, i / CASES) && strcmp(name, kernel) == 0 && strcmp(c->shape, shape) == 0)
            return open_case(player, pool, c, i / CASES);
    }
    bool training = strncmp(kernel, "train-s2m2-", 11) == 0;
    char *keeps = training ? strstr(kernel, "-recompute") : NULL;
    bool little = keeps && strcmp(keeps, "-recompute") == 0;
    if (little) *keeps = 0;
    const S2m2Size *size = s2m2_size(kernel + (training ? 6 : 0));
    long long width, height;
    char rest;
    if (size && sscanf(shape, "%lldx%lld%c", &width, &height, &rest) == 2 && width > 0 && height > 0 &&
        width % 32 == 0 && height % 32 == 0 && width <= 32768 && height <= 32768)
        return training ? open_training(player, pool, size, width, height, little ? KEEP_LITTLE : KEEP_ALL, weights)
                        : open_network(player, pool, size, width, height, weights);
    char shown[200];
    return fail(ERR_USAGE, "nothing called '%s' can be measured; panum bench --json shows the names",
                err_printable(shown, sizeof shown, line));
}

static int answer_round(Player *player) {
    int rc = 0;
    if (!player->calls) {
        double start = clock_seconds(), best = 0;
        for (int i = 0; i < 2 && !rc; i++) {
            double begin = clock_seconds();
            rc = play(player);
            best = clock_seconds() - begin;
            if (best > 0.05) break;
        }
        player->calls = best >= 0.05 ? 1 : 1 + (int)(0.05 / (best > 1e-7 ? best : 1e-7));
        if (!rc) printf("{\"prepare_s\":%.6f,\"first_s\":%.6f,", player->prepare_seconds, clock_seconds() - start);
    } else {
        double start = clock_seconds();
        for (int i = 0; i < player->calls && !rc; i++) rc = play(player);
        if (!rc) printf("{\"s\":%.9f,", (clock_seconds() - start) / player->calls);
    }
    if (rc) return rc;
    const TrainingStep *training = player->training;
    PlanFacts facts = plan_facts(training ? training_step_plan(training) : player->plan);
    const ParameterStore *store = training ? training_step_store(training) : player->store;
    char kernel[2 * sizeof player->kernel], shape[2 * sizeof player->shape];
    printf("\"kernel\":%s,\"shape\":%s,\"calls\":%d,\"flops\":%.0f,\"working\":%zu,\"packed\":%zu",
           json_quote(kernel, sizeof kernel, player->kernel), json_quote(shape, sizeof shape, player->shape),
           player->calls, facts.flops, facts.bytes, store_packed_bytes(store));
    if (training) {
        TrainingLoss loss = training_step_loss(training);
        printf(",\"state\":%zu,\"first_loss\":%.9g,\"loss\":%.9g", training_step_state(training), loss.first,
               loss.last);
    }
    printf("}\n");
    return 0;
}

static int answer_peak(Pool *pool) {
    Bench *bench = mem_alloc(sizeof *bench);
    if (!bench) return ERR_MEMORY;
    bench_begin(bench, NULL);
    int rc = bench_measure_peaks(bench, pool);
    if (!rc)
        printf("{\"peak_gflops\":%.2f,\"peak_gflops_bf16\":%.2f,\"peak_gbytes\":%.2f}\n", bench->peak_gflops,
               bench->peak_gflops_half, bench->peak_gbytes);
    mem_free(bench);
    return rc;
}

int bench_interactive(Pool *pool, const char *weights) {
    Player *players = mem_zero(PLAYERS_MAX, sizeof *players);
    if (!players) return ERR_MEMORY;
    char line[256], model[512];
    int count = 0, rc = 0;
    printf("{\"ready\":true,\"version\":\"" PANUM_VERSION "\",\"cpu\":%s,\"instructions\":\"%s\",\"threads\":%d}\n",
           json_quote(model, sizeof model, cpu_model()), cpu_level_name(cpu_level()), pool_threads(pool));
    fflush(stdout);
    while (!rc && !run_stopped() && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (strcmp(line, "peak") == 0) {
            rc = answer_peak(pool);
        } else if (strcmp(line, "drop") == 0) {
            while (count > 0) player_drop(&players[--count]);
            printf("{}\n");
        } else {
            int k = 0;
            while (k < count) {
                size_t length = strlen(players[k].kernel);
                if (strncmp(line, players[k].kernel, length) == 0 && line[length] == ' ' &&
                    strcmp(line + length + 1, players[k].shape) == 0)
                    break;
                k++;
            }
            if (k == PLAYERS_MAX)
                rc = fail(ERR_USAGE, "more than %d things prepared; drop gives them back", PLAYERS_MAX);
            if (!rc && k == count) rc = open_by_name(&players[k], pool, line, weights);
            if (!rc && k == count) count++;
            if (!rc) rc = answer_round(&players[k]);
        }
        fflush(stdout);
    }
    while (count > 0) player_drop(&players[--count]);
    mem_free(players);
    return rc ? rc : run_stopped() ? run_stop("the measurement is not complete") : 0;
}

/* ---- memory ---- */

/* A field of /proc/self/status in bytes, 0 where there is none. */
static double status_bytes(const char *field) {
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    double kilobytes = 0;
    size_t length = strlen(field);
    while (status && fgets(line, sizeof line, status))
        if (strncmp(line, field, length) == 0 && line[length] == ':') kilobytes = strtod(line + length + 1, NULL);
    if (status) fclose(status);
    return kilobytes * 1024;
}

/* The high-water mark becomes what is resident now. */
static void forget_peak(void) {
    FILE *clear = fopen("/proc/self/clear_refs", "w");
    if (!clear) return;
    fputs("5", clear);
    fclose(clear);
}

static int measure_memory(BenchMemory *m, int threads, const char *network, int64_t width, int64_t height) {
    forget_peak();
    m->start = status_bytes("VmRSS");
    Pool *pool = pool_make(threads);
    Player player = {0};
    int rc = pool ? open_network(&player, pool, s2m2_size(network), width, height, NULL) : (int)ERR_MEMORY;
    if (!rc) rc = plan_run(player.plan);
    if (!rc) {
        m->measured = status_bytes("VmHWM") - m->start;
        m->working = (double)plan_facts(player.plan).bytes;
        m->weights = weight_bytes(player.program);
        m->packed = (double)store_packed_bytes(player.store);
        player_drop(&player);
    }
    pool_drop(pool);
    return rc;
}

/* In a child process, so that nothing that was there before is counted. */
static int memory_row(BenchMemory *m, int threads, const char *network, int64_t width, int64_t height) {
    int ends[2];
    if (pipe(ends)) return fail(ERR_FAILED, "no pipe can be made");
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        int rc = measure_memory(m, threads, network, width, height);
        bool written = !rc && write(ends[1], m, sizeof *m) == (ssize_t)sizeof *m;
        if (rc) say_always("%s at %lldx%lld: %s", network, (long long)width, (long long)height, err_sentence());
        _exit(rc ? rc : !written);
    }
    close(ends[1]);
    bool read_all = child > 0 && read(ends[0], m, sizeof *m) == (ssize_t)sizeof *m;
    close(ends[0]);
    int status = 0;
    if (child > 0) waitpid(child, &status, 0);
    if (!read_all || status)
        return fail(ERR_FAILED, "the process that measures memory of %s at %lldx%lld did not finish", network,
                    (long long)width, (long long)height);
    return 0;
}

int bench_memory(Bench *bench, int threads, bool networks_too) {
    static const struct {
        const char *network;
        int64_t width, height;
        bool large;
    } sizes[] = {{"s2m2-S", 736, 480, false}, {"s2m2-S", 1920, 1056, false}, {"s2m2-XL", 1920, 1056, true}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && bench->filter && bench_wants(bench, "memory"); i++) {
        if (sizes[i].large && !networks_too) continue;
        BenchMemory *m = &bench->memory[bench->memory_count];
        int rc = memory_row(m, threads, sizes[i].network, sizes[i].width, sizes[i].height);
        if (rc) return rc;
        snprintf(m->what, sizeof m->what, "%s %lldx%lld", sizes[i].network, (long long)sizes[i].width,
                 (long long)sizes[i].height);
        bench->memory_count++;
    }
    return 0;
}
