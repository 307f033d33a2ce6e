/* cuda/kernels/weight_gradient.cu - the gradients of a convolution's or a linear layer's weight and bias, f32 whatever
 * x and dy are: matrix products over positions, dy^T x for each tap.
 *
 *   weight_gradient_plain   one element of one part a thread, everything from global memory: says what is computed
 *   weight_gradient_tiled   64 x 64 elements of one tap and one part a block (tile.h)
 *   bias_gradient           32 channels of one part a block
 *   add_parts               the sum over parts
 *
 * There are few elements and many positions, so the positions are cut into parts, each summed by its own block; a
 * second launch adds the parts in order. How they are cut depends on shapes alone and no sum waits for another's turn:
 * repeats are bit for bit the same, and so are the two rungs, which sum alike. Where x and dy are both in 16 bits,
 * weight_gradient_mma.cu is the rung above these.
 *
 * 2 positions Co Ci taps flops. The tiled rung reads every element of dy once for each tap and 64 channels of x, and of
 * x once for each tap and 64 channels of dy: 16 flops for each byte of shared memory filled from L2. */
#include "cuda/device/tile.h"
#include "cuda/kernels/weight_gradient.h"

/* Positions whose places are worked out at once. */
#define RUN 128

typedef struct {
    i64 dy, x; /* where their first channels lie; -1: the tap is outside x */
} Meeting;

DEVICE Meeting meet(const WeightGradientArgs *a, int position, int ky, int kx) {
    int line = position / a->out_w, column = position - line * a->out_w, n = line / a->out_h;
    int row = line - n * a->out_h, y = row * a->stride - a->pad_h + ky, x = column * a->stride - a->pad_w + kx;
    Meeting m = {n * a->dy.by_n + row * a->dy.by_y + column * a->dy.by_x,
                 n * a->x.by_n + y * a->x.by_y + x * a->x.by_x};
    if (y < 0 || y >= a->h || x < 0 || x >= a->w) m.dy = m.x = -1;
    return m;
}

/* grid: elements of all taps / 256, 1, parts */
KERNEL(weight_gradient_plain, 256, WeightGradientArgs, a) {
    i64 at = (i64)block_x() * 256 + thread_x(), size = a.dy.channels * a.x.channels, tap = at / size,
        rest = at - tap * size;
    i64 o = rest / a.x.channels, c = rest - o * a.x.channels;
    if (tap >= a.kh * a.kw) return; /* nobody is waited for */
    int first = block_z() * a.part, last = first + a.part < a.positions ? first + a.part : a.positions;
    float sum = 0;
    for (int i = first; i < last; i++) {
        Meeting m = meet(&a, i, (int)tap / a.kw, (int)tap % a.kw);
        if (m.x >= 0)
            sum = fma_f32(slope_f32(((const Slope *)a.dy.at)[m.dy + o]), value_f32(((const Value *)a.x.at)[m.x + c]),
                          sum);
    }
    a.out[block_z() * a.out_part + o * a.out_o + c * a.out_c + tap * a.out_tap] = sum;
}

/* s[k][e] = from[offset[k] + e] for e < count; zeros beyond, and where offset[k] is negative. Once for either side,
 * which may be of another type. */
#define FETCH(name, Number, number_f32)                                                                \
    DEVICE void name(float *s, const Number *from, const i64 *offset, i64 count) {                     \
        UNROLL                                                                                         \
        for (int i = 0; i < TILE * TILE_DEPTH / TILE_THREADS; i++) {                                   \
            int at = thread_x() + i * TILE_THREADS, k = at / TILE, e = at % TILE;                      \
            s[k * TILE_PITCH + e] = offset[k] >= 0 && e < count ? number_f32(from[offset[k] + e]) : 0; \
        }                                                                                              \
    }
FETCH(fetch_dy, Slope, slope_f32)
FETCH(fetch_x, Value, value_f32)

#if !defined(LOAD_HALF) && !defined(SLOPE_HALF)
/* The same by 16 bytes. */
DEVICE void fetch_wide(float *s, const float *from, const i64 *offset, i64 count) {
    int k = thread_x() / (TILE / 4), e = thread_x() % (TILE / 4) * 4;
    Float4 v = {0, 0, 0, 0};
    if (offset[k] >= 0 && e < count) v = load4_f32(from + offset[k] + e);
    store4_f32(s + k * TILE_PITCH + e, v);
}
#endif

