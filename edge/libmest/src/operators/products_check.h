/* Matrices have the sizes of a product, values are read as they are stored, and what is put into another order has as many numbers. */
#ifndef MEST_PRODUCTS_CHECK_H
#define MEST_PRODUCTS_CHECK_H

#include "checking.h"

static int as_stored(const MestPlannedView *a) { return !a->mean && a->act == MEST_ACT_NONE; }

/* As many numbers of all samples as `matrices` of so many rows and columns have. */
static int64_t matrices_of(const Check *k, const MestProduct *r, int64_t rows, int64_t columns) {
    return image(k, r->matrices, rows, columns);
}

static void check_matmul(Check *k) {
    const int backward = k->planned->op == MEST_OP_MATMUL_GRAD;
    const MestPlannedView *a = &k->planned->a, *b = &k->planned->b;
    const MestPlannedGrad *g = &k->planned->g;
    const MestProduct *r = k->s->product;
    view_fits(k, a);
    hold(k, r != NULL && as_stored(a));
    if (!k->good) return;
    hold(k, r->matrices >= 1 && r->rows >= 1 && r->inner >= 1 && r->columns >= 1);
    if (!k->good) return;
    const int64_t first = matrices_of(k, r, r->rows, r->inner), second = matrices_of(k, r, r->inner, r->columns);
    hold(k, first > 0 && second > 0);
    if (backward) {
        grad_fits(k, g);
        hold(k, view_floats(k, a) == (r->gradient_first ? second : first));
        hold(k, grad_floats(k, g) == (r->gradient_first ? first : second));
    } else {
        view_fits(k, b);
        hold(k, as_stored(b) && view_floats(k, a) == first && view_floats(k, b) == second);
    }
    written(k, k->planned->out, matrices_of(k, r, r->rows, r->columns), 4);
}

static void check_softmax(Check *k) {
    const int backward = k->planned->op == MEST_OP_SOFTMAX_GRAD;
    const MestPlannedView *a = &k->planned->a;
    const MestPlannedGrad *g = &k->planned->g;
    view_fits(k, a);
    hold(k, as_stored(a) && a->channels >= 1 && a->height >= 1 && a->width >= 1);
    if (!k->good) return;
    const int64_t wanted = times((backward ? (int64_t)a->width : 0) + 2, k->p->samples);
    hold(k, wanted > 0 && wanted <= k->s->scratch_floats);
    scratch_fits(k);
    if (backward) {
        grad_fits(k, g);
        hold(k, grad_floats(k, g) == view_floats(k, a) && view_floats(k, a) > 0);
    }
    written(k, k->planned->out, view_floats(k, a), 4);
}

static void check_transpose(Check *k) {
    const int backward = k->planned->op == MEST_OP_TRANSPOSE_GRAD;
    const MestPlannedView *a = &k->planned->a;
    const MestPlannedGrad *g = &k->planned->g;
    const MestExchange *r = k->s->exchange;
    hold(k, r != NULL);
    if (!k->good) return;
    hold(k, r->outer >= 1 && r->first >= 1 && r->second >= 1 && r->inner >= 1);
    if (!k->good) return;
    const int64_t count = times(image(k, r->outer, r->first, r->second), r->inner);
    if (backward) grad_fits(k, g);
    else view_fits(k, a);
    hold(k, count > 0 && (backward ? grad_floats(k, g) : view_floats(k, a)) == count && (backward || as_stored(a)));
    written(k, k->planned->out, count, 4);
}

#endif
