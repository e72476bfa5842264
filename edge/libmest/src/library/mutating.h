/* The weights of a plan that mutate: edge/run/training.py between two steps. */
#ifndef MEST_MUTATING_H
#define MEST_MUTATING_H

#include "machine.h"

/* All of these give 0, or the code of a fault. */

/* Takes in which weights mutate and when; the blocks were read before. */
int mest_mutating_open(Machine *m);
/* Looks at the lists of all weights as they lie there, writes those that follow from them, and brings every program in line;
 * a fault where one of them is wrong. */
int mest_mutating_accept(Machine *m);
/* A program that is read: the numbers of non-zeros as they are now. Nothing is looked at. */
void mest_mutating_tell(const Machine *m, Sized *program);

typedef struct {
    int64_t removed, grown; /* weights */
    int done;               /* 0: it was not due */
    int not_finite;         /* weights or gradients were, and a part of them has mutated */
} Mutated;

/* The mutation that is due after a step, `reached` being the share of the run that is done. */
int mest_mutating_step(Machine *m, const MestState *run, double reached, Mutated *done);
/* Whether the network is at its target after the mutation of then. */
int mest_mutating_at_target(const Machine *m, double reached);

#endif
