/* A program is believed in nothing: every number, place and size is held against what its operator will touch. */
#include "check.h"

#define MEST_VL 1
#include "operators/checks.h"
#include "operators/table.h"

enum { MOST_THREADS = 4096 };

#define X(NAME, run, check) [MEST_OP_##NAME] = check,
static void (*const checks[MEST_OP_COUNT])(Check *) = {MEST_OPERATORS(X)};
#undef X

/* Every operand lies within its segment, at a place that floats can be read from. Lists of indices and what steps write
 * are of different segments, so that no step changes a list after it was looked at. */
static int operands_fit(const MestProgram *p) {
    for (int32_t i = 0; i < p->operand_count; i++) {
        const MestOperand *o = p->operands + i;
        if (o->segment < 0 || o->segment >= MEST_SEGMENTS || o->nbytes < 0 || o->offset < 0) return 0;
        if (o->storage < 0 || o->storage >= MEST_SAVED_TYPES) return 0;
        if (o->segment == MEST_SEGMENT_HERE) continue;
        const int lists = o->segment == MEST_SEGMENT_LISTS;
        const int64_t held = lists ? p->lists_bytes : o->segment == MEST_SEGMENT_TENSORS ? p->tensors_bytes : p->arena_bytes;
        if (o->offset % 4 || o->offset > held || o->nbytes > held - o->offset || !o->writable != lists) return 0;
    }
    return 1;
}

int mest_first_wrong_step(const MestProgram *program, int threads) {
    const MestProgram *p = program;
    if (p->groups < 1 || p->samples < 1 || threads < 1 || threads > MOST_THREADS) return 1;
    if (p->in_channels < 1 || p->in_h < 1 || p->in_w < 1 || p->operand_count < 0) return 1;
    if (!operands_fit(p) || !mest_tables_named(p)) return 1;
    for (int32_t i = 0; i < p->count; i++) {
        MestPlacedStep placed;
        const MestPlannedStep *planned = p->steps + i;
        if (planned->op < 0 || planned->op >= MEST_OP_COUNT || !mest_step_named(p, planned)) return i + 1;
        Check k = {p, planned, mest_place_step(p, planned, &placed), threads, 1};
        checks[k.planned->op](&k);
        if (!k.good) return i + 1;
    }
    return 0;
}
