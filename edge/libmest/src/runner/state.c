#include "state.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "say.h"
#include "sha256.h"

int state_exists(const char *path) { return !access(path, F_OK); }

static MestState without_digest(const MestState *head) {
    MestState blank = *head;
    blank.sha256_a = blank.sha256_b = blank.sha256_c = blank.sha256_d = 0;
    return blank;
}

static int position_good(const MestState *s) {
    const int finished = s->finished == 1 ? s->epoch == s->epochs : s->finished == 0 && s->epoch < s->epochs;
    return finished && s->epoch >= 0 && s->batch >= 0 && s->step >= 0 && s->step <= INT32_MAX && s->samples >= 1 && s->epochs >= 1 &&
           s->save_every >= 1 && s->schedule >= 0 && s->schedule < MEST_SCHEDULES && s->augment >= 0 && s->augment < MEST_AUGMENTS && s->learning_rate >= 0 && isfinite(s->learning_rate) &&
           s->warmup >= 0 && s->warmup <= 1 && s->hold_out >= 0 && s->hold_out <= 1 && s->epoch_samples >= 0;
}

static int open_state(const char *path, MestState *head, int64_t *nbytes) {
    const int fd = open_for_reading(path, "the state that 'mest-run train' wrote", nbytes);
    if (*nbytes < (int64_t)sizeof *head || !read_at(fd, head, sizeof *head, 0) || head->magic != MEST_STATE_MAGIC)
        die(DAMAGED, "%s: is no state of mest-run", path);
    if (head->version != MEST_FILE_VERSION || head->declared != MEST_FILES_DIGEST)
        die(DAMAGED, "%s: was written by another version of mest-run; continue it with that one", path);
    if (!(head->hold_out >= 0 && head->hold_out <= 1)) die(DAMAGED, "%s: holds numbers out of their range", path);
    return fd;
}

void state_peek(const char *path, MestState *head) {
    int64_t nbytes;
    close(open_state(path, head, &nbytes));
}

void state_read(const char *path, const Plan *plan, MestState *head, char *tensors) {
    int64_t nbytes, digest[4];
    const int fd = open_state(path, head, &nbytes);
    const MestState blank = without_digest(head);
    digest_of(fd, &blank, sizeof blank, nbytes, digest);
    if (head->nbytes != nbytes || memcmp(digest, &head->sha256_a, sizeof digest))
        die(DAMAGED, "%s: does not match its SHA-256; it was truncated or altered", path);
    if (memcmp(&head->plan_a, &plan->head.sha256_a, sizeof digest))
        die(DAMAGED, "%s: was trained from another plan than %s; give that one", path, plan->path);
    if (nbytes != (int64_t)sizeof *head + plan->head.tensors_bytes || !position_good(head))
        die(DAMAGED, "%s: holds numbers out of their range", path);
    if (!read_at(fd, tensors, (size_t)plan->head.tensors_bytes, (int64_t)sizeof *head)) die(DAMAGED, "%s: ends early", path);
    close(fd);
}

void state_write(const char *path, MestState *head, const Machine *m) {
    const int64_t nbytes = m->plan->head.tensors_bytes;
    Sha256 sha;
    head->nbytes = (int64_t)sizeof *head + nbytes;
    const MestState blank = without_digest(head);
    sha256_begin(&sha);
    sha256_add(&sha, &blank, sizeof blank);
    sha256_add(&sha, m->tensors, (size_t)nbytes);
    int64_t digest[4];
    sha256_end(&sha, digest);
    memcpy(&head->sha256_a, digest, sizeof digest);
    const int wrong = replace_file(path, head, sizeof *head, m->tensors, (size_t)nbytes);
    if (wrong)
        die(BAD_INPUT, "%s: %s while the state was saved; %s", path, strerror(wrong),
            state_exists(path) ? "the one before it is untouched; make room and continue with --resume" : "nothing was saved before");
}
