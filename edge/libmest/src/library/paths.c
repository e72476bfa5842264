/* The public functions that name files, and a run that keeps its state in one; no others touch a file system. */
#include <stdio.h>
#include <string.h>

#include "files.h"
#include "handle.h"

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
    const int error = mest_file_replace(path, head, sizeof *head, m->machine.tensors, (size_t)mest_machine_kept(&m->plan));
    if (!error) return DONE;
    return mest_fault(&m->fault, BAD_INPUT, "%s: %s while the state was saved; %s", path, strerror(error),
                      !mest_file_exists(path)      ? "nothing was saved before"
                      : m->fault.as_options ? "the one before it is untouched; make room and continue with --resume"
                                            : "the one before it is untouched; make room and continue");
}

int libmest_run(LibmestModel *m, const char *state_path, LibmestCallback callback, void *context, LibmestProgress *progress) {
    LibmestProgress p = {.bytes = sizeof p};
    int wrong = DONE;
    m->training.state_path = state_path;
    while (!wrong && !p.stopped && p.phase != LIBMEST_FINISHED) {
        wrong = libmest_advance(m, &p);
        if (wrong) break;
        const int training = p.phase == LIBMEST_TRAINING; /* before, nothing was changed; afterwards all is saved */
        p.stopped = callback && p.phase != LIBMEST_FINISHED && callback(context, &p);
        if (state_path && (p.due || (p.stopped && training))) wrong = libmest_save_path(m, state_path);
    }
    if (progress) mest_give(progress, &p, sizeof p);
    m->training.state_path = NULL;
    return wrong;
}
