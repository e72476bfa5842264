#include "train.h"

#include <math.h>
#include <string.h>

#include "chance.h"
#include "course.h"
#include "forgetting.h"
#include "mutating.h"

enum { ORDER_KEY = 2 }; /* edge/data/batches.py */

void mest_train_blank(Training *t, const Plan *plan) {
    const MestPlan *h = &plan->head;
    *t = (Training){.accuracy_after = NAN};
    t->head = (MestState){
        .magic = MEST_STATE_MAGIC, .version = MEST_FILE_VERSION, .declared = MEST_FILES_DIGEST, .samples = 1, .accuracy_before = NAN,
        .seed = h->seed, .learning_rate = h->learning_rate, .warmup = h->warmup, .hold_out = h->hold_out, .epochs = h->epochs,
        .schedule = h->schedule, .augment = h->augment, .save_every = h->save_every, .patience = h->patience, .drop_after = h->drop_after,
    };
    memcpy(&t->head.plan_a, &h->sha256_a, 4 * sizeof h->sha256_a);
}

static int settings_good(Fault *f, const LibmestSettings *s) {
    const int kept = LIBMEST_AS_COMPILED;
    if (s->bytes < sizeof *s) return mest_fault(f, BAD_INPUT, "settings: bytes is %zu; begin with LIBMEST_SETTINGS", s->bytes);
    if (s->epochs != kept && s->epochs < 1)
        return mest_fault(f, BAD_INPUT, "%s %d: must be 1 or more", mest_named(f, "--epochs", "epochs"), s->epochs);
    if (s->save_every != kept && s->save_every < 1)
        return mest_fault(f, BAD_INPUT, "%s %d: must be 1 or more", mest_named(f, "--save-every", "save_every"), s->save_every);
    if (s->learning_rate != kept && !(s->learning_rate > 0 && isfinite(s->learning_rate)))
        return mest_fault(f, BAD_INPUT, "%s %g: must be a number above 0", mest_named(f, "--lr", "learning_rate"), s->learning_rate);
    if (s->hold_out != kept && !(s->hold_out >= 0 && s->hold_out < 1))
        return mest_fault(f, BAD_INPUT, "%s %g: must be from 0 to below 1", mest_named(f, "--hold-out", "hold_out"), s->hold_out);
    return DONE;
}

static int refuse_one_class(const Machine *m, const Data *data) {
    const int32_t *labels = m->sample_labels;
    for (int64_t i = 1; i < m->split.trained; i++)
        if (labels[m->split.train[i]] != labels[m->split.train[0]]) return DONE;
    return mest_fault(m->fault, BAD_INPUT, "%s: all samples to train on are of one class; training needs at least two", data->source.name);
}

/* Cuts the samples as the head says, and has a program for every piece that comes. */
static int make_ready(const Training *t, Machine *m, const Data *data) {
    const int64_t batch = m->plan->head.batch_size, micro = m->plan->head.micro_batch;
    mest_machine_split(m, data, t->head.hold_out, t->head.seed);
    const int64_t trained = m->split.trained;
    const int64_t pieces[] = {trained >= micro ? micro : 0, trained >= batch ? batch % micro : 0, trained % batch % micro};
    for (int i = 0; i < 3; i++) {
        const int wrong = mest_machine_ready(m, pieces[i]);
        if (wrong) return wrong;
    }
    if (t->head.patience && t->head.hold_out == 0 && !m->split.held)
        return mest_fault(m->fault, BAD_INPUT, "%s: a plan with patience needs held-out samples; mark some as test, or give %s above 0",
                          data->source.name, mest_named(m->fault, "--hold-out", "hold_out"));
    return refuse_one_class(m, data);
}

