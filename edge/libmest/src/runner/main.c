/* mest-run: trains, evaluates and predicts from a compiled plan, without Python. */
#define _POSIX_C_SOURCE 200809L
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "say.h"

static const struct {
    const char *name, *does;
    int (*run)(int, char **);
} commands[] = {
    {"train", "train on a data file, and keep the run in a state", command_train},
    {"eval", "accuracy on a data file", command_eval},
    {"predict", "classes and scores for the samples of a data file, or for pictures", command_predict},
    {"collect", "add samples to a data file: pictures, or raw from standard input", command_collect},
    {"info", "what a compiled plan is", command_info},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static volatile sig_atomic_t received, polled;

int stop_asked(void) {
    polled = 1;
    return received != 0;
}

int stop_code(void) { return SIGNALLED + received; }

/* The first signal is for whoever asks at the end of a step; where nobody asks, and the second time, it ends at once. */
static void on_signal(int number) {
    static const char said[] = "mest-run: stopping after this step; once more to stop at once\n";
    if (received || !polled) _exit(SIGNALLED + number);
    received = number;
    if (write(2, said, sizeof said - 1) < 0) return;
}

static int help(FILE *out) {
    fputs("usage: mest-run COMMAND FILE.mest [PICTURE...] [--data FILE] [--state FILE] [OPTIONS] [--json]\n\n", out);
    for (int i = 0; i < COMMANDS; i++) fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].does);
    fputs("\ntrain: --resume, --epochs N, --lr RATE, --seed N, --save-every STEPS, --record FILE, --quiet; predict: --top N;\ncollect: --label N, --test, --numbers KIND\n", out);
    return out == stdout ? DONE : BAD_INPUT;
}

int main(int count, char **words) {
    const struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (count < 2) return help(stderr);
    if (!strcmp(words[1], "--help")) return help(stdout);
    for (int i = 0; i < COMMANDS; i++)
        if (!strcmp(words[1], commands[i].name)) {
            say_as(words[1]);
            const int code = commands[i].run(count - 2, words + 2);
            return fflush(stdout) && code == DONE ? BAD_INPUT : code;
        }
    die(BAD_INPUT, "%s: no such command; allowed are train, eval, predict, collect and info", words[1]);
}
