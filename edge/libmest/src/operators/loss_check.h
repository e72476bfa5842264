/* Classes of the logits. */
#ifndef MEST_LOSS_CHECK_H
#define MEST_LOSS_CHECK_H

#include "checking.h"

static void check_logits(Check *k) {
    view_fits(k, &k->planned->a);
    hold(k, k->s->classes >= 1 && times(times(k->s->classes, k->p->groups), k->p->samples) <= view_floats(k, &k->planned->a));
    if (k->planned->op == MEST_OP_LOSS && k->planned->out) written(k, k->planned->out, view_floats(k, &k->planned->a), 4);
}

#endif
