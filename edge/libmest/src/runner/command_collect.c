#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "opened.h"
#include "say.h"

static const size_t number_bytes[] = {1, 2, 4}; /* by LIBMEST_UINT8 and the like */

/* A picture that was not decoded would be taken for pixels. */
static void refuse_picture(const char *raw, size_t nbytes) {
    const int png = nbytes >= 8 && !memcmp(raw, "\x89PNG\r\n\x1a\n", 8);
    const int jpeg = nbytes >= 10 && !memcmp(raw, "\xff\xd8\xff", 3) && (!memcmp(raw + 6, "JFIF", 4) || !memcmp(raw + 6, "Exif", 4));
    if (png || jpeg)
        die(BAD_INPUT, "standard input: is a %s file; give raw numbers, or pack pictures on the workstation by 'mest pack'",
            png ? "PNG" : "JPEG");
}

int command_collect(int count, char **words) {
    const Options o = options_read(count, words, " --data --label --test --numbers --json --quiet ");
    LibmestModel *model = opened(&o);
    if (!o.data || o.label < 0) die(BAD_INPUT, "needs --data and --label: the file to add to, and the number of the class");
    const LibmestFacts f = facts_of(model);
    const size_t nbytes = (size_t)f.channels * (size_t)f.height * (size_t)f.width * number_bytes[o.numbers];
    void *raw = malloc(nbytes);
    if (!raw) die(OVER_BUDGET, "%s: no memory for a sample of %zu bytes", o.data, nbytes);
    const int32_t label = (int32_t)o.label;
    const uint8_t test = (uint8_t)o.test;
    const LibmestSamples one = {
        .bytes = sizeof one, .numbers = raw, .kind = o.numbers, .count = 1, .labels = &label, .test = &test,
    };
    int64_t added = 0, in_all = 0;
    size_t got;
    while ((got = fread(raw, 1, nbytes, stdin)) == nbytes) {
        if (!added) refuse_picture(raw, nbytes);
        must(model, libmest_collect_path(model, o.data, &one, &in_all));
        added++;
    }
    free(raw);
    libmest_close(model);
    if (got || !added)
        die(BAD_INPUT, "standard input: %zu bytes after %lld samples that were added; a sample is %zu bytes, %dx%dx%d", got, (long long)added,
            nbytes, f.channels, f.height, f.width);
    if (o.json) {
        fputs("{\"data\": ", stdout);
        json_text(stdout, o.data);
        printf(", \"added\": %lld, \"samples\": %lld}\n", (long long)added, (long long)in_all);
    } else {
        printf("added    %lld of class %d\nsamples  %lld\n", (long long)added, label, (long long)in_all);
    }
    return DONE;
}
