/* Rows of a sparse matrix times a panel of shifted planes.
 *
 * out[j * out_stride + p] = sum over entries i of value(i, j) * panel[offsets[i] + p],  0 <= p < vectors * MEST_VL.
 * value(i, j) = values[places[i] + j * row_step], places[i] = i * entry_step where `places` is NULL.
 * `deep` entries stand for `depth` consecutive values and planes `plane` floats apart (a block seen from its columns).
 */
#ifndef MEST_ROWS_H
#define MEST_ROWS_H

#include "vector.h"

typedef struct {
    const float *panel;
    const int32_t *offsets;
    const uint32_t *places;
    const float *values;
    long count, entry_step, row_step, depth, plane;
    float *out;
    long out_stride;
} RowsTask;

#if MEST_VL == 1
#include "rows_scalar.h"
#else

MEST_INLINE void rows_kernel(const RowsTask *t, const int rows, const int nv, const int placed, const int depth) {
    vf acc[4][8];
    const int32_t *offsets = t->offsets;
    const uint32_t *places = t->places;
    const float *panel = t->panel, *values = t->values;
    const long count = t->count, entry_step = t->entry_step, row_step = t->row_step, plane = t->plane;
#pragma GCC unroll 4
    for (int j = 0; j < rows; j++)
#pragma GCC unroll 8
        for (int k = 0; k < nv; k++) acc[j][k] = (vf){0};
    for (long i = 0; i < count; i++) {
        const float *p = panel + offsets[i];
        const float *w = values + (placed ? (long)places[i] : i * entry_step);
        if (rows == 1) {
            for (int d = 0; d < depth; d++) {
                const vf s = splat(w[d]);
#pragma GCC unroll 8
                for (int k = 0; k < nv; k++) acc[0][k] += s * load(p + d * plane + k * MEST_VL);
            }
        } else {
            vf x[8];
#pragma GCC unroll 8
            for (int k = 0; k < nv; k++) {
                x[k] = load(p + k * MEST_VL);
                MEST_PIN(x[k]);
            }
#pragma GCC unroll 4
            for (int j = 0; j < rows; j++) {
                const vf s = splat(w[j * row_step]);
#pragma GCC unroll 8
                for (int k = 0; k < nv; k++) acc[j][k] += s * x[k];
            }
        }
    }
#pragma GCC unroll 4
    for (int j = 0; j < rows; j++)
#pragma GCC unroll 8
        for (int k = 0; k < nv; k++) store(t->out + j * t->out_stride + k * MEST_VL, acc[j][k]);
}

#define ROWS_CASES(rows, placed, depth)                      \
    switch (vectors) {                                       \
    case 1: rows_kernel(t, rows, 1, placed, depth); break;   \
    case 2: rows_kernel(t, rows, 2, placed, depth); break;   \
    case 3: rows_kernel(t, rows, 3, placed, depth); break;   \
    case 4: rows_kernel(t, rows, 4, placed, depth); break;   \
    ROWS_MORE(rows, placed, depth)                           \
    }
#define ROWS_MORE(rows, placed, depth)                       \
    case 5: rows_kernel(t, rows, 5, placed, depth); break;   \
    case 6: rows_kernel(t, rows, 6, placed, depth); break;   \
    case 7: rows_kernel(t, rows, 7, placed, depth); break;   \
    case 8: rows_kernel(t, rows, 8, placed, depth); break;

static void rows1(const RowsTask *t, int vectors) { ROWS_CASES(1, 0, 1) }
static void rows1_placed(const RowsTask *t, int vectors) { ROWS_CASES(1, 1, 1) }
static void rows1_deep4(const RowsTask *t, int vectors) { ROWS_CASES(1, 1, 4) }
static void rows1_deep(const RowsTask *t, int vectors) {
    const int depth = (int)t->depth;
    ROWS_CASES(1, 1, depth)
}
static void rows2(const RowsTask *t, int vectors) { ROWS_CASES(2, 0, 1) }
static void rows2_placed(const RowsTask *t, int vectors) { ROWS_CASES(2, 1, 1) }
#undef ROWS_MORE
#define ROWS_MORE(rows, placed, depth)
static void rows4(const RowsTask *t, int vectors) { ROWS_CASES(4, 0, 1) }
static void rows4_placed(const RowsTask *t, int vectors) { ROWS_CASES(4, 1, 1) }
#undef ROWS_MORE
#undef ROWS_CASES

/* `rows` 1, 2 or 4; `vectors` at most NV1, NV2, NV4. */
static void rows_run(const RowsTask *t, int rows, int vectors) {
    if (rows == 4) {
        if (t->places) rows4_placed(t, vectors);
        else rows4(t, vectors);
    } else if (rows == 2) {
        if (t->places) rows2_placed(t, vectors);
        else rows2(t, vectors);
    } else if (!t->places) rows1(t, vectors);
    else if (t->depth == 1) rows1_placed(t, vectors);
    else if (t->depth == 4) rows1_deep4(t, vectors);
    else rows1_deep(t, vectors);
}
#endif
#endif
