/* Filling a thread's panels from stored tensors. */
#ifndef MEST_CONV_PACK_H
#define MEST_CONV_PACK_H

#include "conv_geometry.h"

static void zeros(float *out, long n) {
    if (n > 0) memset(out, 0, (size_t)n * 4);
}

/* What a panel is filled from: a value, or the gradient of one. */
typedef struct {
    const MestView *view;
    const MestGrad *grad; /* where `view` is NULL */
    long channels;
} Source;

static Source source_of_view(const MestView *v) {
    const Source s = {v, NULL, v->channels};
    return s;
}

static Source source_of_grad(const MestGrad *v) {
    const Source s = {NULL, v, v->channels};
    return s;
}

MEST_INLINE void source_read(const Source *s, long channel, long at, float *out, long n) {
    if (s->view) view_read_at(s->view, channel, at, out, n);
    else grad_read_at(s->grad, channel, at, out, n);
}

/* One panel row: plane columns 0..plane_w of parity px, from the input row of channel `channel` that begins at number `at`. */
static void pack_line(const Geometry *g, const Source *v, long channel, long at, long px, float *out) {
    const MestConv *c = g->c;
    const long s = g->samples, stride = c->stride_w, left = c->pad_left - px;
    const long first = left > 0 ? ceil_div(left, stride) : 0;  /* the first plane column with real input */
    const long last = least(c->plane_w, (c->in_w - 1 + left) < 0 ? 0 : (c->in_w - 1 + left) / stride + 1);
    zeros(out, least(first, c->plane_w) * s);
    if (stride == 1) {
        if (last > first) source_read(v, channel, at + (first - left) * s, out + first * s, (last - first) * s);
    } else {
        for (long x = first; x < last; x++) source_read(v, channel, at + (x * stride - left) * s, out + x * s, s);
    }
    zeros(out + most(last, first) * s, (c->plane_w - most(last, first)) * s);
}

/* Asks for a row of each tensor that a panel is filled from, before its turn: the next channel's lies too far for hardware to
 * foresee. Of tensors that may still lie in a cache it only costs time, so they must have `FAR_BYTES` or more a group. */
enum { FAR_BYTES = 1 << 20 };

MEST_INLINE void expect_row(const Source *v, long plane, long at, long n) {
    const float *first = v->view ? v->view->data : v->grad->data, *second = v->view ? NULL : v->grad->stored;
    if (4 * plane * v->channels < FAR_BYTES) return;
    if (v->view ? v->view->storage != MEST_SAVED_FLOAT32 : v->grad->storage != MEST_SAVED_FLOAT32) return;
    for (long i = 0; i < n; i += 16) __builtin_prefetch(first + at + i);
    for (long i = 0; second && i < n; i += 16) __builtin_prefetch(second + at + i);
}

/* Packs the panel of the layer's channels for group `group` and tile `t`. */
static void pack_input(const Geometry *g, const Source *v, long group, const Tile *t, float *panel) {
    const MestConv *c = g->c;
    const long s = g->samples, rows = t->y1 - t->y0 + g->reach_h;
    for (long i = 0; i < c->in_channels; i++) {
        const long channel = c->channel_list ? c->channel_list[i] : i;
        const long plane = (group * v->channels + channel) * (long)c->in_h * c->in_w * s;
        for (long py = 0; py < g->parities_h; py++)
            for (long px = 0; px < g->parities_w; px++, panel += g->x_plane) {
                for (long u = 0; u < rows; u++) {
                    const long y = (t->y0 + u) * c->stride_h + py - c->pad_top;
                    float *out = panel + u * g->line;
                    if (y < 0 || y >= c->in_h) {
                        zeros(out, g->line);
                        continue;
                    }
                    if (px == 0 && channel + 1 < v->channels)
                        expect_row(v, c->in_h * c->in_w * s, plane + (c->in_h + y) * c->in_w * s, c->in_w * s);
                    pack_line(g, v, channel, plane + y * c->in_w * s, px, out);
                }
                /* Vectors may run over a short tile's end: what they read there must be finite. */
                zeros(panel + rows * g->line, least(MEST_SLACK_FLOATS, g->x_plane - rows * g->line));
            }
    }
    zeros(panel, MEST_SLACK_FLOATS);
}

/* Packs rows [r0, r1) of the output's gradient for the tile; rows outside the output are zero. */
static void pack_gradient(const Geometry *g, const Source *v, long group, const Tile *t, long r0, long r1, float *panel) {
    const MestConv *c = g->c;
    const long plane = (long)c->out_h * g->run;
    for (long r = r0; r < r1; r++) {
        const long at = (group * c->rows + r) * plane;
        float *out = panel + r * g->d_plane;
        zeros(out, g->lead);
        out += g->lead;
        for (long y = t->d_low; y < t->d_high; y++, out += g->line) {
            if (y < 0 || y >= c->out_h) {
                zeros(out, g->line);
                continue;
            }
            if (r + 1 < r1) expect_row(v, plane, at + plane + y * g->run, g->run);
            source_read(v, r, at + y * g->run, out, g->run);
            zeros(out + g->run, g->line - g->run);
        }
    }
    zeros(panel + c->rows * g->d_plane, MEST_SLACK_FLOATS);
}

#endif
