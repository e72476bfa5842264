/* Files read in pieces that are never held whole, and written so that they are whole or not there. */
#ifndef MEST_FILES_H
#define MEST_FILES_H

#include <stddef.h>
#include <stdint.h>

/* A file opened for reading and its size; ends the process if it cannot be. `kind` says what it should be. */
int open_for_reading(const char *path, const char *kind, int64_t *nbytes);
/* 0 where the file ends before that. */
int read_at(int fd, void *into, size_t count, int64_t offset);
/* SHA-256 of a file whose first bytes are taken from `head` instead. */
void digest_of(int fd, const void *head, size_t head_bytes, int64_t nbytes, int64_t digest[4]);
/* Replaces a file by head and body: written beside it, flushed to the disk, then renamed. 0, or errno. */
int replace_file(const char *path, const void *head, size_t head_bytes, const void *body, size_t body_bytes);

#endif
