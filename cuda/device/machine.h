/* cuda/device/machine.h - what each word of device.h is on a GPU. The only file that asks for __CUDA_ARCH__: a new
 * architecture is a case here.
 *
 * Errors of the functions, in units in the last place, are those of the CUDA C++ Programming Guide (mathematical
 * functions): exp_f32 2, log_f32 1, erf_f32 2, tanh_f32 2, sqrt_f32 and division correctly rounded; exp_fast_f32
 * 2 + floor(|1.16 x|); exp2_fast_f32 2, and 0 where the result would be below 2^-126. */
#ifndef PANUM_CUDA_DEVICE_MACHINE_H
#define PANUM_CUDA_DEVICE_MACHINE_H

#define DEVICE static __device__ __forceinline__
#define DEVICE_CALLED static __device__ __noinline__
#define KERNEL(name, threads, Args, a) \
    extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ Args a)
#define KERNEL_BLOCKS(name, threads, blocks, Args, a) \
    extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ Args a)
#define SHARED(type, name, count) __shared__ __align__(128) type name[count]
#define SHARED_REST(type, name)                                          \
    extern __shared__ __align__(128) unsigned char shared_rest_of_all[]; \
    type *name = (type *)shared_rest_of_all
#define UNROLL _Pragma("unroll")
#define PRAGMA(text) _Pragma(#text)
#define UNROLL_BY(n) PRAGMA(unroll n)
#define RESTRICT __restrict__
#define ALL_LANES 0xffffffffu

/* ---- where am I ---- */
DEVICE int thread_x(void) {
    return (int)threadIdx.x;
}
DEVICE int block_x(void) {
    return (int)blockIdx.x;
}
DEVICE int block_y(void) {
    return (int)blockIdx.y;
}
DEVICE int block_z(void) {
    return (int)blockIdx.z;
}

/* ---- meeting others ---- */
DEVICE void block_sync(void) {
    __syncthreads();
}
DEVICE void warp_sync(void) {
    __syncwarp();
}
DEVICE float warp_xor(float v, int mask) {
    return __shfl_xor_sync(ALL_LANES, v, mask);
}
DEVICE float warp_down(float v, int by) { /* lanes whose partner would lie beyond 31 keep their own */
    return __shfl_down_sync(ALL_LANES, v, by);
}
DEVICE float warp_from(float v, int lane) { /* that of lane & 31 */
    return __shfl_sync(ALL_LANES, v, lane & 31);
}
DEVICE int warp_any(int yes) {
    return __any_sync(ALL_LANES, yes);
}
DEVICE u32 warp_ballot(int yes) {
    return __ballot_sync(ALL_LANES, yes);
}

/* ---- numbers ---- */
DEVICE u32 f32_bits(float v) {
    return __float_as_uint(v);
}
DEVICE float bits_f32(u32 u) {
    return __uint_as_float(u);
}
DEVICE float f16_f32(u16 h) {
    float v;
    asm("cvt.f32.f16 %0,%1;" : "=f"(v) : "h"(h));
    return v;
}
DEVICE u16 f32_f16(float v) {
    u16 h;
    asm("cvt.rn.f16.f32 %0,%1;" : "=h"(h) : "f"(v));
    return h;
}
DEVICE float exp_f32(float x) {
    return expf(x);
}
DEVICE float exp_fast_f32(float x) {
    return __expf(x);
}
DEVICE float exp2_fast_f32(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0,%1;" : "=f"(y) : "f"(x));
    return y;
}
DEVICE float log_f32(float x) {
    return logf(x);
}
DEVICE float erf_f32(float x) {
    return erff(x);
}
DEVICE float tanh_f32(float x) {
    return tanhf(x);
}
DEVICE float sqrt_f32(float x) {
    return sqrtf(x);
}
DEVICE double sqrt_f64(double x) {
    return sqrt(x);
}
DEVICE float abs_f32(float x) {
    return fabsf(x);
}
DEVICE float max_f32(float a, float b) { /* of a number and a NaN: the number */
    return fmaxf(a, b);
}
DEVICE float min_f32(float a, float b) {
    return fminf(a, b);
}
DEVICE float fma_f32(float a, float b, float c) {
    return __fmaf_rn(a, b, c);
}

