/* Convolution backward: per tile, pack input and gradient, then the weight's and the input's gradient. */
#ifndef MEST_CONV_GRAD_H
#define MEST_CONV_GRAD_H

#include "../kernels/dots.h"
#include "conv.h"

/* Panel offset of (row within a group, tap) as the input gradient reads it; for blocks, of their first row. */
static void gradient_table(const Geometry *g, int32_t *table) {
    const MestConv *c = g->c;
    const long unit = c->format == MEST_BLOCK ? c->block_height : 1;
    for (long r = 0; r < g->group_rows; r += unit)
        for (long y = 0; y < c->kernel_h; y++)
            for (long x = 0; x < c->kernel_w; x++)
                *table++ = (int32_t)(r * g->d_plane - y * c->dilation_h / c->stride_h * g->line -
                                     x * c->dilation_w / c->stride_w * g->samples);
}

/* Channels of the tensor that a layer's input lies in: more than it reads, where it lists those. */
MEST_INLINE long image_channels(const MestStep *step) {
    return step->conv->channel_list ? step->sums.channels : step->conv->in_channels;
}

static void weight_gradient(const Geometry *g, const Tile *t, Range rows, const float *panel, const float *gradient,
                            const int32_t *table, const int32_t *offsets, float *grads, float *bias_grads) {
    const MestConv *c = g->c;
    const long group_panel = g->group_channels * g->parities_h * g->parities_w * g->x_plane;
    const Lines l = lines_of(0, t->y1 - t->y0, g->run, g->line, 1 << 20);
    gradient += g->lead + (t->y0 - t->d_low) * g->line;
    int together;
    for (long r = rows.begin; r < rows.end; r += together) {
        together = rows_together(g, r, rows.end);
        if (grads) {
            const RowsTask f = forward_task(g, r, table, offsets);
            DotsTask d = {0};
            d.panel = panel + r / g->group_rows * group_panel;
            d.offsets = f.offsets;
            d.gradient = gradient + r * g->d_plane;
            d.gradient_stride = g->d_plane;
            d.count = f.count;
            d.runs = l.count;
            d.run_stride = l.stride;
            d.length = l.length;
            d.grads = grads + (f.values - c->values);
            d.entry_step = f.entry_step;
            d.row_step = f.row_step;
            dots_run(&d, together);
        }
        if (bias_grads)
            for (long j = r; j < r + together; j++) {
                float sum = 0;
                for (long y = 0; y < t->y1 - t->y0; y++) {
                    const float *from = gradient + j * g->d_plane + y * g->line;
                    float line = 0;
                    for (long i = 0; i < g->run; i++) line += from[i];
                    sum += line;
                }
                bias_grads[j] += sum;
            }
    }
}

/* Moves one finished chunk of channel i of what the layer's input has, and what its gradient is, into place. `p` counts
 * from plane row u0, column v0. */
MEST_INLINE void finish_input_chunk(const Context *x, const MestStep *step, const Geometry *g, long group, long u0, long u1,
                                    long i, long py, long px, long v0, long v1, const float *chunk, long p, long length,
                                    Store store) {
    const MestConv *c = g->c;
    const long s = g->samples, channel = c->channel_list ? c->channel_list[i] : i;
    const long plane = (group * image_channels(step) + channel) * (long)c->in_h * c->in_w * s;
    for (long u = p / g->line; u < u1 - u0 && u * g->line < p + length; u++) {
        const long y = (u0 + u) * c->stride_h + py - c->pad_top;
        const long low = most(p, u * g->line), high = least(p + length, u * g->line + (v1 - v0) * s);
        if (y < 0 || y >= c->in_h || high <= low) continue;
        const float *from = chunk + (low - p);
        const long at = plane + (y * c->in_w + v0 * c->stride_w + px - c->pad_left) * s;
        if (c->stride_w == 1) {
            store(x, step, channel, at + low - u * g->line, from, high - low);
            continue;
        }
        for (long k = low - u * g->line; k < high - u * g->line;) {
            const long column = k / s, n = least((column + 1) * s, high - u * g->line) - k;
            store(x, step, channel, at + column * c->stride_w * s + k % s, from, n);
            from += n;
            k += n;
        }
    }
}

/* Asks for what finish_input_chunk will touch; for stride 1. */
static void expect_input_chunk(const MestStep *step, const Geometry *g, long group, long u0, long i, long p, long length) {
    const MestConv *c = g->c;
    const long channel = c->channel_list ? c->channel_list[i] : i, run = c->in_w * g->samples;
    const long at = (group * image_channels(step) + channel) * c->in_h * run + (u0 - c->pad_top) * run;
    expect_chunk(step->out + at, g->line, run, p, length);
    if (step->sums_norm && step->sums.storage == MEST_SAVED_FLOAT32) expect_chunk(step->sums.stored + at, g->line, run, p, length);
}

