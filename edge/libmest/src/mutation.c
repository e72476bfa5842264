/* Prune and grow in the compressed form, in place and without memory of its own: MEST, section 3.2.
 *
 * A unit is a weight (csr), a block, a 3x3 kernel (pattern) or an input channel. All units of the dense weight are
 * numbered in row-major order, and a list of them ascends. edge/weight/mutation.py does the same with numpy, to the same
 * bits: tests hold the two together. Built without contraction, so that every operation rounds as numpy's do. */
#include <math.h>
#include <string.h>

#include "chance.h"
#include "weight.h"

/* ---- Which stay ---- */

/* Scores are never negative, so that their bits ascend as they do. */
static uint32_t bits_of(float number) {
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

static uint32_t nth_largest(const uint32_t *scores, int64_t count, int64_t nth) {
    uint32_t found = 0, known = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        int64_t bins[256] = {0};
        for (int64_t i = 0; i < count; i++)
            if ((scores[i] & known) == found) bins[scores[i] >> shift & 255]++;
        uint32_t bin = 255;
        while (bins[bin] < nth) nth -= bins[bin--];
        found |= bin << shift;
        known |= 255u << shift;
    }
    return found;
}

/* Marks the `wanted` highest, ties by lower place; all if there are fewer. */
static void mark_best(const uint32_t *scores, int64_t count, int64_t wanted, uint8_t *stays) {
    if (wanted <= 0 || wanted >= count) {
        memset(stays, wanted > 0, (size_t)count);
        return;
    }
    const uint32_t last = nth_largest(scores, count, wanted);
    int64_t equal = wanted;
    for (int64_t i = 0; i < count; i++) equal -= scores[i] > last;
    for (int64_t i = 0; i < count; i++) stays[i] = scores[i] > last || (scores[i] == last && equal-- > 0);
}

/* Importance of each unit in use: |w| + lambda |gradient|, and of several weights the sum of its squares in their order.
 * 0 where one is not finite. */
static int score(const MestWeight *w, const Grid *g, float gradient_weight, uint32_t *scores) {
    const int single = g->outer * g->inner == 1, by_gradient = gradient_weight != 0 && w->gradient;
    for (int64_t unit = 0; unit < g->units; unit++) {
        float sum = 0;
        for (int64_t o = 0; o < g->outer; o++)
            for (int64_t i = 0; i < g->inner; i++) {
                const int64_t at = (o * g->units + unit) * g->inner + i;
                float one = fabsf(w->values[at]);
                if (by_gradient) one += fabsf(w->gradient[at]) * gradient_weight;
                if (!isfinite(one)) return 0;
                sum += single ? one : one * one;
            }
        scores[unit] = bits_of(sum);
    }
    return 1;
}

/* ---- Which come ---- */

static uint64_t mixed(uint64_t key, uint64_t number) {
    const uint64_t numbers[] = {key, number};
    return chance_mix(numbers, 2);
}

static void sift(int32_t *heap, int64_t root, int64_t count) {
    const int32_t moved = heap[root];
    for (int64_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && heap[child + 1] > heap[child]) child++;
        if (heap[child] <= moved) break;
        heap[root] = heap[child];
    }
    heap[root] = moved;
}

static void sort(int32_t *numbers, int64_t count) {
    for (int64_t i = count / 2; i-- > 0;) sift(numbers, i, count);
    for (int64_t last = count - 1; last > 0; last--) {
        const int32_t largest = numbers[0];
        numbers[0] = numbers[last];
        numbers[last] = largest;
        sift(numbers, 0, last);
    }
}

static uint64_t nth_smallest_key(uint64_t key, int64_t count, int64_t nth) {
    uint64_t found = 0, known = 0;
    for (int shift = 56; shift >= 0; shift -= 8) {
        int64_t bins[256] = {0};
        for (int64_t i = 0; i < count; i++) {
            const uint64_t one = chance_key(key, i);
            if ((one & known) == found) bins[one >> shift & 255]++;
        }
        uint64_t bin = 0;
        while (bins[bin] < nth) nth -= bins[bin++];
        found |= bin << shift;
        known |= (uint64_t)255 << shift;
    }
    return found;
}

