/* The library inside a WebAssembly module: what mest.js calls, whose numbers are all doubles or places in the memory.
 *
 * A module is one model. Its memory grows while it is opened and prepared; from then on a request for more is refused. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../include/libmest.h"
#include "../library/memory.h"
#include "../threads.h"

#define EXPORT(name) __attribute__((export_name(#name))) name
#define IMPORT(name) __attribute__((import_module("mest"), import_name(#name)))

enum { PAGE = 65536, ALIGNED = 64 };
enum { PLAN, DATA, STATE, FILES }; /* as mest.js numbers the bytes that it keeps */

IMPORT(read) int host_read(int file, void *into, size_t count, double offset);
IMPORT(write) int host_write(const void *bytes, size_t count);

extern char __heap_base;

static LibmestModel *model;
static int files[FILES] = {PLAN, DATA, STATE}, sealed;
static uintptr_t top;
static char *samples;        /* room for samples of the caller that stay in use, */
static int32_t *labels;      /* what they are, */
static uint8_t *test;        /* which are held out; */
static char *asked;          /* and for those of one call, a batch or a piece, */
static int32_t *asked_labels; /* what they are, */
static float *scores;        /* and what is read in them. */
static double numbers[32];

/* Handed out from the bottom up and never taken back: a model that is of no more use goes with its module. */
void *aligned_alloc(size_t alignment, size_t nbytes) {
    (void)alignment;
    if (!top) top = (uintptr_t)&__heap_base;
    const uintptr_t at = (top + ALIGNED - 1) / ALIGNED * ALIGNED, room = (uintptr_t)__builtin_wasm_memory_size(0) * PAGE;
    if (nbytes > UINT32_MAX - PAGE - at) return NULL;
    if (at + nbytes > room) {
        const size_t pages = (at + nbytes - room + PAGE - 1) / PAGE;
        if (sealed || __builtin_wasm_memory_grow(0, pages) == SIZE_MAX) return NULL;
    }
    top = at + nbytes;
    return (void *)at; /* zeros, as nothing is used twice */
}

void *malloc(size_t nbytes) { return aligned_alloc(ALIGNED, nbytes); }
void *calloc(size_t count, size_t each) { return each && count > SIZE_MAX / each ? NULL : malloc(count * each); }
void free(void *block) { (void)block; }

void *mest_memory_ask(size_t nbytes) { return malloc(nbytes); }
void mest_memory_return(void *block, size_t nbytes) { (void)block, (void)nbytes; }

/* One thread: the module's own. */
struct MestThreads {
    int threads;
};

MestThreads *mest_threads_open(int threads, int64_t stack_bytes) {
    static MestThreads one = {1};
    (void)stack_bytes;
    errno = EINVAL;
    return threads == 1 ? &one : NULL;
}

void mest_threads_close(MestThreads *pool) { (void)pool; }
int mest_threads_count(const MestThreads *pool) { return pool->threads; }
void mest_barrier(MestThreads *pool, int thread) { (void)pool, (void)thread; }

void mest_threads_run(MestThreads *pool, MestJob job, void *argument) {
    (void)pool;
    job(argument, 0);
}

static int read_file(void *context, void *into, size_t count, int64_t offset) {
    return host_read(*(int *)context, into, count, (double)offset);
}

static LibmestSource source(int file, double nbytes, const char *name) {
    return (LibmestSource){.read = read_file, .context = &files[file], .nbytes = (int64_t)nbytes, .name = name};
}

static LibmestFacts facts(void) {
    LibmestFacts found = {.bytes = sizeof found};
    libmest_facts(model, &found);
    return found;
}

const char *EXPORT(web_message)(void) { return libmest_message(model); }

int EXPORT(web_open)(double plan_bytes) {
    const LibmestSource plan = source(PLAN, plan_bytes, "plan");
    return libmest_open(&plan, &model);
}

/* Numbers of the plan, in the order that mest.js names them. */
const double *EXPORT(web_facts)(void) {
    const LibmestFacts f = facts();
    const double found[] = {
        f.channels, f.height, f.width, f.images, f.classes, f.batch_size, f.piece, f.threads, f.sparsity,
        (double)f.planned_peak_bytes, (double)f.budget_bytes, (double)f.arena_bytes, (double)f.tensors_bytes,
        (double)f.state_bytes, f.epochs, f.learning_rate, (double)f.seed,
    };
    return memcpy(numbers, found, sizeof found);
}

int EXPORT(web_use)(double data_bytes) {
    const LibmestSource data = source(DATA, data_bytes, "data");
    return libmest_use(model, &data);
}

/* Samples that one call of web_predict or web_train_step takes at most. */
double EXPORT(web_at_once)(void) {
    const LibmestFacts f = facts();
    return f.piece > f.batch_size ? f.piece : f.batch_size;
}

