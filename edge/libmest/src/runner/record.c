#include "record.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "limits.h"
#include "opened.h"
#include "say.h"

/* Whether the next of a thinned series is taken in. */
static int takes(int64_t *seen, int64_t *every) {
    if (!*every) *every = 1;
    return (*seen)++ % *every == 0;
}

void curve_add(Curve *c, const LibmestProgress *p) {
    if (p->samples && !c->steps_seen) c->begun_at = p->step - 1;
    if (p->samples && takes(&c->steps_seen, &c->step_every)) {
        c->steps[c->step_count++] = (StepPoint){p->step, p->loss, p->step_ms, p->learning_rate};
        if (c->step_count == MOST_POINTS) {
            for (int i = 0; i < MOST_POINTS / 2; i++) c->steps[i] = c->steps[2 * i];
            c->step_count /= 2;
            c->step_every *= 2;
        }
    }
    if (p->removed + p->grown && takes(&c->mutations_seen, &c->mutation_every)) {
        c->mutations[c->mutation_count++] = (MutationPoint){p->step, p->removed, p->grown};
        if (c->mutation_count == MOST_POINTS) {
            for (int i = 0; i < MOST_POINTS / 2; i++) c->mutations[i] = c->mutations[2 * i];
            c->mutation_count /= 2;
            c->mutation_every *= 2;
        }
    }
    if (p->epoch_ended && takes(&c->epochs_seen, &c->epoch_every)) {
        c->epochs[c->epoch_count++] = (EpochPoint){p->epoch, p->epoch_loss, p->epoch_accuracy, p->held_out_accuracy};
        if (c->epoch_count == MOST_POINTS) {
            for (int i = 0; i < MOST_POINTS / 2; i++) c->epochs[i] = c->epochs[2 * i];
            c->epoch_count /= 2;
            c->epoch_every *= 2;
        }
    }
}

/* A number, or the reason why there is none. */
static void reading(FILE *out, const char *name, double value, const char *reason) {
    fprintf(out, "\"%s\": {\"value\": ", name);
    json_number(out, value);
    fputs(", \"reason\": ", out);
    if (isfinite(value)) fputs("null", out);
    else json_text(out, reason);
    fputs("}, ", out);
}

static void count_reading(FILE *out, const char *name, int64_t value, const char *reason) {
    if (value < 0) reading(out, name, NAN, reason);
    else fprintf(out, "\"%s\": {\"value\": %lld, \"reason\": null}, ", name, (long long)value);
}

static void print_board(FILE *out, const LibmestFacts *f) {
    struct utsname found;
    const int known = !uname(&found);
    char system[256];
    snprintf(system, sizeof system, "%s %s", known ? found.sysname : "unknown", known ? found.release : "");
    fputs("\"board\": {\"architecture\": ", out);
    json_text(out, known ? found.machine : "unknown");
    fputs(", \"system\": ", out);
    json_text(out, system);
    fprintf(out, ", \"cores\": %ld, \"page_bytes\": %ld, \"instruction_set\": ", sysconf(_SC_NPROCESSORS_ONLN), sysconf(_SC_PAGESIZE));
    json_text(out, f->instruction_set);
    fputs("}, ", out);
}

static void print_measured(FILE *out, const LibmestFacts *f) {
    const char *reason = limits_reason();
    fputs("\"measured\": {", out);
    reading(out, "baseline_bytes", NAN, "not measured: it is a part of the program's own pages");
    count_reading(out, "peak_bytes", limits_peak(), reason ? reason : "not measured");
    count_reading(out, "swap_peak_bytes", limits_swap(), reason ? reason : "not measured");
    fputs("\"limit\": {\"kind\": ", out);
    json_text(out, limits_kind());
    fputs(", \"guarantee\": ", out);
    json_text(out, limits_guarantee(f->budget_bytes));
    if (f->budget_bytes) fprintf(out, ", \"nbytes\": %lld", (long long)f->budget_bytes);
    fputs("}, \"phases\": {}, \"allocator\": \"none: all memory is asked for at once\"}, ", out);
    if (f->budget_bytes) fprintf(out, "\"budget_bytes\": %lld, ", (long long)f->budget_bytes);
}

