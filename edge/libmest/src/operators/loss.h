/* Softmax cross-entropy with label smoothing, its gradient, and answers for prediction. */
#ifndef MEST_LOSS_H
#define MEST_LOSS_H

#include <math.h>

#include "views.h"

/* Logits are few: the first thread does them in sample order, so that the loss is the same for any number of threads. */
static void op_loss(const Context *x, const MestStep *step) {
    const MestProgram *p = x->program;
    const long s = p->samples, classes = step->classes;
    const int64_t *labels = x->call->labels + (long)x->micro_batch * p->groups * s;
    const double part = 1.0 / (double)x->call->batch, floor = step->smoothing / (double)classes;
    if (x->thread || !x->call->labels) return;
    for (long i = 0; i < p->groups * s; i++) {
        const float *z = step->a.data + i / s * classes * s + i % s;
        float *out = step->out ? step->out + i / s * classes * s + i % s : NULL;
        double sum = 0, mean = 0;
        float top = z[0];
        long best = 0;
        for (long k = 1; k < classes; k++)
            if (z[k * s] > top) top = z[k * s], best = k;
        for (long k = 0; k < classes; k++) sum += exp((double)z[k * s] - top), mean += (double)z[k * s] / (double)classes;
        const double log_sum = log(sum) + top;
        x->call->loss += log_sum - (1.0 - step->smoothing) * z[labels[i] * s] - step->smoothing * mean;
        x->call->correct += best == labels[i];
        for (long k = 0; out && k < classes; k++) {
            const double wanted = floor + (k == labels[i] ? 1.0 - step->smoothing : 0.0);
            out[k * s] = (float)((exp((double)z[k * s] - log_sum) - wanted) * part);
        }
    }
}

/* Stored logits, or answers of any shape, to (n, classes). */
static void op_output(const Context *x, const MestStep *step) {
    const long s = x->program->samples, n = x->program->groups * s, classes = step->classes;
    float *logits = x->call->logits + (long)x->micro_batch * n * classes;
    const Range r = share(classes, x->thread, x->threads);
    for (long i = 0; i < n; i++)
        for (long k = r.begin; k < r.end; k++) logits[i * classes + k] = step->a.data[(i / s * classes + k) * s + i % s];
}

#endif
