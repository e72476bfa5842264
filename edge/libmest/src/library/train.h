/* A run of training: edge/run/training.py, step for step. */
#ifndef MEST_TRAIN_H
#define MEST_TRAIN_H

#include "machine.h"

enum { REOPENED_AT_BEST = 1, REOPENED_ELSEWHERE = 2 }; /* of a finished run that goes on: which weights it has */

typedef struct {
    MestState head; /* settings and position */
    int phase;      /* LIBMEST_BEFORE and the like; 0: no run was begun */
    int ordered;    /* the samples lie in the order of the epoch */
    int reopened;
    int64_t at, correct; /* of an evaluation */
    int64_t kept;        /* samples that the running epoch trains on */
    double accuracy_after;
    const char *state_path;  /* where the last good state lies, for messages; NULL: the caller keeps it */
    const char *loaded;      /* what was loaded, for messages */
} Training;

/* The head of a state of the plan's own tensors, outside of any run. */
void mest_train_blank(Training *t, const Plan *plan);
/* A run over samples that were labelled, as compiled where the settings say nothing. */
int mest_train_begin(Training *t, Machine *m, const Data *data, const LibmestSettings *settings);
/* The run that the head tells of. */
int mest_train_continue(Training *t, Machine *m, const Data *data, const LibmestSettings *settings);
/* One batch; a fault where the numbers are no longer finite, or samples are not to be had. */
int mest_train_advance(Training *t, Machine *m, const Data *data, LibmestProgress *progress);
/* A fault where the weights or answers are not finite, so that no state of them may be kept. */
int mest_train_refuse_ruined(const Training *t, Machine *m);
int mest_train_exploded(const Training *t, const Machine *m, const char *what, int64_t step, double rate);

#endif
