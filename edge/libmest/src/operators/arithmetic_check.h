/* Shapes of two operands and their result, and room for what the gradients read and write. */
#ifndef MEST_ARITHMETIC_CHECK_H
#define MEST_ARITHMETIC_CHECK_H

#include "arithmetic_reads.h"
#include "checking.h"

/* A dimension of an operand is the result's, or 1. */
static int spreads(int32_t size, int32_t result) { return size == result || size == 1; }

/* The row is there and its shapes fit; its kind and sides are known. */
static const MestArithmetic *arithmetic_fits(Check *k) {
    static const MestArithmetic none;
    const MestArithmetic *r = k->s->arithmetic;
    hold(k, r != NULL);
    if (!k->good) return &none;
    hold(k, r->kind >= 0 && r->kind < MEST_KINDS && r->side >= MEST_LEFT && r->side <= MEST_RIGHT);
    hold(k, r->stored_side >= MEST_LEFT && r->stored_side <= MEST_NEITHER);
    hold(k, r->features_last == 0 || r->features_last == 1);
    hold(k, image(k, r->channels, r->height, r->width) > 0);
    hold(k, r->left_channels > 0 && r->left_height > 0 && r->left_width > 0);
    hold(k, r->right_channels > 0 && r->right_height > 0 && r->right_width > 0);
    hold(k, spreads(r->left_channels, r->channels) && spreads(r->right_channels, r->channels));
    hold(k, spreads(r->left_height, r->height) && spreads(r->right_height, r->height));
    hold(k, spreads(r->left_width, r->width) && spreads(r->right_width, r->width));
    return r;
}

/* Numbers of one operand: a sample of a value, or the stored tensor. */
static int64_t side_floats(const MestArithmetic *r, int side) {
    return side == MEST_LEFT ? times(times(r->left_channels, r->left_height), r->left_width)
                             : times(times(r->right_channels, r->right_height), r->right_width);
}

static void side_fits(Check *k, const MestArithmetic *r, int side) {
    const MestPlannedView *v = side == MEST_LEFT ? &k->planned->a : &k->planned->b;
    if (!k->good) return;
    if (r->stored_side == side) {
        floats(k, k->p->arithmetics[k->planned->arithmetic - 1].stored, side_floats(r, side));
        return;
    }
    view_fits(k, v);
    if (side == MEST_LEFT) hold(k, same_shape(v, r->left_channels, r->left_height, r->left_width));
    else hold(k, same_shape(v, r->right_channels, r->right_height, r->right_width));
}

static void check_arithmetic(Check *k) {
    const MestArithmetic *r = arithmetic_fits(k);
    side_fits(k, r, MEST_LEFT);
    side_fits(k, r, MEST_RIGHT);
    hold(k, act_stored(k->s->act));
    written(k, k->planned->out, image(k, r->channels, r->height, r->width), 4);
    if (k->planned->norm) sums_fit(k, k->planned->norm, r->channels);
}

/* What the gradient of a side reads. */
static void gradient_fits(Check *k, const MestArithmetic *r, int side) {
    const MestPlannedGrad *g = &k->planned->g;
    for (int operand = MEST_LEFT; k->good && operand <= MEST_RIGHT; operand++)
        if (gradient_reads(r, side, operand)) side_fits(k, r, operand);
    grad_fits(k, g);
    hold(k, g->channels == r->channels && g->height == r->height && g->width == r->width);
}

static void check_arithmetic_grad(Check *k) {
    const MestArithmetic *r = arithmetic_fits(k);
    const int64_t wanted = times(times(side_floats(r, r->side), k->p->groups), k->p->samples);
    const MestPlannedGrad *sums = &k->planned->sums;
    hold(k, r->stored_side != r->side);
    gradient_fits(k, r, r->side);
    written(k, k->planned->out, wanted, 4);
    if (!k->planned->sums_norm) return;
    hold(k, sums->channels == (r->side == MEST_LEFT ? r->left_channels : r->right_channels));
    hold(k, grad_floats(k, sums) == wanted);
    sums_on_the_way_fit(k);
}

static void check_stored_grad(Check *k) {
    const MestArithmetic *r = arithmetic_fits(k);
    hold(k, r->stored_side != MEST_NEITHER);
    if (!k->good) return;
    const int64_t count = side_floats(r, r->stored_side);
    gradient_fits(k, r, r->stored_side);
    hold(k, times(2, count) <= k->s->scratch_floats); /* doubles */
    scratch_fits(k);
    written(k, k->p->arithmetics[k->planned->arithmetic - 1].stored_grad, count, 4);
}

#endif
