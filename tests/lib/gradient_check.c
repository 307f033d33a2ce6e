#include "tests/lib/gradient_check.h"
#include "autograd/backward.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "exec/plan.h"
#include "tests/lib/run_node.h"

#include <math.h>

enum { OUTPUTS_MAX = 16, TENSORS_MAX = 64 };

static const GradientInput *said_of(const GradientCheck *o, const char *name) {
    for (int i = 0; i < (int)(sizeof o->input / sizeof *o->input) && o->input[i].name; i++)
        if (strcmp(o->input[i].name, name) == 0) return &o->input[i];
    return NULL;
}

/* Values of an input or weight, rounded to f32 so that both builds see the same. */
static void fill(const GradientCheck *o, const Tensor *t, void *to) {
    const GradientInput *said = said_of(o, t->name);
    double low = said && said->low != said->high ? said->low : -1,
           high = said && said->low != said->high ? said->high : 1;
    uint64_t seed = o->seed + (uint64_t)t->id * 1000003u;
    for (int64_t i = 0; i < tensor_count(t); i++) {
        double value = low + (high - low) * rng_unit(seed, (uint64_t)i);
        if (t->dtype == DTYPE_U8)
            ((uint8_t *)to)[i] = (uint8_t)(rng_u64(seed, (uint64_t)i) >> 56);
        else
            ((real *)to)[i] = (real)(float)value;
    }
}

typedef struct {
    Program *program;
    int outputs;
    Tensor *output[OUTPUTS_MAX], *weight_of[OUTPUTS_MAX]; /* what each result is multiplied with */
    int parameters;
    Tensor *parameter[TENSORS_MAX]; /* inputs and weights that are to be checked */
    Tensor *loss;
} Case;

/* The case as recorded; with `walked`, the loss and its gradients as well. `alone` >= 0: the loss of that result only.
 */
static Case make_case(GradientRecord record, const GradientCheck *o, bool walked, int alone) {
    Case c = {.program = program_make()};
    assert_non_null(c.program);
    record(c.program, o->context);
    c.outputs = program_outputs(c.program);
    assert_in_range(c.outputs, 1, OUTPUTS_MAX);
    for (int i = 0; i < program_tensors(c.program); i++) {
        Tensor *t = program_tensor(c.program, i);
        if (t->kind == TENSOR_VALUE || t->base != t || t->dtype != DTYPE_F32) continue;
        const GradientInput *said = said_of(o, t->name);
        if (said && said->constant) continue;
        assert_true(c.parameters < TENSORS_MAX);
        c.parameter[c.parameters++] = t;
    }
    for (int i = 0; i < c.outputs; i++) {
        char name[32];
        snprintf(name, sizeof name, "output weight %d", i);
        c.output[i] = program_output_at(c.program, i, NULL);
        c.weight_of[i] = program_input(c.program, name, DTYPE_F32, c.output[i]->rank, c.output[i]->size);
        if (!walked || (alone >= 0 && i != alone)) continue;
        Tensor *part = t_sum(t_mul(c.output[i], c.weight_of[i]));
        c.loss = c.loss ? t_add(c.loss, part) : part;
    }
    if (walked && backward(c.loss, &(BackwardOptions){.inputs = true})) fail_msg("%s", err_sentence());
    return c;
}

#ifdef PANUM_F64
static double loss_of(const Case *c, Runner *runner, real *const *weights, int alone) {
    double sum = 0;
    runner_run(runner, (RunWay){.kind = RUN_DEFINITION});
    for (int i = 0; i < c->outputs; i++) {
        if (alone >= 0 && i != alone) continue;
        real *values = runner_copy(runner, c->output[i]);
        for (int64_t k = 0; k < tensor_count(c->output[i]); k++) sum += values[k] * weights[i][k];
        mem_free(values);
    }
    return sum;
}

static int64_t offset_of(const Tensor *t, int64_t index) {
    int64_t offset = 0;
    for (int axis = t->rank - 1; axis >= 0; axis--) {
        offset += index % t->size[axis] * t->stride[axis];
        index /= t->size[axis];
    }
    return offset;
}

