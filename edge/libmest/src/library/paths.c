/* The public functions that name files, and a run that keeps its state in one; no others touch a file system. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "handle.h"
#include "state.h"

/* A file as a source; a fault says what should be given. */
static int open_file(Fault *fault, const char *path, const char *wanted, LibmestSource *source) {
    const int wrong = mest_file_open(path, source);
    if (!wrong) return DONE;
    if (wrong < 0) return mest_fault(fault, BAD_INPUT, "%s: is no file; give %s", path, wanted);
    return mest_fault(fault, BAD_INPUT, "%s: %s; give %s", path, strerror(wrong), wanted);
}

int libmest_open_path(const char *path, LibmestModel **model) {
    LibmestSource source;
    LibmestModel *m = *model = mest_handle();
    if (!m) return LIBMEST_OVER_BUDGET;
    const int wrong = open_file(&m->fault, path, "what 'mest compile' wrote", &source);
    return wrong ? wrong : mest_open_source(m, &source, mest_file_close);
}

int libmest_use_path(LibmestModel *m, const char *path) {
    LibmestSource source;
    const int wrong = open_file(&m->fault, path, "what 'mest pack' wrote", &source);
    return wrong ? wrong : mest_use_source(m, &source, mest_file_close);
}

int libmest_read_picture_path(LibmestModel *m, const char *path, void *pixels) {
    LibmestSource source;
    int wrong = open_file(&m->fault, path, "a JPEG or PNG file", &source);
    if (wrong) return wrong;
    wrong = libmest_read_picture(m, &source, pixels);
    mest_file_close(source.context);
    return wrong;
}

int libmest_load_path(LibmestModel *m, const char *path) {
    LibmestSource source;
    int wrong = open_file(&m->fault, path, "the state that 'mest-run train' wrote", &source);
    if (wrong) return wrong;
    wrong = libmest_load(m, &source);
    mest_file_close(source.context);
    return wrong;
}

int libmest_save_path(LibmestModel *m, const char *path) {
    const int wrong = mest_seal(m);
    if (wrong) return wrong;
    const MestState *head = &m->training.head;
    const void *body = mest_state_begins(&m->machine, head->samples);
    const int error = mest_file_replace(path, head, sizeof *head, body, (size_t)mest_state_body(&m->plan, head->samples));
    if (!error) return DONE;
    return mest_fault(&m->fault, BAD_INPUT, "%s: %s while the state was saved; %s", path, strerror(error),
                      !mest_file_exists(path)      ? "nothing was saved before"
                      : m->fault.as_options ? "the one before it is untouched; make room and continue with --resume"
                                            : "the one before it is untouched; make room and continue");
}

/* Where the best epoch waits. */
static int best_beside(LibmestModel *m, const char *state_path, char best[PATH_MAX]) {
    if (!m->training.head.patience) return DONE;
    if (!state_path) return mest_fault(&m->fault, BAD_INPUT, "a plan with patience keeps its best epoch beside its state; give a path for that");
    if (snprintf(best, PATH_MAX, "%s.best", state_path) < PATH_MAX) return DONE;
    return mest_fault(&m->fault, BAD_INPUT, "%s: is too long a name", state_path);
}

/* The weights and the optimizer of the best epoch; where the run is, and which samples it has dropped, stays as it is. */
static int take_best(LibmestModel *m, const char *best) {
    MestState *s = &m->training.head, head;
    LibmestSource from;
    Source source = {0};
    int wrong = open_file(&m->fault, best, "the best epoch, which lies beside the state", &from);
    if (wrong) return wrong;
    mest_source_take(&source, &from, mest_file_close);
    wrong = mest_state_read(&source, &m->machine, 0, &head);
    if (!wrong && (head.best_epoch != s->best_epoch || head.seed != s->seed || memcmp(&head.data_a, &s->data_a, sizeof m->machine.digest)))
        wrong = mest_fault(&m->fault, DAMAGED, "%s: is not of epoch %d of this run; copy both files again", best, s->best_epoch);
    mest_source_release(&source);
    if (wrong) m->training.phase = 0;
    else s->updates = head.updates;
    return wrong;
}

/* A finished run that goes on takes up the weights that it ended with, which stay the ones to beat. */
static int reopen(LibmestModel *m, const char *state_path, const char *best) {
    Training *t = &m->training;
    if (!t->reopened) return DONE;
    int wrong = t->reopened == REOPENED_AT_BEST ? libmest_save_path(m, best) : take_best(m, best);
    t->reopened = 0;
    return wrong ? wrong : libmest_save_path(m, state_path);
}

/* At the end of the run its best epoch's weights are read from the disk, so that none are held twice. */
static int come_back(LibmestModel *m, const char *state_path, const char *best) {
    MestState *s = &m->training.head;
    if (!s->patience || m->training.phase != LIBMEST_AFTER || m->training.at) return DONE;
    if (s->best_epoch && s->best_epoch != s->epoch && !s->kept_epoch) {
        int wrong = take_best(m, best);
        if (wrong) return wrong;
        s->kept_epoch = s->best_epoch;
        wrong = libmest_save_path(m, state_path);
        if (wrong) return wrong;
    }
    unlink(best);
    return DONE;
}

int libmest_run(LibmestModel *m, const char *state_path, LibmestCallback callback, void *context, LibmestProgress *progress) {
    LibmestProgress p = {.bytes = sizeof p};
    char best[PATH_MAX];
    int wrong = best_beside(m, state_path, best);
    if (!wrong) wrong = reopen(m, state_path, best);
    m->training.state_path = state_path;
    while (!wrong && !p.stopped && p.phase != LIBMEST_FINISHED) {
        wrong = come_back(m, state_path, best);
        if (!wrong) wrong = libmest_advance(m, &p);
        if (wrong) break;
        /* before, nothing was changed; afterwards all is saved */
        const int training = p.phase == LIBMEST_TRAINING || p.phase == LIBMEST_JUDGING;
        p.stopped = callback && p.phase != LIBMEST_FINISHED && callback(context, &p);
        if (state_path && p.gained) wrong = libmest_save_path(m, best); /* before the state that speaks of it */
        if (!wrong && state_path && (p.due || (p.stopped && training))) wrong = libmest_save_path(m, state_path);
    }
    if (progress) mest_give(progress, &p, sizeof p);
    m->training.state_path = NULL;
    return wrong;
}
