/* What a core and the memory give: multiply-adds from registers and from each cache, bytes per second. Prints JSON. */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../edge/libmest/src/kernels/vector.h"

enum { REPEATS = 15, SUMS = 8, PIECE = SUMS * MEST_VL };

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static volatile float sink;

/* Billions of operations per second of independent multiply-adds between registers. */
static double registers(void) {
    enum { CHAINS = 12 };
    const long rounds = 1000000;
    double best = 1e9;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        vf sums[CHAINS];
        for (int k = 0; k < CHAINS; k++) sums[k] = splat((float)k);
        vf factor = splat(0.999f), term = splat(0.001f);
        MEST_PIN(factor);
        MEST_PIN(term);
        const double start = seconds();
        for (long i = 0; i < rounds; i++) {
#pragma GCC unroll 12
            for (int k = 0; k < CHAINS; k++) sums[k] = sums[k] * factor + term;
        }
        const double taken = seconds() - start;
        if (taken < best) best = taken;
        for (int k = 0; k < CHAINS; k++) sink = total(sums[k]);
    }
    return 2e-9 * CHAINS * MEST_VL * (double)rounds / best;
}

/* The same with one vector loaded for each multiply-add, as a sparse row has it, from `floats` floats, `shift` off. */
static double loads(const float *from, long floats, long shift) {
    const long rounds = (1L << 24) / floats + 1;
    double best = 1e9;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        vf sums[SUMS] = {{0}};
        vf weight = splat(0.001f);
        const double start = seconds();
        for (long round = 0; round < rounds; round++) {
            MEST_PIN(weight);
            for (long i = shift; i + PIECE <= floats; i += PIECE) {
#pragma GCC unroll 8
                for (int k = 0; k < SUMS; k++) sums[k] += weight * load(from + i + k * MEST_VL);
            }
        }
        const double taken = seconds() - start;
        if (taken < best) best = taken;
        for (int k = 0; k < SUMS; k++) sink = total(sums[k]);
    }
    return 2e-9 * (double)(rounds * ((floats - shift) / PIECE * PIECE)) / best;
}

/* Gigabytes per second of a copy, read and written bytes both counted. */
static double copied(const float *from, float *to, size_t bytes) {
    double best = 1e9;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        const double start = seconds();
        memcpy(to, from, bytes);
        const double taken = seconds() - start;
        if (taken < best) best = taken;
        sink = to[repeat];
    }
    return 2e-9 * (double)bytes / best;
}

int main(void) {
    const long sizes[] = {16, 512, 8192}, memory = 64L << 20; /* KiB; bytes */
    float *data = aligned_alloc(64, (size_t)memory), *other = aligned_alloc(64, (size_t)memory);
    if (!data || !other) return 1;
    memset(data, 0, (size_t)memory);
    memset(other, 0, (size_t)memory);
    printf("{\"lanes\": %d, \"registers\": %.1f, \"loads\": [", MEST_VL, registers());
    for (int i = 0; i < 3; i++)
        printf("%s{\"kib\": %ld, \"aligned\": %.1f, \"shifted\": %.1f}", i ? ", " : "", sizes[i], loads(data, sizes[i] << 8, 0),
               loads(data, sizes[i] << 8, 4));
    /* A float that is loaded for a multiply-add is four bytes for two operations. */
    printf("], \"read\": %.1f, \"copy\": %.1f}\n", 2 * loads(data, memory / 4, 0), copied(data, other, (size_t)memory));
    free(data);
    free(other);
    return 0;
}
