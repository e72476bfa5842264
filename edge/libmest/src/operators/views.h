/* Reading a stored tensor through batch norm and activation, and a gradient back through them. */
#ifndef MEST_VIEWS_H
#define MEST_VIEWS_H

#include "activations.h"
#include "../kernels/narrow.h"

enum { STRIP = 512 }; /* floats handled at once, on the stack */

#define LANES(i, n) _Pragma("GCC ivdep") for (long i = 0; i < (n); i++)

MEST_INLINE void view_act(float *restrict out, const float *restrict z, long n, const int act) {
    LANES(i, n) out[i] = activate(z[i], act);
}

MEST_INLINE void view_each(float *out, long n, const int act) {
    LANES(i, n) out[i] = activate(out[i], act);
}

MEST_INLINE void view_norm(float *restrict out, const float *restrict z, long n, float mean, float scale, float shift,
                           const int act) {
    LANES(i, n) out[i] = activate((z[i] - mean) * scale + shift, act);
}

/* As view_read, through the batch norm and a fused activation. */
static void view_read_fused(const MestView *v, long c, const float *z, float *out, long n) {
    if (!v->mean) {
        if (v->act == MEST_ACT_NONE || !fused(v->act)) {
            memmove(out, z, (size_t)n * 4); /* a stranger's tensors may overlap */
            return;
        }
#define READ(act) view_act(out, z, n, act)
        BY_ACT(v->act, READ)
#undef READ
        return;
    }
    const float mean = v->mean[c], scale = v->scale[c], shift = v->shift[c];
#define READ(act) view_norm(out, z, n, mean, scale, shift, act)
    BY_ACT(v->act, READ)
#undef READ
}

/* out[0..n) = the value of channel `c` where the stored floats are z[0..n). */
static void view_read(const MestView *v, long c, const float *z, float *out, long n) {
    view_read_fused(v, c, z, out, n);
    if (!fused(v->act)) apply_function(out, n, v->act, v->alpha, v->beta);
}

/* out[0..n) = the floats from number `at` on of channel `c` of a tensor that is stored narrow. */
static void widen_from(const float *stored, int storage, const float *origin, long c, long at, float *out, long n) {
    widen(out, stored, storage, at, n);
    if (!origin) return;
    const float first = origin[c];
    LANES(i, n) out[i] += first;
}

/* As view_read, from number `at` on of the stored tensor, whatever it is stored as. */
static void view_read_at(const MestView *v, long c, long at, float *out, long n) {
    if (v->storage == MEST_SAVED_FLOAT32) {
        view_read(v, c, v->data + at, out, n);
        return;
    }
    float strip[STRIP];
    for (long p = 0; p < n; p += STRIP) {
        const long m = least(STRIP, n - p);
        widen_from(v->data, v->storage, v->origin, c, at + p, strip, m);
        view_read(v, c, strip, out + p, m);
    }
}

MEST_INLINE void grad_act(float *restrict out, const float *restrict g, const float *restrict y, long n, const int act) {
    LANES(i, n) out[i] = act_gradient(y[i], g[i], act);
}

MEST_INLINE void grad_norm(float *restrict out, const float *restrict g, const float *restrict z, long n, float mean,
                           float scale, float shift, float slope, float offset, const int act) {
    LANES(i, n) {
        const float d = z[i] - mean;
        const float m = act_gradient(d * scale + shift, g[i], act);
        out[i] = m * scale + (d * slope + offset);
    }
}

/* out[0..n) = the gradient of what the activation is applied to, where it is none of the fused; n is a strip at most. */
static void grad_behind_function(const MestGrad *v, long c, const float *g, const float *z, float *out, long n) {
    float u[STRIP];
    if (v->mean) view_norm(u, z, n, v->mean[c], v->scale[c], v->shift[c], MEST_ACT_NONE);
    else memcpy(u, z, (size_t)n * 4);
    if (out != g) memmove(out, g, (size_t)n * 4);
    apply_gradient(out, u, n, v->act, v->alpha, v->beta);
}

/* out[0..n) = the gradient of the stored tensor, from floats g (gradient of the value) and z (stored). */
static void grad_read(const MestGrad *v, long c, const float *g, const float *z, float *out, long n) {
    if (!fused(v->act) && v->stored) {
        for (long p = 0; p < n; p += STRIP) {
            const long m = least(STRIP, n - p);
            float strip[STRIP];
            grad_behind_function(v, c, g + p, z + p, strip, m);
            if (!v->mean) memcpy(out + p, strip, (size_t)m * 4);
            else
                grad_norm(out + p, strip, z + p, m, v->mean[c], v->scale[c], v->shift[c], v->slope ? v->slope[c] : 0,
                          v->offset ? v->offset[c] : 0, MEST_ACT_NONE);
        }
        return;
    }
    if (!v->mean) {
        if (v->act == MEST_ACT_NONE || !v->stored) {
            if (out != g) memmove(out, g, (size_t)n * 4);
            return;
        }
#define READ(act) grad_act(out, g, z, n, act)
        BY_ACT(v->act, READ)
#undef READ
        return;
    }
    const float mean = v->mean[c], scale = v->scale[c], shift = v->shift[c];
    const float slope = v->slope ? v->slope[c] : 0, offset = v->offset ? v->offset[c] : 0;
#define READ(act) grad_norm(out, g, z, n, mean, scale, shift, slope, offset, act)
    BY_ACT(v->act, READ)
#undef READ
}

/* As grad_read, from number `at` on of both, whatever the stored tensor is stored as. `out` may be the gradient itself. */
static void grad_read_at(const MestGrad *v, long c, long at, float *out, long n) {
    const float *g = v->data + at;
    if (!v->stored || v->storage == MEST_SAVED_FLOAT32) {
        grad_read(v, c, g, v->stored ? v->stored + at : g, out, n);
        return;
    }
    float strip[STRIP];
    for (long p = 0; p < n; p += STRIP) {
        const long m = least(STRIP, n - p);
        widen_from(v->stored, v->storage, v->origin, c, at + p, strip, m);
        grad_read(v, c, g + p, strip, out + p, m);
    }
}

/* out[0..n) = act(out), for a tensor that is stored with its activation, a fused one. */
static void store_act(float *out, long n, int code) {
#define STORE(act) view_each(out, n, act)
    if (code != MEST_ACT_NONE) BY_ACT(code, STORE)
#undef STORE
}

#endif
