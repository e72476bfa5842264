/* Answers, their gradient, and what the rows of a loss add up. */
#ifndef MEST_LOSS_CHECK_H
#define MEST_LOSS_CHECK_H

#include "checking.h"

static void check_logits(Check *k) {
    view_fits(k, &k->planned->a);
    hold(k, k->s->classes >= 1 && times(times(k->s->classes, k->p->groups), k->p->samples) <= view_floats(k, &k->planned->a));
    if (k->planned->op == MEST_OP_LOSS && k->planned->out) written(k, k->planned->out, view_floats(k, &k->planned->a), 4);
}

static void check_loss_of_many(Check *k) {
    const MestPlannedView *a = &k->planned->a;
    const int64_t rows = times(times(k->p->groups, a->height), k->planned->op == MEST_OP_LOSS_PIXELS ? 1 : a->channels);
    view_fits(k, a);
    room(k, k->planned->scratch, rows, 8);
    hold(k, k->planned->scratch && (!k->good || k->p->operands[k->planned->scratch - 1].writable));
    if (k->planned->out) written(k, k->planned->out, view_floats(k, a), 4);
}

#endif
