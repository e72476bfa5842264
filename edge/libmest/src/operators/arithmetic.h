/* Sums, differences, products, quotients and parametric ReLUs of two operands that are broadcast to one shape. */
#ifndef MEST_ARITHMETIC_H
#define MEST_ARITHMETIC_H

#include "arithmetic_reads.h"
#include "elementwise.h"

/* A value of the micro-batch, or where `view` is NULL a parameter, which is the same for all samples. */
typedef struct {
    const MestView *view;
    const float *data; /* of the parameter */
    long channels, height, width;
    int flat; /* one cell a channel, so that every strip of a plane is the same */
    int last; /* a stored tensor whose last dimension is that of the channels */
} Operand;

/* What the loops over a result's planes know: a strip is a whole number of cells, or part of one with many samples. */
typedef struct {
    const MestArithmetic *row;
    Operand sides[2];
    long s, n, strip, planes;
} Arithmetic;

static Arithmetic arithmetic_of(const Context *x, const MestStep *step) {
    const MestArithmetic *r = step->arithmetic;
    Arithmetic a = {.row = r, .s = x->program->samples};
    a.n = plane_floats(x, r->height, r->width);
    a.strip = a.s < STRIP ? STRIP - STRIP % a.s : STRIP;
    a.planes = x->program->groups * (long)r->channels;
    a.sides[MEST_LEFT] = (Operand){&step->a, NULL, r->left_channels, r->left_height, r->left_width, 0, 0};
    a.sides[MEST_RIGHT] = (Operand){&step->b, NULL, r->right_channels, r->right_height, r->right_width, 0, 0};
    for (int side = 0; side < 2; side++) {
        Operand *o = a.sides + side;
        if (r->stored_side == side) o->view = NULL, o->data = r->stored, o->last = r->features_last;
        o->flat = o->height * o->width == 1 && a.s <= STRIP;
    }
    return a;
}

static long cells_of(const Operand *o) { return o->height * o->width; }

/* Where a stored tensor has the number of a channel's cell. */
static long place_of(const Operand *o, long channel, long cell) {
    return o->last ? cell * o->channels + channel : channel * cells_of(o) + cell;
}

/* Which cell of an operand's plane a cell of the result's reads. */
static long cell_of(const Operand *o, const MestArithmetic *r, long cell) {
    const long y = o->height == 1 ? 0 : cell / r->width, q = o->width == 1 ? 0 : cell % r->width;
    return y * o->width + q;
}

/* out = m floats of an operand, from float p on of a plane of the result. */
static void operand_read(const Arithmetic *a, const Operand *o, long plane, long p, long m, float *out) {
    const MestArithmetic *r = a->row;
    const long cells = cells_of(o), channel = o->channels == 1 ? 0 : plane % r->channels, group = plane / r->channels;
    if (o->flat && p) return; /* as it was read for the first strip */
    if (o->view && cells == (long)r->height * r->width) {
        view_read_at(o->view, channel, (group * o->channels + channel) * a->n + p, out, m);
        return;
    }
    for (long n; m > 0; m -= n, p += n, out += n) {
        const long from = cell_of(o, r, p / a->s), k = p % a->s;
        n = least(m, a->s - k);
        if (o->view) {
            view_read_at(o->view, channel, ((group * o->channels + channel) * cells + from) * a->s + k, out, n);
        } else {
            const float stored = o->data[place_of(o, channel, from)];
            LANES(i, n) out[i] = stored;
        }
    }
}

static void op_arithmetic(const Context *x, const MestStep *step) {
    const Arithmetic a = arithmetic_of(x, step);
    const Range range = share(a.planes, x->thread, x->threads);
    float u[STRIP], v[STRIP];
    if (step->norm) sums_clear(step->norm, x->thread);
    for (long i = range.begin; i < range.end; i++)
        for (long p = 0; p < a.n; p += a.strip) {
            const long m = least(a.strip, a.n - p);
            float *out = step->out + i * a.n + p;
            operand_read(&a, a.sides + MEST_LEFT, i, p, m, u);
            operand_read(&a, a.sides + MEST_RIGHT, i, p, m, v);
            switch (a.row->kind) {
            case MEST_KIND_ADD: LANES(k, m) out[k] = u[k] + v[k]; break;
            case MEST_KIND_SUB: LANES(k, m) out[k] = u[k] - v[k]; break;
            case MEST_KIND_MUL: LANES(k, m) out[k] = u[k] * v[k]; break;
            case MEST_KIND_DIV: LANES(k, m) out[k] = u[k] / v[k]; break;
            case MEST_KIND_PRELU: LANES(k, m) out[k] = u[k] > 0 ? u[k] : u[k] * v[k]; break;
            }
            store_act(out, m, step->act);
            if (step->norm) sums_add(sums_of(step->norm, x->thread, i % a.row->channels), out, m);
        }
}