/* The taps of parity (py, px) of a dense layer as lists of panel offsets and value places; returns how many. */
static long dense_taps(const Geometry *g, long py, long px, const int32_t *table, int32_t *offsets, uint32_t *places) {
    const MestConv *c = g->c;
    long n = 0;
    for (long r = 0; r < g->group_rows; r++)
        for (long y = 0; y < c->kernel_h; y++)
            for (long x = 0; x < c->kernel_w; x++) {
                if (y * c->dilation_h % c->stride_h != py || x * c->dilation_w % c->stride_w != px) continue;
                offsets[n] = table[r * g->taps + y * c->kernel_w + x];
                places[n++] = (uint32_t)(r * g->columns + y * c->kernel_w + x);
            }
    return n;
}

/* The gradient of the layer's input over a packed tile of its output's. */
MEST_INLINE void input_gradient(const Context *x, const MestStep *step, const Geometry *g, long group, const Tile *t,
                                Range channels, float *scratch, const Scratch *s, Store store) {
    const MestConv *c = g->c;
    const int32_t *table = (int32_t *)(scratch + s->table);
    int32_t *offsets = (int32_t *)(scratch + s->offsets), *cuts = (int32_t *)(scratch + s->cuts);
    uint32_t *places = (uint32_t *)(scratch + s->places);
    const float *gradient = scratch + s->d;
    float *out = scratch + s->out;
    const int dense = c->format == MEST_DENSE, whole = c->stride_h * c->stride_w == 1;
    const long most_vectors = dense && g->group_channels >= 4 ? NV4 : dense && g->group_channels >= 2 ? NV2 : NV1;
    const long count = channels.end - channels.begin, run = c->in_w * g->samples, plane = c->in_h * run;
    for (long py = 0; py < c->stride_h; py++)
        for (long px = 0; px < c->stride_w; px++) {
            /* plane rows and columns that hold real input, from u0 and v0 on */
            const long left = c->pad_left - px, top = c->pad_top - py;
            const long v0 = left > 0 ? ceil_div(left, c->stride_w) : 0;
            const long v1 = c->in_w - 1 + left < 0 ? 0 : (c->in_w - 1 + left) / c->stride_w + 1;
            const long u0 = most(t->u0, top > 0 ? ceil_div(top, c->stride_h) : 0);
            const long u1 = least(t->u1, c->in_h - 1 + top < 0 ? 0 : (c->in_h - 1 + top) / c->stride_h + 1);
            if (v1 <= v0 || u1 <= u0) continue;
            const long parity = (py * c->stride_w + px) * c->in_channels;
            const long taps = dense ? dense_taps(g, py, px, table, offsets, places) : 0;
            const Lines l = dense ? lines_of(0, u1 - u0, (v1 - v0) * g->samples, g->line, most_vectors)
                                  : squares_of(g, u1 - u0, (v1 - v0) * g->samples);
            const float *start = gradient + g->lead + (u0 - t->d_low) * g->line + v0 * g->samples;
            const int as_is = whole && !c->channel_list && stores_as_is(step, &l, store) &&
                              (l.length == run || g->line == run);
            const long first = group * image_channels(step) * plane + (u0 - c->pad_top) * run;
            const uint32_t *starts = dense ? NULL : c->t_starts + parity;
            const long bands = dense ? 1 : bands_of(x, g, &l, g->group_rows, c->in_channels, starts[c->in_channels] - starts[0]);
            if (bands > 1)
                cut_bands(starts + channels.begin, count, offsets, bands, g->group_rows, g->d_plane,
                          g->reach_h * g->line + g->reach_w * g->samples, cuts);
            for (long n = 0; n < chunks_of(&l); n++) {
                const Chunk k = chunk_of(&l, n);
                const long at = first + k.p / g->line * run + k.p % g->line;
                for (long band = 0; band < bands; band++) {
                    int together = 1;
                    for (long i = channels.begin; i < channels.end; i += together) {
                        const long in_group = i % g->group_channels, block_group = i / g->group_channels;
                        const long room = least(channels.end - i, g->group_channels - in_group);
                        together = !dense ? 1 : room >= 4 ? 4 : room >= 2 ? 2 : 1;
                        RowsTask task = {0};
                        task.panel = start + block_group * g->group_rows * g->d_plane + k.p;
                        task.line = l.stride;
                        task.depth = 1;
                        task.out = as_is ? step->out + at + i * plane : out + (i - channels.begin) * MEST_CHUNK_FLOATS;
                        task.out_stride = as_is ? plane : MEST_CHUNK_FLOATS;
                        task.out_line = as_is ? run : k.vectors * MEST_VL;
                        task.more = as_is && store == store_gradient && step->accumulate;
                        if (dense) {
                            task.offsets = offsets;
                            task.places = places;
                            task.values = c->values + block_group * g->group_rows * g->columns + in_group * g->taps;
                            task.row_step = g->taps;
                            task.count = taps;
                        } else {
                            task.offsets = offsets + starts[i];
                            task.places = c->t_places + starts[i];
                            task.values = c->values;
                            task.count = starts[i + 1] - starts[i];
                            if (c->format == MEST_BLOCK) {
                                task.depth = c->block_height;
                                task.plane = g->d_plane;
                            }
                            if (bands > 1) narrow_to_band(&task, cuts, count, i - channels.begin, band, starts[i]);
                        }
                        for (long j = i; band == 0 && whole && j < i + together; j++)
                            for (long y = 0; y < k.lines; y++)
                                expect_input_chunk(step, g, group, u0, j, k.p + y * l.stride, k.length);
                        rows_run(&task, together, (int)k.lines, (int)k.vectors);
                    }
                }
                for (long i = channels.begin; i < channels.end; i++) {
                    if (as_is) add_sums(x, step, i, at + i * plane, k.lines, run, k.length, store);
                    else
                        for (long y = 0; y < k.lines; y++)
                            finish_input_chunk(x, step, g, group, u0, u1, i, py, px, v0, v1,
                                               out + (i - channels.begin) * MEST_CHUNK_FLOATS + y * k.vectors * MEST_VL,
                                               k.p + y * l.stride, k.length, store);
                }
            }
        }
}

