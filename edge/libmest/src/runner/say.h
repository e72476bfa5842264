/* What a person or a program is told, and how a command ends. */
#ifndef MEST_SAY_H
#define MEST_SAY_H

#include <stdio.h>

#include "../library/fault.h"

enum { SIGNALLED = 128 }; /* an exit code beside those of faults: the number of the signal is added */

/* The command that messages begin with. */
void say_as(const char *command);
/* One line on standard error. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, and the end of the process. */
_Noreturn void die(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A text as JSON has it, quotes included. */
void json_text(FILE *out, const char *text);
/* A number as JSON has it; null for one that is not finite. */
void json_number(FILE *out, double number);

#endif
