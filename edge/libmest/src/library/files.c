#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_file(void *context, void *into, size_t count, int64_t offset) {
    const int fd = (int)(intptr_t)context;
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

int mest_file_open(const char *path, LibmestSource *source) {
    struct stat found;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    const int wrong = fstat(fd, &found) ? errno : S_ISREG(found.st_mode) ? 0 : -1;
    if (wrong) close(fd);
    *source = (LibmestSource){read_file, (void *)(intptr_t)fd, found.st_size, path};
    return wrong;
}

void mest_file_close(void *context) { close((int)(intptr_t)context); }

int mest_file_exists(const char *path) { return !access(path, F_OK); }

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

int mest_file_extend(const char *path, LibmestSource *source) {
    struct stat found;
    const int fresh = !mest_file_exists(path), fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) return -1;
    if (flock(fd, LOCK_EX) || fstat(fd, &found)) {
        close(fd);
        return -1;
    }
    if (fresh) flush_folder(path);
    *source = (LibmestSource){read_file, (void *)(intptr_t)fd, found.st_size, path};
    return fd;
}

int mest_file_append(int fd, const void *bytes, size_t count, int64_t offset) {
    const char *from = bytes;
    if (lseek(fd, (off_t)offset, SEEK_SET) >= 0 && write_all(fd, from, count - 1) && !fsync(fd) && write_all(fd, from + count - 1, 1) &&
        !fsync(fd))
        return 0;
    const int wrong = errno;
    return ftruncate(fd, (off_t)offset) ? errno : wrong;
}

int mest_file_replace(const char *path, const void *head, size_t head_bytes, const void *body, size_t body_bytes) {
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
