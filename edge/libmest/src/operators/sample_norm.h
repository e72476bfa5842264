/* Group, instance and layer norm: normalisation within each sample, over sets of its cells.
 *
 * A set is a group of channels, whose cells lie one behind the other, or one position, whose cells lie a plane apart. Sets
 * that lie side by side are lanes of one block: the samples of a group, and neighbouring positions. Threads share blocks,
 * and channels for the gradients of the parameters, so that sums are the same for any number of threads. */
#ifndef MEST_SAMPLE_NORM_H
#define MEST_SAMPLE_NORM_H

#include "views.h"

/* Of a tensor (groups of samples, channels, plane, samples): how its sets lie. */
typedef struct {
    const MestSampleNorm *norm;
    long channels, plane, samples;
    long rows, stride; /* of a set, and from one of its cells to the next */
    long cells;        /* of a set in one channel */
    long side;         /* lanes that lie side by side */
    long block;        /* of them in one block */
    long turns;        /* such sides in one group of samples */
} Sets;

static Sets sets_of(const Context *x, const MestStep *step) {
    Sets s = {step->samplenorm, step->a.channels, (long)step->a.height * step->a.width, x->program->samples, 0, 0, 0, 0, 0, 0};
    const long groups = s.norm->groups;
    s.turns = groups ? groups : 1;
    s.rows = groups ? s.channels / groups * s.plane : s.channels;
    s.cells = groups ? s.plane : 1;
    s.side = groups ? s.samples : s.plane * s.samples;
    s.stride = s.side;
    s.block = least(s.side, STRIP);
    return s;
}

/* One block: where its first lane lies in the tensor and in the statistics, and its first channel. */
typedef struct {
    long at, lanes, statistics, channel;
} Block;

static long blocks_of(const Sets *s) { return s->turns * ceil_div(s->side, s->block); }

static Block block_at(const Sets *s, long index) {
    const long per_side = ceil_div(s->side, s->block), turn = index / per_side, lane = index % per_side * s->block;
    const long within = turn % s->turns;
    Block b = {turn * s->rows * s->stride + lane, least(s->block, s->side - lane), turn * s->side + lane,
               within * (s->channels / s->turns)};
    return b;
}

/* Cells of one channel that are read together: `rows` of a block's, as many floats as fit a strip. */
typedef struct {
    long row, channel, at, rows, floats;
} Run;

static int next_run(const Sets *s, const Block *b, Run *r) {
    r->row += r->rows;
    if (r->row >= s->rows) return 0;
    const long most_rows = b->lanes == s->stride ? STRIP / b->lanes : 1;
    r->rows = least(most_rows, s->cells - r->row % s->cells);
    r->channel = b->channel + r->row / s->cells;
    r->at = b->at + r->row * s->stride;
    r->floats = r->rows * b->lanes;
    return 1;
}

#define RUNS(s, b, r) for (Run r = {0, 0, 0, 0, 0}; next_run(s, b, &r);)

/* The scale or shift of a row of a run: each cell has its own, or each channel; without any it is `none`. */
MEST_INLINE float affine(const Sets *s, const float *numbers, const Run *r, long row, float none) {
    if (!numbers) return none;
    return numbers[s->norm->per_cell ? r->channel * s->plane + (r->row + row) % s->cells : r->channel];
}

/* all[q] += the sum over rows of x, in float32 within a run and in float64 over all. */
static void add_rows(double *all, const float *x, long rows, long lanes) {
    float sum[STRIP];
    memcpy(sum, x, (size_t)lanes * 4);
    for (long j = 1; j < rows; j++) LANES(q, lanes) sum[q] += x[j * lanes + q];
    LANES(q, lanes) all[q] += sum[q];
}

static void op_sample_norm(const Context *x, const MestStep *step) {
    const Sets s = sets_of(x, step);
    const Range r = share(x->program->groups * blocks_of(&s), x->thread, x->threads);
    double all[STRIP];
    float strip[STRIP];
    for (long i = r.begin; i < r.end; i++) {
        const Block b = block_at(&s, i);
        float *mean = s.norm->mean + b.statistics, *rstd = s.norm->rstd + b.statistics;
        memset(all, 0, sizeof all);
        RUNS(&s, &b, run) {
            view_read_at(&step->a, run.channel, run.at, step->out + run.at, run.floats);
            add_rows(all, step->out + run.at, run.rows, b.lanes);
        }
        for (long q = 0; q < b.lanes; q++) mean[q] = (float)(all[q] / (double)s.rows);
        memset(all, 0, sizeof all);
        RUNS(&s, &b, run) {
            for (long j = 0; j < run.rows; j++) {
                const float *z = step->out + run.at + j * b.lanes;
                LANES(q, b.lanes) {
                    const float d = z[q] - mean[q];
                    strip[j * b.lanes + q] = d * d;
                }
            }
            add_rows(all, strip, run.rows, b.lanes);
        }
        for (long q = 0; q < b.lanes; q++)
            rstd[q] = (float)(1.0 / __builtin_sqrt(all[q] / (double)s.rows + s.norm->epsilon));
        RUNS(&s, &b, run) {
            for (long j = 0; j < run.rows; j++) {
                const float scale = affine(&s, s.norm->gamma, &run, j, 1), shift = affine(&s, s.norm->beta, &run, j, 0);
                float *z = step->out + run.at + j * b.lanes;
                LANES(q, b.lanes) z[q] = (z[q] - mean[q]) * rstd[q] * scale + shift;
            }
            store_act(step->out + run.at, run.floats, step->act);
        }
    }
}

