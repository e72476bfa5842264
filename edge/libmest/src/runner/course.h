/* What depends on how far a run has come, as edge/run/rate.py has it; and the times of its steps in bounded memory. */
#ifndef MEST_COURSE_H
#define MEST_COURSE_H

#include <stdint.h>

double course_rate(int32_t schedule, double base, double progress, double warmup);

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
