#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "say.h"
#include "sha256.h"

enum { PIECE_BYTES = 1 << 13 };

int open_for_reading(const char *path, const char *kind, int64_t *nbytes) {
    struct stat found;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &found)) die(BAD_INPUT, "%s: %s; give %s", path, strerror(errno), kind);
    if (!S_ISREG(found.st_mode)) die(BAD_INPUT, "%s: is no file; give %s", path, kind);
    *nbytes = found.st_size;
    return fd;
}

int read_at(int fd, void *into, size_t count, int64_t offset) {
    for (char *to = into; count;) {
        const ssize_t got = pread(fd, to, count, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return 0;
        to += got;
        offset += got;
        count -= (size_t)got;
    }
    return 1;
}

void digest_of(int fd, const void *head, size_t head_bytes, int64_t nbytes, int64_t digest[4]) {
    Sha256 sha;
    char piece[PIECE_BYTES];
    sha256_begin(&sha);
    sha256_add(&sha, head, head_bytes);
    for (int64_t at = (int64_t)head_bytes; at < nbytes;) {
        const size_t count = nbytes - at < PIECE_BYTES ? (size_t)(nbytes - at) : PIECE_BYTES;
        if (!read_at(fd, piece, count, at)) break; /* a file that ends early has another digest */
        sha256_add(&sha, piece, count);
        at += (int64_t)count;
    }
    sha256_end(&sha, digest);
}

static int write_all(int fd, const void *bytes, size_t count) {
    for (const char *from = bytes; count;) {
        const ssize_t put = write(fd, from, count);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return 0;
        from += put;
        count -= (size_t)put;
    }
    return 1;
}

/* The name is on the disk too. */
static void flush_folder(const char *path) {
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s", path);
    const int folder = open(dirname(name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return;
    fsync(folder);
    close(folder);
}

int replace_file(const char *path, const void *head, size_t head_bytes, const void *body, size_t body_bytes) {
    char beside[PATH_MAX];
    if (snprintf(beside, sizeof beside, "%s.part", path) >= (int)sizeof beside) return ENAMETOOLONG;
    const int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return errno;
    int wrong = 0;
    if (!write_all(fd, head, head_bytes) || !write_all(fd, body, body_bytes) || fsync(fd)) wrong = errno;
    if (close(fd) && !wrong) wrong = errno;
    if (!wrong && rename(beside, path)) wrong = errno;
    if (wrong) unlink(beside);
    else flush_folder(path);
    return wrong;
}
