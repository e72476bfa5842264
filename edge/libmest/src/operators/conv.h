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

/* True if a kernel may write to the tensor itself what `store` would: whole vectors of a line, as they are. */
MEST_INLINE int stores_as_is(const MestStep *step, const Lines *l, Store store) {
    return (store == store_gradient || !(step->conv->bias || step->act)) && l->length % MEST_VL == 0;
}

/* Adds the sums of a chunk that a kernel wrote to the tensor itself, from number `at` on. */
static void add_sums(const Context *x, const MestStep *step, long channel, long at, long lines, long run, long n, Store store) {
    const MestNorm *norm = store == store_value ? step->norm : step->sums_norm;
    if (!norm) return;
    double *sums = sums_of(norm, x->thread, channel);
    if (store == store_value) sums_add_lines(sums, step->out + at, lines, run, n);
    else grad_sums_add_lines(&step->sums, channel, sums, step->out + at, at, lines, run, n);
}

/* One chunk: `lines` lines of `vectors` vectors from float p of the tile on, and how many floats of a line are meant. */
typedef struct {
    long p, lines, vectors, length;
} Chunk;

MEST_INLINE long chunks_of(const Lines *l) { return ceil_div(l->count, l->together) * l->chunks; }

MEST_INLINE Chunk chunk_of(const Lines *l, long i) {
    const long line = i / l->chunks * l->together, k = i % l->chunks;
    const long a = l->vectors * k / l->chunks, b = l->vectors * (k + 1) / l->chunks;
    const Chunk chunk = {line * l->stride + a * MEST_VL, least(l->together, l->count - line), b - a,
                         least(l->length - a * MEST_VL, (b - a) * MEST_VL)};
    return chunk;
}

/* Asks for the memory that a chunk will be moved to while it is being computed: the next row's lies too far for hardware to
 * foresee. The chunk's rows are `line` floats apart, those in memory `run`; `p` counts from the first of them. */
static void expect_chunk(const float *first, long line, long run, long p, long length) {
    const float *to = first + p / line * run + least(p % line, run);
    for (long i = 0; i < length; i += 16) __builtin_prefetch(to + i, 1);
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

/* The part of a row that lies in band `band`: see cut_bands. */
MEST_INLINE void narrow_to_band(RowsTask *t, const int32_t *cuts, long lists, long i, long band, long start) {
    const long begin = cuts[band * lists + i], skipped = begin - start;
    t->offsets += skipped;
    if (t->places) t->places += skipped;
    else t->values += skipped;
    t->count = cuts[(band + 1) * lists + i] - begin;
    t->more |= band > 0;
}

/* Rows of the weight over a packed tile of the input, each chunk stored while it is in cache. */
MEST_INLINE void run_tile(const Context *x, const MestStep *step, const Geometry *g, long group, const Tile *t, Range rows,
                          float *scratch, const Scratch *s, Store store) {
    const MestConv *c = g->c;
    const int32_t *table = (int32_t *)(scratch + s->table), *offsets = (int32_t *)(scratch + s->offsets);
    int32_t *cuts = (int32_t *)(scratch + s->cuts);
    float *panel = scratch + s->x, *out = scratch + s->out;
    const long channel_panel = g->parities_h * g->parities_w * g->x_plane, count = rows.end - rows.begin;
    const long plane = c->out_h * g->run, first = group * c->rows * plane + t->y0 * g->run;
    const int single = c->format == MEST_CSR;
    const Lines l = single ? squares_of(g, t->y1 - t->y0, g->run)
                           : lines_of(0, t->y1 - t->y0, g->run, g->line, chunk_vectors(g));
    const int as_is = stores_as_is(step, &l, store) && (l.length == g->run || g->line == g->run);
    const long bands = single ? bands_of(x, g, &l, g->group_channels * g->parities_h * g->parities_w, c->rows, c->entries) : 1;
    if (bands > 1) cut_bands(c->starts + rows.begin, count, offsets, bands, g->group_channels, channel_panel, 0, cuts);
    for (long i = 0; i < chunks_of(&l); i++) {
        const Chunk k = chunk_of(&l, i);
        const long at = first + k.p / g->line * g->run + k.p % g->line;
        for (long band = 0; band < bands; band++) {
            int together;
            for (long r = rows.begin; r < rows.end; r += together) {
                together = rows_together(g, r, rows.end);
                RowsTask task = forward_task(g, r, table, offsets);
                task.panel = panel + r / g->group_rows * g->group_channels * channel_panel + k.p;
                task.line = l.stride;
                task.out = as_is ? step->out + at + r * plane : out + (r - rows.begin) * MEST_CHUNK_FLOATS;
                task.out_stride = as_is ? plane : MEST_CHUNK_FLOATS;
                task.out_line = as_is ? g->run : k.vectors * MEST_VL;
                task.more = as_is && store == store_gradient && step->accumulate;
                if (bands > 1) narrow_to_band(&task, cuts, count, r - rows.begin, band, c->starts[r]);
                for (long j = r; band == 0 && j < r + together; j++)
                    for (long y = 0; y < k.lines; y++)
                        expect_chunk(step->out + first + j * plane, g->line, g->run, k.p + y * l.stride, k.length);
                rows_run(&task, together, (int)k.lines, (int)k.vectors);
            }
        }
        for (long r = rows.begin; r < rows.end; r++)
            if (as_is) add_sums(x, step, r, at + r * plane, k.lines, g->run, k.length, store);
            else
                for (long y = 0; y < k.lines; y++)
                    finish_chunk(x, step, g, group, t, r,
                                 out + (r - rows.begin) * MEST_CHUNK_FLOATS + y * k.vectors * MEST_VL, k.p + y * l.stride,
                                 k.length, store);
    }
}

static void op_conv(const Context *x, const MestStep *step) {
    const MestConv *c = step->conv;
    const Geometry g = geometry_of(c, x->program->samples);
    const Scratch s = scratch_of(&g, 1, 0);
    const Source source = source_of_view(&step->a);
    float *scratch = step->scratch + x->thread * step->scratch_floats;
    int32_t *table = (int32_t *)(scratch + s.table), *offsets = (int32_t *)(scratch + s.offsets);
    float *panel = scratch + s.x;
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
        run_tile(x, step, &g, group, &t, rows, scratch, &s, store_value);
    }
}

#endif
