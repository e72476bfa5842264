/* A plan's network in memory, all of which is asked for before the first step, and the engine over it. */
#ifndef MEST_MACHINE_H
#define MEST_MACHINE_H

#include "data.h"
#include "plan.h"

enum { MOST_SIZES = 4 }; /* of pieces: the micro-batch, what is left of a batch, and of the last one */

typedef struct {
    int64_t samples;
    MestProgram program;
    MestPlanProgram row;
} Sized;

typedef struct {
    const Plan *plan;
    const Data *data;
    void *engine;
    char *arena, *tensors, *lists;
    float *mean; /* per channel, deviations behind them */
    char *names; /* of the classes, each ended by a zero */
    Sized training[MOST_SIZES], predicting;
    int sizes;
    /* Of every sample of the data. */
    int32_t *sample_labels, *order;
    uint8_t *test;
    Split split;
    int64_t digest[4]; /* of labels and marks */
    /* Of a piece. */
    float *images, *logits;
    int64_t *labels;
    void *raw;
} Machine;

/* Asks for all memory and opens the engine; `trains` 0: for predictions alone. Ends the process where one number of the
 * plan is wrong or the budget is met. The tensors are those that the plan begins with. */
void machine_open(Machine *m, const Plan *plan, const Data *data, int trains, double hold_out, int64_t seed);
/* Looks at every number of the programs: nothing may run before. */
void machine_check(const Machine *m);
void machine_close(Machine *m);
/* The name of a class. */
const char *machine_class(const Machine *m, int32_t number);

typedef struct {
    double loss; /* mean over the samples */
    int64_t correct;
    double read_ms, step_ms;
} Step;

/* One optimizer step of a run over samples by their numbers. A loss that is not finite changes no weight. */
Step machine_train(Machine *m, const int32_t *samples, int64_t count, double rate, const MestState *run);
/* The logits of up to a micro-batch of samples: rows of `m->logits`. */
void machine_predict(Machine *m, const int32_t *samples, int64_t count);
/* How many of the first `count` rows of logits are not finite. */
int64_t machine_not_finite(const Machine *m, int64_t count);
/* How many of the samples are classified correctly; -1 once `stop` says so. Ends the process for answers that are not
 * finite. */
int64_t machine_correct(Machine *m, const int32_t *samples, int64_t count, int (*stop)(void));
/* Whether a number that the next step depends on is not finite, or the answers to the piece that was trained on last. */
int machine_ruined(Machine *m);

double milliseconds(void);

#endif
