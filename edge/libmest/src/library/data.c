#include "data.h"

#include <math.h>
#include <string.h>

#include "chance.h"
#include "sha256.h"

enum { HOLD_OUT_KEY = 1, AUGMENT_KEY = 3, CROP_PADDING = 4 }; /* edge/data/batches.py */

static const int64_t number_bytes[MEST_NUMBERS] = {1, 2, 4};

int mest_data_head(Data *data, const Plan *plan) {
    const MestPlan *p = &plan->head;
    MestData *h = &data->head;
    Fault *f = data->fault;
    const char *name = data->source.name;
    const int64_t nbytes = data->source.from.nbytes;
    if (nbytes < (int64_t)sizeof *h || !mest_source_read(&data->source, h, sizeof *h, 0) || h->magic != MEST_DATA_MAGIC)
        return mest_fault(f, DAMAGED, "%s: is no data file; give what 'mest pack' wrote", name);
    if (h->version != MEST_FILE_VERSION) return mest_fault(f, DAMAGED, "%s: is of another version; pack the data again", name);
    if (h->channels != p->channels || h->height != p->height || h->width != p->width || h->classes != p->classes || h->images != p->images)
        return mest_fault(f, BAD_INPUT, "%s: holds samples of %dx%dx%d in %d classes, %s takes %dx%dx%d in %d; pack the data for it", name,
                          h->channels, h->height, h->width, h->classes, plan->source.name, p->channels, p->height, p->width, p->classes);
    if (h->numbers < 0 || h->numbers >= MEST_NUMBERS || (h->images && h->numbers != MEST_NUMBERS_UINT8))
        return mest_fault(f, DAMAGED, "%s: holds numbers of an unknown kind; pack the data again", name);
    data->sample_bytes = mest_plan_input(plan) * number_bytes[h->numbers];
    if (h->record_bytes != (int64_t)sizeof(MestSample) + (data->sample_bytes + 7) / 8 * 8)
        return mest_fault(f, DAMAGED, "%s: has records of another size than its samples; pack the data again", name);
    data->samples = (nbytes - (int64_t)sizeof *h) / h->record_bytes;
    if (data->samples > INT32_MAX)
        return mest_fault(f, BAD_INPUT, "%s: holds %lld samples; allowed are %d", name, (long long)data->samples, INT32_MAX);
    data->cut = (nbytes - (int64_t)sizeof *h) % h->record_bytes != 0;
    return DONE;
}

int mest_data_open(Data *data, const Plan *plan) {
    const int wrong = mest_data_head(data, plan);
    if (wrong || data->samples) return wrong;
    return mest_fault(data->fault, BAD_INPUT, "%s: holds no whole sample", data->source.name);
}

int mest_data_of_samples(Data *data, const Plan *plan, const LibmestSamples *samples) {
    const MestPlan *p = &plan->head;
    Fault *f = data->fault;
    const int32_t kind = samples->kind;
    if (samples->bytes < sizeof *samples) return mest_fault(f, BAD_INPUT, "samples: bytes is %zu; give sizeof(LibmestSamples)", samples->bytes);
    if (kind < 0 || kind >= MEST_NUMBERS || (p->images && kind != MEST_NUMBERS_UINT8))
        return mest_fault(f, BAD_INPUT, "samples: numbers of kind %d; %s takes %s", kind, plan->source.name,
                          p->images ? "pixels of LIBMEST_UINT8" : "LIBMEST_UINT8, LIBMEST_INT16 or LIBMEST_FLOAT32");
    if (!samples->numbers || samples->count < 1 || samples->count > INT32_MAX)
        return mest_fault(f, BAD_INPUT, "samples: %lld of them%s; give 1 to %d", (long long)samples->count,
                          samples->numbers ? "" : " at no address", INT32_MAX);
    for (int64_t i = 0; samples->labels && i < samples->count; i++)
        if (samples->labels[i] < 0 || samples->labels[i] >= p->classes || (samples->test && samples->test[i] > 1))
            return mest_fault(f, BAD_INPUT, "samples: sample %lld has label %d and mark %d; allowed are 0 to %d, and 0 or 1", (long long)i,
                              samples->labels[i], samples->test ? samples->test[i] : 0, p->classes - 1);
    data->arrays = *samples;
    data->samples = samples->count;
    data->sample_bytes = mest_plan_input(plan) * number_bytes[kind];
    data->head = (MestData){.channels = p->channels, .height = p->height, .width = p->width, .numbers = kind, .images = p->images,
                            .classes = p->classes};
    return DONE;
}