/* out (+)= rstd * (g scale - its mean - normalised * the mean of (g scale normalised)), means over each set. */
static void sample_norm_input_grad(const Context *x, const MestStep *step, const Sets *s) {
    const Range r = share(x->program->groups * blocks_of(s), x->thread, x->threads);
    double first[STRIP], second[STRIP];
    float strip[STRIP], scaled[STRIP], along_one[STRIP], along_x[STRIP];
    for (long i = r.begin; i < r.end; i++) {
        const Block b = block_at(s, i);
        const float *mean = s->norm->mean + b.statistics, *rstd = s->norm->rstd + b.statistics;
        memset(first, 0, sizeof first);
        memset(second, 0, sizeof second);
        for (int pass = 0; pass < 2; pass++) {
            RUNS(s, &b, run) {
                view_read_at(&step->a, run.channel, run.at, strip, run.floats);
                for (long j = 0; j < run.rows; j++) {
                    const float scale = affine(s, s->norm->gamma, &run, j, 1);
                    const float *g = step->g.data + run.at + j * b.lanes;
                    float *z = strip + j * b.lanes, *t = scaled + j * b.lanes;
                    LANES(q, b.lanes) {
                        t[q] = g[q] * scale;
                        z[q] = (z[q] - mean[q]) * rstd[q];
                    }
                    if (pass == 0) LANES(q, b.lanes) z[q] *= t[q];
                    else LANES(q, b.lanes) t[q] = rstd[q] * (t[q] - along_one[q] - z[q] * along_x[q]);
                }
                float *out = step->out + run.at;
                if (pass == 0) {
                    add_rows(first, scaled, run.rows, b.lanes);
                    add_rows(second, strip, run.rows, b.lanes);
                } else if (step->accumulate) LANES(q, run.floats) out[q] += scaled[q];
                else memcpy(out, scaled, (size_t)run.floats * 4);
            }
            for (long q = 0; q < b.lanes && pass == 0; q++) {
                along_one[q] = (float)(first[q] / (double)s->rows);
                along_x[q] = (float)(second[q] / (double)s->rows);
            }
        }
    }
}

/* Adds the gradients of scale and shift, channel by channel. */
static void sample_norm_affine_grad(const Context *x, const MestStep *step, const Sets *s) {
    const MestSampleNorm *n = s->norm;
    const Range r = share(s->channels, x->thread, x->threads);
    const long cells = least(s->plane, most(1, STRIP / s->samples)), side = least(s->samples, STRIP);
    float strip[STRIP];
    for (long c = r.begin; c < r.end; c++) {
        double scales = 0, shifts = 0;
        for (long group = 0; group < x->program->groups; group++)
            for (long p = 0; p < s->plane; p += cells)
                for (long k = 0; k < s->samples; k += side) {
                    const long rows = least(cells, s->plane - p), lanes = least(side, s->samples - k);
                    const long at = ((group * s->channels + c) * s->plane + p) * s->samples + k;
                    view_read_at(&step->a, c, at, strip, rows * lanes);
                    for (long j = 0; j < rows; j++) {
                        const long set = n->groups ? group * n->groups + c / (s->channels / n->groups) : group * s->plane + p + j;
                        const float *mean = n->mean + set * s->samples + k, *rstd = n->rstd + set * s->samples + k;
                        const float *g = step->g.data + at + j * lanes, *z = strip + j * lanes;
                        double scale = 0, shift = 0;
                        for (long q = 0; q < lanes; q++) {
                            scale += g[q] * ((z[q] - mean[q]) * rstd[q]);
                            shift += g[q];
                        }
                        if (n->per_cell && n->gamma_grad) n->gamma_grad[c * s->plane + p + j] += (float)scale;
                        if (n->per_cell && n->beta_grad) n->beta_grad[c * s->plane + p + j] += (float)shift;
                        scales += scale;
                        shifts += shift;
                    }
                }
        if (!n->per_cell && n->gamma_grad) n->gamma_grad[c] += (float)scales;
        if (!n->per_cell && n->beta_grad) n->beta_grad[c] += (float)shifts;
    }
}

static void op_sample_norm_grad(const Context *x, const MestStep *step) {
    const Sets s = sets_of(x, step);
    if (step->input_grad) sample_norm_input_grad(x, step, &s);
    if (s.norm->gamma_grad || s.norm->beta_grad) sample_norm_affine_grad(x, step, &s);
}

#endif
