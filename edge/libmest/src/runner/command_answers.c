/* Evaluation and prediction: what a network answers to the samples of a data file. */
#include <stdio.h>

#include "commands.h"
#include "limits.h"
#include "opened.h"
#include "say.h"

static const char takes_eval[] = " --data --state --json --quiet ";
static const char takes_predict[] = " --data --state --top --json --quiet ";

/* The network of a plan, with the weights of a state where one is given, over a data file. */
static LibmestModel *open_network(const Options *o, const char *pictures_instead) {
    LibmestModel *model = opened(o);
    if (!o->data && !o->picture_count) die(BAD_INPUT, "needs --data: what 'mest pack' wrote%s", pictures_instead);
    if (o->data && o->picture_count) die(BAD_INPUT, "%s: --data is given too; give one of them", o->pictures[0]);
    prepared(model, o, LIBMEST_FOR_PREDICTING);
    if (o->state) must(model, libmest_load_path(model, o->state));
    return model;
}

static void print_process(const LibmestFacts *f) {
    printf("\"engine\": \"native\", \"engine_reason\": \"compiled\", \"planned_peak_bytes\": %lld, ", (long long)f->planned_peak_bytes);
    limits_json(stdout, f->budget_bytes);
}

int command_eval(int count, char **words) {
    const Options o = options_read(count, words, takes_eval);
    LibmestModel *model = open_network(&o, "");
    const LibmestFacts f = facts_of(model);
    int64_t correct, samples;
    must(model, libmest_evaluate(model, &correct, &samples));
    const double accuracy = (double)correct / (double)samples;
    libmest_close(model);
    if (o.json) {
        putchar('{');
        print_process(&f);
        printf(", \"accuracy\": %.17g, \"samples\": %lld, \"images\": %lld, \"skipped\": 0}\n", accuracy, (long long)samples,
               (long long)samples);
    } else {
        char peak[24];
        printf("accuracy       %.2f%%\nsamples        %lld\n", 100 * accuracy, (long long)samples);
        printf("measured peak  %s\n", limits_peak() < 0 ? limits_reason() : mest_size_text(peak, limits_peak()));
    }
    return limits_passed(f.budget_bytes) ? OVER_BUDGET : DONE;
}

/* The likeliest class that was not named yet; a named one has a score below 0. */
static int32_t next_likeliest(const float *scores, int32_t classes) {
    int32_t best = 0;
    for (int32_t k = 1; k < classes; k++)
        if (scores[k] > scores[best]) best = k;
    return best;
}

static void print_answer(const Options *o, const LibmestModel *model, int32_t classes, int first, const char *name, float *scores) {
    const int32_t shown = o->top < classes ? (int32_t)o->top : classes;
    for (int32_t i = 0; i < shown; i++) {
        const int32_t best = next_likeliest(scores, classes);
        const char *class = libmest_class_name(model, best);
        const double score = (double)scores[best];
        scores[best] = -1;
        if (!o->json) {
            if (!i && o->picture_count) printf("%s: ", name);
            printf("%s%s %.1f%%", i ? ", " : "", class, 100 * score);
            continue;
        }
        if (!i) {
            fputs(first ? "{\"image\": " : ", {\"image\": ", stdout);
            json_text(stdout, name);
            fputs(", \"class\": ", stdout);
            json_text(stdout, class);
            printf(", \"score\": %.9g, \"classes\": [", score);
        }
        fputs(i ? ", {\"class\": " : "{\"class\": ", stdout);
        json_text(stdout, class);
        printf(", \"score\": %.9g}", score);
    }
    fputs(o->json ? "]}" : "\n", stdout);
}

static void answer_samples(const Options *o, LibmestModel *model, const LibmestFacts *f) {
    int64_t samples;
    float *scores = room_for_scores(model);
    libmest_used(model, &samples, NULL, NULL);
    for (int64_t at = 0; at < samples; at += f->piece) {
        const int64_t size = samples - at < f->piece ? samples - at : f->piece;
        must(model, libmest_predict_used(model, at, size, scores));
        for (int64_t i = 0; i < size; i++) {
            char name[4200];
            snprintf(name, sizeof name, "%.4000s[%lld]", o->data, (long long)(at + i));
            print_answer(o, model, f->classes, at + i == 0, name, scores + i * f->classes);
        }
    }
}

/* How many cannot be read, or are too large: the first of the names, afterwards. `*ends`: the code that the worst is worth. */
static int answer_pictures(const Options *o, LibmestModel *model, const LibmestFacts *f, int *ends) {
    void *pixels = room_for_sample(model);
    float *scores = room_for_scores(model);
    const LibmestSamples one = {.bytes = sizeof one, .numbers = pixels, .kind = LIBMEST_UINT8, .count = 1};
    int unread = 0;
    for (int i = 0; i < o->picture_count; i++) {
        if (!picture_read(model, o->pictures[i], pixels, ends)) {
            o->pictures[unread++] = o->pictures[i];
            continue;
        }
        must(model, libmest_predict(model, &one, scores));
        print_answer(o, model, f->classes, i == unread, o->pictures[i], scores);
    }
    return unread;
}

int command_predict(int count, char **words) {
    const Options o = options_read_pictures(count, words, takes_predict);
    LibmestModel *model = open_network(&o, ", or pictures");
    const LibmestFacts f = facts_of(model);
    int unread = 0, ends = DONE;
    if (o.json) fputs("{\"predictions\": [", stdout);
    if (o.picture_count) unread = answer_pictures(&o, model, &f, &ends);
    else answer_samples(&o, model, &f);
    if (o.json) {
        fputs("], \"unread\": [", stdout);
        for (int i = 0; i < unread; i++) {
            fputs(i ? ", {\"image\": " : "{\"image\": ", stdout);
            json_text(stdout, o.pictures[i]);
            fputs(", \"error\": ", stdout);
            libmest_read_picture_path(model, o.pictures[i], room_for_sample(model)); /* once more, for its message */
            json_text(stdout, libmest_message(model));
            fputc('}', stdout);
        }
        fputs("], ", stdout);
        print_process(&f); /* with what all of it took */
        fputs("}\n", stdout);
    }
    libmest_close(model);
    return limits_passed(f.budget_bytes) ? OVER_BUDGET : ends;
}
