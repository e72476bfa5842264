/* A weight in its compressed form: which units it has, whether its lists may be believed, and those that follow from them. */
#ifndef MEST_WEIGHT_H
#define MEST_WEIGHT_H

#include "mest.h"

/* A weight as a grid of units; its arrays lie as [outer][unit][inner]. */
typedef struct {
    int64_t rows, columns, units, outer, inner;
    int64_t per_unit; /* entries of the kernels' lists for each unit of ours */
} Grid;

/* Of a weight whose sizes are possible. */
Grid mest_weight_grid(const MestWeight *weight);
/* Writes the lists that follow from those of so many rows and units, which nobody looks at again. */
void mest_weight_follow(const MestWeight *weight, int64_t rows, int64_t units);

static inline int64_t taps_of(const MestWeight *w) { return (int64_t)w->kernel_h * w->kernel_w; }

static inline int64_t index_at(const void *list, int bytes, int64_t i) {
    return bytes == 2 ? ((const uint16_t *)list)[i] : ((const uint32_t *)list)[i];
}

static inline void set_index(void *list, int bytes, int64_t i, int64_t number) {
    if (bytes == 2) ((uint16_t *)list)[i] = (uint16_t)number;
    else ((uint32_t *)list)[i] = (uint32_t)number;
}

#endif
