/* Attention between all positions of a sample: softmax(scale * q k') v for each head.
 *
 * A row of weights, one number a position and sample, is computed for one query of one head at a time, in the backward pass
 * once more; no square of positions is ever stored. Samples lie side by side in all of them. */
#ifndef MEST_ATTENTION_H
#define MEST_ATTENTION_H

#include "views.h"

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

/* row[i] += each[i % s] * x[i] over n floats, whole periods of s. */
static void row_add(float *row, const float *each, const float *x, long n, long s) {
    float tile[STRIP];
    if (s == 1) {
        const float one = *each;
        LANES(i, n) row[i] += one * x[i];
        return;
    }
    if (s > STRIP / 4) {
        for (long p = 0; p < n; p += s) LANES(i, s) row[p + i] += each[i] * x[p + i];
        return;
    }
    const long length = n <= STRIP ? n : STRIP - STRIP % s;
    for (long k = 0; k < length; k += s) memcpy(tile + k, each, (size_t)s * 4);
    for (long p = 0; p < n; p += length) {
        const long m = least(length, n - p);
        LANES(i, m) row[p + i] += tile[i] * x[p + i];
    }
}

/* each[i % s] (+)= the sum of x[i] * y[i]. */
static void row_dot(float *each, const float *x, const float *y, long n, long s, int add) {
    float sums[STRIP];
    if (!add) memset(each, 0, (size_t)s * 4);
    if (s > STRIP / 4) {
        for (long p = 0; p < n; p += s) LANES(i, s) each[i] += x[p + i] * y[p + i];
        return;
    }
    const long length = least(n, s > 32 ? s : 64 - 64 % s); /* sums side by side */
    memset(sums, 0, (size_t)length * 4);
    for (long p = 0; p < n; p += length) {
        const long m = least(length, n - p);
        LANES(i, m) sums[i] += x[p + i] * y[p + i];
    }
    for (long p = 0; p < length; p += s) LANES(i, s) each[i] += sums[p + i];
}

/* weights[j, sample] of one query: how much it takes of each position. `two` is room for two numbers a sample. */
static void weights_of(const Head *h, const float *x, long query, float scale, float *weights, float *two) {
    float *most_of = two, *sum = two + h->s;
    memset(weights, 0, (size_t)h->n * 4);
    for (long d = 0; d < h->keys; d++)
        row_add(weights, x + h->query + d * h->n + query * h->s, x + h->key + d * h->n, h->n, h->s);
    LANES(i, h->n) weights[i] *= scale;
    memcpy(most_of, weights, (size_t)h->s * 4);
    for (long p = h->s; p < h->n; p += h->s)
        LANES(i, h->s) most_of[i] = weights[p + i] > most_of[i] ? weights[p + i] : most_of[i];
    for (long p = 0; p < h->n; p += h->s) LANES(i, h->s) weights[p + i] -= most_of[i];
    exponentials(weights, h->n);
    memset(sum, 0, (size_t)h->s * 4);
    for (long p = 0; p < h->n; p += h->s) LANES(i, h->s) sum[i] += weights[p + i];
    LANES(i, h->s) sum[i] = 1.0f / sum[i];
    for (long p = 0; p < h->n; p += h->s) LANES(i, h->s) weights[p + i] *= sum[i];
}

/* Threads share the queries of all heads. */
static void op_attention(const Context *x, const MestStep *step) {
    const MestAttention *r = step->attention;
    const long positions = (long)step->a.height * step->a.width;
    const Range range = share((long)x->program->groups * r->heads * positions, x->thread, x->threads);
    float *weights = step->scratch + x->thread * step->scratch_floats;
    for (long i = range.begin; i < range.end; i++) {
        const Head h = head_of(x, step, i / positions);
        const long query = i % positions;
        weights_of(&h, step->a.data, query, r->scale, weights, weights + h.n);
        for (long d = 0; d < h.values; d++)
            row_dot(step->out + h.result + d * h.n + query * h.s, weights, step->a.data + h.value + d * h.n, h.n, h.s, 0);
    }
}

/* out (+)= the gradients of queries, keys and values. Threads share the heads, so that each writes channels of its own. */
static void op_attention_grad(const Context *x, const MestStep *step) {
    const MestAttention *r = step->attention;
    const long positions = (long)step->a.height * step->a.width;
    const Range range = share((long)x->program->groups * r->heads, x->thread, x->threads);
    for (long index = range.begin; index < range.end; index++) {
        const Head h = head_of(x, step, index);
        const float *in = step->a.data, *g = step->g.data + h.result;
        float *weights = step->scratch + x->thread * step->scratch_floats, *own = weights + h.n, *two = own + h.n;
        float *query_grad = step->out + h.query, *key_grad = step->out + h.key, *value_grad = step->out + h.value;
        if (!step->accumulate) {
            memset(query_grad, 0, (size_t)(h.keys * h.n) * 4);
            memset(key_grad, 0, (size_t)(h.keys * h.n) * 4);
            memset(value_grad, 0, (size_t)(h.values * h.n) * 4);
        }
        for (long query = 0; query < positions; query++) {
            const long at = query * h.s;
            weights_of(&h, in, query, r->scale, weights, two);
            memset(own, 0, (size_t)h.n * 4);
            for (long d = 0; d < h.values; d++) {
                row_add(own, g + d * h.n + at, in + h.value + d * h.n, h.n, h.s);
                row_add(value_grad + d * h.n, g + d * h.n + at, weights, h.n, h.s);
            }
            row_dot(two, weights, own, h.n, h.s, 0);
            for (long p = 0; p < h.n; p += h.s)
                LANES(i, h.s) own[p + i] = weights[p + i] * (own[p + i] - two[i]) * r->scale;
            for (long d = 0; d < h.keys; d++) {
                row_dot(query_grad + d * h.n + at, own, in + h.key + d * h.n, h.n, h.s, 1);
                row_add(key_grad + d * h.n, in + h.query + d * h.n + at, own, h.n, h.s);
            }
        }
    }
}

#endif