/* Different numbers below `population`, ascending. */
static void draw_distinct(int32_t *drawn, int64_t count, int64_t population, uint64_t key) {
    if (2 * count > population) {
        const uint64_t own = chance_mix(&key, 1), last = nth_smallest_key(own, population, count);
        for (int64_t i = 0; i < population; i++)
            if (chance_key(own, i) <= last) *drawn++ = (int32_t)i;
        return;
    }
    int64_t found = 0;
    for (uint64_t attempt = 0; found < count; attempt++) { /* as if drawn one by one, each repetition discarded */
        const uint64_t own = mixed(key, attempt);
        for (int64_t i = found; i < count; i++) drawn[i] = (int32_t)(chance_key(own, i - found) % (uint64_t)population);
        sort(drawn, count);
        found = 1;
        for (int64_t i = 1; i < count; i++)
            if (drawn[i] != drawn[found - 1]) drawn[found++] = drawn[i];
    }
}

/* Random units, ascending, of `columns` from `first` on that are none of the `count` present ones; of those that do not
 * stay only where nothing else is left. */
static void draw_absent(const int32_t *present, const uint8_t *stays, int64_t count, int64_t first, int64_t columns, int64_t growing,
                        uint64_t key, int32_t *grown) {
    const int64_t fresh = growing < columns - count ? growing : columns - count;
    draw_distinct(grown, fresh, columns - count, mixed(key, 1));
    for (int64_t i = 0, before = 0; i < fresh; i++) {
        while (before < count && present[before] - first - before <= grown[i]) before++;
        grown[i] += (int32_t)(first + before);
    }
    if (fresh == growing) return;
    int64_t removed = 0, next = fresh;
    for (int64_t i = 0; i < count; i++) removed += !stays[i];
    draw_distinct(grown + fresh, growing - fresh, removed, mixed(key, 2));
    removed = 0;
    for (int64_t i = 0; i < count && next < growing; i++)
        if (!stays[i] && grown[next] == removed++) grown[next++] = present[i];
    sort(grown, growing);
}

/* ---- Row by row, for kernels with patterns: as even over the rows as what is there allows ---- */

typedef struct {
    int64_t count;
    int32_t *have, *want, *open, *picked; /* a number for each row */
} Rows;

static int64_t kept_at(int64_t level, int64_t have, int64_t columns) {
    (void)columns;
    return level < have ? level : have;
}

static int64_t grown_at(int64_t level, int64_t have, int64_t columns) {
    const int64_t most = level > have ? level : have;
    return most < columns ? most : columns;
}

/* The highest level at which all rows together still have no more than `total`. */
static int64_t level_of(const Rows *r, int64_t columns, int64_t total, int64_t (*at)(int64_t, int64_t, int64_t)) {
    int64_t low = 0, high = 0;
    for (int64_t row = 0; row < r->count; row++) {
        const int64_t most = at(columns, r->have[row], columns);
        if (most > high) high = most;
    }
    while (low < high) {
        const int64_t middle = (low + high + 1) / 2;
        int64_t sum = 0;
        for (int64_t row = 0; row < r->count; row++) sum += at(middle, r->have[row], columns);
        if (sum <= total) low = middle;
        else high = middle - 1;
    }
    return low;
}

static void mark_best_by_row(const MestWeight *w, const Grid *g, const uint32_t *scores, int64_t wanted, Rows *r, uint8_t *stays) {
    uint32_t *following = (uint32_t *)r->want; /* the score that a row keeps next, and one; 0 where it has no more */
    uint8_t *more = (uint8_t *)r->open;
    for (int64_t row = 0; row < g->rows; row++) r->have[row] = (int32_t)((w->starts[row + 1] - w->starts[row]) / g->per_unit);
    const int64_t level = level_of(r, g->columns, wanted, kept_at);
    int64_t left = wanted;
    for (int64_t row = 0; row < g->rows; row++) {
        const uint32_t *own = scores + w->starts[row] / g->per_unit;
        following[row] = r->have[row] > level ? nth_largest(own, r->have[row], level + 1) + 1 : 0;
        left -= kept_at(level, r->have[row], g->columns);
    }
    mark_best(following, g->rows, left, more);
    for (int64_t row = 0; row < g->rows; row++) {
        const int64_t begin = w->starts[row] / g->per_unit, have = r->have[row];
        mark_best(scores + begin, have, kept_at(level, have, g->columns) + (more[row] && have > level), stays + begin);
    }
}

