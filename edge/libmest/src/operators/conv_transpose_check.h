/* A transposed convolution: the convolution that it mirrors fits, and what is read and written is the other way round. */
#ifndef MEST_CONV_TRANSPOSE_CHECK_H
#define MEST_CONV_TRANSPOSE_CHECK_H

#include "conv_check.h"

/* The layer, with lists by row or, where `transposed`, by channel of what it writes. */
static void transposed_fits(Check *k, int inputs, int transposed) {
    layer_fits(k, inputs, 1);
    if (!k->good) return;
    const MestConv *c = k->s->conv;
    const MestPlannedConv *planned = k->p->convs + k->planned->conv - 1;
    const Geometry g = geometry_of(c, k->p->samples);
    hold(k, !c->channel_list);
    floats_if(k, planned->bias, c->in_channels);
    if (k->good && c->format != MEST_DENSE) lists_fit(k, planned, &g, transposed);
}

static void check_conv_transpose(Check *k) {
    const MestPlannedView *a = &k->planned->a;
    view_fits(k, a);
    transposed_fits(k, 0, 1);
    if (!k->good) return;
    const MestConv *c = k->s->conv;
    hold(k, same_shape(a, c->rows, c->out_h, c->out_w) && act_stored(k->s->act));
    written(k, k->planned->out, image(k, c->in_channels, c->in_h, c->in_w), 4);
    if (k->planned->norm) sums_fit(k, k->planned->norm, c->in_channels);
}

static void check_conv_transpose_grad(Check *k) {
    const MestPlannedStep *s = k->planned;
    grad_fits(k, &s->g);
    transposed_fits(k, 1, 0);
    if (!k->good) return;
    const MestConv *c = k->s->conv;
    const MestPlannedConv *planned = k->p->convs + s->conv - 1;
    const Geometry g = geometry_of(c, k->p->samples);
    const int64_t values = entries_before(c, g.columns, c->rows);
    hold(k, s->weight_grad || s->input_grad || c->bias_grad);
    hold(k, s->g.channels == c->in_channels && s->g.height == c->in_h && s->g.width == c->in_w);
    if (planned->bias_grad) written(k, planned->bias_grad, c->in_channels, 4);
    if (s->weight_grad) {
        view_fits(k, &s->a);
        hold(k, same_shape(&s->a, c->rows, c->out_h, c->out_w));
        written(k, planned->grads, values, 4);
    }
    if (s->partial_grads) written(k, s->partial_grads, times(k->threads, s->weight_grad ? values : 0), 4);
    else hold(k, k->threads == 1 || (int64_t)k->p->groups * c->tiles == 1 || !s->weight_grad);
    if (!s->input_grad) return;
    hold(k, s->sums.channels == c->rows && s->sums.height == c->out_h && s->sums.width == c->out_w);
    written(k, s->out, image(k, c->rows, c->out_h, c->out_w), 4);
    if (s->sums_norm) sums_on_the_way_fit(k);
}

#endif
