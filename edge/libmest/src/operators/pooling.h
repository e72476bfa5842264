/* Max and average pooling. Threads share (group, channel) planes; samples are the inner loop. */
#ifndef MEST_POOLING_H
#define MEST_POOLING_H

#include "sums.h"

typedef struct {
    long y0, y1, x0, x1; /* the window's taps that lie inside the input */
    long divisor;
} Window;

static Window window_at(const MestPool *p, const MestView *in, long y, long x) {
    Window w;
    const long top = y * p->stride_h - p->pad_top, left = x * p->stride_w - p->pad_left;
    w.y0 = top < 0 ? ceil_div(-top, p->dilation_h) : 0;
    w.x0 = left < 0 ? ceil_div(-left, p->dilation_w) : 0;
    w.y1 = least(p->kernel_h, in->height > top ? ceil_div(in->height - top, p->dilation_h) : 0);
    w.x1 = least(p->kernel_w, in->width > left ? ceil_div(in->width - left, p->dilation_w) : 0);
    if (p->count_include_pad) { /* as PyTorch: windows end at the padded border */
        const long bottom = least(top + p->kernel_h, in->height + p->pad_bottom);
        const long right = least(left + p->kernel_w, in->width + p->pad_right);
        w.divisor = (bottom - top) * (right - left);
    } else w.divisor = most(1, (w.y1 - w.y0) * (w.x1 - w.x0));
    return w;
}

/* Offset in floats of tap (i, j) of the window at output (y, x) within the input plane. */
MEST_INLINE long tap_at(const MestPool *p, const MestView *in, long s, long y, long x, long i, long j) {
    return ((y * p->stride_h - p->pad_top + i * p->dilation_h) * in->width + x * p->stride_w - p->pad_left + j * p->dilation_w) * s;
}

/* The planes of this thread one by one: view the input plane in scratch, then each window. */
typedef struct {
    const MestPool *pool;
    const MestView *in;
    long s, in_plane, out_plane;
    float *plane, *best;
    int32_t *where;
} Pooling;

static Pooling pooling_of(const Context *x, const MestStep *step) {
    Pooling p;
    p.pool = step->pool;
    p.in = &step->a;
    p.s = x->program->samples;
    p.in_plane = (long)step->a.height * step->a.width * p.s;
    p.out_plane = (long)step->pool->out_h * step->pool->out_w * p.s;
    p.plane = step->scratch + x->thread * step->scratch_floats;
    p.best = p.plane + p.in_plane;
    p.where = (int32_t *)(p.best + p.s);
    return p;
}

/* The largest tap of every sample and where it lies; the first of equals, and NaN wins, as in PyTorch. */
static void window_max(const Pooling *p, long y, long x) {
    const Window w = window_at(p->pool, p->in, y, x);
    const long s = p->s;
    for (long k = 0; k < s; k++) p->where[k] = -1;
    for (long i = w.y0; i < w.y1; i++)
        for (long j = w.x0; j < w.x1; j++) {
            const long at = tap_at(p->pool, p->in, s, y, x, i, j);
            for (long k = 0; k < s; k++) {
                const float v = p->plane[at + k];
                const int better = p->where[k] < 0 || !(v <= p->best[k]);
                p->best[k] = better ? v : p->best[k];
                p->where[k] = better ? (int32_t)at : p->where[k];
            }
        }
}

static void op_max_pool(const Context *x, const MestStep *step) {
    const Pooling p = pooling_of(x, step);
    const long c = step->a.channels;
    const Range r = share(x->program->groups * c, x->thread, x->threads);
    for (long i = r.begin; i < r.end; i++) {
        float *out = step->out + i * p.out_plane;
        view_read_at(&step->a, i % c, i * p.in_plane, p.plane, p.in_plane);
        for (long y = 0; y < p.pool->out_h; y++)
            for (long q = 0; q < p.pool->out_w; q++, out += p.s) {
                window_max(&p, y, q);
                memcpy(out, p.best, (size_t)p.s * 4);
            }
    }
}

static void op_max_pool_grad(const Context *x, const MestStep *step) {
    const Pooling p = pooling_of(x, step);
    const long c = step->a.channels;
    const Range r = share(x->program->groups * c, x->thread, x->threads);
    for (long i = r.begin; i < r.end; i++) {
        const float *g = step->g.data + i * p.out_plane;
        float *out = step->out + i * p.in_plane;
        view_read_at(&step->a, i % c, i * p.in_plane, p.plane, p.in_plane);
        if (!step->accumulate) memset(out, 0, (size_t)p.in_plane * 4);
        for (long y = 0; y < p.pool->out_h; y++)
            for (long q = 0; q < p.pool->out_w; q++, g += p.s) {
                window_max(&p, y, q);
                for (long k = 0; k < p.s; k++)
                    if (p.where[k] >= 0) out[p.where[k] + k] += g[k];
            }
    }
}

static void op_avg_pool(const Context *x, const MestStep *step) {
    const Pooling p = pooling_of(x, step);
    const long c = step->a.channels, s = p.s;
    const Range r = share(x->program->groups * c, x->thread, x->threads);
    for (long plane = r.begin; plane < r.end; plane++) {
        float *out = step->out + plane * p.out_plane;
        view_read_at(&step->a, plane % c, plane * p.in_plane, p.plane, p.in_plane);
        for (long y = 0; y < p.pool->out_h; y++)
            for (long q = 0; q < p.pool->out_w; q++, out += s) {
                const Window w = window_at(p.pool, p.in, y, q);
                const float part = 1.0f / (float)w.divisor;
                for (long k = 0; k < s; k++) p.best[k] = 0;
                for (long i = w.y0; i < w.y1; i++)
                    for (long j = w.x0; j < w.x1; j++) {
                        const float *tap = p.plane + tap_at(p.pool, p.in, s, y, q, i, j);
                        LANES(k, s) p.best[k] += tap[k];
                    }
                for (long k = 0; k < s; k++) out[k] = p.best[k] * part;
            }
    }
}

static void op_avg_pool_grad(const Context *x, const MestStep *step) {
    const Pooling p = pooling_of(x, step);
    const long c = step->a.channels, s = p.s;
    const Range r = share(x->program->groups * c, x->thread, x->threads);
    for (long plane = r.begin; plane < r.end; plane++) {
        const float *g = step->g.data + plane * p.out_plane;
        float *out = step->out + plane * p.in_plane;
        if (!step->accumulate) memset(out, 0, (size_t)p.in_plane * 4);
        for (long y = 0; y < p.pool->out_h; y++)
            for (long q = 0; q < p.pool->out_w; q++, g += s) {
                const Window w = window_at(p.pool, p.in, y, q);
                const float part = 1.0f / (float)w.divisor;
                for (long i = w.y0; i < w.y1; i++)
                    for (long j = w.x0; j < w.x1; j++) {
                        float *tap = out + tap_at(p.pool, p.in, s, y, q, i, j);
                        for (long k = 0; k < s; k++) tap[k] += g[k] * part;
                    }
            }
    }
}

#endif
