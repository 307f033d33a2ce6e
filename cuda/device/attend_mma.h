/* cuda/device/attend_mma.h - what attention of half-size tokens and its gradient on tensor cores are made of: a block
 * of THREADS takes 16 rows a warp and meets KEYS tokens at a time, of WIDTH columns, a multiple of 16; -DPIECES where
 * tokens can be copied by 16 bytes. */
#ifndef PANUM_CUDA_DEVICE_ATTEND_MMA_H
#define PANUM_CUDA_DEVICE_ATTEND_MMA_H
#include "cuda/device/device.h"
#include "cuda/kernels/attention.h"

#define PITCH (WIDTH + 8) /* an odd number of 16 bytes: eight rows begin in different banks */
#define DEPTHS (WIDTH / 16)
#ifndef OWN
#define OWN WIDTH /* columns of results that a warp holds */
#endif
#define MINUS_INFINITY bits_f32(0xff800000u)

/* The tokens of one head of one batch. */
typedef struct {
    const u16 *at;
    i64 row;
} Side;

DEVICE Side side_of(Tokens t, i64 batch, int column) {
    Side side = {(const u16 *)t.at + batch * t.batch + column, t.row};
    return side;
}

/* Eight columns of a token, of which `there` exist. */
DEVICE void fetch8(u16 *to, const u16 *from, int there) {
#ifdef PIECES
    copy16(to, from, there > 0);
#else
    UNROLL
    for (int i = 0; i < 8; i++) to[i] = i < there ? from[i] : (u16)0;
#endif
}

/* `rows` tokens from `first` on; zeros where there are none. */
DEVICE void fetch(u16 *to, int rows, Side t, int first, int count, int width) {
    UNROLL_BY(4) /* before sm_80 each copy goes through four registers */
    for (int i = thread_x(); i < rows * (WIDTH / 8); i += THREADS) {
        int row = i / (WIDTH / 8), c = i % (WIDTH / 8) * 8, there = first + row < count && width > c ? width - c : 0;
        fetch8(to + row * PITCH + c, there ? t.at + (first + row) * t.row + c : t.at, there);
    }
}

/* The 16 x 16 of a left operand whose first row and column lie at `from`. */
DEVICE void load_left(u32 r[4], const u16 *from) {
    int lane = lane_x();
    load_matrix4(r, from + lane % 16 * PITCH + lane / 16 * 8);
}

/* s += q k^T; k[key][column] is the right operand as it lies */
DEVICE void add_scores(float s[KEYS / 8][4], u32 left[4], const u16 *k) {
    int lane = lane_x();
    UNROLL
    for (int n = 0; n < KEYS / 16; n++) {
        u32 right[4];
        load_matrix4(right, k + (16 * n + lane % 8 + lane / 16 * 8) * PITCH + lane / 8 % 2 * 8);
        mma_16x8x16(s[2 * n], left, right);
        mma_16x8x16(s[2 * n + 1], left, right + 2);
    }
}

/* o += p v for 16 keys; v[key][column] is read across */
DEVICE void add_values(float o[OWN / 8][4], u32 left[4], const u16 *v) {
    int lane = lane_x();
    UNROLL
    for (int n = 0; n < OWN / 16; n++) {
        u32 right[4];
        load_matrix4_across(right, v + (lane % 16) * PITCH + 16 * n + lane / 16 * 8);
        mma_16x8x16(o[2 * n], left, right);
        mma_16x8x16(o[2 * n + 1], left, right + 2);
    }
}

/* Of the four lanes that share a row of scores. */
DEVICE float four_max(float v) {
    v = max_f32(v, warp_xor(v, 1));
    return max_f32(v, warp_xor(v, 2));
}
DEVICE float four_sum(float v) {
    v += warp_xor(v, 1);
    return v + warp_xor(v, 2);
}
#endif
