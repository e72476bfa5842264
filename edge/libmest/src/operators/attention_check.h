/* Heads divide the channels, the input is read as it is stored, and there is room for the rows of weights. */
#ifndef MEST_ATTENTION_CHECK_H
#define MEST_ATTENTION_CHECK_H

#include "checking.h"

static void check_attention(Check *k) {
    const int backward = k->planned->op == MEST_OP_ATTENTION_GRAD;
    const MestPlannedView *a = &k->planned->a;
    const MestPlannedGrad *g = &k->planned->g;
    const MestAttention *r = k->s->attention;
    view_fits(k, a);
    hold(k, r != NULL && !a->mean && a->act == MEST_ACT_NONE);
    if (!k->good) return;
    const int64_t keys = (int64_t)a->channels - r->features;
    hold(k, r->heads >= 1 && r->features >= 1 && keys >= 1 && a->height >= 1 && a->width >= 1);
    if (!k->good) return;
    hold(k, r->features % r->heads == 0 && keys % times(2, r->heads) == 0);
    const int64_t positions = times(a->height, a->width);
    hold(k, positions > 0 && positions < 1LL << 40);
    if (!k->good) return;
    const int64_t wanted = times((backward ? 2 : 1) * MEST_QUERIES * positions + 2, k->p->samples);
    hold(k, wanted > 0 && wanted <= k->s->scratch_floats);
    scratch_fits(k);
    if (!backward) {
        written(k, k->planned->out, image(k, r->features, a->height, a->width), 4);
        return;
    }
    grad_fits(k, g);
    hold(k, g->channels == r->features && g->height == a->height && g->width == a->width);
    written(k, k->planned->out, view_floats(k, a), 4);
}

#endif
