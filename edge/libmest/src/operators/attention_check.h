/* Heads divide the channels, windows the positions, what stands beside the scores is there, the input is read as it is stored, and there is room for the rows of weights. */
#ifndef MEST_ATTENTION_CHECK_H
#define MEST_ATTENTION_CHECK_H

#include "checking.h"

/* Bias, its places, each of which is one of its numbers, and mask. */
static void beside_scores_fit(Check *k, const MestAttention *r, int64_t length) {
    const MestPlannedAttention *planned = k->p->attentions + k->planned->attention - 1;
    const int64_t square = times(length, length), count = times(r->heads, square);
    hold(k, (planned->bias != 0) == (planned->places != 0) && (planned->bias || !planned->bias_grad));
    if (k->good && planned->mask) {
        hold(k, r->mask_windows == 1 || r->mask_windows == r->windows);
        floats(k, planned->mask, times(r->mask_windows, square));
    }
    if (!k->good || !planned->bias) return;
    hold(k, r->bias_count >= 1);
    floats(k, planned->bias, r->bias_count);
    if (planned->bias_grad) written(k, planned->bias_grad, r->bias_count, 4);
    listed(k, planned->places, count, 4);
    for (int64_t i = 0; k->good && i < count; i++) hold(k, r->places[i] >= 0 && r->places[i] < r->bias_count);
}

static void check_attention(Check *k) {
    const int backward = k->planned->op == MEST_OP_ATTENTION_GRAD;
    const MestPlannedView *a = &k->planned->a;
    const MestPlannedGrad *g = &k->planned->g;
    const MestAttention *r = k->s->attention;
    view_fits(k, a);
    hold(k, r != NULL && !a->mean && a->act == MEST_ACT_NONE);
    if (!k->good) return;
    const int64_t keys = (int64_t)a->channels - r->features;
    hold(k, r->heads >= 1 && r->features >= 1 && r->windows >= 1 && keys >= 1 && a->height >= 1 && a->width >= 1);
    if (!k->good) return;
    hold(k, r->features % r->heads == 0 && keys % times(2, r->heads) == 0);
    const int64_t positions = times(a->height, a->width);
    hold(k, positions > 0 && positions < 1LL << 40 && positions % r->windows == 0);
    if (!k->good) return;
    const int64_t length = positions / r->windows;
    beside_scores_fit(k, r, length);
    if (!k->good) return;
    const int64_t rows = times((backward ? 2 : 1) * MEST_QUERIES * length + 2, k->p->samples);
    const int64_t sums = backward && r->bias_grad ? 2LL * r->bias_count : 0; /* doubles */
    hold(k, rows > 0 && rows + sums <= k->s->scratch_floats && (!sums || k->s->scratch_floats % 2 == 0));
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
