/* How a convolution becomes rows of shifted planes.
 *
 * The padded input is cut into parity planes (one per stride phase), so that every kernel tap reads output position p of
 * a plane at p + constant. A thread works on a tile of output rows: it packs the tile's input planes into its scratch
 * (the panel), normalised on the way. All panels of a layer share one row length, `plane_w` columns: the columns beyond
 * the output's width hold the padding of both sides, so a whole tile may also be run through as one line. With stride 1
 * the zeros at a row's end are at the same time those before the next row (or plane, or the slack behind the last one).
 * The gradient's panel has `lead` zero floats before each plane's first row, which is row `d_low` of the output.
 */
#ifndef MEST_CONV_GEOMETRY_H
#define MEST_CONV_GEOMETRY_H

#include "views.h"


typedef struct {
    const MestConv *c;
    long samples, taps, columns;         /* columns: of one group */
    long parities_h, parities_w;         /* that any tap reads */
    long reach_h, reach_w;               /* the largest shift, in plane rows and columns */
    long line, run;                      /* floats of a panel row, of an output row */
    long x_plane, d_plane, lead;         /* floats */
    long group_rows, group_channels;
    long span_h, span_w;                 /* plane rows and columns that hold real input */
} Geometry;

MEST_INLINE Geometry geometry_of(const MestConv *c, long samples) {
    Geometry g;
    g.c = c;
    g.samples = samples;
    g.taps = (long)c->kernel_h * c->kernel_w;
    g.group_rows = c->rows / c->groups;
    g.group_channels = c->in_channels / c->groups;
    g.columns = g.group_channels * g.taps;
    g.parities_h = least(c->stride_h, (c->kernel_h - 1) * c->dilation_h + 1);
    g.parities_w = least(c->stride_w, (c->kernel_w - 1) * c->dilation_w + 1);
    g.reach_h = (c->kernel_h - 1) * c->dilation_h / c->stride_h;
    g.reach_w = (c->kernel_w - 1) * c->dilation_w / c->stride_w;
    g.line = c->plane_w * samples;
    g.run = c->out_w * samples;
    g.x_plane = c->x_rows * g.line;
    g.lead = g.reach_w * samples;
    g.d_plane = g.lead + c->d_rows * g.line;
    g.span_h = ceil_div(c->in_h + c->pad_top, c->stride_h);
    g.span_w = ceil_div(c->in_w + c->pad_left, c->stride_w);
    return g;
}


/* Columns of zeros that end one row and begin the next: at most what a window reaches beyond its own column, for with
 * more a row would be shorter than the output's, which lie in the same panel rows. */
MEST_INLINE long shared_columns(const MestConv *c, long samples) {
    const long reach = (c->kernel_w - 1) * c->dilation_w, right = c->out_w + reach - c->pad_left - c->in_w;
    if (c->stride_w != 1) return 0;
    return most(0, least(least(least(c->pad_left, right), reach), MEST_SHARED_FLOATS / samples));
}

/* One tile: output rows [y0, y1), plane rows [u0, u1) of the input gradient, gradient rows [d_low, d_high) packed. */
typedef struct {
    long y0, y1, u0, u1, d_low, d_high;
} Tile;

MEST_INLINE Tile tile_of(const Geometry *g, long i) {
    const MestConv *c = g->c;
    const long shift = c->pad_top / c->stride_h;
    Tile t;
    t.y0 = i * c->tile_rows;
    t.y1 = least(t.y0 + c->tile_rows, c->out_h);
    t.u0 = i == 0 ? 0 : least(g->span_h, t.y0 + shift);
    t.u1 = i == c->tiles - 1 ? g->span_h : least(g->span_h, t.y1 + shift);
    t.d_low = least(t.u0 - g->reach_h, t.y0);
    t.d_high = most(t.u1, t.y1);
    return t;
}

enum { BAND_ENTRIES = 4 }; /* of a row and a band, at least: with fewer, starting and ending takes as long as multiplying */

/* Where a thread's scratch holds what, in floats (offsets and lists are 4-byte integers). */
typedef struct {
    long x, d, out, cuts, table, offsets, places, total;
} Scratch;

/* `inputs`: a panel of the input is needed; `backward`: one of the output's gradient. */
MEST_INLINE Scratch scratch_of(const Geometry *g, int inputs, int backward) {
    const MestConv *c = g->c;
    const long x_floats = inputs ? c->in_channels * g->parities_h * g->parities_w * g->x_plane + MEST_SLACK_FLOATS : 0;
    const long d_floats = backward ? c->rows * g->d_plane + MEST_SLACK_FLOATS : 0;
    const long lists = most(c->format == MEST_DENSE ? 0 : c->entries, backward ? g->group_rows * g->taps : 0);
    Scratch s;
    s.x = 0;
    s.d = x_floats;
    s.out = s.d + d_floats;
    const long most_rows = most(c->rows, backward ? c->in_channels : 0);
    s.cuts = s.out + most_rows * MEST_CHUNK_FLOATS;
    s.table = s.cuts + (c->format == MEST_DENSE ? 0 : (MEST_BANDS + 1) * most_rows);
    s.offsets = s.table + most(g->columns, backward ? g->group_rows * g->taps : 0);
    s.places = s.offsets + lists;
    s.total = s.places + (backward && c->format == MEST_DENSE ? g->group_rows * g->taps : 0);
    s.total += (16 - s.total % 16) % 16;
    return s;
}

