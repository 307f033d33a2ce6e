/* tests/cuda/words.cu - a kernel for each word of cuda/device/device.h. What comes out is compared with the manuals'
 * tables by test_words.c, on the emulated device always and on a GPU when there is one. */
#include "cuda/device/device.h"
#include "cuda/device/position.h"
#include "cuda/device/sums.h"
#include "tests/cuda/cases.h"

/* c[global thread] = place; grid 3 x 2 x 2 of 64 */
KERNEL(word_places, 64, WordArgs, a) {
    int block = block_x() + 3 * (block_y() + 2 * block_z());
    a.c[block * 64 + thread_x()] = (u32)(thread_x() + 100 * block_x() + 1000 * block_y() + 10000 * block_z() +
                                         100000 * lane_x() + 10000000 * warp_x());
}

/* eight results for each of 64 threads, of a ramp */
KERNEL(word_warp, 64, WordArgs, a) {
    int t = thread_x();
    float v = a.x[t];
    a.y[t] = warp_xor(v, 1);
    a.y[64 + t] = warp_xor(v, 21);
    a.y[128 + t] = warp_down(v, 5);
    a.y[192 + t] = warp_from(v, 3);
    a.y[256 + t] = warp_from(v, 35 - t);
    a.y[320 + t] = warp_max(v);
    a.y[384 + t] = warp_sum(v);
    a.c[t] = warp_ballot(t % 3 == 0);
    a.c[64 + t] = (u32)warp_any(t == 40);
}

/* a float's bits and back, and to half and back where halves are f16 (or bf16); as many blocks as are asked for run */
KERNEL_BLOCKS(word_bits, 128, 4, WordArgs, a) {
    int i = block_x() * 128 + thread_x();
    a.c[i] = f32_bits(a.x[i]);
    a.y[i] = bits_f32(a.c[i] ^ 0x80000000u);
    a.y[a.n + i] = half_f32(f32_half(a.x[i]));
}

/* a function that is called instead of put where it is named */
DEVICE_CALLED float twice(float x) {
    return 2 * x;
}

/* loops that are to be unrolled, wholly and by four, over an array that then lies in registers; 64 threads */
KERNEL(word_unroll, 64, WordArgs, a) {
    const float *RESTRICT x = a.x;
    float *RESTRICT y = a.y;
    float v[8];
    UNROLL
    for (int i = 0; i < 8; i++) v[i] = x[i] * (float)thread_x();
    float sum = 0;
    UNROLL_BY(4)
    for (int i = 0; i < 8; i++) sum += v[i];
    y[thread_x()] = twice(sum);
}

/* the sum of a block in f64 (device/sums.h), twice with one array */
KERNEL(word_block_sum, SUM_THREADS, WordArgs, a) {
    SHARED(double, s, SUM_THREADS);
    int t = thread_x();
    double whole = block_sum((double)a.x[t], s);
    double odd = block_sum(t & 1 ? (double)a.x[t] : 0, s);
    a.y[t] = (float)(whole - odd);
    a.y[SUM_THREADS + t] = (float)odd;
}

/* where n disparities point from column 7 (device/position.h): whole columns, the part, and whether they are near */
KERNEL(word_position, 64, WordArgs, a) {
    int i = thread_x();
    if (i >= a.n) return; /* nobody is waited for */
    float part = -1;
    int near = position_is_near(a.x[i]), column = near ? position_of(7, a.x[i], &part) : 0;
    a.c[i] = (u32)near;
    a.c[64 + i] = (u32)column;
    a.y[i] = part;
    a.y[64 + i] = near ? (float)floor_int(a.x[i]) : 0;
}

/* n numbers through each function, one after another in y */
KERNEL(word_numbers, 128, WordArgs, a) {
    int i = block_x() * 128 + thread_x();
    if (i >= a.n) return; /* nobody is waited for */
    float x = a.x[i];
    a.y[i] = exp_f32(x);
    a.y[a.n + i] = exp_fast_f32(x);
    a.y[2 * a.n + i] = log_f32(abs_f32(x));
    a.y[3 * a.n + i] = erf_f32(x);
    a.y[4 * a.n + i] = tanh_f32(x);
    a.y[5 * a.n + i] = sqrt_f32(abs_f32(x));
    a.y[6 * a.n + i] = fma_f32(x, x, -x);
    a.y[7 * a.n + i] = max_f32(x, 0.5f) + min_f32(x, -0.5f);
    a.y[8 * a.n + i] = (float)(sqrt_f64((double)abs_f32(x)) * 1e6);
    a.y[9 * a.n + i] = exp2_fast_f32(x);
}

