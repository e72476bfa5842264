/* What depends on how far a run has come, as edge/run/rate.py has it. */
#ifndef MEST_COURSE_H
#define MEST_COURSE_H

#include <stdint.h>

/* The learning rate at a progress from 0 to 1; `left` is what schedule step leaves of it, no other looks at it. */
double mest_course_rate(int32_t schedule, double base, double progress, double warmup, double left);
/* What is left of the rate in an epoch, counted from 0: `gamma` for each milestone that it has reached. Without any, for
 * each of the published ones, scaled to a run of `epochs`. */
double mest_course_left(const int64_t *milestones, int64_t count, int32_t epochs, int32_t epoch, double gamma);

#endif
