/* tests/cuda/faults.cu - a kernel for each thing the watchers have to see; the mistake is where the comment says. */
#include "cuda/device/device.h"
#include "tests/cuda/cases.h"

KERNEL(fault_no_barrier_before_use, 64, WordArgs, a) {
    SHARED(float, s, 64);
    int t = thread_x();
    s[t] = a.x[t];
    a.y[t] = s[63 - t]; /* another warp's */
}

KERNEL(fault_no_barrier_before_reuse, 64, WordArgs, a) {
    SHARED(float, s, 64);
    int t = thread_x();
    for (int i = 0; i < 2; i++) {
        s[t] = a.x[t]; /* the second time others may still read */
        block_sync();
        a.y[t] = s[63 - t];
    }
}

KERNEL(fault_no_warp_sync, 64, WordArgs, a) {
    SHARED(float, s, 64);
    int t = thread_x();
    s[t] = a.x[t];
    float v = s[t ^ 1]; /* the neighbour's */
    a.y[t] = v;
}

KERNEL(fault_shared_never_written, 64, WordArgs, a) {
    SHARED(float, s, 64);
    int t = thread_x();
    if (t != 5) s[t] = a.x[t];
    block_sync();
    a.y[t] = s[63 - t]; /* 58 reads the 5th */
}

KERNEL(fault_copy_not_waited_for, 64, WordArgs, a) {
    SHARED(float, s, 256);
    int t = thread_x();
    copy16(s + 4 * t, a.x + 4 * (t % 16), 1);
    copy_commit();
    a.y[t] = s[4 * t]; /* its own, but under way */
    copy_wait(0);
}

KERNEL(fault_copy_left_behind, 64, WordArgs, a) {
    SHARED(float, s, 256);
    int t = thread_x();
    copy16(s + 4 * t, a.x + 4 * (t % 16), 1);
    copy_commit(); /* and away */
}

KERNEL(fault_copy_misaligned, 64, WordArgs, a) {
    SHARED(float, s, 260);
    int t = thread_x();
    copy16(s + 4 * t + 1, a.x, 1);
    copy_commit();
    copy_wait(0);
}

KERNEL(fault_divergent_barrier, 64, WordArgs, a) {
    int t = thread_x();
    if (t < 32) block_sync();
    a.y[t] = a.x[t];
}

KERNEL(fault_two_barriers, 64, WordArgs, a) {
    int t = thread_x();
    if (t < 32)
        block_sync();
    else
        block_sync(); /* the same number, another place */
    a.y[t] = a.x[t];
}

KERNEL(fault_half_a_warp, 64, WordArgs, a) {
    int t = thread_x();
    float v = a.x[t];
    if (t % 32 < 16) v += warp_xor(v, 1);
    a.y[t] = v;
}

KERNEL(fault_row_outside, 64, WordArgs, a) {
    int t = thread_x();
    a.y[t] = a.x[t + 1]; /* x has 64 */
}

KERNEL(fault_shared_outside, 64, WordArgs, a) {
    SHARED(float, s, 64);
    int t = thread_x();
    s[t + 1] = a.x[t];
    block_sync();
    a.y[t] = s[t + 1];
}

KERNEL(fault_two_blocks_one_place, 64, WordArgs, a) {
    a.y[thread_x()] = a.x[thread_x()]; /* by every block */
}

KERNEL(fault_block_reads_block, 64, WordArgs, a) {
    int t = thread_x(), other = 1 - block_x();
    a.y[block_x() * 64 + t] = a.x[t];
    a.c[t + 64 * block_x()] = f32_bits(a.y[other * 64 + t]); /* what the other block writes */
}

KERNEL(fault_atomic_and_plain, 64, WordArgs, a) {
    atomic_add_f32(a.y, 1);
    if (thread_x() == 40) a.y[0] = 0;
}

KERNEL(fault_write_outside, 64, WordArgs, a) {
    float *x = (float *)(unsigned long long)a.x; /* as nobody should */
    x[-1] = 0;
}

KERNEL(fault_signed_overflow, 64, WordArgs, a) {
    int far = a.n + thread_x(); /* n is the largest int */
    a.c[thread_x()] = (u32)far;
}

KERNEL(fault_misaligned_load, 64, WordArgs, a) {
    Float4 v = load4_f32(a.x + 1);
    a.y[thread_x()] = v.x;
}

KERNEL(fault_misaligned_number, 64, WordArgs, a) {
    const float *x = (const float *)((const char *)a.x + 2); /* as nobody should */
    a.y[thread_x()] = x[thread_x() / 2];
}

KERNEL(fault_two_writers, 64, WordArgs, a) {
    SHARED(float, s, 64);
    int t = thread_x();
    s[t] = a.x[t];
    s[63 - t] = a.x[t]; /* another warp's, and nothing between */
    block_sync();
    a.y[t] = s[t];
}

KERNEL(fault_too_much_of_its_own, 64, WordArgs, a) {
    SHARED(float, s, 12800); /* 50 KB */
    s[thread_x()] = a.x[thread_x()];
    a.y[thread_x()] = s[thread_x()];
}

KERNEL(fault_too_much_together, 64, WordArgs, a) {
    SHARED(float, s, 12000);
    SHARED_REST(float, rest); /* 60 KB, which with the 47 is more than a block has */
    int t = thread_x();
    s[t] = rest[t] = a.x[t];
    a.y[t] = s[t] + rest[t];
}

