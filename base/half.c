#include "base/half.h"

/* Layout: sign 1, exponent 5 (bias 15), fraction 10. */
float f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = (h >> 10) & 31, fraction = h & 0x3ffu;
    if (exponent == 31) return bits_f32(sign | 0x7f800000u | (fraction << 13));
    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24, exact in f32 */
        float v = (float)fraction * 0x1p-24f;
        return sign ? -v : v;
    }
    return bits_f32(sign | ((exponent + 112) << 23) | (fraction << 13));
}

uint16_t f32_to_f16(float v) {
    uint32_t u = f32_bits(v), sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00);
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00); /* rounds to 65536 or more */
    if (magnitude < 0x38800000u) {                                  /* below 2^-14: adding 0.5 makes the unit 2^-24 */
        float shifted = bits_f32(magnitude) + 0.5f;
        return (uint16_t)(sign | (f32_bits(shifted) - 0x3f000000u));
    }
    uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
    return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
}