static double check_differences(const char *what, GradientRecord record, const GradientCheck *o, int alone) {
    const double step = 1e-6, bound = o->bound > 0 ? o->bound : 1e-6, allowed = o->kinks > 0 ? o->kinks : 0.02;
    Case c = make_case(record, o, false, alone), g = make_case(record, o, true, alone);
    Runner *runner = runner_make(c.program), *walked = runner_make(g.program);
    for (int i = 0; i < program_tensors(g.program); i++) {
        const Tensor *t = program_tensor(g.program, i);
        if (t->base == t && t->kind != TENSOR_VALUE) fill(o, t, runner_data(walked, t));
    }
    for (int i = 0; i < program_tensors(c.program); i++) {
        const Tensor *t = program_tensor(c.program, i);
        if (t->base == t && t->kind != TENSOR_VALUE) fill(o, t, runner_data(runner, t));
    }
    runner_run(walked, (RunWay){.kind = RUN_DEFINITION});
    real *weights[OUTPUTS_MAX], *gradient[TENSORS_MAX];
    for (int i = 0; i < c.outputs; i++) { /* the same numbers in both, though their ids differ */
        const Tensor *t = c.weight_of[i];
        memcpy(runner_data(runner, t), runner_data(walked, g.weight_of[i]), tensor_bytes(t));
        weights[i] = runner_copy(runner, t);
    }
    const double middle = loss_of(&c, runner, weights, alone);
    double worst = 0;
    int64_t kinks = 0, looked = 0;
    for (int p = 0; p < c.parameters; p++) {
        const Tensor *t = c.parameter[p];
        const int64_t count = tensor_count(t), most = o->most ? o->most : 200;
        gradient[p] = gradient_of(g.parameter[p]) ? runner_copy(walked, gradient_of(g.parameter[p])) : NULL;
        real *values = runner_data(runner, t);
        double largest = 0, error = 0;
        int64_t where = 0;
        for (int64_t i = 0; gradient[p] && i < count; i++)
            if (!(fabs(gradient[p][i]) <= largest)) largest = fabs(gradient[p][i]);
        if (!isfinite(largest)) fail_msg("%s: the gradient of %s is not finite", what, t->name);
        const double unit = fmax(largest, 1e-3);
        for (int64_t n = 0; n < (count < most ? count : most); n++) {
            int64_t i = count <= most ? n : (int64_t)(rng_u64(o->seed + 77, (uint64_t)n) % (uint64_t)count);
            real *value = &values[offset_of(t, i)], kept = *value;
            *value = kept + step;
            double above = loss_of(&c, runner, weights, alone);
            *value = kept - step;
            double below = loss_of(&c, runner, weights, alone);
            *value = kept;
            looked++;
            if (fabs(above - 2 * middle + below) / step > 1e-3 * unit) {
                kinks++;
                continue;
            }
            double e = fabs((above - below) / (2 * step) - (gradient[p] ? gradient[p][i] : 0)) / unit;
            if (e > error) error = e, where = i;
        }
        if (error > worst) worst = error;
        if (!(error <= bound)) {
            real *value = &values[offset_of(t, where)], kept = *value;
            *value = kept + step;
            double above = loss_of(&c, runner, weights, alone);
            *value = kept - step;
            double below = loss_of(&c, runner, weights, alone);
            *value = kept;
            fail_msg("%s, result %d: d(loss)/d(%s)[%lld] is %.9g, the difference %.9g (largest %.3g)", what, alone,
                     t->name, (long long)where, gradient[p] ? gradient[p][where] : 0, (above - below) / (2 * step),
                     largest);
        }
    }
    if ((double)kinks > allowed * (double)looked)
        fail_msg("%s: %lld of %lld elements lie at a kink", what, (long long)kinks, (long long)looked);
    /* along three directions through everything at once: what single elements cannot show, and all of large tensors */
    for (int direction = 0; direction < 3 && kinks == 0; direction++) {
        double expected = 0, size = 0, sum[2];
        for (int sign = 0; sign < 2; sign++) {
            for (int p = 0; p < c.parameters; p++) {
                const Tensor *t = c.parameter[p];
                real *values = runner_data(runner, t);
                fill(o, t, values);
                for (int64_t i = 0; i < tensor_count(t); i++) {
                    double along = rng_signed(o->seed + 991u * (uint64_t)(direction + 1) + (uint64_t)p, (uint64_t)i);
                    values[offset_of(t, i)] += (sign ? -step : step) * along;
                    if (sign || !gradient[p]) continue;
                    expected += along * gradient[p][i];
                    size += fabs(along * gradient[p][i]);
                }
            }
            sum[sign] = loss_of(&c, runner, weights, alone);
        }
        double error = fabs((sum[0] - sum[1]) / (2 * step) - expected) / fmax(size, 1e-3);
        if (!(error <= bound))
            fail_msg("%s: along direction %d the loss rises by %.9g, the gradient says %.9g", what, direction,
                     (sum[0] - sum[1]) / (2 * step), expected);
    }
    for (int p = 0; p < c.parameters; p++) mem_free(gradient[p]);
    for (int i = 0; i < c.outputs; i++) mem_free(weights[i]);
    runner_drop(runner);
    runner_drop(walked);
    program_drop(c.program);
    program_drop(g.program);
    return worst;
}
#else

