/* cuda/device/types.h - the few types that launchers and kernels share. Argument structs (cuda/kernels/NAME.h) use
 * these, so that the C compiler and NVRTC, which has no stdint.h, lay them out alike. */
#ifndef PANUM_CUDA_DEVICE_TYPES_H
#define PANUM_CUDA_DEVICE_TYPES_H
typedef unsigned u32;
typedef unsigned short u16;
typedef unsigned char u8;
typedef long long i64;
typedef struct {
    float x, y, z, w;
} Float4;
#endif
