/* Attention between the positions of a window: softmax(scale * q k' + bias + mask) v for each head.
 *
 * A row of weights has one number a position and sample. A few are computed at a time, for queries of one head, in the
 * backward pass once more; no square of positions is ever stored. Samples lie side by side in all of them. */
#ifndef MEST_ATTENTION_H
#define MEST_ATTENTION_H

#include "sums.h"

enum { PERIODS = 64 }; /* floats that numbers a sample are repeated over: whole periods of samples of these */

/* A head of one window and group of samples: its channels in the stored tensor, of each a row of `n` floats. */
typedef struct {
    long s, n, plane;  /* samples; floats of a row, and from a channel to the next */
    long length;       /* positions of the window */
    const float *mask; /* of the window, or NULL */
    const int32_t *places; /* of the head */
    long keys, values; /* channels of a head: of its queries and keys, of its values */
    long query, key, value, result; /* the first float of the head's channels in the input, and in the result */
} Head;

static Head head_of(const Context *x, const MestStep *step, long index) {
    const MestAttention *r = step->attention;
    const long window = index % r->windows, head = index / r->windows % r->heads, group = index / r->windows / r->heads;
    const long channels = step->a.channels, positions = (long)step->a.height * step->a.width;
    Head h = {.s = x->program->samples, .values = r->features / r->heads, .length = positions / r->windows};
    h.n = h.length * h.s;
    h.plane = positions * h.s;
    h.keys = (channels - r->features) / (2L * r->heads);
    h.query = (group * channels + head * h.keys) * h.plane + window * h.n;
    h.key = h.query + h.keys * r->heads * h.plane;
    h.value = (group * channels + 2 * h.keys * r->heads + head * h.values) * h.plane + window * h.n;
    h.result = (group * r->features + head * h.values) * h.plane + window * h.n;
    if (r->mask) h.mask = r->mask + (r->mask_windows > 1 ? window : 0) * h.length * h.length;
    if (r->places) h.places = r->places + head * h.length * h.length;
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

/* The scores of a query: `row` times the scale, and what stands beside them. */
static void score(const Head *h, const MestAttention *r, long query, float *row) {
    const long first = query * h->length;
    LANES(i, h->n) row[i] *= r->scale;
    if (!h->mask && !h->places) return;
    for (long p = 0; p < h->length; p++) {
        const float beside = (h->mask ? h->mask[first + p] : 0) + (h->places ? r->bias[h->places[first + p]] : 0);
        LANES(i, h->s) row[p * h->s + i] += beside;
    }
}

/* A row of n floats becomes e to its power over the sum of those of its sample. `two` is room for two numbers a sample. */
static void soften(float *row, long n, long s, float *two) {
    float *most_of = two, *sum = two + s;
    memcpy(most_of, row, (size_t)s * 4);
    for (long p = s; p < n; p += s) LANES(i, s) most_of[i] = row[p + i] > most_of[i] ? row[p + i] : most_of[i];
    for (long p = 0; p < n; p += s) LANES(i, s) row[p + i] -= most_of[i];
    exponentials(row, n);
    memset(sum, 0, (size_t)s * 4);
    for (long p = 0; p < n; p += s) LANES(i, s) sum[i] += row[p + i];
    LANES(i, s) sum[i] = 1.0f / sum[i];
    for (long p = 0; p < n; p += s) LANES(i, s) row[p + i] *= sum[i];
}

/* weights[query][position, sample] of `count` queries from the first on: how much each takes of each position. */
static void weights_of(const Head *h, const MestAttention *r, const float *x, long first, long count, float *weights,
                       float *two) {
    memset(weights, 0, (size_t)(count * h->n) * 4);
    STRIPS(h, p, m)
        for (long d = 0; d < h->keys; d++)
            for (long q = 0; q < count; q++)
                row_add(weights + q * h->n + p, x + h->query + d * h->plane + (first + q) * h->s,
                        x + h->key + d * h->plane + p, m, h->s);
    for (long q = 0; q < count; q++) {
        score(h, r, first + q, weights + q * h->n);
        soften(weights + q * h->n, h->n, h->s, two);
    }
}

/* Threads share the queries of all windows and heads, a few at a time. */
static void op_attention(const Context *x, const MestStep *step) {
    const MestAttention *r = step->attention;
    const long length = (long)step->a.height * step->a.width / r->windows, each = ceil_div(length, MEST_QUERIES);
    const Range range = share((long)x->program->groups * r->heads * r->windows * each, x->thread, x->threads);
    float *weights = step->scratch + x->thread * step->scratch_floats;
    for (long i = range.begin; i < range.end; i++) {
        const Head h = head_of(x, step, i / each);
        const long first = i % each * MEST_QUERIES, count = least(MEST_QUERIES, length - first);
        float *out = step->out + h.result + first * h.s;
        weights_of(&h, r, step->a.data, first, count, weights, weights + MEST_QUERIES * h.n);
        for (long d = 0; d < h.values; d++) memset(out + d * h.plane, 0, (size_t)(count * h.s) * 4);
        STRIPS(&h, p, m)
            for (long d = 0; d < h.values; d++)
                for (long q = 0; q < count; q++)
                    row_dot(out + d * h.plane + q * h.s, weights + q * h.n + p, step->a.data + h.value + d * h.plane + p, m,
                            h.s);
    }
}

/* Adds the gradient of a query's scores, summed over the samples, to the numbers of the bias that were added to them. */
static void bias_add(const Head *h, long query, const float *of, double *bias) {
    const int32_t *places = h->places + query * h->length;
    for (long p = 0; p < h->length; p++) bias[places[p]] += sum_of(of + p * h->s, h->s);
}

/* The gradients of a few queries, and what they add to those of all keys and values, and to the bias where it is. */
static void queries_grad(const Head *h, const MestStep *step, long first, long count, float *weights, float *own, float *two,
                         double *bias) {
    const float *in = step->a.data, *g = step->g.data + h->result + first * h->s, *query = in + h->query + first * h->s;
    float *out = step->out, *query_grad = out + h->query + first * h->s;
    const float scale = step->attention->scale;
    weights_of(h, step->attention, in, first, count, weights, two);
    memset(own, 0, (size_t)(count * h->n) * 4);
    STRIPS(h, p, m)
        for (long d = 0; d < h->values; d++)
            for (long q = 0; q < count; q++) {
                const float *each = g + d * h->plane + q * h->s;
                row_add(own + q * h->n + p, each, in + h->value + d * h->plane + p, m, h->s);
                row_add(out + h->value + d * h->plane + p, each, weights + q * h->n + p, m, h->s);
            }
    for (long q = 0; q < count; q++) {
        const float *row = weights + q * h->n;
        float *of = own + q * h->n;
        memset(two, 0, (size_t)h->s * 4);
        row_dot(two, row, of, h->n, h->s);
        for (long p = 0; p < h->n; p += h->s) LANES(i, h->s) of[p + i] = row[p + i] * (of[p + i] - two[i]);
        if (bias) bias_add(h, first + q, of, bias);
        LANES(i, h->n) of[i] *= scale;
    }
    STRIPS(h, p, m)
        for (long d = 0; d < h->keys; d++)
            for (long q = 0; q < count; q++) {
                row_dot(query_grad + d * h->plane + q * h->s, own + q * h->n + p, in + h->key + d * h->plane + p, m, h->s);
                row_add(out + h->key + d * h->plane + p, query + d * h->plane + q * h->s, own + q * h->n + p, m, h->s);
            }
}

static void rows_clear(const Head *h, float *first, long count) {
    for (long d = 0; d < count; d++) memset(first + d * h->plane, 0, (size_t)h->n * 4);
}

/* The threads' sums of the bias's gradient, joined in thread order. */
static void bias_join(const Context *x, const MestStep *step) {
    const MestAttention *r = step->attention;
    mest_barrier(x->pool, x->thread);
    const Range entries = share(r->bias_count, x->thread, x->threads);
    for (long e = entries.begin; e < entries.end; e++) {
        double total = 0;
        for (int t = 0; t < x->threads; t++) total += ((const double *)(step->scratch + t * step->scratch_floats))[e];
        r->bias_grad[e] += (float)total;
    }
}

/* out (+)= the gradients of queries, keys and values. Threads share windows and heads, so that each writes rows of its own;
 * a thread's scratch begins with its sums of the bias's gradient. */
static void op_attention_grad(const Context *x, const MestStep *step) {
    const MestAttention *r = step->attention;
    const long length = (long)step->a.height * step->a.width / r->windows, sums = r->bias_grad ? r->bias_count : 0;
    const Range range = share((long)x->program->groups * r->heads * r->windows, x->thread, x->threads);
    float *scratch = step->scratch + x->thread * step->scratch_floats, *weights = scratch + 2 * sums;
    double *bias = sums ? (double *)scratch : NULL;
    memset(scratch, 0, sizeof(double) * (size_t)sums);
    for (long index = range.begin; index < range.end; index++) {
        const Head h = head_of(x, step, index);
        float *own = weights + MEST_QUERIES * h.n;
        if (!step->accumulate) {
            rows_clear(&h, step->out + h.query, h.keys);
            rows_clear(&h, step->out + h.key, h.keys);
            rows_clear(&h, step->out + h.value, h.values);
        }
        for (long first = 0; first < length; first += MEST_QUERIES)
            queries_grad(&h, step, first, least(MEST_QUERIES, length - first), weights, own, own + MEST_QUERIES * h.n, bias);
    }
    if (sums) bias_join(x, step);
}

#endif
