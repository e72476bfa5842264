/* The tables of a resampling name rows and columns that are there, and scratch holds a row, or a plane as well. */
#ifndef MEST_RESAMPLE_CHECK_H
#define MEST_RESAMPLE_CHECK_H

#include "checking.h"

/* A table of `count` new positions among `size` old ones. */
static void taps_fit(Check *k, int32_t starts, int32_t sources, int32_t weights, const int32_t *first, const int32_t *listing,
                     int32_t entries, int32_t count, int32_t size) {
    hold(k, count >= 1 && count < 1 << 25 && entries >= 0 && size >= 1);
    if (!k->good) return;
    listed(k, starts, (int64_t)count + 1, 4);
    listed(k, sources, entries, 4);
    floats(k, weights, entries);
    if (!k->good) return;
    hold(k, first[0] == 0 && first[count] == entries);
    for (long i = 0; k->good && i < count; i++) hold(k, first[i] <= first[i + 1]);
    for (long i = 0; k->good && i < entries; i++) hold(k, listing[i] >= 0 && listing[i] < size);
}

/* Both tables over old planes of `height` rows and `width` columns, and `floats` of scratch a thread. */
static void resample_fits(Check *k, int32_t channels, int32_t height, int32_t width, int64_t floats) {
    const MestResample *r = k->s->resample;
    hold(k, r != NULL);
    if (!k->good) return;
    const MestPlannedResample *planned = k->p->resamples + k->planned->resample - 1;
    taps_fit(k, planned->row_starts, planned->row_sources, planned->row_weights, r->row_starts, r->row_sources, r->row_entries,
             r->height, height);
    taps_fit(k, planned->column_starts, planned->column_sources, planned->column_weights, r->column_starts, r->column_sources,
             r->column_entries, r->width, width);
    if (!k->good) return;
    hold(k, floats >= 0 && floats <= k->s->scratch_floats);
    scratch_fits(k);
    written(k, k->planned->out, image(k, channels, r->height, r->width), 4);
}

static void check_resample(Check *k) {
    const MestPlannedView *a = &k->planned->a;
    view_fits(k, a);
    const int64_t line = times(a->width, k->p->samples), plane = a->mean || a->act ? times(line, a->height) : 0;
    resample_fits(k, a->channels, a->height, a->width, plane < 0 ? -1 : line + plane);
}

static void check_resample_grad(Check *k) {
    const MestPlannedGrad *g = &k->planned->g;
    grad_fits(k, g);
    resample_fits(k, g->channels, g->height, g->width, times(g->width, k->p->samples));
}

#endif
