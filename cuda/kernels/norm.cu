/* cuda/kernels/norm.cu - group norm and its gradient: what tensor/ops/norm.c and norm_gradient.c say.
 *
 *   y = (x - mean) / sqrt(variance + eps) weight + bias, mean and variance over the positions and channels of a group
 *
 * Two rungs. The plain one is a block a group and three passes. The fast one is three launches: moments of each channel
 * in tiles of positions, as many threads as it takes; one block a group joins them; one thread an element makes the
 * result. x is read twice from memory (once from L2 for small maps) and y written once; the parts are some percent.
 *
 * Nothing is lost when the mean is far larger than the spread: a tile's mean is kept with what rounding took from it,
 * squares are of differences from it, and tiles are joined in double (Chan's formula), in a fixed order. */
#include "cuda/device/sums.h"
#include "cuda/device/value.h"
#include "cuda/kernels/norm.h"

DEVICE i64 x_at(const GroupNormArgs *a, int position) {
    int row = position / a->w;
    return row * a->x_row + (position - row * a->w) * a->x_column;
}
DEVICE i64 dy_at(const GroupNormArgs *a, int position) {
    int row = position / a->w;
    return row * a->dy_row + (position - row * a->w) * a->dy_column;
}

/* grid: groups, pictures */
KERNEL(group_norm_plain, 256, GroupNormArgs, a) {
    SHARED(double, shared, SUM_THREADS);
    int width = a.channels / a.groups, first = block_x() * width, picture = block_y();
    i64 count = (i64)a.h * a.w * width;
    const Value *x = (const Value *)a.x + picture * a.x_picture + first;
    Result *y = (Result *)a.y + (i64)picture * a.h * a.w * a.channels + first;
    double sum = 0, squares = 0;
    for (i64 e = thread_x(); e < count; e += 256) sum += value_f32(x[x_at(&a, (int)(e / width)) + e % width]);
    double mean = block_sum(sum, shared) * a.share;
    for (i64 e = thread_x(); e < count; e += 256) {
        double difference = value_f32(x[x_at(&a, (int)(e / width)) + e % width]) - mean;
        squares += difference * difference;
    }
    float scale = 1 / sqrt_f32((float)(block_sum(squares, shared) * a.share) + a.eps);
    for (i64 e = thread_x(); e < count; e += 256) {
        int c = (int)(e % width);
        i64 position = e / width;
        float z = (float)(value_f32(x[x_at(&a, (int)position) + c]) - mean) * scale;
        y[position * a.channels + c] =
            f32_result(z * (a.weight ? a.weight[first + c] : 1) + (a.bias ? a.bias[first + c] : 0));
    }
}

/* ---- the fast rung ---- */

/* The moments of one channel of one tile, and with `dy` its sums. A thread each, channels fastest.
 * grid: tiles times channels / 256, pictures */
DEVICE void moments(const GroupNormArgs *a, const Value *dy, int parts) {
    i64 unit = (i64)block_x() * 256 + thread_x(), picture = block_y();
    int tile = (int)(unit / a->channels), c = (int)(unit - (i64)tile * a->channels);
    if (tile >= a->tiles) return; /* nobody is waited for */
    int begin = tile * a->tile, end = begin + a->tile < a->h * a->w ? begin + a->tile : a->h * a->w;
    const Value *x = (const Value *)a->x + picture * a->x_picture + c;
    float mean = 0, rest = 0, squares = 0, sum = 0, product = 0, count = (float)(end - begin);
    for (int p = begin; p < end; p++) mean += value_f32(x[x_at(a, p)]);
    mean /= count;
    for (int p = begin; p < end; p++) {
        float difference = value_f32(x[x_at(a, p)]) - mean;
        rest += difference;
        squares += difference * difference;
        if (dy) {
            float d = value_f32(dy[picture * a->dy_picture + dy_at(a, p) + c]);
            sum += d;
            product += d * difference;
        }
    }
    rest /= count;
    float *to = a->part + (picture * a->tiles + tile) * parts * a->channels + c;
    to[PART_MEAN * a->channels] = mean;
    to[PART_REST * a->channels] = rest;
    to[PART_SQUARES * a->channels] = squares - count * rest * rest;
    if (dy) {
        to[PART_SUM * a->channels] = sum;
        to[PART_PRODUCT * a->channels] = product - rest * sum;
    }
}

