/* What the checks of all operators ask: room in operands, views, gradients and a batch norm's sums. */
#ifndef MEST_CHECKING_H
#define MEST_CHECKING_H

#include "../program.h"
#include "context.h"

/* The step being checked, and whether all that was asked so far holds. */
typedef struct {
    const MestProgram *p;
    const MestPlannedStep *planned;
    const MestStep *s;
    int threads;
    int good;
} Check;

/* The product, or -1 where one is negative or it does not fit: then nothing is large enough. */
static int64_t times(int64_t a, int64_t b) {
    int64_t product;
    return a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product) ? -1 : product;
}

static void hold(Check *k, int condition) { k->good = k->good && condition; }

/* Operand `number` has room for `count` items; for none of them it need not be there. */
static void room(Check *k, int32_t number, int64_t count, int64_t item) {
    const int64_t wanted = times(count, item);
    hold(k, number >= 0 && number <= k->p->operand_count);
    hold(k, !k->good || !number || k->p->operands[number - 1].storage == MEST_SAVED_FLOAT32);
    if (k->good) hold(k, wanted >= 0 && wanted <= (number ? k->p->operands[number - 1].nbytes : 0));
}

static void floats(Check *k, int32_t number, int64_t count) { room(k, number, count, 4); }

/* Also right if it is not there. */
static void floats_if(Check *k, int32_t number, int64_t count) {
    if (number) floats(k, number, count);
}

/* A list of indices, which no step may change after it was looked at. */
static void listed(Check *k, int32_t number, int64_t count, int64_t item) {
    room(k, number, count, item);
    hold(k, !k->good || !number || !k->p->operands[number - 1].writable);
}

static int disjoint(const MestOperand *a, const MestOperand *b) {
    return a->segment != b->segment || a->offset + a->nbytes <= b->offset || b->offset + b->nbytes <= a->offset;
}

/* The step writes the operand: no list of indices, and not its own scratch, which holds such lists while it runs. */
static void written(Check *k, int32_t number, int64_t count, int64_t item) {
    room(k, number, count, item);
    if (!k->good || !number) return;
    const MestOperand *o = k->p->operands + number - 1;
    const int32_t scratch = k->planned->scratch;
    hold(k, o->writable && (!scratch || disjoint(o, k->p->operands + scratch - 1)));
}

static void scratch_fits(Check *k) {
    floats(k, k->planned->scratch, times(k->threads, k->s->scratch_floats));
    hold(k, !k->good || (k->planned->scratch && k->p->operands[k->planned->scratch - 1].writable));
}

/* Floats of a tensor of the micro-batch. */
static int64_t image(const Check *k, int64_t channels, int64_t height, int64_t width) {
    const int64_t plane = channels < 1 || height < 1 || width < 1 ? -1 : times(times(channels, height), width);
    return times(times(plane, k->p->groups), k->p->samples);
}

/* Operand `number` holds `count` numbers of a stored tensor, in the form that it says itself. */
static void stored_fits(Check *k, int32_t number, int32_t storage, int64_t count) {
    if (storage == MEST_SAVED_FLOAT32) {
        floats(k, number, count);
        return;
    }
    const int64_t groups = count < 0 ? -1 : count / MEST_SAVED_GROUP + (count % MEST_SAVED_GROUP > 0);
    const int64_t wanted = storage == MEST_SAVED_INT8 ? times(groups, 4 + MEST_SAVED_GROUP) : times(count, 2);
    hold(k, storage > MEST_SAVED_FLOAT32 && storage < MEST_SAVED_TYPES && wanted > 0);
    hold(k, number > 0 && number <= k->p->operand_count);
    if (!k->good) return;
    const MestOperand *o = k->p->operands + number - 1;
    hold(k, o->storage == storage && wanted <= o->nbytes);
}

/* The step reads a stored tensor, as floats unless it reads them in every form. */
static void reads_stored(Check *k, int32_t number, int32_t storage, int64_t count) {
    hold(k, storage == MEST_SAVED_FLOAT32 || mest_reads_saved(k->planned->op));
    stored_fits(k, number, storage, count);
}

static int act_known(int32_t act) { return act >= MEST_ACT_NONE && act < MEST_ACTS; }
static int act_stored(int32_t act) { return act >= MEST_ACT_NONE && act < MEST_FUSED_ACTS; }

static int64_t view_floats(const Check *k, const MestPlannedView *v) { return image(k, v->channels, v->height, v->width); }
static int64_t grad_floats(const Check *k, const MestPlannedGrad *v) { return image(k, v->channels, v->height, v->width); }

static void view_fits(Check *k, const MestPlannedView *v) {
    reads_stored(k, v->data, v->storage, view_floats(k, v));
    floats_if(k, v->origin, v->channels);
    hold(k, act_known(v->act));
    if (!v->mean) return;
    floats(k, v->mean, v->channels);
    floats(k, v->scale, v->channels);
    floats(k, v->shift, v->channels);
}

static void grad_fits(Check *k, const MestPlannedGrad *v) {
    floats(k, v->data, grad_floats(k, v));
    if (v->stored) reads_stored(k, v->stored, v->storage, grad_floats(k, v));
    floats_if(k, v->origin, v->channels);
    hold(k, act_known(v->act));
    floats_if(k, v->slope, v->channels);
    floats_if(k, v->offset, v->channels);
    if (!v->mean) return;
    hold(k, v->stored != 0);
    floats(k, v->mean, v->channels);
    floats(k, v->scale, v->channels);
    floats(k, v->shift, v->channels);
}

static int same_shape(const MestPlannedView *a, int32_t channels, int32_t height, int32_t width) {
    return a->channels == channels && a->height == height && a->width == width;
}

static const MestPlannedNorm *norm_at(const Check *k, int32_t number) { return k->p->norms + number - 1; }

/* The threads' sums of a batch norm over `channels`. */
static void sums_fit(Check *k, int32_t number, int32_t channels) {
    hold(k, number > 0);
    if (!k->good) return;
    const MestPlannedNorm *n = norm_at(k, number);
    hold(k, n->channels == channels && channels > 0);
    written(k, n->partials, times(times(k->threads, channels), MEST_SUMS), 8);
}

/* `sums` is `out` read as a gradient, whose batch norm's sums are added on the way. */
static void sums_on_the_way_fit(Check *k) {
    const MestPlannedGrad *v = &k->planned->sums;
    grad_fits(k, v);
    hold(k, v->stored != 0 && v->mean != 0);
    sums_fit(k, k->planned->sums_norm, v->channels);
}

#endif
