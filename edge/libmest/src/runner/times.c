#include "times.h"

#include <math.h>
#include <stdlib.h>

void times_add(Times *times, double step_ms, double data_ms) {
    if (!times->every) times->every = 1;
    if (times->seen++ % times->every) return;
    times->step_ms[times->count] = step_ms;
    times->data_ms[times->count++] = data_ms;
    if (times->count < MOST_TIMES) return;
    for (int i = 0; i < MOST_TIMES / 2; i++) {
        times->step_ms[i] = times->step_ms[2 * i];
        times->data_ms[i] = times->data_ms[2 * i];
    }
    times->count = MOST_TIMES / 2;
    times->every *= 2;
}

static int by_size(const void *a, const void *b) {
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

double times_median(double *times, int64_t count) {
    if (!count) return NAN;
    qsort(times, (size_t)count, sizeof *times, by_size);
    return times[count / 2];
}
