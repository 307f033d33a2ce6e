/* tensor/ops/pointwise.c - functions of one element, alone or of two tensors element by element.
 *
 *  function   value                      derivative (of the value y with respect to x)
 *  relu       max(x, 0)                  x > 0
 *  gelu       x/2 (1 + erf(x/sqrt 2))    1/2 (1 + erf(x/sqrt 2)) + x exp(-x^2/2)/sqrt(2 pi)
 *  sigmoid    1/(1 + e^-x)               y (1 - y)
 *  tanh                                  1 - y^2
 *  exp, log, square, sqrt, abs           y, 1/x, 2x, 1/(2y), sign x
 *  affine     p x + q                    p
 *  clamp      min(max(x, p), q)          p <= x <= q
 *  above      x > p ? 1 : 0              0 (a constant)
 *  at_least   x >= p ? 1 : 0             0
 *  logit      ln(c/(1-c)), c = clamp(x, p, 1-p)   1/(c(1-c)) inside, 0 outside
 *  from_u8    p x + q                    none
 *  add sub mul div max min               the usual; max and min give it to the larger (smaller), half each on a tie
 *
 * The gradient of each is one more function of two operands, d(loss)/dy and what the derivative depends on, so that it
 * is one instruction in the hole of whatever computes d(loss)/dy. Where the derivative can be had from y it is taken
 * from there: x need not be kept then.
 *
 * Operands broadcast along C only (a 1-channel map, or a [C] vector), or are one number [1]: it is all that the models
 * here use, and it keeps every pointwise region a loop over rows x columns. */
#include "base/mem.h"
#include "tensor/op.h"
#include "tensor/ops/real_math.h"
#include "tensor/ops/strip.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    bool binary;
    double flops; /* as counted in the work tables: transcendental functions by the length of their polynomials */
} table[FN_COUNT] = {
    [FN_RELU] = {"relu", false, 1},
    [FN_GELU] = {"gelu", false, 24},
    [FN_SIGMOID] = {"sigmoid", false, 16},
    [FN_TANH] = {"tanh", false, 18},
    [FN_EXP] = {"exp", false, 12},
    [FN_LOG] = {"log", false, 16},
    [FN_SQUARE] = {"square", false, 1},
    [FN_SQRT] = {"sqrt", false, 1},
    [FN_ABS] = {"abs", false, 1},
    [FN_AFFINE] = {"affine", false, 2},
    [FN_CLAMP] = {"clamp", false, 2},
    [FN_ABOVE] = {"above", false, 1},
    [FN_AT_LEAST] = {"at_least", false, 1},
    [FN_LOGIT] = {"logit", false, 20},
    [FN_FROM_U8] = {"from_u8", false, 2},
    [FN_ADD] = {"add", true, 1},
    [FN_SUB] = {"sub", true, 1},
    [FN_MUL] = {"mul", true, 1},
    [FN_DIV] = {"div", true, 1},
    [FN_MAX] = {"max", true, 1},
    [FN_MIN] = {"min", true, 1},
    [FN_RELU_GRADIENT] = {"relu_gradient", true, 1},
    [FN_GELU_GRADIENT] = {"gelu_gradient", true, 38},
    [FN_SIGMOID_GRADIENT] = {"sigmoid_gradient", true, 3},
    [FN_TANH_GRADIENT] = {"tanh_gradient", true, 3},
    [FN_SQRT_GRADIENT] = {"sqrt_gradient", true, 2},
    [FN_ABS_GRADIENT] = {"abs_gradient", true, 1},
    [FN_CLAMP_GRADIENT] = {"clamp_gradient", true, 2},
    [FN_LOGIT_GRADIENT] = {"logit_gradient", true, 5},
    [FN_LARGER_GRADIENT] = {"larger_gradient", true, 2},
};

const char *pointwise_name(PointwiseFunction function) {
    return table[function].name;
}
bool pointwise_is_binary(PointwiseFunction function) {
    return table[function].binary;
}
double pointwise_flops(PointwiseFunction function) {
    return table[function].flops;
}

