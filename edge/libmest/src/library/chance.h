/* Random numbers as pure functions of a seed and a position: edge/chance.py, bit for bit. */
#ifndef MEST_CHANCE_H
#define MEST_CHANCE_H

#include <stdint.h>

/* A number that depends on every bit of all `count` numbers. */
uint64_t mest_chance_mix(const uint64_t *numbers, int count);
/* `order` becomes the numbers 0 to count - 1 in the order that a key gives. */
void mest_chance_permutation(int32_t *order, int64_t count, uint64_t key);

#endif
