/* Runs a checked program: all threads walk the list of steps together, with a barrier after each. */
#define _POSIX_C_SOURCE 199309L
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "cpu.h"
#include "isa.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* The build passes MEST_SETS, for example X(avx512) X(avx2) X(sse2) X(scalar): best first, scalar last. */
#define X(name) extern const MestIsa mest_isa_##name;
MEST_SETS
#undef X
#define X(name) &mest_isa_##name,
static const MestIsa *const sets[] = {MEST_SETS};
#undef X
enum { SETS = sizeof sets / sizeof *sets };

static int runs_here(const char *name) {
#if defined(__x86_64__)
    if (!strcmp(name, "avx512")) return cpu_runs(1);
    if (!strcmp(name, "avx2")) return cpu_runs(0);
#endif
    (void)name;
    return 1;
}

typedef struct {
    MestThreads *threads;
    const MestIsa *isa;
    long first_cache;
} Engine;

const char *mest_digest(void) { return MEST_DIGEST; }

int mest_instruction_sets(char *names, int bytes) {
    int used = 0;
    for (int i = 0; i < SETS; i++) {
        const int n = (int)strlen(sets[i]->name);
        if (!runs_here(sets[i]->name) || used + n + 2 > bytes) continue;
        memcpy(names + used, sets[i]->name, (size_t)n);
        used += n;
        names[used++] = ' ';
    }
    if (used) names[used - 1] = 0;
    return used;
}

void *mest_open(int threads, int64_t stack_bytes, const char *instruction_set) {
    const MestIsa *isa = NULL;
    for (int i = 0; i < SETS && !isa; i++)
        if (runs_here(sets[i]->name) && (!*instruction_set || !strcmp(sets[i]->name, instruction_set))) isa = sets[i];
    if (!isa) return NULL;
    Engine *engine = malloc(sizeof *engine);
    if (!engine) return NULL;
    engine->isa = isa;
    engine->first_cache = cpu_first_cache();
    engine->threads = mest_threads_open(threads, stack_bytes);
    if (engine->threads) return engine;
    free(engine);
    return NULL;
}

void mest_close(void *handle) {
    Engine *engine = handle;
    mest_threads_close(engine->threads);
    free(engine);
}

const char *mest_isa_name(void *handle) { return ((Engine *)handle)->isa->name; }

/* Denormals count as zero during a call, on every thread; the caller's mode comes back afterwards. */
static uint64_t flush_denormals(void) {
#if defined(__x86_64__)
    const uint64_t before = _mm_getcsr();
    _mm_setcsr((unsigned)before | 0x8040u);
    return before;
#elif defined(__aarch64__)
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | (1u << 24)));
    return before;
#else
    return 0;
#endif
}

static void restore_denormals(uint64_t before) {
#if defined(__x86_64__)
    _mm_setcsr((unsigned)before);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
#else
    (void)before;
#endif
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct {
    Engine *engine;
    const MestProgram *program;
    MestCall *call;
} Run;

static void one_step(const Run *run, int thread, int micro_batch, int32_t index) {
    const double start = run->call->seconds && !thread ? seconds() : 0;
    run->engine->isa->run_step(run->program, run->call, run->engine->threads, run->engine->first_cache, thread,
                                micro_batch, index);
    mest_barrier(run->engine->threads, thread);
    if (run->call->seconds && !thread) run->call->seconds[index] += seconds() - start;
}

static void run_all(void *argument, int thread) {
    const Run *run = argument;
    const uint64_t mode = flush_denormals();
    for (int32_t i = run->call->begin; i < run->call->start; i++) one_step(run, thread, 0, i);
    for (int m = 0; m < run->call->micro_batches; m++)
        for (int32_t i = run->call->start; i < run->call->body; i++) one_step(run, thread, m, i);
    for (int32_t i = run->call->body; i < run->call->end; i++) one_step(run, thread, 0, i);
    restore_denormals(mode);
}

int mest_check(const MestProgram *program, int threads) { return mest_first_wrong_step(program, threads); }

int mest_run(void *handle, const MestProgram *program, MestCall *call) {
    Run run = {handle, program, call};
    if (call->begin < 0 || call->start < call->begin || call->body < call->start ||
        call->end < call->body || call->end > program->count)
        return 1;
    mest_threads_run(run.engine->threads, run_all, &run);
    return 0;
}
