/* Stored tokens in front of the positions of a tensor, and a stretch of positions picked from one. */
#ifndef MEST_TOKENS_H
#define MEST_TOKENS_H

#include "elementwise.h"

/* Of each channel the stored tokens, then the value's positions. */
static void op_prepend(const Context *x, const MestStep *step) {
    const MestTokens *r = step->tokens;
    const long c = step->a.channels, s = x->program->samples, n = plane_floats(x, step->a.height, step->a.width);
    const long front = r->count * s;
    const Range range = share(x->program->groups * c, x->thread, x->threads);
    for (long i = range.begin; i < range.end; i++) {
        float *out = step->out + i * (front + n);
        for (long j = 0; j < r->count; j++) LANES(k, s) out[j * s + k] = r->stored[j * c + i % c];
        view_read_at(&step->a, i % c, i * n, out + front, n);
    }
}

/* out (+)= the gradient of the positions behind the tokens; the tokens' is added, channel by channel. */
static void op_prepend_grad(const Context *x, const MestStep *step) {
    const MestTokens *r = step->tokens;
    const long c = step->g.channels, s = x->program->samples, whole = plane_floats(x, step->g.height, step->g.width);
    const long front = r->count * s, n = whole - front;
    const Range planes = share(x->program->groups * c, x->thread, x->threads), own = share(c, x->thread, x->threads);
    for (long i = planes.begin; i < planes.end && step->input_grad; i++) {
        const float *g = step->g.data + i * whole + front;
        float *out = step->out + i * n;
        if (step->accumulate) LANES(k, n) out[k] += g[k];
        else memmove(out, g, (size_t)n * 4);
    }
    for (long channel = own.begin; channel < own.end && r->stored_grad; channel++)
        for (long j = 0; j < r->count; j++) {
            double sum = 0;
            for (long group = 0; group < x->program->groups; group++)
                sum += sum_of(step->g.data + (group * c + channel) * whole + j * s, s);
            r->stored_grad[j * c + channel] += (float)sum;
        }
}

static void op_positions(const Context *x, const MestStep *step) {
    const MestTokens *r = step->tokens;
    const long c = step->a.channels, s = x->program->samples, whole = plane_floats(x, step->a.height, step->a.width);
    const long n = r->count * s;
    const Range range = share(x->program->groups * c, x->thread, x->threads);
    for (long i = range.begin; i < range.end; i++)
        view_read_at(&step->a, i % c, i * whole + r->first * s, step->out + i * n, n);
}

/* out (+)= the gradient where it was picked; `sums` is the shape of out. */
static void op_positions_grad(const Context *x, const MestStep *step) {
    const MestTokens *r = step->tokens;
    const long c = step->g.channels, s = x->program->samples, whole = plane_floats(x, step->sums.height, step->sums.width);
    const long n = r->count * s;
    const Range range = share(x->program->groups * c, x->thread, x->threads);
    for (long i = range.begin; i < range.end; i++) {
        float *out = step->out + i * whole;
        const float *g = step->g.data + i * n;
        if (!step->accumulate) memset(out, 0, (size_t)whole * 4);
        LANES(k, n) out[r->first * s + k] += g[k];
    }
}

/* The listed positions of each channel; `g` is the shape of out. */
static void op_select_positions(const Context *x, const MestStep *step) {
    const long c = step->a.channels, s = x->program->samples, whole = plane_floats(x, step->a.height, step->a.width);
    const long count = (long)step->g.height * step->g.width;
    const Range range = share(x->program->groups * c, x->thread, x->threads);
    for (long i = range.begin; i < range.end; i++)
        for (long j = 0; j < count; j++)
            view_read(&step->a, i % c, step->a.data + i * whole + step->channel_list[j] * s, step->out + (i * count + j) * s, s);
}

/* out (+)= the gradient at the positions listed, of which none is there twice; `sums` is the shape of out. */
static void op_select_positions_grad(const Context *x, const MestStep *step) {
    const long c = step->g.channels, s = x->program->samples, whole = plane_floats(x, step->sums.height, step->sums.width);
    const long count = (long)step->g.height * step->g.width;
    const Range range = share(x->program->groups * c, x->thread, x->threads);
    for (long i = range.begin; i < range.end; i++) {
        if (!step->accumulate) memset(step->out + i * whole, 0, (size_t)whole * 4);
        for (long j = 0; j < count; j++) {
            float *out = step->out + i * whole + step->channel_list[j] * s;
            const float *g = step->g.data + (i * count + j) * s;
            LANES(k, s) out[k] += g[k];
        }
    }
}

#endif
