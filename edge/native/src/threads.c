#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#if defined(__x86_64__) || defined(__i386__)
#define RELAX() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define RELAX() __asm__ volatile("yield")
#else
#define RELAX() (void)0
#endif

/* Waiting is cheap for the length of a short step, then gives the processor away, then sleeps. Long spins are what makes
 * threads that must share a processor slow: each waits out its spin while the other could work. */
enum { SPINS = 600, YIELDS = 2, STACK_BYTES = 256 * 1024 };

struct MestThreads {
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_uint generation;
    _Alignas(64) atomic_int sleepers;
    int threads;
    int stop;
    MestJob job;
    void *argument;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct Worker {
        MestThreads *pool;
        pthread_t id;
        int thread;
    } workers[];
};

int mest_threads_count(const MestThreads *pool) { return pool->threads; }

void mest_barrier(MestThreads *pool, int thread) {
    (void)thread;
    if (pool->threads == 1) return;
    const unsigned now = atomic_load_explicit(&pool->generation, memory_order_acquire);
    if (atomic_fetch_add(&pool->arrived, 1) + 1 == pool->threads) {
        atomic_store(&pool->arrived, 0);
        atomic_fetch_add(&pool->generation, 1);
        if (atomic_load(&pool->sleepers)) {
            pthread_mutex_lock(&pool->mutex);
            pthread_cond_broadcast(&pool->wake);
            pthread_mutex_unlock(&pool->mutex);
        }
        return;
    }
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&pool->generation, memory_order_acquire) != now) return;
        RELAX();
    }
    for (int i = 0; i < YIELDS; i++) {
        if (atomic_load_explicit(&pool->generation, memory_order_acquire) != now) return;
        sched_yield();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(&pool->generation) == now) pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *work(void *argument) {
    struct Worker *w = argument;
    for (;;) {
        mest_barrier(w->pool, w->thread); /* a job is there */
        if (w->pool->stop) return NULL;
        w->pool->job(w->pool->argument, w->thread);
        mest_barrier(w->pool, w->thread); /* all are done */
    }
}

void mest_threads_run(MestThreads *pool, MestJob job, void *argument) {
    pool->job = job;
    pool->argument = argument;
    mest_barrier(pool, 0);
    job(argument, 0);
    mest_barrier(pool, 0);
}

static void join(MestThreads *pool, int started) {
    for (int i = 1; i < started; i++) pthread_join(pool->workers[i].id, NULL);
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->wake);
    free(pool);
}

void mest_threads_close(MestThreads *pool) {
    pool->stop = 1;
    mest_barrier(pool, 0);
    join(pool, pool->threads);
}

MestThreads *mest_threads_open(int threads) {
    if (threads < 1 || threads > 1024) return NULL;
    const size_t bytes = sizeof(MestThreads) + sizeof(struct Worker) * (size_t)threads;
    MestThreads *pool = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!pool) return NULL;
    *pool = (MestThreads){.threads = threads};
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int started = 1;
    for (; started < threads; started++) {
        pool->workers[started] = (struct Worker){.pool = pool, .thread = started};
        if (pthread_create(&pool->workers[started].id, &attributes, work, &pool->workers[started])) break;
    }
    pthread_attr_destroy(&attributes);
    if (started == threads) return pool;
    pool->threads = started; /* those that did start leave at their first barrier */
    pool->stop = 1;
    mest_barrier(pool, 0);
    join(pool, started);
    return NULL;
}
