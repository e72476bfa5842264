#include "fault.h"

#include <stdarg.h>
#include <stdio.h>

int mest_fault(Fault *fault, int code, const char *format, ...) {
    va_list values;
    va_start(values, format);
    vsnprintf(fault->line, sizeof fault->line, format, values);
    va_end(values);
    return code;
}

const char *mest_named(const Fault *fault, const char *option, const char *setting) { return fault->as_options ? option : setting; }

const char *mest_size_text(char text[24], int64_t nbytes) {
    if (nbytes < 1 << 20) snprintf(text, 24, "%.1f KiB", (double)nbytes / 1024);
    else snprintf(text, 24, "%.1f MiB", (double)nbytes / (1 << 20));
    return text;
}
