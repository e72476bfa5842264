/* Files as sources, and files that are written so that they are whole or not there. */
#ifndef MEST_FILES_H
#define MEST_FILES_H

#include "source.h"

/* 0, or errno; -1 for what is no file. What was opened is released by mest_file_close. */
int mest_file_open(const char *path, LibmestSource *source);
void mest_file_close(void *context);
/* Replaces a file by head and body: written beside it, flushed to the disk, then renamed. 0, or errno. */
int mest_file_replace(const char *path, const void *head, size_t head_bytes, const void *body, size_t body_bytes);
int mest_file_exists(const char *path);
/* A file opened for adding to it, made if it is not there, and kept from others who add; its descriptor, or -1 with errno. */
int mest_file_extend(const char *path, LibmestSource *source);
/* Bytes of such a file, of which the last one comes when the others are on the disk: where power is lost, the file ends
 * before it. 0, or errno; then the file is cut where they would have begun. */
int mest_file_append(int fd, const void *bytes, size_t count, int64_t offset);

#endif
