#include "chance.h"

/* No two keys are alike, so no sort of them needs to be stable. */
static void sift(int32_t *heap, int64_t root, int64_t count, uint64_t key) {
    const int32_t moved = heap[root];
    const uint64_t weight = chance_key(key, moved);
    for (int64_t child; (child = 2 * root + 1) < count; root = child) {
        uint64_t heavier = chance_key(key, heap[child]);
        if (child + 1 < count && chance_key(key, heap[child + 1]) > heavier) heavier = chance_key(key, heap[++child]);
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
