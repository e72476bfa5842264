/* What a person or a program is told, and how a command ends. */
#ifndef MEST_SAY_H
#define MEST_SAY_H

#include <stdint.h>
#include <stdio.h>

/* Exit codes, those of the Python commands. */
enum { DONE = 0, BAD_INPUT = 2, OVER_BUDGET = 3, DAMAGED = 4, SIGNALLED = 128 };

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
/* Mebibytes as people read them. */
const char *size_text(char text[24], int64_t nbytes);

#endif
