/* The lists of a weight: looked at before they are believed, and those that follow from them written. A unit is a weight
 * (csr), a block, a 3x3 kernel (pattern) or an input channel. */
#include "weight.h"

#include <string.h>

static const uint8_t pattern_cells[MEST_PATTERNS][MEST_PATTERN_CELLS] = {
    {4, 5, 7, 8}, {3, 4, 6, 7}, {1, 2, 4, 5}, {0, 1, 3, 4}, {5, 6, 7, 8}, {3, 4, 5, 7}, {1, 4, 5, 7}, {1, 3, 4, 7},
}; /* edge/weight/formats/pattern.py */

Grid mest_weight_grid(const MestWeight *w) {
    const int64_t channels = w->in_channels / w->groups;
    Grid g = {w->rows, channels * taps_of(w), 0, 1, 1, 1};
    if (w->form == MEST_FORM_BLOCK) {
        g.rows /= w->block_height;
        g.inner = w->block_height;
    } else if (w->form == MEST_FORM_PATTERN) {
        g.columns = channels;
        g.inner = g.per_unit = MEST_PATTERN_CELLS;
    } else if (w->form == MEST_FORM_CHANNEL) {
        g.rows = 1;
        g.columns = channels;
        g.outer = w->rows;
        g.inner = taps_of(w);
    }
    g.units = w->count / (g.outer * g.inner);
    return g;
}

/* ---- What is believed of a weight ---- */

static int sizes_good(const MestWeight *w) {
    const int32_t sizes[] = {w->rows,     w->in_channels, w->groups,     w->kernel_h,   w->kernel_w,
                             w->stride_h, w->stride_w,    w->dilation_h, w->dilation_w, w->block_height};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i] < 1 || sizes[i] >= 1 << 24) return 0;
    if (w->form < 0 || w->form >= MEST_FORMS || (w->index_bytes != 2 && w->index_bytes != 4)) return 0;
    if (w->rows % w->groups || w->in_channels % w->groups) return 0;
    const int64_t channels = w->in_channels / w->groups, group_rows = w->rows / w->groups;
    if (taps_of(w) > 1 << 20 || (w->form == MEST_FORM_PATTERN && (w->kernel_h != 3 || w->kernel_w != 3))) return 0;
    if ((int64_t)w->rows * channels > INT32_MAX / taps_of(w)) return 0;
    if (w->block_height > 1 && (w->form != MEST_FORM_BLOCK || group_rows % w->block_height)) return 0;
    if ((int64_t)w->stride_h * w->stride_w > INT32_MAX / w->in_channels) return 0;
    const int64_t largest = channels > group_rows ? channels : group_rows;
    if (w->index_bytes == 2 && largest * taps_of(w) > 1 << 16) return 0;
    const Grid g = mest_weight_grid(w);
    return w->capacity >= 0 && w->capacity <= (int64_t)w->rows * channels * taps_of(w) && w->count >= 0 &&
           w->count <= w->capacity && w->count % (g.outer * g.inner) == 0;
}

static void bytes_of(const MestWeight *w, int64_t bytes[MEST_WEIGHT_PARTS]) {
    const Grid g = mest_weight_grid(w);
    const int listed = w->form != MEST_FORM_CHANNEL, transposed = w->t_starts != NULL;
    const int64_t units = w->capacity / (g.outer * g.inner), entries = units * g.per_unit;
    for (int i = 0; i < 4; i++) bytes[i] = 4 * w->capacity;
    bytes[4] = listed ? 4 * (g.rows + 1) : 0;
    bytes[5] = listed ? w->index_bytes * entries : 0;
    bytes[6] = transposed ? 4 * ((int64_t)w->stride_h * w->stride_w * w->in_channels + 1) : 0;
    bytes[7] = transposed ? w->index_bytes * entries : 0;
    bytes[8] = transposed ? 4 * entries : 0;
    bytes[9] = w->form == MEST_FORM_PATTERN ? w->index_bytes * units : 0;
    bytes[10] = w->form == MEST_FORM_PATTERN ? units : 0;
    bytes[11] = listed ? 0 : 4 * units;
}

static void parts_of(const MestWeight *w, const void *parts[MEST_WEIGHT_PARTS]) {
    const void *found[] = {w->values,  w->gradient,  w->first,    w->second,  w->starts,   w->columns,
                           w->t_starts, w->t_columns, w->t_places, w->kernels, w->patterns, w->channels};
    memcpy(parts, found, sizeof found);
}

int mest_weight_bytes(const MestWeight *w, int64_t bytes[MEST_WEIGHT_PARTS]) {
    if (!sizes_good(w)) return 0;
    bytes_of(w, bytes);
    return 1;
}

