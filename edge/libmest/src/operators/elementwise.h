/* Residual add, copies, channel selection, gradient pushes, and zeroing. */
#ifndef MEST_ELEMENTWISE_H
#define MEST_ELEMENTWISE_H

#include "sums.h"

static long plane_floats(const Context *x, long height, long width) { return height * width * x->program->samples; }

static void op_add(const Context *x, const MestStep *step) {
    const long c = step->a.channels, n = plane_floats(x, step->a.height, step->a.width);
    const Range r = share(x->program->groups * c, x->thread, x->threads);
    float left[STRIP], right[STRIP];
    if (step->norm) sums_clear(step->norm, x->thread);
    for (long i = r.begin; i < r.end; i++)
        for (long p = 0; p < n; p += STRIP) {
            const long m = least(STRIP, n - p);
            float *out = step->out + i * n + p;
            view_read_at(&step->a, i % c, i * n + p, left, m);
            view_read_at(&step->b, i % c, i * n + p, right, m);
#define STORE(act) LANES(k, m) out[k] = activate(left[k] + right[k], act)
            BY_ACT(step->act, STORE)
#undef STORE
            if (step->norm) sums_add(sums_of(step->norm, x->thread, i % c), out, m);
        }
}

static void op_copy(const Context *x, const MestStep *step) {
    const long c = step->a.channels, n = plane_floats(x, step->a.height, step->a.width);
    const Range r = share(x->program->groups * c, x->thread, x->threads);
    for (long i = r.begin; i < r.end; i++) {
        float *out = step->out + i * n;
        view_read_at(&step->a, i % c, i * n, out, n);
        store_act(out, n, step->act);
    }
}

/* out (+)= the gradient `g` read as its stored tensor's. In place where out is g's own data. */
static void op_push_grad(const Context *x, const MestStep *step) {
    const long c = step->g.channels, n = plane_floats(x, step->g.height, step->g.width);
    const Range r = share(x->program->groups * c, x->thread, x->threads);
    float strip[STRIP];
    if (step->sums_norm) sums_clear(step->sums_norm, x->thread);
    for (long i = r.begin; i < r.end; i++)
        for (long p = 0; p < n; p += STRIP) {
            const long m = least(STRIP, n - p), at = i * n + p;
            float *out = step->out + at;
            grad_read_at(&step->g, i % c, at, strip, m);
            if (step->accumulate) LANES(k, m) out[k] += strip[k];
            else memcpy(out, strip, (size_t)m * 4);
            if (step->sums_norm)
                grad_sums_add_at(&step->sums, i % c, sums_of(step->sums_norm, x->thread, i % c), out, at, m);
        }
}

/* out channel k = input channel list[k]. */
static void op_select(const Context *x, const MestStep *step) {
    const long c = step->g.channels, n = plane_floats(x, step->a.height, step->a.width);
    const Range r = share(x->program->groups * c, x->thread, x->threads);
    for (long i = r.begin; i < r.end; i++) {
        const long from = step->channel_list[i % c];
        view_read_at(&step->a, from, (i / c * step->a.channels + from) * n, step->out + i * n, n);
    }
}

/* Adds into `out`, which was zeroed or holds other contributions. Should a channel be listed twice, one thread adds both:
 * each has its part of every plane. */
static void op_select_grad(const Context *x, const MestStep *step) {
    const long c = step->g.channels, n = plane_floats(x, step->g.height, step->g.width);
    const Range r = share(n, x->thread, x->threads);
    for (long i = 0; i < x->program->groups * c; i++) {
        const float *g = step->g.data + i * n;
        float *out = step->out + (i / c * step->a.channels + step->channel_list[i % c]) * n;
        for (long q = r.begin; q < r.end; q++) out[q] += g[q];
    }
}

static void op_zero(const Context *x, const MestStep *step) {
    const Range r = share(step->out_count, x->thread, x->threads);
    if (r.end > r.begin) memset(step->out + r.begin, 0, (size_t)(r.end - r.begin) * 4);
}

/* Images (n, c, h, w) into the stored layout. */
static void op_input(const Context *x, const MestStep *step) {
    const MestProgram *p = x->program;
    const long s = p->samples, plane = (long)p->in_h * p->in_w, image = p->in_channels * plane;
    const float *images = x->call->images + (long)x->micro_batch * p->groups * s * image;
    const Range r = share(p->groups * p->in_channels, x->thread, x->threads);
    for (long i = r.begin; i < r.end; i++) {
        const float *from = images + i / p->in_channels * s * image + i % p->in_channels * plane;
        float *out = step->out + i * plane * s;
        for (long k = 0; k < s; k++)
            for (long q = 0; q < plane; q++) out[q * s + k] = from[k * image + q];
    }
}

#endif
