/* The times of steps in bounded memory. */
#ifndef MEST_TIMES_H
#define MEST_TIMES_H

#include <stdint.h>

enum { MOST_TIMES = 512 };
typedef struct {
    double step_ms[MOST_TIMES], data_ms[MOST_TIMES];
    int64_t count, every, seen;
} Times;

/* Takes a step in, or leaves it out: every second one is let go when there are too many. */
void times_add(Times *times, double step_ms, double data_ms);
/* The upper median; not a number of nothing. The times are sorted by it. */
double times_median(double *times, int64_t count);

#endif