static void draw_by_row(const MestWeight *w, const Grid *g, const int32_t *units, const uint8_t *stays, int64_t growing, uint64_t key,
                        Rows *r, int32_t *grown) {
    int64_t total = growing, opened = 0;
    for (int64_t row = 0; row < g->rows; row++) {
        r->have[row] = 0;
        for (int64_t i = w->starts[row] / g->per_unit; i < w->starts[row + 1] / g->per_unit; i++) r->have[row] += stays[i];
        total += r->have[row];
    }
    const int64_t level = level_of(r, g->columns, total, grown_at);
    for (int64_t row = 0; row < g->rows; row++) {
        r->want[row] = (int32_t)grown_at(level, r->have[row], g->columns);
        total -= r->want[row];
        if (r->have[row] <= level && r->want[row] < g->columns) r->open[opened++] = (int32_t)row;
    }
    draw_distinct(r->picked, total, opened, mixed(key, 4));
    for (int64_t i = 0; i < total; i++) r->want[r->open[r->picked[i]]]++;
    for (int64_t row = 0; row < g->rows; row++) {
        const int64_t begin = w->starts[row] / g->per_unit, end = w->starts[row + 1] / g->per_unit;
        const int64_t wanted = r->want[row] - r->have[row];
        const uint64_t numbers[] = {key, 5, (uint64_t)row};
        if (!wanted) continue;
        draw_absent(units + begin, stays + begin, end - begin, row * g->columns, g->columns, wanted, chance_mix(numbers, 3), grown);
        grown += wanted;
    }
}

/* ---- What moves ---- */

typedef struct {
    const uint8_t *stays;             /* of each unit before */
    const int32_t *survivors, *grown; /* numbers of units, ascending */
    int64_t before, stayed, came;
} Move;

static int64_t number_at(const Move *m, int64_t *s, int64_t *g, int *came) {
    *came = *g < m->came && (*s == m->stayed || m->grown[*g] < m->survivors[*s]);
    return *came ? m->grown[(*g)++] : m->survivors[(*s)++];
}

/* Brings an array [outer][unit] into the new order: survivors close up to the front, then open up from the back where
 * others, which are zero, come between. */
static void rearrange(void *array, int64_t outer, int64_t bytes, const Move *m) {
    char *a = array;
    int64_t from = 0, to = outer * (m->stayed + m->came);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < m->before; i++)
            if (m->stays[i]) memmove(a + from++ * bytes, a + (o * m->before + i) * bytes, (size_t)bytes);
    const int64_t used = to > outer * m->before ? to : outer * m->before;
    memset(a + to * bytes, 0, (size_t)((used - to) * bytes));
    for (int64_t o = 0; o < outer; o++)
        for (int64_t s = m->stayed, g = m->came; s + g;) {
            to--;
            if (g && (!s || m->grown[g - 1] > m->survivors[s - 1])) {
                memset(a + to * bytes, 0, (size_t)bytes);
                g--;
            } else {
                memmove(a + to * bytes, a + --from * bytes, (size_t)bytes);
                s--;
            }
        }
}

static void write_lists(const MestWeight *w, const Grid *grid, const Move *m, uint64_t key) {
    void *list = w->form == MEST_FORM_PATTERN ? w->kernels : w->form == MEST_FORM_CHANNEL ? (void *)w->channels : w->columns;
    const int bytes = w->form == MEST_FORM_CHANNEL ? 4 : w->index_bytes;
    int64_t next_row = 0;
    const int64_t units = m->stayed + m->came;
    if (w->patterns) rearrange(w->patterns, 1, 1, m);
    for (int64_t i = 0, s = 0, g = 0; i < units; i++) {
        int came;
        const int64_t number = number_at(m, &s, &g, &came), row = number / grid->columns;
        while (w->starts && next_row <= row) w->starts[next_row++] = (uint32_t)(i * grid->per_unit);
        set_index(list, bytes, i, number % grid->columns);
        if (w->patterns && came) w->patterns[i] = (uint8_t)(chance_key(key, g - 1) % MEST_PATTERNS);
    }
    while (w->starts && next_row <= grid->rows) w->starts[next_row++] = (uint32_t)(units * grid->per_unit);
    for (int64_t i = units; i < m->before; i++) set_index(list, bytes, i, 0);
}

