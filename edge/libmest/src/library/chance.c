#include "chance.h"

static const uint64_t STEP = 0x9E3779B97F4A7C15u;

static uint64_t finished(uint64_t state) {
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9u;
    state = (state ^ state >> 27) * 0x94D049BB133111EBu;
    return state ^ state >> 31;
}

uint64_t mest_chance_mix(const uint64_t *numbers, int count) {
    uint64_t state = 0;
    for (int i = 0; i < count; i++) state = finished(state + STEP + numbers[i]);
    return state;
}

/* SplitMix64 is one to one: no two of these are alike, and no sort of them needs to be stable. */
static uint64_t key_of(uint64_t key, int32_t place) { return finished(((uint64_t)place + 1) * STEP + key); }

static void sift(int32_t *heap, int64_t root, int64_t count, uint64_t key) {
    const int32_t moved = heap[root];
    const uint64_t weight = key_of(key, moved);
    for (int64_t child; (child = 2 * root + 1) < count; root = child) {
        uint64_t heavier = key_of(key, heap[child]);
        if (child + 1 < count && key_of(key, heap[child + 1]) > heavier) heavier = key_of(key, heap[++child]);
        if (heavier <= weight) break;
        heap[root] = heap[child];
    }
    heap[root] = moved;
}

void mest_chance_permutation(int32_t *order, int64_t count, uint64_t key) {
    for (int64_t i = 0; i < count; i++) order[i] = (int32_t)i;
    for (int64_t i = count / 2; i-- > 0;) sift(order, i, count, key);
    for (int64_t last = count - 1; last > 0; last--) {
        const int32_t largest = order[0];
        order[0] = order[last];
        order[last] = largest;
        sift(order, 0, last, key);
    }
}
