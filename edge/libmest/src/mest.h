/* The native engine's interface. What it shares with Python stands in program.h. Plain C, no Python inside.
 *
 * A stored tensor is float32 in the layout [group][channel][row][column][sample]: the micro-batch is cut into `groups`
 * groups of `samples` samples. All pointers lie in one arena or in arrays that outlive the program.
 */
#ifndef MEST_H
#define MEST_H

#include "program.h"

#define MEST_API __attribute__((visibility("default")))

typedef struct MestThreads MestThreads;

/* MEST_DIGEST of the declarations that the library was built from: a caller with others must not use it. */
MEST_API const char *mest_digest(void);
/* Writes the names of the instruction sets this machine can run, best first, separated by spaces. */
MEST_API int mest_instruction_sets(char *names, int bytes);
/* NULL where the instruction set is not usable here ("" is the best one), or where threads cannot be started, with errno
 * saying why. Every thread but the caller gets a stack of `stack_bytes`, resident from the start. */
MEST_API void *mest_open(int threads, int64_t stack_bytes, const char *instruction_set);
MEST_API void mest_close(void *engine);
MEST_API const char *mest_isa_name(void *engine);
/* 0, or the number of the first step whose sizes or indices are wrong, plus one. */
MEST_API int mest_check(const MestProgram *program, int threads);
MEST_API int mest_run(void *engine, const MestProgram *program, MestCall *call);

#endif