KERNEL(group_moments, 256, GroupNormArgs, a) {
    moments(&a, (const Value *)0, PARTS_FORWARD);
}

typedef struct {
    double mean, scale;
} Spread;

DEVICE double tile_positions(const GroupNormArgs *a, int tile) {
    int left = a->h * a->w - tile * a->tile;
    return (double)(left < a->tile ? left : a->tile);
}

/* Of this block's group, from the parts of its channels: the mean, then the squares of all from it. */
DEVICE Spread spread_of_group(const GroupNormArgs *a, int parts, double *shared) {
    int width = a->channels / a->groups, entries = a->tiles * width;
    const float *part = a->part + (i64)block_y() * a->tiles * parts * a->channels + block_x() * width;
    double sum = 0, squares = 0;
    for (int e = thread_x(); e < entries; e += SUM_THREADS) {
        const float *own = part + (i64)(e / width) * parts * a->channels + e % width;
        sum += tile_positions(a, e / width) * ((double)own[PART_MEAN * a->channels] + own[PART_REST * a->channels]);
    }
    Spread s;
    s.mean = block_sum(sum, shared) * a->share;
    for (int e = thread_x(); e < entries; e += SUM_THREADS) {
        const float *own = part + (i64)(e / width) * parts * a->channels + e % width;
        double off = (double)own[PART_MEAN * a->channels] + own[PART_REST * a->channels] - s.mean;
        squares += own[PART_SQUARES * a->channels] + tile_positions(a, e / width) * off * off;
    }
    s.scale = 1 / sqrt_f32((float)(block_sum(squares, shared) * a->share) + a->eps);
    return s;
}

/* grid: groups, pictures */
KERNEL(group_spread, 256, GroupNormArgs, a) {
    SHARED(double, shared, SUM_THREADS);
    int width = a.channels / a.groups;
    Spread s = spread_of_group(&a, PARTS_FORWARD, shared);
    float *table = a.table + (i64)block_y() * TABLES_FORWARD * a.channels;
    for (int c = block_x() * width + thread_x(); c < (block_x() + 1) * width; c += SUM_THREADS) {
        double scale = s.scale * (a.weight ? a.weight[c] : 1);
        float centre = (float)s.mean;
        table[TABLE_CENTRE * a.channels + c] = centre;
        table[TABLE_SCALE * a.channels + c] = (float)scale;
        /* what rounding took from the mean comes back here */
        table[TABLE_SHIFT * a.channels + c] = (float)((a.bias ? a.bias[c] : 0) - (s.mean - centre) * scale);
    }
}

/* grid: columns times channels / 256, rows, pictures */
KERNEL(group_normalise, 256, GroupNormArgs, a) {
    int at = block_x() * 256 + thread_x(), column = at / a.channels, c = at - column * a.channels;
    if (column >= a.w) return; /* nobody is waited for */
    const float *table = a.table + (i64)block_z() * TABLES_FORWARD * a.channels + c;
    float x = value_f32(((const Value *)a.x)[block_z() * a.x_picture + block_y() * a.x_row + column * a.x_column + c]);
    ((Result *)a.y)[((i64)block_z() * a.h + block_y()) * a.w * a.channels + at] = f32_result(
        (x - table[TABLE_CENTRE * a.channels]) * table[TABLE_SCALE * a.channels] + table[TABLE_SHIFT * a.channels]);
}