static real apply(PointwiseFunction function, real x, real y, real p, real q) {
    switch (function) {
    case FN_RELU:
        return x < 0 ? 0 : x; /* NaN stays NaN, and -infinity becomes 0 */
    case FN_GELU:
        return x / 2 * (1 + real_erf(x * (real)0.70710678118654752440));
    case FN_SIGMOID:
        return 1 / (1 + real_exp(-x));
    case FN_TANH:
        return real_tanh(x);
    case FN_EXP:
        return real_exp(x);
    case FN_LOG:
        return real_log(x);
    case FN_SQUARE:
        return x * x;
    case FN_SQRT:
        return real_sqrt(x);
    case FN_ABS:
        return real_abs(x);
    case FN_AFFINE:
    case FN_FROM_U8:
        return p * x + q;
    case FN_CLAMP:
        return x < p ? p : x > q ? q : x;
    case FN_ABOVE:
        return x > p;
    case FN_AT_LEAST:
        return x >= p;
    case FN_LOGIT: {
        real c = x < p ? p : x > 1 - p ? 1 - p : x;
        return real_log(c / (1 - c));
    }
    case FN_ADD:
        return x + y;
    case FN_SUB:
        return x - y;
    case FN_MUL:
        return x * y;
    case FN_DIV:
        return x / y;
    case FN_MAX:
        return x > y || x != x ? x : y;
    case FN_MIN:
        return x < y || x != x ? x : y;
    case FN_RELU_GRADIENT:
        return y > 0 ? x : 0;
    case FN_GELU_GRADIENT: {
        real below = (1 + real_erf(y * (real)0.70710678118654752440)) / 2;
        return x * (below + y * (real_exp(-y * y / 2) * (real)0.39894228040143267794)); /* 1/sqrt(2 pi) */
    }
    case FN_SIGMOID_GRADIENT:
        return x * (y * (1 - y));
    case FN_TANH_GRADIENT:
        return x * (1 - y * y);
    case FN_SQRT_GRADIENT:
        return x / (y + y);
    case FN_ABS_GRADIENT:
        return y > 0 ? x : y < 0 ? -x : 0;
    case FN_CLAMP_GRADIENT:
        return y >= p && y <= q ? x : 0;
    case FN_LOGIT_GRADIENT:
        return y >= p && y <= 1 - p ? x / (y * (1 - y)) : 0;
    case FN_LARGER_GRADIENT:
        return y > 0 ? x : y == 0 ? x / 2 : 0;
    case FN_COUNT:
        break;
    }
    panum_bug(__FILE__, __LINE__, "pointwise function %d", function);
}

/* The innermost axis in memory: C of maps (also of maps with one channel, which are row-major as well), else the last.
 */
static int channel_axis(const Tensor *t) {
    return t->rank == 4 && (t->stride[1] == 1 || t->size[1] == 1) ? 1 : t->rank - 1;
}

/* The stride of operand x for each axis of `out`; 0 where it broadcasts. */
static void broadcast_strides(const Tensor *x, const Tensor *out, int64_t stride[RANK_MAX]) {
    if (x->rank == 1 && out->rank > 1) {
        int c = out->rank == 4 ? 1 : out->rank - 1;
        for (int k = 0; k < out->rank; k++) stride[k] = k == c && x->size[0] != 1 ? x->stride[0] : 0;
        return;
    }
    for (int k = 0; k < out->rank; k++) stride[k] = x->size[k] == 1 && out->size[k] != 1 ? 0 : x->stride[k];
}

static real read_element(const Tensor *x, const void *data, int64_t at) {
    return x->dtype == DTYPE_U8 ? (real)((const uint8_t *)data)[at] : ((const real *)data)[at];
}

