#include "plan.h"

#include <math.h>
#include <string.h>

#include "../mest.h"

int mest_plan_damaged(const Plan *plan, const char *what) {
    return mest_fault(plan->fault, DAMAGED, "%s: %s; copy the file again, or compile it again", plan->source.name, what);
}

static int within(double number, double low, double high) { return number >= low && number <= high; }

/* A part of the file of `count` items. */
static int lies_within(const MestPlan *h, int64_t at, int64_t count, size_t item) {
    return mest_table("", h->nbytes, at, count, item) != NULL;
}

static int settings_good(const MestPlan *h) {
    return h->epochs >= 1 && h->save_every >= 1 && h->schedule >= 0 && h->schedule < MEST_SCHEDULES && h->augment >= 0 && h->augment < MEST_AUGMENTS &&
           (h->images || !h->augment) && within(h->learning_rate, 0, 1e30) &&
           h->mutate_every >= (h->weight_count > 0) && within(h->gradient_weight, 0, 1e30) && within(h->warmup, 0, 1) && within(h->hold_out, 0, 1) && within(h->sparsity, 0, 1) &&
           h->patience >= 0 && h->drop_after >= 0 && h->milestone_count >= 0 && h->milestone_count <= MEST_MOST_MILESTONES &&
           h->gamma > 0 && within(h->gamma, 0, 1);
}

static int sizes_good(const MestPlan *h) {
    const int64_t most = (int64_t)1 << MEST_MOST_BLOCK_BITS;
    if (h->batch_size < 1 || h->batch_size > MEST_MOST_BATCH || h->micro_batch < 1 || h->micro_batch > h->batch_size) return 0;
    if (h->threads < 1 || h->threads > MEST_MOST_THREADS || h->classes < 1 || h->classes > MEST_MOST_CLASSES) return 0;
    if (h->channels < 1 || h->height < 1 || h->width < 1 || h->channels > MEST_MOST_INPUT || h->height > MEST_MOST_INPUT) return 0;
    if ((int64_t)h->channels * h->height > MEST_MOST_INPUT / h->width) return 0;
    if (h->arena_bytes < 0 || h->arena_bytes > most || h->tensors_bytes < 0 || h->tensors_bytes > most) return 0;
    if (h->stack_bytes < 1 << 14 || h->stack_bytes > 1 << 26 || h->budget_bytes < 0 || h->planned_peak_bytes < 0) return 0;
    if (h->tensors_bytes % 64 || h->mutated_bytes < 0 || h->mutated_bytes > h->lists_bytes) return 0;
    if (h->weight_count < 0 || h->weight_count > h->mutated_bytes / 8 || h->phase_count < 0 || h->phase_count > MEST_MOST_PHASES) return 0;
    if (h->weight_count && !h->phase_count) return 0;
    if (h->picture_bytes < h->arena_bytes || h->picture_bytes > most) return 0;
    return h->tensors_stored <= h->tensors_bytes && (h->images == 0 || h->images == 1);
}

static int preprocess_good(const MestPlan *h) {
    const int32_t sides[] = {h->resize_short, h->resize_height, h->resize_width, h->crop_height, h->crop_width};
    for (int i = 0; i < 5; i++)
        if (sides[i] < 0 || sides[i] > MEST_MOST_INPUT) return 0;
    if (h->images && h->channels != 1 && h->channels != 3) return 0;
    return !h->resize_height == !h->resize_width && !h->crop_height == !h->crop_width && h->interpolation >= 0 &&
           h->interpolation < MEST_INTERPOLATIONS;
}

static int parts_good(const MestPlan *h) {
    return lies_within(h, h->facts_at, h->facts_bytes, 1) && lies_within(h, h->chosen_at, h->chosen_bytes, 1) &&
           lies_within(h, h->record_at, h->record_bytes, 1) && lies_within(h, h->names_at, h->names_bytes, 1) && lies_within(h, h->normalise_at, 2 * (int64_t)h->channels, 4) &&
           lies_within(h, h->programs_at, h->program_count, sizeof(MestPlanProgram)) &&
           lies_within(h, h->weights_at, h->weight_count, sizeof(MestPlanWeight)) &&
           lies_within(h, h->milestones_at, h->milestone_count, sizeof(int64_t)) &&
           lies_within(h, h->phases_at, h->phase_count, sizeof(MestPlanPhase)) &&
           lies_within(h, h->units_at, h->phase_count * h->weight_count, sizeof(MestPlanUnits)) &&
           lies_within(h, h->tensors_at, h->tensors_stored, 1) && lies_within(h, h->lists_at, h->lists_bytes, 1);
}

