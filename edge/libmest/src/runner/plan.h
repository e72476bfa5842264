/* A compiled plan: its file, of which as much is read as a command needs, and nothing is held twice. */
#ifndef MEST_PLAN_H
#define MEST_PLAN_H

#include <stdio.h>

#include "plan_file.h"

typedef struct {
    const char *path;
    int fd;
    MestPlan head;
} Plan;

/* Ends the process where the file is not to be had, was altered, or has a number out of its range in its head. */
Plan plan_open(const char *path);
/* Numbers of a sample. */
int64_t plan_input(const Plan *plan);
/* Bytes of the file, which lie within it. */
void plan_read(const Plan *plan, int64_t at, int64_t nbytes, void *into);
/* The same, written as they are. */
void plan_print(const Plan *plan, int64_t at, int64_t nbytes, FILE *out);
/* The row of the program for pieces of `samples`; 0 where there is none. */
int plan_program(const Plan *plan, int trains, int64_t samples, MestPlanProgram *row);
/* Looks at every number of a program that has its places of memory; ends the process where one is wrong. */
void plan_check(const Plan *plan, const MestProgram *program, const MestPlanProgram *row);
/* Ends the process where one of the deviations, which follow `mean`, is none, or there is not a name for each class. */
void plan_check_inputs(const Plan *plan, const float *mean, const char *names);
/* The end of the process for a file that is not what was written. */
_Noreturn void plan_damaged(const Plan *plan, const char *what);

#endif