static void pointwise_define(const Node *node, const Run *run) {
    const PointwiseAttributes *f = node->attributes;
    const Tensor *out = node->output[0], *x = node->input[0], *y = node->inputs > 1 ? node->input[1] : NULL;
    int64_t sx[RANK_MAX], sy[RANK_MAX] = {0}, index[RANK_MAX] = {0}, n = tensor_count(out);
    broadcast_strides(x, out, sx);
    if (y) broadcast_strides(y, out, sy);
    const void *from = run_data(run, x), *second = y ? run_data(run, y) : NULL;
    real *to = run_real(run, out);
    for (int64_t i = 0; i < n; i++) {
        int64_t ax = 0, ay = 0, put = 0;
        for (int k = 0; k < out->rank; k++) {
            ax += index[k] * sx[k];
            ay += index[k] * sy[k];
            put += index[k] * out->stride[k];
        }
        to[put] =
            apply(f->function, read_element(x, from, ax), y ? read_element(y, second, ay) : 0, (real)f->p, (real)f->q);
        for (int k = out->rank - 1; k >= 0; k--) {
            if (++index[k] < out->size[k]) break;
            index[k] = 0;
        }
    }
}

bool strip_space(const Tensor *t, int64_t *rows, int64_t *columns, int64_t *stride) {
    int c = channel_axis(t);
    if (t->rank > 1 && t->stride[c] != 1 && t->size[c] != 1) return false;
    *columns = t->size[c];
    *rows = tensor_count(t) / t->size[c];
    /* walk the other axes from inner to outer: each must continue the one before */
    int order[RANK_MAX], n = 0;
    if (t->rank == 4 && c == 1) {
        order[n++] = 3, order[n++] = 2, order[n++] = 0;
    } else {
        for (int k = t->rank - 1; k >= 0; k--)
            if (k != c) order[n++] = k;
    }
    *stride = 0;
    int64_t expected = 0;
    for (int i = 0; i < n; i++) {
        int k = order[i];
        if (t->size[k] == 1) continue;
        if (*stride == 0)
            *stride = t->stride[k];
        else if (t->stride[k] != expected)
            return false;
        expected = t->stride[k] * t->size[k];
    }
    if (*stride == 0) *stride = *columns;
    return true;
}

bool strip_operand(const Tensor *x, const Tensor *space, StripOperand *operand) {
    int64_t rows, columns, stride, out_rows, out_columns, out_stride;
    *operand = (StripOperand){.tensor = x, .u8 = x->dtype == DTYPE_U8};
    if (!strip_space(space, &out_rows, &out_columns, &out_stride)) return false;
    if (tensor_count(x) == 1 && tensor_count(space) > 1) {
        operand->kind = OPERAND_SCALAR;
        return true;
    }
    if (x->rank == 1 && space->rank > 1) {
        operand->kind = OPERAND_COLUMN;
        return x->size[0] == out_columns;
    }
    if (!strip_space(x, &rows, &columns, &stride) || rows != out_rows) return false;
    operand->stride = stride;
    operand->kind = columns == out_columns ? OPERAND_FULL : OPERAND_ROW;
    return columns == out_columns || columns == 1;
}

#ifndef PANUM_F64
static void pointwise_run(const Node *node, const Run *run) {
    const PointwiseAttributes *f = node->attributes;
    const Tensor *out = node->output[0];
    StripProgram program = {.operands = node->inputs, .instructions = 1, .outputs = 1};
    StripPlaces places;
    int64_t stride;
    bool fits = strip_space(out, &program.rows, &program.columns, &stride);
    for (int i = 0; fits && i < node->inputs; i++) {
        fits = strip_operand(node->input[i], out, &program.operand[i]);
        places.operand[i] = run_data(run, node->input[i]);
    }
    if (!fits) {
        pointwise_define(node, run);
        return;
    }
    program.code[0] = (StripInstruction){f->function, 0, node->inputs > 1 ? 1 : -1, f->p, f->q};
    program.output[0] = (StripOutput){node->inputs, stride, out, false};
    places.output[0] = run_real(run, out);
    strip_run_all(run->pool, &program, &places);
}
#endif

