#include "resize.h"

#include <math.h>

#include "plan_file.h"

enum { PRECISION = 22 }; /* bits of a factor behind its point: so many that sums over 8 bits fit */

/* Along one axis: which pixels each new one is made of, and by which factors. */
typedef struct {
    int32_t most; /* factors of a new pixel */
    int32_t *from, *count, *factors;
} Axis;

static double triangle(double x) {
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

static double cubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static double reach(int32_t interpolation, double scale) {
    return (interpolation == MEST_INTERPOLATION_BICUBIC ? 2.0 : 1.0) * (scale < 1 ? 1 : scale);
}

static int32_t most_factors(int32_t interpolation, int32_t in, int32_t out) {
    return (int32_t)ceil(reach(interpolation, (double)in / out)) * 2 + 1;
}

static int64_t axis_bytes(int32_t interpolation, int32_t in, int32_t out, int32_t shown) {
    return (int64_t)shown * (2 + most_factors(interpolation, in, out)) * (int64_t)sizeof(int32_t);
}

/* One new pixel, `at` of `out`: `row` of the axis. */
static void weigh(const Axis *a, int32_t interpolation, int32_t in, int32_t out, int32_t at, int32_t row) {
    const double scale = (double)in / out, wide = scale < 1 ? 1 : scale, support = reach(interpolation, scale);
    const double center = (at + 0.5) * scale, narrow = 1.0 / wide;
    int32_t first = (int32_t)(center - support + 0.5), end = (int32_t)(center + support + 0.5);
    if (first < 0) first = 0;
    if (end > in) end = in;
    double sum = 0;
    for (int32_t i = first; i < end; i++) {
        const double x = (i - center + 0.5) * narrow;
        sum += interpolation == MEST_INTERPOLATION_BICUBIC ? cubic(x) : triangle(x);
    }
    for (int32_t i = first; i < end; i++) {
        const double x = (i - center + 0.5) * narrow;
        double factor = interpolation == MEST_INTERPOLATION_BICUBIC ? cubic(x) : triangle(x);
        if (sum != 0) factor /= sum;
        a->factors[(int64_t)row * a->most + i - first] = (int32_t)((factor < 0 ? -0.5 : 0.5) + factor * (1 << PRECISION));
    }
    a->from[row] = first;
    a->count[row] = end - first;
}

/* The axis of `shown` new pixels from `skipped` on, in memory from `*work` on. */
static Axis axis_of(int32_t interpolation, int32_t in, int32_t out, int32_t skipped, int32_t shown, int32_t **work) {
    Axis a = {.most = most_factors(interpolation, in, out)};
    a.from = *work;
    a.count = a.from + shown;
    a.factors = a.count + shown;
    *work = a.factors + (int64_t)shown * a.most;
    for (int32_t i = 0; i < shown; i++) weigh(&a, interpolation, in, out, skipped + i, i);
    return a;
}

static uint8_t weighed(const uint8_t *pixel, int64_t apart, const int32_t *factors, int32_t count) {
    int32_t sum = 1 << (PRECISION - 1);
    for (int32_t i = 0; i < count; i++) sum += pixel[i * apart] * factors[i];
    sum >>= PRECISION;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* The rows, or columns, of a picture that a crop of the resized one is made of. */
static void needed(const Axis *a, int32_t shown, int32_t *first, int32_t *count) {
    int32_t end = 0;
    *first = INT32_MAX;
    for (int32_t i = 0; i < shown; i++) {
        if (a->from[i] < *first) *first = a->from[i];
        if (a->from[i] + a->count[i] > end) end = a->from[i] + a->count[i];
    }
    *count = end - *first;
}

/* Which pass comes first makes a difference in the last bit. As Pillow 13 has it; older ones shorten rows first always. */
static int columns_first(int32_t width, int32_t height, const Resize *to) {
    return height > to->high && (int64_t)height - to->high > 2 * ((int64_t)width - to->wide);
}

int64_t mest_picture_resize_bytes(int32_t width, int32_t height, const Resize *to) {
    if (to->interpolation == MEST_INTERPOLATION_NEAREST) return (int64_t)to->width * (int64_t)sizeof(int32_t);
    return axis_bytes(to->interpolation, width, to->wide, to->width) + axis_bytes(to->interpolation, height, to->high, to->height) +
           (columns_first(width, height, to) ? (int64_t)width * to->height : (int64_t)to->width * height);
}

/* One band along its rows, of which `count` from `first` on are shortened, then along its columns. */
static void rows_then_columns(const View *from, const Resize *to, const Axis *across, const Axis *down, int32_t band, uint8_t *between,
                              uint8_t *out) {
    const int64_t shown = to->width;
    int32_t first, count;
    needed(down, to->height, &first, &count);
    for (int32_t y = 0; y < count; y++)
        for (int32_t x = 0; x < shown; x++)
            between[y * shown + x] = weighed(from->first + band + (first + y) * from->below + across->from[x] * from->right, from->right,
                                             across->factors + (int64_t)x * across->most, across->count[x]);
    for (int32_t y = 0; y < to->height; y++)
        for (int32_t x = 0; x < shown; x++)
            *out++ = weighed(between + (down->from[y] - first) * shown + x, shown, down->factors + (int64_t)y * down->most, down->count[y]);
}

static void columns_then_rows(const View *from, const Resize *to, const Axis *across, const Axis *down, int32_t band, uint8_t *between,
                              uint8_t *out) {
    int32_t first, count;
    needed(across, to->width, &first, &count);
    for (int32_t y = 0; y < to->height; y++)
        for (int32_t x = 0; x < count; x++)
            between[(int64_t)y * count + x] = weighed(from->first + band + down->from[y] * from->below + (first + x) * from->right, from->below,
                                                      down->factors + (int64_t)y * down->most, down->count[y]);
    for (int32_t y = 0; y < to->height; y++)
        for (int32_t x = 0; x < to->width; x++)
            *out++ = weighed(between + (int64_t)y * count + across->from[x] - first, 1, across->factors + (int64_t)x * across->most,
                             across->count[x]);
}

/* Between both passes are whole numbers of 8 bits. */
static void smooth(const View *from, const Resize *to, void *work, uint8_t *out) {
    int32_t *next = work;
    const Axis across = axis_of(to->interpolation, from->width, to->wide, to->left, to->width, &next);
    const Axis down = axis_of(to->interpolation, from->height, to->high, to->top, to->height, &next);
    const int64_t nbytes = (int64_t)to->width * to->height;
    const int tall = columns_first(from->width, from->height, to);
    for (int32_t band = 0; band < from->bands; band++, out += nbytes)
        (tall ? columns_then_rows : rows_then_columns)(from, to, &across, &down, band, (uint8_t *)next, out);
}

/* Places are added up, so that they round as Pillow's do. */
static void nearest(const View *from, const Resize *to, int32_t *columns, uint8_t *out) {
    const double across = (double)from->width / to->wide, down = (double)from->height / to->high;
    double at = across * 0.5;
    for (int32_t x = 0; x < to->left + to->width; x++, at += across)
        if (x >= to->left) columns[x - to->left] = (int32_t)at < from->width ? (int32_t)at : from->width - 1;
    for (int32_t band = 0; band < from->bands; band++) {
        at = down * 0.5;
        for (int32_t y = 0; y < to->top + to->height; y++, at += down) {
            if (y < to->top) continue;
            const int32_t row = (int32_t)at < from->height ? (int32_t)at : from->height - 1;
            for (int32_t x = 0; x < to->width; x++) *out++ = from->first[band + row * from->below + columns[x] * from->right];
        }
    }
}

void mest_picture_resize(const View *from, const Resize *to, void *work, uint8_t *out) {
    if (to->interpolation == MEST_INTERPOLATION_NEAREST) nearest(from, to, work, out);
    else smooth(from, to, work, out);
}