/* ---- the gradient ----
 *
 *   dx = (g - mean(g) - z mean(g z)) / s, with z = (x - mean) / s, g = dy weight, and means over the group;
 *   dweight_c = sum of dy z, dbias_c = sum of dy over positions and pictures
 *
 * The plain rung is a block a group, which goes through the pictures. The fast one: moments, with sums of dy and of
 * dy (x - mean) beside them; a block a group joins them; a thread a channel adds the pictures; a thread an element. */

/* grid: groups */
KERNEL(group_norm_gradient_plain, 256, GroupNormArgs, a) {
    SHARED(double, shared, SUM_THREADS);
    int width = a.channels / a.groups, first = block_x() * width, pixels = a.h * a.w;
    i64 count = (i64)pixels * width;
    for (int picture = 0; picture < a.pictures; picture++) {
        const Value *x = (const Value *)a.x + picture * a.x_picture + first;
        const Value *dy = (const Value *)a.dy + picture * a.dy_picture + first;
        Result *dx = (Result *)a.y + (i64)picture * pixels * a.channels + first;
        double sum = 0, squares = 0, mean_g = 0, mean_gz = 0;
        for (i64 e = thread_x(); e < count; e += 256) sum += value_f32(x[x_at(&a, (int)(e / width)) + e % width]);
        double mean = block_sum(sum, shared) * a.share;
        for (i64 e = thread_x(); e < count; e += 256) {
            double difference = value_f32(x[x_at(&a, (int)(e / width)) + e % width]) - mean;
            squares += difference * difference;
        }
        float scale = 1 / sqrt_f32((float)(block_sum(squares, shared) * a.share) + a.eps);
        for (int c = 0; c < width; c++) {
            double own = 0, product = 0;
            for (int p = thread_x(); p < pixels; p += 256) {
                double d = value_f32(dy[dy_at(&a, p) + c]);
                own += d;
                product += d * (value_f32(x[x_at(&a, p) + c]) - mean);
            }
            own = block_sum(own, shared);
            product = block_sum(product, shared) * scale;
            double weight = a.weight ? a.weight[first + c] : 1;
            mean_g += own * weight * a.share;
            mean_gz += product * weight * a.share;
            if (thread_x()) continue;
            if (a.d_weight) a.d_weight[first + c] = (picture ? a.d_weight[first + c] : 0) + (float)product;
            if (a.d_bias) a.d_bias[first + c] = (picture ? a.d_bias[first + c] : 0) + (float)own;
        }
        for (i64 e = thread_x(); e < count; e += 256) {
            int c = (int)(e % width), p = (int)(e / width);
            float z = (float)(value_f32(x[x_at(&a, p) + c]) - mean) * scale;
            float g = value_f32(dy[dy_at(&a, p) + c]) * (a.weight ? a.weight[first + c] : 1);
            dx[(i64)p * a.channels + c] = f32_result((g - (float)mean_g - z * (float)mean_gz) * scale);
        }
    }
}

KERNEL(group_gradient_moments, 256, GroupNormArgs, a) {
    moments(&a, (const Value *)a.dy, PARTS_BACKWARD);
}

/* Mean and scale of a group, to each of its channels: the mean as what a float holds of it and the rest.
 * grid: groups, pictures */
KERNEL(group_gradient_spread, 256, GroupNormArgs, a) {
    SHARED(double, shared, SUM_THREADS);
    int width = a.channels / a.groups;
    Spread s = spread_of_group(&a, PARTS_BACKWARD, shared);
    float *table = a.table + (i64)block_y() * TABLES_BACKWARD * a.channels + block_x() * width;
    float centre = (float)s.mean;
    for (int c = thread_x(); c < width; c += SUM_THREADS) {
        table[TABLE_CENTRE * a.channels + c] = centre;
        table[TABLE_SHIFT * a.channels + c] = (float)(s.mean - centre);
        table[TABLE_SCALE * a.channels + c] = (float)s.scale;
    }
}

/* The sums of each channel of a group, and from them the line of its dx. A kernel of its own, because a square root and
 * so many sums together take more registers than there are. grid: groups, pictures */
