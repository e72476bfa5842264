/* Joining the channels of tensors, one part a step: a part lies at `first_channel` among the channels of `g`. */
#ifndef MEST_CONCAT_H
#define MEST_CONCAT_H

#include "sums.h"

/* The part's value to its place. The first part begins the sums of the whole's batch norm. */
static void op_concat(const Context *x, const MestStep *step) {
    const long c = step->part_channels, whole = step->g.channels, first = step->first_channel;
    const long n = (long)step->g.height * step->g.width * x->program->samples;
    const Range r = share(x->program->groups * c, x->thread, x->threads);
    if (step->norm && !first) sums_clear(step->norm, x->thread);
    for (long i = r.begin; i < r.end; i++) {
        const long channel = first + i % c;
        float *out = step->out + (i / c * whole + channel) * n;
        view_read_at(&step->a, i % c, i * n, out, n);
        if (step->norm) sums_add(sums_of(step->norm, x->thread, channel), out, n);
    }
}

/* out (+)= the part's channels of the gradient `g`, read as its stored tensor's. */
static void op_concat_grad(const Context *x, const MestStep *step) {
    const long c = step->part_channels, whole = step->g.channels, first = step->first_channel;
    const long n = (long)step->g.height * step->g.width * x->program->samples;
    const Range r = share(x->program->groups * c, x->thread, x->threads);
    float strip[STRIP];
    if (step->sums_norm) sums_clear(step->sums_norm, x->thread);
    for (long i = r.begin; i < r.end; i++) {
        const long channel = first + i % c, from = (i / c * whole + channel) * n;
        for (long p = 0; p < n; p += STRIP) {
            const long m = least(STRIP, n - p), at = i * n + p;
            float *out = step->out + at;
            grad_read_at(&step->g, channel, from + p, strip, m);
            if (step->accumulate) LANES(k, m) out[k] += strip[k];
            else memcpy(out, strip, (size_t)m * 4);
            if (step->sums_norm)
                grad_sums_add_at(&step->sums, i % c, sums_of(step->sums_norm, x->thread, i % c), out, at, m);
        }
    }
}

#endif
