#include "source.h"

#include <stdio.h>
#include <string.h>

#include "sha256.h"

enum { PIECE_BYTES = 1 << 13 };

int mest_source_read(const Source *source, void *into, size_t count, int64_t offset) {
    const LibmestSource *from = &source->from;
    if (offset < 0 || offset > from->nbytes || (uint64_t)count > (uint64_t)(from->nbytes - offset)) return 0;
    return from->read(from->context, into, count, offset);
}

static int read_bytes(void *context, void *into, size_t count, int64_t offset) {
    memcpy(into, (const char *)context + offset, count);
    return 1;
}

LibmestSource mest_source_bytes(const void *bytes, size_t nbytes, const char *name) {
    return (LibmestSource){.read = read_bytes, .context = (void *)(uintptr_t)bytes, .nbytes = (int64_t)nbytes, .name = name};
}

void mest_source_release(Source *source) {
    if (source->release) source->release(source->from.context);
    source->release = NULL;
}

void mest_source_take(Source *source, const LibmestSource *from, void (*release)(void *context)) {
    mest_source_release(source);
    source->from = *from;
    source->release = release;
    snprintf(source->name, sizeof source->name, "%s", from->name ? from->name : "bytes");
}

void mest_source_digest(const Source *source, const void *head, size_t head_bytes, int64_t digest[4]) {
    Sha256 sha;
    char piece[PIECE_BYTES];
    mest_sha256_begin(&sha);
    mest_sha256_add(&sha, head, head_bytes);
    for (int64_t at = (int64_t)head_bytes; at < source->from.nbytes;) {
        const int64_t left = source->from.nbytes - at;
        const size_t count = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
        if (!mest_source_read(source, piece, count, at)) break; /* what ends early has another digest */
        mest_sha256_add(&sha, piece, count);
        at += (int64_t)count;
    }
    mest_sha256_end(&sha, digest);
}
