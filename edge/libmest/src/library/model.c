/* A plan opened, its samples, its memory, its answers: the public functions that no run is needed for. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../mest.h"
#include "handle.h"
#include "state.h"

int32_t libmest_version(void) { return 10000 * LIBMEST_VERSION_MAJOR + 100 * LIBMEST_VERSION_MINOR + LIBMEST_VERSION_PATCH; }

LibmestModel *mest_handle(void) {
    LibmestModel *m = calloc(1, sizeof *m);
    if (m) m->plan.fault = m->data.fault = &m->fault;
    return m;
}

int mest_open_source(LibmestModel *m, const LibmestSource *source, void (*release)(void *)) {
    mest_source_take(&m->plan.source, source, release);
    const int wrong = mest_plan_open(&m->plan);
    m->opened = !wrong;
    return wrong;
}

int libmest_open(const LibmestSource *plan, LibmestModel **model) {
    *model = mest_handle();
    return *model ? mest_open_source(*model, plan, NULL) : LIBMEST_OVER_BUDGET;
}

int libmest_open_bytes(const void *plan, size_t nbytes, LibmestModel **model) {
    const LibmestSource source = mest_source_bytes(plan, nbytes, "plan");
    return libmest_open(&source, model);
}

void libmest_close(LibmestModel *m) {
    if (!m) return;
    mest_machine_close(&m->machine);
    mest_source_release(&m->data.source);
    mest_source_release(&m->plan.source);
    free(m);
}

const char *libmest_message(const LibmestModel *m) { return m ? m->fault.line : "no memory for a handle"; }

int mest_need_open(LibmestModel *m) {
    m->fault.line[0] = 0;
    return m->opened ? DONE : mest_fault(&m->fault, BAD_INPUT, "no plan is open; open one");
}

int mest_need(LibmestModel *m, int trains) {
    const int wrong = mest_need_open(m);
    if (wrong || (m->prepared && m->trains >= trains)) return wrong;
    return mest_fault(&m->fault, BAD_INPUT, "not prepared for %s; call libmest_prepare first", trains ? "training" : "predicting");
}

void mest_give(void *into, const void *found, size_t found_bytes) {
    size_t room;
    memcpy(&room, into, sizeof room);
    const size_t known = room < found_bytes ? room : found_bytes;
    if (known > sizeof room) memcpy((char *)into + sizeof room, (const char *)found + sizeof room, known - sizeof room);
}

static const char *instruction_set(void) {
    static char best[32];
    char sets[256] = "";
    mest_instruction_sets(sets, sizeof sets);
    sets[strcspn(sets, " ")] = 0; /* the best one comes first, and is taken */
    memcpy(best, sets, strlen(sets) + 1 < sizeof best ? strlen(sets) + 1 : 0);
    return best;
}

int libmest_facts(const LibmestModel *m, LibmestFacts *facts) {
    const MestPlan *h = &m->plan.head;
    if (!m->opened) return LIBMEST_BAD_INPUT;
    const int64_t samples = m->prepared ? m->training.head.samples : m->used ? m->data.samples : 1;
    const LibmestFacts found = {
        .channels = h->channels, .height = h->height, .width = h->width, .images = h->images, .classes = h->classes,
        .batch_size = h->batch_size, .piece = h->micro_batch, .threads = h->threads, .sparsity = h->sparsity,
        .planned_peak_bytes = h->planned_peak_bytes, .budget_bytes = h->budget_bytes, .arena_bytes = h->arena_bytes,
        .tensors_bytes = h->tensors_bytes, .state_bytes = (int64_t)sizeof(MestState) + mest_state_body(&m->plan, samples),
        .instruction_set = instruction_set(), .epochs = h->epochs, .learning_rate = h->learning_rate, .seed = h->seed,
        .picture_bytes = h->images ? h->picture_bytes : 0,
    };
    mest_give(facts, &found, sizeof found);
    return LIBMEST_OK;
}

int64_t libmest_facts_json(const LibmestModel *m, char *into, size_t room) {
    const MestPlan *h = &m->plan.head;
    if (!m->opened) return 0;
    const int64_t count = h->facts_bytes < (int64_t)room ? h->facts_bytes : (int64_t)room;
    return mest_source_read(&m->plan.source, into, (size_t)count, h->facts_at) ? h->facts_bytes : 0;
}

const char *libmest_class_name(const LibmestModel *m, int32_t number) {
    if (!m->prepared || number < 0 || number >= m->plan.head.classes) return NULL;
    return mest_machine_class(&m->machine, number);
}

/* Labels of what came into use, where there is memory for them. */
static int label(LibmestModel *m) {
    m->labelled = 0;
    if (!m->prepared || !m->used) return DONE;
    if (m->data.samples > m->machine.most_samples) {
        m->used = 0;
        return mest_fault(&m->fault, BAD_INPUT, "%s: holds %lld samples; the model was prepared for %lld", m->data.source.name,
                          (long long)m->data.samples, (long long)m->machine.most_samples);
    }
    const int wrong = mest_machine_label(&m->machine, &m->data);
    m->labelled = !wrong;
    return wrong;
}

/* Whatever was in use, or ran over it, is no more. */
static void forget_samples(LibmestModel *m) {
    mest_source_release(&m->data.source);
    m->data = (Data){.fault = &m->fault};
    m->used = m->labelled = 0;
    m->training.phase = 0;
}

