/* A stored tensor to what is kept of it for the backward pass, and back for steps that read floats. */
#ifndef MEST_NARROW_STEPS_H
#define MEST_NARROW_STEPS_H

#include "elementwise.h"

/* What is left of a strip that begins at number `at` of a tensor in the plane there; `channel` is that plane's. */
static long within_plane(const Context *x, const MestView *v, long at, long n, long *channel) {
    const long plane = plane_floats(x, v->height, v->width);
    *channel = at / plane % v->channels;
    return least(n, plane - at % plane);
}

/* This thread's floats: whole groups. */
static Range groups_of(const Context *x, const MestView *v) {
    const long floats = x->program->groups * (long)v->channels * plane_floats(x, v->height, v->width);
    const Range r = share(ceil_div(floats, MEST_SAVED_GROUP), x->thread, x->threads);
    return (Range){r.begin * MEST_SAVED_GROUP, least(r.end * MEST_SAVED_GROUP, floats)};
}

static void narrow_strip(const MestStep *step, long at, const float *strip, long n) {
    if (step->b.storage == MEST_SAVED_BFLOAT16) {
        narrow_bfloat16((uint16_t *)(void *)step->out + at, strip, n);
        return;
    }
    for (long i = 0; i < n; i += MEST_SAVED_GROUP)
        narrow_int8((char *)step->out + (at + i) / MEST_SAVED_GROUP * SAVED_GROUP_BYTES, strip + i, least(MEST_SAVED_GROUP, n - i));
}

_Static_assert(STRIP % MEST_SAVED_GROUP == 0, "strips are whole groups");

static void op_narrow(const Context *x, const MestStep *step) {
    const MestView *v = &step->a;
    const Range r = groups_of(x, v);
    float strip[STRIP];
    for (long at = r.begin; at < r.end; at += STRIP) {
        const long n = least(STRIP, r.end - at);
        const float *from = v->data + at;
        if (step->b.origin) {
            for (long p = 0, m, channel; p < n; p += m) {
                m = within_plane(x, v, at + p, n - p, &channel);
                const float origin = step->b.origin[channel];
                LANES(i, m) strip[p + i] = from[p + i] - origin;
            }
            from = strip;
        }
        narrow_strip(step, at, from, n);
    }
}

static void op_widen(const Context *x, const MestStep *step) {
    const MestView *v = &step->a;
    const Range r = groups_of(x, v);
    for (long at = r.begin, m, channel; at < r.end; at += m) {
        m = within_plane(x, v, at, r.end - at, &channel);
        widen_from(v->data, v->storage, v->origin, channel, at, step->out + at, m);
    }
}

#endif
