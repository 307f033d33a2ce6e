/* cuda/kernels/weight_gradient_mma.cu - the gradients of weights where x and dy are half-size numbers, on the tensor
 * cores: the fast rung of weight_gradient.cu, cut into the same parts, which its add_parts adds. Sums and results are
 * f32; the order inside a product of depth 16 is the machine's, and the same every time.
 *
 * A block makes 64 x 64 elements of one tap and one part. Positions come 32 at a time, 64 channels of dy and of x for
 * each, by copies of 16 bytes while the 32 before are multiplied; both operands have their sum along rows, so fragments
 * of both are read across. Rows are 144 bytes apart, an odd number of 16 bytes: eight of them begin in different banks.
 *
 * 2 positions Co Ci taps flops, 32 for each byte read from L2. */
#if !defined(HALF_IS_F16) && !defined(HALF_IS_BF16) /* compiled by itself, as a test does */
#define HALF_IS_F16
#endif
#include "cuda/device/device.h"
#include "cuda/kernels/weight_gradient.h"

#define TILE 64
#define DEPTH 32
#define PITCH (TILE + 8)
#define THREADS 256 /* each copies 8 channels of one position of dy and of x */

/* A position of dy, as it runs along the rows. */
typedef struct {
    int n, row, column;
} Position;

DEVICE Position position_of(const WeightGradientArgs *a, int position) {
    int line = position / a->out_w, n = line / a->out_h;
    Position p = {n, line - n * a->out_h, position - line * a->out_w};
    return p;
}

DEVICE void advance(Position *p, const WeightGradientArgs *a) {
    p->column += DEPTH;
    while (p->column >= a->out_w) {
        p->column -= a->out_w;
        if (++p->row < a->out_h) continue;
        p->row = 0;
        p->n++;
    }
}

/* Eight channels from `channel` on of both maps where they meet in tap (ky,kx); zeros where there is nothing. */
DEVICE void fetch(u16 *left, u16 *right, const WeightGradientArgs *a, Position p, int exists, int ky, int kx, i64 o,
                  i64 c) {
    int y = p.row * a->stride - a->pad_h + ky, x = p.column * a->stride - a->pad_w + kx;
    const u16 *dy_at = (const u16 *)a->dy.at, *x_at = (const u16 *)a->x.at;
    exists = exists && y >= 0 && y < a->h && x >= 0 && x < a->w;
    if (exists) {
        dy_at += p.n * a->dy.by_n + p.row * a->dy.by_y + p.column * a->dy.by_x + (o < a->dy.channels ? o : 0);
        x_at += p.n * a->x.by_n + y * a->x.by_y + x * a->x.by_x + (c < a->x.channels ? c : 0);
    }
    copy16(left, dy_at, exists && o < a->dy.channels);
    copy16(right, x_at, exists && c < a->x.channels);
}

/* grid: tiles of o and c, taps, parts */
KERNEL(weight_gradient_mma, THREADS, WeightGradientArgs, a) {
    SHARED(u16, left, 2 * DEPTH * PITCH);
    SHARED(u16, right, 2 * DEPTH * PITCH);
    int t = thread_x(), l = lane_x(), tiles = (int)((a.x.channels + TILE - 1) / TILE);
    int ky = block_y() / a.kw, kx = block_y() - ky * a.kw, k = t / 8, piece = t % 8 * 8;
    i64 o0 = (i64)(block_x() / tiles) * TILE, c0 = (i64)(block_x() % tiles) * TILE;
    int first = block_z() * a.part, last = first + a.part < a.positions ? first + a.part : a.positions;
    int row = warp_x() / 4 * 32, column = warp_x() % 4 * 16; /* of this warp's 32 x 16 */
    Position p = position_of(&a, first + k);
    float sum[2][2][4];
    UNROLL
    for (int i = 0; i < 2; i++) {
        UNROLL
        for (int j = 0; j < 2; j++) {
            UNROLL
            for (int e = 0; e < 4; e++) sum[i][j][e] = 0;
        }
    }
    fetch(left + k * PITCH + piece, right + k * PITCH + piece, &a, p, first + k < last, ky, kx, o0 + piece, c0 + piece);
    copy_commit();
    for (int at = first, stage = 0; at < last; at += DEPTH, stage ^= 1) {
        const u16 *dy = left + stage * DEPTH * PITCH, *x = right + stage * DEPTH * PITCH;
        advance(&p, &a);
        if (at + DEPTH < last) {
            int to = (stage ^ 1) * DEPTH * PITCH + k * PITCH + piece;
            fetch(left + to, right + to, &a, p, at + DEPTH + k < last, ky, kx, o0 + piece, c0 + piece);
        }
        copy_commit();
        copy_wait(1);
        block_sync(); /* these positions are there */
        UNROLL
        for (int d = 0; d < DEPTH; d += 16) {
            u32 b[4];
            load_matrix4_across(b, x + (d + l % 16) * PITCH + column + l / 16 * 8);
            UNROLL
            for (int i = 0; i < 2; i++) {
                u32 m[4];
                load_matrix4_across(m, dy + (d + l / 16 * 8 + l % 8) * PITCH + row + i * 16 + l / 8 % 2 * 8);
                UNROLL
                for (int j = 0; j < 2; j++) mma_16x8x16(sum[i][j], m, b + 2 * j);
            }
        }
        block_sync(); /* they have been used */
    }
    copy_wait(0); /* of nothing, but every copy is waited for */
    UNROLL
    for (int i = 0; i < 2; i++) {
        UNROLL
        for (int j = 0; j < 2; j++) {
            UNROLL
            for (int e = 0; e < 4; e++) {
                i64 o = o0 + row + i * 16 + l / 4 + e / 2 * 8, c = c0 + column + j * 8 + l % 4 * 2 + e % 2;
                if (o < a.dy.channels && c < a.x.channels)
                    a.out[block_z() * a.out_part + o * a.out_o + c * a.out_c + block_y() * a.out_tap] = sum[i][j][e];
            }
        }
    }
}