/* One strip of the gradient of a side, before it is summed over what the operand is broadcast along. */
static void gradient_read(const Arithmetic *a, const MestStep *step, int side, long plane, long p, long m, float *u,
                          float *v, float *g) {
    const long at = plane * a->n + p;
    const MestArithmetic *r = a->row;
    grad_read_at(&step->g, plane % r->channels, at, g, m);
    if (gradient_reads(r, side, MEST_LEFT)) operand_read(a, a->sides + MEST_LEFT, plane, p, m, u);
    if (gradient_reads(r, side, MEST_RIGHT)) operand_read(a, a->sides + MEST_RIGHT, plane, p, m, v);
    switch (r->kind) {
    case MEST_KIND_SUB:
        if (side == MEST_RIGHT) LANES(k, m) g[k] = -g[k];
        break;
    case MEST_KIND_MUL:
        if (side == MEST_LEFT) LANES(k, m) g[k] *= v[k];
        else LANES(k, m) g[k] *= u[k];
        break;
    case MEST_KIND_DIV:
        if (side == MEST_LEFT) LANES(k, m) g[k] /= v[k];
        else LANES(k, m) g[k] *= -u[k] / (v[k] * v[k]);
        break;
    case MEST_KIND_PRELU: /* at 0 itself that of the lower side */
        if (side == MEST_LEFT) LANES(k, m) g[k] = u[k] > 0 ? g[k] : g[k] * v[k];
        else LANES(k, m) g[k] = u[k] > 0 ? 0 : g[k] * u[k];
        break;
    }
}

/* Adds a strip of a gradient to the plane of an operand that is smaller than the result's. */
static void strip_add(const Arithmetic *a, const Operand *o, long p, long m, const float *g, float *to) {
    float tile[STRIP];
    if (o->flat) { /* the strip's own sum first: few roundings however large the plane is */
        memset(tile, 0, (size_t)a->s * 4);
        for (long i = 0; i < m; i += a->s) LANES(k, a->s) tile[k] += g[i + k];
        LANES(k, a->s) to[k] += tile[k];
        return;
    }
    for (long n; m > 0; m -= n, p += n, g += n) {
        const long k = p % a->s;
        float *cell = to + cell_of(o, a->row, p / a->s) * a->s + k;
        n = least(m, a->s - k);
        LANES(i, n) cell[i] += g[i];
    }
}

/* out (+)= the gradient of the value on `side`. Threads share its planes. In place where out is g's own data. */
static void op_arithmetic_grad(const Context *x, const MestStep *step) {
    const Arithmetic a = arithmetic_of(x, step);
    const int side = a.row->side;
    const Operand *o = a.sides + side;
    const long n = cells_of(o) * a.s, each = a.row->channels / o->channels; /* planes of the result for one of it */
    const int whole = n == a.n && each == 1;
    const Range range = share(x->program->groups * o->channels, x->thread, x->threads);
    float u[STRIP], v[STRIP], g[STRIP];
    if (step->sums_norm) sums_clear(step->sums_norm, x->thread);
    for (long i = range.begin; i < range.end; i++) {
        float *out = step->out + i * n;
        if (!step->accumulate && !whole) memset(out, 0, (size_t)n * 4);
        for (long plane = i * each; plane < (i + 1) * each; plane++)
            for (long p = 0; p < a.n; p += a.strip) {
                const long m = least(a.strip, a.n - p);
                gradient_read(&a, step, side, plane, p, m, u, v, g);
                if (!whole) strip_add(&a, o, p, m, g, out);
                else if (step->accumulate) LANES(k, m) out[p + k] += g[k];
                else memcpy(out + p, g, (size_t)m * 4);
            }
        if (step->sums_norm) {
            const long c = i % o->channels;
            grad_sums_add_at(&step->sums, c, sums_of(step->sums_norm, x->thread, c), out, i * n, n);
        }
    }
}

/* Adds the gradient of the stored tensor. Each thread sums its planes in scratch; joined in thread order. */
static void op_stored_grad(const Context *x, const MestStep *step) {
    const Arithmetic a = arithmetic_of(x, step);
    const int side = a.row->stored_side;
    const Operand *o = a.sides + side;
    const long cells = cells_of(o), count = o->channels * cells;
    const Range range = share(a.planes, x->thread, x->threads);
    double *all = (double *)step->scratch, *own = all + x->thread * count;
    float u[STRIP], v[STRIP], g[STRIP];
    memset(own, 0, sizeof(double) * (size_t)count);
    for (long i = range.begin; i < range.end; i++) {
        const long channel = o->channels == 1 ? 0 : i % a.row->channels;
        for (long p = 0; p < a.n; p += a.strip) {
            const long m = least(a.strip, a.n - p);
            gradient_read(&a, step, side, i, p, m, u, v, g);
            for (long k = 0, part; k < m; k += part) {
                part = cells == 1 ? m : least(m - k, a.s - (p + k) % a.s);
                own[place_of(o, channel, cell_of(o, a.row, (p + k) / a.s))] += sum_of(g + k, part);
            }
        }
    }
    mest_barrier(x->pool, x->thread);
    const Range entries = share(count, x->thread, x->threads);
    for (long e = entries.begin; e < entries.end; e++) {
        double total = 0;
        for (int t = 0; t < x->threads; t++) total += all[t * count + e];
        a.row->stored_grad[e] += (float)total;
    }
}

#endif
