/* Reading a stored tensor through batch norm and activation, and a gradient back through them. */
#ifndef MEST_VIEWS_H
#define MEST_VIEWS_H

#include "context.h"

MEST_INLINE float activate(float u, int act) {
    /* NaN stays NaN, so that a diverged run is seen in the loss. */
    if (act != MEST_ACT_NONE) u = u < 0 ? 0 : u;
    if (act == MEST_ACT_RELU6) u = u > 6 ? 6 : u;
    return u;
}

MEST_INLINE int passes(float u, int act) {
    if (act == MEST_ACT_RELU) return u > 0;
    if (act == MEST_ACT_RELU6) return u > 0 && u < 6;
    return 1;
}

#define LANES(i, n) _Pragma("GCC ivdep") for (long i = 0; i < (n); i++)

MEST_INLINE void view_act(float *restrict out, const float *restrict z, long n, const int act) {
    LANES(i, n) out[i] = activate(z[i], act);
}

MEST_INLINE void view_norm(float *restrict out, const float *restrict z, long n, float mean, float scale, float shift,
                           const int act) {
    LANES(i, n) out[i] = activate((z[i] - mean) * scale + shift, act);
}

/* out[0..n) = the value of channel `c` where the stored floats are z[0..n). */
static void view_read(const MestView *v, long c, const float *z, float *out, long n) {
    if (!v->mean) {
        if (v->act == MEST_ACT_NONE) memcpy(out, z, (size_t)n * 4);
        else if (v->act == MEST_ACT_RELU) view_act(out, z, n, MEST_ACT_RELU);
        else view_act(out, z, n, MEST_ACT_RELU6);
        return;
    }
    const float mean = v->mean[c], scale = v->scale[c], shift = v->shift[c];
    if (v->act == MEST_ACT_NONE) view_norm(out, z, n, mean, scale, shift, MEST_ACT_NONE);
    else if (v->act == MEST_ACT_RELU) view_norm(out, z, n, mean, scale, shift, MEST_ACT_RELU);
    else view_norm(out, z, n, mean, scale, shift, MEST_ACT_RELU6);
}

MEST_INLINE void grad_mask(float *restrict out, const float *restrict g, const float *restrict y, long n, const int act) {
    LANES(i, n) out[i] = passes(y[i], act) ? g[i] : 0;
}

MEST_INLINE void grad_norm(float *restrict out, const float *restrict g, const float *restrict z, long n, float mean,
                           float scale, float shift, float slope, float offset, const int act) {
    LANES(i, n) {
        const float d = z[i] - mean;
        const float m = passes(d * scale + shift, act) ? g[i] : 0;
        out[i] = m * scale + (d * slope + offset);
    }
}

/* out[0..n) = the gradient of the stored tensor, from floats g (gradient of the value) and z (stored). */
static void grad_read(const MestGrad *v, long c, const float *g, const float *z, float *out, long n) {
    if (!v->mean) {
        if (v->act == MEST_ACT_NONE || !v->stored) {
            if (out != g) memcpy(out, g, (size_t)n * 4);
        } else if (v->act == MEST_ACT_RELU) grad_mask(out, g, z, n, MEST_ACT_RELU);
        else grad_mask(out, g, z, n, MEST_ACT_RELU6);
        return;
    }
    const float mean = v->mean[c], scale = v->scale[c], shift = v->shift[c];
    const float slope = v->slope ? v->slope[c] : 0, offset = v->offset ? v->offset[c] : 0;
    if (v->act == MEST_ACT_NONE) grad_norm(out, g, z, n, mean, scale, shift, slope, offset, MEST_ACT_NONE);
    else if (v->act == MEST_ACT_RELU) grad_norm(out, g, z, n, mean, scale, shift, slope, offset, MEST_ACT_RELU);
    else grad_norm(out, g, z, n, mean, scale, shift, slope, offset, MEST_ACT_RELU6);
}

#endif
