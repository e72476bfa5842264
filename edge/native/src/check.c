#include "check.h"

#define MEST_VL 1
#include "ops/conv_geometry.h"

static int starts_rise(const uint32_t *starts, long rows, long entries) {
    if (!starts || starts[0] != 0 || starts[rows] != entries) return 0;
    for (long i = 0; i < rows; i++)
        if (starts[i] > starts[i + 1]) return 0;
    return 1;
}

static int columns_below(const void *columns, int bytes, long entries, long limit) {
    if (!columns && entries) return 0;
    for (long i = 0; i < entries; i++)
        if (column_at(columns, bytes, i) >= limit) return 0;
    return 1;
}

static int lists_fit(const MestConv *c, const Geometry *g, int backward) {
    const int block = c->format == MEST_BLOCK;
    const long height = block ? c->block_height : 1;
    if (height < 1 || g->group_rows % height || (c->index_bytes != 2 && c->index_bytes != 4)) return 0;
    if (!starts_rise(c->starts, c->rows / height, c->entries)) return 0;
    if (!columns_below(c->columns, c->index_bytes, c->entries, g->columns)) return 0;
    if (!backward) return 1;
    if (!starts_rise(c->t_starts, (long)c->stride_h * c->stride_w * c->in_channels, c->entries)) return 0;
    if (!columns_below(c->t_columns, c->index_bytes, c->entries, g->group_rows / height * g->taps)) return 0;
    for (long i = 0; i < c->entries; i++)
        if (c->t_places[i] > (uint32_t)((c->entries - 1) * height) || c->t_places[i] % height) return 0;
    return 1;
}

static int conv_fits(const MestStep *step, long samples, int threads) {
    const MestConv *c = step->conv;
    const int backward = step->op == MEST_OP_CONV_GRAD;
    if (!c || !step->scratch || threads < 1 || c->rows < 1 || c->in_channels < 1 || c->groups < 1) return 0;
    if (c->rows % c->groups || c->in_channels % c->groups || c->kernel_h < 1 || c->kernel_w < 1) return 0;
    if (c->stride_h < 1 || c->stride_w < 1 || c->dilation_h < 1 || c->dilation_w < 1 || c->pad_top < 0 || c->pad_left < 0) return 0;
    if (c->in_h < 1 || c->in_w < 1 || c->out_h < 1 || c->out_w < 1 || c->tile_rows < 1 || c->parts < 1) return 0;
    const Geometry g = geometry_of(c, samples);
    if (c->tiles != ceil_div(c->out_h, c->tile_rows) ||
        c->plane_w < most(c->out_w + g.reach_w - shared_columns(c, samples), g.span_w))
        return 0;
    if (c->x_rows < c->tile_rows + g.reach_h) return 0;
    for (long i = 0; backward && i < c->tiles; i++) {
        const Tile t = tile_of(&g, i);
        if (t.d_high - t.d_low > c->d_rows) return 0;
    }
    const Scratch s = scratch_of(&g, backward);
    if (s.total > step->scratch_floats || s.d > INT32_MAX || s.out - s.d > INT32_MAX) return 0;
    for (long i = 0; c->channel_list && i < c->in_channels; i++)
        if (c->channel_list[i] < 0 || c->channel_list[i] >= step->a.channels) return 0;
    if (!c->channel_list && step->a.data && step->a.channels != c->in_channels) return 0;
    return c->format == MEST_DENSE || lists_fit(c, &g, backward && step->input_grad);
}

int mest_first_wrong_step(const MestProgram *program, int threads) {
    if (program->groups < 1 || program->samples < 1) return 1;
    for (int32_t i = 0; i < program->count; i++) {
        const MestStep *step = program->steps + i;
        int good = step->op >= 0 && step->op < MEST_OP_COUNT;
        if (step->op == MEST_OP_CONV || step->op == MEST_OP_CONV_GRAD) good = conv_fits(step, program->samples, threads);
        if (step->op == MEST_OP_SELECT || step->op == MEST_OP_SELECT_GRAD)
            for (long k = 0; k < step->g.channels; k++)
                good = good && step->channel_list[k] >= 0 && step->channel_list[k] < step->a.channels;
        if (!good) return i + 1;
    }
    return 0;
}
