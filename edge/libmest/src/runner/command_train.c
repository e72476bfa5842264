#include <math.h>
#include <string.h>

#include "commands.h"
#include "limits.h"
#include "options.h"
#include "say.h"
#include "state.h"
#include "train.h"

static MestState beginning(const Plan *plan, const Options *o, const Machine *m) {
    const MestPlan *h = &plan->head;
    MestState s = {.magic = MEST_STATE_MAGIC, .version = MEST_FILE_VERSION, .declared = MEST_FILES_DIGEST};
    memcpy(&s.plan_a, &h->sha256_a, sizeof m->digest);
    memcpy(&s.data_a, m->digest, sizeof m->digest);
    s.samples = m->data->samples;
    s.seed = o->has_seed ? o->seed : h->seed;
    s.learning_rate = o->has_learning_rate ? o->learning_rate : h->learning_rate;
    s.warmup = h->warmup;
    s.hold_out = h->hold_out;
    s.epochs = o->has_epochs ? (int32_t)o->epochs : h->epochs;
    s.schedule = h->schedule;
    s.augment = h->augment;
    s.save_every = o->has_save_every ? (int32_t)o->save_every : h->save_every;
    return s;
}

/* A run keeps its settings; a finished one takes more epochs than it has behind it. */
static void keep_settings(const Options *o, MestState *s) {
    const char *begun = "the state was begun with another; leave it out, or begin a new run in another --state";
    if (o->has_seed && o->seed != s->seed) die(BAD_INPUT, "--seed: %s", begun);
    if (o->has_learning_rate && o->learning_rate != s->learning_rate) die(BAD_INPUT, "--lr: %s", begun);
    if (o->has_save_every) s->save_every = (int32_t)o->save_every;
    if (!o->has_epochs || o->epochs == s->epochs) return;
    if (!s->finished) die(BAD_INPUT, "--epochs: %s", begun);
    if (o->epochs <= s->epoch) die(BAD_INPUT, "--epochs %d: the run has %d behind it; give more, or none", (int)o->epochs, s->epoch);
    s->epochs = (int32_t)o->epochs;
    s->finished = 0;
}

static void refuse_one_class(const Machine *m) {
    const int32_t *labels = m->sample_labels;
    for (int64_t i = 1; i < m->split.trained; i++)
        if (labels[m->split.train[i]] != labels[m->split.train[0]]) return;
    die(BAD_INPUT, "%s: all samples to train on are of one class; training needs at least two", m->data->path);
}

static void print_json(Training *t, const Machine *m) {
    const MestPlan *h = &m->plan->head;
    const MestState *s = &t->head;
    fputs("{\"engine\": \"native\", \"engine_reason\": \"compiled\", \"state\": ", stdout);
    json_text(stdout, t->state);
    printf(", \"batch_size\": %d, \"steps\": %lld, \"epochs\": %d, ", h->batch_size, (long long)s->step, s->epoch);
    printf("\"planned_peak_bytes\": %lld, ", (long long)h->planned_peak_bytes);
    limits_json(stdout, h->budget_bytes);
    fputs(", \"step_ms_median\": ", stdout);
    json_number(stdout, times_median(t->times.step_ms, t->times.count));
    fputs(", \"data_ms_median\": ", stdout);
    json_number(stdout, times_median(t->times.data_ms, t->times.count));
    fputs(", \"accuracy_before\": ", stdout);
    json_number(stdout, s->accuracy_before);
    fputs(", \"accuracy_after\": ", stdout);
    json_number(stdout, t->accuracy_after);
    printf(", \"samples_train\": %lld, \"samples_held_out\": %lld, ", (long long)m->split.trained, (long long)m->split.held);
    printf("\"samples_skipped\": 0, \"sparsity\": %.17g, \"zeros_kept\": true, \"mutations\": 0, ", h->sparsity);
    fputs("\"stopped\": false, \"saved\": true, \"stopped_early\": null, \"kept_epoch\": null, \"plan\": ", stdout);
    plan_print(m->plan, h->chosen_at, h->chosen_bytes, stdout);
    fputs("}\n", stdout);
}

static void print_text(const Training *t, const Machine *m) {
    const MestPlan *h = &m->plan->head;
    char planned[24], peak[24];
    if (m->split.held)
        printf("accuracy       %.1f%% before, %.1f%% after, on %lld held-out samples; %lld trained on\n", 100 * t->head.accuracy_before,
               100 * t->accuracy_after, (long long)m->split.held, (long long)m->split.trained);
    printf("planned peak   %s\n", size_text(planned, h->planned_peak_bytes));
    printf("measured peak  %s\n", limits_peak() < 0 ? limits_reason() : size_text(peak, limits_peak()));
    printf("steps          %lld in %d epochs, batch %d\n", (long long)t->head.step, t->head.epoch, h->batch_size);
    printf("state          %s\n", t->state);
}

int command_train(int count, char **words) {
    static Training t; /* its times are more than a small stack should hold */
    static Machine m;
    const Options o =
        options_read(count, words, " --data --state --resume --epochs --lr --seed --save-every --json --quiet ");
    const Plan plan = plan_open(o.plan);
    if (!o.data || !o.state) die(BAD_INPUT, "needs --data and --state: the samples, and the file to keep the run in");
    if (!o.resume && state_exists(o.state))
        die(BAD_INPUT, "%s: holds a state already; continue it with --resume, or give another --state", o.state);
    if (o.resume && !state_exists(o.state)) die(BAD_INPUT, "%s: there is no state to continue; start without --resume", o.state);
    const Data data = data_open(o.data, &plan);
    limits_set(plan.head.budget_bytes);
    const int64_t seed = o.has_seed ? o.seed : plan.head.seed;
    if (o.resume) {
        MestState before;
        state_peek(o.state, &before); /* the split is by its seed */
        machine_open(&m, &plan, &data, 1, before.hold_out, before.seed);
        state_read(o.state, &plan, &t.head, m.tensors);
        if (t.head.samples != data.samples || memcmp(&t.head.data_a, m.digest, sizeof m.digest))
            die(BAD_INPUT, "%s: was begun with other data than %s; give those, or begin a new run in another --state", o.state, o.data);
        keep_settings(&o, &t.head);
        t.saved = 1;
    } else {
        machine_open(&m, &plan, &data, 1, plan.head.hold_out, seed);
        t.head = beginning(&plan, &o, &m);
    }
    refuse_one_class(&m);
    machine_check(&m);
    t.state = o.state;
    t.quiet = o.quiet;
    train(&t, &m, stop_asked);
    machine_close(&m);
    if (!t.saved) die(stop_code(), "stopped before there was a state to save; start it again");
    if (t.stopped) die(stop_code(), "stopped at step %lld; continue with --resume, the state is in %s", (long long)t.head.step, o.state);
    if (o.json) print_json(&t, &m);
    else print_text(&t, &m);
    return limits_passed(plan.head.budget_bytes) ? OVER_BUDGET : DONE;
}
