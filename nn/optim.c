/* Loops are plain C that compilers turn into vectors; products and sums are not contracted (Makefile:
 * -ffp-contract=off), so every instruction set gives the same bits. A pass over 2 M parameters reads and writes 56 MB:
 * memory is its limit. */
#include "nn/optim.h"
#include "base/err.h"
#include "base/mem.h"

#include <math.h>

enum { TILE = 16384, LANES = 16 };

/* Neighbours in the block with one set of options. */
typedef struct {
    int64_t offset, count;
    int group; /* -1: none */
} Tile;

struct Optim {
    const ParameterList *list;
    OptimOptions options;
    OptimGroup group[OPTIM_GROUPS_MAX];
    int *group_of; /* by parameter */
    Tile *tile;
    int tiles;
    double *sum; /* by tile: squares of its gradients */
    float *block[OPTIM_BLOCKS];
    int64_t steps;
};

const char *const optim_block_names[OPTIM_BLOCKS] = {"moment1", "moment2", "average"};

/* ---- making ---- */

static bool is_frozen(const Optim *o, int group) {
    return group >= 0 && o->group[group].frozen;
}

static void choose_groups(Optim *o) {
    for (int i = 0; i < o->list->count; i++) {
        o->group_of[i] = -1;
        for (int g = o->options.groups - 1; g >= 0; g--)
            if (name_matches(o->group[g].patterns, o->list->at[i].name)) o->group_of[i] = g;
    }
}

/* Frozen parameters have no tiles. */
static int cut_tiles(Optim *o) {
    const ParameterList *list = o->list;
    o->tile = mem_zero((size_t)(list->block / TILE + list->count + 1), sizeof *o->tile);
    if (!o->tile) return ERR_MEMORY;
    for (int i = 0, next; i < list->count; i = next) {
        for (next = i + 1; next < list->count && o->group_of[next] == o->group_of[i];) next++;
        int64_t at = list->at[i].offset, end = next < list->count ? list->at[next].offset : list->block;
        if (is_frozen(o, o->group_of[i])) continue;
        for (int64_t count; at < end; at += count) {
            count = end - at < TILE ? end - at : TILE;
            o->tile[o->tiles++] = (Tile){at, count, o->group_of[i]};
        }
    }
    o->sum = mem_zero((size_t)o->tiles + 1, sizeof *o->sum);
    return o->sum ? 0 : (int)ERR_MEMORY;
}

static int build(Optim *o, const float *weights) {
    o->group_of = mem_zero((size_t)o->list->count + 1, sizeof *o->group_of);
    if (!o->group_of) return ERR_MEMORY;
    choose_groups(o);
    int code = cut_tiles(o);
    bool wanted[OPTIM_BLOCKS] = {o->options.method == OPTIM_ADAMW || o->options.momentum > 0,
                                 o->options.method == OPTIM_ADAMW, o->options.average > 0};
    for (int i = 0; !code && i < OPTIM_BLOCKS; i++) {
        if (!wanted[i]) continue;
        o->block[i] = mem_zero((size_t)o->list->block + 1, sizeof(float));
        if (!o->block[i]) code = ERR_MEMORY;
    }
    for (int64_t i = 0; !code && o->block[OPTIM_AVERAGE] && i < o->list->block; i++)
        o->block[OPTIM_AVERAGE][i] = weights[i];
    return code;
}

int optim_make(const ParameterList *list, const OptimOptions *options, const float *weights, Optim **out) {
    BUG_IF(options->groups > OPTIM_GROUPS_MAX, "%d groups of parameters", options->groups);
    *out = NULL;
    Optim *o = mem_zero(1, sizeof *o);
    if (!o) return ERR_MEMORY;
    o->list = list;
    o->options = *options;
    for (int i = 0; i < options->groups; i++) o->group[i] = options->group[i];
    o->options.group = o->group;
    if (o->options.beta1 == 0) o->options.beta1 = 0.9;
    if (o->options.beta2 == 0) o->options.beta2 = 0.999;
    if (o->options.epsilon == 0) o->options.epsilon = 1e-8;
    int code = build(o, weights);
    if (code) {
        optim_drop(o);
        return code;
    }
    *out = o;
    return 0;
}

