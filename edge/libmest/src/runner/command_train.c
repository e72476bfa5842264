#include <math.h>
#include <unistd.h>

#include "commands.h"
#include "held.h"
#include "limits.h"
#include "opened.h"
#include "record.h"
#include "say.h"
#include "times.h"

/* What a run is told step by step, and what it is to be told at its end. */
typedef struct {
    Times times;
    Curve curve;
    int64_t budget_bytes;
    int quiet, saved, over_budget;
} Watch;

static int watch(void *context, const LibmestProgress *p) {
    Watch *w = context;
    char held_out[48] = "";
    const int training = p->phase == LIBMEST_TRAINING || p->phase == LIBMEST_JUDGING;
    if (training && p->samples) times_add(&w->times, p->step_ms, p->read_ms);
    if (training) curve_add(&w->curve, p);
    if (isfinite(p->held_out_accuracy)) snprintf(held_out, sizeof held_out, ", %.1f%% of what is held out", 100 * p->held_out_accuracy);
    if (p->epoch_ended && !w->quiet)
        say("epoch %d of %d: loss %.4f, %.1f%% correct in training%s, step %lld", p->epoch, p->epochs, p->epoch_loss,
            100 * p->epoch_accuracy, held_out, (long long)p->step);
    w->saved |= p->due || training;
    w->over_budget = training && limits_passed(w->budget_bytes);
    return w->over_budget || stop_asked();
}

static LibmestSettings settings_of(const Options *o) {
    LibmestSettings s = LIBMEST_SETTINGS;
    if (o->has_epochs) s.epochs = (int32_t)o->epochs;
    if (o->has_save_every) s.save_every = (int32_t)o->save_every;
    if (o->has_learning_rate) s.learning_rate = o->learning_rate;
    s.has_seed = o->has_seed;
    s.seed = o->seed;
    return s;
}

static void print_json(const Options *o, const LibmestModel *model, const LibmestProgress *p, Times *times) {
    const LibmestFacts f = facts_of(model);
    fputs("{\"engine\": \"native\", \"engine_reason\": \"compiled\", \"state\": ", stdout);
    json_text(stdout, o->state);
    printf(", \"batch_size\": %d, \"steps\": %lld, \"epochs\": %d, ", f.batch_size, (long long)p->step, p->epoch);
    printf("\"planned_peak_bytes\": %lld, ", (long long)f.planned_peak_bytes);
    limits_json(stdout, f.budget_bytes);
    fputs(", \"step_ms_median\": ", stdout);
    json_number(stdout, times_median(times->step_ms, times->count));
    fputs(", \"data_ms_median\": ", stdout);
    json_number(stdout, times_median(times->data_ms, times->count));
    fputs(", \"accuracy_before\": ", stdout);
    json_number(stdout, p->accuracy_before);
    fputs(", \"accuracy_after\": ", stdout);
    json_number(stdout, p->accuracy_after);
    printf(", \"samples_train\": %lld, \"samples_held_out\": %lld, ", (long long)p->trained, (long long)p->held_out);
    printf("\"samples_skipped\": 0, \"sparsity\": %.17g, \"zeros_kept\": true, \"mutations\": %lld, ", f.sparsity, (long long)p->mutations);
    fputs("\"stopped\": false, \"saved\": true, \"stopped_early\": ", stdout);
    if (p->stopped_early) printf("\"no better held-out accuracy for %d epochs\"", p->waited);
    else fputs("null", stdout);
    fputs(", \"kept_epoch\": ", stdout);
    if (p->kept_epoch) printf("%d", p->kept_epoch);
    else fputs("null", stdout);
    fputs(", \"plan\": ", stdout);
    print_choices(stdout, model);
    fputs("}\n", stdout);
}

static void print_text(const Options *o, const LibmestModel *model, const LibmestProgress *p) {
    const LibmestFacts f = facts_of(model);
    char planned[24], peak[24];
    if (p->held_out)
        printf("accuracy       %.1f%% before, %.1f%% after, on %lld held-out samples; %lld trained on\n", 100 * p->accuracy_before,
               100 * p->accuracy_after, (long long)p->held_out, (long long)p->trained);
    printf("planned peak   %s\n", mest_size_text(planned, f.planned_peak_bytes));
    printf("measured peak  %s\n", limits_peak() < 0 ? limits_reason() : mest_size_text(peak, limits_peak()));
    printf("steps          %lld in %d epochs, batch %d\n", (long long)p->step, p->epoch, f.batch_size);
    if (p->stopped_early) printf("stopped early  no better held-out accuracy for %d epochs\n", p->waited);
    if (p->kept_epoch) printf("kept           epoch %d\n", p->kept_epoch);
    printf("state          %s\n", o->state);
}

static void refuse_stopped(const Options *o, const Watch *w, const LibmestProgress *p) {
    char budget[24], peak[24];
    if (!p->stopped) return;
    if (!w->saved) die(stop_code(), "stopped before there was a state to save; start it again");
    if (w->over_budget)
        die(OVER_BUDGET, "memory budget %s was passed: %s were resident; the last saved state in %s is whole",
            mest_size_text(budget, w->budget_bytes), mest_size_text(peak, limits_peak()), o->state);
    die(stop_code(), "stopped at step %lld; continue with --resume, the state is in %s", (long long)p->step, o->state);
}

int command_train(int count, char **words) {
    static Watch w; /* its times are more than a small stack should hold */
    const Options o =
        options_read(count, words, " --data --state --resume --epochs --lr --seed --save-every --record --json --quiet ");
    LibmestModel *model = opened(&o);
    if (!o.data || !o.state) die(BAD_INPUT, "needs --data and --state: the samples, and the file to keep the run in");
    hold(o.state);
    const int exists = !access(o.state, F_OK);
    if (!o.resume && exists)
        die(BAD_INPUT, "%s: holds a state already; continue it with --resume, or give another --state", o.state);
    if (o.resume && !exists) die(BAD_INPUT, "%s: there is no state to continue; start without --resume", o.state);
    const LibmestSettings settings = settings_of(&o);
    prepared(model, &o, LIBMEST_FOR_TRAINING);
    if (o.resume) must(model, libmest_load_path(model, o.state));
    must(model, o.resume ? libmest_continue(model, &settings) : libmest_begin(model, &settings));
    w.budget_bytes = facts_of(model).budget_bytes;
    w.quiet = o.quiet;
    w.saved = o.resume;
    LibmestProgress p = {.bytes = sizeof p};
    must(model, libmest_run(model, o.state, watch, &w, &p));
    if (o.record) record_write(o.record, model, &w.curve, &p, times_median(w.times.step_ms, w.times.count));
    refuse_stopped(&o, &w, &p);
    if (o.json) print_json(&o, model, &p, &w.times);
    else print_text(&o, model, &p);
    libmest_close(model);
    return limits_passed(w.budget_bytes) ? OVER_BUDGET : DONE;
}
