/* The commands of mest-run: each takes what follows its name and gives the exit code. */
#ifndef MEST_COMMANDS_H
#define MEST_COMMANDS_H

int command_info(int count, char **words);
int command_train(int count, char **words);
int command_eval(int count, char **words);
int command_predict(int count, char **words);
int command_collect(int count, char **words);

/* 1 once SIGINT or SIGTERM has come; from the first question on, such a signal ends nothing at once. */
int stop_asked(void);
/* The exit code of a process that ended on that signal. */
int stop_code(void);

#endif
