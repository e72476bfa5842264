#include "mutating.h"

#include <string.h>

#include "../chance.h"
#include "../mest.h"

enum { MUTATION_KEY = 4 }; /* edge/run/training.py */

/* ---- Where weights lie ---- */

/* The parts of a weight at their places; 0 where one lies outside of its block, or over the counts. */
static int place(const Machine *m, const MestPlanWeight *row, MestWeight *w) {
    const MestPlan *h = &m->plan->head;
    const int64_t at[MEST_WEIGHT_PARTS] = {row->values,   row->gradient,  row->first,    row->second,  row->starts,   row->columns,
                                           row->t_starts, row->t_columns, row->t_places, row->kernels, row->patterns, row->channels};
    int64_t bytes[MEST_WEIGHT_PARTS];
    void *parts[MEST_WEIGHT_PARTS] = {0};
    *w = (MestWeight){
        .capacity = row->capacity, .form = row->form, .index_bytes = row->index_bytes, .block_height = row->block_height,
        .rows = row->rows, .in_channels = row->in_channels, .groups = row->groups, .kernel_h = row->kernel_h,
        .kernel_w = row->kernel_w, .stride_h = row->stride_h, .stride_w = row->stride_w, .dilation_h = row->dilation_h,
        .dilation_w = row->dilation_w,
        .t_starts = row->t_starts < 0 ? NULL : (uint32_t *)m->lists, /* there or not is all that sizes ask for */
    };
    if (!mest_weight_bytes(w, bytes)) return 0;
    for (int i = 0; i < MEST_WEIGHT_PARTS; i++) {
        const int listed = i >= MEST_WEIGHT_ARRAYS;
        const int64_t first = listed ? (int64_t)sizeof(int64_t) * h->weight_count : 0, end = listed ? h->mutated_bytes : h->tensors_bytes;
        if (!bytes[i] || at[i] < 0) continue;
        if (at[i] % 4 || at[i] < first || bytes[i] > end || at[i] > end - bytes[i]) return 0;
        parts[i] = (listed ? m->lists : m->tensors) + at[i];
    }
    w->values = parts[0];
    w->gradient = parts[1];
    w->first = parts[2];
    w->second = parts[3];
    w->starts = parts[4];
    w->columns = parts[5];
    w->t_starts = parts[6];
    w->t_columns = parts[7];
    w->t_places = parts[8];
    w->kernels = parts[9];
    w->patterns = parts[10];
    w->channels = parts[11];
    return 1;
}

int mest_mutating_open(Machine *m) {
    const MestPlan *h = &m->plan->head;
    int wrong = mest_plan_read(m->plan, h->phases_at, h->phase_count * (int64_t)sizeof *m->phases, m->phases);
    if (!wrong) wrong = mest_plan_read(m->plan, h->units_at, h->phase_count * h->weight_count * (int64_t)sizeof *m->units, m->units);
    for (int64_t i = 0; i < h->weight_count && !wrong; i++) {
        MestPlanWeight row;
        wrong = mest_plan_read(m->plan, h->weights_at + i * (int64_t)sizeof row, sizeof row, &row);
        if (!wrong && !place(m, &row, m->weights + i)) wrong = mest_plan_damaged(m->plan, "has weights that lie outside it");
    }
    return wrong;
}

/* ---- What programs know of them ---- */

static int64_t *counts_of(const Machine *m) { return (int64_t *)(void *)m->lists; }

/* The weight whose values an operand names, or NULL. */
static const MestWeight *named(const Machine *m, const MestProgram *p, int32_t operand) {
    if (operand < 1 || operand > p->operand_count || p->operands[operand - 1].segment != MEST_SEGMENT_TENSORS) return NULL;
    for (int64_t i = 0; i < m->plan->head.weight_count; i++)
        if ((const char *)m->weights[i].values == m->tensors + p->operands[operand - 1].offset) return m->weights + i;
    return NULL;
}

