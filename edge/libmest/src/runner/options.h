/* The command line of mest-run. */
#ifndef MEST_OPTIONS_H
#define MEST_OPTIONS_H

#include <stdint.h>

typedef struct {
    const char *plan, *data, *state, *record;
    char **pictures; /* what follows the plan: files of JPEG or PNG */
    int picture_count;
    int resume, json, quiet;
    int64_t top, label;
    int test, numbers; /* of samples that are collected */
    /* Settings that were given, and whether. */
    int64_t epochs, seed, save_every;
    double learning_rate;
    int has_epochs, has_seed, has_save_every, has_learning_rate;
} Options;

/* What follows the command's name; ends the process for what is not expected. `takes` names the options of the command,
 * each between two spaces. */
Options options_read(int count, char **words, const char *takes);
/* The same of a command that takes pictures. */
Options options_read_pictures(int count, char **words, const char *takes);

#endif