int mest_train_begin(Training *t, Machine *m, const Data *data, const LibmestSettings *settings) {
    const int kept = LIBMEST_AS_COMPILED;
    Training begun;
    int wrong = settings_good(m->fault, settings);
    if (wrong) return wrong;
    mest_train_blank(&begun, m->plan);
    MestState *s = &begun.head;
    memcpy(&s->data_a, m->digest, sizeof m->digest);
    s->samples = data->samples;
    s->step = t->head.step;
    s->updates = t->head.updates;
    if (settings->has_seed) s->seed = settings->seed;
    if (settings->learning_rate != kept) s->learning_rate = settings->learning_rate;
    if (settings->hold_out != kept) s->hold_out = settings->hold_out;
    if (settings->epochs != kept) s->epochs = settings->epochs;
    if (settings->save_every != kept) s->save_every = settings->save_every;
    begun.phase = LIBMEST_BEFORE;
    wrong = make_ready(&begun, m, data);
    if (wrong) return wrong;
    mest_forgetting_blank(m, s->samples);
    *t = begun;
    return DONE;
}

/* A run keeps its settings; a finished one takes more epochs than it has behind it. */
static int keep_settings(Fault *f, const LibmestSettings *settings, MestState *s) {
    const int kept = LIBMEST_AS_COMPILED;
    const char *begun = "the state was begun with another; leave it out, or begin a new run in another";
    const char *in = mest_named(f, "--state", "state"), *epochs = mest_named(f, "--epochs", "epochs");
    if (settings->has_seed && settings->seed != s->seed) return mest_fault(f, BAD_INPUT, "%s: %s %s", mest_named(f, "--seed", "seed"), begun, in);
    if (settings->learning_rate != kept && settings->learning_rate != s->learning_rate)
        return mest_fault(f, BAD_INPUT, "%s: %s %s", mest_named(f, "--lr", "learning_rate"), begun, in);
    if (settings->hold_out != kept && settings->hold_out != s->hold_out)
        return mest_fault(f, BAD_INPUT, "%s: %s %s", mest_named(f, "--hold-out", "hold_out"), begun, in);
    if (settings->epochs != kept && settings->epochs != s->epochs) {
        if (!s->finished) return mest_fault(f, BAD_INPUT, "%s: %s %s", epochs, begun, in);
        if (settings->epochs <= s->epoch)
            return mest_fault(f, BAD_INPUT, "%s %d: the run has %d behind it; give more, or none", epochs, settings->epochs, s->epoch);
        s->epochs = settings->epochs;
        s->finished = s->stopped_early = s->waited = s->kept_epoch = 0;
    }
    if (settings->save_every != kept) s->save_every = settings->save_every;
    return DONE;
}

int mest_train_continue(Training *t, Machine *m, const Data *data, const LibmestSettings *settings) {
    Training going = {.head = t->head, .accuracy_after = NAN, .loaded = t->loaded};
    int wrong = settings_good(m->fault, settings);
    if (wrong) return wrong;
    if (going.head.samples != data->samples || memcmp(&going.head.data_a, m->digest, sizeof m->digest))
        return mest_fault(m->fault, BAD_INPUT,
                          "%s: was begun with other data than %s; give those, or begin a new run in another %s", t->loaded,
                          data->source.name, mest_named(m->fault, "--state", "state"));
    wrong = keep_settings(m->fault, settings, &going.head);
    if (!wrong) wrong = make_ready(&going, m, data);
    if (wrong) return wrong;
    if (t->head.finished && !going.head.finished && t->head.best_epoch)
        going.reopened = t->head.kept_epoch || t->head.best_epoch == t->head.epoch ? REOPENED_AT_BEST : REOPENED_ELSEWHERE;
    going.phase = going.head.finished ? LIBMEST_AFTER : LIBMEST_TRAINING;
    *t = going;
    return DONE;
}

int mest_train_exploded(const Training *t, const Machine *m, const char *what, int64_t step, double rate) {
    const char *lr = mest_named(m->fault, "--lr", "learning_rate"), *kept = t->state_path;
    return mest_fault(m->fault, BAD_INPUT, "%s at step %lld (%s %g); the state %s%s is the last good one; begin again with a smaller %s%s", what,
                      (long long)step, lr, rate, kept ? "in " : "that was saved", kept ? kept : "", lr,
                      m->fault->as_options ? " in another --state" : "");
}

