/* A file of samples with labels, read one sample at a time: mapped pages would count as resident. */
#ifndef MEST_DATA_H
#define MEST_DATA_H

#include "plan.h"

typedef struct {
    const char *path;
    int fd;
    MestData head;
    int64_t samples;
    int64_t sample_bytes; /* of a sample's numbers */
} Data;

/* Ends the process where the file is not to be had, is damaged, or is of samples that the plan does not take. */
Data data_open(const char *path, const Plan *plan);
/* Labels and test marks of all samples, each a number of the arrays, and their digest; ends the process where one is
 * out of range. */
void data_labels(const Data *data, int32_t *labels, uint8_t *test, int64_t digest[4]);
/* How a sample is moved before it is normalised: what comes in at its edges is black. */
typedef struct {
    int32_t down, right; /* from where in the sample the first row and column come */
    int32_t mirrored;
} Move;

/* The move that an augmentation draws for a sample in an epoch: edge/data/batches.py. */
Move data_move(int32_t augment, uint64_t seed, int32_t epoch, int32_t sample);
/* One sample as the network takes it, moved, and normalised as edge/data/preprocess.py does by means that deviations
 * follow; `raw` has room for its numbers. */
void data_read(const Data *data, const float *mean, int64_t number, Move move, void *raw, float *out);

/* The samples that are trained on, then those that are held out: edge/data/batches.py and edge/run/training_data.py. */
typedef struct {
    int32_t *train, *held_out;
    int64_t trained, held;
} Split;

/* `order` has room for every sample, and `split->train` for both parts. */
void data_split(const int32_t *labels, const uint8_t *test, int64_t samples, int32_t classes, double fraction, uint64_t seed,
                int32_t *order, Split *split);

#endif
