/* What each instruction set offers the engine. */
#ifndef MEST_ISA_H
#define MEST_ISA_H

#include "mest.h"
#include "threads.h"

typedef struct {
    const char *name;
    int lanes;
    void (*run_step)(const MestProgram *, MestCall *, MestThreads *, long first_cache, int thread, int micro_batch, int index);
} MestIsa;

#endif
