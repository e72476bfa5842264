#include "course.h"

#include <math.h>

#include "plan_file.h"

double mest_course_rate(int32_t schedule, double base, double progress, double warmup) {
    if (progress < warmup) return base * (progress != 0 ? progress / warmup : 1e-3);
    const double rest = warmup < 1 ? (progress - warmup) / (1 - warmup) : 1.0;
    if (schedule == MEST_SCHEDULE_LINEAR) return base * (1 - rest);
    if (schedule == MEST_SCHEDULE_COSINE) return base * (1 + cos(3.141592653589793 * rest)) / 2;
    return base;
}
