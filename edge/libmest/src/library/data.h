/* Samples with labels, read one at a time: of a data file, or in the caller's memory. */
#ifndef MEST_DATA_H
#define MEST_DATA_H

#include "plan.h"

typedef struct {
    Fault *fault;
    Source source;          /* of a data file */
    LibmestSamples arrays;  /* in the caller's memory, where `numbers` is not NULL */
    MestData head;
    int64_t samples;
    int64_t sample_bytes;   /* of a sample's numbers */
    int cut;                /* the file ends within a sample, which is left out */
} Data;

/* Reads the head of `data->source` and counts its whole samples, if any; a fault where it is damaged, or of samples that the
 * plan does not take. */
int mest_data_head(Data *data, const Plan *plan);
/* The same; without a sample it is a fault. */
int mest_data_open(Data *data, const Plan *plan);
/* The same of samples in memory, whose labels are looked at too: a plan for images takes pixels of uint8. */
int mest_data_of_samples(Data *data, const Plan *plan, const LibmestSamples *samples);
/* Labels and test marks of all samples, each a number of the arrays, and their digest; a fault where one is out of
 * range. */
int mest_data_labels(const Data *data, int32_t *labels, uint8_t *test, int64_t digest[4]);
/* How a sample is moved before it is normalised: what comes in at its edges is black. */
typedef struct {
    int32_t down, right; /* from where in the sample the first row and column come */
    int32_t mirrored;
} Move;

/* The move that an augmentation draws for a sample in an epoch: edge/data/batches.py. */
Move mest_data_move(int32_t augment, uint64_t seed, int32_t epoch, int32_t sample);
/* One sample as the network takes it, moved, and normalised as edge/data/preprocess.py does by means that deviations
 * follow; `raw` has room for its numbers. */
int mest_data_read(const Data *data, const float *mean, int64_t number, Move move, void *raw, float *out);

/* The samples that are trained on, then those that are held out: edge/data/batches.py and edge/run/training_data.py. */
typedef struct {
    int32_t *train, *held_out;
    int64_t trained, held;
} Split;

/* `order` has room for every sample, and `split->train` for both parts. */
void mest_data_split(const int32_t *labels, const uint8_t *test, int64_t samples, int32_t classes, double fraction, uint64_t seed,
                     int32_t *order, Split *split);

#endif
