/* Batch norm: statistics, and the coefficients that turn a value's gradient into its stored tensor's. */
#ifndef MEST_NORM_H
#define MEST_NORM_H

#include "sums.h"

/* Sums over a stored tensor whose producer did not add them on the way. Planes are shared, not positions. */
static void op_norm_sums(const Context *x, const MestStep *step) {
    const long c = step->norm->channels, planes = x->program->groups * c;
    const long n = (long)step->a.height * step->a.width * x->program->samples;
    const Range r = share(planes, x->thread, x->threads);
    sums_clear(step->norm, x->thread);
    for (long i = r.begin; i < r.end; i++) sums_add(sums_of(step->norm, x->thread, i % c), step->a.data + i * n, n);
}

static void op_norm_grad_sums(const Context *x, const MestStep *step) {
    const long c = step->norm->channels, planes = x->program->groups * c;
    const long n = (long)step->g.height * step->g.width * x->program->samples;
    const Range r = share(planes, x->thread, x->threads);
    sums_clear(step->norm, x->thread);
    for (long i = r.begin; i < r.end; i++)
        grad_sums_add_at(&step->g, i % c, sums_of(step->norm, x->thread, i % c), step->g.data + i * n, i * n, n);
}

/* Mean, 1/deviation and scale of this pass; running statistics move in training. */
static void op_norm_finish(const Context *x, const MestStep *step) {
    const MestNorm *n = step->norm;
    const Range r = share(n->channels, x->thread, x->threads);
    for (long c = r.begin; c < r.end; c++) {
        double count = 0, mean = 0, spread = 0;
        if (n->frozen) {
            n->mean[c] = n->running_mean[c];
            n->rstd[c] = (float)(1.0 / __builtin_sqrt((double)n->running_var[c] + n->epsilon));
            n->scale[c] = n->gamma[c] * n->rstd[c];
            continue;
        }
        for (int t = 0; t < x->threads; t++) { /* Chan's joining of two samples' means and spreads */
            const double *s = sums_of(n, t, c);
            if (s[SUM_COUNT] == 0) continue;
            const double part = s[SUM_COUNT], shift = s[SUM_FIRST] / part, m = s[SUM_ORIGIN] + shift;
            const double delta = m - mean, all = count + part;
            spread += s[SUM_SECOND] - s[SUM_FIRST] * shift + delta * delta * count * part / all;
            mean += delta * part / all;
            count = all;
        }
        if (spread < 0) spread = 0;
        n->mean[c] = (float)mean;
        n->rstd[c] = (float)(1.0 / __builtin_sqrt(spread / count + n->epsilon));
        n->scale[c] = n->gamma[c] * n->rstd[c];
        n->running_mean[c] += n->momentum * ((float)mean - n->running_mean[c]);
        n->running_var[c] += n->momentum * ((float)(count > 1 ? spread / (count - 1) : spread) - n->running_var[c]);
    }
}

static void op_norm_grad_finish(const Context *x, const MestStep *step) {
    const MestNorm *n = step->norm;
    const Range r = share(n->channels, x->thread, x->threads);
    for (long c = r.begin; c < r.end; c++) {
        double count = 0, first = 0, second = 0;
        for (int t = 0; t < x->threads; t++) {
            const double *s = sums_of(n, t, c);
            count += s[SUM_COUNT];
            first += s[SUM_FIRST];
            second += s[SUM_SECOND];
        }
        second *= n->rstd[c]; /* sum of gradient times the normalised value */
        if (n->beta_grad) n->beta_grad[c] += (float)first;
        if (n->gamma_grad) n->gamma_grad[c] += (float)second;
        if (n->frozen) continue;
        n->slope[c] = (float)(-(double)n->scale[c] * n->rstd[c] * second / count);
        n->offset[c] = (float)(-(double)n->scale[c] * first / count);
    }
}

#endif
