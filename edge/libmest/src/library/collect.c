/* Samples added to a data file, one durable record after the other. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "handle.h"

/* The head of a file that is begun, or whose beginning was cut off by a loss of power; else the one that it has, which must
 * be for samples of this kind. */
static int take_head(LibmestModel *m, int fd, const Data *new, Data *file) {
    MestData head = new->head;
    const size_t had = (size_t)file->source.from.nbytes;
    char found[sizeof head];
    head.magic = MEST_DATA_MAGIC;
    head.version = MEST_FILE_VERSION;
    head.record_bytes = (int64_t)sizeof(MestSample) + (new->sample_bytes + 7) / 8 * 8;
    if (had < sizeof head && mest_source_read(&file->source, found, had, 0) && !memcmp(found, &head, had)) {
        const int error = mest_file_append(fd, &head, sizeof head, 0);
        if (error) return mest_fault(&m->fault, BAD_INPUT, "%s: %s while it was begun", file->source.name, strerror(error));
        file->source.from.nbytes = sizeof head;
    }
    const int wrong = mest_data_head(file, &m->plan);
    if (wrong || file->head.numbers == head.numbers) return wrong;
    return mest_fault(&m->fault, BAD_INPUT, "%s: holds numbers of kind %d, these are of kind %d; give the same", file->source.name,
                      file->head.numbers, head.numbers);
}

static int add(LibmestModel *m, int fd, const LibmestSamples *samples, Data *new, Data *file) {
    int wrong = take_head(m, fd, new, file);
    char *record = wrong ? NULL : calloc(1, (size_t)file->head.record_bytes);
    if (!wrong && !record) wrong = mest_fault(&m->fault, OVER_BUDGET, "%s: no memory for a sample", file->source.name);
    for (int64_t i = 0; i < samples->count && !wrong; i++) {
        const MestSample sample = {samples->labels[i], samples->test && samples->test[i]};
        memcpy(record, &sample, sizeof sample);
        memcpy(record + sizeof sample, (const char *)samples->numbers + i * new->sample_bytes, (size_t)new->sample_bytes);
        const int64_t at = (int64_t)sizeof file->head + file->samples * file->head.record_bytes;
        const int error = mest_file_append(fd, record, (size_t)file->head.record_bytes, at);
        if (error)
            wrong = mest_fault(&m->fault, BAD_INPUT, "%s: %s while sample %lld of %lld was added; those before it are kept", file->source.name,
                               strerror(error), (long long)i + 1, (long long)samples->count);
        else file->samples++;
    }
    free(record);
    return wrong;
}

int libmest_collect_path(LibmestModel *m, const char *path, const LibmestSamples *samples, int64_t *in_all) {
    Data new = {.fault = &m->fault}, file = {.fault = &m->fault};
    LibmestSource source;
    int wrong = mest_need_open(m);
    if (!wrong) wrong = mest_data_of_samples(&new, &m->plan, samples);
    if (!wrong && !samples->labels) wrong = mest_fault(&m->fault, BAD_INPUT, "samples: have no labels");
    if (wrong) return wrong;
    const int fd = mest_file_extend(path, &source);
    if (fd < 0) return mest_fault(&m->fault, BAD_INPUT, "%s: %s; give a data file, or where one can be begun", path, strerror(errno));
    mest_source_take(&file.source, &source, mest_file_close);
    wrong = add(m, fd, samples, &new, &file);
    if (in_all) *in_all = file.samples;
    mest_source_release(&file.source);
    return wrong;
}

int mest_collected_path(LibmestModel *m, const char *path, int64_t *in_all) {
    Data file = {.fault = &m->fault};
    LibmestSource source;
    *in_all = 0;
    if (mest_file_open(path, &source)) return DONE;
    mest_source_take(&file.source, &source, mest_file_close);
    const int wrong = source.nbytes < (int64_t)sizeof file.head ? DONE : mest_data_head(&file, &m->plan);
    *in_all = file.samples;
    mest_source_release(&file.source);
    return wrong;
}
