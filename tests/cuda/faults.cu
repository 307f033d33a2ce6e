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
