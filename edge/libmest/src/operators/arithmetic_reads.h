/* Which operands the gradients of arithmetic read: for those who run it and those who check it. */
#ifndef MEST_ARITHMETIC_READS_H
#define MEST_ARITHMETIC_READS_H

#include "../program.h"

/* Whether the gradient of `side` reads the operand on the left or right. */
static int gradient_reads(const MestArithmetic *r, int side, int operand) {
    if (r->kind == MEST_KIND_MUL) return operand != side;
    if (r->kind == MEST_KIND_PRELU) return operand == MEST_LEFT || side == MEST_LEFT;
    return r->kind == MEST_KIND_DIV && (operand == MEST_RIGHT || side == MEST_RIGHT);
}

#endif
