/* The state of a run as bytes: a head, and the block of tensors. */
#ifndef MEST_RUN_STATE_H
#define MEST_RUN_STATE_H

#include "machine.h"

/* Looks at all of a state of this plan, then takes in its head and, in their place, its tensors. A fault where it is damaged
 * or of another plan, before anything was changed. */
int mest_state_read(const Source *source, Machine *m, MestState *head);
/* The head with sizes and digests, so that it and the tensors are a state. */
void mest_state_seal(MestState *head, const Machine *m);

#endif
