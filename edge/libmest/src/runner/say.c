#include "say.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

static const char *speaking = "";

void say_as(const char *command) { speaking = command; }

static void line(const char *format, va_list values) {
    fprintf(stderr, "mest-run%s%s: ", *speaking ? " " : "", speaking);
    vfprintf(stderr, format, values);
    fputc('\n', stderr);
}

void say(const char *format, ...) {
    va_list values;
    va_start(values, format);
    line(format, values);
    va_end(values);
}

void die(int code, const char *format, ...) {
    va_list values;
    va_start(values, format);
    line(format, values);
    va_end(values);
    exit(code);
}

void json_text(FILE *out, const char *text) {
    fputc('"', out);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\') fprintf(out, "\\%c", *c);
        else if (*c < 32 || *c == 127) fprintf(out, "\\u%04x", *c);
        else fputc(*c, out);
    }
    fputc('"', out);
}

void json_number(FILE *out, double number) {
    if (isfinite(number)) fprintf(out, "%.17g", number);
    else fputs("null", out);
}
