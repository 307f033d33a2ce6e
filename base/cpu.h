/* base/cpu.h - which instruction sets this processor *and* its operating system let us use.
 * PANUM_CPU=base|avx2|avx512 lowers the level (tests run every level on one machine); it cannot raise it. */
#ifndef PANUM_BASE_CPU_H
#define PANUM_BASE_CPU_H
#include <stdbool.h>

typedef enum { CPU_BASE = 0, CPU_AVX2 = 1, CPU_AVX512 = 2 } CpuLevel; /* avx2 includes fma; avx512 is f, bw, dq, vl */
CpuLevel cpu_level(void);
/* For tests and benchmarks, while nothing runs: use no more than this from now on (CPU_AVX512: all there is again).
 * Returns what cpu_level() then says. */
CpuLevel cpu_limit(CpuLevel level);
bool cpu_has_bf16(void); /* avx512_bf16, and the level is avx512 */
const char *cpu_level_name(CpuLevel level);
const char *cpu_model(void); /* as the processor calls itself, "unknown" elsewhere */
#endif