int mest_use_source(LibmestModel *m, const LibmestSource *data, void (*release)(void *)) {
    int wrong = mest_need_open(m);
    if (wrong) {
        if (release) release(data->context);
        return wrong;
    }
    forget_samples(m);
    mest_source_take(&m->data.source, data, release);
    wrong = mest_data_open(&m->data, &m->plan);
    m->used = !wrong;
    return wrong ? wrong : label(m);
}

int libmest_use(LibmestModel *m, const LibmestSource *data) { return mest_use_source(m, data, NULL); }

int libmest_use_samples(LibmestModel *m, const LibmestSamples *samples) {
    int wrong = mest_need_open(m);
    if (wrong) return wrong;
    forget_samples(m);
    if (!samples->labels) return mest_fault(&m->fault, BAD_INPUT, "samples: have no labels");
    snprintf(m->data.source.name, sizeof m->data.source.name, "samples");
    wrong = mest_data_of_samples(&m->data, &m->plan, samples);
    m->used = !wrong;
    return wrong ? wrong : label(m);
}

int libmest_used(const LibmestModel *m, int64_t *samples, int64_t *test, int *cut) {
    if (samples) *samples = m->used ? m->data.samples : 0;
    if (cut) *cut = m->used && m->data.cut;
    int64_t marked = 0;
    for (int64_t i = 0; m->labelled && i < m->data.samples; i++) marked += m->machine.test[i];
    if (test) *test = marked;
    return m->used ? LIBMEST_OK : LIBMEST_BAD_INPUT;
}

int libmest_prepare(LibmestModel *m, int purpose, int64_t most_samples) {
    int wrong = mest_need_open(m);
    if (wrong) return wrong;
    if (m->prepared) return mest_fault(&m->fault, BAD_INPUT, "is prepared already; close it and open it again");
    if ((purpose != LIBMEST_FOR_TRAINING && purpose != LIBMEST_FOR_PREDICTING) || most_samples < 0 || most_samples > INT32_MAX)
        return mest_fault(&m->fault, BAD_INPUT, "purpose %d, %lld samples: allowed are LIBMEST_FOR_PREDICTING or _TRAINING, and 0 to %d", purpose,
                          (long long)most_samples, INT32_MAX);
    if (m->used && m->data.samples > most_samples) most_samples = m->data.samples;
    m->trains = purpose == LIBMEST_FOR_TRAINING;
    wrong = mest_machine_open(&m->machine, &m->plan, m->trains, most_samples);
    m->prepared = !wrong;
    if (!wrong) wrong = label(m);
    if (wrong) mest_machine_close(&m->machine);
    m->prepared = !wrong;
    mest_train_blank(&m->training, &m->plan);
    return wrong;
}

/* Logits become scores: softmax. */
static void softmax(const float *z, int32_t classes, float *scores) {
    float top = z[0], sum = 0;
    for (int32_t k = 1; k < classes; k++) top = z[k] > top ? z[k] : top;
    for (int32_t k = 0; k < classes; k++) sum += scores[k] = expf(z[k] - top);
    for (int32_t k = 0; k < classes; k++) scores[k] /= sum;
}

static int predict(LibmestModel *m, const Data *data, int64_t first, int64_t count, float *scores) {
    const int64_t micro = m->plan.head.micro_batch;
    const int32_t classes = m->plan.head.classes;
    for (int64_t at = 0; at < count; at += micro) {
        const int64_t size = count - at < micro ? count - at : micro;
        int wrong = mest_machine_predict(&m->machine, (Reading){.data = data, .first = first + at}, size);
        if (!wrong) wrong = mest_machine_finite(&m->machine, size);
        if (wrong) return wrong;
        for (int64_t i = 0; i < size; i++) softmax(m->machine.logits + i * classes, classes, scores + (at + i) * classes);
    }
    return DONE;
}

int libmest_predict(LibmestModel *m, const LibmestSamples *samples, float *scores) {
    Data data = {.fault = &m->fault};
    int wrong = mest_need(m, 0);
    if (!wrong) wrong = mest_data_of_samples(&data, &m->plan, samples);
    return wrong ? wrong : predict(m, &data, 0, data.samples, scores);
}

int mest_need_samples(LibmestModel *m, int trains) {
    const int wrong = mest_need(m, trains);
    if (wrong || m->labelled) return wrong;
    return mest_fault(&m->fault, BAD_INPUT, "no samples are in use; call libmest_use and the like first");
}

int libmest_predict_used(LibmestModel *m, int64_t first, int64_t count, float *scores) {
    const int wrong = mest_need_samples(m, 0);
    if (wrong) return wrong;
    if (first < 0 || count < 0 || first > m->data.samples || count > m->data.samples - first)
        return mest_fault(&m->fault, BAD_INPUT, "samples %lld to %lld: %s holds %lld", (long long)first, (long long)(first + count),
                          m->data.source.name, (long long)m->data.samples);
    return predict(m, &m->data, first, count, scores);
}

int libmest_evaluate(LibmestModel *m, int64_t *correct, int64_t *samples) {
    const int64_t batch = m->plan.head.batch_size;
    int32_t *numbers = m->machine.order;
    int64_t marked, count = 0;
    int wrong = mest_need_samples(m, 0);
    if (wrong) return wrong;
    libmest_used(m, NULL, &marked, NULL);
    m->training.ordered = 0; /* a run orders them anew */
    for (int64_t i = 0; i < m->data.samples; i++)
        if (!marked || m->machine.test[i]) numbers[count++] = (int32_t)i;
    *correct = 0;
    *samples = count;
    for (int64_t at = 0; at < count && !wrong; at += batch)
        wrong = mest_machine_correct(&m->machine, &m->data, numbers + at, count - at < batch ? count - at : batch, correct);
    return wrong;
}