static int64_t record_at(const Data *data, int64_t number) {
    return (int64_t)sizeof data->head + number * data->head.record_bytes;
}

static int cut_short(const Data *data, int64_t number) {
    return mest_fault(data->fault, BAD_INPUT, "%s: ends before sample %lld; it became shorter while it was read", data->source.name,
                      (long long)number);
}

static int read_sample(const Data *data, int64_t number, MestSample *sample) {
    const LibmestSamples *arrays = &data->arrays;
    if (!arrays->numbers) {
        if (!mest_source_read(&data->source, sample, sizeof *sample, record_at(data, number))) return cut_short(data, number);
        if (sample->label >= 0 && sample->label < data->head.classes && (sample->test == 0 || sample->test == 1)) return DONE;
        return mest_fault(data->fault, DAMAGED, "%s: sample %lld has label %d and mark %d; allowed are 0 to %d, and 0 or 1",
                          data->source.name, (long long)number, sample->label, sample->test, data->head.classes - 1);
    }
    *sample = (MestSample){arrays->labels[number], arrays->test && arrays->test[number]};
    return DONE;
}

int mest_data_labels(const Data *data, int32_t *labels, uint8_t *test, int64_t digest[4]) {
    Sha256 sha;
    mest_sha256_begin(&sha);
    for (int64_t i = 0; i < data->samples; i++) {
        MestSample sample;
        const int wrong = read_sample(data, i, &sample);
        if (wrong) return wrong;
        labels[i] = sample.label;
        test[i] = (uint8_t)sample.test;
        mest_sha256_add(&sha, &sample, sizeof sample);
    }
    mest_sha256_end(&sha, digest);
    return DONE;
}

static float number_of(const void *raw, int32_t numbers, int64_t at) {
    if (numbers == MEST_NUMBERS_UINT8) return ((const uint8_t *)raw)[at];
    if (numbers == MEST_NUMBERS_INT16) return ((const int16_t *)raw)[at];
    return ((const float *)raw)[at];
}

Move mest_data_move(int32_t augment, uint64_t seed, int32_t epoch, int32_t sample) {
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

int mest_data_read(const Data *data, const float *mean, int64_t number, Move move, void *raw, float *out) {
    const MestData *h = &data->head;
    const float *deviation = mean + h->channels;
    const void *from = raw;
    if (data->arrays.numbers) from = (const char *)data->arrays.numbers + number * data->sample_bytes;
    else if (!mest_source_read(&data->source, raw, (size_t)data->sample_bytes, record_at(data, number) + (int64_t)sizeof(MestSample)))
        return cut_short(data, number);
    for (int32_t c = 0; c < h->channels; c++)
        for (int32_t y = 0; y < h->height; y++)
            for (int32_t x = 0; x < h->width; x++) {
                float value = moved_number(from, h, move, c, y, x);
                if (h->images) value *= (float)(1.0 / 255);
                value -= mean[c];
                *out++ = value / deviation[c];
            }
    return DONE;
}

/* Takes the same share of each class, at least one sample and never all of two, in an order by seed; `split->train`
 * marks them. */
static void hold_out(const int32_t *labels, int64_t samples, int32_t classes, double fraction, uint64_t seed, int32_t *order,
                     int32_t *held) {
    const uint64_t key[] = {seed, HOLD_OUT_KEY};
    mest_chance_permutation(order, samples, chance_mix(key, 2));
    for (int32_t label = 0; label < classes; label++) {
        int64_t members = 0, taken = 0;
        for (int64_t i = 0; i < samples; i++) members += labels[i] == label;
        int64_t count = (int64_t)rint(fraction * (double)members); /* halves to even, as Python's round */
        if (fraction > 0 && members > 1) count = count < 1 ? 1 : count > members - 1 ? members - 1 : count;
        for (int64_t i = 0; i < samples && taken < count; i++)
            if (labels[order[i]] == label) held[order[i]] = 1, taken++;
    }
}

void mest_data_split(const int32_t *labels, const uint8_t *test, int64_t samples, int32_t classes, double fraction, uint64_t seed,
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