/* ---- weights by rule, with packed copies, for plans ---- */

typedef struct {
    const GradientCheck *options;
    char *key[4 * TENSORS_MAX];
    void *bytes[4 * TENSORS_MAX];
    int kept;
} Values;

static void *keep(Values *v, const char *key, size_t bytes) {
    assert_true(v->kept < 4 * TENSORS_MAX);
    v->key[v->kept] = mem_text(key);
    v->bytes[v->kept] = mem_alloc(bytes);
    assert_true(v->key[v->kept] && v->bytes[v->kept]);
    return v->bytes[v->kept++];
}

static void *kept(const Values *v, const char *key) {
    for (int i = 0; i < v->kept; i++)
        if (strcmp(v->key[i], key) == 0) return v->bytes[i];
    return NULL;
}

static const real *values_of(void *context, const Tensor *weight) {
    Values *v = context;
    real *there = kept(v, weight->name);
    if (!there) fill(v->options, weight, there = keep(v, weight->name, tensor_bytes(weight)));
    return there;
}

static void *packed_of(void *context, const char *key, size_t bytes, void (*make)(void *context, void *packed),
                       void *make_context) {
    Values *v = context;
    void *there = kept(v, key);
    if (!there) make(make_context, there = keep(v, key, bytes));
    return there;
}

/* Runs the walked case in some way; gradients of parameter after parameter, in spoken order. */
static real *gradients_by(const Case *g, const GradientCheck *o, PlanOptions options, int threads, int64_t *count) {
    Values values = {.options = o};
    WeightSource source = {&values, values_of, packed_of};
    Pool *pool = pool_make(threads);
    Plan *plan;
    if (plan_make(g->program, &source, pool, options, &plan)) fail_msg("%s", err_sentence());
    for (int i = 0; i < program_tensors(g->program); i++) {
        const Tensor *t = program_tensor(g->program, i);
        if (t->base == t && t->kind == TENSOR_INPUT) fill(o, t, plan_data(plan, t));
    }
    for (int run = 0; run < 2; run++) /* what is left in the block must not matter */
        if (plan_run(plan)) fail_msg("%s", err_sentence());
    *count = 0;
    for (int p = 0; p < g->parameters; p++)
        if (gradient_of(g->parameter[p])) *count += tensor_count(g->parameter[p]);
    real *all = mem_array((size_t)*count + 1, sizeof *all), *to = all;
    assert_non_null(all);
    for (int p = 0; p < g->parameters; p++) {
        const Tensor *d = gradient_of(g->parameter[p]);
        if (!d) continue;
        const real *from = plan_data(plan, d);
        for (int64_t i = 0; i < tensor_count(d); i++) {
            int64_t left = i, at = 0;
            for (int axis = d->rank - 1; axis >= 0; axis--) {
                at += left % d->size[axis] * d->stride[axis];
                left /= d->size[axis];
            }
            *to++ = from[at];
        }
    }
    plan_drop(plan);
    pool_drop(pool);
    for (int i = 0; i < values.kept; i++) {
        mem_free(values.key[i]);
        mem_free(values.bytes[i]);
    }
    return all;
}

