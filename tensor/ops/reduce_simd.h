/* tensor/ops/reduce_simd.h - see reduce_kernels.h; included once for each instruction level. */
#include "tensor/ops/reduce_kernels.h"
#include "tensor/ops/simd.h"

typedef float v_half __attribute__((vector_size(VW * 2)));
typedef double vd __attribute__((vector_size(VW * 4))); /* half as many, twice as wide */

typedef struct {
    vd low, high;
} Wide;

static inline Wide wide(vf v) {
    v_half part[2];
    memcpy(part, &v, sizeof part);
    return (Wide){__builtin_convertvector(part[0], vd), __builtin_convertvector(part[1], vd)};
}

static inline double sum_lanes(vd v) {
    double s[VW / 2];
    memcpy(s, &v, sizeof s);
    for (int step = VW / 4; step; step /= 2)
        for (int i = 0; i < step; i++) s[i] += s[i + step];
    return s[0];
}

static inline double sum_row(int64_t n, const float *x) {
    vd sum[4] = {0};
    int64_t j = 0;
    for (; j + 2 * VW <= n; j += 2 * VW) {
        Wide a = wide(v_load(x + j)), b = wide(v_load(x + j + VW));
        sum[0] += a.low;
        sum[1] += a.high;
        sum[2] += b.low;
        sum[3] += b.high;
    }
    for (; j < n; j += VW) {
        Wide a = wide(n - j >= VW ? v_load(x + j) : v_load_part(x + j, n - j));
        sum[0] += a.low;
        sum[1] += a.high;
    }
    return sum_lanes((sum[0] + sum[2]) + (sum[1] + sum[3]));
}

static double sum_all(int64_t rows, int64_t channels, const float *x, int64_t step) {
    double sum = 0;
    for (int64_t r = 0; r < rows; r++) sum += sum_row(channels, x + r * step);
    return sum;
}

static void sum_channels(int64_t rows, int64_t channels, const float *x, int64_t step, float *to) {
    for (int64_t r = 0; r < rows; r++) to[r] = (float)sum_row(channels, x + r * step);
}

/* Two vectors of channels at a time down all rows, four sums in registers. */
static void sum_positions(int64_t rows, int64_t channels, const float *x, int64_t step, double *to) {
    for (int64_t j = 0; j < channels; j += 2 * VW) {
        int64_t n = channels - j < 2 * VW ? channels - j : 2 * VW, second = n > VW ? n - VW : 0;
        vd sum[4] = {0};
        for (int64_t r = 0; r < rows; r++) {
            const float *from = x + r * step + j;
            Wide a = wide(n >= VW ? v_load(from) : v_load_part(from, n));
            sum[0] += a.low;
            sum[1] += a.high;
            if (!second) continue;
            Wide b = wide(second == VW ? v_load(from + VW) : v_load_part(from + VW, second));
            sum[2] += b.low;
            sum[3] += b.high;
        }
        memcpy(to + j, sum, (size_t)n * sizeof *to);
    }
}

const ReduceKernels SIMD_NAME(reduce_kernels) = {sum_all, sum_channels, sum_positions};
