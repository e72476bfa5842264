/* Room for a batch norm's statistics, slopes and parameters. */
#ifndef MEST_NORM_CHECK_H
#define MEST_NORM_CHECK_H

#include "checking.h"

static void check_norm(Check *k) {
    const int32_t op = k->planned->op;
    const int backward = op == MEST_OP_NORM_GRAD_SUMS || op == MEST_OP_NORM_GRAD_FINISH;
    hold(k, k->planned->norm > 0);
    if (!k->good) return;
    const MestPlannedNorm *n = norm_at(k, k->planned->norm);
    const int64_t c = n->channels;
    hold(k, c > 0);
    if (op == MEST_OP_NORM_SUMS) {
        view_fits(k, &k->planned->a);
        sums_fit(k, k->planned->norm, k->planned->a.channels);
        return;
    }
    if (op == MEST_OP_NORM_GRAD_SUMS) {
        grad_fits(k, &k->planned->g);
        hold(k, k->planned->g.stored != 0 && k->planned->g.mean != 0);
        sums_fit(k, k->planned->norm, k->planned->g.channels);
        return;
    }
    if (backward || !n->frozen) sums_fit(k, k->planned->norm, n->channels);
    const int32_t statistics[] = {n->mean, n->rstd, n->scale}, running[] = {n->gamma, n->running_mean, n->running_var};
    for (int i = 0; i < 3; i++) {
        written(k, statistics[i], c, 4);
        written(k, running[i], c, 4);
    }
    if (!backward) return;
    if (n->gamma_grad) written(k, n->gamma_grad, c, 4);
    if (n->beta_grad) written(k, n->beta_grad, c, 4);
    if (n->frozen) return;
    written(k, n->slope, c, 4);
    written(k, n->offset, c, 4);
}

#endif
