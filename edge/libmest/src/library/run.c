/* Training and its states: the public functions that change weights. */
#include <math.h>
#include <string.h>

#include "handle.h"
#include "state.h"

int libmest_train_step(LibmestModel *m, const LibmestSamples *samples, double learning_rate, double *loss, int64_t *correct) {
    Data data = {.fault = &m->fault};
    MestState *s = &m->training.head;
    const int phase = m->training.phase;
    const int32_t batch = m->plan.head.batch_size, micro = m->plan.head.micro_batch;
    Step step;
    int wrong = mest_need(m, 1);
    if (wrong) return wrong;
    if (phase && phase != LIBMEST_FINISHED) return mest_fault(&m->fault, BAD_INPUT, "a run is under way; finish it, or load or reset a state");
    wrong = mest_data_of_samples(&data, &m->plan, samples);
    if (wrong) return wrong;
    if (!samples->labels || data.samples > batch)
        return mest_fault(&m->fault, BAD_INPUT, "samples: %lld%s; a step takes 1 to %d with labels", (long long)data.samples,
                          samples->labels ? "" : " without labels", batch);
    if (!(learning_rate >= 0) || !isfinite(learning_rate))
        return mest_fault(&m->fault, BAD_INPUT, "learning_rate %g: must be a number, 0 or more", learning_rate);
    if (data.samples >= micro) wrong = mest_machine_ready(&m->machine, micro);
    if (!wrong) wrong = mest_machine_ready(&m->machine, data.samples % micro);
    if (!wrong) wrong = mest_machine_train(&m->machine, (Reading){.data = &data}, data.samples, learning_rate, s->updates, &step);
    if (wrong) return wrong;
    if (loss) *loss = step.loss;
    if (correct) *correct = step.correct;
    if (!isfinite(step.loss))
        return mest_fault(&m->fault, BAD_INPUT, "the loss is not finite at step %lld (learning_rate %g); no weight was changed",
                          (long long)s->step + 1, learning_rate);
    s->step++;
    s->updates++;
    return DONE;
}

int libmest_begin(LibmestModel *m, const LibmestSettings *settings) {
    const LibmestSettings compiled = LIBMEST_SETTINGS;
    const int wrong = mest_need_samples(m, 1);
    return wrong ? wrong : mest_train_begin(&m->training, &m->machine, &m->data, settings ? settings : &compiled);
}

int libmest_continue(LibmestModel *m, const LibmestSettings *settings) {
    const LibmestSettings kept = LIBMEST_SETTINGS;
    const int wrong = mest_need_samples(m, 1);
    if (wrong) return wrong;
    if (!m->training.loaded) return mest_fault(&m->fault, BAD_INPUT, "no state was loaded that could be continued");
    return mest_train_continue(&m->training, &m->machine, &m->data, settings ? settings : &kept);
}

int libmest_advance(LibmestModel *m, LibmestProgress *progress) {
    LibmestProgress found = {0};
    int wrong = mest_need_samples(m, 1);
    if (!wrong && !m->training.phase) wrong = mest_fault(&m->fault, BAD_INPUT, "no run was begun; call libmest_begin or libmest_continue");
    if (!wrong) wrong = mest_train_advance(&m->training, &m->machine, &m->data, &found);
    mest_give(progress, &found, sizeof found);
    return wrong;
}

int mest_seal(LibmestModel *m) {
    const int64_t samples = m->training.head.samples, most = m->machine.most_samples;
    int wrong = mest_need(m, 0);
    if (!wrong && m->plan.head.drop_after && samples > 1 && samples > most)
        wrong = mest_fault(&m->fault, BAD_INPUT, "the state is of a run over %lld samples, and there is room for %lld; prepare for so many",
                           (long long)samples, (long long)most);
    if (!wrong) wrong = mest_train_refuse_ruined(&m->training, &m->machine);
    if (!wrong) mest_state_seal(&m->training.head, &m->machine);
    return wrong;
}

int libmest_save(LibmestModel *m, LibmestWrite write, void *context) {
    const int wrong = mest_seal(m);
    if (wrong) return wrong;
    const MestState *head = &m->training.head;
    const void *body = mest_state_begins(&m->machine, head->samples);
    if (write(context, head, sizeof *head) && write(context, body, (size_t)mest_state_body(&m->plan, head->samples))) return DONE;
    return mest_fault(&m->fault, BAD_INPUT, "the state was not taken by whoever writes it");
}

int libmest_save_bytes(LibmestModel *m, void *into, size_t room) {
    const int64_t samples = m->training.head.samples;
    const size_t kept = (size_t)mest_state_body(&m->plan, samples), needed = sizeof(MestState) + kept;
    int wrong = mest_need(m, 0);
    if (!wrong && room < needed)
        wrong = mest_fault(&m->fault, BAD_INPUT, "room for %zu bytes: a state takes %zu; see facts.state_bytes", room, needed);
    if (!wrong) wrong = mest_seal(m);
    if (wrong) return wrong;
    memcpy(into, &m->training.head, sizeof(MestState));
    memcpy((char *)into + sizeof(MestState), mest_state_begins(&m->machine, samples), kept);
    return DONE;
}

int libmest_load(LibmestModel *m, const LibmestSource *state) {
    MestState head;
    int wrong = mest_need(m, 0);
    if (wrong) return wrong;
    mest_source_take(&m->state, state, NULL);
    wrong = mest_state_read(&m->state, &m->machine, 1, &head);
    if (wrong) {
        m->training.phase = 0; /* the weights may be those of the plan again */
        return wrong;
    }
    m->training = (Training){.head = head, .accuracy_after = NAN, .loaded = m->state.name};
    return DONE;
}

int libmest_load_bytes(LibmestModel *m, const void *bytes, size_t nbytes) {
    const LibmestSource source = mest_source_bytes(bytes, nbytes, "state");
    return libmest_load(m, &source);
}

int libmest_reset(LibmestModel *m) {
    int wrong = mest_need(m, 0);
    if (!wrong) wrong = mest_machine_reset(&m->machine);
    if (!wrong) mest_train_blank(&m->training, &m->plan);
    return wrong;
}
