#include <stdlib.h>
#include <string.h>

#include "../library/handle.h"
#include "commands.h"
#include "opened.h"
#include "say.h"

static const size_t number_bytes[] = {1, 2, 4}; /* by LIBMEST_UINT8 and the like */

/* A picture that was not decoded would be taken for pixels. */
static void refuse_picture(const char *raw, size_t nbytes) {
    const int png = nbytes >= 8 && !memcmp(raw, "\x89PNG\r\n\x1a\n", 8);
    const int jpeg = nbytes >= 10 && !memcmp(raw, "\xff\xd8\xff", 3) && (!memcmp(raw + 6, "JFIF", 4) || !memcmp(raw + 6, "Exif", 4));
    if (png || jpeg)
        die(BAD_INPUT, "standard input: is a %s file; name it after the plan, or give raw numbers", png ? "PNG" : "JPEG");
}

typedef struct {
    int64_t added, in_all;
    int ends; /* the code that the worst picture is worth */
} Collected;

static void add(LibmestModel *model, const Options *o, const LibmestSamples *one, Collected *done) {
    must(model, libmest_collect_path(model, o->data, one, &done->in_all));
    done->added++;
}

static void collect_raw(LibmestModel *model, const Options *o, LibmestSamples *one, Collected *done) {
    const LibmestFacts f = facts_of(model);
    const size_t nbytes = (size_t)f.channels * (size_t)f.height * (size_t)f.width * number_bytes[o->numbers];
    void *raw = malloc(nbytes);
    size_t got;
    if (!raw) die(OVER_BUDGET, "%s: no memory for a sample of %zu bytes", o->data, nbytes);
    one->numbers = raw;
    while ((got = fread(raw, 1, nbytes, stdin)) == nbytes) {
        if (!done->added) refuse_picture(raw, nbytes);
        add(model, o, one, done);
    }
    free(raw);
    if (got || !done->added)
        die(BAD_INPUT, "standard input: %zu bytes after %lld samples that were added; a sample is %zu bytes, %dx%dx%d", got,
            (long long)done->added, nbytes, f.channels, f.height, f.width);
}

static void collect_pictures(LibmestModel *model, const Options *o, LibmestSamples *one, Collected *done) {
    if (o->numbers != LIBMEST_UINT8) die(BAD_INPUT, "--numbers: is for raw numbers; pictures are pixels of uint8, leave it out");
    must(model, mest_collected_path(model, o->data, &done->in_all));
    prepared(model, o, LIBMEST_FOR_PREDICTING);
    void *pixels = room_for_sample(model);
    one->numbers = pixels;
    for (int i = 0; i < o->picture_count; i++) {
        if (picture_read(model, o->pictures[i], pixels, &done->ends)) add(model, o, one, done);
    }
}

int command_collect(int count, char **words) {
    const Options o = options_read_pictures(count, words, " --data --label --test --numbers --json --quiet ");
    LibmestModel *model = opened(&o);
    if (!o.data || o.label < 0) die(BAD_INPUT, "needs --data and --label: the file to add to, and the number of the class");
    const int32_t label = (int32_t)o.label;
    const uint8_t test = (uint8_t)o.test;
    LibmestSamples one = {.bytes = sizeof one, .kind = o.numbers, .count = 1, .labels = &label, .test = &test};
    Collected done = {0};
    if (o.picture_count) collect_pictures(model, &o, &one, &done);
    else collect_raw(model, &o, &one, &done);
    libmest_close(model);
    if (o.json) {
        fputs("{\"data\": ", stdout);
        json_text(stdout, o.data);
        printf(", \"added\": %lld, \"samples\": %lld}\n", (long long)done.added, (long long)done.in_all);
    } else {
        printf("added    %lld of class %d\nsamples  %lld\n", (long long)done.added, label, (long long)done.in_all);
    }
    return done.ends;
}
