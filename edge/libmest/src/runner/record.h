/* The record of a run: what its steps did, kept in bounded memory, and the file that 'mest profile' draws. */
#ifndef MEST_RECORD_H
#define MEST_RECORD_H

#include "../../include/libmest.h"

enum { MOST_POINTS = 256 };
typedef struct {
    int64_t step;
    double loss, milliseconds, learning_rate;
} StepPoint;
typedef struct {
    int32_t epoch;
    double loss, accuracy, held_out;
} EpochPoint;
typedef struct {
    int64_t step, removed, grown; /* weights */
} MutationPoint;
typedef struct {
    StepPoint steps[MOST_POINTS];
    EpochPoint epochs[MOST_POINTS];
    MutationPoint mutations[MOST_POINTS];
    int64_t step_count, step_every, steps_seen;
    int64_t epoch_count, epoch_every, epochs_seen;
    int64_t mutation_count, mutation_every, mutations_seen;
    int64_t begun_at; /* steps behind the run when this process took it up */
} Curve;

/* Takes a step in, and a mutation and the end of an epoch that came with it; every second one is let go where there are too many. */
void curve_add(Curve *curve, const LibmestProgress *progress);
/* Writes the record as a whole, or ends the process; a figure that was not taken is said to be so. */
void record_write(const char *path, const LibmestModel *model, const Curve *curve, const LibmestProgress *last, double step_ms_median);

#endif