/* grid: tiles of o and c, taps, parts */
KERNEL(weight_gradient_tiled, TILE_THREADS, WeightGradientArgs, a) {
    SHARED(float, left, TILE_DEPTH *TILE_PITCH);
    SHARED(float, right, TILE_DEPTH *TILE_PITCH);
    SHARED(i64, dy_at, RUN);
    SHARED(i64, x_at, RUN);
    int t = thread_x(), tiles = (int)((a.x.channels + TILE - 1) / TILE), tap = block_y();
    i64 o0 = (i64)(block_x() / tiles) * TILE, c0 = (i64)(block_x() % tiles) * TILE;
    int first = block_z() * a.part, last = first + a.part < a.positions ? first + a.part : a.positions;
    float sum[4][4];
    tile_clear(sum);
    for (int run = first; run < last; run += RUN) {
        block_sync(); /* nobody still reads the places or the tiles of the run before */
        if (t < RUN) {
            Meeting m = {-1, -1};
            if (run + t < last) m = meet(&a, run + t, tap / a.kw, tap % a.kw);
            dy_at[t] = m.dy, x_at[t] = m.x;
        }
        for (int k = 0; k < RUN && run + k < last; k += TILE_DEPTH) {
            block_sync(); /* the tiles have been used, the places are there */
            const Slope *dy = (const Slope *)a.dy.at + o0;
            const Value *x = (const Value *)a.x.at + c0;
#if !defined(LOAD_HALF) && !defined(SLOPE_HALF)
            if (a.wide) {
                fetch_wide(left, dy, dy_at + k, a.dy.channels - o0);
                fetch_wide(right, x, x_at + k, a.x.channels - c0);
            } else
#endif
            {
                fetch_dy(left, dy, dy_at + k, a.dy.channels - o0);
                fetch_x(right, x, x_at + k, a.x.channels - c0);
            }
            block_sync();
            tile_product(sum, left, right);
        }
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        UNROLL
        for (int j = 0; j < 4; j++) {
            i64 o = o0 + tile_row() + i, c = c0 + tile_column() + j;
            if (o < a.dy.channels && c < a.x.channels)
                a.out[block_z() * a.out_part + o * a.out_o + c * a.out_c + tap * a.out_tap] = sum[i][j];
        }
    }
}

/* out[part][o] = sum over the positions of a part of dy[position][o]: warp w of a block takes every eighth position
 * from w on, a lane a channel; the eight sums are added in order. grid: channels / 32, 1, parts */
KERNEL(bias_gradient, 256, WeightGradientArgs, a) {
    SHARED(float, sums, 256);
    i64 o = (i64)block_x() * 32 + lane_x();
    int first = block_z() * a.part, last = first + a.part < a.positions ? first + a.part : a.positions;
    float sum = 0;
    for (int i = first + warp_x(); i < last && o < a.dy.channels; i += 8) {
        int line = i / a.out_w, n = line / a.out_h;
        sum += slope_f32(
            ((const Slope *)
                 a.dy.at)[n * a.dy.by_n + (line - n * a.out_h) * a.dy.by_y + (i - line * a.out_w) * a.dy.by_x + o]);
    }
    sums[thread_x()] = sum;
    block_sync();
    if (warp_x() > 0 || o >= a.dy.channels) return; /* nobody is waited for any more */
    for (int w = 1; w < 8; w++) sum += sums[w * 32 + lane_x()];
    a.out[block_z() * a.out_part + o * a.out_o] = sum;
}

/* grid: elements of a part / 256 */
KERNEL(add_parts, 256, AddPartsArgs, a) {
    i64 at = (i64)block_x() * 256 + thread_x();
    if (at >= a.count) return; /* nobody is waited for */
    i64 row = at / a.columns, tap = row / a.rows, o = row - tap * a.rows, c = at - row * a.columns;
    float sum = 0;
    for (int i = 0; i < a.parts; i++) sum += a.from[i * a.count + at];
    a.out[o * a.out_o + c * a.out_c + tap * a.out_tap] = sum;
}
