/* What this processor computes with and how large its first cache is, asked of itself: the compiler's own answer
 * (__builtin_cpu_supports) is no in every program that some releases of zig link. */
#ifndef MEST_CPU_H
#define MEST_CPU_H

#include <unistd.h>

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

/* Bytes of the first data cache, by the list of caches that Intel's processors (leaf 4) or AMD's have; 0 where there is none. */
static long listed_first_cache(unsigned leaf) {
    unsigned a, b, c, d;
    for (unsigned i = 0; i < 4 && __get_cpuid_count(leaf, i, &a, &b, &c, &d) && (a & 31); i++)
        if ((a & 31) == 1 && (a >> 5 & 7) == 1)
            return (long)((b >> 22) + 1) * ((b >> 12 & 1023) + 1) * ((b & 4095) + 1) * (c + 1);
    return 0;
}
#endif

/* Bytes of the first data cache. Most 64-bit ARM cores do not tell a program: theirs are 32 KiB or more. How work is cut by it
 * changes no result. */
static long cpu_first_cache(void) {
    long bytes = 0;
#if defined(__x86_64__)
    bytes = listed_first_cache(4);
    if (!bytes) bytes = listed_first_cache(0x8000001D);
#elif defined(_SC_LEVEL1_DCACHE_SIZE)
    bytes = sysconf(_SC_LEVEL1_DCACHE_SIZE);
#endif
    return bytes >= 8 << 10 && bytes <= 1 << 20 ? bytes : 32 << 10;
}

#endif
