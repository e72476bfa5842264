#include "machine.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "../mest.h"
#include "forgetting.h"
#include "memory.h"
#include "mutating.h"

enum { ALIGNMENT = 64 };

double mest_machine_now(void) {
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

static int refuse_memory(const Machine *m) {
    const MestPlan *h = &m->plan->head;
    const char *name = m->plan->source.name;
    char needed[24], budget[24];
    if (!h->budget_bytes) return mest_fault(m->fault, OVER_BUDGET, "%s: this system has not the memory that the plan needs", name);
    return mest_fault(m->fault, OVER_BUDGET,
                      "%s: memory budget %s: it was planned for %s, and the memory was refused; compile it with a larger budget", name,
                      mest_size_text(budget, h->budget_bytes), mest_size_text(needed, h->planned_peak_bytes));
}

/* Of every sample of the data. */
static void place_samples(Machine *m, Block *b) {
    m->sample_labels = take(b, m->most_samples, sizeof *m->sample_labels);
    m->order = take(b, m->most_samples, sizeof *m->order);
    m->split.train = take(b, m->most_samples, sizeof *m->split.train);
    m->test = take(b, m->most_samples, 1);
}

static void place(Machine *m, Block *b) {
    const MestPlan *h = &m->plan->head;
    const int64_t input = mest_plan_input(m->plan);
    place_samples(m, b);
    m->arena = take(b, h->picture_bytes, 1); /* the arena, and of a picture that is decoded there what goes beyond it */
    take(b, mest_forgetting_bytes(m->plan, m->most_samples > 1 ? m->most_samples : 1), 1); /* end where the tensors begin */
    m->tensors = take(b, h->tensors_bytes, 1);
    m->lists = take(b, h->lists_bytes, 1); /* follow at once: the tensors end at a multiple of the alignment */
    m->weights = take(b, h->weight_count, sizeof *m->weights);
    m->phases = take(b, h->phase_count, sizeof *m->phases);
    m->units = take(b, h->phase_count * h->weight_count, sizeof *m->units);
    m->milestones = take(b, h->milestone_count, sizeof *m->milestones);
    m->mean = take(b, 2 * (int64_t)h->channels, sizeof *m->mean);
    m->names = take(b, h->names_bytes, 1);
    m->images = take(b, h->micro_batch * input, sizeof *m->images);
    m->logits = take(b, (int64_t)h->micro_batch * h->classes, sizeof *m->logits);
    m->labels = take(b, h->micro_batch, sizeof *m->labels);
    m->raw = take(b, input, sizeof(float));
    for (int i = 0; i < SIZES - 1; i++) m->training[i].tables = take(b, m->training[i].row.part_bytes, 1);
    m->training[SIZES - 1].tables = take(b, m->largest_part, 1);
    m->predicting.tables = take(b, m->predicting.row.part_bytes, 1);
}

/* Asks for all that `place` takes, and lets it take that. */
static int allocate(Machine *m) {
    Block block = {0};
    place(m, &block);
    if (block.used > SIZE_MAX / 2) return refuse_memory(m);
    m->block_bytes = (size_t)block.used + 1;
    m->block = block.block = mest_memory_ask(m->block_bytes);
    if (!m->block) return refuse_memory(m);
    block.used = 0;
    place(m, &block);
    return DONE;
}

/* The program for pieces of `samples`; without one, none. */
static int find(const Machine *m, int trains, int64_t samples, Sized *found) {
    found->samples = samples;
    return samples ? mest_plan_program(m->plan, trains, samples, &found->row) : DONE;
}

static int find_programs(Machine *m, int trains) {
    const int32_t batch = m->plan->head.batch_size, micro = m->plan->head.micro_batch;
    int wrong = find(m, 0, micro, &m->predicting);
    if (!wrong && !m->predicting.row.samples) return mest_plan_damaged(m->plan, "has no program for predictions");
    if (wrong || !trains) return wrong;
    if (!wrong) wrong = find(m, 1, micro, &m->training[0]);
    if (!wrong) wrong = find(m, 1, batch % micro, &m->training[1]);
    return wrong ? wrong : mest_plan_largest_part(m->plan, micro, &m->largest_part);
}

/* Reads a program's tables to their place and looks at all of them; nothing where there is none. */
static int load_program(const Machine *m, Sized *s) {
    const MestPlan *h = &m->plan->head;
    MestProgram *p = &s->program;
    if (!s->row.samples) return DONE;
    const int wrong = mest_plan_read(m->plan, s->row.part_at, s->row.part_bytes, s->tables);
    if (wrong) return wrong;
    if (!mest_program_of(s->tables, &s->row, p)) return mest_plan_damaged(m->plan, "names tables outside it");
    p->arena = m->arena;
    p->arena_bytes = h->arena_bytes;
    p->tensors = m->tensors;
    p->tensors_bytes = h->tensors_bytes;
    p->lists = m->lists;
    p->lists_bytes = h->lists_bytes;
    mest_mutating_tell(m, s);
    return mest_plan_check(m->plan, p, &s->row);
}

int64_t mest_machine_kept(const Plan *plan) { return plan->head.tensors_bytes + plan->head.mutated_bytes; }

int mest_machine_reset(Machine *m) {
    const MestPlan *h = &m->plan->head;
    memset(m->tensors + h->tensors_stored, 0, (size_t)(h->tensors_bytes - h->tensors_stored));
    int wrong = mest_plan_read(m->plan, h->tensors_at, h->tensors_stored, m->tensors);
    if (!wrong) wrong = mest_plan_read(m->plan, h->lists_at, h->mutated_bytes, m->lists);
    return wrong ? wrong : mest_mutating_accept(m);
}

static int load_network(Machine *m) {
    const Plan *plan = m->plan;
    const MestPlan *h = &plan->head;
    int wrong = mest_plan_read(plan, h->tensors_at, h->tensors_stored, m->tensors); /* zeros are behind them */
    if (!wrong) wrong = mest_plan_read(plan, h->lists_at, h->lists_bytes, m->lists);
    if (!wrong) wrong = mest_plan_read(plan, h->normalise_at, 2 * (int64_t)h->channels * (int64_t)sizeof *m->mean, m->mean);
    if (!wrong) wrong = mest_plan_read(plan, h->names_at, h->names_bytes, m->names);
    if (!wrong) wrong = mest_plan_read(plan, h->milestones_at, h->milestone_count * (int64_t)sizeof *m->milestones, m->milestones);
    if (!wrong) wrong = mest_plan_check_inputs(plan, m->mean, m->names);
    if (!wrong) wrong = mest_plan_check_milestones(plan, m->milestones);
    if (!wrong) wrong = mest_mutating_open(m);
    if (!wrong) wrong = mest_mutating_accept(m);
    for (int i = 0; i < SIZES - 1 && !wrong; i++) wrong = load_program(m, &m->training[i]);
    return wrong ? wrong : load_program(m, &m->predicting);
}

int mest_machine_open(Machine *m, const Plan *plan, int trains, int64_t most_samples) {
    const MestPlan *h = &plan->head;
    *m = (Machine){.plan = plan, .fault = plan->fault, .most_samples = most_samples};
    int wrong = find_programs(m, trains);
    if (!wrong) wrong = allocate(m);
    if (!wrong) wrong = load_network(m);
    if (wrong) return wrong;
    errno = 0;
    m->engine = mest_open(h->threads, h->stack_bytes, "");
    if (!m->engine && errno == ENOMEM) return refuse_memory(m);
    if (m->engine) return DONE;
    return mest_fault(m->fault, BAD_INPUT, "%s: %d threads cannot be started (%s)", plan->source.name, h->threads, strerror(errno));
}

void mest_machine_close(Machine *m) {
    if (m->engine) mest_close(m->engine);
    mest_memory_return(m->block, m->block_bytes);
    *m = (Machine){0};
}

int mest_machine_label(Machine *m, const Data *data) {
    m->split.trained = m->split.held = 0;
    return mest_data_labels(data, m->sample_labels, m->test, m->digest);
}

void mest_machine_split(Machine *m, const Data *data, double hold_out, int64_t seed) {
    const int32_t classes = m->plan->head.classes;
    mest_data_split(m->sample_labels, m->test, data->samples, classes, hold_out, (uint64_t)seed, m->order, &m->split);
}

static const Sized *program_for(const Machine *m, int64_t samples) {
    for (int i = 0; i < SIZES; i++)
        if (m->training[i].samples == samples && m->training[i].row.samples) return &m->training[i];
    return NULL;
}

int mest_machine_ready(Machine *m, int64_t samples) {
    Sized *last = &m->training[SIZES - 1];
    if (!samples || program_for(m, samples)) return DONE;
    int wrong = find(m, 1, samples, last);
    if (!wrong && last->row.samples) wrong = load_program(m, last);
    if (!wrong && last->row.samples) return DONE;
    *last = (Sized){.tables = last->tables}; /* nothing runs of it */
    if (wrong) return wrong;
    return mest_fault(m->fault, BAD_INPUT, "%s: was compiled for other data: there is a piece of %lld samples, for which it has no program; "
                      "compile it with this %s, or without", m->plan->source.name, (long long)samples, mest_named(m->fault, "--data", "data"));
}

const char *mest_machine_class(const Machine *m, int32_t number) {
    const char *name = m->names;
    while (number-- > 0) name += strlen(name) + 1;
    return name;
}

static int read_one(Machine *m, Reading of, int64_t i) {
    const MestState *run = of.run;
    const int32_t number = of.numbers ? of.numbers[i] : (int32_t)(of.first + i);
    const Move move = run ? mest_data_move(run->augment, (uint64_t)run->seed, run->epoch, number) : (Move){0};
    const int64_t at = i % m->plan->head.micro_batch;
    const int32_t *own = of.data->arrays.labels;
    m->labels[at] = of.numbers ? m->sample_labels[number] : own ? own[number] : 0;
    return mest_data_read(of.data, m->mean, number, move, m->raw, m->images + at * mest_plan_input(m->plan));
}

/* A piece of a batch; `first` is a multiple of the micro-batch. */
static int read_piece(Machine *m, Reading of, int64_t first, int64_t count) {
    int wrong = DONE;
    for (int64_t i = 0; i < count && !wrong; i++) wrong = read_one(m, of, first + i);
    return wrong;
}

int mest_machine_train(Machine *m, Reading of, int64_t count, double rate, int64_t step, Step *done) {
    const int64_t micro = m->plan->head.micro_batch;
    *done = (Step){0};
    MestCall call = {.images = m->images, .labels = m->labels, .logits = m->logits, .batch = count, .micro_batches = 1};
    call.learning_rate = (float)rate;
    call.update_count = (int32_t)step;
    for (int64_t at = 0; at < count; at += micro) {
        const int64_t size = count - at < micro ? count - at : micro;
        const Sized *piece = program_for(m, size); /* machine_ready was asked before */
        const double start = mest_machine_now();
        const int wrong = read_piece(m, of, at, size);
        if (wrong) return wrong;
        const double read = mest_machine_now();
        call.begin = at ? piece->row.start : 0;
        call.start = piece->row.start;
        call.body = piece->row.body;
        call.end = at + size == count ? piece->program.count : piece->row.body;
        mest_run(m->engine, &piece->program, &call);
        done->read_ms += read - start;
        done->step_ms += mest_machine_now() - read;
    }
    done->loss = call.loss / (double)count;
    done->correct = call.correct;
    return DONE;
}

static void answer(Machine *m) {
    const int32_t end = m->predicting.program.count;
    MestCall call = {.images = m->images, .labels = m->labels, .logits = m->logits, .batch = 1, .micro_batches = 1};
    call.body = call.end = end;
    mest_run(m->engine, &m->predicting.program, &call);
}

int mest_machine_predict(Machine *m, Reading of, int64_t count) {
    const int64_t input = mest_plan_input(m->plan), micro = m->plan->head.micro_batch;
    const int wrong = read_piece(m, of, 0, count);
    if (wrong) return wrong;
    memset(m->images + count * input, 0, (size_t)((micro - count) * input) * sizeof *m->images);
    memset(m->labels + count, 0, (size_t)(micro - count) * sizeof *m->labels);
    answer(m);
    return DONE;
}

static int64_t not_finite(const Machine *m, int64_t count) {
    const int32_t classes = m->plan->head.classes;
    int64_t wrong = 0;
    for (int64_t i = 0; i < count; i++) {
        int good = 1;
        for (int32_t k = 0; k < classes; k++) good &= isfinite(m->logits[i * classes + k]) != 0;
        wrong += !good;
    }
    return wrong;
}

int mest_machine_finite(const Machine *m, int64_t count) {
    const int64_t wrong = not_finite(m, count);
    if (!wrong) return DONE;
    return mest_fault(m->fault, BAD_INPUT,
                      "the network's answers to %lld of %lld samples are not finite: too large a learning rate ruined the weights, "
                      "or the samples are not of the kind that it knows", (long long)wrong, (long long)count);
}

int32_t mest_machine_likeliest(const Machine *m, int64_t row) {
    const int32_t classes = m->plan->head.classes;
    const float *logits = m->logits + row * classes;
    int32_t best = 0;
    for (int32_t k = 1; k < classes; k++)
        if (logits[k] > logits[best]) best = k;
    return best;
}

int mest_machine_correct(Machine *m, const Data *data, const int32_t *samples, int64_t count, int64_t *correct) {
    const int64_t micro = m->plan->head.micro_batch;
    for (int64_t at = 0; at < count; at += micro) {
        const int64_t size = count - at < micro ? count - at : micro;
        int wrong = mest_machine_predict(m, (Reading){.data = data, .numbers = samples + at}, size);
        if (!wrong) wrong = mest_machine_finite(m, size);
        if (wrong) return wrong;
        for (int64_t i = 0; i < size; i++) *correct += mest_machine_likeliest(m, i) == m->labels[i];
    }
    return DONE;
}

int mest_machine_ruined(Machine *m) {
    const float *numbers = (const float *)m->tensors;
    for (int64_t i = 0; i < m->plan->head.tensors_bytes / 4; i++)
        if (!isfinite(numbers[i])) return 1;
    answer(m);
    return not_finite(m, m->plan->head.micro_batch) != 0;
}
