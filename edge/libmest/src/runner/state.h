/* The state of a run: a file that is whole or not there. */
#ifndef MEST_RUN_STATE_H
#define MEST_RUN_STATE_H

#include "machine.h"

int state_exists(const char *path);
/* The head alone, not yet believed: what memory has to be asked for follows from the seed in it. */
void state_peek(const char *path, MestState *head);
/* The head of a state of this plan, with the tensors in their place; ends the process where it is damaged. */
void state_read(const char *path, const Plan *plan, MestState *head, char *tensors);
/* Saves head and tensors; ends the process where there is no room, the state before untouched. */
void state_write(const char *path, MestState *head, const Machine *m);

#endif
