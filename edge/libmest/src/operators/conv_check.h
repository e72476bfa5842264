/* A convolution's sizes, its index lists, and room for what both passes touch. */
#ifndef MEST_CONV_CHECK_H
#define MEST_CONV_CHECK_H

#include "checking.h"
#include "conv_geometry.h"

static int starts_rise(const uint32_t *starts, long rows, long entries) {
    if (starts[0] != 0 || starts[rows] != entries) return 0;
    for (long i = 0; i < rows; i++)
        if (starts[i] > starts[i + 1]) return 0;
    return 1;
}

static int columns_below(const void *columns, int bytes, long entries, long limit) {
    for (long i = 0; i < entries; i++)
        if (column_at(columns, bytes, i) >= limit) return 0;
    return 1;
}

/* The index lists and the values that they speak of; `values` is how many of those there are. */
static void lists_fit(Check *k, const MestPlannedConv *planned, const Geometry *g, int transposed) {
    const MestConv *c = g->c;
    const long height = c->format == MEST_BLOCK ? c->block_height : 1, parities = (long)c->stride_h * c->stride_w;
    hold(k, height >= 1 && (c->index_bytes == 2 || c->index_bytes == 4) && c->entries >= 0 && c->entries < 1LL << 31);
    hold(k, height >= 1 && g->group_rows % height == 0);
    if (!k->good) return;
    listed(k, planned->starts, c->rows / height + 1, 4);
    listed(k, planned->columns, c->entries, c->index_bytes);
    if (transposed) {
        listed(k, planned->t_starts, times(parities, c->in_channels) + 1, 4);
        listed(k, planned->t_columns, c->entries, c->index_bytes);
        listed(k, planned->t_places, c->entries, 4);
    }
    if (!k->good) return;
    hold(k, starts_rise(c->starts, c->rows / height, c->entries) && columns_below(c->columns, c->index_bytes, c->entries, g->columns));
    if (!transposed) return;
    hold(k, starts_rise(c->t_starts, parities * c->in_channels, c->entries));
    hold(k, columns_below(c->t_columns, c->index_bytes, c->entries, g->group_rows / height * g->taps));
    for (long i = 0; k->good && i < c->entries; i++)
        hold(k, c->t_places[i] <= (uint64_t)(c->entries - 1) * (uint64_t)height && c->t_places[i] % height == 0);
}

static void geometry_fits(Check *k, const MestConv *c, int backward) {
    const int32_t sizes[] = {c->rows,     c->in_channels, c->groups,     c->kernel_h, c->kernel_w,  c->stride_h,
                             c->stride_w, c->dilation_h,  c->dilation_w, c->in_h,     c->in_w,      c->out_h,
                             c->out_w,    c->tile_rows,   c->tiles,      c->parts,    c->plane_w,   c->x_rows};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) hold(k, sizes[i] >= 1 && sizes[i] < 1 << 24);
    hold(k, c->pad_top >= 0 && c->pad_left >= 0 && c->pad_top < 1 << 24 && c->pad_left < 1 << 24);
    hold(k, c->d_rows >= 0 && c->d_rows < 1 << 24 && c->format >= MEST_DENSE && c->format <= MEST_BLOCK);
    if (!k->good) return;
    hold(k, c->rows % c->groups == 0 && c->in_channels % c->groups == 0);
    hold(k, times(c->kernel_h, c->dilation_h) < 1 << 24 && times(c->kernel_w, c->dilation_w) < 1 << 24);
    hold(k, times(times(c->kernel_h, c->kernel_w), times(c->rows, c->in_channels)) < 1LL << 40);
    hold(k, times(times(times(c->plane_w, k->p->samples), times(c->x_rows, c->in_channels)), times(c->kernel_h, c->kernel_w)) < 1LL << 40);
    hold(k, times(times(c->plane_w, k->p->samples), times((int64_t)c->d_rows + 1, c->rows)) < 1LL << 40);
    if (!k->good) return;
    const Geometry g = geometry_of(c, k->p->samples);
    hold(k, c->tiles == ceil_div(c->out_h, c->tile_rows) && c->x_rows >= c->tile_rows + g.reach_h);
    hold(k, c->plane_w >= most(c->out_w + g.reach_w - shared_columns(c, k->p->samples), g.span_w));
    for (long i = 0; backward && k->good && i < c->tiles; i++) {
        const Tile t = tile_of(&g, i);
        hold(k, t.d_high - t.d_low <= c->d_rows);
    }
}