static void compare(const char *what, const char *way, const Case *g, const real *got, const real *want, double bound,
                    double *worst) {
    for (int p = 0; p < g->parameters; p++) {
        const Tensor *t = g->parameter[p];
        if (!gradient_of(t)) continue;
        double largest = 1e-3, error = 0;
        int64_t where = 0;
        for (int64_t i = 0; i < tensor_count(t); i++) largest = fmax(largest, fabs((double)want[i]));
        for (int64_t i = 0; i < tensor_count(t); i++) {
            double e = fabs((double)got[i] - (double)want[i]) / largest;
            if (!(e <= error)) error = isnan(e) ? INFINITY : e, where = i;
        }
        if (error > *worst) *worst = error;
        if (!(error <= bound))
            fail_msg("%s by %s: d(loss)/d(%s)[%lld] is %.9g, defined as %.9g (largest %.3g)", what, way, t->name,
                     (long long)where, (double)got[where], (double)want[where], largest);
        got += tensor_count(t);
        want += tensor_count(t);
    }
}

static double check_versions(const char *what, GradientRecord record, const GradientCheck *o, int alone) {
    const double bound = o->fast > 0 ? o->fast : 2e-5;
    Case g = make_case(record, o, true, alone);
    for (int p = 0; p < g.parameters; p++) {
        char name[128];
        snprintf(name, sizeof name, "grad.%s", g.parameter[p]->name);
        if (gradient_of(g.parameter[p])) program_output(g.program, name, gradient_of(g.parameter[p]));
    }
    int64_t n;
    double worst = 0;
    real *truth = gradients_by(&g, o, (PlanOptions){.definitions = true}, 1, &n);
    const CpuLevel best = cpu_level();
    for (int level = CPU_BASE; level <= (int)best; level++) {
        cpu_limit((CpuLevel)level);
        real *plain = gradients_by(&g, o, (PlanOptions){.interpret = true, .exact = true}, 2, &n);
        compare(what, "the interpreter", &g, plain, truth, bound, &worst);
        mem_free(plain);
        real *one = gradients_by(&g, o, (PlanOptions){.exact = true}, 1, &n);
        compare(what, "replay", &g, one, truth, bound, &worst);
        for (int threads = 2; threads <= 3; threads++) {
            real *more = gradients_by(&g, o, (PlanOptions){.exact = true}, threads, &n);
            if (memcmp(one, more, (size_t)n * sizeof *one) != 0)
                fail_msg("%s at %s: %d threads give other bits", what, cpu_level_name((CpuLevel)level), threads);
            mem_free(more);
        }
        mem_free(one);
    }
    cpu_limit(CPU_AVX512);
    mem_free(truth);
    program_drop(g.program);
    return worst;
}
#endif

void gradient_check_with(const char *what, GradientRecord record, GradientCheck options) {
    Program *program = program_make();
    assert_non_null(program);
    record(program, options.context);
    int outputs = program_outputs(program);
    program_drop(program);
    double worst = 0;
    for (int alone = -1; alone < (outputs > 1 ? outputs : 0); alone++) {
#ifdef PANUM_F64
        double error = check_differences(what, record, &options, alone);
#else
        double error = check_versions(what, record, &options, alone);
#endif
        if (error > worst) worst = error;
    }
#ifdef PANUM_F64
    printf("  %-44s largest error %.1e beside differences\n", what, worst);
#else
    printf("  %-44s largest error %.1e beside definitions\n", what, worst);
#endif
}
