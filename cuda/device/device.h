/* cuda/device/device.h - the words a kernel is written in.
 *
 * Kernels are what C11 and C++17 share: no templates, overloads, references, compound literals, implicit casts from
 * void *, variable-length arrays; specialise with -D. They include cuda/device/ and the argument structs beside them,
 * and call no CUDA built-in by its own name. NVRTC reads the very text that the tests give to the C compiler; what a
 * word does is in machine.h there and in tests/cuda/simt/words.h here, and nowhere else.
 *
 * DEVICE begins a function that is inlined, DEVICE_CALLED one that is called.
 *
 * KERNEL(name, threads of a block, Args, a) begins a kernel; KERNEL_BLOCKS says as well how many blocks are to run on a
 * multiprocessor at a time, which fixes the registers of a thread: where the compiler guesses, it may spill for more.
 *
 *  1. A warp word (warp_*, load_matrix4, mma_16x8x16) is spoken by all 32 lanes. Blocks are multiples of 32 threads.
 *  2. No thread returns before a block_sync; a whole warp may return when none follows. Guard loads and stores instead.
 *  3. Shuffles order no memory: inside a warp shared memory needs warp_sync, between warps block_sync.
 *  4. SHARED(type, name, count) makes one shared array of at most 48 KB a kernel in all; the rest comes through
 *     SHARED_REST, its size from the launcher.
 *  5. 16-byte loads, copies and matrix rows are aligned to 16 bytes. Offsets into tensors are i64.
 *  6. A copy16 is seen after this thread's copy_wait and, by other threads, after a block_sync; until then nobody
 * touches its target. n of copy_wait is a literal. Before sm_80 it is an ordinary copy.
 *  7. No block waits for another.
 *  8. Float atomics only for scatters that have no other form.
 *  9. Half-size numbers are u16 in memory. Compile with -DHALF_IS_F16 or -DHALF_IS_BF16 to use mma_16x8x16; bf16
 * products need sm_80. Sums are f32 always. */
#ifndef PANUM_CUDA_DEVICE_H
#define PANUM_CUDA_DEVICE_H
#include "cuda/device/types.h"

#ifdef __CUDACC__
#include "cuda/device/machine.h"
#else
#include EMULATED_WORDS /* the tests say which file: tests/cuda/simt/words.h */
#endif

/* ---- words made of words ---- */

DEVICE int lane_x(void) {
    return thread_x() & 31;
}

DEVICE int warp_x(void) {
    return thread_x() >> 5;
}

/* Every lane gets the largest (the sum) of all lanes; the order of the sum is fixed: partners at distance 16, 8, 4,
 * 2, 1.
 */
DEVICE float warp_max(float v) {
    UNROLL
    for (int m = 16; m; m >>= 1) v = max_f32(v, warp_xor(v, m));
    return v;
}

DEVICE float warp_sum(float v) {
    UNROLL
    for (int m = 16; m; m >>= 1) v += warp_xor(v, m);
    return v;
}

DEVICE float bf16_f32(u16 h) {
    return bits_f32((u32)h << 16);
}

/* Rounds to nearest even; a NaN stays one. By hand, because sm_75 has no instruction for it. */
DEVICE u16 f32_bf16(float v) {
    u32 u = f32_bits(v);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (u16)((u >> 16) | 0x40u);
    return (u16)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

#ifdef HALF_IS_BF16
#define half_f32 bf16_f32
#define f32_half f32_bf16
#else
#define half_f32 f16_f32
#define f32_half f32_f16
#endif
#endif
