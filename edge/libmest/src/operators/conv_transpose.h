/* Transposed convolution: the passes of the convolution that it mirrors, with values in the place of gradients. That one's
 * input is what the layer writes, its output what the layer reads. */
#ifndef MEST_CONV_TRANSPOSE_H
#define MEST_CONV_TRANSPOSE_H

#include "conv_grad.h"

static void op_conv_transpose(const Context *x, const MestStep *step) {
    const MestConv *c = step->conv;
    const Geometry g = geometry_of(c, x->program->samples);
    const Scratch s = scratch_of(&g, 0, 1);
    float *scratch = step->scratch + x->thread * step->scratch_floats;
    int32_t *table = (int32_t *)(scratch + s.table), *offsets = (int32_t *)(scratch + s.offsets);
    const long per_group = (long)c->tiles * c->parts;
    const Range items = share(x->program->groups * per_group, x->thread, x->threads);
    const Source source = source_of_view(&step->a);

    if (step->norm) sums_clear(step->norm, x->thread);
    for (long item = items.begin, packed = -1; item < items.end; item++) {
        const long group = item / per_group;
        const Tile t = tile_of(&g, item % per_group / c->parts);
        const Range channels = share(c->in_channels, (int)(item % c->parts), c->parts);
        if (packed != item / c->parts) pack_gradient(&g, &source, group, &t, 0, c->rows, scratch + s.d);
        packed = item / c->parts;
        look_up_input(&g, channels, table, offsets);
        input_gradient(x, step, &g, group, &t, channels, scratch, &s, store_value);
    }
}

/* The bias' gradient, of this thread's channels: the sum of the gradient `g`, read as its stored tensor's. */
static void transposed_bias_gradient(const Context *x, const MestStep *step) {
    const MestGrad *v = &step->g;
    const Source gradient = source_of_grad(v);
    const long n = (long)v->height * v->width * x->program->samples;
    const Range own = share(v->channels, x->thread, x->threads);
    float strip[STRIP];
    for (long channel = own.begin; channel < own.end; channel++) {
        double sum = 0;
        for (long group = 0; group < x->program->groups; group++)
            for (long p = 0; p < n; p += STRIP) {
                const long m = least(STRIP, n - p);
                source_read(&gradient, channel, (group * v->channels + channel) * n + p, strip, m);
                sum += sum_of(strip, m);
            }
        step->conv->bias_grad[channel] += (float)sum;
    }
}

static void op_conv_transpose_grad(const Context *x, const MestStep *step) {
    const MestConv *c = step->conv;
    const Geometry g = geometry_of(c, x->program->samples);
    const Scratch s = scratch_of(&g, 1, 1);
    float *scratch = step->scratch + x->thread * step->scratch_floats;
    int32_t *table = (int32_t *)(scratch + s.table), *offsets = (int32_t *)(scratch + s.offsets);
    const long per_group = (long)c->tiles * c->parts;
    const Range items = share(x->program->groups * per_group, x->thread, x->threads);
    const int joined = step->partial_grads != NULL;
    const long values = step->weight_grad ? entries_before(c, g.columns, c->rows) : 0;
    const Source inputs = source_of_view(&step->a), gradient = source_of_grad(&step->g);
    float *grads = step->weight_grad ? c->grads : NULL;

    if (joined) {
        grads = step->partial_grads + x->thread * values;
        zeros(grads, values);
    }
    if (step->sums_norm) sums_clear(step->sums_norm, x->thread);
    if (c->bias_grad) transposed_bias_gradient(x, step);
    for (long item = items.begin, packed = -1; item < items.end && (grads || step->input_grad); item++) {
        const long group = item / per_group;
        const int part = (int)(item % c->parts);
        const Tile t = tile_of(&g, item % per_group / c->parts);
        const Range rows = rows_of_part(&g, part, c->parts);
        if (packed != item / c->parts) {
            pack_input(&g, &gradient, group, &t, scratch + s.x);
            if (grads) pack_gradient(&g, &inputs, group, &t, 0, c->rows, scratch + s.d);
            packed = item / c->parts;
        }
        look_up_rows(&g, rows, table, offsets);
        if (grads) weight_gradient(&g, &t, rows, scratch + s.x, scratch + s.d, table, offsets, grads, NULL);
        if (step->input_grad)
            run_tile(x, step, &g, group, &t, rows, scratch, &s, store_gradient);
    }
    if (joined) {
        mest_barrier(x->pool, x->thread);
        join_gradients(x, step, values, 0);
    }
}

#endif
