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

/* Bytes of each part of a weight, in the order of its fields; 0 where its sizes are none. */
MEST_API int mest_weight_bytes(const MestWeight *weight, int64_t bytes[MEST_WEIGHT_PARTS]);
/* Whether its sizes are possible, its lists lie apart, and those that say which weights exist ascend within their range. */
MEST_API int mest_weight_good(const MestWeight *weight);
/* Writes the lists that follow from those; one of MEST_MUTATION_. */
MEST_API int mest_derive(const MestWeight *weight);
/* Prunes and grows in place, the same for the same seed; one of MEST_MUTATION_, and nothing is changed unless it is done.
 * Survivors keep values and state bit for bit, what came and what is free is zero, and so is the gradient. Programs that
 * name the weight hold its old counts until their caller writes the new ones. */
MEST_API int mest_mutate(MestWeight *weight, MestMutation *mutation);

#endif
