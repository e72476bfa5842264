/* A pooling window, and room for a plane of its input. */
#ifndef MEST_POOLING_CHECK_H
#define MEST_POOLING_CHECK_H

#include "checking.h"

static void check_pool(Check *k) {
    const int backward = k->planned->op == MEST_OP_MAX_POOL_GRAD || k->planned->op == MEST_OP_AVG_POOL_GRAD;
    const MestPool *p = k->s->pool;
    const MestPlannedView *a = &k->planned->a;
    view_fits(k, a);
    hold(k, p != NULL);
    if (!k->good) return;
    const int32_t sizes[] = {p->kernel_h, p->kernel_w, p->stride_h, p->stride_w, p->dilation_h, p->dilation_w, p->out_h, p->out_w};
    const int32_t pads[] = {p->pad_top, p->pad_left, p->pad_bottom, p->pad_right};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) hold(k, sizes[i] >= 1 && sizes[i] < 1 << 20);
    for (unsigned i = 0; i < sizeof pads / sizeof *pads; i++) hold(k, pads[i] >= 0 && pads[i] < 1 << 20);
    hold(k, a->height < 1 << 20 && a->width < 1 << 20);
    /* One plane, and two rows of samples, beside which offsets are 32 bits wide. */
    const int64_t plane = times(times(a->height, a->width), k->p->samples);
    hold(k, plane < INT32_MAX && plane + 2 * (int64_t)k->p->samples <= k->s->scratch_floats);
    scratch_fits(k);
    /* A window that begins behind the padded input would have no taps and a divisor of nothing. */
    hold(k, times(p->out_h - 1, p->stride_h) < (int64_t)a->height + p->pad_top + p->pad_bottom);
    hold(k, times(p->out_w - 1, p->stride_w) < (int64_t)a->width + p->pad_left + p->pad_right);
    written(k, k->planned->out, backward ? view_floats(k, a) : image(k, a->channels, p->out_h, p->out_w), 4);
    if (!backward) return;
    grad_fits(k, &k->planned->g);
    hold(k, k->planned->g.channels == a->channels && k->planned->g.height == p->out_h && k->planned->g.width == p->out_w);
}

#endif