KERNEL(group_gradient_join, 256, GroupNormArgs, a) {
    SHARED(double, shared, SUM_THREADS);
    int width = a.channels / a.groups, first = block_x() * width;
    const float *part = a.part + (i64)block_y() * a.tiles * PARTS_BACKWARD * a.channels + first;
    float *table = a.table + (i64)block_y() * TABLES_BACKWARD * a.channels + first;
    float centre = table[TABLE_CENTRE * a.channels], rest = table[TABLE_SHIFT * a.channels];
    float scale = table[TABLE_SCALE * a.channels];
    for (int c = 0; c < width; c++) {
        double sum = 0, product = 0;
        for (int tile = thread_x(); tile < a.tiles; tile += SUM_THREADS) {
            const float *own = part + (i64)tile * PARTS_BACKWARD * a.channels + c;
            double off = (double)own[PART_MEAN * a.channels] + own[PART_REST * a.channels] - centre - rest;
            sum += own[PART_SUM * a.channels];
            product += own[PART_PRODUCT * a.channels] + own[PART_SUM * a.channels] * off;
        }
        sum = block_sum(sum, shared);
        product = block_sum(product, shared);
        if (thread_x()) continue;
        table[TABLE_D_WEIGHT * a.channels + c] = (float)(product * scale);
        table[TABLE_D_BIAS * a.channels + c] = (float)sum;
    }
    block_sync();
    double mean_g = 0, mean_gz = 0;
    for (int c = thread_x(); c < width; c += SUM_THREADS) {
        double weight = a.weight ? a.weight[first + c] : 1;
        mean_g += table[TABLE_D_BIAS * a.channels + c] * weight;
        mean_gz += table[TABLE_D_WEIGHT * a.channels + c] * weight;
    }
    mean_g = block_sum(mean_g, shared) * a.share;
    double slope = -(double)scale * scale * (block_sum(mean_gz, shared) * a.share);
    for (int c = thread_x(); c < width; c += SUM_THREADS) {
        table[TABLE_SCALE * a.channels + c] = scale * (a.weight ? a.weight[first + c] : 1);
        table[TABLE_SLOPE * a.channels + c] = (float)slope;
        table[TABLE_SHIFT * a.channels + c] = (float)(-scale * mean_g - slope * rest);
    }
}

/* grid: channels / 256 */
KERNEL(group_gradient_weights, 256, GroupNormArgs, a) {
    int c = block_x() * 256 + thread_x();
    if (c >= a.channels) return; /* nobody is waited for */
    double product = 0, sum = 0;
    for (int picture = 0; picture < a.pictures; picture++) {
        const float *table = a.table + (i64)picture * TABLES_BACKWARD * a.channels + c;
        product += table[TABLE_D_WEIGHT * a.channels];
        sum += table[TABLE_D_BIAS * a.channels];
    }
    if (a.d_weight) a.d_weight[c] = (float)product;
    if (a.d_bias) a.d_bias[c] = (float)sum;
}

/* grid: columns times channels / 256, rows, pictures */
KERNEL(group_gradient_combine, 256, GroupNormArgs, a) {
    int at = block_x() * 256 + thread_x(), column = at / a.channels, c = at - column * a.channels;
    if (column >= a.w) return; /* nobody is waited for */
    const float *table = a.table + (i64)block_z() * TABLES_BACKWARD * a.channels + c;
    float x = value_f32(((const Value *)a.x)[block_z() * a.x_picture + block_y() * a.x_row + column * a.x_column + c]);
    float dy =
        value_f32(((const Value *)a.dy)[block_z() * a.dy_picture + block_y() * a.dy_row + column * a.dy_column + c]);
    ((Result *)a.y)[((i64)block_z() * a.h + block_y()) * a.w * a.channels + at] = f32_result(
        dy * table[TABLE_SCALE * a.channels] +
        (x - table[TABLE_CENTRE * a.channels]) * table[TABLE_SLOPE * a.channels] + table[TABLE_SHIFT * a.channels]);
}
