/* base/half.h - f16 and bf16 as bits, to and from f32. Round to nearest even; NaN stays NaN, overflow becomes infinity.
 */
#ifndef PANUM_BASE_HALF_H
#define PANUM_BASE_HALF_H
#include <stdint.h>
#include <string.h>

static inline uint32_t f32_bits(float v) {
    uint32_t u;
    memcpy(&u, &v, 4);
    return u;
}

static inline float bits_f32(uint32_t u) {
    float v;
    memcpy(&v, &u, 4);
    return v;
}

static inline float bf16_to_f32(uint16_t h) {
    return bits_f32((uint32_t)h << 16);
}

static inline uint16_t f32_to_bf16(float v) {
    uint32_t u = f32_bits(v);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((u >> 16) | 0x40);
    return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float v);
#endif
