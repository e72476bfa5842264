/* What this processor computes with, asked of itself: the compiler's own answer (__builtin_cpu_supports) is no in every
 * program that some releases of zig link. */
#ifndef MEST_CPU_H
#define MEST_CPU_H

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdint.h>

enum {
    CPU_FMA = 1 << 12, CPU_OSXSAVE = 1 << 27, CPU_AVX = 1 << 28,         /* leaf 1, ecx */
    CPU_AVX2 = 1 << 5, CPU_AVX512F = 1 << 16, CPU_AVX512DQ = 1 << 17,    /* leaf 7, ebx */
    CPU_AVX512BW = 1 << 30,
    CPU_YMM = 0x6, CPU_ZMM = 0xE6                                        /* registers that the system saves, in XCR0 */
};
#define CPU_AVX512VL (1u << 31)

static int has_all(unsigned found, unsigned wanted) { return (found & wanted) == wanted; }

/* Registers that the system saves when it takes the processor away: without that an instruction is of no use. */
static unsigned saved_registers(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* Whether AVX2 with FMA, or AVX-512 as the engine uses it, can run. */
static int cpu_runs(int avx512) {
    unsigned a, b, c, d, features;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has_all(c, CPU_FMA | CPU_OSXSAVE | CPU_AVX)) return 0;
    if (!__get_cpuid_count(7, 0, &a, &features, &c, &d) || !has_all(features, CPU_AVX2)) return 0;
    if (!avx512) return has_all(saved_registers(), CPU_YMM);
    return has_all(saved_registers(), CPU_ZMM) && has_all(features, CPU_AVX512F | CPU_AVX512DQ | CPU_AVX512BW | CPU_AVX512VL);
}
#endif

#endif
