/* Orders by random numbers: edge/chance.py, bit for bit. */
#ifndef MEST_PERMUTATION_H
#define MEST_PERMUTATION_H

#include "../chance.h"

/* `order` becomes the numbers 0 to count - 1 in the order that a key gives. */
void mest_chance_permutation(int32_t *order, int64_t count, uint64_t key);

#endif
