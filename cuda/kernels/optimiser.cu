/* cuda/kernels/optimiser.cu - a step of training on flat blocks: nn/optim.c in kernels, formula for formula.
 *
 * Every sum has one order, whatever the device, so a step repeats bit for bit. Squares are summed in f64, in another
 * order than on the CPU: the norm may differ in its last bit, and a product and a sum may be rounded as one.
 * All of it is bound by memory: gathering reads and writes 8 bytes a number (12 when adding), the norm reads 4, AdamW
 * with an average reads 20 and writes 16. A tile is 4096 numbers, 256 threads of four at a time. */
#include "cuda/device/device.h"
#include "cuda/kernels/optimiser.h"

/* block[to + i] = or += from[i] */
KERNEL(gather_gradients, 256, GatherArgs, a) {
    GradientPiece piece = a.piece[block_x()];
    float *to = a.block + piece.to;
    for (int i = thread_x(); i < piece.count; i += 256) {
        float v = piece.from ? piece.from[i] : 0;
        to[i] = a.add ? to[i] + v : v;
    }
}

/* The sum over 256 threads, for thread 0: pairs at distance 128, 64, ... 1. */
DEVICE double block_sum_f64(double v, double *room) {
    room[thread_x()] = v;
    for (int half = 128; half; half >>= 1) {
        block_sync();
        if (thread_x() < half) room[thread_x()] += room[thread_x() + half];
    }
    return thread_x() == 0 ? room[0] : 0; /* it wrote it last */
}

/* No square of an f32 overflows f64. */
KERNEL(square_gradients, 256, SquaresArgs, a) {
    SHARED(double, room, 256);
    OptimiserTile tile = a.tile[block_x()];
    const float *g = a.gradient + tile.offset;
    double sum = 0;
    for (int i = 4 * thread_x(); i < tile.count; i += 1024) {
        Float4 v = load4_f32(g + i);
        sum += (double)v.x * (double)v.x + (double)v.y * (double)v.y;
        sum += (double)v.z * (double)v.z + (double)v.w * (double)v.w;
    }
    sum = block_sum_f64(sum, room);
    if (thread_x() == 0) a.sum[block_x()] = sum;
}

/* One block. A loss that is no number may hide behind gradients that are, so it is looked at too. */
KERNEL(judge_gradients, 256, VerdictArgs, a) {
    SHARED(double, room, 256);
    double sum = 0, loss = 0;
    for (int i = thread_x(); i < a.tiles; i += 256) sum += a.sum[i];
    sum = block_sum_f64(sum, room);
    if (thread_x() != 0) return; /* nobody meets any more */
    for (int i = 0; i < a.losses; i++) loss += (double)a.loss[(i64)i * a.losses_apart];
    double nothing = (loss - loss) * 0; /* 0, or NaN */
    double scale = a.scale < 0 ? -a.scale : a.scale;
    OptimiserVerdict v;
    v.norm = sqrt_f64(sum) * scale + nothing;
    v.skipped = !(v.norm - v.norm == 0);
    double clip = a.clip > 0 ? a.clip / (v.norm + 1e-6) : 1;
    v.scale = (float)(a.scale * (clip < 1 ? clip : 1));
    *a.verdict = v;
}

DEVICE float towards_average(float average, float weight, float share) {
    return average + share * (weight - average);
}

DEVICE void follow(float *average, Float4 w, float share) {
    Float4 v = load4_f32(average);
    v.x = towards_average(v.x, w.x, share);
    v.y = towards_average(v.y, w.y, share);
    v.z = towards_average(v.z, w.z, share);
    v.w = towards_average(v.w, w.w, share);
    store4_f32(average, v);
}

/* m += (1-b1)(g - m);  v = b2 v + (1-b2) g^2;  w = w (1 - rate decay) - rate/c1 m / (sqrt(v)/sqrt(c2) + eps) */
DEVICE float adamw_one(const UpdateArgs *a, OptimiserRate rate, float g, float w, float *m, float *v) {
    *m += a->gain1 * (g - *m);
    *v = a->keep2 * *v + a->gain2 * g * g;
    return w * rate.keep - rate.step * *m / (sqrt_f32(*v) / a->root + a->epsilon);
}

KERNEL(step_adamw, 256, UpdateArgs, a) {
    if (a.verdict->skipped) return;
    OptimiserTile tile = a.tile[block_x()];
    OptimiserRate rate = a.rate[tile.group];
    float scale = a.verdict->scale;
    for (int i = 4 * thread_x(); i < tile.count; i += 1024) {
        i64 at = tile.offset + i;
        Float4 g = load4_f32(a.gradient + at), w = load4_f32(a.weight + at);
        Float4 m = load4_f32(a.moment1 + at), v = load4_f32(a.moment2 + at);
        w.x = adamw_one(&a, rate, g.x * scale, w.x, &m.x, &v.x);
        w.y = adamw_one(&a, rate, g.y * scale, w.y, &m.y, &v.y);
        w.z = adamw_one(&a, rate, g.z * scale, w.z, &m.z, &v.z);
        w.w = adamw_one(&a, rate, g.w * scale, w.w, &m.w, &v.w);
        store4_f32(a.moment1 + at, m);
        store4_f32(a.moment2 + at, v);
        store4_f32(a.weight + at, w);
        if (a.average) follow(a.average + at, w, a.towards);
    }
}

/* g += decay w;  m = momentum m + g (the first time g);  w -= rate m */
DEVICE float sgd_one(const UpdateArgs *a, OptimiserRate rate, float g, float w, float *m) {
    *m = a->momentum * *m + (g + rate.shrink * w);
    return w - rate.step * *m;
}

KERNEL(step_sgd, 256, UpdateArgs, a) {
    if (a.verdict->skipped) return;
    OptimiserTile tile = a.tile[block_x()];
    OptimiserRate rate = a.rate[tile.group];
    float scale = a.verdict->scale;
    Float4 none = {0, 0, 0, 0};
    for (int i = 4 * thread_x(); i < tile.count; i += 1024) {
        i64 at = tile.offset + i;
        Float4 g = load4_f32(a.gradient + at), w = load4_f32(a.weight + at);
        Float4 m = a.moment1 ? load4_f32(a.moment1 + at) : none;
        w.x = sgd_one(&a, rate, g.x * scale, w.x, &m.x);
        w.y = sgd_one(&a, rate, g.y * scale, w.y, &m.y);
        w.z = sgd_one(&a, rate, g.z * scale, w.z, &m.z);
        w.w = sgd_one(&a, rate, g.w * scale, w.w, &m.w);
        if (a.moment1) store4_f32(a.moment1 + at, m);
        store4_f32(a.weight + at, w);
        if (a.average) follow(a.average + at, w, a.towards);
    }
}