static void pointwise_cost(const Node *node, Cost *cost) {
    cost->flops =
        table[((const PointwiseAttributes *)node->attributes)->function].flops * (double)tensor_count(node->output[0]);
}

static void pointwise_print(const Node *node, FILE *to) {
    const PointwiseAttributes *f = node->attributes;
    fprintf(to, " %s", table[f->function].name);
    if (f->p != 0 || f->q != 0) fprintf(to, " %g %g", f->p, f->q);
}

static Tensor *of_two(PointwiseFunction function, Tensor *x, Tensor *y, double p, double q, T_AT);

static void pointwise_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    const PointwiseAttributes *f = node->attributes;
    Tensor *d = d_output[0], *x = node->input[0], *y = node->inputs > 1 ? node->input[1] : NULL;
    Tensor *value = node->output[0];
    switch (f->function) {
    case FN_RELU:
        d_input[0] = of_two(FN_RELU_GRADIENT, d, value, 0, 0, T_HERE);
        return;
    case FN_GELU:
        d_input[0] = of_two(FN_GELU_GRADIENT, d, x, 0, 0, T_HERE);
        return;
    case FN_SIGMOID:
        d_input[0] = of_two(FN_SIGMOID_GRADIENT, d, value, 0, 0, T_HERE);
        return;
    case FN_TANH:
        d_input[0] = of_two(FN_TANH_GRADIENT, d, value, 0, 0, T_HERE);
        return;
    case FN_EXP:
        d_input[0] = t_mul(d, value);
        return;
    case FN_LOG:
        d_input[0] = t_div(d, x);
        return;
    case FN_SQUARE:
        d_input[0] = t_affine(t_mul(d, x), 2, 0);
        return;
    case FN_SQRT:
        d_input[0] = of_two(FN_SQRT_GRADIENT, d, value, 0, 0, T_HERE);
        return;
    case FN_ABS:
        d_input[0] = of_two(FN_ABS_GRADIENT, d, x, 0, 0, T_HERE);
        return;
    case FN_AFFINE:
        d_input[0] = f->p == 1 ? d : t_affine(d, f->p, 0);
        return;
    case FN_CLAMP:
        d_input[0] = of_two(FN_CLAMP_GRADIENT, d, x, f->p, f->q, T_HERE);
        return;
    case FN_LOGIT:
        d_input[0] = of_two(FN_LOGIT_GRADIENT, d, x, f->p, 0, T_HERE);
        return;
    case FN_ADD:
        d_input[0] = d_input[1] = d;
        return;
    case FN_SUB:
        d_input[0] = d;
        d_input[1] = t_affine(d, -1, 0);
        return;
    case FN_MUL:
        d_input[0] = t_mul(d, y);
        d_input[1] = t_mul(d, x);
        return;
    case FN_DIV:
        d_input[0] = t_div(d, y);
        d_input[1] = t_affine(t_mul(d_input[0], value), -1, 0);
        return;
    case FN_MAX:
        d_input[0] = of_two(FN_LARGER_GRADIENT, d, t_sub(x, y), 0, 0, T_HERE);
        d_input[1] = of_two(FN_LARGER_GRADIENT, d, t_sub(y, x), 0, 0, T_HERE);
        return;
    case FN_MIN:
        d_input[0] = of_two(FN_LARGER_GRADIENT, d, t_sub(y, x), 0, 0, T_HERE);
        d_input[1] = of_two(FN_LARGER_GRADIENT, d, t_sub(x, y), 0, 0, T_HERE);
        return;
    case FN_ABOVE: /* constants almost everywhere */
    case FN_AT_LEAST:
    case FN_FROM_U8:
        return;
    default:
        panum_bug(__FILE__, __LINE__, "the gradient of %s, which is one itself", table[f->function].name);
    }
}

