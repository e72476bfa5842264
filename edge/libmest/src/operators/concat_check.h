/* A part lies within the whole, and there is room for both. */
#ifndef MEST_CONCAT_CHECK_H
#define MEST_CONCAT_CHECK_H

#include "checking.h"

static void part_fits(Check *k) {
    const MestPlannedStep *s = k->planned;
    hold(k, s->first_channel >= 0 && s->part_channels > 0);
    hold(k, (int64_t)s->first_channel + s->part_channels <= s->g.channels);
}

static void check_concat(Check *k) {
    const MestPlannedStep *s = k->planned;
    view_fits(k, &s->a);
    part_fits(k);
    hold(k, same_shape(&s->a, s->part_channels, s->g.height, s->g.width));
    written(k, s->out, grad_floats(k, &s->g), 4);
    if (s->norm) sums_fit(k, s->norm, s->g.channels);
}

static void check_concat_grad(Check *k) {
    const MestPlannedStep *s = k->planned;
    grad_fits(k, &s->g);
    part_fits(k);
    const int64_t part = image(k, s->part_channels, s->g.height, s->g.width);
    written(k, s->out, part, 4);
    if (!s->sums_norm) return;
    hold(k, s->sums.channels == s->part_channels && grad_floats(k, &s->sums) == part);
    sums_on_the_way_fit(k);
}

#endif
