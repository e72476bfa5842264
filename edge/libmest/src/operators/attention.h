/* Attention between all positions of a sample: softmax(scale * q k') v for each head.
 *
 * A row of weights has one number a position and sample. A few are computed at a time, for queries of one head, in the
 * backward pass once more; no square of positions is ever stored. Samples lie side by side in all of them. */
#ifndef MEST_ATTENTION_H
#define MEST_ATTENTION_H

#include "views.h"

enum { PERIODS = 64 }; /* floats that numbers a sample are repeated over: whole periods of samples of these */

/* A head of one group of samples: its channels in the stored tensor, each a row of `n` floats. */
typedef struct {
    long s, n;         /* samples; floats of a row */
    long keys, values; /* channels of a head: of its queries and keys, of its values */
    long query, key, value, result; /* the first float of the head's channels in the input, and in the result */
} Head;

static Head head_of(const Context *x, const MestStep *step, long index) {
    const MestAttention *r = step->attention;
    const long channels = step->a.channels, group = index / r->heads, head = index % r->heads;
    Head h = {.s = x->program->samples, .values = r->features / r->heads};
    h.n = (long)step->a.height * step->a.width * h.s;
    h.keys = (channels - r->features) / (2L * r->heads);
    h.query = (group * channels + head * h.keys) * h.n;
    h.key = h.query + h.keys * r->heads * h.n;
    h.value = (group * channels + 2 * h.keys * r->heads + head * h.values) * h.n;
    h.result = (group * r->features + head * h.values) * h.n;
    return h;
}

/* True if a number for each sample is a vector, or several. */
static int whole_vectors(long s) { return MEST_VL > 1 && s % MEST_VL == 0; }

/* row[i] += each[i % s] * x[i] over n floats, whole periods of s. */
static void row_add(float *row, const float *each, const float *x, long n, long s) {
    if (s == 1) {
        const float one = *each;
        LANES(i, n) row[i] += one * x[i];
    } else if (whole_vectors(s)) {
#if MEST_VL > 1
        for (long k = 0; k < s; k += MEST_VL) {
            const vf e = load(each + k);
            for (long p = k; p < n; p += s) store(row + p, load(row + p) + e * load(x + p));
        }
#endif
    } else if (s > PERIODS) {
        for (long p = 0; p < n; p += s) LANES(i, s) row[p + i] += each[i] * x[p + i];
    } else {
        float periods[PERIODS];
        const long length = PERIODS - PERIODS % s;
        for (long k = 0; k < length; k += s) memcpy(periods + k, each, (size_t)s * 4);
        for (long p = 0; p < n; p += length) {
            const long m = least(length, n - p);
            LANES(i, m) row[p + i] += periods[i] * x[p + i];
        }
    }
}

/* each[i % s] += the sum of x[i] * y[i] over n floats, whole periods of s. */
static void row_dot(float *each, const float *x, const float *y, long n, long s) {
#if MEST_VL > 1
    if (whole_vectors(s)) {
        for (long k = 0; k < s; k += MEST_VL) {
            vf a = load(each + k), b = {0}, c = {0}, d = {0};
            long p = k;
            for (; p + 3 * s < n; p += 4 * s) {
                a += load(x + p) * load(y + p);
                b += load(x + p + s) * load(y + p + s);
                c += load(x + p + 2 * s) * load(y + p + 2 * s);
                d += load(x + p + 3 * s) * load(y + p + 3 * s);
            }
            for (; p < n; p += s) a += load(x + p) * load(y + p);
            store(each + k, (a + b) + (c + d));
        }
        return;
    }
#endif
    if (s > PERIODS) {
        for (long p = 0; p < n; p += s) LANES(i, s) each[i] += x[p + i] * y[p + i];
        return;
    }
    float sums[PERIODS] = {0};
    const long length = PERIODS - PERIODS % s;
    for (long p = 0; p < n; p += length) {
        const long m = least(length, n - p);
        LANES(i, m) sums[i] += x[p + i] * y[p + i];
    }
    for (long p = 0; p < length; p += s) LANES(i, s) each[i] += sums[p + i];
}

/* As much of a row as stays in the first cache with those of all queries: whole periods of samples. */
static long strip_of(const Head *h) { return h->s < STRIP ? STRIP - STRIP % h->s : h->s; }

#define STRIPS(h, p, m) for (long p = 0, m; p < (h)->n && (m = least(strip_of(h), (h)->n - p)); p += m)

/* A row becomes e to its power over the sum of those of its sample. `two` is room for two numbers a sample. */
static void soften(const Head *h, float scale, float *row, float *two) {
    float *most_of = two, *sum = two + h->s;
    LANES(i, h->n) row[i] *= scale;
    memcpy(most_of, row, (size_t)h->s * 4);
    for (long p = h->s; p < h->n; p += h->s) LANES(i, h->s) most_of[i] = row[p + i] > most_of[i] ? row[p + i] : most_of[i];
    for (long p = 0; p < h->n; p += h->s) LANES(i, h->s) row[p + i] -= most_of[i];
    exponentials(row, h->n);
    memset(sum, 0, (size_t)h->s * 4);
    for (long p = 0; p < h->n; p += h->s) LANES(i, h->s) sum[i] += row[p + i];
    LANES(i, h->s) sum[i] = 1.0f / sum[i];
    for (long p = 0; p < h->n; p += h->s) LANES(i, h->s) row[p + i] *= sum[i];
}