/* Lines of equal length to run through, each cut into chunks of at most `most_vectors` vectors. A chunk may be of two or four lines,
 * `stride` apart: what its windows read of a channel is then a square rather than a stripe, and less. */
typedef struct {
    long count, start, stride, length;
    long chunks, vectors;                /* per line */
    long together;                       /* lines of a chunk, but for the last, odd one */
} Lines;

MEST_INLINE long lines_cost(long count, long length, long most_vectors) {
    const long vectors = ceil_div(length, MEST_VL);
    return count * (2 * vectors + 3 * ceil_div(vectors, most_vectors));
}

/* Rows of `run` floats `line` apart, as separate lines or as one, whichever takes less work. */
MEST_INLINE Lines lines_of(long start, long rows, long run, long line, long most_vectors) {
    Lines l;
    const long whole = (rows - 1) * line + run;
    const int one = lines_cost(1, whole, most_vectors) < lines_cost(rows, run, most_vectors);
    l.start = start;
    l.count = one ? 1 : rows;
    l.stride = one ? 0 : line;
    l.length = one ? whole : run;
    l.vectors = ceil_div(l.length, MEST_VL);
    l.chunks = ceil_div(l.vectors, most_vectors);
    l.together = 1;
    return l;
}

/* Floats of one channel that the windows of a chunk read. */
MEST_INLINE long chunk_reads(const Geometry *g, long lines, long vectors) {
    const long across = vectors * MEST_VL + g->reach_w * g->samples;
    return (lines + g->reach_h) * (across < g->line ? across : g->line) + most(0, across - g->line);
}

/* The same for rows of csr: two or four lines at a time, as separate lines, where their windows read less. */
MEST_INLINE Lines squares_of(const Geometry *g, long rows, long run) {
    Lines best = lines_of(0, rows, run, g->line, NV1), l = best;
    long least_reads = chunk_reads(g, 1, ceil_div(l.vectors, l.chunks)), of = ceil_div(l.vectors, l.chunks);
    l.count = rows;
    l.stride = g->line;
    l.length = run;
    l.vectors = ceil_div(run, MEST_VL);
    for (l.together = 2; l.together <= 4 && l.together <= rows; l.together *= 2) {
        l.chunks = ceil_div(l.vectors, NV1 / l.together);
        const long vectors = ceil_div(l.vectors, l.chunks), reads = chunk_reads(g, l.together, vectors);
        if (run % MEST_VL || vectors * l.together < NV1 || reads * of >= least_reads * vectors * l.together) continue;
        best = l;
        least_reads = reads;
        of = vectors * l.together;
    }
    return best;
}

/* Bands of channels to go through one after the other, so that what a chunk reads of a band stays in the first cache. */
MEST_INLINE long bands_of(const Context *x, const Geometry *g, const Lines *l, long channels, long lists, long entries) {
    const long bytes = 4 * channels * chunk_reads(g, l->together, ceil_div(l->vectors, l->chunks));
    const long most_bands = least(MEST_BANDS, entries / (BAND_ENTRIES * most(lists, 1)));
    return most(1, least((bytes + x->first_cache / 2) / x->first_cache, most_bands));
}

/* Cuts lists of ascending offsets, the first of a plane at its begin less `reach`, where a band of planes of `plane` floats
 * ends: list i of band b is from cuts[b * lists + i] to cuts[(b + 1) * lists + i]. Offsets that do not ascend are all there
 * too, but in any band. */
static void cut_bands(const uint32_t *starts, long lists, const int32_t *offsets, long bands, long channels, long plane,
                      long reach, int32_t *cuts) {
    for (long i = 0; i < lists; i++) {
        uint32_t at = starts[i];
        for (long b = 0; b < bands; b++) {
            const long end = channels * b / bands * plane - reach;
            while (at < starts[i + 1] && offsets[at] < end) at++;
            cuts[b * lists + i] = (int32_t)(b ? at : starts[i]);
        }
        cuts[bands * lists + i] = (int32_t)starts[i + 1];
    }
}

MEST_INLINE uint32_t column_at(const void *columns, int bytes, long i) {
    return bytes == 2 ? ((const uint16_t *)columns)[i] : ((const uint32_t *)columns)[i];
}

/* Entries before row r: one place for all formats. `starts` counts blocks for the block format. */
MEST_INLINE long entries_before(const MestConv *c, long columns, long r) {
    if (c->format == MEST_DENSE) return r * columns;
    return c->format == MEST_CSR ? c->starts[r] : (long)c->starts[r / c->block_height] * c->block_height;
}

/* Output rows of part `part` of `parts`, cut where the non-zeros balance, at multiples of a block. */
MEST_INLINE Range rows_of_part(const Geometry *g, int part, int parts) {
    const MestConv *c = g->c;
    const long unit = c->format == MEST_BLOCK ? c->block_height : c->format == MEST_DENSE && g->group_rows % 4 == 0 ? 4 : 1;
    const long units = c->rows / unit;
    const long all = entries_before(c, g->columns, c->rows);
    Range range;
    long *ends[2] = {&range.begin, &range.end};
    for (int k = 0; k < 2; k++) {
        const long wanted = all * (part + k) / parts;
        long low = 0, high = units;
        while (low < high) {
            const long middle = (low + high) / 2;
            if (entries_before(c, g->columns, middle * unit) < wanted) low = middle + 1;
            else high = middle;
        }
        *ends[k] = (part + k == parts ? units : part + k == 0 ? 0 : low) * unit;
    }
    return range;
}

#endif
