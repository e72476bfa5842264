#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "say.h"

static int64_t integer(const char *option, const char *text, int64_t low, int64_t high) {
    char *end;
    errno = 0;
    const long long number = strtoll(text, &end, 10);
    if (!*text || *end || errno || number < low || number > high)
        die(BAD_INPUT, "%s %s: must be a whole number from %lld to %lld", option, text, (long long)low, (long long)high);
    return number;
}

static double positive(const char *option, const char *text) {
    char *end;
    const double number = strtod(text, &end);
    if (!*text || *end || !isfinite(number) || !(number > 0)) die(BAD_INPUT, "%s %s: must be a number above 0", option, text);
    return number;
}

static int is_switch(const char *option) {
    return !strcmp(option, "--resume") || !strcmp(option, "--json") || !strcmp(option, "--quiet") || !strcmp(option, "--test");
}

static int kind_of(const char *option, const char *text) {
    static const char *const names[] = {"uint8", "int16", "float32"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(text, names[i])) return i;
    die(BAD_INPUT, "%s %s: must be uint8, int16 or float32", option, text);
}

static int takes_it(const char *takes, const char *option) {
    char word[64];
    snprintf(word, sizeof word, " %.60s ", option);
    return strstr(takes, word) != NULL;
}

static void set_switch(Options *o, const char *option) {
    o->resume |= !strcmp(option, "--resume");
    o->json |= !strcmp(option, "--json");
    o->quiet |= !strcmp(option, "--quiet");
    o->test |= !strcmp(option, "--test");
}

static void set_value(Options *o, const char *option, const char *value) {
    if (!strcmp(option, "--data")) o->data = value;
    else if (!strcmp(option, "--state")) o->state = value;
    else if (!strcmp(option, "--record")) o->record = value;
    else if (!strcmp(option, "--top")) o->top = integer(option, value, 1, 1 << 16);
    else if (!strcmp(option, "--label")) o->label = integer(option, value, 0, INT32_MAX);
    else if (!strcmp(option, "--numbers")) o->numbers = kind_of(option, value);
    else if (!strcmp(option, "--epochs")) o->epochs = integer(option, value, 1, 1000000), o->has_epochs = 1;
    else if (!strcmp(option, "--seed")) o->seed = integer(option, value, INT64_MIN, INT64_MAX), o->has_seed = 1;
    else if (!strcmp(option, "--save-every")) o->save_every = integer(option, value, 1, INT32_MAX), o->has_save_every = 1;
    else o->learning_rate = positive(option, value), o->has_learning_rate = 1;
}

Options options_read_pictures(int count, char **words, const char *takes) {
    Options o = {.top = 5, .label = -1, .pictures = words};
    for (int i = 0; i < count; i++) {
        const char *word = words[i];
        if (*word != '-') {
            if (!o.plan) o.plan = word;
            else o.pictures[o.picture_count++] = words[i]; /* over words that were read */
        } else if (!takes_it(takes, word)) {
            die(BAD_INPUT, "%s: no such option; allowed are%s", word, takes);
        } else if (is_switch(word)) {
            set_switch(&o, word);
        } else {
            if (i + 1 == count) die(BAD_INPUT, "%s: needs a value", word);
            set_value(&o, word, words[++i]);
        }
    }
    if (!o.plan) die(BAD_INPUT, "give the plan that 'mest compile' wrote");
    return o;
}

Options options_read(int count, char **words, const char *takes) {
    const Options o = options_read_pictures(count, words, takes);
    if (o.picture_count) die(BAD_INPUT, "%s: not expected; one plan is given", o.pictures[0]);
    return o;
}
