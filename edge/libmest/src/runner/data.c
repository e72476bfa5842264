#include "data.h"

#include <math.h>
#include <string.h>

#include "chance.h"
#include "files.h"
#include "say.h"
#include "sha256.h"

enum { HOLD_OUT_KEY = 1, AUGMENT_KEY = 3, CROP_PADDING = 4 }; /* edge/data/batches.py */

static const int64_t number_bytes[MEST_NUMBERS] = {1, 2, 4};

Data data_open(const char *path, const Plan *plan) {
    const MestPlan *p = &plan->head;
    int64_t nbytes;
    Data data = {.path = path, .fd = open_for_reading(path, "what 'mest pack' wrote", &nbytes)};
    MestData *h = &data.head;
    if (nbytes < (int64_t)sizeof *h || !read_at(data.fd, h, sizeof *h, 0) || h->magic != MEST_DATA_MAGIC)
        die(DAMAGED, "%s: is no data file; give what 'mest pack' wrote", path);
    if (h->version != MEST_FILE_VERSION) die(DAMAGED, "%s: is of another version; pack the data again", path);
    if (h->channels != p->channels || h->height != p->height || h->width != p->width || h->classes != p->classes || h->images != p->images)
        die(BAD_INPUT, "%s: holds samples of %dx%dx%d in %d classes, %s takes %dx%dx%d in %d; pack the data for it", path, h->channels,
            h->height, h->width, h->classes, plan->path, p->channels, p->height, p->width, p->classes);
    if (h->numbers < 0 || h->numbers >= MEST_NUMBERS || (h->images && h->numbers != MEST_NUMBERS_UINT8))
        die(DAMAGED, "%s: holds numbers of an unknown kind; pack the data again", path);
    data.sample_bytes = plan_input(plan) * number_bytes[h->numbers];
    if (h->record_bytes != (int64_t)sizeof(MestSample) + (data.sample_bytes + 7) / 8 * 8)
        die(DAMAGED, "%s: has records of another size than its samples; pack the data again", path);
    data.samples = (nbytes - (int64_t)sizeof *h) / h->record_bytes;
    if (data.samples < 1) die(BAD_INPUT, "%s: holds no whole sample", path);
    if (data.samples > INT32_MAX) die(BAD_INPUT, "%s: holds %lld samples; allowed are %d", path, (long long)data.samples, INT32_MAX);
    if ((nbytes - (int64_t)sizeof *h) % h->record_bytes) say("%s: ends within a sample, which is left out", path);
    return data;
}

static int64_t record_at(const Data *data, int64_t number) {
    return (int64_t)sizeof data->head + number * data->head.record_bytes;
}

static void cut_short(const Data *data, int64_t number) {
    die(BAD_INPUT, "%s: ends before sample %lld; it became shorter while it was read", data->path, (long long)number);
}

void data_labels(const Data *data, int32_t *labels, uint8_t *test, int64_t digest[4]) {
    Sha256 sha;
    sha256_begin(&sha);
    for (int64_t i = 0; i < data->samples; i++) {
        MestSample sample;
        if (!read_at(data->fd, &sample, sizeof sample, record_at(data, i))) cut_short(data, i);
        if (sample.label < 0 || sample.label >= data->head.classes || (sample.test != 0 && sample.test != 1))
            die(DAMAGED, "%s: sample %lld has label %d and mark %d; allowed are 0 to %d, and 0 or 1", data->path, (long long)i,
                sample.label, sample.test, data->head.classes - 1);
        labels[i] = sample.label;
        test[i] = (uint8_t)sample.test;
        sha256_add(&sha, &sample, sizeof sample);
    }
    sha256_end(&sha, digest);
}

static float number_of(const void *raw, int32_t numbers, int64_t at) {
    if (numbers == MEST_NUMBERS_UINT8) return ((const uint8_t *)raw)[at];
    if (numbers == MEST_NUMBERS_INT16) return ((const int16_t *)raw)[at];
    return ((const float *)raw)[at];
}

