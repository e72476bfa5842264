/* Per-channel sums for batch norm: each thread has its own, joined in thread order by norm.h. */
#ifndef MEST_SUMS_H
#define MEST_SUMS_H

#include "views.h"

enum { SUM_COUNT = 0, SUM_ORIGIN = 1, SUM_FIRST = 2, SUM_SECOND = 3, SUM_FIELDS = 4 };

static double *sums_of(const MestNorm *norm, int thread, long channel) {
    return norm->partials + ((long)thread * norm->channels + channel) * SUM_FIELDS;
}

static void sums_clear(const MestNorm *norm, int thread) {
    memset(sums_of(norm, thread, 0), 0, sizeof(double) * SUM_FIELDS * (size_t)norm->channels);
}

/* sums of (x - origin) and its square; the origin is the mean of the first segment, so nothing large cancels. */
static void sums_add(double *sums, const float *x, long n) {
    if (sums[SUM_COUNT] == 0) {
        double mean = 0;
        for (long i = 0; i < n; i++) mean += x[i];
        sums[SUM_ORIGIN] = (float)(mean / (double)n);
    }
    const float origin = (float)sums[SUM_ORIGIN];
    float first = 0, second = 0;
    long i = 0;
#if MEST_VL > 1
    vf a0 = {0}, a1 = {0}, b0 = {0}, b1 = {0};
    const vf o = splat(origin);
    for (; i + 2 * MEST_VL <= n; i += 2 * MEST_VL) {
        const vf d0 = load(x + i) - o, d1 = load(x + i + MEST_VL) - o;
        a0 += d0; b0 += d0 * d0; a1 += d1; b1 += d1 * d1;
    }
    first = total(a0 + a1);
    second = total(b0 + b1);
#endif
    for (; i < n; i++) {
        const float d = x[i] - origin;
        first += d;
        second += d * d;
    }
    sums[SUM_COUNT] += (double)n;
    sums[SUM_FIRST] += first;
    sums[SUM_SECOND] += second;
}

/* sums of the masked gradient, and of it times (stored - mean). */
static void grad_sums_add(const MestGrad *v, long c, double *sums, const float *g, const float *z, long n) {
    const float mean = v->mean[c], scale = v->scale[c], shift = v->shift[c];
    const int act = v->act;
    float first = 0, second = 0;
    long i = 0;
#if MEST_VL > 1
    typedef int32_t vi __attribute__((vector_size(MEST_VL * 4)));
    vf a0 = {0}, b0 = {0};
    const vf m = splat(mean), s = splat(scale), h = splat(shift), zero = {0}, six = splat(6);
    for (; i + MEST_VL <= n; i += MEST_VL) {
        const vf d = load(z + i) - m, u = d * s + h;
        vf x = load(g + i);
        if (act != MEST_ACT_NONE) x = (vf)((vi)x & (vi)(u > zero));
        if (act == MEST_ACT_RELU6) x = (vf)((vi)x & (vi)(u < six));
        a0 += x;
        b0 += x * d;
    }
    first = total(a0);
    second = total(b0);
#endif
    for (; i < n; i++) {
        const float d = z[i] - mean;
        const float x = passes(d * scale + shift, act) ? g[i] : 0;
        first += x;
        second += x * d;
    }
    sums[SUM_COUNT] += (double)n;
    sums[SUM_FIRST] += first;
    sums[SUM_SECOND] += second;
}

#endif
