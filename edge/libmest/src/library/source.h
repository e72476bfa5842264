/* Bytes that are read in pieces and never held whole. */
#ifndef MEST_SOURCE_H
#define MEST_SOURCE_H

#include "../../include/libmest.h"
#include "fault.h"

typedef struct {
    LibmestSource from;
    void (*release)(void *context); /* NULL: whoever gave it keeps it */
    char name[MOST_NAME];
} Source;

/* 0 where the bytes end before that, or cannot be read. */
int mest_source_read(const Source *source, void *into, size_t count, int64_t offset);
/* A source over bytes in memory, which stay where they are. */
LibmestSource mest_source_bytes(const void *bytes, size_t nbytes, const char *name);
/* Takes a source over, its name included, in place of the one before, which is released. */
void mest_source_take(Source *source, const LibmestSource *from, void (*release)(void *context));
void mest_source_release(Source *source);
/* SHA-256 of bytes whose beginning is taken from `head` instead. */
void mest_source_digest(const Source *source, const void *head, size_t head_bytes, int64_t digest[4]);

#endif
