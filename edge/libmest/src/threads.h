/* Threads that run one job together, and the barrier between its steps. */
#ifndef MEST_THREADS_H
#define MEST_THREADS_H

#include "mest.h"

typedef void (*MestJob)(void *argument, int thread);

/* Workers on stacks of `stack_bytes`, rounded up to pages; NULL with errno where they cannot be started. */
MestThreads *mest_threads_open(int threads, int64_t stack_bytes);
void mest_threads_close(MestThreads *pool);
int mest_threads_count(const MestThreads *pool);
/* Runs job(argument, 0) here and job(argument, 1..) on the others; returns when all are done. */
void mest_threads_run(MestThreads *pool, MestJob job, void *argument);
/* Every thread of a running job waits here for the others. */
void mest_barrier(MestThreads *pool, int thread);

#endif
