/* cuda/device/value.h - what numbers are in memory, for kernels that may be compiled for either: operands with
 * -DLOAD_HALF, results with -DSTORE_HALF, and with -DSLOPE_HALF the gradient that the kernels of gradients read beside
 * their operands; f32 without. Which half stands in HALF_IS_F16 or HALF_IS_BF16. */
#ifndef PANUM_CUDA_DEVICE_VALUE_H
#define PANUM_CUDA_DEVICE_VALUE_H
#include "cuda/device/device.h"

#ifdef LOAD_HALF
typedef u16 Value;
#define value_f32 half_f32
#else
typedef float Value;
#define value_f32(v) (v)
#endif
#ifdef SLOPE_HALF
typedef u16 Slope;
#define slope_f32 half_f32
#else
typedef float Slope;
#define slope_f32(v) (v)
#endif
#ifdef STORE_HALF
typedef u16 Result;
#define f32_result f32_half
#else
typedef float Result;
#define f32_result(v) (v)
#endif
#endif
