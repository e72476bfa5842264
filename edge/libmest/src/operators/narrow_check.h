/* A narrow tensor is as large as its form says, and what is made of it lies beside it. */
#ifndef MEST_NARROW_CHECK_H
#define MEST_NARROW_CHECK_H

#include "checking.h"

/* The step reads `from` and writes `out`, which lies elsewhere. */
static void copy_fits(Check *k, const MestPlannedView *from, int32_t out) {
    view_fits(k, from);
    hold(k, out > 0 && from->data > 0 && view_floats(k, from) > 0);
    if (k->good) hold(k, disjoint(k->p->operands + from->data - 1, k->p->operands + out - 1));
}

static void check_narrow(Check *k) {
    const MestPlannedView *a = &k->planned->a, *b = &k->planned->b;
    view_fits(k, b);
    hold(k, a->storage == MEST_SAVED_FLOAT32 && b->storage != MEST_SAVED_FLOAT32);
    hold(k, same_shape(a, b->channels, b->height, b->width) && b->data == k->planned->out);
    copy_fits(k, a, k->planned->out);
    if (k->good) hold(k, k->p->operands[k->planned->out - 1].writable);
}

static void check_widen(Check *k) {
    const MestPlannedView *a = &k->planned->a;
    hold(k, a->storage != MEST_SAVED_FLOAT32);
    written(k, k->planned->out, view_floats(k, a), 4);
    copy_fits(k, a, k->planned->out);
}

#endif
