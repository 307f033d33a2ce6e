/* tensor/ops/stereo_simd.h - see stereo_kernels.h; included once for each instruction level. */
#include "tensor/ops/simd_math.h"
#include "tensor/ops/stereo_kernels.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* to[i] = a[i] + b[i], b NULL: a copy. `to` may be a; it may overlap b only where b lies behind it. */
ALWAYS_INLINE void add_lines(int64_t n, const float *a, const float *b, float *to) {
    int64_t i = 0;
    for (; i + VW <= n; i += VW) v_store(to + i, b ? v_load(a + i) + v_load(b + i) : v_load(a + i));
    for (; i < n; i++) to[i] = b ? a[i] + b[i] : a[i];
}

static void box(int64_t n, int64_t k, int64_t step, float *x, float *sums) {
    const int64_t wanted = n - (k - 1) * step;
    int64_t taken = 0; /* neighbours already in the sums; x holds sums of `length` neighbours */
    for (int64_t length = 1, digits = k;; length *= 2) {
        if (digits & 1) {
            add_lines(wanted, x + taken * step, taken ? sums : NULL, sums);
            taken += length;
        }
        digits /= 2;
        if (!digits) return;
        add_lines(n - (2 * length - 1) * step, x, x + length * step, x);
    }
}

const StereoKernels SIMD_NAME(stereo_kernels) = {
    .box = box,
};