/* Every list is there, and none lies over another. */
static int lists_apart(const MestWeight *w) {
    const void *parts[MEST_WEIGHT_PARTS];
    int64_t bytes[MEST_WEIGHT_PARTS];
    parts_of(w, parts);
    bytes_of(w, bytes);
    if (!parts[0]) return 0;
    for (int i = MEST_WEIGHT_ARRAYS; i < MEST_WEIGHT_PARTS; i++) {
        const uintptr_t at = (uintptr_t)parts[i];
        if (bytes[i] && !at) return 0;
        for (int k = MEST_WEIGHT_ARRAYS; k < i; k++) {
            const uintptr_t other = (uintptr_t)parts[k];
            if (bytes[i] && bytes[k] && at < other + (uint64_t)bytes[k] && other < at + (uint64_t)bytes[i]) return 0;
        }
    }
    return 1;
}

static int rows_good(const MestWeight *w, const Grid *g, int ascending) {
    const void *list = w->form == MEST_FORM_PATTERN ? w->kernels : w->columns;
    if (w->starts[0] != 0 || w->starts[g->rows] != (uint64_t)(g->units * g->per_unit)) return 0;
    for (int64_t row = 0; row < g->rows; row++) {
        const int64_t begin = w->starts[row], end = w->starts[row + 1];
        if (begin > end || end > g->units * g->per_unit || end % g->per_unit) return 0;
        for (int64_t i = begin / g->per_unit; i < end / g->per_unit; i++) {
            const int64_t number = index_at(list, w->index_bytes, i);
            const int follows = ascending && i > begin / g->per_unit;
            if (number >= g->columns || (follows && number <= index_at(list, w->index_bytes, i - 1))) return 0;
        }
    }
    for (int64_t i = 0; w->form == MEST_FORM_PATTERN && i < g->units; i++)
        if (w->patterns[i] >= MEST_PATTERNS) return 0;
    return 1;
}

static int channels_good(const MestWeight *w, const Grid *g) {
    for (int64_t i = 0; i < g->units; i++)
        if (w->channels[i] < 0 || w->channels[i] >= g->columns || (i && w->channels[i] <= w->channels[i - 1])) return 0;
    return 1;
}

/* What derived lists follow from need not ascend; what is to be mutated must. */
static int lists_good(const MestWeight *w, int ascending) {
    if (!sizes_good(w) || !lists_apart(w)) return 0;
    const Grid g = mest_weight_grid(w);
    return w->form == MEST_FORM_CHANNEL ? channels_good(w, &g) : rows_good(w, &g, ascending);
}

int mest_weight_good(const MestWeight *w) { return lists_good(w, 1); }

/* ---- What follows from them ---- */

/* The list by stride parity and input channel that an entry belongs to. */
static int64_t list_of(const MestWeight *w, int64_t unit_row, int64_t column) {
    const int64_t tap = column % taps_of(w), group = unit_row / (w->rows / w->groups / w->block_height);
    const int64_t channel = column / taps_of(w) + group * (w->in_channels / w->groups);
    const int64_t down = tap / w->kernel_w * w->dilation_h % w->stride_h, right = tap % w->kernel_w * w->dilation_w % w->stride_w;
    return (down * w->stride_w + right) * w->in_channels + channel;
}

static void transpose(const MestWeight *w, int64_t rows) {
    const int64_t lists = (int64_t)w->stride_h * w->stride_w * w->in_channels, group_units = w->rows / w->groups / w->block_height;
    uint32_t *next = w->t_starts;
    memset(next, 0, (size_t)(lists + 1) * sizeof *next);
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = w->starts[row]; i < w->starts[row + 1]; i++) next[list_of(w, row, index_at(w->columns, w->index_bytes, i)) + 1]++;
    for (int64_t i = 0; i < lists; i++) next[i + 1] += next[i];
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = w->starts[row]; i < w->starts[row + 1]; i++) {
            const int64_t column = index_at(w->columns, w->index_bytes, i), at = next[list_of(w, row, column)]++;
            set_index(w->t_columns, w->index_bytes, at, row % group_units * taps_of(w) + column % taps_of(w));
            w->t_places[at] = (uint32_t)(i * w->block_height);
        }
    memmove(next + 1, next, (size_t)lists * sizeof *next); /* each had come to where the following begins */
    next[0] = 0;
}

void mest_weight_follow(const MestWeight *w, int64_t rows, int64_t units) {
    for (int64_t i = 0; w->form == MEST_FORM_PATTERN && i < units; i++)
        for (int k = 0; k < MEST_PATTERN_CELLS; k++)
            set_index(w->columns, w->index_bytes, MEST_PATTERN_CELLS * i + k,
                      9 * index_at(w->kernels, w->index_bytes, i) + pattern_cells[w->patterns[i]][k]);
    if (w->t_starts) transpose(w, rows);
}

int mest_derive(const MestWeight *w) {
    if (!lists_good(w, 0)) return MEST_MUTATION_DAMAGED;
    const Grid g = mest_weight_grid(w);
    mest_weight_follow(w, g.rows, g.units);
    return MEST_MUTATION_DONE;
}
