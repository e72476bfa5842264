/* The state of a run as bytes: a head, the block of tensors, and the lists that mutate. */
#ifndef MEST_RUN_STATE_H
#define MEST_RUN_STATE_H

#include "machine.h"

/* Bytes that a state holds behind its head, of a run over so many samples. */
int64_t mest_state_body(const Plan *plan, int64_t samples);
/* Where they begin in memory. */
void *mest_state_begins(const Machine *m, int64_t samples);
/* Looks at all of a state of this plan, then takes in its head and, in their places, tensors and lists. A fault where it is damaged
 * or of another plan, before anything was changed; of index lists that do not fit, after which the tensors and lists are those
 * that the plan begins with. With `marks` 0 those of the samples stay as they are. */
int mest_state_read(const Source *source, Machine *m, int marks, MestState *head);
/* The head with sizes and digests, so that it and the tensors are a state. */
void mest_state_seal(MestState *head, const Machine *m);

#endif
