/* Shapes, statistics and parameters of a normalisation within each sample. */
#ifndef MEST_SAMPLE_NORM_CHECK_H
#define MEST_SAMPLE_NORM_CHECK_H

#include "checking.h"

static void check_sample_norm(Check *k) {
    const int backward = k->planned->op == MEST_OP_SAMPLE_NORM_GRAD;
    const MestPlannedView *a = &k->planned->a;
    view_fits(k, a);
    hold(k, k->planned->samplenorm > 0 && a->channels > 0);
    if (!k->good) return;
    const MestPlannedSampleNorm *n = k->p->samplenorms + k->planned->samplenorm - 1;
    hold(k, n->groups >= 0 && n->groups <= a->channels && (!n->groups || a->channels % n->groups == 0));
    if (!k->good) return;
    const int64_t numbers = n->per_cell ? times(times(a->channels, a->height), a->width) : a->channels;
    const int64_t statistics = n->groups ? image(k, n->groups, 1, 1) : image(k, 1, a->height, a->width);
    written(k, n->mean, statistics, 4);
    written(k, n->rstd, statistics, 4);
    floats_if(k, n->gamma, numbers);
    floats_if(k, n->beta, numbers);
    if (!backward) {
        hold(k, act_stored(k->s->act));
        written(k, k->planned->out, view_floats(k, a), 4);
        return;
    }
    grad_fits(k, &k->planned->g);
    hold(k, same_shape(a, k->planned->g.channels, k->planned->g.height, k->planned->g.width));
    if (k->s->input_grad) written(k, k->planned->out, view_floats(k, a), 4);
    if (n->gamma_grad) written(k, n->gamma_grad, numbers, 4);
    if (n->beta_grad) written(k, n->beta_grad, numbers, 4);
}

#endif
