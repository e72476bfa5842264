#include "forgetting.h"

#include <string.h>

#include "chance.h"

enum { CORRECT = 1, LEARNED = 2, FORGOTTEN = 4, DROPPED = 8, CHOSEN = 128 }; /* the last one of a place, while samples are drawn */
enum { ROOM = 64 };

int64_t mest_forgetting_bytes(const Plan *plan, int64_t samples) { return plan->head.drop_after ? (samples + ROOM - 1) / ROOM * ROOM : 0; }

uint8_t *mest_forgetting_marks(const Machine *m, int64_t samples) { return (uint8_t *)m->tensors - mest_forgetting_bytes(m->plan, samples); }

void mest_forgetting_blank(Machine *m, int64_t samples) {
    memset(mest_forgetting_marks(m, samples), 0, (size_t)mest_forgetting_bytes(m->plan, samples));
}

int mest_forgetting_good(const uint8_t *marks, int64_t count) {
    int good = 1;
    for (int64_t i = 0; i < count; i++) good &= marks[i] <= (CORRECT | LEARNED | FORGOTTEN | DROPPED);
    return good;
}

static void note(uint8_t *mark, int correct) {
    if (correct) *mark |= CORRECT | LEARNED;
    else if (*mark & CORRECT) *mark = (uint8_t)((*mark & ~CORRECT) | FORGOTTEN);
}

int mest_forgetting_observe(Machine *m, Reading of, int64_t count) {
    const int64_t micro = m->plan->head.micro_batch;
    const int32_t *numbers = of.numbers;
    uint8_t *marks = mest_forgetting_marks(m, of.run->samples);
    for (int64_t at = 0; at < count; at += micro) {
        const int64_t size = count - at < micro ? count - at : micro;
        of.numbers = numbers + at;
        const int wrong = mest_machine_predict(m, of, size);
        if (wrong) return wrong;
        for (int64_t i = 0; i < size; i++) note(marks + of.numbers[i], mest_machine_likeliest(m, i) == m->labels[i]);
    }
    return DONE;
}

static int easy(uint8_t mark) { return (mark & LEARNED) && !(mark & FORGOTTEN); }

void mest_forgetting_drop(Machine *m, const MestState *run) {
    const int64_t count = m->split.trained, batch = m->plan->head.batch_size;
    const int32_t *samples = m->split.train;
    const uint64_t seed = (uint64_t)run->seed;
    uint8_t *marks = mest_forgetting_marks(m, run->samples);
    int64_t found = 0;
    for (int64_t i = 0; i < count; i++) found += easy(marks[samples[i]]);
    if (found == count) return; /* that would leave none */
    mest_chance_permutation(m->order, found, chance_mix(&seed, 1));
    for (int64_t i = 0; i < found / batch * batch; i++) marks[m->order[i]] |= CHOSEN;
    for (int64_t i = 0, place = 0; i < count; i++) {
        if (!easy(marks[samples[i]])) continue;
        if (marks[place] & CHOSEN) marks[samples[i]] |= DROPPED;
        marks[place++] &= (uint8_t)~CHOSEN;
    }
}

/* Those that are left out stay behind, in no order: none of them comes back. */
int64_t mest_forgetting_kept(Machine *m, const MestState *run) {
    int32_t *samples = m->split.train;
    const uint8_t *marks = mest_forgetting_marks(m, run->samples);
    int64_t kept = 0;
    for (int64_t i = 0; i < m->split.trained; i++) {
        const int32_t sample = samples[i];
        if (run->drop_after && marks[sample] & DROPPED) continue;
        samples[i] = samples[kept];
        samples[kept++] = sample;
    }
    return kept;
}