int mest_train_refuse_ruined(const Training *t, Machine *m) {
    if (!mest_machine_ruined(m)) return DONE;
    return mest_train_exploded(t, m, "weights or answers are no longer finite", t->head.step, t->head.learning_rate);
}

static double mean(double sum, int64_t count) { return count ? sum / (double)count : 0; }

static void running(const MestState *s, LibmestProgress *p) {
    p->epoch_loss = mean(s->epoch_loss, s->epoch_samples);
    p->epoch_accuracy = mean((double)s->epoch_correct, s->epoch_samples);
}

/* After a step, so that its gradient is there for the score and no state is saved in between. */
static int mutate_if_due(Training *t, Machine *m, double reached, LibmestProgress *p) {
    MestState *s = &t->head;
    Mutated done;
    const int wrong = mest_mutating_step(m, s, reached, &done);
    if (wrong) {
        t->phase = 0; /* nothing runs on of lists that do not fit */
        mest_machine_reset(m);
        return wrong;
    }
    if (done.not_finite) return mest_train_exploded(t, m, "weights or gradients are no longer finite", s->step, s->learning_rate);
    if (!done.done) return DONE;
    s->off_target = !mest_mutating_at_target(m, reached);
    s->mutations++;
    p->removed = done.removed;
    p->grown = done.grown;
    return DONE;
}

static int one_step(Training *t, Machine *m, const Data *data, int64_t batches, LibmestProgress *p) {
    MestState *s = &t->head;
    const int64_t batch = m->plan->head.batch_size, first = s->batch * batch, left = t->kept - first;
    const int64_t count = left < batch ? left : batch;
    const double done = (s->epoch + (double)s->batch / (double)batches) / s->epochs;
    Step step;
    const double remains = mest_course_left(m->milestones, m->plan->head.milestone_count, s->epochs, s->epoch, m->plan->head.gamma);
    p->learning_rate = mest_course_rate(s->schedule, s->learning_rate, done, s->warmup, remains);
    const Reading reading = {.data = data, .numbers = m->order + first, .run = s};
    const double began = mest_machine_now();
    int wrong = s->epoch < s->drop_after ? mest_forgetting_observe(m, reading, count) : DONE;
    const double observed = mest_machine_now() - began;
    if (!wrong) wrong = mest_machine_train(m, reading, count, p->learning_rate, s->updates, &step);
    if (wrong) return wrong;
    if (!isfinite(step.loss)) return mest_train_exploded(t, m, "the loss is no longer finite", s->step + 1, s->learning_rate);
    s->epoch_loss += step.loss * (double)count;
    s->epoch_correct += step.correct;
    s->epoch_samples += count;
    s->step++;
    s->updates++;
    s->batch++;
    p->samples = count;
    p->correct = step.correct;
    p->loss = step.loss;
    p->step_ms = step.step_ms + observed;
    p->read_ms = step.read_ms;
    running(s, p);
    return mutate_if_due(t, m, (s->epoch + (double)s->batch / (double)batches) / s->epochs, p);
}

/* What an epoch comes to with its accuracy on what is held out, which is not a number where it was not asked for: edge/run/position.py. */
static void judge(MestState *s, double accuracy, LibmestProgress *p) {
    const int judged = !isnan(accuracy) && !s->off_target; /* denser networks are no measure for what will be kept */
    p->held_out_accuracy = accuracy;
    p->gained = judged && (!s->best_epoch || accuracy > s->best_accuracy);
    s->waited = judged && !p->gained ? s->waited + 1 : 0;
    s->stopped_early = s->patience && s->waited >= s->patience;
    if (!p->gained) return;
    s->best_epoch = s->epoch;
    s->best_accuracy = accuracy;
}

