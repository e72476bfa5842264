/* A last look at a program before it runs: sizes and indices that could lead outside its tensors. */
#ifndef MEST_CHECK_H
#define MEST_CHECK_H

#include "mest.h"

/* 0, or the number of the first wrong step plus one. */
int mest_first_wrong_step(const MestProgram *program, int threads);

#endif
