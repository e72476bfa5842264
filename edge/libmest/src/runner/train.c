#include "train.h"

#include <math.h>

#include "chance.h"
#include "limits.h"
#include "say.h"
#include "state.h"

enum { ORDER_KEY = 2 }; /* edge/data/batches.py */

static void save(Training *t, const Machine *m) {
    state_write(t->state, &t->head, m);
    t->saved = 1;
}

static _Noreturn void exploded(const Training *t, const char *what, int64_t step) {
    die(BAD_INPUT, "%s at step %lld (--lr %g); the state in %s is the last good one; begin again with a smaller --lr in another --state", what,
        (long long)step, t->head.learning_rate, t->state);
}

static void refuse_ruined(const Training *t, Machine *m) {
    if (machine_ruined(m)) exploded(t, "weights or answers are no longer finite", t->head.step);
}

/* What was trained is kept where the budget turns out too small. */
static void hold_budget(Training *t, const Machine *m) {
    char budget[24], peak[24];
    if (!limits_passed(m->plan->head.budget_bytes)) return;
    save(t, m);
    die(OVER_BUDGET, "memory budget %s was passed: %s were resident; the last saved state in %s is whole",
        size_text(budget, m->plan->head.budget_bytes), size_text(peak, limits_peak()), t->state);
}

/* Not a number where nothing was held out. */
static double accuracy(Machine *m, int (*stop)(void), int *stopped) {
    if (!m->split.held) return NAN;
    const int64_t correct = machine_correct(m, m->split.held_out, m->split.held, stop);
    *stopped = correct < 0;
    return (double)correct / (double)m->split.held;
}

static void one_step(Training *t, Machine *m, int64_t first, int64_t count, double progress) {
    MestState *s = &t->head;
    const double rate = course_rate(s->schedule, s->learning_rate, progress, s->warmup);
    const Step done = machine_train(m, m->order + first, count, rate, s);
    if (!isfinite(done.loss)) exploded(t, "the loss is no longer finite", s->step + 1);
    s->epoch_loss += done.loss * (double)count;
    s->epoch_correct += done.correct;
    s->epoch_samples += count;
    s->step++;
    s->batch++;
    times_add(&t->times, done.step_ms, done.read_ms);
}

static void close_epoch(Training *t) {
    MestState *s = &t->head;
    s->epoch++;
    if (!t->quiet) {
        const double samples = (double)(s->epoch_samples ? s->epoch_samples : 1);
        say("epoch %d of %d: loss %.4f, %.1f%% correct in training, step %lld", s->epoch, s->epochs, s->epoch_loss / samples,
            100 * (double)s->epoch_correct / samples, (long long)s->step);
    }
    s->batch = 0;
    s->epoch_loss = 0;
    s->epoch_correct = s->epoch_samples = 0;
    s->finished = s->epoch >= s->epochs;
}

/* The samples in the order of the epoch: each number of the permutation becomes the sample that stands there. */
static void order_samples(Machine *m, uint64_t seed, int32_t epoch) {
    const uint64_t key[] = {seed, ORDER_KEY, (uint64_t)epoch};
    chance_permutation(m->order, m->split.trained, chance_mix(key, 3));
    for (int64_t i = 0; i < m->split.trained; i++) m->order[i] = m->split.train[m->order[i]];
}

static void one_epoch(Training *t, Machine *m, int (*stop)(void)) {
    MestState *s = &t->head;
    const int64_t batch = m->plan->head.batch_size, trained = m->split.trained, batches = (trained + batch - 1) / batch;
    order_samples(m, (uint64_t)s->seed, s->epoch);
    while (s->batch < batches) {
        const int64_t first = s->batch * batch, count = trained - first < batch ? trained - first : batch;
        one_step(t, m, first, count, (s->epoch + (double)s->batch / (double)batches) / s->epochs);
        hold_budget(t, m);
        if (s->batch == batches) break;
        t->stopped = stop();
        if (t->stopped || s->step % s->save_every == 0) {
            refuse_ruined(t, m);
            save(t, m);
        }
        if (t->stopped) return;
    }
    refuse_ruined(t, m);
    close_epoch(t);
    save(t, m);
    t->stopped = stop() && !s->finished;
}

void train(Training *t, Machine *m, int (*stop)(void)) {
    MestState *s = &t->head;
    if (!t->saved) {
        s->accuracy_before = accuracy(m, stop, &t->stopped);
        if (t->stopped) return;
        save(t, m);
    }
    while (!s->finished && !t->stopped) one_epoch(t, m, stop);
    t->accuracy_after = t->stopped ? NAN : accuracy(m, stop, &t->stopped);
}