/* Looks up what the input gradient of some channels reads. */
static void look_up_input(const Geometry *g, Range channels, int32_t *table, int32_t *offsets) {
    const MestConv *c = g->c;
    gradient_table(g, table);
    if (c->format == MEST_DENSE || !c->entries) return;
    for (long parity = 0; parity < (long)c->stride_h * c->stride_w; parity++)
        look_up(c->t_columns, c->index_bytes, table, offsets, c->t_starts[parity * c->in_channels + channels.begin],
                c->t_starts[parity * c->in_channels + channels.end]);
}

/* Looks up what some rows read. */
static void look_up_rows(const Geometry *g, Range rows, int32_t *table, int32_t *offsets) {
    const MestConv *c = g->c;
    const long unit = c->format == MEST_BLOCK ? c->block_height : 1;
    input_table(g, table);
    if (c->format != MEST_DENSE && c->entries)
        look_up(c->columns, c->index_bytes, table, offsets, c->starts[rows.begin / unit], c->starts[rows.end / unit]);
}

/* Adds the threads' partial weight gradients in thread order. */
static void join_gradients(const Context *x, const MestStep *step, long values, long bias) {
    const MestConv *c = step->conv;
    const Range r = share(values + bias, x->thread, x->threads);
    for (int t = 0; t < x->threads; t++) {
        const float *from = step->partial_grads + t * (values + bias);
        const long a = least(r.end, values), b = most(r.begin, values);
        for (long i = r.begin; i < a; i++) c->grads[i] += from[i];
        for (long i = b; i < r.end; i++) c->bias_grad[i - values] += from[i];
    }
}

static void op_conv_grad(const Context *x, const MestStep *step) {
    const MestConv *c = step->conv;
    const Geometry g = geometry_of(c, x->program->samples);
    const Scratch s = scratch_of(&g, 1, 1);
    float *scratch = step->scratch + x->thread * step->scratch_floats;
    int32_t *table = (int32_t *)(scratch + s.table), *offsets = (int32_t *)(scratch + s.offsets);
    const long per_group = (long)c->tiles * c->parts, all = x->program->groups * per_group;
    const Range items = share(all, x->thread, x->threads);
    const int joined = step->partial_grads != NULL;
    const long values = step->weight_grad ? entries_before(c, g.columns, c->rows) : 0, bias = c->bias_grad ? c->rows : 0;
    float *grads = step->weight_grad ? c->grads : NULL, *bias_grads = c->bias_grad;
    const Source inputs = source_of_view(&step->a), gradient = source_of_grad(&step->g);

    if (joined) {
        float *own = step->partial_grads + x->thread * (values + bias);
        zeros(own, values + bias);
        grads = grads ? own : NULL;
        bias_grads = bias_grads ? own + values : NULL;
    }
    if (step->sums_norm) sums_clear(step->sums_norm, x->thread);
    /* Both passes of one tile share its packed gradient; with few tiles the lists are looked up twice, once per pass. */
    for (long item = items.begin, packed = -1; item < items.end; item++) {
        const long group = item / per_group, tile = item % per_group / c->parts;
        const int part = (int)(item % c->parts);
        const Tile t = tile_of(&g, tile);
        const Range rows = rows_of_part(&g, part, c->parts);
        const Range channels = share(c->in_channels, part, c->parts);
        if (packed != item / c->parts) {
            if (grads) pack_input(&g, &inputs, group, &t, scratch + s.x);
            pack_gradient(&g, &gradient, group, &t, 0, c->rows, scratch + s.d);
            packed = item / c->parts;
        }
        if (grads || bias_grads) {
            if (grads) look_up_rows(&g, rows, table, offsets);
            weight_gradient(&g, &t, rows, scratch + s.x, scratch + s.d, table, offsets, grads, bias_grads);
        }
        if (step->input_grad) {
            look_up_input(&g, channels, table, offsets);
            input_gradient(x, step, &g, group, &t, channels, scratch, &s, store_gradient);
        }
    }
    if (joined) {
        mest_barrier(x->pool, x->thread);
        join_gradients(x, step, values, bias);
    }
}

#endif
