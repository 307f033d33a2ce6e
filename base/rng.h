/* base/rng.h - counter-based random numbers: the n-th number of a seed is a function, so any order and any number of
 * threads give the same values. SplitMix64's mixing function over seed + (n+1)*golden ratio. */
#ifndef PANUM_BASE_RNG_H
#define PANUM_BASE_RNG_H
#include <stdint.h>

static inline uint64_t rng_u64(uint64_t seed, uint64_t n) {
    uint64_t z = seed + (n + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}
/* Uniform in [0, 1), 53 bits. */
static inline double rng_unit(uint64_t seed, uint64_t n) {
    return (double)(rng_u64(seed, n) >> 11) * 0x1p-53;
}
/* Uniform in [-1, 1), 24 bits: the rule that seeded weights follow (tools/ref/seeded.py). */
static inline double rng_signed(uint64_t seed, uint64_t n) {
    return (double)(rng_u64(seed, n) >> 40) * 0x1p-23 - 1;
}
#endif