static void print_curve(FILE *out, const Curve *c) {
    fputs("\"steps\": [", out);
    for (int64_t i = 0; i < c->step_count; i++) {
        const StepPoint *p = &c->steps[i];
        fprintf(out, "%s{\"step\": %lld, \"loss\": %.9g, \"milliseconds\": %.6g, \"learning_rate\": %.9g}", i ? ", " : "",
                (long long)p->step, p->loss, p->milliseconds, p->learning_rate);
    }
    fputs("], \"epochs\": [", out);
    for (int64_t i = 0; i < c->epoch_count; i++) {
        const EpochPoint *p = &c->epochs[i];
        fprintf(out, "%s{\"epoch\": %d, \"loss\": %.9g, \"train_accuracy\": %.9g, \"accuracy\": ", i ? ", " : "", p->epoch, p->loss,
                p->accuracy);
        json_number(out, p->held_out);
        fputs("}", out);
    }
    fputs("], \"mutations\": [", out);
    for (int64_t i = 0; i < c->mutation_count; i++) {
        const MutationPoint *p = &c->mutations[i];
        fprintf(out, "%s{\"step\": %lld, \"removed\": %lld, \"grown\": %lld}", i ? ", " : "", (long long)p->step,
                (long long)p->removed, (long long)p->grown);
    }
    fputs("]", out);
}

static void print_training(FILE *out, const LibmestFacts *f, const Curve *c, const LibmestProgress *last, double median) {
    const char *nothing = "no sample was held out";
    fprintf(out, "\"training\": {\"step_count\": %lld, ", (long long)last->step);
    reading(out, "step_ms_median", median, "no step ran in this process");
    reading(out, "accuracy_before", last->accuracy_before, nothing);
    reading(out, "accuracy_after", last->accuracy_after, last->stopped ? "the run was stopped before its end" : nothing);
    reading(out, "sparsity", f->sparsity, "");
    fprintf(out, "\"samples_train\": %lld, \"samples_held_out\": %lld, ", (long long)last->trained, (long long)last->held_out);
    print_curve(out, c);
    fputs("}, ", out);
}

static void print_record(FILE *out, const LibmestModel *model, const Curve *c, const LibmestProgress *last, double median) {
    const LibmestFacts f = facts_of(model);
    const time_t now = time(NULL);
    char created[40];
    strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%S+0000", gmtime(&now));
    fprintf(out, "{\"schema\": \"mest-record/1\", \"command\": \"finetune\", \"created\": \"%s\", \"engine\": \"native\", ", created);
    fputs("\"engine_reason\": \"compiled, and run by mest-run", out);
    if (c->begun_at) fprintf(out, "; the curve is that of the last process, which continued at step %lld", (long long)c->begun_at);
    fputs("\", ", out);
    print_board(out, &f);
    print_measured(out, &f);
    print_training(out, &f, c, last, median);
    fprintf(out, "\"versions\": {\"libmest\": \"%d.%d.%d\"}, ", LIBMEST_VERSION_MAJOR, LIBMEST_VERSION_MINOR, LIBMEST_VERSION_PATCH);
    print_recorded(out, model);
    fputs("}\n", out);
}

void record_write(const char *path, const LibmestModel *model, const Curve *curve, const LibmestProgress *last, double step_ms_median) {
    char beside[PATH_MAX];
    const int named = snprintf(beside, sizeof beside, "%s.part", path) < (int)sizeof beside;
    FILE *out = named ? fopen(beside, "w") : NULL;
    if (!out) die(BAD_INPUT, "%s: %s while the record was written; the state is whole", path, named ? strerror(errno) : "too long a name");
    print_record(out, model, curve, last, step_ms_median);
    int wrong = fflush(out) || ferror(out) || fsync(fileno(out)) ? errno : 0;
    if (fclose(out) && !wrong) wrong = errno;
    if (!wrong && rename(beside, path)) wrong = errno;
    if (!wrong) return;
    unlink(beside);
    die(BAD_INPUT, "%s: %s while the record was written; the state is whole", path, strerror(wrong));
}
