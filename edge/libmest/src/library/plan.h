/* A compiled plan, of which as much is read as is needed, and nothing is held twice. */
#ifndef MEST_PLAN_H
#define MEST_PLAN_H

#include "plan_file.h"
#include "source.h"

typedef struct {
    Source source;
    Fault *fault;
    MestPlan head;
} Plan;

/* All of these give 0, or the code of a fault. */

/* Reads the head of `plan->source`; a fault where it was altered, or has a number out of its range. */
int mest_plan_open(Plan *plan);
/* Bytes of the plan, which lie within it. */
int mest_plan_read(const Plan *plan, int64_t at, int64_t nbytes, void *into);
/* The row of the program for pieces of `samples`; none was found where its `samples` is 0. */
int mest_plan_program(const Plan *plan, int trains, int64_t samples, MestPlanProgram *row);
/* The most bytes that the tables of a program take which trains on less than `samples`. */
int mest_plan_largest_part(const Plan *plan, int64_t samples, int64_t *nbytes);
/* Looks at every number of a program that has its places of memory. */
int mest_plan_check(const Plan *plan, const MestProgram *program, const MestPlanProgram *row);
/* A fault where one of the deviations, which follow `mean`, is none, or there is not a name for each class. */
int mest_plan_check_inputs(const Plan *plan, const float *mean, const char *names);
/* Whether the epochs of schedule step rise. */
int mest_plan_check_milestones(const Plan *plan, const int64_t *milestones);
int mest_plan_damaged(const Plan *plan, const char *what);
/* Numbers of a sample. */
int64_t mest_plan_input(const Plan *plan);

#endif
