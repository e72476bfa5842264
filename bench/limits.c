/* What a core and the memory give: multiply-adds from registers and from each cache, bytes per second. Prints JSON. */
#define _POSIX_C_SOURCE 200112L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../edge/native/src/kernels/vector.h"

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

typedef struct {
    pthread_barrier_t *start;
    float *from, *to;
    long floats;
    int copies;
    double seconds;
} Stream;

static void *stream(void *argument) {
    Stream *s = argument;
    s->seconds = 1e9;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        pthread_barrier_wait(s->start);
        const double start = seconds();
        if (s->copies) memcpy(s->to, s->from, (size_t)s->floats * 4);
        else loads(s->from, s->floats, 0);
        const double taken = (seconds() - start) / (s->copies ? 1 : REPEATS * ((1L << 24) / s->floats + 1));
        if (taken < s->seconds) s->seconds = taken;
    }
    return NULL;
}

/* Gigabytes per second of all threads together, each over its own `bytes`: read, or read and written in a copy. */
static double bandwidth(int threads, long bytes, int copies) {
    Stream streams[64];
    pthread_t ids[64];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, (unsigned)threads);
    double sum = 0;
    for (int i = 0; i < threads; i++) {
        streams[i] = (Stream){&start, aligned_alloc(64, (size_t)bytes), aligned_alloc(64, (size_t)bytes), bytes / 4, copies, 0};
        memset(streams[i].from, 0, (size_t)bytes);
        memset(streams[i].to, 0, (size_t)bytes);
    }
    for (int i = 0; i < threads; i++) pthread_create(ids + i, NULL, stream, streams + i);
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        sum += (copies ? 2e-9 : 1e-9) * (double)bytes / streams[i].seconds;
        free(streams[i].from);
        free(streams[i].to);
    }
    return sum;
}

int main(int count, char **words) {
    const int threads = count > 1 && atoi(words[1]) > 0 && atoi(words[1]) <= 64 ? atoi(words[1]) : 1;
    const long sizes[] = {16, 512, 8192}; /* KiB */
    float *data = aligned_alloc(64, (size_t)sizes[2] << 10);
    memset(data, 0, (size_t)sizes[2] << 10);
    printf("{\"lanes\": %d, \"registers\": %.1f, \"loads\": [", MEST_VL, registers());
    for (int i = 0; i < 3; i++)
        printf("%s{\"kib\": %ld, \"aligned\": %.1f, \"shifted\": %.1f}", i ? ", " : "", sizes[i], loads(data, sizes[i] << 8, 0),
               loads(data, sizes[i] << 8, 4));
    printf("], \"read\": %.1f, \"copy\": %.1f}\n", bandwidth(threads, 64L << 20, 0), bandwidth(threads, 64L << 20, 1));
    free(data);
    return 0;
}