Move data_move(int32_t augment, uint64_t seed, int32_t epoch, int32_t sample) {
    Move move = {0};
    const uint64_t drawn[] = {seed, AUGMENT_KEY, (uint64_t)epoch, (uint64_t)sample}, key = chance_mix(drawn, 4);
    if (augment == MEST_AUGMENT_CROP || augment == MEST_AUGMENT_CROP_FLIP) {
        move.down = (int32_t)(key % (2 * CROP_PADDING + 1)) - CROP_PADDING;
        move.right = (int32_t)((key >> 16) % (2 * CROP_PADDING + 1)) - CROP_PADDING;
    }
    if (augment == MEST_AUGMENT_FLIP || augment == MEST_AUGMENT_CROP_FLIP) move.mirrored = (int32_t)(key >> 63);
    return move;
}

/* A number of a moved sample: row and column are those after the move. */
static float moved_number(const void *raw, const MestData *h, Move move, int32_t c, int32_t y, int32_t x) {
    const int32_t from_y = y + move.down, from_x = (move.mirrored ? h->width - 1 - x : x) + move.right;
    if (from_y < 0 || from_y >= h->height || from_x < 0 || from_x >= h->width) return 0;
    return number_of(raw, h->numbers, ((int64_t)c * h->height + from_y) * h->width + from_x);
}

void data_read(const Data *data, const float *mean, int64_t number, Move move, void *raw, float *out) {
    const MestData *h = &data->head;
    const float *deviation = mean + h->channels;
    if (!read_at(data->fd, raw, (size_t)data->sample_bytes, record_at(data, number) + (int64_t)sizeof(MestSample))) cut_short(data, number);
    for (int32_t c = 0; c < h->channels; c++)
        for (int32_t y = 0; y < h->height; y++)
            for (int32_t x = 0; x < h->width; x++) {
                float value = moved_number(raw, h, move, c, y, x);
                if (h->images) value *= (float)(1.0 / 255);
                value -= mean[c];
                *out++ = value / deviation[c];
            }
}

/* Takes the same share of each class, at least one sample and never all of two, in an order by seed; `split->train`
 * marks them. */
static void hold_out(const int32_t *labels, int64_t samples, int32_t classes, double fraction, uint64_t seed, int32_t *order,
                     int32_t *held) {
    const uint64_t key[] = {seed, HOLD_OUT_KEY};
    chance_permutation(order, samples, chance_mix(key, 2));
    for (int32_t label = 0; label < classes; label++) {
        int64_t members = 0, taken = 0;
        for (int64_t i = 0; i < samples; i++) members += labels[i] == label;
        int64_t count = (int64_t)rint(fraction * (double)members); /* halves to even, as Python's round */
        if (fraction > 0 && members > 1) count = count < 1 ? 1 : count > members - 1 ? members - 1 : count;
        for (int64_t i = 0; i < samples && taken < count; i++)
            if (labels[order[i]] == label) held[order[i]] = 1, taken++;
    }
}

void data_split(const int32_t *labels, const uint8_t *test, int64_t samples, int32_t classes, double fraction, uint64_t seed,
                int32_t *order, Split *split) {
    int marked = 0;
    int32_t *held = split->train; /* marks first, then numbers in their place */
    for (int64_t i = 0; i < samples; i++) {
        held[i] = test[i];
        marked |= test[i];
    }
    if (!marked) hold_out(labels, samples, classes, fraction, seed, order, held);
    for (int64_t i = 0; i < samples; i++) order[i] = held[i];
    split->trained = split->held = 0;
    for (int64_t i = 0; i < samples; i++) split->trained += !order[i];
    split->held_out = split->train + split->trained;
    for (int64_t i = 0, t = 0; i < samples; i++) {
        if (order[i]) split->held_out[split->held++] = (int32_t)i;
        else split->train[t++] = (int32_t)i;
    }
}
