#include "course.h"

#include <math.h>

#include "plan_file.h"

static const double published[] = {80, 120}, of_epochs = 160;

double mest_course_rate(int32_t schedule, double base, double progress, double warmup, double left) {
    if (progress < warmup) return base * (progress != 0 ? progress / warmup : 1e-3);
    const double rest = warmup < 1 ? (progress - warmup) / (1 - warmup) : 1.0;
    if (schedule == MEST_SCHEDULE_LINEAR) return base * (1 - rest);
    if (schedule == MEST_SCHEDULE_COSINE) return base * (1 + cos(3.141592653589793 * rest)) / 2;
    return schedule == MEST_SCHEDULE_STEP ? base * left : base;
}

/* Of a run of one or two epochs both published ones are the same, and count once. */
static int scaled(int32_t epochs, int32_t epoch) {
    double before = 0;
    int reached = 0;
    for (int i = 0; i < 2; i++) {
        const double milestone = fmax(1, rint(published[i] * epochs / of_epochs)); /* halves to even, as Python's round */
        reached += milestone != before && epoch >= milestone;
        before = milestone;
    }
    return reached;
}

double mest_course_left(const int64_t *milestones, int64_t count, int32_t epochs, int32_t epoch, double gamma) {
    int reached = count ? 0 : scaled(epochs, epoch);
    for (int64_t i = 0; i < count; i++) reached += epoch >= milestones[i];
    double left = 1;
    for (int i = 0; i < reached; i++) left *= gamma;
    return left;
}
