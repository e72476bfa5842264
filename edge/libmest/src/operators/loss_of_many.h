/* Losses of many answers a sample, with their gradients: of each answer alone, or of the classes of each pixel.
 *
 * The work is cut into rows of a plane, the same ones for any number of threads. What a row adds to the loss is kept in
 * `scratch`, and the first thread adds the rows up in order, so that the loss is the same for any number of threads. */
#ifndef MEST_LOSS_OF_MANY_H
#define MEST_LOSS_OF_MANY_H

#include <math.h>

#include "views.h"

static void keep_loss(const MestStep *step, long row, double loss) {
    memcpy((char *)step->scratch + row * (long)sizeof loss, &loss, sizeof loss);
}

static void add_losses(const Context *x, const MestStep *step, long rows) {
    mest_barrier(x->pool, x->thread);
    if (x->thread) return;
    for (long row = 0; row < rows; row++) {
        double loss;
        memcpy(&loss, (const char *)step->scratch + row * (long)sizeof loss, sizeof loss);
        x->call->loss += loss;
    }
}

/* The first target of the micro-batch, of so many for each sample. */
static long first_target(const Context *x, long each) {
    return (long)x->micro_batch * x->program->groups * x->program->samples * each;
}

/* Nothing is computed where a call brings no targets, or another number of them: a program cannot be checked against the
 * calls to come. */

/* Binary cross-entropy of a logit with 0 or 1, and its gradient. */
MEST_INLINE double loss_of_mark(double z, double wanted, double *gradient) {
    const double small = exp(-fabs(z));
    *gradient = (z < 0 ? small : 1.0) / (1.0 + small) - wanted;
    return (z > 0 ? z : 0.0) - z * wanted + log1p(small);
}

MEST_INLINE double loss_of_value(double z, double wanted, double *gradient) {
    *gradient = 2.0 * (z - wanted);
    return (z - wanted) * (z - wanted);
}

/* Sums `term` over all answers; `targets` are laid out (sample, channel, row, column). */
#define LOSS_OF_EACH(given, term)                                                                      \
    const long s = x->program->samples, w = step->a.width, plane = (long)step->a.height * w;           \
    const long each = step->a.channels * plane, lines = each / w, rows = x->program->groups * lines;   \
    const double part = 1.0 / (double)x->call->batch;                                                  \
    if (!(given) || each != x->call->targets) return;                                                  \
    const Range r = share(rows, x->thread, x->threads);                                                \
    for (long i = r.begin; i < r.end; i++) {                                                           \
        const float *z = step->a.data + i * w * s;                                                     \
        float *out = step->out ? step->out + i * w * s : NULL;                                         \
        const long from = first_target(x, each) + i / lines * s * each + i % lines * w;                \
        double loss = 0, gradient;                                                                     \
        for (long q = 0; q < w; q++)                                                                   \
            for (long k = 0; k < s; k++) {                                                             \
                loss += term((double)z[q * s + k], (double)(given)[from + k * each + q], &gradient);   \
                if (out) out[q * s + k] = (float)(gradient * part);                                    \
            }                                                                                          \
        keep_loss(step, i, loss);                                                                      \
    }                                                                                                  \
    add_losses(x, step, rows)

static void op_loss_marks(const Context *x, const MestStep *step) { LOSS_OF_EACH(x->call->marks, loss_of_mark); }
static void op_loss_values(const Context *x, const MestStep *step) { LOSS_OF_EACH(x->call->values, loss_of_value); }
#undef LOSS_OF_EACH

/* The loss of one pixel, whose classes lie `stride` apart. One that no class is wanted of adds nothing. */
static double loss_of_pixel(const float *z, float *out, long classes, long stride, long wanted, long ignored,
                            double part) {
    double sum = 0;
    float top = z[0];
    if (wanted == ignored) {
        for (long c = 0; out && c < classes; c++) out[c * stride] = 0;
        return 0;
    }
    for (long c = 1; c < classes; c++)
        if (z[c * stride] > top) top = z[c * stride];
    for (long c = 0; c < classes; c++) sum += exp((double)z[c * stride] - top);
    const double log_sum = log(sum) + top;
    for (long c = 0; out && c < classes; c++)
        out[c * stride] = (float)((exp((double)z[c * stride] - log_sum) - (c == wanted)) * part);
    return wanted < classes ? log_sum - z[wanted * stride] : 0;
}

static void op_loss_pixels(const Context *x, const MestStep *step) {
    const long s = x->program->samples, w = step->a.width, h = step->a.height, plane = h * w, classes = step->a.channels;
    const long rows = x->program->groups * h;
    const double part = 1.0 / (double)x->call->batch;
    if (!x->call->marks || plane != x->call->targets) return;
    const Range r = share(rows, x->thread, x->threads);
    for (long i = r.begin; i < r.end; i++) {
        const long group = i / h, y = i % h, at = (group * classes * plane + y * w) * s;
        const uint8_t *marks = x->call->marks + first_target(x, plane) + group * s * plane + y * w;
        double loss = 0;
        for (long q = 0; q < w; q++)
            for (long k = 0; k < s; k++) {
                const long p = at + q * s + k;
                float *out = step->out ? step->out + p : NULL;
                const long wanted = marks[k * plane + q];
                loss += loss_of_pixel(step->a.data + p, out, classes, plane * s, wanted, step->ignored, part);
            }
        keep_loss(step, i, loss);
    }
    add_losses(x, step, rows);
}

#endif