static void close_epoch(Training *t, double accuracy, LibmestProgress *p) {
    MestState *s = &t->head;
    s->epoch++;
    judge(s, accuracy, p);
    p->epoch_ended = p->due = 1;
    s->batch = 0;
    s->epoch_loss = 0;
    s->epoch_correct = s->epoch_samples = 0;
    s->finished = s->epoch >= s->epochs || s->stopped_early;
    t->ordered = 0;
    t->phase = s->finished ? LIBMEST_AFTER : LIBMEST_TRAINING;
}

/* The samples in the order of the epoch: each number of the permutation becomes the sample that stands there. */
static void order_samples(Training *t, Machine *m) {
    const MestState *s = &t->head;
    const uint64_t key[] = {(uint64_t)s->seed, ORDER_KEY, (uint64_t)s->epoch};
    if (s->drop_after && s->epoch == s->drop_after && !s->batch) mest_forgetting_drop(m, s);
    t->kept = mest_forgetting_kept(m, s);
    mest_chance_permutation(m->order, t->kept, chance_mix(key, 3));
    for (int64_t i = 0; i < t->kept; i++) m->order[i] = m->split.train[m->order[i]];
    t->ordered = 1;
}

static int advance_training(Training *t, Machine *m, const Data *data, LibmestProgress *p) {
    MestState *s = &t->head;
    int wrong = DONE;
    if (!t->ordered) order_samples(t, m);
    const int64_t batch = m->plan->head.batch_size, batches = (t->kept + batch - 1) / batch;
    if (s->batch < batches) wrong = one_step(t, m, data, batches, p);
    else running(s, p); /* of a state that was saved at the very end of an epoch */
    if (wrong) return wrong;
    p->due = p->samples && s->step % s->save_every == 0;
    if (s->batch < batches) return DONE;
    if (s->patience) t->phase = LIBMEST_JUDGING;
    else close_epoch(t, NAN, p);
    return DONE;
}

/* A batch of what is held out; `accuracy` is known once all of it is through, which is so at once where nothing is. */
static int advance_evaluation(Training *t, Machine *m, const Data *data, double *accuracy, int *through) {
    const int64_t batch = m->plan->head.batch_size, held = m->split.held, left = held - t->at, count = left < batch ? left : batch;
    const int wrong = mest_machine_correct(m, data, m->split.held_out + t->at, count, &t->correct);
    if (wrong) return wrong;
    t->at += count;
    *through = t->at == held;
    if (!*through) return DONE;
    *accuracy = held ? (double)t->correct / (double)held : NAN;
    t->at = t->correct = 0;
    return DONE;
}

int mest_train_advance(Training *t, Machine *m, const Data *data, LibmestProgress *p) {
    int through = 0, wrong = DONE;
    p->phase = t->phase;
    p->held_out_accuracy = NAN;
    if (t->phase == LIBMEST_BEFORE) {
        wrong = advance_evaluation(t, m, data, &t->head.accuracy_before, &through);
        if (!wrong && through) {
            t->phase = LIBMEST_TRAINING;
            p->due = 1;
        }
    } else if (t->phase == LIBMEST_TRAINING) {
        wrong = advance_training(t, m, data, p);
    } else if (t->phase == LIBMEST_JUDGING) {
        double accuracy = NAN;
        wrong = advance_evaluation(t, m, data, &accuracy, &through);
        running(&t->head, p);
        if (!wrong && through) close_epoch(t, accuracy, p);
    } else if (t->phase == LIBMEST_AFTER) {
        wrong = advance_evaluation(t, m, data, &t->accuracy_after, &through);
        if (!wrong && through) t->phase = p->phase = LIBMEST_FINISHED;
    }
    p->epoch = t->head.epoch;
    p->epochs = t->head.epochs;
    p->step = t->head.step;
    p->accuracy_before = t->head.accuracy_before;
    p->accuracy_after = t->accuracy_after;
    p->trained = m->split.trained;
    p->held_out = m->split.held;
    p->mutations = t->head.mutations;
    p->best_epoch = t->head.best_epoch;
    p->kept_epoch = t->head.kept_epoch;
    p->waited = t->head.waited;
    p->stopped_early = t->head.stopped_early;
    return wrong;
}