/* every half-size number to f32 and back: y[i], c[i] of 65,536; and n numbers to both: c[65536 + i] */
KERNEL(word_halves, 128, WordArgs, a) {
    int i = block_x() * 128 + thread_x();
    float f = f16_f32((u16)i), b = bf16_f32((u16)i);
    a.y[i] = f;
    a.y[65536 + i] = b;
    a.c[i] = f32_f16(f) | (u32)f32_bf16(b) << 16;
    if (i < a.n) a.c[65536 + i] = f32_f16(a.x[i]) | (u32)f32_bf16(a.x[i]) << 16;
}

/* 64 x 4 floats through shared memory, reversed, by 16 bytes */
KERNEL(word_memory, 64, WordArgs, a) {
    SHARED(float, s, 256);
    SHARED_REST(u32, rest); /* 65 counters */
    int t = thread_x();
    store4_f32(s + 4 * t, load4_f32(a.x + 4 * t));
    rest[t] = 0;
    if (t == 0) rest[64] = 0;
    block_sync();
    store4_f32(a.y + 4 * t, load4_f32(s + 4 * (63 - t)));
    atomic_add_u32(&rest[t % 4], 1);
    atomic_add_u32(&rest[64], (u32)t);
    atomic_add_f32(&a.y[256], 0.25f);
    block_sync();
    a.c[t] = rest[t];
    if (t == 0) a.c[64] = rest[64];
}

/* two stages of 64 x 16 bytes; every third piece is filled with zeros */
KERNEL(word_copy, 64, WordArgs, a) {
    SHARED(float, s, 512);
    int t = thread_x();
    copy16(s + 4 * t, a.x + 4 * t, t % 3 != 0);
    copy_commit();
    copy16(s + 256 + 4 * t, a.x + 256 + 4 * t, t % 3 != 1);
    copy_commit();
    copy_wait(1);
    block_sync();
    for (int i = t; i < 256; i += 64) a.y[i] = s[255 - i];
    copy_wait(0);
    block_sync();
    for (int i = t; i < 256; i += 64) a.y[256 + i] = s[511 - i];
}

/* what lane and register hold after a matrix load: 4 matrices of 8 rows of 16 bytes, rows 16 bytes apart */
KERNEL(word_matrix, 32, WordArgs, a) {
    SHARED(u32, s, 128);
    int t = thread_x();
    for (int i = t; i < 128; i += 32) s[i] = a.a[i];
    warp_sync();
    u32 r[4];
    load_matrix4(r, s + 4 * t);
    for (int i = 0; i < 4; i++) a.c[4 * t + i] = r[i];
    load_matrix4_across(r, s + 4 * t);
    for (int i = 0; i < 4; i++) a.c[128 + 4 * t + i] = r[i];
}

#if defined(HALF_IS_F16) || defined(HALF_IS_BF16)
/* pairs of n numbers of x, rounded to halves: c[i] of x[i] and x[n - 1 - i] */
KERNEL(word_pairs, 128, WordArgs, a) {
    int i = block_x() * 128 + thread_x();
    if (i < a.n) a.c[i] = two_halves(a.x[i], a.x[a.n - 1 - i]);
}

/* one product a block: fragments as they lie in registers, a[block][lane][4], b[block][lane][2], y[block][lane][4] */
KERNEL(word_mma, 32, WordArgs, a) {
    int at = block_x() * 32 + thread_x();
    u32 fa[4], fb[2];
    float c[4];
    for (int i = 0; i < 4; i++) fa[i] = a.a[4 * at + i], c[i] = a.x[4 * at + i];
    for (int i = 0; i < 2; i++) fb[i] = a.b[2 * at + i];
    mma_16x8x16(c, fa, fb);
    for (int i = 0; i < 4; i++) a.y[4 * at + i] = c[i];
}
#endif
