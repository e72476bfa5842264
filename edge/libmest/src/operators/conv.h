/* Convolution forward: pack a tile, run the rows of non-zeros over it, finish each chunk while it is in cache. */
#ifndef MEST_CONV_H
#define MEST_CONV_H

#include "../kernels/rows.h"
#include "conv_pack.h"
#include "sums.h"

/* Panel offset of every column of one group. */
static void input_table(const Geometry *g, int32_t *table) {
    const MestConv *c = g->c;
    for (long i = 0; i < g->group_channels; i++)
        for (long y = 0; y < c->kernel_h; y++)
            for (long x = 0; x < c->kernel_w; x++) {
                const long ty = y * c->dilation_h, tx = x * c->dilation_w;
                const long plane = (i * g->parities_h + ty % c->stride_h) * g->parities_w + tx % c->stride_w;
                *table++ = (int32_t)(plane * g->x_plane + ty / c->stride_h * g->line + tx / c->stride_w * g->samples);
            }
}

static void look_up(const void *columns, int bytes, const int32_t *table, int32_t *offsets, long begin, long end) {
    if (bytes == 2)
        for (long i = begin; i < end; i++) offsets[i] = table[((const uint16_t *)columns)[i]];
    else
        for (long i = begin; i < end; i++) offsets[i] = table[((const uint32_t *)columns)[i]];
}

