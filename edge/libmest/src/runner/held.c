#include "held.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "say.h"

static char held[PATH_MAX]; /* removed at the end; after a kill it stays, and holds nobody back */

static void let_go(void) { unlink(held); }

static int still_there(int fd) {
    struct stat ours, theirs;
    return !fstat(fd, &ours) && !stat(held, &theirs) && ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

static _Noreturn void refuse(const char *state, int fd) {
    char who[24] = "";
    if (pread(fd, who, sizeof who - 1, 0) < 1) strcpy(who, "another");
    die(BAD_INPUT, "%s: process %s is writing it; wait until it ends, or stop it", state, who);
}

void hold(const char *state) {
    char who[24];
    if (snprintf(held, sizeof held, "%s.lock", state) >= (int)sizeof held) die(BAD_INPUT, "%s: is too long a name", state);
    for (;;) {
        const int fd = open(held, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0) return; /* saving the state will say what is wrong with its folder */
        if (flock(fd, LOCK_EX | LOCK_NB)) {
            if (errno == EWOULDBLOCK) refuse(state, fd);
            unlink(held);
            close(fd);
            return;
        }
        if (still_there(fd)) {
            const int length = snprintf(who, sizeof who, "%ld", (long)getpid());
            atexit(let_go);
            if (ftruncate(fd, 0) || pwrite(fd, who, (size_t)length, 0) < length) return; /* held all the same, by nobody known */
            return;
        }
        close(fd); /* its holder removed it as we opened it */
    }
}