/* A layer's sizes, its values, and scratch for the panels that a pass needs: see scratch_of. */
static void layer_fits(Check *k, int inputs, int backward) {
    const MestConv *c = k->s->conv;
    hold(k, c != NULL);
    if (!k->good) return;
    geometry_fits(k, c, backward);
    if (!k->good) return;
    const MestPlannedConv *planned = k->p->convs + k->planned->conv - 1;
    const Geometry g = geometry_of(c, k->p->samples);
    const Scratch s = scratch_of(&g, inputs, backward);
    const int64_t height = c->format == MEST_BLOCK ? c->block_height : 1;
    hold(k, s.total <= k->s->scratch_floats && s.d <= INT32_MAX && s.out - s.d <= INT32_MAX);
    scratch_fits(k);
    floats(k, planned->values, c->format == MEST_DENSE ? times(c->rows, g.columns) : times(c->entries, height));
}

/* What both passes of a convolution share; `channels` are those of the stored input. */
static void conv_fits(Check *k, int backward, int reads_input, int32_t channels) {
    layer_fits(k, 1, backward);
    if (!k->good) return;
    const MestConv *c = k->s->conv;
    const MestPlannedConv *planned = k->p->convs + k->planned->conv - 1;
    const Geometry g = geometry_of(c, k->p->samples);
    floats_if(k, planned->bias, c->rows);
    if (reads_input) hold(k, k->s->a.height == c->in_h && k->s->a.width == c->in_w);
    if (c->channel_list) listed(k, planned->channel_list, c->in_channels, 4);
    for (long i = 0; k->good && c->channel_list && i < c->in_channels; i++)
        hold(k, c->channel_list[i] >= 0 && c->channel_list[i] < channels);
    if (!c->channel_list) hold(k, channels == c->in_channels);
    if (k->good && c->format != MEST_DENSE) lists_fit(k, planned, &g, backward && k->s->input_grad);
}

static void check_conv(Check *k) {
    const MestConv *c = k->s->conv;
    view_fits(k, &k->planned->a);
    conv_fits(k, 0, 1, k->planned->a.channels);
    if (!k->good) return;
    hold(k, act_stored(k->s->act));
    written(k, k->planned->out, image(k, c->rows, c->out_h, c->out_w), 4);
    if (k->planned->norm) sums_fit(k, k->planned->norm, c->rows);
}

static void check_conv_grad(Check *k) {
    const MestPlannedStep *s = k->planned;
    const int reads_input = s->weight_grad != 0, wanted = s->input_grad != 0;
    hold(k, reads_input || wanted || (k->s->conv && k->s->conv->bias_grad));
    if (reads_input) view_fits(k, &s->a);
    if (k->good && !reads_input && !wanted && k->s->conv) /* the bias alone: no list of the input is read */
        conv_fits(k, 1, 0, k->s->conv->channel_list ? INT32_MAX : k->s->conv->in_channels);
    else conv_fits(k, 1, reads_input, wanted ? s->sums.channels : s->a.channels);
    grad_fits(k, &s->g);
    if (!k->good) return;
    const MestConv *c = k->s->conv;
    const MestPlannedConv *planned = k->p->convs + s->conv - 1;
    const Geometry g = geometry_of(c, k->p->samples);
    const int64_t values = entries_before(c, g.columns, c->rows);
    hold(k, s->g.channels == c->rows && s->g.height == c->out_h && s->g.width == c->out_w);
    if (reads_input) written(k, planned->grads, values, 4);
    if (planned->bias_grad) written(k, planned->bias_grad, c->rows, 4);
    if (s->partial_grads)
        written(k, s->partial_grads, times(k->threads, (reads_input ? values : 0) + (c->bias_grad ? c->rows : 0)), 4);
    else hold(k, k->threads == 1 || (int64_t)k->p->groups * c->tiles == 1 || (!reads_input && !c->bias_grad));
    if (!wanted) return;
    hold(k, s->sums.height == c->in_h && s->sums.width == c->in_w);
    if (reads_input) hold(k, s->sums.channels == s->a.channels);
    written(k, s->out, image(k, s->sums.channels, c->in_h, c->in_w), 4);
    if (s->sums_norm) sums_on_the_way_fit(k);
}

#endif
