/* Weight gradients: dot products of gradient rows with shifted planes of the input panel.
 *
 * grads[i * entry_step + j * row_step] += sum over runs r and p < length of
 *     gradient[j * gradient_stride + r * run_stride + p] * panel[offsets[i] + r * run_stride + p].
 */
#ifndef MEST_DOTS_H
#define MEST_DOTS_H

#include "vector.h"

typedef struct {
    const float *panel;
    const int32_t *offsets;
    const float *gradient;
    long gradient_stride, count, runs, run_stride, length; /* the panel is readable to whole vectors */
    float *grads;
    long entry_step, row_step;
} DotsTask;

#if MEST_VL == 1
#include "dots_scalar.h"
#else

typedef int32_t vmask __attribute__((vector_size(MEST_VL * 4)));
typedef int32_t vmasku __attribute__((vector_size(MEST_VL * 4), aligned(4), may_alias));

#define ONES4 -1, -1, -1, -1
#define ONES16 ONES4, ONES4, ONES4, ONES4
static const int32_t tail_masks[32] = {ONES16};
#undef ONES16
#undef ONES4

/* All ones in the first n lanes. */
MEST_INLINE vmask first_lanes(long n) { return *(const vmasku *)(tail_masks + 16 - n); }

MEST_INLINE void dots_kernel(const DotsTask *t, long i, const int rows, const int nb) {
    vf acc[4][8];
    const float *x[8];
#pragma GCC unroll 4
    for (int j = 0; j < rows; j++)
#pragma GCC unroll 8
        for (int b = 0; b < nb; b++) acc[j][b] = (vf){0};
    for (long r = 0; r < t->runs; r++) {
        const float *g = t->gradient + r * t->run_stride;
        const long length = t->length, stride = t->gradient_stride;
#pragma GCC unroll 8
        for (int b = 0; b < nb; b++) x[b] = t->panel + t->offsets[i + b] + r * t->run_stride;
        long p = 0;
        for (; p + MEST_VL <= length; p += MEST_VL) {
            vf gv[4];
#pragma GCC unroll 4
            for (int j = 0; j < rows; j++) {
                gv[j] = load(g + j * stride + p);
                MEST_PIN(gv[j]);
            }
#pragma GCC unroll 8
            for (int b = 0; b < nb; b++) {
                vf xv = load(x[b] + p);
                if (rows > 1) MEST_PIN(xv);
#pragma GCC unroll 4
                for (int j = 0; j < rows; j++) acc[j][b] += gv[j] * xv;
            }
        }
        if (p < length) {
            const vmask mask = first_lanes(length - p);
            vf gv[4];
#pragma GCC unroll 4
            for (int j = 0; j < rows; j++) gv[j] = (vf)((vmask)load(g + j * stride + p) & mask);
#pragma GCC unroll 8
            for (int b = 0; b < nb; b++) {
                const vf xv = load(x[b] + p);
#pragma GCC unroll 4
                for (int j = 0; j < rows; j++) acc[j][b] += gv[j] * xv;
            }
        }
    }
    if (rows * nb % 8 == 0 && t->entry_step == rows && (rows == 1 || t->row_step == 1)) {
        vf ordered[32]; /* as the values lie: entry by entry, its rows side by side */
#pragma GCC unroll 8
        for (int b = 0; b < nb; b++)
#pragma GCC unroll 4
            for (int j = 0; j < rows; j++) ordered[b * rows + j] = acc[j][b];
#pragma GCC unroll 4
        for (int k = 0; k < rows * nb; k += 8) add_totals8(t->grads + i * rows + k, ordered + k);
        return;
    }
#pragma GCC unroll 4
    for (int j = 0; j < rows; j++)
#pragma GCC unroll 8
        for (int b = 0; b < nb; b++) t->grads[(i + b) * t->entry_step + j * t->row_step] += total(acc[j][b]);
}

#define DOTS_LOOP(rows, step)                                        \
    long i = 0;                                                      \
    for (; i + (step) <= t->count; i += (step)) dots_kernel(t, i, rows, step); \
    for (; i + 2 <= t->count; i += 2) dots_kernel(t, i, rows, 2);    \
    for (; i < t->count; i++) dots_kernel(t, i, rows, 1);

static void dots1(const DotsTask *t) { DOTS_LOOP(1, NB1) }
static void dots2(const DotsTask *t) { DOTS_LOOP(2, NB2) }
static void dots4(const DotsTask *t) { DOTS_LOOP(4, NB4) }
#undef DOTS_LOOP

static void dots_run(const DotsTask *t, int rows) {
    if (rows == 4) dots4(t);
    else if (rows == 2) dots2(t);
    else dots1(t);
}
#endif
#endif