void mest_mutating_tell(const Machine *m, Sized *s) {
    if (!s->row.samples || !m->plan->head.weight_count) return;
    MestPlannedConv *convs = (MestPlannedConv *)(void *)(s->tables + s->row.convs);
    MestPlannedParam *params = (MestPlannedParam *)(void *)(s->tables + s->row.params);
    for (int32_t i = 0; i < s->program.conv_count; i++) {
        const MestWeight *w = named(m, &s->program, convs[i].values);
        if (w && w->form == MEST_FORM_CHANNEL) convs[i].in_channels = (int32_t)(w->count / ((int64_t)w->rows * w->kernel_h * w->kernel_w));
        else if (w) convs[i].entries = w->count / w->block_height;
    }
    for (int32_t i = 0; i < s->program.param_count; i++) {
        const MestWeight *w = named(m, &s->program, params[i].values);
        if (w) params[i].count = w->count;
    }
}

/* Every program in line with the counts, and looked at again. */
static int follow(Machine *m) {
    Sized *const programs[] = {&m->predicting, &m->training[0], &m->training[1], &m->training[2]};
    int wrong = DONE;
    for (unsigned i = 0; i < sizeof programs / sizeof *programs && !wrong; i++) {
        Sized *s = programs[i];
        if (!s->row.samples || !s->program.steps) continue; /* not there, or not read yet */
        mest_mutating_tell(m, s);
        wrong = mest_plan_check(m->plan, &s->program, &s->row);
    }
    return wrong;
}

int mest_mutating_accept(Machine *m) {
    for (int64_t i = 0; i < m->plan->head.weight_count; i++) {
        MestWeight *w = m->weights + i;
        w->count = counts_of(m)[i];
        if (!mest_weight_good(w) || mest_derive(w) != MEST_MUTATION_DONE)
            return mest_fault(m->fault, DAMAGED, "%s: index lists of a weight that mutates do not ascend within it", m->plan->source.name);
    }
    return m->plan->head.weight_count ? follow(m) : DONE;
}

/* ---- A mutation ---- */

static int64_t phase_at(const Machine *m, double reached) {
    int64_t phase = 0;
    while (phase + 1 < m->plan->head.phase_count && !(reached < m->phases[phase].until)) phase++;
    return phase;
}

int mest_mutating_at_target(const Machine *m, double reached) { return m->phases[phase_at(m, reached)].at_target != 0; }

static int mutate(Machine *m, int64_t number, const MestPlanUnits *to, int64_t seed, Mutated *done) {
    MestMutation how = {
        .left = to->left, .grown = to->grown, .seed = seed + number, .scratch = m->arena, .scratch_bytes = m->plan->head.arena_bytes,
        .gradient_weight = (float)m->plan->head.gradient_weight,
    };
    const int end = mest_mutate(m->weights + number, &how);
    counts_of(m)[number] = m->weights[number].count;
    done->not_finite = end == MEST_MUTATION_NOT_FINITE;
    if (end != MEST_MUTATION_DONE && !done->not_finite) return mest_plan_damaged(m->plan, "has a weight that cannot mutate as it says");
    done->removed += how.removed;
    done->grown += how.added;
    return DONE;
}

int mest_mutating_step(Machine *m, const MestState *run, double reached, Mutated *done) {
    const MestPlan *h = &m->plan->head;
    *done = (Mutated){0};
    if (!h->weight_count) return DONE;
    const int64_t phase = phase_at(m, reached);
    const int due = m->phases[phase].moves ? run->step % h->mutate_every == 0 : run->off_target;
    if (!due) return DONE;
    const uint64_t numbers[] = {(uint64_t)run->seed, MUTATION_KEY, (uint64_t)run->step};
    const int64_t seed = (int64_t)(chance_mix(numbers, 3) & 0x7FFFFFFF);
    int wrong = DONE;
    for (int64_t i = 0; i < h->weight_count && !wrong && !done->not_finite; i++)
        wrong = mutate(m, i, m->units + phase * h->weight_count + i, seed, done);
    done->done = 1;
    const int unfit = follow(m);
    return wrong ? wrong : unfit;
}
