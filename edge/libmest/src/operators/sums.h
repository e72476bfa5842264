/* Per-channel sums for batch norm: each thread has its own, joined in thread order by norm.h. */
#ifndef MEST_SUMS_H
#define MEST_SUMS_H

#include "views.h"

enum { SUM_COUNT, SUM_ORIGIN, SUM_FIRST, SUM_SECOND };
_Static_assert(SUM_SECOND + 1 == MEST_SUMS, "as many as Python plans for");

static double *sums_of(const MestNorm *norm, int thread, long channel) {
    return norm->partials + ((long)thread * norm->channels + channel) * MEST_SUMS;
}

static void sums_clear(const MestNorm *norm, int thread) {
    memset(sums_of(norm, thread, 0), 0, sizeof(double) * MEST_SUMS * (size_t)norm->channels);
}

static float sum_of(const float *x, long n) {
    float sum = 0;
    long i = 0;
#if MEST_VL > 1
    vf all = {0};
    for (; i + MEST_VL <= n; i += MEST_VL) all += load(x + i);
    sum = total(all);
#endif
    for (; i < n; i++) sum += x[i];
    return sum;
}

/* sums of (x - origin) and its square, over lines of n floats `stride` apart; the origin is the mean of the first line that
 * is ever added, so nothing large cancels. */
static void sums_add_lines(double *sums, const float *x, long lines, long stride, long n) {
    if (sums[SUM_COUNT] == 0) {
        double mean = 0;
        for (long i = 0; i < n; i++) mean += x[i];
        sums[SUM_ORIGIN] = (float)(mean / (double)n);
    }
    const float origin = (float)sums[SUM_ORIGIN];
    float first = 0, second = 0;
#if MEST_VL > 1
    vf a0 = {0}, a1 = {0}, b0 = {0}, b1 = {0};
    const vf o = splat(origin);
#endif
    for (long y = 0; y < lines; y++, x += stride) {
        long i = 0;
#if MEST_VL > 1
        for (; i + 2 * MEST_VL <= n; i += 2 * MEST_VL) {
            const vf d0 = load(x + i) - o, d1 = load(x + i + MEST_VL) - o;
            a0 += d0; b0 += d0 * d0; a1 += d1; b1 += d1 * d1;
        }
        if (i + MEST_VL <= n) {
            const vf d0 = load(x + i) - o;
            a0 += d0; b0 += d0 * d0;
            i += MEST_VL;
        }
#endif
        for (; i < n; i++) {
            const float d = x[i] - origin;
            first += d;
            second += d * d;
        }
    }
#if MEST_VL > 1
    first += total(a0 + a1);
    second += total(b0 + b1);
#endif
    sums[SUM_COUNT] += (double)(lines * n);
    sums[SUM_FIRST] += first;
    sums[SUM_SECOND] += second;
}

static void sums_add(double *sums, const float *x, long n) { sums_add_lines(sums, x, 1, 0, n); }

/* As grad_sums_add_lines, through a fused activation. */
MEST_INLINE void grad_sums_through(const MestGrad *v, long c, double *sums, const float *g, const float *z, long lines,
                                   long stride, long n, const int act) {
    const float mean = v->mean[c], scale = v->scale[c], shift = v->shift[c];
    float first = 0, second = 0;
#if MEST_VL > 1
    vf a0 = {0}, b0 = {0};
    const vf m = splat(mean), s = splat(scale), h = splat(shift);
#endif
    for (long y = 0; y < lines; y++, g += stride, z += stride) {
        long i = 0;
#if MEST_VL > 1
        for (; i + MEST_VL <= n; i += MEST_VL) {
            const vf d = load(z + i) - m, x = act_gradients(d * s + h, load(g + i), act);
            a0 += x;
            b0 += x * d;
        }
#endif
        for (; i < n; i++) {
            const float d = z[i] - mean;
            const float x = act_gradient(d * scale + shift, g[i], act);
            first += x;
            second += x * d;
        }
    }
#if MEST_VL > 1
    first += total(a0);
    second += total(b0);
#endif
    sums[SUM_COUNT] += (double)(lines * n);
    sums[SUM_FIRST] += first;
    sums[SUM_SECOND] += second;
}

static void grad_sums_add_fused(const MestGrad *v, long c, double *sums, const float *g, const float *z, long lines, long stride,
                                long n, int act) {
#define ADD(act) grad_sums_through(v, c, sums, g, z, lines, stride, n, act)
    BY_ACT(act, ADD)
#undef ADD
}

/* sums of the gradient behind the activation, and of it times (stored - mean). */
static void grad_sums_add(const MestGrad *v, long c, double *sums, const float *g, const float *z, long n) {
    if (fused(v->act)) {
        grad_sums_add_fused(v, c, sums, g, z, 1, 0, n, v->act);
        return;
    }
    float strip[STRIP];
    for (long p = 0; p < n; p += STRIP) {
        const long m = least(STRIP, n - p);
        grad_behind_function(v, c, g + p, z + p, strip, m);
        grad_sums_add_fused(v, c, sums, strip, z + p, 1, 0, m, MEST_ACT_NONE);
    }
}

/* The same from number `at` on of the stored tensor, whatever it is stored as; `g` is the gradient there. */
static void grad_sums_add_at(const MestGrad *v, long c, double *sums, const float *g, long at, long n) {
    if (v->storage == MEST_SAVED_FLOAT32) {
        grad_sums_add(v, c, sums, g, v->stored + at, n);
        return;
    }
    float strip[STRIP];
    for (long p = 0; p < n; p += STRIP) {
        const long m = least(STRIP, n - p);
        widen_from(v->stored, v->storage, v->origin, c, at + p, strip, m);
        grad_sums_add(v, c, sums, g + p, strip, m);
    }
}

/* The same over lines of n floats `stride` apart, the first from number `at` on. */
static void grad_sums_add_lines(const MestGrad *v, long c, double *sums, const float *g, long at, long lines, long stride,
                                long n) {
    if (v->storage == MEST_SAVED_FLOAT32 && fused(v->act))
        grad_sums_add_fused(v, c, sums, g, v->stored + at, lines, stride, n, v->act);
    else
        for (long y = 0; y < lines; y++) grad_sums_add_at(v, c, sums, g + y * stride, at + y * stride, n);
}

#endif