void optim_drop(Optim *o) {
    if (!o) return;
    for (int i = 0; i < OPTIM_BLOCKS; i++) mem_free(o->block[i]);
    mem_free(o->group_of);
    mem_free(o->tile);
    mem_free(o->sum);
    mem_free(o);
}

int64_t optim_steps(const Optim *o) {
    return o->steps;
}

void optim_set_steps(Optim *o, int64_t steps) {
    o->steps = steps;
}

float *optim_block(Optim *o, int block) {
    return o->block[block];
}

int optim_group(const Optim *o, int parameter) {
    return o->group_of[parameter];
}

int64_t optim_trained(const Optim *o) {
    int64_t numbers = 0;
    for (int i = 0; i < o->list->count; i++)
        if (!is_frozen(o, o->group_of[i])) numbers += o->list->at[i].count;
    return numbers;
}

static double mean_square(const float *x, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)x[i] * (double)x[i];
    return count > 0 ? sum / (double)count : 0;
}

int optim_silent(const Optim *o, int *first) {
    const float *moment = o->block[OPTIM_MOMENT1];
    if (!moment) return 0;
    double whole = sqrt(mean_square(moment, o->list->block)); /* what is frozen, and padding, is 0 there */
    int silent = 0;
    for (int i = 0; whole > 0 && i < o->list->count; i++) {
        const Parameter *p = &o->list->at[i];
        if (is_frozen(o, o->group_of[i]) || sqrt(mean_square(moment + p->offset, p->count)) > OPTIM_SILENT * whole)
            continue;
        if (!silent++ && first) *first = i;
    }
    return silent;
}

/* ---- a step ---- */

OptimNumbers optim_numbers(const Optim *o, double rate) {
    const OptimOptions *options = &o->options;
    double n = (double)o->steps + 1, early = (1 + n) / (10 + n);
    double correction1 = 1 - pow(options->beta1, n), correction2 = 1 - pow(options->beta2, n);
    OptimNumbers numbers = {.gain1 = (float)(1 - options->beta1),
                            .keep2 = (float)options->beta2,
                            .gain2 = (float)(1 - options->beta2),
                            .root = (float)sqrt(correction2),
                            .epsilon = (float)options->epsilon,
                            .momentum = o->steps ? (float)options->momentum : 0,
                            .towards = (float)(1 - (early < options->average ? early : options->average))};
    for (int g = -1; g < options->groups; g++) {
        double own = rate * (g >= 0 ? o->group[g].rate : 1), decay = g >= 0 ? o->group[g].decay : options->decay;
        numbers.rate[g + 1] = (OptimRate){
            (float)(1 - own * decay), (float)(options->method == OPTIM_ADAMW ? own / correction1 : own), (float)decay};
    }
    return numbers;
}

const OptimOptions *optim_options(const Optim *o) {
    return &o->options;
}

typedef struct {
    Optim *optim;
    float *weights;
    const float *gradients;
    float scale; /* on gradients, clipping included */
    OptimNumbers numbers;
} Pass;

/* Sixteen sums side by side, in double, added in order: no square of an f32 overflows it. */
static void square_tile(void *context, int64_t index, int worker) {
    (void)worker;
    const Pass *pass = context;
    const Tile *tile = &pass->optim->tile[index];
    const float *g = pass->gradients + tile->offset;
    double lane[LANES] = {0};
    for (int64_t i = 0; i < tile->count; i += LANES) /* blocks end at a multiple of PARAMETER_ALIGN */
        for (int k = 0; k < LANES; k++) lane[k] += (double)g[i + k] * (double)g[i + k];
    double sum = 0;
    for (int k = 0; k < LANES; k++) sum += lane[k];
    pass->optim->sum[index] = sum;
}