/* All memory: the library's own, then room for `most` samples of the caller of `number_bytes` a number, and for those of
 * a call, so that a question does not overwrite what a run is over. */
int EXPORT(web_prepare)(int trains, double most, int number_bytes) {
    const LibmestFacts f = facts();
    const int wrong = libmest_prepare(model, trains, (int64_t)most);
    if (wrong) return wrong;
    const double room = most < 1 ? 1 : most, sample = (double)f.channels * f.height * f.width * number_bytes, call = web_at_once();
    if (room * sample > INT32_MAX || call * sample > INT32_MAX) return LIBMEST_OVER_BUDGET;
    samples = malloc((size_t)(room * sample));
    labels = malloc((size_t)room * sizeof *labels);
    test = malloc((size_t)room);
    asked = malloc((size_t)(call * sample));
    asked_labels = malloc((size_t)call * sizeof *asked_labels);
    scores = malloc((size_t)call * (size_t)f.classes * sizeof *scores);
    sealed = 1;
    return samples && labels && test && asked && asked_labels && scores ? LIBMEST_OK : LIBMEST_OVER_BUDGET;
}

void *EXPORT(web_samples)(void) { return samples; }
void *EXPORT(web_labels)(void) { return labels; }
void *EXPORT(web_test)(void) { return test; }
void *EXPORT(web_asked)(void) { return asked; }
void *EXPORT(web_asked_labels)(void) { return asked_labels; }
void *EXPORT(web_scores)(void) { return scores; }
double EXPORT(web_used_bytes)(void) { return (double)top; }
const char *EXPORT(web_class_name)(int number) { return libmest_class_name(model, number); }

static LibmestSamples given(int kind, double count) {
    return (LibmestSamples){.bytes = sizeof(LibmestSamples), .numbers = asked, .kind = kind, .count = (int64_t)count, .labels = asked_labels};
}

int EXPORT(web_predict)(int kind, double count) {
    const LibmestSamples all = given(kind, count);
    return libmest_predict(model, &all, scores);
}

int EXPORT(web_use_samples)(int kind, double count) {
    LibmestSamples all = given(kind, count);
    all.numbers = samples;
    all.labels = labels;
    all.test = test;
    return libmest_use_samples(model, &all);
}

/* What a call has found: two numbers. */
const double *EXPORT(web_found)(void) { return numbers; }

int EXPORT(web_train_step)(int kind, double count, double learning_rate) {
    const LibmestSamples all = given(kind, count);
    int64_t correct = 0;
    const int wrong = libmest_train_step(model, &all, learning_rate, &numbers[0], &correct);
    numbers[1] = (double)correct;
    return wrong;
}

int EXPORT(web_evaluate)(void) {
    int64_t correct = 0, all = 0;
    const int wrong = libmest_evaluate(model, &correct, &all);
    numbers[0] = (double)correct;
    numbers[1] = (double)all;
    return wrong;
}

/* A setting below zero is as compiled. */
int EXPORT(web_begin)(int continues, double epochs, double save_every, double learning_rate, double hold_out, double seed) {
    LibmestSettings wanted = LIBMEST_SETTINGS;
    wanted.epochs = (int32_t)epochs;
    wanted.save_every = (int32_t)save_every;
    wanted.learning_rate = learning_rate;
    wanted.hold_out = hold_out;
    wanted.has_seed = seed >= 0;
    wanted.seed = seed >= 0 ? (int64_t)seed : 0;
    return continues ? libmest_continue(model, &wanted) : libmest_begin(model, &wanted);
}

/* Where the run is after its next batch is in `web_found`, in the order that mest.js names it. */
int EXPORT(web_advance)(void) {
    LibmestProgress p = {.bytes = sizeof p};
    const int wrong = libmest_advance(model, &p);
    const double found[] = {
        p.phase, p.epoch, p.epochs, p.epoch_ended, p.due, (double)p.step, (double)p.samples, (double)p.correct, p.loss,
        p.learning_rate, p.epoch_loss, p.epoch_accuracy, p.accuracy_before, p.accuracy_after, (double)p.trained,
        (double)p.held_out, p.step_ms, p.read_ms, (double)p.removed, (double)p.grown, (double)p.mutations,
        p.held_out_accuracy, p.gained, p.best_epoch, p.stopped_early,
    };
    memcpy(numbers, found, sizeof found);
    return wrong;
}

static int write_out(void *context, const void *bytes, size_t count) {
    (void)context;
    return host_write(bytes, count);
}

int EXPORT(web_save)(void) { return libmest_save(model, write_out, NULL); }

int EXPORT(web_load)(double state_bytes) {
    const LibmestSource state = source(STATE, state_bytes, "state");
    return libmest_load(model, &state);
}

int EXPORT(web_reset)(void) { return libmest_reset(model); }
