/* SGD with momentum and Nesterov's variant, and AdamW, over the non-zeros. */
#ifndef MEST_UPDATE_H
#define MEST_UPDATE_H

#include <math.h>

#include "context.h"

static void sgd(const MestUpdate *u, const MestParam *p, Range r, float rate) {
    float *restrict w = p->values, *restrict v = p->first;
    const float *restrict g = p->grads;
    const float momentum = u->momentum, decay = u->weight_decay;
    if (!v) {
        for (long i = r.begin; i < r.end; i++) w[i] -= rate * (g[i] + decay * w[i]);
    } else if (u->nesterov) {
        for (long i = r.begin; i < r.end; i++) {
            const float d = g[i] + decay * w[i];
            v[i] = momentum * v[i] + d;
            w[i] -= rate * (d + momentum * v[i]);
        }
    } else {
        for (long i = r.begin; i < r.end; i++) {
            v[i] = momentum * v[i] + (g[i] + decay * w[i]);
            w[i] -= rate * v[i];
        }
    }
}

/* By squaring, so that every system's bits are the same; those of pow are its mathematical library's. */
static double power(double base, int64_t exponent) {
    double result = 1;
    for (; exponent > 0; exponent >>= 1, base *= base)
        if (exponent & 1) result *= base;
    return result;
}

static void adamw(const MestUpdate *u, const MestParam *p, Range r, float rate, int64_t steps) {
    float *restrict w = p->values, *restrict m = p->first, *restrict v = p->second;
    const float *restrict g = p->grads;
    const float size = (float)(rate / (1.0 - power(u->beta1, steps)));
    const float root = (float)(1.0 / __builtin_sqrt(1.0 - power(u->beta2, steps)));
    const float keep = 1.0f - rate * u->weight_decay, keep_second = (float)u->beta2;
    const float first = (float)(1 - u->beta1), second = (float)(1 - u->beta2);
    for (long i = r.begin; i < r.end; i++) {
        m[i] += first * (g[i] - m[i]);
        v[i] = keep_second * v[i] + second * g[i] * g[i];
        w[i] = w[i] * keep - size * m[i] / (__builtin_sqrtf(v[i]) * root + u->epsilon);
    }
}

static void op_update(const Context *x, const MestStep *step) {
    const MestProgram *program = x->program;
    const MestUpdate *u = step->update;
    if (!isfinite(x->call->loss)) return; /* the caller stops; its last weights stay good */
    for (int32_t i = 0; i < program->param_count; i++) {
        const MestParam p = mest_param(program, program->params + i);
        const Range r = share(p.count, x->thread, x->threads);
        if (u->kind) adamw(u, &p, r, x->call->learning_rate, (int64_t)x->call->update_count + 1);
        else sgd(u, &p, r, x->call->learning_rate);
    }
}

#endif