/* Those whose gradient reads their operands, but not those whose gradient reads their value. */
static bool pointwise_light(const Node *node) {
    switch (((const PointwiseAttributes *)node->attributes)->function) {
    case FN_GELU:
    case FN_SQUARE:
    case FN_ABS:
    case FN_AFFINE:
    case FN_CLAMP:
    case FN_LOGIT:
    case FN_FROM_U8:
    case FN_MUL:
    case FN_MAX:
    case FN_MIN:
        return true;
    default:
        return false;
    }
}

const Op op_pointwise = {
    .name = "pointwise",
    .kind = OP_POINTWISE,
    .define = pointwise_define,
#ifndef PANUM_F64
    .run = pointwise_run,
#endif
    .cost = pointwise_cost,
    .print = pointwise_print,
    .gradient = pointwise_gradient,
    .light = pointwise_light,
};

/* The layout of a result of the shape of x. */
static Layout layout_of(const Tensor *x) {
    return x->rank == 4 && channel_axis(x) != 1 ? LAYOUT_ROW_MAJOR : LAYOUT_AUTO;
}

Tensor *t_unary_at(PointwiseFunction function, Tensor *x, double p, double q, T_AT) {
    SHAPE_RULE(x->program, file, line, (x->dtype == DTYPE_U8) == (function == FN_FROM_U8), "%s of a %s tensor",
               table[function].name, dtype_name(x->dtype));
    PointwiseAttributes attributes = {function, p, q};
    Node *node = program_record(x->program, &op_pointwise, 1, &x, &attributes, sizeof attributes, file, line);
    return node_output(node, DTYPE_F32, x->rank, x->size, layout_of(x));
}

/* Does x broadcast to `out` by the rule above? */
static bool broadcasts(const Tensor *x, const Tensor *out) {
    int c = out->rank == 4 ? 1 : out->rank - 1;
    if (x->rank == 1 && x->size[0] == 1) return true;
    if (x->rank == 1 && out->rank > 1) return x->size[0] == out->size[c];
    if (x->rank != out->rank) return false;
    for (int k = 0; k < out->rank; k++)
        if (x->size[k] != out->size[k] && !(k == c && x->size[k] == 1)) return false;
    return true;
}

Tensor *t_expand_at(Tensor *x, const Tensor *like, T_AT) {
    char a[128], b[128];
    SHAPE_RULE(x->program, file, line, broadcasts(x, like) && x->dtype == DTYPE_F32, "expand of %s to %s",
               tensor_shape_text(x, a, sizeof a), tensor_shape_text(like, b, sizeof b));
    PointwiseAttributes attributes = {FN_AFFINE, 1, 0};
    Node *node = program_record(x->program, &op_pointwise, 1, &x, &attributes, sizeof attributes, file, line);
    return node_output(node, DTYPE_F32, like->rank, like->size, layout_of(like));
}

static Tensor *of_two(PointwiseFunction function, Tensor *x, Tensor *y, double p, double q, T_AT) {
    int64_t more = tensor_count(x) - tensor_count(y);
    Tensor *larger = more > 0 || (more == 0 && x->rank >= y->rank) ? x : y;
    char a[128], b[128];
    SHAPE_RULE(x->program, file, line,
               broadcasts(x, larger) && broadcasts(y, larger) && x->dtype == DTYPE_F32 && y->dtype == DTYPE_F32,
               "%s of %s and %s", table[function].name, tensor_shape_text(x, a, sizeof a),
               tensor_shape_text(y, b, sizeof b));
    PointwiseAttributes attributes = {function, p, q};
    Node *node =
        program_record(x->program, &op_pointwise, 2, (Tensor *[]){x, y}, &attributes, sizeof attributes, file, line);
    return node_output(node, DTYPE_F32, larger->rank, larger->size, layout_of(larger));
}

Tensor *t_binary_at(PointwiseFunction function, Tensor *x, Tensor *y, T_AT) {
    return of_two(function, x, y, 0, 0, file, line);
}