/* ---- All of it ---- */

/* Numbers of the units in use. */
static void number_units(const MestWeight *w, const Grid *g, int32_t *units) {
    const void *list = w->form == MEST_FORM_PATTERN ? w->kernels : w->columns;
    for (int64_t i = 0; w->form == MEST_FORM_CHANNEL && i < g->units; i++) units[i] = w->channels[i];
    for (int64_t row = 0; w->form != MEST_FORM_CHANNEL && row < g->rows; row++)
        for (int64_t i = w->starts[row] / g->per_unit; i < w->starts[row + 1] / g->per_unit; i++)
            units[i] = (int32_t)(row * g->columns + index_at(list, w->index_bytes, i));
}

int mest_mutate(MestWeight *w, MestMutation *how) {
    if (!mest_weight_good(w)) return MEST_MUTATION_DAMAGED;
    const Grid g = mest_weight_grid(w);
    const int64_t room = w->capacity / (g.outer * g.inner), by_row = w->form == MEST_FORM_PATTERN ? g.rows : 0;
    if (how->left < 0 || how->left > how->grown || how->grown > room) return MEST_MUTATION_NO_ROOM;
    if (!how->scratch || how->scratch_bytes < MEST_MUTATION_UNIT_BYTES * room + MEST_MUTATION_ROW_BYTES * by_row)
        return MEST_MUTATION_NO_ROOM;
    int32_t *units = how->scratch, *grown = units + room; /* first the scores, which are of no use once it is drawn */
    int32_t *of_rows = grown + room;
    Rows r = {by_row, of_rows, of_rows + by_row, of_rows + 2 * by_row, of_rows + 3 * by_row};
    uint8_t *stays = (uint8_t *)(of_rows + 4 * by_row);
    uint32_t *scores = (uint32_t *)grown;
    if (!score(w, &g, how->gradient_weight, scores)) return MEST_MUTATION_NOT_FINITE;
    number_units(w, &g, units);
    const uint64_t seed = (uint64_t)how->seed, key = chance_mix(&seed, 1);
    if (by_row) mark_best_by_row(w, &g, scores, how->left < g.units ? how->left : g.units, &r, stays);
    else mark_best(scores, g.units, how->left, stays);
    Move m = {stays, units, grown, g.units, 0, 0};
    for (int64_t i = 0; i < g.units; i++) m.stayed += stays[i];
    m.came = how->grown > m.stayed ? how->grown - m.stayed : 0;
    if (by_row) draw_by_row(w, &g, units, stays, m.came, key, &r, grown);
    else draw_absent(units, stays, g.units, 0, g.rows * g.columns, m.came, key, grown);
    for (int64_t i = 0, kept = 0; i < g.units; i++)
        if (stays[i]) units[kept++] = units[i];
    float *const arrays[] = {w->values, w->first, w->second};
    for (int i = 0; i < 3; i++)
        if (arrays[i]) rearrange(arrays[i], g.outer, g.inner * (int64_t)sizeof(float), &m);
    if (w->gradient) memset(w->gradient, 0, (size_t)w->capacity * sizeof(float)); /* it belonged to the weights before */
    write_lists(w, &g, &m, mixed(key, 3));
    w->count = (m.stayed + m.came) * g.outer * g.inner;
    mest_weight_follow(w, g.rows, m.stayed + m.came);
    how->removed = (m.before - m.stayed) * g.outer * g.inner;
    how->added = m.came * g.outer * g.inner;
    return MEST_MUTATION_DONE;
}
