/* Evaluation and prediction: what a network answers to the samples of a data file. */
#include <math.h>
#include <string.h>

#include "commands.h"
#include "limits.h"
#include "options.h"
#include "say.h"
#include "state.h"

static const char takes_eval[] = " --data --state --json --quiet ";
static const char takes_predict[] = " --data --state --top --json --quiet ";

static int never(void) { return 0; }

/* The network of a plan, with the weights of a state where one is given, over a data file. */
static void open_network(const Options *o, Plan *plan, Data *data, Machine *m) {
    *plan = plan_open(o->plan);
    if (!o->data) die(BAD_INPUT, "needs --data: what 'mest pack' wrote");
    *data = data_open(o->data, plan);
    limits_set(plan->head.budget_bytes);
    machine_open(m, plan, data, 0, 0, 0);
    MestState head;
    if (o->state) state_read(o->state, plan, &head, m->tensors);
    machine_check(m);
}

static void print_process(const MestPlan *h) {
    printf("{\"engine\": \"native\", \"engine_reason\": \"compiled\", \"planned_peak_bytes\": %lld, ", (long long)h->planned_peak_bytes);
    limits_json(stdout, h->budget_bytes);
}

int command_eval(int count, char **words) {
    static Machine m;
    const Options o = options_read(count, words, takes_eval);
    Plan plan;
    Data data;
    open_network(&o, &plan, &data, &m);
    const int marked = m.split.held > 0;
    const int64_t samples = marked ? m.split.held : m.split.trained;
    const int64_t correct = machine_correct(&m, marked ? m.split.held_out : m.split.train, samples, never);
    const double accuracy = (double)correct / (double)samples;
    machine_close(&m);
    if (o.json) {
        print_process(&plan.head);
        printf(", \"accuracy\": %.17g, \"samples\": %lld, \"images\": %lld, \"skipped\": 0}\n", accuracy, (long long)samples,
               (long long)samples);
    } else {
        char peak[24];
        printf("accuracy       %.2f%%\nsamples        %lld\n", 100 * accuracy, (long long)samples);
        printf("measured peak  %s\n", limits_peak() < 0 ? limits_reason() : size_text(peak, limits_peak()));
    }
    return limits_passed(plan.head.budget_bytes) ? OVER_BUDGET : DONE;
}

/* Logits become scores in their place: softmax. */
static void softmax(float *z, int32_t classes) {
    float top = z[0], sum = 0;
    for (int32_t k = 1; k < classes; k++) top = z[k] > top ? z[k] : top;
    for (int32_t k = 0; k < classes; k++) sum += z[k] = expf(z[k] - top);
    for (int32_t k = 0; k < classes; k++) z[k] /= sum;
}

/* The likeliest class that was not named yet; a named one has a score below 0. */
static int32_t next_likeliest(const float *scores, int32_t classes) {
    int32_t best = 0;
    for (int32_t k = 1; k < classes; k++)
        if (scores[k] > scores[best]) best = k;
    return best;
}

static void print_sample(const Options *o, const Machine *m, int64_t number, float *scores) {
    const int32_t classes = m->plan->head.classes, shown = o->top < classes ? (int32_t)o->top : classes;
    for (int32_t i = 0; i < shown; i++) {
        const int32_t best = next_likeliest(scores, classes);
        const char *name = machine_class(m, best);
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
    static Machine m;
    const Options o = options_read(count, words, takes_predict);
    Plan plan;
    Data data;
    open_network(&o, &plan, &data, &m);
    const int32_t micro = plan.head.micro_batch, classes = plan.head.classes;
    for (int64_t i = 0; i < data.samples; i++) m.order[i] = (int32_t)i;
    if (o.json) {
        print_process(&plan.head);
        fputs(", \"predictions\": [", stdout);
    }
    for (int64_t at = 0; at < data.samples; at += micro) {
        const int64_t size = data.samples - at < micro ? data.samples - at : micro;
        machine_predict(&m, m.order + at, size);
        if (machine_not_finite(&m, size)) die(BAD_INPUT, "%s: the network's answers are not finite", o.state ? o.state : o.plan);
        for (int64_t i = 0; i < size; i++) {
            softmax(m.logits + i * classes, classes);
            print_sample(&o, &m, at + i, m.logits + i * classes);
        }
    }
    if (o.json) fputs("], \"unread\": []}\n", stdout);
    machine_close(&m);
    return limits_passed(plan.head.budget_bytes) ? OVER_BUDGET : DONE;
}
