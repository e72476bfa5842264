#include "machine.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "../mest.h"
#include "files.h"
#include "say.h"

enum { ALIGNMENT = 64 };

double milliseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* What of a block was handed out; without a block it counts alone. */
typedef struct {
    char *block;
    uint64_t used;
} Block;

static void *take(Block *b, int64_t count, int64_t item) {
    char *found = b->block ? b->block + b->used : NULL;
    b->used += ((uint64_t)count * (uint64_t)item + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return found;
}

static void refuse_memory(const Plan *plan) {
    char needed[24], budget[24];
    if (!plan->head.budget_bytes) die(OVER_BUDGET, "%s: this system has not the memory that the plan needs", plan->path);
    die(OVER_BUDGET, "%s: memory budget %s: it was planned for %s, and the memory was refused; compile it with a larger budget", plan->path,
        size_text(budget, plan->head.budget_bytes), size_text(needed, plan->head.planned_peak_bytes));
}

/* Asks for all that `place` takes, and lets it take that. */
static void allocate(Machine *m, void (*place)(Machine *, Block *)) {
    Block block = {0};
    place(m, &block);
    if (block.used > SIZE_MAX / 2) refuse_memory(m->plan);
    block.block = mmap(NULL, (size_t)block.used + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block.block == MAP_FAILED) refuse_memory(m->plan);
    block.used = 0;
    place(m, &block);
}

/* Of every sample of the data. */
static void place_samples(Machine *m, Block *b) {
    const int64_t samples = m->data->samples;
    m->sample_labels = take(b, samples, sizeof *m->sample_labels);
    m->order = take(b, samples, sizeof *m->order);
    m->split.train = take(b, samples, sizeof *m->split.train);
    m->test = take(b, samples, 1);
}

static void place_program(Sized *s, Block *b) {
    char *part = take(b, s->row.part_bytes, 1);
    if (part) s->program.arena = part; /* until the part was read there */
}

static void place_network(Machine *m, Block *b) {
    const MestPlan *h = &m->plan->head;
    m->arena = take(b, h->arena_bytes, 1);
    m->tensors = take(b, h->tensors_bytes, 1);
    m->lists = take(b, h->lists_bytes, 1);
    m->mean = take(b, 2 * (int64_t)h->channels, sizeof *m->mean);
    m->names = take(b, h->names_bytes, 1);
    m->images = take(b, h->micro_batch * plan_input(m->plan), sizeof *m->images);
    m->logits = take(b, (int64_t)h->micro_batch * h->classes, sizeof *m->logits);
    m->labels = take(b, h->micro_batch, sizeof *m->labels);
    m->raw = take(b, m->data->sample_bytes, 1);
    for (int i = 0; i < m->sizes; i++) place_program(&m->training[i], b);
    place_program(&m->predicting, b);
}

static Sized find_program(const Machine *m, int trains, int64_t samples) {
    Sized found = {.samples = samples};
    if (plan_program(m->plan, trains, samples, &found.row)) return found;
    if (!trains) plan_damaged(m->plan, "has no program for predictions");
    die(BAD_INPUT, "%s: was compiled for other data: %lld samples to train on leave a piece of %lld, for which it has no program; compile "
        "it with this --data, or without", m->plan->path, (long long)m->split.trained, (long long)samples);
}

static void find_programs(Machine *m, int trains) {
    const int32_t batch = m->plan->head.batch_size, micro = m->plan->head.micro_batch;
    const int64_t trained = m->split.trained;
    const int64_t wanted[] = {trained >= micro ? micro : 0, trained >= batch ? batch % micro : 0, trained % batch % micro};
    for (int i = 0; trains && i < 3; i++) {
        int known = !wanted[i];
        for (int k = 0; k < m->sizes; k++) known |= m->training[k].samples == wanted[i];
        if (!known) m->training[m->sizes++] = find_program(m, 1, wanted[i]);
    }
    m->predicting = find_program(m, 0, micro);
}

static void load_program(const Machine *m, Sized *s) {
    const MestPlan *h = &m->plan->head;
    MestProgram *p = &s->program;
    char *part = p->arena;
    plan_read(m->plan, s->row.part_at, s->row.part_bytes, part);
    if (!mest_program_of(part, &s->row, p)) plan_damaged(m->plan, "names tables outside it");
    p->arena = m->arena;
    p->arena_bytes = h->arena_bytes;
    p->tensors = m->tensors;
    p->tensors_bytes = h->tensors_bytes;
    p->lists = m->lists;
    p->lists_bytes = h->lists_bytes;
}

static void load_network(Machine *m) {
    const MestPlan *h = &m->plan->head;
    plan_read(m->plan, h->tensors_at, h->tensors_stored, m->tensors);
    plan_read(m->plan, h->lists_at, h->lists_bytes, m->lists);
    plan_read(m->plan, h->normalise_at, 2 * (int64_t)h->channels * (int64_t)sizeof *m->mean, m->mean);
    plan_read(m->plan, h->names_at, h->names_bytes, m->names);
    plan_check_inputs(m->plan, m->mean, m->names);
    for (int i = 0; i < m->sizes; i++) load_program(m, &m->training[i]);
    load_program(m, &m->predicting);
}

void machine_open(Machine *m, const Plan *plan, const Data *data, int trains, double hold_out, int64_t seed) {
    const MestPlan *h = &plan->head;
    *m = (Machine){.plan = plan, .data = data};
    allocate(m, place_samples);
    data_labels(data, m->sample_labels, m->test, m->digest);
    data_split(m->sample_labels, m->test, data->samples, h->classes, hold_out, (uint64_t)seed, m->order, &m->split);
    find_programs(m, trains);
    allocate(m, place_network);
    load_network(m);
    errno = 0;
    m->engine = mest_open(h->threads, h->stack_bytes, "");
    if (!m->engine && errno == ENOMEM) refuse_memory(plan);
    if (!m->engine) die(BAD_INPUT, "%s: %d threads cannot be started (%s)", plan->path, h->threads, strerror(errno));
}

const char *machine_class(const Machine *m, int32_t number) {
    const char *name = m->names;
    while (number-- > 0) name += strlen(name) + 1;
    return name;
}

void machine_check(const Machine *m) {
    for (int i = 0; i < m->sizes; i++) plan_check(m->plan, &m->training[i].program, &m->training[i].row);
    plan_check(m->plan, &m->predicting.program, &m->predicting.row);
}

void machine_close(Machine *m) { mest_close(m->engine); }

/* A piece of a batch, augmented as a run asks; as it is for none. */
static void read_piece(Machine *m, const int32_t *samples, int64_t count, const MestState *run) {
    const int64_t input = plan_input(m->plan);
    for (int64_t i = 0; i < count; i++) {
        const Move move = run ? data_move(run->augment, (uint64_t)run->seed, run->epoch, samples[i]) : (Move){0};
        data_read(m->data, m->mean, samples[i], move, m->raw, m->images + i * input);
        m->labels[i] = m->sample_labels[samples[i]];
    }
}

static const Sized *program_for(const Machine *m, int64_t samples) {
    int i = 0;
    while (i < m->sizes - 1 && m->training[i].samples != samples) i++;
    return &m->training[i]; /* size_pieces has one for every piece */
}

Step machine_train(Machine *m, const int32_t *samples, int64_t count, double rate, const MestState *run) {
    const int64_t micro = m->plan->head.micro_batch;
    Step done = {0};
    MestCall call = {.images = m->images, .labels = m->labels, .logits = m->logits, .batch = count, .micro_batches = 1};
    call.learning_rate = (float)rate;
    call.update_count = (int32_t)run->step;
    for (int64_t at = 0; at < count; at += micro) {
        const int64_t size = count - at < micro ? count - at : micro;
        const Sized *piece = program_for(m, size);
        const double start = milliseconds();
        read_piece(m, samples + at, size, run);
        const double read = milliseconds();
        call.begin = at ? piece->row.start : 0;
        call.start = piece->row.start;
        call.body = piece->row.body;
        call.end = at + size == count ? piece->program.count : piece->row.body;
        mest_run(m->engine, &piece->program, &call);
        done.read_ms += read - start;
        done.step_ms += milliseconds() - read;
    }
    done.loss = call.loss / (double)count;
    done.correct = call.correct;
    return done;
}

static void answer(Machine *m) {
    const int32_t end = m->predicting.program.count;
    MestCall call = {.images = m->images, .labels = m->labels, .logits = m->logits, .batch = 1, .micro_batches = 1};
    call.body = call.end = end;
    mest_run(m->engine, &m->predicting.program, &call);
}

void machine_predict(Machine *m, const int32_t *samples, int64_t count) {
    const int64_t input = plan_input(m->plan), micro = m->plan->head.micro_batch;
    read_piece(m, samples, count, NULL);
    memset(m->images + count * input, 0, (size_t)((micro - count) * input) * sizeof *m->images);
    memset(m->labels + count, 0, (size_t)(micro - count) * sizeof *m->labels);
    answer(m);
}

int64_t machine_not_finite(const Machine *m, int64_t count) {
    const int32_t classes = m->plan->head.classes;
    int64_t wrong = 0;
    for (int64_t i = 0; i < count; i++) {
        int good = 1;
        for (int32_t k = 0; k < classes; k++) good &= isfinite(m->logits[i * classes + k]) != 0;
        wrong += !good;
    }
    return wrong;
}

static int32_t likeliest(const float *logits, int32_t classes) {
    int32_t best = 0;
    for (int32_t k = 1; k < classes; k++)
        if (logits[k] > logits[best]) best = k;
    return best;
}

int64_t machine_correct(Machine *m, const int32_t *samples, int64_t count, int (*stop)(void)) {
    const int64_t batch = m->plan->head.batch_size, micro = m->plan->head.micro_batch;
    const int32_t classes = m->plan->head.classes;
    int64_t correct = 0;
    for (int64_t at = 0; at < count;) {
        if (stop()) return -1;
        const int64_t end = at + batch < count ? at + batch : count;
        for (; at < end; at += micro) {
            const int64_t size = end - at < micro ? end - at : micro;
            machine_predict(m, samples + at, size);
            const int64_t wrong = machine_not_finite(m, size);
            if (wrong)
                die(BAD_INPUT, "the network's answers to %lld of %lld samples are not finite: too large a learning rate ruined the weights, "
                    "or the samples are not of the kind that it knows", (long long)wrong, (long long)size);
            for (int64_t i = 0; i < size; i++) correct += likeliest(m->logits + i * classes, classes) == m->labels[i];
        }
        at = end;
    }
    return correct;
}

int machine_ruined(Machine *m) {
    const float *numbers = (const float *)m->tensors;
    for (int64_t i = 0; i < m->plan->head.tensors_bytes / 4; i++)
        if (!isfinite(numbers[i])) return 1;
    answer(m);
    return machine_not_finite(m, m->plan->head.micro_batch) != 0;
}
