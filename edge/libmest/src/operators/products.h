/* Products of two stored tensors, a matrix a channel, softmax along rows, and numbers put into another order. */
#ifndef MEST_PRODUCTS_H
#define MEST_PRODUCTS_H

#include "attention.h"

/* A row of a product: out[j] (+)= the sum over p of first[p] * second[p][j], of each sample. `step` is from one number of
 * the row of `first` to the next. */
static void product_row(const MestProduct *r, const float *first, long step, const float *second, float *out, long s) {
    if (!r->second_turned) {
        for (long p = 0; p < r->inner; p++) row_add(out, first + p * step, second + p * r->columns * s, r->columns * s, s);
    } else if (!r->first_turned) {
        for (long j = 0; j < r->columns; j++) row_dot(out + j * s, first, second + j * r->inner * s, r->inner * s, s);
    } else {
        for (long j = 0; j < r->columns; j++)
            for (long p = 0; p < r->inner; p++)
                LANES(k, s) out[j * s + k] += first[p * step + k] * second[(j * r->inner + p) * s + k];
    }
}

/* Threads share the rows of all matrices. */
static void multiply(const Context *x, const MestStep *step, const float *first, const float *second) {
    const MestProduct *r = step->product;
    const long s = x->program->samples;
    const Range range = share((long)x->program->groups * r->matrices * r->rows, x->thread, x->threads);
    for (long i = range.begin; i < range.end; i++) {
        const long matrix = i / r->rows, row = i % r->rows;
        const float *left = first + matrix * r->rows * r->inner * s + row * (r->first_turned ? 1 : r->inner) * s;
        float *out = step->out + i * r->columns * s;
        if (!step->accumulate) memset(out, 0, (size_t)(r->columns * s) * 4);
        product_row(r, left, (r->first_turned ? r->rows : 1) * s, second + matrix * r->inner * r->columns * s, out, s);
    }
}

static void op_matmul(const Context *x, const MestStep *step) { multiply(x, step, step->a.data, step->b.data); }

/* The gradient of one matrix: that of the result times the other, or the other times that. */
static void op_matmul_grad(const Context *x, const MestStep *step) {
    const int first = step->product->gradient_first;
    multiply(x, step, first ? step->g.data : step->a.data, first ? step->a.data : step->g.data);
}

/* Threads share the rows of all channels. */
static void op_softmax(const Context *x, const MestStep *step) {
    const long s = x->program->samples, n = step->a.width * s;
    const Range range = share((long)x->program->groups * step->a.channels * step->a.height, x->thread, x->threads);
    for (long i = range.begin; i < range.end; i++) {
        memmove(step->out + i * n, step->a.data + i * n, (size_t)n * 4);
        soften(step->out + i * n, n, s, step->scratch + x->thread * step->scratch_floats);
    }
}

/* out (+)= y * (g - the sum of y * g along the row). */
static void op_softmax_grad(const Context *x, const MestStep *step) {
    const long s = x->program->samples, n = step->a.width * s;
    const Range range = share((long)x->program->groups * step->a.channels * step->a.height, x->thread, x->threads);
    float *two = step->scratch + x->thread * step->scratch_floats, *y = two + 2 * s;
    for (long i = range.begin; i < range.end; i++) {
        const float *g = step->g.data + i * n;
        float *out = step->out + i * n;
        memcpy(y, step->a.data + i * n, (size_t)n * 4);
        soften(y, n, s, two);
        memset(two, 0, (size_t)s * 4);
        row_dot(two, y, g, n, s);
        if (!step->accumulate) memset(out, 0, (size_t)n * 4);
        for (long p = 0; p < n; p += s) LANES(k, s) out[p + k] += y[p + k] * (g[p + k] - two[k]);
    }
}

/* [outer][first][second][inner] is written as [outer][second][first][inner]. Threads share what is written. */
static void exchange(const Context *x, const MestStep *step, const float *in) {
    const MestExchange *r = step->exchange;
    const long n = (long)r->inner * x->program->samples;
    const Range range = share((long)x->program->groups * r->outer * r->second * r->first, x->thread, x->threads);
    for (long i = range.begin; i < range.end; i++) {
        const long first = i % r->first, second = i / r->first % r->second, outer = i / r->first / r->second;
        const float *from = in + ((outer * r->first + first) * r->second + second) * n;
        float *out = step->out + i * n;
        if (step->accumulate) LANES(k, n) out[k] += from[k];
        else memmove(out, from, (size_t)n * 4);
    }
}

static void op_transpose(const Context *x, const MestStep *step) { exchange(x, step, step->a.data); }

static void op_transpose_grad(const Context *x, const MestStep *step) { exchange(x, step, step->g.data); }

#endif
