/* Evaluation and prediction: what a network answers to the samples of a data file. */
#include <stdio.h>

#include "commands.h"
#include "limits.h"
#include "opened.h"
#include "say.h"

static const char takes_eval[] = " --data --state --json --quiet ";
static const char takes_predict[] = " --data --state --top --json --quiet ";

/* The network of a plan, with the weights of a state where one is given, over a data file. */
static LibmestModel *open_network(const Options *o) {
    LibmestModel *model = opened(o);
    if (!o->data) die(BAD_INPUT, "needs --data: what 'mest pack' wrote");
    prepared(model, o, LIBMEST_FOR_PREDICTING);
    if (o->state) must(model, libmest_load_path(model, o->state));
    return model;
}

static void print_process(const LibmestFacts *f) {
    printf("{\"engine\": \"native\", \"engine_reason\": \"compiled\", \"planned_peak_bytes\": %lld, ", (long long)f->planned_peak_bytes);
    limits_json(stdout, f->budget_bytes);
}

int command_eval(int count, char **words) {
    const Options o = options_read(count, words, takes_eval);
    LibmestModel *model = open_network(&o);
    const LibmestFacts f = facts_of(model);
    int64_t correct, samples;
    must(model, libmest_evaluate(model, &correct, &samples));
    const double accuracy = (double)correct / (double)samples;
    libmest_close(model);
    if (o.json) {
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

static void print_sample(const Options *o, const LibmestModel *model, int32_t classes, int64_t number, float *scores) {
    const int32_t shown = o->top < classes ? (int32_t)o->top : classes;
    for (int32_t i = 0; i < shown; i++) {
        const int32_t best = next_likeliest(scores, classes);
        const char *name = libmest_class_name(model, best);
        const double score = (double)scores[best];
        scores[best] = -1;
        if (!o->json) {
            printf("%s%s %.1f%%", i ? ", " : "", name, 100 * score);
            continue;
        }
        if (!i) {
            fputs(number ? ", {\"image\": " : "{\"image\": ", stdout);
            char text[4200];
            snprintf(text, sizeof text, "%.4000s[%lld]", o->data, (long long)number);
            json_text(stdout, text);
            fputs(", \"class\": ", stdout);
            json_text(stdout, name);
            printf(", \"score\": %.9g, \"classes\": [", score);
        }
        fputs(i ? ", {\"class\": " : "{\"class\": ", stdout);
        json_text(stdout, name);
        printf(", \"score\": %.9g}", score);
    }
    fputs(o->json ? "]}" : "\n", stdout);
}

int command_predict(int count, char **words) {
    const Options o = options_read(count, words, takes_predict);
    LibmestModel *model = open_network(&o);
    const LibmestFacts f = facts_of(model);
    int64_t samples;
    libmest_used(model, &samples, NULL, NULL);
    if (o.json) {
        print_process(&f);
        fputs(", \"predictions\": [", stdout);
    }
    float *scores = room_for_scores(model);
    for (int64_t at = 0; at < samples; at += f.piece) {
        const int64_t size = samples - at < f.piece ? samples - at : f.piece;
        must(model, libmest_predict_used(model, at, size, scores));
        for (int64_t i = 0; i < size; i++) print_sample(&o, model, f.classes, at + i, scores + i * f.classes);
    }
    if (o.json) fputs("], \"unread\": []}\n", stdout);
    libmest_close(model);
    return limits_passed(f.budget_bytes) ? OVER_BUDGET : DONE;
}
