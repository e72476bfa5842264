#include "state.h"

#include <math.h>
#include <string.h>

#include "forgetting.h"
#include "mutating.h"
#include "sha256.h"

static MestState without_digest(const MestState *head) {
    MestState blank = *head;
    blank.sha256_a = blank.sha256_b = blank.sha256_c = blank.sha256_d = 0;
    return blank;
}

int64_t mest_state_body(const Plan *plan, int64_t samples) { return mest_forgetting_bytes(plan, samples) + mest_machine_kept(plan); }

void *mest_state_begins(const Machine *m, int64_t samples) { return mest_forgetting_marks(m, samples); }

/* What of a position patience has to do with. */
static int best_good(const MestState *s) {
    const int early = s->patience && s->waited >= s->patience;
    return s->best_epoch >= 0 && s->best_epoch <= s->epoch && (s->kept_epoch == 0 || s->kept_epoch == s->best_epoch) && s->waited >= 0 &&
           s->stopped_early == early && (!early || s->finished) && (!s->best_epoch || isfinite(s->best_accuracy));
}

static int position_good(const MestState *s, const MestPlan *h) {
    const int finished = s->finished == 1 ? s->epoch == s->epochs || s->stopped_early : s->finished == 0 && s->epoch < s->epochs;
    if (s->patience != h->patience || s->drop_after != h->drop_after || !best_good(s)) return 0;
    return finished && s->epoch <= s->epochs && s->updates >= 0 && s->updates <= s->step && s->samples <= INT32_MAX && s->epoch >= 0 && s->batch >= 0 && s->step >= 0 && s->step <= INT32_MAX && s->samples >= 1 && s->epochs >= 1 &&
           s->save_every >= 1 && s->schedule >= 0 && s->schedule < MEST_SCHEDULES && s->augment >= 0 && s->augment < MEST_AUGMENTS &&
           s->learning_rate >= 0 && isfinite(s->learning_rate) && s->warmup >= 0 && s->warmup <= 1 && s->hold_out >= 0 &&
           s->hold_out <= 1 && s->epoch_samples >= 0 && s->mutations >= 0 && (s->off_target == 0 || s->off_target == 1);
}

/* Marks, unless they stay, tensors and lists, at their places. */
static int read_body(const Source *source, Machine *m, int marks, const MestState *s) {
    const int64_t before = mest_forgetting_bytes(m->plan, s->samples), room = mest_forgetting_bytes(m->plan, m->most_samples);
    const uint8_t *found = mest_forgetting_marks(m, s->samples);
    if (!marks || before > room) /* of other data than those in use, with which no run continues */
        return mest_source_read(source, m->tensors, (size_t)mest_machine_kept(m->plan), (int64_t)sizeof *s + before);
    return mest_source_read(source, mest_state_begins(m, s->samples), (size_t)mest_state_body(m->plan, s->samples), (int64_t)sizeof *s) &&
           mest_forgetting_good(found, before);
}

int mest_state_read(const Source *source, Machine *m, int marks, MestState *head) {
    const Plan *plan = m->plan;
    const char *name = source->name;
    const int64_t nbytes = source->from.nbytes;
    int64_t digest[4];
    MestState found;
    if (nbytes < (int64_t)sizeof found || !mest_source_read(source, &found, sizeof found, 0) || found.magic != MEST_STATE_MAGIC)
        return mest_fault(m->fault, DAMAGED, "%s: is no state of mest-run", name);
    if (found.version != MEST_FILE_VERSION || found.declared != MEST_FILES_DIGEST)
        return mest_fault(m->fault, DAMAGED, "%s: was written by another version of mest-run; continue it with that one", name);
    const MestState blank = without_digest(&found);
    mest_source_digest(source, &blank, sizeof blank, digest);
    if (found.nbytes != nbytes || memcmp(digest, &found.sha256_a, sizeof digest))
        return mest_fault(m->fault, DAMAGED, "%s: does not match its SHA-256; it was truncated or altered", name);
    if (memcmp(&found.plan_a, &plan->head.sha256_a, sizeof digest))
        return mest_fault(m->fault, DAMAGED, "%s: was trained from another plan than %s; give that one", name, plan->source.name);
    if (!position_good(&found, &plan->head) || nbytes != (int64_t)sizeof found + mest_state_body(plan, found.samples))
        return mest_fault(m->fault, DAMAGED, "%s: holds numbers out of their range", name);
    if (!read_body(source, m, marks, &found)) {
        const int wrong = mest_machine_reset(m);
        return wrong ? wrong : mest_fault(m->fault, DAMAGED, "%s: ends early, or has marks of samples that are none", name);
    }
    if (mest_mutating_accept(m)) {
        const int wrong = mest_machine_reset(m);
        return wrong ? wrong : mest_fault(m->fault, DAMAGED, "%s: holds index lists that do not fit the network", name);
    }
    *head = found;
    return DONE;
}

void mest_state_seal(MestState *head, const Machine *m) {
    const int64_t nbytes = mest_state_body(m->plan, head->samples);
    Sha256 sha;
    int64_t digest[4];
    head->nbytes = (int64_t)sizeof *head + nbytes;
    const MestState blank = without_digest(head);
    mest_sha256_begin(&sha);
    mest_sha256_add(&sha, &blank, sizeof blank);
    mest_sha256_add(&sha, mest_state_begins(m, head->samples), (size_t)nbytes);
    mest_sha256_end(&sha, digest);
    memcpy(&head->sha256_a, digest, sizeof digest);
}
