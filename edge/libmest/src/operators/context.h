/* What every operator of this instruction set is given, and how work is shared. */
#ifndef MEST_CONTEXT_H
#define MEST_CONTEXT_H

#include "../mest.h"
#include "../threads.h"
#include "../kernels/vector.h"

typedef struct {
    const MestProgram *program;
    MestCall *call;
    MestThreads *pool;
    int thread, threads;
    int micro_batch;             /* which one of the call is being computed */
    long first_cache;            /* bytes of the processor's first data cache */
} Context;

typedef struct {
    long begin, end;
} Range;

/* This thread's part of `count` items; the same cut for the same number of threads. */
MEST_INLINE Range share(long count, int thread, int threads) {
    Range r = {count * thread / threads, count * (thread + 1) / threads};
    return r;
}

MEST_INLINE long least(long a, long b) { return a < b ? a : b; }
MEST_INLINE long most(long a, long b) { return a > b ? a : b; }
MEST_INLINE long ceil_div(long a, long b) { return (a + b - 1) / b; }

#endif