/* ---- memory ---- */
DEVICE Float4 load4_f32(const float *p) {
    float4 v = *(const float4 *)p;
    Float4 r = {v.x, v.y, v.z, v.w};
    return r;
}
DEVICE void store4_f32(float *p, Float4 v) {
    float4 r = {v.x, v.y, v.z, v.w};
    *(float4 *)p = r;
}
DEVICE void atomic_add_f32(float *p, float v) {
    atomicAdd(p, v);
}
DEVICE void atomic_add_u32(u32 *p, u32 v) {
    atomicAdd(p, v);
}

/* 16 bytes from global to shared memory, or 16 zero bytes if !valid (`from` is then not read) */
DEVICE void copy16(void *to, const void *from, int valid) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0],[%1],16,%2;" ::"r"((u32)__cvta_generic_to_shared(to)), "l"(from),
                 "r"(valid ? 16 : 0)
                 : "memory");
#else
    uint4 v = {0, 0, 0, 0};
    if (valid) v = *(const uint4 *)from;
    *(uint4 *)to = v;
#endif
}
DEVICE void copy_commit(void) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
/* waits until at most n of this thread's groups are under way */
#if __CUDA_ARCH__ >= 800
#define copy_wait(n) asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory")
#else
#define copy_wait(n) ((void)(n))
#endif

/* ---- matrices of half-size numbers ---- */

/* Four 8x8 matrices of 16-bit values; lane l gives the address of row l%8 of matrix l/8, and gets of each matrix the
 * two values of row l/4, columns 2(l%4) and the next. */
DEVICE void load_matrix4(u32 r[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((u32)__cvta_generic_to_shared(row))
                 : "memory");
}

/* The same, each 8x8 matrix read across: of each matrix the values of rows 2(l%4) and the next, column l/4. */
DEVICE void load_matrix4_across(u32 r[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((u32)__cvta_generic_to_shared(row))
                 : "memory");
}

#if defined(HALF_IS_F16) || defined(HALF_IS_BF16)
/* Two numbers rounded to nearest even, as fragments hold them: `low` in the low half. */
DEVICE u32 two_halves(float low, float high) {
    u32 both;
#if __CUDA_ARCH__ < 800
    u16 l, h;
    asm("cvt.rn.f16.f32 %0,%1;" : "=h"(l) : "f"(low));
    asm("cvt.rn.f16.f32 %0,%1;" : "=h"(h) : "f"(high));
    both = l | (u32)h << 16;
#elif defined(HALF_IS_BF16)
    asm("cvt.rn.bf16x2.f32 %0,%1,%2;" : "=r"(both) : "f"(high), "f"(low));
#else
    asm("cvt.rn.f16x2.f32 %0,%1,%2;" : "=r"(both) : "f"(high), "f"(low));
#endif
    return both;
}

/* c (16x8) += a (16x16) b (16x8), fragments as in PTX (mma.m16n8k16). Before sm_80 the tensor cores know f16 only and
 * half the depth: two products of depth 8, whose fragments are the same registers. */
DEVICE void mma_16x8x16(float c[4], const u32 a[4], const u32 b[2]) {
#if __CUDA_ARCH__ < 800
#ifdef HALF_IS_BF16
#error "bf16 products need sm_80 or newer; choose f16 or f32 on this GPU"
#endif
#define MMA_DEPTH_8(a0, a1, b0)                                                                               \
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};" \
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                             \
                 : "r"(a0), "r"(a1), "r"(b0))
    MMA_DEPTH_8(a[0], a[1], b[0]);
    MMA_DEPTH_8(a[2], a[3], b[1]);
#else
#ifdef HALF_IS_BF16
#define MMA_TYPES "bf16.bf16"
#else
#define MMA_TYPES "f16.f16"
#endif
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." MMA_TYPES
                 ".f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}
#endif
#endif