KERNEL(fault_beyond_the_rest, 64, WordArgs, a) {
    SHARED_REST(float, rest); /* 60 KB */
    int t = thread_x();
    rest[15360 + t] = a.x[t]; /* its end */
    a.y[t] = rest[15360 + t];
}

/* ---- asynchronous copies ---- */

KERNEL(fault_copy_seen_by_another, 64, WordArgs, a) {
    SHARED(float, s, 256);
    int t = thread_x();
    copy16(s + 4 * t, a.x + 4 * (t % 16), 1);
    copy_commit();
    copy_wait(0);
    a.y[t] = s[4 * (63 - t)]; /* waited for by its thread, and no barrier since */
}

KERNEL(fault_copy_of_too_little, 64, WordArgs, a) {
    SHARED(float, s, 512);
    int t = thread_x();
    copy16(s + 4 * t, a.x + 4 * (t % 16), 1);
    copy_commit();
    copy16(s + 256 + 4 * t, a.x + 4 * (t % 16), 1);
    copy_commit();
    copy_wait(1);
    a.y[t] = s[256 + 4 * t]; /* the second, of which one may be under way */
    copy_wait(0);
}

KERNEL(fault_copy_never_committed, 64, WordArgs, a) {
    SHARED(float, s, 256);
    int t = thread_x();
    copy16(s + 4 * t, a.x + 4 * (t % 16), 1);
    copy_wait(0); /* for groups, and this is in none */
    a.y[t] = s[4 * t];
}

KERNEL(fault_copy_from_outside, 64, WordArgs, a) {
    SHARED(float, s, 256);
    int t = thread_x();
    copy16(s + 4 * t, a.x + 4 * t, 1); /* x has 64 */
    copy_commit();
    copy_wait(0);
}

KERNEL(fault_copy_to_global, 64, WordArgs, a) {
    copy16(a.y + 4 * (thread_x() % 16), a.x + 4 * (thread_x() % 16), 1);
    copy_commit();
    copy_wait(0);
}

/* ---- words of a warp ---- */

KERNEL(fault_two_words, 64, WordArgs, a) {
    int t = thread_x();
    float v = a.x[t];
    if (t % 32 < 16)
        v += warp_xor(v, 1);
    else
        v += (float)warp_any(t > 40);
    a.y[t] = v;
}

KERNEL(fault_lanes_returned, 64, WordArgs, a) {
    int t = thread_x();
    if (t % 32 >= 30) return; /* a tail guarded by returning */
    a.y[t] = warp_sum(a.x[t]);
}

KERNEL(fault_two_sums, 64, WordArgs, a) {
    int t = thread_x();
    float v = a.x[t];
    if (t % 32 < 16)
        a.y[t] = warp_sum(v);
    else
        a.y[t] = warp_sum(-v); /* the same word inside, spoken at another place */
}

KERNEL(fault_matrix_misaligned, 64, WordArgs, a) {
    SHARED(u32, s, 256);
    int t = thread_x();
    u32 r[4];
    for (int i = t; i < 256; i += 64) s[i] = a.c[i % 128];
    block_sync();
    load_matrix4(r, s + t % 32 * 5); /* a pitch of 20 bytes */
    a.c[t] = r[0];
}

KERNEL(fault_matrix_outside, 64, WordArgs, a) {
    SHARED(u32, s, 256);
    int t = thread_x();
    u32 r[4];
    for (int i = t; i < 256; i += 64) s[i] = a.c[i % 128];
    block_sync();
    load_matrix4(r, s + t % 32 * 12); /* of 32 rows 48 bytes apart 22 are there */
    a.c[t] = r[0];
}

KERNEL(fault_matrix_never_written, 64, WordArgs, a) {
    SHARED(u32, s, 256);
    int t = thread_x();
    u32 r[4];
    for (int i = t; i < 252; i += 64) s[i] = a.c[i % 128];
    block_sync();
    load_matrix4_across(r, s + t % 32 * 8 + 4); /* the last row's last four */
    a.c[t] = r[0];
}

KERNEL(fault_matrix_no_barrier, 64, WordArgs, a) {
    SHARED(u32, s, 256);
    int t = thread_x();
    u32 r[4];
    for (int i = t; i < 256; i += 64) s[i] = a.c[i % 128];
    block_sync();
    load_matrix4(r, s + t % 32 * 4);
    s[t] = r[0]; /* the other warp may not have read it */
    a.c[t] = r[1];
}

KERNEL(fault_product_by_half, 64, WordArgs, a) {
    int t = thread_x();
    u32 x[4] = {0, 0, 0, 0}, y[2] = {0, 0};
    float c[4] = {0, 0, 0, 0};
    if (t % 32 < 16) mma_16x8x16(c, x, y);
    a.y[t] = c[0];
}

/* ---- arithmetic ---- */

KERNEL(fault_index, 64, WordArgs, a) {
    float v[4] = {a.x[0], a.x[1], a.x[2], a.x[3]};
    a.y[thread_x()] = v[thread_x() / 8]; /* up to 7 */
}

KERNEL(fault_cast, 64, WordArgs, a) {
    a.c[thread_x()] = (u32)(int)(a.x[thread_x()] + 4e9f);
}

/* ---- no fault in these: the host orders them wrongly ---- */

KERNEL(honest_copy, 64, WordArgs, a) {
    a.y[thread_x()] = a.x[thread_x()];
}
