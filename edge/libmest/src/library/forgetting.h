/* Which samples are never forgotten, in one byte per sample: edge/run/forgetting.py. */
#ifndef MEST_FORGETTING_H
#define MEST_FORGETTING_H

#include "machine.h"

/* Bytes of the marks of so many samples, which lie in front of the tensors; 0 for a plan that drops none. */
int64_t mest_forgetting_bytes(const Plan *plan, int64_t samples);
uint8_t *mest_forgetting_marks(const Machine *m, int64_t samples);
/* Whether so many bytes are marks. */
int mest_forgetting_good(const uint8_t *marks, int64_t count);
/* No sample was seen yet. */
void mest_forgetting_blank(Machine *m, int64_t samples);
/* Notes which of `count` samples the network classifies correctly now; 0, or the code of a fault. */
int mest_forgetting_observe(Machine *m, Reading reading, int64_t count);
/* Drops those of the samples that are trained on that were learned and never forgotten, in whole batches. */
void mest_forgetting_drop(Machine *m, const MestState *run);
/* Brings those that were not dropped to the front, in their order; how many they are. */
int64_t mest_forgetting_kept(Machine *m, const MestState *run);

#endif
