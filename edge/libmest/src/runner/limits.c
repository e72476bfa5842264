#define _GNU_SOURCE
#include "limits.h"

#include <fcntl.h>
#include <string.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "say.h"

static int limited;
static const char *swap_stands = "unknown";
static int64_t most_swapped;

/* A file of the kernel's, ended by a zero; 0 where it cannot be read. */
static int kernel_says(const char *path, char *text, size_t room) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    const ssize_t got = read(fd, text, room - 1);
    close(fd);
    text[got > 0 ? got : 0] = 0;
    return got > 0;
}

/* Bytes of a line of /proc/self/status; -1 where there is none. */
static int64_t counted(const char *name) {
    char text[4096];
    if (!kernel_says("/proc/self/status", text, sizeof text)) return -1;
    const char *at = strstr(text, name);
    return at ? 1024 * strtoll(at + strlen(name), NULL, 10) : -1;
}

/* qemu answers for /proc/self/exe itself, but passes the same link of a thread through to the host. */
const char *limits_reason(void) {
    static char reason[160];
    char link[64], path[256];
    snprintf(link, sizeof link, "/proc/self/task/%ld/exe", syscall(SYS_gettid));
    const ssize_t got = readlink(link, path, sizeof path - 1);
    path[got > 0 ? got : 0] = 0;
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    if (!strncmp(name, "qemu-", 5)) {
        snprintf(reason, sizeof reason, "running under %.40s: the emulator's own memory is counted with the program's", name);
        return reason;
    }
    return counted("VmHWM:") < 0 ? "this system shows no VmHWM in /proc/self/status" : NULL;
}

/* Pages are locked as they come, so that none goes to swap. */
static const char *without_swap(void) {
    char swaps[512];
    if (!kernel_says("/proc/swaps", swaps, sizeof swaps)) return "unknown";
    const char *second = strchr(swaps, '\n');
    if (!second || !second[1]) return "none on this system";
    struct rlimit lock;
    const int allowed = !getrlimit(RLIMIT_MEMLOCK, &lock) && (lock.rlim_cur == RLIM_INFINITY || !geteuid());
    if (allowed && !mlockall(MCL_CURRENT | MCL_FUTURE | 4 /* MCL_ONFAULT */)) return "off (pages are locked as they come)";
    return "possible: peak VmSwap is reported";
}

void limits_set(int64_t budget_bytes) {
    struct rlimit limit;
    if (!budget_bytes) return;
    swap_stands = without_swap();
#ifdef __SANITIZE_ADDRESS__ /* it keeps terabytes of shadow memory, and ends a program that is refused some */
    return;
#endif
    if (limits_reason() || getrlimit(RLIMIT_DATA, &limit)) return;
    if (limit.rlim_cur == RLIM_INFINITY || (int64_t)limit.rlim_cur > budget_bytes) limit.rlim_cur = (rlim_t)budget_bytes;
    limited = !setrlimit(RLIMIT_DATA, &limit);
}

int64_t limits_peak(void) {
    const int64_t swapped = counted("VmSwap:");
    if (swapped > most_swapped) most_swapped = swapped;
    return limits_reason() ? -1 : counted("VmHWM:");
}

int64_t limits_swap(void) { return limits_peak() < 0 ? -1 : most_swapped; }

int limits_passed(int64_t budget_bytes) { return budget_bytes && limits_peak() > budget_bytes; }

const char *limits_kind(void) { return limited ? "RLIMIT_DATA" : "none"; }

const char *limits_guarantee(int64_t budget_bytes) {
    if (!budget_bytes) return "none: no budget was given";
    return limited ? "RLIMIT_DATA: all memory is asked for before the first step, and a request past the budget ends the "
                     "run cleanly; the resident peak is checked after every step"
                   : "only the planned arena was checked";
}

static void bytes_or_null(FILE *out, const char *name, int64_t nbytes) {
    if (nbytes < 0) fprintf(out, "\"%s\": null, ", name);
    else fprintf(out, "\"%s\": %lld, ", name, (long long)nbytes);
}

void limits_json(FILE *out, int64_t budget_bytes) {
    const int64_t peak = limits_peak();
    const char *reason = limits_reason();
    bytes_or_null(out, "budget_bytes", budget_bytes ? budget_bytes : -1);
    bytes_or_null(out, "measured_peak_bytes", peak);
    fputs("\"measured_reason\": ", out);
    if (reason) json_text(out, reason);
    else fputs("null", out);
    fputs(", \"baseline_bytes\": null, ", out);
    bytes_or_null(out, "swap_peak_bytes", limits_swap());
    const int known = budget_bytes && peak >= 0;
    fprintf(out, "\"within_budget\": %s, ", !known ? "null" : peak <= budget_bytes && !most_swapped ? "true" : "false");
    fprintf(out, "\"limits\": [%s], \"guarantee\": ", limited ? "\"RLIMIT_DATA\"" : "");
    json_text(out, limits_guarantee(budget_bytes));
    fputs(", \"swap\": ", out);
    json_text(out, swap_stands);
}
