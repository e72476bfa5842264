#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__) || defined(__i386__)
#define RELAX() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define RELAX() __asm__ volatile("yield")
#else
#define RELAX() (void)0
#endif

/* A thread that waits spins first, for about as long as a step takes, then gives the processor away, then sleeps: to be
 * woken takes longer than most steps. Where a spin ends without the others, a processor is probably shared with them or
 * with strangers, who could work meanwhile: such a thread halves its patience, and doubles it again where spinning helps.
 * Time is counted, not rounds: a pause takes ten times longer on some processors than on others. */
enum { SHORTEST_NS = 4000, LONGEST_NS = 128000, ROUNDS_BETWEEN_LOOKS = 16, YIELDS = 2 };

struct MestThreads {
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_uint generation;
    _Alignas(64) atomic_int sleepers;
    int threads;
    int stop;
    char *stacks; /* of the workers, each behind a page that nobody may touch */
    size_t stacks_bytes;
    MestJob job;
    void *argument;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct Worker {
        MestThreads *pool;
        pthread_t id;
        int thread;
        long patience; /* nanoseconds to spin for */
    } workers[]; /* the first is whoever calls */
};

int mest_threads_count(const MestThreads *pool) { return pool->threads; }

static long nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

/* True if the others came while this thread spun. */
static int spin(const MestThreads *pool, unsigned generation, long patience) {
    for (const long end = nanoseconds() + patience;;) {
        for (int i = 0; i < ROUNDS_BETWEEN_LOOKS; i++) {
            if (atomic_load_explicit(&pool->generation, memory_order_acquire) != generation) return 1;
            RELAX();
        }
        if (nanoseconds() >= end) return 0;
    }
}

void mest_barrier(MestThreads *pool, int thread) {
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
    long *patience = &pool->workers[thread].patience;
    if (spin(pool, now, *patience)) {
        if (*patience < LONGEST_NS) *patience *= 2;
        return;
    }
    if (*patience > SHORTEST_NS) *patience /= 2;
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
    if (pool->stacks) munmap(pool->stacks, pool->stacks_bytes);
    free(pool);
}

void mest_threads_close(MestThreads *pool) {
    pool->stop = 1;
    mest_barrier(pool, 0);
    join(pool, pool->threads);
}

/* Maps all stacks and touches them at once: what the plan counts for them is what is held, from the start. */
static int map_stacks(MestThreads *pool, size_t stack_bytes, size_t guard_bytes) {
    const size_t workers = (size_t)pool->threads - 1, each = guard_bytes + stack_bytes;
    if (!workers) return 1;
    char *stacks = mmap(NULL, workers * each, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stacks == MAP_FAILED) return 0;
    pool->stacks = stacks;
    pool->stacks_bytes = workers * each;
    for (size_t i = 0; i < workers; i++) {
        if (mprotect(stacks + i * each, guard_bytes, PROT_NONE)) return 0;
        memset(stacks + i * each + guard_bytes, 0, stack_bytes);
    }
    return 1;
}

static int start(MestThreads *pool, int thread, size_t stack_bytes, size_t guard_bytes) {
    struct Worker *worker = &pool->workers[thread];
    *worker = (struct Worker){.pool = pool, .thread = thread, .patience = LONGEST_NS};
    char *stack = pool->stacks + (size_t)(thread - 1) * (guard_bytes + stack_bytes) + guard_bytes;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes)) return 0;
    int wrong = pthread_attr_setstack(&attributes, stack, stack_bytes);
    if (!wrong) wrong = pthread_create(&worker->id, &attributes, work, worker);
    pthread_attr_destroy(&attributes);
    /* Thread-local variables of whatever else the process has loaded lie on the stack, and may not fit. */
    if (wrong == EINVAL) wrong = pthread_create(&worker->id, NULL, work, worker);
    errno = wrong;
    return !wrong;
}

MestThreads *mest_threads_open(int threads, int64_t stack_bytes) {
    errno = EINVAL;
    if (threads < 1 || threads > 1024 || stack_bytes < 1) return NULL;
    const size_t bytes = sizeof(MestThreads) + sizeof(struct Worker) * (size_t)threads;
    MestThreads *pool = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!pool) return NULL;
    *pool = (MestThreads){.threads = threads};
    pool->workers[0].patience = LONGEST_NS;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), stack = ((size_t)stack_bytes + page - 1) / page * page;
    int started = map_stacks(pool, stack, page);
    while (started && started < threads && start(pool, started, stack, page)) started++;
    if (started == threads) return pool;
    const int wrong = errno;
    if (started > 1) {
        pool->threads = started; /* those that did start leave at their first barrier */
        pool->stop = 1;
        mest_barrier(pool, 0);
    }
    join(pool, started);
    errno = wrong;
    return NULL;
}
