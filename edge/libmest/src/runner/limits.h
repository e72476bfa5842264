/* The budget of the process, and its memory as the kernel counts it. */
#ifndef MEST_LIMITS_H
#define MEST_LIMITS_H

#include <stdint.h>
#include <stdio.h>

/* Why no figure can be trusted; NULL where they can. */
const char *limits_reason(void);
/* Lets private memory grow no further than the budget, 0 for none, and keeps it out of swap where the system grants that. */
void limits_set(int64_t budget_bytes);
/* The most bytes ever resident, and ever seen in swap; -1 where no figure can be trusted. */
int64_t limits_peak(void);
int64_t limits_swap(void);
/* Ends nothing: 1 where more was ever resident than the budget allows. */
int limits_passed(int64_t budget_bytes);
/* What the system granted, by its name or "none", and what that promises. */
const char *limits_kind(void);
const char *limits_guarantee(int64_t budget_bytes);
/* The JSON fields that say what holds. */
void limits_json(FILE *out, int64_t budget_bytes);

#endif
