/* What went wrong: an exit code and one line, kept for whoever asks. */
#ifndef MEST_FAULT_H
#define MEST_FAULT_H

#include <stdint.h>

/* Exit codes, those of the Python commands. */
enum { DONE = 0, BAD_INPUT = 2, OVER_BUDGET = 3, DAMAGED = 4 };
enum { MOST_NAME = 1024, MOST_LINE = 2 * MOST_NAME + 512 };

typedef struct {
    int as_options; /* settings are named as options of a command are */
    char line[MOST_LINE];
} Fault;

/* Keeps the line; gives the code. */
int mest_fault(Fault *fault, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* How a setting is named to who reads a message. */
const char *mest_named(const Fault *fault, const char *option, const char *setting);
/* Mebibytes as people read them. */
const char *mest_size_text(char text[24], int64_t nbytes);

#endif