/* weights[query][position, sample] of `count` queries from the first on: how much each takes of each position. */
static void weights_of(const Head *h, const float *x, long first, long count, float scale, float *weights, float *two) {
    memset(weights, 0, (size_t)(count * h->n) * 4);
    STRIPS(h, p, m)
        for (long d = 0; d < h->keys; d++)
            for (long q = 0; q < count; q++)
                row_add(weights + q * h->n + p, x + h->query + d * h->n + (first + q) * h->s, x + h->key + d * h->n + p, m, h->s);
    for (long q = 0; q < count; q++) soften(h, scale, weights + q * h->n, two);
}

/* Threads share the queries of all heads, a few at a time. */
static void op_attention(const Context *x, const MestStep *step) {
    const MestAttention *r = step->attention;
    const long positions = (long)step->a.height * step->a.width, each = ceil_div(positions, MEST_QUERIES);
    const Range range = share((long)x->program->groups * r->heads * each, x->thread, x->threads);
    float *weights = step->scratch + x->thread * step->scratch_floats;
    for (long i = range.begin; i < range.end; i++) {
        const Head h = head_of(x, step, i / each);
        const long first = i % each * MEST_QUERIES, count = least(MEST_QUERIES, positions - first);
        float *out = step->out + h.result + first * h.s;
        weights_of(&h, step->a.data, first, count, r->scale, weights, weights + MEST_QUERIES * h.n);
        for (long d = 0; d < h.values; d++) memset(out + d * h.n, 0, (size_t)(count * h.s) * 4);
        STRIPS(&h, p, m)
            for (long d = 0; d < h.values; d++)
                for (long q = 0; q < count; q++)
                    row_dot(out + d * h.n + q * h.s, weights + q * h.n + p, step->a.data + h.value + d * h.n + p, m, h.s);
    }
}

/* The gradients of a few queries, and what they add to those of all keys and values. */
static void queries_grad(const Head *h, const MestStep *step, long first, long count, float *weights, float *own, float *two) {
    const float *in = step->a.data, *g = step->g.data + h->result + first * h->s, *query = in + h->query + first * h->s;
    float *out = step->out, *query_grad = out + h->query + first * h->s;
    const float scale = step->attention->scale;
    weights_of(h, in, first, count, scale, weights, two);
    memset(own, 0, (size_t)(count * h->n) * 4);
    STRIPS(h, p, m)
        for (long d = 0; d < h->values; d++)
            for (long q = 0; q < count; q++) {
                const float *each = g + d * h->n + q * h->s;
                row_add(own + q * h->n + p, each, in + h->value + d * h->n + p, m, h->s);
                row_add(out + h->value + d * h->n + p, each, weights + q * h->n + p, m, h->s);
            }
    for (long q = 0; q < count; q++) {
        const float *row = weights + q * h->n;
        float *of = own + q * h->n;
        memset(two, 0, (size_t)h->s * 4);
        row_dot(two, row, of, h->n, h->s);
        for (long p = 0; p < h->n; p += h->s) LANES(i, h->s) of[p + i] = row[p + i] * (of[p + i] - two[i]) * scale;
    }
    STRIPS(h, p, m)
        for (long d = 0; d < h->keys; d++)
            for (long q = 0; q < count; q++) {
                row_dot(query_grad + d * h->n + q * h->s, own + q * h->n + p, in + h->key + d * h->n + p, m, h->s);
                row_add(out + h->key + d * h->n + p, query + d * h->n + q * h->s, own + q * h->n + p, m, h->s);
            }
}

/* out (+)= the gradients of queries, keys and values. Threads share the heads, so that each writes channels of its own. */
static void op_attention_grad(const Context *x, const MestStep *step) {
    const MestAttention *r = step->attention;
    const long positions = (long)step->a.height * step->a.width;
    const Range range = share((long)x->program->groups * r->heads, x->thread, x->threads);
    for (long index = range.begin; index < range.end; index++) {
        const Head h = head_of(x, step, index);
        float *weights = step->scratch + x->thread * step->scratch_floats, *own = weights + MEST_QUERIES * h.n;
        if (!step->accumulate) {
            memset(step->out + h.query, 0, (size_t)(h.keys * h.n) * 4);
            memset(step->out + h.key, 0, (size_t)(h.keys * h.n) * 4);
            memset(step->out + h.value, 0, (size_t)(h.values * h.n) * 4);
        }
        for (long first = 0; first < positions; first += MEST_QUERIES)
            queries_grad(&h, step, first, least(MEST_QUERIES, positions - first), weights, own, own + MEST_QUERIES * h.n);
    }
}

#endif
