/* tensor/ops/strip_kernels.h - inside tensor/ops: the levels of strip.c. */
#ifndef PANUM_TENSOR_OPS_STRIP_KERNELS_H
#define PANUM_TENSOR_OPS_STRIP_KERNELS_H
#include "base/cpu.h"
#include "tensor/ops/strip.h"

typedef struct {
    const float *a, *b;
    const uint8_t *a_u8;
    int64_t a_stride, b_stride; /* from row to row; 0 repeats */
    bool a_splat, b_splat;      /* one value a row */
    float p, q;
} StripIn;
typedef void (*StripApply)(PointwiseFunction function, StripIn in, float *out, int64_t out_stride, int64_t rows,
                           int64_t columns);
void strip_apply_base(PointwiseFunction function, StripIn in, float *out, int64_t out_stride, int64_t rows,
                      int64_t columns);
void strip_apply_avx2(PointwiseFunction function, StripIn in, float *out, int64_t out_stride, int64_t rows,
                      int64_t columns);
void strip_apply_avx512(PointwiseFunction function, StripIn in, float *out, int64_t out_stride, int64_t rows,
                        int64_t columns);
/* Copies rows past the caches; where a row is not aligned to a vector, through them. */
void strip_past_base(const float *from, int64_t from_stride, float *to, int64_t to_stride, int64_t rows,
                     int64_t columns);
void strip_past_avx2(const float *from, int64_t from_stride, float *to, int64_t to_stride, int64_t rows,
                     int64_t columns);
void strip_past_avx512(const float *from, int64_t from_stride, float *to, int64_t to_stride, int64_t rows,
                       int64_t columns);
StripApply strip_apply_level(CpuLevel level); /* the level asked for, or the best below it that was built */
#endif