/* m += (1-b1)(g - m);  v = b2 v + (1-b2) g^2;  w = w (1 - rate decay) - rate/c1 m / (sqrt(v)/sqrt(c2) + eps) */
static void adamw(const Pass *pass, const Tile *tile, OptimRate rate) {
    const OptimNumbers *n = &pass->numbers;
    const float *restrict gradient = pass->gradients + tile->offset;
    float *restrict w = pass->weights + tile->offset;
    float *restrict m = pass->optim->block[OPTIM_MOMENT1] + tile->offset;
    float *restrict v = pass->optim->block[OPTIM_MOMENT2] + tile->offset;
    float scale = pass->scale, keep = rate.keep, step = rate.step;
    float a1 = n->gain1, b2 = n->keep2, a2 = n->gain2, root = n->root, epsilon = n->epsilon;
    for (int64_t i = 0; i < tile->count; i++) {
        float g = gradient[i] * scale;
        m[i] += a1 * (g - m[i]);
        v[i] = b2 * v[i] + a2 * g * g;
        w[i] = w[i] * keep - step * m[i] / (sqrtf(v[i]) / root + epsilon);
    }
}

/* g += decay w;  m = momentum m + g (the first time g);  w -= rate m */
static void sgd(const Pass *pass, const Tile *tile, OptimRate rate) {
    const float *restrict gradient = pass->gradients + tile->offset;
    float *restrict w = pass->weights + tile->offset;
    float scale = pass->scale, step = rate.step, shrink = rate.shrink;
    if (!pass->optim->block[OPTIM_MOMENT1]) {
        for (int64_t i = 0; i < tile->count; i++) w[i] -= step * (gradient[i] * scale + shrink * w[i]);
        return;
    }
    float *restrict m = pass->optim->block[OPTIM_MOMENT1] + tile->offset;
    float momentum = pass->numbers.momentum;
    for (int64_t i = 0; i < tile->count; i++) {
        m[i] = momentum * m[i] + (gradient[i] * scale + shrink * w[i]);
        w[i] -= step * m[i];
    }
}

static void step_tile(void *context, int64_t index, int worker) {
    (void)worker;
    const Pass *pass = context;
    const Optim *o = pass->optim;
    const Tile *tile = &o->tile[index];
    (o->options.method == OPTIM_ADAMW ? adamw : sgd)(pass, tile, pass->numbers.rate[tile->group + 1]);
    if (!o->block[OPTIM_AVERAGE]) return;
    const float *restrict w = pass->weights + tile->offset;
    float *restrict a = o->block[OPTIM_AVERAGE] + tile->offset;
    float towards = pass->numbers.towards;
    for (int64_t i = 0; i < tile->count; i++) a[i] += towards * (w[i] - a[i]);
}

OptimStep optim_step(Optim *o, Pool *pool, float *weights, const float *gradients, double scale, double rate) {
    Pass pass = {.optim = o, .weights = weights, .gradients = gradients};
    pool_run(pool, o->tiles, square_tile, &pass);
    double sum = 0;
    for (int i = 0; i < o->tiles; i++) sum += o->sum[i];
    OptimStep step = {.norm = sqrt(sum) * fabs(scale)};
    step.skipped = !isfinite(step.norm);
    if (step.skipped) return step;
    double clip = o->options.clip > 0 ? o->options.clip / (step.norm + 1e-6) : 1;
    pass.scale = (float)(scale * (clip < 1 ? clip : 1));
    pass.numbers = optim_numbers(o, rate);
    o->steps++;
    pool_run(pool, o->tiles, step_tile, &pass);
    return step;
}

/* ---- loss scale, schedules ---- */

void loss_scale_update(LossScale *s, bool skipped) {
    if (!s->patience) return;
    if (skipped) {
        s->scale *= 0.5;
        s->good = 0;
    } else if (++s->good == s->patience) {
        s->scale *= 2;
        s->good = 0;
    }
}

static double cosine(double from, double to, double share) {
    return to + (from - to) / 2 * (1 + cos(M_PI * share));
}

double rate_at(const RateSchedule *s, int64_t step) {
    double n = (double)step, steps = (double)s->steps;
    if (n > steps - 1) n = steps - 1;
    if (s->shape == RATE_ONE_CYCLE) {
        double first = s->rate / 25, top = 0.3 * steps - 1;
        if (n <= top) return cosine(first, s->rate, n / top);
        return cosine(s->rate, first / 1e4, (n - top) / (steps - 1 - top));
    }
    if (step < s->warmup) return s->rate * ((double)step + 1) / (double)s->warmup;
    if (s->shape == RATE_CONSTANT || s->steps <= s->warmup) return s->rate;
    return cosine(s->rate, s->rate * s->last, (n - (double)s->warmup) / (steps - (double)s->warmup));
}
