/* Shapes of sums, copies, selections and pushed gradients, and the channels that are listed. */
#ifndef MEST_ELEMENTWISE_CHECK_H
#define MEST_ELEMENTWISE_CHECK_H

#include "checking.h"

static void check_input(Check *k) {
    written(k, k->planned->out, image(k, k->p->in_channels, k->p->in_h, k->p->in_w), 4);
}

static void check_add(Check *k) {
    const MestPlannedView *a = &k->planned->a;
    view_fits(k, a);
    view_fits(k, &k->planned->b);
    hold(k, same_shape(&k->planned->b, a->channels, a->height, a->width) && act_stored(k->s->act));
    written(k, k->planned->out, view_floats(k, a), 4);
    if (k->planned->norm) sums_fit(k, k->planned->norm, a->channels);
}

static void check_copy(Check *k) {
    view_fits(k, &k->planned->a);
    hold(k, act_stored(k->s->act));
    written(k, k->planned->out, view_floats(k, &k->planned->a), 4);
}

static void check_push_grad(Check *k) {
    const MestPlannedGrad *g = &k->planned->g, *sums = &k->planned->sums;
    grad_fits(k, g);
    written(k, k->planned->out, grad_floats(k, g), 4);
    if (!k->planned->sums_norm) return;
    hold(k, sums->channels == g->channels && grad_floats(k, sums) == grad_floats(k, g));
    sums_on_the_way_fit(k);
}

static void check_select(Check *k) {
    const int backward = k->planned->op == MEST_OP_SELECT_GRAD;
    const MestPlannedView *a = &k->planned->a;
    const MestPlannedGrad *g = &k->planned->g;
    view_fits(k, a);
    hold(k, g->height == a->height && g->width == a->width);
    if (backward) grad_fits(k, g);
    written(k, k->planned->out, backward ? view_floats(k, a) : grad_floats(k, g), 4);
    listed(k, k->planned->channel_list, g->channels, 4);
    for (long i = 0; k->good && i < g->channels; i++)
        hold(k, k->s->channel_list[i] >= 0 && k->s->channel_list[i] < a->channels);
}

static void check_zero(Check *k) {
    if (k->s->out_count) written(k, k->planned->out, k->s->out_count, 4);
}

#endif
