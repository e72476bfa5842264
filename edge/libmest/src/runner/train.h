/* A run of training: edge/run/training.py for fixed masks, step for step. */
#ifndef MEST_TRAIN_H
#define MEST_TRAIN_H

#include "course.h"
#include "machine.h"

typedef struct {
    const char *state;
    MestState head; /* settings and position */
    Times times;
    double accuracy_after;
    int stopped, saved, quiet;
} Training;

/* Trains to the end, or until `stop`; a state that was saved is whole when this returns or the process ends. */
void train(Training *t, Machine *m, int (*stop)(void));

#endif
