/* Padding and resizing: each plane's rows are weighted sums of rows, and its columns of columns. A gradient goes the same
 * way, with the tables turned around: every number is gathered by the thread that owns its plane. */
#ifndef MEST_RESAMPLE_H
#define MEST_RESAMPLE_H

#include "views.h"

/* Row y of the new plane before its columns are made: an old row itself where it is one, or `line`. */
static const float *resampled_row(const MestResample *r, const float *plane, long run, long y, float *line) {
    const long first = r->row_starts[y], last = r->row_starts[y + 1];
    if (last == first + 1 && r->row_weights[first] == 1) return plane + r->row_sources[first] * run;
    memset(line, 0, (size_t)run * 4);
    for (long i = first; i < last; i++) {
        const float *from = plane + r->row_sources[i] * run, weight = r->row_weights[i];
        LANES(k, run) line[k] += weight * from[k];
    }
    return line;
}

/* How many of the columns from x on are old ones that follow one another; 0 where x is a sum. */
static long columns_copied(const MestResample *r, long x) {
    const long first = r->column_starts[x];
    long n = 0;
    while (x + n < r->width && r->column_starts[x + n + 1] == first + n + 1 && r->column_weights[first + n] == 1 &&
           r->column_sources[first + n] == r->column_sources[first] + n)
        n++;
    return n;
}

/* out (+)= the new plane of an old one with rows of `width` columns; `s` samples a cell. */
static void resample_plane(const MestResample *r, const float *plane, long width, long s, float *line, float *out, int accumulate) {
    for (long y = 0; y < r->height; y++, out += r->width * s) {
        const float *row = resampled_row(r, plane, width * s, y, line);
        for (long x = 0; x < r->width;) {
            float *to = out + x * s;
            const long copied = columns_copied(r, x), n = most(copied, 1) * s;
            if (copied) {
                const float *from = row + r->column_sources[r->column_starts[x]] * s;
                if (accumulate) LANES(k, n) to[k] += from[k];
                else memcpy(to, from, (size_t)n * 4);
                x += copied;
                continue;
            }
            if (!accumulate) LANES(k, s) to[k] = 0;
            for (long i = r->column_starts[x]; i < r->column_starts[x + 1]; i++) {
                const float *from = row + r->column_sources[i] * s, weight = r->column_weights[i];
                LANES(k, s) to[k] += weight * from[k];
            }
            x++;
        }
    }
}

static void op_resample(const Context *x, const MestStep *step) {
    const MestView *a = &step->a;
    const MestResample *r = step->resample;
    const long c = a->channels, s = x->program->samples, run = a->width * s, n = a->height * run;
    const Range range = share(x->program->groups * c, x->thread, x->threads);
    float *line = step->scratch + x->thread * step->scratch_floats, *seen = line + run;
    for (long i = range.begin; i < range.end; i++) {
        const float *plane = a->data + i * n;
        if (a->mean || a->act != MEST_ACT_NONE) {
            view_read(a, i % c, plane, seen, n);
            plane = seen;
        }
        resample_plane(r, plane, a->width, s, line, step->out + i * r->height * r->width * s, 0);
    }
}

static void op_resample_grad(const Context *x, const MestStep *step) {
    const MestResample *r = step->resample;
    const long s = x->program->samples, n = step->g.height * (long)step->g.width * s;
    const Range range = share(x->program->groups * step->g.channels, x->thread, x->threads);
    float *line = step->scratch + x->thread * step->scratch_floats;
    for (long i = range.begin; i < range.end; i++)
        resample_plane(r, step->g.data + i * n, step->g.width, s, line, step->out + i * r->height * r->width * s, step->accumulate);
}

#endif
