/* Stored tokens fit the channels, and picked positions lie within those that are there. */
#ifndef MEST_TOKENS_CHECK_H
#define MEST_TOKENS_CHECK_H

#include "checking.h"

/* The row is there, and its count is one at least; `positions` are those that it counts among. */
static const MestTokens *tokens_fit(Check *k, int64_t positions) {
    static const MestTokens none;
    const MestTokens *r = k->s->tokens;
    hold(k, r != NULL);
    if (!k->good) return &none;
    hold(k, r->first >= 0 && r->count >= 1 && (int64_t)r->first + r->count <= positions);
    return r;
}

static void check_prepend(Check *k) {
    const MestPlannedView *a = &k->planned->a;
    view_fits(k, a);
    const MestTokens *r = tokens_fit(k, INT32_MAX);
    if (!k->good) return;
    hold(k, a->channels >= 1);
    floats(k, k->p->tokenss[k->planned->tokens - 1].stored, times(r->count, a->channels));
    written(k, k->planned->out, image(k, a->channels, 1, times(a->height, a->width) + r->count), 4);
}

static void check_prepend_grad(Check *k) {
    const MestPlannedGrad *g = &k->planned->g;
    const int64_t positions = times(g->height, g->width);
    grad_fits(k, g);
    const MestTokens *r = tokens_fit(k, positions - 1);
    if (!k->good) return;
    const int32_t stored = k->p->tokenss[k->planned->tokens - 1].stored_grad;
    if (stored) written(k, stored, times(r->count, g->channels), 4);
    if (k->s->input_grad) written(k, k->planned->out, image(k, g->channels, 1, positions - r->count), 4);
}

static void check_positions(Check *k) {
    const MestPlannedView *a = &k->planned->a;
    view_fits(k, a);
    const MestTokens *r = tokens_fit(k, times(a->height, a->width));
    written(k, k->planned->out, image(k, a->channels, 1, r->count), 4);
}

static void check_positions_grad(Check *k) {
    const MestPlannedGrad *g = &k->planned->g, *whole = &k->planned->sums;
    grad_fits(k, g);
    const MestTokens *r = tokens_fit(k, times(whole->height, whole->width));
    hold(k, whole->channels == g->channels && times(g->height, g->width) == r->count);
    written(k, k->planned->out, image(k, whole->channels, whole->height, whole->width), 4);
}

/* The list is there and its entries are among `positions`. */
static void positions_listed(Check *k, int64_t count, int64_t positions) {
    listed(k, k->planned->channel_list, count, 4);
    hold(k, count >= 1 && k->planned->channel_list != 0);
    for (int64_t i = 0; k->good && i < count; i++)
        hold(k, k->s->channel_list[i] >= 0 && k->s->channel_list[i] < positions);
}

static void check_select_positions(Check *k) {
    const MestPlannedView *a = &k->planned->a;
    const MestPlannedGrad *g = &k->planned->g;
    view_fits(k, a);
    hold(k, g->channels == a->channels);
    written(k, k->planned->out, grad_floats(k, g), 4);
    positions_listed(k, times(g->height, g->width), times(a->height, a->width));
}

static void check_select_positions_grad(Check *k) {
    const MestPlannedGrad *g = &k->planned->g, *whole = &k->planned->sums;
    grad_fits(k, g);
    hold(k, whole->channels == g->channels);
    written(k, k->planned->out, image(k, whole->channels, whole->height, whole->width), 4);
    positions_listed(k, times(g->height, g->width), times(whole->height, whole->width));
}

#endif
