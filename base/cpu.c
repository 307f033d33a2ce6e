#include "base/cpu.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

static unsigned saved_state(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static CpuLevel detect(bool *bf16) {
    unsigned a, b, c, d;
    *bf16 = false;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return CPU_BASE;
    bool osxsave = c & (1u << 27), avx = c & (1u << 28), fma = c & (1u << 12), f16c = c & (1u << 29);
    if (!osxsave || !avx || !fma || !f16c) return CPU_BASE;
    unsigned state = saved_state();
    if ((state & 6) != 6) return CPU_BASE; /* the system does not save ymm registers */
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & (1u << 5))) return CPU_BASE;
    const unsigned f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;
    if ((b & (f | dq | bw | vl)) != (f | dq | bw | vl) || (state & 0xe6) != 0xe6) return CPU_AVX2;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) *bf16 = a & (1u << 5);
    return CPU_AVX512;
}

const char *cpu_model(void) {
    static char name[49];
    if (!name[0]) {
        unsigned words[12];
        for (unsigned i = 0; i < 3; i++)
            if (!__get_cpuid(0x80000002u + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2], &words[4 * i + 3]))
                return "unknown";
        memcpy(name, words, 48);
        for (int i = 47; i >= 0 && (name[i] == ' ' || !name[i]); i--) name[i] = 0;
    }
    return name;
}
#else
static CpuLevel detect(bool *bf16) {
    *bf16 = false;
    return CPU_BASE;
}

const char *cpu_model(void) {
    return "unknown";
}
#endif

static bool known, known_bf16;
static CpuLevel known_level, limit = CPU_AVX512;

static void look(void) {
    if (known) return;
    known_level = detect(&known_bf16);
    const char *mask = getenv("PANUM_CPU");
    if (mask) {
        for (int level = CPU_BASE; level <= CPU_AVX512; level++)
            if (strcmp(mask, cpu_level_name((CpuLevel)level)) == 0 && (CpuLevel)level < known_level)
                known_level = (CpuLevel)level;
    }
    if (known_level != CPU_AVX512) known_bf16 = false;
    known = true;
}

CpuLevel cpu_level(void) {
    look();
    return known_level < limit ? known_level : limit;
}

CpuLevel cpu_limit(CpuLevel level) {
    limit = level;
    return cpu_level();
}

bool cpu_has_bf16(void) {
    look();
    return known_bf16 && limit == CPU_AVX512;
}

const char *cpu_level_name(CpuLevel level) {
    static const char *const names[] = {"base", "avx2", "avx512"};
    return names[level];
}
