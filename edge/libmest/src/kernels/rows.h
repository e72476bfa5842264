/* Rows of a sparse matrix times a panel of shifted planes.
 *
 * out[j * out_stride + l * out_line + p] = sum over entries i of value(i, j) * panel[offsets[i] + l * line + p], for lines l
 * and 0 <= p < vectors * MEST_VL; with `more`, beside what is there.
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
    long out_stride, line, out_line;
    int more;
} RowsTask;

#if MEST_VL == 1
#include "rows_scalar.h"
#else

/* One row: `nv` vectors of each of `lines` lines. */
MEST_INLINE void rows_kernel1(const RowsTask *t, const int lines, const int nv, const int placed, const int depth) {
    vf acc[8];
    const int32_t *offsets = t->offsets;
    const uint32_t *places = t->places;
    const float *panel = t->panel, *values = t->values;
    const long count = t->count, entry_step = t->entry_step, plane = t->plane, line = t->line, out_line = t->out_line;
    if (t->more) {
#pragma GCC unroll 8
        for (int k = 0; k < lines * nv; k++) acc[k] = load(t->out + k / nv * out_line + k % nv * MEST_VL);
    } else {
#pragma GCC unroll 8
        for (int k = 0; k < lines * nv; k++) acc[k] = (vf){0};
    }
    for (long i = 0; i < count; i++) {
        const float *p = panel + offsets[i];
        const float *w = values + (placed ? (long)places[i] : i * entry_step);
        for (int d = 0; d < depth; d++, p += plane) {
            const vf s = splat(w[d]);
#pragma GCC unroll 8
            for (int k = 0; k < lines * nv; k++) acc[k] += s * load(p + k / nv * line + k % nv * MEST_VL);
        }
    }
#pragma GCC unroll 8
    for (int k = 0; k < lines * nv; k++) store(t->out + k / nv * out_line + k % nv * MEST_VL, acc[k]);
}

/* Several rows that share their entries. */
MEST_INLINE void rows_kernel(const RowsTask *t, const int rows, const int nv, const int placed) {
    vf acc[4][8];
    const int32_t *offsets = t->offsets;
    const uint32_t *places = t->places;
    const float *panel = t->panel, *values = t->values;
    const long count = t->count, entry_step = t->entry_step, row_step = t->row_step;
    if (t->more) {
#pragma GCC unroll 4
        for (int j = 0; j < rows; j++)
#pragma GCC unroll 8
            for (int k = 0; k < nv; k++) acc[j][k] = load(t->out + j * t->out_stride + k * MEST_VL);
    } else {
#pragma GCC unroll 4
        for (int j = 0; j < rows; j++)
#pragma GCC unroll 8
            for (int k = 0; k < nv; k++) acc[j][k] = (vf){0};
    }
    for (long i = 0; i < count; i++) {
        const float *p = panel + offsets[i];
        const float *w = values + (placed ? (long)places[i] : i * entry_step);
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
#pragma GCC unroll 4
    for (int j = 0; j < rows; j++)
#pragma GCC unroll 8
        for (int k = 0; k < nv; k++) store(t->out + j * t->out_stride + k * MEST_VL, acc[j][k]);
}

#define ROW_CASE(lines, vectors, placed, depth) \
    case 8 * lines + vectors: rows_kernel1(t, lines, vectors, placed, depth); break;
#define ROW_CASES(placed, depth)                                                    \
    switch (8 * lines + vectors) {                                                  \
        ROW_CASE(1, 1, placed, depth)                                               \
        ROW_CASE(1, 2, placed, depth)                                               \
        ROW_CASE(1, 3, placed, depth)                                               \
        ROW_CASE(1, 4, placed, depth)                                               \
        ROW_CASE(1, 5, placed, depth)                                               \
        ROW_CASE(1, 6, placed, depth)                                               \
        ROW_CASE(1, 7, placed, depth)                                               \
        ROW_CASE(1, 8, placed, depth)                                               \
        ROW_CASE(2, 1, placed, depth)                                               \
        ROW_CASE(2, 2, placed, depth)                                               \
        ROW_CASE(2, 3, placed, depth)                                               \
        ROW_CASE(2, 4, placed, depth)                                               \
        ROW_CASE(4, 1, placed, depth)                                               \
        ROW_CASE(4, 2, placed, depth)                                               \
    }

static void rows1(const RowsTask *t, int lines, int vectors) { ROW_CASES(0, 1) }
static void rows1_placed(const RowsTask *t, int lines, int vectors) { ROW_CASES(1, 1) }
#ifndef __wasm__
static void rows1_deep4(const RowsTask *t, int lines, int vectors) { ROW_CASES(1, 4) }
#endif
static void rows1_deep(const RowsTask *t, int lines, int vectors) {
    const int depth = (int)t->depth;
    ROW_CASES(1, depth)
}
#undef ROW_CASES
#undef ROW_CASE

#define ROWS_CASES(rows, placed)                             \
    switch (vectors) {                                       \
    case 1: rows_kernel(t, rows, 1, placed); break;          \
    case 2: rows_kernel(t, rows, 2, placed); break;          \
    case 3: rows_kernel(t, rows, 3, placed); break;          \
    case 4: rows_kernel(t, rows, 4, placed); break;          \
    ROWS_MORE(rows, placed)                                  \
    }
#define ROWS_MORE(rows, placed)                              \
    case 5: rows_kernel(t, rows, 5, placed); break;          \
    case 6: rows_kernel(t, rows, 6, placed); break;          \
    case 7: rows_kernel(t, rows, 7, placed); break;          \
    case 8: rows_kernel(t, rows, 8, placed); break;

static void rows2(const RowsTask *t, int vectors) { ROWS_CASES(2, 0) }
static void rows2_placed(const RowsTask *t, int vectors) { ROWS_CASES(2, 1) }
#undef ROWS_MORE
#define ROWS_MORE(rows, placed)
static void rows4(const RowsTask *t, int vectors) { ROWS_CASES(4, 0) }
static void rows4_placed(const RowsTask *t, int vectors) { ROWS_CASES(4, 1) }
#undef ROWS_MORE
#undef ROWS_CASES

static void row_run(const RowsTask *t, int lines, int vectors) {
    if (!t->places) rows1(t, lines, vectors);
    else if (t->depth == 1) rows1_placed(t, lines, vectors);
#ifndef __wasm__ /* where a loop more is worth six KiB less to fetch */
    else if (t->depth == 4) rows1_deep4(t, lines, vectors);
#endif
    else rows1_deep(t, lines, vectors);
}

/* `rows` 1, 2 or 4; `lines` 1, or with one row up to 4; `lines` times `vectors` at most NV1, NV2, NV4. */
static void rows_run(const RowsTask *t, int rows, int lines, int vectors) {
    if (rows == 4) {
        if (t->places) rows4_placed(t, vectors);
        else rows4(t, vectors);
    } else if (rows == 2) {
        if (t->places) rows2_placed(t, vectors);
        else rows2(t, vectors);
    } else if (lines == 3) {
        RowsTask last = *t;
        last.panel += 2 * t->line;
        last.out += 2 * t->out_line;
        row_run(t, 2, vectors);
        row_run(&last, 1, vectors);
    } else row_run(t, lines, vectors);
}
#endif
#endif
