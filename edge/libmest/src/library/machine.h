/* A plan's network in memory, all of which is asked for before the first step, and the engine over it. */
#ifndef MEST_MACHINE_H
#define MEST_MACHINE_H

#include "data.h"
#include "plan.h"

enum { SIZES = 3 }; /* of pieces: the micro-batch, what is left of a batch, and of the last one or of one by itself */

typedef struct {
    int64_t samples;
    char *tables;
    MestProgram program;
    MestPlanProgram row;
} Sized;

typedef struct {
    const Plan *plan;
    Fault *fault;
    void *engine;
    void *block;
    size_t block_bytes;
    char *arena, *tensors, *lists; /* marks of samples, tensors, lists: what a state holds of them is one piece */
    /* Of what mutates. */
    MestWeight *weights;
    MestPlanPhase *phases;
    MestPlanUnits *units; /* [phase][weight] */
    int64_t *milestones; /* of schedule step */
    float *mean; /* per channel, deviations behind them */
    char *names; /* of the classes, each ended by a zero */
    Sized training[SIZES], predicting;
    int64_t largest_part; /* of the tables of a program for less than a micro-batch */
    /* Of every sample of the data, of which there may be so many. */
    int64_t most_samples;
    int32_t *sample_labels, *order;
    uint8_t *test;
    Split split;
    int64_t digest[4]; /* of labels and marks */
    /* Of a piece. */
    float *images, *logits;
    int64_t *labels;
    void *raw;
} Machine;

/* All of these give 0, or the code of a fault. */

/* Asks for all memory, opens the engine and looks at every number of the programs; `trains` 0: for predictions alone. The
 * tensors are those that the plan begins with. What was opened has to be closed, where it failed too. */
int mest_machine_open(Machine *m, const Plan *plan, int trains, int64_t most_samples);
void mest_machine_close(Machine *m);
/* Bytes from the tensors on that a state holds: these, and the lists that mutate. */
int64_t mest_machine_kept(const Plan *plan);
double mest_machine_now(void); /* milliseconds */
/* The tensors, and the lists that mutate, that the plan begins with. */
int mest_machine_reset(Machine *m);
/* Takes in the labels of samples, of which there is room for so many. */
int mest_machine_label(Machine *m, const Data *data);
/* Cuts them into what is trained on and what is held out. */
void mest_machine_split(Machine *m, const Data *data, double hold_out, int64_t seed);
/* Makes ready for a last piece of a batch of `samples`; those of whole batches are always ready. */
int mest_machine_ready(Machine *m, int64_t samples);
/* The name of a class. */
const char *mest_machine_class(const Machine *m, int32_t number);

/* Which samples, and how they are moved. */
typedef struct {
    const Data *data;
    const int32_t *numbers; /* NULL: from `first` on, labelled by the data's own array, if it has one */
    const MestState *run;   /* NULL: as they are */
    int64_t first;
} Reading;

typedef struct {
    double loss; /* mean over the samples */
    int64_t correct;
    double read_ms, step_ms;
} Step;

/* One optimizer step over `count` samples. A loss that is not finite changes no weight. */
int mest_machine_train(Machine *m, Reading reading, int64_t count, double rate, int64_t step, Step *done);
/* The logits of up to a micro-batch of samples: rows of `m->logits`. */
int mest_machine_predict(Machine *m, Reading reading, int64_t count);
/* A fault where one of the first `count` rows of logits is not finite. */
int mest_machine_finite(const Machine *m, int64_t count);
/* The likeliest class by a row of logits. */
int32_t mest_machine_likeliest(const Machine *m, int64_t row);
/* Adds how many of the samples, by their numbers, are classified correctly. */
int mest_machine_correct(Machine *m, const Data *data, const int32_t *samples, int64_t count, int64_t *correct);
/* Whether a number that the next step depends on is not finite, or the answers to the piece that was computed last. */
int mest_machine_ruined(Machine *m);

#endif