int mest_plan_open(Plan *plan) {
    MestPlan *h = &plan->head;
    const int64_t nbytes = plan->source.from.nbytes;
    int64_t digest[4];
    if (nbytes < (int64_t)sizeof *h || !mest_source_read(&plan->source, h, sizeof *h, 0) || h->magic != MEST_PLAN_MAGIC)
        return mest_plan_damaged(plan, "is no compiled plan");
    if (h->version != MEST_FILE_VERSION || h->declared != MEST_FILES_DIGEST)
        return mest_plan_damaged(plan, "was compiled by another version of mest, which its own mest-run reads");
    if (h->nbytes != nbytes) return mest_plan_damaged(plan, "has another size than it says; it was truncated");
    MestPlan blank = *h;
    blank.sha256_a = blank.sha256_b = blank.sha256_c = blank.sha256_d = 0;
    mest_source_digest(&plan->source, &blank, sizeof blank, digest);
    if (memcmp(digest, &h->sha256_a, sizeof digest)) return mest_plan_damaged(plan, "does not match its SHA-256; it was altered");
    if (!sizes_good(h) || !preprocess_good(h) || !parts_good(h) || !settings_good(h)) return mest_plan_damaged(plan, "holds a number out of its range");
    return DONE;
}

int64_t mest_plan_input(const Plan *plan) { return (int64_t)plan->head.channels * plan->head.height * plan->head.width; }

int mest_plan_read(const Plan *plan, int64_t at, int64_t nbytes, void *into) {
    if (mest_source_read(&plan->source, into, (size_t)nbytes, at)) return DONE;
    return mest_plan_damaged(plan, "became shorter while it was read");
}

static int read_row(const Plan *plan, int64_t number, MestPlanProgram *row) {
    const int wrong = mest_plan_read(plan, plan->head.programs_at + number * (int64_t)sizeof *row, sizeof *row, row);
    if (wrong) return wrong;
    return lies_within(&plan->head, row->part_at, row->part_bytes, 1) ? DONE : mest_plan_damaged(plan, "names tables outside it");
}

static int64_t samples_of(const MestPlanProgram *row) { return (int64_t)row->groups * row->samples; }

int mest_plan_program(const Plan *plan, int trains, int64_t samples, MestPlanProgram *row) {
    for (int64_t i = 0; i < plan->head.program_count; i++) {
        const int wrong = read_row(plan, i, row);
        if (wrong) return wrong;
        if (!row->trains == !trains && samples_of(row) == samples) return DONE;
    }
    *row = (MestPlanProgram){0};
    return DONE;
}

int mest_plan_largest_part(const Plan *plan, int64_t samples, int64_t *nbytes) {
    *nbytes = 0;
    for (int64_t i = 0; i < plan->head.program_count; i++) {
        MestPlanProgram row;
        const int wrong = read_row(plan, i, &row);
        if (wrong) return wrong;
        if (row.trains && samples_of(&row) < samples && row.part_bytes > *nbytes) *nbytes = row.part_bytes;
    }
    return DONE;
}

int mest_plan_check(const Plan *plan, const MestProgram *p, const MestPlanProgram *row) {
    const MestPlan *h = &plan->head;
    if (p->in_channels != h->channels || p->in_h != h->height || p->in_w != h->width)
        return mest_plan_damaged(plan, "has a program for samples of another size");
    if (row->start < 0 || row->body < row->start || row->body > p->count) return mest_plan_damaged(plan, "has a program of other parts");
    for (int32_t i = 0; i < p->operand_count; i++)
        if (p->operands[i].segment == MEST_SEGMENT_HERE) return mest_plan_damaged(plan, "names memory by its address");
    for (int32_t i = 0; i < p->count; i++)
        if (p->steps[i].classes && p->steps[i].classes != h->classes) return mest_plan_damaged(plan, "has a step of other classes");
    const int wrong = mest_check(p, h->threads);
    if (!wrong) return DONE;
    return mest_fault(plan->fault, DAMAGED, "%s: step %d of %d has sizes or indices out of range; compile it again", plan->source.name,
                      wrong, p->count);
}

int mest_plan_check_milestones(const Plan *plan, const int64_t *milestones) {
    for (int64_t i = 0; i < plan->head.milestone_count; i++)
        if (milestones[i] < 1 || (i && milestones[i] <= milestones[i - 1])) return mest_plan_damaged(plan, "has milestones that do not rise");
    return DONE;
}

int mest_plan_check_inputs(const Plan *plan, const float *mean, const char *names) {
    const float *deviation = mean + plan->head.channels;
    for (int32_t i = 0; i < plan->head.channels; i++)
        if (!isfinite(mean[i]) || !isfinite(deviation[i]) || !(deviation[i] > 0)) return mest_plan_damaged(plan, "has deviations that are none");
    int64_t ends = 0;
    for (int64_t i = 0; i < plan->head.names_bytes; i++) ends += !names[i];
    if (ends != plan->head.classes || names[plan->head.names_bytes - 1]) return mest_plan_damaged(plan, "has not a name for each class");
    return DONE;
}
