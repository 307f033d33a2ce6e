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

/* ---- a step ---- */

/* What one pass needs, as f32 numbers made in double. */
typedef struct {
    Optim *optim;
    float *weights;
    const float *gradients;
    double rate;
    float scale; /* on gradients, clipping included */
    float average;
    double correction1, correction2; /* 1 - beta^t */
    bool first;                      /* SGD's momentum begins with the gradient itself */
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
static void adamw(const Pass *pass, const Tile *tile, double rate, double decay) {
    const OptimOptions *options = &pass->optim->options;
    const float *restrict gradient = pass->gradients + tile->offset;
    float *restrict w = pass->weights + tile->offset;
    float *restrict m = pass->optim->block[OPTIM_MOMENT1] + tile->offset;
    float *restrict v = pass->optim->block[OPTIM_MOMENT2] + tile->offset;
    float scale = pass->scale, keep = (float)(1 - rate * decay), step = (float)(rate / pass->correction1);
    float a1 = (float)(1 - options->beta1), b2 = (float)options->beta2, a2 = (float)(1 - options->beta2);
    float root = (float)sqrt(pass->correction2), epsilon = (float)options->epsilon;
    for (int64_t i = 0; i < tile->count; i++) {
        float g = gradient[i] * scale;
        m[i] += a1 * (g - m[i]);
        v[i] = b2 * v[i] + a2 * g * g;
        w[i] = w[i] * keep - step * m[i] / (sqrtf(v[i]) / root + epsilon);
    }
}

/* g += decay w;  m = momentum m + g (the first time g);  w -= rate m */
static void sgd(const Pass *pass, const Tile *tile, double rate, double decay) {
    const float *restrict gradient = pass->gradients + tile->offset;
    float *restrict w = pass->weights + tile->offset;
    float scale = pass->scale, step = (float)rate, shrink = (float)decay;
    if (!pass->optim->block[OPTIM_MOMENT1]) {
        for (int64_t i = 0; i < tile->count; i++) w[i] -= step * (gradient[i] * scale + shrink * w[i]);
        return;
    }
    float *restrict m = pass->optim->block[OPTIM_MOMENT1] + tile->offset;
    float momentum = pass->first ? 0 : (float)pass->optim->options.momentum;
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
    const OptimGroup *group = tile->group >= 0 ? &o->group[tile->group] : NULL;
    double rate = pass->rate * (group ? group->rate : 1), decay = group ? group->decay : o->options.decay;
    (o->options.method == OPTIM_ADAMW ? adamw : sgd)(pass, tile, rate, decay);
    if (!o->block[OPTIM_AVERAGE]) return;
    const float *restrict w = pass->weights + tile->offset;
    float *restrict a = o->block[OPTIM_AVERAGE] + tile->offset;
    for (int64_t i = 0; i < tile->count; i++) a[i] += pass->average * (w[i] - a[i]);
}

OptimStep optim_step(Optim *o, Pool *pool, float *weights, const float *gradients, double scale, double rate) {
    Pass pass = {.optim = o, .weights = weights, .gradients = gradients, .rate = rate};
    pool_run(pool, o->tiles, square_tile, &pass);
    double sum = 0;
    for (int i = 0; i < o->tiles; i++) sum += o->sum[i];
    OptimStep step = {.norm = sqrt(sum) * fabs(scale)};
    step.skipped = !isfinite(step.norm);
    if (step.skipped) return step;
    o->steps++;
    const OptimOptions *options = &o->options;
    double clip = options->clip > 0 ? options->clip / (step.norm + 1e-6) : 1, n = (double)o->steps;
    double early = (1 + n) / (10 + n);
    pass.scale = (float)(scale * (clip < 1 ? clip : 1));
    pass.average = (float)(1 - (early < options->average ? early : options->average));
    pass.correction1 = 1 - pow(options->beta1, n);
    pass.correction2 = 1 - pow(options->beta2, n);
    pass.first = o->steps == 1;
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