/* How many of the rows from r on share their entries: 1, 2 or 4, within group, block and `end`. */
MEST_INLINE int rows_together(const Geometry *g, long r, long end) {
    const MestConv *c = g->c;
    if (c->format == MEST_CSR) return 1;
    const long unit = c->format == MEST_BLOCK ? c->block_height : g->group_rows;
    const long left = least(end - r, unit - r % unit);
    return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

MEST_INLINE long chunk_vectors(const Geometry *g) {
    const MestConv *c = g->c;
    const long unit = c->format == MEST_CSR ? 1 : c->format == MEST_BLOCK ? c->block_height : g->group_rows;
    return unit >= 4 ? NV4 : unit >= 2 ? NV2 : NV1;
}

/* The forward kernel's view of row r (and those together with it). */
MEST_INLINE RowsTask forward_task(const Geometry *g, long r, const int32_t *table, const int32_t *offsets) {
    const MestConv *c = g->c;
    RowsTask t = {0};
    t.depth = 1;
    if (c->format == MEST_DENSE) {
        t.offsets = table;
        t.values = c->values + r * g->columns;
        t.count = g->columns;
        t.entry_step = 1;
        t.row_step = g->columns;
    } else if (c->format == MEST_CSR) {
        t.offsets = offsets + c->starts[r];
        t.values = c->values + c->starts[r];
        t.count = c->starts[r + 1] - c->starts[r];
        t.entry_step = 1;
    } else {
        const long block = r / c->block_height;
        t.offsets = offsets + c->starts[block];
        t.values = c->values + (long)c->starts[block] * c->block_height + r % c->block_height;
        t.count = c->starts[block + 1] - c->starts[block];
        t.entry_step = c->block_height;
        t.row_step = 1;
    }
    return t;
}

/* Asks for the memory that a chunk will be moved to while it is being computed: the next row's lies too far for hardware to
 * foresee. The chunk's rows are `line` floats apart, those in memory `run`; `p` counts from the first of them. */
static void expect_chunk(const float *first, long line, long run, long p, long length) {
    const float *to = first + p / line * run + least(p % line, run);
    for (long i = 0; i < length; i += 16) __builtin_prefetch(to + i, 1);
}

/* How finished numbers of a channel get from a chunk to float `at` of what a step writes. */
typedef void (*Store)(const Context *x, const MestStep *step, long channel, long at, const float *from, long n);

/* As the layer's value: with its bias and activation, whose batch norm's sums are added. */
static void store_value(const Context *x, const MestStep *step, long channel, long at, const float *from, long n) {
    const MestConv *c = step->conv;
    const float bias = c->bias ? c->bias[channel] : 0;
    float *to = step->out + at;
#define STORE(act) LANES(i, n) to[i] = activate(from[i] + bias, act)
    if (c->bias || step->act) BY_ACT(step->act, STORE)
    else memcpy(to, from, (size_t)n * 4);
#undef STORE
    if (step->norm) sums_add(sums_of(step->norm, x->thread, channel), to, n);
}

/* As the gradient of the layer's input: beside what is there, if so asked, and with the sums of that value's batch norm. */
static void store_gradient(const Context *x, const MestStep *step, long channel, long at, const float *from, long n) {
    float *to = step->out + at;
    if (step->accumulate) LANES(k, n) to[k] += from[k];
    else memcpy(to, from, (size_t)n * 4);
    if (step->sums_norm)
        grad_sums_add_at(&step->sums, channel, sums_of(step->sums_norm, x->thread, channel), to, at, n);
}

/* Moves one finished chunk of row r into place. `p` counts from the tile's first output. */
MEST_INLINE void finish_chunk(const Context *x, const MestStep *step, const Geometry *g, long group, const Tile *t, long r,
                              const float *chunk, long p, long length, Store store) {
    const MestConv *c = g->c;
    const long out = ((group * c->rows + r) * c->out_h + t->y0) * g->run;
    for (long y = p / g->line; y < t->y1 - t->y0 && y * g->line < p + length; y++) {
        const long low = most(p, y * g->line), high = least(p + length, y * g->line + g->run);
        if (high > low) store(x, step, r, out + y * g->run + (low - y * g->line), chunk + (low - p), high - low);
    }
}

/* Rows of the weight over a packed tile of the input, each chunk stored while it is in cache. */
MEST_INLINE void run_tile(const Context *x, const MestStep *step, const Geometry *g, long group, const Tile *t, Range rows,
                          const float *panel, const int32_t *table, const int32_t *offsets, float *out, Store store) {
    const MestConv *c = g->c;
    const long group_panel = g->group_channels * g->parities_h * g->parities_w * g->x_plane;
    const Lines l = lines_of(0, t->y1 - t->y0, g->run, g->line, chunk_vectors(g));
    for (long line = 0; line < l.count; line++)
        for (long k = 0; k < l.chunks; k++) {
            const long v0 = l.vectors * k / l.chunks, v1 = l.vectors * (k + 1) / l.chunks;
            const long p = line * l.stride + v0 * MEST_VL, length = least(l.length - v0 * MEST_VL, (v1 - v0) * MEST_VL);
            int together;
            for (long r = rows.begin; r < rows.end; r += together) {
                together = rows_together(g, r, rows.end);
                RowsTask task = forward_task(g, r, table, offsets);
                task.panel = panel + r / g->group_rows * group_panel + p;
                task.out = out + (r - rows.begin) * MEST_CHUNK_FLOATS;
                task.out_stride = MEST_CHUNK_FLOATS;
                for (long j = r; j < r + together; j++)
                    expect_chunk(step->out + ((group * c->rows + j) * c->out_h + t->y0) * g->run, g->line, g->run, p, length);
                rows_run(&task, together, (int)(v1 - v0));
            }
            for (long r = rows.begin; r < rows.end; r++)
                finish_chunk(x, step, g, group, t, r, out + (r - rows.begin) * MEST_CHUNK_FLOATS, p, length, store);
        }
}

static void op_conv(const Context *x, const MestStep *step) {
    const MestConv *c = step->conv;
    const Geometry g = geometry_of(c, x->program->samples);
    const Scratch s = scratch_of(&g, 1, 0);
    const Source source = source_of_view(&step->a);
    float *scratch = step->scratch + x->thread * step->scratch_floats;
    int32_t *table = (int32_t *)(scratch + s.table), *offsets = (int32_t *)(scratch + s.offsets);
    float *panel = scratch + s.x, *out = scratch + s.out;
    const long per_group = (long)c->tiles * c->parts;
    const Range items = share(x->program->groups * per_group, x->thread, x->threads);
    long packed = -1;

    if (step->norm) sums_clear(step->norm, x->thread);
    if (items.begin == items.end) return;
    input_table(&g, table);
    if (c->format != MEST_DENSE) {
        Range rows = {0, c->rows};
        if (items.end - items.begin == 1) rows = rows_of_part(&g, (int)(items.begin % c->parts), c->parts);
        const long unit = c->format == MEST_BLOCK ? c->block_height : 1;
        look_up(c->columns, c->index_bytes, table, offsets, c->starts[rows.begin / unit], c->starts[rows.end / unit]);
    }
    for (long item = items.begin; item < items.end; item++) {
        const long group = item / per_group, tile = item % per_group / c->parts;
        const Tile t = tile_of(&g, tile);
        const Range rows = rows_of_part(&g, (int)(item % c->parts), c->parts);
        if (packed != item / c->parts) pack_input(&g, &source, group, &t, panel);
        packed = item / c->parts;
        run_tile(x, step, &g, group, &t, rows, panel, table, offsets, out, store_value);
    }
}

#endif
