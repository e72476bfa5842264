/* An app corrects its network: "these samples are class LABEL". Opens a plan, predicts, trains until it sees it so, saves.
 *
 *     mest runner --library --target linux-x86_64 --out libmest
 *     cc correct.c -Ilibmest libmest/libmest.a -lm -pthread -o correct
 *     ./correct plan.mest samples.raw 3 corrected.state
 *
 * samples.raw holds pixels (uint8) as [sample][channel][row][column]; as many are taken as fill a step.
 */
#include <libmest.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_STEPS = 50 };
static const double rate = 0.01;

static int failed(LibmestModel *model, int code) {
    fprintf(stderr, "correct: %s\n", libmest_message(model));
    libmest_close(model);
    return code;
}

/* How many of the samples are answered with the label. */
static int64_t recognised(const float *scores, int64_t count, int32_t classes, int32_t label) {
    int64_t found = 0;
    for (int64_t i = 0; i < count; i++) {
        int32_t best = 0;
        for (int32_t k = 1; k < classes; k++)
            if (scores[i * classes + k] > scores[i * classes + best]) best = k;
        found += best == label;
    }
    return found;
}

/* Pixels of up to `most` samples; NULL where the file holds none. */
static uint8_t *read_samples(const char *path, size_t sample_bytes, size_t most, int64_t *count) {
    FILE *file = fopen(path, "rb");
    uint8_t *pixels = malloc(most * sample_bytes);
    *count = file && pixels ? (int64_t)fread(pixels, sample_bytes, most, file) : 0;
    if (file) fclose(file);
    if (*count) return pixels;
    free(pixels);
    return NULL;
}

static int train(LibmestModel *model, const LibmestSamples *samples, int32_t label, int32_t classes, float *scores) {
    int code = LIBMEST_OK;
    for (int step = 0; step <= MOST_STEPS && !code; step++) {
        code = libmest_predict(model, samples, scores);
        if (code) break;
        const int64_t right = recognised(scores, samples->count, classes, label);
        printf("after %d steps: %lld of %lld seen as %s\n", step, (long long)right, (long long)samples->count,
               libmest_class_name(model, label));
        if (right == samples->count) break;
        code = libmest_train_step(model, samples, rate, NULL, NULL);
    }
    return code;
}

int main(int count, char **words) {
    if (count != 5) {
        fputs("usage: correct PLAN.mest SAMPLES.raw LABEL STATE\n", stderr);
        return LIBMEST_BAD_INPUT;
    }
    LibmestModel *model;
    LibmestFacts facts = {.bytes = sizeof facts};
    int code = libmest_open_path(words[1], &model);
    if (!code) code = libmest_facts(model, &facts);
    if (!code) code = libmest_prepare(model, LIBMEST_FOR_TRAINING, 0); /* all memory is asked for here */
    if (code) return failed(model, code);

    LibmestSamples samples = {.bytes = sizeof samples, .kind = LIBMEST_UINT8};
    const size_t sample_bytes = (size_t)facts.channels * (size_t)facts.height * (size_t)facts.width;
    uint8_t *pixels = read_samples(words[2], sample_bytes, (size_t)facts.batch_size, &samples.count);
    int32_t *labels = malloc((size_t)facts.batch_size * sizeof *labels);
    float *scores = malloc((size_t)facts.batch_size * (size_t)facts.classes * sizeof *scores);
    if (!pixels || !labels || !scores) {
        fprintf(stderr, "correct: %s: no whole sample of %zu bytes, or no memory for them\n", words[2], sample_bytes);
        code = LIBMEST_BAD_INPUT;
    } else {
        const int32_t label = (int32_t)strtol(words[3], NULL, 10);
        for (int64_t i = 0; i < samples.count; i++) labels[i] = label;
        samples.numbers = pixels;
        samples.labels = labels;
        code = train(model, &samples, label, facts.classes, scores);
        if (!code) code = libmest_save_path(model, words[4]);
        if (code) fprintf(stderr, "correct: %s\n", libmest_message(model));
    }
    free(pixels);
    free(labels);
    free(scores);
    libmest_close(model);
    return code;
}
