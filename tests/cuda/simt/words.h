/* tests/cuda/simt/words.h - what each word of cuda/device/device.h is on the emulated device: a call of simt.c. */
#ifndef PANUM_TESTS_CUDA_SIMT_WORDS_H
#define PANUM_TESTS_CUDA_SIMT_WORDS_H
#include "cuda/device/types.h"
#include "tests/cuda/simt/simt.h"
#include <math.h>
#include <string.h>

#define DEVICE static inline __attribute__((unused))
#define DEVICE_CALLED static __attribute__((unused))
#define KERNEL(name, threads, Args, a)                                    \
    static void name##_body(const Args a);                                \
    void name(const void *args);                                          \
    void name(const void *args) {                                         \
        name##_body(*(const Args *)args);                                 \
    }                                                                     \
    extern const int name##_threads, name##_bytes;                        \
    const int name##_threads = threads, name##_bytes = (int)sizeof(Args); \
    static void name##_body(const Args a)
#define KERNEL_BLOCKS(name, threads, blocks, Args, a) KERNEL(name, threads, Args, a)
#define SHARED(type, name, count) \
    type *const name = (type *)simt_shared(__FILE__, __LINE__, sizeof(type) * (size_t)(count))
#define SHARED_REST(type, name) type *const name = (type *)simt_shared_rest(__FILE__, __LINE__)
#define UNROLL
#define UNROLL_BY(n)
#define RESTRICT restrict
#define HERE __FILE__, __LINE__

#define thread_x() ((int)simt_thread_x())
#define block_x() ((int)simt_block_at(0))
#define block_y() ((int)simt_block_at(1))
#define block_z() ((int)simt_block_at(2))
#define block_sync() simt_block_sync(HERE)
#define warp_sync() simt_warp_sync(HERE)
#define warp_xor(v, mask) simt_xor(v, mask, HERE)
#define warp_down(v, by) simt_down(v, by, HERE)
#define warp_from(v, lane) simt_from(v, lane, HERE)
#define warp_any(yes) (simt_ballot(yes, HERE) != 0)
#define warp_ballot(yes) simt_ballot(yes, HERE)

DEVICE u32 f32_bits(float v) {
    u32 u;
    memcpy(&u, &v, 4);
    return u;
}
DEVICE float bits_f32(u32 u) {
    float v;
    memcpy(&v, &u, 4);
    return v;
}
#define f16_f32(h) simt_f16_f32(h)
#define f32_f16(v) simt_f32_f16(v)
#define exp_f32 expf
#define exp_fast_f32 expf
#define exp2_fast_f32 exp2f
#define log_f32 logf
#define erf_f32 erff
#define tanh_f32 tanhf
#define sqrt_f32 sqrtf
#define sqrt_f64 sqrt
#define abs_f32 fabsf
#define max_f32 fmaxf
#define min_f32 fminf
#define fma_f32 fmaf

DEVICE Float4 load4_f32(const float *p) {
    simt_aligned(p, "load4_f32");
    Float4 r = {p[0], p[1], p[2], p[3]};
    return r;
}
DEVICE void store4_f32(float *p, Float4 v) {
    simt_aligned(p, "store4_f32");
    p[0] = v.x, p[1] = v.y, p[2] = v.z, p[3] = v.w;
}
#define atomic_add_f32(p, v) simt_atomic_add_f32(p, v)
#define atomic_add_u32(p, v) simt_atomic_add_u32(p, v)
#define copy16(to, from, valid) simt_copy16(to, from, valid)
#define copy_commit() simt_copy_commit()
#define copy_wait(n) simt_copy_wait(n)
#define load_matrix4(r, row) simt_load_matrix4(r, row, HERE)
#define load_matrix4_across(r, row) simt_load_matrix4_across(r, row, HERE)
#define two_halves(low, high) ((u32)f32_half(low) | (u32)f32_half(high) << 16)
#if defined(HALF_IS_BF16)
#if defined(EMULATED_ARCH) && EMULATED_ARCH < 80
#error "bf16 products need sm_80 or newer; choose f16 or f32 on this GPU"
#endif
#define mma_16x8x16(c, a, b) simt_mma(c, a, b, 0, HERE)
#elif defined(HALF_IS_F16)
#define mma_16x8x16(c, a, b) simt_mma(c, a, b, 1, HERE)
#endif
#endif
