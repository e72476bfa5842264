/* What depends on how far a run has come, as edge/run/rate.py has it. */
#ifndef MEST_COURSE_H
#define MEST_COURSE_H

#include <stdint.h>

double mest_course_rate(int32_t schedule, double base, double progress, double warmup);

#endif
