/* Random numbers as pure functions of a seed and a position: edge/chance.py, bit for bit. */
#ifndef MEST_CHANCE_H
#define MEST_CHANCE_H

#include <stdint.h>

#define MEST_CHANCE_STEP 0x9E3779B97F4A7C15u

static inline uint64_t chance_finished(uint64_t state) {
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9u;
    state = (state ^ state >> 27) * 0x94D049BB133111EBu;
    return state ^ state >> 31;
}

/* A number that depends on every bit of all `count` numbers. */
static inline uint64_t chance_mix(const uint64_t *numbers, int count) {
    uint64_t state = 0;
    for (int i = 0; i < count; i++) state = chance_finished(state + MEST_CHANCE_STEP + numbers[i]);
    return state;
}

/* The number at a place, from 0 on, of those that a key gives. No two of the same key are alike. */
static inline uint64_t chance_key(uint64_t key, int64_t place) {
    return chance_finished(((uint64_t)place + 1) * MEST_CHANCE_STEP + key);
}

#endif
